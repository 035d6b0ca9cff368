"""How many steps does it take to fit Q to P, and what has the condition number to do with it?

Q = softmax(z) is fitted to P by descent on the logits, z ← z − η dL/dz. Write J = diag(p) − p pᵀ.
At Q = P the Hessian of cross-entropy is J, and that of squared error Σᵢ (qᵢ − pᵢ)² is 2J²: two
softmax Jacobians where cross-entropy has one. Let κ be the condition number of J on 1⊥, the
directions that change q. It is large when P is skewed. Near P a step multiplies the error along an
eigenvector by 1 − ηλ, and the best fixed step η = 2/(λmin + λmax) leaves a factor

    cross-entropy (κ − 1)/(κ + 1),        squared error (κ² − 1)/(κ² + 1)

of it. To divide the error by 1000 takes ln 1000 / (2 artanh(1/κ)) ≈ 3.45 κ steps and
ln 1000 / (2 artanh(1/κ²)) ≈ 3.45 κ²: not because the step of squared error is badly chosen, for
each loss has its own best one, but because no single step suits both of its ends.

Both losses are proper: either fit ends at Q = P, where cross-entropy is the entropy H(P).

Far from P the Hessians are others, and no theorem counts steps. There each loss is given the fixed
step, of a fine grid, that brings the slowest of six starts to P in the fewest steps. (For the
picture also 1/L, which cannot overshoot: L, the largest curvature anywhere, is 1/2 and 0.6162.)

Predictions:

- Near P, ‖z − log p‖ = 0.001: the steps that divide ‖z − log p‖ by 1000 are those of the closed
  form within 1 % (0.01), for 16 P with κ from 3.7 to 95.
- Their slope against κ, on log–log, is 1 for cross-entropy and 2 for squared error, within 0.03.
- P = (0.9, 0.09, 0.01): 39.67 steps by cross-entropy, 457.9 by squared error, within 1 % (0.01).
- From far starts either fit ends with the cross-entropy H(P), 0.89794572 nats for
  P = (0.6, 0.3, 0.1) and 0.35759127 for (0.9, 0.09, 0.01), within 1e-10.
- From far starts squared error takes more steps than cross-entropy by a factor of κ, within a half
  of it: 3.07 for (0.6, 0.3, 0.1) and 11.5 for (0.9, 0.09, 0.01).
"""

from collections.abc import Callable
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, information, losses, plots, theory

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
SURE_STEP_OF_CROSS_ENTROPY = 2.0
SURE_STEP_OF_SQUARED_ERROR = 576 / (39 + 55 * 33**0.5)
Loss = Callable[[Array, Array], Array]

MILD, SKEWED = (0.6, 0.3, 0.1), (0.9, 0.09, 0.01)
SKEWS = np.geomspace(0.2, 0.014, 8)
LADDER = [[1, skew, skew**2] for skew in SKEWS] + [[1, 1, skew] for skew in SKEWS]
FACTOR = 1_000.0
NEAR = 1e-3
NEAR_STEPS = 40_000

FAR_STARTS = np.array(sorted(permutations((0.9, 0.08, 0.02))))
LEARNING_RATES = np.geomspace(1, 64, 97)
ARRIVED = 1e-6
FAR_STEPS = 3_000
SEED = 0
BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#262626"
NAMES = ("cross-entropy", "squared error")
COLOURS = (BLUE, VERMILION)
LABELS = ("cross-entropy", "squared error, sum over classes")


# Near P


class Near(NamedTuple):
    """Descent by one loss from near each P, at the best fixed step."""

    condition_number: Float[np.ndarray, " targets"]
    """κ of J(p), whatever the loss."""
    steps: Float[np.ndarray, " targets"]
    """Measured; NaN where the error was never divided by FACTOR."""
    expected: Float[np.ndarray, " targets"]


def near(
    loss: Loss,
    best_fixed_step: Callable[[Array], theory.BestFixedStep],
    targets: Float[Array, "targets classes"],
    starts: Float[Array, "targets classes"],
) -> Near:
    """Count the steps that divide ‖z − log p‖ by FACTOR, for each P and its start."""

    def distances(p: Array, start: Array, learning_rate: Array) -> Array:
        def distance(logits: Array, value: Array, gradient: Array) -> Array:
            return jnp.linalg.norm(logits - jnp.log(p) - (logits - jnp.log(p)).mean())

        sgd = optax.sgd(learning_rate)
        return descent.fit(loss, start, p, sgd, steps=NEAR_STEPS, record=distance).record

    best = jax.vmap(best_fixed_step)(targets)
    measured = jax.vmap(distances)(targets, starts, best.learning_rate)
    condition_number = jax.vmap(theory.cross_entropy_best_fixed_step)(targets).condition_number
    return Near(
        np.asarray(condition_number),
        np.array([steps_to_divide(np.asarray(row)) for row in measured]),
        np.asarray(theory.steps_to_shrink_error(best.condition_number, FACTOR)),
    )


def steps_to_divide(distances: Float[np.ndarray, " steps"]) -> float:
    """When the distance first is 1/FACTOR of what it was, between two steps by its logarithm."""
    target = distances[0] / FACTOR
    arrived = distances <= target
    if not arrived.any():
        return np.nan
    after = arrived.argmax()
    before, past = np.log(distances[after - 1 : after + 1] / target)
    return after - 1 + before / (before - past)


def of_near(by_cross_entropy: Near, by_squared_error: Near) -> list[Row]:
    """The closed forms, and the slopes that they come to."""
    rows = []
    for name, fits, slope in zip(NAMES, (by_cross_entropy, by_squared_error), (1, 2), strict=True):
        *ladder, skewed = fits.steps
        *expected_ladder, expected_skewed = fits.expected
        *condition_numbers, _ = fits.condition_number
        measured_slope, _ = np.polyfit(np.log(condition_numbers), np.log(ladder), 1)
        rows += [
            claim(
                f"near {len(ladder)} P with κ from {min(condition_numbers):.1f} to "
                f"{max(condition_numbers):.0f}, {name}: largest relative difference of the steps "
                "from the closed form",
                predicted=0,
                measured=np.abs(np.divide(ladder, expected_ladder) - 1).max(),
                tolerance=0.01,
            ),
            claim(
                f"near P, {name}: slope of the steps against κ, log–log",
                predicted=slope,
                measured=measured_slope,
                tolerance=0.03,
            ),
            claim(
                f"near P = {SKEWED}, {name}: steps that divide ‖z − log p‖ = {NEAR} by {FACTOR:g}",
                predicted=expected_skewed,
                measured=skewed,
                relative_tolerance=0.01,
            ),
        ]
    return rows


# Far from P


class Far(NamedTuple):
    """Fits by one loss to one P from the far starts, with one fixed step."""

    learning_rate: float
    steps: float
    """Of the slowest start, until max|q − p| ≤ ARRIVED."""
    paths: Float[np.ndarray, "starts steps classes"]
    """Q before each step; NaN after arrival."""
    ends: Float[np.ndarray, "starts classes"]
    """Q at the end."""


def far(loss: Loss, sure_learning_rate: float) -> tuple[Far, Far, Far]:
    """To MILD with the step that cannot overshoot, then to MILD and SKEWED, each with the best."""

    def fit(
        p: Array, learning_rate: Array, start: Array, record: descent.Record | None
    ) -> descent.Descent:
        sgd = optax.sgd(learning_rate)
        return descent.fit(loss, start, p, sgd, steps=FAR_STEPS, record=record, tolerance=ARRIVED)

    def slowest(fits: descent.Descent) -> np.ndarray:
        arrived = fits.status == descent.Status.converged
        return np.where(arrived, fits.steps_taken, np.inf).max(axis=-1)

    from_starts = jax.vmap(fit, in_axes=(None, None, 0, None))
    at_rates = jax.vmap(from_starts, in_axes=(None, 0, None, None))
    to_each_at_rates = jax.vmap(at_rates, in_axes=(0, None, None, None))
    to_each = jax.vmap(from_starts, in_axes=(0, 0, None, None))

    starts, learning_rates = jnp.log(FAR_STARTS), jnp.array(LEARNING_RATES)
    tried = to_each_at_rates(jnp.array([MILD, SKEWED]), learning_rates, starts, None)
    best = LEARNING_RATES[slowest(tried).argmin(axis=-1)]
    chosen = np.array([sure_learning_rate, *best])
    fits = to_each(jnp.array([MILD, MILD, SKEWED]), jnp.array(chosen), starts, descent.record_path)
    paths, ends = np.asarray(jax.nn.softmax(fits.record)), np.asarray(jax.nn.softmax(fits.params))
    sure, mild, skewed = map(Far, chosen, slowest(fits), paths, ends)
    return sure, mild, skewed


def cross_entropies(p: tuple[float, float, float], q: np.ndarray) -> np.ndarray:
    """H(P, Q) in nats, of one P and many Q."""
    return np.asarray(information.cross_entropy(np.broadcast_to(p, q.shape), q))


def of_far(by_cross_entropy: tuple[Far, ...], by_squared_error: tuple[Far, ...]) -> list[Row]:
    """Where all fits end, and how much longer squared error took."""
    rows = []
    for p, *fits in zip((MILD, SKEWED), by_cross_entropy, by_squared_error, strict=True):
        entropy = information.entropy(np.array(p))
        rows += [
            claim(
                f"far from P = {p}, {name}: H(P, Q) at the end, of six starts the worst; nats",
                predicted=entropy,
                measured=entropy + np.abs(cross_entropies(p, fit.ends) - entropy).max(),
                tolerance=1e-10,
            )
            for name, fit in zip(NAMES, fits, strict=True)
        ]
        condition_number = theory.cross_entropy_best_fixed_step(jnp.array(p)).condition_number
        rows.append(
            prediction(
                f"far from P = {p}: steps by squared error over steps by cross-entropy",
                predicted=condition_number,
                measured=fits[1].steps / fits[0].steps,
                relative_tolerance=0.5,
            )
        )
    return rows


# Pictures


def draw_steps(near_p: tuple[Near, Near], far_from_p: tuple[Far, Far]) -> Picture:
    """Steps against κ near P; on the way from far, what cross-entropy is above H(P)."""
    figure = Figure(figsize=(7.0, 3.5))
    left, right = figure.subplots(1, 2)
    entropy = float(information.entropy(np.array(SKEWED)))
    for label, name, colour, fits, runs in zip(
        LABELS, NAMES, COLOURS, near_p, far_from_p, strict=True
    ):
        order = fits.condition_number.argsort()
        left.plot(fits.condition_number[order], fits.expected[order], color=colour)
        left.plot(fits.condition_number, fits.steps, "o", color=colour, label=label)
        for index, surplus in enumerate(cross_entropies(SKEWED, runs.paths) - entropy):
            words = f"{name}, step {runs.learning_rate:.1f}" if index == 0 else None
            plots.plot_history(right, surplus, log=True, color=colour, lw=1.0, label=words)
    left.set(
        title="from near P, each at its best step",
        xlabel="condition number κ of diag(p) − p pᵀ",
        ylabel=f"steps that divide the error by {FACTOR:g}",
        xscale="log",
        yscale="log",
        ylim=(3, None),
    )
    left.legend(loc="lower right")
    right.set(
        title=f"P = {SKEWED}, from far",
        ylabel="cross-entropy − H(P), nats",
        xlim=(0, FAR_STEPS),
        ylim=(1e-14, 10),
    )
    right.set_xscale("symlog", linthresh=1)
    right.legend(loc="lower left")
    ratio = near_p[1].steps[-1] / near_p[0].steps[-1]
    return Picture(
        figure,
        "Left: steps that divide the distance to log p by 1000, from near P, against κ; dots are "
        "measured, lines are the closed forms, and squared error needs κ² where cross-entropy "
        f"needs κ ({ratio:.1f} times as many at κ = {near_p[0].condition_number[-1]:.1f}). Right: "
        "from six far starts either loss brings cross-entropy down to H(P). Squared error is a "
        "sum over the classes.",
    )


def draw_paths(by_cross_entropy: tuple[Far, Far], by_squared_error: tuple[Far, Far]) -> Picture:
    """The ways of Q to MILD on the simplex: a column for each loss, a row for each step."""
    figure = Figure(figsize=(7.0, 6.8))
    rows = zip(("step 1/L =", "best step"), by_cross_entropy, by_squared_error, strict=True)
    for row, (step, *fits_of_row) in enumerate(rows):
        for column, fits in enumerate(fits_of_row):
            ax = figure.add_subplot(2, 2, 2 * row + column + 1, projection="ternary")
            look = {"color": COLOURS[column], "lw": 0.8, "marker": ".", "markersize": 4}
            for path in fits.paths:
                plots.plot_simplex_path(ax, path, **look)
            ax.plot(*np.array(MILD)[:, None], "P", color=INK, markersize=8, zorder=5)
            ax.set_title(
                f"{LABELS[column]}\n{step} {fits.learning_rate:.2f}: {fits.steps:.0f} steps"
            )
    return Picture(
        figure,
        f"Q on its way to P = {MILD} (the cross) from six starts (open circles), a dot for each "
        "step. Above, with the step that cannot overshoot, the paths of squared error (a sum over "
        "the classes) hug the edges, where it hardly pushes; below, with the fixed step that is "
        "best for each loss, both overshoot. Counted are the steps of the slowest start.",
    )


def run(progress: Progress) -> Finding:
    """Fit from near, where theorems count the steps, and from far, where none does."""
    with jax.enable_x64(True):
        ladder = np.array(LADDER) / np.sum(LADDER, axis=1, keepdims=True)
        targets = np.vstack([ladder, SKEWED])
        offsets = np.random.default_rng(SEED).standard_normal(targets.shape)
        offsets -= offsets.mean(axis=1, keepdims=True)
        offsets *= NEAR / np.linalg.norm(offsets, axis=1, keepdims=True)
        targets, starts = jnp.array(targets), jnp.array(np.log(targets) + offsets)
        progress("from near P by cross-entropy")
        near_by_cross_entropy = near(
            CROSS_ENTROPY, theory.cross_entropy_best_fixed_step, targets, starts
        )
        progress("from near P by squared error")
        near_by_squared_error = near(
            SQUARED_ERROR, theory.brier_score_best_fixed_step, targets, starts
        )
        progress("from far by cross-entropy")
        far_by_cross_entropy = far(CROSS_ENTROPY, SURE_STEP_OF_CROSS_ENTROPY)
        progress("from far by squared error")
        far_by_squared_error = far(SQUARED_ERROR, SURE_STEP_OF_SQUARED_ERROR)
        rows = of_near(near_by_cross_entropy, near_by_squared_error)
        rows += of_far(far_by_cross_entropy[1:], far_by_squared_error[1:])
        pictures = {
            "fit_q_to_p": draw_steps(
                (near_by_cross_entropy, near_by_squared_error),
                (far_by_cross_entropy[2], far_by_squared_error[2]),
            ),
            "fit_q_to_p_paths": draw_paths(far_by_cross_entropy[:2], far_by_squared_error[:2]),
        }
    return Finding(
        answer=(
            "Near P the steps grow like κ, the condition number of diag(p) − p pᵀ, by "
            f"cross-entropy (slope {rows[1].measured:.3f} on log–log) and like κ² by squared error "
            f"(slope {rows[4].measured:.3f}), each at its own best fixed step. To P = {SKEWED} "
            f"from far cross-entropy takes {far_by_cross_entropy[2].steps:.0f} steps and squared "
            f"error {far_by_squared_error[2].steps:.0f}, and either way Q ends at P, where "
            "cross-entropy is H(P)."
        ),
        rows=rows,
        pictures=pictures,
    )
