"""A loss as JavaScript, for pages that run it without Python.

What is translated is the jaxpr of `jax.value_and_grad(loss)` at three classes. An array of the
jaxpr is an array of scalars here, each a number that is known or the name of one that is not, and
what comes out is one line of arithmetic after the other. Whatever only moves numbers about
therefore costs nothing, whatever is known already is computed here, by JAX, and a loop becomes its
steps. Branches are all computed and selected from.

Every operation rounds to its own dtype, as the jaxpr says: JavaScript's numbers are float64, and
results of smaller types are rounded to those. (XLA may keep more digits between operations that it
compiles into one.) Integers of 64 bits are exact up to 2⁵³.

A loss that cannot be translated is tabulated instead.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxent._examples import Loss, of_each_example
from jaxent._table import tabulate

MOST_OPERATIONS = 4000
"""More of them are not a program that a page should hold."""

LONGEST_EXPRESSION = 80
"""In characters: a longer one gets a name, so that none is nested too deeply."""


class Translation(NamedTuple):
    """A loss of three classes in JavaScript.

    Attributes:
        source: an expression whose value is a function (z, p) => [L, g₀, g₁, g₂] of two arrays
            of three numbers, with g = ∂L/∂z. It needs nothing from outside.
        exact: whether it computes what the loss computes, operation by operation. If not, it
            interpolates in a table, and knows z up to a constant only: it reads the logits that
            sum to zero.
        one_hot_only: whether p is read by its largest entry alone, as a table does.
        worst_error: of a table, the largest error of a component of g at the centres of its
            cells, over the largest norm ‖g‖ met for the same P. 0 if exact.
        reason: what could not be translated; empty if exact.
    """

    source: str
    exact: bool
    one_hot_only: bool
    worst_error: float
    reason: str


def translate(loss: Loss, *, float32: bool = False) -> Translation:
    """The loss and its gradient as a JavaScript function.

    Args:
        loss: `loss(logits, targets)` of one example, [3] and [3], a scalar.
        float32: whether logits, targets and whatever follows from them are float32 and not
            float64.

    Returns:
        A `Translation`. It is a table if the loss calls back to Python, loops as long as its data
        tell it to, branches in Python, or uses a primitive that has no translation.

    Raises:
        ValueError: the loss does not return a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import _javascript
        >>> def squared_error(logits, targets):
        ...     return jnp.sum((logits - targets) ** 2)
        >>> print(_javascript.translate(squared_error).source)
        (z,p)=>{const a=z[0]-p[0],b=z[1]-p[1],c=z[2]-p[2];return[((a*a)+(b*b))+(c*c),2*a,2*b,2*c]}
    """
    dtype = jnp.float32 if float32 else jnp.float64
    with jax.enable_x64(not float32):
        function = partial(of_each_example, jax.value_and_grad, loss)
        vector = jax.ShapeDtypeStruct((3,), dtype)
        evaluate = _compiled(function)
        try:
            source = _script(jax.make_jaxpr(function)(vector, vector))
            return Translation(source, True, False, 0.0, "")
        except _Untranslatable as error:
            reason = str(error)
        except PYTHON_LOOKS:
            reason = "Python code that needs to know the data"
            evaluate = _uncompiled(function)
        source, worst_error = tabulate(
            lambda z, p: evaluate(jnp.asarray(z, dtype), jnp.asarray(p, dtype))
        )
        return Translation(source, False, True, worst_error, reason)


PYTHON_LOOKS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where Python code of a loss needs to know what is traced."""


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Values and gradients at many logits; one after the other, as a callback may not be mapped."""
    return jax.jit(lambda logits, p: lax.map(lambda z: function(z, p), logits))


def _uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for Python code that looks at P or, one after the other, even at the logits."""

    def evaluate(logits: jax.Array, p: jax.Array) -> tuple[Any, Any]:
        try:
            return jax.vmap(lambda z: function(z, p))(logits)
        except PYTHON_LOOKS:
            pairs = [function(z, p) for z in np.asarray(logits)]
            return np.stack([value for value, _ in pairs]), np.stack([g for _, g in pairs])

    return evaluate


class _Untranslatable(Exception):
    """Its message is the reason that a `Translation` gives."""


# Scalars and the operations between them

Scalar: TypeAlias = bool | int | float | str
"""A number that is known, or the name of one that is not."""

Array: TypeAlias = Any
"""A NumPy array of scalars; where all of them are known, also one of numbers, or JAX's."""

Program: TypeAlias = dict[tuple[str, ...], str]
"""Operations in their order, (template, *operands as text) → name of the result.

The same operation on the same operands has one name. Names start with #; what is printed has
shorter ones.
"""

Operate: TypeAlias = Callable[..., Scalar]
"""operate(primitive, dtype, *operands, **params) → result: `_operate` of a program."""

_INDEX = np.dtype(np.int32)
_BOOL = np.dtype(np.bool_)
_ROUNDED = {
    np.dtype(np.float64): "{}",
    np.dtype(np.float32): "fround({})",
    np.dtype(np.float16): "half({})",
    np.dtype(jnp.bfloat16): "bfloat({})",
}
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
_COMPARISONS = {
    "eq": "{}==={}",
    "ne": "{}!=={}",
    "lt": "{}<{}",
    "le": "{}<={}",
    "gt": "{}>{}",
    "ge": "{}>={}",
    # in an order of all numbers: −0 before 0, and NaN last
    "eq_to": "Object.is({},{})",
    "lt_to": "below({},{})",
    "le_to": "!below({1},{0})",
}
_OF_BOOLEANS = {
    "and": "{}&&{}",
    "or": "{}||{}",
    "xor": "{}!=={}",
    "not": "!{}",
    "max": "{}||{}",
    "min": "{}&&{}",
}
_OF_INTEGERS = {
    "add": "{}+{}",
    "sub": "{}-{}",
    "mul": "{}*{}",
    "div": "quotient({},{})",
    "rem": "remainder({},{})",
    "neg": "-{}",
    "abs": "Math.abs({})",
    "sign": "Math.sign({})",
    "max": "Math.max({},{})",
    "min": "Math.min({},{})",
}
_OF_SHORT_INTEGERS = {
    "and": "{}&{}",
    "or": "{}|{}",
    "xor": "{}^{}",
    "not": "~{}",
    "mul": "Math.imul({},{})",
}
_WITHOUT_ROUNDING = {
    "neg": "-{}",
    "abs": "Math.abs({})",
    "sign": "Math.sign({})",
    "max": "Math.max({},{})",
    "min": "Math.min({},{})",
    "floor": "Math.floor({})",
    "ceil": "Math.ceil({})",
    "rem": "{}%{}",
}
_WITH_ROUNDING = {
    "add": "{}+{}",
    "sub": "{}-{}",
    "mul": "{}*{}",
    "div": "{}/{}",
    "pow": "power({},{})",
    "sqrt": "Math.sqrt({})",
    "rsqrt": "1/Math.sqrt({})",
    "cbrt": "Math.cbrt({})",
    "exp": "Math.exp({})",
    "exp2": "2**{}",
    "expm1": "Math.expm1({})",
    "log": "Math.log({})",
    "log1p": "Math.log1p({})",
    "logistic": "1/(1+Math.exp(-{}))",
    "sin": "Math.sin({})",
    "cos": "Math.cos({})",
    "tan": "Math.tan({})",
    "asin": "Math.asin({})",
    "acos": "Math.acos({})",
    "atan": "Math.atan({})",
    "atan2": "Math.atan2({},{})",
    "sinh": "Math.sinh({})",
    "cosh": "Math.cosh({})",
    "tanh": "Math.tanh({})",
    "asinh": "Math.asinh({})",
    "acosh": "Math.acosh({})",
    "atanh": "Math.atanh({})",
    "erf": "erf({})",
    "erfc": "erfc({})",
    "erf_inv": "erfinv({})",
    "lgamma": "lgamma({})",
    "digamma": "digamma({})",
    "polygamma": "polygamma({},{})",
}
_HELPERS = {
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
    "even": "x=>{const r=Math.round(x);return Math.abs(x%1)===.5&&r%2?r-1:r}",
    "away": "x=>x<0?-Math.round(-x):Math.round(x)",
    "below": "(x,y)=>x<y||x===x&&y!==y||x===0&&y===0&&1/x<1/y",
    "power": "(x,y)=>x===1||x===-1&&Math.abs(y)===Infinity?1:x**y",
    "quotient": "(x,y)=>y?Math.trunc(x/y):-1",
    "remainder": "(x,y)=>y?x%y:x",
    "integer": "(x,low,high)=>x===x?Math.min(Math.max(Math.trunc(x),low),high)+0:0",
    # the series of odd double factorials, whose terms all have one sign, and the continued fraction
    "erf": (
        "x=>{if(Math.abs(x)>2)return x>0?1-erfc(x):erfc(-x)-1;"
        "let s=x,t=x;for(let n=3;n<99;n+=2)s+=t*=2*x*x/n;"
        "return s*Math.exp(-x*x)*2/Math.sqrt(Math.PI)}"
    ),
    "erfc": (
        "x=>{if(x<0)return 2-erfc(-x);if(x<2)return 1-erf(x);"
        "let f=x;for(let n=99;n;n--)f=x+n/2/f;return Math.exp(-x*x)/f/Math.sqrt(Math.PI)}"
    ),
    # Winitzki's approximation, improved by Halley's method
    "erfinv": (
        "x=>{const a=Math.abs(x);if(!(a<1))return a>1?NaN:x*Infinity;"
        "const l=Math.log((1-a)*(1+a)),m=2/Math.PI/.147+l/2;"
        "let y=Math.sqrt(Math.sqrt(m*m-l/.147)-m);for(let n=0;n<4;n++){"
        "const r=a<.5?erf(y)-a:1-a-erfc(y);"
        "y-=r/(2*Math.exp(-y*y)/Math.sqrt(Math.PI)+y*r)}return Math.sign(x)*y}"
    ),
    # Lanczos' approximation, and asymptotic series of what is large enough
    "lgamma": (
        "x=>{if(Math.abs(x)===Infinity)return Infinity;if(x<.5)"
        "return Math.log(Math.PI/Math.abs(Math.sin(Math.PI*(x%1))))-lgamma(1-x);"
        "const t=x+6.5;return Math.log(2*Math.PI)/2+(x-.5)*Math.log(t)-t+Math.log("
        "[676.5203681218851,-1259.1392167224028,771.3234287776531,-176.6150291621406,"
        "12.507343278686905,-.13857109526572012,9.984369578019572e-6,1.5056327351493116e-7]"
        ".reduce((s,c,n)=>s+c/(x+n),.9999999999998099))}"
    ),
    "digamma": (
        "x=>{if(x<.5)return x<=0&&x%1===0?NaN:digamma(1-x)-Math.PI/Math.tan(Math.PI*(x%1));"
        "let s=0;for(;x<10;x++)s-=1/x;const r=1/x/x;return s+Math.log(x)-.5/x-"
        "r*(1/12-r*(1/120-r*(1/252-r*(1/240-r*(1/132-r*691/32760)))))}"
    ),
    "polygamma": (
        "(m,x)=>{if(!m)return digamma(x);let f=m%2?1:-1,s=0;for(let n=2;n<=m;n++)f*=n;"
        "for(;x<20+m;x++)s+=x**(-m-1);let t=(m+1)/x**(m+2);s+=(1/m+.5/x)/x**m;"
        "[12,-720,30240,-1209600,47900160].forEach((c,n)=>"
        "{s+=t/c;t*=(m+2*n+2)*(m+2*n+3)/x/x});return f*s}"
    ),
}


def _operate(
    program: Program, primitive: core.Primitive, dtype: np.dtype, *operands: Scalar, **params: Any
) -> Scalar:
    """What a primitive makes of scalars; `dtype` is that of the operands, of booleans aside."""
    if not any(isinstance(x, str) for x in operands):
        arrays = [np.asarray(x, _BOOL if isinstance(x, bool) else dtype) for x in operands]
        return _scalars(primitive.bind(*arrays, **params)).item()
    simple = _simplified(primitive.name, operands)
    if simple is not None:
        return simple
    template = _template(primitive.name, dtype, params)
    return operands[0] if template == "{}" else _named(program, template, *map(_text, operands))


def _named(program: Program, template: str, *operands: str) -> str:
    if len(program) >= MOST_OPERATIONS:
        raise _Untranslatable(f"more than {MOST_OPERATIONS} operations")
    return program.setdefault((template, *operands), f"#{len(program)}")


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


def _template(name: str, dtype: np.dtype, params: dict[str, Any]) -> str:
    kind = _kind(dtype)
    match kind, name:
        case _, "convert_element_type":
            return _conversion(dtype, params["new_dtype"])
        case _, "select_n":
            return "{0}?{2}:{1}"
        case "floating", "is_finite":
            return "isFinite({})"
        case "floating", "reduce_precision":
            return _precision(params["exponent_bits"], params["mantissa_bits"])
        case "floating", "round":
            to_even = params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN
            return "even({})" if to_even else "away({})"
    if name in _COMPARISONS:
        return _COMPARISONS[name]
    if kind == "boolean" and name in _OF_BOOLEANS:
        return _OF_BOOLEANS[name]
    if kind == "integer" and dtype.itemsize < 8 and name in _OF_SHORT_INTEGERS:
        return _WRAPPED[dtype].format(_OF_SHORT_INTEGERS[name])
    if kind == "integer" and name in _OF_INTEGERS:
        return _WRAPPED[dtype].format(_OF_INTEGERS[name])
    if kind == "floating" and name in _WITHOUT_ROUNDING:
        return _WITHOUT_ROUNDING[name]
    if kind == "floating" and name in _WITH_ROUNDING:
        return _ROUNDED[dtype].format(_WITH_ROUNDING[name])
    raise _Untranslatable(f"primitive '{name}'" + (f" of {dtype}" if kind != "floating" else ""))


def _kind(dtype: np.dtype) -> str:
    if dtype == _BOOL:
        return "boolean"
    if dtype in _WRAPPED:
        return "integer"
    if dtype in _ROUNDED:
        return "floating"
    raise _Untranslatable(f"dtype {dtype}")


def _conversion(old: np.dtype, new: np.dtype) -> str:
    match _kind(old), _kind(new):
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
            return _ROUNDED[new]
    if jnp.promote_types(old, new) == new:
        return "{}"
    return _WRAPPED[new] if new in _WRAPPED else _ROUNDED[new]


def _precision(exponent_bits: int, mantissa_bits: int) -> str:
    match exponent_bits, mantissa_bits:
        case 11, 52:
            return "{}"
        case 8, 23:
            return "fround({})"
        case 8, 7:
            return "bfloat({})"
        case 5, 10:
            return "half({})"
    raise _Untranslatable(f"numbers of {exponent_bits} + {mantissa_bits} bits")


def _select(
    operate: Operate, dtype: np.dtype, which: Scalar, true: Scalar, false: Scalar
) -> Scalar:
    return operate(lax.select_n_p, dtype, which, false, true)


def _both(operate: Operate, *conditions: Scalar) -> Scalar:
    return reduce(partial(operate, lax.and_p, _BOOL), conditions, True)


def _pick(operate: Operate, dtype: np.dtype, options: Array, index: Sequence[Scalar]) -> Scalar:
    """options[index], each index clamped into its axis."""
    if not index:
        return options.item()
    (first, *others), last = index, len(options) - 1
    if not isinstance(first, str):
        return _pick(operate, dtype, options[min(max(int(first), 0), last), ...], others)
    picked = _pick(operate, dtype, options[last, ...], others)
    for n in reversed(range(last)):
        below = operate(lax.lt_p, _INDEX, first, n + 1)
        option = _pick(operate, dtype, options[n, ...], others)
        picked = _select(operate, dtype, below, option, picked)
    return picked


# The jaxpr, equation by equation

Equation: TypeAlias = Any
"""A `jax.extend.core.JaxprEqn`, whose variables are arrays."""


def _script(closed: core.ClosedJaxpr) -> str:
    program: Program = {}
    avals: Any = closed.in_avals
    inputs = [
        _array([_named(program, _ROUNDED[aval.dtype].format(f"{name}[{n}]")) for n in range(3)])
        for name, aval in zip("zp", avals, strict=True)
    ]
    value, gradient = _call(partial(_operate, program), closed, inputs)
    return _printed(program, [_scalars(value).item(), *_scalars(gradient)])


def _array(scalars: Iterable[Scalar], shape: tuple[int, ...] = (-1,)) -> Array:
    scalars = list(scalars)
    array = np.empty(len(scalars), object)
    array[:] = scalars
    return array.reshape(shape)


def _is_known(x: Any) -> bool:
    return not (isinstance(x, np.ndarray) and x.dtype == object)


def _scalars(x: Any) -> Array:
    if not _is_known(x):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        raise _Untranslatable(f"dtype {x.dtype}")
    x = np.asarray(x)
    return (x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x).astype(object)


def _known_if_possible(x: Array, dtype: np.dtype) -> np.ndarray:
    if any(isinstance(scalar, str) for scalar in x.flat):
        return x
    return np.array(x.tolist(), dtype).reshape(x.shape)


def _call(operate: Operate, function: core.Jaxpr | core.ClosedJaxpr, inputs: Sequence) -> list:
    """What a jaxpr makes of arrays of scalars or of numbers."""
    closed = isinstance(function, core.ClosedJaxpr)
    jaxpr, consts = (function.jaxpr, function.consts) if closed else (function, [])
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))

    def read(atom: Any) -> Any:
        aval = atom.aval
        return np.asarray(atom.val, aval.dtype) if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        outputs = _evaluate(operate, eqn, *map(read, eqn.invars))
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _evaluate(operate: Operate, eqn: Equation, *inputs: Any) -> Sequence:
    name = eqn.primitive.name.replace("-", "_")
    if name in _CALLS:
        return _call(operate, eqn.params[_CALLS[name]], inputs)
    if name in _UNCHANGED or not eqn.outvars:
        return inputs[: len(eqn.outvars)]
    if all(map(_is_known, inputs)):
        known = eqn.primitive.bind(*inputs, **eqn.params)
        return known if eqn.primitive.multiple_results else [known]
    if name in _CONTROL:
        return _CONTROL[name](operate, eqn, *inputs)
    if name not in _RULES:
        raise _Untranslatable(f"primitive '{name}'")
    outputs = _RULES[name](operate, eqn, *map(_scalars, inputs))
    dtypes = [variable.aval.dtype for variable in eqn.outvars]
    return list(map(_known_if_possible, outputs, dtypes))


# Loops and branches


def _scan(operate: Operate, eqn: Equation, *inputs: Any) -> list:
    length, start, carried = (eqn.params[name] for name in ("length", "num_consts", "num_carry"))
    if length > MOST_OPERATIONS:
        raise _Untranslatable(f"a loop of {length} steps")
    consts, carry = inputs[:start], inputs[start : start + carried]
    steps = range(length)
    rows: dict[int, Sequence] = {}
    for n in reversed(steps) if eqn.params["reverse"] else steps:
        step = [x[n, ...] for x in inputs[start + carried :]]
        outputs = _call(operate, eqn.params["jaxpr"], [*consts, *carry, *step])
        carry, rows[n] = outputs[:carried], outputs[carried:]
    stacks = [
        _stack([rows[n][position] for n in steps], variable.aval)
        for position, variable in enumerate(eqn.outvars[carried:])
    ]
    return [*carry, *stacks]


def _stack(rows: Sequence, aval: Any) -> Any:
    if not rows:
        return np.empty(aval.shape, aval.dtype)
    return jnp.stack(rows) if all(map(_is_known, rows)) else np.stack([*map(_scalars, rows)])


def _while(operate: Operate, eqn: Equation, *inputs: Any) -> Sequence:
    of_condition = eqn.params["cond_nconsts"]
    start = of_condition + eqn.params["body_nconsts"]
    carry: Sequence = inputs[start:]
    for _ in range(MOST_OPERATIONS):
        condition_inputs = [*inputs[:of_condition], *carry]
        (goes_on,) = _call(operate, eqn.params["cond_jaxpr"], condition_inputs)
        if not _is_known(goes_on):
            raise _Untranslatable("a loop whose length depends on the data")
        if not goes_on:
            return carry
        carry = _call(operate, eqn.params["body_jaxpr"], [*inputs[of_condition:start], *carry])
    raise _Untranslatable(f"a loop of more than {MOST_OPERATIONS} steps")


def _cond(operate: Operate, eqn: Equation, index: Any, *operands: Any) -> Sequence:
    branches = eqn.params["branches"]
    if _is_known(index):
        return _call(operate, branches[min(max(int(index), 0), len(branches) - 1)], operands)
    outputs = zip(*[_call(operate, branch, operands) for branch in branches], strict=True)
    return [
        _choose(operate, variable.aval, index, *map(_scalars, cases))
        for variable, cases in zip(eqn.outvars, outputs, strict=True)
    ]


def _choose(operate: Operate, aval: Any, which: Array, *cases: Array) -> Array:
    """For each element one of the cases, by its number, or by a boolean if there are two."""

    def of_scalars(which: Scalar, *options: Scalar) -> Scalar:
        if len(options) == 2 and isinstance(which, str):
            return operate(lax.select_n_p, aval.dtype, which, *options)
        return _pick(operate, aval.dtype, _array(options), [which])

    rows = zip(*(x.flat for x in np.broadcast_arrays(which, *cases)), strict=True)
    return _array(itertools.starmap(of_scalars, rows), aval.shape)


def _select_n(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    return [_choose(operate, eqn.outvars[0].aval, *inputs)]


# Element by element


def _elementwise(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    primitive = lax.add_p if eqn.primitive.name == "add_any" else eqn.primitive
    composed = _COMPOSED.get(eqn.primitive.name)
    apply = partial(composed, operate) if composed else partial(operate, primitive)
    of_scalars = partial(apply, eqn.invars[0].aval.dtype, **eqn.params)
    rows = zip(*(x.flat for x in np.broadcast_arrays(*inputs)), strict=True)
    return [_array(itertools.starmap(of_scalars, rows), eqn.outvars[0].aval.shape)]


def _integer_pow(operate: Operate, dtype: np.dtype, x: Scalar, *, y: int) -> Scalar:
    times = partial(operate, lax.mul_p, dtype)
    power: Scalar = 1
    for bit in reversed(f"{abs(y):b}"):
        power = times(power, x) if bit == "1" else power
        x = times(x, x)
    return operate(lax.div_p, dtype, 1, power) if y < 0 else power


def _square(operate: Operate, dtype: np.dtype, x: Scalar) -> Scalar:
    return operate(lax.mul_p, dtype, x, x)


def _clamp(operate: Operate, dtype: np.dtype, low: Scalar, x: Scalar, high: Scalar) -> Scalar:
    return operate(lax.min_p, dtype, operate(lax.max_p, dtype, low, x), high)


# Numbers moved about


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
        _pick(operate, aval.dtype, _reachable(operand, room, offset), index)
        for offset in np.ndindex(aval.shape)
    ]
    return [_array(scalars, aval.shape)]


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
    windows = _windows(
        aval.shape,
        operand.ndim,
        indices,
        window_dims=dims.offset_dims,
        dropped=dims.collapsed_slice_dims,
        indexed=dims.start_index_map,
        batched=(dims.operand_batching_dims, dims.start_indices_batching_dims),
    )
    scalars = []
    for _, start, offset in windows:
        picked = _pick(operate, aval.dtype, _reachable(operand, room, offset), start)
        if mode == lax.GatherScatterMode.FILL_OR_DROP:
            inside = [operate(lax.ge_p, _INDEX, x, 0) for x in start]
            inside += [operate(lax.le_p, _INDEX, x, r) for x, r in zip(start, room, strict=True)]
            picked = _select(operate, aval.dtype, _both(operate, *inside), picked, fill)
        scalars.append(picked)
    return [_array(scalars, aval.shape)]


def _fill_value(given: Any, dtype: np.dtype) -> Scalar:
    if given is not None:
        return _scalars(np.asarray(given, dtype)).item()
    if jnp.issubdtype(dtype, jnp.floating):
        return math.nan
    if dtype == _BOOL:
        return True
    limits = jnp.iinfo(dtype)
    return limits.min if limits.min < 0 else limits.max


def _scatter(
    primitive: core.Primitive | None,
    operate: Operate,
    eqn: Equation,
    operand: Array,
    indices: Array,
    updates: Array,
) -> list[Array]:
    """One update after the other; a primitive combines each with what is there."""
    result, dtype = operand.copy(), eqn.outvars[0].aval.dtype
    dims, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    dropped = (*dims.inserted_window_dims, *dims.operand_batching_dims)
    window = iter(dims.update_window_dims)
    sizes = [1 if d in dropped else updates.shape[next(window)] for d in range(operand.ndim)]
    room = _room(operand, sizes)
    windows = _windows(
        updates.shape,
        operand.ndim,
        indices,
        window_dims=dims.update_window_dims,
        dropped=dims.inserted_window_dims,
        indexed=dims.scatter_dims_to_operand_dims,
        batched=(dims.operand_batching_dims, dims.scatter_indices_batching_dims),
    )
    for element, start, offset in windows:
        index = _clipped(operate, start, room) if mode == lax.GatherScatterMode.CLIP else start
        options = _reachable(result, room, offset)
        _put(operate, primitive, dtype, options, index, updates[element])
    return [result]


def _windows(
    shape: tuple[int, ...],
    operand_ndim: int,
    indices: Array,
    *,
    window_dims: Sequence[SupportsIndex],
    dropped: Sequence[SupportsIndex],
    indexed: Sequence[SupportsIndex],
    batched: tuple[Sequence[SupportsIndex], Sequence[SupportsIndex]],
) -> Iterator[tuple[tuple[int, ...], list[Scalar], list[int]]]:
    """Where each number of a gather's result, or of a scatter's updates, belongs in the operand.

    Its place in the array of this shape, where its window starts, and its place in the window.
    """
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
    return [_clamp(operate, _INDEX, 0, x, most) for x, most in zip(start, room, strict=True)]


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
        matches = [operate(lax.eq_p, _INDEX, x, n) for x, n in zip(index, place, strict=True)]
        here, old = _both(operate, *matches), options[place]
        if here is not False:
            new = operate(primitive, dtype, old, update) if primitive else update
            options[place] = _select(operate, dtype, here, new, old)


# Rows that become one number, or are put in order


def _rows(x: Array, axes: Sequence[SupportsIndex]) -> Array:
    """[rows, n], n along the axes."""
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    return moved.reshape(-1, math.prod(x.shape[axis] for axis in axes))


def _fold(primitive: core.Primitive, operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    combine = partial(operate, primitive, eqn.invars[0].aval.dtype)
    rows = _rows(x, eqn.params["axes"])
    return [_array((reduce(combine, row) for row in rows), eqn.outvars[0].aval.shape)]


def _accumulate(
    combine: Callable[[Operate, np.dtype, Scalar, Scalar], Scalar],
    operate: Operate,
    eqn: Equation,
    x: Array,
) -> list[Array]:
    of_two = partial(combine, operate, eqn.invars[0].aval.dtype)
    axis, direction = eqn.params["axis"], -1 if eqn.params["reverse"] else 1
    moved = np.moveaxis(x, axis, -1)
    rows = [
        itertools.accumulate(row[::direction], of_two) for row in moved.reshape(-1, x.shape[axis])
    ]
    result = _array(itertools.chain(*rows), moved.shape)[..., ::direction]
    return [np.moveaxis(result, -1, axis)]


def _with(
    primitive: core.Primitive, operate: Operate, dtype: np.dtype, x: Scalar, y: Scalar
) -> Scalar:
    return operate(primitive, dtype, x, y)


def _log_add_exp(operate: Operate, dtype: np.dtype, x: Scalar, y: Scalar) -> Scalar:
    closed = jax.make_jaxpr(jnp.logaddexp)(*[jax.ShapeDtypeStruct((), dtype)] * 2)
    inputs = [_known_if_possible(_array([scalar], ()), dtype) for scalar in (x, y)]
    (output,) = _call(operate, closed, inputs)
    return _scalars(output).item()


def _index_of(comparison: core.Primitive, operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    """The number of the first largest or smallest, or of the first NaN if there is one."""
    dtype, index_dtype = eqn.invars[0].aval.dtype, eqn.params["index_dtype"]

    def of_row(row: Array) -> Scalar:
        best, index = row[0], 0
        for n, x in enumerate(row[1:], 1):
            better = operate(comparison, dtype, x, best)
            if _kind(dtype) == "floating":
                x_is_nan = operate(lax.ne_p, dtype, x, x)
                best_is_not = operate(lax.eq_p, dtype, best, best)
                first_nan = _both(operate, x_is_nan, best_is_not)
                better = operate(lax.or_p, _BOOL, better, first_nan)
            best = _select(operate, dtype, better, x, best)
            index = _select(operate, index_dtype, better, n, index)
        return index

    return [_array(map(of_row, _rows(x, eqn.params["axes"])), eqn.outvars[0].aval.shape)]


def _sort(operate: Operate, eqn: Equation, *inputs: Array) -> list[Array]:
    dtypes = [variable.aval.dtype for variable in eqn.invars]

    def before(x: Sequence[Scalar], y: Sequence[Scalar]) -> Scalar:
        earlier: Scalar = False
        for key in reversed(range(eqn.params["num_keys"])):
            later = _is_less(operate, dtypes[key], y[key], x[key])
            tied = _both(operate, operate(lax.not_p, _BOOL, later), earlier)
            less = _is_less(operate, dtypes[key], x[key], y[key])
            earlier = operate(lax.or_p, _BOOL, less, tied)
        return earlier

    return _in_order(operate, before, dtypes, eqn.params["dimension"], *inputs)


def _top_k(operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    axis, dtypes = eqn.params.get("axis", -1), [variable.aval.dtype for variable in eqn.outvars]
    numbers = np.arange(x.shape[axis]).astype(object)
    numbers = np.moveaxis(np.broadcast_to(numbers, np.moveaxis(x, axis, -1).shape), -1, axis)

    def before(x: Sequence[Scalar], y: Sequence[Scalar]) -> Scalar:
        return _is_less(operate, dtypes[0], y[0], x[0])

    ordered = _in_order(operate, before, dtypes, axis, x, numbers)
    return [np.take(column, range(eqn.params["k"]), axis) for column in ordered]


def _is_less(operate: Operate, dtype: np.dtype, x: Scalar, y: Scalar) -> Scalar:
    """x < y, with NaN above all numbers."""
    less = operate(lax.lt_p, dtype, x, y)
    if _kind(dtype) != "floating":
        return less
    x_is_number, y_is_nan = operate(lax.eq_p, dtype, x, x), operate(lax.ne_p, dtype, y, y)
    return operate(lax.or_p, _BOOL, less, _both(operate, x_is_number, y_is_nan))


def _in_order(
    operate: Operate,
    before: Callable[[Sequence[Scalar], Sequence[Scalar]], Scalar],
    dtypes: Sequence[np.dtype],
    axis: int,
    *columns: Array,
) -> list[Array]:
    """The columns, all in the order that puts `before` right between neighbours; a stable sort."""
    results = [np.moveaxis(x, axis, -1).copy() for x in columns]
    for row in np.ndindex(results[0].shape[:-1]):
        items = list(zip(*(x[row] for x in results), strict=True))
        for last in reversed(range(1, len(items))):
            for n in range(last):
                swap = before(items[n + 1], items[n])
                pairs = list(zip(dtypes, items[n], items[n + 1], strict=True))
                items[n] = tuple(_select(operate, d, swap, y, x) for d, x, y in pairs)
                items[n + 1] = tuple(_select(operate, d, swap, x, y) for d, x, y in pairs)
        for result, column in zip(results, zip(*items, strict=True), strict=True):
            result[row] = column
    return [np.moveaxis(x, -1, axis) for x in results]


def _dot_general(operate: Operate, eqn: Equation, *sides: Array) -> list[Array]:
    contracted, batched = eqn.params["dimension_numbers"]
    aval = eqn.outvars[0].aval
    # half types are summed in float32
    dtype = np.dtype(np.float32) if aval.dtype in (jnp.float16, jnp.bfloat16) else aval.dtype
    matrices = []
    for x, variable, of_batch, summed in zip(sides, eqn.invars, batched, contracted, strict=True):
        free = [d for d in range(x.ndim) if d not in (*of_batch, *summed)]
        sizes = [math.prod(x.shape[d] for d in dims) for dims in (of_batch, free, summed)]
        scalars = [_converted(operate, variable.aval.dtype, dtype, scalar) for scalar in x.flat]
        x = _array(scalars, x.shape).transpose(*of_batch, *free, *summed)
        matrices.append(x.reshape(sizes))
    times, plus = partial(operate, lax.mul_p, dtype), partial(operate, lax.add_p, dtype)
    products = [
        _converted(operate, dtype, aval.dtype, reduce(plus, map(times, row, column)))
        for left, right in zip(*matrices, strict=True)
        for row, column in itertools.product(left, right)
    ]
    return [_array(products, aval.shape)]


def _converted(operate: Operate, old: np.dtype, new: np.dtype, x: Scalar) -> Scalar:
    params = {"new_dtype": new, "weak_type": False, "sharding": None}
    return operate(lax.convert_element_type_p, old, x, **params)


# How each primitive is translated

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
_UNCHANGED = {
    "copy",
    "copy_p",
    "device_put",
    "name",
    "optimization_barrier",
    "sharding_constraint",
    "stop_gradient",
}
_CONTROL = {"scan": _scan, "while": _while, "cond": _cond}
_COMPOSED = {"integer_pow": _integer_pow, "square": _square, "clamp": _clamp}
_MOVES = (
    "broadcast_in_dim",
    "concatenate",
    "pad",
    "reshape",
    "rev",
    "slice",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unstack",
)
_ELEMENTWISE = (
    *(*_COMPARISONS, *_OF_BOOLEANS, *_OF_INTEGERS, *_WITHOUT_ROUNDING, *_WITH_ROUNDING),
    *(*_COMPOSED, "add_any", "convert_element_type", "is_finite", "reduce_precision", "round"),
)
_RULES: dict[str, Callable[..., list[Array]]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_MOVES, _move),
    "select_n": _select_n,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "scatter": partial(_scatter, None),
    "scatter_add": partial(_scatter, lax.add_p),
    "scatter_sub": partial(_scatter, lax.sub_p),
    "scatter_mul": partial(_scatter, lax.mul_p),
    "scatter_max": partial(_scatter, lax.max_p),
    "scatter_min": partial(_scatter, lax.min_p),
    "reduce_sum": partial(_fold, lax.add_p),
    "reduce_prod": partial(_fold, lax.mul_p),
    "reduce_max": partial(_fold, lax.max_p),
    "reduce_min": partial(_fold, lax.min_p),
    "reduce_and": partial(_fold, lax.and_p),
    "reduce_or": partial(_fold, lax.or_p),
    "reduce_xor": partial(_fold, lax.xor_p),
    "cumsum": partial(_accumulate, partial(_with, lax.add_p)),
    "cumprod": partial(_accumulate, partial(_with, lax.mul_p)),
    "cummax": partial(_accumulate, partial(_with, lax.max_p)),
    "cummin": partial(_accumulate, partial(_with, lax.min_p)),
    "cumlogsumexp": partial(_accumulate, _log_add_exp),
    "argmax": partial(_index_of, lax.gt_p),
    "argmin": partial(_index_of, lax.lt_p),
    "sort": _sort,
    "top_k": _top_k,
    "dot_general": _dot_general,
}


# Printed


def _printed(program: Program, outputs: Sequence[Scalar]) -> str:
    """What the outputs need, each operation once; what is used once stands where it is used."""
    uses = Counter(x for x in outputs if isinstance(x, str))
    for (_, *operands), name in reversed(program.items()):
        if name in uses:
            uses.update(operands)
    variables = (f"{letter}{n or ''}" for n in itertools.count() for letter in _LETTERS)
    long = [x for x in uses if not x.startswith("#") and len(x) > 6 and uses[x] > 1]
    expressions = dict(zip(long, variables, strict=False))
    lines = [f"{variable}={number}" for number, variable in expressions.items()]
    for (template, *operands), name in program.items():
        if name not in uses:
            continue
        texts = [expressions.get(x, x) for x in operands]
        if not re.fullmatch(r"[\w.]+\(\{\}(,\{\})*\)", template):
            texts = [x if _is_primary(x) else f"({x})" for x in texts]
        expressions[name] = template.format(*texts)
        if uses[name] > 1 or len(expressions[name]) > LONGEST_EXPRESSION:
            variable = next(variables)
            lines.append(f"{variable}={expressions[name]}")
            expressions[name] = variable
    results = ",".join(expressions.get(x, x) for x in map(_text, outputs))
    body = f"{{const {','.join(lines)};return[{results}]}}" if lines else f"[{results}]"
    return _with_helpers(f"(z,p)=>{body}")


_LETTERS = "abcdefghijklmnoqrstuvwxyABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _is_primary(text: str) -> bool:
    """Whether an operator may stand beside it: a name, a number, a call, or all in parentheses."""
    while "(" in text:
        text = re.sub(r"\([^()]*\)", "", text)
    return re.fullmatch(r"[\w.]*(\[\d\]|e-\d+)?", text) is not None


def _with_helpers(function: str) -> str:
    needed: set[str] = set()
    sources = [function]
    while sources:
        names = set(re.findall(r"(?<![\w.])[a-z]\w+", sources.pop())) & _HELPERS.keys() - needed
        needed |= names
        sources += [_HELPERS[name] for name in names]
    if not needed:
        return function
    helpers = ",".join(f"{name}={_HELPERS[name]}" for name in _HELPERS if name in needed)
    return f"(()=>{{const {helpers};return {function}}})()"


def _text(x: Scalar) -> str:
    if isinstance(x, str):
        return x
    if isinstance(x, bool):
        return "true" if x else "false"
    number = _number(x)
    return f"({number})" if number.startswith("-") else number


def _number(x: int | float) -> str:
    """The shortest that JavaScript reads as the same number."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    text = re.sub(r"\.0$", "", repr(x))
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].strip("+"), text)
