"""Near the answer, do the steps grow with κ or with κ²?

Q = softmax(z) descends towards P, z ← z − η dL/dz. Write J = diag(p) − p pᵀ for the Jacobian of
softmax at P. At Q = P the Hessian of cross-entropy is J, and that of squared error Σᵢ (qᵢ − pᵢ)² is
2J²: two softmax Jacobians where cross-entropy has one. Let λ be the eigenvalues of J on 1⊥, the
directions that change q, and κ = λmax/λmin. It is large when P is skewed. Near P a step multiplies
the error along an eigenvector of the Hessian by 1 − η times its eigenvalue. No error grows below

    cross-entropy η = 2/λmax,                squared error η = 1/λmax²,

and the best fixed step, which leaves as much of the fastest direction as of the slowest, leaves

    cross-entropy (κ − 1)/(κ + 1),           squared error (κ² − 1)/(κ² + 1)

of the error in these two, and less of all others. To divide it by 1000 takes
ln 1000 / (2 artanh(1/κ)) ≈ 3.45 κ steps and ln 1000 / (2 artanh(1/κ²)) ≈ 3.45 κ²: not because the
step of squared error is badly chosen, for each loss has its own best one, but because no single
step suits both of its ends.

P is drawn from Dirichlet distributions, from skewed (concentration 0.5) to mild (3). Draws with κ
above 100 are left out: they would take squared error more than 34,500 steps.

Far from P the Hessians are others, and no theorem counts steps. What the same steps do from the
uniform Q is a guess.

Predictions:

- From ‖z − log p‖ = 0.001, in the two slowest directions alone: the steps that divide the error by
  1000 are those of the closed form within 0.002, for 72 P of 3, 5 and 10 classes.
- Their slope against κ, on log–log, for κ ≥ 4, is 1 for cross-entropy and 2 for squared error,
  within 0.01.
- From random directions at the same distance they are at most 1 times the closed form, within
  0.002.
- P = (0.9, 0.09, 0.01): 39.67 steps by cross-entropy, 457.9 by squared error, within 0.002 of it.
- With 0.99 of the largest stable step the error is divided by 1000 for all P (a share of 1); with
  1.01 of it for none (0).
- From the uniform Q, with the steps that are best near P, either loss divides the error by 1000 for
  at least 0.9 of all P, and the slopes for κ ≥ 4 are again 1 and 2, within 0.3.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score

SECONDS = 4
CLASSES, MARKERS = (3, 5, 10), "^so"
CONCENTRATIONS = 0.5, 1.0, 3.0
DRAWS = 8
"""Of P, for each number of classes and concentration."""
LARGEST_CONDITION_NUMBER = 100.0
SETTLED = 4.0
"""The κ from which a slope is fitted: below it artanh(1/κ) is not yet 1/κ."""
SKEWED = np.array([0.9, 0.09, 0.01])
NEAR = 1e-3
FACTOR = 1_000.0
STEPS = 40_000
BELOW, ABOVE = 0.99, 1.01
"""Of the largest stable step."""
# As many as there are fits to the draws of a number of classes: the same compiled program.
SHARES = np.sin(np.linspace(0.05, np.pi / 2 - 0.03, 5 * DRAWS * len(CONCENTRATIONS) - 1))
"""Of the largest stable step, from small to nearly all of it: those that are tried on SKEWED."""
SEED = 0


class Problem(NamedTuple):
    """Distributions over some number of classes, and where descent to them starts."""

    targets: Float[np.ndarray, "targets classes"]
    slowest: Float[np.ndarray, "targets classes"]
    """Logits at NEAR from log p, in the slowest directions."""
    random: Float[np.ndarray, "targets classes"]
    """Logits at NEAR from log p, in a random direction."""


class Law(NamedTuple):
    """A loss, and what theory says of it near a P."""

    name: str
    loss: Loss
    best_fixed_step: Callable[[Array], theory.curvature.BestFixedStep]
    largest_step: Callable[[Array], Array]
    slope: int
    colour: str


class Counts(NamedTuple):
    """Steps that divide the distance to log p by FACTOR, for each P; NaN: more than STEPS."""

    condition_number: Float[np.ndarray, " targets"]
    """κ of J(p), whatever the loss."""
    expected: Float[np.ndarray, " targets"]
    """From near P, in the slowest directions, by the best fixed step."""
    slowest: Float[np.ndarray, " targets"]
    """The same, measured."""
    random: Float[np.ndarray, " targets"]
    uniform: Float[np.ndarray, " targets"]
    below: Float[np.ndarray, " targets"]
    """From near P, in the slowest directions, by a step BELOW the largest stable one."""
    above: Float[np.ndarray, " targets"]


class Tried(NamedTuple):
    """Steps to SKEWED, from near it in the slowest directions."""

    condition_number: float
    expected: float
    best: float
    """By the best fixed step."""
    best_share: float
    """The best fixed step over the largest stable one."""
    by_shares: Float[np.ndarray, " shares"]
    """By SHARES of the largest stable step."""


def laws() -> tuple[Law, Law]:
    """Cross-entropy, which should go with κ, and squared error, with κ²."""
    return (
        Law(
            "cross-entropy",
            CROSS_ENTROPY,
            theory.curvature.cross_entropy_best_fixed_step,
            theory.curvature.cross_entropy_largest_step,
            1,
            colours.CROSS_ENTROPY,
        ),
        Law(
            "squared error",
            SQUARED_ERROR,
            theory.curvature.brier_score_best_fixed_step,
            theory.curvature.brier_score_largest_step,
            2,
            colours.SQUARED_ERROR,
        ),
    )


def near(targets: Float[np.ndarray, "targets classes"], random: np.random.Generator) -> Problem:
    """Starts near each of the targets."""

    def at(directions: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        return np.log(targets) + NEAR * directions / lengths

    _, directions = np.linalg.eigh(jacobians(targets))
    anywhere = random.standard_normal(targets.shape)
    return Problem(
        targets,
        at(directions[:, :, 1] + directions[:, :, -1]),
        at(anywhere - anywhere.mean(axis=1, keepdims=True)),
    )


def jacobians(p: Float[np.ndarray, "targets classes"]) -> np.ndarray:
    """diag(p) − p pᵀ."""
    return p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])


def drawn(classes: int, random: np.random.Generator) -> Float[np.ndarray, "targets classes"]:
    """DRAWS of P from each Dirichlet distribution."""
    kept = []
    for concentration in CONCENTRATIONS:
        many = random.dirichlet(np.full(classes, concentration), 100 * DRAWS)
        eigenvalues = np.linalg.eigvalsh(jacobians(many))
        within = eigenvalues[:, -1] <= LARGEST_CONDITION_NUMBER * eigenvalues[:, 1]
        kept.append(many[within][:DRAWS])
    return np.concatenate(kept)


@partial(jax.jit, static_argnums=(0, 4))
def distances(loss: Loss, targets: Array, starts: Array, rates: Array, steps: int) -> Array:
    """‖z − log p‖ on 1⊥ before each step of each fit."""

    def of_fit(p: Array, start: Array, rate: Array) -> Array:
        def distance(logits: Array, value: Array, gradient: Array) -> Array:
            error = logits - jnp.log(p)
            return jnp.linalg.norm(error - error.mean())

        return descent.fit(loss, start, p, optax.sgd(rate), steps=steps, record=distance).record

    return jax.vmap(of_fit)(targets, starts, rates)


def steps_to_divide(rows: Float[np.ndarray, "fits steps"]) -> Float[np.ndarray, " fits"]:
    """When a distance first is 1/FACTOR of what it was, between two steps by its logarithm."""
    remaining = FACTOR * rows / rows[:, :1]
    after = np.argmax(remaining <= 1, axis=1)
    (arrived,) = np.nonzero(after)
    before = np.log(remaining[arrived, after[arrived] - 1])
    past = np.log(remaining[arrived, after[arrived]])
    steps = np.full(len(rows), np.nan)
    steps[arrived] = after[arrived] - 1 + before / (before - past)
    return steps


def in_theory(
    law: Law, targets: Float[np.ndarray, "targets classes"]
) -> Float[np.ndarray, "4 targets"]:
    """For each P the best step, the steps it should take, the largest stable step, κ of J(p)."""
    return np.array([of_theory(p)[law.name] for p in targets]).T


@jax.jit
def of_theory(p: Array) -> dict[str, Array]:
    """The same of one P, for either law."""
    condition_number = theory.curvature.cross_entropy_best_fixed_step(p).condition_number

    def of_law(law: Law) -> Array:
        best = law.best_fixed_step(p)
        steps = theory.curvature.steps_to_shrink_error(best.condition_number, FACTOR)
        return jnp.stack([best.learning_rate, steps, law.largest_step(p), condition_number])

    return {law.name: of_law(law) for law in laws()}


def count(law: Law, problem: Problem) -> Counts:
    """Fit Q to each P, from near it and from the uniform Q."""
    targets, slowest, random = problem
    best, expected, largest, condition_numbers = in_theory(law, targets)
    rows = distances(
        law.loss,
        np.concatenate([targets] * 5),
        np.concatenate([slowest, random, np.zeros_like(targets), slowest, slowest]),
        np.concatenate([best, best, best, BELOW * largest, ABOVE * largest]),
        STEPS,
    )
    steps = np.split(steps_to_divide(np.asarray(rows)), 5)
    return Counts(condition_numbers, expected, *steps)


def try_steps(law: Law, problem: Problem) -> Tried:
    """Fit Q to one P, from near it, by every step."""
    (best,), (expected,), (largest,), (condition_number,) = in_theory(law, problem.targets)
    rates = np.append(best, SHARES * largest)
    targets, starts = (np.repeat(x, len(rates), 0) for x in (problem.targets, problem.slowest))
    rows = distances(law.loss, targets, starts, rates, STEPS)
    by_best, *by_shares = steps_to_divide(np.asarray(rows))
    return Tried(condition_number, expected, by_best, best / largest, np.array(by_shares))


def slope(condition_numbers: np.ndarray, steps: np.ndarray) -> float:
    """Of the steps against κ, log–log, where κ is large enough and P was reached."""
    fitted = (condition_numbers >= SETTLED) & np.isfinite(steps)
    if np.count_nonzero(fitted) < 2:
        return np.nan
    return np.polyfit(np.log(condition_numbers[fitted]), np.log(steps[fitted]), 1)[0]


def near_p(law: Law, counts: Counts, tried: Tried) -> list[Row]:
    """What theorems say."""
    how_many = (
        f"{len(counts.expected)} P of {', '.join(map(str, CLASSES[:-1]))} and {CLASSES[-1]} classes"
    )
    return [
        claim(
            f"{law.name}: largest relative difference of the steps that divide ‖z − log p‖ = "
            f"{NEAR} by {FACTOR:g} from the closed form, {how_many}",
            predicted=0,
            measured=np.abs(counts.slowest / counts.expected - 1).max(),
            tolerance=0.002,
        ),
        claim(
            f"{law.name}: slope of the steps against κ, log–log, κ ≥ {SETTLED:g}",
            predicted=law.slope,
            measured=slope(counts.condition_number, counts.slowest),
            tolerance=0.01,
        ),
        claim(
            f"{law.name}: from random directions, largest ratio of the steps to the closed form",
            predicted=1,
            measured=(counts.random / counts.expected).max(),
            tolerance=0.002,
            relation="≤",
        ),
        claim(
            f"{law.name}: steps near P = {tuple(SKEWED.tolist())}",
            predicted=tried.expected,
            measured=tried.best,
            relative_tolerance=0.002,
        ),
        *(
            claim(
                f"{law.name}: share of P that are reached with {share} of the largest stable step",
                predicted=predicted,
                measured=np.isfinite(steps).mean(),
            )
            for share, predicted, steps in ((BELOW, 1, counts.below), (ABOVE, 0, counts.above))
        ),
    ]


def far_from_p(law: Law, counts: Counts) -> list[Row]:
    """What was guessed."""
    return [
        prediction(
            f"{law.name}: share of P that are reached from the uniform Q",
            predicted=0.9,
            measured=np.isfinite(counts.uniform).mean(),
            relation="≥",
        ),
        prediction(
            f"{law.name}: slope of the steps from the uniform Q against κ, log–log, "
            f"κ ≥ {SETTLED:g}",
            predicted=law.slope,
            measured=slope(counts.condition_number, counts.uniform),
            tolerance=0.3,
        ),
    ]


def draw(counts: Mapping[str, Mapping[int, Counts]], tried: Mapping[str, Tried]) -> Figure:
    """Steps against κ, each loss at its best step; and against the step, for one P."""
    figure = Figure(figsize=(7.0, 4.4))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    curve = np.geomspace(1.05, LARGEST_CONDITION_NUMBER, 200)
    for law in laws():
        expected = jax.jit(theory.curvature.steps_to_shrink_error)(curve**law.slope, FACTOR)
        left.plot(curve, expected, color=law.colour, lw=1.2)
        for of_classes, marker in zip(counts[law.name].values(), MARKERS, strict=True):
            look = {"color": law.colour, "marker": marker, "ls": "none", "ms": 4.5}
            left.plot(of_classes.condition_number, of_classes.slowest, **look)
            left.plot(
                *(of_classes.condition_number, of_classes.uniform),
                **{**look, "mfc": "none", "alpha": 0.45, "zorder": 1},
            )
        of_skewed = tried[law.name]
        right.plot(SHARES, of_skewed.by_shares, color=law.colour)
        right.plot(of_skewed.best_share, of_skewed.best, "o", color=law.colour)
        scale = ", sum" if law.slope == 2 else ""
        right.annotate(
            f"{law.name}{scale}:\n{of_skewed.best:.0f} at its best",
            (0.5, of_skewed.best),
            va="top",
            ha="center",
            color=law.colour,
        )
    left.set(
        title="each at its own best step",
        xlabel="condition number κ of diag(p) − p pᵀ",
        ylabel=f"steps that divide the error by {FACTOR:g}",
        xscale="log",
        yscale="log",
        ylim=(1, 1e5),
    )
    left.text(24, 700, "squared error,\nsum: κ²", color=colours.SQUARED_ERROR, va="center")
    left.text(24, 35, "cross-entropy:\nκ", color=colours.CROSS_ENTROPY, va="top", ha="left")
    for classes, marker in zip(CLASSES, MARKERS, strict=True):
        label = f"{classes} classes"
        left.plot([], [], marker, color=colours.INK, ms=4.5, label=label)
    left.plot([], [], "o", color=colours.INK, mfc="none", alpha=0.45, label="from the uniform Q")
    left.legend(loc="upper left", fontsize="small")
    right.set(
        title=f"P = {tuple(SKEWED.tolist())}, any step",
        xlabel="step η over the largest stable η",
        xlim=(0, 1.2),
    )
    right.axvspan(1, 1.2, color=colours.INK, alpha=0.08, lw=0)
    right.text(1.1, 316, "never", rotation=90, ha="center", va="center")
    return figure


def run(progress: Progress) -> Finding:
    """Fit from near, where theorems count the steps, and from the uniform Q, where none does."""
    random = np.random.default_rng(SEED)
    problems = {classes: near(drawn(classes, random), random) for classes in CLASSES}
    skewed = near(SKEWED[None], random)
    counts: dict[str, dict[int, Counts]] = {}
    tried: dict[str, Tried] = {}
    rows: dict[str, list[Row]] = {}
    with jax.enable_x64(True):
        for index, law in enumerate(laws()):
            progress(law.name, index / 2)
            by_classes = {classes: count(law, problem) for classes, problem in problems.items()}
            of_all = Counts(*map(np.concatenate, zip(*by_classes.values(), strict=True)))
            counts[law.name], tried[law.name] = by_classes, try_steps(law, skewed)
            rows[law.name] = near_p(law, of_all, tried[law.name]) + far_from_p(law, of_all)
        progress("figure", 0.95)
        figure = draw(counts, tried)
    (of_entropy, entropy), (of_squared, squared) = zip(rows.values(), tried.values(), strict=True)
    missed = [
        np.count_nonzero(np.isnan(np.concatenate([each.uniform for each in of_law.values()])))
        for of_law in counts.values()
    ]
    return Finding(
        answer=(
            "Each loss at its own best fixed step, the steps near P grow with κ, the condition "
            f"number of diag(p) − p pᵀ, to the power {of_entropy[1].measured:.2f} by cross-entropy "
            f"and {of_squared[1].measured:.2f} by squared error. For P = {tuple(SKEWED.tolist())}, "
            f"where κ is {entropy.condition_number:.1f}, to divide the error by {FACTOR:g} takes "
            f"cross-entropy {entropy.best:.0f} steps and squared error {squared.best:.0f}, and no "
            "step helps: the largest that the fastest direction stands is small for the slowest."
        ),
        rows=[row for of_law in rows.values() for row in of_law],
        pictures={
            "conditioning": Picture(
                figure,
                "Left: steps to P against the condition number κ; filled marks, from near P, lie "
                "on the lines, which are the closed forms, whatever the number of classes; open "
                f"ones are from the uniform Q (not reached in {STEPS:,} steps: {missed[0]} P by "
                f"cross-entropy, {missed[1]} by squared error). Right: for one P every step up to "
                "the largest stable one; the dots are the best steps of theory. Plain descent on "
                "the logits; squared error is a sum over the classes.",
            )
        },
    )
