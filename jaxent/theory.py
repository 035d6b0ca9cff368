"""The closed forms that measurements are held to.

Everything here is about one example with a one-hot target on the class y, unless a P is named.
Write a = q_y for the probability of the truth, C for the number of classes, K = C − 1 for the
wrong ones, and say that the truth stands a *margin* m behind every wrong logit:

    z_j − z_y = m  for every j ≠ y,        a = 1/(1 + K eᵐ),        1 − a = K/(K + e⁻ᵐ).

m > 0 is a confident mistake, m = 0 a tie (a = 1/C), m < 0 a right answer. The margin is the
argument of these functions, because p_true is not enough of a number: in float32 everything
right from 1 − a = 3e-8 on is a = 1, while m still tells 1 − a = 1e-30 from 1e-31.

Wrong mass on *one* wrong class is the case ``num_classes=2`` of every formula: the other classes,
at probability 0, have no part in it.

The scales are those of `jaxent.losses`, without hidden ½. Cross-entropy in nats,
−ln q_y; Brier score Σᵢ (qᵢ − pᵢ)², a *sum* over the classes; squared error on raw logits
Σᵢ (zᵢ − pᵢ)². The mean squared error on the softmax is the Brier score over C: its gradient
norms are those of the Brier score divided by C, its escape times are multiplied by C, and a
step η on it is a step η/C on the Brier score.

Results have the dtype of the first argument. In float32 what is below 1.2e-38 becomes 0, and eᵐ
overflows from m = 88.7 on.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float


def _as_floats(first: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """All of them as arrays in the dtype of the first, or the default one if that is no float."""
    first = jnp.asarray(first)
    dtype = jnp.result_type(first, float)
    return tuple(jnp.asarray(x, dtype) for x in (first, *others))


def _truth_and_rest(margin: Array, classes: Array) -> tuple[Array, Array]:
    """a and 1 − a, both with all their digits: the softmax of (0, m) where m stands K times."""
    # The shift cancels in both quotients, so its derivative is left out.
    shift = lax.stop_gradient(jnp.maximum(margin, 0))
    truth = jnp.exp(-shift)
    rest = (classes - 1) * jnp.exp(margin - shift)
    return truth / (truth + rest), rest / (truth + rest)


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
        >>> print(theory.true_class_probability(0.0, num_classes=4))
        0.25
        >>> print(f"{theory.true_class_probability(3.0, num_classes=2):.4f}")
        0.0474
    """
    truth, _ = _truth_and_rest(*_as_floats(margin, num_classes))
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
        >>> print(f"{theory.cross_entropy_gradient_norm(20.0, num_classes=2):.4f}")
        1.4142
    """
    margin, classes = _as_floats(margin, num_classes)
    _, rest = _truth_and_rest(margin, classes)
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
        ...     print(f"{theory.brier_score_gradient_norm(margin, num_classes=2):.2e}")
        7.07e-01
        3.74e-02
        1.17e-08
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
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
        ...     print(f"{theory.gradient_norm_ratio(margin, num_classes=2):.5f}")
        0.00049
        1.00000
        0.00049
    """
    margin, classes = _as_floats(margin, num_classes)
    truth, rest = _truth_and_rest(margin, classes)
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
        >>> print(f"{theory.largest_brier_score_gradient_norm(num_classes=2):.4f}")
        0.8381
    """
    (classes,) = _as_floats(num_classes)
    return 8 / 27 * (classes / (classes - 1)) ** 1.5


def cross_entropy_escape_time(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on cross-entropy makes up a margin m: linear in m.

        T = [1 − e⁻ᵐ + K m] / C

    Under z′ = −dL/dz the gap g = z_y − z_j grows at g′ = (1 − a) C/K, and 1/(1 − a) =
    (K + e^g)/K; integrate dg/g′ from −m to 0.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps.

    Example:
        Two more logits of confidence cost two more units of time, times K/C:

        >>> from jaxent import theory
        >>> later = theory.cross_entropy_escape_time(12.0, num_classes=2)
        >>> print(f"{later - theory.cross_entropy_escape_time(10.0, num_classes=2):.3f}")
        1.000
    """
    margin, classes = _as_floats(margin, num_classes)
    return ((classes - 1) * margin - jnp.expm1(-margin)) / classes


def brier_score_escape_time(margin: ArrayLike, num_classes: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on the Brier score makes up a margin m: exponential in m.

        T = [½(1 − e⁻²ᵐ) + 3K(1 − e⁻ᵐ) + 3K² m + K³(eᵐ − 1)] / (2C²)

    The gap g = z_y − z_j grows at g′ = 2a(1 − a)² (C/K)², and K²/(a(1 − a)²) = (K + e^g)³ e^{−g};
    integrate dg/g′ from −m to 0.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.

    Returns:
        T, from the start to the tie, in units of learning rate × steps. Multiply by C for the
        mean squared error.

    Example:
        Two more logits of confidence multiply the time by nearly e²:

        >>> from jaxent import theory
        >>> later = theory.brier_score_escape_time(12.0, num_classes=2)
        >>> print(f"{later / theory.brier_score_escape_time(10.0, num_classes=2):.2f}")
        7.38
    """
    margin, classes = _as_floats(margin, num_classes)
    wrong = classes - 1
    # K² taken out: K³ eᵐ would overflow long before T does.
    return (
        (wrong / classes) ** 2
        / 2
        * (
            -jnp.expm1(-2 * margin) / (2 * wrong**2)
            - 3 * jnp.expm1(-margin) / wrong
            + 3 * margin
            + wrong * jnp.expm1(margin)
        )
    )


def logit_squared_error_escape_time(margin: ArrayLike) -> Float[Array, "..."]:
    """The time in which gradient flow on Σᵢ (zᵢ − pᵢ)² makes up a margin m: ½ ln(1 + m).

    Without a softmax nothing saturates. The gap g = z_y − z_j obeys g′ = −2(g − 1), whatever the
    number of classes, the other logits and the common offset of all of them: 1 − g = (1 + m) e⁻²ᵗ.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind the highest wrong logit.

    Returns:
        T, from the start to the tie, in units of learning rate × steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.logit_squared_error_escape_time(10.0):.3f}")
        1.199
    """
    (margin,) = _as_floats(margin)
    return jnp.log1p(margin) / 2


def cross_entropy_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on cross-entropy makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = (K + e⁻ᵐ)/C

    f is the speed of the gap under the flow, f₀ at the start and f₁ at the tie. Descent is Euler's
    rule for the flow, and its points lie on the flow of the speed f − ½ η f f′ + O(η²) (the
    modified equation); dn = dg (1 + ½ η f′ + …)/(η f) integrates to T/η and the logarithm.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.01 for η ≤ 0.1.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.cross_entropy_escape_steps(8.0, num_classes=2, learning_rate=0.1):.1f}")
        44.7
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    correction = jnp.log1p(jnp.expm1(-margin) / classes) / 2
    return cross_entropy_escape_time(margin, classes) / learning_rate + correction


def brier_score_escape_steps(
    margin: ArrayLike, num_classes: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on the Brier score makes up a margin m.

        N = T/η + ½ ln(f₁/f₀) + O(η),        f₁/f₀ = eᵐ [(K + e⁻ᵐ)/C]³

    The same correction as in `cross_entropy_escape_steps`, with the speed of the Brier score.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind every wrong logit.
        num_classes: C ≥ 2, broadcast with the margin. Not checked.
        learning_rate: η of plain gradient descent, small: N is right to 0.02 for η ≤ 0.1. For
            the mean squared error pass η/C.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps.

    Example:
        The same mistake and the same step size as in `cross_entropy_escape_steps`:

        >>> from jaxent import theory
        >>> print(f"{theory.brier_score_escape_steps(8.0, num_classes=2, learning_rate=0.1):.1f}")
        3762.3
    """
    margin, classes, learning_rate = _as_floats(margin, num_classes, learning_rate)
    correction = (margin + 3 * jnp.log1p(jnp.expm1(-margin) / classes)) / 2
    return brier_score_escape_time(margin, classes) / learning_rate + correction


def logit_squared_error_escape_steps(
    margin: ArrayLike, learning_rate: ArrayLike
) -> Float[Array, "..."]:
    """The number of steps in which gradient descent on Σᵢ (zᵢ − pᵢ)² makes up a margin m: exact.

    The recurrence is linear: 1 − gₙ = (1 + m) rⁿ, r = 1 − 2η. With n the last step at which the
    truth is still behind, n = ⌊ln(1 + m) / (−ln r)⌋, the line from gₙ to gₙ₊₁ crosses zero at

        N = n + [(1 + m) rⁿ − 1] / [2η (1 + m) rⁿ].

    From η = ½ on, one step is enough.

    Args:
        margin: m ≥ 0, in logits: the truth starts m behind the highest wrong logit.
        learning_rate: η > 0 of plain gradient descent, of any size.

    Returns:
        N, a real number: the crossing is interpolated linearly between two steps, as the
        measurement does it.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.logit_squared_error_escape_steps(8.0, learning_rate=0.1):.1f}")
        9.9
    """
    margin, learning_rate = _as_floats(margin, learning_rate)
    shrink = jnp.minimum(2 * learning_rate, 1)
    behind = lax.stop_gradient(jnp.floor(jnp.log1p(margin) / -jnp.log1p(-shrink)))
    distance = (1 + margin) * (1 - shrink) ** behind
    return behind + (distance - 1) / (2 * learning_rate * distance)


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
        >>> print(theory.softmax_jacobian(jnp.array([0.5, 0.5])))
        [[ 0.25 -0.25]
         [-0.25  0.25]]
    """
    (q,) = _as_floats(q)
    weights = q[:, None] * q[None, :] * (1 - jnp.eye(q.size, dtype=q.dtype))
    return jnp.diag(weights.sum(axis=1)) - weights


def softmax_jacobian_eigenvalues(q: Float[ArrayLike, " classes"]) -> Float[Array, " classes-1"]:
    """The eigenvalues of J(q) = diag(q) − q qᵀ on 1⊥, ascending.

    On 1⊥, the directions that change q. The last eigenvalue, 0, belongs to the common offset and
    is left out. The others lie between the sorted qᵢ, one in each gap (Cauchy's interlacing).

    Args:
        q: probabilities, [classes], C ≥ 2; not checked.

    Returns:
        C − 1 eigenvalues, ascending. Their errors are a few units of rounding *of the largest*:
        where q spans six decades, float32 has no digit left of the smallest. Then call this under
        ``jax.enable_x64(True)``.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.softmax_jacobian_eigenvalues(jnp.full(3, 1 / 3)).round(4))
        [0.3333 0.3333]
    """
    return jnp.linalg.eigvalsh(softmax_jacobian(q))[1:]


class BestFixedStep(NamedTuple):
    """The best fixed step of gradient descent near a minimum, and how fast it goes.

    Attributes:
        learning_rate: η = 2/(λmin + λmax).
        rate: the factor (κ − 1)/(κ + 1) of the error from one step to the next.
        condition_number: κ = λmax/λmin.

    λ are the eigenvalues of the Hessian at the minimum, on 1⊥.
    """

    learning_rate: Float[Array, ""]
    rate: Float[Array, ""]
    condition_number: Float[Array, ""]


def _best_fixed_step(eigenvalues: Float[Array, " directions"]) -> BestFixedStep:
    smallest, largest = eigenvalues[0], eigenvalues[-1]
    return BestFixedStep(
        learning_rate=2 / (smallest + largest),
        rate=(largest - smallest) / (largest + smallest),
        condition_number=largest / smallest,
    )


def cross_entropy_best_fixed_step(p: Float[ArrayLike, " classes"]) -> BestFixedStep:
    """The best fixed step of descent on cross-entropy in the logits, near an interior P.

    At Q = P the Hessian is J(p). A step multiplies the error along an eigenvector by 1 − ηλ; the
    largest of these is smallest when the two ends balance, 1 − ηλmin = ηλmax − 1.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. With a zero the minimum is
            at infinity, and the result means nothing. See `softmax_jacobian_eigenvalues` for the
            precision.

    Returns:
        Learning rate, rate and condition number κ of J(p) on 1⊥.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.cross_entropy_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.2f} {best.rate:.4f}")
        11.51 0.8402

    References:
        Polyak, Introduction to Optimization (1987), §1.4: the quadratic case.
    """
    return _best_fixed_step(softmax_jacobian_eigenvalues(p))


def brier_score_best_fixed_step(p: Float[ArrayLike, " classes"]) -> BestFixedStep:
    """The best fixed step of descent on the Brier score in the logits, near an interior P.

    At Q = P the Hessian is 2J(p)²: every eigenvalue is squared, and with them the condition
    number. Descent on the Brier score takes about κ times the steps of cross-entropy, each at
    its own best step.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. With a zero the minimum is
            at infinity, and the result means nothing. See `softmax_jacobian_eigenvalues` for the
            precision.

    Returns:
        Learning rate, rate and condition number κ² of 2J(p)² on 1⊥. Multiply the learning rate
        by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.brier_score_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.1f} {best.rate:.4f}")
        132.6 0.9850
    """
    return _best_fixed_step(2 * softmax_jacobian_eigenvalues(p) ** 2)


def steps_to_shrink_error(condition_number: ArrayLike, factor: ArrayLike) -> Float[Array, "..."]:
    """The number of best fixed steps that divide the error by a factor: ln(factor)/(2 artanh(1/κ)).

    Each step multiplies the error by (κ − 1)/(κ + 1), whose logarithm is −2 artanh(1/κ) ≈ −2/κ;
    written so, a rate that rounds to 1 still has its digits.

    Args:
        condition_number: κ ≥ 1, that of the Hessian: κ(J) for cross-entropy, κ(J)² for the Brier
            score.
        factor: the error at the start over the error at the end, ≥ 1.

    Returns:
        The number of steps, not rounded; 0 for κ = 1, where the first step of a quadratic hits.
        It is the count for an error that lies in the slowest directions, which every error
        comes to: others are ahead of it by a constant.

    Example:
        >>> from jaxent import theory
        >>> print(f"{theory.steps_to_shrink_error(condition_number=100.0, factor=1e6):.1f}")
        690.8
    """
    condition_number, factor = _as_floats(condition_number, factor)
    return jnp.log(factor) / (2 * jnp.arctanh(1 / condition_number))
