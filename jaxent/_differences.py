"""Central differences of eighth order, the noise of computed numbers, and the trust in both."""

from collections.abc import Callable
from math import factorial

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


def samples(value: Loss) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Values at z ± k h eᵢ, and the noise of the gradients there.

    Args:
        value: a loss of one example.

    Returns:
        A function of z and p. It returns the values for every class i, both signs, every step h
        and k = 1 … 4, [C, 2, steps, 4]. It also returns the largest noise of each entry of the
        gradient, [C].
    """
    value_and_gradient = jax.value_and_grad(value)

    def around(z: Array, p: Array) -> tuple[Array, Array]:
        moves = jnp.asarray(distances())
        centre = jax.grad(value)(z, p)

        def along(i: Array) -> tuple[Array, Array]:
            at = jax.vmap(lambda move: value_and_gradient(z.at[i].add(move), p))
            values, gradients = at(moves.ravel())
            gradients = jnp.moveaxis(gradients.reshape(*moves.shape, -1), -1, 0)
            return values.reshape(moves.shape), noise(gradients, centre)

        values, noises = jax.lax.map(along, jnp.arange(z.size, dtype=jnp.int32))
        return values, jnp.max(noises, axis=0)

    return around


@jax.jit
def noise(samples: Array, centre: Array) -> Array:
    """The size of the rounding errors in computed numbers f(z ± k h e), from the numbers alone.

    Differences of high order remove a smooth f and keep the noise. The k-th differences of m + 1
    equally spaced numbers with independent noise of variance σ² satisfy

        E[(Δᵏf)²] = (2k)!/(k!)² σ².

    The estimate is the largest σ of the orders 6, 7 and 8 and of the two smallest steps. Coarse
    rounding makes f a staircase. Small steps may then stay on one stair and see no noise. So where
    neighbours at the smallest step are equal, σ is at least the height of the lowest stair.

    Args:
        samples: f at z ± k h e, [..., 2, steps, 4], in the order of `distances`.
        centre: f(z), [...].

    Returns:
        σ, [...]; 0 where f is constant or not finite.

    References:
        J. J. Moré, S. M. Wild, Estimating Computational Noise, SIAM J. Sci. Comput. 33, 2011.
    """
    ahead, behind = samples[..., 0, :, :], samples[..., 1, :, :]
    middle = jnp.broadcast_to(centre[..., None, None], (*ahead.shape[:-1], 1))
    row = jnp.concatenate([behind[..., ::-1], middle, ahead], axis=-1)
    estimates = []
    for order in (6, 7, 8):
        variance = jnp.mean(jnp.square(jnp.diff(row[..., -2:, :], order)), axis=-1)
        estimates.append(variance * factorial(order) ** 2 / factorial(2 * order))
    measured = jnp.sqrt(jnp.max(jnp.stack(estimates), axis=(0, -1)))
    stairs = jnp.abs(jnp.diff(row, axis=-1))
    lowest = jnp.min(jnp.where(stairs > 0, stairs, jnp.inf), axis=(-2, -1))
    on_one_stair = jnp.any(stairs[..., -1, :] == 0, axis=-1)
    found = jnp.maximum(measured, jnp.where(on_one_stair, lowest, 0.0))
    return jnp.where(jnp.isfinite(found), found, 0.0)


@jax.jit
def noise_of_values(around: Array, centre: Array, rounding_unit: ArrayLike) -> Array:
    """The noise of the values of each example, and at least the rounding of the largest.

    Args:
        around: the values at z ± k h eᵢ, [..., C, 2, steps, 4].
        centre: the values at z, [...].
        rounding_unit: ε of the coarsest precision that the loss rounds to.

    Returns:
        σ, [..., 1]: the same for all entries, as they all differ from the same value.
    """
    measured = noise(around, jnp.broadcast_to(centre[..., None], around.shape[:-3]))
    finite = jnp.where(jnp.isfinite(around), jnp.abs(around), 0.0)
    least = rounding_unit * jnp.max(finite, axis=(-3, -2, -1))
    return jnp.max(jnp.maximum(measured, least), axis=-1, keepdims=True)


@jax.jit
def central_differences(samples: Array, noise: ArrayLike) -> tuple[Array, Array, Array]:
    """(derivatives, steps, uncertainties), each at the step that is to be trusted most.

    Args:
        samples: f at z ± k h e, [..., 2, steps, 4], in the order of `distances`.
        noise: the size of the rounding errors of f, [...] or to be broadcast to it.
    """
    weights = jnp.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
    derivatives = (samples[..., 0, :, :] - samples[..., 1, :, :]) @ weights
    steps = jnp.broadcast_to(jnp.array(_STEPS), derivatives.shape)
    derivatives = derivatives / steps
    # Without the noise, small steps that agree by chance would win.
    of_noise = 4 * jnp.asarray(noise)[..., None] / steps
    errors = jnp.abs(derivatives[..., :-1] - derivatives[..., 1:]) + of_noise[..., :-1]
    least = jnp.nanmin(errors, axis=-1, keepdims=True)
    best = first(errors == least, axis=-1)[..., None]

    def at_best(x: Array) -> Array:
        return jnp.take_along_axis(x, best, axis=-1)[..., 0]

    return at_best(derivatives), at_best(steps), at_best(errors)


def first(flags: Array, axis: int) -> Array:
    """The index of the first flag that is set along an axis."""
    # An argmin in float64 or an index in int64 is more than JAX can lower for a jit around x64.
    return jax.lax.argmax(flags, axis % flags.ndim, jnp.int32)
