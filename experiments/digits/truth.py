"""What every loss is, to 50 digits, and the inputs on which it is hard to compute.

The truths are the textbook formulas, one row of exact floats at a time, in arithmetic with so many
digits that whatever cancels leaves 50 of them. The truth of a loss of `jaxent.losses` has its name
and its options. Derivatives are with respect to the logits; of the functions of probabilities, to P
and then to Q. The regions are inputs that are already rounded to the dtype they are for, so that a
truth is the truth of exactly the numbers that a loss is given.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import mpmath
import numpy as np
from mpmath import mpf
from numpy.typing import ArrayLike, DTypeLike

Number: TypeAlias = Any  # an mpmath.mpf; mpmath declares its functions as if they were complex

DIGITS = 50
NOTHING_LEFT = 1e5  # e⁻¹⁰⁰⁰⁰⁰ is no part of 50 digits, and mpmath takes its time over it
WIDEST_GAP = 750.0  # e⁻⁷⁵⁰ is below all that float64 holds: a wider gap asks for no more digits
# CPUs flush numbers below the smallest normal one to zero, and so two terms of each of the eight
# classes of a region.
FORGIVEN = 16


class Truth(NamedTuple):
    """Exact numbers of one row.

    Where terms may nearly cancel, their size is what an error can be counted against: the sum of
    their absolute values for a value, the largest of these for a gradient or a Hessian diagonal.
    """

    value: Number
    gradient: list[Number]
    hessian_diagonal: list[Number] | None = None
    value_size: Number | None = None
    gradient_size: Number | None = None
    hessian_size: Number | None = None


class Row(NamedTuple):
    """Logits z, targets p and q = softmax(z) with its logarithm; class i occurs counts[i] times."""

    z: list[Number]
    p: list[Number]
    q: list[Number]
    log_q: list[Number]
    counts: Sequence[int]

    def sum(self, terms: Iterable[Number]) -> Number:
        return mpmath.fsum(n * term for n, term in zip(self.counts, terms, strict=True))


Formula: TypeAlias = Callable[..., Truth]


def _working_digits(logits: Sequence[float]) -> int:
    """1 − q is about exp(−gap), and squares of it occur."""
    finite = [z for z in logits if math.isfinite(z)]
    half_gap = max(finite) / 2 - min(finite) / 2
    return DIGITS + 20 + int(2 * min(2 * half_gap, WIDEST_GAP) / math.log(10))


@lru_cache(maxsize=4096)
def _softmax(
    logits: tuple[float, ...], counts: tuple[int, ...]
) -> tuple[list[Number], list[Number]]:
    top = mpf(max(logits))
    gaps = [top - mpf(z) for z in logits]
    e = [mpmath.exp(-gap) if gap < NOTHING_LEFT else mpf(0) for gap in gaps]
    normalizer = mpmath.fsum(n * x for n, x in zip(counts, e, strict=True))
    log_normalizer = mpmath.log(normalizer)
    return [x / normalizer for x in e], [-gap - log_normalizer for gap in gaps]


def _exactly(formula: Formula) -> Formula:
    """A formula of a `Row` as a function of logits and targets that are exact floats."""

    @wraps(formula)
    def truth(
        logits: ArrayLike,
        targets: ArrayLike,
        counts: Sequence[int] | None = None,
        **parameters: float,
    ) -> Truth:
        z = tuple(np.asarray(logits).astype(float).tolist())
        p = np.asarray(targets).astype(float).tolist()
        counts = (1,) * len(z) if counts is None else tuple(counts)
        if max(z) == -math.inf:
            return Truth(mpf(0), [mpf(0)] * len(z), [mpf(0)] * len(z))
        with mpmath.workdps(_working_digits(z)):
            row = Row([mpf(x) for x in z], [mpf(x) for x in p], *_softmax(z, counts), counts)
            return formula(row, **{name: mpf(number) for name, number in parameters.items()})

    return truth


def options_of(truth: Formula, dtype: DTypeLike) -> dict[str, float]:
    """The options at which a loss is measured: the defaults of its truth, rounded to the dtype."""
    parameters = [*inspect.signature(truth).parameters.values()][1:]
    return {one.name: float(np.dtype(dtype).type(one.default)) for one in parameters}


def _product(p: Number, x: Number) -> Number:
    return mpf(0) if p == 0 else p * x


def _residuals(row: Row) -> list[Number]:
    return [q - p for p, q in zip(row.p, row.q, strict=True)]


def _weighted_surprisals(row: Row) -> list[Number]:
    return [_product(p, -log_q) for p, log_q in zip(row.p, row.log_q, strict=True)]


def _from_probabilities(row: Row, v: Sequence[Number]) -> list[Number]:
    """J v, J = diag(q) − q qᵀ; exactly 0 for a constant v, relative to its first."""
    relative = [x - v[0] for x in v]
    mean = row.sum(q * x for q, x in zip(row.q, relative, strict=True))
    return [q * (x - mean) for q, x in zip(row.q, relative, strict=True)]


# Losses that are held to a limit


@_exactly
def softmax_cross_entropy(row: Row) -> Truth:
    """−Σ p log q."""
    mass = row.sum(row.p)
    return Truth(
        value=row.sum(_weighted_surprisals(row)),
        gradient=[mass * q - p for p, q in zip(row.p, row.q, strict=True)],
        hessian_diagonal=[mass * q * (1 - q) for q in row.q],
        gradient_size=max(row.p),
    )


@_exactly
def softmax_kl_divergence(row: Row) -> Truth:
    """Σ p log(p/q)."""
    pairs = zip(row.p, row.log_q, strict=True)
    terms = [p * (mpmath.log(p) - log_q) if p else mpf(0) for p, log_q in pairs]
    mass = row.sum(row.p)
    return Truth(
        value=row.sum(terms),
        gradient=[mass * q - p for p, q in zip(row.p, row.q, strict=True)],
        hessian_diagonal=[mass * q * (1 - q) for q in row.q],
        value_size=row.sum(abs(term) for term in terms),
        gradient_size=max(row.p),
    )


@_exactly
def softmax_brier_score(row: Row) -> Truth:
    """Σ (q − p)²."""
    r = _residuals(row)
    mean = row.sum(q * x for q, x in zip(row.q, r, strict=True))
    square = row.sum(q * q for q in row.q)
    # ∂(q (r − q·r))/∂z is the sum of these two, of which the first may have either sign
    slopes = [q * (1 - 2 * q) * (x - mean) for q, x in zip(row.q, r, strict=True)]
    bends = [q * q * (1 - 2 * q + square) for q in row.q]
    pairs = list(zip(slopes, bends, strict=True))
    return Truth(
        value=row.sum(x * x for x in r),
        gradient=[2 * x for x in _from_probabilities(row, r)],
        hessian_diagonal=[2 * (slope + bend) for slope, bend in pairs],
        hessian_size=max(2 * (abs(slope) + abs(bend)) for slope, bend in pairs),
    )


@_exactly
def entropy_of_logits(row: Row) -> Truth:
    """−Σ q log q."""
    surprisals = [_product(q, -log_q) for q, log_q in zip(row.q, row.log_q, strict=True)]
    value = row.sum(surprisals)
    gradient = [s - q * value for q, s in zip(row.q, surprisals, strict=True)]
    pairs = [((1 - 2 * q) * slope, q * (1 - q)) for q, slope in zip(row.q, gradient, strict=True)]
    return Truth(
        value,
        gradient,
        hessian_diagonal=[x - y for x, y in pairs],
        hessian_size=max(abs(x) + y for x, y in pairs),
    )


def _binary(formula: Formula) -> Formula:
    """A formula of the classes (no, yes) as a function of one logit and one label, each [1]."""

    @wraps(formula)
    def truth(logits: ArrayLike, labels: ArrayLike) -> Truth:
        (s,), (y,) = np.asarray(logits).astype(float), np.asarray(labels).astype(float)
        z = (0.0, float(s)) if s < math.inf else (-math.inf, 0.0)
        with mpmath.workdps(_working_digits(z)):
            targets = [1 - mpf(float(y)), mpf(float(y))]
            return formula(Row([mpf(x) for x in z], targets, *_softmax(z, (1, 1)), (1, 1)))

    return truth


@_binary
def sigmoid_binary_cross_entropy(row: Row) -> Truth:
    """−y log σ(s) − (1 − y) log(1 − σ(s))."""
    return Truth(
        value=row.sum(_weighted_surprisals(row)),
        gradient=[row.q[1] - row.p[1]],
        hessian_diagonal=[row.q[0] * row.q[1]],
    )


# Losses that are measured


@_exactly
def softmax_mean_squared_error(row: Row) -> Truth:
    """(1/C) Σ (q − p)²."""
    r, classes = _residuals(row), sum(row.counts)
    gradient = _from_probabilities(row, r)
    return Truth(row.sum(x * x for x in r) / classes, [2 * x / classes for x in gradient])


@_exactly
def softmax_mean_absolute_error(row: Row) -> Truth:
    """(1/C) Σ |q − p|."""
    r, classes = _residuals(row), sum(row.counts)
    gradient = _from_probabilities(row, [mpf(mpmath.sign(x)) for x in r])
    return Truth(row.sum(abs(x) for x in r) / classes, [x / classes for x in gradient])


@_exactly
def generalized_cross_entropy(row: Row, exponent: Number = 0.7) -> Truth:
    """Σ p (1 − q^γ)/γ."""
    powers = [p * q**exponent for p, q in zip(row.p, row.q, strict=True)]
    total = row.sum(powers)
    return Truth(
        (row.sum(row.p) - total) / exponent,
        [q * total - power for q, power in zip(row.q, powers, strict=True)],
    )


@_exactly
def softmax_focal_loss(row: Row, gamma: Number = 2.0) -> Truth:
    """−Σ p (1 − q)^γ log q."""
    triples = list(zip(row.p, row.q, row.log_q, strict=True))
    # of each class's term, q times the derivative by q
    slopes = [
        p * (gamma * (1 - q) ** (gamma - 1) * _product(q, log_q) - (1 - q) ** gamma)
        for p, q, log_q in triples
    ]
    total = row.sum(slopes)
    return Truth(
        row.sum(_product(p, (1 - q) ** gamma * -log_q) for p, q, log_q in triples),
        [slope - q * total for q, slope in zip(row.q, slopes, strict=True)],
    )


@_exactly
def squentropy(row: Row) -> Truth:
    """Σ_y p_y [−log q_y + (1/(C−1)) Σ_{j≠y} z_j²]."""
    mass, wrong_classes = row.sum(row.p), max(sum(row.counts) - 1, 1)
    triples = list(zip(row.p, row.q, row.z, strict=True))
    squares = row.sum(_product(mass - p, z * z) for p, _, z in triples)
    return Truth(
        row.sum(_weighted_surprisals(row)) + squares / wrong_classes,
        [mass * q - p + 2 * _product(mass - p, z) / wrong_classes for p, q, z in triples],
    )


@_exactly
def logit_squared_error(
    row: Row, true_class_weight: Number = 3.0, true_class_value: Number = 15.0
) -> Truth:
    """Σ (1 + (k − 1) p) (z − M p)²."""
    k, m = true_class_weight, true_class_value
    pairs = [(1 + (k - 1) * p, z - m * p) for p, z in zip(row.p, row.z, strict=True)]
    return Truth(row.sum(w * x * x for w, x in pairs), [2 * w * x for w, x in pairs])


@_binary
def sigmoid_squared_error(row: Row) -> Truth:
    """(σ(s) − y)²."""
    residual = row.q[1] - row.p[1]
    return Truth(residual**2, [2 * residual * row.q[0] * row.q[1]])


# Functions of probabilities


def _exactly_of_probabilities(formula: Formula) -> Formula:
    @wraps(formula)
    def truth(*distributions: ArrayLike) -> Truth:
        rows = [np.asarray(p).astype(float).tolist() for p in distributions]
        with mpmath.workdps(2 * DIGITS + 20):
            return formula(*([mpf(x) for x in row] for row in rows))

    return truth


def _surprisal(p: Number) -> Number:
    return -mpmath.log(p) if p else mpf("inf")


def _quotient(p: Number, q: Number) -> Number:
    return mpf(0) if p == 0 else p / q if q else mpf("inf")


@_exactly_of_probabilities
def entropy(p: list[Number]) -> Truth:
    """−Σ p log p."""
    value = mpmath.fsum(_product(x, _surprisal(x)) for x in p)
    return Truth(value, [_surprisal(x) - 1 for x in p])


@_exactly_of_probabilities
def cross_entropy_of_probabilities(p: list[Number], q: list[Number]) -> Truth:
    """−Σ p log q."""
    pairs = list(zip(p, q, strict=True))
    return Truth(
        mpmath.fsum(_product(x, _surprisal(y)) for x, y in pairs),
        [_surprisal(y) for y in q] + [-_quotient(x, y) for x, y in pairs],
    )


@_exactly_of_probabilities
def kl_divergence_of_probabilities(p: list[Number], q: list[Number]) -> Truth:
    """Σ p log(p/q)."""
    pairs = list(zip(p, q, strict=True))
    logs = [_surprisal(y) - _surprisal(x) if x else -mpf("inf") for x, y in pairs]
    terms = [_product(x, log) for x, log in zip(p, logs, strict=True)]
    return Truth(
        mpmath.fsum(terms),
        [log + 1 for log in logs] + [-_quotient(x, y) for x, y in pairs],
        value_size=mpmath.fsum(abs(term) for term in terms),
    )


@_exactly_of_probabilities
def jensen_shannon_divergence(p: list[Number], q: list[Number]) -> Truth:
    """½ Σ p log(p/m) + ½ Σ q log(q/m), m = ½ (p + q)."""
    pairs = [*zip(p, q, strict=True), *zip(q, p, strict=True)]
    logs = [
        mpf(0) if x == y else mpmath.log(2 * x / (x + y)) if x else -mpf("inf") for x, y in pairs
    ]
    terms = [_product(x, log) for (x, _), log in zip(pairs, logs, strict=True)]
    return Truth(mpmath.fsum(terms) / 2, [log / 2 for log in logs])


# Errors


def ulps(
    received: ArrayLike, expected: Sequence[Number], dtype: DTypeLike, size: Number | None = None
) -> float:
    """The largest error, in units in the last place that `size` has in the dtype.

    `size` is the largest of the finite expected numbers unless it is given. An infinity is right
    where it is expected, or where the number is too large for the dtype; elsewhere it is an
    infinite error, and so is a NaN. What is flushed to zero is forgiven.
    """
    limits = jnp.finfo(dtype)
    # half types are computed in float32
    forgiven = FORGIVEN * float(jnp.finfo(jnp.promote_types(dtype, jnp.float32)).tiny)
    with mpmath.workdps(DIGITS):
        if size is None:
            size = max((abs(y) for y in expected if mpmath.isfinite(y)), default=mpf(1))
        exponent = int(mpmath.frexp(size)[1]) - 1 if size else limits.minexp
        unit = mpf(2) ** (max(exponent, limits.minexp) - limits.nmant)
        errors = [
            _distance(x, y, float(limits.max))
            for x, y in zip(np.asarray(received).astype(float).tolist(), expected, strict=True)
        ]
        return float(max(max(errors) - forgiven, 0) / unit)


def _distance(received: float, expected: Number, largest: float) -> Number:
    if math.isfinite(received):
        return abs(received - expected)
    overflows = math.isinf(received) and math.copysign(1, received) * expected > largest
    return mpf(0) if received == expected or overflows else mpf("inf")


# Inputs


class Region(NamedTuple):
    """Rows [rows, classes] that are hard, or easy, in the same way."""

    logits: np.ndarray
    targets: np.ndarray

    @property
    def labels(self) -> np.ndarray | None:
        """The classes that the targets name, if they are one-hot."""
        labels = np.argmax(self.targets, -1)
        one_hot = np.eye(self.targets.shape[-1])[labels]
        return labels if np.array_equal(self.targets.astype(float), one_hot) else None


def widest_gap(dtype: DTypeLike) -> float:
    """About the widest gap of two logits whose exponential the dtype holds."""
    return {"float16": 16.0, "float64": 700.0}.get(np.dtype(dtype).name, 80.0)


NEARLY_EQUAL = "P nearly Q"
LIGHTLY_SMOOTHED = "lightly smoothed, right"


def sizes(region: str, exact: Truth) -> tuple[Number | None, Number | None]:
    """What the errors of value and gradient are counted against; None: against themselves.

    Where Q is next to P, q Σp − p is as small as the rounding of Σp, and so are the terms of KL.
    """
    value = exact.value_size if region == NEARLY_EQUAL else None
    gradient = exact.gradient_size if region in (NEARLY_EQUAL, LIGHTLY_SMOOTHED) else None
    return value, gradient


def regions(dtype: DTypeLike, *, rows: int = 12, seed: int = 0) -> dict[str, Region]:
    """Logits and targets of eight classes, by the name of what is hard about them."""
    random, dtype, classes = np.random.default_rng(seed), np.dtype(dtype), 8
    largest, gap = float(jnp.finfo(dtype).max), widest_gap(dtype)
    every, shape, gaps = np.arange(rows), (rows, classes), np.linspace(1.0, gap, rows)

    def ordinary() -> np.ndarray:
        return random.normal(0, 2, shape)

    def soft() -> np.ndarray:
        return random.dirichlet(np.ones(classes), rows)

    def labels() -> np.ndarray:
        return random.integers(classes, size=rows)

    def one_hot(label: np.ndarray) -> np.ndarray:
        return np.eye(classes)[label]

    def smoothed(label: np.ndarray, *alphas: float) -> np.ndarray:
        alpha = np.resize(alphas, rows)[:, None]
        return (1 - alpha) * one_hot(label) + alpha / classes

    def ahead(label: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Ordinary logits, but one ahead of all others by so much, and none by more than gap."""
        logits = np.where(one_hot(label) == 1, -np.inf, ordinary())
        top = logits.max(-1) + by
        logits[every, label] = top
        return np.maximum(logits, top[:, None] - gap)

    one, other = labels(), labels()
    wrong = (one + 1) % classes
    right = ahead(one, gaps)
    tied = ahead(one, gaps)
    tied[every, wrong] = tied[every, one]
    kept = random.random(shape) < 0.5
    kept[every, one] = True
    some = np.where(kept, soft(), 0)
    some /= some.sum(-1, keepdims=True)
    masked = np.where(random.random(shape) < 0.5, -np.inf, 3 * ordinary())
    masked[every, one] = 3 * random.normal(0, 2, rows)
    masked[0, np.arange(classes) != one[0]] = -np.inf
    extremes = largest * random.choice([-1.0, 0.0, 0.5, 1.0], shape)
    high = min(1e30, largest / 2)
    even = np.append(20.0, gaps[1:])[:, None]
    near = random.normal(0, 1, shape).astype(np.float32)
    near -= np.log(np.exp(near).sum(-1, keepdims=True))
    steps = np.logspace(-1, -5, rows)[:, None] * random.choice([-1, 1], shape)

    found = {
        "random": (3 * ordinary(), soft()),
        "random, one-hot": (3 * ordinary(), one_hot(other)),
        "confident right": (right, one_hot(one)),
        "confident wrong": (right, one_hot(wrong)),
        "smoothed, right": (right, smoothed(one, 0.5, 0.3, 0.2, 0.1)),
        "smoothed, wrong": (right, smoothed(wrong, 0.5, 0.1, 1e-2, 1e-3, 1e-6, 1e-30)),
        LIGHTLY_SMOOTHED: (right, smoothed(one, 1e-2, 1e-3, 1e-6, 1e-30)),
        "zeros in P": (3 * ordinary(), some),
        "zeros in Q": (np.where(kept, 3 * ordinary(), -np.inf), some),
        "q = 0 < p": (np.where(kept, 3 * ordinary(), -np.inf), soft()),
        "−inf masks": (masked, one_hot(np.argmax(masked, -1))),
        "all classes masked": (np.full(shape, -np.inf), one_hot(other)),
        "P not summing to one": (ordinary(), soft() * np.resize([0, 1e-3, 0.5, 3], rows)[:, None]),
        "±1e4": (random.uniform(-1e4, 1e4, shape), one_hot(other)),
        "±1e4, soft": (random.uniform(-1e4, 1e4, shape), soft()),
        "±max": (extremes, one_hot(other)),
        "±max, soft": (extremes, soft()),
        "offset 1e4": (1e4 + ordinary(), one_hot(other)),
        "offset 1e4, soft": (1e4 + ordinary(), soft()),
        "ties at 1e30": (high * random.choice([-1.0, 0.0, 1.0, 1.0], shape), one_hot(other)),
        "ties at 1e30, soft": (np.full(shape, high), soft()),
        "near ties": (-(10 ** random.uniform(-10, -3, shape)), one_hot(other)),
        "truth tied": (tied, one_hot(one)),
        "wrong mass even": (-even * one_hot(one), one_hot(one)),
        "wrong mass on one class": (gaps[:, None] * one_hot(wrong), one_hot(one)),
        NEARLY_EQUAL: (near + steps, np.exp(near)),
    }
    return {
        name: Region(logits.astype(dtype), targets.astype(dtype))
        for name, (logits, targets) in found.items()
    }


def binary_regions(dtype: DTypeLike, *, rows: int = 12, seed: int = 0) -> dict[str, Region]:
    """Logits and labels [rows, 1] of yes or no, by the name of what is hard about them."""
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    gaps, largest = np.linspace(1.0, widest_gap(dtype), rows), float(jnp.finfo(dtype).max)
    yes = random.integers(2, size=rows)
    toward = np.where(yes, gaps, -gaps)

    def smoothed(*alphas: float) -> np.ndarray:
        alpha = np.resize(alphas, rows)
        return (1 - alpha) * yes + alpha / 2

    found = {
        "random": (random.normal(0, 4, rows), random.uniform(size=rows)),
        "random, yes or no": (random.normal(0, 4, rows), yes),
        "confident right": (toward, yes),
        "confident wrong": (-toward, yes),
        "smoothed, right": (toward + 3 * np.sign(toward), smoothed(0.5, 0.3, 0.2, 0.1)),
        "smoothed, wrong": (-toward, smoothed(0.5, 0.1, 1e-2, 1e-3, 1e-6, 1e-30)),
        "±1e4": (random.uniform(-1e4, 1e4, rows), random.uniform(size=rows)),
        "±max": (largest * random.choice([-1.0, 1.0], rows), yes),
        "±inf": (np.inf * random.choice([-1.0, 1.0], rows), yes),
        "truth tied": (np.zeros(rows), yes),
    }
    return {
        name: Region(logits[:, None].astype(dtype), labels[:, None].astype(dtype))
        for name, (logits, labels) in found.items()
    }


class Pair(NamedTuple):
    """Rows [rows, outcomes] of two distributions P and Q."""

    p: np.ndarray
    q: np.ndarray


def pairs_of_distributions(dtype: DTypeLike, *, rows: int = 12, seed: int = 0) -> dict[str, Pair]:
    """P and Q over eight outcomes, by the name of what is hard about them."""
    random, outcomes = np.random.default_rng(seed), 8
    one_hot = np.eye(outcomes)[np.zeros(rows, int)]
    little = np.exp(-np.linspace(1.0, widest_gap(dtype), rows))[:, None]
    sure = np.where(one_hot == 1, 1 - little, little / (outcomes - 1))

    def soft(concentration: float = 1.0) -> np.ndarray:
        return random.dirichlet(np.full(outcomes, concentration), rows)

    def some() -> np.ndarray:
        kept = soft() * (random.random((rows, outcomes)) < 0.7)
        return kept / kept.sum(-1, keepdims=True)

    p = soft()
    steps = np.logspace(-1, -5, rows)[:, None] * random.choice([-1, 1], (rows, outcomes))
    found = {
        "random": (soft(), soft()),
        "peaked": (soft(0.1), soft(0.1)),
        "confident right": (one_hot, sure),
        "confident wrong": (np.roll(one_hot, 1, -1), sure),
        "zeros in P": (some(), soft()),
        "q = 0 < p": (soft(), some()),
        "disjoint": (np.roll(one_hot, 1, -1), one_hot),
        NEARLY_EQUAL: (p, p * (1 + steps)),
    }
    return {name: Pair(p.astype(dtype), q.astype(dtype)) for name, (p, q) in found.items()}


class MillionClasses(NamedTuple):
    """A row of a million classes in a few kinds [kinds], of which kind k occurs counts[k] times."""

    logits: np.ndarray
    targets: np.ndarray
    counts: tuple[int, ...]


def million_classes(dtype: DTypeLike) -> dict[str, MillionClasses]:
    """The first kind is the truth, and the second a single wrong class."""
    counts = (1, 1, 99_998, 400_000, 500_000)
    others, truth = [1.7, -0.4, -3.3], np.array([1.0, 0, 0, 0, 0])
    found = {
        "random": ([2.3, 0.9, *others], truth),
        "confident right": ([45.3, 0.9, *others], truth),
        "wrong mass even": ([-20.0, 0, 0, 0, 0], truth),
        "wrong mass on one class": ([0.3, 45.3, *others], truth),
        "smoothed": ([12.1, 0.9, *others], 0.8 * truth + 0.2e-6),
    }
    return {
        name: MillionClasses(np.asarray(logits).astype(dtype), targets.astype(dtype), counts)
        for name, (logits, targets) in found.items()
    }


@lru_cache
def shuffled(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The kind of every class in no particular order, and where each kind occurs first."""
    kinds = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return kinds, np.unique(kinds, return_index=True)[1]
