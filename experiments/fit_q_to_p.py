"""Do cross-entropy and squared error bring Q to the same P, and how do they get there?

Q = softmax(z) is fitted to P by descent on the logits, from six starts that are far away: 0.9 for
one class, 0.08 for another, 0.02 for the last. The loop is compiled, the derivatives are JAX's, and
the optimizer is one of optax.

Both losses are proper: the only Q at which either of them is least is P. There cross-entropy
H(P, Q) = H(P) + KL(P‖Q) is the entropy H(P), and squared error Σᵢ (qᵢ − pᵢ)² is 0. So the fits end
alike. They do not go alike: with J = diag(q) − q qᵀ the gradients are

    cross-entropy q − p,        squared error 2J (q − p),

and J all but vanishes along the edges of the simplex.

No eigenvalue of a Hessian is above L = 1/2 for cross-entropy, and 0.6162 for squared error. So
plain descent with the step 1/L never makes its loss larger. Near P it leaves 1 − λ/L of the error
along an eigenvector of the Hessian, and in the end the slowest direction is left: with λ the least
eigenvalue of J at P, each step leaves 1 − 2λ of the distance to log p by cross-entropy, and
1 − 2λ²/0.6162 by squared error.

What follows are guesses, for the step, of a fine grid, that brings the slowest of the six starts to
max|q − p| ≤ 1e-6 in the fewest steps. For plain descent: as near P, by a factor of κ = λmax/λmin.
Momentum 0.9 cannot do better than √0.9 a step, which is slower than cross-entropy needs, and can do
that for both losses: so it makes them alike. Adam divides by the size of the gradient.

Predictions:

- All fits, by plain descent, momentum 0.9 and Adam, end with max|q − p| of at most 1e-6.
- There cross-entropy is H(P), 0.89794572 nats for P = (0.6, 0.3, 0.1) and 0.35759127 for
  (0.9, 0.09, 0.01), whichever loss was descended on, and squared error is 0, within 1e-10.
- The step 1/L never makes the loss larger: its largest change is at most 0, within 1e-15.
- P = (0.6, 0.3, 0.1): in the end a step 1/L leaves 0.734955 of the distance to log p by
  cross-entropy and 0.943001 by squared error, within 1e-4.
- Steps by squared error over steps by cross-entropy, by plain descent: κ, within a half of it: 3.07
  for (0.6, 0.3, 0.1) and 11.5 for (0.9, 0.09, 0.01).
- By momentum 0.9: 1, within 0.5, for both P.
- By Adam: at most 2, for both P.
"""

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.special import softmax

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, information, losses, plots, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
Optimizer = Callable[[Array, Array], optax.GradientTransformation]

SECONDS = 4
MILD, SKEWED = TARGETS = np.array([[0.6, 0.3, 0.1], [0.9, 0.09, 0.01]])
STARTS = np.log(sorted(permutations((0.9, 0.08, 0.02))))
PLAIN, MOMENTUM, ADAM = "plain descent", "momentum 0.9", "Adam"
# Of a step size and how much of the gradients before is kept; the first two are one program.
OPTIMIZERS: dict[str, tuple[Optimizer, float]] = {
    PLAIN: (optax.sgd, 0.0),
    MOMENTUM: (optax.sgd, 0.9),
    ADAM: (optax.adam, 0.9),
}
RATES = {
    PLAIN: np.geomspace(1, 64, 49),
    MOMENTUM: np.geomspace(1 / 8, 32, 49),
    ADAM: np.geomspace(1 / 64, 1, 49),
}
ARRIVED = 1e-6
STEPS = 3_000


class States(NamedTuple):
    """Of fits from each start, before each step; NaN after arrival."""

    logits: Float[Array | np.ndarray, "*targets starts steps classes"]
    value: Float[Array | np.ndarray, "*targets starts steps"]
    gradient_norm: Float[Array | np.ndarray, "*targets starts steps"]


class Fits(NamedTuple):
    """To each target from each start, with the step that is best for the slowest start."""

    rate: Float[Array | np.ndarray, "*targets"]
    steps: Float[Array | np.ndarray, "*targets"]
    """Of the slowest start, until max|q − p| ≤ ARRIVED; infinite if it does not arrive."""
    states: States
    ends: Float[Array | np.ndarray, "*targets starts classes"]
    """Q at the end."""
    values: Float[Array | np.ndarray, "*targets starts"]
    """Of the loss at the end."""


class Law(NamedTuple):
    """A loss, what theory says of its curvature, and its look."""

    name: str
    loss: Loss
    smoothness: float
    """L, the largest eigenvalue of any Hessian."""
    curvature: Callable[[float], float]
    """An eigenvalue of the Hessian at Q = P, from that of J."""
    colour: str


def laws() -> tuple[Law, Law]:
    """Both losses."""
    return (
        Law(
            "cross-entropy",
            CROSS_ENTROPY,
            theory.curvature.CROSS_ENTROPY_SMOOTHNESS,
            lambda eigenvalue: eigenvalue,
            colours.CROSS_ENTROPY,
        ),
        Law(
            "squared error",
            SQUARED_ERROR,
            theory.curvature.BRIER_SCORE_SMOOTHNESS,
            lambda eigenvalue: 2 * eigenvalue**2,
            colours.SQUARED_ERROR,
        ),
    )


@partial(jax.jit, static_argnums=(0, 1, 5))
def best_fits(
    loss: Loss, optimizer: Optimizer, memory: Array, targets: Array, rates: Array, steps: int
) -> Fits:
    """Fit Q to each target, from each start and with each rate, and keep those of the best rate."""

    def record(logits: Array, value: Array, gradient: Array) -> States:
        return States(logits, value, jnp.linalg.norm(gradient))

    def fit(p: Array, rate: Array, start: Array) -> descent.Descent:
        rule = optimizer(rate, memory)
        return descent.fit(loss, start, p, rule, steps=steps, record=record, tolerance=ARRIVED)

    from_starts = jax.vmap(fit, in_axes=(None, None, 0))
    with_rates = jax.vmap(from_starts, in_axes=(None, 0, None))

    def to_target(p: Array) -> Fits:
        runs = with_rates(p, rates, jnp.asarray(STARTS))
        ends = jax.nn.softmax(runs.params)
        # Where some start does not arrive, the best rate is that which leaves it nearest.
        late = jnp.where(
            runs.status == descent.Status.converged,
            runs.steps_taken,
            steps + jnp.abs(ends - p).max(axis=-1),
        ).max(axis=1)
        slowest = jnp.where(late > steps, jnp.inf, late)
        everything = rates, slowest, runs.record, ends, runs.value
        return Fits(*jax.tree.map(lambda leaf: leaf[late.argmin()], everything))

    return jax.vmap(to_target)(targets)


class Finds(NamedTuple):
    """What was measured of one loss."""

    law: Law
    sure: Fits
    """By plain descent with the step 1/L."""
    best: dict[str, Fits]
    """By each optimizer."""


def measure(law: Law) -> Finds:
    """Fit with the step 1/L, and by each optimizer with its best one."""

    def fits(name: str, rates: Float[np.ndarray, " rates"]) -> Fits:
        found = best_fits(law.loss, *OPTIMIZERS[name], TARGETS, rates, STEPS)
        return jax.tree.map(np.asarray, found)

    # As many as are tried elsewhere: the same compiled program.
    sure = np.full_like(RATES[PLAIN], 1 / law.smoothness)
    best = {name: fits(name, rates) for name, rates in RATES.items()}
    return Finds(law, fits(PLAIN, sure), best)


def in_words(target: Float[np.ndarray, " classes"]) -> str:
    return f"P = {tuple(target.tolist())}"


def cross_entropies(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """H(P, Q) in nats, of one P and many Q."""
    return np.asarray(information.cross_entropy(np.broadcast_to(p, q.shape), q))


def farthest(fits: Fits) -> float:
    """The largest |q − p| at the ends."""
    return np.abs(fits.ends - TARGETS[:, None]).max()


def of_the_ends(finds: Finds) -> list[Row]:
    """Where the fits end."""
    law, plain = finds.law, finds.best[PLAIN]
    rows = [
        claim(
            f"{law.name}, plain descent: largest |q − p| at the end, to two P from six starts",
            predicted=0,
            measured=farthest(plain),
            tolerance=ARRIVED,
        ),
        prediction(
            f"{law.name}, plain descent, momentum 0.9 and Adam: the same",
            predicted=0,
            measured=max(map(farthest, finds.best.values())),
            tolerance=ARRIVED,
        ),
    ]
    for p, ends in zip(TARGETS, plain.ends, strict=True):
        entropy = float(information.entropy(p))
        surplus = np.abs(cross_entropies(p, ends) - entropy)
        rows.append(
            claim(
                f"{law.name}, plain descent to {in_words(p)}: cross-entropy H(P, Q) at the end, "
                "of six starts the farthest off; nats",
                predicted=entropy,
                measured=entropy + surplus.max(),
                tolerance=1e-10,
            )
        )
    return rows


def of_the_losses(cross_entropy: Finds, squared_error: Finds) -> list[Row]:
    """To what each loss itself comes down, along a way that never leads up."""
    entropies = np.asarray(information.entropy(TARGETS))[:, None]
    rows = []
    for finds, least, name in (cross_entropy, entropies, "H(P)"), (squared_error, 0, "0"):
        law = finds.law
        changes = np.diff(finds.sure.states.value, axis=-1)
        rows += [
            claim(
                f"{law.name}, plain descent: largest difference of the loss at the end from its "
                f"least value, {name}",
                predicted=0,
                measured=np.abs(finds.best[PLAIN].values - least).max(),
                tolerance=1e-10,
            ),
            claim(
                f"{law.name}, step 1/L = {1 / law.smoothness:.2f}: largest change of the loss in a "
                "step, to two P from six starts",
                predicted=0,
                measured=np.nanmax(changes),
                tolerance=1e-15,
                relation="≤",
            ),
        ]
    return rows


def of_the_last_steps(finds: Finds) -> Row:
    """How fast the fits to MILD arrive with the step 1/L."""
    law = finds.law
    slowest, *_ = np.linalg.eigvalsh(np.diag(MILD) - np.outer(MILD, MILD))[1:]
    error = finds.sure.states.logits[0] - np.log(MILD)
    distances = np.linalg.norm(error - error.mean(axis=-1, keepdims=True), axis=-1)
    last = np.isfinite(distances).sum(axis=-1)[:, None] - [2, 1]
    before, after = np.take_along_axis(distances, last, axis=-1).T
    expected = 1 - law.curvature(slowest) / law.smoothness
    factors = after / before
    return claim(
        f"{law.name}, step 1/L = {1 / law.smoothness:.2f} to {in_words(MILD)}: what the last step "
        "leaves of the distance to log p, of six starts the farthest off",
        predicted=expected,
        measured=factors[np.abs(factors - expected).argmax()],
        tolerance=1e-4,
    )


@jax.jit
def condition_numbers(targets: Array) -> Array:
    """κ = λmax/λmin at each Q = P."""
    return jax.vmap(theory.curvature.cross_entropy_best_fixed_step)(targets).condition_number


def of_the_steps(cross_entropy: Finds, squared_error: Finds) -> list[Row]:
    """How much longer squared error takes."""
    rows = []
    conditions = np.asarray(condition_numbers(TARGETS))
    for target, (p, condition_number) in enumerate(zip(TARGETS, conditions, strict=True)):
        for name in OPTIMIZERS:
            expected = {
                PLAIN: {"predicted": condition_number, "relative_tolerance": 0.5},
                MOMENTUM: {"predicted": 1, "tolerance": 0.5},
                ADAM: {"predicted": 2, "relation": "≤"},
            }[name]
            slower, faster = squared_error.best[name], cross_entropy.best[name]
            rows.append(
                prediction(
                    f"{in_words(p)}, {name}: steps by squared error over steps by cross-entropy",
                    measured=float(slower.steps[target]) / float(faster.steps[target]),
                    **expected,
                )
            )
    return rows


def draw_fits(cross_entropy: Finds, squared_error: Finds) -> Figure:
    """The fits to MILD with the step 1/L: ways on the simplex, cross-entropy, gradient norms."""
    figure = Figure(figsize=(7.0, 6.6))
    # The layout does not see the titles of ternary axes: leave them room at the top.
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.98))
    axes = figure.subplot_mosaic(
        [["0", "1"], ["values", "norms"]],
        height_ratios=(1.25, 1),
        per_subplot_kw={("0", "1"): {"projection": "ternary"}},
    )
    values, norms = axes["values"], axes["norms"]
    entropy = float(information.entropy(MILD))
    for panel, finds, scale in ("0", cross_entropy, ""), ("1", squared_error, ", sum over classes"):
        law, triangle = finds.law, axes[panel]
        triangle.set_title(
            f"{law.name}{scale}\n"
            f"η = 1/L = {finds.sure.rate[0]:.2f}: {finds.sure.steps[0]:.0f} steps",
            color=law.colour,
        )
        states = jax.tree.map(lambda leaf: leaf[0], finds.sure.states)
        paths = softmax(states.logits, axis=-1)
        courses = zip(paths, cross_entropies(MILD, paths), states.gradient_norm, strict=True)
        for path, surprise, gradient_norms in courses:
            look = {"color": law.colour, "lw": 0.8}
            way = path[np.isfinite(gradient_norms)]
            plots.plot_simplex_path(triangle, way, marker=".", markersize=4, **look)
            plots.plot_history(values, surprise, **look)
            plots.plot_history(norms, gradient_norms, log=True, **look)
        triangle.plot(*MILD[:, None], "P", color=colours.INK, markersize=8, zorder=5)
    values.axhline(entropy, color=colours.INK, ls="--", lw=1)
    values.annotate(
        f"H(P) = {entropy:.3f}",
        (0, entropy),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
    )
    values.set(ylabel="cross-entropy H(P, Q), nats", ylim=(0, None))
    norms.set(ylabel="gradient norm ‖dL/dz‖", ylim=(1e-7, 2))
    for ax in values, norms:
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xlim(0, 300)
    return figure


def draw_optimizers(cross_entropy: Finds, squared_error: Finds) -> Figure:
    """The steps of the slowest start, by optimizer and target."""
    figure = Figure(figsize=(7.0, 3.6))
    ax = figure.add_subplot()
    heights = []
    conditions = np.asarray(condition_numbers(TARGETS))
    for target, (p, condition_number) in enumerate(zip(TARGETS, conditions, strict=True)):
        top = 4 * target
        ax.text(8.4, top - 0.7, f"{in_words(p)}, κ = {condition_number:.1f}", va="center")
        for height, name in enumerate(OPTIMIZERS, top):
            heights.append(height)
            ends = []
            for finds, side in (cross_entropy, -1), (squared_error, 1):
                colour, fits = finds.law.colour, finds.best[name]
                steps, rate = fits.steps[target], fits.rate[target]
                arrived = np.isfinite(steps)
                ends.append(steps if arrived else STEPS)
                ax.plot(ends[-1], height, "o" if arrived else ">", color=colour)
                ax.annotate(
                    f"η = {rate:.2g}" if arrived else f"not in {STEPS:,}",
                    (ends[-1], height),
                    xytext=(7 * side, 0),
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="center",
                    fontsize="small",
                    color=colour,
                )
            ax.plot(ends, [height, height], color=colours.INK, lw=0.8, zorder=1)
    ax.set(
        xscale="log",
        xlim=(8, 8_000),
        xlabel="steps until max|q − p| ≤ 1e-6, of six starts the slowest",
        ylim=(6.6, -1.2),
    )
    ax.set_yticks(heights, list(OPTIMIZERS) * len(TARGETS))
    label = partial(ax.text, va="top", fontsize="small")
    label(28, 0.3, "cross-entropy", color=colours.CROSS_ENTROPY, ha="right")
    label(45, 0.3, "squared error, sum over classes", color=colours.SQUARED_ERROR)
    return figure


def run(progress: Progress) -> Finding:
    """Fit Q to two P from six starts, by two losses and three optimizers."""
    found = []
    with jax.enable_x64(True):
        for index, law in enumerate(laws()):
            progress(law.name, index / 2)
            found.append(measure(law))
        progress("figures", 0.95)
        rows = [row for finds in found for row in of_the_ends(finds)]
        rows += of_the_losses(*found)
        rows += map(of_the_last_steps, found)
        rows += of_the_steps(*found)
        pictures = {
            "fit_q_to_p": Picture(
                draw_fits(*found),
                f"Q on its way to {in_words(MILD)} (the cross) from six starts (open circles), by "
                "plain descent on the logits, a dot for each step. With the step 1/L, which cannot "
                "overshoot, the ways of squared error hug the edges, where it hardly pushes; both "
                "end at P. Below, the same twelve fits: by either loss cross-entropy comes down to "
                "H(P), and the gradient of squared error stays small on the way and lasts.",
            ),
            "fit_q_to_p_optimizers": Picture(
                draw_optimizers(*found),
                "Steps to P by each optimizer, each with the step that is best for its slowest "
                "start. With momentum 0.9 squared error does not come to the skewed P within "
                f"{STEPS:,} steps: small η are too slow, and larger ones throw Q past P into a "
                "corner, out of which squared error hardly pushes it.",
            ),
        }
    cross_entropy, squared_error = found
    plain = [finds.best[PLAIN].steps for finds in found]
    return Finding(
        answer=(
            "By plain descent both losses bring Q to P and cross-entropy down to H(P) from every "
            f"start, to within {max(farthest(finds.best[PLAIN]) for finds in found):.0e}, but "
            f"squared error takes {plain[1][0] / plain[0][0]:.1f} times the steps of cross-entropy "
            f"to {in_words(MILD)} and {plain[1][1] / plain[0][1]:.0f} times to the skewed "
            f"{in_words(SKEWED)}. Adam hides the difference for the first P "
            f"({squared_error.best[ADAM].steps[0] / cross_entropy.best[ADAM].steps[0]:.1f} times) "
            "and not for the second "
            f"({squared_error.best[ADAM].steps[1] / cross_entropy.best[ADAM].steps[1]:.1f} times)."
        ),
        rows=rows,
        pictures=pictures,
    )
