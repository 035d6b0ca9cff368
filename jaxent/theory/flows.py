"""How descent moves the probabilities, and how long it takes from a uniform Q."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent.theory._arrays import as_floats, product
from jaxent.theory.gradients import softmax_jacobian


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
        ...     print(f"{theory.flows.flow_velocity(q, p, jacobians)[0]:.1e}")
        1.0e+00
        1.9e-03
        3.8e-06
    """
    q, p = as_floats(q, p)
    jacobian = softmax_jacobian(q)
    velocity = p - q
    for _ in range(num_jacobians):
        velocity = product(jacobian, velocity)
    return velocity


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
        >>> step = theory.flows.exponentiated_gradient_step(q, 2 * (q - p), learning_rate=0.5)
        >>> print(step.round(4))
        [0.0601 0.5947 0.3452]
        >>> gradient = theory.gradients.cross_entropy_logit_gradient(q, p)
        >>> print(jax.nn.softmax(z - 1.0 * gradient).round(4))
        [0.0601 0.5947 0.3452]

    References:
        J. Kivinen, M. Warmuth, Exponentiated Gradient versus Gradient Descent for Linear
        Predictors, 1997.
    """
    q, gradient, learning_rate = as_floats(q, gradient, learning_rate)
    exponents = -learning_rate * gradient
    top = jnp.max(jnp.where(q > 0, exponents, -jnp.inf), axis=-1, keepdims=True)
    # Above the top are only classes of q = 0, and 0 · ∞ is no number.
    weights = q * jnp.exp(jnp.minimum(exponents - lax.stop_gradient(top), 0))
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


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
        ...     print(f"{theory.flows.cross_entropy_time_to_half(classes):.2f}")
        0.00
        5.53
        10.21
    """
    (classes,) = as_floats(num_classes)
    wrong = classes - 1
    return (classes - 2 + wrong * jnp.log(wrong)) / classes


def brier_score_time_to_half(num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time of gradient flow on the Brier score from uniform Q to q_y = ½: about C/2.

        T = [½(K² − 1) + 3K(K − 1) + 3K² ln K + K²(K − 1)] / (2C²)

    The formula of `theory.escape.brier_score_escape_time` between the margins 0 and −ln K. At the
    uniform start the push is about 2/C: what a confident mistake is for few classes, the start is
    for many.

    Args:
        num_classes: C ≥ 2; not checked.

    Returns:
        T, in units of learning rate × steps. Multiply by C for the mean squared error: C²/2.

    Example:
        >>> from jaxent import theory
        >>> for classes in (2, 100, 10_000):
        ...     print(f"{theory.flows.brier_score_time_to_half(classes):.2f}")
        0.00
        56.48
        5013.56
    """
    (classes,) = as_floats(num_classes)
    wrong = classes - 1
    share = wrong / classes
    polynomial = (classes - 2) * (1 / (2 * classes) + 3 * share / classes + share**2)
    return (polynomial + 3 * share**2 * jnp.log(wrong)) / 2
