"""How long gradient flow takes to unlearn a confident mistake."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.integrate import solve_ivp

from jaxent._words import number, raised, short
from jaxent.cards._measuring import Subject, least_between

_MARGINS = (*range(1, 8), *(m / 2 for m in range(16, 25)))
_FITTED_MARGINS = (8, 9, 10, 11)
_LAW_TOLERANCE = 1e-3
_TOLERANCE = 1e-11
_MOST_EVALUATIONS = 3000

Law = Literal["constant", "logarithmic", "linear", "power", "exponential", "never"]


class _Form(NamedTuple):
    """A law T = a + b shape(m, k): its shape, and the words of its term b shape(m, k)."""

    shape: Callable[[np.ndarray, float], np.ndarray]
    term: str
    short: str


_FORMS: dict[Law, _Form] = {
    "constant": _Form(lambda m, k: np.zeros_like(m), "", ", {a}"),
    "logarithmic": _Form(lambda m, k: np.log1p(m), " ln(1 + m)", ", {b} ln(1 + m)"),
    "linear": _Form(lambda m, k: m, " m", ", {b} per logit"),
    "power": _Form(lambda m, k: m**k, " m^{k:.4g}", ", ∝ m{raised}"),
    "exponential": _Form(lambda m, k: np.exp(k * m), " exp({k:.4g} m)", ", ∝ e{raised}ᵐ"),
    "never": _Form(lambda m, k: np.full_like(m, np.inf), "", ""),
}


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
        time = _FORMS[self.law].shape(np.asarray(margin, float), k)
        for coefficient, operation in (b, np.multiply), (a, np.add):
            if not math.isnan(coefficient):  # "constant" has no b, "never" has neither
                time = operation(coefficient, time)
        return time

    def in_words(self) -> str:
        """The law with its numbers, T the time in units of learning rate × steps, m the margin.

        Example:
            >>> import numpy as np
            >>> from jaxent.cards import EscapeLaw
            >>> margins = np.array([8.0, 10.0, 12.0])
            >>> law = EscapeLaw("linear", (1/3, 2/3, np.nan), 0.0, margins, (1 + 2*margins)/3)
            >>> print(law.in_words())
            linear, T = 0.3333 + 0.6667 m
        """
        a, b, k = self.coefficients
        if self.law == "never":
            return "never"
        start = f"{a:.4g}" if self.law == "constant" or abs(a) >= 5e-7 else ""
        if self.law == "constant":
            return f"constant, T = {start}"
        joint = f" {'−' if b < 0 else '+'} " if start else "−" if b < 0 else ""
        return f"{self.law}, T = {start}{joint}{abs(b):.4g}{_FORMS[self.law].term.format(k=k)}"

    def in_short(self) -> str:
        """The law in the words of a picture, where room is short."""
        a, b, k = self.coefficients
        words = {"a": short(a), "b": short(b), "raised": raised(f"{k:.2f}")}
        return self.law + _FORMS[self.law].short.format(**words)

    def long_words(self, alike: bool) -> dict[str, str]:
        times = dict(zip(self.margins, self.times, strict=True))
        return {
            "escape": self.in_words(),
            "off the law by at most": "–" if self.law == "never" else f"{self.left_out_error:.0e}",
            **{f"time from {m:g} behind": number(times[m]) for m in (4.0, 12.0) if m in times},
        }

    def short_words(self) -> dict[str, str]:
        return {"escape": self.in_short()}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> EscapeLaw:
    truth, alike = np.eye(subject.num_classes)[0], earlier["invariance"].permutation

    def flow(states: np.ndarray) -> np.ndarray:
        """The flow z′ = −g by its arc length s, dz/ds = −g/‖g‖ and dt/ds = 1/‖g‖, of rows (z, t):
        a plateau costs time and not steps. NaN where there is no direction."""
        g = subject.evaluate(states[:, :-1], truth)[1]
        if alike:  # wrong logits that start equal stay so; rounding would part them
            g[:, 1:] = g[:, 1:].mean(-1, keepdims=True)
        norms = np.linalg.norm(g, axis=-1, keepdims=True)
        norms = np.where((norms > 0) & (norms < math.inf), norms, math.nan)
        return np.append(-g, np.ones_like(norms), -1) / norms

    margins = np.array(_MARGINS, float)
    starts = np.append(np.multiply.outer(-margins, truth), np.zeros([len(margins), 1]), -1)
    times = np.full_like(margins, math.inf)
    moves = np.isfinite(flow(starts)[:, -1])
    if subject.precision != np.float64:
        times[moves] = math.nan
    elif moves.any():
        times[moves], starts[moves] = _follow(flow, starts[moves])
    rough = np.isnan(times)
    if rough.any():
        times[rough] = _escape_times_in_small_steps(flow, starts[rough])
    return _law(margins, times)


_Flow = Callable[[np.ndarray], np.ndarray]


class _TooManyEvaluations(Exception):
    """The direction of a flow jumps so often that no step of high order fits it."""


def _lead(states: np.ndarray) -> Any:
    """Of the truth, at each state, (z, t) in its last axis."""
    return states[..., 0] - states[..., 1:-1].max(-1)


def _follow(flow: _Flow, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The times at which the flow from each row reaches the tie, and the last states.

    A time is ∞ if the flow never reaches the tie, and NaN if its direction jumps before. As all
    rows move at the same speed, they are followed together, as long as each is on a smooth way.
    """
    times, states, rows = np.full(len(states), math.inf), states.copy(), np.arange(len(states))
    step, length, evaluations = None, 1e4 * (1 - _lead(states).min()), 0

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += 1
        if evaluations > _MOST_EVALUATIONS:
            raise _TooManyEvaluations
        return flow(flat.reshape(len(rows), -1)).ravel()

    def tie(_: float, flat: np.ndarray) -> float:
        return _lead(flat.reshape(len(rows), -1)).max()

    def turn(_: float, flat: np.ndarray) -> float:
        """Negative where a row comes back from a little way ahead: a kink or a point of rest."""
        now = flat.reshape(len(rows), -1)
        here = flow(now)
        here[:, -1] = 0  # of the logits alone, not of the time
        return (here * flow(now + 1e-4 * here)).sum(-1).min()

    tie.terminal = turn.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    slowness = flow(states)[:, -1:]
    while len(rows):
        tolerances = _TOLERANCE * np.ones_like(states[rows])
        tolerances[:, -1:] *= slowness[rows]
        try:
            found = solve_ivp(
                velocity,
                (0.0, length),
                states[rows].ravel(),
                method="DOP853",
                events=(tie, turn),
                first_step=step,
                rtol=_TOLERANCE,
                atol=tolerances.ravel(),
            )
        except _TooManyEvaluations:
            found = None
        if found is None or not len(found.y_events[0]):
            if len(states) > 1:
                alone = [_follow(flow, state[None]) for state in states[rows]]
                times[rows], states[rows] = map(np.concatenate, zip(*alone, strict=True))
            elif found is None:
                times[:] = math.nan
            elif len(found.y_events[1]):
                times[:], states[:] = math.nan, found.y_events[1][0]
            break
        states[rows] = found.y_events[0][0].reshape(len(rows), -1)
        arrived = _lead(states[rows]) >= -1e-12  # the tie is found to a rounding
        times[rows[arrived]] = states[rows[arrived], -1]
        rows, step = rows[~arrived], np.diff(found.t).max()
    return times, states


def _escape_times_in_small_steps(flow: _Flow, states: np.ndarray) -> np.ndarray:
    """The same of several rows whose direction jumps, as that of a rounded gradient does."""
    times = np.full(len(states), math.inf)
    rows = np.arange(len(states))
    step, earlier = 1 / 64, states
    for number_of_step in range(4000):
        if number_of_step % 64 == 63:  # at a point of rest a row goes to and fro
            going = np.linalg.norm(states[:, :-1] - earlier[:, :-1], axis=-1) > step
            rows, states = rows[going], states[going]
            earlier = states
        before = states
        states = before + step * flow(before + step / 2 * flow(before))
        arrived = _lead(states) >= 0
        share = (_lead(before) / (_lead(before) - _lead(states)))[arrived]
        times[rows[arrived]] = (1 - share) * before[arrived, -1] + share * states[arrived, -1]
        going = ~arrived & np.isfinite(states).all(-1)
        rows, states, earlier = rows[going], states[going], earlier[going]
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

    def fit(law: Law) -> EscapeLaw:
        m, t = margins[fitted], times[fitted]

        def linear_part(k: float) -> tuple[float, np.ndarray]:
            shape = _FORMS[law].shape(m, k)
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
            _, k = least_between(
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
        escape = fit(law)
        if escape.left_out_error <= _LAW_TOLERANCE:
            return escape
    return min(
        (fit(law) for law in (*laws, "power", "exponential")),
        key=lambda escape: escape.left_out_error,
    )
