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


def softmax(z):
    e = np.exp(z - np.max(z, -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def examples(*shape):
    """Logits and soft targets."""
    generator = np.random.default_rng(0)
    return 2 * generator.normal(size=shape), softmax(generator.normal(size=shape))
