"""Limits at infinity, from values along rays; and extremes over all logits."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent.cards._measuring import FARTHEST_MINIMUM, LARGEST_GAP, Subject, local_minimum

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
        if not math.isnan(end) and not _passed(end, values[used - _WINDOW : count]):
            return end, used
    return math.nan, min(count, 11)


def _limit(values: np.ndarray, rounding: float) -> float:
    if len(values) < 2 * _WINDOW:
        return math.nan
    last, late = float(values[-1]), values[-2 * _WINDOW :]
    if late.min() <= 0 <= late.max() and np.ptp(late) <= 100 * rounding * np.abs(values[:4]).max():
        return 0.0
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


def _passed(end: float, values: np.ndarray) -> bool:
    """Whether values go on beyond a supposed limit in ever smaller steps, as no rounding does."""
    steps = np.diff(values)
    one_way = steps.min() > 0 or steps.max() < 0
    smaller = bool((np.diff(np.abs(steps)) <= 0).all())
    return bool(one_way and smaller and (values[-1] - end) * steps[-1] > 0)


class Extreme(NamedTuple):
    """The least or the largest value of a function of the logits.

    Attributes:
        value: ±∞ if there is none, NaN if no limit was found on a way on which the values pass all
            others.
        logits: the place, or a point far out on the way to it, [C].
        attained: the value was met at the place, and no ray leads past it.
    """

    value: float
    logits: Float[np.ndarray, " classes"]
    attained: bool


def extremes(
    subject: Subject,
    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    places: tuple[np.ndarray, np.ndarray],
) -> tuple[Extreme, Extreme]:
    """The least and the largest value of a function over all logits.

    The best of some places is improved by descent and by compass search, and compared with the
    limits along rays.

    Args:
        subject: its rays are taken.
        function: of numbers of its groups [N, groups] to values [N] and gradients [N, groups].
        places: numbers for which the function is small, and for which it is large, [N, groups].
    """
    along = (DISTANCES[:, None, None] * subject.rays).reshape(-1, len(subject.groups))
    on_rays = function(along)[0].reshape(len(DISTANCES), -1)
    least, most = (
        _extreme(subject, function, nearby, sign, on_rays)
        for nearby, sign in zip(places, (-1, 1), strict=True)
    )
    return least, most


def _extreme(
    subject: Subject,
    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    places: np.ndarray,
    sign: int,
    on_rays: np.ndarray,
) -> Extreme:
    def downhill(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = function(logits)
        return np.where(np.isnan(values), math.inf, -sign * values), -sign * gradients

    def descend(start: np.ndarray, largest: float) -> tuple[float, np.ndarray]:
        def of_one(logits: np.ndarray) -> tuple[float, np.ndarray]:
            values, gradients = downhill(logits)
            return float(values[0]), gradients[0]

        return local_minimum(of_one, start, largest)

    heights, _ = downhill(places)
    found = [(float(heights.min()), places[heights.argmin()])]
    found += [descend(start, LARGEST_GAP) for start in (found[0][1], 0 * found[0][1])]
    if subject.reads_raw_logits:
        lowest = min(found, key=lambda pair: pair[0])[1]
        if np.abs(lowest).max() >= LARGEST_GAP:  # a level may be best that lies farther out
            farther = descend(lowest, FARTHEST_MINIMUM)
            found += [farther] if np.abs(farther[1]).max() < FARTHEST_MINIMUM else []
    best, at = _compass(downhill, *min(found, key=lambda pair: pair[0]), subject)
    nearby = at * (1 + 1e-12 * subject.random.standard_normal([8, len(at)]))
    scatter = np.abs(downhill(nearby)[0] - best).max() if math.isfinite(best) else 0.0
    best = best if abs(best) > 4 * scatter else 0.0  # nothing but rounding

    far = []
    for values in -sign * on_rays.T:
        end, used = limit(values, max(1e-13, 1e-4 * subject.rounding))
        far.append((np.nanmin(values[:used]) if math.isnan(end) else end, end))
    nearest = min(range(len(far)), key=lambda ray: far[ray][0])
    lowest, end = far[nearest]
    undecided = math.isnan(end)
    if lowest < best - (1e-6 * max(1.0, abs(best)) if undecided else 4 * scatter):
        value = math.nan if undecided else -sign * lowest
        return Extreme(value, 1e6 * subject.spread(subject.rays[nearest]), False)
    return Extreme(-sign * best, subject.spread(at), True)


def _compass(
    downhill: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    best: float,
    at: np.ndarray,
    subject: Subject,
) -> tuple[float, np.ndarray]:
    """Coordinate search with halved steps, which finds minima at kinks to the last digit."""
    step = 0.5
    finest = 1e-16 if subject.thinning == 1 else 1e-6
    while step > finest * max(1.0, np.abs(at).max()) and math.isfinite(best):
        trials = np.clip(at + step * subject.moves, -LARGEST_GAP, LARGEST_GAP)
        heights = downhill(trials)[0]
        chosen = int(heights.argmin())
        if heights[chosen] < best:
            best, at = float(heights[chosen]), trials[chosen]
        else:
            step /= 2
    return best, at


Kind = Literal["zero", "exponential", "power", "fades", "constant", "grows", "unknown"]


class Tail(NamedTuple):
    """How a gradient norm behaves far out on a ray.

    Attributes:
        kind: "zero": exactly 0 from `start` on, after a jump; "exponential": fades like e⁻ᵏᵐ;
            "power": fades like m⁻ᵏ; "fades": to 0, in another way; "constant": tends to `end`;
            "grows": without end; "unknown".
        rate: k; NaN where there is none.
        start: the distance from which the norm is 0; ∞ if there is none.
        end: the limit of the norm.
    """

    kind: Kind
    rate: float
    start: float
    end: float

    @property
    def vanishes(self) -> bool:
        return self.kind in ("zero", "exponential", "power", "fades")

    def in_words(self) -> str:
        """In the words of a table, m the distance."""
        rate = f"{self.rate:.3g}"
        power = "" if rate == "1" else f"^{rate}"
        return {
            "zero": f"exactly 0 from {self.start:.4g} on",
            "exponential": f"fades like exp(−{'' if rate == '1' else f'{rate} '}m)",
            "power": f"fades like 1/m{power}",
            "fades": "fades",
            "constant": f"tends to {self.end:.4g}",
            "grows": "grows without end",
            "unknown": "unknown",
        }[self.kind]


FARTHEST = 300.0
"""How far behind a truth is looked at, in logits: e⁻³⁰⁰ is 1e-130, and still a number."""


def tail(norms: Callable[[np.ndarray], np.ndarray], subject: Subject) -> Tail:
    """How a gradient norm of the subject, a function of distances [N], behaves far out."""
    near = np.linspace(0.0, FARTHEST, 1 + 1200 // subject.thinning)
    sizes = norms(near)
    largest = float(np.nanmax(sizes))
    if sizes[-1] == 0:
        start, before = zero_from(norms, near, sizes)
        if before is None or before > 1e-12 * largest:
            return Tail("zero", math.nan, start, 0.0)
    far = norms(DISTANCES)
    end, used = limit(far)
    if math.isinf(end):
        return Tail("grows", math.nan, math.inf, math.inf)
    if end > 1e-9 * largest:
        return Tail("constant", math.nan, math.inf, end)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(sizes)
        # a rounding error makes the curve rough
        smooth = np.append(np.abs(np.diff(logarithms, 2)) < 0.1, False)
    breaks = np.flatnonzero(~smooth)
    lengths = np.diff(breaks, prepend=-1)
    last = int(breaks[lengths.argmax()])
    first = last - int(lengths.max()) + 1
    middle = (first + last) // 2
    slopes = [
        -(logarithms[at + 1] - logarithms[at - 1]) / (near[at + 1] - near[at - 1])
        for at in (last - 1, middle)
        if at > first
    ]
    if len(slopes) == 2 and min(slopes) > 0:
        late, early = slopes
        if abs(late - early) <= 0.15 * late:
            return Tail("exponential", float(late), math.inf, 0.0)
        powers = late * near[last - 1], early * near[middle]
        if abs(powers[0] - powers[1]) <= 0.15 * powers[0]:
            doublings = np.log2(far[used - 1 - _WINDOW] / far[used - 1]) / _WINDOW
            return Tail("power", float(doublings), math.inf, 0.0)
    if math.isnan(end) and not sizes[-1] < 0.9 * sizes[len(sizes) // 2]:
        return Tail("unknown", math.nan, math.inf, end)
    return Tail("fades", math.nan, math.inf, 0.0)


def zero_from(
    norms: Callable[[np.ndarray], np.ndarray], distances: np.ndarray, sizes: np.ndarray
) -> tuple[float, float | None]:
    """From where on norms are 0 whose last is 0, and the norm before; None if all are 0."""
    nonzero = np.flatnonzero(sizes != 0)
    if not len(nonzero):
        return float(distances[0]), None
    below, above = distances[nonzero[-1]], distances[nonzero[-1] + 1]
    before = float(sizes[nonzero[-1]])
    for _ in range(5):
        between = np.linspace(below, above, 17)
        found = norms(between)
        at = min(int(np.flatnonzero(found != 0).max(initial=0)), 15)
        below, above, before = between[at], between[at + 1], float(found[at])
    return float(above), before
