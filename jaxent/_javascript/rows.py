"""Primitives that reduce rows of numbers, accumulate them, multiply them, or put them in order."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import SupportsIndex

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxent._javascript.elementwise import BOOL, both, kind, select
from jaxent._javascript.program import Array, Equation, Operate, Scalar, array_of


def along(x: Array, axes: Sequence[SupportsIndex]) -> Array:
    """[rows, n], n along the axes."""
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    return moved.reshape(-1, math.prod(x.shape[axis] for axis in axes))


def _fold(primitive: core.Primitive, operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    combine = partial(operate, primitive, eqn.invars[0].aval.dtype)
    rows = along(x, eqn.params["axes"])
    return [array_of((reduce(combine, row) for row in rows), eqn.outvars[0].aval.shape)]


def accumulate(primitive: core.Primitive, operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    """What the primitive makes of the first numbers of each row, up to each of them."""
    combine = partial(operate, primitive, eqn.invars[0].aval.dtype)
    step = -1 if eqn.params["reverse"] else 1

    def of_row(row: Array) -> Array:
        return array_of(itertools.accumulate(row[::step], combine))[::step]

    return [np.apply_along_axis(of_row, eqn.params["axis"], x)]


def _index_of(comparison: core.Primitive, operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    """The number of the first largest or smallest, or of the first NaN if there is one."""
    dtype, index_dtype = eqn.invars[0].aval.dtype, eqn.params["index_dtype"]

    def of_row(row: Array) -> Scalar:
        best, index = row[0], 0
        for n, x in enumerate(row[1:], 1):
            better = operate(comparison, dtype, x, best)
            if kind(dtype) == "floating":
                x_is_nan = operate(lax.ne_p, dtype, x, x)
                best_is_not = operate(lax.eq_p, dtype, best, best)
                first_nan = both(operate, x_is_nan, best_is_not)
                better = operate(lax.or_p, BOOL, better, first_nan)
            best = select(operate, dtype, better, x, best)
            index = select(operate, index_dtype, better, n, index)
        return index

    return [array_of(map(of_row, along(x, eqn.params["axes"])), eqn.outvars[0].aval.shape)]


def _sort(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    dtypes = [variable.aval.dtype for variable in eqn.invars]

    def before(x: Sequence[Scalar], y: Sequence[Scalar]) -> Scalar:
        earlier: Scalar = False
        for key in reversed(range(eqn.params["num_keys"])):
            later = _is_less(operate, dtypes[key], y[key], x[key])
            tied = both(operate, operate(lax.not_p, BOOL, later), earlier)
            less = _is_less(operate, dtypes[key], x[key], y[key])
            earlier = operate(lax.or_p, BOOL, less, tied)
        return earlier

    return _in_order(operate, before, dtypes, eqn.params["dimension"], *inputs)


def _top_k(operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    axis, dtypes = eqn.params.get("axis", -1), [variable.aval.dtype for variable in eqn.outvars]
    numbers = np.indices(x.shape)[axis].astype(object)
    ordered = _in_order(
        operate, lambda x, y: _is_less(operate, dtypes[0], y[0], x[0]), dtypes, axis, x, numbers
    )
    return [np.take(column, range(eqn.params["k"]), axis) for column in ordered]


def _is_less(operate: Operate, dtype: np.dtype, x: Scalar, y: Scalar) -> Scalar:
    """x < y, with NaN above all numbers."""
    less = operate(lax.lt_p, dtype, x, y)
    if kind(dtype) != "floating":
        return less
    x_is_number, y_is_nan = operate(lax.eq_p, dtype, x, x), operate(lax.ne_p, dtype, y, y)
    return operate(lax.or_p, BOOL, less, both(operate, x_is_number, y_is_nan))


def _in_order(
    operate: Operate,
    before: Callable[[Sequence[Scalar], Sequence[Scalar]], Scalar],
    dtypes: Sequence[np.dtype],
    axis: int,
    *columns: Array,
) -> list[Array]:
    """The columns, all in the order that puts `before` right between neighbours; a stable sort."""
    ordered = np.stack([np.moveaxis(x, axis, -1) for x in columns], -1)
    for items in ordered.reshape(-1, *ordered.shape[-2:]):
        for last in reversed(range(1, len(items))):
            for n in range(last):
                swap = before(items[n + 1], items[n])
                pairs = list(zip(dtypes, items[n], items[n + 1], strict=True))
                items[n] = [select(operate, d, swap, y, x) for d, x, y in pairs]
                items[n + 1] = [select(operate, d, swap, x, y) for d, x, y in pairs]
    return [np.moveaxis(x, -1, axis) for x in np.moveaxis(ordered, -1, 0)]


def _dot_general(operate: Operate, eqn: Equation, *sides: Array) -> list[Array]:
    contracted, batched = eqn.params["dimension_numbers"]
    aval = eqn.outvars[0].aval
    # half types are summed in float32
    dtype = np.dtype(np.float32) if aval.dtype in (jnp.float16, jnp.bfloat16) else aval.dtype
    matrices = []
    for x, variable, of_batch, summed in zip(sides, eqn.invars, batched, contracted, strict=True):
        free = [d for d in range(x.ndim) if d not in (*of_batch, *summed)]
        sizes = [math.prod(x.shape[d] for d in dims) for dims in (of_batch, free, summed)]
        convert = np.vectorize(partial(_converted, operate, variable.aval.dtype, dtype), [object])
        matrices.append(convert(x).transpose(*of_batch, *free, *summed).reshape(sizes))
    times, plus = partial(operate, lax.mul_p, dtype), partial(operate, lax.add_p, dtype)
    products = [
        _converted(operate, dtype, aval.dtype, reduce(plus, map(times, row, column)))
        for left, right in zip(*matrices, strict=True)
        for row, column in itertools.product(left, right)
    ]
    return [array_of(products, aval.shape)]


def _converted(operate: Operate, old: np.dtype, new: np.dtype, x: Scalar) -> Scalar:
    params = {"new_dtype": new, "weak_type": False, "sharding": None}
    return operate(lax.convert_element_type_p, old, x, **params)


RULES = {
    "reduce_sum": partial(_fold, lax.add_p),
    "reduce_prod": partial(_fold, lax.mul_p),
    "reduce_max": partial(_fold, lax.max_p),
    "reduce_min": partial(_fold, lax.min_p),
    "reduce_and": partial(_fold, lax.and_p),
    "reduce_or": partial(_fold, lax.or_p),
    "reduce_xor": partial(_fold, lax.xor_p),
    "cumsum": partial(accumulate, lax.add_p),
    "cumprod": partial(accumulate, lax.mul_p),
    "cummax": partial(accumulate, lax.max_p),
    "cummin": partial(accumulate, lax.min_p),
    "argmax": partial(_index_of, lax.gt_p),
    "argmin": partial(_index_of, lax.lt_p),
    "sort": _sort,
    "top_k": _top_k,
    "dot_general": _dot_general,
}
