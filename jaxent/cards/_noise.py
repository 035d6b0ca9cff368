"""What a wrong label can do."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._words import number, short
from jaxent.cards._measuring import Subject, within_gap


class Noise(NamedTuple):
    """What a wrong label can do.

    Attributes:
        bounded: no logits, however far apart, make the loss exceed a bound.
        least: the least value of the loss of a one-hot P, −∞ if there is none.
        least_at: the logits where that is, or far out where there is none, [C].
        least_label: the class that is the truth there.
        most: the largest, ∞ if it is not bounded.
        most_at: likewise.
        most_label: likewise.
        symmetric: Σ_y loss(z, e_y) is the same for all z.
        least_sum: the least Σ_y loss(z, e_y) at logit gaps of up to 30.
        least_sum_at: the logits where that is, [C].
        most_sum: the largest, ∞ if the loss is not bounded.
        most_sum_at: the logits where it is largest at those gaps, [C].
    """

    bounded: bool
    least: float
    least_at: Float[np.ndarray, " classes"]
    least_label: int
    most: float
    most_at: Float[np.ndarray, " classes"]
    most_label: int
    symmetric: bool
    least_sum: float
    least_sum_at: Float[np.ndarray, " classes"]
    most_sum: float
    most_sum_at: Float[np.ndarray, " classes"]

    def long_words(self, alike: bool) -> dict[str, str]:
        bounds = f"{number(self.least)} to {number(self.most)}"
        sums = f"{number(self.least_sum)} to {number(self.most_sum)}"
        return {
            "range": bounds if self.bounded else f"{bounds}, not bounded",
            "sum over labels": f"{sums}{', constant' if self.symmetric else ''}",
        }

    def short_words(self) -> dict[str, str]:
        symmetric = ", symmetric" if self.symmetric else ""
        return {"range": f"{short(self.least)} to {short(self.most)}{symmetric}"}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Noise:
    points, values, num_classes = subject.places, subject.values, subject.num_classes
    directions = subject.random.standard_normal([128, num_classes])
    directions = np.concatenate([np.eye(num_classes), -np.eye(num_classes), directions])
    directions = within_gap(directions) / -within_gap(directions).min(-1, keepdims=True)
    directions = np.concatenate([directions, -directions])
    near, far = (subject.values_of_all_labels(gap * directions) for gap in (1e4, 1e6))
    bounded = bool(np.isfinite(far).all() and far.max() <= near.max() + 1e-6 * abs(near.max()))
    # the rest of a loss of raw logits is on no grid
    rests = np.stack([subject.lowest_point(one_hot) for one_hot in np.eye(num_classes)])
    places = np.concatenate([points, rests, 1e4 * directions, 1e6 * directions])
    found = [values, subject.values_of_all_labels(rests), near, far]

    def extreme(sign: int) -> tuple[float, np.ndarray, int]:
        together = sign * np.concatenate(found)
        place, label = np.unravel_index(np.nanargmax(together), together.shape)
        return sign * float(together[place, label]) + 0.0, places[place], int(label)

    least, least_at, least_label = extreme(-1)
    nearer = np.nanmin(np.concatenate(found[:-1]))
    if least < nearer - 1e-6 * abs(nearer):
        least = -math.inf
    most, most_at, most_label = extreme(1)
    finite = np.isfinite(values).all(-1)
    sums = values[finite].sum(-1)
    return Noise(
        bounded=bounded,
        least=least,
        least_at=least_at,
        least_label=least_label,
        most=most if bounded else math.inf,
        most_at=most_at,
        most_label=most_label,
        symmetric=bool(np.ptp(sums) <= subject.rounding * max(1, np.abs(sums).max())),
        least_sum=float(sums.min()),
        least_sum_at=points[finite][sums.argmin()],
        most_sum=float(sums.max()) if bounded else math.inf,
        most_sum_at=points[finite][sums.argmax()],
    )
