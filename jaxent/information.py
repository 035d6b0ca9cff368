"""Entropy and its relatives, of distributions given as probabilities: f(p), f(p, q), P first.

Probabilities lie along `axis` (default the last one; a tuple, or None for all), all other axes
are a batch and are kept. A negative one is refused where it is concrete. Nothing else is checked,
not even that they sum to one, and they are never clipped or renormalised. Everything is in nats,
or to another `base` in its unit: 2 for bits, 10 for hartleys.

0·log 0 is 0, and a q of 0 where p is not makes cross-entropy and divergence +∞, in value and in
every derivative. `where` is a boolean mask, of the shape of p or broadcasting to it, that keeps
outcomes, or of the shape of the result, keeping examples; what is not kept counts as 0.

float16 and bfloat16 are computed in float32 and rounded once. All functions raise `TypeError` for
probabilities that are not floating point, and `ValueError` for shapes that differ (nothing is
broadcast), for an `axis` or a `where` that does not fit, for a negative probability, and for a
base that is not positive or is 1. NaN gives NaN, also where it is multiplied by 0.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxent import _arguments as arguments
from jaxent import _kernels as kernels
from jaxent import _softmax as softmax
from jaxent._arguments import Axis, Base, Mask


def surprisal(p: Float[ArrayLike, "*shape"], *, base: Base = None) -> Float[Array, "*shape"]:
    """How surprising an outcome of probability p is: −log p, elementwise.

    A sure outcome tells nothing (0), an impossible one would be infinitely surprising. The other
    functions here are averages of it.

    Args:
        p: probabilities, any shape.
        base: of the logarithm; None gives nats.

    Returns:
        −log p, of the same shape.

    Example:
        >>> import jax.numpy as jnp
        >>> print(surprisal(jnp.array([1.0, 0.5, 0.125, 0.0]), base=2))
        [ 0.  1.  3. inf]
    """
    arguments.check_base(base)
    p = arguments.as_floating(p, "p")
    arguments.check_not_negative(p, None, "p")
    return _run(_surprisal, None, (p,), None, base, 0.0)


def entropy(
    p: Float[ArrayLike, "..."], *, axis: Axis = -1, where: Mask = None, base: Base = None
) -> Float[Array, "..."]:
    """Entropy of P, the mean surprisal of its own outcomes.

        H(P) = −Σᵢ pᵢ log pᵢ

    0 for a sure outcome, log C for C equally likely ones, and in between for anything else.

    Args:
        p: P, probabilities along `axis`.
        axis, where, base: see the module.

    Returns:
        H(P), without `axis`.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> print(entropy(jnp.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]]), base=2))
        [0.  1.5]

    References:
        C. E. Shannon, A Mathematical Theory of Communication, 1948.
    """
    return _average(_entropy, (p,), axis, where, base)


def entropy_of_logits(
    logits: Float[ArrayLike, "..."], *, axis: Axis = -1, where: Mask = None, base: Base = None
) -> Float[Array, "..."]:
    """Entropy of Q = softmax(logits), from the logits.

        H(Q) = −Σᵢ qᵢ log qᵢ,    ∂H/∂z = −q (log q + H)

    Going through probabilities would lose what a sure prediction leaves open: from a gap of 17
    on, float32 rounds q to 1 and the entropy to little more than nothing.

    Args:
        logits: unnormalised log-probabilities, in nats; −inf for a class that cannot happen.
        axis, where, base: see the module.

    Returns:
        H(Q), without `axis`; 0 where no class is kept and possible.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits = jnp.array([30.0, 0.0])
        >>> print(f"{entropy_of_logits(logits):.6e}")  # 31 e⁻³⁰
        2.900863e-12
        >>> print(f"{entropy(jax.nn.softmax(logits)):.6e}")
        2.807287e-12
    """
    return _average(_entropy_of_logits, (logits,), axis, where, base, ("logits",), hidden=-jnp.inf)


def cross_entropy(
    p: Float[ArrayLike, "..."],
    q: Float[ArrayLike, "..."],
    *,
    axis: Axis = -1,
    where: Mask = None,
    base: Base = None,
) -> Float[Array, "..."]:
    """Cross-entropy: the mean surprisal of somebody who believes Q in a world that follows P.

        H(P, Q) = −Σᵢ pᵢ log qᵢ = H(P) + KL(P ‖ Q) ≥ H(P)

    It comes down to H(P) as Q comes to P, and no lower. From logits, where 1 − q keeps its digits,
    use `jaxent.losses.softmax_cross_entropy`.

    Args:
        p: P, what is true: probabilities along `axis`.
        q: Q, what is believed, of the same shape.
        axis, where, base: see the module.

    Returns:
        H(P, Q), without `axis`; +∞ if something happens that Q holds impossible.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        A flower is of class 0. Three predictions: wrong, half right, right.

        >>> import jax.numpy as jnp
        >>> p = jnp.array([[1.0, 0.0, 0.0]] * 3)
        >>> q = jnp.array([[0.0, 1.0, 0.0], [0.7, 0.1, 0.2], [1.0, 0.0, 0.0]])
        >>> print(cross_entropy(p, q))
        [       inf 0.35667497 0.        ]
    """
    return _average(_cross_entropy, (p, q), axis, where, base)


def kl_divergence(
    p: Float[ArrayLike, "..."],
    q: Float[ArrayLike, "..."],
    *,
    axis: Axis = -1,
    where: Mask = None,
    base: Base = None,
) -> Float[Array, "..."]:
    """Kullback–Leibler divergence of P from Q, relative entropy: what believing Q costs.

        KL(P ‖ Q) = Σᵢ pᵢ log(pᵢ / qᵢ) = H(P, Q) − H(P) ≥ 0

    At least half the square of Σ|pᵢ − qᵢ| (Pinsker), and at least the Brier score, but bounded by
    no multiple of it. It is not computed as a difference, which would end at 1e-7.

    Args:
        p, q, axis, where, base: as in `cross_entropy`.

    Returns:
        KL(P ‖ Q), without `axis`; 0 only at Q = P, +∞ if something happens that Q holds impossible.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([0.5, 0.5]), jnp.array([0.5 + 2**-10, 0.5 - 2**-10])
        >>> print(f"{kl_divergence(p, q):.4e}")  # ½ log(1/(1 − 2⁻¹⁸))
        1.9074e-06

    References:
        S. Kullback, R. A. Leibler, On Information and Sufficiency, 1951.
    """
    return _average(_kl_divergence, (p, q), axis, where, base)


def jensen_shannon_divergence(
    p: Float[ArrayLike, "..."],
    q: Float[ArrayLike, "..."],
    *,
    axis: Axis = -1,
    where: Mask = None,
    base: Base = None,
) -> Float[Array, "..."]:
    """Jensen–Shannon divergence: how far P and Q are, on average, from their middle M.

        JSD(P, Q) = ½ KL(P ‖ M) + ½ KL(Q ‖ M),    M = ½ (P + Q)

    Symmetric and finite: 0 at P = Q, log 2 where P and Q share no outcome. Its square root is a
    distance.

    Args:
        p, q, axis, where, base: as in `cross_entropy`.

    Returns:
        JSD(P, Q), without `axis`, between 0 and log 2 for distributions.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
        >>> print(jensen_shannon_divergence(p, q, base=2), kl_divergence(p, q))
        1.0 inf

    References:
        J. Lin, Divergence Measures Based on the Shannon Entropy, 1991.
    """
    return _average(_jensen_shannon_divergence, (p, q), axis, where, base)


def brier_score(
    p: Float[ArrayLike, "..."], q: Float[ArrayLike, "..."], *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Brier score: the squared distance between P and Q, summed over the outcomes.

        S(P, Q) = Σᵢ (pᵢ − qᵢ)²

    Like cross-entropy it is least, in expectation, at the true distribution, but never more
    than 2, however sure the mistake.

    Args:
        p, q, axis, where: as in `cross_entropy`. There is no unit and no base.

    Returns:
        S(P, Q), without `axis`.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> print(brier_score(jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])))
        2.0

    References:
        G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.
    """
    return _average(_brier_score, (p, q), axis, where, None)


# From arguments to kernels


def _average(kernel, operands, axis, where, base, names=("p", "q"), hidden=0.0):
    """`kernel(axes, *operands)`; operands that `where` does not keep are replaced by `hidden`."""
    operands = tuple(
        arguments.as_floating(operand, name) for operand, name in zip(operands, names, strict=False)
    )
    if len(operands) == 2:
        arguments.check_same_shape(*operands, "p", "q")
    axes, where = arguments.as_axes_and_mask(axis, where, operands[0].shape)
    arguments.check_base(base)
    if names != ("logits",):
        for operand, name in zip(operands, names, strict=False):
            arguments.check_not_negative(operand, where, name)
    return _run(kernel, axes, operands, where, base, hidden)


@partial(jax.jit, static_argnums=(0, 1, 5))
def _run(kernel, axes, operands, where, base, hidden):
    dtype = jnp.result_type(*operands)
    compute_dtype = arguments.compute_dtype(dtype)
    operands = [operand.astype(compute_dtype) for operand in operands]
    if where is not None:
        operands = [jnp.where(where, operand, hidden) for operand in operands]
    value = kernel(axes, *operands)
    if base is not None:
        value = value / jnp.log(jnp.asarray(base, compute_dtype))
    return value.astype(dtype)


# Terms of the sums, with what 0·log 0 means written into their derivatives


@jax.custom_jvp
def _reciprocal(q):
    return 1 / q


@_reciprocal.defjvp
def _reciprocal_jvp(primals, tangents):
    (q,), (q_dot,) = primals, tangents
    value = _reciprocal(q)
    return value, -softmax.times(softmax.times(q_dot, value), value)


def _quotient(p, q):
    """p/q with 0/0 = 0, infinite where only q is 0; its derivative by p is 1/q also at p = 0."""
    return softmax.times(p, _reciprocal(q))


@jax.custom_jvp
def _surprisals(p):
    return 0.0 - jnp.log(p)  # of p = 1 it is 0, where −log p is −0


@_surprisals.defjvp
def _surprisals_jvp(primals, tangents):
    (p,), (p_dot,) = primals, tangents
    return _surprisals(p), -softmax.times(p_dot, _reciprocal(p))


@jax.custom_jvp
def _weighted_surprisals(p, q):
    """−p log q."""
    return softmax.times(p, _surprisals(q))


@_weighted_surprisals.defjvp
def _weighted_surprisals_jvp(primals, tangents):
    (p, q), (p_dot, q_dot) = primals, tangents
    by_p, by_q = _surprisals(q), -_quotient(p, q)
    return _weighted_surprisals(p, q), softmax.times(p_dot, by_p) + softmax.times(q_dot, by_q)


def _log_ratios(p, q):
    """log(p/q), to the last digit also where p is nearly q."""
    near = jnp.abs(p - q) <= 0.5 * q
    safe_q = jnp.where(near & (q > 0), q, 1.0)
    nearly_one = jnp.log1p(jnp.where(near, p - q, 0.0) / safe_q)
    far_p, far_q = jnp.where(near, 1.0, p), jnp.where(near, 1.0, q)
    return jnp.where(near, nearly_one, _surprisals(far_q) - _surprisals(far_p))


def _nothing(q):
    """0·log(0/q) = 0, also at a q of 0 or ∞, but NaN where q is."""
    return jnp.where(jnp.isnan(q), q, 0.0)


@jax.custom_jvp
def _relative_entropies(p, q):
    """p log(p/q)."""
    return jnp.where(p == 0, _nothing(q), p * _log_ratios(jnp.where(p == 0, q, p), q))


@_relative_entropies.defjvp
def _relative_entropies_jvp(primals, tangents):
    (p, q), (p_dot, q_dot) = primals, tangents
    by_p = jnp.where(p == 0, _nothing(q) - jnp.inf, _log_ratios(jnp.where(p == 0, q, p), q) + 1)
    value_dot = softmax.times(p_dot, by_p) - softmax.times(q_dot, _quotient(p, q))
    return _relative_entropies(p, q), value_dot


def _contrast(p, q):
    """(p − q)/(p + q) between −1 and 1; 0 where both are 0."""
    both = p + q
    return (p - q) / jnp.where(both == 0, 1.0, both)


def _log_of_share(p, q):
    """log(2p/(p + q)), to the last digit also where p is nearly q, or next to nothing beside it."""
    u = _contrast(p, q)
    near = jnp.abs(u) < 0.5
    share = jnp.where(near, 1.0, 2 * p) / jnp.where(near, 1.0, p + q)
    return jnp.where(near, jnp.log1p(jnp.where(near, u, 0.0)), -_surprisals(share))


@jax.custom_jvp
def _jensen_shannon_terms(p, q):
    # With u = (p − q)/(p + q) the term is ¼ (p + q) [(1+u) log(1+u) + (1−u) log(1−u)], and the
    # bracket is log(1 − u²) + 2u artanh u, in which, for small u, little cancels.
    u = _contrast(p, q)
    inside = jnp.where(jnp.abs(u) < 0.5, u, 0.0)
    small = jnp.log1p(-inside * inside) + 2 * inside * jnp.arctanh(inside)
    large = -(_weighted_surprisals(1 + u, 1 + u) + _weighted_surprisals(1 - u, 1 - u))
    return 0.25 * (p + q) * jnp.where(jnp.abs(u) < 0.5, small, large)


@_jensen_shannon_terms.defjvp
def _jensen_shannon_terms_jvp(primals, tangents):
    (p, q), (p_dot, q_dot) = primals, tangents
    by_p, by_q = _log_of_share(p, q), _log_of_share(q, p)
    value_dot = 0.5 * (softmax.times(p_dot, by_p) + softmax.times(q_dot, by_q))
    return _jensen_shannon_terms(p, q), value_dot


# Kernels


def _surprisal(axes, p):
    return _surprisals(p)


def _entropy_of_logits(axes, z):
    return kernels.entropy(axes, z)


def _summed(terms):
    def kernel(axes, *operands):
        return jnp.sum(terms(*operands), axes)

    return kernel


_entropy = _summed(lambda p: _weighted_surprisals(p, p))
_cross_entropy = _summed(_weighted_surprisals)
_kl_divergence = _summed(_relative_entropies)
_jensen_shannon_divergence = _summed(_jensen_shannon_terms)
_brier_score = _summed(lambda p, q: jnp.square(p - q))
