"""Losses of logits: how far Q = softmax(logits) is from P = targets, one value an example.

Every loss is `loss(logits, targets)`, prediction first, so that `jax.grad(loss)` differentiates Q.
The classes lie along `axis`; all other axes are a batch and are kept. Nothing is averaged over the
batch: `masked_mean` does that. Logarithms are natural, so logits and losses are in nats.

What other libraries call plain names stands here under names that say the scale: categorical
cross-entropy, negative log-likelihood or log loss is `softmax_cross_entropy`; MSE is
`softmax_mean_squared_error` or, without the mean, `softmax_brier_score`, and on logits
`logit_squared_error`; binary or logistic loss is `sigmoid_binary_cross_entropy`.

All of them share these rules.

- `targets` have the shape of the logits (nothing is broadcast) and may be floating, integer or
  bool. They are not checked to be probabilities: they need not sum to one, and are never clipped
  or renormalised.
- `where` is a boolean mask. It broadcasts to the logits and keeps classes, or has the shape of the
  result and keeps examples.
- A logit of −inf is a class that cannot happen. A row in which no class is kept and possible has
  loss 0 and gradient 0, whatever its target. NaN, and where there is a softmax also +inf, makes
  its own row NaN and no other.
- float16 and bfloat16 are computed in float32 and rounded once; the result has the dtype of the
  logits. Numbers below the smallest normal one (1.2e-38 in float32) are flushed to zero on CPUs.
- Values, gradients and second derivatives keep their digits where Q is sure of itself, right or
  wrong, in forward and in reverse mode, because nothing is subtracted from 1.

They raise `TypeError` if the logits are not floating point, and `ValueError` if shapes differ, if
`axis` does not fit, or if P has mass on a class that `where` hides. That last one concerns
contents, and traced contents cannot be refused: value and gradient are NaN instead.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Real

from jaxent import _arguments as arguments
from jaxent import _softmax as softmax

type_of_axis = int | tuple[int, ...] | None


def _dense(kernel, logits, targets, axis, where, name="targets", **parameters):
    """Check what was handed in, then run the jitted kernel."""
    logits = arguments.as_floating(logits, "logits")
    targets = arguments.as_real(targets, name)
    arguments.check_same_shape(logits, targets, "logits", name)
    axes = arguments.as_axes(axis, logits.shape)
    if where is not None:
        where = arguments.as_mask(where, logits.shape, axes)
        arguments.check_mass_is_kept(targets, where, axes, logits)
    return _run_dense(kernel, axes, logits, targets, where, parameters)


@partial(jax.jit, static_argnums=(0, 1))
def _run_dense(kernel, axes, logits, targets, where, parameters):
    z = logits.astype(arguments.compute_dtype(logits.dtype))
    p = targets.astype(z.dtype)
    parameters = {name: jnp.asarray(value, z.dtype) for name, value in parameters.items()}
    if where is not None:
        z = jnp.where(where, z, -jnp.inf)
    possible = softmax.possible(axes, z)
    kept = softmax.expand(possible, axes)
    if where is None:
        value = kernel(axes, z, p, kept, **parameters)
    else:
        kept = kept & where
        value = kernel(axes, z, jnp.where(kept, p, 0.0), kept, **parameters)
        # a factor, so that the gradient is NaN as well
        refused = possible & jnp.any(~where & (p != 0), axes)
        value *= jnp.where(refused, jnp.nan, 1.0)
    return jnp.where(possible, value, 0.0).astype(logits.dtype)


def _number_of_classes(axes, z, kept):
    return jnp.maximum(jnp.sum(jnp.broadcast_to(kept, z.shape), axes, dtype=z.dtype), 1.0)


@jax.custom_jvp
def _weighted(p, loss):
    """p·loss with 0·∞ = 0."""
    return p * jnp.where(p == 0, 0.0, loss)


@_weighted.defjvp
def _weighted_jvp(primals, tangents):
    (p, loss), (p_dot, loss_dot) = primals, tangents
    return _weighted(p, loss), softmax.times(p_dot, loss) + p * loss_dot


# Cross-entropy and its kin


def softmax_cross_entropy(
    logits: Float[ArrayLike, "..."],
    labels: ArrayLike,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy of Q = softmax(logits) relative to P = labels.

        H(P, Q) = −Σᵢ pᵢ log qᵢ

    The gradient with respect to the logits is q Σp − p, for a P that sums to one q − p: no factor
    of q is left that could vanish, so a confident mistake is pushed back with full force. Where q
    is 0 and p is not, the value is +∞ and the gradient still q − p.

    The arguments are those of `optax.softmax_cross_entropy`.

    Args:
        logits: Unnormalised log-probabilities, in nats.
        labels: P, of the same shape; one-hot or soft.
        axis: The axis, or axes, of the classes; None means all.
        where: Classes or examples to keep.

    Returns:
        One value an example, in nats, at least the entropy of P.

    Raises:
        TypeError, ValueError: See the module.

    Example:
        Two classes, the right one ahead by 20. What is left of the loss is e⁻²⁰, and that is the
        gradient too; log(1 + e⁻²⁰) computed as it stands would be 0.

        >>> import jax, jax.numpy as jnp
        >>> logits, label = jnp.array([20.0, 0.0]), jnp.array([1.0, 0.0])
        >>> print(softmax_cross_entropy(logits, label))
        2.0611537e-09
        >>> print(jax.grad(softmax_cross_entropy)(logits, label))
        [-2.0611537e-09  2.0611537e-09]

    References:
        C. E. Shannon, A Mathematical Theory of Communication, 1948. Bishop, Pattern Recognition
        and Machine Learning, 2006, section 4.3.4.
    """
    return _dense(_cross_entropy, logits, labels, axis, where, "labels")


def _cross_entropy(axes, z, p, kept):
    return softmax.cross_entropy(axes, z, p)


def softmax_cross_entropy_with_integer_labels(
    logits: Float[ArrayLike, "..."],
    labels: Integer[ArrayLike, "..."],
    axis: int | tuple[int, ...] = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy where P is all on one class, named by its number: −log q at the label.

    The same values and gradients as `softmax_cross_entropy` of one-hot labels, without making
    them. The arguments are those of `optax.softmax_cross_entropy_with_integer_labels`.

    Args:
        logits: Unnormalised log-probabilities, in nats.
        labels: The number of each example's class, in [0, C); the logits' shape without `axis`.
            A tuple of axes counts their classes in row-major order.
        axis: The axis, or axes, of the classes.
        where: Classes or examples to keep. An example that is not kept may have any label.

    Returns:
        One value an example, in nats.

    Raises:
        TypeError: If the logits are not floating point or the labels not integers.
        ValueError: If shapes do not fit; if a label is outside [0, C), or names a class that
            `where` hides. Traced labels cannot be refused: there value and gradient are NaN. A
            label of −1 is never taken for the last class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[2.0, 0.0, 0.0], [-200.0, 0.0, 0.0]])
        >>> print(softmax_cross_entropy_with_integer_labels(logits, jnp.array([0, 0])))
        [  0.23954476 200.69315   ]
    """
    logits = arguments.as_floating(logits, "logits")
    labels = arguments.as_labels(labels)
    if axis is None:
        raise ValueError("Integer labels count the classes along axis: it must not be None.")
    axes = arguments.as_axes(axis, logits.shape)
    arguments.check_labels_shape(labels, logits, axes)
    if where is not None:
        where = arguments.as_mask(where, logits.shape, axes)
    arguments.check_labels(labels, where, logits, axes)
    return _run_labels(axes, logits, labels, where)


@partial(jax.jit, static_argnums=0)
def _run_labels(axes, logits, labels, where):
    z = logits.astype(arguments.compute_dtype(logits.dtype))
    # into int32 without wrapping round: what names no class goes on naming none
    classes, limits = math.prod(z.shape[axis] for axis in axes), jnp.iinfo(labels.dtype)
    labels = jnp.clip(labels, max(-1, limits.min), min(classes, limits.max)).astype(jnp.int32)
    hidden = False
    if where is not None:
        z = jnp.where(where, z, -jnp.inf)
        hidden = jnp.any(softmax.is_label(axes, z.shape, labels) & ~where, axes)
    possible = softmax.possible(axes, z)
    labels = jnp.where(possible, jnp.where(hidden, -1, labels), 0)
    value = softmax.label_cross_entropy(axes, z, labels)
    return jnp.where(possible, value, 0.0).astype(logits.dtype)


def softmax_kl_divergence(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Kullback–Leibler divergence of P = targets from Q = softmax(logits), relative entropy.

        KL(P ‖ Q) = Σᵢ pᵢ log(pᵢ / qᵢ) = H(P, Q) − H(P)

    It has the gradient of cross-entropy in the logits, q − p, and the value that says how far
    there is to go: 0 at Q = P. It is not computed as a difference, which would end at 1e-7.

    Args, Returns, Raises:
        As `softmax_cross_entropy`; the value is at least 0 if P sums to one.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([0.5, 0.25, 0.25])
        >>> logits = jnp.log(target) + jnp.array([1e-3, 0.0, 0.0])
        >>> print(f"{softmax_kl_divergence(logits, target):.4e}")  # 1e-6 p(1−p)/2
        1.2500e-07

    References:
        S. Kullback, R. A. Leibler, On Information and Sufficiency, 1951.
    """
    return _dense(_kl_divergence, logits, targets, axis, where)


def _kl_divergence(axes, z, p, kept):
    return softmax.kullback_leibler(axes, z, p)


def generalized_cross_entropy(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    exponent: Real[ArrayLike, ""] = 0.7,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Generalised cross-entropy, between cross-entropy and absolute error.

        L(P, Q) = Σ_y p_y (1 − q_y^γ) / γ,    0 < γ ≤ 1

    γ → 0 gives −log q_y, and γ = 1 gives 1 − q_y. The true logit of a one-hot target is pushed
    with q_y^γ (1 − q_y): the factor q_y^γ is what makes it forgive, and forget, wrong labels.

    Args:
        exponent: γ, in (0, 1]; a traced exponent is not checked.
        logits, targets, axis, where: As in `softmax_cross_entropy`.

    Returns:
        One value an example, between 0 and Σp/γ.

    Raises:
        ValueError: If the exponent is outside (0, 1]. Others: see the module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits, target = jnp.array([-9.0, 0.0]), jnp.array([1.0, 0.0])
        >>> for exponent in (0.01, 0.5, 1.0):
        ...     push = -jax.grad(generalized_cross_entropy)(logits, target, exponent=exponent)[0]
        ...     print(f"{exponent:4}  {push:.5f}")
        0.01  0.91382
         0.5  0.01111
         1.0  0.00012

    References:
        Z. Zhang, M. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
        with Noisy Labels, NeurIPS 2018.
    """
    arguments.check_number(exponent, "exponent", above=0.0, at_most=1.0)
    return _dense(_generalized_cross_entropy, logits, targets, axis, where, exponent=exponent)


def _generalized_cross_entropy(axes, z, p, kept, exponent):
    # log q is held above −∞, where neither q^γ nor its derivative by γ can tell the difference
    log_q = jnp.maximum(-softmax.surprisal(axes, z), -jnp.sqrt(jnp.finfo(z.dtype).max))
    x = exponent * log_q
    # JAX differentiates expm1 to expm1 + 1, which is 0 long before the exponential is
    power_minus_one = jnp.where(x < -1, jnp.exp(x) - 1, jnp.expm1(x))
    return jnp.sum(p * (-power_minus_one / exponent), axes)


def softmax_focal_loss(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    gamma: Real[ArrayLike, ""] = 2.0,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Focal loss: cross-entropy that loses interest in what it already gets right.

        L(P, Q) = −Σ_y p_y (1 − q_y)^γ log q_y

    Near the right answer the gradient falls like (1 − q)^(γ+1). At a confident mistake it is that
    of cross-entropy: it does not saturate there.

    Args:
        gamma: γ ≥ 0; 0 is cross-entropy. A traced gamma is not checked.
        logits, targets, axis, where: As in `softmax_cross_entropy`.

    Returns:
        One value an example, in nats.

    Raises:
        ValueError: If gamma is negative. Others: see the module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> target = jnp.array([1.0, 0.0])
        >>> for gap in (-9.0, 0.0, 9.0):
        ...     push = -jax.grad(softmax_focal_loss)(jnp.array([gap, 0.0]), target)[0]
        ...     print(f"gap {gap:4}: {push:.2e}")
        gap -9.0: 1.00e+00
        gap  0.0: 2.98e-01
        gap  9.0: 5.64e-12

    References:
        T.-Y. Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    arguments.check_number(gamma, "gamma", at_least=0.0)
    return _dense(_focal_loss, logits, targets, axis, where, gamma=gamma)


def _focal_loss(axes, z, p, kept, gamma):
    return _focal_rule(axes, z, p, gamma)


def _focal_terms(axes, z, gamma):
    """(1 − q)^γ and −(1 − q)^γ log q."""
    # 0 to a power below one has no derivative, but what it multiplies is 0 there
    complement = softmax.complement(axes, z)
    positive = jnp.where(complement == 0, 1.0, complement)
    weight = jnp.where(complement == 0, 0.0, positive**gamma)
    return positive, weight, _weighted(weight, softmax.surprisal(axes, z))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _focal_rule(axes, z, p, gamma):
    _, _, losses = _focal_terms(axes, z, gamma)
    return jnp.sum(_weighted(p, losses), axes)


def _focal_jvp(axes, primals, tangents):
    # Of one class the gradient is −a (e_y − q) with a = (1−q)^γ − γ (1−q)^(γ−1) q log q: no
    # infinite surprisal is left in it, because q log q is 0 where q is.
    (z, p, gamma), (z_dot, p_dot, gamma_dot) = primals, tangents
    positive, weight, losses = _focal_terms(axes, z, gamma)
    value_dot = jnp.zeros_like(jnp.sum(p, axes))
    if not isinstance(z_dot, SymbolicZero):
        _, e, tail = softmax.shifted(axes, z)
        surprisal = softmax.surprisal(axes, z)
        q_surprisal = e * jnp.where(jnp.isinf(surprisal), 0.0, surprisal)
        q_surprisal *= softmax.expand(1 / (1 + tail), axes)
        a = weight + gamma * (weight / positive) * q_surprisal
        value_dot += jnp.sum(softmax.cross_entropy_residual(axes, z, p * a) * z_dot, axes)
    if not isinstance(p_dot, SymbolicZero):
        value_dot += jnp.sum(softmax.times(p_dot, losses), axes)
    if not isinstance(gamma_dot, SymbolicZero):
        by_gamma = jnp.where(jnp.isinf(losses), 0.0, losses) * jnp.log(positive)
        value_dot += jnp.sum(p * by_gamma, axes) * gamma_dot
    return _focal_rule(axes, z, p, gamma), value_dot


_focal_rule.defjvp(_focal_jvp, symbolic_zeros=True)


# Squared and absolute error on probabilities


def softmax_brier_score(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Squared distance between Q = softmax(logits) and P = targets, summed over the classes.

        S(P, Q) = Σᵢ (qᵢ − pᵢ)²

    The gradient with respect to the logits is 2 J (q − p), J = diag(q) − q qᵀ: it vanishes
    wherever Q is sure of itself, at the wrong answer too.

    Args:
        logits: Unnormalised log-probabilities, in nats.
        targets: P, of the same shape; one-hot or soft.
        axis: The axis, or axes, of the classes; None means all.
        where: Classes or examples to keep.

    Returns:
        One value an example, between 0 and 2 if P is a distribution.

    Raises:
        TypeError, ValueError: See the module.

    Example:
        The more confident the mistake, the less it is corrected. Cross-entropy would push the
        true class with 0.95, 1.00 and 1.00.

        >>> import jax, jax.numpy as jnp
        >>> for gap in (-3.0, -9.0, -27.0):
        ...     logits, target = jnp.array([gap, 0.0]), jnp.array([1.0, 0.0])
        ...     print(f"gap {gap:5}: {-jax.grad(softmax_brier_score)(logits, target)[0]:.2e}")
        gap  -3.0: 1.72e-01
        gap  -9.0: 4.93e-04
        gap -27.0: 7.52e-12

    References:
        G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.
    """
    return _dense(_brier_score, logits, targets, axis, where)


def _brier_score(axes, z, p, kept):
    return softmax.squared_distance(axes, z, p)


def softmax_mean_squared_error(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """MSE between Q = softmax(logits) and P = targets: the Brier score, averaged over the classes.

        S(P, Q) / C = (1/C) Σᵢ (qᵢ − pᵢ)²

    C counts the classes that are kept. The mean divides the gradient by C as well, and that is
    bookkeeping, not learning: with 1000 classes a step has to be 1000 times as long.

    Args, Returns, Raises:
        As `softmax_brier_score`.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, target = jnp.zeros(4), jnp.array([1.0, 0.0, 0.0, 0.0])
        >>> print(softmax_brier_score(logits, target), softmax_mean_squared_error(logits, target))
        0.75 0.1875
    """
    return _dense(_mean_squared_error, logits, targets, axis, where)


def _mean_squared_error(axes, z, p, kept):
    return softmax.squared_distance(axes, z, p) / _number_of_classes(axes, z, kept)


def softmax_mean_absolute_error(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """MAE between Q = softmax(logits) and P = targets, averaged over the classes.

        (1/C) Σᵢ |qᵢ − pᵢ|

    For a one-hot target this is 2 (1 − q_y)/C: linear in the true probability, and like squared
    error without a gradient where Q is sure and wrong. Summed over the labels it is constant,
    which makes it robust to label noise; its expected value is least at the mode of P, so it is
    not proper.

    Args, Returns, Raises:
        As `softmax_brier_score`; C counts the classes that are kept.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([1.0, 0.0])
        >>> print(softmax_mean_absolute_error(jnp.array([0.0, 0.0]), target))
        0.5

    References:
        A. Ghosh, H. Kumar, P. S. Sastry, Robust Loss Functions under Label Noise for Deep Neural
        Networks, AAAI 2017.
    """
    return _dense(_mean_absolute_error, logits, targets, axis, where)


def _mean_absolute_error(axes, z, p, kept):
    return softmax.absolute_distance(axes, z, p) / _number_of_classes(axes, z, kept)


# Squared error on the logits themselves


def logit_squared_error(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    true_class_weight: Real[ArrayLike, ""] = 1.0,
    true_class_value: Real[ArrayLike, ""] = 1.0,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Squared error between raw logits and targets: no softmax, so nothing saturates.

        L(P, z) = Σᵢ (1 + (k − 1) pᵢ) (zᵢ − M pᵢ)²

    k = `true_class_weight` and M = `true_class_value` rescale the true class, as Hui & Belkin do
    for many classes. The gradient 2 (1 + (k−1) pᵢ)(zᵢ − M pᵢ) grows with the mistake, and there
    is a best logit for every class: adding a constant to all logits changes the loss. A logit of
    −inf is infinitely far from it, and the loss +∞: hide classes with `where`.

    Args:
        logits: Scores; their best values are M for the true class, 0 for the others.
        targets: P, of the same shape; one-hot or soft.
        true_class_weight: k; its sign is not checked.
        true_class_value: M.
        axis: The axis, or axes, of the classes; None means all.
        where: Classes or examples to keep.

    Returns:
        One value an example, summed over the classes.

    Raises:
        ValueError: If weight or value is not a single number. Others: see the module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> print(jax.grad(logit_squared_error)(jnp.array([-9.0, 0.0]), jnp.array([1.0, 0.0])))
        [-20.   0.]

    References:
        L. Hui, M. Belkin, Evaluation of Neural Architectures Trained with Square Loss vs
        Cross-Entropy in Classification Tasks, ICLR 2021.
    """
    arguments.check_number(true_class_weight, "true_class_weight")
    arguments.check_number(true_class_value, "true_class_value")
    return _dense(
        _logit_squared_error,
        logits,
        targets,
        axis,
        where,
        weight=true_class_weight,
        value=true_class_value,
    )


def _logit_squared_error(axes, z, p, kept, weight, value):
    z = jnp.where(kept, z, 0.0)
    squares = (1 + (weight - 1) * p) * jnp.square(z - value * p)
    return jnp.sum(jnp.where(kept, squares, 0.0), axes)


def squentropy(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy plus the mean square of the wrong logits.

        L(P, z) = Σ_y p_y [−log q_y + (1/(C−1)) Σ_{j≠y} zⱼ²]

    The second term anchors the wrong logits at 0, where cross-entropy alone lets all logits
    drift; the true one it leaves free. Classes that share a target are all anchored: the minimum
    then lies at finite logits.

    Args, Returns, Raises:
        As `logit_squared_error`; C counts the classes that are kept, and with a single one the
        second term is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([1.0, 0.0, 0.0])
        >>> print(squentropy(jnp.array([2.0, 1.0, -1.0]), target) -
        ...       softmax_cross_entropy(jnp.array([2.0, 1.0, -1.0]), target))
        1.0

    References:
        L. Hui, M. Belkin, S. Wright, Cut your Losses with Squentropy, ICML 2023.
    """
    return _dense(_squentropy, logits, targets, axis, where)


def _squentropy(axes, z, p, kept):
    wrong_classes = _number_of_classes(axes, z, kept) - 1
    wrong_mass = softmax.expand(jnp.sum(p, axes), axes) - p
    raw = jnp.where(kept & ((wrong_mass != 0) | jnp.isfinite(z)), z, 0.0)
    # in this order, because 0·∞ is no weight of a square that overflows
    squares = jnp.sum(jnp.where(kept, (wrong_mass * raw) * raw, 0.0), axes)
    return softmax.cross_entropy(axes, z, p) + squares / jnp.maximum(wrong_classes, 1.0)


# Two classes, one logit


def sigmoid_binary_cross_entropy(
    logits: Float[ArrayLike, "*shape"], labels: ArrayLike
) -> Float[Array, "*shape"]:
    """Cross-entropy of independent yes-or-no predictions with probability σ(logit); logistic loss.

        L(y, s) = −y log σ(s) − (1 − y) log(1 − σ(s))

    The gradient is σ(s) − y: a constant push for a confident mistake. A softmax over two logits
    is σ of their difference, and that gap moves at twice the rate of a single logit.

    The arguments are those of `optax.sigmoid_binary_cross_entropy`.

    Args:
        logits: Log-odds of the label being 1, in nats; any shape.
        labels: y, of the same shape: 0, 1, bool, or a probability between them (not checked).

    Returns:
        One value an element, in nats.

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If the shapes differ.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> print(jax.grad(sigmoid_binary_cross_entropy)(30.0, 1.0))  # −e⁻³⁰
        -9.357623e-14
    """
    return _binary(_binary_cross_entropy, logits, labels)


def _binary_cross_entropy(s, y):
    return _binary_cross_entropy_rule(s, y)


def sigmoid_squared_error(
    logits: Float[ArrayLike, "*shape"], labels: ArrayLike
) -> Float[Array, "*shape"]:
    """Squared error of yes-or-no predictions with probability σ(logit).

        L(y, s) = (σ(s) − y)²

    The gradient is 2 (σ − y) σ (1 − σ): it vanishes at both ends, at the wrong one as well. For
    the same probabilities `softmax_brier_score` of two classes is twice as much.

    Args, Returns, Raises:
        As `sigmoid_binary_cross_entropy`.

    Example:
        >>> import jax
        >>> print(jax.grad(sigmoid_squared_error)(-9.0, 1.0))
        -0.00024672828
    """
    return _binary(_binary_squared_error, logits, labels)


def _binary_squared_error(s, y):
    return jnp.square(_sigmoid_residual(s, y))


def _binary(kernel, logits, labels):
    logits = arguments.as_floating(logits, "logits")
    labels = arguments.as_real(labels, "labels")
    arguments.check_same_shape(logits, labels, "logits", "labels")
    return _run_binary(kernel, logits, labels)


@partial(jax.jit, static_argnums=0)
def _run_binary(kernel, logits, labels):
    s = logits.astype(arguments.compute_dtype(logits.dtype))
    return kernel(s, labels.astype(s.dtype)).astype(logits.dtype)


def _odds(s):
    """exp(−|s|), the odds against the likelier side."""
    return jnp.exp(-jnp.abs(s))


@jax.custom_jvp
def _sigmoid(s):
    odds = _odds(s)
    return jnp.where(s < 0, odds, 1.0) / (1 + odds)


@_sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    (s,), (s_dot,) = primals, tangents
    return _sigmoid(s), _sigmoid(s) * _sigmoid(-s) * s_dot


@jax.custom_jvp
def _sigmoid_residual(s, y):
    """σ(s) − y, to the last digit also where σ is nearly y = 1."""
    odds = _odds(s)
    return ((jnp.where(s < 0, odds, 1.0) - y) - y * odds) / (1 + odds)


@_sigmoid_residual.defjvp
def _sigmoid_residual_jvp(primals, tangents):
    (s, y), (s_dot, y_dot) = primals, tangents
    return _sigmoid_residual(s, y), _sigmoid(s) * _sigmoid(-s) * s_dot - y_dot


@jax.custom_jvp
def _binary_cross_entropy_rule(s, y):
    # −log of the likelier side is log1p(odds), and of the other |s| more
    unlikely = jnp.where(s < 0, y, 1 - y)
    return jnp.log1p(_odds(s)) + jnp.where(unlikely == 0, 0.0, unlikely * jnp.abs(s))


@_binary_cross_entropy_rule.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (s, y), (s_dot, y_dot) = primals, tangents
    value_dot = _sigmoid_residual(s, y) * s_dot + softmax.times(y_dot, -s)
    return _binary_cross_entropy_rule(s, y), value_dot


# Helpers


def smooth_labels(
    labels: ArrayLike,
    alpha: Real[ArrayLike, ""],
    *,
    axis: type_of_axis = -1,
    where: Bool[ArrayLike, "..."] | None = None,
) -> Float[Array, "..."]:
    """Label smoothing: (1 − α) P + α U, U the uniform distribution over the classes that are kept.

    With smoothed targets the best Q is no longer at infinity: cross-entropy is least at the finite
    gap log(1 + C (1 − α)/α) between the true logit and the others.

    The arguments are those of `optax.smooth_labels`.

    Args:
        labels: P, one-hot or soft; integer and bool labels become floating.
        alpha: α in [0, 1]; a traced alpha is not checked.
        axis: The axis, or axes, of the classes; None means all.
        where: Classes or examples to keep. An example that is not kept becomes 0.

    Returns:
        The smoothed labels, of the same shape.

    Raises:
        ValueError: If alpha is outside [0, 1], if `axis` or `where` does not fit, or if P has mass
            on a class that `where` hides. Where that is traced, the mass becomes NaN instead.

    Example:
        >>> import jax.numpy as jnp
        >>> print(smooth_labels(jnp.array([1.0, 0.0, 0.0, 0.0]), 0.2))
        [0.85 0.05 0.05 0.05]

    References:
        C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.
        R. Müller et al., When Does Label Smoothing Help?, NeurIPS 2019.
    """
    labels = arguments.as_real(labels, "labels")
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        labels = labels.astype(float)
    arguments.check_number(alpha, "alpha", at_least=0.0, at_most=1.0)
    axes = arguments.as_axes(axis, labels.shape)
    if where is not None:
        where = arguments.as_mask(where, labels.shape, axes)
        arguments.check_mass_is_kept(labels, where, axes)
    return _run_smooth_labels(axes, labels, alpha, where)


@partial(jax.jit, static_argnums=0)
def _run_smooth_labels(axes, labels, alpha, where):
    p = labels.astype(arguments.compute_dtype(labels.dtype))
    alpha = jnp.asarray(alpha, p.dtype)
    kept = jnp.broadcast_to(True if where is None else where, p.shape)
    uniform = 1 / softmax.expand(_number_of_classes(axes, p, kept), axes)
    smoothed = jnp.where(kept, (1 - alpha) * p + alpha * uniform, 0.0)
    if where is not None:
        keeps_any = jnp.any(kept, axes, keepdims=True)
        smoothed = jnp.where(kept | (p == 0) | ~keeps_any, smoothed, jnp.nan)
    return smoothed.astype(labels.dtype)


def masked_mean(
    values: Float[ArrayLike, "*shape"],
    where: Bool[ArrayLike, "*shape"] | None = None,
    weights: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Mean of what is kept: Σ w v / Σ w over the values where `where` is true.

    The mean that a loss over a padded or weighted batch needs. If nothing is kept, or nothing has
    weight, it is 0 with zero gradient. NaN and ∞ in values that are not kept, or that have weight
    0, do not leak into the mean or its gradient.

    Args:
        values: Losses, one an example, of any shape; all of them are averaged.
        where: Values to keep, of the same shape.
        weights: Weights w ≥ 0, of the same shape; not checked where they are traced.

    Returns:
        A scalar of the values' dtype.

    Raises:
        TypeError: If the values are not floating point, or `where` is not boolean.
        ValueError: If shapes differ or a weight is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> print(masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])))
        2.0
    """
    values = arguments.as_floating(values, "values")
    if where is not None:
        where = arguments.as_boolean(where, "where")
        arguments.check_same_shape(values, where, "values", "where")
    if weights is not None:
        weights = arguments.as_real(weights, "weights")
        arguments.check_same_shape(values, weights, "values", "weights")
        if not arguments.is_traced(weights) and (np.asarray(weights) < 0).any():
            raise ValueError("weights must not be negative.")
    return _run_masked_mean(values, where, weights)


@jax.jit
def _run_masked_mean(values, where, weights):
    v = values.astype(arguments.compute_dtype(values.dtype))
    w = jnp.ones_like(v) if weights is None else weights.astype(v.dtype)
    w = w if where is None else jnp.where(where, w, 0.0)
    weight = jnp.sum(w)
    # finite values stay where their weight is 0: the derivative by that weight needs them
    total = jnp.sum(w * jnp.where((w == 0) & ~jnp.isfinite(v), 0.0, v))
    mean = total / jnp.where(weight == 0, 1.0, weight)
    return jnp.where(weight == 0, 0.0, mean).astype(values.dtype)
