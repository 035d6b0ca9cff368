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
and one of a single logit ``lambda z, p: loss(z[1] - z[0], p[1])``. Only `gradient_field` is jitted:
a call with the very same loss compiles nothing. Wrap your own call of the others, as in
``jax.jit(functools.partial(logit_gradient, loss))``.

`gradient_profile` and `gradient_field` are instruments for a whole loss: how hard it pushes at
every degree of confidence, and where it pushes everywhere on the simplex of three classes. The
first computes in float64, with x64 enabled only inside; under jit a loss that needs an argmax of
float64 wants it enabled around the jit as well, because that is where JAX compiles it.
"""

import contextlib
import math
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent import _arguments as arguments
from jaxent._arguments import Spread
from jaxent._examples import (
    Loss,
    as_examples,
    compiled,
    of_each_example,
    raw_logits_change,
    readings,
)
from jaxent._softmax import jacobian_product, shifted

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
    logits, targets = as_examples(logits, targets)
    return of_each_example(jax.grad, loss, logits, targets)


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
    logits, targets = as_examples(logits, targets)
    _refuse_raw_logits(loss, logits.shape[-1], jnp.promote_types(logits.dtype, jnp.float32))
    return _tangents(logits, of_each_example(jax.grad, loss, logits, targets))


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
    logits, targets = as_examples(logits, targets)
    return _velocity(logits, of_each_example(jax.grad, loss, logits, targets))


@jax.jit
def _velocity(logits: Array, gradients: Array) -> Array:
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    axes = (logits.ndim - 1,)
    velocities = -jacobian_product(axes, logits.astype(dtype), gradients.astype(dtype))
    return velocities.astype(logits.dtype)


def _refuse_raw_logits(loss: Loss, num_classes: int, dtype: Any) -> None:
    def values(logits: np.ndarray, targets: np.ndarray) -> Array:
        with jax.ensure_compile_time_eval():
            examples = jnp.asarray(logits, dtype), jnp.asarray(targets, dtype)
            return of_each_example(lambda value: value, loss, *examples)

    change = raw_logits_change(values, num_classes)
    if change:
        raise ValueError(
            f"A loss has a gradient with respect to the probabilities only if it depends on the "
            f"logits through softmax(logits) alone, but this loss reads raw logits: it changed by "
            f"{change:.3g} when the same number was added to every logit. Its logit_gradient and "
            f"simplex_velocity are defined."
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
    spread: Spread = "even",
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
        spread: "even" on all the wrong classes, or "one": all on class 1. The others then
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
        ValueError: num_classes is less than 2, spread is neither of the two, margin and
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
    arguments.check_count(num_classes, "num_classes", least=2)
    arguments.check_spread(spread)
    if margin is not None and p_true is not None:
        raise ValueError("Give the points as margin or as p_true, not as both.")
    holders = num_classes - 1 if spread == "even" else 1
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
        values, gradients = of_each_example(jax.value_and_grad, loss, logits, targets)
        profile = _profile(holders, logits, values, gradients)
    return readings(profile)


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
    arguments.check_count(resolution, "resolution")
    target = arguments.as_real(target, "target")
    if target.shape != (3,):
        raise ValueError(
            f"A field is over three classes, so target must have shape (3,), "
            f"but it has {target.shape}."
        )
    if not jnp.issubdtype(target.dtype, jnp.floating):
        target = target.astype(float)
    q, logits = _field_points(resolution, target.dtype)
    values, gradients = compiled(_field, (loss,), logits, target)
    return GradientField(q, logits, values, gradients, _velocity_of_three(q, gradients))


def _field(loss: Loss, logits: Array, target: Array) -> tuple[Array, Array]:
    # The barriers keep XLA from spending its compile time on evaluating the loss at constants, and
    # from computing the gradients once more for the velocities.
    logits = jax.lax.optimization_barrier(logits)
    targets = jnp.broadcast_to(target, logits.shape)
    return jax.lax.optimization_barrier(of_each_example(jax.value_and_grad, loss, logits, targets))


@lru_cache(maxsize=2)
def _field_points(resolution: int, dtype: Any) -> tuple[Array, Array]:
    """q and the logits at the centres of the upright triangles. The last two are kept: a million
    points take longer to make than to examine."""
    i = np.repeat(np.arange(resolution), np.arange(resolution, 0, -1))
    first_of_i = np.cumsum(np.arange(resolution + 1, 1, -1)) - (resolution + 1)
    j = np.arange(i.size) - first_of_i[i]
    counts = np.stack([i, j, resolution - 1 - i - j], axis=-1)
    coordinates = (np.arange(resolution) + 1 / 3) / resolution
    logits = np.log(coordinates)[counts]
    logits -= logits.mean(-1, keepdims=True)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        return jnp.asarray(coordinates[counts], dtype), jnp.asarray(logits, dtype)


@jax.jit
def _velocity_of_three(q: Array, gradients: Array) -> Array:
    """−J g as −qᵢ Σⱼ qⱼ (gᵢ − gⱼ): no exponential, and nothing cancels."""
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    of_class, g = jnp.moveaxis(q.astype(dtype), -1, 0), jnp.moveaxis(gradients.astype(dtype), -1, 0)
    flows = [
        sum(of_class[j] * (g[i] - g[j]) for j in range(3) if j != i) * -of_class[i]
        for i in range(3)
    ]
    return jnp.stack(flows, -1).astype(gradients.dtype)
