"""Whether the gradient is the derivative of the value, and the Hessian that of the gradient."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxent._differences import (
    central_differences,
    distances,
    noise,
    noise_of_values,
    rounding,
)
from jaxent._examples import Loss, forward_mode, jit_quickly, of_each_example
from jaxent._words import short
from jaxent.cards._measuring import Subject
from jaxent.derivatives import verdict, without_stop_gradients

_OF_HESSIANS = 1e-6
"""A Hessian is wrong beyond this share of its largest entry: it may have lost more digits."""


class Derivatives(NamedTuple):
    """Whether the gradient is the derivative of the value: the worst of some random points.

    Attributes:
        right: every difference is within what its witness can resolve.
        finite_difference: how far reverse mode is from central differences of the values at the
            worst of the points, relative to the largest entry of either there.
        uncertainty: how far those can be trusted there, by the measured noise of values and
            gradients, likewise.
        forward_mode: the largest difference from forward mode, likewise; NaN where a custom_vjp
            leaves none.
        logits: the worst of the points, measured by what the differences can resolve, [C].
        targets: the P there, [C].
        precision: the coarsest dtype that the loss, called in float64, rounds to on its way;
            differences of values are believed no further.
        stopped: the gradient is wrong, and right without the stop_gradients of the loss.
        hessian: "right" where the Hessian by autodiff is the Jacobian of the gradient; "wrong"
            where differences of gradients contradict it; "missing" where autodiff has none.
        hessian_difference: how far the Hessian by autodiff is at most from differences of
            gradients, relative to the largest entry at any of the points; NaN where it is missing.
    """

    right: bool
    finite_difference: float
    uncertainty: float
    forward_mode: float
    logits: Float[np.ndarray, " classes"]
    targets: Float[np.ndarray, " classes"]
    precision: str = "float64"
    stopped: bool = False
    hessian: Literal["right", "wrong", "missing"] = "right"
    hessian_difference: float = 0.0

    def long_words(self, alike: bool) -> dict[str, str]:
        reason = ""
        if not self.right:
            reason = ", the gradient is not the derivative of the value"
            reason += ", because a stop_gradient stands in it" if self.stopped else ""
        instead = "differences of gradients are used"
        if not self.right:
            instead = "differences of this gradient are used, as it is followed"
        return {
            "derivatives": f"{'yes' if self.right else 'no: WRONG'}, "
            f"off by {self.finite_difference:.0e} ± {self.uncertainty:.0e}{reason}",
            "second derivatives": {
                "right": "yes",
                "wrong": f"no: autodiff gives wrong ones (off by {self._share()}); {instead}",
                "missing": f"no: autodiff gives none; {instead}",
            }[self.hessian],
            "rounds to": self.precision,
        }

    def short_words(self) -> dict[str, str]:
        precision = "" if self.precision == "float64" else f", in {self.precision}"
        right = "right" if self.right else f"WRONG by {short(self.finite_difference)}"
        words = {"derivatives": right + precision}
        if self.hessian != "right":
            wrong = self.hessian == "wrong"
            said = f"WRONG by {self._share()}" if wrong else "missing"
            words["second derivatives"] = f"{said} by autodiff, by differences"
        return words

    def _share(self) -> str:
        return f"{short(100 * self.hessian_difference)} %"


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Derivatives:
    """What `check_derivatives` does, with the program of values that is there."""
    num_classes, random = subject.num_classes, np.random.default_rng(subject.seed)
    logits = 2 * random.standard_normal([8, num_classes])
    targets = random.dirichlet(np.ones(num_classes), len(logits))
    certain = np.eye(num_classes)[targets.argmax(-1)]
    targets[::2] = certain[::2]
    if earlier["invariance"].soft_targets != "accepted":
        targets = certain
    centre, reverse = subject.evaluate(logits, targets)

    directions = subject.directions  # of many classes only some
    shifts = np.multiply.outer(directions, distances())  # [direction, entry, …]
    around = logits[:, None, None, None, None] + np.moveaxis(shifts, 1, -1)
    of_each = np.broadcast_to(targets[:, None, None, None, None], around.shape)
    values, gradients = subject.evaluate(
        around.reshape(-1, num_classes), of_each.reshape(-1, num_classes)
    )
    values = values.reshape(around.shape[:-1])
    gradients = np.moveaxis(subject.along_directions(gradients.reshape(around.shape)), -1, 2)
    along = subject.along_directions(reverse)
    least, least_of_gradients = jit_quickly(partial(of_each_example, rounding, subject.loss))(
        logits, targets
    )
    central, uncertain, of_gradients, second = jax.tree.map(
        np.asarray, _differences(values, centre, least, gradients, along, least_of_gradients)
    )
    forward = _by_forward_mode(subject, logits, targets)
    off = [np.abs(along - central).max(-1)]
    off += [np.abs(reverse - forward).max(-1)] if forward is not None else []
    uncertainty = uncertain.max(-1) + 16 * of_gradients
    right, _, worst = verdict(reverse, off, uncertainty, subject.precision)
    stopped = False
    if not right:
        unstopped = jax.jit(
            partial(of_each_example, jax.grad, without_stop_gradients(subject.loss))
        )(logits, targets)
        off_without = np.abs(subject.along_directions(np.asarray(unstopped)) - central).max(-1)
        stopped = verdict(unstopped, [off_without], uncertainty, subject.precision).right

    relative_to = np.maximum(np.abs(reverse).max(-1), np.abs(central).max(-1))
    relative_to = np.where(relative_to > 0, relative_to, 1.0)
    hessian_is, hessian_difference = _judged_hessian(subject, logits, targets, *second)
    return Derivatives(
        right=right,
        finite_difference=float(off[0][worst] / relative_to[worst]),
        uncertainty=float(uncertainty[worst] / relative_to[worst]),
        forward_mode=math.nan if forward is None else float(np.max(off[1] / relative_to)),
        logits=logits[worst],
        targets=targets[worst],
        precision=subject.precision.name,
        stopped=stopped,
        hessian=hessian_is,
        hessian_difference=hessian_difference,
    )


@jit_quickly
def _differences(
    values: Array,
    centre: Array,
    least: Array,
    gradients: Array,
    along: Array,
    least_of_gradients: Array,
) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """Of values and gradients at z ± k h eᵢ: the differences of the values and how far they can be
    trusted, the noise of the gradients, and the differences of the gradients likewise.

    In one program, since to compile it takes longer than to run it.
    """
    central, _, uncertain = central_differences(values, noise_of_values(values, centre, least))
    measured = noise(gradients, jnp.repeat(along[:, None], along.shape[-1], axis=1))
    of_gradients = jnp.maximum(measured.max((-2, -1)), least_of_gradients.max(-1))
    second, _, of_second = central_differences(gradients, of_gradients[:, None, None])
    return central, uncertain, of_gradients, (second, of_second)


def _by_forward_mode(
    subject: Subject, logits: np.ndarray, targets: np.ndarray
) -> np.ndarray | None:
    def forward_or_none(value: Loss) -> Callable[[Array, Array], tuple[Array | None]]:
        derivative = forward_mode(value, otherwise=lambda z, p: None)
        return lambda z, p: (derivative(z, p),)

    by_forward_mode = jit_quickly(partial(of_each_example, forward_or_none, subject.loss))
    (forward,) = by_forward_mode(logits, targets)
    return None if forward is None else np.asarray(forward)


def _judged_hessian(
    subject: Subject,
    logits: np.ndarray,
    targets: np.ndarray,
    central: np.ndarray,
    uncertain: np.ndarray,
) -> tuple[Literal["right", "wrong", "missing"], float]:
    """Whether the Hessian by autodiff is what the gradients around each point say, and how far off.

    Args:
        central: the differences of gradients, [points, i, entry].
        uncertain: how far these can be trusted, likewise.
    """
    try:
        matrices = subject.hessians(logits, targets)
    except Exception:  # whatever a rule without a second derivative raises: the gradient works
        return "missing", math.nan
    points = len(logits)
    off = np.abs(matrices - np.swapaxes(central, 1, 2)).reshape(points, -1)
    uncertainty = uncertain.reshape(points, -1).max(-1)
    largest = np.maximum(np.abs(matrices), np.abs(central)).reshape(points, -1).max(-1)
    most = np.max(np.where(np.isfinite(largest), largest, 0.0))
    allowed = uncertainty + _OF_HESSIANS / 4 * most
    right = verdict(matrices.reshape(points, -1), [off.max(-1)], allowed, subject.precision).right
    return "right" if right else "wrong", float(off.max() / (most or 1.0))
