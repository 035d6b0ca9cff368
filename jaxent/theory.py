"""The closed forms that measurements are held to.

How hard a loss pushes, how long it takes to unlearn a confident mistake, how it is curved, how its
flow moves the probabilities. Everything here is about one example with a one-hot target on the
class y, unless a P is named. Write a = q_y for the probability of the truth, C for the number of
classes, K = C − 1 for the wrong ones, and say that the truth stands a *margin* m behind every
wrong logit:

    z_j − z_y = m  for every j ≠ y,        a = 1/(1 + K eᵐ),        1 − a = K/(K + e⁻ᵐ).

m > 0 is a confident mistake, m = 0 a tie (a = 1/C), m < 0 a right answer. The margin is the
argument of these functions, because p_true is not enough of a number: in float32 everything
right from 1 − a = 3e-8 on is a = 1, while m still tells 1 − a = 1e-30 from 1e-31.

Wrong mass on *one* wrong class is the case ``num_classes=2`` of every formula: the other classes,
at probability 0, have no part in it. (Mean absolute error alone counts them, in its mean.)

The scales are those of `jaxent.losses`, without hidden ½. Cross-entropy in nats,
−ln q_y; Brier score Σᵢ (qᵢ − pᵢ)², a *sum* over the classes; absolute error (1/C) Σᵢ |qᵢ − pᵢ|, a
*mean*; squared error on raw logits Σᵢ (zᵢ − pᵢ)². The mean squared error on the softmax is the
Brier score over C: its gradient norms are those of the Brier score divided by C, its escape times
are multiplied by C, and a step η on it is a step η/C on the Brier score.

Results have the dtype of the first argument. In float32 what is below 1.2e-38 becomes 0, and eᵐ
overflows from m = 88.7 on.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy import special
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer


def _as_floats(first: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """All of them as arrays in the dtype of the first, or the default one if that is no float."""
    first = jnp.asarray(first)
    dtype = jnp.result_type(first, float)
    return tuple(jnp.asarray(x, dtype) for x in (first, *others))


def _truth_and_rest(margin: Array, classes: Array) -> tuple[Array, Array]:
    """a and 1 − a, both with all their digits: the softmax of (0, m) where m stands K times."""
    # The shift cancels in both quotients, so its derivative is left out.
    shift = lax.stop_gradient(jnp.maximum(margin, 0))
    truth = jnp.exp(-shift)
    rest = (classes - 1) * jnp.exp(margin - shift)
    return truth / (truth + rest), rest / (truth + rest)


def _surprisal(margin: Array, classes: Array) -> Array:
    """−ln a = ln(1 + K eᵐ), with all its digits at both ends."""
    shift = lax.stop_gradient(jnp.maximum(margin, 0))
    return shift + jnp.log1p((classes - 1) * jnp.exp(margin - shift) + jnp.expm1(-shift))


def _log_growth(margin: Array, classes: Array) -> tuple[Array, Array]:
    """ln of the factors by which a and 1 − a change from the margin m to the tie.

    1 − a = K/(K + e⁻ᵐ) comes to K/C, and a is e⁻ᵐ(1 − a)/K.
    """
    rest = jnp.log1p(jnp.expm1(-margin) / classes)
    return margin + rest, rest


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """128 nodes in (0, 1) and their weights.

    Enough for integrands that grow like e^{600 x}, as for those that settle within a hundredth
    of the interval.
    """
    nodes, weights = np.polynomial.legendre.leggauss(128)
    return (nodes + 1) / 2, weights / 2


def _integral(function: Callable[[Array], Array], end: Array) -> Array:
    """∫₀^end of a smooth function, by Gauss and Legendre."""
    nodes, weights = (jnp.asarray(x, end.dtype) for x in _gauss_legendre())
    values = jax.vmap(lambda node: function(node * end))(nodes)
    return end * jnp.tensordot(weights, values, axes=1, precision="highest")


def _steps_of_a_linear_decay(distance: Array, log_distance: Array, rate: Array) -> Array:
    """In how many steps distance · (1 − rate)ⁿ comes to 1, the crossing interpolated linearly."""
    shrink = jnp.minimum(rate, 1)
    behind = lax.stop_gradient(jnp.floor(log_distance / -jnp.log1p(-shrink)))
    distance = distance * (1 - shrink) ** behind
    return behind + (distance - 1) / (rate * distance)


# Gradient norms


def true_class_probability(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The probability a = 1/(1 + K eᵐ) of a truth that stands m behind every wrong logit.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; not checked.

    Returns:
        a, with all its digits at both ends.

    Example:
        At a tie every class has 1/C; three logits behind one class, the truth has 4.7 %.

        >>> from jaxent import theory
        >>> print(theory.true_class_probability(0.0, num_classes=4))
        0.25
        >>> print(f"{theory.true_class_probability(3.0, num_classes=2):.4f}")
        0.0474
    """
    truth, _ = _truth_and_rest(*_as_floats(margin, num_classes))
    return truth


def cross_entropy_gradient_norm(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖dL/dz‖₂ of cross-entropy, wrong mass spread evenly: (1 − a) √(C/K).

    The gradient is q − p: 1 − a on the truth and (1 − a)/K on each of the K wrong classes, so
    its squared norm is (1 − a)² (1 + 1/K). It is largest at the worst mistake, and never larger
    than √(C/K).

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The norm, with all its digits at both ends.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.cross_entropy_gradient_norm(20.0, num_classes=2):.4f}")
        1.4142
    """
    margin, classes = _as_floats(margin, num_classes)
    _, rest = _truth_and_rest(margin, classes)
    return rest * jnp.sqrt(classes / (classes - 1))


def brier_score_gradient_norm(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖dL/dz‖₂ of the Brier score, wrong mass spread evenly: 2 a (1 − a)² (C/K)^{3/2}.

    The gradient is 2J(q − p). With even wrong mass q − p = (1 − a) u, u = −1 on the truth and
    1/K elsewhere, and u is an eigenvector of J with eigenvalue a(1 − a) C/K: one factor a that
    kills the gradient of a confident mistake, one more factor 1 − a near the answer.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The norm, with all its digits at both ends. Divide by C for the mean squared error.

    Example:
        The more certain the mistake, the weaker the push:

        >>> from jaxent import theory
        >>> for margin in (0.0, 5.0, 20.0):
        ...     print(f"{theory.brier_score_gradient_norm(margin, num_classes=2):.2e}")
        7.07e-01
        3.74e-02
        1.17e-08
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
    return 2 * truth * rest**2 * (classes / (classes - 1)) ** 1.5


def gradient_norm_ratio(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖∇ Brier‖/‖∇ cross-entropy‖, wrong mass spread evenly: 2 a (1 − a) C/K.

    It vanishes at *both* ends: the Brier score is the slower of the two when it is badly wrong,
    and again when it is nearly right. The most it reaches, at a = ½, is C/(2K): 1 for two
    classes, hardly more than ½ for many.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The ratio, between 0 and 1. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> for margin in (-9.0, 0.0, 9.0):
        ...     print(f"{theory.gradient_norm_ratio(margin, num_classes=2):.5f}")
        0.00049
        1.00000
        0.00049
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
    return 2 * truth * rest * (classes / (classes - 1))


def largest_brier_score_gradient_norm(num_classes: ArrayLike) -> Float[Array, "..."]:
    """The largest ‖dL/dz‖₂ of the Brier score, wrong mass even: (8/27)(C/K)^{3/2}, at a = 1/3.

    a(1 − a)² has the derivative (1 − a)(1 − 3a): whatever the number of classes, the Brier score
    pushes hardest at p_true = 1/3, with 2 · 4/27 · (C/K)^{3/2}.

    Args:
        num_classes: C ≥ 2; 2 for wrong mass on one class. Not checked.

    Returns:
        The maximum over all margins. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.largest_brier_score_gradient_norm(num_classes=2):.4f}")
        0.8381
    """
    (classes,) = _as_floats(num_classes)
    return 8 / 27 * (classes / (classes - 1)) ** 1.5


# How hard the true logit is pushed


def cross_entropy_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of cross-entropy: 1 − a.

    The push on the true logit. The gradients of all losses of a softmax sum to zero over the
    classes, so with even wrong mass each wrong logit is pushed down with 1/K of it, and the gap
    z_y − z_j moves with C/K of it.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.

    Returns:
        The push, with all its digits at both ends.

    Example:
        All there is to push for a confident mistake, as much as is missing for a right answer:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.cross_entropy_push(margin, num_classes=2):.3g}")
        1
        0.5
        2.06e-09
    """
    _, rest = _truth_and_rest(*_as_floats(margin, num_classes))
    return rest


def brier_score_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of the Brier score, wrong mass spread evenly: 2 a (1 − a)² C/K.

    In general 2a[(1 − a)² + β], β = Σ_{j≠y} q_j², and β = (1 − a)²/K is the least that β can be.
    Its other extreme, wrong mass on one class, β = (1 − a)², is C = 2 here.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The push, with all its digits at both ends. Divide by C for the mean squared error.

    Example:
        A push that is nowhere near what cross-entropy does at m = 20, and half of it at a tie:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.brier_score_push(margin, num_classes=3):.3g}")
        3.09e-09
        0.444
        5.1e-17
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
    return 2 * truth * rest**2 * (classes / (classes - 1))


def mean_absolute_error_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of the mean absolute error on the softmax: 2 a (1 − a)/C.

    With a one-hot target (1/C) Σᵢ |qᵢ − pᵢ| is 2(1 − a)/C, and da/dz_y = a(1 − a).

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. Beyond the factor 1/C the
            push depends only on a, however the wrong mass is spread.

    Returns:
        The push, with all its digits at both ends. Multiply by C for the sum over the classes,
        by C/2 for 1 − a.

    Example:
        It is the same for a mistake and for a right answer of the same confidence:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.mean_absolute_error_push(margin, num_classes=2):.3g}")
        2.06e-09
        0.25
        2.06e-09
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
    return truth * rest * (2 / classes)


def generalized_cross_entropy_push(
    margin: ArrayLike, num_classes: ArrayLike, exponent: ArrayLike
) -> Float[Array, "..."]:
    """−∂L/∂z_y of generalised cross-entropy (1 − a^γ)/γ: a^γ (1 − a).

    The exponent is the number of factors a that are left: none is cross-entropy, one is 1 − a,
    the absolute error without its factor 2/C. A confident mistake is pushed with e^{−γm}.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.
        exponent: γ ≥ 0, broadcast with the margin; not checked.

    Returns:
        The push, with all its digits at both ends, also where a itself is too small a number.

    Example:
        Ten logits behind, a thousand examples of exponent ½ weigh about seven of cross-entropy:

        >>> from jaxent import theory
        >>> print(f"{theory.generalized_cross_entropy_push(10.0, 2, exponent=0.5):.5f}")
        0.00674

    References:
        Z. Zhang, M. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
        with Noisy Labels, NeurIPS 2018.
    """
    margin, classes, exponent = _as_floats(margin, num_classes, exponent)
    _, rest = _truth_and_rest(margin, classes)
    return jnp.exp(-exponent * _surprisal(margin, classes)) * rest


def focal_loss_push(
    margin: ArrayLike, num_classes: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """−∂L/∂z_y of the focal loss −(1 − a)^γ ln a: (1 − a)^γ [(1 − a) − γ a ln a].

    It loses interest in what is right, (1 + γ)(1 − a)^{γ+1} as a → 1, but not in mistakes: as
    a → 0 the push comes to 1, that of cross-entropy, and from above.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.
        gamma: γ ≥ 0, broadcast with the margin; not checked. 0 is cross-entropy.

    Returns:
        The push, with all its digits at both ends.

    Example:
        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.focal_loss_push(margin, num_classes=2, gamma=2.0):.3g}")
        1
        0.298
        2.63e-26

    References:
        T.-Y. Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    margin, classes, gamma = _as_floats(margin, num_classes, gamma)
    truth, rest = _truth_and_rest(margin, classes)
    # 0 to a power below one has no derivative, but what it multiplies is 0 there.
    power = jnp.where(rest == 0, 0, jnp.where(rest == 0, 1, rest) ** gamma)
    return power * (rest + gamma * truth * _surprisal(margin, classes))


# Escape from a confident mistake


def cross_entropy_escape_time(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on cross-entropy makes up a margin m: linear in m.

        T = [1 − e⁻ᵐ + K m] / C

    Under z′ = −dL/dz the gap g = z_y − z_j grows at g′ = (1 − a) C/K, and 1/(1 − a) =
    (K + e^g)/K; integrate dg/g′ from −m to 0.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps.

    Example:
        Two more logits of confidence cost two more units of time, times K/C:

        >>> from jaxent import theory
        >>> later = theory.cross_entropy_escape_time(12.0, num_classes=2)
        >>> print(f"{later - theory.cross_entropy_escape_time(10.0, num_classes=2):.3f}")
        1.000
    """
    margin, classes = _as_floats(margin, num_classes)
    return ((classes - 1) * margin - jnp.expm1(-margin)) / classes


def brier_score_escape_time(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on the Brier score makes up a margin m: exponential in m.

        T = [½(1 − e⁻²ᵐ) + 3K(1 − e⁻ᵐ) + 3K² m + K³(eᵐ − 1)] / (2C²)

    The gap g = z_y − z_j grows at g′ = 2a(1 − a)² (C/K)², and K²/(a(1 − a)²) = (K + e^g)³ e^{−g};
    integrate dg/g′ from −m to 0.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps. Multiply by C for the
        mean squared error.

    Example:
        Two more logits of confidence multiply the time by nearly e²:

        >>> from jaxent import theory
        >>> later = theory.brier_score_escape_time(12.0, num_classes=2)
        >>> print(f"{later / theory.brier_score_escape_time(10.0, num_classes=2):.2f}")
        7.38
    """
    margin, classes = _as_floats(margin, num_classes)
    wrong = classes - 1
    # K² taken out: K³ eᵐ would overflow long before T does.
    return (
        (wrong / classes) ** 2
        / 2
        * (
            -jnp.expm1(-2 * margin) / (2 * wrong**2)
            - 3 * jnp.expm1(-margin) / wrong
            + 3 * margin
            + wrong * jnp.expm1(margin)
        )
    )


def mean_absolute_error_escape_time(
    margin: ArrayLike, num_classes: ArrayLike
) -> Float[Array, "..."]:
    """The time in which gradient flow on mean absolute error makes up a margin m: exponential.

        T = ½(1 − e⁻ᵐ) + K m + ½ K² (eᵐ − 1)

    The gap grows at g′ = 2a(1 − a)/K, and K/(a(1 − a)) = (1 + K eˢ)(K + e⁻ˢ) at the margin
    s = −g; integrate ds/g′ from 0 to m.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps, for the mean over the
        classes, (1/C) Σᵢ |qᵢ − pᵢ|. Divide by C for the sum, by C/2 for 1 − a.

    Example:
        Robust against wrong labels, and slow to learn a right one that looks like them:

        >>> from jaxent import theory
        >>> print(f"{theory.mean_absolute_error_escape_time(10.0, num_classes=2):.0f}")
        11023
    """
    margin, classes = _as_floats(margin, num_classes)
    wrong = classes - 1
    return wrong * (margin + wrong / 2 * jnp.expm1(margin)) - jnp.expm1(-margin) / 2


def escape_time(
    push: Callable[[Array, Array], Array], margin: ArrayLike, num_classes: ArrayLike
) -> Float[Array, "..."]:
    """The time in which gradient flow under any push on the true logit makes up a margin m.

        T = (K/C) ∫₀ᵐ ds / push(s, C)

    With even wrong mass, and a gradient that sums to zero over the classes, each wrong logit is
    pushed down with 1/K of what pushes the true one up, and the gap grows at g′ = push · C/K.

    Args:
        push: −∂L/∂z_y of a margin and a number of classes, elementwise in the margin; positive
            and smooth. Those of this module are; bind what else they ask for with
            `functools.partial`.
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps. By 128 nodes of Gauss and
        Legendre: in float64 right to 1e-12 for the losses here and margins to 30, 1e-10 to 100.

    Example:
        A loss that pushes with √a(1 − a) takes √eᵐ:

        >>> from functools import partial
        >>> from jaxent import theory
        >>> push = partial(theory.generalized_cross_entropy_push, exponent=0.5)
        >>> later = theory.escape_time(push, 12.0, num_classes=2)
        >>> print(f"{later / theory.escape_time(push, 10.0, num_classes=2):.2f}")
        2.71
    """
    margin, classes = _as_floats(margin, num_classes)
    slowness = _integral(lambda s: 1 / push(s, classes), margin)
    return (classes - 1) / classes * slowness


def generalized_cross_entropy_escape_time(
    margin: ArrayLike, num_classes: ArrayLike, exponent: ArrayLike
) -> Float[Array, "..."]:
    """The time in which gradient flow on generalised cross-entropy makes up a margin m: ∼ e^{γm}/γ.

        T = (1/C) ∫₀ᵐ (1 + K eˢ)^γ (K + e⁻ˢ) ds → (K^{γ+1}/C) e^{γm}/γ

    The push is a^γ(1 − a) and the gap grows at C/K of it, as in `escape_time`. Between the linear
    law of cross-entropy, γ = 0, and the exponential one of absolute error, γ = 1, there is no
    other kind: for every γ > 0 the time is exponential in the margin.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        exponent: γ ≥ 0, broadcast with the margin; not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps, by quadrature as in
        `escape_time`.

    Example:
        The exponent of the loss is the exponent of the law:

        >>> import math
        >>> from jaxent import theory
        >>> later = theory.generalized_cross_entropy_escape_time(20.0, 2, exponent=0.7)
        >>> growth = later / theory.generalized_cross_entropy_escape_time(18.0, 2, exponent=0.7)
        >>> print(f"{math.log(growth) / 2:.3f}")
        0.700
    """
    margin, classes, exponent = _as_floats(margin, num_classes, exponent)

    def slowness(s: Array) -> Array:
        # Not 1/push, which would overflow before T does.
        return jnp.exp(exponent * _surprisal(s, classes)) * (classes - 1 + jnp.exp(-s))

    return _integral(slowness, margin) / classes


def focal_loss_escape_time(
    margin: ArrayLike, num_classes: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """The time in which gradient flow on the focal loss makes up a margin m: linear in m.

        T = (K/C) ∫₀ᵐ ds / {(1 − a)^γ [(1 − a) − γ a ln a]}

    The factor (1 − a)^γ is 1 at a mistake: the focal loss saturates at what it gets right.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        gamma: γ ≥ 0, broadcast with the margin; not checked. 0 is cross-entropy.

    Returns:
        T, from the start to the tie, in units of learning rate × steps, by quadrature as in
        `escape_time`.

    Example:
        Two more logits cost what they cost under cross-entropy:

        >>> from jaxent import theory
        >>> later = theory.focal_loss_escape_time(12.0, num_classes=2, gamma=2.0)
        >>> print(f"{later - theory.focal_loss_escape_time(10.0, num_classes=2, gamma=2.0):.3f}")
        1.000
    """
    margin, classes, gamma = _as_floats(margin, num_classes, gamma)
    return escape_time(partial(focal_loss_push, gamma=gamma), margin, classes)


def natural_gradient_escape_time(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time in which the natural gradient of cross-entropy makes up a margin m: bounded.

        T = ln[C/(K + e⁻ᵐ)] < ln(C/K)

    The Fisher information in logits is J(q), and z′ = −J⁺(q − p) moves the probabilities by
    q′ = J z′ = p − q: straight to P at a speed that knows no saturation. So 1 − a shrinks like
    e⁻ᵗ, from K/(K + e⁻ᵐ) to K/C. However confident the mistake, less than ln 2 undoes it.

    Plain descent on the Brier score in the probabilities is q′ = −2(q − p), the same line in half
    the time. The *natural* gradient of the Brier score in logits is another thing,
    z′ = −J⁺ 2J(q − p) = −2(q − p): plain descent on cross-entropy, in half of
    `cross_entropy_escape_time`.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps.

    Example:
        >>> from jaxent import theory
        >>> for margin in (1.0, 10.0, 100.0):
        ...     print(f"{theory.natural_gradient_escape_time(margin, num_classes=2):.4f}")
        0.3799
        0.6931
        0.6931

    References:
        S. Amari, Natural Gradient Works Efficiently in Learning, 1998.
    """
    _, rest = _log_growth(*_as_floats(margin, num_classes))
    return -rest


def logit_squared_error_escape_time(margin: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on Σᵢ (zᵢ − pᵢ)² makes up a margin m: ½ ln(1 + m).

    Without a softmax nothing saturates. The gap g = z_y − z_j obeys g′ = −2(g − 1), whatever the
    number of classes, the other logits and the common offset of all of them: 1 − g = (1 + m) e⁻²ᵗ.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind the highest wrong logit.

    Returns:
        T, from the start to the tie, in units of learning rate × steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.logit_squared_error_escape_time(10.0):.3f}")
        1.199
    """
    (margin,) = _as_floats(margin)
    return jnp.log1p(margin) / 2


def cross_entropy_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on cross-entropy makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = (K + e⁻ᵐ)/C

    f is the speed of the gap under the flow, f₀ at the start and f₁ at the tie. Descent is Euler's
    rule for the flow, and its points lie on the flow of the speed f − ½ η f f′ + O(η²) (the
    modified equation); dn = dg (1 + ½ η f′ + …)/(η f) integrates to T/η and the logarithm.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.01 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.cross_entropy_escape_steps(8.0, num_classes=2, learning_rate=0.1):.1f}")
        44.7
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    _, rest = _log_growth(margin, classes)
    return cross_entropy_escape_time(margin, classes) / learning_rate + rest / 2


def brier_score_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on the Brier score makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = eᵐ [(K + e⁻ᵐ)/C]³

    The same correction as in `cross_entropy_escape_steps`, with the speed of the Brier score.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.02 for η ≤ 0.1. For
            the mean squared error pass η/C.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        The same mistake and the same step size as in `cross_entropy_escape_steps`:

        >>> from jaxent import theory
        >>> print(f"{theory.brier_score_escape_steps(8.0, num_classes=2, learning_rate=0.1):.1f}")
        3762.3
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    truth, rest = _log_growth(margin, classes)
    return brier_score_escape_time(margin, classes) / learning_rate + (truth + 2 * rest) / 2


def mean_absolute_error_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on mean absolute error makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = eᵐ [(K + e⁻ᵐ)/C]²

    The same correction as in `cross_entropy_escape_steps`, with the speed of absolute error.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        learning_rate: η of plain gradient descent on the mean over the classes, small: N is
            right to 0.02 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> steps = theory.mean_absolute_error_escape_steps(8.0, num_classes=2, learning_rate=0.1)
        >>> print(f"{steps:.1f}")
        14988.1
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    truth, rest = _log_growth(margin, classes)
    return mean_absolute_error_escape_time(margin, classes) / learning_rate + (truth + rest) / 2


def generalized_cross_entropy_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, exponent: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The steps in which gradient descent on generalised cross-entropy makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = e^{γm} [(K + e⁻ᵐ)/C]^{γ+1}

    The same correction as in `cross_entropy_escape_steps`, with the speed of this loss.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        exponent: γ ≥ 0, broadcast with the margin; not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.02 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> steps = theory.generalized_cross_entropy_escape_steps(8.0, 2, 0.5, learning_rate=0.1)
        >>> print(f"{steps:.1f}")
        553.3
    """
    margin, classes, exponent, rate = _as_floats(margin, num_classes, exponent, learning_rate)
    truth, rest = _log_growth(margin, classes)
    time = generalized_cross_entropy_escape_time(margin, classes, exponent)
    return time / rate + (exponent * truth + rest) / 2


def focal_loss_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, gamma: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on the focal loss makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η)

    The same correction as in `cross_entropy_escape_steps`; f₁/f₀ is the ratio of
    `focal_loss_push` at the tie and at the start.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        gamma: γ ≥ 0, broadcast with the margin; not checked. 0 is cross-entropy.
        learning_rate: η of plain gradient descent, small: N is right to 0.02 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> steps = theory.focal_loss_escape_steps(8.0, 2, gamma=2.0, learning_rate=0.1)
        >>> print(f"{steps:.1f}")
        43.3
    """
    margin, classes, gamma, learning_rate = _as_floats(margin, num_classes, gamma, learning_rate)
    start, tie = (focal_loss_push(m, classes, gamma) for m in (margin, jnp.zeros_like(margin)))
    time = focal_loss_escape_time(margin, classes, gamma)
    return time / learning_rate + jnp.log(tie / start) / 2


def natural_gradient_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The steps in which the natural gradient of cross-entropy makes up a margin m: exact.

    Steps in the probabilities, q ← q − η(q − p), which no exponential carries away: 1 − a is
    multiplied by 1 − η each time, from K/(K + e⁻ᵐ) to K/C. (In logits a step of η moves the gap
    by η/a, which leaps over the tie from where a < η on.) The crossing is interpolated as in
    `logit_squared_error_escape_steps`.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.
        learning_rate: η > 0, of any size; from 1 on, one step is enough.

    Returns:
        N, a real number: the crossing is interpolated linearly, in q, between two steps.

    Example:
        >>> from jaxent import theory
        >>> for margin in (1.0, 10.0, 100.0):
        ...     print(f"{theory.natural_gradient_escape_steps(margin, 2, learning_rate=0.1):.3f}")
        3.618
        6.591
        6.592
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    time = natural_gradient_escape_time(margin, classes)
    return _steps_of_a_linear_decay(jnp.exp(time), time, learning_rate)


def logit_squared_error_escape_steps(
    margin: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on Σᵢ (zᵢ − pᵢ)² makes up a margin m: exact.

    The recurrence is linear: 1 − gₙ = (1 + m) rⁿ, r = 1 − 2η. With n the last step at which the
    truth is still behind, n = ⌊ln(1 + m) / (−ln r)⌋, the line from gₙ to gₙ₊₁ crosses zero at

        N = n + [(1 + m) rⁿ − 1] / [2η (1 + m) rⁿ].

    From η = ½ on, one step is enough.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind the highest wrong logit.
        learning_rate: η > 0 of plain gradient descent, of any size.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps, as the
        measurement does it.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.logit_squared_error_escape_steps(8.0, learning_rate=0.1):.1f}")
        9.9
    """
    margin, learning_rate = _as_floats(margin, learning_rate)
    return _steps_of_a_linear_decay(1 + margin, jnp.log1p(margin), 2 * learning_rate)


def cross_entropy_time_to_half(num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time of gradient flow on cross-entropy from uniform Q to q_y = ½: about 1 + ln C.

        T = [K − 1 + K ln K] / C

    Past the tie the gap g = z_y − z_j goes on at g′ = C/(K + e^g), and q_y = ½ at g = ln K.

    Args:
        num_classes: C ≥ 2; not checked.

    Returns:
        T, in units of learning rate × steps.

    Example:
        A hundred times the classes, ln 100 = 4.6 more:

        >>> from jaxent import theory
        >>> for classes in (2, 100, 10_000):
        ...     print(f"{theory.cross_entropy_time_to_half(classes):.2f}")
        0.00
        5.53
        10.21
    """
    (classes,) = _as_floats(num_classes)
    wrong = classes - 1
    return (classes - 2 + wrong * jnp.log(wrong)) / classes


def brier_score_time_to_half(num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time of gradient flow on the Brier score from uniform Q to q_y = ½: about C/2.

        T = [½(K² − 1) + 3K(K − 1) + 3K² ln K + K²(K − 1)] / (2C²)

    The formula of `brier_score_escape_time` between the margins 0 and −ln K. At the uniform start
    the push is about 2/C: what a confident mistake is for few classes, the start is for many.

    Args:
        num_classes: C ≥ 2; not checked.

    Returns:
        T, in units of learning rate × steps. Multiply by C for the mean squared error: C²/2.

    Example:
        >>> from jaxent import theory
        >>> for classes in (2, 100, 10_000):
        ...     print(f"{theory.brier_score_time_to_half(classes):.2f}")
        0.00
        56.48
        5013.56
    """
    (classes,) = _as_floats(num_classes)
    wrong = classes - 1
    share = wrong / classes
    polynomial = (classes - 2) * (1 / (2 * classes) + 3 * share / classes + share**2)
    return (polynomial + 3 * share**2 * jnp.log(wrong)) / 2


def cross_entropy_escape_time_from(
    logits: Float[ArrayLike, " classes"], label: Integer[ArrayLike, ""]
) -> Float[Array, ""]:
    """The time in which gradient flow on cross-entropy brings the truth to a tie, from any start.

    The flow is integrable. In the time τ with dτ = dt/Σ eᶻ each wrong logit obeys z′ = −eᶻ, so

        e^{−zⱼ} = cⱼ + τ,   z_y = z_y(0) + Σ ln(1 + τ/cⱼ),   cⱼ = e^{−zⱼ(0)},

    and the flow's own time is

        t = e^{z_y(0)} ∫₀^τ Π (1 + s/cⱼ) ds + Σ ln(1 + τ/cⱼ),

    sums and products over the wrong classes. The highest wrong logit remains the highest, and the
    τ of the tie with it is found by Newton's rule. With all wrong logits alike it is
    `cross_entropy_escape_time`.

    Args:
        logits: z at the start, [classes]; not checked. A wrong class at −inf has no part in it.
            `jax.vmap` over many.
        label: y, the true class; not checked.

    Returns:
        T, from the start to the first moment at which z_y ≥ every wrong logit, in units of
        learning rate × steps; 0 if that is the start. The integral has 128 nodes of Gauss and
        Legendre: in float64 right to 1e-10 for margins to 100. Margins from 177 in float32, 1400
        in float64 are too large.

    Example:
        Ten logits behind one class, and level with 0, 2 or 98 others: those are pushed down too,
        and the truth is pushed up by all that they lose.

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> for others in (0, 2, 98):
        ...     logits = jnp.zeros(others + 2).at[1].set(10.0)
        ...     print(f"{theory.cross_entropy_escape_time_from(logits, label=0):.3f}")
        5.500
        5.504
        5.678
    """
    return _escape_time_from(*_as_floats(logits), label)


@jax.jit  # a loop and a quadrature: op by op they would be two dozen programs a shape
def _escape_time_from(logits: Array, label: ArrayLike) -> Array:
    others = jnp.where(jnp.arange(logits.size) == label, -jnp.inf, logits)
    top = jnp.max(others)
    margin = jnp.maximum(top - logits[label], 0)
    # In units of the highest wrong class, and u = ln(1 + τ e^{top}) instead of τ, nothing is
    # large: the tie is where u + Σ ln(1 + bⱼ(eᵘ − 1)) = m, b = e^{zⱼ − top}.
    weights = jnp.exp(others - top)

    def gained(u: Array) -> Array:
        return jnp.sum(jnp.log1p(weights * jnp.expm1(u)))

    def newton(_: Array, u: Array) -> Array:
        value, slope = jax.value_and_grad(gained)(u)
        return u - (u + value - margin) / (1 + slope)

    # A convex function, from above: m/2 is the tie with the highest wrong class alone.
    end = lax.fori_loop(0, 50, newton, margin / 2)
    return gained(end) + _integral(lambda u: jnp.exp(u + gained(u) - margin), end)


def cross_entropy_flow_invariants(
    logits: Float[ArrayLike, " classes"], label: Integer[ArrayLike, ""]
) -> Float[Array, " classes"]:
    """What gradient flow on cross-entropy conserves: e^{−zⱼ} − e^{−zₖ} of any two wrong classes.

    All e^{−zⱼ} grow at the same rate, as in `cross_entropy_escape_time_from`: the differences
    stay, and their ratios to what has grown vanish. Wrong classes are levelled, the higher first.
    The flow conserves Σ z as well, and its course is the one curve that these C − 1 numbers
    leave free.

    Args:
        logits: z, [classes]; not checked. `jax.vmap` over many.
        label: y, the true class; not checked.

    Returns:
        e^{−zⱼ} − e^{−zₖ}, k the highest of the wrong classes, [classes]; 0 for k and for the label.

    Example:
        Along a path of many small steps:

        >>> import jax, jax.numpy as jnp
        >>> from jaxent import losses, theory
        >>> target = jnp.array([1.0, 0.0, 0.0])
        >>> logits = jnp.array([-1.0, 0.0, -0.5])
        >>> print(theory.cross_entropy_flow_invariants(logits, label=0).round(2))
        [0.   0.   0.65]
        >>> gradient = jax.grad(losses.softmax_cross_entropy)
        >>> def step(_, z):
        ...     return z - 0.01 * gradient(z, target)
        >>> logits = jax.lax.fori_loop(0, 2000, step, logits)
        >>> print(theory.cross_entropy_flow_invariants(logits, label=0).round(2))
        [0.   0.   0.65]
    """
    (logits,) = _as_floats(logits)
    is_label = jnp.arange(logits.size) == label
    top = jnp.max(jnp.where(is_label, -jnp.inf, logits))
    behind = jnp.where(is_label, 0, top - logits)
    return jnp.exp(-top) * jnp.expm1(behind)


def binary_cross_entropy_escape_time(margin: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on one sigmoid logit makes up −m under cross-entropy.

        T = m + 1 − e⁻ᵐ

    From z = −m with the label 1 to z = 0. It is twice that of a softmax of two classes, where
    both logits move apart and the gap moves at twice the rate.

    Args:
        margin: m ≥ 0, in logits; not checked.

    Returns:
        T, from the start to σ = ½, in units of learning rate × steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.binary_cross_entropy_escape_time(10.0):.4f}")
        11.0000
    """
    return 2 * cross_entropy_escape_time(margin, 2)


def sigmoid_squared_error_escape_time(margin: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on one sigmoid logit makes up −m under (σ(z) − y)².

        T = ½ [eᵐ + 3m + 5/2 − 3e⁻ᵐ − ½ e⁻²ᵐ]

    From z = −m with the label 1 to z = 0, where z′ = 2σ(1 − σ)². Double it for ½(σ − y)². It is
    four times that of the Brier score of two classes: its sum has the error of both of them, and
    the gap between two logits moves at twice the rate.

    Args:
        margin: m ≥ 0, in logits; not checked.

    Returns:
        T, from the start to σ = ½, in units of learning rate × steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.sigmoid_squared_error_escape_time(10.0):.1f}")
        11029.5
    """
    return 4 * brier_score_escape_time(margin, 2)


def binary_cross_entropy_escape_steps(
    margin: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The steps in which descent on one sigmoid logit makes up −m under cross-entropy.

    As `cross_entropy_escape_steps` of two classes at half the step size: there the gap moves at
    twice the rate.

    Args:
        margin: m ≥ 0, in logits; not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.01 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.binary_cross_entropy_escape_steps(8.0, learning_rate=0.1):.1f}")
        89.7
    """
    margin, learning_rate = _as_floats(margin, learning_rate)
    return cross_entropy_escape_steps(margin, 2, learning_rate / 2)


def sigmoid_squared_error_escape_steps(
    margin: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The steps in which descent on one sigmoid logit makes up −m under (σ(z) − y)².

    As `brier_score_escape_steps` of two classes at a quarter of the step size: see
    `sigmoid_squared_error_escape_time`.

    Args:
        margin: m ≥ 0, in logits; not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.01 for η ≤ 0.1. Pass
            η/2 for ½(σ − y)².

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.sigmoid_squared_error_escape_steps(8.0, learning_rate=0.1):.1f}")
        15040.2
    """
    margin, learning_rate = _as_floats(margin, learning_rate)
    return brier_score_escape_steps(margin, 2, learning_rate / 4)


def adam_escape_time(
    margin: ArrayLike, descent_time: ArrayLike, epsilon: ArrayLike
) -> Float[Array, "..."]:
    """The time in which Adam without momentum moves one logit by a margin m: m + ε T.

    With both averages forgotten at once, Adam is z′ = −g/(|g| + ε): a unit of distance takes
    1 + ε/|g| of time, and ∫ dz/|g| is the time T of plain descent. Adam makes a linear law of any
    loss until ε T is of the size of m; with T ∼ eᵐ that is at m ≈ ln(1/ε), 18.4 for the usual
    ε = 1e-8, and from there on the exponential is back.

    Args:
        margin: m ≥ 0, the distance that the logit moves. For two logits of a softmax, which go
            half of it each, half of the margin.
        descent_time: T, from gradient flow on the same loss with the same margin.
        epsilon: ε ≥ 0, in units of the gradient; not checked.

    Returns:
        Time, in units of learning rate × steps.

    Example:
        A sigmoid logit under squared error, before the knee and behind it:

        >>> from jaxent import theory
        >>> for margin in (10.0, 20.0, 25.0):
        ...     descent_time = theory.sigmoid_squared_error_escape_time(margin)
        ...     print(f"{theory.adam_escape_time(margin, descent_time, epsilon=1e-8):.1f}")
        10.0
        22.4
        385.0

    References:
        D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """
    margin, descent_time, epsilon = _as_floats(margin, descent_time, epsilon)
    return margin + epsilon * descent_time


# Gradients and curvature in the logits, of any Q and P


def _product(matrix: Array, vector: Array) -> Array:
    # Left to itself, an accelerator multiplies float32 matrices in fewer digits.
    return jnp.matmul(matrix, vector, precision="highest")


def _truth_and_wrong(q: Array, label: ArrayLike) -> tuple[Array, Array]:
    """q_y, and q with 0 in its place: the sum of that is 1 − a with all its digits."""
    is_label = jnp.arange(q.size) == label
    return q[label], jnp.where(is_label, 0, q)


def softmax_jacobian(q: Float[ArrayLike, " classes"]) -> Float[Array, "classes classes"]:
    """J(q) = diag(q) − q qᵀ: dq/dz of the softmax, and the Fisher information in logits.

    A step dz moves the probabilities by J dz. It is the Laplacian of the complete graph with
    the weights qᵢqⱼ, and built as such: no 1 − qᵢ, so a q next to 1 costs no digits. The rows sum
    to zero, since a common offset of the logits changes nothing.

    Args:
        q: probabilities, [classes]; not checked. `jax.vmap` over many.

    Returns:
        J, symmetric, [classes, classes].

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.softmax_jacobian(jnp.array([0.5, 0.5])))
        [[ 0.25 -0.25]
         [-0.25  0.25]]
    """
    (q,) = _as_floats(q)
    weights = q[:, None] * q[None, :] * (1 - jnp.eye(q.size, dtype=q.dtype))
    return jnp.diag(weights.sum(axis=1)) - weights


def softmax_jacobian_eigenvalues(q: Float[ArrayLike, " classes"]) -> Float[Array, " classes-1"]:
    """The eigenvalues of J(q) = diag(q) − q qᵀ on 1⊥, ascending.

    On 1⊥, the directions that change q. The last eigenvalue, 0, belongs to the common offset and
    is left out. The others lie between the sorted qᵢ, one in each gap (Cauchy's interlacing).

    Args:
        q: probabilities, [classes], C ≥ 2; not checked.

    Returns:
        C − 1 eigenvalues, ascending. Their errors are a few units of rounding *of the largest*:
        where q spans six decades, float32 has no digit left of the smallest. Then call this under
        ``jax.enable_x64(True)``.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.softmax_jacobian_eigenvalues(jnp.full(3, 1 / 3)).round(4))
        [0.3333 0.3333]
    """
    return jnp.linalg.eigvalsh(softmax_jacobian(q))[1:]


def cross_entropy_logit_gradient(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, " classes"]:
    """dL/dz of cross-entropy: q − p.

    −Σ pᵢ ln qᵢ = ln Σ eᶻ − p·z for a P that sums to one, and the derivative of ln Σ eᶻ is q. The
    logarithm has cancelled the Jacobian of the softmax: J (−p/q) = q − p.

    Args:
        q: probabilities, [classes]; not checked.
        p: the target, [classes]; not checked, and taken to sum to one.

    Returns:
        The gradient, [classes]. The difference of q and p is all that is computed: where they are
        equal to the last digit it has none. From logits a loss of `jaxent.losses` has them all.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q, p = jnp.array([0.25, 0.75]), jnp.array([1.0, 0.0])
        >>> print(theory.cross_entropy_logit_gradient(q, p))
        [-0.75  0.75]
    """
    q, p = _as_floats(q, p)
    return q - p


def brier_score_logit_gradient(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, " classes"]:
    """dL/dz of the Brier score: 2 J(q)(q − p), 2qᵢ(rᵢ − q·r) with r = q − p.

    The gradient in the probabilities is 2(q − p), and that is what is often called the gradient
    of squared error; in the logits the Jacobian of the softmax stands before it.

    Args:
        q: probabilities, [classes]; not checked.
        p: the target, [classes]; not checked.

    Returns:
        The gradient, [classes]; it sums to zero. Divide by C for the mean squared error. `jax.vmap`
        over many. The digits are those of q − p, as in `cross_entropy_logit_gradient`.

    Example:
        The norm is never larger than that of cross-entropy; of two classes it is 4a(1 − a) of it:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> p = jnp.array([1.0, 0.0])
        >>> for a in (0.25, 2**-10):
        ...     print(theory.brier_score_logit_gradient(jnp.array([a, 1 - a]), p))
        [-0.5625  0.5625]
        [-0.00389862  0.00389862]
    """
    q, p = _as_floats(q, p)
    return 2 * _product(softmax_jacobian(q), q - p)


def brier_score_pushes_up(
    q: Float[ArrayLike, " classes"], label: Integer[ArrayLike, ""]
) -> Bool[Array, " classes"]:
    """Which wrong logits descent on the Brier score pushes *up*.

    With a = q_y and β = Σ_{k≠y} q_k² the gradient of a wrong logit is

        ∂S/∂zⱼ = 2 qⱼ [qⱼ + a(1 − a) − β],

    negative where qⱼ + a(1 − a) < β: a minor wrong class rises in the shadow of a major one.
    Cross-entropy pushes every wrong logit down, with qⱼ.

    Args:
        q: probabilities, [classes]; not checked.
        label: y, the class of the one-hot target; not checked.

    Returns:
        A mask, [classes]; False for the label, which is never pushed down, and for q = 0, which
        is not pushed at all.

    Example:
        The third class is as wrong as the second, and its logit is pushed up:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.brier_score_pushes_up(jnp.array([0.1, 0.8, 0.1]), label=0))
        [False False  True]
    """
    (q,) = _as_floats(q)
    truth, wrong = _truth_and_wrong(q, label)
    threshold = jnp.sum(wrong**2) - truth * jnp.sum(wrong)
    return (wrong > 0) & (q < threshold)


# The largest second derivative of each loss, over all logits and P and in every direction of unit
# length: gradient descent with η < 2/L never raises the loss. Cross-entropy of a softmax, for any
# C, is J(q) at two classes of ½ each; of a sigmoid, σ(1 − σ) at ½.
CROSS_ENTROPY_SMOOTHNESS = 1 / 2
BINARY_CROSS_ENTROPY_SMOOTHNESS = 1 / 4

# Of the Brier score the largest and the least, both at two classes and p one-hot, where
# d²S/dg² = 4a(1 − a)²(3a − 1) of the gap g is stationary at 12a² − 9a + 1 = 0, and a direction of
# unit length moves the gap by √2. More than two classes were searched, and do not go beyond.
# On one sigmoid logit (σ − y)² is half of S, and a unit of it is a unit of the gap.
BRIER_SCORE_SMOOTHNESS = (39 + 55 * 33**0.5) / 576
BRIER_SCORE_LEAST_CURVATURE = (39 - 55 * 33**0.5) / 576
SIGMOID_SQUARED_ERROR_SMOOTHNESS = BRIER_SCORE_SMOOTHNESS / 4


def _brier_score_curvatures(q: Array, p: Array) -> Array:
    """d in vᵀ(Hess S)v = 2 Σ qₖ dₖ wₖ², w = v − (q·v)1: dₖ = 2qₖ − pₖ − q·(q − p)."""
    return 2 * q - p - jnp.sum(q * (q - p))


def brier_score_hessian(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, "classes classes"]:
    """d²L/dz² of the Brier score, of any Q and P.

        vᵀHv = 2 Σₖ qₖ dₖ wₖ²,   dₖ = 2qₖ − pₖ − s,   s = q·(q − p),   w = v − (q·v)1

    Along v the softmax moves by q∘w, and next by q∘(w² − Σ qw²); put both into the second
    derivative of Σ (qᵢ − pᵢ)². Outside the diagonal Hᵢⱼ = −2qᵢqⱼ(dᵢ + dⱼ − Σ q²). At Q = P it is
    2J², elsewhere it may have negative eigenvalues: see `brier_score_is_convex`.

    Args:
        q: probabilities, [classes]; not checked, and taken to sum to one.
        p: the target, [classes]; not checked.

    Returns:
        H, symmetric, [classes, classes]; its rows sum to zero. Divide by C for the mean squared
        error. `jax.vmap` over many. Errors are roundings of the largest qᵢqⱼ; where Q is
        sure of itself differentiate a loss of `jaxent.losses` by the logits instead.

    Example:
        Confident mistakes lie where the loss is concave:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.brier_score_hessian(jnp.array([0.25, 0.75]), jnp.array([1.0, 0.0])))
        [[-0.140625  0.140625]
         [ 0.140625 -0.140625]]
    """
    q, p = _as_floats(q, p)
    d = _brier_score_curvatures(q, p)
    pairs = 2 * q[:, None] * q[None, :] * (d[:, None] + d[None, :] - jnp.sum(q**2))
    pairs = pairs * (1 - jnp.eye(q.size, dtype=q.dtype))
    return jnp.diag(pairs.sum(axis=1)) - pairs


def brier_score_is_convex(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Bool[Array, ""]:
    """Whether the Hessian of the Brier score in the logits has no negative eigenvalue.

    In the terms of `brier_score_hessian` the quadratic form 2 Σ qₖ dₖ wₖ² lives on q·w = 0. It is
    nowhere negative if all dₖ ≥ 0, or if exactly one is negative and

        Σₖ qₖ/dₖ ≤ 0

    (Finsler's lemma: one negative square may be outweighed along the hyperplane, two may not). For
    a one-hot target: never below a = 1/3, always from a = ½ on, and in between it depends on how
    the wrong mass is spread.

    Args:
        q: probabilities, [classes]; not checked, and taken to sum to one. Classes of q = 0 have
            no part in it.
        p: the target, [classes]; not checked.

    Returns:
        A truth value; within rounding of the boundary it may be either.

    Example:
        At a = 0.35, wrong mass on one class, even on two, and nearly all on one:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> truth = jnp.array([1.0, 0.0, 0.0])
        >>> for wrong in ((0.65, 0.0), (0.325, 0.325), (0.6, 0.05)):
        ...     print(theory.brier_score_is_convex(jnp.array([0.35, *wrong]), truth))
        True
        True
        False
    """
    q, p = _as_floats(q, p)
    d = _brier_score_curvatures(q, p)
    negative = jnp.sum((q > 0) & (d < 0))
    # A zero beside a negative one lets w pay the constraint for nothing: the sum is +∞.
    terms = jnp.where(d == 0, jnp.inf, q / jnp.where(d == 0, 1, d))
    outweighed = jnp.sum(jnp.where(q > 0, terms, 0)) <= 0
    return (negative == 0) | ((negative == 1) & outweighed)


class UniformEigenvalues(NamedTuple):
    """The eigenvalues of the Hessian on 1⊥ at a uniform Q, for a one-hot target.

    Attributes:
        along: of the direction that raises the truth over all others alike; once.
        sideways: of the directions that exchange wrong classes; C − 2 times.
    """

    along: Float[Array, "..."]
    sideways: Float[Array, "..."]


def brier_score_uniform_eigenvalues(num_classes: ArrayLike) -> UniformEigenvalues:
    """The eigenvalues of the Hessian of the Brier score at the uniform start: 2(3 − C)/C² and 4/C².

    There q·(q − p) = 0, so d = 2/C for the wrong classes and 2/C − 1 for the truth, in the terms
    of `brier_score_hessian`. From four classes on the loss is concave in exactly the direction
    that descent has to go. Cross-entropy has 1/C in every direction.

    Args:
        num_classes: C ≥ 2; not checked.

    Returns:
        Both eigenvalues. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> for classes in (2, 3, 10):
        ...     print(f"{theory.brier_score_uniform_eigenvalues(classes).along:.3f}")
        0.500
        0.000
        -0.140
    """
    (classes,) = _as_floats(num_classes)
    return UniformEigenvalues(along=2 * (3 - classes) / classes**2, sideways=4 / classes**2)


# The fit near an interior P


class BestFixedStep(NamedTuple):
    """The best fixed step of gradient descent near a minimum, and how fast it goes.

    Attributes:
        learning_rate: η = 2/(λmin + λmax).
        rate: the factor (κ − 1)/(κ + 1) of the error from one step to the next.
        condition_number: κ = λmax/λmin.

    λ are the eigenvalues of the Hessian at the minimum, on 1⊥.
    """

    learning_rate: Float[Array, ""]
    rate: Float[Array, ""]
    condition_number: Float[Array, ""]


def _best_fixed_step(eigenvalues: Float[Array, " directions"]) -> BestFixedStep:
    smallest, largest = eigenvalues[0], eigenvalues[-1]
    return BestFixedStep(
        learning_rate=2 / (smallest + largest),
        rate=(largest - smallest) / (largest + smallest),
        condition_number=largest / smallest,
    )


def cross_entropy_best_fixed_step(p: Float[ArrayLike, " classes"]) -> BestFixedStep:
    """The best fixed step of descent on cross-entropy in the logits, near an interior P.

    At Q = P the Hessian is J(p). A step multiplies the error along an eigenvector by 1 − ηλ; the
    largest of these is smallest when the two ends balance, 1 − ηλmin = ηλmax − 1.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. With a zero the minimum is
            at infinity, and the result means nothing. See `softmax_jacobian_eigenvalues` for the
            precision.

    Returns:
        Learning rate, rate and condition number κ of J(p) on 1⊥.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.cross_entropy_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.2f} {best.rate:.4f}")
        11.51 0.8402

    References:
        Polyak, Introduction to Optimization (1987), §1.4: the quadratic case.
    """
    return _best_fixed_step(softmax_jacobian_eigenvalues(p))


def brier_score_best_fixed_step(p: Float[ArrayLike, " classes"]) -> BestFixedStep:
    """The best fixed step of descent on the Brier score in the logits, near an interior P.

    At Q = P the Hessian is 2J(p)²: every eigenvalue is squared, and with them the condition
    number. Descent on the Brier score takes about κ times the steps of cross-entropy, each at
    its own best step.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. With a zero the minimum is
            at infinity, and the result means nothing. See `softmax_jacobian_eigenvalues` for the
            precision.

    Returns:
        Learning rate, rate and condition number κ² of 2J(p)² on 1⊥. Multiply the learning rate
        by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.brier_score_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.1f} {best.rate:.4f}")
        132.6 0.9850
    """
    return _best_fixed_step(2 * softmax_jacobian_eigenvalues(p) ** 2)


def cross_entropy_largest_step(p: Float[ArrayLike, " classes"]) -> Float[Array, ""]:
    """The step size past which descent on cross-entropy leaves an interior P: 2/λmax(J).

    Near Q = P a step multiplies the error along an eigenvector by 1 − ηλ, and 1 − ηλmax < −1 from
    there on. Never below 4, that is 2/L: λmax is at most ½, with two classes of ½ each.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. For the precision see
            `softmax_jacobian_eigenvalues`: here it is full.

    Returns:
        η; infinite for a one-hot P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.cross_entropy_largest_step(jnp.array([0.5, 0.5])))
        4.0
    """
    return 2 / softmax_jacobian_eigenvalues(p)[-1]


def brier_score_largest_step(p: Float[ArrayLike, " classes"]) -> Float[Array, ""]:
    """The step size past which descent on the Brier score leaves an interior P: 1/λmax(J)².

    The Hessian at Q = P is 2J², and 2/(2λ²) = 1/λ². Never below 4, and far more for a sure P; but
    away from P the curvature may be greater, up to `BRIER_SCORE_SMOOTHNESS`, and a step that holds
    near P need not come there.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked.

    Returns:
        η; infinite for a one-hot P. Multiply by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(f"{theory.brier_score_largest_step(jnp.array([0.9, 0.1])):.2f}")
        30.86
    """
    return 1 / softmax_jacobian_eigenvalues(p)[-1] ** 2


def cross_entropy_two_cycle_gap(learning_rate: ArrayLike) -> Float[Array, "..."]:
    """Where descent on cross-entropy with p = (½, ½) settles past its largest step, 4.

    A step takes the gap g of the two logits to g − η tanh(g/2). Past η = 4 it no longer comes to
    0, nor does it diverge: it jumps for ever between g and −g, which solve

        |g| = (η/2) tanh(|g|/2).

    Near 4 that is √(12(η/4 − 1)), and far beyond it η/2. Each step multiplies the distance to
    the cycle by 1 − (η/2)/cosh²(g/2): never beyond ±1, so that the cycle attracts for every
    η > 4, but at η = 20 already 0.998.

    Args:
        learning_rate: η of plain gradient descent.

    Returns:
        |g|, in logits; 0 up to η = 4.

    Example:
        >>> from jaxent import theory
        >>> for rate in (4.0, 5.0, 20.0):
        ...     print(f"{theory.cross_entropy_two_cycle_gap(rate):.4f}")
        0.0000
        1.7760
        9.9991
    """
    (learning_rate,) = _as_floats(learning_rate)
    cycles = learning_rate > 4
    slope = jnp.where(cycles, learning_rate, 5) / 4
    # x = slope · tanh x. Newton's rule from where 1 + x²/3, which bounds x coth x, is the slope:
    # the function is convex, so that after the first step it comes down to the root from above.
    x = jnp.sqrt(3 * (slope - 1))
    for _ in range(6):
        tanh = jnp.tanh(x)
        x = x - (x - slope * tanh) / (1 - slope * (1 - tanh) * (1 + tanh))
    return jnp.where(cycles, 2 * x, 0)


def steps_to_shrink_error(condition_number: ArrayLike, factor: ArrayLike) -> Float[Array, "..."]:
    """The number of best fixed steps that divide the error by a factor: ln(factor)/(2 artanh(1/κ)).

    Each step multiplies the error by (κ − 1)/(κ + 1), whose logarithm is −2 artanh(1/κ) ≈ −2/κ;
    written so, a rate that rounds to 1 still has its digits.

    Args:
        condition_number: κ ≥ 1, that of the Hessian: κ(J) for cross-entropy, κ(J)² for the Brier
            score.
        factor: the error at the start over the error at the end, ≥ 1.

    Returns:
        The number of steps, not rounded; 0 for κ = 1, where the first step of a quadratic hits.
        It is the count for an error that lies in the slowest directions, which every error
        comes to: others are ahead of it by a constant.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.steps_to_shrink_error(condition_number=100.0, factor=1e6):.1f}")
        690.8
    """
    condition_number, factor = _as_floats(condition_number, factor)
    return jnp.log(factor) / (2 * jnp.arctanh(1 / condition_number))


# How the probabilities move


def flow_velocity(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"], num_jacobians: int
) -> Float[Array, " classes"]:
    """q′ = −J(q)ᵏ (q − p): how the probabilities move, with k Jacobians of the softmax in the way.

    Descent in logits moves the probabilities by J times what it does to the logits, and the
    gradient of a loss of Q has one J in it already:

        k = 0    natural gradient of cross-entropy; half of plain descent on the Brier score in q
        k = 1    plain descent on cross-entropy, whose logarithm has cancelled one J;
                 half of the natural gradient of the Brier score
        k = 2    half of plain descent on the Brier score

    From a margin m these take a time that is bounded, linear and exponential in m, and near an
    interior P their condition numbers are 1, κ and κ².

    Args:
        q: probabilities, [classes]; not checked.
        p: the target, [classes]; not checked.
        num_jacobians: k ≥ 0, static.

    Returns:
        The velocity, [classes]; it sums to zero. `jax.vmap` over many.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q, p = jnp.array([2**-10, 1 - 2**-10]), jnp.array([1.0, 0.0])
        >>> for jacobians in (0, 1, 2):
        ...     print(f"{theory.flow_velocity(q, p, jacobians)[0]:.1e}")
        1.0e+00
        1.9e-03
        3.8e-06
    """
    q, p = _as_floats(q, p)
    jacobian = softmax_jacobian(q)
    velocity = p - q
    for _ in range(num_jacobians):
        velocity = _product(jacobian, velocity)
    return velocity


def brier_score_least_progress(
    q: Float[ArrayLike, " classes"], label: Integer[ArrayLike, ""]
) -> Float[Array, ""]:
    """The least a′ that gradient flow on the Brier score can have: slow, but never stuck.

        a′ ≥ 2a² [(1 − a)² + β]² / (1 − a),        β = Σ_{j≠y} qⱼ²

    a′ = a(z_y′ − q·z′) is 2a [a(1 − a)³ + 2a(1 − a)β − β² + Σ_{j≠y} qⱼ³] by
    `brier_score_logit_gradient`, and β² ≤ (1 − a) Σ qⱼ³ by Cauchy and Schwarz. Equality holds
    where the wrong classes that have mass have the same. It is positive in all of the interior:
    one example has no stationary point at finite logits, and the plateaus are at infinity.

    Args:
        q: probabilities, [classes]; not checked.
        label: y, the class of the one-hot target; not checked.

    Returns:
        The bound, in probability per unit of learning rate × steps, with all its digits at both
        ends. Divide by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q = jnp.array([0.1, 0.5, 0.4])
        >>> target = jnp.array([1.0, 0.0, 0.0])
        >>> print(f"{2 * theory.flow_velocity(q, target, 2)[0]:.4f}")
        0.0335
        >>> print(f"{theory.brier_score_least_progress(q, label=0):.4f}")
        0.0331
    """
    (q,) = _as_floats(q)
    truth, wrong = _truth_and_wrong(q, label)
    rest = jnp.sum(wrong)
    shares = wrong / jnp.where(rest == 0, 1, rest)
    return 2 * truth**2 * rest**3 * (1 + jnp.sum(shares**2)) ** 2


def exponentiated_gradient_step(
    q: Float[ArrayLike, "..."], gradient: Float[ArrayLike, "..."], learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """One step of exponentiated gradient, mirror descent with the entropy: q e^{−ηg} over its sum.

    In the logits it is z − η g, with the gradient g taken in the *probabilities*. On the Brier
    score g = 2(q − p), and z − 2η(q − p) is a step of plain descent on cross-entropy, exactly:
    what cross-entropy is to the logits, squared error is to this geometry.

    Args:
        q: probabilities, [..., classes]; not checked. Zeros remain zeros.
        gradient: g, of the same shape; a common offset of all classes changes nothing.
        learning_rate: η.

    Returns:
        The next probabilities, [..., classes].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxent import theory
        >>> z, p = jnp.array([-3.0, 1.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
        >>> q = jax.nn.softmax(z)
        >>> print(theory.exponentiated_gradient_step(q, 2 * (q - p), learning_rate=0.5).round(4))
        [0.0601 0.5947 0.3452]
        >>> print(jax.nn.softmax(z - 1.0 * theory.cross_entropy_logit_gradient(q, p)).round(4))
        [0.0601 0.5947 0.3452]

    References:
        J. Kivinen, M. Warmuth, Exponentiated Gradient versus Gradient Descent for Linear
        Predictors, 1997.
    """
    q, gradient, learning_rate = _as_floats(q, gradient, learning_rate)
    exponents = -learning_rate * gradient
    top = jnp.max(jnp.where(q > 0, exponents, -jnp.inf), axis=-1, keepdims=True)
    # Above the top are only classes of q = 0, and 0 · ∞ is no number.
    weights = q * jnp.exp(jnp.minimum(exponents - lax.stop_gradient(top), 0))
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


# Expected losses


def brier_score_over_all_labels(q: Float[ArrayLike, "... classes"]) -> Float[Array, "..."]:
    """Σᵢ S(q, eᵢ), the Brier score summed over every label: C − 2 + C Σ q².

    Between C − 1 for a uniform Q and 2C − 2 for a sure one. A loss for which this sum is constant
    is called symmetric, and is least at the same Q under any rate of uniform label noise below
    (C − 1)/C. Mean absolute error is, with 2(C − 1)/C. The Brier score is bounded, and not
    symmetric: noise asks it for a Q that is less sure.

    Args:
        q: probabilities, [..., classes]; not checked, and taken to sum to one.

    Returns:
        The sum, one value for each Q. Divide by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.brier_score_over_all_labels(jnp.array([[0.25] * 4, [1.0, 0.0, 0.0, 0.0]])))
        [3. 6.]

    References:
        A. Ghosh, H. Kumar, P. S. Sastry, Robust Loss Functions under Label Noise for Deep Neural
        Networks, AAAI 2017.
    """
    (q,) = _as_floats(q)
    classes = q.shape[-1]
    return classes - 2 + classes * jnp.sum(q**2, axis=-1)


def expected_absolute_error(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, ""]:
    """E_{y∼P} of the mean absolute error of a one-hot label: (2/C) Σ_y p_y (1 − q_y).

    Linear in q, so least at a corner: at the mode of P, and not at Q = P. Absolute error is not
    proper. A soft P put into it as a target hides that, since (1/C) Σ |qᵢ − pᵢ| is 0 at Q = P.

    Args:
        q: probabilities, [classes]; not checked.
        p: the distribution of the label, [classes]; not checked.

    Returns:
        The expected loss, of the mean over the classes, with all its digits. Multiply by C for
        the sum. `jax.vmap` over many.

    Example:
        Summed over the classes, honest and at the mode:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> p = jnp.array([0.6, 0.3, 0.1])
        >>> print(f"{3 * theory.expected_absolute_error(p, p):.2f}")
        1.08
        >>> print(f"{3 * theory.expected_absolute_error(jnp.array([1.0, 0.0, 0.0]), p):.2f}")
        0.80
    """
    q, p = _as_floats(q, p)
    pairs = p[:, None] * q[None, :] * (1 - jnp.eye(q.size, dtype=q.dtype))
    return 2 * jnp.sum(pairs) / q.size


# Statistics: how much data, not how many steps


def logistic_relative_efficiency(distance: ArrayLike) -> Float[Array, "..."]:
    """The efficiency of logistic regression relative to normal discrimination, on normal classes.

        ARE(Δ) = (1 + Δ²/4) e^{−Δ²/8} ∫ φ(x) / cosh(Δx/2) dx,        φ the normal density

    Two normal classes of the same covariance and equal prior probabilities, whose means are Δ
    standard deviations apart. Linear discriminant analysis, which is least squares on the labels,
    uses that they are normal; logistic regression, that is cross-entropy, does not, and its excess
    error with many examples n is that of discriminant analysis with n · ARE.

    Args:
        distance: Δ ≥ 0, Mahalanobis' distance of the means; not checked.

    Returns:
        ARE, in (0, 1], by quadrature, in float64 right to 1e-12.

    Example:
        The better the classes are separated, the more cross-entropy throws away:

        >>> from jaxent import theory
        >>> for distance in (1.0, 2.0, 3.0, 4.0):
        ...     print(f"{theory.logistic_relative_efficiency(distance):.4f}")
        0.9949
        0.8992
        0.6410
        0.3430

    References:
        B. Efron, The Efficiency of Logistic Regression Compared to Normal Discriminant Analysis,
        1975.
    """
    (distance,) = _as_floats(distance)
    # Where x²/2 + Δx/2 = 40 nothing is left to add: e⁻⁴⁰ is beyond float64.
    end = 80 / (distance / 2 + jnp.sqrt(distance**2 / 4 + 80))

    def integrand(x: Array) -> Array:
        decay = jnp.exp(-(x**2) / 2 - distance * x / 2)
        return decay / (1 + jnp.exp(-distance * x))

    normal = 4 / math.sqrt(2 * math.pi)
    return (1 + distance**2 / 4) * jnp.exp(-(distance**2) / 8) * normal * _integral(integrand, end)


def least_squares_error_rate(signal: ArrayLike, aspect_ratio: ArrayLike) -> Float[Array, "..."]:
    """How often least squares errs on two normal classes of high dimension: Q(r²√(1−γ)/√(r²+γ)).

    Means ±μ with |μ| = r, unit covariance, equal prior probabilities, n examples in d dimensions,
    and the limit of n → ∞ with d/n → γ. Q is the tail of the normal distribution; with γ = 0 it
    is Bayes' Q(r). Least squares finds the weights w = S⁻¹ū up to a factor, ū the mean of the
    examples signed by their labels, with |ū|² → r² + γ, and S their covariance, independent of ū.
    The means of S⁻¹ and S⁻² come to 1/(1 − γ) and 1/(1 − γ)³, hence μ·w → r²/(1 − γ) and
    |w|² → (r² + γ)/(1 − γ)³, and the error is Q(μ·w/|w|).

    Args:
        signal: r ≥ 0, half the distance of the means in standard deviations; not checked.
        aspect_ratio: γ = d/n in [0, 1), broadcast with the signal; not checked.

    Returns:
        The probability of error on a new example, with all its digits in the tail.

    Example:
        With two examples a dimension an error of 2.3 % becomes one of 9.1 %:

        >>> from jaxent import theory
        >>> for ratio in (0.0, 0.5):
        ...     print(f"{theory.least_squares_error_rate(2.0, ratio):.4f}")
        0.0228
        0.0912

    References:
        S. Raudys, On determining training sample size of linear classifier, 1967; for the limit
        C. Wang, B. Jiang, On the dimension effect of regularized linear discriminant analysis,
        Electronic Journal of Statistics, 2018.
    """
    signal, ratio = _as_floats(signal, aspect_ratio)
    distance = signal**2 * jnp.sqrt(1 - ratio) / jnp.sqrt(signal**2 + ratio)
    return special.erfc(distance / math.sqrt(2)) / 2
