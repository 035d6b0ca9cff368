"""Central differences of eighth order, the noise of computed numbers, and the trust in both."""

from collections.abc import Callable, Sequence
from functools import partial
from math import factorial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jax.typing import ArrayLike

from jaxent._examples import Loss

# Powers of 2, so that z ± k h is exact for logits of moderate precision.
_STEPS = (1 / 8, 1 / 32, 1 / 128, 1 / 512, 1 / 2048, 1 / 8192, 1 / 32768)


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
    rounding makes f a staircase, and small steps may stay on one stair and see no noise. For that
    there is `rounding`.

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
    return jnp.where(jnp.isfinite(measured), measured, 0.0)


@jax.jit
def noise_of_values(around: Array, centre: Array, least: Array) -> Array:
    """The noise of the values of each example.

    Args:
        around: the values at z ± k h eᵢ, [..., C, 2, steps, 4].
        centre: the values at z, [...].
        least: what is known of the noise otherwise, [...].

    Returns:
        σ, [..., 1]: the same for all entries, as they all differ from the same value.
    """
    measured = noise(around, jnp.broadcast_to(centre[..., None], around.shape[:-3]))
    return jnp.maximum(jnp.max(measured, axis=-1), least)[..., None]


def rounding(value: Loss) -> Callable[[Array, Array], tuple[Array, Array]]:
    """The rounding errors of a value and of its gradient by reverse mode.

    Every operation of the program that rounds is made to err by one unit in the last place of its
    result, up or down at random. The change of the results is what rounding does to them. Lost
    digits show, even where neighbouring points lose them alike.

    Args:
        value: a loss of one example.

    Returns:
        A function of z and p. It returns the largest change of the value, a scalar, and of each
        entry of the gradient, [C], at z and at a few points that differ from z by about 1e-9.

    References:
        J. Vignes, Discrete Stochastic Arithmetic for Validating Results of Numerical Software,
        Numerical Algorithms 37, 2004: rounding errors by random rounding.
    """

    def errors(z: Array, p: Array) -> tuple[Array, Array]:
        def plain(z: Array) -> tuple[Array, Array]:
            value_there, gradient = jax.value_and_grad(value)(z, p)
            return jnp.asarray(value_there), gradient

        program = jax.make_jaxpr(plain)(z)
        traced = jaxpr_as_fun(program)  # the loss itself would be traced again
        random = np.random.default_rng(0)
        points = z + jnp.asarray(random.integers(-9, 10, [16, z.size]) * 2.0**-30, z.dtype)
        seeds = jnp.asarray(random.integers(0, 2**32, 16), jnp.uint32)

        def change(z: Array, seed: Array) -> tuple[Array, Array]:
            there, gradient = traced(z)
            erring, erring_gradient = _run_erring(program.jaxpr, program.consts, seed, z)
            return jnp.abs(there - erring), jnp.abs(gradient - erring_gradient)

        def largest(changes: Array) -> Array:
            return jnp.max(jnp.where(jnp.isfinite(changes), changes, 0.0), axis=0)

        return jax.tree.map(largest, jax.vmap(change)(points, seeds))

    return errors


# What returns one of its operands, or part of one.
_EXACT = {
    *("abs", "broadcast_in_dim", "ceil", "clamp", "concatenate", "copy", "copy_p", "device_put"),
    *("dynamic_slice", "dynamic_update_slice", "expand_dims", "floor", "gather", "imag", "iota"),
    *("max", "min", "name", "neg", "optimization_barrier", "pad", "real", "reduce_max"),
    *("reduce_min", "reshape", "rev", "round", "scatter", "select_n", "sign", "slice", "sort"),
    *("split", "squeeze", "stop_gradient", "transpose"),
}
# What runs a program of its own, once.
_CALLS = {
    *("checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
    *("custom_vjp_call_jaxpr", "custom_vmap_call", "jit", "pjit", "remat", "remat2"),
}
# What runs programs of its own, some of them often or not at all.
_LOOPS = {"cond", "scan", "while"}
# Code that JAX does not see. It may subtract numbers as large as its inputs.
_FOREIGN = {"pure_callback", "io_callback", "ffi_call"}


def _run_erring(
    program: Jaxpr, consts: Sequence[Any], seed: ArrayLike, *operands: Any
) -> list[Any]:
    """The results of a program whose every rounding operation errs."""
    known: dict[Any, Any] = dict(zip(program.constvars, consts, strict=True))
    known |= dict(zip(program.invars, operands, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in program.eqns:
        primitive, parameters = equation.primitive, equation.params
        given = [*map(read, equation.invars)]
        called = parameters.get("jaxpr", parameters.get("call_jaxpr"))
        if primitive.name in _CALLS and called is not None:
            inner = getattr(called, "jaxpr", called)
            results = _run_erring(inner, getattr(called, "consts", ()), seed, *given)
        else:
            if primitive.name in _LOOPS:
                parameters = {name: _erring(part) for name, part in parameters.items()}
            bound: Any = primitive.get_bind_params(parameters)
            # JAX before 0.10 gives the functions beside the parameters, not in them.
            functions, parameters = bound if isinstance(bound, tuple) else ((), bound)
            results = primitive.bind(*functions, *given, **parameters)
            results = results if primitive.multiple_results else [results]
        if _rounds(equation):
            results = [_moved(result, seed) for result in results]
        if primitive.name in _FOREIGN:
            results = [_moved_by_inputs(result, given, seed) for result in results]
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in program.outvars]


def _erring(part: Any) -> Any:
    """A parameter of a loop; the programs in it err, always alike."""
    if isinstance(part, ClosedJaxpr):
        like = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in part.in_avals]
        return jax.make_jaxpr(partial(_run_erring, part.jaxpr, part.consts, np.uint32(0)))(*like)
    return tuple(map(_erring, part)) if type(part) is tuple else part


def _rounds(equation: JaxprEqn) -> bool:
    if equation.primitive.name == "convert_element_type":
        operand: Any = equation.invars[0].aval
        result: Any = equation.outvars[0].aval
        if not (_is_floating(operand.dtype) and _is_floating(result.dtype)):
            return False
        return bool(jnp.finfo(result.dtype).eps > jnp.finfo(operand.dtype).eps)
    return equation.primitive.name not in _EXACT | _CALLS | _LOOPS


def _is_floating(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating))


def _moved(x: Any, seed: ArrayLike) -> Any:
    return _neighbour(x, seed) if hasattr(x, "dtype") and _is_floating(x.dtype) else x


def _moved_by_inputs(x: Any, inputs: Sequence[Any], seed: ArrayLike) -> Any:
    """A number moved by a few units in the last place of the largest of some others."""
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(one)) for one in inputs]))
    sign = jnp.where(_moved(x, seed) < x, -1, 1)
    return x + (4 * jnp.finfo(x.dtype).eps * sign * largest).astype(x.dtype)


@jax.jit  # traced once for all numbers of a shape
def _neighbour(x: Array, seed: ArrayLike) -> Array:
    """A number moved by one unit in the last place; zeros and what is not finite stay."""
    size = jnp.finfo(x.dtype).bits
    integers = jnp.dtype(f"uint{size}")
    bits = jax.lax.bitcast_convert_type(x, integers)
    # Knuth's multiplicative hash: its top bit depends on all bits.
    odd = np.array(0x9E3779B97F4A7C15 >> (64 - size) | 1).astype(integers)
    bits_and_seed = bits ^ jnp.asarray(seed).astype(integers)
    mixed = (bits_and_seed ^ (bits_and_seed >> (size // 2))) * odd
    one, two = np.array([1, 2], integers)
    neighbour = jax.lax.bitcast_convert_type(bits - one + two * (mixed >> (size - 1)), x.dtype)
    return jnp.where((x == 0) | ~jnp.isfinite(x), x, neighbour)


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
    # Without the noise, small steps that agree by chance would win. So would two large steps, if
    # the next smaller one did not have to agree with them.
    of_noise = 8 * jnp.asarray(noise)[..., None] / steps
    apart = jnp.abs(derivatives[..., :-1] - derivatives[..., 1:])
    errors = jnp.maximum(apart, jnp.append(apart[..., 1:], apart[..., -1:], axis=-1))
    errors = errors + of_noise[..., :-1]
    least = jnp.nanmin(errors, axis=-1, keepdims=True)
    best = first(errors == least, axis=-1)[..., None]

    def at_best(x: Array) -> Array:
        return jnp.take_along_axis(x, best, axis=-1)[..., 0]

    return at_best(derivatives), at_best(steps), at_best(errors)


def first(flags: Array, axis: int) -> Array:
    """The index of the first flag that is set along an axis."""
    # An argmin in float64 or an index in int64 is more than JAX can lower for a jit around x64.
    return jax.lax.argmax(flags, axis % flags.ndim, jnp.int32)
