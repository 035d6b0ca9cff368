"""What a reader has to know first: whether the function looks like a loss of (logits, targets)."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxent._words import distribution
from jaxent.cards._measuring import Subject

# A share of the points at which a loss need not be finite.
_FEW = 0.02


class Warnings(NamedTuple):
    """Sentences about a function that does not look like a loss of (logits, targets).

    Attributes:
        sentences: one for each fault, the worst first. Their subject is the loss.
    """

    sentences: tuple[str, ...]

    def long_words(self, alike: bool) -> dict[str, str]:
        return {"WARNING": "\n".join(self.sentences)} if self.sentences else {}

    def short_words(self) -> dict[str, str]:
        """The beginning of the first sentence."""
        beginnings = [re.split(r"[:.,](?: (?!\d)|$)", sentence)[0] for sentence in self.sentences]
        return {"WARNING": beginnings[0]} if beginnings else {}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Warnings:
    found = [
        _differs_between_calls(subject),
        _is_not_finite(subject),
        *_gradients_of_a_loss(subject),
        _is_linear_in_its_first_argument(subject),
        *_of_earlier_facts(subject, earlier),
    ]
    return Warnings(tuple(sentence for sentence in found if sentence))


def _examples(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Logits, [16, C], and labels, [16]."""
    random = np.random.default_rng(subject.seed)
    labels = np.arange(16) % subject.num_classes
    return 2 * random.standard_normal([16, subject.num_classes]), labels


def _differs_between_calls(subject: Subject) -> str:
    logits, labels = _examples(subject)
    z, p = logits[0], np.eye(subject.num_classes)[labels[0]]
    once, again = (np.asarray(subject.loss(*map(jax.numpy.asarray, (z, p)))) for _ in range(2))
    if np.array_equal(once, again, equal_nan=True):
        return ""
    return (
        "gives different values on two equal calls: it is random or keeps a state. The facts are "
        "those of one draw."
    )


def _is_not_finite(subject: Subject) -> str:
    usable = np.asarray(np.isfinite(subject.values).all(-1))
    if usable.mean() >= 1 - _FEW:
        return ""
    return (
        f"is not finite at {np.sum(~usable)} of {len(usable)} points with logits up to 30 apart, "
        f"such as z = {distribution(subject.places[usable.argmin()])}."
    )


def _gradients_of_a_loss(subject: Subject) -> list[str]:
    logits, _ = _examples(subject)
    one_hots = np.eye(subject.num_classes)[subject.representatives]
    gradients = np.stack([subject.evaluate(logits, one_hot)[1] for one_hot in one_hots])
    usable = np.isfinite(gradients).all((0, 2))
    gradients, values = gradients[:, usable], subject.values
    if not usable.any():
        return []
    scale = np.abs(gradients).max()
    if scale == 0:
        return ["does not depend on the logits: its gradient is 0 at every point that was tried."]
    values = values[np.isfinite(values).all(-1)]
    if (
        len(values)
        and (
            np.ptp(values, axis=-1) <= subject.rounding * np.maximum(1, np.abs(values).max(-1))
        ).all()
    ):
        sentence = (
            "has the same value whichever class is the truth. Does it take integer labels? It is "
            "called with one-hot targets, such as (1, 0, …, 0)."
        )
        return [sentence]
    sentences = []
    classes = np.arange(subject.num_classes)
    own = gradients[np.arange(len(one_hots)), :, subject.representatives]  # [label, point]
    others = (gradients.sum(-1) - own) / (subject.num_classes - 1)
    up = own - others
    if (up > 0).mean() > 0.95:
        sentences.append(
            "falls as the logit of the truth falls: its descent moves away from the truth. Is a "
            "minus missing?"
        )
    ignored = classes[np.abs(gradients).max((0, 1)) <= 1e-12 * scale]
    if len(ignored):
        which = ", ".join(map(str, ignored[:8])) + (", …" if len(ignored) > 8 else "")
        logits_ignored = f"the logit{'s' if len(ignored) > 1 else ''} {which}"
        sentences.append(f"ignores {logits_ignored}, where its gradient is 0.")
    return sentences


def _is_linear_in_its_first_argument(subject: Subject) -> str:
    logits, labels = _examples(subject)
    distributions = np.abs(logits[::-1]) / np.abs(logits).sum(-1)[::-1, None]
    one_hots = np.eye(subject.num_classes)[labels]

    def bends(first: np.ndarray, second: np.ndarray, ends: int) -> bool:
        """Whether the loss is not linear in one of its arguments."""
        pair = [first, second]
        other = list(pair)
        other[ends] = pair[ends][::-1]
        middle = list(pair)
        middle[ends] = (pair[ends] + pair[ends][::-1]) / 2
        start, end, between = (subject.evaluate(*both)[0] for both in (pair, other, middle))
        size = np.maximum(np.abs(start), np.abs(end))
        off = np.abs(between - (start + end) / 2) > 1e-6 * np.maximum(size, 1)
        return bool(np.any(off | ~np.isfinite(between)))

    if bends(logits, one_hots, 0) or bends(logits, distributions, 0):
        return ""
    if not bends(distributions, logits, 1):
        return ""
    return "is linear in its first argument, but not in its second. Is its order (targets, logits)?"


def _of_earlier_facts(subject: Subject, earlier: Mapping[str, Any]) -> list[str]:
    sentences = []
    derivatives = earlier["derivatives"]
    if not derivatives.right:
        because = ", because a stop_gradient stands in it" if derivatives.stopped else ""
        sentences.append(f"has a gradient that is not the derivative of its value{because}.")
    elif derivatives.hessian == "wrong":
        sentences.append("has wrong second derivatives by autodiff; its gradient is right.")
    if earlier["properness"].link.startswith("sigmoid"):
        sentences.append(
            "treats each logit alone, with a sigmoid. If the logits are a batch of examples of two "
            "classes, call it with one of them."
        )
    if not subject.alike:
        shown = "each truth" if len(subject.labels) == subject.num_classes else "some truths"
        sentences.append(f"tells the classes apart: facts are given for {shown}.")
    return sentences
