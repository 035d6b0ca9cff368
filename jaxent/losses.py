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

from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Real

from jaxent import _arguments as arguments
from jaxent import _kernels as kernels
from jaxent import _run as run
from jaxent import _sigmoid as sigmoid
from jaxent._arguments import Axis, Mask
from jaxent._labels import label_cross_entropy

# Cross-entropy and its kin


def softmax_cross_entropy(
    logits: Float[ArrayLike, "..."], labels: ArrayLike, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Cross-entropy of Q = softmax(logits) relative to P = labels.

        H(P, Q) = −Σᵢ pᵢ log qᵢ

    The gradient with respect to the logits is q Σp − p, for a P that sums to one q − p: no factor
    of q is left that could vanish, so a confident mistake is pushed back with full force. Where q
    is 0 and p is not, the value is +∞ and the gradient still q − p.

    The arguments are those of `optax.softmax_cross_entropy`.

    Args:
        logits: unnormalised log-probabilities, in nats.
        labels: P, of the same shape; one-hot or soft.
        axis: the axis, or axes, of the classes; None means all.
        where: classes or examples to keep.

    Returns:
        One value an example, in nats, at least the entropy of P.

    Raises:
        TypeError, ValueError: see the module.

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
    return run.along_classes(kernels.cross_entropy, logits, labels, axis, where, "labels")


def softmax_cross_entropy_with_integer_labels(
    logits: Float[ArrayLike, "..."],
    labels: Integer[ArrayLike, "..."],
    axis: int | tuple[int, ...] = -1,
    where: Mask = None,
) -> Float[Array, "..."]:
    """Cross-entropy where P is all on one class, named by its number: −log q at the label.

    The same values and gradients as `softmax_cross_entropy` of one-hot labels, without making
    them. The arguments are those of `optax.softmax_cross_entropy_with_integer_labels`.

    Args:
        logits: unnormalised log-probabilities, in nats.
        labels: the number of each example's class, in [0, C); the logits' shape without `axis`.
            A tuple of axes counts their classes in row-major order.
        axis: the axis, or axes, of the classes.
        where: classes or examples to keep. An example that is not kept may have any label.

    Returns:
        One value an example, in nats.

    Raises:
        TypeError: the logits are not floating point, or the labels not integers.
        ValueError: shapes do not fit, or a label is outside [0, C), or names a class that
            `where` hides. Traced labels cannot be refused: there value and gradient are NaN. A
            label of −1 is never taken for the last class.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[2.0, 0.0, 0.0], [-200.0, 0.0, 0.0]])
        >>> print(softmax_cross_entropy_with_integer_labels(logits, jnp.array([0, 0])))
        [  0.23954476 200.69315   ]
    """
    return run.at_labels(label_cross_entropy, logits, labels, axis, where)


def softmax_kl_divergence(
    logits: Float[ArrayLike, "..."], targets: ArrayLike, *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Kullback–Leibler divergence of P = targets from Q = softmax(logits), relative entropy.

        KL(P ‖ Q) = Σᵢ pᵢ log(pᵢ / qᵢ) = H(P, Q) − H(P)

    It has the gradient of cross-entropy in the logits, q − p, and the value that says how far
    there is to go: 0 at Q = P. It is not computed as a difference, which would end at 1e-7.

    Args:
        logits, targets, axis, where: as in `softmax_cross_entropy`.

    Returns:
        One value an example, in nats, at least 0 if P sums to one.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([0.5, 0.25, 0.25])
        >>> logits = jnp.log(target) + jnp.array([1e-3, 0.0, 0.0])
        >>> print(f"{softmax_kl_divergence(logits, target):.4e}")  # 1e-6 p(1−p)/2
        1.2500e-07

    References:
        S. Kullback, R. A. Leibler, On Information and Sufficiency, 1951.
    """
    return run.along_classes(kernels.kullback_leibler, logits, targets, axis, where)


def generalized_cross_entropy(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    exponent: Real[ArrayLike, ""] = 0.7,
    axis: Axis = -1,
    where: Mask = None,
) -> Float[Array, "..."]:
    """Generalised cross-entropy, between cross-entropy and absolute error.

        L(P, Q) = Σ_y p_y (1 − q_y^γ) / γ,    0 < γ ≤ 1

    γ → 0 gives −log q_y, and γ = 1 gives 1 − q_y. The true logit of a one-hot target is pushed
    with q_y^γ (1 − q_y): the factor q_y^γ is what makes it forgive, and forget, wrong labels.

    Args:
        exponent: γ, in (0, 1]; a traced exponent is not checked.
        logits, targets, axis, where: as in `softmax_cross_entropy`.

    Returns:
        One value an example, between 0 and Σp/γ.

    Raises:
        TypeError: see the module.
        ValueError: the exponent is outside (0, 1]; others: see the module.

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
    return run.along_classes(
        kernels.generalized_cross_entropy, logits, targets, axis, where, exponent=exponent
    )


def softmax_focal_loss(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    gamma: Real[ArrayLike, ""] = 2.0,
    axis: Axis = -1,
    where: Mask = None,
) -> Float[Array, "..."]:
    """Focal loss: cross-entropy that loses interest in what it already gets right.

        L(P, Q) = −Σ_y p_y (1 − q_y)^γ log q_y

    Near the right answer the gradient falls like (1 − q)^(γ+1). At a confident mistake it is that
    of cross-entropy: it does not saturate there.

    Args:
        gamma: γ ≥ 0; 0 is cross-entropy. A traced gamma is not checked.
        logits, targets, axis, where: as in `softmax_cross_entropy`.

    Returns:
        One value an example, in nats.

    Raises:
        TypeError: see the module.
        ValueError: gamma is negative; others: see the module.

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
    return run.along_classes(kernels.focal_loss, logits, targets, axis, where, gamma=gamma)


# Squared and absolute error on probabilities


def softmax_brier_score(
    logits: Float[ArrayLike, "..."], targets: ArrayLike, *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Squared distance between Q = softmax(logits) and P = targets, summed over the classes.

        S(P, Q) = Σᵢ (qᵢ − pᵢ)²

    The gradient with respect to the logits is 2 J (q − p), J = diag(q) − q qᵀ: it vanishes
    wherever Q is sure of itself, at the wrong answer too.

    Args:
        logits: unnormalised log-probabilities, in nats.
        targets: P, of the same shape; one-hot or soft.
        axis: the axis, or axes, of the classes; None means all.
        where: classes or examples to keep.

    Returns:
        One value an example, between 0 and 2 if P is a distribution.

    Raises:
        TypeError, ValueError: see the module.

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
    return run.along_classes(kernels.squared_distance, logits, targets, axis, where)


def softmax_mean_squared_error(
    logits: Float[ArrayLike, "..."], targets: ArrayLike, *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """MSE between Q = softmax(logits) and P = targets: the Brier score, averaged over the classes.

        S(P, Q) / C = (1/C) Σᵢ (qᵢ − pᵢ)²

    C counts the classes that are kept. The mean divides the gradient by C as well, and that is
    bookkeeping, not learning: with 1000 classes a step has to be 1000 times as long.

    Args:
        logits, targets, axis, where: as in `softmax_brier_score`.

    Returns:
        One value an example, between 0 and 2/C if P is a distribution.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, target = jnp.zeros(4), jnp.array([1.0, 0.0, 0.0, 0.0])
        >>> print(softmax_brier_score(logits, target), softmax_mean_squared_error(logits, target))
        0.75 0.1875
    """
    return run.along_classes(kernels.mean_squared_error, logits, targets, axis, where)


def softmax_mean_absolute_error(
    logits: Float[ArrayLike, "..."], targets: ArrayLike, *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """MAE between Q = softmax(logits) and P = targets, averaged over the classes.

        (1/C) Σᵢ |qᵢ − pᵢ|

    For a one-hot target this is 2 (1 − q_y)/C: linear in the true probability, and like squared
    error without a gradient where Q is sure and wrong. Summed over the labels it is constant,
    which makes it robust to label noise; its expected value is least at the mode of P, so it is
    not proper.

    Args:
        logits, targets, axis, where: as in `softmax_brier_score`.

    Returns:
        One value an example, between 0 and 2/C if P is a distribution. C counts the classes that
        are kept.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([1.0, 0.0])
        >>> print(softmax_mean_absolute_error(jnp.array([0.0, 0.0]), target))
        0.5

    References:
        A. Ghosh, H. Kumar, P. S. Sastry, Robust Loss Functions under Label Noise for Deep Neural
        Networks, AAAI 2017.
    """
    return run.along_classes(kernels.mean_absolute_error, logits, targets, axis, where)


# Squared error on the logits themselves


def logit_squared_error(
    logits: Float[ArrayLike, "..."],
    targets: ArrayLike,
    *,
    true_class_weight: Real[ArrayLike, ""] = 1.0,
    true_class_value: Real[ArrayLike, ""] = 1.0,
    axis: Axis = -1,
    where: Mask = None,
) -> Float[Array, "..."]:
    """Squared error between raw logits and targets: no softmax, so nothing saturates.

        L(P, z) = Σᵢ (1 + (k − 1) pᵢ) (zᵢ − M pᵢ)²

    k = `true_class_weight` and M = `true_class_value` rescale the true class, as Hui & Belkin do
    for many classes. The gradient 2 (1 + (k−1) pᵢ)(zᵢ − M pᵢ) grows with the mistake, and there
    is a best logit for every class: adding a constant to all logits changes the loss. A logit of
    −inf is infinitely far from it, and the loss +∞: hide classes with `where`.

    Args:
        logits: scores; their best values are M for the true class, 0 for the others.
        targets: P, of the same shape; one-hot or soft.
        true_class_weight: k; its sign is not checked.
        true_class_value: M.
        axis: the axis, or axes, of the classes; None means all.
        where: classes or examples to keep.

    Returns:
        One value an example, summed over the classes.

    Raises:
        TypeError: see the module.
        ValueError: weight or value is not a single number; others: see the module.

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
    options = {"weight": true_class_weight, "value": true_class_value}
    return run.along_classes(kernels.logit_squared_error, logits, targets, axis, where, **options)


def squentropy(
    logits: Float[ArrayLike, "..."], targets: ArrayLike, *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Cross-entropy plus the mean square of the wrong logits.

        L(P, z) = Σ_y p_y [−log q_y + (1/(C−1)) Σ_{j≠y} zⱼ²]

    The second term anchors the wrong logits at 0, where cross-entropy alone lets all logits
    drift; the true one it leaves free. Classes that share a target are all anchored: the minimum
    then lies at finite logits.

    Args:
        logits, targets, axis, where: as in `logit_squared_error`.

    Returns:
        One value an example. C counts the classes that are kept, and with a single one the second
        term is 0.

    Raises:
        TypeError, ValueError: see the module.

    Example:
        >>> import jax.numpy as jnp
        >>> target = jnp.array([1.0, 0.0, 0.0])
        >>> print(squentropy(jnp.array([2.0, 1.0, -1.0]), target) -
        ...       softmax_cross_entropy(jnp.array([2.0, 1.0, -1.0]), target))
        1.0

    References:
        L. Hui, M. Belkin, S. Wright, Cut your Losses with Squentropy, ICML 2023.
    """
    return run.along_classes(kernels.squentropy, logits, targets, axis, where)


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
        logits: log-odds of the label being 1, in nats; any shape.
        labels: y, of the same shape: 0, 1, bool, or a probability between them (not checked).

    Returns:
        One value an element, in nats.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> print(jax.grad(sigmoid_binary_cross_entropy)(30.0, 1.0))  # −e⁻³⁰
        -9.357623e-14
    """
    return run.elementwise(sigmoid.binary_cross_entropy, logits, labels)


def sigmoid_squared_error(
    logits: Float[ArrayLike, "*shape"], labels: ArrayLike
) -> Float[Array, "*shape"]:
    """Squared error of yes-or-no predictions with probability σ(logit).

        L(y, s) = (σ(s) − y)²

    The gradient is 2 (σ − y) σ (1 − σ): it vanishes at both ends, at the wrong one as well. For
    the same probabilities `softmax_brier_score` of two classes is twice as much.

    Args:
        logits, labels: as in `sigmoid_binary_cross_entropy`.

    Returns:
        One value an element, between 0 and 1.

    Raises:
        TypeError, ValueError: as for `sigmoid_binary_cross_entropy`.

    Example:
        >>> import jax
        >>> print(jax.grad(sigmoid_squared_error)(-9.0, 1.0))
        -0.00024672828
    """
    return run.elementwise(sigmoid.squared_error, logits, labels)


# Helpers


def smooth_labels(
    labels: ArrayLike, alpha: Real[ArrayLike, ""], *, axis: Axis = -1, where: Mask = None
) -> Float[Array, "..."]:
    """Label smoothing: (1 − α) P + α U, U the uniform distribution over the classes that are kept.

    With smoothed targets the best Q is no longer at infinity: cross-entropy is least at the finite
    gap log(1 + C (1 − α)/α) between the true logit and the others.

    The arguments are those of `optax.smooth_labels`.

    Args:
        labels: P, one-hot or soft; integer and bool labels become floating.
        alpha: α in [0, 1]; a traced alpha is not checked.
        axis: the axis, or axes, of the classes; None means all.
        where: classes or examples to keep. An example that is not kept becomes 0.

    Returns:
        The smoothed labels, of the same shape.

    Raises:
        ValueError: alpha is outside [0, 1], the labels number the classes and are not
            probabilities, `axis` or `where` does not fit, or P has mass on a class that `where`
            hides. Where that is traced, the mass becomes NaN instead.

    Example:
        >>> import jax.numpy as jnp
        >>> print(smooth_labels(jnp.array([1.0, 0.0, 0.0, 0.0]), 0.2))
        [0.85 0.05 0.05 0.05]

    References:
        C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.
        R. Müller et al., When Does Label Smoothing Help?, NeurIPS 2019.
    """
    return run.smooth_labels(labels, alpha, axis, where)


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
        values: losses, one an example, of any shape; all of them are averaged.
        where: values to keep, of the same shape.
        weights: weights w ≥ 0, of the same shape; not checked where they are traced.

    Returns:
        A scalar of the values' dtype.

    Raises:
        TypeError: the values are not floating point, or `where` is not boolean.
        ValueError: shapes differ, or a weight is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> print(masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])))
        2.0
    """
    return run.masked_mean(values, where, weights)
