"""The code that all facts share: a loss in float64, and the points at which it is evaluated."""

import itertools
import math
import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from jaxent._examples import Loss, jit_quickly, of_each_example, precision_of, second_derivative

LARGEST_GAP = 30.0
"""The largest gap between logits at the points of a search; limits are sought beyond."""

FARTHEST_MINIMUM = 1e3
"""A minimum is sought among logits of at most this size."""

# From this many classes on, points are few, and have three different logits.
_MANY_CLASSES = 31
_LEVELS = (-30.0, -10.0, -3.0, -1.0, 0.0, 1.0, 3.0, 10.0, 30.0)
_MOST_LABELS = 8
_LARGEST_BLOCK = 128
_QUICK_BLOCK = 0.01

Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Logits and targets, [N, C] or to be broadcast to it, to values [N] and gradients [N, C]."""


class Subject:
    """A loss that is measured, with x64 enabled around every call of it.

    Random points are drawn in the order in which they are first asked for.

    Attributes:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        num_classes: C.
        seed: of the random points.
        random: draws the points of all facts, one after the other.
        evaluate: values and gradients of many examples.
        hessians: their Hessians by autodiff, in the `directions`, [N, directions, directions].
        precision: the coarsest dtype that the loss rounds to on its way.
        rows: how many examples are evaluated at once; few of a loss that takes long.
        thinning: every how many-th point is used: 1, or more for a loss that takes long.
        seconds_of_one: how long the value and gradient of one example take among others.
        rounding: how far two values near 1 may differ and still be the same.
        reads_raw_logits: one number added to all logits changes the loss. Set by the first fact,
            the invariances, as is the next.
        alike: renumbering the classes, in logits and targets alike, does not.
    """

    reads_raw_logits = False
    alike = True

    def __init__(self, loss: Loss, num_classes: int, seed: int):
        self.loss = loss
        self.num_classes = num_classes
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.rows, self.thinning = _LARGEST_BLOCK, 1
        transformed = partial(of_each_example, jax.value_and_grad, loss)
        self.evaluate: Evaluate = self.in_blocks(transformed)
        seconds = self._seconds_of_a_block()
        self.seconds_of_one = seconds / self.rows
        slowness = seconds / _QUICK_BLOCK
        if slowness > 1:  # a call of few rows is to cost few
            self.rows, self.thinning = 4, 4 ** min(3, math.ceil(math.log(slowness, 4)))
            self.evaluate = self.in_blocks(transformed)
        self.hessians = self.in_blocks(
            partial(of_each_example, self._hessian_of, loss), len(self.directions)
        )

    def _hessian_of(self, value: Loss) -> Loss:
        """d²L/dv² at v = 0, of z + vᵀ directions."""

        def at(z: jax.Array, p: jax.Array) -> jax.Array:
            directions = jax.numpy.asarray(self.directions)
            moved = second_derivative(lambda v: value(z + v @ directions, p))
            return moved(jax.numpy.zeros(len(directions)))

        return at

    def _seconds_of_a_block(self) -> float:
        examples = np.zeros([self.rows, self.num_classes]), np.eye(1, self.num_classes)[0]
        seconds = []
        for _ in range(3):  # the first one compiles
            start = time.perf_counter()
            self.evaluate(*examples)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def in_blocks(self, function: Callable, results_per_row: int = 1) -> Callable:
        """A function of rows, compiled once, for any number of rows: NumPy arrays in and out."""
        rows_in_memory = 2_000_000 // (self.num_classes * results_per_row)
        return _in_blocks(function, self.num_classes, max(1, min(self.rows, rows_in_memory)))

    @cached_property
    def precision(self) -> np.dtype:
        return precision_of(self.loss, self.num_classes)

    @cached_property
    def rounding(self) -> float:
        return max(1e-9, 8 * float(jax.numpy.finfo(self.precision).eps))

    def gradients_in(self, dtype: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Gradients of many examples that are rounded to a dtype first."""

        def gradients(logits: jax.Array, targets: jax.Array) -> jax.Array:
            low = logits.astype(dtype), targets.astype(dtype)
            return of_each_example(jax.grad, self.loss, *low).astype(logits.dtype)

        return self.in_blocks(gradients)

    @property
    def many_classes(self) -> bool:
        """So many that the points of a search have three different logits."""
        return self.num_classes >= _MANY_CLASSES

    # Many classes: the logits have as many different values as there are groups of classes

    @cached_property
    def groups(self) -> np.ndarray:
        """Which classes have the same logit, a row for each group, [groups, C].

        Each class is alone, unless the classes are many: then they are the truth, one other and
        the rest, so that a row of numbers `u` stands for the logits ``u @ groups``. The extremes
        of a loss that treats its classes alike are mostly found there.
        """
        if not self.many_classes:
            return np.eye(self.num_classes)
        return _truth_some_and_rest(self.num_classes, 1)

    @cached_property
    def directions(self) -> np.ndarray:
        """The same with rows of length 1: directions in which derivatives are taken."""
        return self.groups / np.sqrt(self.groups.sum(-1, keepdims=True))

    def spread(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of groups [..., groups] to logits [..., C]."""
        return numbers @ self.groups if self.many_classes else numbers

    def summed_over_groups(self, gradients: np.ndarray) -> np.ndarray:
        """Derivatives by logits [..., C] to those by numbers of groups [..., groups]."""
        # Without the condition, 0 · ∞ would be NaN.
        return gradients @ self.groups.T if self.many_classes else gradients

    def along_directions(self, gradients: np.ndarray) -> np.ndarray:
        """Derivatives by logits [..., C] to those in the directions [..., directions]."""
        return gradients @ self.directions.T if self.many_classes else gradients

    @cached_property
    def representatives(self) -> np.ndarray:
        """A class of each group."""
        return self.groups.argmax(-1)

    # Where the loss is evaluated

    def within(self, logits: np.ndarray, largest: float = LARGEST_GAP) -> np.ndarray:
        """Logits not endlessly far apart. The level is kept if the loss reads raw logits."""
        if self.reads_raw_logits:
            return np.clip(logits, -largest, largest)
        return within_gap(logits, largest)

    @cached_property
    def grid(self) -> np.ndarray:
        """Logits on a grid of gaps, for a loss of raw logits at several levels, [N, C]."""
        grid = _grid(self.num_classes)
        if self.reads_raw_logits:
            levels = np.array(_LEVELS)[:, None, None]
            grid = self.within((grid[:: len(_LEVELS)] + levels).reshape(-1, self.num_classes))
        return grid[:: self.thinning]

    @cached_property
    def simplex(self) -> np.ndarray:
        """Logits of Q spread evenly over the simplex, for shares of it, [N, C].

        Of all logits with that Q they have their top at 0, or sum to 0 for a loss of raw logits.
        """
        logits = _over_the_simplex(self.num_classes, self.random)[:: self.thinning]
        if self.reads_raw_logits:
            logits = logits - logits.mean(-1, keepdims=True)
        return logits

    @cached_property
    def places(self) -> np.ndarray:
        """The grid, then the simplex."""
        return np.concatenate([self.grid, self.simplex])

    @cached_property
    def moves(self) -> np.ndarray:
        """Steps for a compass search among numbers of groups, [N, groups]."""
        count = len(self.groups)
        moves = np.eye(count)[:6]
        if count > 2:
            sizes = sorted({1, (count - 1) // 2})
            moves = np.concatenate([moves, *(_truth_some_and_rest(count, size) for size in sizes)])
        return np.unique(np.concatenate([moves, -moves]), axis=0)

    @cached_property
    def rays(self) -> np.ndarray:
        """Directions in which numbers of groups may go to infinity, the largest of them 1 or −1,
        [N, groups]. Few of them for a loss that takes long."""
        count = len(self.groups)
        if self.thinning > 1:
            alone = np.eye(count)[:3]
            return np.concatenate([alone, -alone, 2 * alone - 1, 1 - 2 * alone])
        random = self.random.standard_normal([16, count])
        random /= np.abs(random).max(-1, keepdims=True)
        signs = np.array([*itertools.product((-1.0, 0.0, 1.0), repeat=min(3, count))])
        sizes = sorted({1, (count - 1) // 2} - {0})
        patterns = [signs @ _truth_some_and_rest(count, size) for size in sizes if count > 2]
        directions = np.concatenate([*(patterns or [signs]), random])
        return np.unique(directions[directions.any(-1)], axis=0)

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The truths that are looked at: 0 alone if the loss treats its classes alike, else all of
        them; of more than 8 those with the smallest and the largest gradients, and some between;
        of many classes one of each group.
        """
        if self.alike:
            return (0,)
        if self.many_classes:
            return tuple(int(label) for label in self.representatives)
        if self.num_classes <= _MOST_LABELS:
            return tuple(range(self.num_classes))
        _, gradients = self.evaluate(np.zeros(self.num_classes), np.eye(self.num_classes))
        order = np.linalg.norm(gradients, axis=-1).argsort(kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, _MOST_LABELS).round().astype(int)]
        return tuple(sorted(int(label) for label in chosen))

    @cached_property
    def values(self) -> np.ndarray:
        """loss(z, e_y) at all places for a y of each group, [N, groups]."""
        values = self.values_of_all_labels(self.places)
        if not np.isfinite(values).all(-1).any():
            raise ValueError("The loss is not finite at any of the logits at which it was tried.")
        return values

    @cached_property
    def gradient_scale(self) -> float:
        """The largest gradient norm at logits near 0: a gradient of 1e-15 of it is a rounding."""
        logits = np.random.default_rng(self.seed).standard_normal([8, self.num_classes])
        norms = [
            norm(self.evaluate(logits, one_hot)[1]) for one_hot in np.eye(self.num_classes)[:8]
        ]
        return float(np.nanmax(norms))

    def values_of_all_labels(self, logits: np.ndarray) -> np.ndarray:
        """loss(z, e_y) for a y of each group, [N, groups]."""
        one_hots = np.eye(self.num_classes)[self.representatives]
        values = [self.evaluate(logits, one_hot)[0] for one_hot in one_hots]
        return np.stack(values, -1)

    def lowest_point(self, target: np.ndarray) -> np.ndarray:
        """The logits of a local minimum, found from Σz = 0, z = 0."""

        def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
            values, gradients = self.evaluate(z, target)
            return values[0], gradients[0]

        return local_minimum(value_and_gradient, np.zeros(self.num_classes))[1]


def _in_blocks(function: Callable, num_classes: int, block: int) -> Callable:
    run = jit_quickly(function)

    def of_rows(logits: np.ndarray, targets: np.ndarray):
        logits = np.atleast_2d(logits)
        count = max(len(logits), targets.size // num_classes)
        filled = np.empty([2, -(-count // block) * block, num_classes])
        filled[0, :count], filled[1, :count] = logits, targets
        filled[:, count:] = filled[:, :1]
        parts = [run(*filled[:, at : at + block]) for at in range(0, count, block)]
        return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:count], *parts)

    return of_rows


def within_gap(logits: np.ndarray, largest: float = LARGEST_GAP) -> np.ndarray:
    """The top logit at 0, the others at most so far below it."""
    return np.maximum(logits - logits.max(-1, keepdims=True), -largest)


def _grid(num_classes: int) -> np.ndarray:
    """Logits on a grid of gaps: the truth at 0, some of the wrong classes at one height, and the
    rest at another. With three classes these are all the gaps; the extremes of a loss that treats
    its classes alike have few different logits also where there are more."""
    wrong = num_classes - 1
    if wrong == 1:
        heights = np.linspace(-LARGEST_GAP, LARGEST_GAP, 481)
        return within_gap(np.stack([np.zeros_like(heights), heights], -1))
    along = 61 if num_classes <= 10 else 31
    heights = np.linspace(-LARGEST_GAP, LARGEST_GAP, along)
    one, other = (x.ravel() for x in np.meshgrid(heights, heights))
    levels = np.stack([np.zeros_like(one), one, other], -1)
    sizes = {1} if num_classes >= _MANY_CLASSES else {1, wrong // 2}
    return within_gap(
        np.concatenate([levels @ _truth_some_and_rest(num_classes, size) for size in sorted(sizes)])
    )


def _truth_some_and_rest(num_classes: int, size: int) -> np.ndarray:
    """Groups of classes: 0, the next `size`, and the others, [3, C]."""
    classes = np.arange(num_classes)
    groups = [classes == 0, (classes > 0) & (classes <= size), classes > size]
    return np.stack(groups).astype(float)


def _over_the_simplex(num_classes: int, random: np.random.Generator) -> np.ndarray:
    """Logits of Q spread evenly over the simplex, for shares of it."""
    if num_classes == 2:
        first = (np.arange(4096) + 0.5) / 4096
        q = np.stack([first, 1 - first], -1)
    elif num_classes == 3:
        i, j = np.triu_indices(100)
        q = (np.stack([i, j - i, 99 - j], -1) + 1 / 3) / 100
    elif num_classes < _MANY_CLASSES:
        q = random.dirichlet(np.ones(num_classes), 4096)
    else:
        groups = _truth_some_and_rest(num_classes, 1)
        q = random.dirichlet(np.ones(len(groups)), 1024) / groups.sum(-1) @ groups
    return within_gap(np.log(np.maximum(q, 1e-300)))


def local_minimum(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    largest: float = LARGEST_GAP,
) -> tuple[float, np.ndarray]:
    """A local minimum among logits that are not endlessly far apart, and where it is."""
    found = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-largest, largest)] * len(start),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 200},
    )
    return float(found.fun), found.x


def least_between(function: Callable[[float], Any], low: float, high: float) -> tuple[float, float]:
    """A local minimum of a function of one number, and where it is."""
    found: Any = minimize_scalar(
        function, bounds=(low, high), options={"xatol": 1e-10}, method="bounded"
    )
    return float(found.fun), float(found.x)


def norm(vectors: np.ndarray) -> np.ndarray:
    """‖v‖₂ of the last axis. NumPy's own squares lose vectors below 1e-162."""
    largest = np.abs(vectors).max(-1, keepdims=True)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1.0)
    return scale[..., 0] * np.linalg.norm(vectors / scale, axis=-1)
