"""Softmax together with its exact complement, and the derivative rules that keep its digits.

A sure prediction has one probability near 1 and a remainder near 0. Losses and gradients live on
the remainder, and 1 − q loses it: from a logit difference of 17 on, float32 says zero. So softmax
is held here as

    d = z − max z,   e = exp d,   tail = Σ e − 1, summed without the 1

From these arrays follow log Z = log1p(tail), q = e/(1 + tail) and 1 − q_top = tail/(1 + tail),
without a subtraction of nearly equal numbers. The derivative rules use the same three arrays. So
derivatives are as exact, and can be differentiated again, to any order and in any mode.

Nothing here checks its arguments. `axes` is a tuple of ints counted from the front, and comes
first. The logits z are float32 or float64. A class with logit −inf has e = 0, and a row of nothing
else has e = tail = 0. A row's value has no class axes: XLA does not vectorise a loop over [B, 1].

Two facts about XLA on CPUs decide how a formula is written. A sum over many elements is handed to a
library that knows no select. And an array that two sums read is written to memory first.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

_FEW = 32
_FEW_FOR_A_VALUE = 10  # of more, XLA on CPUs does not vectorise an exponential within the loop
_SMALL = 4096  # of more numbers, XLA on CPUs hands sums to its library


def expand(row, axes):
    """A row's value, ready to broadcast over its classes."""
    return jnp.expand_dims(row, axes)


def classes(axes, shape):
    return math.prod(shape[axis] for axis in axes)


def are_few(axes, shape, *, stored=True):
    """Whether the classes are so few that one loop over a row is faster than several sums.

    Args:
        stored: whether the exponentials are in memory; else the loop computes them.
    """
    return classes(axes, shape) <= (_FEW if stored else _FEW_FOR_A_VALUE)


def are_small(shape):
    """Whether there are so few numbers that calls of kernels cost more than the work in them."""
    return math.prod(shape) < _SMALL


def sums(axes, *terms):
    """The sums of several terms over the classes; in one pass, if there are few or few numbers."""
    shape = terms[0].shape
    if len(terms) > 1 and are_few(axes, shape):
        zeros = tuple(np.zeros((), term.dtype) for term in terms)
        return jax.lax.reduce(terms, zeros, lambda x, y: tuple(map(jnp.add, x, y)), axes)
    if len(terms) > 1 and are_small(shape):
        return tuple(jnp.sum(jnp.stack(terms), [1 + axis for axis in axes]))
    return [jnp.sum(term, axes) for term in terms]


def batched_as_rows(kernel, axes, *operands):
    """`kernel(axes, *operands)`, for which `jax.vmap` is one more leading axis.

    So the kernel sees how many rows there are, and a branch on all rows is not computed twice.
    """

    @jax.custom_batching.custom_vmap
    def run(*operands):
        return kernel(axes, *operands)

    @run.def_vmap
    def run_batch(size, are_batched, *operands):
        operands = [
            x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_batched in zip(operands, are_batched, strict=True)
        ]
        results = batched_as_rows(kernel, tuple(axis + 1 for axis in axes), *operands)
        return results, jax.tree.map(lambda _: True, results)

    return run(*operands)


def again(x):
    """x, from which XLA computes anew what it has computed already.

    An array that a second sum reads would be stored otherwise. That costs more than an exponential.
    """
    return jax.lax.optimization_barrier(x)


def possible(axes, z):
    """Rows in which at least one class can happen (NaN counts: it must come out again)."""
    return jnp.max(z, axes) != -jnp.inf


def times(x, y):
    """x·y with 0·∞ = 0, and linear in x, as a tangent must be: a select on x would not be.

    An infinite y is applied as two finite factors: zero survives both, and anything else that
    is not tiny overflows to ±∞.
    """
    infinite = jnp.isinf(y)
    largest = jnp.finfo(y.dtype).max
    once = jnp.where(infinite, jnp.sign(y) * largest, y)
    twice = jnp.where(infinite, largest, jnp.ones_like(y))
    return (x * once) * twice


# The core


def top_logit(axes, z):
    """max z, or the least finite number where every logit is −inf: their d is then −inf too."""
    top, least = jnp.max(z, axes), -jnp.finfo(z.dtype).max
    if are_few(axes, z.shape):
        # after a select of rows, XLA does not write the maximum out for every class
        return jnp.where(top == -jnp.inf, least, top)
    return jnp.maximum(top, least)


def below(axes, z, top):
    """d = z − top, for the top of its row.

    A compiler may contract a product and the sum behind it to one operation that rounds once.
    Logits that are scaled in the same program, z = x t, would then reach z − top unrounded, as
    x t − top, where top is the largest of the rounded: the top class misses 0 by half an ulp of
    its logit, and there may be less than that in the tail. Neither a minimum nor a select is
    contracted, and z is never above the top: z is min(z, top).
    """
    few, top = are_few(axes, z.shape), expand(top, axes)
    # The select is one instruction, the minimum several, since it hands on a NaN. (NaN is the top.)
    return (jnp.where(z < top, z, top) if few else jnp.minimum(z, top)) - top


def top_apart(d, e):
    """e without the top class and ties with it, and 1 there."""
    is_top = d == 0
    return jnp.where(is_top, 0.0, e), jnp.where(is_top, 1.0, 0.0).astype(e.dtype)


def tail_of(rest, tops):
    """Σ e − 1 from the sum without the top class and its ties, and their number."""
    return jnp.maximum(rest + (tops - 1), 0.0)


def rest_and_tops(axes, d, e):
    """The sums of `top_apart`."""
    if are_few(axes, e.shape) or are_small(e.shape):
        return sums(axes, *top_apart(d, e))
    # ⌊e⌋ is 1 at the top: a sum takes a floor without a select. Their number is Z less the rest.
    rest = jnp.sum(e - jnp.floor(e), axes)
    return rest, jnp.round(jnp.sum(e, axes) - rest)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def shifted(axes, z):
    """(d, e, tail) of the logits z; the tail is one number a row."""
    d = below(axes, z, top_logit(axes, z))
    e = jnp.exp(d)
    return d, e, tail_of(*rest_and_tops(axes, d, e))


@shifted.defjvp
def _shifted_jvp(axes, primals, tangents):
    # Whatever is computed from (d, e, tail) is unchanged by a common shift of the logits, so the
    # tangents may be taken relative to any class. Relative to the class that has the majority,
    # no large terms are left that would have to cancel; without a majority, none has to.
    (z,), (z_dot,) = primals, tangents
    d, e, tail = shifted(axes, z)
    majority = has_majority(axes, d, tail)
    d_dot = jnp.where(majority, 0.0, z_dot - expand(at_majority(axes, majority, z_dot), axes))
    e_dot = e * d_dot
    return (d, e, tail), (d_dot, e_dot, jnp.sum(e_dot, axes))


def has_majority(axes, d, tail):
    """The class with q > ½, if there is one."""
    return (d == 0) & expand(tail < 1, axes)


def at_majority(axes, majority, v):
    """v at the class with the majority, 0 without one; linear in v."""
    if len(axes) > 1 or are_few(axes, v.shape):
        return jnp.sum(jnp.where(majority, v, 0.0), axes)
    index = jnp.argmax(majority, axes[0], keepdims=True)
    return jnp.where(jnp.any(majority, axes), at_class(axes[0], v, index), 0.0)


def probabilities(axes, e, tail):
    """q = e/(1 + tail)."""
    return e * expand(1 / (1 + tail), axes)


def residual_of(axes, e, tail, p, mass: jax.Array | float = 1.0):
    """q Σp − p, to the last digit also where q is nearly p; `mass` is Σp."""
    return ((e * mass - p) - p * expand(tail, axes)) * expand(1 / (1 + tail), axes)


def residual(axes, z, p):
    """q − p."""
    _, e, tail = shifted(axes, z)
    return residual_of(axes, e, tail, p)


def surprisal(axes, z):
    """−log q."""
    d, _, tail = shifted(axes, z)
    return expand(jnp.log1p(tail), axes) - d


def complement(axes, z):
    """1 − q."""
    _, e, tail = shifted(axes, z)
    return ((1 - e) + expand(tail, axes)) * expand(1 / (1 + tail), axes)


def jacobian_product(axes, z, v):
    """J v = q∘(v − q·v), J = diag(q) − q qᵀ; linear in v.

    J annihilates constants, so v is first taken relative to its value at the top class. Where one
    class has it all, or v is nearly the same for all, nothing cancels then.
    """
    d, e, tail = shifted(axes, z)
    q, v = probabilities(axes, e, tail), v - expand(at_top(axes, d, v), axes)
    return q * (v - expand(jnp.sum(q * v, axes), axes))


def tangent(axes, z, z_dot):
    """J ż, how q moves with z; of many directions in one pass less than `jacobian_product`.

    With k = 1 for the class that has the majority, if there is one, q·ż = ż_k + (q − k)·ż. At that
    class the difference from ż_k is exactly zero, and is left out. Elsewhere it is rounded to the
    digits of ż_k.
    """
    d, e, tail = shifted(axes, z)
    majority = has_majority(axes, d, tail)
    q, q_less_k = probabilities(axes, e, tail), residual_of(axes, e, tail, majority.astype(e.dtype))
    beyond = jnp.sum(q_less_k * z_dot, axes)
    mean = beyond + at_majority(axes, majority, z_dot)
    return jnp.where(majority, -q * expand(beyond, axes), q * (z_dot - expand(mean, axes)))


def at_top(axes, d, v):
    """v at the top class, or the mean over ties with it; linear in v."""
    if len(axes) > 1 or are_few(axes, v.shape):
        top = (d == 0).astype(v.dtype)
        return jnp.sum(jnp.where(d == 0, v, 0.0), axes) / jnp.maximum(jnp.sum(top, axes), 1.0)
    return at_class(axes[0], v, jnp.argmax(d, axes[0], keepdims=True))


def at_class(axis, v, index):
    """v at one class of each row: among many classes a gather costs less than a sum."""
    return jnp.squeeze(jnp.take_along_axis(v, index, axis, mode="clip"), axis)
