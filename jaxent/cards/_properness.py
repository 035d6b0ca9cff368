"""Whether the expected loss is least where Q is P."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._words import distribution, short
from jaxent.cards._measuring import LARGEST_GAP, Subject, least_between, local_minimum, softmax


class Properness(NamedTuple):
    """Whether the expected loss Σ_y p_y loss(z, e_y) is least where Q is P.

    Attributes:
        proper: no logits have a smaller expected loss than those of P itself.
        strict: and no others have the same.
        link: how logits stand for a distribution: "softmax", or "identity" (Q = z) for a loss
            that a shift common to all the logits changes.
        worst_excess: the expected loss at Q = P less the least one, at the worst P that was tried.
        target: that P, [C].
        minimizer: the logits with the least expected loss for that P, [C].
        minimizer_q: the same through the link, [C].
    """

    proper: bool
    strict: bool
    link: Literal["softmax", "identity"]
    worst_excess: float
    target: Float[np.ndarray, " classes"]
    minimizer: Float[np.ndarray, " classes"]
    minimizer_q: Float[np.ndarray, " classes"]

    def long_words(self, alike: bool) -> dict[str, str]:
        if self.proper:
            proper = "strictly" if self.strict else "yes, not strictly"
        else:
            proper = (
                f"no: at P = {distribution(self.target)} "
                f"least at {'Q' if self.link == 'softmax' else 'z'} = "
                f"{distribution(self.minimizer_q)}"
            )
        return {"proper": proper, "link": self.link}

    def short_words(self) -> dict[str, str]:
        if not self.proper:
            return {"proper": f"no, by {short(self.worst_excess)}"}
        link = {"softmax": "q = softmax(z)", "identity": "q = z"}[self.link]
        return {"proper": f"{'strictly' if self.strict else 'yes'}, {link}"}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Properness:
    """The expected loss is linear in P, so its values at all the points serve for every P."""
    evaluate, num_classes, rounding = subject.evaluate, subject.num_classes, subject.rounding
    usable = np.isfinite(subject.values).all(-1)
    points, values = subject.places[usable], subject.values[usable]
    nearby = max(1e-3, math.sqrt(rounding))  # a minimum is as flat as its values are rounded
    # P itself is kept away from the edges, where its logits have no end.
    targets = (
        0.97 * subject.random.dirichlet(np.ones(num_classes), max(4, 72 // num_classes))
        + 0.03 / num_classes
    )

    def judged(link: Literal["softmax", "identity"]) -> Properness:
        through_link = softmax if link == "softmax" else np.asarray
        worst = None
        proper = strict = True
        for p in targets:

            def expected(z: np.ndarray, p: np.ndarray = p) -> tuple[float, np.ndarray]:
                losses, gradients = evaluate(z, np.eye(num_classes))
                return float(p @ losses), p @ gradients

            at_p = np.log(p) - np.log(p).mean() if link == "softmax" else p
            if (
                link == "softmax" and not earlier["invariance"].shift
            ):  # of all that have this softmax, the best
                _, offset = least_between(
                    lambda by, expected=expected, at_p=at_p: expected(at_p + by)[0],
                    -LARGEST_GAP,
                    LARGEST_GAP,
                )
                at_p = at_p + offset
            value_at_p, _ = expected(at_p)
            from_afar = local_minimum(expected, points[np.argmin(values @ p)])
            from_p = local_minimum(expected, at_p)
            candidates = [(value_at_p, at_p), from_p, from_afar]
            least, minimizer = min(candidates, key=lambda pair: pair[0])
            if expected(1e3 * minimizer)[0] < least - 1e-6 * abs(least):
                least = -math.inf
            excess = value_at_p - least
            allowed = rounding * max(1, abs(value_at_p))
            proper &= excess <= allowed
            elsewhere = np.abs(through_link(from_afar[1]) - p).max() > nearby
            strict &= not (elsewhere and from_afar[0] <= value_at_p + allowed)
            if worst is None or excess > worst[0]:
                worst = excess, p, minimizer, through_link(minimizer)
        assert worst is not None
        return Properness(proper, proper and strict, link, *worst)

    if earlier["invariance"].shift:
        return judged("softmax")
    by_identity = judged("identity")
    if by_identity.proper:
        return by_identity
    by_softmax = judged("softmax")
    return by_softmax if by_softmax.proper else by_identity
