"""How hard a loss pushes: gradient norms, the push on the true logit, the gradient itself."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer

from jaxent.theory._arrays import as_floats, product
from jaxent.theory._margins import surprisal, truth_and_rest

# Gradient norms


def true_class_probability(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The probability a = 1/(1 + K eᵐ) of a truth that stands m behind every wrong logit.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; not checked.

    Returns:
        a, with all its digits at both ends.

    Example:
        At a tie every class has 1/C; three logits behind one class, the truth has 4.7 %.

        >>> from jaxent import theory
        >>> print(theory.gradients.true_class_probability(0.0, num_classes=4))
        0.25
        >>> print(f"{theory.gradients.true_class_probability(3.0, num_classes=2):.4f}")
        0.0474
    """
    truth, _ = truth_and_rest(*as_floats(margin, num_classes))
    return truth


def cross_entropy_gradient_norm(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖dL/dz‖₂ of cross-entropy, wrong mass spread evenly: (1 − a) √(C/K).

    The gradient is q − p: 1 − a on the truth and (1 − a)/K on each of the K wrong classes, so
    its squared norm is (1 − a)² (1 + 1/K). It is largest at the worst mistake, and never larger
    than √(C/K).

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The norm, with all its digits at both ends.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.gradients.cross_entropy_gradient_norm(20.0, num_classes=2):.4f}")
        1.4142
    """
    margin, classes = as_floats(margin, num_classes)
    _, rest = truth_and_rest(margin, classes)
    return rest * jnp.sqrt(classes / (classes - 1))


def brier_score_gradient_norm(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖dL/dz‖₂ of the Brier score, wrong mass spread evenly: 2 a (1 − a)² (C/K)^{3/2}.

    The gradient is 2J(q − p). With even wrong mass q − p = (1 − a) u, u = −1 on the truth and
    1/K elsewhere, and u is an eigenvector of J with eigenvalue a(1 − a) C/K: one factor a that
    kills the gradient of a confident mistake, one more factor 1 − a near the answer.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The norm, with all its digits at both ends. Divide by C for the mean squared error.

    Example:
        The more certain the mistake, the weaker the push:

        >>> from jaxent import theory
        >>> for margin in (0.0, 5.0, 20.0):
        ...     print(f"{theory.gradients.brier_score_gradient_norm(margin, num_classes=2):.2e}")
        7.07e-01
        3.74e-02
        1.17e-08
    """
    margin, classes = as_floats(margin, num_classes)
    truth, rest = truth_and_rest(margin, classes)
    return 2 * truth * rest**2 * (classes / (classes - 1)) ** 1.5


def gradient_norm_ratio(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """‖∇ Brier‖/‖∇ cross-entropy‖, wrong mass spread evenly: 2 a (1 − a) C/K.

    It vanishes at *both* ends: the Brier score is the slower of the two when it is badly wrong,
    and again when it is nearly right. The most it reaches, at a = ½, is C/(2K): 1 for two
    classes, hardly more than ½ for many.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The ratio, between 0 and 1. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> for margin in (-9.0, 0.0, 9.0):
        ...     print(f"{theory.gradients.gradient_norm_ratio(margin, num_classes=2):.5f}")
        0.00049
        1.00000
        0.00049
    """
    margin, classes = as_floats(margin, num_classes)
    truth, rest = truth_and_rest(margin, classes)
    return 2 * truth * rest * (classes / (classes - 1))


def largest_brier_score_gradient_norm(num_classes: ArrayLike) -> Float[Array, "..."]:
    """The largest ‖dL/dz‖₂ of the Brier score, wrong mass even: (8/27)(C/K)^{3/2}, at a = 1/3.

    a(1 − a)² has the derivative (1 − a)(1 − 3a): whatever the number of classes, the Brier score
    pushes hardest at p_true = 1/3, with 2 · 4/27 · (C/K)^{3/2}.

    Args:
        num_classes: C ≥ 2; 2 for wrong mass on one class. Not checked.

    Returns:
        The maximum over all margins. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.gradients.largest_brier_score_gradient_norm(num_classes=2):.4f}")
        0.8381
    """
    (classes,) = as_floats(num_classes)
    return 8 / 27 * (classes / (classes - 1)) ** 1.5


# How hard the true logit is pushed


def cross_entropy_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of cross-entropy: 1 − a.

    The push on the true logit. The gradients of all losses of a softmax sum to zero over the
    classes, so with even wrong mass each wrong logit is pushed down with 1/K of it, and the gap
    z_y − z_j moves with C/K of it.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.

    Returns:
        The push, with all its digits at both ends.

    Example:
        All there is to push for a confident mistake, as much as is missing for a right answer:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.gradients.cross_entropy_push(margin, num_classes=2):.3g}")
        1
        0.5
        2.06e-09
    """
    _, rest = truth_and_rest(*as_floats(margin, num_classes))
    return rest


def brier_score_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of the Brier score, wrong mass spread evenly: 2 a (1 − a)² C/K.

    In general 2a[(1 − a)² + β], β = Σ_{j≠y} q_j², and β = (1 − a)²/K is the least that β can be.
    Its other extreme, wrong mass on one class, β = (1 − a)², is C = 2 here.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin; 2 for wrong mass on one class. Not checked.

    Returns:
        The push, with all its digits at both ends. Divide by C for the mean squared error.

    Example:
        A push that is nowhere near what cross-entropy does at m = 20, and half of it at a tie:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.gradients.brier_score_push(margin, num_classes=3):.3g}")
        3.09e-09
        0.444
        5.1e-17
    """
    margin, classes = as_floats(margin, num_classes)
    truth, rest = truth_and_rest(margin, classes)
    return 2 * truth * rest**2 * (classes / (classes - 1))


def mean_absolute_error_push(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """−∂L/∂z_y of the mean absolute error on the softmax: 2 a (1 − a)/C.

    With a one-hot target (1/C) Σᵢ |qᵢ − pᵢ| is 2(1 − a)/C, and da/dz_y = a(1 − a).

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. Beyond the factor 1/C the
            push depends only on a, however the wrong mass is spread.

    Returns:
        The push, with all its digits at both ends. Multiply by C for the sum over the classes,
        by C/2 for 1 − a.

    Example:
        It is the same for a mistake and for a right answer of the same confidence:

        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.gradients.mean_absolute_error_push(margin, num_classes=2):.3g}")
        2.06e-09
        0.25
        2.06e-09
    """
    margin, classes = as_floats(margin, num_classes)
    truth, rest = truth_and_rest(margin, classes)
    return truth * rest * (2 / classes)


def generalized_cross_entropy_push(
    margin: ArrayLike, num_classes: ArrayLike, exponent: ArrayLike
) -> Float[Array, "..."]:
    """−∂L/∂z_y of generalised cross-entropy (1 − a^γ)/γ: a^γ (1 − a).

    The exponent is the number of factors a that are left: none is cross-entropy, one is 1 − a,
    the absolute error without its factor 2/C. A confident mistake is pushed with e^{−γm}.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.
        exponent: γ ≥ 0, broadcast with the margin; not checked.

    Returns:
        The push, with all its digits at both ends, also where a itself is too small a number.

    Example:
        Ten logits behind, a thousand examples of exponent ½ weigh about seven of cross-entropy:

        >>> from jaxent import theory
        >>> print(f"{theory.gradients.generalized_cross_entropy_push(10.0, 2, exponent=0.5):.5f}")
        0.00674

    References:
        Z. Zhang, M. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
        with Noisy Labels, NeurIPS 2018.
    """
    margin, classes, exponent = as_floats(margin, num_classes, exponent)
    _, rest = truth_and_rest(margin, classes)
    return jnp.exp(-exponent * surprisal(margin, classes)) * rest


def focal_loss_push(
    margin: ArrayLike, num_classes: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """−∂L/∂z_y of the focal loss −(1 − a)^γ ln a: (1 − a)^γ [(1 − a) − γ a ln a].

    It loses interest in what is right, (1 + γ)(1 − a)^{γ+1} as a → 1, but not in mistakes: as
    a → 0 the push comes to 1, that of cross-entropy, and from above.

    Args:
        margin: m, in logits, of any sign.
        num_classes: C ≥ 2, broadcast with the margin. Not checked. The push depends only on a,
            however the wrong mass is spread.
        gamma: γ ≥ 0, broadcast with the margin; not checked. 0 is cross-entropy.

    Returns:
        The push, with all its digits at both ends.

    Example:
        >>> from jaxent import theory
        >>> for margin in (20.0, 0.0, -20.0):
        ...     print(f"{theory.gradients.focal_loss_push(margin, num_classes=2, gamma=2.0):.3g}")
        1
        0.298
        2.63e-26

    References:
        T.-Y. Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    margin, classes, gamma = as_floats(margin, num_classes, gamma)
    truth, rest = truth_and_rest(margin, classes)
    # 0 to a power below one has no derivative, but what it multiplies is 0 there.
    power = jnp.where(rest == 0, 0, jnp.where(rest == 0, 1, rest) ** gamma)
    return power * (rest + gamma * truth * surprisal(margin, classes))


# The gradient in the logits, of any Q and P


def softmax_jacobian(q: Float[ArrayLike, " classes"]) -> Float[Array, "classes classes"]:
    """J(q) = diag(q) − q qᵀ: dq/dz of the softmax, and the Fisher information in logits.

    A step dz moves the probabilities by J dz. It is the Laplacian of the complete graph with
    the weights qᵢqⱼ, and built as such: no 1 − qᵢ, so a q next to 1 costs no digits. The rows sum
    to zero, since a common offset of the logits changes nothing.

    Args:
        q: probabilities, [classes]; not checked. `jax.vmap` over many.

    Returns:
        J, symmetric, [classes, classes].

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.gradients.softmax_jacobian(jnp.array([0.5, 0.5])))
        [[ 0.25 -0.25]
         [-0.25  0.25]]
    """
    (q,) = as_floats(q)
    weights = q[:, None] * q[None, :] * (1 - jnp.eye(q.size, dtype=q.dtype))
    return jnp.diag(weights.sum(axis=1)) - weights


def cross_entropy_logit_gradient(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, " classes"]:
    """dL/dz of cross-entropy: q − p.

    −Σ pᵢ ln qᵢ = ln Σ eᶻ − p·z for a P that sums to one, and the derivative of ln Σ eᶻ is q. The
    logarithm has cancelled the Jacobian of the softmax: J (−p/q) = q − p.

    Args:
        q: probabilities, [classes]; not checked.
        p: the target, [classes]; not checked, and taken to sum to one.

    Returns:
        The gradient, [classes]. The difference of q and p is all that is computed: where they are
        equal to the last digit it has none. From logits a loss of `jaxent.losses` has them all.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q, p = jnp.array([0.25, 0.75]), jnp.array([1.0, 0.0])
        >>> print(theory.gradients.cross_entropy_logit_gradient(q, p))
        [-0.75  0.75]
    """
    q, p = as_floats(q, p)
    return q - p


def brier_score_logit_gradient(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, " classes"]:
    """dL/dz of the Brier score: 2 J(q)(q − p), 2qᵢ(rᵢ − q·r) with r = q − p.

    The gradient in the probabilities is 2(q − p), and that is what is often called the gradient
    of squared error; in the logits the Jacobian of the softmax stands before it.

    Args:
        q: probabilities, [classes]; not checked.
        p: the target, [classes]; not checked.

    Returns:
        The gradient, [classes]; it sums to zero. Divide by C for the mean squared error. `jax.vmap`
        over many. The digits are those of q − p, as in `cross_entropy_logit_gradient`.

    Example:
        The norm is never larger than that of cross-entropy; of two classes it is 4a(1 − a) of it:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> p = jnp.array([1.0, 0.0])
        >>> for a in (0.25, 2**-10):
        ...     print(theory.gradients.brier_score_logit_gradient(jnp.array([a, 1 - a]), p))
        [-0.5625  0.5625]
        [-0.00389862  0.00389862]
    """
    q, p = as_floats(q, p)
    return 2 * product(softmax_jacobian(q), q - p)


def brier_score_pushes_up(
    q: Float[ArrayLike, " classes"], label: Integer[ArrayLike, ""]
) -> Bool[Array, " classes"]:
    """Which wrong logits descent on the Brier score pushes *up*.

    With a = q_y and β = Σ_{k≠y} q_k² the gradient of a wrong logit is

        ∂S/∂zⱼ = 2 qⱼ [qⱼ + a(1 − a) − β],

    negative where qⱼ + a(1 − a) < β: a minor wrong class rises in the shadow of a major one.
    Cross-entropy pushes every wrong logit down, with qⱼ.

    Args:
        q: probabilities, [classes]; not checked.
        label: y, the class of the one-hot target; not checked.

    Returns:
        A mask, [classes]; False for the label, which is never pushed down, and for q = 0, which
        is not pushed at all.

    Example:
        The third class is as wrong as the second, and its logit is pushed up:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.gradients.brier_score_pushes_up(jnp.array([0.1, 0.8, 0.1]), label=0))
        [False False  True]
    """
    (q,) = as_floats(q)
    truth, wrong = q[label], jnp.where(jnp.arange(q.size) == label, 0, q)
    threshold = jnp.sum(wrong**2) - truth * jnp.sum(wrong)
    return (wrong > 0) & (q < threshold)
