"""Scalars, arrays of scalars, and programs: operations on scalars, written in JavaScript."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

MOST_OPERATIONS = 4000
"""More of them are not a program that a page should hold."""

LONGEST_EXPRESSION = 80
"""In characters: a longer one gets a name, so that none is nested too deeply."""

Scalar: TypeAlias = bool | int | float | str
"""A number that is known, or the name of one that is not."""

Array: TypeAlias = Any
"""A NumPy array of scalars; where all of them are known, also one of numbers, or JAX's."""

Program: TypeAlias = dict[tuple[str, ...], str]
"""Operations in their order, (template, *operands as text) → name of the result.

The same operation on the same operands has one name. Names start with #; what is printed has
shorter ones.
"""

Equation: TypeAlias = Any
"""A `jax.extend.core.JaxprEqn`, whose variables are arrays."""

Operate: TypeAlias = Callable[..., Scalar]
"""operate(primitive, dtype, *operands, **params) → result: `operate` of a program."""


_SOURCE = resources.files("jaxent").joinpath("_javascript", "helpers.js").read_text("utf-8")
_WITHOUT_SPACES = re.sub(r"\s*([^\w\s])\s*", r"\1", re.sub("//.*", "", _SOURCE))
HELPERS = dict(
    definition.replace(";}", "}").rstrip(";").split("=", 1)
    for definition in _WITHOUT_SPACES.split("export const ")[1:]
)
"""JavaScript functions that expressions and other functions call, by their names."""


class Untranslatable(Exception):
    """Its message is the reason that a `Translation` gives."""


def named(program: Program, template: str, *operands: str) -> str:
    """The name of an operation's result; a new operation is added to the program."""
    if len(program) >= MOST_OPERATIONS:
        raise Untranslatable(f"more than {MOST_OPERATIONS} operations")
    return program.setdefault((template, *operands), f"#{len(program)}")


def written(program: Program, outputs: Sequence[Scalar]) -> str:
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
    results = ",".join(expressions.get(x, x) for x in map(text, outputs))
    body = f"{{const {','.join(lines)};return[{results}]}}" if lines else f"[{results}]"
    return _with_helpers(f"(z,p)=>{body}")


_LETTERS = "abcdefghijklmnoqrstuvwxyABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _is_primary(expression: str) -> bool:
    """Whether an operator may stand beside it: a name, a number, a call, or all in parentheses."""
    while "(" in expression:
        expression = re.sub(r"\([^()]*\)", "", expression)
    return re.fullmatch(r"[\w.]*(\[\d\]|e-\d+)?", expression) is not None


def _with_helpers(function: str) -> str:
    needed: set[str] = set()
    sources = [function]
    for source in sources:
        names = set(re.findall(r"(?<![\w.])[a-z]\w+", source)) & HELPERS.keys() - needed
        needed |= names
        sources += [HELPERS[name] for name in names]
    if not needed:
        return function
    definitions = ",".join(f"{name}={HELPERS[name]}" for name in HELPERS if name in needed)
    return f"(()=>{{const {definitions};return {function}}})()"


def text(x: Scalar) -> str:
    """The shortest that JavaScript reads as the same scalar; in parentheses if it is negative."""
    if isinstance(x, str):
        return x
    number = re.sub(r"\.0$|(?<!\d)0(?=\.0*[1-9])|(?<=e)\+|(?<=e-)0", "", json.dumps(x))
    return f"({number})" if number.startswith("-") else number


def array_of(scalars: Iterable[Scalar], shape: tuple[int, ...] = (-1,)) -> Array:
    """The scalars as an array of this shape."""
    return np.array([*scalars], object).reshape(shape)


def is_known(x: Array) -> bool:
    """Whether this is an array of numbers, and not one of scalars."""
    return x.dtype != object


def as_scalars(x: Array) -> Array:
    """The array as one of scalars."""
    if not is_known(x):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        raise Untranslatable(f"dtype {x.dtype}")
    x = np.asarray(x)
    return (x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x).astype(object)


def known_if_possible(x: Array, dtype: np.dtype) -> np.ndarray:
    """An array of numbers, if all scalars of this one are known."""
    if any(isinstance(scalar, str) for scalar in x.flat):
        return x
    return np.array(x.tolist(), dtype).reshape(x.shape)
