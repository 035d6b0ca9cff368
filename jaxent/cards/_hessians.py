"""The Hessians of a loss: by autodiff where that is right, else by differences of gradients."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxent._examples import sum_zero_basis
from jaxent.cards._measuring import Subject

Matrices = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Logits [N, C] and a target [C] to matrices [N, C, C]."""


class Hessians(NamedTuple):
    """The matrices that govern descent, and how much of them is rounding.

    Attributes:
        at: the matrices, zero where they are not finite.
        rounding: this share of the largest eigenvalue anywhere may be rounding.
        flat: whether a shift of all logits changes nothing, so that H (1, …, 1) = 0.
        symmetric: whether the matrices are symmetric but for rounding.
        by_differences: whether they are differences of gradients, which cost 2C gradients each.
        ones: (1, …, 1) in the directions of the subject, [directions].
        basis: the directions in which the least eigenvalue is sought, as columns.
    """

    at: Matrices
    rounding: float
    flat: bool
    symmetric: bool
    by_differences: bool
    ones: np.ndarray
    basis: np.ndarray

    def largest(self, matrices: np.ndarray) -> np.ndarray:
        """The spectral norms: the largest absolute eigenvalues of the symmetric ones."""
        if self.symmetric:
            return np.abs(np.linalg.eigvalsh(matrices)).max(-1)
        return np.linalg.norm(matrices, 2, (-2, -1))

    def least(self, matrices: np.ndarray) -> np.ndarray:
        """The least curvature in the directions of the basis."""
        restricted = self.basis.T @ matrices @ self.basis
        return np.linalg.eigvalsh((restricted + np.swapaxes(restricted, -2, -1)) / 2)[:, 0]

    def tolerance(self, matrices: np.ndarray, largest_anywhere: float) -> np.ndarray:
        """How far from zero an eigenvalue of each matrix may be and still be rounding.

        Where the loss does not feel a shift, H (1, …, 1) is rounding and nothing else.
        """
        # Products of what is smaller underflow.
        rounding = max(self.rounding, 1e-100)
        tolerance = 1e-9 * self.largest(matrices) + rounding * largest_anywhere
        if self.flat:
            tolerance = tolerance + 8 * np.linalg.norm(matrices @ self.ones, axis=-1)
        return tolerance


def hessians_of(subject: Subject, earlier: Mapping[str, Any]) -> Hessians:
    """The Hessians that can be believed, after what the earlier facts found."""
    derivatives, flat = earlier["derivatives"], not subject.reads_raw_logits
    by_differences = derivatives.hessian != "right"
    unit = float(jnp.finfo(subject.precision).eps)
    if by_differences:
        matrices = _differences_of_gradients(subject, unit)
        rounding = 8 * unit ** (2 / 3)
    else:
        matrices = subject.hessians
        rounding = 16 * unit if subject.precision != np.float64 or not flat else 0.0

    ones = subject.directions.sum(-1)
    across = sum_zero_basis(len(ones))
    if subject.many_classes:
        across = np.linalg.qr(np.column_stack([ones, np.eye(len(ones))[:, 1:]]))[0][:, 1:]

    def finite(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        found = matrices(logits, target)
        return np.where(np.isfinite(found).all((-2, -1), keepdims=True), found, 0.0)

    return Hessians(
        at=finite,
        rounding=rounding,
        flat=flat,
        symmetric=derivatives.right,
        by_differences=by_differences,
        ones=ones,
        basis=across if flat else np.eye(len(ones)),
    )


def _differences_of_gradients(subject: Subject, unit: float) -> Matrices:
    """∂gᵢ/∂zⱼ ≈ [gᵢ(z + h eⱼ) − gᵢ(z − h eⱼ)]/2h, h near the cube root of the rounding."""
    step = 2.0 ** math.floor(math.log2(unit) / 3)
    moves = step * subject.directions

    def matrices(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        ends = np.stack([logits[:, None] + moves, logits[:, None] - moves])
        _, gradients = subject.evaluate(ends.reshape(-1, subject.num_classes), target)
        ahead, behind = subject.along_directions(gradients.reshape(ends.shape))
        return np.swapaxes((ahead - behind) / (2 * step), 1, 2)

    return matrices
