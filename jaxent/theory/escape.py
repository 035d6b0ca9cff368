"""How long it takes to unlearn a confident mistake: by gradient flow, and in steps of descent."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Integer

from jaxent.theory._arrays import as_floats
from jaxent.theory._margins import surprisal
from jaxent.theory._quadrature import integral
from jaxent.theory.gradients import focal_loss_push


def _log_growth_of_rest(margin: ArrayLike, num_classes: ArrayLike) -> Array:
    """ln of the factor by which 1 − a = K/(K + e⁻ᵐ) changes from the margin m to the tie."""
    margin, classes = as_floats(margin, num_classes)
    return jnp.log1p(jnp.expm1(-margin) / classes)


# Time to the tie, by the flow


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
        >>> later = theory.escape.cross_entropy_escape_time(12.0, num_classes=2)
        >>> print(f"{later - theory.escape.cross_entropy_escape_time(10.0, num_classes=2):.3f}")
        1.000
    """
    margin, classes = as_floats(margin, num_classes)
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
        >>> later = theory.escape.brier_score_escape_time(12.0, num_classes=2)
        >>> print(f"{later / theory.escape.brier_score_escape_time(10.0, num_classes=2):.2f}")
        7.38
    """
    margin, classes = as_floats(margin, num_classes)
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
        >>> print(f"{theory.escape.mean_absolute_error_escape_time(10.0, num_classes=2):.0f}")
        11023
    """
    margin, classes = as_floats(margin, num_classes)
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
            and smooth. Those of `jaxent.theory.gradients` are; bind what else they ask for with
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
        >>> push = partial(theory.gradients.generalized_cross_entropy_push, exponent=0.5)
        >>> later = theory.escape.escape_time(push, 12.0, num_classes=2)
        >>> print(f"{later / theory.escape.escape_time(push, 10.0, num_classes=2):.2f}")
        2.71
    """
    margin, classes = as_floats(margin, num_classes)
    slowness = integral(lambda s: 1 / push(s, classes), margin)
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
        >>> escape_time = theory.escape.generalized_cross_entropy_escape_time
        >>> growth = escape_time(20.0, 2, exponent=0.7) / escape_time(18.0, 2, exponent=0.7)
        >>> print(f"{math.log(growth) / 2:.3f}")
        0.700
    """
    margin, classes, exponent = as_floats(margin, num_classes, exponent)

    def slowness(s: Array) -> Array:
        # Not 1/push, which would overflow before T does.
        return jnp.exp(exponent * surprisal(s, classes)) * (classes - 1 + jnp.exp(-s))

    return integral(slowness, margin) / classes


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
        >>> escape_time = theory.escape.focal_loss_escape_time
        >>> print(f"{escape_time(12.0, 2, gamma=2.0) - escape_time(10.0, 2, gamma=2.0):.3f}")
        1.000
    """
    margin, classes, gamma = as_floats(margin, num_classes, gamma)
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
        ...     print(f"{theory.escape.natural_gradient_escape_time(margin, num_classes=2):.4f}")
        0.3799
        0.6931
        0.6931

    References:
        S. Amari, Natural Gradient Works Efficiently in Learning, 1998.
    """
    return -_log_growth_of_rest(margin, num_classes)


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
        >>> print(f"{theory.escape.logit_squared_error_escape_time(10.0):.3f}")
        1.199
    """
    (margin,) = as_floats(margin)
    return jnp.log1p(margin) / 2


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
        >>> print(f"{theory.escape.binary_cross_entropy_escape_time(10.0):.4f}")
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
        >>> print(f"{theory.escape.sigmoid_squared_error_escape_time(10.0):.1f}")
        11029.5
    """
    return 4 * brier_score_escape_time(margin, 2)


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
        ...     descent_time = theory.escape.sigmoid_squared_error_escape_time(margin)
        ...     print(f"{theory.escape.adam_escape_time(margin, descent_time, epsilon=1e-8):.1f}")
        10.0
        22.4
        385.0

    References:
        D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """
    margin, descent_time, epsilon = as_floats(margin, descent_time, epsilon)
    return margin + epsilon * descent_time


# Steps to the tie, by descent


class Law(NamedTuple):
    """How gradient flow on a loss makes up a margin.

    f is the speed of the gap z_y − z_j under the flow, f₀ at the start and f₁ at the tie.

    Attributes:
        time: T of the margin, the number of classes and, if the loss has one, the exponent.
        log_speedup: ln(f₁/f₀), a function of the same.
    """

    time: Callable[..., Array]
    log_speedup: Callable[..., Array]


def _log_speedup(
    margin: Array, num_classes: ArrayLike, truth_power: Array | int, *, rest_power: int = 1
) -> Array:
    """ln(f₁/f₀) where the push is a power of a times a power of 1 − a, up to a factor."""
    rest = _log_growth_of_rest(margin, num_classes)
    return truth_power * (margin + rest) + rest_power * rest  # as a is e⁻ᵐ(1 − a)/K


def _focal_loss_log_speedup(margin: Array, num_classes: ArrayLike, gamma: ArrayLike) -> Array:
    """ln(f₁/f₀) of the focal loss."""
    start, tie = (focal_loss_push(m, num_classes, gamma) for m in (margin, jnp.zeros_like(margin)))
    return jnp.log(tie / start)


CROSS_ENTROPY_LAW = Law(cross_entropy_escape_time, _log_growth_of_rest)
BRIER_SCORE_LAW = Law(brier_score_escape_time, partial(_log_speedup, truth_power=1, rest_power=2))
MEAN_ABSOLUTE_ERROR_LAW = Law(mean_absolute_error_escape_time, partial(_log_speedup, truth_power=1))
GENERALIZED_CROSS_ENTROPY_LAW = Law(generalized_cross_entropy_escape_time, _log_speedup)
FOCAL_LOSS_LAW = Law(focal_loss_escape_time, _focal_loss_log_speedup)


def steps_to_escape(
    law: Law,
    margin: ArrayLike,
    num_classes: ArrayLike,
    *exponent: ArrayLike,
    learning_rate: ArrayLike,
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent makes up a margin m, by the law of its loss.

        N = T/η + ½ ln(f₁/f₀) + O(η)

    f is the speed of the gap under the flow, f₀ at the start and f₁ at the tie. Descent is Euler's
    rule for the flow, and its points lie on the flow of the speed f − ½ η f f′ + O(η²) (the
    modified equation); dn = dg (1 + ½ η f′ + …)/(η f) integrates to T/η and the logarithm.

        law                              f₁/f₀
        `CROSS_ENTROPY_LAW`              (K + e⁻ᵐ)/C
        `BRIER_SCORE_LAW`                eᵐ [(K + e⁻ᵐ)/C]³
        `MEAN_ABSOLUTE_ERROR_LAW`        eᵐ [(K + e⁻ᵐ)/C]²
        `GENERALIZED_CROSS_ENTROPY_LAW`  e^{γm} [(K + e⁻ᵐ)/C]^{γ+1}
        `FOCAL_LOSS_LAW`                 the ratio of `focal_loss_push` at the tie and at the start

    One sigmoid logit is two classes at a smaller step, because the gap between two logits moves at
    twice the rate: pass η/2 for cross-entropy and η/4 for (σ − y)², see
    `sigmoid_squared_error_escape_time`; for ½(σ − y)² pass η/8.

    Args:
        law: T and ln(f₁/f₀) of the loss.
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        exponent: γ ≥ 0 of generalised cross-entropy and of the focal loss, broadcast with the
            margin; not checked. The other laws have none.
        learning_rate: η of plain gradient descent, small: for η ≤ 0.1 N is right to 0.01 for
            cross-entropy and for one sigmoid logit, and to 0.02 for the others. For the mean
            squared error pass η/C with the law of the Brier score. The law of mean absolute error
            is that of the mean over the classes.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        The same mistake and the same step size under five losses:

        >>> from jaxent.theory import escape
        >>> for law, *exponent in (
        ...     (escape.FOCAL_LOSS_LAW, 2.0),
        ...     (escape.CROSS_ENTROPY_LAW,),
        ...     (escape.GENERALIZED_CROSS_ENTROPY_LAW, 0.5),
        ...     (escape.BRIER_SCORE_LAW,),
        ...     (escape.MEAN_ABSOLUTE_ERROR_LAW,),
        ... ):
        ...     print(f"{escape.steps_to_escape(law, 8.0, 2, *exponent, learning_rate=0.1):.1f}")
        43.3
        44.7
        553.3
        3762.3
        14988.1

        One sigmoid logit under cross-entropy, and under squared error:

        >>> for law, rate in (escape.CROSS_ENTROPY_LAW, 0.1 / 2), (escape.BRIER_SCORE_LAW, 0.1 / 4):
        ...     print(f"{escape.steps_to_escape(law, 8.0, 2, learning_rate=rate):.1f}")
        89.7
        15040.2
    """
    margin, rate, *others = as_floats(margin, learning_rate, num_classes, *exponent)
    return law.time(margin, *others) / rate + law.log_speedup(margin, *others) / 2


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
        >>> print(f"{theory.escape.logit_squared_error_escape_steps(8.0, learning_rate=0.1):.1f}")
        9.9
    """
    margin, learning_rate = as_floats(margin, learning_rate)
    rate = 2 * learning_rate
    shrink = jnp.minimum(rate, 1)
    behind = lax.stop_gradient(jnp.floor(jnp.log1p(margin) / -jnp.log1p(-shrink)))
    distance = (1 + margin) * (1 - shrink) ** behind
    return behind + (distance - 1) / (rate * distance)


# From any start, by the flow


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
        ...     print(f"{theory.escape.cross_entropy_escape_time_from(logits, label=0):.3f}")
        5.500
        5.504
        5.678
    """
    return _escape_time_from(*as_floats(logits), label)


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
    return gained(end) + integral(lambda u: jnp.exp(u + gained(u) - margin), end)
