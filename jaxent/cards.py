"""The facts of a loss: is it proper, how does it curve, where does it push, how fast does it unlearn?"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent.gradients import Loss


class Properness(NamedTuple):
    """Whether the expected loss Σ_y p_y loss(z, e_y) is least where Q is P.

    Attributes:
        proper: no logits have a smaller expected loss than those of P itself.
        strict: and no others have the same.
        link: how logits stand for a distribution: "softmax", or "identity" (Q = z) for a loss
            that a shift common to all the logits changes.
        worst_excess: the expected loss at Q = P less the least one, at the worst P that was tried.
        target: that P, [C].
        minimizer: the logits with the least expected loss for that P, [C].
        minimizer_q: the same through the link, [C].
    """

    proper: bool
    strict: bool
    link: Literal["softmax", "identity"]
    worst_excess: float
    target: Float[np.ndarray, " classes"]
    minimizer: Float[np.ndarray, " classes"]
    minimizer_q: Float[np.ndarray, " classes"]


class Curvature(NamedTuple):
    """How a loss of a certain truth curves, P = (1, 0, …, 0).

    Attributes:
        least_eigenvalue: of the Hessian on the directions that sum to zero, the least over the
            simplex.
        least_at: the logits where that is, [C].
        not_convex_share: the share of the simplex in which that eigenvalue is negative.
        smoothness: L, the largest absolute eigenvalue of the Hessian over logit gaps up to 30;
            ∞ where the gradient jumps.
        smoothness_at: the logits where that is, [C].
        largest_step: 2/L, up to which descent with a fixed step cannot run away; 0 for L = ∞.
    """

    least_eigenvalue: float
    least_at: Float[np.ndarray, " classes"]
    not_convex_share: float
    smoothness: float
    smoothness_at: Float[np.ndarray, " classes"]
    largest_step: float


class Push(NamedTuple):
    """How hard a loss of a certain truth pushes, ‖dL/dz‖₂ with P = (1, 0, …, 0).

    Attributes:
        largest_norm: on the way from a confident mistake to the truth, the wrong mass even.
        largest_at: p_true where that is.
        uniform_norm: at Q = (1/C, …, 1/C).
        uniform_power: the k of ‖dL/dz‖ ~ Cᵏ there, for many classes; NaN for a loss that cannot
            be called with as many.
        mistake_norm: where the truth is `mistake_margin` logits behind all others.
        mistake_margin: in logits.
        vanishes: where it fades to nothing, by name: "right corner", "wrong corners", "far edge",
            "near edges", "interior".
        vanishes_at: logits next to each of those, [C].
    """

    largest_norm: float
    largest_at: float
    uniform_norm: float
    uniform_power: float
    mistake_norm: float
    mistake_margin: float
    vanishes: tuple[str, ...]
    vanishes_at: tuple[Float[np.ndarray, " classes"], ...]


Law = Literal["constant", "logarithmic", "linear", "power", "exponential", "never"]


class EscapeLaw(NamedTuple):
    """How long gradient flow takes to unlearn a confident mistake, from m behind to the tie.

    Attributes:
        law: of the time T against the margin m: "constant" T = a, "logarithmic" a + b ln(1 + m),
            "linear" a + b m, "power" a + b mᵏ, "exponential" a + b eᵏᵐ, or "never".
        coefficients: (a, b, k), NaN for what the law does not have.
        left_out_error: the largest relative error of the law at margins that it was not fitted to.
        margins: m, in logits, ascending to 12.
        times: T of each, in units of learning rate × steps; ∞ where the truth never catches up.
    """

    law: Law
    coefficients: tuple[float, float, float]
    left_out_error: float
    margins: Float[np.ndarray, " margins"]
    times: Float[np.ndarray, " margins"]

    @property
    def exponent(self) -> float:
        """k, the exponent of an exponential law or the power of a power; NaN for the others."""
        return self.coefficients[2]

    def predict(self, margin: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The time that the law gives a margin; ∞ for "never"."""
        raise NotImplementedError


class Noise(NamedTuple):
    """What a wrong label can do.

    Attributes:
        bounded: no logits, however far apart, make the loss exceed a bound.
        least: the least value of the loss of a one-hot P.
        most: the largest, ∞ if it is not bounded.
        symmetric: Σ_y loss(z, e_y) is the same for all z.
        least_sum: the least Σ_y loss(z, e_y) met.
        most_sum: the largest met.
    """

    bounded: bool
    least: float
    most: float
    symmetric: bool
    least_sum: float
    most_sum: float


class Invariance(NamedTuple):
    """What a loss does not notice, and what it does not stand.

    Attributes:
        shift: the same number added to all the logits changes nothing.
        shift_change: the largest relative change of the value that was met.
        permutation: nor does renumbering the classes, in logits and targets alike.
        permutation_change: as above.
        finite_at_corners: value and gradient are finite 1,000 logits from a tie, right and wrong.
        not_finite_at: logits where they are not, [C], or None.
        soft_targets: "accepted"; "ignored" where only the largest entry of P counts; "refused"
            where the loss raises or is not finite.
    """

    shift: bool
    shift_change: float
    permutation: bool
    permutation_change: float
    finite_at_corners: bool
    not_finite_at: Float[np.ndarray, " classes"] | None
    soft_targets: Literal["accepted", "ignored", "refused"]


class Derivatives(NamedTuple):
    """Whether the gradient is the derivative of the value: the worst of some random points.

    Attributes:
        right: every difference is within what its witness can resolve.
        finite_difference: the largest difference of reverse mode from central differences of the
            values, relative to the largest entry of the gradient there.
        forward_mode: likewise from forward mode; NaN where a custom_vjp leaves none.
        logits: where reverse mode and the central differences differ most, [C].
        targets: the P there, [C].
    """

    right: bool
    finite_difference: float
    forward_mode: float
    logits: Float[np.ndarray, " classes"]
    targets: Float[np.ndarray, " classes"]


class LossCard(NamedTuple):
    """The facts of a loss, each with the point at which it was found."""

    name: str
    num_classes: int
    properness: Properness
    curvature: Curvature
    push: Push
    escape: EscapeLaw
    noise: Noise
    invariance: Invariance
    derivatives: Derivatives


def card(
    loss: Loss,
    num_classes: int = 3,
    *,
    name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> LossCard:
    """Measure the facts of a loss."""
    raise NotImplementedError


def comparison_table(cards: Iterable[LossCard], *, markdown: bool = False) -> str:
    """Several cards side by side, one column a loss, as aligned text or a Markdown table."""
    raise NotImplementedError
