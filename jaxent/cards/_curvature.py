"""How a loss of a certain truth curves."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxent._examples import sum_zero_basis
from jaxent._words import distribution, number, short
from jaxent.cards._measuring import LARGEST_GAP, Subject, in_blocks, softmax, within_gap
from jaxent.curvature import hessian


class Curvature(NamedTuple):
    """How a loss of a certain truth curves, P = (1, 0, …, 0).

    Attributes:
        least_eigenvalue: of the Hessian on the directions that sum to zero, the least over the
            simplex.
        least_at: the logits where that is, [C].
        not_convex_share: the share of the simplex in which that eigenvalue is negative.
        smoothness: L, the largest absolute eigenvalue of the Hessian over logit gaps up to 30;
            ∞ where the gradient jumps.
        smoothness_at: the logits where that is, [C].
        largest_step: 2/L, up to which descent with a fixed step cannot run away; 0 for L = ∞.
        least_label: the class that is the truth at `least_at`; 0 unless the loss tells them apart.
        smoothness_label: likewise at `smoothness_at`.
    """

    least_eigenvalue: float
    least_at: Float[np.ndarray, " classes"]
    not_convex_share: float
    smoothness: float
    smoothness_at: Float[np.ndarray, " classes"]
    largest_step: float
    least_label: int = 0
    smoothness_label: int = 0

    def long_words(self, alike: bool) -> dict[str, str]:
        def at(logits: np.ndarray, label: int) -> str:
            truth = "" if alike else f", truth {label}"
            return f"at Q = {distribution(softmax(logits))}{truth}"

        jumps = ", where the gradient jumps" if math.isinf(self.smoothness) else ""
        return {
            "smoothness L": f"{number(self.smoothness)} "
            f"{at(self.smoothness_at, self.smoothness_label)}{jumps}",
            "2/L": number(self.largest_step),
            "least eigenvalue": f"{number(self.least_eigenvalue)} "
            f"{at(self.least_at, self.least_label)}",
            "not convex": f"{100 * self.not_convex_share:.1f} % of the simplex",
        }

    def short_words(self) -> dict[str, str]:
        share = self.not_convex_share
        return {
            "L, 2/L": f"{short(self.smoothness)}, {short(self.largest_step)}",
            "least curvature": short(self.least_eigenvalue),
            "not convex": f"{100 * share:.0f} % of the simplex" if share else "nowhere",
        }


def measure(subject: Subject, earlier: Mapping[str, Any]) -> Curvature:
    num_classes, random = subject.num_classes, subject.random
    labels = range(1 if earlier["invariance"].permutation else num_classes)
    hessians = in_blocks(partial(hessian, subject.loss), num_classes, num_classes)
    basis = sum_zero_basis(num_classes)

    def curvatures(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Hessians, zero where they are not finite."""
        matrices = hessians(logits, target)
        return np.where(np.isfinite(matrices).all((-2, -1), keepdims=True), matrices, 0.0)

    def largest(matrices: np.ndarray) -> np.ndarray:
        return np.abs(np.linalg.eigvalsh(matrices)).max(-1)

    def least(matrices: np.ndarray) -> np.ndarray:
        """On 1⊥, the directions that change q."""
        return np.linalg.eigvalsh(basis.T @ matrices @ basis)[:, 0]

    def ascend(objective, starts: np.ndarray) -> tuple[float, np.ndarray]:
        """The largest value, and where, by compass search from several starts at once."""
        best, at = objective(starts), starts.copy()
        steps = np.full(len(starts), 0.5)
        alone = np.eye(num_classes)[:6]
        together = np.eye(num_classes)[6:].sum(0, keepdims=True)
        axes = np.concatenate([alone, together, -alone, -together])
        for _ in range(200):
            if steps.max() < 1e-5:
                break
            others = random.standard_normal([6, num_classes])
            others /= np.linalg.norm(others, axis=-1, keepdims=True)
            directions = np.concatenate([axes, others])
            trials = within_gap(at[:, None] + steps[:, None, None] * directions)
            tried = objective(trials.reshape(-1, num_classes)).reshape(len(at), -1)
            chosen = tried.argmax(-1)
            rows = np.arange(len(at))
            better = tried[rows, chosen] > best
            at = np.where(better[:, None], trials[rows, chosen], at)
            best = np.where(better, tried[rows, chosen], best)
            steps = np.where(better, steps, steps / 2)
        return float(best.max()), at[best.argmax()]

    starts = max(1, 24 // num_classes)
    # (L, where, label) and (−least, where, label)
    sharpest: tuple[float, np.ndarray, int] = (-math.inf, subject.grid[0], 0)
    lowest, shares = sharpest, []
    for label in labels:
        target = np.eye(num_classes)[label]
        here = np.roll(subject.places, label, -1)
        matrices = curvatures(here, target)
        largest_here, least_here = largest(matrices), least(matrices)
        rough = -1e-9 * np.maximum(largest_here, 1e-300)
        shares.append(np.mean((least_here < rough)[len(subject.grid) :]))
        found = ascend(
            lambda z, target=target: largest(curvatures(z, target)),
            here[largest_here.argsort()[-starts:]],
        )
        sharpest = max(sharpest, (*found, label), key=lambda triple: triple[0])
        found = ascend(
            lambda z, target=target: -least(curvatures(z, target)),
            here[least_here.argsort()[:starts]],
        )
        lowest = max(lowest, (*found, label), key=lambda triple: triple[0])
    # what is nothing beside the largest is nothing but rounding
    least_eigenvalue = 0.0 - lowest[0] if abs(lowest[0]) > 1e-9 * sharpest[0] else 0.0
    for label in labels:
        jump = _jump_of_the_gradient(subject, np.eye(num_classes)[label])
        if jump is not None:
            sharpest = math.inf, jump, label
            break
    smoothness, smoothness_at, smoothness_label = sharpest
    _, least_at, least_label = lowest
    return Curvature(
        least_eigenvalue=least_eigenvalue,
        least_at=least_at,
        not_convex_share=float(np.mean(shares)),
        smoothness=smoothness,
        smoothness_at=smoothness_at,
        largest_step=2 / smoothness if smoothness > 0 else math.inf,
        least_label=least_label,
        smoothness_label=smoothness_label,
    )


def _jump_of_the_gradient(subject: Subject, target: np.ndarray) -> np.ndarray | None:
    """Logits at which the gradient jumps, or None: the steepest stretches of some lines, halved
    until nothing that has a derivative could still change there."""
    evaluate, num_classes = subject.evaluate, subject.num_classes
    ends = LARGEST_GAP * (subject.random.random([2, 48, 1, num_classes]) - 0.5)
    ends[:, 0, 0] = np.where(target == 1, np.array([[-1], [1]]), 0.0) * LARGEST_GAP
    along = np.linspace(0, 1, 257)[:, None]
    lines = ends[0] + along * (ends[1] - ends[0])
    _, gradients = evaluate(lines.reshape(-1, num_classes), target)
    gradients = gradients.reshape(lines.shape)
    changes = np.linalg.norm(np.diff(gradients, axis=1), axis=-1)
    changes = np.where(np.isfinite(changes), changes, 0.0)
    steepest = np.unravel_index(changes.ravel().argsort()[-64:], changes.shape)
    left, right = lines[:, :-1][steepest], lines[:, 1:][steepest]
    at_left, at_right = gradients[:, :-1][steepest], gradients[:, 1:][steepest]
    for _ in range(32):
        middle = (left + right) / 2
        _, at_middle = evaluate(middle, target)
        first = np.linalg.norm(at_middle - at_left, axis=-1)
        second = np.linalg.norm(at_right - at_middle, axis=-1)
        in_first = (first >= second)[:, None]
        right, at_right = np.where(in_first, middle, right), np.where(in_first, at_middle, at_right)
        left, at_left = np.where(in_first, left, middle), np.where(in_first, at_left, at_middle)
    jumps = np.linalg.norm(at_right - at_left, axis=-1)
    finite = gradients[np.isfinite(gradients).all(-1)]
    if jumps.max() > 1e-6 * np.linalg.norm(finite, axis=-1).max():
        return right[jumps.argmax()]
    return None
