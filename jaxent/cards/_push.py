"""How hard a loss of a certain truth pushes, and where it fades."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent._examples import Loss, jit_quickly
from jaxent._words import number, of_each_truth, raised, short
from jaxent.cards._limits import FARTHEST, Tail, tail
from jaxent.cards._measuring import LARGEST_GAP, Subject, least_between, norm

_MISTAKE_MARGIN = 12.0


class Push(NamedTuple):
    """How hard a loss of a certain truth pushes, ‖dL/dz‖₂.

    The logit of the truth moves, z = (−m, 0, …, 0), and the others are 0.

    Attributes:
        largest_norm: the largest on the way from a confident mistake to the truth, or the limit
            that it approaches; ∞ if there is none.
        largest_at: p_true where that is; 0 or 1 for a limit.
        largest_margin: m where that is; ∞ or −∞ for a limit.
        uniform_norm: at Q = (1/C, …, 1/C), z = 0.
        uniform_power: the k of ‖dL/dz‖ ~ Cᵏ there, for many classes; NaN for a loss that cannot
            be called with as many.
        mistake_norm: where the truth is `mistake_margin` logits behind all others.
        mistake_margin: in logits.
        vanishes: where the norm fades to nothing, by name: "right corner", "wrong corners", "far
            edge", "near edges", "interior".
        vanishes_at: logits next to each of those, [C].
        behind: how the norm behaves as the truth falls behind all others.
        ahead: how it behaves as the truth gets ahead of all others.
        reads_raw_logits: the loss does, so that a point is given by its logits.
        truth: the class that is the truth, P = e_truth.
        of_labels: the same of every truth that was looked at, if the loss tells the classes
            apart; the record itself is that of the largest norm.
    """

    largest_norm: float
    largest_at: float
    largest_margin: float
    uniform_norm: float
    uniform_power: float
    mistake_norm: float
    mistake_margin: float
    vanishes: tuple[str, ...]
    vanishes_at: tuple[Float[np.ndarray, " classes"], ...]
    behind: Tail
    ahead: Tail
    reads_raw_logits: bool = False
    truth: int = 0
    of_labels: "tuple[Push, ...]" = ()

    def _rows(self) -> dict[str, str]:
        power = "unknown" if math.isnan(self.uniform_power) else f"{self.uniform_power + 0.0:.2f}"
        if math.isinf(self.largest_margin):
            where = f"as the truth {'falls behind' if self.largest_margin > 0 else 'gets ahead'}"
        elif self.reads_raw_logits:
            where = f"with the truth at {number(-self.largest_margin)}, the others at 0"
        else:
            where = f"at p_true = {number(self.largest_at)}"
        return {
            "largest push": f"{number(self.largest_norm)} {where}",
            "push at the uniform start": f"{number(self.uniform_norm)}, ~ C^{power}",
            f"push {self.mistake_margin:g} logits behind": number(self.mistake_norm),
            "push far behind": self.behind.in_words(),
            "push far ahead": self.ahead.in_words(),
            "vanishes at": ", ".join(self.vanishes) or "no point found",
        }

    def long_words(self, alike: bool) -> dict[str, str]:
        return of_each_truth([(one.truth, one._rows()) for one in self.of_labels or (self,)])

    def short_words(self) -> dict[str, str]:
        at = f"= {short(self.largest_at)}"
        if not 1e-12 < self.largest_at < 1 - 1e-6:
            at = f"→ {self.largest_at:.0f}"
        places = ", ".join(self.vanishes) or "nowhere"
        for longer, shorter in (
            ("right corner, wrong corners", "all corners"),
            ("far edge, near edges", "all edges"),
        ):
            places = places.replace(longer, shorter)
        truth = f", truth {self.truth}" if self.of_labels else ""
        return {
            "largest push": f"{short(self.largest_norm)} at p_true {at}{truth}",
            "push, uniform q": short(self.uniform_norm) + _power_of_classes(self.uniform_power),
            f"push, {self.mistake_margin:g} behind": short(self.mistake_norm),
            "push fades at": places,
        }


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Push:
    power = _uniform_power(subject.loss)
    noise = earlier["noise"]
    rests = {noise.least_label: noise.least_at} if noise.least_attained else {}
    pushes = tuple(
        _of_one_truth(subject, label, power, rests.get(label)) for label in subject.labels
    )
    hardest = max(pushes, key=lambda push: push.largest_norm)
    return hardest._replace(of_labels=() if len(pushes) == 1 else pushes)


def _of_one_truth(subject: Subject, label: int, power: float, rest: np.ndarray | None) -> Push:
    num_classes = subject.num_classes
    truth = np.eye(num_classes)[label]
    wrong = num_classes - 1
    others = [index for index in range(num_classes) if index != label]

    def behind(margin: ArrayLike) -> np.ndarray:
        """The truth m behind all the others, which are at 0."""
        return np.multiply.outer(-np.asarray(margin), truth)

    def norms(logits: np.ndarray) -> np.ndarray:
        return norm(subject.evaluate(logits, truth)[1])

    def vanishes_along(path: Callable[[ArrayLike], np.ndarray]) -> np.ndarray | None:
        """Where on a path between two corners, and not only at its ends, the norm is nothing."""
        places = np.linspace(-10, 10, 161)
        along = norms(path(places))
        along = np.where(np.isfinite(along), along, math.inf)
        if along[80] <= none:
            return path(0.0)
        near = int(along[1:-1].argmin()) + 1
        least, place = least_between(
            lambda x: norms(path(x))[0], places[near - 1], places[near + 1]
        )
        inside = near not in (1, len(places) - 2)
        return path(place) if inside and least <= none else None

    far_behind = tail(lambda distances: norms(behind(distances)), subject)
    far_ahead = tail(lambda distances: norms(behind(-distances)), subject)
    thin = subject.thinning
    far = np.linspace(20.25, FARTHEST, 1 + 1119 // thin)
    near = np.linspace(-20, 20, 1 + 800 // thin)
    margins = np.concatenate([-far[::-1], near, far])
    along = norms(behind(margins))
    highest = np.flatnonzero(along >= np.nanmax(along) * (1 - 1e-12))
    top = int(highest[np.abs(margins[highest]).argmin()])
    largest, largest_margin = float(along[top]), float(margins[top])
    if 0 < top < len(margins) - 1:
        minus_norm, at = least_between(
            lambda m: -norms(behind(m))[0], margins[top - 1], margins[top + 1]
        )
        largest, largest_margin = max((largest, largest_margin), (-minus_norm, at))
    met = np.nanmax(along[np.abs(margins) <= _MISTAKE_MARGIN])
    for end, margin in ((far_ahead.end, -math.inf), (far_behind.end, math.inf)):
        if met < end * (1 - 1e-12) and end * (1 + 1e-12) >= largest:
            largest, largest_margin = end, margin

    def corner(top_class: int) -> np.ndarray:
        return np.eye(num_classes)[top_class]

    def edge(one: int, two: int) -> Callable[[ArrayLike], np.ndarray]:
        """Two classes alone with each other, the second ahead by the argument."""
        base = np.where(np.isin(np.arange(num_classes), [one, two]), 0.0, -FARTHEST)
        return lambda split: base + np.multiply.outer(split, np.eye(num_classes)[two])

    uniform = float(norms(np.zeros(num_classes))[0])
    none = 1e-6 * min(size for size in (largest, uniform, math.inf) if size > 0)
    vanishing: list[tuple[str, np.ndarray]] = []
    if far_ahead.vanishes:
        vanishing.append(("right corner", LARGEST_GAP * corner(label)))
    towards_wrong = tail(lambda by: norms(np.multiply.outer(by, corner(others[0]))), subject)
    if towards_wrong.vanishes:
        vanishing.append(("wrong corners", LARGEST_GAP * corner(others[0])))
    if num_classes > 2:
        for name, path in (("far edge", edge(*others[:2])), ("near edges", edge(label, others[0]))):
            place = vanishes_along(path)
            if place is not None:
                vanishing.append((name, subject.within(place)))
    rest = subject.lowest_point(truth) if rest is None else rest
    # A minimum at infinity is approached; from one that is reached it is uphill again.
    uphill = norms(2 * rest)[0] > 2 * norms(rest)[0]
    if norms(rest)[0] <= none and uphill and np.ptp(rest) < 15:
        vanishing.append(("interior", rest))
    with np.errstate(over="ignore"):
        p_true = float(1 / (1 + wrong * np.exp(largest_margin)))
    return Push(
        largest_norm=largest,
        largest_at=p_true,
        largest_margin=largest_margin,
        uniform_norm=uniform,
        uniform_power=power,
        mistake_norm=float(norms(behind(_MISTAKE_MARGIN))[0]),
        mistake_margin=_MISTAKE_MARGIN,
        vanishes=tuple(name for name, _ in vanishing),
        vanishes_at=tuple(at for _, at in vanishing),
        behind=far_behind,
        ahead=far_ahead,
        reads_raw_logits=subject.reads_raw_logits,
        truth=label,
    )


def _uniform_power(loss: Loss) -> float:
    few, many = 300, 3000
    examples = [(np.zeros(count), np.eye(1, count)[0]) for count in (few, many)]
    try:
        gradients = jit_quickly(lambda *pairs: [jax.grad(loss)(*pair) for pair in pairs])(*examples)
        ends = [float(np.linalg.norm(gradient)) for gradient in gradients]
    except Exception:  # written for a certain number of classes, it may raise anything
        return math.nan
    return math.log(ends[1] / ends[0], many / few) if all(ends) else math.nan


def _power_of_classes(power: float) -> str:
    if not math.isfinite(power):
        return ""
    whole = round(power)
    return f", ∝ C{raised(f'{whole}' if abs(power - whole) < 0.015 else f'{power:.2f}')}"
