"""Losses and points that the tests of several modules look at."""

import jax
import jax.numpy as jnp
import numpy as np

# Losses written out, so that these tests do not depend on `jaxent.losses`.


@jax.jit
def cross_entropy(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z))


@jax.jit
def brier_score(z, p):
    return jnp.sum(jnp.square(jax.nn.softmax(z) - p))


@jax.jit
def raw_squared_error(z, p):
    return jnp.sum(jnp.square(z - p))


@jax.custom_vjp
def by_hand(z, p):
    """Cross-entropy with a gradient written by hand, which leaves no forward mode."""
    return cross_entropy(z, p)


by_hand.defvjp(
    lambda z, p: (cross_entropy(z, p), (z, p)),
    lambda kept, cotangent: (cotangent * (jax.nn.softmax(kept[0]) - kept[1]), None),
)


def softmax(z):
    e = np.exp(z - np.max(z, -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def examples(*shape):
    """Logits and soft targets."""
    generator = np.random.default_rng(0)
    return 2 * generator.normal(size=shape), softmax(generator.normal(size=shape))
