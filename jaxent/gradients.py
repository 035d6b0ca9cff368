"""Where a loss pushes.

Any ``loss(logits, targets)`` goes in. Its gradient comes out in each of the spaces that "the
gradient" may mean, and they are not the same thing. With z the logits, q = softmax(z) and
J = diag(q) − q qᵀ the Jacobian of softmax,

    logit_gradient      g = ∂L/∂z            what reaches the network
    tangent_gradient    g/q − mean(g/q)      the slope over the probabilities themselves
    simplex_velocity    −J g                 how the probabilities move when the logits descend

Cross-entropy and the Brier score differ only by J: g is q − p for the one and 2J(q − p) for the
other. J vanishes wherever q is sure of itself, so the Brier score hardly pushes there, at a wrong
answer as little as at a right one.

The loss is called on one example, logits and targets of shape [C], and must return a scalar;
leading axes are mapped over. So a loss of labels is written ``lambda z, p: loss(z, p.argmax())``,
and one of a single logit ``lambda z, p: loss(z[1] - z[0], p[1])``. Nothing here is jitted: wrap
your own call, as in ``jax.jit(functools.partial(logit_gradient, loss))``.

`gradient_profile`, `gradient_field` and `check_derivatives` are instruments for a whole loss: how
hard it pushes at every degree of confidence, where it pushes everywhere on the simplex of three
classes, and whether its derivatives are right. The first and the last compute in float64, with
x64 enabled only inside; under jit a loss that needs an argmax of float64 wants it enabled around
the jit as well, because that is where JAX compiles it.
"""

import contextlib
import math
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer

from jaxent import _arguments as arguments
from jaxent._softmax import jacobian_product, shifted

Loss: TypeAlias = Callable[[Array, Array], Array]
"""``loss(logits, targets)``: of one example, [C] and [C], a scalar."""


# One example at a time


def _as_examples(logits: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    logits = arguments.as_floating(logits, "logits")
    targets = arguments.as_real(targets, "targets")
    if logits.ndim == 0:
        raise ValueError("logits must have a last axis of classes, but their shape is ().")
    arguments.check_same_shape(logits, targets, "logits", "targets")
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(logits.dtype)
    return logits, targets


def _of_each_example(
    transformation: Callable[[Loss], Callable[[Array, Array], Any]],
    loss: Loss,
    logits: Array,
    targets: Array,
) -> Any:
    """What `transformation` (jax.grad, jax.hessian, …) makes of the loss, at every example."""

    def value(z: Array, p: Array) -> Array:
        result = loss(z, p)
        shape = getattr(result, "shape", () if isinstance(result, int | float) else None)
        if shape != ():
            returned = f"a {type(result).__name__}" if shape is None else f"shape {shape}"
            raise ValueError(
                f"The loss of one example, logits and targets of shape {z.shape}, must be a "
                f"scalar, but this loss returned {returned}."
            )
        return result

    return _over_leading_axes(transformation(value), logits, targets)


def _over_leading_axes(
    function: Callable[[Array, Array], Any], logits: Array, targets: Array
) -> Any:
    for _ in logits.shape[:-1]:
        function = jax.vmap(function)
    return function(logits, targets)


# The three spaces


def logit_gradient(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes"]:
    """The gradient of a loss with respect to the logits: what reaches the network below.

        g = ∂L/∂z

    For a loss that depends on q = softmax(z) alone, g sums to zero over the classes and equals
    J ∂L/∂q, J = diag(q) − q qᵀ.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        logits: [..., C], floating point of any precision, which is also the result's.
        targets: the distribution P, of the same shape. That it sums to one is not checked.

    Returns:
        g, [..., C].

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, or the loss does not return a scalar.

    Example:
        A confident mistake: the truth is class 0, and the model is sure that it is class 1.
        Cross-entropy pushes as hard as it can, the Brier score next to nothing.

        >>> import jax.numpy as jnp
        >>> from jaxent import gradients, losses
        >>> mistake, truth = jnp.array([0.0, 12.0]), jnp.array([1.0, 0.0])
        >>> print(gradients.logit_gradient(losses.softmax_cross_entropy, mistake, truth).round(3))
        [-1.  1.]
        >>> print(gradients.logit_gradient(losses.softmax_brier_score, mistake, truth).round(3))
        [-0.  0.]
    """
    logits, targets = _as_examples(logits, targets)
    return _of_each_example(jax.grad, loss, logits, targets)


def tangent_gradient(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes"]:
    """The gradient of a loss with respect to the probabilities, along the simplex.

        t = g/q − mean(g/q),        g = ∂L/∂z,  q = softmax(z)

    A loss of probabilities has many gradients ∂L/∂q, as many as ways to write it off the simplex
    Σ qᵢ = 1. Their projections onto its tangent space, the vectors that sum to zero, are one, and
    this is it: −p/q without its mean for cross-entropy, 2(q − p) for the Brier score.

    The same array is the natural gradient with respect to the logits, the solution of J t = g
    that sums to zero, since J = diag(q) − q qᵀ is their Fisher information. Descent on the logits
    along it, z′ = −t, moves q by q′ = −g: in a straight line to p for cross-entropy.

    A loss that reads the raw logits and not only q has no such gradient and is refused. It is
    recognised by its values at fixed logits that are shifted by a constant, which q does not
    feel; where these values depend on a traced array, one that the loss closes over inside jit or
    vmap, there is nothing to look at and nothing is refused.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        logits: [..., C]. A logit of −∞ is a class that cannot happen: it has no part in the mean,
            and t is 0 there.
        targets: the distribution P, of the same shape. That it sums to one is not checked.

    Returns:
        t, [..., C], which sums to zero over the classes. Where a possible class is so far behind
        that its q is 0 in the dtype of the computation (a gap of 87 in float32 and in the half
        precisions, which are computed in it, 708 in float64), the quotient 0/0 tells nothing and
        the row is NaN.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, the loss does not return a scalar, or it reads raw logits.

    Example:
        Seen from the probabilities, squared error at a confident mistake is not flat at all: it
        is the softmax below that flattens it.

        >>> import jax.numpy as jnp
        >>> from jaxent import gradients, losses
        >>> mistake, truth = jnp.array([0.0, 12.0]), jnp.array([1.0, 0.0])
        >>> print(gradients.tangent_gradient(losses.softmax_brier_score, mistake, truth).round(3))
        [-2.  2.]

    References:
        S. Amari, Natural gradient works efficiently in learning, Neural Computation 10, 1998.
    """
    logits, targets = _as_examples(logits, targets)
    _refuse_raw_logits(loss, logits.shape[-1], jnp.promote_types(logits.dtype, jnp.float32))
    return _tangents(logits, _of_each_example(jax.grad, loss, logits, targets))


@jax.jit
def _tangents(logits: Array, gradients: Array) -> Array:
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    _, e, tail = shifted((logits.ndim - 1,), logits.astype(dtype))
    q = e / (1 + tail[..., None])
    possible = logits != -jnp.inf
    quotients = jnp.where(possible, gradients.astype(dtype) / jnp.where(possible, q, 1.0), 0.0)
    classes = jnp.maximum(jnp.sum(possible, -1, keepdims=True), 1).astype(dtype)
    mean = jnp.sum(quotients, -1, keepdims=True) / classes
    lost = jnp.any(possible & (q == 0), -1, keepdims=True)
    tangents = jnp.where(lost, jnp.nan, jnp.where(possible, quotients - mean, 0.0))
    return tangents.astype(logits.dtype)


def simplex_velocity(
    loss: Loss,
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes"]:
    """How the probabilities move when the logits descend.

        q′ = J z′ = −J g = −q∘(g − q·g),        z′ = −g = −∂L/∂z

    the velocity of q = softmax(z) under gradient flow on the logits, in probability per unit of
    time; one step of size η moves q by η q′ + O(η²). It is −J(q − p) for cross-entropy and
    −2J²(q − p) for the Brier score, J = diag(q) − q qᵀ. Losses that read raw logits have a
    velocity too: what they do to a shift common to all the logits does not move q.

    The differences g − q·g are taken without cancellation, so that a nearly certain q keeps the
    digits of its velocity.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        logits: [..., C], floating point of any precision, which is also the result's.
        targets: the distribution P, of the same shape. That it sums to one is not checked.

    Returns:
        q′, [..., C], which sums to zero over the classes.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, or the loss does not return a scalar.

    Example:
        Cross-entropy pushes a confident mistake with all its force, g = (−1, 1), and yet the
        probabilities hardly move: there is one more J between the logits and them. The Brier
        score has two.

        >>> import jax.numpy as jnp
        >>> from jaxent import gradients, losses
        >>> mistake, truth = jnp.array([0.0, 12.0]), jnp.array([1.0, 0.0])
        >>> print(gradients.simplex_velocity(losses.softmax_cross_entropy, mistake, truth))
        [ 1.2288...e-05 -1.2288...e-05]
        >>> print(gradients.simplex_velocity(losses.softmax_brier_score, mistake, truth))
        [ 3.0200...e-10 -3.0200...e-10]
    """
    logits, targets = _as_examples(logits, targets)
    return _velocity(logits, _of_each_example(jax.grad, loss, logits, targets))


@jax.jit
def _velocity(logits: Array, gradients: Array) -> Array:
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    axes = (logits.ndim - 1,)
    velocities = -jacobian_product(axes, logits.astype(dtype), gradients.astype(dtype))
    return velocities.astype(logits.dtype)


def _refuse_raw_logits(loss: Loss, num_classes: int, dtype: Any) -> None:
    with jax.ensure_compile_time_eval():
        # Multiples of 1/4: the shifts are exact. There are two, since a parabola may return to its
        # value after one, and they point downwards, where no exponential overflows.
        levels = (np.arange(num_classes) * 5 % 9 - 4) / 4
        logits = np.stack([levels, levels - 1, levels - 4] * 2)
        targets = np.repeat(
            [np.eye(1, num_classes)[0], np.full(num_classes, 1 / num_classes)], 3, 0
        )
        values = _of_each_example(
            lambda value: value, loss, jnp.asarray(logits, dtype), jnp.asarray(targets, dtype)
        )
    if arguments.is_traced(values):
        return
    rounding = max(float(jnp.finfo(dtype).eps), float(jnp.finfo(values.dtype).eps))
    values = np.asarray(values, np.float64).reshape(2, 3)
    original = values[:, :1]
    changes = np.abs(values - original)
    # 64 ulp is what an unshifted log Σ exp, a loss of q though a careless one, stays well below.
    changed = changes > 64 * rounding * np.maximum(1, np.abs(original))
    if changed.any():
        raise ValueError(
            f"A loss has a gradient with respect to the probabilities only if it depends on the "
            f"logits through softmax(logits) alone, but this loss reads raw logits: it changed by "
            f"{changes[changed].max():.3g} when the same number was added to every logit. Its "
            f"logit_gradient and simplex_velocity are defined."
        )


# Instruments


class GradientProfile(NamedTuple):
    """How hard a loss pushes, from confidently wrong to confidently right; class 0 is the truth.

    Attributes:
        p_true: the probability of the truth, 1/(1 + K eᵐ), K the number of wrong classes with mass.
        margin: m, by how many logits the truth is behind them; negative where it is ahead.
        logits: [..., C], where the loss was examined.
        value: of the loss.
        gradient_norm: ‖∂L/∂z‖₂.
        true_class_gradient: ∂L/∂z of the truth; −1 pushes it up as hard as cross-entropy ever does.
    """

    p_true: Float[Array | np.ndarray, "*points"]
    margin: Float[Array | np.ndarray, "*points"]
    logits: Float[Array | np.ndarray, "*points classes"]
    value: Float[Array | np.ndarray, "*points"]
    gradient_norm: Float[Array | np.ndarray, "*points"]
    true_class_gradient: Float[Array | np.ndarray, "*points"]


def gradient_profile(
    loss: Loss,
    num_classes: int,
    *,
    wrong_mass: Literal["even", "one"] = "even",
    margin: ArrayLike | None = None,
    p_true: ArrayLike | None = None,
) -> GradientProfile:
    """How hard a loss pushes at every degree of confidence in the truth, right or wrong.

    The truth is class 0 with certainty, P = (1, 0, …, 0), and Q gives it the probability p_true.
    The rest of Q lies evenly on the K = C − 1 wrong classes, or all of it on K = 1 of them. With
    m the margin by which the truth is behind them,

        m = z_wrong − z_true,        p_true = 1/(1 + K eᵐ).

    The margin tells apart what p_true rounds together: p_true = 1 − 1e-17 is 1, m = −39 is not.
    The logits of the classes that hold mass sum to zero; only a loss that reads raw logits
    notices.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar.
        num_classes: C, at least 2.
        wrong_mass: "even" on all the wrong classes, or "one": all on class 1. The others then
            hold none: their logits are finite, but so low that their q is 0 in the dtype, and
            losses of q do not see them. A loss that reads raw logits sees hardly anything else:
            examine it with "even".
        margin: the points m, of any shape, in logits.
        p_true: the same points as probabilities, instead. If neither is given: 401 margins with
            even steps of the log-odds of the truth, from −20 to 20 (p_true from 2e-9 to 1 − 2e-9).

    Returns:
        A `GradientProfile` of NumPy arrays (of JAX arrays inside a transformation), in the dtype
        of the points given: float64 for the default, for Python numbers and integers, whether or
        not x64 is enabled. Inside a transformation float64 leaves rounded to float32 unless it is.

    Raises:
        TypeError: num_classes is not an integer.
        ValueError: num_classes is less than 2, wrong_mass is neither of the two, margin and
            p_true are both given, a margin is not finite, a p_true is not strictly between 0 and
            1 (the last two where they are concrete), or the loss does not return a scalar.

    Example:
        Where does each loss push the truth up the most? Cross-entropy where the model is most
        wrong, the Brier score at p_true = 1/3, whatever the number of classes.

        >>> from jaxent import gradients, losses
        >>> for loss in losses.softmax_cross_entropy, losses.softmax_brier_score:
        ...     profile = gradients.gradient_profile(loss, 10)
        ...     print(profile.p_true[profile.gradient_norm.argmax()].round(2))
        0.0
        0.33
    """
    num_classes = operator.index(num_classes)
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but it is {num_classes}.")
    if wrong_mass not in ("even", "one"):
        raise ValueError(f'wrong_mass must be "even" or "one", but it is {wrong_mass!r}.')
    if margin is not None and p_true is not None:
        raise ValueError("Give the points as margin or as p_true, not as both.")
    holders = num_classes - 1 if wrong_mass == "even" else 1
    points = p_true if margin is None else margin
    if points is None:
        points = margin = np.linspace(-20.0, 20.0, 401) - math.log(holders)
    dtype = getattr(points, "dtype", np.float64)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else np.float64
    with jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext():
        points = jnp.asarray(points, dtype)
        if margin is None:
            _check_points(points, "p_true must lie strictly between 0 and 1", 0.0, 1.0)
        else:
            _check_points(points, "margin must be finite", -np.inf, np.inf)
        logits, targets = _profile_points(num_classes, holders, points, margin is None)
        values, gradients = _of_each_example(jax.value_and_grad, loss, logits, targets)
        profile = _profile(holders, logits, values, gradients)
    return _readings(profile)


@partial(jax.jit, static_argnums=(0, 1, 3))
def _profile_points(
    num_classes: int, holders: int, points: Array, are_probabilities: bool
) -> tuple[Array, Array]:
    """Logits and targets of a profile; `holders` is the number of wrong classes with mass."""
    if are_probabilities:
        points = jnp.log1p(-points) - jnp.log(points) - math.log(holders)
    true = points * (-holders / (holders + 1))
    wrong = points / (holders + 1)
    # exp of twice the logarithm of the smallest normal number is 0, also as a subnormal.
    absent = jnp.maximum(true, wrong) + 2 * math.log(float(jnp.finfo(points.dtype).tiny))
    classes = jnp.arange(num_classes)
    others = jnp.where(classes <= holders, wrong[..., None], absent[..., None])
    logits = jnp.where(classes == 0, true[..., None], others)
    return logits, jnp.broadcast_to(classes == 0, logits.shape).astype(points.dtype)


@partial(jax.jit, static_argnums=0)
def _profile(holders: int, logits: Array, values: Array, gradients: Array) -> GradientProfile:
    margin = logits[..., 1] - logits[..., 0]  # as rounded in the logits
    return GradientProfile(
        p_true=1 / (1 + holders * jnp.exp(margin)),
        margin=margin,
        logits=logits,
        value=values,
        gradient_norm=_norm(gradients),
        true_class_gradient=gradients[..., 0],
    )


def _check_points(points: Array, requirement: str, low: float, high: float) -> None:
    if arguments.is_traced(points):
        return
    concrete = np.asarray(points)
    outside = ~((concrete > low) & (concrete < high))
    if outside.any():
        raise ValueError(f"{requirement}, but one of the points is {concrete[outside][0]}.")


@jax.jit
def _norm(vectors: Array) -> Array:
    """‖v‖₂ without squaring anything small enough to underflow."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return scale[..., 0] * jnp.linalg.norm(vectors / scale, axis=-1)


def _readings(result: Any) -> Any:
    """What leaves an instrument: NumPy arrays, or in a transformation what can be used there.

    A JAX array of float64 cannot be computed with where x64 is off: its sum is float32 and a
    warning, its argmax an error.
    """
    if any(arguments.is_traced(x) for x in jax.tree.leaves(result)):
        return jax.tree.map(lambda x: x.astype(jax.dtypes.canonicalize_dtype(x.dtype)), result)
    return jax.tree.map(np.asarray, result)


class GradientField(NamedTuple):
    """Where a loss pushes, at points all over the simplex of three classes.

    Attributes:
        q: the points, [N, 3].
        logits: z = ln q less its mean: of all the logits with this q, those that sum to zero.
        values: of the loss, [N].
        gradients: ∂L/∂z, [N, 3].
        velocities: −J ∂L/∂z, how q moves when the logits descend, [N, 3].
    """

    q: Float[Array, "points 3"]
    logits: Float[Array, "points 3"]
    values: Float[Array, " points"]
    gradients: Float[Array, "points 3"]
    velocities: Float[Array, "points 3"]


def gradient_field(
    loss: Loss, target: Float[ArrayLike, "3"], *, resolution: int = 25
) -> GradientField:
    """Where a loss pushes, everywhere on the simplex of three classes.

    The simplex is cut into triangles with `resolution` of them along an edge, and the loss is
    examined at the centres of those that stand upright: at

        q = (i + ⅓, j + ⅓, k + ⅓)/resolution,        i + j + k = resolution − 1,

    regular, the same for every class, and strictly inside. One of them is the uniform
    distribution where resolution − 1 is a multiple of 3.

    A loss that reads raw logits pushes differently at other logits with the same q; its field is
    the one where the logits sum to zero, a plane that it does not leave if its own gradients sum
    to zero.

    Args:
        loss: `loss(logits, targets)` of one example, [3] and [3], a scalar.
        target: the distribution P, [3], one-hot or not. That it sums to one is not checked.
        resolution: R, for R(R + 1)/2 points; static under jit, which is worth it for many points.

    Returns:
        A `GradientField` in the dtype of the target, in the order of i, then j.

    Raises:
        TypeError: the resolution is not an integer.
        ValueError: the target is not of shape (3,), the resolution is less than 1, or the loss
            does not return a scalar.

    Example:
        Under either loss q moves fastest in the middle and not at all in the corners, the wrong
        ones included. Near those cross-entropy still pushes, and the Brier score does not.

        >>> import jax.numpy as jnp
        >>> from jaxent import gradients, losses
        >>> truth = jnp.array([1.0, 0.0, 0.0])
        >>> for loss in losses.softmax_cross_entropy, losses.softmax_brier_score:
        ...     field = gradients.gradient_field(loss, truth, resolution=100)
        ...     nearly_class_1 = field.q[:, 1].argmax()
        ...     print(f"{jnp.linalg.norm(field.gradients[nearly_class_1]):.2f}")
        1.41
        0.02
    """
    resolution = operator.index(resolution)
    if resolution < 1:
        raise ValueError(f"resolution must be at least 1, but it is {resolution}.")
    target = arguments.as_real(target, "target")
    if target.shape != (3,):
        raise ValueError(
            f"A field is over three classes, so target must have shape (3,), "
            f"but it has {target.shape}."
        )
    if not jnp.issubdtype(target.dtype, jnp.floating):
        target = target.astype(float)
    i, j = np.triu_indices(resolution)
    j = j - i
    counts = np.stack([i, j, resolution - 1 - i - j], axis=-1)
    q = (counts + 1 / 3) / resolution
    logits = np.log(q)
    logits -= logits.mean(-1, keepdims=True)
    # The barrier keeps XLA from spending its compile time on evaluating the loss at a constant.
    q, logits = (jax.device_put(x.astype(target.dtype)) for x in (q, logits))
    q, logits = jax.lax.optimization_barrier((q, logits))
    targets = jnp.broadcast_to(target, logits.shape)
    values, gradients = _of_each_example(jax.value_and_grad, loss, logits, targets)
    return GradientField(q, logits, values, gradients, _velocity(logits, gradients))


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
        uncertainty: how far the central differences can be trusted, by their own account: the
            largest disagreement of two steps, with the rounding of the values.
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

    for the steps h = 1/32, 1/128, …, 1/32768; for each entry that step counts with which the next
    smaller one agrees best. A loss of softmax agrees to about 1e-13 (times its value, if that is
    large); low temperatures and near kinks need the smaller steps, and agree to about 1e-11.
    Differences of values cannot resolve less: a gradient of 1e-20 is confirmed to be small, not
    to be right, and a difference that is no more than the `uncertainty` says nothing. Within
    0.0005 of a kink of the loss nothing agrees.

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
        >>> from jaxent import gradients, losses
        >>> logits, targets = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.75, 0.0, 0.25])
        >>> check = gradients.check_derivatives(
        ...     losses.softmax_cross_entropy, logits, targets,
        ...     closed_form=lambda z, p: jax.nn.softmax(z) - p,
        ... )
        >>> bool(check.finite_difference.relative < 1e-12), bool(check.closed_form.relative < 1e-14)
        (True, True)

        That the gradient of squared error on the softmax is not 2(q − p), as is often said:

        >>> check = gradients.check_derivatives(
        ...     losses.softmax_brier_score, logits, targets,
        ...     closed_form=lambda z, p: 2 * (jax.nn.softmax(z) - p),
        ... )
        >>> print(check.closed_form.relative.round(2), check.finite_difference.relative.round(12))
        0.58 0.0

    References:
        B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
        Mathematics of Computation 51, 1988.
    """
    with jax.enable_x64(True):
        logits, targets = _as_examples(logits, targets)
        logits, targets = logits.astype(jnp.float64), targets.astype(jnp.float64)
        reverse, forward, samples = _witnesses(loss, logits, targets)
        rounding_unit = float(jnp.finfo(_precision(loss, logits.shape[-1])).eps)
        finite_difference, step, uncertainty = _against_values(reverse, samples, rounding_unit)
        check = DerivativeCheck(
            gradient=reverse,
            finite_difference=finite_difference,
            forward_mode=None if forward is None else _largest_difference(reverse, forward),
            closed_form=None,
            step=step,
            uncertainty=uncertainty,
        )
        if closed_form is not None:
            formula = _over_leading_axes(_checked_formula(closed_form), logits, targets)
            check = check._replace(closed_form=_largest_difference(reverse, formula))
    return _readings(check)


def _witnesses(loss: Loss, logits: Array, targets: Array) -> tuple[Array, Array | None, Array]:
    """(by reverse mode, by forward mode, values to take differences of), in one program."""

    @jax.jit
    def witnesses(logits: Array) -> tuple[Array, Array | None, Array]:
        # The targets are closed over: a loss may look at those of a single example.
        reverse = _of_each_example(jax.grad, loss, logits, targets)
        try:
            forward = _of_each_example(jax.jacfwd, loss, logits, targets)
        except TypeError:  # a custom_vjp; whatever else could raise it has done so in reverse mode
            forward = None
        return reverse, forward, _of_each_example(_samples, loss, logits, targets)

    return witnesses(logits)


# Powers of 2, so that z ± k h is exact for logits of moderate precision.
_STEPS = (1 / 32, 1 / 128, 1 / 512, 1 / 2048, 1 / 8192, 1 / 32768)


def _distances() -> np.ndarray:
    """k h for both signs, every step h, and k = 1 … 4."""
    ahead = np.outer(_STEPS, np.arange(1.0, 5.0))
    return np.stack([ahead, -ahead])


def _samples(value: Loss) -> Callable[[Array, Array], Array]:
    """The values at z ± k h eᵢ for every class i, both signs, every step h, and k = 1 … 4."""

    def samples(z: Array, p: Array) -> Array:
        distances = jnp.asarray(_distances())

        def along(i: Array) -> Array:
            values = jax.vmap(lambda distance: value(z.at[i].add(distance), p))
            return values(distances.ravel()).reshape(distances.shape)

        return jax.lax.map(along, jnp.arange(z.size, dtype=jnp.int32))

    return samples


@jax.jit
def _against_values(
    reverse: Array, samples: Array, rounding_unit: ArrayLike
) -> tuple[Difference, Array, Array]:
    """(the largest difference from central differences, their step there, their uncertainty)."""
    central, steps, uncertainties = _central_differences(samples, rounding_unit)
    difference = _largest_difference(reverse, central)
    return difference, steps[difference.entry], jnp.max(uncertainties)


@jax.jit
def _central_differences(samples: Array, rounding_unit: ArrayLike) -> tuple[Array, Array, Array]:
    """(derivatives, steps, uncertainties), each at the step that is to be trusted most."""
    weights = jnp.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
    derivatives = (samples[..., 0, :, :] - samples[..., 1, :, :]) @ weights
    steps = jnp.broadcast_to(jnp.array(_STEPS), derivatives.shape)
    derivatives = derivatives / steps
    # Without the rounding, small steps that agree by chance would win.
    largest = jnp.max(jnp.abs(samples), axis=(-3, -1))
    rounding = rounding_unit * largest / steps
    errors = jnp.abs(derivatives[..., :-1] - derivatives[..., 1:]) + rounding[..., :-1]
    least = jnp.nanmin(errors, axis=-1, keepdims=True)
    best = _first(errors == least, axis=-1)[..., None]

    def at_best(x: Array) -> Array:
        return jnp.take_along_axis(x, best, axis=-1)[..., 0]

    return at_best(derivatives), at_best(steps), at_best(errors)


def _precision(loss: Loss, num_classes: int) -> np.dtype:
    """The coarsest floating dtype that a loss of float64 logits rounds to on its way."""
    example = jax.ShapeDtypeStruct((num_classes,), jnp.float64)
    roundings = [np.dtype(np.float64), *_roundings(jax.make_jaxpr(loss)(example, example).jaxpr)]
    return max(roundings, key=lambda dtype: float(jnp.finfo(dtype).eps))


def _roundings(jaxpr: Any) -> Iterator[np.dtype]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            dtypes = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
            if all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
                yield dtypes[1]
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _roundings(inner)


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
    entry = jnp.unravel_index(_first(largest.ravel(), axis=0), differences.shape)
    absolute = differences[entry]
    scale = jnp.maximum(jnp.max(jnp.abs(a)), jnp.max(jnp.abs(b)))
    return Difference(absolute, absolute / jnp.where(scale == 0, 1.0, scale), entry)


def _first(flags: Array, axis: int) -> Array:
    # An argmin in float64 or an index in int64 is more than JAX can lower for a jit around x64.
    return jax.lax.argmax(flags, axis % flags.ndim, jnp.int32)
