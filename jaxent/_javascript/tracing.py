"""A jaxpr becomes a program, equation by equation, and its loops become their steps."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxent._javascript import elementwise, moves, rows
from jaxent._javascript.program import (
    MOST_OPERATIONS,
    Array,
    Equation,
    Operate,
    Program,
    Scalar,
    Untranslatable,
    array_of,
    as_scalars,
    is_known,
    known_if_possible,
    named,
)


def traced(closed: core.ClosedJaxpr, dtype: np.dtype) -> tuple[Program, list[Scalar]]:
    """The program of a value and its gradient as functions of z and p, and what it returns."""
    program: Program = {}
    number = elementwise.ROUNDED[dtype].format
    inputs = [array_of([named(program, number(f"{x}[{n}]")) for n in range(3)]) for x in "zp"]
    value, gradient = _call(partial(elementwise.operate, program), closed, inputs)
    return program, [as_scalars(value).item(), *as_scalars(gradient)]


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
        return _call(
            operate, next(eqn.params[name] for name in _PROGRAMS if name in eqn.params), inputs
        )
    if name in _UNCHANGED or not eqn.outvars:
        return inputs[: len(eqn.outvars)]
    if all(map(is_known, inputs)):
        known = eqn.primitive.bind(*inputs, **eqn.params)
        return known if eqn.primitive.multiple_results else [known]
    if name in _CONTROL:
        return _CONTROL[name](operate, eqn, *inputs)
    if name not in _RULES:
        raise Untranslatable(f"primitive '{name}'")
    outputs = _RULES[name](operate, eqn, *map(as_scalars, inputs))
    dtypes = [variable.aval.dtype for variable in eqn.outvars]
    return list(map(known_if_possible, outputs, dtypes))


def _scan(operate: Operate, eqn: Equation, *inputs: Any) -> list:
    length, start, carried = (eqn.params[name] for name in ("length", "num_consts", "num_carry"))
    if length > MOST_OPERATIONS:
        raise Untranslatable(f"a loop of {length} steps")
    consts, carry = inputs[:start], inputs[start : start + carried]
    results: dict[int, Sequence] = {}
    for n in reversed(range(length)) if eqn.params["reverse"] else range(length):
        step = [x[n, ...] for x in inputs[start + carried :]]
        outputs = _call(operate, eqn.params["jaxpr"], [*consts, *carry, *step])
        carry, results[n] = outputs[:carried], outputs[carried:]
    stacks = [
        _stack([results[n][position] for n in range(length)], variable.aval)
        for position, variable in enumerate(eqn.outvars[carried:])
    ]
    return [*carry, *stacks]


def _stack(slices: Sequence, aval: Any) -> Any:
    if not slices:
        return np.empty(aval.shape, aval.dtype)
    return jnp.stack(slices) if all(map(is_known, slices)) else np.stack([*map(as_scalars, slices)])


def _while(operate: Operate, eqn: Equation, *inputs: Any) -> Sequence:
    of_condition = eqn.params["cond_nconsts"]
    start = of_condition + eqn.params["body_nconsts"]
    carry: Sequence = inputs[start:]
    for _ in range(MOST_OPERATIONS):
        (goes_on,) = _call(operate, eqn.params["cond_jaxpr"], [*inputs[:of_condition], *carry])
        if not is_known(goes_on):
            raise Untranslatable("a loop whose length depends on the data")
        if not goes_on:
            return carry
        carry = _call(operate, eqn.params["body_jaxpr"], [*inputs[of_condition:start], *carry])
    raise Untranslatable(f"a loop of more than {MOST_OPERATIONS} steps")


def _cond(operate: Operate, eqn: Equation, index: Any, *operands: Any) -> Sequence:
    branches = eqn.params["branches"]
    if is_known(index):
        return _call(operate, branches[min(max(int(index), 0), len(branches) - 1)], operands)
    outputs = zip(*[_call(operate, branch, operands) for branch in branches], strict=True)
    return [
        elementwise.choose(operate, variable.aval, index, *map(as_scalars, cases))
        for variable, cases in zip(eqn.outvars, outputs, strict=True)
    ]


def _reduce(operate: Operate, eqn: Equation, *inputs: Any) -> list:
    """A reduction by any function: of several operands at once, one number after the other."""
    count, axes = len(eqn.outvars), eqn.params["dimensions"]
    operands, starts = map(as_scalars, inputs[:count]), inputs[count:]
    rows_of = [rows.along(operand, axes) for operand in operands]
    dtypes = [variable.aval.dtype for variable in eqn.outvars]
    columns = []
    for of_operands in zip(*rows_of, strict=True):
        accumulated: Sequence = starts
        for scalars in zip(*of_operands, strict=True):
            numbers = [
                known_if_possible(array_of([scalar], ()), dtype)
                for scalar, dtype in zip(scalars, dtypes, strict=True)
            ]
            accumulated = _call(operate, eqn.params["jaxpr"], [*accumulated, *numbers])
        columns.append([as_scalars(x).item() for x in accumulated])
    shapes = [variable.aval.shape for variable in eqn.outvars]
    return list(map(array_of, zip(*columns, strict=True), shapes))


def _cumlogsumexp(operate: Operate, eqn: Equation, x: Array) -> list[Array]:
    dtype = eqn.invars[0].aval.dtype
    closed = jax.make_jaxpr(jnp.logaddexp)(*[jax.ShapeDtypeStruct((), dtype)] * 2)

    def log_add_exp(primitive: core.Primitive, dtype: np.dtype, *pair: Scalar) -> Scalar:
        inputs = [known_if_possible(array_of([scalar], ()), dtype) for scalar in pair]
        (output,) = _call(operate, closed, inputs)
        return as_scalars(output).item()

    return rows.accumulate(eqn.primitive, log_add_exp, eqn, x)


_CALLS = (
    *("jit", "closed_call", "remat2", "custom_jvp_call", "custom_vjp_call"),
    "custom_vmap_call",
)
_PROGRAMS = ("call_jaxpr", "jaxpr", "call")
_UNCHANGED = (
    *("copy", "device_put", "name", "optimization_barrier", "sharding_constraint"),
    "stop_gradient",
)
_CONTROL = {"scan": _scan, "while": _while, "cond": _cond, "reduce": _reduce}
_RULES = {**elementwise.RULES, **moves.RULES, **rows.RULES, "cumlogsumexp": _cumlogsumexp}
