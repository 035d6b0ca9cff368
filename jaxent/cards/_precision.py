"""What is left of the gradient in the precision in which a loss is used."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxent._words import of_each_truth
from jaxent.cards._measuring import Subject, norm

DTYPES = ("float32", "bfloat16", "float16")
_FARTHEST = 80.0
_POINTS = 320
# With a larger error a number has not one decimal digit.
_NO_DIGIT = 0.5
_RUN = 4
# How near a margin is found, where the logits are not coarser.
_NEAREST = 2.0**-8


class Side(NamedTuple):
    """What a precision leaves of the gradient on one side of the tie.

    Attributes:
        digits_to: the margin up to which the gradient keeps a digit: beyond, its error is more
            than half of its norm. ∞ if it keeps one at 80 logits.
        zero_from: the margin from which the gradient is exactly 0; ∞ if it is not at 80 logits.
        not_finite_from: the first margin at which the gradient is not finite though that of
            float64 is; ∞ if there is none.
    """

    digits_to: float
    zero_from: float
    not_finite_from: float

    def in_words(self) -> str:
        words = []
        if self.digits_to < math.inf:
            to = f"digits to {self.digits_to:.4g}" if self.digits_to > 0 else "no digits"
            words.append(to)
        if self.zero_from < math.inf:
            words.append(f"0 from {self.zero_from:.4g}")
        if self.not_finite_from < math.inf:
            words.append(f"not finite from {self.not_finite_from:.4g}")
        return ", ".join(words) or "digits to 80"


class Precision(NamedTuple):
    """What is left of the gradient of a certain truth if logits and targets have a given dtype.

    The true gradient is that of float64, at the same logits. The logit of the truth moves, and
    the others are 0.

    Attributes:
        dtype: of logits and targets.
        behind: the truth is behind all others, by up to 80 logits.
        ahead: the truth is ahead of all others.
        raises: the error of the loss when it is called with that dtype; empty if there is none.
        truth: the class that is the truth.
    """

    dtype: str
    behind: Side
    ahead: Side
    raises: str = ""
    truth: int = 0

    def in_words(self) -> str:
        if self.raises:
            return f"raises {self.raises}"
        if self.behind == self.ahead:
            return f"both sides: {self.behind.in_words()}"
        return f"behind: {self.behind.in_words()}; ahead: {self.ahead.in_words()}"


class Precisions(NamedTuple):
    """What is left of the gradient in float32, bfloat16 and float16.

    Attributes:
        of: of each dtype, and of each truth if the loss tells the classes apart.
    """

    of: tuple[Precision, ...]

    def long_words(self, alike: bool) -> dict[str, str]:
        truths = dict.fromkeys(one.truth for one in self.of)
        return of_each_truth(
            [
                (
                    truth,
                    {
                        f"gradient in {one.dtype}": one.in_words()
                        for one in self.of
                        if one.truth == truth
                    },
                )
                for truth in truths
            ]
        )

    def short_words(self) -> dict[str, str]:
        return {}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Precisions:
    return Precisions(
        tuple(_left_of(subject, dtype, label) for label in subject.labels for dtype in DTYPES)
    )


def _left_of(subject: Subject, dtype: str, label: int) -> Precision:
    truth = np.eye(subject.num_classes)[label]
    gradients = subject.gradients_in(dtype)

    def look(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each margin, rounded to the dtype: itself, its gradient, and that of float64."""
        logits = np.multiply.outer(-margins, truth)
        rounded = logits.astype(jnp.dtype(dtype)).astype(float)
        _, exact = subject.evaluate(rounded, truth)
        return np.abs(rounded[:, label]), gradients(rounded, truth), exact

    nothing = Side(math.inf, math.inf, math.inf)
    try:
        points = 1 + _POINTS // min(subject.thinning, 4)
        behind, ahead = _side(look, 1, points), _side(look, -1, points)
    except (TypeError, ValueError, NotImplementedError, jax.errors.JAXTypeError) as error:
        return Precision(dtype, nothing, nothing, type(error).__name__, label)
    return Precision(dtype, behind, ahead, truth=label)


def _side(look: Any, sign: int, points: int) -> Side:
    """One side of the tie, by a grid that is refined where the answer changes."""

    def flags(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether the gradient keeps a digit, is not 0, and is as finite as that of float64."""
        margins, low, exact = look(sign * margins)
        known = np.isfinite(exact).all(-1)
        finite = np.isfinite(low).all(-1) | ~known
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            close = norm(low - exact) <= _NO_DIGIT * norm(exact)
        digits = finite & (close | ~known)
        return margins, np.stack([digits, norm(low) != 0, finite])

    grid = np.linspace(0.0, _FARTHEST, points)
    digits, nonzero, finite = flags(grid)[1]
    # One point without digits may be an accident of rounding; and far out float64 has none either.
    run = np.convolve(~digits, np.ones(_RUN), "full")[_RUN - 1 :] >= np.minimum(
        _RUN, np.arange(len(grid), 0, -1)
    )
    firsts = [
        int(run.argmax()) if run.any() else None,
        int(np.flatnonzero(nonzero)[-1]) + 1 if nonzero.any() else 0,
        int(finite.argmin()) if not finite.all() else None,
    ]
    ends = []
    for which, first in enumerate(firsts):
        if first is None or first == len(grid):
            ends.append(math.inf)
        elif first == 0:
            ends.append(0.0)
        else:
            fine = np.linspace(grid[first - 1], grid[first], round(grid[1] / _NEAREST) + 1)
            margins, found = flags(fine)
            holds = int(np.flatnonzero(np.append(True, found[which]))[-1])  # one ahead
            at = holds if which else holds - 1
            ends.append(float(margins[min(max(at, 0), len(margins) - 1)]))
    return Side(*ends)
