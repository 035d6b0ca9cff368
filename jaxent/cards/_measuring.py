"""What all facts share: a loss in float64, and the points where it is looked at."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from jaxent._examples import Loss, jit_quickly, of_each_example, precision_of
from jaxent.curvature import hessian

LARGEST_GAP = 30.0
"""A supremum is searched over gaps between logits of at most this many: no limit is reached."""

Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Logits and targets, [N, C] or to be broadcast to it, to values [N] and gradients [N, C]."""


class Subject:
    """A loss that is measured, with x64 enabled around all that is asked of it.

    Random points are drawn in the order in which they are first asked for.

    Attributes:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        num_classes: C.
        seed: of the random points.
        random: draws the points of all facts, one after the other.
        evaluate: values and gradients of many examples.
        hessians: their Hessians by autodiff, [N, C, C].
        precision: the coarsest dtype that the loss rounds to on its way.
        rounding: how far two values near 1 may differ and still be the same.
    """

    def __init__(self, loss: Loss, num_classes: int, seed: int):
        self.loss = loss
        self.num_classes = num_classes
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.evaluate: Evaluate = in_blocks(
            partial(of_each_example, jax.value_and_grad, loss), num_classes
        )
        self.hessians = in_blocks(partial(hessian, loss), num_classes, num_classes)

    @cached_property
    def precision(self) -> np.dtype:
        return precision_of(self.loss, self.num_classes)

    @cached_property
    def rounding(self) -> float:
        return max(1e-9, 8 * float(jax.numpy.finfo(self.precision).eps))

    @cached_property
    def grid(self) -> np.ndarray:
        """Logits on a grid of gaps, [N, C]."""
        return _grid(self.num_classes)

    @cached_property
    def simplex(self) -> np.ndarray:
        """Logits of Q spread evenly over the simplex, for shares of it, [N, C]."""
        return _over_the_simplex(self.num_classes, self.random)

    @cached_property
    def places(self) -> np.ndarray:
        """The grid, then the simplex."""
        return np.concatenate([self.grid, self.simplex])

    @cached_property
    def values(self) -> np.ndarray:
        """loss(z, e_y) at all places for all y, [N, C]."""
        values = self.values_of_all_labels(self.places)
        if not np.isfinite(values).all(-1).any():
            raise ValueError("The loss is not finite at any of the logits at which it was tried.")
        return values

    def values_of_all_labels(self, logits: np.ndarray) -> np.ndarray:
        """loss(z, e_y) for all y, [N, C]."""
        values = [self.evaluate(logits, one_hot)[0] for one_hot in np.eye(self.num_classes)]
        return np.stack(values, -1)

    def lowest_point(self, target: np.ndarray) -> np.ndarray:
        """The logits of a local minimum, found from Σz = 0, z = 0."""

        def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
            values, gradients = self.evaluate(z, target)
            return values[0], gradients[0]

        return local_minimum(value_and_gradient, np.zeros(self.num_classes))[1]


def in_blocks(function: Callable, num_classes: int, results_per_row: int = 1) -> Callable:
    """A function of rows, compiled once, for any number of rows: NumPy arrays in and out."""
    block = max(1, min(128, 2_000_000 // (num_classes * results_per_row)))
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
    along = 61 if num_classes <= 10 else 31 if num_classes <= 30 else 13
    heights = np.linspace(-LARGEST_GAP, LARGEST_GAP, along)
    one, other = (x.ravel()[:, None] for x in np.meshgrid(heights, heights))
    classes = np.arange(num_classes)
    grids = [
        np.where(classes == 0, 0.0, np.where(classes <= size, one, other))
        for size in sorted({1, wrong // 2})
    ]
    return within_gap(np.concatenate(grids))


def _over_the_simplex(num_classes: int, random: np.random.Generator) -> np.ndarray:
    """Logits of Q spread evenly over the simplex, for shares of it."""
    if num_classes == 2:
        first = (np.arange(4096) + 0.5) / 4096
        q = np.stack([first, 1 - first], -1)
    elif num_classes == 3:
        i, j = np.triu_indices(100)
        q = (np.stack([i, j - i, 99 - j], -1) + 1 / 3) / 100
    else:
        q = random.dirichlet(np.ones(num_classes), 4096 if num_classes <= 30 else 256)
    return within_gap(np.log(np.maximum(q, 1e-300)))


def local_minimum(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> tuple[float, np.ndarray]:
    """A local minimum among logits that are not endlessly far apart, and where it is."""
    found = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LARGEST_GAP, LARGEST_GAP)] * len(start),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 200},
    )
    return float(found.fun), found.x


def least_between(function: Callable[[float], Any], low: float, high: float) -> tuple[float, float]:
    """A local minimum of a function of one number, and where it is."""
    found: Any = minimize_scalar(
        function, bounds=(low, high), options={"xatol": 1e-10}, method="bounded"
    )
    return float(found.fun), float(found.x)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
