"""The losses of a softmax: values in few passes over memory, and first derivatives beside them.

What a kernel is given is told in `_passes`.

The formulas are in terms of d, e and tail (see `_softmax`). Each loss has up to three of them:

    for few classes     all sums of a row in one loop
    for many classes    the fewest passes over memory that XLA on CPUs can be brought to
    of the core         for second and higher derivatives, which this one formula gives exactly
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxent import _softmax as softmax
from jaxent._passes import (
    finite_or,
    first_of,
    halved,
    is_possible,
    number_of_classes,
    stored,
    tail_beside,
    weighted_sum,
    where_possible,
    with_gradient,
    zero_where_impossible,
)
from jaxent._softmax import (
    again,
    are_small,
    expand,
    shifted,
    sums,
    tail_of,
    times,
    top_apart,
)

# Cross-entropy


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def cross_entropy_gradient(axes, z, p):
    """q Σp − p, also where P does not sum to one."""
    _, e, tail = shifted(axes, z)
    return softmax.residual_of(axes, e, tail, p, expand(jnp.sum(p, axes), axes))


def _cross_entropy_gradient_jvp(axes, primals, tangents):
    (z, p), (z_dot, p_dot) = primals, tangents
    gradient_dot = jnp.zeros_like(z)
    if not isinstance(z_dot, SymbolicZero):
        mass = expand(jnp.sum(p, axes), axes)
        gradient_dot += mass * softmax.tangent(axes, z, z_dot)
    if not isinstance(p_dot, SymbolicZero):
        possible = expand(softmax.possible(axes, z), axes)
        gradient_dot += jnp.where(possible, cross_entropy_gradient(axes, z, p_dot), 0.0)
    return cross_entropy_gradient(axes, z, p), gradient_dot


cross_entropy_gradient.defjvp(_cross_entropy_gradient_jvp, symbolic_zeros=True)


def _possible_residual(axes, e, normalizer, tail, p, mass):
    """q Σp − p, and 0 in a row of impossible classes."""
    scale = where_possible(normalizer, 1 / (1 + tail))
    return ((e * expand(mass, axes) - p) - p * expand(tail, axes)) * expand(scale, axes)


def _cross_entropy(axes, z, p):
    # −Σ p log q = Σp log Z + Σ p (max z − z)
    half, e = halved(axes, z)
    terms = *top_apart(half, e), p * jnp.where(p == 0, 0.0, -half)
    if are_small(z.shape):
        # by itself, since XLA moves a sum of constant targets out of a loop
        (rest, tops, half_sum), mass = sums(axes, *terms), jnp.sum(p, axes)
    else:
        rest, tops, half_sum, mass = sums(axes, *terms, p)
    normalizer, tail = rest + tops, tail_of(rest, tops)
    value = where_possible(normalizer, mass * jnp.log1p(tail) + 2 * half_sum)
    return value, _possible_residual(axes, e, normalizer, tail, p, mass)


def _top_and_tail(axes, z, p):
    top = softmax.top_logit(axes, z)
    return top, tail_beside(axes, z, top, p, jnp.sum(p, axes))


def _weighted_surprisals(axes, z, top, tail, p):
    """Σ p (log Z − (z − max z))."""
    log_normalizer = expand(jnp.log1p(jnp.maximum(tail, 0.0)), axes)
    fast = jnp.sum(p * (log_normalizer - softmax.below(axes, z, again(top))), axes)
    return finite_or(fast, partial(_careful_cross_entropy, axes), z, p)


def _careful_cross_entropy(axes, z, p):
    top, tail = _top_and_tail(axes, z, p)
    half_log_normalizer = expand(0.5 * jnp.log1p(jnp.maximum(tail, 0.0)), axes)
    half = softmax.below(axes, 0.5 * z, 0.5 * again(top))
    return weighted_sum(axes, p * expand(is_possible(tail), axes), half_log_normalizer - half)


def _cross_entropy_value_of_many(axes, z, p):
    return _weighted_surprisals(axes, z, *_top_and_tail(axes, z, p), p)


def _cross_entropy_of_many(axes, z, p):
    top, e, normalizer, tail = stored(axes, z)
    gradient = _possible_residual(axes, e, normalizer, tail, p, jnp.sum(p, axes))
    return _weighted_surprisals(axes, z, top, tail, p), gradient


cross_entropy = with_gradient(
    first_of(_cross_entropy),
    _cross_entropy,
    _cross_entropy_value_of_many,
    _cross_entropy_of_many,
    cross_entropy_gradient,
    lambda axes, z, p: softmax.surprisal(axes, z),
)


# Kullback–Leibler divergence
#
# With M = Σp the value is Σ [p log(p/(Mq)) + (Mq − p)] + M log M. Every bracket is at least zero,
# and to first order blind to the rounding of its Mq, so that nothing cancels where P and Q are
# nearly equal. What remains is the rounding of M itself.


def _split(p):
    """p as a coarse part, of which sums are exact up to 4, and a fine part."""
    parts = 2.0 ** (jnp.finfo(p.dtype).nmant - 1)
    coarse = jnp.floor(p * parts) / parts
    return coarse, p - coarse


def _mass_log_mass(coarse, fine):
    """Σp, and M log M with what rounding took from M; `coarse` and `fine` are the sums of p."""
    mass = coarse + fine
    lost = (coarse - mass) + fine
    return mass, mass * jnp.log(jnp.maximum(mass, jnp.finfo(mass.dtype).tiny)) + lost


def _held_up(axes, e, mass, tail):
    """Mq, Mq held above underflow, and the logarithm by which z − max z says it is below that.

    Through a maximum and a minimum, a product is not contracted with the difference behind it: both
    sides of a bracket have the same rounded Mq.
    """
    tiny = jnp.finfo(e.dtype).tiny
    scale = mass / (1 + tail)
    product = e * expand(scale, axes)
    positive = jnp.maximum(product, 8 * tiny)
    return (
        jnp.minimum(product, positive),
        positive,
        math.log(8 * tiny) - jnp.log(jnp.maximum(scale, tiny)),
    )


def _kullback_leibler(axes, z, p):
    half, e = halved(axes, z)
    rest, tops, *masses = sums(axes, *top_apart(half, e), *_split(p))
    normalizer, tail = rest + tops, tail_of(rest, tops)
    mass, of_mass = _mass_log_mass(*masses)
    mass_q, positive, least = _held_up(axes, e, mass, tail)
    # log(p/Mq) from the rounded quotient, and to first order what rounding took from it
    quotient = jnp.maximum(p, jnp.finfo(p.dtype).tiny) / positive
    lost = (p - positive) / positive - (quotient - 1)
    log_ratio = jnp.log(quotient) + jnp.where(jnp.abs(quotient - 1) < 0.5, lost, 0.0)
    half_below = jnp.maximum(expand(0.5 * least, axes) - half, 0.0)
    half_below = p * jnp.where(p == 0, 0.0, half_below)
    brackets = jnp.where(p == 0, mass_q, (p * log_ratio + (mass_q - p)) + 2 * half_below)
    value = jnp.where(mass == 0, 0.0, jnp.sum(brackets, axes) + of_mass)
    gradient = _possible_residual(axes, e, normalizer, tail, p, mass)
    return where_possible(normalizer, value), gradient


def _log_ratio(p, positive):
    """log(p/Mq) as log1p((p − Mq)/Mq). A p next to nothing beside Mq is held up."""
    return jnp.log1p(jnp.maximum((p - positive) / positive, jnp.finfo(p.dtype).epsneg - 1))


def _brackets(axes, z, top, e, tail, p, masses):
    """The sum of all brackets, and M log M."""
    mass, of_mass = _mass_log_mass(*masses)
    mass_q, positive, least = _held_up(axes, e, mass, jnp.maximum(tail, 0.0))
    below = jnp.maximum(expand(least, axes) - softmax.below(axes, z, again(top)), 0.0)
    terms = p * (_log_ratio(p, positive) + below) + (mass_q - p)
    fast = jnp.sum(terms, axes) + of_mass
    return finite_or(fast, partial(_careful_kullback_leibler, axes), z, p)


def _with_exponentials(axes, z, p):
    masses = sums(axes, *_split(p))
    top = softmax.top_logit(axes, z)
    tail = tail_beside(axes, z, top, p, sum(masses))
    return masses, top, tail, jnp.exp(softmax.below(axes, z, again(top)))


def _careful_kullback_leibler(axes, z, p):
    masses, top, tail, e = _with_exponentials(axes, z, p)
    possible = is_possible(tail)
    p = p * expand(possible, axes)
    mass, of_mass = _mass_log_mass(*(mass * possible for mass in masses))
    mass_q, positive, least = _held_up(axes, e, mass, jnp.maximum(tail, 0.0))
    half = softmax.below(axes, 0.5 * z, 0.5 * again(top))
    below = weighted_sum(axes, p, jnp.maximum(expand(0.5 * least, axes) - half, 0.0))
    terms = p * _log_ratio(p, positive) + (mass_q - p)
    return (jnp.sum(terms, axes) + of_mass) + below


def _kullback_leibler_value_of_many(axes, z, p):
    masses, top, tail, e = _with_exponentials(axes, z, p)
    return _brackets(axes, z, top, e, tail, p, masses)


def _kullback_leibler_of_many(axes, z, p):
    masses = sums(axes, *_split(p))
    top, e, normalizer, tail = stored(axes, z)
    gradient = _possible_residual(axes, again(e), normalizer, tail, p, sum(masses))
    return _brackets(axes, z, top, e, tail, p, masses), gradient


def _kullback_leibler_by_p(axes, z, p):
    log_p = jnp.log(jnp.where(p == 0, 1.0, p))
    return jnp.where(p == 0, -jnp.inf, log_p + softmax.surprisal(axes, z) + 1)


kullback_leibler = with_gradient(
    first_of(_kullback_leibler),
    _kullback_leibler,
    _kullback_leibler_value_of_many,
    _kullback_leibler_of_many,
    cross_entropy_gradient,
    _kullback_leibler_by_p,
)


# Squared and absolute distance
#
# J annihilates what is common to all classes. So 2J (q − p) is taken from q − p relative to its
# value at the top class, which is written out: there it is then exactly zero.


def _relative_residual(axes, e, tail, p, p_top):
    """(1 + tail) (q − p), less its value at the top class, where e = 1 and p is `p_top`."""
    p_top = expand(p_top, axes)
    return ((e - p) - (1 - p_top)) - (p - p_top) * expand(tail, axes)


def _squares(axes, e, tail, p):
    """(1 + tail)² (q − p)²."""
    return jnp.square((e - p) - p * expand(tail, axes))


def _squared_distance_gradient(axes, e, normalizer, tail, p, p_top, mean):
    """2 q∘(r − q·r), r relative; `mean` is Σ e r."""
    scale = where_possible(normalizer, 1 / (1 + tail))
    relative = _relative_residual(axes, e, tail, p, p_top) - expand(mean * scale, axes)
    return e * (relative * expand(2 * scale * scale, axes))


def _squared_distance_value(axes, z, p):
    _, e, normalizer, tail = stored(axes, z)
    scale = where_possible(normalizer, 1 / (1 + tail))
    return jnp.sum(_squares(axes, e, tail, p), axes) * (scale * scale)


def _squared_distance(axes, z, p):
    d = softmax.below(axes, z, softmax.top_logit(axes, z))
    e = jnp.exp(d)
    others, is_top = top_apart(d, e)
    rest, tops, p_top = sums(axes, others, is_top, p * is_top)
    normalizer, tail = rest + tops, tail_of(rest, tops)
    scale = where_possible(normalizer, 1 / (1 + tail))
    mean, squares = sums(
        axes, e * _relative_residual(axes, e, tail, p, p_top), _squares(axes, e, tail, p)
    )
    gradient = _squared_distance_gradient(axes, e, normalizer, tail, p, p_top, mean)
    return squares * (scale * scale), gradient


def _squared_distance_value_of_many(axes, z, p):
    top = softmax.top_logit(axes, z)
    tail = tail_beside(axes, z, top, p, jnp.sum(p, axes))
    scale = is_possible(tail) / (1 + jnp.maximum(tail, 0.0))
    e = jnp.exp(softmax.below(axes, z, again(top)))
    return jnp.sum(_squares(axes, e, tail, p), axes) * (scale * scale)


def _squared_distance_of_many(axes, z, p):
    _, e, normalizer, tail = stored(axes, z)
    scale = where_possible(normalizer, 1 / (1 + tail))
    p_top = jnp.sum(p * jnp.floor(again(e)), axes)
    mean = jnp.sum(e * _relative_residual(axes, e, tail, p, p_top), axes)
    e, tail = again((e, tail))
    value = jnp.sum(_squares(axes, e, tail, p), axes) * (scale * scale)
    e, tail, p_top = again((e, tail, p_top))
    return value, _squared_distance_gradient(axes, e, normalizer, tail, p, p_top, mean)


def _squared_distance_gradient_of_core(axes, z, p):
    _, e, tail = shifted(axes, z)
    p_top = jnp.sum(p * jnp.floor(e), axes)
    mean = jnp.sum(e * _relative_residual(axes, e, tail, p, p_top), axes)
    return _squared_distance_gradient(axes, e, 1 + tail, tail, p, p_top, mean)


squared_distance = with_gradient(
    _squared_distance_value,
    _squared_distance,
    _squared_distance_value_of_many,
    _squared_distance_of_many,
    _squared_distance_gradient_of_core,
    lambda axes, z, p: -2 * softmax.residual(axes, z, p),
)


def mean_squared_error(axes, z, p, kept):
    return squared_distance(axes, z, p, kept) / number_of_classes(axes, z, kept)


def _absolute_distance_gradient(axes, z, p):
    return softmax.jacobian_product(axes, z, jnp.sign(softmax.residual(axes, z, p)))


def _absolute_distance(axes, z, p):
    value = jnp.sum(jnp.abs(softmax.residual(axes, z, p)), axes)
    return jnp.where(softmax.possible(axes, z), value, 0.0), _absolute_distance_gradient(axes, z, p)


def _absolute_distance_value_of_many(axes, z, p):
    top = softmax.top_logit(axes, z)
    tail = tail_beside(axes, z, top, p, jnp.sum(p, axes))
    e = jnp.exp(softmax.below(axes, z, again(top)))
    total = jnp.sum(jnp.abs((e - p) - p * expand(tail, axes)), axes)
    return total * (is_possible(tail) / (1 + jnp.maximum(tail, 0.0)))


absolute_distance = with_gradient(
    first_of(_absolute_distance),
    _absolute_distance,
    _absolute_distance_value_of_many,
    _absolute_distance,
    _absolute_distance_gradient,
    lambda axes, z, p: -jnp.sign(softmax.residual(axes, z, p)),
)


def mean_absolute_error(axes, z, p, kept):
    return absolute_distance(axes, z, p, kept) / number_of_classes(axes, z, kept)


# Functions with an exponent


@zero_where_impossible
def generalized_cross_entropy(axes, z, p, kept, exponent):
    # log q is held above −∞, where neither q^γ nor its derivative by γ can tell the difference
    log_q = jnp.maximum(-softmax.surprisal(axes, z), -jnp.sqrt(jnp.finfo(z.dtype).max))
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
    one_minus_q = softmax.complement(axes, z)
    positive = jnp.where(one_minus_q == 0, 1.0, one_minus_q)
    weight = jnp.where(one_minus_q == 0, 0.0, positive**gamma)
    return positive, weight, _weighted(weight, softmax.surprisal(axes, z))


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
        of_q = softmax.surprisal(axes, z)
        q_surprisal = softmax.probabilities(axes, e, tail) * jnp.where(jnp.isinf(of_q), 0.0, of_q)
        a = weight + gamma * (weight / positive) * q_surprisal
        value_dot += jnp.sum(cross_entropy_gradient(axes, z, p * a) * z_dot, axes)
    if not isinstance(p_dot, SymbolicZero):
        value_dot += jnp.sum(times(p_dot, losses), axes)
    if not isinstance(gamma_dot, SymbolicZero):
        by_gamma = jnp.where(jnp.isinf(losses), 0.0, losses) * jnp.log(positive)
        value_dot += jnp.sum(p * by_gamma, axes) * gamma_dot
    return _focal_loss(axes, z, p, gamma), value_dot


_focal_loss.defjvp(_focal_loss_jvp, symbolic_zeros=True)


@zero_where_impossible
def focal_loss(axes, z, p, kept, gamma):
    return _focal_loss(axes, z, p, gamma)


# The logits themselves


def _possible_and(kept, axes, z):
    """The mask of kept classes, without rows of impossible classes, of which the square is ∞."""
    possible = expand(softmax.possible(axes, z), axes)
    return possible if kept is None else possible & kept


@zero_where_impossible
def logit_squared_error(axes, z, p, kept, weight, value):
    kept = _possible_and(kept, axes, z)
    z = jnp.where(kept, z, 0.0)
    squares = (1 + (weight - 1) * p) * jnp.square(z - value * p)
    return jnp.sum(jnp.where(kept, squares, 0.0), axes)


@zero_where_impossible
def squentropy(axes, z, p, kept):
    wrong_classes = number_of_classes(axes, z, kept) - 1
    wrong_mass = expand(jnp.sum(p, axes), axes) - p
    counted = _possible_and(kept, axes, z) & ((wrong_mass != 0) | jnp.isfinite(z))
    raw = jnp.where(counted, z, 0.0)
    # in this order, because 0·∞ is no weight of a square that overflows
    squares = jnp.sum((wrong_mass * raw) * raw, axes)
    return cross_entropy(axes, z, p, kept) + squares / jnp.maximum(wrong_classes, 1.0)


# One operand


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def entropy(axes, z):
    """H(q) = log Z − Σ q d; 0 in a row without a possible class."""
    d = softmax.below(axes, z, softmax.top_logit(axes, z))
    e = jnp.exp(d)
    rest, tops = softmax.rest_and_tops(axes, d, e)
    below, tail = jnp.sum(e * _bounded(d), axes), tail_of(rest, tops)
    return where_possible(rest + tops, jnp.log1p(tail) - below / (1 + tail))


@entropy.defjvp
def _entropy_jvp(axes, primals, tangents):
    # ∂H/∂z = −q (log q + H), in which log Z cancels
    (z,), (z_dot,) = primals, tangents
    d, e, tail = shifted(axes, z)
    scale = 1 / (1 + tail)
    below = _bounded(d)
    mean_below = jnp.sum(e * below, axes) * scale
    gradient = e * expand(scale, axes) * (expand(mean_below, axes) - below)
    return entropy(axes, z), jnp.sum(gradient * z_dot, axes)


def _bounded(d):
    """d where e = exp d is not 0, and finite where it is."""
    return jnp.maximum(d, 2 * math.log(jnp.finfo(d.dtype).tiny))
