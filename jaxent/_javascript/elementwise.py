"""Operations on scalars, and the primitives that do the same to each element of arrays.

A primitive that is one expression of JavaScript is one entry of `EXPRESSIONS`, with the functions
that it calls. Any other is one entry of `RULES` here, in `moves` or `rows`, or in `tracing`.
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
        helpers: the JavaScript functions that are called, as lines "name=function".
    """

    rounded: str = ""
    exact: str = ""
    integer: str = ""
    short: str = ""
    boolean: str = ""
    chosen: Callable[[np.dtype, dict[str, Any]], str] | None = None
    helpers: str = ""


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
    "round": Expression(
        chosen=_rounding,
        helpers="even=x=>{const r=Math.round(x);return Math.abs(x%1)===.5&&r%2?r-1:r}\n"
        "away=x=>x<0?-Math.round(-x):Math.round(x)",
    ),
    "reduce_precision": Expression(chosen=_precision),
    "eq": Expression(exact="{}==={}"),
    "ne": Expression(exact="{}!=={}"),
    "lt": Expression(exact="{}<{}"),
    "le": Expression(exact="{}<={}"),
    "gt": Expression(exact="{}>{}"),
    "ge": Expression(exact="{}>={}"),
    # in an order of all numbers: −0 before 0, and NaN last
    "eq_to": Expression(exact="Object.is({},{})"),
    "lt_to": Expression(
        exact="below({},{})", helpers="below=(x,y)=>x<y||x===x&&y!==y||x===0&&y===0&&1/x<1/y"
    ),
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
    "pow": Expression(
        "power({},{})", helpers="power=(x,y)=>x===1||x===-1&&Math.abs(y)===Infinity?1:x**y"
    ),
    "div": Expression(
        "{}/{}", integer="quotient({},{})", helpers="quotient=(x,y)=>y?Math.trunc(x/y):-1"
    ),
    "rem": Expression(
        exact="{}%{}", integer="remainder({},{})", helpers="remainder=(x,y)=>y?x%y:x"
    ),
    "convert_element_type": Expression(
        chosen=_conversion,
        helpers="integer=(x,low,high)=>x===x?Math.min(Math.max(Math.trunc(x),low),high)+0:0",
    ),
    **{name: Expression(f"Math.{name}({{}})") for name in _OF_MATH},
    "rsqrt": Expression("1/Math.sqrt({})"),
    "exp2": Expression("2**{}"),
    "logistic": Expression("1/(1+Math.exp(-{}))"),
    "atan2": Expression("Math.atan2({},{})"),
    # the series of odd double factorials, whose terms all have one sign, and the continued fraction
    "erf": Expression(
        "erf({})",
        helpers="erf=x=>{if(Math.abs(x)>2)return x>0?1-erfc(x):erfc(-x)-1;"
        "let s=x,t=x;for(let n=3;n<99;n+=2)s+=t*=2*x*x/n;"
        "return s*Math.exp(-x*x)*2/Math.sqrt(Math.PI)}",
    ),
    "erfc": Expression(
        "erfc({})",
        helpers="erfc=x=>{if(x<0)return 2-erfc(-x);if(x<2)return 1-erf(x);"
        "let f=x;for(let n=99;n;n--)f=x+n/2/f;return Math.exp(-x*x)/f/Math.sqrt(Math.PI)}",
    ),
    # Winitzki's approximation, improved by Halley's method
    "erf_inv": Expression(
        "erfinv({})",
        helpers="erfinv=x=>{const a=Math.abs(x);if(!(a<1))return a>1?NaN:x*Infinity;"
        "const l=Math.log((1-a)*(1+a)),m=2/Math.PI/.147+l/2;"
        "let y=Math.sqrt(Math.sqrt(m*m-l/.147)-m);for(let n=0;n<4;n++){"
        "const r=a<.5?erf(y)-a:1-a-erfc(y);"
        "y-=r/(2*Math.exp(-y*y)/Math.sqrt(Math.PI)+y*r)}return Math.sign(x)*y}",
    ),
    # Lanczos' approximation, and asymptotic series of what is large enough
    "lgamma": Expression(
        "lgamma({})",
        helpers="lgamma=x=>{if(Math.abs(x)===Infinity)return Infinity;if(x<.5)"
        "return Math.log(Math.PI/Math.abs(Math.sin(Math.PI*(x%1))))-lgamma(1-x);"
        "const t=x+6.5;return Math.log(2*Math.PI)/2+(x-.5)*Math.log(t)-t+Math.log("
        "[676.5203681218851,-1259.1392167224028,771.3234287776531,-176.6150291621406,"
        "12.507343278686905,-.13857109526572012,9.984369578019572e-6,1.5056327351493116e-7]"
        ".reduce((s,c,n)=>s+c/(x+n),.9999999999998099))}",
    ),
    "digamma": Expression(
        "digamma({})",
        helpers="digamma=x=>{if(x<.5)"
        "return x<=0&&x%1===0?NaN:digamma(1-x)-Math.PI/Math.tan(Math.PI*(x%1));"
        "let s=0;for(;x<10;x++)s-=1/x;const r=1/x/x;return s+Math.log(x)-.5/x-"
        "r*(1/12-r*(1/120-r*(1/252-r*(1/240-r*(1/132-r*691/32760)))))}",
    ),
    "polygamma": Expression(
        "polygamma({},{})",
        helpers="polygamma=(m,x)=>{if(!m)return digamma(x);let f=m%2?1:-1,s=0;"
        "for(let n=2;n<=m;n++)f*=n;"
        "for(;x<20+m;x++)s+=x**(-m-1);let t=(m+1)/x**(m+2);s+=(1/m+.5/x)/x**m;"
        "[12,-720,30240,-1209600,47900160].forEach((c,n)=>"
        "{s+=t/c;t*=(m+2*n+2)*(m+2*n+3)/x/x});return f*s}",
    ),
}

HELPERS = {
    "fround": "Math.fround",
    "word": "new Float32Array(1)",
    "bits": "new Int32Array(word.buffer)",
    # round to nearest, ties to even, of a float32: in its bits; below 2⁻¹⁴ float16 has fixed steps
    "half": (
        "x=>{x=fround(x);const a=Math.abs(x);if(!(a<65520))return x*Infinity;"
        "if(a<2**-14)return fround(x+.75)-.75||x*0;"
        "word[0]=x;bits[0]=bits[0]+4095+(bits[0]>>13&1)&-8192;return word[0]}"
    ),
    "bfloat": (
        "x=>{word[0]=x;if(x===x)bits[0]=bits[0]+32767+(bits[0]>>16&1)&-65536;return word[0]}"
    ),
    **dict(line.split("=", 1) for e in EXPRESSIONS.values() for line in e.helpers.splitlines()),
}
"""JavaScript functions that expressions and other functions call, by their names."""


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
