"""The sigmoid σ of one logit s, and the derivative rules that keep its digits.

All functions start from exp(−|s|), the odds against the likelier side, which never overflow.
1 − σ(s) is computed as σ(−s), without a subtraction.

The kernel of a loss is `kernel(s, y)`, of logits and labels, elementwise. Nothing here checks its
arguments; float32 or float64 go in.
"""

import jax
import jax.numpy as jnp

from jaxent._softmax import times


def odds(s):
    """exp(−|s|), the odds against the likelier side."""
    return jnp.exp(-jnp.abs(s))


@jax.custom_jvp
def sigmoid(s):
    against = odds(s)
    return jnp.where(s < 0, against, 1.0) / (1 + against)


@sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    (s,), (s_dot,) = primals, tangents
    return sigmoid(s), sigmoid(s) * sigmoid(-s) * s_dot


@jax.custom_jvp
def residual(s, y):
    """σ(s) − y, to the last digit also where σ is nearly y = 1."""
    against = odds(s)
    return ((jnp.where(s < 0, against, 1.0) - y) - y * against) / (1 + against)


@residual.defjvp
def _residual_jvp(primals, tangents):
    (s, y), (s_dot, y_dot) = primals, tangents
    return residual(s, y), sigmoid(s) * sigmoid(-s) * s_dot - y_dot


@jax.custom_jvp
def binary_cross_entropy(s, y):
    """−y log σ(s) − (1 − y) log(1 − σ(s))."""
    # −log of the likelier side is log1p(odds), and of the other |s| more
    unlikely = jnp.where(s < 0, y, 1 - y)
    return jnp.log1p(odds(s)) + jnp.where(unlikely == 0, 0.0, unlikely * jnp.abs(s))


@binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (s, y), (s_dot, y_dot) = primals, tangents
    value_dot = residual(s, y) * s_dot + times(y_dot, -s)
    return binary_cross_entropy(s, y), value_dot


def squared_error(s, y):
    """(σ(s) − y)²."""
    return jnp.square(residual(s, y))
