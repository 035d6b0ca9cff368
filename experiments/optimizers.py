"""Which optimizers cancel the Jacobian?

Squared error on probabilities reaches the logits through one softmax Jacobian more than
cross-entropy, and so it unlearns a confident mistake in a time that grows as eᵐ. But an optimizer
need not step in proportion to the gradient. Let there be two classes, the truth m logits behind.
One logit feels the push g and the other −g,

    cross-entropy   g = 1 − a           Brier score   g = 4a (1 − a)²,      a = 1/(1 + eᵐ),

and a rule moves both, as long as its steps are small, with the speed η u:

    SGD                              u = g
    SGD with momentum β              u = g/(1 − β), once β/(1 − β) steps are lost at the start
    sign descent, Lion               u = 1
    Adam without memory              u = g/(g + ε)
    RMSprop of optax, the same       u = g/√(g² + ε)
    Adagrad                          u = g/(√(α + ε) + (S₀ − S)/(4η))

The last line, since it divides by the root of α + ε + Σ g², and in a step, as the loss S falls by
2ηug, that root grows by g²/2 over itself, which is gu/2. The tie takes (1/η) ∫ dm/(2u) steps, and
½ ln(u₁/u₀) more where u has no memory, (1 + β)/(1 − β) times that with momentum.

What divides by |g| has no Jacobian left in it: m/(2η) steps, whatever the loss. What adds ε to it
has the Jacobian back where g < ε. Adam without memory takes (m/2 + εT)/η, T being the time of
descent: one more logit costs twice what it did at first where g = ε, which is the knee
m = ln(4/ε) = 19.8, and e times as much beyond. RMSprop of optax has its ε under the root, and for
the same ε its knee is where g = √(ε/3), at ln(4√(3/ε)) = 11.1. Adagrad starts from α = 0.1, beside
which the g² of the Brier score are nothing: it is SGD with the step η/√α. (From α = 0 and ε = 0 it
takes about m²/(16η²) steps for cross-entropy and m/(8η²) for the Brier score.)

Memory does not bring the Jacobian back, but overshoots: a push that grows is divided by the root
of a mean of *earlier* g², which were smaller. If all k earlier steps count alike, u² = g²/mean(g²)
is solved by u = 4ηk: the Brier score takes √m/(2η) steps, fewer than cross-entropy. If the last
1/(1 − β₂) = 10 steps count, as in RMSprop, then u² = (1 − β₂ e^{−4ηu})/(1 − β₂): u = 1.19.

All losses are sums over the classes, in float64, with η = 0.01.

Predictions:

- Sign descent and Lion: 50 steps a logit for either loss, within 1e-6, to m = 25.
- SGD: the closed forms within 0.05 to m = 12: there 649.65 steps of cross-entropy and 2034921 of
  the Brier score. With momentum 0.9 and a tenth of the step, which is as fast but for the start,
  652.41 and 2035019, within 0.5.
- Adam without memory: its formula within 0.05 for ε = 1e-4, 1e-6 and 1e-8, from 10 logits before
  the knee to 5 behind it; the knees at 10.6, 15.2 and 19.81, within 0.02.
- Adagrad: its formula within 2 % (0.02) from m = 4 on. At m = 12, 102445 steps of cross-entropy
  and 659435 of the Brier score; at m = 16 from α = 0, 177239 and 20937.
- RMSprop: between m = 4 and 8, 50 steps a logit for cross-entropy and 42 for the Brier score,
  within 5 %; the formula without memory, 11625 steps, at m = 16 within 2 %; its knee at 11.1
  within 0.3.
- Adam as it comes, m = 16: 800 steps of cross-entropy within 2 %, and 200 of the Brier score
  within 50 %, or within 10 % without momentum. At m = 25, where ε rules, 9001 within 5 %.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
BRIER_SCORE = losses.softmax_brier_score
Push = Callable[[ArrayLike, ArrayLike], Array]

SECONDS = 5

LEARNING_RATE = 0.01
MOMENTUM = 0.9
EPSILON = 1e-8
EPSILONS = (1e-4, 1e-6, 1e-8)
ACCUMULATOR, EPSILON_OF_ADAGRAD = 0.1, 1e-7
MARGINS = np.arange(1.0, 26.0)
FROM_KNEE = np.arange(-10.0, 5.125, 0.25)
AFFORDABLE_STEPS = 2_100_000
CAPTION = (
    "Steps of each optimizer until the truth, which starts m logits behind, ties with the wrong "
    "class. Left, cross-entropy: no optimizer is exponential. Right, the Brier score: SGD, "
    "momentum and Adagrad are, from the start; RMSprop and Adam from where the push is as small "
    "as their ε; Lion and sign descent never."
)
CAPTION_OF_EPSILON = (
    "Adam without memory divides the push g by g + ε. Before the knee, at m = ln(4/ε), it takes "
    "the same steps for either loss; behind it the Jacobian of the softmax is back, and each "
    "further logit multiplies the steps of the Brier score by e."
)


class Law(NamedTuple):
    """A loss, and what theory says of it: the push g, the value S, how it escapes by SGD."""

    loss: Loss
    push: Push
    value: Callable[[ArrayLike], Array]
    escape: theory.escape.Law
    colour: str


def laws() -> dict[str, Law]:
    """The two losses by name."""

    def brier_score(margin: ArrayLike) -> Array:
        return 2 * (1 - theory.gradients.true_class_probability(margin, 2)) ** 2

    return {
        "cross-entropy": Law(
            CROSS_ENTROPY,
            theory.gradients.cross_entropy_push,
            jax.nn.softplus,
            theory.escape.CROSS_ENTROPY_LAW,
            colours.CROSS_ENTROPY,
        ),
        "Brier score": Law(
            BRIER_SCORE,
            theory.gradients.brier_score_push,
            brier_score,
            theory.escape.BRIER_SCORE_LAW,
            colours.SQUARED_ERROR,
        ),
    }


# What the formulas say


def formula(function: Callable[..., Array]) -> Callable[..., np.ndarray]:
    """A function of a law, compiled once for each, that gives NumPy's arrays."""
    compiled = jax.jit(function, static_argnums=0)

    @wraps(function)
    def evaluate(law: Law, *numbers: ArrayLike) -> np.ndarray:
        return np.asarray(compiled(law, *numbers))

    return evaluate


@formula
def of_sgd(law: Law, margins: Array) -> Array:
    """T/η + ½ ln(g₁/g₀)."""
    return theory.escape.steps_to_escape(law.escape, margins, 2, learning_rate=LEARNING_RATE)


@formula
def of_momentum(law: Law, margins: Array, learning_rate: float = LEARNING_RATE) -> Array:
    """(1 − β) T/η, the steps lost at the start, and the logarithm."""
    time = theory.escape.escape_time(law.push, margins, 2)
    growth = jnp.log(law.push(0.0, 2) / law.push(margins, 2))
    lost = MOMENTUM / (1 - MOMENTUM)
    return (1 - MOMENTUM) * time / learning_rate + lost + (lost + 0.5) * growth


def of_signs(law: Law, margins: np.ndarray) -> np.ndarray:
    """m/(2η), whatever the loss."""
    return margins / (2 * LEARNING_RATE)


@formula
def of_adam(law: Law, margins: Array, epsilon: ArrayLike) -> Array:
    """(m/2 + εT)/η, and the logarithm."""
    descent_time = theory.escape.escape_time(law.push, margins, 2)
    time = theory.escape.adam_escape_time(margins / 2, descent_time, epsilon)
    start, end = law.push(margins, 2), law.push(0.0, 2)
    growth = jnp.log(end * (start + epsilon) / (start * (end + epsilon)))
    return time / LEARNING_RATE + growth / 2


@formula
def of_rmsprop(law: Law, margins: Array) -> Array:
    """The integral and the logarithm, without memory."""

    def push(margin: ArrayLike, classes: ArrayLike) -> Array:
        g = law.push(margin, classes)
        return g / jnp.sqrt(g**2 + EPSILON)

    time = theory.escape.escape_time(push, margins, 2)
    return time / LEARNING_RATE + jnp.log(push(0.0, 2) / push(margins, 2)) / 2


@formula
def of_adagrad(
    law: Law, margins: Array, accumulator: float = ACCUMULATOR + EPSILON_OF_ADAGRAD
) -> Array:
    """The integral, in which the start has a part through S₀."""

    def time(start: Array) -> Array:
        def push(margin: ArrayLike, classes: ArrayLike) -> Array:
            fallen = law.value(start) - law.value(margin)
            root = jnp.sqrt(accumulator) + fallen / (4 * LEARNING_RATE)
            return law.push(margin, classes) / root

        return theory.escape.escape_time(push, start, 2)

    return jax.vmap(time)(margins) / LEARNING_RATE


# What is measured


class Optimizer(NamedTuple):
    """One of optax, and what it is called with: those that differ in numbers are one program."""

    family: Callable[..., optax.GradientTransformation]
    numbers: tuple[float, ...] = (LEARNING_RATE,)


def adam(b1: float = 0.9, b2: float = 0.999, epsilon: float = EPSILON) -> Optimizer:
    """Adam as it comes, or with less of a memory."""
    return Optimizer(optax.adam, (LEARNING_RATE, b1, b2, epsilon))


class Rule(NamedTuple):
    """An optimizer, and the steps that it should take from margins, if a formula says so."""

    optimizer: Optimizer
    formula: Callable[[Law, np.ndarray], np.ndarray] | None


RULES = {
    "SGD": Rule(Optimizer(optax.sgd), of_sgd),
    "momentum": Rule(Optimizer(optax.sgd, (LEARNING_RATE, MOMENTUM)), of_momentum),
    "Adagrad": Rule(
        Optimizer(optax.adagrad, (LEARNING_RATE, ACCUMULATOR, EPSILON_OF_ADAGRAD)), of_adagrad
    ),
    "RMSprop": Rule(Optimizer(partial(optax.rmsprop, eps=EPSILON)), of_rmsprop),
    "Adam": Rule(adam(), None),
    "Lion": Rule(Optimizer(partial(optax.lion, weight_decay=0.0)), of_signs),
    "sign descent": Rule(Optimizer(optax.sign_sgd), of_signs),
}
OF_DESCENT = ("SGD", "Lion", "sign descent")
AS_FAST_AS_SGD = Optimizer(optax.sgd, ((1 - MOMENTUM) * LEARNING_RATE, MOMENTUM))
ADAGRAD_FROM_ZERO = Optimizer(optax.adagrad, (LEARNING_RATE, 0.0, 0.0))


@partial(jax.jit, static_argnums=(0, 1))
def escape(
    loss: Loss,
    family: Callable[..., optax.GradientTransformation],
    numbers: tuple[float, ...],
    margin: float,
) -> Array:
    """The steps from a margin to the tie, or AFFORDABLE_STEPS if they would be more."""
    optimizer = family(*numbers)
    return descent.escape_steps(loss, margin, optimizer, max_steps=AFFORDABLE_STEPS).steps


def steps_taken(loss: Loss, optimizer: Optimizer, margins: np.ndarray) -> np.ndarray:
    """The steps from each of ascending margins; NaN from where they are more than affordable."""
    steps = np.full(len(margins), np.nan)
    for place, margin in enumerate(margins):
        taken = float(escape(loss, *optimizer, margin))
        if taken >= AFFORDABLE_STEPS:
            break
        steps[place] = taken
    return steps


def knee(margins: np.ndarray, steps: np.ndarray) -> float:
    """Where one more logit costs twice what it costs at first."""
    costs = np.diff(steps) / np.diff(margins)
    middles = (margins[1:] + margins[:-1]) / 2
    surplus = np.log(np.maximum(costs / costs[0] - 1, 1e-3))
    return float(np.interp(0.0, surplus, middles))


def off_by(steps: np.ndarray, expected: np.ndarray, unit: np.ndarray | float = 1.0) -> float:
    """The largest difference where few enough steps are expected; NaN where they were more."""
    differences = np.abs(steps - expected) / unit
    return float(differences[expected < AFFORDABLE_STEPS].max())


def at(steps: np.ndarray, margin: float) -> float:
    """The steps from one of MARGINS."""
    return float(steps[margin == MARGINS].item())


Steps = Mapping[str, Mapping[str, np.ndarray]]
"""By loss and by rule, from each of MARGINS."""


def about_descent(by_loss: Mapping[str, Law], steps: Steps) -> list[Row]:
    """Rules that keep the Jacobian, and rules that know no size."""
    rows = []
    for name, law in by_loss.items():
        rows += [
            claim(
                f"{rule}, {name}: largest difference from 50 m, steps, to m = 25",
                predicted=0,
                measured=off_by(steps[name][rule], of_signs(law, MARGINS)),
                tolerance=1e-6,
            )
            for rule in ("sign descent", "Lion")
        ]
        rows += [
            claim(
                f"SGD, {name}: largest difference from the closed form, steps, to m = 12",
                predicted=0,
                measured=off_by(steps[name]["SGD"][:12], of_sgd(law, MARGINS)[:12]),
                tolerance=0.05,
            ),
            claim(
                f"SGD, {name}: steps from m = 12",
                predicted=of_sgd(law, MARGINS)[11],
                measured=at(steps[name]["SGD"], 12),
                tolerance=0.05,
            ),
            claim(
                f"momentum {MOMENTUM}, {name}: steps from m = 12, with a tenth of the step",
                predicted=of_momentum(law, MARGINS, LEARNING_RATE * (1 - MOMENTUM))[11],
                measured=steps_taken(law.loss, AS_FAST_AS_SGD, np.array([12.0])).item(),
                tolerance=0.5,
            ),
        ]
    return rows


def about_epsilon(
    by_loss: Mapping[str, Law], margins: np.ndarray, without_memory: Mapping[str, np.ndarray]
) -> list[Row]:
    """Adam without memory, by loss: a row of margins and of steps for each ε."""
    rows = []
    for name, law in by_loss.items():
        expected = of_adam(law, margins, np.array(EPSILONS)[:, None])
        rows.append(
            claim(
                f"Adam without memory, {name}: largest difference from the formula, steps; three "
                "ε, from 10 logits before the knee to 5 behind it",
                predicted=0,
                measured=off_by(without_memory[name], expected),
                tolerance=0.05,
            )
        )
    for epsilon, around, found in zip(
        EPSILONS, margins, without_memory["Brier score"], strict=True
    ):
        rows.append(
            claim(
                f"Adam without memory, Brier score, ε = {epsilon:g}: the margin at which one more "
                "logit costs twice what it did at first",
                predicted=np.log(4 / epsilon),
                measured=knee(around, found),
                tolerance=0.02,
            )
        )
    return rows


def about_adagrad(by_loss: Mapping[str, Law], steps: Steps) -> list[Row]:
    """The rule that divides by everything that it ever saw."""
    rows = []
    for name, law in by_loss.items():
        expected, found = of_adagrad(law, MARGINS), steps[name]["Adagrad"]
        rows += [
            claim(
                f"Adagrad, {name}: largest relative difference from the formula, m = 4 or more",
                predicted=0,
                measured=off_by(found[3:], expected[3:], unit=expected[3:]),
                tolerance=0.02,
            ),
            claim(
                f"Adagrad, {name}: steps from m = 12",
                predicted=expected[11],
                measured=at(found, 12),
                relative_tolerance=0.02,
            ),
            claim(
                f"Adagrad from α = 0, {name}: steps from m = 16",
                predicted=of_adagrad(law, np.array([16.0]), 0.0).item(),
                measured=steps_taken(law.loss, ADAGRAD_FROM_ZERO, np.array([16.0])).item(),
                relative_tolerance=0.02,
            ),
        ]
    return rows


def about_memory(by_loss: Mapping[str, Law], steps: Steps) -> list[Row]:
    """What a memory of squares does."""
    rows = []
    for name, cost in ("cross-entropy", 50), ("Brier score", 42):
        found = steps[name]["RMSprop"]
        rows.append(
            prediction(
                f"RMSprop, {name}: steps for one more logit, between m = 4 and 8",
                predicted=cost,
                measured=(at(found, 8) - at(found, 4)) / 4,
                relative_tolerance=0.05,
            )
        )
    squared, law = steps["Brier score"], by_loss["Brier score"]
    entropy_by_adam = steps["cross-entropy"]["Adam"]
    reached = (MARGINS >= 4) & np.isfinite(squared["RMSprop"])
    without_momentum = steps_taken(law.loss, adam(b1=0.0), np.array([16.0])).item()
    time = jax.jit(theory.escape.brier_score_escape_time)(25.0, 2)
    return [
        *rows,
        prediction(
            "RMSprop, Brier score: steps from m = 16",
            predicted=of_rmsprop(law, MARGINS)[15],
            measured=at(squared["RMSprop"], 16),
            relative_tolerance=0.02,
        ),
        prediction(
            "RMSprop, Brier score: the margin at which one more logit costs twice what it did at "
            "m = 4",
            predicted=np.log(4 * np.sqrt(3 / EPSILON)),
            measured=knee(MARGINS[reached], squared["RMSprop"][reached]),
            tolerance=0.3,
        ),
        prediction(
            "Adam, cross-entropy: steps from m = 16",
            predicted=16 / (2 * LEARNING_RATE),
            measured=at(entropy_by_adam, 16),
            relative_tolerance=0.02,
        ),
        prediction(
            "Adam, Brier score: steps from m = 16",
            predicted=np.sqrt(16) / (2 * LEARNING_RATE),
            measured=at(squared["Adam"], 16),
            relative_tolerance=0.5,
        ),
        prediction(
            "Adam without momentum, Brier score: steps from m = 16",
            predicted=np.sqrt(16) / (2 * LEARNING_RATE),
            measured=without_momentum,
            relative_tolerance=0.1,
        ),
        prediction(
            "Adam, Brier score: steps from m = 25",
            predicted=EPSILON * time / LEARNING_RATE,
            measured=at(squared["Adam"], 25),
            relative_tolerance=0.05,
        ),
    ]


def draw(by_loss: Mapping[str, Law], steps: Steps) -> Figure:
    """Steps against the margin, a panel for each loss, a line for each optimizer."""
    figure = Figure(figsize=(7.0, 4.8))
    panels = figure.subplots(1, 2, sharey=True)
    labels = (
        {
            "Adagrad": "Adagrad",
            "SGD": "SGD, RMSprop, Adam,\nLion, sign descent",
            "momentum": "momentum",
        },
        {
            "SGD": "SGD",
            "Adagrad": "Adagrad",
            "momentum": "momentum",
            "RMSprop": "RMSprop",
            "Adam": "Adam",
            "sign descent": "Lion,\nsign descent",
        },
    )
    shown = np.arange(len(MARGINS)) % 2 == 0
    for ax, (name, law), words in zip(panels, by_loss.items(), labels, strict=True):
        for title, rule in RULES.items():
            found = steps[name][title]
            curve = found if rule.formula is None else rule.formula(law, MARGINS)
            ax.plot(MARGINS, curve, color=law.colour, lw=1)
            ax.plot(MARGINS[shown], found[shown], "o", color=law.colour, ms=3.5, zorder=3)
            if title in words:
                ax.annotate(
                    words[title],
                    (MARGINS[-1], curve[-1]),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize="small",
                    color=law.colour,
                    annotation_clip=False,
                )
        ax.set_title(name, color=law.colour, loc="left")
        ax.set(xlim=(0, MARGINS[-1]), ylim=(10, 2e12), yscale="log", xlabel="margin m, logits")
    entropy, _ = panels
    entropy.set_ylabel("steps to the tie")
    entropy.text(
        *(0.04, 0.97),
        f"2 classes, every optimizer with η = {LEARNING_RATE}\nlosses: sums over the classes\n"
        "dots: measured\nlines: formulas (Adam: measured)",
        transform=entropy.transAxes,
        va="top",
        fontsize="small",
    )
    return figure


def draw_epsilon(
    by_loss: Mapping[str, Law], margins: np.ndarray, without_memory: Mapping[str, np.ndarray]
) -> Figure:
    """Steps of Adam without memory against the margin, a line for each ε."""
    figure = Figure(figsize=(7.0, 3.8))
    ax = figure.add_subplot()
    line = np.linspace(0.5, MARGINS[-1], 300)
    curves = {}
    for name, law in by_loss.items():
        curves[name] = of_adam(law, line, np.array(EPSILONS)[:, None])
        for curve, around, found in zip(curves[name], margins, without_memory[name], strict=True):
            ax.plot(line, curve, color=law.colour, lw=1)
            ax.plot(around[::4], found[::4], "o", color=law.colour, ms=3.5, zorder=3)
    squared = by_loss["Brier score"]
    for epsilon, curve in zip(EPSILONS, curves["Brier score"], strict=True):
        turn = np.log(4 / epsilon)
        ax.plot(turn, np.interp(turn, line, curve), "o", mfc="none", mec=colours.INK, ms=11)
        named = np.interp(6e3, curve, line) - 0.2
        words = f"ε = $10^{{{np.log10(epsilon):.0f}}}$"
        ax.text(named, 6e3, words, color=squared.colour, ha="right")
    ax.text(22.3, 620, "cross-entropy, any ε", color=by_loss["cross-entropy"].colour, ha="center")
    ax.text(6.0, 1.5e3, "Brier score", color=squared.colour)
    ax.text(
        *(0.02, 0.97),
        f"Adam without memory (β₁ = β₂ = 0), η = {LEARNING_RATE}\n2 classes, losses: sums\n"
        "dots: measured, lines: formula\ncircles: the knee, where the push is ε",
        transform=ax.transAxes,
        va="top",
        fontsize="small",
    )
    ax.set(
        xlim=(0, MARGINS[-1]),
        ylim=(20, 2e4),
        yscale="log",
        xlabel="margin m: logits by which the truth starts behind",
        ylabel="steps to the tie",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Count the steps of every optimizer on either loss, and hold them to the formulas."""
    steps: dict[str, dict[str, np.ndarray]] = {"cross-entropy": {}, "Brier score": {}}
    others = [title for title in RULES if title not in OF_DESCENT]
    with jax.enable_x64(True):
        by_loss = laws()

        def measure(titles: Sequence[str], done: float, share: float) -> None:
            for index, title in enumerate(titles):
                progress(title, done + share * index / len(titles))
                for name, law in by_loss.items():
                    steps[name][title] = steps_taken(law.loss, RULES[title].optimizer, MARGINS)

        measure(OF_DESCENT, 0.0, 0.3)
        rows = about_descent(by_loss, steps)
        measure(others, 0.3, 0.5)
        progress("Adam without memory", 0.8)
        margins = np.log(4 / np.array(EPSILONS))[:, None] + FROM_KNEE
        without_memory = {
            name: np.array(
                [
                    steps_taken(law.loss, adam(0.0, 0.0, epsilon), around)
                    for epsilon, around in zip(EPSILONS, margins, strict=True)
                ]
            )
            for name, law in by_loss.items()
        }
        rows += [
            *about_epsilon(by_loss, margins, without_memory),
            *about_adagrad(by_loss, steps),
            *about_memory(by_loss, steps),
        ]
        pictures = {
            "optimizers": Picture(draw(by_loss, steps), CAPTION),
            "optimizers_epsilon": Picture(
                draw_epsilon(by_loss, margins, without_memory), CAPTION_OF_EPSILON
            ),
        }
    entropy, squared = steps.values()
    measured = {row.statement: row.measured for row in rows}
    knee_of_adam, knee_of_rmsprop = (
        next(value for words, value in measured.items() if words.startswith(start))
        for start in (
            f"Adam without memory, Brier score, ε = {EPSILON:g}",
            "RMSprop, Brier score: the margin",
        )
    )
    return Finding(
        answer=(
            "Those that divide by the size of the gradient: from m = 12, with η = "
            f"{LEARNING_RATE}, sign descent and Lion take {at(squared['Lion'], 12):.0f} steps of "
            f"either loss, while the Brier score takes SGD {at(squared['SGD'], 12):,.0f} steps and "
            f"cross-entropy {at(entropy['SGD'], 12):,.0f}, and momentum and Adagrad as optax sets "
            "it are exponential too. Adam cancels the Jacobian only until the push is as small as "
            f"its ε, without memory to m = {knee_of_adam:.1f}, and RMSprop with the same ε under "
            f"the root to {knee_of_rmsprop:.1f}; before that Adam as it comes overshoots and even "
            f"favours the Brier score, {at(squared['Adam'], 16):.0f} steps against "
            f"{at(entropy['Adam'], 16):.0f} from m = 16."
        ),
        rows=rows,
        pictures=pictures,
    )
