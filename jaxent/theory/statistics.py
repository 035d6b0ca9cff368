"""What a loss makes of the data: noisy labels, and how many examples, not how many steps."""

import math

import jax.numpy as jnp
from jax import Array
from jax.scipy import special
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent.theory._arrays import as_floats
from jaxent.theory._quadrature import integral


def brier_score_over_all_labels(q: Float[ArrayLike, "... classes"]) -> Float[Array, "..."]:
    """Σᵢ S(q, eᵢ), the Brier score summed over every label: C − 2 + C Σ q².

    Between C − 1 for a uniform Q and 2C − 2 for a sure one. A loss for which this sum is constant
    is called symmetric, and is least at the same Q under any rate of uniform label noise below
    (C − 1)/C. Mean absolute error is, with 2(C − 1)/C. The Brier score is bounded, and not
    symmetric: noise asks it for a Q that is less sure.

    Args:
        q: probabilities, [..., classes]; not checked, and taken to sum to one.

    Returns:
        The sum, one value for each Q. Divide by C for the mean squared error.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import theory
        >>> q = jnp.array([[0.25] * 4, [1.0, 0.0, 0.0, 0.0]])
        >>> print(theory.statistics.brier_score_over_all_labels(q))
        [3. 6.]

    References:
        A. Ghosh, H. Kumar, P. S. Sastry, Robust Loss Functions under Label Noise for Deep Neural
        Networks, AAAI 2017.
    """
    (q,) = as_floats(q)
    classes = q.shape[-1]
    return classes - 2 + classes * jnp.sum(q**2, axis=-1)


def logistic_relative_efficiency(distance: ArrayLike) -> Float[Array, "..."]:
    """The efficiency of logistic regression relative to normal discrimination, on normal classes.

        ARE(Δ) = (1 + Δ²/4) e^{−Δ²/8} ∫ φ(x) / cosh(Δx/2) dx,        φ the normal density

    Two normal classes of the same covariance and equal prior probabilities, whose means are Δ
    standard deviations apart. Linear discriminant analysis, which is least squares on the labels,
    uses that they are normal; logistic regression, that is cross-entropy, does not, and its excess
    error with many examples n is that of discriminant analysis with n · ARE.

    Args:
        distance: Δ ≥ 0, Mahalanobis' distance of the means; not checked.

    Returns:
        ARE, in (0, 1], by quadrature, in float64 right to 1e-12.

    Example:
        The better the classes are separated, the more cross-entropy throws away:

        >>> from jaxent import theory
        >>> for distance in (1.0, 2.0, 3.0, 4.0):
        ...     print(f"{theory.statistics.logistic_relative_efficiency(distance):.4f}")
        0.9949
        0.8992
        0.6410
        0.3430

    References:
        B. Efron, The Efficiency of Logistic Regression Compared to Normal Discriminant Analysis,
        1975.
    """
    (distance,) = as_floats(distance)
    # Where x²/2 + Δx/2 = 40 nothing is left to add: e⁻⁴⁰ is beyond float64.
    end = 80 / (distance / 2 + jnp.sqrt(distance**2 / 4 + 80))

    def integrand(x: Array) -> Array:
        decay = jnp.exp(-(x**2) / 2 - distance * x / 2)
        return decay / (1 + jnp.exp(-distance * x))

    normal = 4 / math.sqrt(2 * math.pi)
    return (1 + distance**2 / 4) * jnp.exp(-(distance**2) / 8) * normal * integral(integrand, end)


def least_squares_error_rate(signal: ArrayLike, aspect_ratio: ArrayLike) -> Float[Array, "..."]:
    """How often least squares errs on two normal classes of high dimension: Q(r²√(1−γ)/√(r²+γ)).

    Means ±μ with |μ| = r, unit covariance, equal prior probabilities, n examples in d dimensions,
    and the limit of n → ∞ with d/n → γ. Q is the tail of the normal distribution; with γ = 0 it
    is Bayes' Q(r). Least squares finds the weights w = S⁻¹ū up to a factor, ū the mean of the
    examples signed by their labels, with |ū|² → r² + γ, and S their covariance, independent of ū.
    The means of S⁻¹ and S⁻² come to 1/(1 − γ) and 1/(1 − γ)³, hence μ·w → r²/(1 − γ) and
    |w|² → (r² + γ)/(1 − γ)³, and the error is Q(μ·w/|w|).

    Args:
        signal: r ≥ 0, half the distance of the means in standard deviations; not checked.
        aspect_ratio: γ = d/n in [0, 1), broadcast with the signal; not checked.

    Returns:
        The probability of error on a new example, with all its digits in the tail.

    Example:
        With two examples a dimension an error of 2.3 % becomes one of 9.1 %:

        >>> from jaxent import theory
        >>> for ratio in (0.0, 0.5):
        ...     print(f"{theory.statistics.least_squares_error_rate(2.0, ratio):.4f}")
        0.0228
        0.0912

    References:
        S. Raudys, On determining training sample size of linear classifier, 1967; for the limit
        C. Wang, B. Jiang, On the dimension effect of regularized linear discriminant analysis,
        Electronic Journal of Statistics, 2018.
    """
    signal, ratio = as_floats(signal, aspect_ratio)
    distance = signal**2 * jnp.sqrt(1 - ratio) / jnp.sqrt(signal**2 + ratio)
    return special.erfc(distance / math.sqrt(2)) / 2
