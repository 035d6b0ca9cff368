"""How many steps does it take to unlearn a confident mistake?

The truth starts m logits behind every wrong class: m = 14 is a model that gives the truth of two
classes less than one chance in a million. It has escaped at the tie. Write g = z_true − z_wrong for
the gap, a = q_true, C for the number of classes and K = C − 1. Descent with small steps η follows
the flow

    cross-entropy                    g′ = (1 − a) C/K
    squared error on probabilities   g′ = 2 a (1 − a)² (C/K)²
    squared error on logits          g′ = 2 (1 − g)

from g = −m to 0, and takes about T/η steps:

    cross-entropy                    T = [1 − e⁻ᵐ + K m] / C
    squared error on probabilities   T = [½(1 − e⁻²ᵐ) + 3K(1 − e⁻ᵐ) + 3K² m + K³(eᵐ − 1)] / (2C²)
    squared error on logits          T = ½ ln(1 + m)

Cross-entropy pushes a mistake with all its force, so the time is linear in m. Through the softmax
squared error pushes it with a force that is proportional to a ≈ e⁻ᵐ/K, so the time is exponential:
the more certain the mistake, the longer it lasts. On the logits themselves the force grows with
the mistake, and the time is logarithmic. It is the softmax that makes squared error slow, not the
square. A larger η divides each of these times by a constant, and no constant turns eᵐ into m.

Descent is not the flow. Up to O(η) it takes ½ ln(f₁/f₀) steps more than T/η, f₁ and f₀ being g′ at
the tie and at the start; on logits each step shrinks 1 − g by the factor 1 − 2η, and the count is
exact. All losses are sums over the classes, in float64, with η = 0.1.

Predictions:

- Cross-entropy and squared error on probabilities take the steps of their closed forms within 0.05,
  for 2, 3 and 10 classes; squared error on logits takes exactly those of its own, within 1e-9.
- Two classes, m = 14: 74.65 steps, 1503316.94 and 12.15.
- Cross-entropy: each further logit costs K/(Cη) steps more: 5, 6.66667 and 9 for 2, 3 and 10
  classes, within 0.001.
- Squared error on probabilities: each further logit costs 2.718 times the steps, within 0.001.
- Squared error on logits: one step more for 1.25 times 1 + m: 10 steps for 1 + m = 1.25¹⁰, 30 for
  1.25³⁰, within 1e-9.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from experiments._claims import Finding, Picture, Progress, Row, claim
from jaxent import descent, losses, theory

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
SQUARED_ERROR_ON_LOGITS = losses.logit_squared_error
Loss = Callable[[Array, Array], Array]

LEARNING_RATE = 0.1
OPTIMIZER = optax.sgd(LEARNING_RATE)
MARGINS = {2: np.arange(1.0, 15.0), 3: np.arange(1.0, 13.0), 10: np.arange(1.0, 11.0)}
MAX_STEPS = 3_000_000
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
CAPTION = (
    "Steps until the truth, which starts behind by a margin, ties with the wrong class: linear in "
    "the margin for cross-entropy, exponential for squared error on probabilities, logarithmic for "
    "squared error on logits."
)


class Law(NamedTuple):
    """A loss, and the steps that it should take from a margin, for a number of classes."""

    loss: Loss
    closed_form: Callable[[ArrayLike, int], Array]
    tolerance: float
    colour: str


def laws() -> dict[str, Law]:
    """The three losses by name."""

    def on_logits(margin: Array, _: int, learning_rate: float) -> Array:
        return theory.logit_squared_error_escape_steps(margin, learning_rate)

    def closed_form(steps: Callable[..., Array]) -> Callable[[ArrayLike, int], Array]:
        return jax.jit(partial(steps, learning_rate=LEARNING_RATE))

    return {
        "cross-entropy": Law(
            CROSS_ENTROPY, closed_form(theory.cross_entropy_escape_steps), 0.05, BLUE
        ),
        "squared error on probabilities": Law(
            SQUARED_ERROR, closed_form(theory.brier_score_escape_steps), 0.05, VERMILION
        ),
        "squared error on logits": Law(
            SQUARED_ERROR_ON_LOGITS, closed_form(on_logits), 1e-9, GREEN
        ),
    }


def steps_taken(loss: Loss, margins: Iterable[float], num_classes: int) -> np.ndarray:
    """The steps that descent takes from each margin to the tie."""
    return np.array(
        [
            descent.escape_steps(
                loss, np.float64(margin), OPTIMIZER, num_classes=num_classes, max_steps=MAX_STEPS
            ).steps
            for margin in margins
        ]
    )


def agreement(name: str, law: Law, steps: Mapping[int, np.ndarray]) -> list[Row]:
    """The measured steps, by the number of classes, against the closed form."""
    expected = {
        classes: np.asarray(law.closed_form(margins, classes))
        for classes, margins in MARGINS.items()
    }
    farthest = np.max([np.abs(steps[classes] - expected[classes]).max() for classes in MARGINS])
    return [
        claim(
            f"{name}: largest difference from the closed form, steps; 2, 3 and 10 classes",
            predicted=0,
            measured=farthest,
            tolerance=law.tolerance,
        ),
        claim(
            f"{name}: steps from m = {MARGINS[2][-1]:g}, 2 classes",
            predicted=expected[2][-1],
            measured=steps[2][-1],
            tolerance=law.tolerance,
        ),
    ]


def growth(squared_error_steps: Mapping[int, np.ndarray]) -> list[Row]:
    """What more of a margin costs, where each law has settled."""
    rows = []
    for classes in MARGINS:
        near, far = steps_taken(CROSS_ENTROPY, [50.0, 100.0], classes)
        rows.append(
            claim(
                f"cross-entropy: steps for one more logit, {classes} classes",
                predicted=(classes - 1) / (classes * LEARNING_RATE),
                measured=(far - near) / 50,
                tolerance=1e-3,
            )
        )
    for classes, steps in squared_error_steps.items():
        rows.append(
            claim(
                f"squared error on probabilities: ratio of the steps from m = "
                f"{MARGINS[classes][-1]:g} and {MARGINS[classes][-2]:g}, {classes} classes",
                predicted=math.e,
                measured=steps[-1] / steps[-2],
                tolerance=1e-3,
            )
        )
    for count in 10, 30:
        (steps,) = steps_taken(SQUARED_ERROR_ON_LOGITS, [1.25**count - 1], 2)
        rows.append(
            claim(
                f"squared error on logits: steps from 1 + m = 1.25^{count}, 2 classes",
                predicted=count,
                measured=steps,
                tolerance=1e-9,
            )
        )
    return rows


def draw(by_name: Mapping[str, Law], steps: Mapping[str, np.ndarray]) -> Figure:
    """Steps against the margin for two classes: measured as dots, closed forms as lines."""
    figure = Figure()
    ax = figure.add_subplot()
    margins = MARGINS[2]
    line = np.linspace(0.25, margins[-1], 600)
    for name, law in by_name.items():
        ax.plot(line, law.closed_form(line, 2), color=law.colour)
        ax.plot(margins, steps[name], "o", color=law.colour, clip_on=False, zorder=3)
        ax.annotate(
            f"{steps[name][-1]:,.0f} steps",
            (margins[-1], steps[name][-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=law.colour,
        )
    entropy, squared, _ = steps.values()
    per_logit = f"+ {entropy[-1] - entropy[-2]:.0f}", f"× {squared[-1] / squared[-2]:.2f}"
    label = partial(ax.text, ha="right")
    label(13.8, 105, f"cross-entropy:\nlinear, {per_logit[0]} for each logit", color=BLUE)
    label(
        *(8.6, 2.2e4),
        f"squared error on probabilities:\nexponential, {per_logit[1]} for each logit",
        color=VERMILION,
    )
    label(13.8, 7, "squared error on logits: logarithmic", color=GREEN, va="top")
    ax.text(
        *(0.02, 0.97),
        f"2 classes, gradient descent, η = {LEARNING_RATE}\n"
        "losses: sums over classes\ndots: measured\nlines: closed forms",
        transform=ax.transAxes,
        va="top",
        fontsize="small",
    )
    ax.set_yscale("log")
    ax.set_xlim(0, margins[-1])
    ax.set_ylim(1, 3e6)
    ax.set_xlabel("margin: logits by which the truth starts behind")
    ax.set_ylabel("steps to the tie")
    powers = np.arange(1, 7)
    top = ax.secondary_xaxis("top")
    top.set_xticks(np.log(10.0**powers - 1), [f"$10^{{-{power}}}$" for power in powers])
    top.set_xlabel("probability of the truth at the start")
    return figure


def run(progress: Progress) -> Finding:
    """Count the steps, hold them to the closed forms, and draw those of two classes."""
    steps: dict[str, dict[int, np.ndarray]] = {}
    rows = []
    by_name = laws()
    with jax.enable_x64(True):
        for name, law in by_name.items():
            progress(name)
            steps[name] = {
                classes: steps_taken(law.loss, margins, classes)
                for classes, margins in MARGINS.items()
            }
            rows += agreement(name, law, steps[name])
        progress("growth of the steps")
        rows += growth(steps["squared error on probabilities"])
        figure = draw(by_name, {name: by_classes[2] for name, by_classes in steps.items()})
    entropy, squared, on_logits = (by_classes[2] for by_classes in steps.values())
    return Finding(
        answer=(
            "A model of two classes that gives the truth less than one chance in a million "
            f"unlearns it, with η = {LEARNING_RATE}, in {entropy[-1]:.0f} steps of cross-entropy, "
            f"in {on_logits[-1]:.0f} of squared error on logits, and in {squared[-1]:,.0f} of "
            "squared error on probabilities. The last logit of that margin costs cross-entropy "
            f"{entropy[-1] - entropy[-2]:.1f} steps and squared error on logits "
            f"{on_logits[-1] - on_logits[-2]:.1f}; it multiplies the steps of squared error on "
            f"probabilities by {squared[-1] / squared[-2]:.2f}."
        ),
        rows=rows,
        pictures={"escape": Picture(figure, CAPTION, in_readme=True)},
    )
