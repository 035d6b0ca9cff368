"""How long gradient flow takes to unlearn a confident mistake."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.integrate import solve_ivp

from jaxent._words import number, of_each_truth, raised, short
from jaxent.cards._limits import FARTHEST, zero_from
from jaxent.cards._measuring import Subject, least_between, norm

_MARGINS = np.array(
    [
        *(1, 2, 3, 4, 5, 6, 7, 8, 8.5, 9, 9.5, 10, 10.5, 11, 11.5, 12, 14, 16, 18, 20, 24, 28, 32),
        *(40, 48, 56, 64, 72, 80, 100, 120, 150, 180, 210, 240, 270, 300),
    ]
)
_FIRST_MARGIN = 8.0
_FEWEST_MARGINS = 6
_LAW_TOLERANCE = 1e-3
_ROUGH_LAW_TOLERANCE = 2e-2
_TOLERANCE = 1e-10
_MOST_EVALUATIONS = 6000
# Where each mistake takes a way of its own, and costs more.
_FLOW_MARGINS = np.array([*range(1, 13), 14, 16, 20, 24, 32, 40, 48, 64, 80], float)
_FARTHEST_IN_SMALL_STEPS = 24.0
_LONGEST_TIME = 1e290
_MOST_PANELS = 4096

Law = Literal["constant", "logarithmic", "linear", "power", "exponential", "none", "never"]
_LAWS: tuple[Law, ...] = ("constant", "logarithmic", "linear", "power", "exponential")


class _Form(NamedTuple):
    """A law T = a + b shape(m, k): its shape, and the words of its term b shape(m, k)."""

    shape: Callable[[np.ndarray, float], np.ndarray]
    term: str
    short: str


_FORMS: dict[Law, _Form] = {
    "constant": _Form(lambda m, k: np.zeros_like(m), "", ", {a}"),
    "logarithmic": _Form(
        lambda m, k: np.log1p(m if math.isnan(k) else k * m),
        " ln(1 + {k:.4g} m)",
        ", {b} ln(1 + m)",
    ),
    "linear": _Form(lambda m, k: m, " m", ", {b} per logit"),
    "power": _Form(lambda m, k: m**k, " m^{k:.4g}", ", ∝ m{raised}"),
    "exponential": _Form(lambda m, k: np.exp(k * m), " exp({k:.4g} m)", ", ∝ e{raised}ᵐ"),
}


class EscapeLaw(NamedTuple):
    """How long gradient flow takes to unlearn a confident mistake, from m behind to the tie.

    The truth starts at the logit −m, and all others at 0.

    Attributes:
        law: of the time T against the margin m: "constant" T = a, "logarithmic" a + b ln(1 + m)
            or a + b ln(1 + k m), "linear" a + b m, "power" a + b mᵏ, "exponential" a + b eᵏᵐ;
            "none" if no law was found; "never".
        coefficients: (a, b, k), NaN for what the law does not have.
        left_out_error: the largest relative error of the law at margins that it was not fitted to.
        margins: m, in logits, ascending to 300, or to 80 if each mistake takes a way of its own.
        times: T of each, in units of learning rate × steps; ∞ where the truth never catches up,
            NaN where float64 loses the gradient, so that T cannot be told.
        holds_from: the margin from which the law holds.
        never_from: the margin from which the truth never catches up; ∞ if there is none.
        before: another law that holds at smaller margins, or None.
        truth: the class that is the truth.
        of_labels: the same of every truth that was looked at, if the loss tells the classes
            apart; the record itself is that of the slowest.
    """

    law: Law
    coefficients: tuple[float, float, float]
    left_out_error: float
    margins: Float[np.ndarray, " margins"]
    times: Float[np.ndarray, " margins"]
    holds_from: float = _FIRST_MARGIN
    never_from: float = math.inf
    before: "EscapeLaw | None" = None
    truth: int = 0
    of_labels: "tuple[EscapeLaw, ...]" = ()

    @property
    def exponent(self) -> float:
        """k, the exponent of an exponential law or the power of a power; NaN for the others."""
        return self.coefficients[2] if self.law in ("power", "exponential") else math.nan

    def predict(self, margin: ArrayLike) -> Float[np.ndarray, "..."]:
        """The time that the law gives a margin; ∞ where it is never, NaN without a law."""
        m = np.asarray(margin, float)
        a, b, k = self.coefficients
        time = np.full_like(m, math.nan)
        if self.law in _FORMS:
            with np.errstate(over="ignore", invalid="ignore"):
                time = _FORMS[self.law].shape(m, k)
                for coefficient, operation in (b, np.multiply), (a, np.add):
                    if not math.isnan(coefficient):  # "constant" has no b
                        time = operation(coefficient, time)
        if self.before is not None:
            time = np.where(m <= self.before.margins[-1], self.before.predict(m), time)
        return np.where(m >= self.never_from, math.inf, time)

    def in_words(self) -> str:
        """The law with its numbers, T the time in units of learning rate × steps, m the margin.

        Example:
            >>> import numpy as np
            >>> from jaxent.cards import EscapeLaw
            >>> margins = np.array([8.0, 10.0, 12.0])
            >>> law = EscapeLaw("linear", (1/3, 2/3, np.nan), 0.0, margins, (1 + 2*margins)/3)
            >>> print(law.in_words())
            linear, T = 0.3333 + 0.6667 m
            >>> print(law._replace(never_from=15.42).in_words())
            linear up to 15.42 logits behind, never beyond; T = 0.3333 + 0.6667 m
        """
        if self.law == "never":
            return "never" if self.never_from <= 0 else f"never beyond {_logits(self.never_from)}"
        name = "no law found" if self.law == "none" else self.law
        if self.before is not None:
            name = f"{self.before.law} up to {_logits(self.before.margins[-1])}, {name}"
        if self.holds_from > _FIRST_MARGIN:
            unit = "" if self.before is not None else " logits behind"
            name += f" from {self.holds_from:g}{unit} on"
        if self.never_from < math.inf:
            joint = ", " if name.endswith("on") else " "
            name += f"{joint}up to {_logits(self.never_from)}, never beyond"
        formula = self._formula()
        if not formula:
            return name
        return f"{name}{'; ' if self.never_from < math.inf else ', '}T = {formula}"

    def _formula(self) -> str:
        if self.law not in _FORMS:
            return ""
        a, b, k = self.coefficients
        start = f"{a:.4g}" if self.law == "constant" or abs(a) >= 5e-7 else ""
        if self.law == "constant":
            return start
        joint = f" {'−' if b < 0 else '+'} " if start else "−" if b < 0 else ""
        term = _FORMS[self.law].term.format(k=k).replace("exp(1 m)", "exp(m)").removesuffix("^1")
        term = term.replace("nan m", "m")
        return f"{start}{joint}{abs(b):.4g}{term}"

    def in_short(self) -> str:
        """The law in the words of a picture, where room is short."""
        if self.law not in _FORMS:
            return {"none": "no law found", "never": "never"}[self.law] + (
                f" beyond {short(self.never_from)}" if 0 < self.never_from < math.inf else ""
            )
        if self.never_from < math.inf:
            return f"{self.law} to {short(self.never_from)}, never beyond"
        a, b, k = self.coefficients
        words = {"a": short(a), "b": short(b), "raised": raised(f"{k:.2f}")}
        return self.law + _FORMS[self.law].short.format(**words)

    def _rows(self) -> dict[str, str]:
        times = dict(zip(self.margins, self.times, strict=True))
        return {
            "escape": self.in_words(),
            "off the law by at most": f"{self.left_out_error:.0e}" if self.law in _FORMS else "–",
            **{
                f"time from {m:g} behind": {math.inf: "never"}.get(times[m], number(times[m]))
                for m in (4.0, 12.0)
                if m in times
            },
        }

    def long_words(self, alike: bool) -> dict[str, str]:
        return of_each_truth([(one.truth, one._rows()) for one in self.of_labels or (self,)])

    def short_words(self) -> dict[str, str]:
        truth = f" (truth {self.truth})" if self.of_labels else ""
        return {"escape": self.in_short() + truth}


def _logits(margin: float) -> str:
    return f"{margin:.4g} logits behind"


def measure(subject: Subject, earlier: Mapping[str, Any]) -> EscapeLaw:
    laws = []
    for label in subject.labels:
        if subject.alike and not subject.reads_raw_logits:
            found = _times_on_a_line(subject)
        else:
            found = _times_of_the_flow(subject, label)
        laws.append(_law(*found)._replace(truth=label))
    slowest = max(laws, key=_slowness)
    return slowest._replace(of_labels=() if len(laws) == 1 else tuple(laws))


def _slowness(escape: EscapeLaw) -> tuple[float, float]:
    """To compare: the margin of never, then the time at the largest margin with one."""
    known = escape.times[np.isfinite(escape.times)]
    return -escape.never_from, float(known[-1]) if len(known) else math.inf


_Times = tuple[np.ndarray, np.ndarray, float]  # margins, times, the margin of never


# Where the wrong classes are alike and Q alone counts, the gap is all that changes


def _times_on_a_line(subject: Subject) -> _Times:
    """T(m) = ∫₀ᵐ dμ/v(μ), v the speed at which the gap μ closes; and the margin of never."""
    truth = np.eye(subject.num_classes)[0]

    def speed(margins: np.ndarray) -> np.ndarray:
        """The gradient sums to 0, and that of the truth keeps its digits the longest."""
        g = subject.evaluate(np.multiply.outer(-margins, truth), truth)[1][:, 0]
        return -g * subject.num_classes / (subject.num_classes - 1)

    def closing(margins: np.ndarray) -> np.ndarray:
        """The speed where the gap closes at all, and 0 elsewhere."""
        speeds = speed(margins)
        return np.where(np.isfinite(speeds) & (speeds > 0), speeds, 0.0)

    grid = np.linspace(0.0, FARTHEST, 1 + 1200 // min(subject.thinning, 16))
    speeds = closing(grid)
    lost = _lost_in_rounding(subject, speeds, lambda nudge: speed(grid + nudge))
    stop = next(iter(np.flatnonzero(lost | (speeds == 0))), len(grid))
    end, never_from = math.inf, math.inf
    if stop < len(grid):
        end = float(grid[stop])
        if not lost[stop]:
            end, before = zero_from(closing, grid[: stop + 1], speeds[: stop + 1])
            if before is None or before > _rounded_away(subject) * speeds.max():
                never_from = end
    times = np.full_like(_MARGINS, math.inf if never_from < math.inf else math.nan)
    reached = end > _MARGINS
    times[reached] = _integrals(lambda m: 1 / speed(m), _MARGINS[reached], _tolerance(subject))
    times[np.isfinite(times) & (times > _LONGEST_TIME)] = math.nan
    return _MARGINS, times, never_from


def _lost_in_rounding(
    subject: Subject, speeds: np.ndarray, nudged: Callable[[float], np.ndarray]
) -> np.ndarray:
    """Where a small speed has no digits: a tiny change of the margin changes it by much more."""
    changes = np.max([np.abs(nudged(nudge) - speeds) for nudge in (-1.7e-8, 1e-8)], axis=0)
    largest = max(speeds.max(), subject.gradient_scale)
    coarse = 1e-8 if subject.precision == np.float64 else subject.rounding
    return (speeds > 0) & (speeds < coarse * largest) & ~(changes <= 1e-4 * speeds)


def _rounded_away(subject: Subject) -> float:
    """Relative to the largest gradient, what may be zero because it was rounded."""
    return 1e-12 if subject.precision == np.float64 else 1e-3 * subject.rounding


def _tolerance(subject: Subject) -> float:
    return _TOLERANCE if subject.precision == np.float64 else subject.rounding


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def _integrals(
    function: Callable[[np.ndarray], np.ndarray], ends: np.ndarray, tolerance: float
) -> np.ndarray:
    """∫₀ᵐ of a positive function to each of some ascending ends, to a relative tolerance.

    Each panel between two ends is halved until its halves agree with it; at a kink or a jump,
    until it has no width.
    """

    def panels(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        half = (right - left) / 2
        at = left[:, None] + half[:, None] * (1 + _NODES)
        return half * (function(at.ravel()).reshape(at.shape) @ _WEIGHTS)

    integrals = np.zeros(len(ends))
    left, right, of_end = np.append(0.0, ends)[:-1], ends, np.arange(len(ends))
    rough = panels(left, right) if len(ends) else integrals
    while len(left):
        middle = (left + right) / 2
        first, second = panels(left, middle), panels(middle, right)
        fine = first + second
        done = (np.abs(fine - rough) <= tolerance * np.abs(fine)) | (right - left < 1e-12 * right)
        done |= ~np.isfinite(fine) | (len(left) > _MOST_PANELS)
        np.add.at(integrals, of_end[done], fine[done])
        going = ~done
        left, right = (np.append(a[going], b[going]) for a, b in ((left, middle), (middle, right)))
        rough = np.append(first[going], second[going])
        of_end = np.tile(of_end[going], 2)
    return np.cumsum(integrals)


# Otherwise each mistake takes a way of its own


def _times_of_the_flow(subject: Subject, label: int) -> _Times:
    """The times at which the flow z′ = −g reaches the tie, and the margin of never."""
    truth = np.eye(subject.num_classes)[label]
    wrong = truth == 0

    def velocity(logits: np.ndarray) -> np.ndarray:
        g = subject.evaluate(logits, truth)[1]
        if subject.alike:  # wrong logits that start equal stay so; rounding would part them
            g[:, wrong] = g[:, wrong].mean(-1, keepdims=True)
        return -g

    def sizes(margins: np.ndarray) -> np.ndarray:
        return np.nan_to_num(norm(velocity(np.multiply.outer(-margins, truth))), posinf=0.0)

    margins = _FLOW_MARGINS
    starts = np.multiply.outer(-margins, truth)
    times = np.full_like(margins, math.inf)
    moves = sizes(margins) > 1e-15 * subject.gradient_scale
    if subject.precision != np.float64:
        times[moves] = math.nan
    elif moves.any():
        kinks = _kinks(lambda z: -subject.evaluate(z, truth)[1], starts[moves])
        times[moves] = _follow(velocity, label, starts[moves], kinks)
    rough = np.isnan(times) & (margins <= _FARTHEST_IN_SMALL_STEPS)
    if rough.any():
        times[rough] = _follow_in_small_steps(velocity, label, starts[rough])
    if subject.precision == np.float64:

        def pull(margins: np.ndarray) -> np.ndarray:
            """Of the truth, at each start."""
            logits = np.multiply.outer(-margins, truth)
            return np.abs(subject.evaluate(logits, truth)[1][:, label])

        pulls = pull(margins)
        lost = _lost_in_rounding(subject, pulls, lambda nudge: pull(margins + nudge)) & moves
        if pulls[-1] == 0:
            start, before = zero_from(pull, margins, pulls)
            if before is not None and before <= _rounded_away(subject) * pulls.max():
                lost |= margins >= start
        times[np.maximum.accumulate(lost)] = math.nan
    times[np.isfinite(times) & (times > _LONGEST_TIME)] = math.nan
    caught = np.flatnonzero(np.isfinite(times))
    first = int(caught[-1]) + 1 if len(caught) else 0
    lasting = first + np.flatnonzero(np.isinf(times[first:]))
    if not len(lasting):
        return margins, times, math.inf
    first = int(lasting[0])
    never_from = float(margins[first]) if first else 0.0
    if not moves[first]:
        grid = np.linspace(margins[first - 1] if first else 0.0, margins[first], 65)
        never_from, before = zero_from(sizes, grid, sizes(grid))
        if before is not None and before <= _rounded_away(subject) * np.nanmax(sizes(margins)):
            times[first:], never_from = math.nan, math.inf
    return margins, times, never_from


_Velocity = Callable[[np.ndarray], np.ndarray]


class _TooManyEvaluations(Exception):
    """The direction of a flow jumps so often that no step of high order fits it."""


def _follow(velocity: _Velocity, label: int, starts: np.ndarray, kinks: np.ndarray) -> np.ndarray:
    """The times at which the flow from each start reaches the tie.

    A time is ∞ if the flow comes to rest before, and NaN if it jumps too often. A flow is followed
    by its arc length s, dz/ds = v/‖v‖ and dt/ds = 1/‖v‖: a plateau costs time and not steps. All
    rows move at the same speed, so they are followed together, from event to event: a row that
    reaches the tie is done, and a row that is led back at a kink goes on along the kink.
    """
    states = np.append(starts, np.zeros([len(starts), 1]), -1)
    free = np.eye(starts.shape[-1]) - kinks  # projections onto the kinks
    times, rows, step = np.full(len(starts), math.inf), np.arange(len(starts)), None
    for _ in range(8 * len(starts)):
        if len(rows):
            rows = rows[np.isfinite(_direction(velocity, states[rows], free[rows])).all(-1)]
        if not len(rows):
            break
        found = _until_an_event(velocity, label, states[rows], free[rows], step)
        if found is None:
            times[rows] = math.nan
            break
        ties, turns = found.y_events
        if not len(ties) and not len(turns):
            break
        states[rows] = (ties if len(ties) else turns)[0].reshape(len(rows), -1)
        step = 0.6 * np.diff(found.t).max()
        if len(ties):
            arrived = _lead(states[rows], label) >= -1e-12  # the tie is found to a rounding
            times[rows[arrived]] = states[rows[arrived], -1]
            rows = rows[~arrived]
            continue
        for row in rows[_turning(velocity, states[rows], free[rows]) <= 1e-9]:
            normal, states[row] = _at_a_kink(velocity, states[row], free[row])
            free[row] -= np.outer(normal, normal)
            if not normal.any():  # a point of rest
                rows = rows[rows != row]
    return times


def _at_a_kink(
    velocity: _Velocity, state: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The normal of the kink a little way ahead, and the state there. The normal of a point of
    rest, where the velocity turns round without a jump, is 0.

    The gradient of a function with a kink jumps along the normal of the kink.
    """
    direction = _direction(velocity, state[None], free[None])[0]
    before, after = 0.0, 2 * _AHEAD
    for _ in range(40):
        middle = (before + after) / 2
        ahead = _direction(velocity, (state + middle * direction)[None], free[None])[0]
        onward = ahead[:-1] @ direction[:-1] > 0
        before, after = (middle, after) if onward else (before, middle)
    sides = np.array([[before - 1e-9], [after + 1e-9]]) * direction[:-1] + state[:-1]
    here, beyond = velocity(sides) @ free
    jump = beyond - here
    if not norm(jump) > 1e-3 * norm(here):
        jump = np.zeros_like(jump)
    return jump / (norm(jump) or 1.0), state + after * direction


_AHEAD = 1e-4


def _lead(states: np.ndarray, label: int) -> Any:
    """Of the truth, at each state, (z, t) in its last axis."""
    return states[..., label] - np.delete(states[..., :-1], label, -1).max(-1)


def _direction(velocity: _Velocity, states: np.ndarray, free: np.ndarray) -> np.ndarray:
    """(dz/ds, dt/ds) of each row (z, t); NaN where there is no direction."""
    v = np.einsum("ni,nij->nj", velocity(states[:, :-1]), free)
    sizes = norm(v)[:, None]
    sizes = np.where((sizes > 0) & (sizes < math.inf), sizes, math.nan)
    return np.append(v, np.ones_like(sizes), -1) / sizes


def _turning(velocity: _Velocity, states: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Negative where a row comes back from a little way ahead: a kink or a point of rest."""
    here = _direction(velocity, states, free)
    ahead = _direction(velocity, states + _AHEAD * here, free)
    return (here * ahead)[:, :-1].sum(-1)


def _kinks(velocity: _Velocity, starts: np.ndarray) -> np.ndarray:
    """Onto the logits that start at a kink to which the flow leads back from both sides, a
    projection for each start. An absolute value or a hinge often has its kink where the others
    start."""
    found = np.zeros([*starts.shape, starts.shape[-1]])
    here = norm(velocity(starts))
    for index in range(min(starts.shape[-1], 8)):
        move = 1e-7 * np.eye(starts.shape[-1])[index]
        ahead, behind = (velocity(starts + sign * move)[:, index] for sign in (1, -1))
        found[:, index, index] = (ahead < 0) & (behind > 0) & (behind - ahead > 1e-3 * here)
    return found


def _until_an_event(
    velocity: _Velocity, label: int, states: np.ndarray, free: np.ndarray, step: float | None
) -> Any:
    """Follow rows until the first is at its tie (event 0) or turns back (event 1); None if their
    direction jumps too often."""
    length, evaluations = 1e4 * (1 - _lead(states, label).min()), 0

    def derivative(_: float, flat: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += 1
        if evaluations > _MOST_EVALUATIONS:
            raise _TooManyEvaluations
        return _direction(velocity, flat.reshape(len(states), -1), free).ravel()

    def tie(_: float, flat: np.ndarray) -> float:
        return _lead(flat.reshape(len(states), -1), label).max()

    def turn(_: float, flat: np.ndarray) -> float:
        return _turning(velocity, flat.reshape(len(states), -1), free).min()

    tie.terminal = turn.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    tolerances = _TOLERANCE * np.ones_like(states)
    tolerances[:, -1:] *= _direction(velocity, states, free)[:, -1:]
    try:
        return solve_ivp(
            derivative,
            (0.0, length),
            states.ravel(),
            method="DOP853",
            events=(tie, turn),
            first_step=step or None,
            rtol=_TOLERANCE,
            atol=tolerances.ravel(),
        )
    except _TooManyEvaluations:
        return None


def _follow_in_small_steps(velocity: _Velocity, label: int, starts: np.ndarray) -> np.ndarray:
    """The same of rows whose direction jumps, as the direction of a rounded gradient does."""
    states = np.append(starts, np.zeros([len(starts), 1]), -1)
    free = np.broadcast_to(np.eye(starts.shape[-1]), (len(starts), *[starts.shape[-1]] * 2))
    times = np.full(len(states), math.inf)
    rows = np.arange(len(states))
    step, earlier = 1 / 64, states

    def direction(states: np.ndarray) -> np.ndarray:
        return _direction(velocity, states, free[: len(states)])

    for number_of_step in range(2400):
        if number_of_step % 64 == 63:  # at a point of rest a row goes to and fro
            going = np.linalg.norm(states[:, :-1] - earlier[:, :-1], axis=-1) > step
            rows, states = rows[going], states[going]
            earlier = states
        before = states
        states = before + step * direction(before + step / 2 * direction(before))
        arrived = _lead(states, label) >= 0
        behind = _lead(before[arrived], label)
        share = behind / (behind - _lead(states[arrived], label))
        times[rows[arrived]] = (1 - share) * before[arrived, -1] + share * states[arrived, -1]
        going = ~arrived & np.isfinite(states).all(-1)
        rows, states, earlier = rows[going], states[going], earlier[going]
        if not len(rows):
            break
    return times


# The law


def _law(margins: np.ndarray, times: np.ndarray, never_from: float) -> EscapeLaw:
    """The simplest law of the largest margins with a time, and another one of those before."""
    no_law = EscapeLaw(
        "never" if never_from < math.inf else "none",
        (math.nan, math.nan, math.nan),
        0.0,
        margins,
        times,
        never_from=never_from,
    )
    known = np.flatnonzero(np.isfinite(times) & (times > 0))
    if len(known) < _FEWEST_MARGINS:
        return no_law
    late = known[margins[known] >= _FIRST_MARGIN]
    every = late if len(late) >= _FEWEST_MARGINS else known
    # From the first margin on, or else from a later one: a law of m alone, if need be roughly,
    # before a law with an exponent.
    beginnings = range(0, len(every) - _FEWEST_MARGINS + 1, 2)
    ways = (_LAWS[:3], _LAW_TOLERANCE), (_LAWS[:3], _ROUGH_LAW_TOLERANCE), (_LAWS, _LAW_TOLERANCE)
    for start, (laws, tolerance) in itertools.product(beginnings, ways):
        chosen = every[start:]
        found = _fit(margins[chosen], times[chosen], laws, tolerance)
        if found is not None:
            break
    else:
        chosen, found = every[:0], (no_law.law, no_law.coefficients, 0.0)
    law, coefficients, error = found
    escape = no_law._replace(
        law=law,
        coefficients=coefficients,
        left_out_error=error,
        holds_from=float(margins[chosen[0]]) if 0 < len(chosen) < len(every) else _FIRST_MARGIN,
    )
    rest = every[: len(every) - len(chosen)]
    for end in range(len(rest), _FEWEST_MARGINS - 1, -1):
        part = margins[rest[:end]], times[rest[:end]]
        fits_of_part = [_fit(*part, [simple], _ROUGH_LAW_TOLERANCE) for simple in _LAWS[:3]]
        earlier = min((one for one in fits_of_part if one), key=lambda one: one[2], default=None)
        if earlier is not None and earlier[0] != law:
            part = rest[:end]
            before = EscapeLaw(*earlier, margins[part], times[part])
            return escape._replace(before=before)
    return escape


_Fit = tuple[Law, tuple[float, float, float], float]


def _fit(
    margins: np.ndarray, times: np.ndarray, laws: Sequence[Law], tolerance: float
) -> _Fit | None:
    """The simplest law that is fitted to every other margin and right at all."""
    fitted = np.arange(len(margins)) % 2 == 0
    fitted[-1] = True
    found = []
    # A logarithm of k m is tried after those of m alone.
    trials: list[tuple[Law, bool]] = [(law, law in _LAWS[3:]) for law in laws]
    if laws == _LAWS:
        trials.append(("logarithmic", True))
    for law, with_k in trials:
        coefficients = _coefficients(law, margins[fitted], times[fitted], with_k)
        errors = np.abs(
            EscapeLaw(law, coefficients, 0.0, margins, times).predict(margins) / times - 1
        )
        if errors.max() <= tolerance:
            found.append((law, coefficients, float(errors[~fitted].max())))
            if not with_k:
                break
    return min(found, key=lambda one: one[2], default=None)


def _coefficients(
    law: Law, m: np.ndarray, t: np.ndarray, with_k: bool
) -> tuple[float, float, float]:
    """(a, b, k) with the least squares of the relative errors."""
    furthest = float(m[-1])

    def linear_part(k: float) -> tuple[float, np.ndarray]:
        if law == "exponential":  # a large number of k m is no number
            shape = np.exp(k * (m - furthest))
        else:
            shape = _FORMS[law].shape(m / furthest if law == "power" else m, k)
        columns = np.stack([np.ones_like(m), shape], -1)[:, : 1 if law == "constant" else 2]
        scaled = columns / t[:, None]
        sizes = np.abs(scaled).max(0)
        solution = np.linalg.lstsq(scaled / sizes, np.ones_like(m), rcond=None)[0] / sizes
        return float(np.square(scaled @ solution - 1).sum()), solution

    k = math.nan
    if with_k:
        low, high = (0.02, 50.0) if law == "power" else (0.02 / furthest, 700 / furthest)
        exponents = np.geomspace(low, high, 120)
        near = int(np.argmin([linear_part(x)[0] for x in exponents]))
        bounds = exponents[max(near - 1, 0)], exponents[min(near + 1, 119)]
        _, k = least_between(lambda x: linear_part(x)[0], *bounds)
    a, b, *_ = (*linear_part(k)[1], math.nan)
    with np.errstate(under="ignore"):
        scale = {"exponential": math.exp(-k * furthest), "power": furthest**-k}.get(law, 1.0)
    a = 0.0 if law != "constant" and abs(a) < 1e-5 * t.min() else float(a)
    return a, float(b * scale), float(k)
