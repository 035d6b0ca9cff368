"""Central differences of eighth order, and how far each can be trusted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxent._examples import Loss

# Powers of 2, so that z ± k h is exact for logits of moderate precision.
_STEPS = (1 / 32, 1 / 128, 1 / 512, 1 / 2048, 1 / 8192, 1 / 32768)


def distances() -> np.ndarray:
    """k h for both signs, every step h, and k = 1 … 4."""
    ahead = np.outer(_STEPS, np.arange(1.0, 5.0))
    return np.stack([ahead, -ahead])


def samples(value: Loss) -> Callable[[Array, Array], Array]:
    """The values at z ± k h eᵢ for every class i, both signs, every step h, and k = 1 … 4."""

    def around(z: Array, p: Array) -> Array:
        moves = jnp.asarray(distances())

        def along(i: Array) -> Array:
            values = jax.vmap(lambda move: value(z.at[i].add(move), p))
            return values(moves.ravel()).reshape(moves.shape)

        return jax.lax.map(along, jnp.arange(z.size, dtype=jnp.int32))

    return around


@jax.jit
def central_differences(samples: Array, rounding_unit: ArrayLike) -> tuple[Array, Array, Array]:
    """(derivatives, steps, uncertainties), each at the step that is to be trusted most."""
    weights = jnp.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
    derivatives = (samples[..., 0, :, :] - samples[..., 1, :, :]) @ weights
    steps = jnp.broadcast_to(jnp.array(_STEPS), derivatives.shape)
    derivatives = derivatives / steps
    # Without the rounding, small steps that agree by chance would win.
    largest = jnp.max(jnp.abs(samples), axis=(-3, -1))
    rounding = rounding_unit * largest / steps
    errors = jnp.abs(derivatives[..., :-1] - derivatives[..., 1:]) + rounding[..., :-1]
    least = jnp.nanmin(errors, axis=-1, keepdims=True)
    best = first(errors == least, axis=-1)[..., None]

    def at_best(x: Array) -> Array:
        return jnp.take_along_axis(x, best, axis=-1)[..., 0]

    return at_best(derivatives), at_best(steps), at_best(errors)


def first(flags: Array, axis: int) -> Array:
    """The index of the first flag that is set along an axis."""
    # An argmin in float64 or an index in int64 is more than JAX can lower for a jit around x64.
    return jax.lax.argmax(flags, axis % flags.ndim, jnp.int32)
