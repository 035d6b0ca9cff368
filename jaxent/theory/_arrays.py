"""Arrays of one dtype, and products with all their digits."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def as_floats(first: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """All of them as arrays in the dtype of the first, or the default one if that is no float."""
    first = jnp.asarray(first)
    dtype = jnp.result_type(first, float)
    return tuple(jnp.asarray(x, dtype) for x in (first, *others))


def product(matrix: Array, vector: Array) -> Array:
    """The matrix times the vector."""
    # Left to itself, an accelerator multiplies float32 matrices in fewer digits.
    return jnp.matmul(matrix, vector, precision="highest")
