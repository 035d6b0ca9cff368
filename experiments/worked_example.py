"""What does cross-entropy measure, and what does it fall to while a model learns?

Cross-entropy H(P, Q) = −Σᵢ pᵢ log qᵢ is the surprise, in nats, of somebody who believes Q where P
is true:

    H(P, Q) = H(P) + KL(P‖Q),        KL(P‖Q) = ½ Σᵢ (qᵢ − pᵢ)²/pᵢ + O(‖q − p‖³)

It is never below the entropy H(P), and equal to it for Q = P alone. The surplus KL is flat there:
half the error, a quarter of the surplus.

The classic example is a flower of the first of three species, P = [1, 0, 0]. A model that is sure
of another species is infinitely surprised, one that gives the truth 0.7 is surprised by −ln 0.7,
one that is sure and right is not surprised.

Then for real: softmax regression on the 150 irises of scikit-learn, 100 to learn from and 50 held
out, from zero weights, where Q is uniform: cross-entropy is ln 3 and squared error Σᵢ (qᵢ − pᵢ)² is
2/3. It is trained twice, on the mean over flowers of the one loss and of the other, by plain
descent with the step 1/L, which cannot overshoot: L = sup λmax(d²loss/dz²) · λmax(XᵀX/n), where the
supremum over the logits is 1/2 for cross-entropy and 0.6162 for the squared error.

Nobody knows the P of an iris. Where x is drawn around one of three centres, with unit covariance,
P(y|x) is known, and a softmax of linear functions of x. Trained on labels alone, the model's
cross-entropy against that P comes down to H(Y|X) = mean H(P(·|x)), and what is left between the two
is the mean KL(P‖Q), at every step. Of n labels the best fit is left with χ²(d)/(2n) nats, with
d = 6 weights that matter: 12.6 is the 95 % point of χ²(6), which is 0.0063 nats for n = 1000.

Predictions:

- H(P, Q) of the flower is inf for Q = [0, 1, 0], 0.35667494393873238 for [0.7, 0.1, 0.2] and 0 for
  [1, 0, 0].
- H(P, Q) − H(P) is at least 0 in 10000 random pairs.
- H(P, Q) − H(P) against the distance from Q to P has the slope 2 on log–log, within 0.01.
- Irises: untrained, cross-entropy 1.0986122887 and squared error 0.6666666667.
- Neither loss ever rises while it is trained on: the largest change of a step is at most 0.
- Accuracy on held-out flowers is at least 0.9 after either training.
- Each training brings the other loss down as well: the largest change of a step is at most 0.
- The correlation of each loss with the accuracy, over the steps trained by it, is at most −0.8.
- Known P: cross-entropy − H(Y|X) − mean KL is 0 at every step, within 1e-13.
- The mean KL left after learning from 1000 labels is at most 0.0063.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.special import softmax
from sklearn.datasets import load_iris

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, information, losses, plots, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score

SPECIES = ("setosa", "versicolor", "virginica")
FLOWER = np.array([1.0, 0.0, 0.0])
BELIEFS = {
    "[0, 1, 0]": (np.array([0.0, 1.0, 0.0]), np.inf),
    "[0.7, 0.1, 0.2]": (np.array([0.7, 0.1, 0.2]), 0.35667494393873238),
    "[1, 0, 0]": (np.array([1.0, 0.0, 0.0]), 0.0),
}
PAIRS = 10_000
HELD_OUT_FLOWERS = 50
LABELS = 1_000
FRESH_POINTS = 1_000
ANGLES = np.pi * np.array([1 / 2, 7 / 6, 11 / 6])
CENTRES = 2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
STEPS = 1_000
SEED = 0
SECONDS = 3


# The classic example, and the inequality behind it


def of_the_flower() -> list[Row]:
    """One truth, three beliefs."""
    return [
        claim(
            f"flower: H(P, Q) of P = [1, 0, 0] and Q = {words}, nats",
            predicted=predicted,
            measured=information.cross_entropy(FLOWER, q),
            tolerance=1e-15,
        )
        for words, (q, predicted) in BELIEFS.items()
    ]


def of_random_pairs(rng: np.random.Generator) -> list[Row]:
    """H(P, Q) against H(P): never below, and a parabola around Q = P."""
    p, q = rng.dirichlet(np.ones(3), [2, PAIRS])
    surplus = np.subtract(information.cross_entropy(p, q), information.entropy(p))
    distances = np.geomspace(1e-3, 1e-5, 9)
    direction = np.array([1.0, 0.0, -1.0]) / np.sqrt(2)
    near_p = np.broadcast_to([0.7, 0.1, 0.2], [len(distances), 3])
    near_q = near_p + distances[:, None] * direction
    near_surplus = np.subtract(
        information.cross_entropy(near_p, near_q), information.entropy(near_p)
    )
    slope, _ = np.polyfit(np.log(distances), np.log(near_surplus), 1)
    return [
        claim(
            f"random pairs: least H(P, Q) − H(P) of {PAIRS}, nats",
            predicted=0,
            measured=surplus.min(),
            relation="≥",
        ),
        claim(
            "P = [0.7, 0.1, 0.2]: slope of H(P, Q) − H(P) against ‖q − p‖, log–log",
            predicted=2,
            measured=slope,
            tolerance=0.01,
        ),
    ]


# Softmax regression


class Examples(NamedTuple):
    """Rows of features, a constant 1 the last of them, and a P for each row."""

    features: Float[np.ndarray, "examples features"]
    targets: Float[np.ndarray, "examples classes"]


class Training(NamedTuple):
    """The weights before each step, and the size of the steps."""

    weights: Float[np.ndarray, "steps features classes"]
    learning_rate: float


@partial(jax.jit, static_argnums=0)
def path(loss: Loss, examples: Examples, learning_rate: float) -> Array:
    """The weights before each step of plain descent on the mean loss, from zero weights."""
    features, targets = map(jnp.asarray, examples)
    result = descent.descend(
        lambda weights: loss(features @ weights, targets).mean(),
        jnp.zeros([features.shape[1], targets.shape[1]]),
        optax.sgd(learning_rate),
        steps=STEPS,
        record=descent.record_path,
    )
    return result.record


def train(loss: Loss, examples: Examples, largest_curvature: float) -> Training:
    """Descend with the step 1/L."""
    second_moment = examples.features.T @ examples.features / len(examples.features)
    learning_rate = 1 / (largest_curvature * np.linalg.eigvalsh(second_moment)[-1])
    return Training(np.asarray(path(loss, examples, learning_rate)), learning_rate)


@partial(jax.jit, static_argnums=0)
def mean_loss(
    loss: Loss, examples: Examples, weights: Float[Array, "steps features classes"]
) -> Float[Array, " steps"]:
    """The loss before each step, a mean over the examples."""
    features, targets = map(jnp.asarray, examples)
    return jax.lax.map(lambda w: loss(features @ w, targets).mean(), weights)


def accuracy(
    examples: Examples, weights: Float[np.ndarray, "steps features classes"]
) -> Float[np.ndarray, " steps"]:
    """The share of examples, before each step, whose likeliest class is the right one."""
    likeliest = (examples.features @ weights).argmax(axis=-1)
    return (likeliest == examples.targets.argmax(axis=-1)).mean(axis=-1)


def with_constant(features: np.ndarray) -> np.ndarray:
    """Features with a column of ones, whose weights are the intercepts."""
    return np.pad(features, [(0, 0), (0, 1)], constant_values=1.0)


# Irises


class Course(NamedTuple):
    """One training: the losses and the accuracy before each step, means over flowers."""

    cross_entropy: Float[np.ndarray, " steps"]
    squared_error: Float[np.ndarray, " steps"]
    accuracy: Float[np.ndarray, " steps"]
    held_out_accuracy: Float[np.ndarray, " steps"]
    training: Training
    trained_by: str


def irises(rng: np.random.Generator) -> tuple[Examples, Examples]:
    """The flowers to learn from, and those held out; features in units of the former's spread."""
    measurements, species = load_iris(return_X_y=True)
    held_out, learning = np.split(rng.permutation(len(species)), [HELD_OUT_FLOWERS])
    mean, spread = measurements[learning].mean(axis=0), measurements[learning].std(axis=0)
    features = with_constant((measurements - mean) / spread)
    targets = np.eye(3)[species]
    return (
        Examples(features[learning], targets[learning]),
        Examples(features[held_out], targets[held_out]),
    )


def course(
    trained_by: str,
    loss: Loss,
    largest_curvature: float,
    learning: Examples,
    held_out: Examples,
) -> Course:
    """Train by one loss, and follow both."""
    training = train(loss, learning, largest_curvature)
    return Course(
        np.asarray(mean_loss(CROSS_ENTROPY, learning, training.weights)),
        np.asarray(mean_loss(SQUARED_ERROR, learning, training.weights)),
        accuracy(learning, training.weights),
        accuracy(held_out, training.weights),
        training,
        trained_by,
    )


def of_irises(by_cross_entropy: Course, by_squared_error: Course) -> list[Row]:
    """Where the losses start, that they fall, and how well either model tells species."""
    rows = [
        claim(
            "irises, untrained: mean cross-entropy, nats",
            predicted=np.log(3),
            measured=by_cross_entropy.cross_entropy[0],
            tolerance=1e-14,
        ),
        claim(
            "irises, untrained: mean squared error, a sum over the classes",
            predicted=2 / 3,
            measured=by_squared_error.squared_error[0],
            tolerance=1e-14,
        ),
    ]
    for trained in by_cross_entropy, by_squared_error:
        values = {"cross-entropy": trained.cross_entropy, "squared error": trained.squared_error}
        name = trained.trained_by
        (other,) = values.keys() - {name}
        rows += [
            claim(
                f"irises by {name}: largest change of {name} in a step",
                predicted=0,
                measured=np.diff(values[name]).max(),
                relation="≤",
            ),
            prediction(
                f"irises by {name}: largest change of {other} in a step",
                predicted=0,
                measured=np.diff(values[other]).max(),
                relation="≤",
            ),
            prediction(
                f"irises by {name}: accuracy on held-out flowers",
                predicted=0.9,
                measured=trained.held_out_accuracy[-1],
                relation="≥",
            ),
            prediction(
                f"irises by {name}: correlation of {name} with the accuracy",
                predicted=-0.8,
                measured=np.corrcoef(values[name], trained.accuracy)[0, 1],
                relation="≤",
            ),
        ]
    return rows


def draw_courses(by_cross_entropy: Course, by_squared_error: Course) -> Picture:
    """Both losses above, the accuracy below; a column for each loss that was trained by."""
    figure = Figure(figsize=(7.0, 4.8))
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for (above, below), trained in zip(axes.T, (by_cross_entropy, by_squared_error), strict=True):
        above.set_title(
            f"trained by {trained.trained_by}, step {trained.training.learning_rate:.2f}"
        )
        plots.plot_history(
            above, trained.cross_entropy, color=colours.CROSS_ENTROPY, label="cross-entropy, nats"
        )
        plots.plot_history(
            above,
            trained.squared_error,
            color=colours.SQUARED_ERROR,
            label="squared error, sum over classes",
        )
        plots.plot_history(below, trained.accuracy, color=colours.INK, label="flowers learned from")
        plots.plot_history(
            below,
            trained.held_out_accuracy,
            color=colours.INK,
            ls=(0, (1, 1)),
            label="flowers held out",
        )
        above.set_xlabel("")
        below.set_xscale("symlog", linthresh=1)
        below.set_xlim(0, STEPS)
    axes[0, 0].set(ylabel="mean loss over flowers", ylim=(0, 1.2))
    axes[1, 0].set(ylabel="accuracy", ylim=(0.2, 1.0))
    axes[0, 1].legend()
    axes[1, 1].legend(loc="lower right")
    return Picture(
        figure,
        "Softmax regression on irises: whichever of the two losses is trained on, both fall while "
        f"the accuracy rises. After {STEPS} steps the accuracy on {HELD_OUT_FLOWERS} held-out "
        f"flowers is {by_cross_entropy.held_out_accuracy[-1]:.2f} by cross-entropy and "
        f"{by_squared_error.held_out_accuracy[-1]:.2f} by squared error.",
    )


def draw_flowers(by_cross_entropy: Course, by_squared_error: Course, held_out: Examples) -> Picture:
    """P and Q of the held-out flower of each species that surprises the model most."""
    figure = Figure(figsize=(7.0, 4.6))
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    last = held_out.features @ by_cross_entropy.training.weights[-1]
    surprises = np.asarray(CROSS_ENTROPY(last, held_out.targets))
    flowers = (surprises[:, None] * held_out.targets).argmax(axis=0)
    for row, trained, loss, title, colour in zip(
        axes,
        (by_cross_entropy, by_squared_error),
        (CROSS_ENTROPY, SQUARED_ERROR),
        ("cross-entropy {:.2f} nats", "squared error {:.2f} (sum)"),
        (colours.CROSS_ENTROPY, colours.SQUARED_ERROR),
        strict=True,
    ):
        for ax, flower in zip(row, flowers, strict=True):
            p = held_out.targets[flower]
            logits = held_out.features[flower] @ trained.training.weights[-1]
            plots.plot_distributions(ax, p, softmax(logits), class_names=SPECIES, color=colour)
            ax.set_title(title.format(loss(logits, p)), fontsize="medium")
            ax.set(xlabel="", ylabel="")
        row[0].set_ylabel(
            f"probability by\n{trained.trained_by},\nstep {trained.training.learning_rate:.2f}"
        )
    axes[0, 0].legend()
    return Picture(
        figure,
        "Held-out flowers, the most surprising of each species: P (outline) and the fitted Q "
        f"(bars) after {STEPS} steps, with the loss that was trained on; the squared error is a "
        "sum over the classes.",
    )


# Points whose P is known


class KnownP(NamedTuple):
    """A model that learns from labels, judged before each step by the P they were drawn from."""

    cross_entropy: Float[np.ndarray, " steps"]
    divergence: Float[np.ndarray, " steps"]
    entropy: float
    learning_rate: float


def points_of_known_p(rng: np.random.Generator, count: int) -> tuple[Examples, np.ndarray]:
    """Points around CENTRES with P(y|x) as targets, and the label that each was drawn with."""
    labels = rng.integers(len(CENTRES), size=count)
    points = CENTRES[labels] + rng.standard_normal([count, 2])
    # Bayes: the log densities around the centres, up to what all of them share.
    logits = points @ CENTRES.T - (CENTRES**2).sum(axis=1) / 2
    return Examples(with_constant(points), softmax(logits, axis=-1)), labels


def divergence(logits: ArrayLike, targets: ArrayLike) -> Array:
    """KL(P‖Q), as a loss."""
    return information.kl_divergence(targets, jax.nn.softmax(logits))


def known_p(rng: np.random.Generator) -> KnownP:
    """Learn from labels; cross-entropy, KL and H(Y|X) over fresh points."""
    points, labels = points_of_known_p(rng, LABELS)
    observed = Examples(points.features, np.eye(len(CENTRES))[labels])
    training = train(CROSS_ENTROPY, observed, theory.curvature.CROSS_ENTROPY_SMOOTHNESS)
    fresh, _ = points_of_known_p(rng, FRESH_POINTS)
    return KnownP(
        np.asarray(mean_loss(CROSS_ENTROPY, fresh, training.weights)),
        np.asarray(mean_loss(divergence, fresh, training.weights)),
        np.mean(information.entropy(fresh.targets)).item(),
        training.learning_rate,
    )


def of_known_p(known: KnownP) -> list[Row]:
    """What stands between cross-entropy and H(Y|X) is the mean KL, and little is left of it."""
    return [
        claim(
            "known P: largest |cross-entropy − H(Y|X) − mean KL| of all steps, nats",
            predicted=0,
            measured=np.abs(known.cross_entropy - known.entropy - known.divergence).max(),
            tolerance=1e-13,
        ),
        prediction(
            f"known P: mean KL left after learning from {LABELS} labels, nats",
            predicted=0.0063,
            measured=known.divergence[-1],
            relation="≤",
        ),
    ]


def draw_known_p(known: KnownP) -> Picture:
    """Cross-entropy on its way down to H(Y|X), and the mean KL that is left."""
    figure = Figure(figsize=(7.0, 3.3))
    left, right = figure.subplots(1, 2)
    steps = np.arange(STEPS)
    plots.plot_history(
        left, known.cross_entropy, color=colours.CROSS_ENTROPY, label="cross-entropy H(P, Q)"
    )
    left.fill_between(
        steps,
        known.entropy,
        known.cross_entropy,
        color=colours.CROSS_ENTROPY,
        alpha=0.15,
        lw=0,
        label="mean KL",
    )
    left.axhline(known.entropy, color=colours.INK, ls="--", label="entropy H(Y|X)")
    left.set(ylabel="mean over points, nats", ylim=(0, 1.2))
    plots.plot_history(right, known.divergence, log=True, color=colours.INK, label="mean KL(P‖Q)")
    dots = np.unique(np.geomspace(1, STEPS, 25).astype(int)) - 1
    surplus = known.cross_entropy[dots] - known.entropy
    right.plot(
        dots, surplus, "o", color=colours.CROSS_ENTROPY, label="H(P, Q) − H(Y|X)", clip_on=False
    )
    right.set_ylabel("mean over points, nats")
    for ax in left, right:
        ax.legend()
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xlim(0, STEPS)
        ax.set_title(f"trained by cross-entropy, step {known.learning_rate:.2f}")
    return Picture(
        figure,
        f"A model that learns P(y|x) from {LABELS} labels, judged on {FRESH_POINTS} fresh points: "
        f"its cross-entropy comes down to the entropy H(Y|X) = {known.entropy:.4f} nats, and the "
        f"mean KL is what is left, {known.divergence[-1]:.4f} nats.",
    )


def run(progress: Progress) -> Finding:
    """The flower, random pairs, irises, and points whose P is known."""
    rng = np.random.default_rng(SEED)
    with jax.enable_x64(True):
        progress("the flower")
        rows = of_the_flower() + of_random_pairs(rng)
        learning, held_out = irises(rng)
        progress("irises by cross-entropy")
        by_cross_entropy = course(
            "cross-entropy",
            CROSS_ENTROPY,
            theory.curvature.CROSS_ENTROPY_SMOOTHNESS,
            learning,
            held_out,
        )
        progress("irises by squared error")
        by_squared_error = course(
            "squared error",
            SQUARED_ERROR,
            theory.curvature.BRIER_SCORE_SMOOTHNESS,
            learning,
            held_out,
        )
        rows += of_irises(by_cross_entropy, by_squared_error)
        progress("points whose P is known")
        known = known_p(rng)
        rows += of_known_p(known)
        pictures = {
            "worked_example": draw_courses(by_cross_entropy, by_squared_error),
            "worked_example_flowers": draw_flowers(by_cross_entropy, by_squared_error, held_out),
            "worked_example_known_p": draw_known_p(known),
        }
    return Finding(
        answer=(
            "It measures, in nats, how surprised somebody is who believes Q where P is true: "
            f"{BELIEFS['[0.7, 0.1, 0.2]'][1]:.3f} for the flower that is given 0.7, and never less "
            f"than H(P). While a model learned from {LABELS} labels its cross-entropy fell from "
            f"{known.cross_entropy[0]:.4f} to {known.cross_entropy[-1]:.4f}, towards the entropy "
            f"H(Y|X) = {known.entropy:.4f} of the labels, and the {known.divergence[-1]:.4f} that "
            "are left between the two are the mean KL."
        ),
        rows=rows,
        pictures=pictures,
    )
