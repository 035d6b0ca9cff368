"""How a loss curves.

The Hessian of a loss with respect to its logits says how long a step may be, how fast the last
stretch to the optimum is, and whether there is a way down at all that a quadratic model sees.
With q = softmax(z), r = q − p and J = diag(q) − q qᵀ,

    cross-entropy    J                  positive semidefinite whatever the target
    Brier score      2J² at the optimum q = p, and away from it not even that

so that whatever condition number κ cross-entropy has at its optimum, the Brier score has κ².
The direction (1, …, 1), which softmax does not feel, is flat for every loss of probabilities;
`eigenvalues` leaves it out.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent._examples import Loss, as_examples, of_each_example, second_derivative, sum_zero_basis


def hessian(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes classes"]:
    """The second derivatives of a loss with respect to the logits.

        Hᵢⱼ = ∂²L/∂zᵢ∂zⱼ

    For cross-entropy H = J = diag(q) − q qᵀ: the target has no part in it, the loss is convex, and
    no eigenvalue exceeds ½. For the Brier score, with r = q − p,

        vᵀH v = 2 Σₖ qₖ dₖ wₖ²,        dₖ = 2qₖ − pₖ − q·r,    w = v − (q·v)1,

    and dₖ may be negative: with a one-hot target H is positive semidefinite wherever the truth
    has q ≥ ½ and nowhere where it has q < ⅓. Between these it depends on how the rest is spread.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar, twice differentiable.
        logits: [..., C], floating point of any precision, which is also the result's.
        targets: the distribution P, of the same shape. That it sums to one is not checked.

    Returns:
        H, [..., C, C].

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, or the loss does not return a scalar.

    Example:
        A mistake, the truth being class 0: cross-entropy is a valley there, while the Brier score
        curves downwards, as it must where it comes from a plateau.

        >>> import jax.numpy as jnp
        >>> from jaxent import curvature, losses
        >>> mistake, truth = jnp.array([0.0, 3.0]), jnp.array([1.0, 0.0])
        >>> print(curvature.hessian(losses.softmax_cross_entropy, mistake, truth).round(3))
        [[ 0.045 -0.045]
         [-0.045  0.045]]
        >>> print(curvature.hessian(losses.softmax_brier_score, mistake, truth).round(3))
        [[-0.148  0.148]
         [ 0.148 -0.148]]
    """
    logits, targets = as_examples(logits, targets)
    return of_each_example(second_derivative, loss, logits, targets)


def eigenvalues(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes-1"]:
    """The curvatures of a loss in the C − 1 directions of the logits that can change q.

        the eigenvalues of BᵀH B,        BᵀB = 1,  Bᵀ(1, …, 1) = 0

    H is the Hessian with respect to the logits, and the columns of B are an orthonormal basis of
    the vectors that sum to zero. For a loss of q = softmax(z) these are the eigenvalues of H but
    for one, the 0 along (1, …, 1) that softmax does not feel. For a loss that reads raw logits
    they are its curvatures within the plane Σ z = const.

    The largest eigenvalue λ that is met bounds the step of descent by 2/λ: it is at most ½ for
    cross-entropy, and for the Brier score of two classes (39 + 55√33)/576 = 0.616. The ratio of
    the largest to the smallest at an optimum is its condition number. At the uniform
    start with a one-hot target cross-entropy has C − 1 times 1/C; the Brier score has C − 2 times
    4/C² and once 2(3 − C)/C². This last one belongs to the direction in which q has to travel, and
    is negative for C ≥ 4.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar, twice differentiable.
        logits: [..., C]. Half precision is decomposed in float32.
        targets: the distribution P, of the same shape. That it sums to one is not checked.

    Returns:
        The eigenvalues, ascending, [..., C − 1], each to within rounding of the *largest*: what
        is smaller than that by a factor of 1e7 in float32 or 1e16 in float64 has no digits.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, or the loss does not return a scalar.

    Example:
        Ten classes, at the start: cross-entropy is a round bowl, the Brier score a saddle.

        >>> import jax.numpy as jnp
        >>> from jaxent import curvature, losses
        >>> start, truth = jnp.zeros(10), jnp.zeros(10).at[0].set(1.0)
        >>> print(curvature.eigenvalues(losses.softmax_cross_entropy, start, truth).round(3))
        [0.1 0.1 0.1 0.1 0.1 0.1 0.1 0.1 0.1]
        >>> print(curvature.eigenvalues(losses.softmax_brier_score, start, truth).round(3))
        [-0.14  0.04  0.04  0.04  0.04  0.04  0.04  0.04  0.04]
    """
    logits, targets = as_examples(logits, targets)
    return _eigenvalues_across_shifts(of_each_example(second_derivative, loss, logits, targets))


@jax.jit
def _eigenvalues_across_shifts(hessians: Array) -> Array:
    dtype = jnp.promote_types(hessians.dtype, jnp.float32)
    basis = jnp.asarray(sum_zero_basis(hessians.shape[-1]), dtype)
    # Left to itself, an accelerator multiplies float32 matrices in fewer digits.
    restricted = jnp.einsum(
        "ia,...ij,jb->...ab", basis, hessians.astype(dtype), basis, precision="highest"
    )
    return jnp.linalg.eigvalsh(restricted).astype(hessians.dtype)
