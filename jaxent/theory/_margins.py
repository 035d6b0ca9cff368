"""The probabilities of a truth that stands a margin behind every wrong class."""

import jax.numpy as jnp
from jax import Array, lax


def truth_and_rest(margin: Array, classes: Array) -> tuple[Array, Array]:
    """a and 1 − a, both with all their digits: the softmax of (0, m) where m stands K times."""
    # The shift cancels in both quotients, so its derivative is left out.
    shift = lax.stop_gradient(jnp.maximum(margin, 0))
    truth = jnp.exp(-shift)
    rest = (classes - 1) * jnp.exp(margin - shift)
    return truth / (truth + rest), rest / (truth + rest)


def surprisal(margin: Array, classes: Array) -> Array:
    """−ln a = ln(1 + K eᵐ), with all its digits at both ends."""
    shift = lax.stop_gradient(jnp.maximum(margin, 0))
    return shift + jnp.log1p((classes - 1) * jnp.exp(margin - shift) + jnp.expm1(-shift))
