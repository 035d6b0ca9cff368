"""How hard a loss of a certain truth pushes, and where it fades."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxent._examples import Loss, jit_quickly
from jaxent._words import number, raised, short
from jaxent.cards._measuring import LARGEST_GAP, Subject, least_between, within_gap

# Where the gradient is asked whether it has vanished: e⁻³⁰⁰ is 1e-130, and still a number.
_FAR_GAP = 300.0
_MISTAKE_MARGIN = 12.0


class Push(NamedTuple):
    """How hard a loss of a certain truth pushes, ‖dL/dz‖₂ with P = (1, 0, …, 0).

    Attributes:
        largest_norm: on the way from a confident mistake to the truth, the wrong mass even.
        largest_at: p_true where that is.
        uniform_norm: at Q = (1/C, …, 1/C).
        uniform_power: the k of ‖dL/dz‖ ~ Cᵏ there, for many classes; NaN for a loss that cannot
            be called with as many.
        mistake_norm: where the truth is `mistake_margin` logits behind all others.
        mistake_margin: in logits.
        vanishes: where it fades to nothing, by name: "right corner", "wrong corners", "far edge",
            "near edges", "interior".
        vanishes_at: logits next to each of those, [C].
    """

    largest_norm: float
    largest_at: float
    uniform_norm: float
    uniform_power: float
    mistake_norm: float
    mistake_margin: float
    vanishes: tuple[str, ...]
    vanishes_at: tuple[Float[np.ndarray, " classes"], ...]

    def long_words(self, alike: bool) -> dict[str, str]:
        near_0 = self.largest_at < 1e-8
        where = "towards p_true = 0" if near_0 else f"at p_true = {number(self.largest_at)}"
        power = "unknown" if math.isnan(self.uniform_power) else f"{self.uniform_power + 0.0:.2f}"
        return {
            "largest push": f"{number(self.largest_norm)} {where}",
            "push at the uniform start": f"{number(self.uniform_norm)}, ~ C^{power}",
            f"push {self.mistake_margin:g} logits behind": number(self.mistake_norm),
            "vanishes at": ", ".join(self.vanishes) or "no point found",
        }

    def short_words(self) -> dict[str, str]:
        at = f"= {short(self.largest_at)}"
        if not 1e-6 < self.largest_at < 1 - 1e-6:
            at = f"→ {self.largest_at:.0f}"
        places = ", ".join(self.vanishes) or "nowhere"
        for longer, shorter in (
            ("right corner, wrong corners", "all corners"),
            ("far edge, near edges", "all edges"),
        ):
            places = places.replace(longer, shorter)
        return {
            "largest push": f"{short(self.largest_norm)} at p_true {at}",
            "push, uniform q": short(self.uniform_norm) + _power_of_classes(self.uniform_power),
            f"push, {self.mistake_margin:g} behind": short(self.mistake_norm),
            "push fades at": places,
        }


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Push:
    evaluate, num_classes = subject.evaluate, subject.num_classes
    truth = np.eye(num_classes)[0]
    wrong = num_classes - 1

    def behind(margin: ArrayLike) -> np.ndarray:
        """The truth m behind all the others, Σz = 0."""
        return np.multiply.outer(margin, np.where(truth == 1, -wrong, 1.0) / num_classes)

    def norms(logits: np.ndarray) -> np.ndarray:
        return np.linalg.norm(evaluate(logits, truth)[1], axis=-1)

    def vanishes_along(path: Callable[[ArrayLike], np.ndarray]) -> np.ndarray | None:
        """Where on a path between two corners, and not only at its ends, the norm is nothing."""
        places = np.linspace(-10, 10, 161)
        along = norms(path(places))
        along = np.where(np.isfinite(along), along, math.inf)
        if along[80] <= none:
            return path(0.0)
        near = int(along[1:-1].argmin()) + 1
        norm, place = least_between(lambda x: norms(path(x))[0], places[near - 1], places[near + 1])
        inside = near not in (1, len(places) - 2)
        return path(place) if inside and norm <= none else None

    margins = np.linspace(20, -20, 801)
    along = norms(behind(margins))
    top = int(np.nanargmax(along))
    largest, largest_margin = float(along[top]), float(margins[top])
    if 0 < top < len(margins) - 1:
        minus_norm, at = least_between(
            lambda m: -norms(behind(m))[0], margins[top + 1], margins[top - 1]
        )
        largest, largest_margin = max((largest, largest_margin), (-minus_norm, at))

    def corner(top_class: int, gap: float) -> np.ndarray:
        return gap * (np.eye(num_classes)[top_class] - 1 / num_classes)

    def edge(one: int, other: int) -> Callable[[ArrayLike], np.ndarray]:
        """Two classes alone with each other, the second ahead by the argument."""
        base = np.where(np.isin(np.arange(num_classes), [one, other]), 0.0, -_FAR_GAP)
        base[[one, other]] = 0.0
        return lambda split: base + np.multiply.outer(split, np.eye(num_classes)[other])

    uniform = float(norms(np.zeros(num_classes))[0])
    none = 1e-6 * min(largest, uniform or largest)
    vanishing: list[tuple[str, np.ndarray]] = []
    if norms(corner(0, _FAR_GAP))[0] <= none:
        vanishing.append(("right corner", corner(0, LARGEST_GAP)))
    if max(norms(corner(j, _FAR_GAP))[0] for j in range(1, num_classes)) <= none:
        vanishing.append(("wrong corners", corner(1, LARGEST_GAP)))
    if num_classes > 2:
        for name, path in (("far edge", edge(1, 2)), ("near edges", edge(0, 1))):
            place = vanishes_along(path)
            if place is not None:
                vanishing.append((name, within_gap(place)))
    rest = subject.lowest_point(truth)
    # A minimum at infinity is approached; from one that is reached it is uphill again.
    uphill = norms(2 * rest)[0] > 2 * norms(rest)[0]
    if norms(rest)[0] <= none and uphill and np.ptp(rest) < 15:
        vanishing.append(("interior", rest))
    return Push(
        largest_norm=largest,
        largest_at=float(1 / (1 + wrong * np.exp(largest_margin))),
        uniform_norm=uniform,
        uniform_power=_uniform_power(subject.loss),
        mistake_norm=float(norms(behind(_MISTAKE_MARGIN))[0]),
        mistake_margin=_MISTAKE_MARGIN,
        vanishes=tuple(name for name, _ in vanishing),
        vanishes_at=tuple(at for _, at in vanishing),
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
