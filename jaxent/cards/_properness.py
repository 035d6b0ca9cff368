"""Whether the expected loss tells P, and through which link."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from jaxent._words import distribution, short
from jaxent.cards._measuring import (
    FARTHEST_MINIMUM,
    LARGEST_GAP,
    Subject,
    least_between,
    local_minimum,
)

# A minimum of rounded values is found to about the root of their rounding.
_SAME_LINK = 1e-4
_SAME_NUMBER = 1e-3
_MULTIPLES = np.append(0.0, np.geomspace(1e-3, 1e1, 17))


class Properness(NamedTuple):
    """Whether the expected loss Σ_y p_y loss(z, e_y) is least at logits that tell P.

    Attributes:
        proper: no logits have a smaller expected loss than those that stand for P by the link.
        strict: and no others have the same. (If the loss ignores a shift of all logits, logits
            that differ by a shift are the same.)
        link: how logits stand for a distribution. It is found from the minimisers: "softmax", if
            they are z = log p; "softmax(0.5 z)" or the like for z = 2 log p; "softmax with offsets"
            for z = log p + c, c a number for each class; "identity" for z = p; "sparsemax" for
            z = p up to a shift; "affine" for z = a p + b; "sigmoid" for zᵢ = log(pᵢ/(1 − pᵢ));
            "another" if z is another function of P, and P is one of z; "none" if different P
            share their minimisers, or have none.
        worst_excess: the expected loss where softmax(z) = P (z = p for the links "identity" and
            "affine") less the least one, at the worst P that was tried.
        target: that P, [C].
        minimizer: the logits with the least expected loss for that P, [C].
        minimizer_q: the same as a distribution, softmax(z); z itself for the links "identity" and
            "affine", [C].
        directions: in how many directions the logits are felt, C for a loss that feels all.
    """

    proper: bool
    strict: bool
    link: str
    worst_excess: float
    target: Float[np.ndarray, " classes"]
    minimizer: Float[np.ndarray, " classes"]
    minimizer_q: Float[np.ndarray, " classes"]
    directions: int

    def long_words(self, alike: bool) -> dict[str, str]:
        least = f"at P = {distribution(self.target)} least at Q = {distribution(self.minimizer_q)}"
        if self.proper:
            proper = "strictly" if self.strict else "yes, with more logits than one for a P"
            link = self.link
            if link not in ("softmax", "identity", "affine", "sigmoid"):
                link += f"\nwith softmax: {least}"
        else:
            num_classes = len(self.target)
            felt = f"it feels the logits in {self.directions} of {num_classes} directions"
            proper = f"no: {felt if self.directions < num_classes - 1 else least}"
            link = self.link
        return {"proper": proper, "link": link}

    def short_words(self) -> dict[str, str]:
        if not self.proper:
            return {"proper": f"no, by {short(self.worst_excess)}"}
        link = {"softmax": "q = softmax(z)", "identity": "q = z"}.get(self.link, self.link)
        link = {"another": "its own link"}.get(link, link)
        return {"proper": f"{'strictly' if self.strict else 'yes'}, {link}"}


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Properness:
    num_classes, rounding = subject.num_classes, subject.rounding
    members = subject.groups.sum(-1)
    one_hots = np.eye(num_classes)[subject.representatives]  # one of each group speaks for all
    few = len(members)
    # P itself is kept away from the edges, where its logits have no end.
    targets = (
        0.97 * subject.random.dirichlet(np.ones(few), max(4, 36 // few // subject.thinning))
        + 0.03 / few
    )

    def expected(u: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray]:
        losses, gradients = subject.evaluate(subject.spread(u), one_hots)
        with np.errstate(invalid="ignore"):  # ∞ − ∞ ends a search
            return float(p @ losses), subject.summed_over_groups(p @ gradients)

    usable = np.isfinite(subject.values).all(-1)
    starts = subject.places[usable][:, subject.representatives]
    start_values = subject.values[usable]
    minima, strict, finite, excesses = [], True, True, []
    for p in targets:
        logarithms = np.log(p / members) - np.log(p / members).mean()
        if subject.reads_raw_logits:  # of all that have this softmax, the best
            _, offset = least_between(
                lambda by, p=p, z=logarithms: expected(z + by, p)[0], -LARGEST_GAP, LARGEST_GAP
            )
            logarithms = logarithms + offset
        value_at_p = expected(logarithms, p)[0]
        best = starts[np.nan_to_num(start_values @ p).argmin()]
        # A loss of large multiples of the logits is flat where they are not small.
        multiples = np.multiply.outer(_MULTIPLES, logarithms)
        multiple = min(multiples, key=lambda u, p=p: expected(u, p)[0])
        found = [
            local_minimum(lambda u, p=p: expected(u, p), start, FARTHEST_MINIMUM)
            for start in (logarithms, best, multiple)
        ]
        least = min(value_at_p, *(value for value, _ in found))
        allowed = rounding * max(1, abs(least))
        where = min(
            (u for value, u in [(value_at_p, logarithms), *found] if value <= least + allowed),
            key=lambda u: np.abs(_normal(u, subject)).max(),
        )
        others = [_normal(u, subject) for value, u in found if value <= least + allowed]
        apart = max((np.abs(u - _normal(where, subject)).max() for u in others), default=0.0)
        strict &= apart <= max(1e-3, 3 * math.sqrt(rounding)) * max(1, np.abs(where).max())
        farther = expected(2 * where, p)[0]
        finite &= not farther <= least + 1e-12 * abs(least) or not np.abs(where).max() > 5
        if expected(1e3 * where, p)[0] < least - 1e-6 * abs(least):
            least = -math.inf
        minima.append(_normal(where, subject))
        excesses.append((value_at_p - least, allowed))
    z, p = np.array(minima), targets
    shares = p / members
    directions = _directions_felt(subject)
    enough = directions >= num_classes - 1
    for_softmax = all(excess <= allowed for excess, allowed in excesses)
    told = enough and finite and _is_one_to_one(z, shares)
    link = _link(z, shares, subject) if told else "none"
    if for_softmax and enough:
        link = "softmax"
    worst = int(np.argmax([excess for excess, _ in excesses]))
    excess = excesses[worst][0]
    minimizer = subject.spread(z[worst])
    if link in ("identity", "affine"):
        excess = expected(shares[worst], p[worst])[0] - expected(z[worst], p[worst])[0]
    return Properness(
        proper=link != "none",
        strict=link != "none" and strict and finite,
        link=link,
        worst_excess=excess,
        target=subject.spread(shares[worst]),
        minimizer=minimizer,
        minimizer_q=minimizer if link in ("identity", "affine") else softmax(minimizer),
        directions=directions,
    )


def _normal(u: np.ndarray, subject: Subject) -> np.ndarray:
    """Logits of a loss that ignores their common shift, with the mean 0."""
    return u if subject.reads_raw_logits else u - u.mean()


def _directions_felt(subject: Subject) -> int:
    """The rank of the gradients at many places."""
    if subject.many_classes:
        return subject.num_classes - (not subject.reads_raw_logits)
    places, one_hots = subject.places[::8], np.eye(subject.num_classes)
    gradients = np.concatenate([subject.evaluate(places, one_hot)[1] for one_hot in one_hots])
    gradients = gradients[np.isfinite(gradients).all(-1)]
    sizes = np.linalg.svd(gradients, compute_uv=False)
    return int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum()) if sizes[0] > 0 else 0


def _is_one_to_one(z: np.ndarray, p: np.ndarray) -> bool:
    """Whether no two different P have nearly the same logits."""
    pairs = np.triu_indices(len(p), 1)
    apart = [np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=-1) for x in (z, p)]
    ratios = apart[0] / apart[1]
    return bool(ratios.min() > 1e-3 * np.median(ratios))


def _link(z: np.ndarray, p: np.ndarray, subject: Subject) -> str:
    """The name of the function that leads from P to the minimisers."""
    links: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "softmax": np.log,
        "identity": lambda p: p,
        "sigmoid": lambda p: np.log(p / (1 - p)),
    }
    rounded = 0 if subject.precision == np.float64 else 30 * math.sqrt(subject.rounding)
    same = max(_SAME_LINK, rounded) * np.abs(z).max()
    for name, function in links.items():
        x = function(p)
        x = x if subject.reads_raw_logits else x - x.mean(-1, keepdims=True)
        slope = np.sum((x - x.mean(0)) * (z - z.mean(0))) / np.sum(np.square(x - x.mean(0)))
        offsets = (z - slope * x).mean(0)
        if np.abs(z - slope * x - offsets).max() > same:
            continue
        without_offsets = np.abs(offsets).max() <= max(same, _SAME_NUMBER)
        unscaled = abs(slope - 1) <= _SAME_NUMBER
        if name == "identity":
            if not subject.reads_raw_logits and unscaled and without_offsets:
                return "sparsemax"
            return "identity" if unscaled and without_offsets else "affine"
        scaled = name if unscaled else f"{name}({1 / slope:.3g} z)"
        return scaled if without_offsets else f"{scaled} with offsets"
    return "another"
