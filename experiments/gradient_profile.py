"""How hard does each loss push, from confidently wrong to confidently right?

One example with a one-hot target. Write a for the probability that Q = softmax(z) gives the truth,
C for the number of classes, K = C − 1, and J = diag(q) − q qᵀ for the Jacobian of softmax. If the
rest of Q lies evenly on the wrong classes, the logits feel

    cross-entropy    dL/dz = q − p          ‖dL/dz‖ = (1 − a) √(C/K)
    squared error    dL/dz = 2J (q − p)     ‖dL/dz‖ = 2 a (1 − a)² (C/K)^{3/2}

where squared error is that of the probabilities, the Brier score Σᵢ (qᵢ − pᵢ)², a sum over the
classes. q − p is an eigenvector of J here, with the eigenvalue a(1 − a) C/K. Twice that is all that
tells the two losses apart, and it vanishes at *both* ends: squared error hardly corrects a
confident mistake, and near the right answer it stops pushing sooner. In between, a(1 − a)² has the
derivative (1 − a)(1 − 3a), so squared error pushes hardest at a = 1/3, with (8/27)(C/K)^{3/2}. The
number of classes enters through C/K alone.

With all the wrong mass on one class the others have no part in it: C = 2 in every formula.

Predictions:

- The gradient norm by automatic differentiation is that of the closed form, within 1e-12 of its
  size, in float64, from p_true = 1e-12 to 1 − 1e-12, for 2, 3, 10 and 1000 classes with even wrong
  mass, and for wrong mass on one of 1000 classes.
- Of the multiples of 1/3000 it is p_true = 1/3 at which squared error pushes hardest, with a norm
  of 0.838052, 0.544331, 0.347026 and 0.296741 for 2, 3, 10 and 1000 classes, within 1e-12.
- At p_true = 1/2 the norm of squared error over that of cross-entropy is C/(2K): 1, 0.75, 0.555556
  and 0.500501, within 1e-12.
- At p_true = 1e-12 cross-entropy pushes with √(C/K): 1.41421, 1.22474, 1.05409 and 1.0005.
- Towards the ends, log–log, within 1e-9: the norm has the slope 0 against p_true for cross-entropy
  and 1 for squared error, and against 1 − p_true the slopes 1 and 2.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._claims import Finding, Picture, Progress, Row, claim
from jaxent import gradients, losses, plots, theory
from jaxent.gradients import GradientProfile

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
Loss = Callable[[Array, Array], Array]

CLASSES = 2, 3, 10, 1000
# The points are ln a/(1 − a), which keeps the digits of 1 − a: half decades from end to end, then
# the probabilities in between, evenly.
FROM_END_TO_END = np.log(1e12) * np.linspace(-1, 1, 49)
MULTIPLES = np.arange(1, 3000) / 3000
LOG_ODDS = np.append(FROM_END_TO_END, np.log(MULTIPLES) - np.log1p(-MULTIPLES))
END_TO_END, IN_BETWEEN = slice(0, 49), slice(49, None)
ONE_HALF = 24
BLUE, VERMILION = "#0072B2", "#D55E00"
CAPTION = (
    "The norm of the gradient that the logits feel. In between: squared error pushes hardest where "
    "the truth has 1/3, whatever the number of classes C. At both ends: cross-entropy pushes a "
    "confident mistake with all its force and squared error in proportion to a; near the right "
    "answer squared error fades twice as fast, in decades."
)


class Law(NamedTuple):
    """A loss, the closed form of its gradient norm (margin, number of classes), and a colour."""

    loss: Loss
    closed_form: Callable[[ArrayLike, int], Array]
    colour: str


def laws() -> dict[str, Law]:
    """The two losses by name."""
    return {
        "cross-entropy": Law(CROSS_ENTROPY, jax.jit(theory.cross_entropy_gradient_norm), BLUE),
        "squared error": Law(SQUARED_ERROR, jax.jit(theory.brier_score_gradient_norm), VERMILION),
    }


def profile(
    loss: Loss, num_classes: int, wrong_mass: Literal["even", "one"] = "even"
) -> GradientProfile:
    """What automatic differentiation finds at LOG_ODDS."""
    holders = num_classes - 1 if wrong_mass == "even" else 1
    measure = partial(gradients.gradient_profile, loss, num_classes, wrong_mass=wrong_mass)
    measured = jax.jit(lambda margin: measure(margin=margin))(-LOG_ODDS - np.log(holders))
    return jax.tree.map(np.asarray, measured)


def part(measured: GradientProfile, points: slice) -> GradientProfile:
    """Some points of a profile."""
    return jax.tree.map(lambda readings: readings[points], measured)


def agreement(
    name: str, law: Law, even: Mapping[int, GradientProfile], on_one: GradientProfile
) -> list[Row]:
    """Automatic differentiation against the closed form, at every point."""

    def largest_difference(measured: GradientProfile, num_classes: int) -> float:
        expected = law.closed_form(measured.margin, num_classes)
        return np.max(np.abs(measured.gradient_norm / expected - 1))

    return [
        claim(
            f"{name}: largest relative difference of the gradient norm from the closed form, "
            "2, 3, 10 and 1000 classes",
            predicted=0,
            measured=np.max([largest_difference(even[classes], classes) for classes in CLASSES]),
            tolerance=1e-12,
        ),
        claim(
            f"{name}: the same, wrong mass on one of 1000 classes",
            predicted=0,
            measured=largest_difference(on_one, 2),
            tolerance=1e-12,
        ),
    ]


def landmarks(
    cross_entropy: Mapping[int, GradientProfile], squared_error: Mapping[int, GradientProfile]
) -> list[Row]:
    """Where squared error pushes hardest, how the two compare at 1/2, and cross-entropy's most."""
    rows = []
    for classes in CLASSES:
        norms = squared_error[classes].gradient_norm[IN_BETWEEN]
        hardest = norms.argmax()
        rows += [
            claim(
                f"squared error: of the multiples of 1/3000, the p_true where it pushes hardest, "
                f"{classes} classes",
                predicted=1 / 3,
                measured=MULTIPLES[hardest],
            ),
            claim(
                f"squared error: its largest gradient norm, {classes} classes",
                predicted=theory.largest_brier_score_gradient_norm(classes),
                measured=norms[hardest],
                tolerance=1e-12,
            ),
        ]
    for classes in CLASSES:
        ratios = squared_error[classes].gradient_norm / cross_entropy[classes].gradient_norm
        rows.append(
            claim(
                f"squared error over cross-entropy at p_true = 1/2, {classes} classes",
                predicted=theory.gradient_norm_ratio(-np.log(classes - 1.0), classes),
                measured=ratios[ONE_HALF],
                tolerance=1e-12,
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


def slopes(
    name: str, predicted: tuple[float, float], measured: Mapping[int, GradientProfile]
) -> list[Row]:
    """How the norm falls towards each end; of all numbers of classes the one furthest off."""
    ln_truth, ln_rest = (-np.log1p(np.exp(sign * FROM_END_TO_END)) for sign in (-1, 1))
    rows = []
    for against, logarithm, end, slope in (
        ("p_true", ln_truth, slice(0, 2), predicted[0]),
        ("1 − p_true", ln_rest, slice(-2, None), predicted[1]),
    ):
        norms = np.log([curve.gradient_norm[END_TO_END][end] for curve in measured.values()])
        found = np.diff(norms)[:, 0] / np.diff(logarithm[end])
        rows.append(
            claim(
                f"{name}: slope of the norm against {against} on log–log, towards 1e-12",
                predicted=slope,
                measured=found[np.abs(found - slope).argmax()],
                tolerance=1e-9,
            )
        )
    return rows


def draw_in_between(ax: Axes, profiles: Mapping[str, Mapping[int, GradientProfile]]) -> None:
    """All numbers of classes on linear scales."""
    for name, law in laws().items():
        for classes in CLASSES:
            curve = part(profiles[name][classes], IN_BETWEEN)
            dots = part(curve, slice(99, None, 100))
            ax.plot(curve.p_true, law.closed_form(curve.margin, classes), color=law.colour, lw=1)
            ax.plot(dots.p_true, dots.gradient_norm, "o", color=law.colour, markersize=3)
    small = partial(ax.text, fontsize="x-small")
    for classes in CLASSES:
        start = math.sqrt(classes / (classes - 1))
        top = float(theory.largest_brier_score_gradient_norm(classes))
        small(-0.03, start, f"C = {classes}", color=BLUE, ha="right", va="center")
        # There is no room for the last between its curve and the one above.
        shift, alignment = (-0.02, "top") if classes == CLASSES[-1] else (0.01, "bottom")
        small(1 / 3, top + shift, f"{classes}", color=VERMILION, ha="center", va=alignment)
    ax.text(0.52, 0.95, "cross-entropy", color=BLUE)
    ax.text(1 / 3, 0.1, "squared error", color=VERMILION, ha="center")
    ax.set_title("in between", loc="left")
    ax.set_xlabel("probability a of the truth")
    ax.set_ylabel("gradient norm ‖dL/dz‖")
    ax.set_xticks([0, 1 / 3, 1], ["0", "⅓", "1"])
    ax.set_xlim(-0.3, 1.03)
    ax.set_ylim(0, 1.5)


def draw_both_ends(ax: Axes, profiles: Mapping[str, Mapping[int, GradientProfile]]) -> None:
    """The fewest and the most classes on scales that show the ends."""
    for name, law in laws().items():
        for classes, fill in (CLASSES[0], law.colour), (CLASSES[-1], "white"):
            curve = part(profiles[name][classes], END_TO_END)
            dots = part(curve, slice(None, None, 2))
            ax.plot(curve.p_true, law.closed_form(curve.margin, classes), color=law.colour, lw=1)
            plots.plot_gradient_profile(
                ax, dots, color=law.colour, marker="o", markerfacecolor=fill, linestyle="", zorder=3
            )
    ax.text(1e-12, 1e1, "cross-entropy", color=BLUE)
    ax.text(1 - 1e-6, 1e-5, "∝ 1 − a", color=BLUE)
    ax.text(1e-6, 1e-9, "squared error ∝ a", color=VERMILION, va="top")
    ax.text(1 - 1e-6, 1e-16, "∝ (1 − a)²", color=VERMILION, ha="right")
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


def run(progress: Progress) -> Finding:
    """Measure the gradients, hold them to the closed forms, and draw both."""
    profiles: dict[str, dict[int, GradientProfile]] = {}
    rows = []
    with jax.enable_x64(True):
        for name, law in laws().items():
            progress(name)
            profiles[name] = {classes: profile(law.loss, classes) for classes in CLASSES}
            on_one = profile(law.loss, CLASSES[-1], "one")
            rows += agreement(name, law, profiles[name], on_one)
        progress("figure")
        cross_entropy, squared_error = profiles.values()
        rows += landmarks(cross_entropy, squared_error)
        rows += slopes("cross-entropy", (0.0, 1.0), cross_entropy)
        rows += slopes("squared error", (1.0, 2.0), squared_error)
        figure = Figure(figsize=(7.2, 3.9))
        in_between, both_ends = figure.subplots(1, 2, width_ratios=[1, 1.15])
        draw_in_between(in_between, profiles)
        draw_both_ends(both_ends, profiles)
    entropy, squared = (by_classes[2].gradient_norm[END_TO_END] for by_classes in profiles.values())
    hardest = profiles["squared error"][2].gradient_norm[IN_BETWEEN].argmax()
    return Finding(
        answer=(
            "With one chance in 10¹² left to the truth of two classes, cross-entropy pushes with "
            f"{entropy[0]:.3f} and squared error with {squared[0]:.1e}; with one chance in 10¹² "
            f"left to the wrong class, with {entropy[-1]:.1e} and {squared[-1]:.1e}. Squared error "
            f"pushes hardest where the truth has {MULTIPLES[hardest]:.4f}, whatever the number of "
            "classes."
        ),
        rows=rows,
        pictures={"gradient_profile": Picture(figure, CAPTION)},
    )
