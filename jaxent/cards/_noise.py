"""The values of a loss, and what a wrong label can do."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._words import number, short
from jaxent.cards._limits import extreme
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
        least_attained: the least value is that of logits within 30 of each other; otherwise it is
            only approached.
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
        return {
            "range": f"{bounds}, not bounded" if math.isinf(self.most) else bounds,
            "sum over labels": f"{sums}{', constant' if self.symmetric else ''}",
        }

    def short_words(self) -> dict[str, str]:
        symmetric = ", symmetric" if self.symmetric else ""
        ends = (short(end) if not math.isnan(end) else "?" for end in (self.least, self.most))
        return {"range": " to ".join(ends) + symmetric}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Noise:
    values, num_classes = subject.values, subject.num_classes
    ends = {}
    for sign in (-1, 1):
        found = []
        for label in subject.labels:
            one_hot = np.eye(num_classes)[label]
            order = (sign * np.nan_to_num(values[:, label], nan=-sign * math.inf)).argsort()
            places = subject.places[order[-8:]]
            found.append(
                extreme(subject, lambda z, p=one_hot: subject.evaluate(z, p), places, sign)
            )
        best = max(found, key=lambda end: math.inf if math.isnan(end.value) else sign * end.value)
        ends[sign] = best, subject.labels[found.index(best)]

    def sums_and_gradients(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [subject.evaluate(logits, one_hot) for one_hot in np.eye(num_classes)]
        return sum(value for value, _ in parts), sum(gradient for _, gradient in parts)  # pyright: ignore

    finite = np.isfinite(values).all(-1)
    sums = values[finite].sum(-1)
    points = subject.places[finite]
    symmetric = bool(np.ptp(sums) <= subject.rounding * max(1, np.abs(sums).max()))
    best = {sign: points[(sign * sums).argsort()[-8:]] for sign in (-1, 1)}
    if symmetric:
        least_sum, most_sum = ((float(sums.mean()), points[0]),) * 2
    else:
        least_sum, most_sum = (
            extreme(subject, sums_and_gradients, best[sign], sign)[:2] for sign in (-1, 1)
        )
    (least, least_label), (most, most_label) = ends[-1], ends[1]
    return Noise(
        bounded=math.isfinite(most.value),
        least=least.value,
        least_at=least.logits,
        least_label=least_label,
        most=most.value,
        most_at=most.logits,
        most_label=most_label,
        symmetric=symmetric,
        least_sum=least_sum[0],
        least_sum_at=least_sum[1],
        most_sum=most_sum[0],
        most_sum_at=most_sum[1],
        least_attained=least.attained,
        most_attained=most.attained,
    )


def _end(value: float) -> str:
    return "no limit found" if math.isnan(value) else number(value)
