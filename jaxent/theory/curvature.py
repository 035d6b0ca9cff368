"""How a loss is curved in the logits, and what step sizes that allows near an interior P."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxent.theory._arrays import as_floats
from jaxent.theory.gradients import softmax_jacobian

# The largest second derivative of each loss, over all logits and P and in every direction of unit
# length: gradient descent with η < 2/L never raises the loss. Cross-entropy of a softmax, for any
# C, is J(q) at two classes of ½ each; of a sigmoid, σ(1 − σ) at ½.
CROSS_ENTROPY_SMOOTHNESS = 1 / 2
BINARY_CROSS_ENTROPY_SMOOTHNESS = 1 / 4

# Of the Brier score the largest and the least, both at two classes and p one-hot, where
# d²S/dg² = 4a(1 − a)²(3a − 1) of the gap g is stationary at 12a² − 9a + 1 = 0, and a direction of
# unit length moves the gap by √2. More than two classes were searched, and do not go beyond.
# On one sigmoid logit (σ − y)² is half of S, and a unit of it is a unit of the gap.
BRIER_SCORE_SMOOTHNESS = (39 + 55 * 33**0.5) / 576
BRIER_SCORE_LEAST_CURVATURE = (39 - 55 * 33**0.5) / 576
SIGMOID_SQUARED_ERROR_SMOOTHNESS = BRIER_SCORE_SMOOTHNESS / 4


def _brier_score_curvatures(q: Array, p: Array) -> Array:
    """d in vᵀ(Hess S)v = 2 Σ qₖ dₖ wₖ², w = v − (q·v)1: dₖ = 2qₖ − pₖ − q·(q − p)."""
    return 2 * q - p - jnp.sum(q * (q - p))


def brier_score_hessian(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Float[Array, "classes classes"]:
    """d²L/dz² of the Brier score, of any Q and P.

        vᵀHv = 2 Σₖ qₖ dₖ wₖ²,   dₖ = 2qₖ − pₖ − s,   s = q·(q − p),   w = v − (q·v)1

    Along v the softmax moves by q∘w, and next by q∘(w² − Σ qw²); put both into the second
    derivative of Σ (qᵢ − pᵢ)². Outside the diagonal Hᵢⱼ = −2qᵢqⱼ(dᵢ + dⱼ − Σ q²). At Q = P it is
    2J², elsewhere it may have negative eigenvalues: see `brier_score_is_convex`.

    Args:
        q: probabilities, [classes]; not checked, and taken to sum to one.
        p: the target, [classes]; not checked.

    Returns:
        H, symmetric, [classes, classes]; its rows sum to zero. Divide by C for the mean squared
        error. `jax.vmap` over many. Errors are roundings of the largest qᵢqⱼ; where Q is
        sure of itself differentiate a loss of `jaxent.losses` by the logits instead.

    Example:
        Confident mistakes lie where the loss is concave:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q, p = jnp.array([0.25, 0.75]), jnp.array([1.0, 0.0])
        >>> print(theory.curvature.brier_score_hessian(q, p))
        [[-0.140625  0.140625]
         [ 0.140625 -0.140625]]
    """
    q, p = as_floats(q, p)
    d = _brier_score_curvatures(q, p)
    pairs = 2 * q[:, None] * q[None, :] * (d[:, None] + d[None, :] - jnp.sum(q**2))
    pairs = pairs * (1 - jnp.eye(q.size, dtype=q.dtype))
    return jnp.diag(pairs.sum(axis=1)) - pairs


def brier_score_is_convex(
    q: Float[ArrayLike, " classes"], p: Float[ArrayLike, " classes"]
) -> Bool[Array, ""]:
    """Whether the Hessian of the Brier score in the logits has no negative eigenvalue.

    In the terms of `brier_score_hessian` the quadratic form 2 Σ qₖ dₖ wₖ² lives on q·w = 0. It is
    nowhere negative if all dₖ ≥ 0, or if exactly one is negative and

        Σₖ qₖ/dₖ ≤ 0

    (Finsler's lemma: one negative square may be outweighed along the hyperplane, two may not). For
    a one-hot target: never below a = 1/3, always from a = ½ on, and in between it depends on how
    the wrong mass is spread.

    Args:
        q: probabilities, [classes]; not checked, and taken to sum to one. Classes of q = 0 have
            no part in it.
        p: the target, [classes]; not checked.

    Returns:
        A truth value; within rounding of the boundary it may be either.

    Example:
        At a = 0.35, wrong mass on one class, even on two, and nearly all on one:

        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> truth = jnp.array([1.0, 0.0, 0.0])
        >>> for wrong in ((0.65, 0.0), (0.325, 0.325), (0.6, 0.05)):
        ...     print(theory.curvature.brier_score_is_convex(jnp.array([0.35, *wrong]), truth))
        True
        True
        False
    """
    q, p = as_floats(q, p)
    d = _brier_score_curvatures(q, p)
    negative = jnp.sum((q > 0) & (d < 0))
    # A zero beside a negative one lets w pay the constraint for nothing: the sum is +∞.
    terms = jnp.where(d == 0, jnp.inf, q / jnp.where(d == 0, 1, d))
    outweighed = jnp.sum(jnp.where(q > 0, terms, 0)) <= 0
    return (negative == 0) | ((negative == 1) & outweighed)


class UniformEigenvalues(NamedTuple):
    """The eigenvalues of the Hessian on 1⊥ at a uniform Q, for a one-hot target.

    Attributes:
        along: of the direction that raises the truth over all others alike; once.
        sideways: of the directions that exchange wrong classes; C − 2 times.
    """

    along: Float[Array, "..."]
    sideways: Float[Array, "..."]


def brier_score_uniform_eigenvalues(num_classes: ArrayLike) -> UniformEigenvalues:
    """The eigenvalues of the Hessian of the Brier score at the uniform start: 2(3 − C)/C² and 4/C².

    There q·(q − p) = 0, so d = 2/C for the wrong classes and 2/C − 1 for the truth, in the terms
    of `brier_score_hessian`. From four classes on the loss is concave in exactly the direction
    that descent has to go. Cross-entropy has 1/C in every direction.

    Args:
        num_classes: C ≥ 2; not checked.

    Returns:
        Both eigenvalues. Divide by C for the mean squared error.

    Example:
        >>> from jaxent import theory
        >>> for classes in (2, 3, 10):
        ...     print(f"{theory.curvature.brier_score_uniform_eigenvalues(classes).along:.3f}")
        0.500
        0.000
        -0.140
    """
    (classes,) = as_floats(num_classes)
    return UniformEigenvalues(along=2 * (3 - classes) / classes**2, sideways=4 / classes**2)


# The fit near an interior P


def _softmax_jacobian_eigenvalues(q: Float[ArrayLike, " classes"]) -> Float[Array, " classes-1"]:
    """The eigenvalues of J(q) = diag(q) − q qᵀ on 1⊥, ascending.

    On 1⊥, the directions that change q. The last eigenvalue, 0, belongs to the common offset and
    is left out. The others lie between the sorted qᵢ, one in each gap (Cauchy's interlacing).
    """
    return jnp.linalg.eigvalsh(softmax_jacobian(q))[1:]


class BestFixedStep(NamedTuple):
    """The best fixed step of gradient descent near a minimum, and how fast it goes.

    λ are the eigenvalues of the Hessian at the minimum, on 1⊥.

    Attributes:
        learning_rate: η = 2/(λmin + λmax).
        rate: the factor (κ − 1)/(κ + 1) of the error from one step to the next.
        condition_number: κ = λmax/λmin.
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
            at infinity, and the result means nothing.

    Returns:
        Learning rate, rate and condition number κ of J(p) on 1⊥. The errors of the eigenvalues are
        a few units of rounding *of the largest*: where P spans six decades, float32 has no digit
        left of the smallest. Then call this under ``jax.enable_x64(True)``.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.curvature.cross_entropy_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.2f} {best.rate:.4f}")
        11.51 0.8402

    References:
        Polyak, Introduction to Optimization (1987), §1.4: the quadratic case.
    """
    return _best_fixed_step(_softmax_jacobian_eigenvalues(p))


def brier_score_best_fixed_step(p: Float[ArrayLike, " classes"]) -> BestFixedStep:
    """The best fixed step of descent on the Brier score in the logits, near an interior P.

    At Q = P the Hessian is 2J(p)²: every eigenvalue is squared, and with them the condition
    number. Descent on the Brier score takes about κ times the steps of cross-entropy, each at
    its own best step.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked. With a zero the minimum is
            at infinity, and the result means nothing.

    Returns:
        Learning rate, rate and condition number κ² of 2J(p)² on 1⊥. Multiply the learning rate
        by C for the mean squared error. For the precision see `cross_entropy_best_fixed_step`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> best = theory.curvature.brier_score_best_fixed_step(jnp.array([0.90, 0.09, 0.01]))
        >>> print(f"{best.condition_number:.1f} {best.rate:.4f}")
        132.6 0.9850
    """
    return _best_fixed_step(2 * _softmax_jacobian_eigenvalues(p) ** 2)


def cross_entropy_largest_step(p: Float[ArrayLike, " classes"]) -> Float[Array, ""]:
    """The step size past which descent on cross-entropy leaves an interior P: 2/λmax(J).

    Near Q = P a step multiplies the error along an eigenvector by 1 − ηλ, and 1 − ηλmax < −1 from
    there on. Never below 4, that is 2/L: λmax is at most ½, with two classes of ½ each.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked.

    Returns:
        η, with all its digits, as it is of the largest eigenvalue; infinite for a one-hot P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(theory.curvature.cross_entropy_largest_step(jnp.array([0.5, 0.5])))
        4.0
    """
    return 2 / _softmax_jacobian_eigenvalues(p)[-1]


def brier_score_largest_step(p: Float[ArrayLike, " classes"]) -> Float[Array, ""]:
    """The step size past which descent on the Brier score leaves an interior P: 1/λmax(J)².

    The Hessian at Q = P is 2J², and 2/(2λ²) = 1/λ². Never below 4, and far more for a sure P; but
    away from P the curvature may be greater, up to `BRIER_SCORE_SMOOTHNESS`, and a step that holds
    near P need not come there.

    Args:
        p: probabilities, [classes], all positive, C ≥ 2; not checked.

    Returns:
        η; infinite for a one-hot P. Multiply by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> print(f"{theory.curvature.brier_score_largest_step(jnp.array([0.9, 0.1])):.2f}")
        30.86
    """
    return 1 / _softmax_jacobian_eigenvalues(p)[-1] ** 2


def cross_entropy_two_cycle_gap(learning_rate: ArrayLike) -> Float[Array, "..."]:
    """Where descent on cross-entropy with p = (½, ½) settles past its largest step, 4.

    A step takes the gap g of the two logits to g − η tanh(g/2). Past η = 4 it no longer comes to
    0, nor does it diverge: it jumps for ever between g and −g, which solve

        |g| = (η/2) tanh(|g|/2).

    Near 4 that is √(12(η/4 − 1)), and far beyond it η/2. Each step multiplies the distance to
    the cycle by 1 − (η/2)/cosh²(g/2): never beyond ±1, so that the cycle attracts for every
    η > 4, but at η = 20 already 0.998.

    Args:
        learning_rate: η of plain gradient descent.

    Returns:
        |g|, in logits; 0 up to η = 4.

    Example:
        >>> from jaxent import theory
        >>> for rate in (4.0, 5.0, 20.0):
        ...     print(f"{theory.curvature.cross_entropy_two_cycle_gap(rate):.4f}")
        0.0000
        1.7760
        9.9991
    """
    (learning_rate,) = as_floats(learning_rate)
    cycles = learning_rate > 4
    slope = jnp.where(cycles, learning_rate, 5) / 4
    # x = slope · tanh x. Newton's rule from where 1 + x²/3, which bounds x coth x, is the slope:
    # the function is convex, so that after the first step it comes down to the root from above.
    x = jnp.sqrt(3 * (slope - 1))
    for _ in range(6):
        tanh = jnp.tanh(x)
        x = x - (x - slope * tanh) / (1 - slope * (1 - tanh) * (1 + tanh))
    return jnp.where(cycles, 2 * x, 0)


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
        >>> steps = theory.curvature.steps_to_shrink_error(condition_number=100.0, factor=1e6)
        >>> print(f"{steps:.1f}")
        690.8
    """
    condition_number, factor = as_floats(condition_number, factor)
    return jnp.log(factor) / (2 * jnp.arctanh(1 / condition_number))
