"""What is the largest stable step, and what comes after it?

Near an interior P a step of descent multiplies the error along an eigenvector of the Hessian by
1 − ηλ: it is stable up to η = 2/λmax, which is 2/λ(J) for cross-entropy and 1/λ(J)² for the Brier
score, λ(J) being the largest eigenvalue of diag(p) − p pᵀ. The curvature elsewhere may be greater.
Below 2/L, L = 0.6162 the largest curvature that the Brier score has anywhere with two classes, no
step from anywhere raises it.

With two classes descent is a map of the gap g = z_1 − z_0. Write q = σ(g) and p for what the
class 1 has in Q and P:

    cross-entropy   g ← g − 2η (q − p)
    Brier score     g ← g − 8η q (1 − q)(q − p)

For P = (½, ½), with t = tanh(g/2), they are g − ηt and g − ηt(1 − t²), both stable up to η = 4.
What comes after is not the same.

Cross-entropy pushes with a force that does not fade with |g|, so a gap that overshot comes back:
for ever between g and −g, |g| = (η/2) tanh(|g|/2), stable at any η > 4, as two steps multiply a
deviation by (1 − (η/2)(1 − t²))². (Far out t² is nearly 1, and any jump of η there and back is as
good as a cycle.) Since its moves add up to −2η Σ (q − p) and the gap stays bounded, the mean of q
over the steps is p, whatever the step. Far past its limit it moves to either side as often as P
says: for P = (0.9, 0.1) nine times one way and once back, a cycle of 10.

The force of the Brier score fades beyond t² = 1/3. Its 2-cycle is g = ηt(1 − t²)/2 up to there,
which is η = 3√3 ln(2 + √3) = 6.8431. Then it jumps between g and −h with t² + tu + u² = 1, u that
of h, until (1 − ηφ′(g))(1 − ηφ′(h)) = −1, φ = t(1 − t²), where its period doubles: η = 7.8180.
Doublings go on to chaos. And a step that is much too large throws the gap to a plateau, from which
it returns after eᵍ/(4η) steps. Of a single certain label, P one-hot, neither loss
minds any step: the optimum is at infinity and all moves go there.

The last part of the way to a certain label is a matter of digits. With the truth g ahead the push
is 1/(1 + eᵍ), and after n steps g is ln(2ηn). In float32 the usual 1 − q is 0 once e⁻ᵍ ≤ 2⁻²⁴, from
g = 24 ln 2 on; what the wrong class feels, q itself, is still right, and descent goes on at half
the speed. Where q is clipped at 1e-7 nothing is felt from ln 10⁷ on behind, nor, by either class,
from 24 ln 2 on ahead: there descent stops. (1 − 1e-7 in float32 is 1 − 2⁻²³, the last q before 1 in
which the sum 1 + e⁻ᵍ can result.) The exact loss is right until float32 ends, at 126 ln 2.

All losses are sums over the classes, and all but the tails are in float64.

Predictions:

- P = (½, ½): both losses are stable up to η = 4. P = (0.9, 0.1): cross-entropy up to 11.11, the
  Brier score up to 30.86, within 0.2 %.
- With η = 3.24, just below 2/L, no step raises the Brier score, from 99 starts.
- P = (½, ½): the 2-cycles are those of the formulas within 1e-9, to η = 16. That of cross-entropy
  is stable: from η = 3 to 12 no Lyapunov exponent is above 0, within 0.01. That of the Brier score
  loses its symmetry at η = 6.8431 and doubles its period at 7.8180, within 0.01.
- At η = 9 the Brier score is chaotic: its Lyapunov exponent is above 0.
- With η = 64, from g = 1: cross-entropy still crosses the optimum in every step, by 64 within 1e-9;
  the Brier score is where its first step threw it, at −22.26, within 0.01.
- P = (0.9, 0.1), 10 % past the limit: a 2-cycle for both losses. At twice its limit the Brier
  score is on a plateau, |g| > 10. Cross-entropy has a cycle of 10 for η = 400.
- P = (0.9, 0.1), 50 % past the limit: the mean of q over all steps is 0.9 for cross-entropy,
  within 0.001, but at most 0.85 for the Brier score.
- P one-hot, η = 1000: in no step does the gap fall, by either loss.
- float32: the exact push keeps its digits within 1e-6 to g = 87, and ends at 87.34. The usual one
  is 0 from 16.636 on, and the clipped one too, and from 16.118 behind, all within 0.003.
- float32, from g = 12, η = 10000, after 30000 steps: g = 20.21 by the exact loss, within 0.05; the
  usual one has 1.946 times its loss left, within 10 %; clipped, descent stops at 16.636 within
  0.05.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
BRIER_SCORE = losses.softmax_brier_score

SECONDS = 2

STEPS = 4_352
LAST, SHOWN = 256, 128
EVEN, SKEWED, CERTAIN = 0.5, 0.9, 1.0
AROUND_THE_LIMIT = np.linspace(0.98, 1.02, 41)
RATES_OF_CYCLES = np.array([4.2, 5.0, 8.0, 12.0, 16.0])
GAPS_OF_CYCLES = np.array([0.5, 0.8, 1.0, 1.2])
SMOOTH_RATE = 3.24
HUGE_RATE = 1000.0
THROWING_RATE = 64.0
ROUND_RATE = 400.0
CHAOTIC_RATE = 9.0
RATE_OF_ASYMMETRY = 3 * math.sqrt(3) * math.log(2 + math.sqrt(3))
AROUND_A_CHANGE = np.linspace(-0.05, 0.05, 21)
RATES_OF_DIAGRAM = {EVEN: np.linspace(3, 12, 451), SKEWED: np.linspace(6, 80, 451)}

GAPS = np.arange(-25_000, 95_000, dtype=np.float32) / 1000
TAIL_START, TAIL_RATE, TAIL_STEPS = 12.0, 1e4, 30_000
CLIP = 1e-7
CAPTION = (
    f"The gap z₁ − z₀ in the last {SHOWN} of {STEPS} steps, for each step size; dotted: the "
    "largest stable step. Above: past it cross-entropy jumps between two gaps, at any step, while "
    "the Brier score loses the symmetry of its cycle, doubles its period and becomes chaotic. "
    "Below: for a skewed P cross-entropy is chaotic too, which was not foreseen, and then moves to "
    "either side exactly as often as P says."
)
CAPTION_OF_TAILS = (
    "The end of the way to a certain label, by cross-entropy in float32. Left: the push that the "
    "logit of the truth feels. Right: what is left of the loss on a descent, which the usual loss, "
    "as its wrong class still feels something, follows at half the speed; clipped, it stops."
)


class Lanes(NamedTuple):
    """Descents that differ in the probability p of class 1, the step size, and the first gap."""

    truth: np.ndarray
    learning_rate: np.ndarray
    start: np.ndarray


def lanes(truth: float, learning_rates: np.ndarray | float, starts: np.ndarray | float) -> Lanes:
    """One for each step size and start."""
    return Lanes(*np.broadcast_arrays(truth, np.atleast_1d(learning_rates), starts))


def optimum(truth: float) -> float:
    """The gap at which q = p."""
    return np.log(truth / (1 - truth))


def limit_of(largest_step: Callable[[Array], Array], truth: float) -> float:
    """The largest stable step to P = (1 − p, p)."""
    return float(jax.jit(largest_step)(np.array([1 - truth, truth])))


@partial(jax.jit, static_argnums=0)
def histories(loss: Loss, lanes: Lanes) -> Array:
    """The gap before every step, [lanes, STEPS]."""

    def gap(logits: Array, value: Array, gradient: Array) -> Array:
        return logits[1] - logits[0]

    def history(truth: Array, learning_rate: Array, start: Array) -> Array:
        targets = jnp.stack([1 - truth, truth])
        logits = jnp.stack([jnp.zeros_like(start), start])
        sgd = optax.sgd(learning_rate)
        return descent.fit(loss, logits, targets, sgd, steps=STEPS, record=gap).record

    return jax.vmap(history)(*map(jnp.asarray, lanes))


def follow(loss: Loss, cases: Mapping[str, Lanes]) -> dict[str, np.ndarray]:
    """The histories of each case, from one compiled program."""
    together = Lanes(*map(np.concatenate, zip(*cases.values(), strict=True)))
    gaps = np.asarray(histories(loss, together))
    ends = np.cumsum([len(case.start) for case in cases.values()])
    return dict(zip(cases, np.split(gaps, ends[:-1]), strict=True))


def sigmoid(gap: np.ndarray) -> np.ndarray:
    """q of class 1, which does not overflow."""
    return np.exp(-np.logaddexp(0, -gap))


def period(gaps: np.ndarray) -> float:
    """After how many steps a history repeats itself, at its end; infinite if after none of 64."""
    last = gaps[-LAST:]
    repeats = (k for k in range(1, 65) if np.abs(last[k:] - last[:-k]).max() < 1e-6)
    return next(repeats, np.inf)


def lyapunov_exponents(
    lanes: Lanes, gaps: np.ndarray, curvature: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The mean of ln|1 − η × curvature(q, p)|, the growth of a small difference, at the end."""
    truth, learning_rate = lanes.truth[:, None], lanes.learning_rate[:, None]
    growth = np.abs(1 - learning_rate * curvature(sigmoid(gaps[:, -LAST:]), truth))
    return np.log(np.maximum(growth, 1e-300)).mean(axis=1)


def curvature_of_cross_entropy(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The derivative by the gap of 2 (q − p), by which the gap moves."""
    return 2 * q * (1 - q)


def curvature_of_brier_score(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The derivative by the gap of 8q (1 − q)(q − p), by which the gap moves."""
    return 8 * q * (1 - q) * ((1 - 2 * q) * (q - p) + q * (1 - q))


# Cases, and the rows that come of them


def cases_of(largest_step: Callable[[Array], Array]) -> dict[str, Lanes]:
    """What both losses are asked."""
    cases = {}
    for truth in EVEN, SKEWED:
        limit = limit_of(largest_step, truth)
        near = optimum(truth) + 1e-3
        cases |= {
            f"limit {truth}": lanes(truth, limit * AROUND_THE_LIMIT, near),
            f"past {truth}": lanes(truth, limit * np.array([1.1, 1.5, 2.0]), near),
            f"diagram {truth}": lanes(truth, RATES_OF_DIAGRAM[truth], optimum(truth) + 0.3),
        }
    return cases | {
        "certain": lanes(CERTAIN, HUGE_RATE, -2.0),
        "thrown": lanes(EVEN, THROWING_RATE, 1.0),
    }


def asymmetric_cycle(angle: float) -> tuple[float, float]:
    """Of the 2-cycle (g, −h) of the Brier score: η, and by what two steps multiply a deviation.

    t² + tu + u² = 1 is solved by t = 2 sin(θ)/√3 and u = 2 sin(60° − θ)/√3.
    """
    heights = 2 / math.sqrt(3) * np.sin([angle, math.pi / 3 - angle])
    learning_rate = 2 * np.arctanh(heights).sum() / (heights[0] * (1 - heights[0] ** 2))
    slopes = (1 - 3 * heights**2) * (1 - heights**2) / 2
    return learning_rate, np.prod(1 - learning_rate * slopes)


def doubling_rate() -> float:
    """The η at which the asymmetric 2-cycle gives way to a 4-cycle, by bisection."""
    beyond, before = 0.1, math.pi / 6
    for _ in range(60):
        middle = (beyond + before) / 2
        if asymmetric_cycle(middle)[1] > -1:
            before = middle
        else:
            beyond = middle
    return asymmetric_cycle(before)[0]


def first_past(learning_rates: np.ndarray, signs: np.ndarray, least: float) -> float:
    """The first step size that shows a sign of something."""
    return learning_rates[np.argmax(signs > least)] if (signs > least).any() else math.nan


def about_limits(
    name: str, cases: Mapping[str, Lanes], gaps: Mapping[str, np.ndarray]
) -> list[Row]:
    """The largest stable steps, local, and none for a certain label."""
    rows = []
    for truth in EVEN, SKEWED:
        rates = cases[f"limit {truth}"].learning_rate
        away = np.abs(gaps[f"limit {truth}"][:, -LAST:] - optimum(truth)).max(axis=1)
        rows.append(
            claim(
                f"{name}, P = ({truth:g}, {1 - truth:.1f}): η that descent leaves it at, to 0.2 %",
                predicted=rates[len(rates) // 2],
                measured=first_past(rates, away, 1e-3),
                relative_tolerance=0.002,
            )
        )
    return [
        *rows,
        claim(
            f"{name}, P one-hot, η = {HUGE_RATE:g}: least growth of the gap in a step",
            predicted=0,
            measured=np.diff(gaps["certain"]).min(),
            relation="≥",
        ),
        prediction(
            f"{name}, P = (0.9, 0.1), 10 % past the limit: period of the cycle, steps",
            predicted=2,
            measured=period(gaps[f"past {SKEWED}"][0]),
        ),
    ]


def cases_of_cross_entropy() -> dict[str, Lanes]:
    """What is asked of cross-entropy alone."""
    return cases_of(theory.curvature.cross_entropy_largest_step) | {
        "cycles": lanes(EVEN, RATES_OF_CYCLES, 1.0),
        "round": lanes(SKEWED, ROUND_RATE, 1.0),
    }


def cases_of_brier_score() -> dict[str, Lanes]:
    """What is asked of the Brier score alone."""
    heights = np.tanh(GAPS_OF_CYCLES / 2)
    starts, truths = np.meshgrid(np.linspace(-8, 8, 33), (EVEN, SKEWED, CERTAIN))
    return cases_of(theory.curvature.brier_score_largest_step) | {
        "cycles": lanes(EVEN, 2 * GAPS_OF_CYCLES / (heights * (1 - heights**2)), 1.0),
        "symmetry": lanes(EVEN, RATE_OF_ASYMMETRY + AROUND_A_CHANGE, 1.0),
        "doubling": lanes(EVEN, doubling_rate() + AROUND_A_CHANGE, 1.0),
        "chaos": lanes(EVEN, CHAOTIC_RATE, 1.0),
        "smooth": Lanes(truths.ravel(), np.full(truths.size, SMOOTH_RATE), starts.ravel()),
    }


def about_cross_entropy(cases: Mapping[str, Lanes], gaps: Mapping[str, np.ndarray]) -> list[Row]:
    """It comes back, at any step, and stays right on average."""
    expected = np.asarray(jax.jit(theory.curvature.cross_entropy_two_cycle_gap)(RATES_OF_CYCLES))
    diagram = f"diagram {EVEN}"
    exponents = lyapunov_exponents(cases[diagram], gaps[diagram], curvature_of_cross_entropy)
    thrown = gaps["thrown"][0]
    across = np.where(thrown[1:] * thrown[:-1] < 0, np.abs(np.diff(thrown)), 0)[1:]
    return [
        claim(
            "cross-entropy, P = (½, ½): largest difference of |g| from (η/2) tanh(|g|/2) on the "
            f"2-cycle, η from {RATES_OF_CYCLES[0]:g} to {RATES_OF_CYCLES[-1]:g}",
            predicted=0,
            measured=np.abs(np.abs(gaps["cycles"][:, -LAST:]) - expected[:, None]).max(),
            tolerance=1e-9,
        ),
        claim(
            "cross-entropy, P = (½, ½): largest Lyapunov exponent, η from 3 to 12",
            predicted=0,
            measured=exponents.max(),
            tolerance=0.01,
            relation="≤",
        ),
        claim(
            f"cross-entropy, P = (½, ½), η = {THROWING_RATE:g}: least distance of one gap from the "
            "next, across the optimum",
            predicted=THROWING_RATE,
            measured=across.min(),
            tolerance=1e-9,
        ),
        claim(
            "cross-entropy, P = (0.9, 0.1), 50 % past the limit: mean of q over all steps",
            predicted=SKEWED,
            measured=sigmoid(gaps[f"past {SKEWED}"][1]).mean(),
            tolerance=0.001,
        ),
        prediction(
            f"cross-entropy, P = (0.9, 0.1), η = {ROUND_RATE:g}: period of the cycle, steps",
            predicted=10,
            measured=period(gaps["round"][0]),
        ),
    ]


def about_brier_score(cases: Mapping[str, Lanes], gaps: Mapping[str, np.ndarray]) -> list[Row]:
    """It comes to chaos, and to plateaus."""
    last = {case: history[:, -LAST:] for case, history in gaps.items()}
    uneven = np.abs(last["symmetry"][:, 1:] + last["symmetry"][:, :-1]).max(axis=1)
    doubled = np.abs(last["doubling"][:, 2:] - last["doubling"][:, :-2]).max(axis=1)
    (exponent,) = lyapunov_exponents(cases["chaos"], gaps["chaos"], curvature_of_brier_score)
    values = 2 * (sigmoid(gaps["smooth"]) - cases["smooth"].truth[:, None]) ** 2
    thrown = 1 - THROWING_RATE * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)
    return [
        claim(
            f"Brier score, η = {SMOOTH_RATE:g}, just below 2/L = "
            f"{2 / theory.curvature.BRIER_SCORE_SMOOTHNESS:.4f}: its largest rise in a step, from "
            "99 starts",
            predicted=0,
            measured=np.diff(values, axis=1).max(),
            tolerance=1e-15,
            relation="≤",
        ),
        claim(
            "Brier score, P = (½, ½): largest difference of |g| from (η/2) t(1 − t²), 2-cycle",
            predicted=0,
            measured=np.abs(np.abs(last["cycles"]) - GAPS_OF_CYCLES[:, None]).max(),
            tolerance=1e-9,
        ),
        claim(
            "Brier score, P = (½, ½): η from which the 2-cycle is not symmetric",
            predicted=RATE_OF_ASYMMETRY,
            measured=first_past(cases["symmetry"].learning_rate, uneven, 0.03),
            tolerance=0.01,
        ),
        claim(
            "Brier score, P = (½, ½): η from which the cycle is one of 4",
            predicted=doubling_rate(),
            measured=first_past(cases["doubling"].learning_rate, doubled, 0.03),
            tolerance=0.01,
        ),
        prediction(
            f"Brier score, P = (½, ½), η = {CHAOTIC_RATE:g}: Lyapunov exponent",
            predicted=0,
            measured=exponent,
            relation="≥",
        ),
        claim(
            f"Brier score, P = (½, ½), η = {THROWING_RATE:g}: gap, {STEPS} steps after it was 1",
            predicted=thrown,
            measured=gaps["thrown"][0, -1],
            tolerance=0.01,
        ),
        prediction(
            "Brier score, P = (0.9, 0.1), at twice the limit: least |g| of the last steps",
            predicted=10,
            measured=np.abs(last[f"past {SKEWED}"][2]).min(),
            relation="≥",
        ),
        prediction(
            "Brier score, P = (0.9, 0.1), 50 % past the limit: mean of q over all steps",
            predicted=0.85,
            measured=sigmoid(gaps[f"past {SKEWED}"][1]).mean(),
            relation="≤",
        ),
    ]


# Tails, in float32


def usual(logits: Array, targets: Array) -> Array:
    """Cross-entropy by way of the logarithm of the softmax."""
    return optax.softmax_cross_entropy(logits, targets)


def clipped(logits: Array, targets: Array) -> Array:
    """Cross-entropy of probabilities that were clipped so that their logarithm is finite."""
    return -jnp.sum(targets * jnp.log(jnp.clip(jax.nn.softmax(logits), CLIP, 1 - CLIP)))


class Tail(NamedTuple):
    """A loss in float32: its push on the truth at each of GAPS, and the gap before each step."""

    push: np.ndarray
    gaps: np.ndarray


@partial(jax.jit, static_argnums=0)
def tail_of(loss: Loss, gaps: Array) -> tuple[Array, Array]:
    """The pushes, and the history of a descent."""
    targets = jnp.array([1.0, 0.0], jnp.float32)

    def push(gap: Array) -> Array:
        return -jax.grad(loss)(jnp.stack([gap, jnp.zeros_like(gap)]), targets)[0]

    def ahead(logits: Array, value: Array, gradient: Array) -> Array:
        return logits[0] - logits[1]

    history = descent.fit(
        loss,
        jnp.array([TAIL_START / 2, -TAIL_START / 2], jnp.float32),
        targets,
        optax.sgd(TAIL_RATE),
        steps=TAIL_STEPS,
        record=ahead,
    ).record
    return jax.vmap(push)(gaps), history


def remaining(gap: np.ndarray) -> np.ndarray:
    """Cross-entropy of a truth that is ahead by a gap, in float64."""
    return np.logaddexp(0, -gap.astype(float))


def about_tails(tails: Mapping[str, Tail]) -> list[Row]:
    """Where the push ends, and what of a descent that costs."""
    exact, plain, clip = tails.values()
    gaps = GAPS.astype(float)
    resolved = (gaps >= 0) & (gaps <= 87)
    truth = sigmoid(-gaps)

    def ends(push: np.ndarray) -> float:
        return gaps[(gaps > 0) & (push == 0)].min(initial=math.inf)

    final = {name: tail.gaps[-1].astype(float) for name, tail in tails.items()}
    left = {name: float(remaining(gap)) for name, gap in final.items()}
    flow = np.log(np.exp(TAIL_START) + 2 * TAIL_RATE * TAIL_STEPS)
    silent = np.exp(24 * math.log(2))
    half_speed = silent + TAIL_RATE * (TAIL_STEPS - (silent - np.exp(TAIL_START)) / (2 * TAIL_RATE))
    return [
        claim(
            "float32, exact: largest relative error of the push on the truth, g from 0 to 87",
            predicted=0,
            measured=np.abs(exact.push / truth - 1)[resolved].max(),
            tolerance=1e-6,
        ),
        claim(
            "float32, exact: the gap from which the push on the truth is 0",
            predicted=126 * math.log(2),
            measured=ends(exact.push),
            tolerance=0.003,
        ),
        claim(
            "float32, usual: the same",
            predicted=24 * math.log(2),
            measured=ends(plain.push),
            tolerance=0.003,
        ),
        claim(
            f"float32, clipped at {CLIP:g}: the same",
            predicted=24 * math.log(2),
            measured=ends(clip.push),
            tolerance=0.003,
        ),
        claim(
            f"float32, clipped at {CLIP:g}: by how much the truth has to be behind for the same",
            predicted=math.log(1e7),
            measured=-gaps[(gaps < 0) & (clip.push == 0)].max(initial=-math.inf),
            tolerance=0.003,
        ),
        claim(
            f"float32, exact: the gap after {TAIL_STEPS} steps from g = {TAIL_START:g}, "
            f"η = {TAIL_RATE:g}",
            predicted=flow,
            measured=final["exact"],
            tolerance=0.05,
        ),
        prediction(
            "float32, usual: loss left after these steps, over that of the exact loss",
            predicted=np.exp(flow) / half_speed,
            measured=left["usual"] / left["exact"],
            relative_tolerance=0.1,
        ),
        claim(
            "float32, clipped: the gap after these steps",
            predicted=24 * math.log(2),
            measured=final["clipped"],
            tolerance=0.05,
        ),
    ]


# Pictures


def draw(gaps: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """The last gaps for every step size: a column for each loss, a row for each P."""
    figure = Figure(figsize=(7.0, 6.2))
    panels = figure.subplots(2, 2, sharex="row")
    looks = {
        "cross-entropy": (colours.CROSS_ENTROPY, theory.curvature.cross_entropy_largest_step),
        "Brier score": (colours.SQUARED_ERROR, theory.curvature.brier_score_largest_step),
    }
    for column, (name, (colour, largest_step)) in enumerate(looks.items()):
        for row, truth in enumerate((EVEN, SKEWED)):
            ax = panels[row, column]
            rates = RATES_OF_DIAGRAM[truth]
            limit = limit_of(largest_step, truth)
            last = gaps[name][f"diagram {truth}"][:, -SHOWN:].ravel()
            shown = np.repeat(rates, SHOWN)
            ax.plot(shown, last, ".", ms=0.8, mew=0, color=colour, rasterized=True)
            ax.axvline(limit, color=colours.INK, lw=0.8, ls=":")
            ax.text(
                *(limit + 0.015 * np.ptp(rates), 0.98),
                f"{limit:.4g}",
                transform=ax.get_xaxis_transform(),
                va="top",
                fontsize="small",
            )
            ax.set(xlim=(rates[0], rates[-1]), xlabel="step size η of gradient descent")
        title = "Brier score, sum over classes" if column else name
        panels[0, column].set_title(title, color=colour, loc="left")
    for row, words in zip(panels, ("P = (½, ½)", "P = (0.9, 0.1)"), strict=True):
        row[0].set_ylabel(f"{words}: last gaps, logits")
    (even_entropy, even_squared), (skewed_entropy, skewed_squared) = panels
    note = partial(Axes.text, fontsize="small")
    note(even_entropy, 8.0, 0, "a cycle of 2\nat any step", ha="center", va="center")
    even_squared.axvline(RATE_OF_ASYMMETRY, ymax=0.75, color=colours.INK, lw=0.8, ls=":")
    note(even_squared, 6.7, -3.2, f"not symmetric\nfrom {RATE_OF_ASYMMETRY:.3f}", ha="right")
    doubled = f"a cycle of 4 from {doubling_rate():.3f},\nthen chaos"
    note(even_squared, 8.0, 2.9, doubled, ha="center")
    note(skewed_entropy, 26, 50, "chaos", ha="right")
    note(skewed_entropy, 46, 99, "a cycle of 10: nine\nsteps down, one up", ha="right")
    note(skewed_squared, 59, 8, "doublings, chaos", ha="right")
    return figure


def draw_tails(tails: Mapping[str, Tail]) -> Figure:
    """The push on the truth against the gap, and what is left of the loss on a descent."""
    figure = Figure(figsize=(7.0, 3.9))
    push, loss = figure.subplots(1, 2, width_ratios=[1.3, 1])
    blue = colours.CROSS_ENTROPY
    looks = {"exact": ("-", 1.2), "usual": ("--", 2.4), "clipped": (":", 2.4)}
    steps = np.arange(1, TAIL_STEPS)
    for name, (dashes, width) in looks.items():
        tail = tails[name]
        felt = np.flatnonzero(tail.push > 0)
        # What is 0 has no place on a logarithmic axis: it is shown by the fall to the edge.
        gaps = np.concatenate([GAPS[felt[:1]], GAPS[felt][::50], GAPS[felt[-1:]]])
        pushes = np.concatenate([[1e-42], tail.push[felt][::50], [1e-42]])
        whole = slice(1 if felt[0] == 0 else 0, None)
        push.plot(gaps[whole], pushes[whole], ls=dashes, lw=width, color=blue)
        left = remaining(tail.gaps)[1:]
        loss.plot(steps, left, ls=dashes, lw=width, color=blue)
        loss.annotate(
            name,
            (steps[-1], left[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=blue,
            annotation_clip=False,
        )
    note = partial(push.text, fontsize="small", color=blue)
    note(-14.5, 1e-20, "clipped:\n0 from here\non behind")
    note(19, 1e-28, "usual and\nclipped: 0\nfrom here on\nahead")
    note(62, 1e-20, "exact: to\nthe end of\nfloat32")
    note(93, 1e-2, "2 classes", ha="right", color=colours.INK)
    push.set(
        yscale="log",
        xlim=(-25, 95),
        ylim=(1e-40, 100),
        xlabel="gap g: logits by which the truth is ahead",
        ylabel="push on the logit of the truth",
    )
    loss.set(
        xscale="log",
        yscale="log",
        xlim=(1, TAIL_STEPS),
        xlabel=f"steps, η = {TAIL_RATE:,.0f}, from g = {TAIL_START:g}",
        ylabel="cross-entropy left, nats",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Follow the gap for all step sizes, then the tails."""
    progress("cross-entropy, all steps", 0.1)
    with jax.enable_x64(True):
        cases = {"cross-entropy": cases_of_cross_entropy(), "Brier score": cases_of_brier_score()}
        gaps = {"cross-entropy": follow(CROSS_ENTROPY, cases["cross-entropy"])}
        progress("the Brier score, all steps", 0.3)
        gaps["Brier score"] = follow(BRIER_SCORE, cases["Brier score"])
        rows = [row for name in cases for row in about_limits(name, cases[name], gaps[name])]
        rows += about_cross_entropy(cases["cross-entropy"], gaps["cross-entropy"])
        rows += about_brier_score(cases["Brier score"], gaps["Brier score"])
        figure = draw(gaps)
        past = f"past {SKEWED}"
        exponent_of_entropy, exponent_of_squared = (
            lyapunov_exponents(cases[name][past], gaps[name][past], curvature)[1]
            for name, curvature in (
                ("cross-entropy", curvature_of_cross_entropy),
                ("Brier score", curvature_of_brier_score),
            )
        )
    progress("tails in float32", 0.6)
    tails = {
        name: Tail(*map(np.asarray, tail_of(loss, GAPS)))
        for name, loss in (("exact", CROSS_ENTROPY), ("usual", usual), ("clipped", clipped))
    }
    rows += about_tails(tails)
    chaos, stuck, mean, entropy_limit, squared_limit = (
        next(row.measured for row in rows if row.statement.startswith(words))
        for words in (
            f"Brier score, P = (½, ½), η = {CHAOTIC_RATE:g}",
            f"Brier score, P = (½, ½), η = {THROWING_RATE:g}",
            "cross-entropy, P = (0.9, 0.1), 50 % past",
            "cross-entropy, P = (0.9, 0.1): η that",
            "Brier score, P = (0.9, 0.1): η that",
        )
    )
    return Finding(
        answer=(
            "For P = (½, ½) both losses are stable up to η = 4; past it cross-entropy settles on a "
            "cycle of two gaps at any step, while the Brier score is chaotic at η = "
            f"{CHAOTIC_RATE:g} (Lyapunov exponent {chaos:.2f}) and with η = {THROWING_RATE:g} is "
            f"thrown to a plateau, where after {STEPS} steps it is still {-stuck:.1f} logits out. "
            "For P = (0.9, 0.1) cross-entropy leaves the optimum at η = "
            f"{entropy_limit:.1f} and the Brier score at {squared_limit:.1f}, with half as much "
            f"again both are chaotic (exponents {exponent_of_entropy:.2f} and "
            f"{exponent_of_squared:.2f}), and still the mean of q by cross-entropy, over all its "
            f"steps, is {mean:.4f}."
        ),
        rows=rows,
        pictures={
            "stability": Picture(figure, CAPTION),
            "stability_tails": Picture(draw_tails(tails), CAPTION_OF_TAILS),
        },
    )
