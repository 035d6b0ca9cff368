"""Softmax together with its exact complement, and the derivative rules that keep its digits.

A sure prediction has one probability near 1 and a remainder near 0. Losses and gradients live on
the remainder, and 1 − q loses it: from a logit gap of 17 on, float32 says zero. So softmax is
held here as

    d = z − max z,   e = exp d,   tail = Σ e − 1, summed without the 1

from which log Z = log1p(tail), q = e/(1 + tail) and 1 − q_top = tail/(1 + tail) follow without
ever subtracting nearly equal numbers. The derivative rules are written in terms of the same three
arrays: they are as exact, and they can be differentiated again, to any order and in any mode.

Kernels: nothing here checks its arguments. `axes` is a tuple of ints counted from the front and
comes first; float32 or float64 go in. A class with logit −inf has e = 0, and a row of nothing
else has e = tail = 0. Rows are kept without their class axes, because a loop over [B, 1] does not
vectorise, and elementwise work is kept free of selects where it feeds a sum, because XLA fuses
the one and not the other on a CPU.

The kernel of a loss is `kernel(axes, z, p, kept, **options)`, one value a row. Where a mask hides a
class, z is −inf, p is 0 and `kept` is False. `kept` broadcasts to z, and is False in all of a row
without a possible class.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def expand(row, axes):
    """A row's value, ready to broadcast over its classes."""
    return jnp.expand_dims(row, axes)


def possible(axes, z):
    """Rows in which at least one class can happen (NaN counts: it must come out again)."""
    return jnp.max(z, axes) != -jnp.inf


def number_of_classes(axes, z, kept):
    return jnp.maximum(jnp.sum(jnp.broadcast_to(kept, z.shape), axes, dtype=z.dtype), 1.0)


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
    return jnp.maximum(jnp.max(z, axes), -jnp.finfo(z.dtype).max)


def rounded(z, top):
    """z, which is never above the top of its row: min(z, top).

    A compiler may contract a product and the sum behind it to one operation that rounds once.
    Logits that are scaled in the same program, z = x t, would then reach z − top unrounded, as
    x t − top, where top is the largest of the rounded: the top class misses 0 by half an ulp of
    its logit, and there may be less than that in the tail. A minimum is not contracted, and what
    it takes is rounded.
    """
    return jnp.minimum(z, top)


def exponential_of_difference(z, top):
    """exp(z − top), exact to an ulp or two for any gap.

    A gap of 80 is rounded by up to 4e-6, and that would be the relative error of the exponential,
    64 ulp. What the subtraction lost is recovered exactly (Knuth's two-sum) and put back; the
    infinite is held finite meanwhile, where the exponential is 0 all the same.
    """
    d, least = z - top, -jnp.finfo(z.dtype).max
    finite_z, finite_d = jnp.maximum(z, least), jnp.maximum(d, least)
    back = finite_d - finite_z
    lost = (finite_z - (finite_d - back)) - (top + back)
    e = jnp.exp(d)
    return e + e * lost


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def shifted(axes, z):
    """(d, e, tail) of the logits z; the tail is one number a row."""
    top = expand(top_logit(axes, z), axes)
    z = rounded(z, top)
    d, e = z - top, exponential_of_difference(z, top)
    # ⌊e⌋ is 1 for the top class, and for others that round to it, and 0 for the rest
    ones = jnp.floor(e)
    tail = jnp.sum(e - ones, axes) + (jnp.sum(ones, axes) - 1)
    return d, e, jnp.maximum(tail, 0.0)


@shifted.defjvp
def _shifted_jvp(axes, primals, tangents):
    # Whatever is computed from (d, e, tail) is unchanged by a common shift of the logits, so the
    # tangents may be taken relative to any class. Relative to the class that has the majority,
    # no large terms are left that would have to cancel; without a majority, none has to.
    (z,), (z_dot,) = primals, tangents
    d, e, tail = shifted(axes, z)
    majority = (d == 0) & expand(tail < 1, axes)
    of_majority = jnp.sum(jnp.where(majority, z_dot, 0.0), axes)
    d_dot = jnp.where(majority, 0.0, z_dot - expand(of_majority, axes))
    e_dot = e * d_dot
    return (d, e, tail), (d_dot, e_dot, jnp.sum(e_dot, axes))


def residual(axes, z, p):
    """q − p, to the last digit also where q is nearly p = 1."""
    _, e, tail = shifted(axes, z)
    return ((e - p) - p * expand(tail, axes)) * expand(1 / (1 + tail), axes)


def surprisal(axes, z):
    """−log q."""
    d, _, tail = shifted(axes, z)
    return expand(jnp.log1p(tail), axes) - d


def complement(axes, z):
    """1 − q."""
    _, e, tail = shifted(axes, z)
    return ((1 - e) + expand(tail, axes)) * expand(1 / (1 + tail), axes)


def at_top(axes, e, v):
    """v at the top class, or at one of those that are tied; ready to broadcast."""
    nowhere = -jnp.finfo(v.dtype).max
    value = jnp.max(jnp.where(e == 1, v, nowhere), axes)
    return expand(jnp.where(value == nowhere, 0.0, value), axes)


def jacobian_product(axes, z, v):
    """J v = q∘(v − q·v): from a gradient in probabilities to the gradient in logits.

    J annihilates constants, so v is first taken relative to its value at the top class: where
    classes are tied, or one has it all, the difference of large numbers is then exactly zero.
    """
    _, e, tail = shifted(axes, z)
    q = e * expand(1 / (1 + tail), axes)
    v = v - at_top(axes, e, v)
    return q * (v - expand(jnp.sum(q * v, axes), axes))


# Functions whose first derivative is written down


def with_partials(function, partials):
    """The kernel of a loss `function(axes, z, p)`, differentiated by `partials(axes, z, p)`.

    The partials are (∂/∂z, ∂/∂p) of each row's value; they are differentiated in turn for higher
    orders. An operand that is not differentiated costs nothing. z must have finite partials
    wherever it is finite; those of p may be infinite.
    """

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def ruled(axes, z, p):
        return function(axes, z, p)

    def rule(axes, primals, tangents):
        value = ruled(axes, *primals)
        (z_dot, p_dot), (by_z, by_p) = tangents, partials(axes, *primals)
        value_dot = jnp.zeros_like(value)
        if not isinstance(z_dot, SymbolicZero):
            value_dot += jnp.sum(by_z * z_dot, axes)
        if not isinstance(p_dot, SymbolicZero):
            value_dot += jnp.sum(times(p_dot, by_p), axes)
        return value, value_dot

    ruled.defjvp(rule, symbolic_zeros=True)

    def kernel(axes, z, p, kept):
        return ruled(axes, z, p)

    return kernel


def _weighted_sum(axes, p, y):
    """Σ p y with 0·∞ = 0, for y ≥ 0."""
    if math.prod(p.shape[axis] for axis in axes) < 64:
        return jnp.sum(p * jnp.where(p == 0, 0.0, y), axes)
    # `times` without a select: XLA then fuses the whole loss into one pass over many classes. The
    # quarter stands between the bounds lest they be merged into a clamp, which ends the fusion.
    limits = jnp.finfo(y.dtype)
    twice = jnp.minimum(jnp.maximum(y * limits.tiny, 4.0) * 0.25, limits.max)
    return jnp.sum((p * jnp.minimum(y, limits.max)) * twice, axes)


def _cross_entropy(axes, z, p):
    # The barrier keeps XLA from storing z − max z for both this sum and the exponential, where
    # reading z twice is faster.
    _, _, tail = shifted(axes, z)
    top = expand(jax.lax.optimization_barrier(top_logit(axes, z)), axes)
    # Halves, because top − z may overflow, and rounded as halves, lest XLA store z for both.
    half_below = _weighted_sum(axes, p, 0.5 * top - rounded(0.5 * z, 0.5 * top))
    return jnp.sum(p, axes) * jnp.log1p(tail) + 2 * half_below


def cross_entropy_residual(axes, z, p, mass=None):
    """q Σp − p, the gradient of −Σ p log q, also where P does not sum to one."""
    _, e, tail = shifted(axes, z)
    mass = expand(jnp.sum(p, axes) if mass is None else mass, axes)
    return ((e * mass - p) - p * expand(tail, axes)) * expand(1 / (1 + tail), axes)


def _cross_entropy_partials(axes, z, p):
    return cross_entropy_residual(axes, z, p), surprisal(axes, z)


cross_entropy = with_partials(_cross_entropy, _cross_entropy_partials)


def _mass(axes, p):
    """Σ p, and what rounding took from it: the sum of a coarse part is exact, the rest small."""
    split = 2.0 ** (jnp.finfo(p.dtype).nmant - 1)  # multiples of 1/split add up exactly to 4
    coarse = jnp.floor(p * split) / split
    coarse_mass, fine_mass = jnp.sum(coarse, axes), jnp.sum(p - coarse, axes)
    mass = coarse_mass + fine_mass
    return mass, (coarse_mass - mass) + fine_mass


def _kullback_leibler(axes, z, p):
    # With M = Σp the value is Σ [p log(p/(Mq)) + (Mq − p)] + M log M. Every bracket is at least
    # zero, and to first order blind to the rounding of its Mq, so that nothing cancels where P and
    # Q are nearly equal. What remains is the rounding of M itself.
    _, e, tail = shifted(axes, z)
    mass, rounding = _mass(axes, p)
    # In the logarithm q is held above underflow; what that leaves out comes from the logits.
    floor = 0.7 * math.log(jnp.finfo(p.dtype).tiny)
    top = expand(jax.lax.optimization_barrier(top_logit(axes, z)), axes)
    half_d = rounded(0.5 * z, 0.5 * top) - 0.5 * top  # z − max z may overflow
    scale = expand(mass / (1 + tail), axes)
    mass_q, positive = e * scale, jnp.maximum(e, math.exp(floor)) * scale
    # |log(p/Mq)| = log(1 + x), x = |p − Mq|/min(p, Mq), is log w + (x − (w − 1))/w for any w close
    # to 1 + x; this w is not written as 1 + x lest a compiler cancels the ones.
    inverse = 1 / jnp.maximum(jnp.minimum(p, positive), jnp.finfo(p.dtype).tiny)
    x, w = jnp.abs(positive - p) * inverse, jnp.maximum(p, positive) * inverse
    size = jnp.log(w) + (x - (w - 1)) / w
    log_ratio = jnp.where(positive > p, -size, size)
    below_floor = 2 * (p * jnp.where(p == 0, 0.0, jnp.maximum(0.5 * floor - half_d, 0.0)))
    brackets = jnp.where(p == 0, mass_q, (p * log_ratio + (mass_q - p)) + below_floor)
    safe_mass = jnp.where(mass == 0, 1.0, mass)
    value = jnp.sum(brackets, axes) + (mass * jnp.log(safe_mass) + rounding)
    return jnp.where(mass == 0, 0.0, value)


def _kullback_leibler_partials(axes, z, p):
    log_p = jnp.log(jnp.where(p == 0, 1.0, p))
    by_p = jnp.where(p == 0, -jnp.inf, log_p + surprisal(axes, z) + 1)
    mass, _ = _mass(axes, p)  # the value's own sum, lest there be two
    return cross_entropy_residual(axes, z, p, mass), by_p


kullback_leibler = with_partials(_kullback_leibler, _kullback_leibler_partials)


def _residual_from_top(axes, z, p):
    """q − p at the top class, whose e is 1, and q − p of every class relative to that.

    Written out, because a compiler that computes q − p twice, with two roundings, would not
    subtract it from itself.
    """
    _, e, tail = shifted(axes, z)
    tail, scale = expand(tail, axes), expand(1 / (1 + tail), axes)
    p_top = at_top(axes, e, p)
    of_top = ((1 - p_top) - p_top * tail) * scale
    return of_top, (((e - p) - (1 - p_top)) - (p - p_top) * tail) * scale


def _squared_distance(axes, z, p):
    of_top, relative = _residual_from_top(axes, z, p)
    return jnp.sum(jnp.square(relative + of_top), axes)


def _squared_distance_partials(axes, z, p):
    # 2 J (q − p), and J annihilates what is common to all classes
    _, e, tail = shifted(axes, z)
    _, r = _residual_from_top(axes, z, p)
    scale = 1 / (1 + tail)
    mean = jnp.sum(e * r, axes) * scale
    return expand(2 * scale, axes) * e * (r - expand(mean, axes)), -2 * residual(axes, z, p)


squared_distance = with_partials(_squared_distance, _squared_distance_partials)


def mean_squared_error(axes, z, p, kept):
    return squared_distance(axes, z, p, kept) / number_of_classes(axes, z, kept)


def _absolute_distance(axes, z, p):
    return jnp.sum(jnp.abs(residual(axes, z, p)), axes)


def _absolute_distance_partials(axes, z, p):
    sign = jnp.sign(residual(axes, z, p))
    return jacobian_product(axes, z, sign), -sign


absolute_distance = with_partials(_absolute_distance, _absolute_distance_partials)


def mean_absolute_error(axes, z, p, kept):
    return absolute_distance(axes, z, p, kept) / number_of_classes(axes, z, kept)


# Functions with an exponent


def generalized_cross_entropy(axes, z, p, kept, exponent):
    # log q is held above −∞, where neither q^γ nor its derivative by γ can tell the difference
    log_q = jnp.maximum(-surprisal(axes, z), -jnp.sqrt(jnp.finfo(z.dtype).max))
    x = exponent * log_q
    # JAX differentiates expm1 to expm1 + 1, which is 0 long before the exponential is
    power_minus_one = jnp.where(x < -1, jnp.exp(x) - 1, jnp.expm1(x))
    return jnp.sum(p * (-power_minus_one / exponent), axes)


@jax.custom_jvp
def _weighted(p, loss):
    """p·loss with 0·∞ = 0."""
    return p * jnp.where(p == 0, 0.0, loss)


@_weighted.defjvp
def _weighted_jvp(primals, tangents):
    (p, loss), (p_dot, loss_dot) = primals, tangents
    return _weighted(p, loss), times(p_dot, loss) + p * loss_dot


def _focal_terms(axes, z, gamma):
    """(1 − q)^γ and −(1 − q)^γ log q."""
    # 0 to a power below one has no derivative, but what it multiplies is 0 there
    one_minus_q = complement(axes, z)
    positive = jnp.where(one_minus_q == 0, 1.0, one_minus_q)
    weight = jnp.where(one_minus_q == 0, 0.0, positive**gamma)
    return positive, weight, _weighted(weight, surprisal(axes, z))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _focal_loss(axes, z, p, gamma):
    _, _, losses = _focal_terms(axes, z, gamma)
    return jnp.sum(_weighted(p, losses), axes)


def _focal_loss_jvp(axes, primals, tangents):
    # Of one class the gradient is −a (e_y − q) with a = (1−q)^γ − γ (1−q)^(γ−1) q log q: no
    # infinite surprisal is left in it, because q log q is 0 where q is.
    (z, p, gamma), (z_dot, p_dot, gamma_dot) = primals, tangents
    positive, weight, losses = _focal_terms(axes, z, gamma)
    value_dot = jnp.zeros_like(jnp.sum(p, axes))
    if not isinstance(z_dot, SymbolicZero):
        _, e, tail = shifted(axes, z)
        of_q = surprisal(axes, z)
        q_surprisal = e * jnp.where(jnp.isinf(of_q), 0.0, of_q)
        q_surprisal *= expand(1 / (1 + tail), axes)
        a = weight + gamma * (weight / positive) * q_surprisal
        value_dot += jnp.sum(cross_entropy_residual(axes, z, p * a) * z_dot, axes)
    if not isinstance(p_dot, SymbolicZero):
        value_dot += jnp.sum(times(p_dot, losses), axes)
    if not isinstance(gamma_dot, SymbolicZero):
        by_gamma = jnp.where(jnp.isinf(losses), 0.0, losses) * jnp.log(positive)
        value_dot += jnp.sum(p * by_gamma, axes) * gamma_dot
    return _focal_loss(axes, z, p, gamma), value_dot


_focal_loss.defjvp(_focal_loss_jvp, symbolic_zeros=True)


def focal_loss(axes, z, p, kept, gamma):
    return _focal_loss(axes, z, p, gamma)


# The logits themselves


def logit_squared_error(axes, z, p, kept, weight, value):
    z = jnp.where(kept, z, 0.0)
    squares = (1 + (weight - 1) * p) * jnp.square(z - value * p)
    return jnp.sum(jnp.where(kept, squares, 0.0), axes)


def squentropy(axes, z, p, kept):
    wrong_classes = number_of_classes(axes, z, kept) - 1
    wrong_mass = expand(jnp.sum(p, axes), axes) - p
    raw = jnp.where(kept & ((wrong_mass != 0) | jnp.isfinite(z)), z, 0.0)
    # in this order, because 0·∞ is no weight of a square that overflows
    squares = jnp.sum(jnp.where(kept, (wrong_mass * raw) * raw, 0.0), axes)
    return cross_entropy(axes, z, p, kept) + squares / jnp.maximum(wrong_classes, 1.0)


# One operand


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def entropy(axes, z):
    """H(q) = log Z − Σ q d."""
    d, e, tail = shifted(axes, z)
    return jnp.log1p(tail) + jnp.sum(e * jnp.where(e == 0, 0.0, -d), axes) / (1 + tail)


@entropy.defjvp
def _entropy_jvp(axes, primals, tangents):
    # ∂H/∂z = −q (log q + H), in which log Z cancels
    (z,), (z_dot,) = primals, tangents
    d, e, tail = shifted(axes, z)
    scale = 1 / (1 + tail)
    below = jnp.where(e == 0, 0.0, d)
    mean_below = jnp.sum(e * below, axes) * scale
    gradient = e * expand(scale, axes) * (expand(mean_below, axes) - below)
    return entropy(axes, z), jnp.sum(gradient * z_dot, axes)


# Integer labels


def _class_index(axes, shape):
    """For every logit the number of its class, counted over `axes` in their order."""
    index, stride = jnp.zeros([1] * len(shape), jnp.int32), 1
    for axis in reversed(axes):
        one = jnp.arange(shape[axis], dtype=jnp.int32) * stride
        index = index + one.reshape([-1 if other == axis else 1 for other in range(len(shape))])
        stride *= shape[axis]
    return jnp.broadcast_to(index, shape)


def is_label(axes, shape, labels):
    return _class_index(axes, shape) == expand(labels, axes)


def _at_label(axes, z, labels):
    if len(axes) == 1:
        chosen = jnp.take_along_axis(z, expand(labels, axes), axes[0], mode="clip")
        return jnp.squeeze(chosen, axes)
    return jnp.sum(jnp.where(is_label(axes, z.shape, labels), z, 0.0), axes)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def label_cross_entropy(axes, z, labels):
    """−log q at the label."""
    return _label_parts(axes, z, labels)[0]


@label_cross_entropy.defjvp
def _label_cross_entropy_jvp(axes, primals, tangents):
    (z, labels), (z_dot, _) = primals, tangents
    gradient = _label_residual(axes, z, labels)
    return label_cross_entropy(axes, z, labels), jnp.sum(gradient * z_dot, axes)


def _label_parts(axes, z, labels):
    # The label's own term is left out of the sum, so that one sum is enough: the others are
    # either the whole tail or hold the top class. A label that names no class makes the row NaN.
    classes = math.prod(z.shape[axis] for axis in axes)
    top = jnp.where((labels >= 0) & (labels < classes), top_logit(axes, z), jnp.nan)
    label = is_label(axes, z.shape, labels)
    top_of_all = expand(top, axes)
    of_others = exponential_of_difference(rounded(z, top_of_all), top_of_all)
    e = jnp.where(label, 0.0, of_others)
    others = jnp.sum(e, axes)
    below = top - rounded(_at_label(axes, z, labels), top)
    own = jnp.exp(-below)
    value = below + jnp.log1p(others + (own - 1))
    normalizer = others + own
    scale = expand(1 / jnp.where(normalizer == 0, 1.0, normalizer), axes)
    return value, jnp.where(label, -expand(others, axes), e) * scale


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _label_residual(axes, z, labels):
    """q − e_label."""
    return _label_parts(axes, z, labels)[1]


@_label_residual.defjvp
def _label_residual_jvp(axes, primals, tangents):
    # beyond the first derivative, a label is a one-hot P
    (z, labels), (z_dot, _) = primals, tangents
    p = is_label(axes, z.shape, labels).astype(z.dtype)
    _, gradient_dot = jax.jvp(partial(residual, axes, p=p), (z,), (z_dot,))
    return _label_residual(axes, z, labels), gradient_dot
