"""How hard does each loss push, from confidently wrong to confidently right?

First the smallest case, one neuron: a logit z, the probability σ = 1/(1 + e⁻ᶻ) that it gives to the
answer yes, and yes is right. Its slope is σ′ = σ (1 − σ), which has nowhere more than a quarter.

    squared error   L = (1 − σ)²    −dL/dz = 2 (1 − σ) σ′
    cross-entropy   L = −ln σ       −dL/dz = (1/σ) σ′ = 1 − σ

By the chain rule both gradients have σ′ in them, and σ′ is next to nothing wherever σ is sure of
itself, be it right or wrong. Squared error keeps it. The logarithm has the slope 1/σ, which cancels
what makes σ′ small at a confident mistake, and leaves the error 1 − σ alone.

Then C classes, one example with a one-hot target. Write a for the probability that Q = softmax(z)
gives the truth, K = C − 1, and J = diag(q) − q qᵀ for the Jacobian of softmax, which takes the
place of σ′. If the rest of Q lies evenly on the wrong classes, the logits feel

    cross-entropy    dL/dz = q − p          ‖dL/dz‖ = (1 − a) √(C/K)
    squared error    dL/dz = 2J (q − p)     ‖dL/dz‖ = 2 a (1 − a)² (C/K)^{3/2}

where squared error is that of the probabilities, the Brier score Σᵢ (qᵢ − pᵢ)², a sum over the
classes. q − p is an eigenvector of J here, with the eigenvalue a(1 − a) C/K. Twice that is all that
tells the two losses apart, and it vanishes at *both* ends: squared error hardly corrects a
confident mistake, and near the right answer it stops pushing sooner. In between, a(1 − a)² has the
derivative (1 − a)(1 − 3a), so squared error pushes hardest at a = 1/3, with (8/27)(C/K)^{3/2}. The
number of classes enters through C/K alone. With all the wrong mass on one class the others have no
part in it: C = 2 in every formula.

Other losses stand between the two or beside them. With wrong mass even all their gradients point
the same way, and one number tells them apart, the push −dL/dz of the truth:

    cross-entropy   1 − a            generalised cross-entropy   a^γ (1 − a)
    squared error   2a (1 − a)² C/K  absolute error (mean)       2a (1 − a)/C
    focal loss, γ = 2                (1 − a)² (1 − a − 2a ln a)

If the wrong mass is uneven, squared error does what cross-entropy never does: it pushes a *wrong*
logit up. With β = Σ q² over the wrong classes its gradient there is 2 qⱼ (qⱼ + a(1 − a) − β), which
is negative for a minor mistake in the shadow of a major one.

Predictions:

- One neuron, logits from −30 to 30: the push by automatic differentiation is 1 − σ for
  cross-entropy and 2 (1 − σ) σ′ for squared error, within 1e-12 of its size.
- Of the multiples of 1/300 it is σ = 1/3 at which the squared error of the neuron pushes hardest,
  with 8/27 = 0.296296, and σ = 1/2 at which its push comes nearest to that of cross-entropy, being
  0.5 of it, both within 1e-12. Ten logits behind, z = −10, it is 9.07916e-05 of it.
- The gradient norm by automatic differentiation is that of the closed form, within 1e-12 of its
  size, in float64, from p_true = 1e-12 to 1 − 1e-12, for 2, 3, 10 and 1000 classes with even wrong
  mass, and for wrong mass on one of 3, 10 and 1000 classes.
- Of the multiples of 1/300 it is p_true = 1/3 at which squared error pushes hardest, with a norm
  of 0.838052, 0.544331, 0.347026 and 0.296741 for 2, 3, 10 and 1000 classes, within 1e-12; with
  wrong mass on one class it is that of 2.
- At p_true = 1/2 the norm of squared error over that of cross-entropy is C/(2K): 1, 0.75, 0.555556
  and 0.500501, within 1e-12. Of 2 classes it is 4e-12 at either end, 1e-12 and 1 − 1e-12.
- At p_true = 1e-12 cross-entropy pushes with √(C/K): 1.41421, 1.22474, 1.05409 and 1.0005.
- The pushes of all six losses are those of the formulas, within 1e-12 of their size.
- Towards the ends, log–log, within 1e-9: against p_true the push has the slope 0 for cross-entropy
  and the focal loss, 0.5 and 0.7 for generalised cross-entropy of these exponents, 1 for absolute
  and for squared error; against 1 − p_true it has the slope 1 for all of them but squared error, 2,
  and the focal loss, 3.
- Q = (0.1, 0.8, 0.1), the first being right: the gradient of the third logit is 0.1 for
  cross-entropy and −0.092 for squared error. Squared error pushes up those wrong logits, and only
  those, that the criterion names, on a grid of the triangle of 3 classes: in 1 − π/(3√3) = 0.3954
  of its area there is one, within 0.005. Cross-entropy pushes up 0.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim
from jaxent import gradients, losses, plots, theory
from jaxent._examples import Loss
from jaxent.gradients import GradientField, GradientProfile

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
# of exponent 0.7, as nobody says another one
GENERALIZED_CROSS_ENTROPY = losses.generalized_cross_entropy
MILD_GENERALIZED_CROSS_ENTROPY = partial(losses.generalized_cross_entropy, exponent=0.5)
ABSOLUTE_ERROR = losses.softmax_mean_absolute_error
FOCAL_LOSS = losses.softmax_focal_loss
BINARY_CROSS_ENTROPY = losses.sigmoid_binary_cross_entropy
BINARY_SQUARED_ERROR = losses.sigmoid_squared_error

CLASSES = 2, 3, 10, 1000
# The points are ln a/(1 − a), which keeps the digits of 1 − a: half decades from end to end, then
# the probabilities in between, evenly.
FROM_END_TO_END = np.log(1e12) * np.linspace(-1, 1, 49)
MULTIPLES = np.arange(1, 300) / 300
IN_LOG_ODDS = np.log(MULTIPLES) - np.log1p(-MULTIPLES)
LOG_ODDS = np.append(FROM_END_TO_END, IN_LOG_ODDS)
END_TO_END, IN_BETWEEN = slice(0, 49), slice(49, None)
ONE_HALF = 24
NEURON_LOGITS = np.linspace(-30, 30, 241)
TEN_BEHIND = 80
RESOLUTION = 200
IN_THE_SHADOW, TRUTH = np.array([0.1, 0.8, 0.1]), np.eye(3)[0]
SECONDS = 6

# One neuron


class Neuron(NamedTuple):
    """How hard each loss pushes the logit of one neuron up, where yes is right."""

    logits: np.ndarray
    cross_entropy: np.ndarray
    squared_error: np.ndarray
    expected_cross_entropy: np.ndarray
    expected_squared_error: np.ndarray


def sigmoid(logits: ArrayLike) -> np.ndarray:
    """σ, and of −z what is left to 1 with all its digits."""
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


@partial(jax.jit, static_argnums=0)
def neuron_push(loss: Loss, logits: Array) -> Array:
    """−dL/dz at each of the logits."""
    return -jax.grad(lambda z: loss(z, jnp.ones_like(z)).sum())(logits)


def neuron(logits: np.ndarray) -> Neuron:
    """Measure, and work out."""
    truth, rest = sigmoid(logits), sigmoid(-logits)
    return Neuron(
        logits=logits,
        cross_entropy=np.asarray(neuron_push(BINARY_CROSS_ENTROPY, logits)),
        squared_error=np.asarray(neuron_push(BINARY_SQUARED_ERROR, logits)),
        expected_cross_entropy=rest,
        expected_squared_error=2 * rest * (truth * rest),
    )


def of_neuron(far: Neuron, between: Neuron) -> list[Row]:
    """The two pushes against the formulas, where squared error pushes most, and how it compares."""
    hardest = between.squared_error.argmax()
    ratios = between.squared_error / between.cross_entropy
    nearest = ratios.argmax()
    return [
        *(
            claim(
                f"one neuron, {name}: largest relative difference of the push from the formula, "
                "logits from −30 to 30",
                predicted=0,
                measured=np.abs(measured / expected - 1).max(),
                tolerance=1e-12,
            )
            for name, measured, expected in (
                ("cross-entropy", far.cross_entropy, far.expected_cross_entropy),
                ("squared error", far.squared_error, far.expected_squared_error),
            )
        ),
        claim(
            "one neuron, squared error: of the multiples of 1/300, the σ where it pushes hardest",
            predicted=1 / 3,
            measured=MULTIPLES[hardest],
        ),
        claim(
            "one neuron, squared error: its hardest push, 8/27",
            predicted=8 / 27,
            measured=between.squared_error[hardest],
            tolerance=1e-12,
        ),
        claim(
            "one neuron: of the multiples of 1/300, the σ where squared error over cross-entropy "
            "is largest",
            predicted=1 / 2,
            measured=MULTIPLES[nearest],
        ),
        claim(
            "one neuron: squared error over cross-entropy, at most",
            predicted=2 * 0.25,
            measured=ratios[nearest],
            tolerance=1e-12,
        ),
        claim(
            "one neuron: squared error over cross-entropy at z = −10, 2σ′",
            predicted=2 * sigmoid(-10) * sigmoid(10),
            measured=far.squared_error[TEN_BEHIND] / far.cross_entropy[TEN_BEHIND],
            tolerance=1e-12,
        ),
    ]


# Many classes


class Law(NamedTuple):
    """A loss that pushes, and what theory says of its push.

    Attributes:
        loss: What pushes.
        slopes: Of ln push against ln p_true, as p_true → 0, and ln(1 − p_true), as p_true → 1.
        colour: Of the loss.
    """

    loss: Loss
    slopes: tuple[float, float]
    colour: str


def laws() -> dict[str, Law]:
    """All of them by name, from the one that pushes a confident mistake most."""
    return {
        "focal loss": Law(FOCAL_LOSS, (0.0, 3.0), colours.FOCAL_LOSS),
        "cross-entropy": Law(CROSS_ENTROPY, (0.0, 1.0), colours.CROSS_ENTROPY),
        "generalised cross-entropy of exponent 0.5": Law(
            MILD_GENERALIZED_CROSS_ENTROPY, (0.5, 1.0), colours.MILD_GENERALIZED_CROSS_ENTROPY
        ),
        "generalised cross-entropy of exponent 0.7": Law(
            GENERALIZED_CROSS_ENTROPY, (0.7, 1.0), colours.GENERALIZED_CROSS_ENTROPY
        ),
        "squared error": Law(SQUARED_ERROR, (1.0, 2.0), colours.SQUARED_ERROR),
        "absolute error": Law(ABSOLUTE_ERROR, (1.0, 1.0), colours.ABSOLUTE_ERROR),
    }


PUSHES = {
    "focal loss": jax.jit(partial(theory.gradients.focal_loss_push, gamma=2.0)),
    "cross-entropy": jax.jit(theory.gradients.cross_entropy_push),
    "generalised cross-entropy of exponent 0.5": jax.jit(
        partial(theory.gradients.generalized_cross_entropy_push, exponent=0.5)
    ),
    "generalised cross-entropy of exponent 0.7": jax.jit(
        partial(theory.gradients.generalized_cross_entropy_push, exponent=0.7)
    ),
    "squared error": jax.jit(theory.gradients.brier_score_push),
    "absolute error": jax.jit(theory.gradients.mean_absolute_error_push),
}
"""The formulas of −dL/dz of the truth, wrong mass even, of (margin, number of classes)."""
NORMS = {
    "cross-entropy": jax.jit(theory.gradients.cross_entropy_gradient_norm),
    "squared error": jax.jit(theory.gradients.brier_score_gradient_norm),
}
"""The closed forms of ‖dL/dz‖ of the two that are compared, of the same."""
norm_ratio = jax.jit(theory.gradients.gradient_norm_ratio)
largest_norm = jax.jit(theory.gradients.largest_brier_score_gradient_norm)


# a program that runs once, compiled in half the time
@partial(
    jax.jit,
    static_argnums=(0, 1, 2),
    compiler_options={"xla_cpu_use_fusion_emitters": False},
)
def profiles_of(
    loss: Loss, numbers_of_classes: tuple[int, ...], spread: Literal["even", "one"]
) -> dict[int, GradientProfile]:
    """What automatic differentiation finds at LOG_ODDS, by the number of classes."""

    def profile(num_classes: int) -> GradientProfile:
        holders = num_classes - 1 if spread == "even" else 1
        margin = jnp.asarray(-LOG_ODDS - np.log(holders))
        return gradients.gradient_profile(loss, num_classes, spread=spread, margin=margin)

    return {classes: profile(classes) for classes in numbers_of_classes}


def part(measured: GradientProfile, points: slice) -> GradientProfile:
    """Some points of a profile."""
    return jax.tree.map(lambda readings: readings[points], measured)


Profiles = Mapping[str, Mapping[int, GradientProfile]]
"""By the name of the loss and the number of classes."""


def of_norms(even: Profiles, on_one: Profiles) -> list[Row]:
    """Automatic differentiation against the closed form of the norm, at every point."""

    def largest_difference(name: str, measured: GradientProfile, classes: int) -> float:
        expected = NORMS[name](measured.margin, classes)
        return np.max(np.abs(measured.gradient_norm / expected - 1))

    rows = []
    for name in NORMS:
        rows += [
            claim(
                f"{name}: largest relative difference of the gradient norm from the closed form, "
                "2, 3, 10 and 1000 classes",
                predicted=0,
                measured=max(
                    largest_difference(name, measured, classes)
                    for classes, measured in even[name].items()
                ),
                tolerance=1e-12,
            ),
            claim(
                f"{name}: the same, wrong mass on one of 3, 10 and 1000 classes",
                predicted=0,
                measured=max(
                    largest_difference(name, measured, 2) for measured in on_one[name].values()
                ),
                tolerance=1e-12,
            ),
        ]
    return rows


def landmarks(even: Profiles, on_one: Profiles) -> list[Row]:
    """Where squared error pushes hardest, how the two compare, and cross-entropy's most."""
    cross_entropy, squared_error = (even[name] for name in NORMS)
    rows = []
    for classes in CLASSES:
        norms = squared_error[classes].gradient_norm[IN_BETWEEN]
        hardest = norms.argmax()
        rows += [
            claim(
                "squared error: of the multiples of 1/300, the p_true where it pushes hardest, "
                f"{classes} classes",
                predicted=1 / 3,
                measured=MULTIPLES[hardest],
            ),
            claim(
                f"squared error: its largest gradient norm, {classes} classes",
                predicted=largest_norm(classes),
                measured=norms[hardest],
                tolerance=1e-12,
            ),
        ]
    largest = [found.gradient_norm[IN_BETWEEN].max() for found in on_one["squared error"].values()]
    rows.append(
        claim(
            "squared error: its largest gradient norm, wrong mass on one of 3, 10 and 1000 "
            "classes, the least of them",
            predicted=largest_norm(2),
            measured=min(largest),
            tolerance=1e-12,
        )
    )
    for classes in CLASSES:
        ratios = squared_error[classes].gradient_norm / cross_entropy[classes].gradient_norm
        rows.append(
            claim(
                f"squared error over cross-entropy at p_true = 1/2, {classes} classes",
                predicted=norm_ratio(-np.log(classes - 1.0), classes),
                measured=ratios[ONE_HALF],
                tolerance=1e-12,
            )
        )
    ratios = squared_error[2].gradient_norm / cross_entropy[2].gradient_norm
    for end, words in (0, "1e-12"), (END_TO_END.stop - 1, "1 − 1e-12"):
        rows.append(
            claim(
                f"squared error over cross-entropy at p_true = {words}, 2 classes",
                predicted=norm_ratio(-LOG_ODDS[end], 2),
                measured=ratios[end],
                relative_tolerance=1e-12,
            )
        )
    for classes in CLASSES:
        rows.append(
            claim(
                f"cross-entropy: gradient norm at p_true = 1e-12, {classes} classes",
                predicted=math.sqrt(classes / (classes - 1)),
                measured=cross_entropy[classes].gradient_norm[0],
                tolerance=1e-11,
            )
        )
    return rows


def of_pushes(by_name: Mapping[str, Law], even: Profiles) -> list[Row]:
    """Every push against its formula, and how it falls towards each end."""
    rows = []
    for name in by_name:
        differences = [
            -measured.true_class_gradient / PUSHES[name](measured.margin, classes) - 1
            for classes, measured in even[name].items()
        ]
        rows.append(
            claim(
                f"{name}: largest relative difference of the push from the formula, 2, 3, 10 and "
                "1000 classes",
                predicted=0,
                measured=np.max(np.abs(differences)),
                tolerance=1e-12,
            )
        )
    ln_truth, ln_rest = (-np.log1p(np.exp(sign * FROM_END_TO_END)) for sign in (-1, 1))
    for name, law in by_name.items():
        for against, logarithm, end, slope in (
            ("p_true", ln_truth, slice(0, 2), law.slopes[0]),
            ("1 − p_true", ln_rest, slice(-2, None), law.slopes[1]),
        ):
            pushes = [
                -measured.true_class_gradient[END_TO_END][end] for measured in even[name].values()
            ]
            found = np.diff(np.log(pushes))[:, 0] / np.diff(logarithm[end])
            rows.append(
                claim(
                    f"{name}: slope of the push against {against} on log–log, towards 1e-12; of "
                    "all numbers of classes the one furthest off",
                    predicted=slope,
                    measured=found[np.abs(found - slope).argmax()],
                    tolerance=1e-9,
                )
            )
    return rows


# Wrong logits that are pushed up


@partial(jax.jit, static_argnums=0)
def field_of(loss: Loss) -> GradientField:
    """The gradients all over the triangle of three classes, the first being right."""
    return gradients.gradient_field(loss, TRUTH, resolution=RESOLUTION)


@partial(jax.jit, static_argnums=(0, 1))
def gradients_in_the_shadow(
    loss: Loss, formula: Callable[[Array, Array], Array]
) -> tuple[Array, Array]:
    """dL/dz of the third class, by a formula and by automatic differentiation."""
    measured = gradients.logit_gradient(loss, np.log(IN_THE_SHADOW), TRUTH)
    return formula(jnp.asarray(IN_THE_SHADOW), jnp.asarray(TRUTH))[2], measured[2]


@jax.jit
def criterion_at(q: Array) -> Array:
    """Whether squared error pushes the logits up, where the first class is right."""
    return jax.vmap(partial(theory.gradients.brier_score_pushes_up, label=0))(q)


def of_upward_pushes(entropy: GradientField, squared: GradientField) -> list[Row]:
    """An example, the criterion at every point, and how much of the triangle it is."""
    up, up_by_entropy = (np.asarray(field.gradients)[:, 1:] < 0 for field in (squared, entropy))
    criterion = np.asarray(criterion_at(squared.q))
    expected_by_entropy, by_entropy = gradients_in_the_shadow(
        CROSS_ENTROPY, theory.gradients.cross_entropy_logit_gradient
    )
    expected_by_squared_error, by_squared_error = gradients_in_the_shadow(
        SQUARED_ERROR, theory.gradients.brier_score_logit_gradient
    )
    return [
        claim(
            "Q = (0.1, 0.8, 0.1), cross-entropy: gradient of the third logit",
            predicted=expected_by_entropy,
            measured=by_entropy,
            tolerance=1e-12,
        ),
        claim(
            "Q = (0.1, 0.8, 0.1), squared error: gradient of the third logit",
            predicted=expected_by_squared_error,
            measured=by_squared_error,
            tolerance=1e-12,
        ),
        claim(
            f"squared error, 3 classes: of {up.size} wrong logits on a grid, those of which the "
            "gradient and the criterion say different things",
            predicted=0,
            measured=np.sum(up != criterion[:, 1:]),
        ),
        claim(
            "squared error, 3 classes: share of the triangle where it pushes a wrong logit up, "
            "1 − π/(3√3)",
            predicted=1 - math.pi / (3 * math.sqrt(3)),
            measured=up.any(axis=1).mean(),
            tolerance=0.005,
        ),
        claim(
            f"cross-entropy, 3 classes: of {up.size} wrong logits on a grid, those pushed up",
            predicted=0,
            measured=up_by_entropy.sum(),
        ),
    ]


# Pictures


def draw_neuron(far: Neuron) -> Picture:
    """σ and its slope, and beside them the two pushes."""
    figure = Figure(figsize=(7.2, 3.6))
    left, right = figure.subplots(1, 2)
    shown = np.abs(far.logits) <= 10
    z = far.logits[shown]
    truth, rest = sigmoid(z), sigmoid(-z)
    left.plot(z, truth, color=colours.INK)
    left.plot(z, truth * rest, "--", color=colours.INK)
    left.text(1.7, 0.8, "σ = 1/(1 + e⁻ᶻ),\nthe probability\nof yes", va="top")
    left.text(1.9, 0.16, "σ′ = σ (1 − σ),\nthe slope of σ")
    left.set(title="one neuron", ylim=(0, 1.06))
    for measured, expected, colour in (
        (far.cross_entropy, far.expected_cross_entropy, colours.CROSS_ENTROPY),
        (far.squared_error, far.expected_squared_error, colours.SQUARED_ERROR),
    ):
        right.plot(z, expected[shown], color=colour)
        right.plot(z[::4], measured[shown][::4], "o", color=colour, markersize=4)
    right.text(-1.2, 0.88, "cross-entropy −ln σ:\n1 − σ, without σ′", color=colours.CROSS_ENTROPY)
    right.text(1.6, 0.28, "squared error\n(1 − σ)²:\n2 (1 − σ) σ′", color=colours.SQUARED_ERROR)
    right.text(-9.6, 0.3, "dots: jax.grad\nlines: formulas", fontsize="small")
    right.set(title="how hard a loss pushes z up", ylim=(0, 1.06), ylabel="push −dL/dz")
    for ax in (left, right):
        ax.set_xlim(-10, 10)
        ax.set_xticks([-10, -5, 0, 5, 10])
        ax.set_xlabel("← sure and wrong   logit z   sure and right →")
    return Picture(
        figure,
        "One neuron, for which yes is the right answer. Both losses have the slope σ′ in their "
        "gradient, by the chain rule. Cross-entropy divides it by σ, so that a confident mistake, "
        "on the left, is pushed with all the force there is; squared error leaves it alone.",
    )


def draw_in_between(ax: Axes, profiles: Profiles) -> None:
    """All numbers of classes on linear scales."""
    for name, closed_form in NORMS.items():
        colour = laws()[name].colour
        for classes in CLASSES:
            measured = profiles[name][classes]
            curve = np.asarray(closed_form(measured.margin, classes))
            dots = part(part(measured, IN_BETWEEN), slice(9, None, 10))
            ax.plot(measured.p_true[IN_BETWEEN], curve[IN_BETWEEN], color=colour, lw=1)
            ax.plot(dots.p_true, dots.gradient_norm, "o", color=colour, markersize=3)
    small = partial(ax.text, fontsize="x-small")
    for classes in CLASSES:
        start = math.sqrt(classes / (classes - 1))
        top = float(largest_norm(classes))
        small(-0.03, start, f"C = {classes}", color=colours.CROSS_ENTROPY, ha="right", va="center")
        # There is no room for the last between its curve and the one above.
        shift, alignment = (-0.02, "top") if classes == CLASSES[-1] else (0.01, "bottom")
        small(
            *(1 / 3, top + shift, f"{classes}"),
            color=colours.SQUARED_ERROR,
            ha="center",
            va=alignment,
        )
    ax.text(0.52, 0.95, "cross-entropy", color=colours.CROSS_ENTROPY)
    ax.text(1 / 3, 0.1, "squared error", color=colours.SQUARED_ERROR, ha="center")
    ax.set_title("in between", loc="left")
    ax.set_xlabel("probability a of the truth")
    ax.set_ylabel("gradient norm ‖dL/dz‖")
    ax.set_xticks([0, 1 / 3, 1], ["0", "⅓", "1"])
    ax.set_xlim(-0.3, 1.03)
    ax.set_ylim(0, 1.5)


def draw_both_ends(ax: Axes, profiles: Profiles) -> None:
    """The fewest and the most classes on scales that show the ends."""
    for name, closed_form in NORMS.items():
        colour = laws()[name].colour
        for classes, fill in (CLASSES[0], colour), (CLASSES[-1], "white"):
            measured = profiles[name][classes]
            curve = np.asarray(closed_form(measured.margin, classes))
            dots = part(part(measured, END_TO_END), slice(None, None, 2))
            ax.plot(measured.p_true[END_TO_END], curve[END_TO_END], color=colour, lw=1)
            plots.plot_gradient_profile(
                ax, dots, color=colour, marker="o", markerfacecolor=fill, linestyle="", zorder=3
            )
    ax.text(1e-12, 1e1, "cross-entropy", color=colours.CROSS_ENTROPY)
    ax.text(1 - 1e-6, 1e-5, "∝ 1 − a", color=colours.CROSS_ENTROPY)
    ax.text(1e-6, 1e-9, "squared error ∝ a", color=colours.SQUARED_ERROR, va="top")
    ax.text(1 - 1e-6, 1e-16, "∝ (1 − a)²", color=colours.SQUARED_ERROR, ha="right")
    ax.text(
        *(0.03, 0.04),
        f"● {CLASSES[0]} classes, ○ {CLASSES[-1]} classes\ndots: jax.grad\nlines: closed forms\n"
        "losses: sums over classes\nwrong mass: even",
        transform=ax.transAxes,
        fontsize="x-small",
    )
    ax.set_title("at both ends", loc="left")
    ax.set_xlabel("probability a of the truth")
    ax.set_ylabel("")
    ax.set_xticks(
        [1e-12, 1e-6, 0.5, 1 - 1e-6, 1 - 1e-12],
        ["$10^{-12}$", "$10^{-6}$", "½", "$1-10^{-6}$", "$1-10^{-12}$"],
    )
    ax.set_ylim(top=1e3)


def draw_norms(even: Profiles) -> Picture:
    """Both losses in between and at both ends."""
    figure = Figure(figsize=(7.2, 3.9))
    in_between, both_ends = figure.subplots(1, 2, width_ratios=[1, 1.15])
    draw_in_between(in_between, even)
    draw_both_ends(both_ends, even)
    return Picture(
        figure,
        "The norm of the gradient that the logits feel. In between: squared error pushes hardest "
        "where the truth has 1/3, whatever the number of classes C. At both ends: cross-entropy "
        "pushes a confident mistake with all its force and squared error in proportion to a; near "
        "the right answer squared error fades twice as fast, in decades.",
    )


def on_log_odds(ax: Axes, exponent: int) -> None:
    """The probability of the truth on a logit axis, both ends shown to 10^−exponent."""
    ax.set_xscale("logit")
    ax.xaxis.set_minor_locator(NullLocator())
    ends = f"$10^{{-{exponent}}}$", "½", f"$1-10^{{-{exponent}}}$"
    ax.set_xticks([10.0**-exponent, 0.5, 1 - 10.0**-exponent], ends)
    ax.set_xlim(10.0**-exponent, 1 - 10.0**-exponent)
    ax.set_xlabel("probability a of the truth")


def draw_ratio(even: Profiles, on_one: Profiles) -> Picture:
    """Squared error over cross-entropy, for every number of classes and both spreads."""
    figure = Figure(figsize=(6.0, 3.6))
    ax = figure.subplots()
    look = {"color": colours.SQUARED_ERROR, "markersize": 4, "linestyle": ""}
    log_odds = np.linspace(-16, 16, 321)

    def ratios(profiles: Profiles, classes: int) -> np.ndarray:
        cross_entropy, squared_error = (profiles[name][classes] for name in NORMS)
        return np.divide(squared_error.gradient_norm, cross_entropy.gradient_norm)[END_TO_END]

    p_true = sigmoid(FROM_END_TO_END)
    for classes in CLASSES:
        expected = norm_ratio(-log_odds - np.log(classes - 1), classes)
        ax.plot(sigmoid(log_odds), expected, color=colours.SQUARED_ERROR, lw=1)
        ax.plot(p_true, ratios(even, classes), marker="o", **look)
        largest = classes / (2 * (classes - 1))
        shift, alignment = (-0.1, "top") if classes == CLASSES[-1] else (0.02, "bottom")
        words = f"C = {classes}"
        ax.text(0.5, largest + shift, words, fontsize="x-small", ha="center", va=alignment)
    for classes in on_one["squared error"]:
        ax.plot(p_true, ratios(on_one, classes), marker="o", markerfacecolor="white", **look)
    ax.text(
        *(0.02, 0.97),
        "● wrong mass even\n○ on one of 3, 10, 1000 classes:\n    as if C = 2\n"
        "dots: jax.grad\nlines: 2a (1 − a) C/(C − 1)\nlosses: sums over classes",
        transform=ax.transAxes,
        va="top",
        fontsize="small",
    )
    on_log_odds(ax, 4)
    ax.set_ylim(0, 1.12)
    ax.set_ylabel("gradient norm of squared error,\nin that of cross-entropy")
    return Picture(
        figure,
        "The factor that squared error has and cross-entropy has not: the eigenvalue of the "
        "softmax Jacobian, twice. It vanishes at both ends, for any number of classes C, and where "
        "it is largest, at a = ½, it is 1 for two classes and ½ for many.",
    )


LABELS = {
    "focal loss": ("focal loss, γ = 2", 6),
    "cross-entropy": ("cross-entropy", -6),
    "generalised cross-entropy of exponent 0.5": ("generalised cross-entropy\nof exponent ½", 0),
    "generalised cross-entropy of exponent 0.7": ("generalised cross-entropy\nof exponent 0.7", 0),
    "squared error": ("squared error", 3),
    "absolute error": ("absolute error", -3),
}
"""What stands at the left end of each line, and how many points above it."""


def draw_pushes(by_name: Mapping[str, Law], even: Profiles) -> Picture:
    """All the losses, for two classes."""
    figure = Figure(figsize=(7.2, 4.4))
    ax = figure.subplots()
    log_odds = np.sort(LOG_ODDS)
    for name, law in by_name.items():
        curve = PUSHES[name](-log_odds, 2)
        ax.plot(sigmoid(log_odds), curve, color=law.colour)
        dots = part(even[name][2], slice(0, END_TO_END.stop, 2))
        ax.plot(dots.p_true, -dots.true_class_gradient, "o", color=law.colour)

        words, points = LABELS[name]
        ax.annotate(
            words,
            (1e-6, np.interp(-np.log(1e6 - 1), log_odds, curve)),
            xytext=(-7, points),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize="small",
            color=law.colour,
        )
    label = partial(ax.text, va="center")
    label(1 - 2e-3, 5e-2, "the others:\n∝ 1 − a")
    label(1 - 8e-5, 5e-7, "∝ (1 − a)²", color=by_name["squared error"].colour)
    label(0.75, 1e-9, "∝ (1 − a)³", color=by_name["focal loss"].colour)
    ax.text(
        *(0.03, 0.04),
        "2 classes\ndots: jax.grad\nlines: formulas\n"
        "squared error: sum over classes\nabsolute error: mean over classes",
        transform=ax.transAxes,
        fontsize="small",
    )
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.spines["right"].set_visible(True)
    ax.spines["left"].set_visible(False)
    on_log_odds(ax, 6)
    ax.set_yscale("log")
    ax.set_ylim(1e-12, 1e2)
    ax.set_ylabel("push of the truth −dL/dz")
    return Picture(
        figure,
        "How hard each loss pushes the logit of the truth up. Left, sure and wrong: cross-entropy "
        "and the focal loss push with all their force, the others with a power of a, which is why "
        "they forgive wrong labels and are slow to unlearn. Right, sure and right: squared error "
        "and the focal loss lose interest before the others do.",
    )


def draw_upward(entropy: GradientField, squared: GradientField) -> Picture:
    """The lesser gradient of the two wrong logits, all over the triangle."""
    figure = Figure(figsize=(7.2, 3.5))
    left, right = (figure.add_subplot(1, 2, i, projection="ternary") for i in (1, 2))
    norm = Normalize(-0.3, 0.3)
    for ax, name, field in (
        (left, "cross-entropy", entropy),
        (right, "squared error, sum over classes", squared),
    ):
        lesser = np.asarray(field.gradients)[:, 1:].min(axis=1)
        corners = ("truth", "wrong", "wrong")
        coloured, _ = plots.plot_simplex_map(ax, field.q, lesser, norm=norm, class_names=corners)
        ax.set_title(name)
        if ax is right:
            figure.colorbar(
                coloured,
                ax=[left, right],
                label="dL/dz of a wrong logit,\nthe lesser of the two",
                extend="max",
            )
    return Picture(
        figure,
        "Every point is a prediction Q over three classes, the truth on top. Where it is purple, "
        "descent pushes both wrong logits down. Where it is orange, and only squared error is, one "
        "wrong logit is pushed up: the lesser mistake gains on the way, in the shadow of the "
        "greater one.",
    )


def run(progress: Progress) -> Finding:
    """Measure the gradients, hold them to the closed forms, and draw both."""
    by_name = laws()
    even: dict[str, dict[int, GradientProfile]] = {}
    with jax.enable_x64(True):
        progress("one neuron", 0)
        far, between = neuron(NEURON_LOGITS), neuron(IN_LOG_ODDS)
        for index, (name, law) in enumerate(by_name.items()):
            progress(name, (1 + index) / 10)
            even[name] = profiles_of(law.loss, CLASSES, "even")
        progress("wrong mass on one class", 0.7)
        on_one = {name: profiles_of(by_name[name].loss, CLASSES[1:], "one") for name in NORMS}
        even, on_one = jax.tree.map(np.asarray, (even, on_one))
        fields = field_of(CROSS_ENTROPY), field_of(SQUARED_ERROR)
        rows = of_neuron(far, between) + of_norms(even, on_one) + landmarks(even, on_one)
        rows += of_pushes(by_name, even) + of_upward_pushes(*fields)
        progress("figures", 0.9)
        pictures = {
            "gradient_profile_neuron": draw_neuron(far),
            "gradient_profile": draw_norms(even),
            "gradient_profile_ratio": draw_ratio(even, on_one),
            "gradient_profile_pushes": draw_pushes(by_name, even),
            "gradient_profile_upward": draw_upward(*fields),
        }
    entropy, squared = (even[name][2].gradient_norm[END_TO_END] for name in NORMS)
    hardest = even["squared error"][2].gradient_norm[IN_BETWEEN].argmax()
    return Finding(
        answer=(
            "With one chance in 10¹² left to the truth of two classes, cross-entropy pushes with "
            f"{entropy[0]:.3f} and squared error with {squared[0]:.1e}; with one chance in 10¹² "
            f"left to the wrong class, with {entropy[-1]:.1e} and {squared[-1]:.1e}. Squared error "
            f"pushes hardest where the truth has {MULTIPLES[hardest]:.4f}, whatever the number of "
            "classes."
        ),
        rows=rows,
        pictures=pictures,
    )
