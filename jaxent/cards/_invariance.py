"""What a loss does not notice, and what it does not stand."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._examples import shift_changes
from jaxent._words import distribution
from jaxent.cards._measuring import Subject


class Invariance(NamedTuple):
    """What a loss does not notice, and what it does not stand.

    Attributes:
        shift: the same number added to all the logits changes nothing.
        shift_change: the largest relative change of the value that was met.
        shift_at: the logits and the targets of which that is, [2, C]: one of −1 and 4 was added.
        permutation: nor does renumbering the classes, in logits and targets alike.
        permutation_change: as above.
        permutation_at: the logits and the targets of which that is, [2, C].
        finite_at_corners: value and gradient are finite 1,000 logits from a tie, right and wrong.
        not_finite_at: logits where they are not, [C], or None.
        not_finite_label: the class that is the truth there, or None.
        soft_targets: "accepted"; "ignored" where only the largest entry of P counts; "refused"
            where the loss raises or is not finite.
    """

    shift: bool
    shift_change: float
    shift_at: Float[np.ndarray, "2 classes"]
    permutation: bool
    permutation_change: float
    permutation_at: Float[np.ndarray, "2 classes"]
    finite_at_corners: bool
    not_finite_at: Float[np.ndarray, " classes"] | None
    not_finite_label: int | None
    soft_targets: Literal["accepted", "ignored", "refused"]

    def long_words(self, alike: bool) -> dict[str, str]:
        def yes_or(holds: bool, otherwise: str) -> str:
            return "yes" if holds else f"no: {otherwise}"

        at = self.not_finite_at
        return {
            "same after a shift": yes_or(self.shift, f"changes by {self.shift_change:.1g}"),
            "same after renumbering": yes_or(
                self.permutation, f"changes by {self.permutation_change:.1g}"
            ),
            "finite 1,000 logits out": "yes"
            if at is None
            else f"no: not at z = {distribution(at)}, truth {self.not_finite_label}",
            "soft targets": self.soft_targets,
        }

    def short_words(self) -> dict[str, str]:
        return {"soft targets": self.soft_targets}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Invariance:
    evaluate, num_classes, random = subject.evaluate, subject.num_classes, subject.random
    # Multiples of ¼ are exact in every precision, also shifted: rounding is no dependence.
    logits = np.round(8 * random.standard_normal([32, num_classes])) / 4
    targets = random.dirichlet(np.ones(num_classes), len(logits))
    certain = np.eye(num_classes)[targets.argmax(-1)]
    values, _ = evaluate(logits, targets)
    if not np.isfinite(values).all():
        soft_targets, targets = "refused", certain
    elif np.array_equal(values, evaluate(logits, (targets + certain) / 2)[0]):
        soft_targets, targets = "ignored", certain
    else:
        soft_targets = "accepted"

    def worst(changes: np.ndarray) -> tuple[float, np.ndarray]:
        """The largest change, and of which logits and targets."""
        at = int(changes.argmax())
        return float(changes[at]), np.stack([logits[at], targets[at]])

    def values_of(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return evaluate(logits, targets)[0]

    changes, tolerance = shift_changes(values_of, logits, targets)
    shift, shift_at = worst(changes)
    orders = [random.permutation(num_classes) for _ in range(3)] + [np.arange(num_classes)[::-1]]
    values = values_of(logits, targets)
    renumbered = np.stack([values_of(logits[:, order], targets[:, order]) for order in orders])
    changes = np.abs(renumbered - values) / np.maximum(1, np.abs(values))
    permutation, permutation_at = worst(changes.max(0))

    corners = 1000 * np.concatenate([subject.groups, -subject.groups])
    not_finite_at = not_finite_label = None
    for label in subject.representatives.tolist():
        at_corners, gradients = evaluate(corners, np.eye(num_classes)[label])
        finite = np.isfinite(at_corners) & np.isfinite(gradients).all(-1)
        if not_finite_at is None and not finite.all():
            not_finite_at, not_finite_label = corners[finite.argmin()], label
    subject.reads_raw_logits = shift > tolerance
    subject.alike = permutation <= tolerance
    return Invariance(
        shift=not subject.reads_raw_logits,
        shift_change=shift,
        shift_at=shift_at,
        permutation=subject.alike,
        permutation_change=permutation,
        permutation_at=permutation_at,
        finite_at_corners=not_finite_at is None,
        not_finite_at=not_finite_at,
        not_finite_label=not_finite_label,
        soft_targets=soft_targets,
    )
