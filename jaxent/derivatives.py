"""Whether the gradient of a loss is right.

    check_derivatives(loss, logits, targets)    how far the gradient is from everything that
                                                should equal it
    verdict(gradient, differences, …)           whether that is close enough
    without_stop_gradients(loss)                the loss whose gradient it would be without them

The first two compute in float64, with x64 enabled only inside.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Integer

from jaxent._differences import (
    central_differences,
    first,
    noise_of_values,
    rounding,
    samples,
)
from jaxent._examples import (
    Loss,
    as_examples,
    forward_mode,
    of_each_example,
    over_leading_axes,
    readings,
)


class Difference(NamedTuple):
    """The largest difference between two gradients of a loss.

    Attributes:
        absolute: |a − b| where it is largest.
        relative: the same, over the largest entry of either gradient (0 if both are zero); where
            the gradient is zero but for rounding, this is a ratio of roundings.
        entry: where that is, ``gradient[entry]``.
    """

    absolute: Float[Array | np.ndarray, ""]
    relative: Float[Array | np.ndarray, ""]
    entry: tuple[Integer[Array | np.ndarray, ""], ...]


class DerivativeCheck(NamedTuple):
    """The reverse-mode gradient of a loss, and how far from it everything is that should equal it.

    Attributes:
        gradient: ∂L/∂z by reverse mode in float64, [..., C].
        finite_difference: the difference from central differences of the values.
        forward_mode: the difference from forward mode, None where a custom_vjp leaves none.
        closed_form: the difference from the closed form, None if there was none.
        step: of the central difference where it differs most, in logits.
        uncertainty: how far the comparison with central differences can be trusted: the largest
            disagreement of two steps, plus the measured noise of the values and of the gradient.
    """

    gradient: Float[Array | np.ndarray, "*batch classes"]
    finite_difference: Difference
    forward_mode: Difference | None
    closed_form: Difference | None
    step: Float[Array | np.ndarray, ""]
    uncertainty: Float[Array | np.ndarray, ""]


def check_derivatives(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
    *,
    closed_form: Callable[[Array, Array], Array] | None = None,
) -> DerivativeCheck:
    """Show that the gradient of a loss with respect to its logits is right, or where it is not.

    Three witnesses are heard against reverse mode, all in float64: forward mode, the closed form
    if there is one, and differences of the values, which know nothing of derivative rules. Those
    are the central differences of eighth order,

        ∂L/∂zᵢ ≈ [4/5 Δ₁ − 1/5 Δ₂ + 4/105 Δ₃ − 1/280 Δ₄]/h,    Δₖ = L(z + k h eᵢ) − L(z − k h eᵢ),

    for the steps h = 1/8, 1/32, …, 1/32768; for each entry that step counts with which the two
    next smaller ones agree best. A loss of softmax agrees to about 1e-13 (times its value, if that
    is large); low temperatures and near kinks need the smaller steps, and agree to about 1e-11.
    Differences of values cannot resolve less: a gradient of 1e-20 is confirmed to be small, not
    to be right, and a difference that is no more than the `uncertainty` says nothing. Within
    0.0005 of a kink of the loss nothing agrees.

    Rounding is measured, in the values and in the reverse-mode gradient: by differences of high
    order at the smallest steps, and by the same program with every operation off by up to one unit
    in the last place. So it does not matter how a loss is written. The value of logsumexp(z) − p·z
    is a small difference of large numbers; its noise says so.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar. A loss that rounds to
            a lower precision inside is confirmed as far as that goes.
        logits: [..., C]; cast to float64.
        targets: the distribution P, of the same shape, likewise.
        closed_form: `closed_form(logits, targets)`, the gradient by formula, of one example, [C].

    Returns:
        A `DerivativeCheck` of NumPy arrays; inside a transformation of JAX arrays, rounded to
        float32 unless x64 is enabled. Its differences are the largest of all that was given: a
        small gradient among large ones is best checked by itself, or under `jax.vmap`.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, the loss does not return a scalar, or the closed form does
            not return [C].

    Example:
        That the gradient of cross-entropy is q − p:

        >>> import jax, jax.numpy as jnp
        >>> from jaxent import derivatives, losses
        >>> logits, targets = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.75, 0.0, 0.25])
        >>> check = derivatives.check_derivatives(
        ...     losses.softmax_cross_entropy, logits, targets,
        ...     closed_form=lambda z, p: jax.nn.softmax(z) - p,
        ... )
        >>> bool(check.finite_difference.relative < 1e-12), bool(check.closed_form.relative < 1e-14)
        (True, True)

        That the gradient of squared error on the softmax is not 2(q − p), as is often said:

        >>> check = derivatives.check_derivatives(
        ...     losses.softmax_brier_score, logits, targets,
        ...     closed_form=lambda z, p: 2 * (jax.nn.softmax(z) - p),
        ... )
        >>> print(check.closed_form.relative.round(2), check.finite_difference.relative.round(12))
        0.58 0.0

    References:
        B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
        Mathematics of Computation 51, 1988. J. J. Moré, S. M. Wild, Estimating Computational
        Noise, SIAM J. Sci. Comput. 33, 2011.
    """
    with jax.enable_x64(True):
        logits, targets = as_examples(logits, targets)
        logits, targets = logits.astype(jnp.float64), targets.astype(jnp.float64)
        reverse, forward, around, of_values, of_gradients = _witnesses(loss, logits, targets)
        finite_difference, step, uncertainty = _against_values(
            reverse, around, of_values, of_gradients
        )
        check = DerivativeCheck(
            gradient=reverse,
            finite_difference=finite_difference,
            forward_mode=None if forward is None else _largest_difference(reverse, forward),
            closed_form=None,
            step=step,
            uncertainty=uncertainty,
        )
        if closed_form is not None:
            formula = over_leading_axes(_checked_formula(closed_form), logits, targets)
            check = check._replace(closed_form=_largest_difference(reverse, formula))
    return readings(check)


class Verdict(NamedTuple):
    """Whether the gradients of a loss at several points are right.

    Attributes:
        right: no difference at any of the points is larger than what is allowed there.
        excess: the largest difference at each point, over what is allowed there.
        worst: the number of the point where that is largest.
    """

    right: bool
    excess: Float[np.ndarray, " points"]
    worst: int


def verdict(
    gradient: Float[ArrayLike, "points classes"],
    differences: Iterable[Float[ArrayLike, " points"]],
    uncertainty: Float[ArrayLike, " points"],
    dtype: DTypeLike = np.float64,
) -> Verdict:
    """Whether gradients are right, given how far each witness is from them.

    A gradient with the largest entry G is right if no witness is further from it than

        10⁻⁹ G + 4 u + 256 ε max G.

    Here u is the uncertainty of the central differences and ε the rounding of the loss. The
    largest entry at any of the points is max G: a gradient that is small among large ones may be
    nothing but their rounding. A difference that is NaN is too large.

    Args:
        gradient: ∂L/∂z by reverse mode at several points.
        differences: of each witness, the largest absolute difference at each point.
        uncertainty: as of a `DerivativeCheck`.
        dtype: the coarsest precision that the loss rounds to.

    Returns:
        A `Verdict`.

    Example:
        Squared error with the softmax forgotten in its gradient, at one of two points:

        >>> import numpy as np
        >>> from jaxent import derivatives
        >>> reverse, off = np.array([[0.5, -0.5], [0.1, -0.1]]), np.array([0.2, 1e-13])
        >>> print(derivatives.verdict(reverse, [off], np.array([1e-13, 1e-13])).right)
        False
    """
    largest = np.abs(gradient).max(-1)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    rounding = 256 * float(jnp.finfo(dtype).eps) * np.max(finite)
    allowed = 1e-9 * largest + 4 * np.asarray(uncertainty) + max(rounding, np.finfo(float).tiny)
    furthest = np.max([np.asarray(off) for off in differences], axis=0)
    excess = np.nan_to_num(furthest / allowed, nan=np.inf)
    return Verdict(bool(excess.max() <= 1), excess, int(excess.argmax()))


def without_stop_gradients(loss: Loss) -> Loss:
    """The same loss with the derivative of its value.

    Every `jax.lax.stop_gradient` in the loss becomes the identity, in loops and branches too. Those
    inside the rule of a `custom_jvp` or `custom_vjp` stay, since they belong to that rule.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.

    Returns:
        A loss with the same values.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxent import derivatives
        >>> def loss(logits, targets):
        ...     return jnp.sum(jax.lax.stop_gradient(logits) * logits)
        >>> z = jnp.array([1.0, 2.0])
        >>> print(jax.grad(loss)(z, z), jax.grad(derivatives.without_stop_gradients(loss))(z, z))
        [1. 2.] [2. 4.]
    """

    def unstopped(logits: Array, targets: Array) -> Array:
        traced = jax.make_jaxpr(lambda z: loss(z, targets))(logits)
        (value,) = jaxpr_as_fun(_unstopped(traced))(logits)
        return value

    return unstopped


def _unstopped(part: Any) -> Any:
    """A jaxpr, or a parameter of an equation, with every stop_gradient made a copy."""
    if isinstance(part, ClosedJaxpr):
        return part.replace(jaxpr=_unstopped(part.jaxpr))
    if isinstance(part, tuple | list):
        return type(part)(map(_unstopped, part)) if type(part) in (tuple, list) else part
    if not isinstance(part, Jaxpr):
        return part
    equations = []
    for equation in part.eqns:
        if equation.primitive.name == "stop_gradient":
            equations.append(equation.replace(primitive=jax.lax.copy_p, params={}))
        else:
            inner = {name: _unstopped(value) for name, value in equation.params.items()}
            equations.append(equation.replace(params=inner))
    return part.replace(eqns=equations)


def _witnesses(
    loss: Loss, logits: Array, targets: Array
) -> tuple[Array, Array | None, Array, Array, Array]:
    """(by reverse mode, by forward mode, values around, noise of these, noise of gradients)."""

    @jax.jit
    def witnesses(logits: Array) -> tuple[Array, Array | None, Array, Array, Array]:
        # The targets are closed over: a loss may look at those of a single example.
        centre, reverse = of_each_example(jax.value_and_grad, loss, logits, targets)
        forward = of_each_example(_forward, loss, logits, targets)
        around, of_gradients = of_each_example(samples, loss, logits, targets)
        least, least_of_gradients = of_each_example(rounding, loss, logits, targets)
        of_values = noise_of_values(around, centre, least)
        return reverse, forward, around, of_values, jnp.maximum(of_gradients, least_of_gradients)

    return witnesses(logits)


def _forward(value: Loss) -> Callable[[Array, Array], Array | None]:
    """Forward mode, or None for a loss with a custom_vjp."""
    return forward_mode(value, otherwise=lambda z, p: None)


@jax.jit
def _against_values(
    reverse: Array, around: Array, of_values: Array, of_gradients: Array
) -> tuple[Difference, Array, Array]:
    """(the largest difference from central differences, their step there, the uncertainty)."""
    central, steps, uncertainties = central_differences(around, of_values)
    difference = _largest_difference(reverse, central)
    uncertainty = jnp.max(uncertainties) + 16 * jnp.max(of_gradients)
    return difference, steps[difference.entry], uncertainty


def _checked_formula(
    closed_form: Callable[[Array, Array], Array],
) -> Callable[[Array, Array], Array]:
    def formula(z: Array, p: Array) -> Array:
        gradient = jnp.asarray(closed_form(z, p))
        if gradient.shape != z.shape:
            raise ValueError(
                f"The closed form at one example, logits and targets of shape {z.shape}, must be "
                f"a gradient of that shape, but it returned shape {gradient.shape}."
            )
        return gradient

    return formula


@jax.jit
def _largest_difference(a: Array, b: Array) -> Difference:
    differences = jnp.abs(a - b)
    largest = (differences == jnp.max(differences)) | jnp.isnan(differences)
    entry = jnp.unravel_index(first(largest.ravel(), axis=0), differences.shape)
    absolute = differences[entry]
    scale = jnp.maximum(jnp.max(jnp.abs(a)), jnp.max(jnp.abs(b)))
    return Difference(absolute, absolute / jnp.where(scale == 0, 1.0, scale), entry)
