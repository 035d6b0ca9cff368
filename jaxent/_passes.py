"""How the kernels of losses are put together: their derivatives, and sums in few passes.

A kernel is `kernel(axes, z, p, kept, **options)` with one value a row, of logits and targets of one
shape. `kept` is the mask of classes, or None. Where it hides a class, z is −inf and p is 0. A row
without a possible class has value 0 and gradient 0.
"""

from functools import partial, wraps

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxent import _softmax as softmax
from jaxent._softmax import (
    are_few,
    are_small,
    batched_as_rows,
    expand,
    tail_of,
    times,
)

# Differentiation


def with_gradient(value, both, value_of_many, both_of_many, gradient, by_p):
    """The kernel of a loss of z and p, from its formulas, each of `(axes, z, p)`.

    An operand that is not differentiated costs nothing.

    Args:
        value: the value of each row, for few classes or few numbers.
        both: (value, ∂/∂z) of each row, likewise.
        value_of_many: the value of each row, for many classes.
        both_of_many: (value, ∂/∂z) of each row, likewise.
        gradient: ∂/∂z from the core, which is differentiated for higher orders.
        by_p: ∂/∂p, which may be infinite.
    """

    def fastest_value(axes, z, p):
        general = are_small(z.shape) or are_few(axes, z.shape, stored=False)
        return (value if general else value_of_many)(axes, z, p)

    def fastest_both(axes, z, p):
        general = are_small(z.shape) or are_few(axes, z.shape)
        return (both if general else both_of_many)(axes, z, p)

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def values(axes, z, p):
        return batched_as_rows(fastest_value, axes, z, p)

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def values_and_gradients(axes, z, p):
        return batched_as_rows(fastest_both, axes, z, p)

    def slope(axes, primals, tangents, by_z):
        z_dot, p_dot = tangents
        terms = []
        if not isinstance(z_dot, SymbolicZero):
            terms.append(jnp.sum(by_z * z_dot, axes))
        if not isinstance(p_dot, SymbolicZero):
            of_p = jnp.sum(times(p_dot, by_p(axes, *primals)), axes)
            terms.append(jnp.where(softmax.possible(axes, primals[0]), of_p, 0.0))
        return sum(terms[1:], terms[0])

    def values_jvp(axes, primals, tangents):
        found, by_z = values_and_gradients(axes, *primals)
        return found, slope(axes, primals, tangents, by_z)

    def values_and_gradients_jvp(axes, primals, tangents):
        found, by_z = values_and_gradients(axes, *primals)
        by_z_dot = jvp_of_nonzero(partial(gradient, axes), primals, tangents)
        return (found, by_z), (slope(axes, primals, tangents, by_z), by_z_dot)

    values.defjvp(values_jvp, symbolic_zeros=True)
    values_and_gradients.defjvp(values_and_gradients_jvp, symbolic_zeros=True)

    def kernel(axes, z, p, kept):
        return values(axes, z, p)

    return kernel


def jvp_of_nonzero(function, primals, tangents):
    """The tangent of a function, by the operands that have one; at least one has."""
    moving = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]

    def of_moving(*operands):
        every = list(primals)
        for i, operand in zip(moving, operands, strict=True):
            every[i] = operand
        return function(*every)

    primals_and_tangents = [primals[i] for i in moving], [tangents[i] for i in moving]
    return jax.jvp(of_moving, *primals_and_tangents)[1]


def where_possible(normalizer, x):
    """x of a row, or 0 in a row of impossible classes, where Σ e = 0."""
    return jnp.where(normalizer == 0, 0.0, x)


def first_of(both):
    """The value alone, where the gradient beside it costs nothing that is not asked for."""
    return lambda axes, z, p: both(axes, z, p)[0]


def zero_where_impossible(kernel):
    """A kernel that is 0 in a row of impossible classes."""

    @wraps(kernel)
    def masked(axes, z, p, kept, **options):
        return jnp.where(softmax.possible(axes, z), kernel(axes, z, p, kept, **options), 0.0)

    return masked


# Sums in few passes


def halved(axes, z):
    """(½(z − max z), e); the difference itself may overflow."""
    half = softmax.below(axes, 0.5 * z, 0.5 * softmax.top_logit(axes, z))
    return half, jnp.exp(2 * half)


def stored(axes, z):
    """(max z, e, Σ e, tail) for a value and a gradient, which read e from memory."""
    top = softmax.top_logit(axes, z)
    d = softmax.below(axes, z, top)
    e = jnp.exp(d)
    rest, tops = softmax.rest_and_tops(axes, d, e)
    return top, e, rest + tops, tail_of(rest, tops)


def tail_beside(axes, z, top, p, mass):
    """The tail in one pass, for a value that counts how far Q is from P; −1 in a row of all −inf.

    The sum leaves out the majority class of P, not the top class of Q: with r = 1 for the former

        tail = Σ (e − r) + (Σ r − 1).

    If both are one class, the tail keeps its digits. If not, the value is of order 1, and an error
    of one ulp of 1 in the tail is no more in the value.
    """
    majority = jnp.round(p * expand(1 / jnp.maximum(mass, jnp.finfo(p.dtype).tiny), axes))
    e = jnp.exp(softmax.below(axes, z, top))
    return jnp.sum(e - majority, axes) + (jnp.sum(majority, axes) - 1)


def is_possible(tail):
    """1, and 0 in a row of all −inf, as a factor: XLA would end a fusion at a select."""
    return jnp.minimum(tail + 1, 1.0)


def weighted_sum(axes, p, half):
    """2 Σ p·half with 0·∞ = 0, for half ≥ 0, and without a select, which would end a fusion.

    As in `times`, ∞ is two finite factors. The quarter stands between the bounds lest XLA merges
    them into a clamp, which ends a fusion too.
    """
    limits = jnp.finfo(half.dtype)
    twice = jnp.minimum(jnp.maximum(half * limits.tiny, 4.0) * 0.25, limits.max)
    return 2 * jnp.sum((p * jnp.minimum(half, limits.max)) * twice, axes)


def finite_or(fast, careful, *operands):
    """The fast values, if all are finite, else `careful(*operands)`.

    A fast value is ∞ or NaN where p log q is 0·∞, where max z − z overflows, and in rows of −inf.
    """
    return jax.lax.cond(jnp.all(jnp.isfinite(fast)), lambda *_: fast, careful, *operands)


def number_of_classes(axes, z, kept):
    """How many classes of each row are kept, at least 1."""
    if kept is None:
        return softmax.classes(axes, z.shape)
    return jnp.maximum(jnp.sum(jnp.broadcast_to(kept, z.shape), axes, dtype=z.dtype), 1.0)
