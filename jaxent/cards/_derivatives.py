"""Whether the gradient is the derivative of the value."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxent._differences import central_differences, distances
from jaxent._examples import Loss, forward_mode, of_each_example
from jaxent._words import short
from jaxent.cards._measuring import Subject, in_blocks
from jaxent.derivatives import verdict


class Derivatives(NamedTuple):
    """Whether the gradient is the derivative of the value: the worst of some random points.

    Attributes:
        right: every difference is within what its witness can resolve.
        finite_difference: how far reverse mode is from central differences of the values at the
            worst of the points, relative to the largest entry of either there.
        uncertainty: how far those can be trusted there, by their own account, likewise.
        forward_mode: the largest difference from forward mode, likewise; NaN where a custom_vjp
            leaves none.
        logits: the worst of the points, measured by what the differences can resolve, [C].
        targets: the P there, [C].
        precision: the coarsest dtype that the loss, called in float64, rounds to on its way;
            differences of values are believed no further.
    """

    right: bool
    finite_difference: float
    uncertainty: float
    forward_mode: float
    logits: Float[np.ndarray, " classes"]
    targets: Float[np.ndarray, " classes"]
    precision: str = "float64"

    def long_words(self, alike: bool) -> dict[str, str]:
        return {
            "derivatives": f"{'yes' if self.right else 'no: WRONG'}, "
            f"off by {self.finite_difference:.0e} ± {self.uncertainty:.0e}",
            "rounds to": self.precision,
        }

    def short_words(self) -> dict[str, str]:
        precision = "" if self.precision == "float64" else f", in {self.precision}"
        right = "right" if self.right else f"WRONG by {short(self.finite_difference)}"
        return {"derivatives": right + precision}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Derivatives:
    """What `check_derivatives` does, with the program of values that is there."""
    num_classes, random = subject.num_classes, subject.random
    logits = 2 * random.standard_normal([8, num_classes])
    targets = random.dirichlet(np.ones(num_classes), len(logits))
    certain = np.eye(num_classes)[targets.argmax(-1)]
    targets[::2] = certain[::2]
    if earlier["invariance"].soft_targets != "accepted":
        targets = certain
    _, reverse = subject.evaluate(logits, targets)

    shifts = np.multiply.outer(np.eye(num_classes), distances())  # [shifted entry, entry, …]
    around = logits[:, None, None, None, None] + np.moveaxis(shifts, 1, -1)
    of_each = np.broadcast_to(targets[:, None, None, None, None], around.shape)
    values, _ = subject.evaluate(around.reshape(-1, num_classes), of_each.reshape(-1, num_classes))
    unit = float(jnp.finfo(subject.precision).eps)
    central, _, uncertain = map(
        np.asarray, central_differences(values.reshape(around.shape[:-1]), unit)
    )

    def forward_or_none(value: Loss) -> Callable[[Array, Array], tuple[Array | None]]:
        derivative = forward_mode(value, otherwise=lambda z, p: None)
        return lambda z, p: (derivative(z, p),)

    by_forward_mode = in_blocks(
        partial(of_each_example, forward_or_none, subject.loss), num_classes
    )
    (forward,) = by_forward_mode(logits, targets)

    relative_to = np.maximum(np.abs(reverse).max(-1), np.abs(central).max(-1))
    relative_to = np.where(relative_to > 0, relative_to, 1.0)
    off = [np.abs(reverse - other).max(-1) for other in (central, forward) if other is not None]
    uncertainty = uncertain.max(-1)
    right, _, worst = verdict(reverse, off, uncertainty, subject.precision)
    return Derivatives(
        right=right,
        finite_difference=float(off[0][worst] / relative_to[worst]),
        uncertainty=float(uncertainty[worst] / relative_to[worst]),
        forward_mode=math.nan if forward is None else float(np.max(off[1] / relative_to)),
        logits=logits[worst],
        targets=targets[worst],
        precision=subject.precision.name,
    )
