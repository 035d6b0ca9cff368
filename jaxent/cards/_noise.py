"""The values of a loss, and what a wrong label can do."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._words import number, short
from jaxent.cards._limits import Extreme, extremes
from jaxent.cards._measuring import Subject


class Noise(NamedTuple):
    """The values of a loss over all logits, and what a wrong label can do.

    Attributes:
        bounded: no logits, however far apart, make the loss exceed a bound. False also where no
            limit was found.
        least: the least value of the loss of a one-hot P, or the limit that it approaches; −∞ if
            there is none, NaN if no limit was found.
        least_at: the logits where that is, or a point far out on the way there, [C].
        least_label: the class that is the truth there.
        most: the largest value, likewise.
        most_at: likewise.
        most_label: likewise.
        symmetric: Σ_y loss(z, e_y) is the same for all z.
        least_sum: the least Σ_y loss(z, e_y), or the limit that it approaches.
        least_sum_at: the logits where that is, [C].
        most_sum: the largest, likewise.
        most_sum_at: likewise.
        least_attained: the least value was met at logits that are not endlessly far apart. If not,
            it is only approached.
        most_attained: likewise the largest.
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
    least_attained: bool = True
    most_attained: bool = True

    def long_words(self, alike: bool) -> dict[str, str]:
        bounds = f"{_end(self.least)} to {_end(self.most)}"
        sums = f"{_end(self.least_sum)} to {_end(self.most_sum)}"
        ends = (self.least, self.least_attained), (self.most, self.most_attained)
        approached = [number(end) for end, met in ends if math.isfinite(end) and not met]
        bounds += ", not bounded" if math.isinf(self.most) else ""
        bounds += f"; {' and '.join(approached)} not attained" if approached else ""
        return {
            "range": bounds,
            "sum over labels": f"{sums}{', constant' if self.symmetric else ''}",
        }

    def short_words(self) -> dict[str, str]:
        symmetric = ", symmetric" if self.symmetric else ""
        ends = (short(end) if not math.isnan(end) else "?" for end in (self.least, self.most))
        return {"range": " to ".join(ends) + symmetric}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Noise:
    values, classes = subject.values, np.eye(subject.num_classes)
    numbers = subject.places[:, subject.representatives]  # one for each group of equal logits

    def of_label(label: int) -> tuple[Extreme, Extreme]:
        column = values[:, list(subject.representatives).index(label)]
        order = np.where(np.isnan(column), 0.0, column).argsort()

        def function(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, gradient = subject.evaluate(subject.spread(u), classes[label])
            return value, subject.summed_over_groups(gradient)

        return extremes(subject, function, (numbers[order[:8]], numbers[order[-8:]]))

    members = subject.groups.sum(-1)

    def sums_and_gradients(u: np.ndarray) -> tuple[Any, Any]:
        one_hots = classes[subject.representatives]
        parts = [subject.evaluate(subject.spread(u), one_hot) for one_hot in one_hots]
        of_groups = [*zip(members, parts, strict=True)]
        total = sum(n * value for n, (value, _) in of_groups)
        gradient: Any = sum(n * gradient for n, (_, gradient) in of_groups)
        return total, subject.summed_over_groups(gradient)

    ends = {label: of_label(label) for label in subject.labels}
    # what has no known limit comes before all others
    least_label = min(ends, key=lambda label: np.nan_to_num(ends[label][0].value, nan=-math.inf))
    most_label = max(ends, key=lambda label: np.nan_to_num(ends[label][1].value, nan=math.inf))
    least, most = ends[least_label][0], ends[most_label][1]

    finite = np.isfinite(values).all(-1)
    sums, points = values[finite] @ members, numbers[finite]
    symmetric = bool(np.ptp(sums) <= subject.rounding * max(1, np.abs(sums).max()))
    least_sum = most_sum = Extreme(float(sums.mean()), subject.spread(points[0]), True)
    if subject.many_classes and not subject.alike:  # a class of a group does not speak for others
        symmetric, least_sum = False, least_sum._replace(value=math.nan)
        most_sum = least_sum
    elif not symmetric:
        order = sums.argsort()
        places = points[order[:8]], points[order[-8:]]
        least_sum, most_sum = extremes(subject, sums_and_gradients, places)
    return Noise(
        bounded=math.isfinite(most.value),
        least=least.value,
        least_at=least.logits,
        least_label=least_label,
        most=most.value,
        most_at=most.logits,
        most_label=most_label,
        symmetric=symmetric,
        least_sum=least_sum.value,
        least_sum_at=least_sum.logits,
        most_sum=most_sum.value,
        most_sum_at=most_sum.logits,
        least_attained=least.attained,
        most_attained=most.attained,
    )


def _end(value: float) -> str:
    return "no limit found" if math.isnan(value) else number(value)
