"""How a loss of a certain truth curves."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from jaxent._words import distribution, number, short
from jaxent.cards._hessians import Hessians, hessians_of
from jaxent.cards._measuring import LARGEST_GAP, Subject

_THINNED = 10
"""Of so many places one is looked at, where a Hessian costs many gradients."""

_FURTHER = 10
"""So many times the usual gaps are looked at too: a loss at a temperature of 10 needs them."""

_Objective = Callable[[np.ndarray], np.ndarray]


class Curvature(NamedTuple):
    """How a loss of a certain truth curves, P = (1, 0, …, 0).

    The Hessian is that of autodiff where `Derivatives.hessian` is "right", and otherwise the
    Jacobian of the gradient by differences. An eigenvalue counts where the neighbours of a point
    have it too: on a kink and in the rounding they do not.

    Attributes:
        least_eigenvalue: of the Hessian on the directions that sum to zero, the least over the
            simplex. For a loss of raw logits it is the least on all directions.
        least_at: the logits where that is, [C].
        not_convex_share: the share of the simplex in which that eigenvalue is negative; for a loss
            of raw logits at Σz = 0.
        smoothness: L, the largest absolute eigenvalue of the Hessian over logit gaps up to 300; ∞
            where the gradient jumps.
        smoothness_at: the logits where that is, [C].
        largest_step: 2/L, up to which descent with a fixed step cannot run away; 0 for L = ∞.
        least_label: the class that is the truth at `least_at`; 0 unless the loss tells them apart.
        smoothness_label: likewise at `smoothness_at`.
        of_raw_logits: the loss feels a shift of all logits, so that Q does not say where it is.
    """

    least_eigenvalue: float
    least_at: Float[np.ndarray, " classes"]
    not_convex_share: float
    smoothness: float
    smoothness_at: Float[np.ndarray, " classes"]
    largest_step: float
    least_label: int = 0
    smoothness_label: int = 0
    of_raw_logits: bool = False

    def long_words(self, alike: bool) -> dict[str, str]:
        def at(logits: np.ndarray, label: int) -> str:
            truth = "" if alike else f", truth {label}"
            if self.of_raw_logits:
                return f"at z = {distribution(logits)}{truth}"
            return f"at Q = {distribution(softmax(logits))}{truth}"

        level = " at Σz = 0" if self.of_raw_logits else ""
        jumps = ", where the gradient jumps" if math.isinf(self.smoothness) else ""
        return {
            "smoothness L": f"{number(self.smoothness)} "
            f"{at(self.smoothness_at, self.smoothness_label)}{jumps}",
            "2/L": number(self.largest_step),
            "least eigenvalue": f"{number(self.least_eigenvalue)} "
            f"{at(self.least_at, self.least_label)}",
            "not convex": f"{100 * self.not_convex_share:.1f} % of the simplex{level}",
        }

    def short_words(self) -> dict[str, str]:
        share = self.not_convex_share
        return {
            "L, 2/L": f"{short(self.smoothness)}, {short(self.largest_step)}",
            "least curvature": short(self.least_eigenvalue),
            "not convex": f"{100 * share:.0f} % of the simplex"
            if share or self.least_eigenvalue < 0
            else "nowhere",
        }


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Curvature:
    num_classes, flat = subject.num_classes, not subject.reads_raw_logits
    hessians = hessians_of(subject, earlier)
    simplex, places = subject.simplex, subject.grid if subject.many_classes else subject.places
    if flat:
        places = np.concatenate([subject.grid, _FURTHER * subject.grid[::3]])
    if hessians.by_differences:
        simplex, places = simplex[::_THINNED], places[::_THINNED]
    search = _Search(subject, hessians)
    # (L, where, label) and (−least, where, label)
    sharpest: tuple[float, np.ndarray, int] = (-math.inf, subject.grid[0], 0)
    lowest, shares = sharpest, []
    for label in subject.labels:
        target = np.eye(num_classes)[label]
        # Exactly on a kink autodiff may say anything. No point is there once it is shifted.
        here = np.concatenate([places, simplex])
        here = search.shifted(here if subject.many_classes else np.roll(here, label, -1), 1e-4)
        matrices = hessians.at(here, target)
        found = search.sharpest(here, target, matrices)
        sharpest = max(sharpest, (*found, label), key=lambda triple: triple[0])
        value, at, share = search.lowest(here, target, matrices, len(simplex))
        lowest = max(lowest, (value, at, label), key=lambda triple: triple[0])
        shares.append(share)
    for label in subject.labels:
        jump = _jump_of_the_gradient(subject, np.eye(num_classes)[label], search.unit)
        if jump is not None:
            sharpest = math.inf, jump, label
            break
    smoothness, smoothness_at, smoothness_label = sharpest
    _, least_at, least_label = lowest
    return Curvature(
        least_eigenvalue=0.0 - lowest[0],
        least_at=least_at,
        not_convex_share=float(np.mean(shares)),
        smoothness=smoothness,
        smoothness_at=smoothness_at,
        largest_step=2 / smoothness if smoothness > 0 else math.inf,
        least_label=least_label,
        smoothness_label=smoothness_label,
        of_raw_logits=not flat,
    )


class _Search:
    """Looks for the extremes of the eigenvalues, and believes those that neighbours share."""

    def __init__(self, subject: Subject, hessians: Hessians):
        self.hessians, self.random = hessians, subject.random
        self.within = partial(subject.within, largest=_FURTHER * LARGEST_GAP)
        self.num_classes, self.thinning = subject.num_classes, subject.thinning
        self.groups = subject.groups
        self.starts = max(1, 24 // subject.num_classes // min(subject.thinning, 4))
        self.unit = float(jnp.finfo(subject.precision).eps)
        self.largest_anywhere = 0.0

    def sharpest(
        self, places: np.ndarray, target: np.ndarray, matrices: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The largest absolute eigenvalue, and where."""

        def largest(logits: np.ndarray) -> np.ndarray:
            return self.hessians.largest(self.hessians.at(logits, target))

        value, at = self._best(largest, places, self.hessians.largest(matrices))
        self.largest_anywhere = max(self.largest_anywhere, value)
        return value, at

    def lowest(
        self, places: np.ndarray, target: np.ndarray, matrices: np.ndarray, of_simplex: int
    ) -> tuple[float, np.ndarray, float]:
        """Minus the least eigenvalue, where, and the share of the last places where it is < 0."""

        def downwards(matrices: np.ndarray) -> np.ndarray:
            """Minus the least eigenvalue, 0 where that is rounding."""
            least = self.hessians.least(matrices)
            rounding = self.hessians.tolerance(matrices, self.largest_anywhere)
            return np.where(np.abs(least) > rounding, -least, 0.0)

        def objective(logits: np.ndarray) -> np.ndarray:
            return downwards(self.hessians.at(logits, target))

        found = downwards(matrices)
        negative = np.flatnonzero(found[-of_simplex:] > 0) + len(places) - of_simplex
        shared = self._shared(objective, places[negative], found[negative])
        value, at = self._best(objective, places, found)
        return value, at, float(shared.sum() / of_simplex)

    def shifted(self, logits: np.ndarray, size: float) -> np.ndarray:
        numbers = self.random.standard_normal([*logits.shape[:-1], len(self.groups)])
        return logits + size * numbers @ self.groups

    def _shared(self, objective: _Objective, at: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Whether neighbours have at least half of each value and at most twice as much."""
        step = self.unit ** (1 / 3)
        shared = np.ones(len(at), bool)
        for size in (min(step * factor, 0.1) for factor in (1, 10, 100)):
            nearby = objective(self.shifted(at[shared], size)) if shared.any() else np.empty(0)
            mine = values[shared]
            shared[shared] = (mine <= 0) | ((nearby >= mine / 2) & (nearby <= 2 * mine))
        return shared

    def _best(
        self, objective: _Objective, places: np.ndarray, values: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The largest value that neighbours share, climbed to from the best places; or else 0."""
        order = values.argsort()[::-1][: 64 // min(self.thinning, 16)]
        kept = order[self._shared(objective, places[order], values[order])]
        values, at = self._ascend(objective, places[(kept if len(kept) else order)[: self.starts]])
        order = values.argsort()[::-1]
        values, at = values[order], at[order]
        shared = self._shared(objective, at, values)
        return (float(values[shared][0]), at[shared][0]) if shared.any() else (0.0, at[0])

    def _ascend(self, objective: _Objective, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The largest values, and where, by compass search from several starts at once."""
        best, at = objective(starts), starts.copy()
        steps = np.full(len(starts), 0.5)
        alone, together = self.groups[:6], self.groups[6:].sum(0, keepdims=True)
        axes = np.concatenate([alone, together, -alone, -together])
        for _ in range(200):
            if steps.max() < (1e-5 if self.thinning == 1 else 1e-2):
                break
            others = self.random.standard_normal([6 if self.thinning == 1 else 1, len(self.groups)])
            others = others @ self.groups
            others /= np.linalg.norm(others, axis=-1, keepdims=True)
            directions = np.concatenate([axes, others])
            trials = self.within(at[:, None] + steps[:, None, None] * directions)
            tried = objective(trials.reshape(-1, self.num_classes)).reshape(len(at), -1)
            chosen = tried.argmax(-1)
            rows = np.arange(len(at))
            better = tried[rows, chosen] > best
            at = np.where(better[:, None], trials[rows, chosen], at)
            best = np.where(better, tried[rows, chosen], best)
            steps = np.where(better, steps, steps / 2)
        return best, at


def _jump_of_the_gradient(subject: Subject, target: np.ndarray, unit: float) -> np.ndarray | None:
    """Logits at which the gradient jumps, or None.

    The steepest stretches of some lines are halved until nothing that has a derivative could still
    change there. A gradient that rounds jumps from number to number all the way. So a jump counts
    only if stretches beside it have none as large.
    """
    num_classes, thin = subject.num_classes, min(subject.thinning, 8)
    count = 48 // thin
    ends = LARGEST_GAP * (subject.random.random([2, count, 1, num_classes]) - 0.5)
    ends[:, 0, 0] = np.where(target == 1, np.array([[-1], [1]]), 0.0) * LARGEST_GAP
    along = np.linspace(0, 1, 1 + 256 // min(thin, 4))[:, None]
    lines = ends[0] + along * (ends[1] - ends[0])
    _, gradients = subject.evaluate(lines.reshape(-1, num_classes), target)
    gradients = gradients.reshape(lines.shape)
    changes = np.linalg.norm(np.diff(gradients, axis=1), axis=-1)
    changes = np.where(np.isfinite(changes), changes, 0.0)
    steepest = np.unravel_index(changes.ravel().argsort()[-64 // thin :], changes.shape)
    at, jumps = _jumps_within(subject, target, lines[:, :-1][steepest], lines[:, 1:][steepest])
    finite = gradients[np.isfinite(gradients).all(-1)]
    largest = np.linalg.norm(finite, axis=-1).max()
    counts = np.flatnonzero(jumps > max(1e-6, 32 * unit) * largest)
    counts = counts[jumps[counts].argsort()[::-1]]
    if not len(counts):
        return None
    directions = (ends[1] - ends[0])[steepest[0], 0][counts]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    alone = np.ones(len(counts), bool)
    for distance in (1e-4, 1e-3, 1e-2, 1e-1):
        beside = []
        for signed in (distance, -distance):
            near = at[counts] + signed / 4 * directions
            beside.append(_jumps_within(subject, target, near, near + signed * directions)[1])
        alone &= np.min(beside, axis=0) < jumps[counts] / 4
    return at[counts[alone.argmax()]] if alone.any() else None


def _jumps_within(
    subject: Subject, target: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the gradient changes most between two rows of points, and by how much in no distance.

    The half with the larger change is kept, 32 times.
    """
    at_left, at_right = subject.evaluate(left, target)[1], subject.evaluate(right, target)[1]
    for _ in range(32):
        middle = (left + right) / 2
        _, at_middle = subject.evaluate(middle, target)
        first = np.linalg.norm(at_middle - at_left, axis=-1)
        second = np.linalg.norm(at_right - at_middle, axis=-1)
        in_first = (first >= second)[:, None]
        right, at_right = np.where(in_first, middle, right), np.where(in_first, at_middle, at_right)
        left, at_left = np.where(in_first, left, middle), np.where(in_first, at_left, at_middle)
    return right, np.linalg.norm(at_right - at_left, axis=-1)
