"""The facts of a loss, measured: will it train, and what will it do differently?

    card(loss)                 what one loss does, each fact with the point where it was found
    comparison_table(cards)    several losses side by side

A card answers for any ``loss(logits, targets)`` of one example, [C] and [C], a scalar, by calling
it: proper or not, how it curves and how long a step may be, where it pushes and where it fades,
how long it takes to unlearn a confident mistake, what a wrong label can do, what it does not
notice. Everything is measured in float64, by autodiff, at points that are searched: a supremum is
the largest value that was found, and a law is one that holds at margins it was not fitted to.
Nothing is proved.

Where a truth is needed it is class 0 with certainty, P = (1, 0, …, 0), and for a loss that tells
the classes apart (`Invariance.permutation`) that is the only one that is looked at, except where a
fact is said to be of all labels.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.integrate import DOP853
from scipy.optimize import brentq, minimize, minimize_scalar

from jaxent import _arguments as arguments
from jaxent.curvature import _sum_zero_basis, hessian
from jaxent.gradients import (
    Loss,
    _central_differences,
    _distances,
    _of_each_example,
    _precision,
)


class Properness(NamedTuple):
    """Whether the expected loss Σ_y p_y loss(z, e_y) is least where Q is P.

    Attributes:
        proper: no logits have a smaller expected loss than those of P itself.
        strict: and no others have the same.
        link: how logits stand for a distribution: "softmax", or "identity" (Q = z) for a loss
            that a shift common to all the logits changes.
        worst_excess: the expected loss at Q = P less the least one, at the worst P that was tried.
        target: that P, [C].
        minimizer: the logits with the least expected loss for that P, [C].
        minimizer_q: the same through the link, [C].
    """

    proper: bool
    strict: bool
    link: Literal["softmax", "identity"]
    worst_excess: float
    target: Float[np.ndarray, " classes"]
    minimizer: Float[np.ndarray, " classes"]
    minimizer_q: Float[np.ndarray, " classes"]


class Curvature(NamedTuple):
    """How a loss of a certain truth curves, P = (1, 0, …, 0).

    Attributes:
        least_eigenvalue: of the Hessian on the directions that sum to zero, the least over the
            simplex.
        least_at: the logits where that is, [C].
        not_convex_share: the share of the simplex in which that eigenvalue is negative.
        smoothness: L, the largest absolute eigenvalue of the Hessian over logit gaps up to 30;
            ∞ where the gradient jumps.
        smoothness_at: the logits where that is, [C].
        largest_step: 2/L, up to which descent with a fixed step cannot run away; 0 for L = ∞.
        least_label: the class that is the truth at `least_at`; 0 unless the loss tells them apart.
        smoothness_label: likewise at `smoothness_at`.
    """

    least_eigenvalue: float
    least_at: Float[np.ndarray, " classes"]
    not_convex_share: float
    smoothness: float
    smoothness_at: Float[np.ndarray, " classes"]
    largest_step: float
    least_label: int = 0
    smoothness_label: int = 0


class Push(NamedTuple):
    """How hard a loss of a certain truth pushes, ‖dL/dz‖₂ with P = (1, 0, …, 0).

    Attributes:
        largest_norm: on the way from a confident mistake to the truth, the wrong mass even.
        largest_at: p_true where that is.
        uniform_norm: at Q = (1/C, …, 1/C).
        uniform_power: the k of ‖dL/dz‖ ~ Cᵏ there, for many classes; NaN for a loss that cannot
            be called with as many.
        mistake_norm: where the truth is `mistake_margin` logits behind all others.
        mistake_margin: in logits.
        vanishes: where it fades to nothing, by name: "right corner", "wrong corners", "far edge",
            "near edges", "interior".
        vanishes_at: logits next to each of those, [C].
    """

    largest_norm: float
    largest_at: float
    uniform_norm: float
    uniform_power: float
    mistake_norm: float
    mistake_margin: float
    vanishes: tuple[str, ...]
    vanishes_at: tuple[Float[np.ndarray, " classes"], ...]


Law = Literal["constant", "logarithmic", "linear", "power", "exponential", "never"]


class EscapeLaw(NamedTuple):
    """How long gradient flow takes to unlearn a confident mistake, from m behind to the tie.

    Attributes:
        law: of the time T against the margin m: "constant" T = a, "logarithmic" a + b ln(1 + m),
            "linear" a + b m, "power" a + b mᵏ, "exponential" a + b eᵏᵐ, or "never".
        coefficients: (a, b, k), NaN for what the law does not have.
        left_out_error: the largest relative error of the law at margins that it was not fitted to.
        margins: m, in logits, ascending to 12.
        times: T of each, in units of learning rate × steps; ∞ where the truth never catches up.
    """

    law: Law
    coefficients: tuple[float, float, float]
    left_out_error: float
    margins: Float[np.ndarray, " margins"]
    times: Float[np.ndarray, " margins"]

    @property
    def exponent(self) -> float:
        """k, the exponent of an exponential law or the power of a power; NaN for the others."""
        return self.coefficients[2]

    def predict(self, margin: ArrayLike) -> Float[np.ndarray, "..."]:
        """The time that the law gives a margin; ∞ for "never"."""
        a, b, k = self.coefficients
        m = np.asarray(margin, float)
        match self.law:
            case "constant":
                return np.full_like(m, a)
            case "logarithmic":
                return a + b * np.log1p(m)
            case "linear":
                return a + b * m
            case "power":
                return a + b * m**k
            case "exponential":
                return a + b * np.exp(k * m)
            case "never":
                return np.full_like(m, np.inf)


class Noise(NamedTuple):
    """What a wrong label can do.

    Attributes:
        bounded: no logits, however far apart, make the loss exceed a bound.
        least: the least value of the loss of a one-hot P, −∞ if there is none.
        least_at: the logits where that is, or far out where there is none, [C].
        least_label: the class that is the truth there.
        most: the largest, ∞ if it is not bounded.
        most_at: likewise.
        most_label: likewise.
        symmetric: Σ_y loss(z, e_y) is the same for all z.
        least_sum: the least Σ_y loss(z, e_y) at logit gaps of up to 30.
        least_sum_at: the logits where that is, [C].
        most_sum: the largest, ∞ if the loss is not bounded.
        most_sum_at: the logits where it is largest at those gaps, [C].
    """

    bounded: bool
    least: float
    least_at: Float[np.ndarray, " classes"]
    least_label: int
    most: float
    most_at: Float[np.ndarray, " classes"]
    most_label: int
    symmetric: bool
    least_sum: float
    least_sum_at: Float[np.ndarray, " classes"]
    most_sum: float
    most_sum_at: Float[np.ndarray, " classes"]


class Invariance(NamedTuple):
    """What a loss does not notice, and what it does not stand.

    Attributes:
        shift: the same number added to all the logits changes nothing.
        shift_change: the largest relative change of the value that was met.
        shift_at: the logits and the targets of which that is, [2, C]: one of −1 and 4 was added.
        permutation: nor does renumbering the classes, in logits and targets alike.
        permutation_change: as above.
        permutation_at: the logits and the targets of which that is, [2, C].
        finite_at_corners: value and gradient are finite 1,000 logits from a tie, right and wrong.
        not_finite_at: logits where they are not, [C], or None.
        not_finite_label: the class that is the truth there, or None.
        soft_targets: "accepted"; "ignored" where only the largest entry of P counts; "refused"
            where the loss raises or is not finite.
    """

    shift: bool
    shift_change: float
    shift_at: Float[np.ndarray, "2 classes"]
    permutation: bool
    permutation_change: float
    permutation_at: Float[np.ndarray, "2 classes"]
    finite_at_corners: bool
    not_finite_at: Float[np.ndarray, " classes"] | None
    not_finite_label: int | None
    soft_targets: Literal["accepted", "ignored", "refused"]


class Derivatives(NamedTuple):
    """Whether the gradient is the derivative of the value: the worst of some random points.

    Attributes:
        right: every difference is within what its witness can resolve.
        finite_difference: how far reverse mode is from central differences of the values at the
            worst of the points, relative to the largest entry of either there.
        uncertainty: how far those can be trusted there, by their own account, likewise.
        forward_mode: the largest difference from forward mode, likewise; NaN where a custom_vjp
            leaves none.
        logits: the worst of the points, measured by what the differences can resolve, [C].
        targets: the P there, [C].
        precision: the coarsest dtype that the loss, called in float64, rounds to on its way;
            differences of values are believed no further.
    """

    right: bool
    finite_difference: float
    uncertainty: float
    forward_mode: float
    logits: Float[np.ndarray, " classes"]
    targets: Float[np.ndarray, " classes"]
    precision: str = "float64"


class LossCard(NamedTuple):
    """The facts of a loss, each with the point at which it was found."""

    name: str
    num_classes: int
    properness: Properness
    curvature: Curvature
    push: Push
    escape: EscapeLaw
    noise: Noise
    invariance: Invariance
    derivatives: Derivatives


# A supremum is searched over gaps between logits of at most this many, as a limit is not reached.
_LARGEST_GAP = 30.0
# Where the gradient is asked whether it has vanished: e⁻³⁰⁰ is 1e-130, and still a number.
_FAR_GAP = 300.0
_MISTAKE_MARGIN = 12.0
_MARGINS = (*range(1, 8), *(m / 2 for m in range(16, 25)))
_FITTED_MARGINS = (8, 9, 10, 11)
_LAW_TOLERANCE = 1e-3

# What runs for milliseconds is not worth the seconds of compiling it well.
_jit_quickly = partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)


def card(
    loss: Loss,
    num_classes: int = 3,
    *,
    name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> LossCard:
    """Measure the facts of a loss.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar, which `jax.jit` and
            `jax.vmap` can trace. It is called with one-hot and soft targets, and with logits up to
            1e6 apart.
        num_classes: C, at least 2.
        name: what to call the loss; its own name if not given.
        seed: of the points that are drawn at random.
        progress: is called with the name of each part before it is measured.

    Returns:
        A `LossCard`, all its arrays NumPy's, in float64.

    Raises:
        TypeError: num_classes is not an int.
        ValueError: num_classes is less than 2, the loss does not return a scalar, or it is finite
            nowhere.
        Whatever the loss itself raises.

    Example:
        Squared error on the softmax is as proper as cross-entropy and nearly as smooth. But it is
        not convex over most of the simplex, and takes a time of the order of eᵐ to unlearn a
        mistake of m logits, where cross-entropy takes one of the order of m.

        >>> from jaxent import cards, losses
        >>> for loss in losses.softmax_cross_entropy, losses.softmax_brier_score:
        ...     facts = cards.card(loss)
        ...     print(facts.properness.strict, round(facts.curvature.smoothness, 4),
        ...           f"{facts.curvature.not_convex_share:.0%}", facts.escape.law)
        True 0.5 0% linear
        True 0.6162 60% exponential

    References:
        T. Gneiting, A. E. Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation,
        JASA 102, 2007: properness. Y. Nesterov, Introductory Lectures on Convex Optimization,
        2004, section 1.2: smoothness and the step 2/L.
    """
    arguments.check_count(num_classes, "num_classes", least=2)
    if not callable(loss):
        raise TypeError(f"loss must be a function of (logits, targets), but it is {loss!r}.")
    tell = progress or (lambda words: None)
    random = np.random.default_rng(seed)
    with jax.enable_x64(True):
        tell("invariance")
        evaluate = _in_blocks(partial(_of_each_example, jax.value_and_grad, loss), num_classes)
        invariance = _invariance(evaluate, num_classes, random)
        precision = _precision(loss, num_classes)
        # what two values may differ by and still be the same, for a value near 1
        rounding = max(1e-9, 8 * float(jax.numpy.finfo(precision).eps))
        labels = range(1 if invariance.permutation else num_classes)
        points = _SearchPoints(_grid(num_classes), _over_the_simplex(num_classes, random))
        tell("properness")
        places = np.concatenate(points)
        values = _values_of_all_labels(evaluate, places, num_classes)
        if not np.isfinite(values).all(-1).any():
            raise ValueError("The loss is not finite at any of the logits at which it was tried.")
        properness = _properness(evaluate, places, values, invariance, rounding, random)
        noise = _noise(evaluate, places, values, rounding, random)
        tell("curvature")
        curvature = _curvature(loss, evaluate, points, labels, random)
        tell("gradients")
        push = _push(loss, evaluate, num_classes)
        tell("escape")
        escape = _escape(
            evaluate,
            num_classes,
            symmetric=invariance.permutation,
            smooth=precision == np.float64,
        )
        tell("derivatives")
        derivatives = _derivatives(loss, evaluate, num_classes, invariance, precision, random)
    return LossCard(
        name or arguments.name_of(loss),
        num_classes,
        properness,
        curvature,
        push,
        escape,
        noise,
        invariance,
        derivatives,
    )


# Where a loss is looked at


_Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Logits and targets, [N, C] or to be broadcast to it, to values [N] and gradients [N, C]."""


class _SearchPoints(NamedTuple):
    grid: np.ndarray
    simplex: np.ndarray


def _in_blocks(function: Callable, num_classes: int, results_per_row: int = 1) -> Callable:
    """A function of rows, compiled once, for any number of rows: NumPy arrays in and out."""
    block = max(1, min(128, 2_000_000 // (num_classes * results_per_row)))
    run = _jit_quickly(function)

    def of_rows(logits: np.ndarray, targets: np.ndarray):
        logits = np.atleast_2d(logits)
        count = max(len(logits), targets.size // num_classes)
        filled = np.empty([2, -(-count // block) * block, num_classes])
        filled[0, :count], filled[1, :count] = logits, targets
        filled[:, count:] = filled[:, :1]
        parts = [run(*filled[:, at : at + block]) for at in range(0, count, block)]
        return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:count], *parts)

    return of_rows


def _within_gap(logits: np.ndarray, largest: float = _LARGEST_GAP) -> np.ndarray:
    """The top logit at 0, the others at most so far below it."""
    return np.maximum(logits - logits.max(-1, keepdims=True), -largest)


def _grid(num_classes: int) -> np.ndarray:
    """Logits on a grid of gaps: the truth at 0, some of the wrong classes at one height, and the
    rest at another. With three classes these are all the gaps; the extremes of a loss that treats
    its classes alike have few different logits also where there are more."""
    wrong = num_classes - 1
    if wrong == 1:
        heights = np.linspace(-_LARGEST_GAP, _LARGEST_GAP, 481)
        return _within_gap(np.stack([np.zeros_like(heights), heights], -1))
    along = 61 if num_classes <= 10 else 31 if num_classes <= 30 else 13
    heights = np.linspace(-_LARGEST_GAP, _LARGEST_GAP, along)
    one, other = (x.ravel()[:, None] for x in np.meshgrid(heights, heights))
    classes = np.arange(num_classes)
    grids = [
        np.where(classes == 0, 0.0, np.where(classes <= size, one, other))
        for size in sorted({1, wrong // 2})
    ]
    return _within_gap(np.concatenate(grids))


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
    return _within_gap(np.log(np.maximum(q, 1e-300)))


def _values_of_all_labels(evaluate: _Evaluate, logits: np.ndarray, num_classes: int) -> np.ndarray:
    """loss(z, e_y) for all y, [N, C]."""
    values = [evaluate(logits, one_hot)[0] for one_hot in np.eye(num_classes)]
    return np.stack(values, -1)


def _least(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> tuple[float, np.ndarray]:
    """A local minimum among logits that are not endlessly far apart, and where it is."""
    found = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_LARGEST_GAP, _LARGEST_GAP)] * len(start),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 200},
    )
    return float(found.fun), found.x


def _least_between(
    function: Callable[[float], Any], low: float, high: float
) -> tuple[float, float]:
    """A local minimum of a function of one number, and where it is."""
    found: Any = minimize_scalar(
        function, bounds=(low, high), options={"xatol": 1e-10}, method="bounded"
    )
    return float(found.fun), float(found.x)


# The facts


def _invariance(evaluate: _Evaluate, num_classes: int, random: np.random.Generator) -> Invariance:
    # Multiples of ¼ are exact in every precision, also shifted: rounding is no dependence.
    logits = np.round(8 * random.standard_normal([32, num_classes])) / 4
    targets = random.dirichlet(np.ones(num_classes), len(logits))
    certain = np.eye(num_classes)[targets.argmax(-1)]
    values, _ = evaluate(logits, targets)
    if not np.isfinite(values).all():
        soft_targets, targets = "refused", certain
    elif np.array_equal(values, evaluate(logits, (targets + certain) / 2)[0]):
        soft_targets, targets = "ignored", certain
    else:
        soft_targets = "accepted"
    values, _ = evaluate(logits, targets)

    def change(others: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
        """The largest relative change to any of the others, and of what."""
        other_values = np.stack([evaluate(*other)[0] for other in others])
        changes = (np.abs(other_values - values) / np.maximum(1, np.abs(values))).max(0)
        worst = int(changes.argmax())
        return float(changes[worst]), np.stack([logits[worst], targets[worst]])

    # Two shifts, since a parabola may return to its value after one.
    shift, shift_at = change([(logits + by, targets) for by in (-1.0, 4.0)])
    orders = [random.permutation(num_classes) for _ in range(3)] + [np.arange(num_classes)[::-1]]
    permutation, permutation_at = change(
        [(logits[:, order], targets[:, order]) for order in orders]
    )

    corners = np.concatenate([1000 * np.eye(num_classes), -1000 * np.eye(num_classes)])
    not_finite_at = not_finite_label = None
    for label, one_hot in enumerate(np.eye(num_classes)):
        at_corners, gradients = evaluate(corners, one_hot)
        finite = np.isfinite(at_corners) & np.isfinite(gradients).all(-1)
        if not_finite_at is None and not finite.all():
            not_finite_at, not_finite_label = corners[finite.argmin()], label
    return Invariance(
        shift=shift <= 1e-6,
        shift_change=shift,
        shift_at=shift_at,
        permutation=permutation <= 1e-6,
        permutation_change=permutation,
        permutation_at=permutation_at,
        finite_at_corners=not_finite_at is None,
        not_finite_at=not_finite_at,
        not_finite_label=not_finite_label,
        soft_targets=soft_targets,
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _properness(
    evaluate: _Evaluate,
    points: np.ndarray,
    values: np.ndarray,
    invariance: Invariance,
    rounding: float,
    random: np.random.Generator,
) -> Properness:
    """The expected loss is linear in P, so its values at all the points serve for every P."""
    num_classes = points.shape[-1]
    usable = np.isfinite(values).all(-1)
    points, values = points[usable], values[usable]
    nearby = max(1e-3, math.sqrt(rounding))  # a minimum is as flat as its values are rounded
    # P itself is kept away from the edges, where its logits have no end.
    targets = (
        0.97 * random.dirichlet(np.ones(num_classes), max(4, 72 // num_classes))
        + 0.03 / num_classes
    )

    def judged(link: Literal["softmax", "identity"]) -> Properness:
        through_link = _softmax if link == "softmax" else np.asarray
        worst = None
        proper = strict = True
        for p in targets:

            def expected(z: np.ndarray, p: np.ndarray = p) -> tuple[float, np.ndarray]:
                losses, gradients = evaluate(z, np.eye(num_classes))
                return float(p @ losses), p @ gradients

            at_p = np.log(p) - np.log(p).mean() if link == "softmax" else p
            if (
                link == "softmax" and not invariance.shift
            ):  # of all that have this softmax, the best
                _, offset = _least_between(
                    lambda by, expected=expected, at_p=at_p: expected(at_p + by)[0],
                    -_LARGEST_GAP,
                    _LARGEST_GAP,
                )
                at_p = at_p + offset
            value_at_p, _ = expected(at_p)
            from_afar = _least(expected, points[np.argmin(values @ p)])
            least, minimizer = min(
                (value_at_p, at_p), _least(expected, at_p), from_afar, key=lambda pair: pair[0]
            )
            if expected(1e3 * minimizer)[0] < least - 1e-6 * abs(least):
                least = -math.inf
            excess = value_at_p - least
            allowed = rounding * max(1, abs(value_at_p))
            proper &= excess <= allowed
            elsewhere = np.abs(through_link(from_afar[1]) - p).max() > nearby
            strict &= not (elsewhere and from_afar[0] <= value_at_p + allowed)
            if worst is None or excess > worst[0]:
                worst = excess, p, minimizer, through_link(minimizer)
        assert worst is not None
        return Properness(proper, proper and strict, link, *worst)

    if invariance.shift:
        return judged("softmax")
    by_identity = judged("identity")
    if by_identity.proper:
        return by_identity
    by_softmax = judged("softmax")
    return by_softmax if by_softmax.proper else by_identity


def _noise(
    evaluate: _Evaluate,
    points: np.ndarray,
    values: np.ndarray,
    rounding: float,
    random: np.random.Generator,
) -> Noise:
    num_classes = points.shape[-1]
    directions = np.concatenate(
        [np.eye(num_classes), -np.eye(num_classes), random.standard_normal([128, num_classes])]
    )
    directions = _within_gap(directions) / -_within_gap(directions).min(-1, keepdims=True)
    directions = np.concatenate([directions, -directions])
    near, far = (
        _values_of_all_labels(evaluate, gap * directions, num_classes) for gap in (1e4, 1e6)
    )
    bounded = bool(np.isfinite(far).all() and far.max() <= near.max() + 1e-6 * abs(near.max()))
    # the rest of a loss of raw logits is on no grid
    rests = np.stack(
        [
            _least(lambda z, y=y: tuple(x[0] for x in evaluate(z, y)), np.zeros(num_classes))[1]
            for y in np.eye(num_classes)
        ]
    )
    places = np.concatenate([points, rests, 1e4 * directions, 1e6 * directions])
    found = [values, _values_of_all_labels(evaluate, rests, num_classes), near, far]

    def extreme(sign: int) -> tuple[float, np.ndarray, int]:
        together = sign * np.concatenate(found)
        place, label = np.unravel_index(np.nanargmax(together), together.shape)
        return sign * float(together[place, label]) + 0.0, places[place], int(label)

    least, least_at, least_label = extreme(-1)
    nearer = np.nanmin(np.concatenate(found[:-1]))
    if least < nearer - 1e-6 * abs(nearer):
        least = -math.inf
    most, most_at, most_label = extreme(1)
    finite = np.isfinite(values).all(-1)
    sums = values[finite].sum(-1)
    return Noise(
        bounded=bounded,
        least=least,
        least_at=least_at,
        least_label=least_label,
        most=most if bounded else math.inf,
        most_at=most_at,
        most_label=most_label,
        symmetric=bool(np.ptp(sums) <= rounding * max(1, np.abs(sums).max())),
        least_sum=float(sums.min()),
        least_sum_at=points[finite][sums.argmin()],
        most_sum=float(sums.max()) if bounded else math.inf,
        most_sum_at=points[finite][sums.argmax()],
    )


def _curvature(
    loss: Loss,
    evaluate: _Evaluate,
    points: _SearchPoints,
    labels: Sequence[int],
    random: np.random.Generator,
) -> Curvature:
    num_classes = points.grid.shape[-1]
    hessians = _in_blocks(partial(hessian, loss), num_classes, num_classes)
    basis = _sum_zero_basis(num_classes)

    def curvatures(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Hessians, zero where they are not finite."""
        matrices = hessians(logits, target)
        return np.where(np.isfinite(matrices).all((-2, -1), keepdims=True), matrices, 0.0)

    def largest(matrices: np.ndarray) -> np.ndarray:
        return np.abs(np.linalg.eigvalsh(matrices)).max(-1)

    def least(matrices: np.ndarray) -> np.ndarray:
        """On 1⊥, the directions that change q."""
        return np.linalg.eigvalsh(basis.T @ matrices @ basis)[:, 0]

    def ascend(objective, starts: np.ndarray) -> tuple[float, np.ndarray]:
        """The largest value, and where, by compass search from several starts at once."""
        best, at = objective(starts), starts.copy()
        steps = np.full(len(starts), 0.5)
        alone = np.eye(num_classes)[:6]
        together = np.eye(num_classes)[6:].sum(0, keepdims=True)
        axes = np.concatenate([alone, together, -alone, -together])
        for _ in range(200):
            if steps.max() < 1e-5:
                break
            others = random.standard_normal([6, num_classes])
            others /= np.linalg.norm(others, axis=-1, keepdims=True)
            directions = np.concatenate([axes, others])
            trials = _within_gap(at[:, None] + steps[:, None, None] * directions)
            tried = objective(trials.reshape(-1, num_classes)).reshape(len(at), -1)
            chosen = tried.argmax(-1)
            rows = np.arange(len(at))
            better = tried[rows, chosen] > best
            at = np.where(better[:, None], trials[rows, chosen], at)
            best = np.where(better, tried[rows, chosen], best)
            steps = np.where(better, steps, steps / 2)
        return float(best.max()), at[best.argmax()]

    starts = max(1, 24 // num_classes)
    # (L, where, label) and (−least, where, label)
    sharpest: tuple[float, np.ndarray, int] = (-math.inf, points.grid[0], 0)
    lowest, shares = sharpest, []
    for label in labels:
        target = np.eye(num_classes)[label]
        here = np.roll(np.concatenate(points), label, -1)
        matrices = curvatures(here, target)
        largest_here, least_here = largest(matrices), least(matrices)
        rough = -1e-9 * np.maximum(largest_here, 1e-300)
        shares.append(np.mean((least_here < rough)[len(points.grid) :]))
        found = ascend(
            lambda z, target=target: largest(curvatures(z, target)),
            here[largest_here.argsort()[-starts:]],
        )
        sharpest = max(sharpest, (*found, label), key=lambda triple: triple[0])
        found = ascend(
            lambda z, target=target: -least(curvatures(z, target)),
            here[least_here.argsort()[:starts]],
        )
        lowest = max(lowest, (*found, label), key=lambda triple: triple[0])
    # what is nothing beside the largest is nothing but rounding
    least_eigenvalue = 0.0 - lowest[0] if abs(lowest[0]) > 1e-9 * sharpest[0] else 0.0
    for label in labels:
        jump = _jump_of_the_gradient(evaluate, np.eye(num_classes)[label], random)
        if jump is not None:
            sharpest = math.inf, jump, label
            break
    smoothness, smoothness_at, smoothness_label = sharpest
    _, least_at, least_label = lowest
    return Curvature(
        least_eigenvalue=least_eigenvalue,
        least_at=least_at,
        not_convex_share=float(np.mean(shares)),
        smoothness=smoothness,
        smoothness_at=smoothness_at,
        largest_step=2 / smoothness if smoothness > 0 else math.inf,
        least_label=least_label,
        smoothness_label=smoothness_label,
    )


def _jump_of_the_gradient(
    evaluate: _Evaluate, target: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """Logits at which the gradient jumps, or None: the steepest stretches of some lines, halved
    until nothing that has a derivative could still change there."""
    num_classes = len(target)
    ends = _LARGEST_GAP * (random.random([2, 48, 1, num_classes]) - 0.5)
    ends[:, 0, 0] = np.where(target == 1, np.array([[-1], [1]]), 0.0) * _LARGEST_GAP
    along = np.linspace(0, 1, 257)[:, None]
    lines = ends[0] + along * (ends[1] - ends[0])
    _, gradients = evaluate(lines.reshape(-1, num_classes), target)
    gradients = gradients.reshape(lines.shape)
    changes = np.linalg.norm(np.diff(gradients, axis=1), axis=-1)
    changes = np.where(np.isfinite(changes), changes, 0.0)
    steepest = np.unravel_index(changes.ravel().argsort()[-64:], changes.shape)
    left, right = lines[:, :-1][steepest], lines[:, 1:][steepest]
    at_left, at_right = gradients[:, :-1][steepest], gradients[:, 1:][steepest]
    for _ in range(32):
        middle = (left + right) / 2
        _, at_middle = evaluate(middle, target)
        first = np.linalg.norm(at_middle - at_left, axis=-1)
        second = np.linalg.norm(at_right - at_middle, axis=-1)
        in_first = (first >= second)[:, None]
        right, at_right = np.where(in_first, middle, right), np.where(in_first, at_middle, at_right)
        left, at_left = np.where(in_first, left, middle), np.where(in_first, at_left, at_middle)
    jumps = np.linalg.norm(at_right - at_left, axis=-1)
    finite = gradients[np.isfinite(gradients).all(-1)]
    if jumps.max() > 1e-6 * np.linalg.norm(finite, axis=-1).max():
        return right[jumps.argmax()]
    return None


def _push(loss: Loss, evaluate: _Evaluate, num_classes: int) -> Push:
    truth = np.eye(num_classes)[0]
    wrong = num_classes - 1

    def behind(margin: ArrayLike) -> np.ndarray:
        """The truth m behind all the others, Σz = 0."""
        return np.multiply.outer(margin, np.where(truth == 1, -wrong, 1.0) / num_classes)

    def norms(logits: np.ndarray) -> np.ndarray:
        return np.linalg.norm(evaluate(logits, truth)[1], axis=-1)

    def vanishes_along(path: Callable[[ArrayLike], np.ndarray]) -> np.ndarray | None:
        """Where on a path between two corners, and not only at its ends, the norm is nothing."""
        places = np.linspace(-10, 10, 161)
        along = norms(path(places))
        along = np.where(np.isfinite(along), along, math.inf)
        if along[80] <= none:
            return path(0.0)
        near = int(along[1:-1].argmin()) + 1
        norm, place = _least_between(
            lambda x: norms(path(x))[0], places[near - 1], places[near + 1]
        )
        inside = near not in (1, len(places) - 2)
        return path(place) if inside and norm <= none else None

    margins = np.linspace(20, -20, 801)
    along = norms(behind(margins))
    top = int(np.nanargmax(along))
    largest, largest_margin = float(along[top]), float(margins[top])
    if 0 < top < len(margins) - 1:
        minus_norm, at = _least_between(
            lambda m: -norms(behind(m))[0], margins[top + 1], margins[top - 1]
        )
        largest, largest_margin = max((largest, largest_margin), (-minus_norm, at))

    def corner(top_class: int, gap: float) -> np.ndarray:
        return gap * (np.eye(num_classes)[top_class] - 1 / num_classes)

    def edge(one: int, other: int) -> Callable[[ArrayLike], np.ndarray]:
        """Two classes alone with each other, the second ahead by the argument."""
        base = np.where(np.isin(np.arange(num_classes), [one, other]), 0.0, -_FAR_GAP)
        base[[one, other]] = 0.0
        return lambda split: base + np.multiply.outer(split, np.eye(num_classes)[other])

    uniform = float(norms(np.zeros(num_classes))[0])
    none = 1e-6 * min(largest, uniform or largest)
    vanishing: list[tuple[str, np.ndarray]] = []
    if norms(corner(0, _FAR_GAP))[0] <= none:
        vanishing.append(("right corner", corner(0, _LARGEST_GAP)))
    if max(norms(corner(j, _FAR_GAP))[0] for j in range(1, num_classes)) <= none:
        vanishing.append(("wrong corners", corner(1, _LARGEST_GAP)))
    if num_classes > 2:
        for name, path in (("far edge", edge(1, 2)), ("near edges", edge(0, 1))):
            place = vanishes_along(path)
            if place is not None:
                vanishing.append((name, _within_gap(place)))
    _, rest = _least(lambda z: tuple(x[0] for x in evaluate(z, truth)), np.zeros(num_classes))
    # A minimum at infinity is approached; from one that is reached it is uphill again.
    uphill = norms(2 * rest)[0] > 2 * norms(rest)[0]
    if norms(rest)[0] <= none and uphill and np.ptp(rest) < 15:
        vanishing.append(("interior", rest))
    return Push(
        largest_norm=largest,
        largest_at=float(1 / (1 + wrong * np.exp(largest_margin))),
        uniform_norm=uniform,
        uniform_power=_uniform_power(loss),
        mistake_norm=float(norms(behind(_MISTAKE_MARGIN))[0]),
        mistake_margin=_MISTAKE_MARGIN,
        vanishes=tuple(name for name, _ in vanishing),
        vanishes_at=tuple(at for _, at in vanishing),
    )


def _uniform_power(loss: Loss) -> float:
    few, many = 300, 3000
    examples = [(np.zeros(count), np.eye(1, count)[0]) for count in (few, many)]
    try:
        gradients = _jit_quickly(lambda *pairs: [jax.grad(loss)(*pair) for pair in pairs])(
            *examples
        )
        ends = [float(np.linalg.norm(gradient)) for gradient in gradients]
    except Exception:  # written for a certain number of classes, it may raise anything
        return math.nan
    return math.log(ends[1] / ends[0], many / few) if all(ends) else math.nan


def _escape(evaluate: _Evaluate, num_classes: int, *, symmetric: bool, smooth: bool) -> EscapeLaw:
    truth = np.eye(num_classes)[0]

    def flow(states: np.ndarray) -> np.ndarray:
        """The flow z′ = −g by its arc length s, dz/ds = −g/‖g‖ and dt/ds = 1/‖g‖, of rows (z, t):
        a plateau costs time and not steps. NaN where there is no direction."""
        g = evaluate(states[:, :-1], truth)[1]
        if symmetric:  # wrong logits that start equal stay so; rounding would part them
            g[:, 1:] = g[:, 1:].mean(-1, keepdims=True)
        norms = np.linalg.norm(g, axis=-1, keepdims=True)
        norms = np.where((norms > 0) & (norms < math.inf), norms, math.nan)
        return np.append(-g, np.ones_like(norms), -1) / norms

    margins = np.array(_MARGINS, float)
    starts = np.append(np.multiply.outer(-margins, truth), np.zeros([len(margins), 1]), -1)
    moves = np.isfinite(flow(starts)[:, -1])
    times = np.full_like(margins, math.inf)
    if moves.any():
        follow = _escape_times if smooth else _escape_times_in_small_steps
        times[moves] = follow(flow, starts[moves])
    return _law(margins, times)


_Flow = Callable[[np.ndarray], np.ndarray]


def _lead(states: np.ndarray) -> Any:
    """Of the truth, at each state, (z, t) in its last axis."""
    return states[..., 0] - states[..., 1:-1].max(-1)


def _escape_times(flow: _Flow, starts: np.ndarray) -> np.ndarray:
    """The times at which the flow from each row reaches the tie; ∞ where it does not.

    As all move at the same speed, they are followed by one solver, until one of them is not on a
    smooth way to the tie: then by one each.
    """
    times = np.full(len(starts), math.inf)
    rows, states = np.arange(len(starts)), starts
    slowness_at_start = flow(starts)[:, -1]  # 1/‖g‖
    least_slowness = slowness_at_start.copy()
    length, step, evaluations = 0.0, None, 0
    while len(rows):
        # The solver's norm of the errors is a mean over rows, but each is to keep its tolerance.
        tolerance = 1e-10 / math.sqrt(len(rows))
        absolute: Any = np.full(states.shape, tolerance)
        absolute[:, -1] *= slowness_at_start[rows]
        solver = DOP853(
            lambda s, state, shape=states.shape: flow(state.reshape(shape)).ravel(),
            length,
            states.ravel(),
            length + 1e4 * (1 - _lead(states).min()),
            first_step=step,
            rtol=tolerance,
            atol=absolute.ravel(),
        )
        arrived = np.zeros(len(rows), bool)
        while not arrived.any():
            before = solver.t
            solver.step()
            states = solver.y.reshape(states.shape)
            arrived = _lead(states) >= 0
            slowness = flow(states)[:, -1]
            least_slowness[rows] = np.fmin(least_slowness[rows], slowness)
            # At a point of rest the direction turns about, and steps shrink to nothing.
            slow = ~(slowness <= 1e6 * least_slowness[rows]) & ~arrived
            lost = (
                not np.isfinite(states).all()
                or (not arrived.any() and solver.status != "running")
                or (slow.any() and solver.t - before < 1e-6)
            )
            if (lost or evaluations + solver.nfev > 3000) and len(starts) > 1:
                return np.concatenate([_escape_times(flow, start[None]) for start in starts])
            if lost:
                return times
            if evaluations + solver.nfev > 3000 and not arrived.any():
                return _escape_times_in_small_steps(flow, states)
        times[rows[arrived]] = _times_at_the_tie(solver, arrived)
        length, step, evaluations = solver.t, solver.step_size, evaluations + solver.nfev
        rows, states = rows[~arrived], states[~arrived]
    return times


def _times_at_the_tie(solver: DOP853, arrived: np.ndarray) -> list[float]:
    """Of the rows that have passed it in the last step."""
    between = solver.dense_output()

    def state(s: float, row: int) -> np.ndarray:
        return between(s).reshape(len(arrived), -1)[row]

    times = []
    for row in np.flatnonzero(arrived).tolist():
        ends: Any = solver.t_old, solver.t
        tie: Any = brentq(lambda s, row: _lead(state(s, row)), *ends, args=(row,), xtol=1e-14)
        times.append(state(tie, row)[-1])
    return times


def _escape_times_in_small_steps(flow: _Flow, states: np.ndarray) -> np.ndarray:
    """The same where the gradient jumps too often to be followed, as one that is rounded does."""
    times = np.full(len(states), math.inf)
    rows = np.arange(len(states))
    step = 1 / 64
    for _ in range(4000):
        before = states
        states = before + step * flow(before + step / 2 * flow(before))
        arrived = _lead(states) >= 0
        share = (_lead(before) / (_lead(before) - _lead(states)))[arrived]
        times[rows[arrived]] = (1 - share) * before[arrived, -1] + share * states[arrived, -1]
        going = ~arrived & np.isfinite(states).all(-1)
        rows, states = rows[going], states[going]
        if not len(rows):
            break
    return times


def _law(margins: np.ndarray, times: np.ndarray) -> EscapeLaw:
    """The simplest law that predicts the margins left out, else the one that predicts them best."""
    late = margins >= min(_FITTED_MARGINS)
    if not np.isfinite(times[late]).all():
        return EscapeLaw("never", (math.nan, math.nan, math.nan), 0.0, margins, times)
    fitted = np.isin(margins, _FITTED_MARGINS)
    left_out = late & ~fitted

    def fit(law: Law, which: np.ndarray) -> EscapeLaw:
        m, t = margins[which], times[which]

        def linear_part(k: float) -> tuple[float, np.ndarray]:
            shape = {
                "constant": np.zeros_like(m),
                "logarithmic": np.log1p(m),
                "linear": m,
                "power": m**k,
                "exponential": np.exp(k * m),
            }[law]
            columns = np.stack([np.ones_like(m), shape], -1)[:, : 1 if law == "constant" else 2]
            # relative errors are made small, those of long times as well as of short ones
            scaled = columns / np.abs(t)[:, None]
            sizes = np.abs(scaled).max(0)
            solution = np.linalg.lstsq(scaled / sizes, np.ones_like(m), rcond=None)[0] / sizes
            return float(np.square(scaled @ solution - 1).sum()), solution

        k = math.nan
        if law in ("power", "exponential"):
            candidates = np.geomspace(0.02, 8.0 if law == "power" else 4.0, 200)
            near = int(np.argmin([linear_part(x)[0] for x in candidates]))
            _, k = _least_between(
                lambda x: linear_part(x)[0],
                candidates[max(near - 1, 0)],
                candidates[min(near + 1, 199)],
            )
        a, b, *_ = (*linear_part(k)[1], math.nan)
        escape = EscapeLaw(law, (float(a), float(b), float(k)), 0.0, margins, times)
        errors = np.abs(escape.predict(margins[left_out]) / times[left_out] - 1)
        return escape._replace(left_out_error=float(errors.max()))

    laws: list[Law] = ["constant", "logarithmic", "linear"]
    for law in laws:
        escape = fit(law, fitted)
        if escape.left_out_error <= _LAW_TOLERANCE:
            return escape
    return min(
        (fit(law, fitted) for law in (*laws, "power", "exponential")),
        key=lambda escape: escape.left_out_error,
    )


def _derivatives(
    loss: Loss,
    evaluate: _Evaluate,
    num_classes: int,
    invariance: Invariance,
    precision: np.dtype,
    random: np.random.Generator,
) -> Derivatives:
    """What `gradients.check_derivatives` does, with the values of the program that is there."""
    unit = float(jax.numpy.finfo(precision).eps)
    logits = 2 * random.standard_normal([8, num_classes])
    targets = random.dirichlet(np.ones(num_classes), len(logits))
    certain = np.eye(num_classes)[targets.argmax(-1)]
    targets[::2] = certain[::2]
    if invariance.soft_targets != "accepted":
        targets = certain
    _, reverse = evaluate(logits, targets)

    distances = _distances()
    shifts = np.multiply.outer(np.eye(num_classes), distances)  # [shifted entry, entry, …]
    around = logits[:, None, None, None, None] + np.moveaxis(shifts, 1, -1)
    of_each = np.broadcast_to(targets[:, None, None, None, None], around.shape)
    values, _ = evaluate(around.reshape(-1, num_classes), of_each.reshape(-1, num_classes))
    central, _, uncertain = map(
        np.asarray, _central_differences(values.reshape(around.shape[:-1]), unit)
    )
    try:
        forward, *_ = _in_blocks(
            lambda z, p: (_of_each_example(jax.jacfwd, loss, z, p),), num_classes
        )(logits, targets)
    except TypeError:  # a custom_vjp; whatever else could raise it has done so in reverse mode
        forward = None

    scale = np.abs(reverse).max(-1)
    relative_to = np.maximum(scale, np.abs(central).max(-1))
    relative_to = np.where(relative_to > 0, relative_to, 1.0)
    off = np.abs(reverse - central).max(-1)
    uncertainty = uncertain.max(-1)
    # differences of values cannot resolve more than they say themselves, nor than the rounding of
    # values as large as elsewhere
    resolved = 1e-6 * scale + 4 * uncertainty + 64 * unit * scale.max()
    right = bool((off <= resolved).all())
    forward_mode = math.nan
    if forward is not None:
        forward_mode = float(np.max(np.abs(reverse - forward).max(-1) / relative_to))
        right &= forward_mode <= max(1e-6, 8 * unit)
    worst = int(np.argmax(np.nan_to_num(off / np.maximum(resolved, 1e-300), nan=math.inf)))
    return Derivatives(
        right=right,
        finite_difference=float(off[worst] / relative_to[worst]),
        uncertainty=float(uncertainty[worst] / relative_to[worst]),
        forward_mode=forward_mode,
        logits=logits[worst],
        targets=targets[worst],
        precision=precision.name,
    )


# Side by side


def comparison_table(cards: Iterable[LossCard], *, markdown: bool = False) -> str:
    """Several cards side by side, one column a loss.

    Args:
        cards: of `card`.
        markdown: as a table in Markdown, not as aligned text.

    Returns:
        The table, without a line break at its end. Points are given as Q = softmax(z).

    Raises:
        ValueError: there are no cards.

    Example:
        >>> from jaxent import cards, losses
        >>> facts = cards.card(losses.softmax_brier_score)
        >>> print(cards.comparison_table([facts]).splitlines()[5])
        2/L                        3.246
    """
    columns = [_column(one) for one in cards]
    if not columns:
        raise ValueError("There must be at least one card to compare.")
    rows = [[fact, *(column[fact] for column in columns)] for fact in columns[0]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if markdown:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        rows.insert(1, ["---"] * len(widths))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _column(one: LossCard) -> dict[str, str]:
    """Every fact in words."""
    properness, curvature, push, escape = one.properness, one.curvature, one.push, one.escape
    noise, invariance, derivatives = one.noise, one.invariance, one.derivatives

    def truth_is(label: int) -> str:
        return "" if invariance.permutation else f", truth {label}"

    if properness.proper:
        proper = "strictly" if properness.strict else "yes, not strictly"
    else:
        proper = (
            f"no: at P = {_distribution(properness.target)} "
            f"least at {'Q' if properness.link == 'softmax' else 'z'} = "
            f"{_distribution(properness.minimizer_q)}"
        )
    near_0 = push.largest_at < 1e-8
    where = "towards p_true = 0" if near_0 else f"at p_true = {_number(push.largest_at)}"
    bounds = f"{_number(noise.least)} to {_number(noise.most)}"
    sums = f"{_number(noise.least_sum)} to {_number(noise.most_sum)}"
    power = "unknown" if math.isnan(push.uniform_power) else f"{push.uniform_power + 0.0:.2f}"
    times = dict(zip(escape.margins, escape.times, strict=True))
    error = "" if escape.law == "never" else f"{escape.left_out_error:.0e}"
    return {
        "": one.name,
        "classes": str(one.num_classes),
        "proper": proper,
        "link": properness.link,
        "smoothness L": f"{_number(curvature.smoothness)} at Q = "
        f"{_q(curvature.smoothness_at)}{truth_is(curvature.smoothness_label)}"
        + (", where the gradient jumps" if math.isinf(curvature.smoothness) else ""),
        "2/L": _number(curvature.largest_step),
        "least eigenvalue": f"{_number(curvature.least_eigenvalue)} at Q = {_q(curvature.least_at)}"
        f"{truth_is(curvature.least_label)}",
        "not convex": f"{100 * curvature.not_convex_share:.1f} % of the simplex",
        "largest push": f"{_number(push.largest_norm)} {where}",
        "push at the uniform start": f"{_number(push.uniform_norm)}, ~ C^{power}",
        f"push {push.mistake_margin:g} logits behind": _number(push.mistake_norm),
        "vanishes at": ", ".join(push.vanishes) or "no point found",
        "escape": escape_law_in_words(escape),
        "off the law by at most": error or "–",
        **{f"time from {m:g} behind": _number(times[m]) for m in (4.0, 12.0) if m in times},
        "range": bounds if noise.bounded else f"{bounds}, not bounded",
        "sum over labels": f"{sums}{', constant' if noise.symmetric else ''}",
        "same after a shift": _yes(invariance.shift, f"changes by {invariance.shift_change:.1g}"),
        "same after renumbering": _yes(
            invariance.permutation, f"changes by {invariance.permutation_change:.1g}"
        ),
        "finite 1,000 logits out": _yes(
            invariance.finite_at_corners,
            f"not at z = {_distribution(invariance.not_finite_at)}, truth "
            f"{invariance.not_finite_label}"
            if invariance.not_finite_at is not None
            else "",
        ),
        "soft targets": invariance.soft_targets,
        "derivatives": _yes(derivatives.right, "WRONG")
        + f", off by {derivatives.finite_difference:.0e} ± {derivatives.uncertainty:.0e}",
        "rounds to": derivatives.precision,
    }


def escape_law_in_words(escape: EscapeLaw) -> str:
    """The law with its numbers, T the time in units of learning rate × steps and m the margin.

    Args:
        escape: of a `LossCard`.

    Returns:
        One line, such as "linear, T = 0.333 + 0.667 m".

    Example:
        >>> import numpy as np
        >>> from jaxent import cards
        >>> margins = np.array([8.0, 10.0, 12.0])
        >>> law = cards.EscapeLaw("linear", (1/3, 2/3, np.nan), 0.0, margins, (1 + 2*margins)/3)
        >>> print(cards.escape_law_in_words(law))
        linear, T = 0.3333 + 0.6667 m
    """
    a, b, k = escape.coefficients
    if escape.law == "never":
        return "never"
    formulas = {
        "constant": "",
        "logarithmic": " ln(1 + m)",
        "linear": " m",
        "power": f" m^{k:.4g}",
        "exponential": f" exp({k:.4g} m)",
    }
    start = f"{a:.4g}" if escape.law == "constant" or abs(a) >= 5e-7 else ""
    if escape.law == "constant":
        return f"constant, T = {start}"
    joint = f" {'−' if b < 0 else '+'} " if start else "−" if b < 0 else ""
    return f"{escape.law}, T = {start}{joint}{abs(b):.4g}{formulas[escape.law]}"


def _number(x: float) -> str:
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    return f"{x + 0.0:.4g}"


def _distribution(q: np.ndarray | None) -> str:
    assert q is not None
    shown = [f"{x:.3g}" if 5e-4 <= abs(x) < 1e3 else f"{x:.0f}" for x in q[:4] + 0.0]
    return f"({', '.join([*shown, '…'] if len(q) > 4 else shown)})"


def _q(logits: np.ndarray) -> str:
    return _distribution(_softmax(logits))


def _yes(holds: bool, otherwise: str) -> str:
    return "yes" if holds else f"no: {otherwise}"
