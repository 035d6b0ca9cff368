"""Primitives that move numbers about: reshaped, sliced, found by an index, and put at one."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, SupportsIndex

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxent._javascript.elementwise import BOOL, INDEX, both, clamp, pick, select
from jaxent._javascript.program import Array, Equation, Operate, Scalar, array_of, as_scalars


def _move(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    """Where each number goes is learned by moving the numbers of their places."""
    scalars = np.concatenate([x.ravel() for x in inputs])
    ends = np.cumsum([x.size for x in inputs])
    places = [
        np.arange(end - x.size, end, dtype=np.int32).reshape(x.shape)
        for x, end in zip(inputs, ends, strict=True)
    ]
    moved = eqn.primitive.bind(*places, **eqn.params)
    moved = moved if eqn.primitive.multiple_results else [moved]
    return [scalars[np.ravel(x)].reshape(x.shape) for x in moved]


def _dynamic_slice(operate: Operate, eqn: Equation, operand: Array, *start: Array) -> list[Array]:
    aval = eqn.outvars[0].aval
    room = _room(operand, aval.shape)
    index = [x.item() for x in start]
    scalars = [
        pick(operate, aval.dtype, _reachable(operand, room, offset), index)
        for offset in np.ndindex(aval.shape)
    ]
    return [array_of(scalars, aval.shape)]


def _dynamic_update_slice(
    operate: Operate, eqn: Equation, operand: Array, update: Array, *start: Array
) -> list[Array]:
    result, dtype = operand.copy(), eqn.outvars[0].aval.dtype
    room = _room(operand, update.shape)
    index = _clipped(operate, [x.item() for x in start], room)
    for offset in np.ndindex(update.shape):
        options = _reachable(result, room, offset)
        _put(operate, None, dtype, options, index, update[offset])
    return [result]


def _gather(operate: Operate, eqn: Equation, operand: Array, indices: Array) -> list[Array]:
    aval, dims, mode = eqn.outvars[0].aval, eqn.params["dimension_numbers"], eqn.params["mode"]
    room = _room(operand, eqn.params["slice_sizes"])
    fill = _fill_value(eqn.params["fill_value"], aval.dtype)
    results = []
    for _, start, offset in _windows(aval.shape, operand.ndim, indices, dims):
        picked = pick(operate, aval.dtype, _reachable(operand, room, offset), start)
        if mode == lax.GatherScatterMode.FILL_OR_DROP:
            inside = [operate(lax.ge_p, INDEX, x, 0) for x in start]
            inside += [operate(lax.le_p, INDEX, x, r) for x, r in zip(start, room, strict=True)]
            picked = select(operate, aval.dtype, both(operate, *inside), picked, fill)
        results.append(picked)
    return [array_of(results, aval.shape)]


def _fill_value(given: Any, dtype: np.dtype) -> Scalar:
    if given is not None:
        return as_scalars(np.asarray(given, dtype)).item()
    if jnp.issubdtype(dtype, jnp.floating):
        return math.nan
    if dtype == BOOL:
        return True
    limits = jnp.iinfo(dtype)
    return limits.min if limits.min < 0 else limits.max


def _scatter(
    primitive: core.Primitive | None, operate: Operate, eqn: Equation, *inputs: Array
) -> list[Array]:
    """One update after the other; a primitive combines each with what is there."""
    operand, indices, updates = inputs
    result, dtype = operand.copy(), eqn.outvars[0].aval.dtype
    dims, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    dropped = (*dims.inserted_window_dims, *dims.operand_batching_dims)
    window = iter(dims.update_window_dims)
    sizes = [1 if d in dropped else updates.shape[next(window)] for d in range(operand.ndim)]
    room = _room(operand, sizes)
    for element, start, offset in _windows(updates.shape, operand.ndim, indices, dims):
        index = _clipped(operate, start, room) if mode == lax.GatherScatterMode.CLIP else start
        options = _reachable(result, room, offset)
        _put(operate, primitive, dtype, options, index, updates[element])
    return [result]


def _windows(
    shape: tuple[int, ...], operand_ndim: int, indices: Array, dims: Sequence[Sequence[int]]
) -> Iterator[tuple[tuple[int, ...], list[Scalar], list[int]]]:
    """Where each number of a gather's result, or of a scatter's updates, belongs in the operand.

    Its place in the array of this shape, where its window starts, and its place in the window.
    """
    # both kinds of dimension numbers have these fields in this order, under names of their own
    window_dims, dropped, indexed, *batched = dims
    in_window = [d for d in range(operand_ndim) if d not in (*dropped, *batched[0])]
    for element in np.ndindex(shape):
        row = tuple(n for d, n in enumerate(element) if d not in window_dims)
        start: list[Scalar] = [0] * operand_ndim
        offset = [0] * operand_ndim
        for d, scalar in zip(indexed, indices[row], strict=True):
            start[d] = scalar
        for d, of_row in zip(*batched, strict=True):
            start[d] = row[of_row]
        for d, window_dim in zip(in_window, window_dims, strict=True):
            offset[d] = element[window_dim]
        yield element, start, offset


def _room(operand: Array, window: Iterable[SupportsIndex]) -> list[int]:
    """How far a window of this shape may start from the first number, along every axis."""
    return [size - int(width) for size, width in zip(operand.shape, window, strict=True)]


def _reachable(operand: Array, room: Iterable[int], offset: Iterable[int]) -> Array:
    """The part of the operand on which a place in a window may fall, as a view."""
    return operand[tuple(slice(o, o + r + 1) for o, r in zip(offset, room, strict=True))]


def _clipped(operate: Operate, start: Iterable[Scalar], room: Iterable[int]) -> list[Scalar]:
    return [clamp(operate, INDEX, 0, x, most) for x, most in zip(start, room, strict=True)]


def _put(
    operate: Operate,
    primitive: core.Primitive | None,
    dtype: np.dtype,
    options: Array,
    index: Sequence[Scalar],
    update: Scalar,
) -> None:
    """options[index] = update, or what the primitive makes of both; nothing if that is outside."""
    for place in np.ndindex(options.shape):
        matches = [operate(lax.eq_p, INDEX, x, n) for x, n in zip(index, place, strict=True)]
        here, old = both(operate, *matches), options[place]
        if here is not False:
            new = operate(primitive, dtype, old, update) if primitive else update
            options[place] = select(operate, dtype, here, new, old)


RULES = {
    **dict.fromkeys(("broadcast_in_dim", "concatenate", "pad", "reshape", "rev", "slice"), _move),
    **dict.fromkeys(("split", "squeeze", "stack", "tile", "transpose", "unstack"), _move),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "scatter": partial(_scatter, None),
    "scatter_add": partial(_scatter, lax.add_p),
    "scatter_sub": partial(_scatter, lax.sub_p),
    "scatter_mul": partial(_scatter, lax.mul_p),
    "scatter_max": partial(_scatter, lax.max_p),
    "scatter_min": partial(_scatter, lax.min_p),
}
