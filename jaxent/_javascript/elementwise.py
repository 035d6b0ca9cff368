"""Operations on scalars, and the primitives that do the same to each element of arrays.

A primitive that is one expression of JavaScript is one entry of `EXPRESSIONS`, and the functions
that it calls are in `helpers.js`. Any other is one entry of `RULES` here, in `moves` or `rows`, or
in `tracing`.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxent._javascript.program import (
    Array,
    Equation,
    Operate,
    Program,
    Scalar,
    Untranslatable,
    array_of,
    as_scalars,
    named,
    text,
)

INDEX = np.dtype(np.int32)
BOOL = np.dtype(np.bool_)
ROUNDED = {
    np.dtype(np.float64): "{}",
    np.dtype(np.float32): "fround({})",
    np.dtype(np.float16): "half({})",
    np.dtype(jnp.bfloat16): "bfloat({})",
}
"""Numbers rounded to a type."""

_WRAPPED = {
    np.dtype(np.int64): "{}+0",  # 0, where it would be −0
    np.dtype(np.uint64): "{}+0",
    np.dtype(np.int32): "{}|0",
    np.dtype(np.uint32): "({})>>>0",
    np.dtype(np.int16): "({})<<16>>16",
    np.dtype(np.uint16): "({})&65535",
    np.dtype(np.int8): "({})<<24>>24",
    np.dtype(np.uint8): "({})&255",
}


def kind(dtype: np.dtype) -> str:
    """Whether a type is "boolean", "integer" or "floating"."""
    for name, dtypes in (("boolean", [BOOL]), ("integer", _WRAPPED), ("floating", ROUNDED)):
        if dtype in dtypes:
            return name
    raise Untranslatable(f"dtype {dtype}")


class Expression(NamedTuple):
    """A primitive in JavaScript, by the type of its operands, each of which is written {}.

    Attributes:
        rounded: for floating-point numbers. The result is rounded to their type.
        exact: for floating-point numbers, and for the types without an expression of their own.
            The result is as it is.
        integer: for integers. The result is wrapped into their type.
        short: for integers of fewer than 64 bits, if not the same.
        boolean: for booleans.
        chosen: in place of all of these, a function of the type and the primitive's parameters.
    """

    rounded: str = ""
    exact: str = ""
    integer: str = ""
    short: str = ""
    boolean: str = ""
    chosen: Callable[[np.dtype, dict[str, Any]], str] | None = None


def _rounding(_: np.dtype, params: dict[str, Any]) -> str:
    to_even = params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN
    return "even({})" if to_even else "away({})"


def _precision(_: np.dtype, params: dict[str, Any]) -> str:
    bits = params["exponent_bits"], params["mantissa_bits"]
    for dtype, rounded in ROUNDED.items():
        if bits == (jnp.finfo(dtype).nexp, jnp.finfo(dtype).nmant):
            return rounded
    raise Untranslatable(f"numbers of {bits[0]} + {bits[1]} bits")


def _conversion(old: np.dtype, params: dict[str, Any]) -> str:
    new = params["new_dtype"]
    match kind(old), kind(new):
        case "boolean", "boolean":
            return "{}"
        case "boolean", _:
            return "+{}"
        case _, "boolean":
            return "{}!==0"
        case "floating", "integer":
            limits = jnp.iinfo(new)
            return f"integer({{}},{limits.min},{limits.max})"
        case "integer", "floating":
            return ROUNDED[new]
    if jnp.promote_types(old, new) == new:
        return "{}"
    return _WRAPPED[new] if new in _WRAPPED else ROUNDED[new]


# JavaScript's Math has a function of the same name, and its result is rounded
_OF_MATH = (
    *("sqrt", "cbrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
EXPRESSIONS = {
    "select_n": Expression(exact="{0}?{2}:{1}"),
    "is_finite": Expression(exact="isFinite({})"),
    "floor": Expression(exact="Math.floor({})"),
    "ceil": Expression(exact="Math.ceil({})"),
    "round": Expression(chosen=_rounding),
    "reduce_precision": Expression(chosen=_precision),
    "eq": Expression(exact="{}==={}"),
    "ne": Expression(exact="{}!=={}"),
    "lt": Expression(exact="{}<{}"),
    "le": Expression(exact="{}<={}"),
    "gt": Expression(exact="{}>{}"),
    "ge": Expression(exact="{}>={}"),
    # in an order of all numbers: −0 before 0, and NaN last
    "eq_to": Expression(exact="Object.is({},{})"),
    "lt_to": Expression(exact="below({},{})"),
    "le_to": Expression(exact="!below({1},{0})"),
    "and": Expression(boolean="{}&&{}", short="{}&{}"),
    "or": Expression(boolean="{}||{}", short="{}|{}"),
    "xor": Expression(boolean="{}!=={}", short="{}^{}"),
    "not": Expression(boolean="!{}", short="~{}"),
    "max": Expression(exact="Math.max({},{})", integer="Math.max({},{})", boolean="{}||{}"),
    "min": Expression(exact="Math.min({},{})", integer="Math.min({},{})", boolean="{}&&{}"),
    "neg": Expression(exact="-{}", integer="-{}"),
    "abs": Expression(exact="Math.abs({})", integer="Math.abs({})"),
    "sign": Expression(exact="Math.sign({})", integer="Math.sign({})"),
    "add": Expression("{}+{}", integer="{}+{}"),
    "sub": Expression("{}-{}", integer="{}-{}"),
    "mul": Expression("{}*{}", integer="{}*{}", short="Math.imul({},{})"),
    "pow": Expression("power({},{})"),
    "div": Expression("{}/{}", integer="quotient({},{})"),
    "rem": Expression(exact="{}%{}", integer="remainder({},{})"),
    "convert_element_type": Expression(chosen=_conversion),
    **{name: Expression(f"Math.{name}({{}})") for name in _OF_MATH},
    "rsqrt": Expression("1/Math.sqrt({})"),
    "exp2": Expression("2**{}"),
    "logistic": Expression("1/(1+Math.exp(-{}))"),
    "atan2": Expression("Math.atan2({},{})"),
    **{name: Expression(f"{name}({{}})") for name in ("erf", "erfc", "lgamma", "digamma")},
    "erf_inv": Expression("erfinv({})"),
    "polygamma": Expression("polygamma({},{})"),
}


def _template(name: str, dtype: np.dtype, params: dict[str, Any]) -> str:
    of_kind, expression = kind(dtype), EXPRESSIONS[name]
    if expression.chosen:
        return expression.chosen(dtype, params)
    if of_kind == "boolean" and expression.boolean:
        return expression.boolean
    integer = (dtype.itemsize < 8 and expression.short) or expression.integer
    if of_kind == "integer" and integer:
        return _WRAPPED[dtype].format(integer)
    if of_kind == "floating" and expression.rounded:
        return ROUNDED[dtype].format(expression.rounded)
    if expression.exact:
        return expression.exact
    raise Untranslatable(f"primitive '{name}' of {dtype}")


def operate(
    program: Program, primitive: core.Primitive, dtype: np.dtype, *operands: Scalar, **params: Any
) -> Scalar:
    """What a primitive makes of scalars; `dtype` is that of the operands, of booleans aside."""
    if not any(isinstance(x, str) for x in operands):
        arrays = [np.asarray(x, BOOL if isinstance(x, bool) else dtype) for x in operands]
        return as_scalars(primitive.bind(*arrays, **params)).item()
    simple = _simplified(primitive.name, operands)
    if simple is not None:
        return simple
    template = _template(primitive.name, dtype, params)
    return operands[0] if template == "{}" else named(program, template, *map(text, operands))


def _simplified(name: str, operands: Sequence[Scalar]) -> Scalar | None:
    """What needs no operation, as XLA simplifies it too; None if there is nothing to simplify."""
    match name, operands:
        case "select_n", (bool(which), x, y):
            return y if which else x
        case ("select_n", (_, str(x), str(y))) | ("max" | "min", (str(x), str(y))) if x == y:
            return x
        case ("add" | "sub", (x, 0)) | ("add", (0, x)) | ("mul" | "div", (x, 1)) | ("mul", (1, x)):
            return x
        case ("and" | "or", (bool(known), x)) | ("and" | "or", (x, bool(known))):
            return x if known == (name == "and") else known
    return None


def select(operate: Operate, dtype: np.dtype, which: Scalar, true: Scalar, false: Scalar) -> Scalar:
    """`true` if `which` holds, else `false`."""
    return operate(lax.select_n_p, dtype, which, false, true)


def both(operate: Operate, *conditions: Scalar) -> Scalar:
    """Whether all conditions hold."""
    return reduce(partial(operate, lax.and_p, BOOL), conditions, True)


def clamp(operate: Operate, dtype: np.dtype, low: Scalar, x: Scalar, high: Scalar) -> Scalar:
    """The number between `low` and `high` that is nearest to x."""
    return operate(lax.min_p, dtype, operate(lax.max_p, dtype, low, x), high)


def pick(operate: Operate, dtype: np.dtype, options: Array, index: Sequence[Scalar]) -> Scalar:
    """options[index], each index clamped into its axis."""
    if not index:
        return options.item()
    (first, *others), last = index, len(options) - 1
    if not isinstance(first, str):
        return pick(operate, dtype, options[min(max(int(first), 0), last), ...], others)
    picked = pick(operate, dtype, options[last, ...], others)
    for n in reversed(range(last)):
        below = operate(lax.lt_p, INDEX, first, n + 1)
        option = pick(operate, dtype, options[n, ...], others)
        picked = select(operate, dtype, below, option, picked)
    return picked


def choose(operate: Operate, aval: Any, which: Array, *cases: Array) -> Array:
    """For each element one of the cases, by its number, or by a boolean if there are two."""

    def of_scalars(which: Scalar, *options: Scalar) -> Scalar:
        if len(options) == 2 and isinstance(which, str):
            return operate(lax.select_n_p, aval.dtype, which, *options)
        return pick(operate, aval.dtype, array_of(options), [which])

    rows = zip(*(x.flat for x in np.broadcast_arrays(which, *cases)), strict=True)
    return array_of(itertools.starmap(of_scalars, rows), aval.shape)


def _elementwise(
    of_scalars: Callable[..., Scalar] | None, operate: Operate, eqn: Equation, *inputs: Array
) -> list[Array]:
    """The primitive, or what a function of (operate, dtype, *operands) makes of its operands."""
    apply = partial(of_scalars, operate) if of_scalars else partial(operate, eqn.primitive)
    apply = partial(apply, eqn.invars[0].aval.dtype, **eqn.params)
    rows = zip(*(x.flat for x in np.broadcast_arrays(*inputs)), strict=True)
    return [array_of(itertools.starmap(apply, rows), eqn.outvars[0].aval.shape)]


def _integer_pow(operate: Operate, dtype: np.dtype, x: Scalar, *, y: int) -> Scalar:
    times = partial(operate, lax.mul_p, dtype)
    power: Scalar = 1
    for bit in reversed(f"{abs(y):b}"):
        power = times(power, x) if bit == "1" else power
        x = times(x, x)
    return operate(lax.div_p, dtype, 1, power) if y < 0 else power


RULES = {
    **dict.fromkeys(EXPRESSIONS, partial(_elementwise, None)),
    "select_n": lambda operate, eqn, *inputs: [choose(operate, eqn.outvars[0].aval, *inputs)],
    "add_any": partial(_elementwise, lambda operate, *typed: operate(lax.add_p, *typed)),
    "clamp": partial(_elementwise, clamp),
    "integer_pow": partial(_elementwise, _integer_pow),
    "square": partial(_elementwise, lambda operate, dtype, x: operate(lax.mul_p, dtype, x, x)),
}
