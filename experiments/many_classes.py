"""What do many classes, and the mean over them, do?

A fresh model of C classes knows nothing: its logits are equal, and the truth has a = 1/C. How long
does descent take to a = ½? With K = C − 1 equal wrong logits the gap g = z_true − z_wrong grows
from 0 to ln K, under gradient flow at

    cross-entropy                             g′ = (1 − a) C/K
    Brier score Σᵢ (qᵢ − pᵢ)²                 g′ = 2 a (1 − a)² (C/K)²
    mean squared error, the Brier score / C   g′ = 2 a (1 − a)² (C/K)² / C

and integrals of dg/g′ are

    cross-entropy        T = [K − 1 + K ln K] / C                          ≈ 1 + ln C
    Brier score          T = [K³ + 3K² ln K + (5/2)K² − 3K − ½] / (2C²)    ≈ C/2
    mean squared error   C times that                                      ≈ C²/2

Descent with a small step η takes T/η + ½ ln(f₁/f₀) steps, f₀ and f₁ being g′ at either end. Two
factors are mixed here that are easily taken for one.

The C between the last two is bookkeeping. A mean over the classes divides all gradients and all
curvatures by C: the largest step that descent stands grows by C, and with the step ηC its path is
that of the sum. Whoever takes the same η for both compares two step sizes.

The C/2 over 1 + ln C is not: the largest curvature of the sum does not shrink with C (where Q lies
on two classes, others have no part in it), so no larger step makes up for it safely. Through the
softmax the Brier score pushes a truth that has a ≪ 1 with 2a, so that a′ ≈ 2a², which takes
1/(2a) of time from wherever it starts, and 1/C is a bad start. The curvature shows it too. At the
start the Hessian of cross-entropy is 1/C in every direction; that of the Brier score is 4/C² in
those that leave the truth alone and 2(3 − C)/C² along its gradient: from 4 classes on it curves
downwards in exactly the direction in which it has to travel.

Predictions:

- With η = 0.3 the steps to a = ½ are those of the closed forms within 0.05, for 10, 100, 1000 and
  10000 classes; for the mean 10 and 100.
- 10000 classes: η times the steps is 1 + ln C for cross-entropy, within 0.02 of it, and C/2
  for the Brier score, within 0.01 of it.
- At the start, 100 classes: the gradient of cross-entropy is 50 times that of the Brier score and
  5000 times that of the mean, within 1e-9.
- At the start, along the gradient: the curvature of the Brier score is 0, −0.125, −0.14, −0.0194
  and −0.00019994 for 3, 4, 10, 100 and 10000 classes, that of cross-entropy 1/C, within 1e-12.
- All eigenvalues of the Brier score at the start, 10 classes: once −0.14, 8 times 0.04, within
  1e-12.
- Where Q lies on two classes, the truth with (9 + √33)/24, the Brier score of 10 classes curves
  with 0.616234, the most of 2 classes, within 1e-12.
- With the step ηC the path of the mean is that of the sum, within 1e-12, 100 classes.
- It is a that counts: from 1000 standard normal logits the Brier score takes 1/(2a) of time,
  within 0.05 of it.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from matplotlib.figure import Figure
from scipy.special import softmax

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import curvature, descent, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
BRIER_SCORE = losses.softmax_brier_score
MEAN_SQUARED_ERROR = losses.softmax_mean_squared_error

SECONDS = 5

LEARNING_RATE = 0.3
OPTIMIZER = optax.sgd(LEARNING_RATE)
CLASSES = (10, 100, 1000, 10_000)
CLASSES_OF_THE_MEAN = (10, 100)
CLASSES_OF_CURVATURE = (3, 4, 10, 100, 10_000)
MAX_STEPS = 100_000
STEPS_SIDE_BY_SIDE = 1_000
STEPS_FROM_RANDOM_LOGITS = 5_000
SEED = 0
CAPTION = (
    "Steps of the same size from equal logits until the truth has ½. The mean over the classes "
    "needs C times the steps of the sum because its step is C times too small for it; the Brier "
    "score, a sum, needs C/2 where cross-entropy needs 1 + ln C because of the softmax."
)


class Law(NamedTuple):
    """A loss, and the steps that it should take to a = ½, for a number of classes."""

    loss: Loss
    closed_form: Callable[[np.ndarray], np.ndarray]
    classes: tuple[int, ...]


time_of_cross_entropy = jax.jit(theory.flows.cross_entropy_time_to_half)
time_of_brier_score = jax.jit(theory.flows.brier_score_time_to_half)


def laws() -> dict[str, Law]:
    """The three losses by name."""

    def of_cross_entropy(classes: np.ndarray) -> np.ndarray:
        correction = np.log(classes / (2 * (classes - 1))) / 2
        return np.divide(time_of_cross_entropy(classes), LEARNING_RATE) + correction

    def of_sum(classes: np.ndarray, learning_rate: np.ndarray | float) -> np.ndarray:
        correction = np.log(classes**3 / (8 * (classes - 1) ** 2)) / 2
        return np.divide(time_of_brier_score(classes), learning_rate) + correction

    return {
        "cross-entropy": Law(CROSS_ENTROPY, of_cross_entropy, CLASSES),
        "Brier score": Law(BRIER_SCORE, lambda classes: of_sum(classes, LEARNING_RATE), CLASSES),
        "mean squared error": Law(
            MEAN_SQUARED_ERROR,
            lambda classes: of_sum(classes, LEARNING_RATE / classes),
            CLASSES_OF_THE_MEAN,
        ),
    }


@cache
def from_equal_logits(loss: Loss) -> Loss:
    """What `descent.escape_steps` from ln K behind sees as a way from a = 1/C to a = ½."""

    def ahead_of_itself(logits: Array, targets: Array) -> Array:
        return loss(logits + targets * jnp.log(logits.size - 1.0), targets)

    return ahead_of_itself


def steps_to_half(loss: Loss, num_classes: int) -> float:
    """The steps that descent takes from equal logits until the truth has ½."""
    margin = np.log(num_classes - 1.0)
    escape = descent.escape_steps(
        from_equal_logits(loss), margin, OPTIMIZER, num_classes=num_classes, max_steps=MAX_STEPS
    )
    return float(escape.steps)


def one_hot(num_classes: int) -> Array:
    """P with all mass on class 0."""
    return jnp.asarray(np.eye(1, num_classes)[0])


@partial(jax.jit, static_argnums=(0, 1))
def starts(loss: Loss, numbers_of_classes: tuple[int, ...]) -> dict[int, tuple[Array, Array]]:
    """The gradient norm at equal logits, and the curvature along the gradient, by classes."""

    def start(num_classes: int) -> tuple[Array, Array]:
        def slope(logits: Array) -> Array:
            return jax.grad(loss)(logits, one_hot(num_classes))

        logits = jnp.zeros(num_classes)
        gradient = slope(logits)
        _, bent = jax.jvp(slope, (logits,), (gradient,))
        return jnp.linalg.norm(gradient), gradient @ bent / (gradient @ gradient)

    return {classes: start(classes) for classes in numbers_of_classes}


eigenvalues = jax.jit(curvature.eigenvalues, static_argnums=0)
uniform_eigenvalues = jax.jit(theory.curvature.brier_score_uniform_eigenvalues)


def steps_beside_theory(name: str, law: Law) -> tuple[np.ndarray, list[Row]]:
    """The measured steps by the number of classes, and each against the closed form."""
    steps, rows = [], []
    closed_form = law.closed_form(np.array(law.classes, float))
    for classes, expected in zip(law.classes, closed_form, strict=True):
        steps.append(steps_to_half(law.loss, classes))
        rows.append(
            claim(
                f"{name}: steps to a = ½ from equal logits, {classes} classes, η = {LEARNING_RATE}",
                predicted=expected,
                measured=steps[-1],
                tolerance=0.05,
            )
        )
    return np.array(steps), rows


def of_many_classes(steps: Mapping[str, np.ndarray]) -> list[Row]:
    """The measured steps against the short forms."""
    most = CLASSES[-1]
    return [
        claim(
            f"{name}: η times the steps, over {words}, {most} classes",
            predicted=1,
            measured=LEARNING_RATE * steps[name][-1] / time,
            tolerance=tolerance,
        )
        for name, words, time, tolerance in (
            ("cross-entropy", "1 + ln C", 1 + np.log(most), 0.02),
            ("Brier score", "C/2", most / 2, 0.01),
        )
    ]


def of_the_start() -> list[Row]:
    """How hard the losses push at equal logits, and how they curve there."""
    found = (
        starts(CROSS_ENTROPY, CLASSES_OF_CURVATURE),
        starts(BRIER_SCORE, CLASSES_OF_CURVATURE),
        starts(MEAN_SQUARED_ERROR, (100,)),
    )
    entropy, squared, mean = jax.tree.map(float, found)
    rows = [
        claim(
            f"gradient norm of cross-entropy over that of the {name} at equal logits, 100 classes",
            predicted=ratio,
            measured=entropy[100][0] / norm,
            tolerance=1e-9,
        )
        for name, ratio, norm in (
            ("Brier score", 100 / 2, squared[100][0]),
            ("mean squared error", 100**2 / 2, mean[100][0]),
        )
    ]
    rows += [
        claim(
            f"Brier score: curvature along the gradient at equal logits, {classes} classes",
            predicted=uniform_eigenvalues(classes).along,
            measured=curved,
            tolerance=1e-12,
        )
        for classes, (_, curved) in squared.items()
    ]
    rows.append(
        claim(
            "cross-entropy: the same, times C; of all numbers of classes the one furthest off",
            predicted=1,
            measured=1 + max((C * curved - 1 for C, (_, curved) in entropy.items()), key=abs),
            tolerance=1e-12,
        )
    )
    one_wrong = np.array([np.log((9 + 33**0.5) / (15 - 33**0.5)), 0.0, *[-100.0] * 8])
    along, *sideways = np.asarray(eigenvalues(BRIER_SCORE, np.zeros(10), one_hot(10)))
    expected = uniform_eigenvalues(10)
    rows += [
        claim(
            "Brier score: the one eigenvalue of the Hessian at equal logits that is negative, "
            "10 classes",
            predicted=expected.along,
            measured=along,
            tolerance=1e-12,
        ),
        claim(
            "Brier score: the other 8 eigenvalues, the one furthest off",
            predicted=expected.sideways,
            measured=max(sideways, key=lambda found: abs(found - float(expected.sideways))),
            tolerance=1e-12,
        ),
        claim(
            "Brier score: largest eigenvalue where the truth has (9 + √33)/24 and one wrong class "
            "the rest, 10 classes",
            predicted=theory.curvature.BRIER_SCORE_SMOOTHNESS,
            measured=np.asarray(eigenvalues(BRIER_SCORE, one_wrong, one_hot(10)))[-1],
            tolerance=1e-12,
        ),
    ]
    return rows


def of_bookkeeping() -> Row:
    """The mean with C times the step beside the sum."""

    def path(loss: Loss, learning_rate: float) -> np.ndarray:
        fitted = descent.fit(
            loss,
            jnp.zeros(100),
            one_hot(100),
            optax.sgd(learning_rate),
            steps=STEPS_SIDE_BY_SIDE,
            record=descent.record_path,
        )
        return np.asarray(fitted.record)

    apart = path(MEAN_SQUARED_ERROR, 100 * LEARNING_RATE) - path(BRIER_SCORE, LEARNING_RATE)
    return claim(
        f"mean squared error with step ηC: largest distance of a logit from where the Brier score "
        f"with step η has it, {STEPS_SIDE_BY_SIDE} steps, 100 classes",
        predicted=0,
        measured=np.abs(apart).max(),
        tolerance=1e-12,
    )


def of_random_logits() -> Row:
    """The law that does not name the number of classes."""
    logits = jnp.asarray(np.random.default_rng(SEED).standard_normal(1000))
    fitted = descent.fit(
        BRIER_SCORE,
        logits,
        one_hot(1000),
        OPTIMIZER,
        steps=STEPS_FROM_RANDOM_LOGITS,
        record=None,
        tolerance=0.5,
    )
    return prediction(
        "Brier score: η times the steps to a = ½, over 1/(2a), from 1000 standard normal logits",
        predicted=1,
        measured=LEARNING_RATE * float(fitted.steps_taken) * 2 * softmax(logits)[0],
        tolerance=0.05,
    )


def draw(by_name: Mapping[str, Law], steps: Mapping[str, np.ndarray]) -> Figure:
    """Steps against the number of classes: measured as dots, closed forms as lines."""
    figure = Figure()
    ax = figure.add_subplot()
    line = np.geomspace(3, CLASSES[-1], 200)
    looks = {
        "cross-entropy": (colours.CROSS_ENTROPY, "-", "1 + ln C"),
        "Brier score": (colours.SQUARED_ERROR, "-", "C/2"),
        "mean squared error": (colours.SQUARED_ERROR, "--", "C²/2"),
    }
    curves = {name: by_name[name].closed_form(line) for name in looks}
    for name, (colour, dashes, short) in looks.items():
        law, curve = by_name[name], curves[name]
        ax.plot(line, curve, dashes, color=colour)
        ax.plot(law.classes, steps[name], "o", color=colour, clip_on=False, zorder=3)
        ax.annotate(
            f"{name}\nη·steps ≈ {short}\n{float(f'{curve[-1]:.3g}'):,.0f} steps",
            (line[-1], curve[-1]),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
    ax.text(
        *(0.02, 0.97),
        f"from equal logits until the truth has ½\ngradient descent, all with η = {LEARNING_RATE}\n"
        "Brier score: sum over the classes\ndots: measured, lines: closed forms",
        transform=ax.transAxes,
        va="top",
        fontsize="small",
    )
    where = CLASSES[-1] / 1.25
    for below, above, words in (
        ("Brier score", "mean squared error", "the mean: L is C times\nless, so take ηC"),
        ("cross-entropy", "Brier score", "the softmax:\nL is as large\nas ever"),
    ):
        low, high = (np.interp(where, line, curves[name]) for name in (below, above))
        ax.annotate(
            "",
            (where, high / 1.2),
            (where, low * 1.2),
            arrowprops={"arrowstyle": "<->", "color": colours.INK, "lw": 0.8},
        )
        ax.text(
            where / 1.15,
            (low**2 * high) ** (1 / 3) if below == "Brier score" else (low * high) ** 0.5,
            words,
            ha="right",
            va="center",
            fontsize="small",
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(line[0], line[-1]),
        ylim=(1, 1e9),
        xlabel="number of classes C",
        ylabel="steps",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Count the steps, hold them to the closed forms, and take the two factors apart."""
    steps: dict[str, np.ndarray] = {}
    rows: list[Row] = []
    with jax.enable_x64(True):
        by_name = laws()
        for fraction, (name, law) in zip((0.0, 0.2, 0.6), by_name.items(), strict=True):
            progress(name, fraction)
            steps[name], beside_theory = steps_beside_theory(name, law)
            rows += beside_theory
        progress("the start", 0.8)
        rows += of_many_classes(steps)
        rows += of_the_start()
        rows += [of_bookkeeping(), of_random_logits()]
        figure = draw(by_name, steps)
    entropy, squared = steps["cross-entropy"][-1], steps["Brier score"][-1]
    return Finding(
        answer=(
            f"From equal logits of {CLASSES[-1]:,} classes, with η = {LEARNING_RATE}, "
            f"cross-entropy gives the truth ½ after {entropy:.0f} steps and the Brier score after "
            f"{squared:,.0f}, {squared / entropy:.0f} times as many, because the softmax lets "
            "through only 2a of its push, and its largest curvature does not shrink with C. The "
            f"mean over the classes would take another {CLASSES[-1]:,} times as many at the same "
            "η, but that factor is one of the step size alone: with the step ηC its path is that "
            f"of the sum, to {rows[-2].measured:.0e}."
        ),
        rows=rows,
        pictures={"many_classes": Picture(figure, CAPTION)},
    )
