"""Primitives that move numbers about: reshaped, sliced, found by an index, and put at one."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jax import lax
from jax.extend import core
from numpy.lib.stride_tricks import sliding_window_view

from jaxent._javascript.elementwise import INDEX, both, clamp, pick, select
from jaxent._javascript.program import Array, Equation, Operate, Scalar, array_of, as_scalars


def _move(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    """Where each number goes is learned by moving the numbers of their places."""
    scalars = np.concatenate([x.ravel() for x in inputs])
    ends = np.cumsum([x.size for x in inputs])
    places = np.split(np.arange(scalars.size, dtype=np.int32), ends[:-1])
    shaped = [x.reshape(like.shape) for x, like in zip(places, inputs, strict=True)]
    moved = eqn.primitive.bind(*shaped, **eqn.params)
    moved = moved if eqn.primitive.multiple_results else [moved]
    return [scalars[np.ravel(x)].reshape(x.shape) for x in moved]


def _dynamic_slice(operate: Operate, eqn: Equation, operand: Array, *start: Array) -> list[Array]:
    aval, index = eqn.outvars[0].aval, [x.item() for x in start]
    windows = sliding_window_view(operand, aval.shape)
    places = np.ndindex(aval.shape)
    scalars = [pick(operate, aval.dtype, windows[(..., *place)], index) for place in places]
    return [array_of(scalars, aval.shape)]


def _dynamic_update_slice(
    operate: Operate, eqn: Equation, operand: Array, update: Array, *start: Array
) -> list[Array]:
    result, dtype = operand.copy(), eqn.outvars[0].aval.dtype
    windows = sliding_window_view(result, update.shape, writeable=True)
    index = _clipped(operate, [x.item() for x in start], windows)
    for place, scalar in np.ndenumerate(update):
        _put(operate, None, dtype, windows[(..., *place)], index, scalar)
    return [result]


def _gather(operate: Operate, eqn: Equation, operand: Array, indices: Array) -> list[Array]:
    aval, mode = eqn.outvars[0].aval, eqn.params["mode"]
    windows = sliding_window_view(operand, eqn.params["slice_sizes"])
    ends = [count - 1 for count in windows.shape[: operand.ndim]]
    # all windows start outside, so this is what JAX fills in
    outside = np.zeros(operand.shape, aval.dtype), np.full(indices.shape, -1, np.int32)
    fill = as_scalars(eqn.primitive.bind(*outside, **eqn.params))
    result = np.empty(aval.shape, object)
    for element, start, place in _places(eqn, aval.shape, operand.ndim, indices):
        picked = pick(operate, aval.dtype, windows[(..., *place)], start)
        if mode == lax.GatherScatterMode.FILL_OR_DROP:
            inside = [operate(lax.ge_p, INDEX, x, 0) for x in start]
            inside += [operate(lax.le_p, INDEX, x, end) for x, end in zip(start, ends, strict=True)]
            picked = select(operate, aval.dtype, both(operate, *inside), picked, fill[element])
        result[element] = picked
    return [result]


def _scatter(
    primitive: core.Primitive | None, operate: Operate, eqn: Equation, *inputs: Array
) -> list[Array]:
    """One update after the other; a primitive combines each with what is there."""
    operand, indices, updates = inputs
    result, dtype = operand.copy(), eqn.outvars[0].aval.dtype
    dims, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    dropped = (*dims.inserted_window_dims, *dims.operand_batching_dims)
    sizes = [updates.shape[d] for d in dims.update_window_dims]
    window = np.expand_dims(np.empty(sizes), dropped)
    windows = sliding_window_view(result, window.shape, writeable=True)
    for element, start, place in _places(eqn, updates.shape, operand.ndim, indices):
        clipped = mode == lax.GatherScatterMode.CLIP
        index = _clipped(operate, start, windows) if clipped else start
        _put(operate, primitive, dtype, windows[(..., *place)], index, updates[element])
    return [result]


def _places(
    eqn: Equation, shape: tuple[int, ...], operand_ndim: int, indices: Array
) -> Iterator[tuple[tuple[int, ...], list[Scalar], np.ndarray]]:
    """Where each number of a gather's result, or of a scatter's updates, belongs in the operand.

    Its place in the array of this shape, where its window starts, and its place in the window.
    """
    # both kinds of dimension numbers have these fields in this order, under names of their own
    window_dims, dropped, indexed, *batched = map(list, eqn.params["dimension_numbers"])
    in_window = np.delete(np.arange(operand_ndim), dropped + batched[0])
    for element in np.ndindex(shape):
        row = np.delete(np.array(element, int), window_dims)
        start, place = np.zeros(operand_ndim, object), np.zeros(operand_ndim, int)
        start[indexed], start[batched[0]] = indices[tuple(row)], row[batched[1]]
        place[in_window] = np.array(element, int)[window_dims]
        yield element, start.tolist(), place


def _clipped(operate: Operate, start: Sequence[Scalar], windows: Array) -> list[Scalar]:
    return [clamp(operate, INDEX, 0, x, n - 1) for x, n in zip(start, windows.shape, strict=False)]


def _put(
    operate: Operate,
    primitive: core.Primitive | None,
    dtype: np.dtype,
    options: Array,
    index: Sequence[Scalar],
    update: Scalar,
) -> None:
    """options[index] = update, or what the primitive makes of both; nothing if that is outside."""
    for place, old in np.ndenumerate(options):
        matches = [operate(lax.eq_p, INDEX, x, n) for x, n in zip(index, place, strict=True)]
        here = both(operate, *matches)
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
