"""Limits at infinity, from values along rays at distances that double; and extremes over all logits."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent.cards._measuring import LARGEST_GAP, Subject, local_minimum

DISTANCES = 2.0 ** np.arange(41)
"""1, 2, 4, … 1.1e12, in logits."""

# Differences that shrink like a power of the distance keep their ratio from one distance to the
# next. Logarithms do not.
_SLOWEST_POWER = 0.02
_SAME_POWER = 0.8
_WINDOW = 4


def limit(values: Float[np.ndarray, " distances"], rounding: float = 1e-13) -> tuple[float, int]:
    """The limit of values at `DISTANCES`, to which slow tails are followed by extrapolation.

    If the differences dₖ between neighbours shrink like a power of the distance, dₖ₊₁ = ρ dₖ, the
    rest of their sum is dₙ ρ/(1 − ρ), as in Aitken's method. Values from the first NaN on count
    for nothing. Where values far out are rounding errors, the nearer ones decide.

    Args:
        values: at the distances, in their order.
        rounding: relative, up to which two values are the same.

    Returns:
        The limit, and the number of values that decided. The limit is ±∞ if the values grow
        without end, and NaN if it cannot be told, as of log log.

    Example:
        >>> print(round(limit(2 - 1 / DISTANCES)[0], 12), limit(np.log(DISTANCES))[0])
        2.0 inf
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    count = len(values) if finite.all() else int(finite.argmin())
    if count < len(values) and np.isinf(values[count]):
        return float(values[count]), count
    for used in (count, *(shorter for shorter in (31, 21, 11) if shorter < count)):
        end = _limit(values[:used], rounding)
        if not math.isnan(end):
            return end, used
    return math.nan, min(count, 11)


def _limit(values: np.ndarray, rounding: float) -> float:
    if len(values) < 2 * _WINDOW:
        return math.nan
    last = float(values[-1])
    differences = np.diff(values)
    moving = np.abs(differences) > rounding * np.maximum(np.abs(values[1:]), 1e-290)
    if not moving[-_WINDOW:].all():
        return last
    signs = np.sign(differences[-_WINDOW:])
    if np.ptp(signs):  # not a tail, but a rounding error
        small = np.abs(differences[-_WINDOW:]).max() <= 100 * rounding * np.abs(values[:4]).max()
        return last if small else math.nan

    def power(end: int) -> float:
        """k of differences like (distance)⁻ᵏ, before one of them."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.abs(differences[end] / differences[end - _WINDOW])
            return float(-np.log2(ratio) / _WINDOW)

    late, earlier = power(len(differences) - 1), power(max(len(differences) // 2, _WINDOW))
    if late <= _SLOWEST_POWER and earlier <= 2 * _SLOWEST_POWER:
        return math.copysign(math.inf, signs[-1])
    if late <= _SLOWEST_POWER or late < _SAME_POWER * earlier:
        return math.nan
    ratio = 2.0**-late
    end = last + float(differences[-1]) * ratio / (1 - ratio)
    return end if abs(end) > 1e-6 * abs(last) else 0.0


class Extreme(NamedTuple):
    """The least or the largest value of a function of the logits.

    Attributes:
        value: ±∞ if there is none, NaN if no limit was found on a way on which the values pass all
            others.
        logits: the place, or a point far out on the way to it, [C].
        attained: the value was met within `LARGEST_GAP`, and no ray leads past it.
    """

    value: float
    logits: Float[np.ndarray, " classes"]
    attained: bool


def extreme(
    subject: Subject,
    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    places: np.ndarray,
    sign: int,
) -> Extreme:
    """The least (sign −1) or the largest (1) value of a function over all logits.

    The best of some places is improved by descent and by compass search, and compared with the
    limits along rays.

    Args:
        subject: its rays are taken.
        function: of logits [N, C] to values [N] and gradients [N, C].
        places: logits, [N, C].
        sign: −1 or 1.
    """

    def downhill(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = function(logits)
        return np.where(np.isnan(values), math.inf, -sign * values), -sign * gradients

    heights, _ = downhill(places)
    best, at = math.inf, places[heights.argmin()]
    starts = [at, np.zeros(subject.num_classes)]
    for start in starts:
        found, where = local_minimum(
            lambda z: tuple(part[0] for part in downhill(z[None])),  # pyright: ignore
            start,
        )
        best, at = min((best, at), (found, where), (float(heights.min()), starts[0]), key=_first)
    best, at = _compass(downhill, best, at, subject)

    rays = subject.rays
    along = (DISTANCES[:, None, None] * rays).reshape(-1, subject.num_classes)
    on_rays = -sign * function(along)[0].reshape(len(DISTANCES), len(rays))
    far = []
    for values in on_rays.T:
        end, used = limit(values, max(1e-13, 1e-4 * subject.rounding))
        far.append((float(np.nanmin(np.append(values[:used], end))), end))
    nearest = min(range(len(far)), key=lambda ray: far[ray][0])
    lowest, end = far[nearest]
    if lowest < best - 1e-15 * abs(best):
        value = -sign * (end if math.isnan(end) else lowest)
        return Extreme(value + 0.0, 1e6 * rays[nearest], False)
    return Extreme(-sign * best + 0.0, at, True)


def _first(pair: tuple[float, np.ndarray]) -> float:
    return pair[0]


def _compass(
    downhill: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    best: float,
    at: np.ndarray,
    subject: Subject,
) -> tuple[float, np.ndarray]:
    """Coordinate search with halved steps, which finds minima at kinks to the last digit."""
    moves = np.concatenate([np.eye(subject.num_classes)[:6], *subject.groups])
    moves = np.concatenate([moves, -moves])
    step = 0.5
    while step > 1e-16 * max(1.0, np.abs(at).max()) and math.isfinite(best):
        trials = np.clip(at + step * moves, -LARGEST_GAP, LARGEST_GAP)
        heights = downhill(trials)[0]
        chosen = int(heights.argmin())
        if heights[chosen] < best:
            best, at = float(heights[chosen]), trials[chosen]
        else:
            step /= 2
    return best, at
