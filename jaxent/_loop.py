"""Loops of steps that may end early, almost as fast as a bare `jax.lax.scan`.

XLA on CPU compiles a loop to a single kernel if a step touches less than 1 KB. So the fast loop
carries only what the next step needs, and does not check whether it should end. Instead, a step
that goes wrong leaves a NaN in the parameters, which stays there. If the parameters hold a NaN
after the loop, a careful loop takes the same steps again and checks each.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int, PyTree


class Step(NamedTuple):
    """One step from (point, state).

    Attributes:
        point: the next point. If the signal is NaN, an element of the next point is NaN, and stays
            NaN in all later steps.
        state: the next state.
        value: the value at the point before the step.
        signal: finite to go on, infinite to end here, NaN to end one step before (at the start,
            there).
        may_end: true wherever the signal is infinite, and perhaps elsewhere, if that costs less.
            None if no signal is ever infinite.
        row: the record of the point before the step, any pytree.
    """

    point: PyTree
    state: PyTree
    value: Float[Array, ""]
    signal: Float[Array, ""]
    may_end: Bool[Array, ""] | None
    row: PyTree


class Place(NamedTuple):
    """Where a loop is.

    Attributes:
        point: the parameters, a pytree.
        state: what else the next step reads, a pytree. Of no use once the loop has ended.
        value: the value at the point.
        signal: finite while the loop goes on, and afterwards the signal that ended it.
        steps_taken: the number of steps that led here.
    """

    point: PyTree
    state: PyTree
    value: Float[Array, ""]
    signal: Float[Array, ""]
    steps_taken: Int[Array, ""]


def at_start(point: PyTree, state: PyTree) -> Place:
    """The place before the first step. Its value is not known yet."""
    return Place(point, state, jnp.zeros(()), jnp.zeros(()), jnp.int32(0))


def walk(
    step: Callable[..., Step], start: Place, lengths: Sequence[int], *operands: PyTree
) -> tuple[Place, PyTree]:
    """Take sum(lengths) steps, or those up to the signal that ends the loop.

    The result can be differentiated with respect to `start`, `operands` and whatever `step` closes
    over. A derivative takes a slower loop.

    Args:
        step: a function of (point, state, *operands).
        start: the place to start from.
        lengths: the steps of each part. The parts after the end are skipped, and only the part with
            the end is gone through again.
        operands: what else a step reads.

    Returns:
        The last place, and the rows of all steps. The rows of steps that were not taken are NaN.
    """
    closed, shapes = jax.make_jaxpr(step, return_shape=True)(start.point, start.state, *operands)
    # The rule outlives this call, so it must not keep the tracers that `step` closes over.
    jaxpr, closure = closed.jaxpr, closed.consts
    dtype = shapes.value.dtype
    start = start._replace(value=start.value.astype(dtype), signal=start.signal.astype(dtype))

    def opened(closure, operands):
        def step(point, state) -> Step:
            leaves = jax.tree.leaves((point, state, operands))
            outputs = eval_jaxpr(jaxpr, closure, *leaves)
            return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

        return step

    def fast(closure, operands, start):
        return _parts(opened(closure, operands), start, lengths, shapes.row)

    # The fast loop has no reverse mode, since the length of its careful loop is not known.
    run = jax.custom_jvp(fast)

    @partial(run.defjvp, symbolic_zeros=True)
    def rule(primals, tangents):
        end, _ = fast(*jax.lax.stop_gradient(primals))
        primals, tree = jax.tree.flatten(primals)
        moves = [not isinstance(tangent, SymbolicZero) for tangent in jax.tree.leaves(tangents)]

        def slow(*moving):
            moved = iter(moving)
            leaves = [next(moved) if it else leaf for it, leaf in zip(moves, primals, strict=True)]
            closure, operands, start = jax.tree.unflatten(tree, leaves)
            return _again(opened(closure, operands), start, sum(lengths), end)

        def moving(tree):
            return [leaf for it, leaf in zip(moves, jax.tree.leaves(tree), strict=True) if it]

        return jax.jvp(slow, moving(primals), moving(tangents))

    return run(closure, operands, start)


def joined(records: list[PyTree]) -> PyTree:
    """One record, from those of consecutive parts."""
    if len(records) == 1:
        return records[0]
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *records)


def _parts(step, place, lengths, row):
    records = []
    for length, equal in groupby(lengths):
        count = len([*equal])
        if count == 1:
            place, rows = _part(step, place, length)
        else:
            rows = jax.tree.map(partial(_no_rows, length), row)

            def part(place, _, length=length, rows=rows):
                return jax.lax.cond(
                    _anywhere(jnp.isfinite(place.signal)),
                    lambda: _part(step, place, length),
                    lambda: (place, rows),
                )

            place, rows = jax.lax.scan(part, place, None, length=count)
            rows = jax.tree.map(lambda rows: jax.lax.collapse(rows, 0, 2), rows)
        records.append(rows)
    return place, joined(records)


def _part(step, start: Place, length):
    def bare(carry, _):
        new = step(*carry)
        return (new.point, new.state), (new.may_end, new.row)

    carry = start.point, start.state
    (point, state), (may_end, rows) = jax.lax.scan(bare, carry, None, length=length)
    end = start._replace(point=point, state=state, steps_taken=start.steps_taken + length)
    suspect, sure = _has_nan(point), start
    if may_end is not None:
        # Without a NaN in the part, the steps before the first suspicion need no check.
        index = jnp.arange(length, dtype=jnp.int32)
        first = jnp.min(index, where=may_end & ~suspect, initial=length)
        skipped = jnp.where(first < length, jnp.maximum(first - 1, 0), 0)
        carry = jax.lax.fori_loop(0, skipped, lambda _, carry: bare(carry, None)[0], carry)
        sure = Place(*carry, start.value, start.signal, start.steps_taken + skipped)
        suspect |= first < length
    found = _look(step, sure, end, suspect)
    # Nobody reads the state after the end. A choice would give each member of a batch its own copy
    # of what they share, such as Adam's count of steps and the powers computed from it.
    end = _where(jnp.isfinite(start.signal), found._replace(state=()), start._replace(state=()))
    return end._replace(state=state), _kept(rows, end.steps_taken - start.steps_taken)


def _look(step, start: Place, end: Place, suspect):
    """Look at each place from the start on, or, without suspicion, at the end alone."""

    def look(carry):
        before, place, has_before, _ = carry
        new = step(place.point, place.state)
        place = place._replace(value=new.value, signal=new.signal)
        moved = place._replace(point=new.point, state=new.state, steps_taken=place.steps_taken + 1)
        goes_on = jnp.isfinite(new.signal) & (place.steps_taken < end.steps_taken)
        before = _where(goes_on, (place.point, place.value), before)
        # A NaN at the end: the point before it is reached from the start.
        again = jnp.isnan(new.signal) & ~has_before
        place = _where(again, start, _where(goes_on, moved, place))
        return before, place, jnp.bool_(True), goes_on | again

    before = start.point, start.value
    carry = before, _where(suspect, start, end), suspect, jnp.isfinite(start.signal)
    before, place, *_ = jax.lax.while_loop(lambda carry: carry[-1], look, carry)
    # A NaN takes the last step back, unless it was there at the start.
    back = jnp.isnan(place.signal) & (place.steps_taken > start.steps_taken)
    point, value = _where(back, before, (place.point, place.value))
    return place._replace(point=point, value=value, steps_taken=place.steps_taken - back)


@jax.custom_batching.custom_vmap
def _anywhere(condition):
    """Whether a condition holds for any member of a batch.

    `jax.vmap` makes a `cond` on a batched condition compute both branches. This one is not batched.
    """
    return condition


@_anywhere.def_vmap
def _anywhere_in_a_batch(size, is_batched, condition):
    return _anywhere(jnp.any(condition)), False


def _again(step, start: Place, length, end: Place):
    """The same place and rows by a loop of fixed length, which has a reverse mode."""
    taken = end.steps_taken - start.steps_taken

    def until_taken(carry, index):
        new = step(*carry)
        return _where(index < taken, (new.point, new.state), carry), (new.value, new.row)

    carry = start.point, start.state
    # One turn more, for the value at the last point.
    carry, (values, rows) = jax.lax.scan(until_taken, carry, jnp.arange(length + 1))
    point, state = carry
    rows = jax.tree.map(lambda rows: rows[:-1], rows)
    return end._replace(point=point, state=state, value=values[-1]), _kept(rows, taken)


def _has_nan(tree):
    leaves = [jnp.any(jnp.isnan(leaf)) for leaf in jax.tree.leaves(tree)]
    return reduce(jnp.logical_or, leaves, jnp.bool_(False))


def _kept(rows, taken):
    """The rows of the steps taken, and what JAX fills in (`jnp.take`, mode="fill") for others."""

    def kept(x):
        of_steps = jnp.arange(len(x)) < taken
        return jnp.where(of_steps.reshape(-1, *[1] * (x.ndim - 1)), x, _missing(x.dtype))

    return jax.tree.map(kept, rows)


def _no_rows(length, row):
    return jnp.full((length, *row.shape), _missing(row.dtype), row.dtype)


def _missing(dtype) -> Any:
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(jnp.nan, dtype)
    if jnp.issubdtype(dtype, jnp.signedinteger):
        return jnp.iinfo(dtype).min
    return True if dtype == jnp.bool_ else jnp.iinfo(dtype).max


def _where(condition, tree, other):
    return jax.tree.map(partial(jnp.where, condition), tree, other)
