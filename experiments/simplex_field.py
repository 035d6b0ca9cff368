"""Where does each loss push a prediction, and how hard?

Every Q over three classes is a point of a triangle, the corners are those that are sure of one
class, and the truth is the corner at the top. With z logits of Q, q = softmax(z), and
J = diag(q) − q qᵀ the Jacobian of softmax, the logits feel dL/dz, and when they descend along it,
z′ = −dL/dz, the probabilities move at q′ = −J dL/dz:

    cross-entropy                    dL/dz = q − p           q′ = −J (q − p)
    squared error on probabilities   dL/dz = 2J (q − p)      q′ = −2J² (q − p)
    squared error on logits          dL/dz = 2 (z − p)       q′ = −2J (z − p)

all of them sums over the classes. J vanishes in the corners, and with it the push of squared error
on probabilities: a model that is sure and wrong is hardly told so. Leave ε to the truth and ε to
the other wrong class: then q − p = (−1, 0, 1), up to O(ε), pushes with √2, as hard as cross-entropy
ever does, and 2J (q − p) = ε (−4, −2, 6) with √56 ε.

No eigenvalue of J is more than ½, so ‖2J (q − p)‖ ≤ ‖q − p‖: nowhere, and for no P, does squared
error on probabilities push harder than cross-entropy.

On the logits themselves nothing fades. What all logits share in 2 (z − p) depends on their common
offset and moves no probability; without it, m logits behind, the norm is 2 √(⅔ (m² + m + 1)). But
this loss fits logits and not probabilities. It rests at z = p, where q = softmax(1, 0, 0) gives the
truth e/(e + 2), and pushes back a model that is right and more sure than that.

Predictions:

- The velocity of q is that of the formula within 1e-12 of its size, in float64, everywhere on a
  grid, for the one-hot P and for P = (0.6, 0.3, 0.1).
- The gradient norm of squared error on probabilities is at most 1 times that of cross-entropy, on
  these grids and in 10000 random pairs P, Q of 2, 3 and 10 classes each.
- In the wrong corners, 20 logits behind, the push has the norm 1.41421 for cross-entropy, 7.48331
  times p_true for squared error on probabilities, and 33.5062 for squared error on logits, within
  1e-6 of it.
- Squared error on logits rests where the truth has 0.576117, within the 0.01 of the grid.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.special import softmax

from experiments._claims import Finding, Picture, Progress, Row, claim
from jaxent import gradients, losses, plots, theory
from jaxent._examples import Loss
from jaxent.gradients import GradientField

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
SQUARED_ERROR_ON_LOGITS = losses.logit_squared_error

TARGETS = np.array([[1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
RESOLUTION = 100
ARROWS = 10
PAIRS = 10_000
SEED = 0
SECONDS = 2
FAR_BEHIND = 20.0
HARDEST_PUSH_OF_CROSS_ENTROPY = 2**0.5
CAPTION = (
    "Every point is a prediction Q over three classes. Colour: how hard the logits are pushed. "
    "Arrows: where Q goes when they descend. In the wrong corners cross-entropy pushes hardest and "
    "squared error on probabilities hardly at all; squared error on logits goes off the scale, and "
    "pushes back from the right corner too."
)


class Law(NamedTuple):
    """A loss, and the formula of the velocity of q: (J, q, z, p) → q′."""

    loss: Loss
    velocity: Callable[[Array, Array, Array, Array], Array]


def laws() -> dict[str, Law]:
    """The three losses by name, in the order of the panels."""
    return {
        "cross-entropy": Law(CROSS_ENTROPY, lambda J, q, z, p: -J @ (q - p)),
        "squared error on probabilities": Law(
            SQUARED_ERROR, lambda J, q, z, p: -2 * J @ (J @ (q - p))
        ),
        "squared error on logits": Law(
            SQUARED_ERROR_ON_LOGITS, lambda J, q, z, p: -2 * J @ (z - p)
        ),
    }


def push(gradient: Array) -> Array:
    """A gradient of the logits without what all of them share, which moves no probability."""
    return gradient - gradient.mean(axis=-1, keepdims=True)


@partial(jax.jit, static_argnums=0)
def field_of(loss: Loss, target: Array) -> GradientField:
    """The field of a loss, its gradients the push alone."""
    field = gradients.gradient_field(loss, target, resolution=RESOLUTION)
    return field._replace(gradients=push(field.gradients))


@partial(jax.jit, static_argnums=0)
def push_norm(loss: Loss, logits: Array, targets: Array) -> Array:
    """‖push‖ at each of the logits."""
    return jnp.linalg.norm(push(gradients.logit_gradient(loss, logits, targets)), axis=-1)


@partial(jax.jit, static_argnums=0)
def difference(law: Law, field: GradientField, target: Array) -> Array:
    """The largest difference of a velocity of the field from the formula, relative to its size."""

    def formula(q: Array, z: Array) -> Array:
        return law.velocity(theory.gradients.softmax_jacobian(q), q, z, target)

    expected = jax.vmap(formula)(field.q, field.logits)
    distances = jnp.linalg.norm(field.velocities - expected, axis=-1)
    return jnp.max(distances / jnp.linalg.norm(expected, axis=-1))


def velocities(fields: Mapping[str, list[GradientField]]) -> list[Row]:
    """Every velocity on the grid against the formula, for both targets."""
    return [
        claim(
            f"{name}: largest relative difference of the velocity of q from its formula, "
            "P = (1, 0, 0) and (0.6, 0.3, 0.1)",
            predicted=0,
            measured=max(map(float, map(partial(difference, law), fields[name], TARGETS))),
            tolerance=1e-12,
        )
        for name, law in laws().items()
    ]


def comparison(cross_entropy: list[GradientField], squared_error: list[GradientField]) -> list[Row]:
    """That squared error on probabilities never pushes harder than cross-entropy."""
    on_grids = [
        np.linalg.norm(one.gradients, axis=-1) / np.linalg.norm(other.gradients, axis=-1)
        for one, other in zip(squared_error, cross_entropy, strict=True)
    ]
    random = np.random.default_rng(SEED)
    in_pairs = []
    for classes in 2, 3, 10:
        logits = 3 * random.standard_normal([PAIRS, classes])
        targets = random.dirichlet(np.full(classes, 0.3), size=PAIRS)
        in_pairs.append(
            np.divide(
                push_norm(SQUARED_ERROR, logits, targets), push_norm(CROSS_ENTROPY, logits, targets)
            )
        )
    return [
        claim(
            f"squared error on probabilities over cross-entropy: largest ratio of norms {where}",
            predicted=1,
            measured=np.max(ratios),
            tolerance=1e-12,
            relation="≤",
        )
        for where, ratios in (
            ("on the grids", on_grids),
            (f"in {PAIRS} random pairs P, Q of 2, 3 and 10 classes each", in_pairs),
        )
    ]


def wrong_corners() -> list[Row]:
    """How hard each loss pushes where Q is sure of a wrong class."""
    logits = FAR_BEHIND * np.eye(3)[1:]
    targets = TARGETS[[0, 0]]
    truth = softmax(logits[0])[0]
    m = FAR_BEHIND
    rows = []
    for name, statement, scale, predicted in (
        ("cross-entropy", "gradient norm", 1.0, 2**0.5),
        ("squared error on probabilities", "gradient norm over p_true", truth, 56**0.5),
        ("squared error on logits", "gradient norm", 1.0, 2 * (2 / 3 * (m**2 + m + 1)) ** 0.5),
    ):
        measured = np.divide(push_norm(laws()[name].loss, logits, targets), scale)
        rows.append(
            claim(
                f"{name}: {statement} in the wrong corners, {m:g} logits behind",
                predicted=predicted,
                measured=measured[np.abs(measured - predicted).argmax()],
                relative_tolerance=1e-6,
            )
        )
    return rows


def resting_place(field: GradientField) -> Row:
    """Where squared error on logits pushes least."""
    least = np.linalg.norm(field.gradients, axis=-1).argmin()
    return claim(
        "squared error on logits: p_true where the push is least, on the grid",
        predicted=np.e / (np.e + 2),
        measured=np.asarray(field.q)[least, 0],
        tolerance=1 / RESOLUTION,
    )


def draw(fields: Mapping[str, GradientField]) -> Figure:
    """The three fields side by side on one scale."""
    figure = Figure(figsize=(7.0, 3.4))
    # The layout does not see the titles of ternary axes: leave them room at the top.
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.93))
    panels = figure.subplots(1, len(fields), subplot_kw={"projection": "ternary"})
    norm = Normalize(0, HARDEST_PUSH_OF_CROSS_ENTROPY)
    colours = []
    for ax, (name, field) in zip(panels, fields.items(), strict=True):
        ax.set_title(name)
        mesh, _ = plots.plot_simplex_field(
            ax, field, norm=norm, arrows=ARROWS, class_names=("right", "wrong", "wrong")
        )
        colours.append(mesh)
    bar = figure.colorbar(
        colours[0],
        ax=panels,
        location="bottom",
        shrink=0.6,
        aspect=36,
        extend="max",
        label="push on the logits, ‖dL/dz‖",
    )
    bar.set_ticks([0, 0.5, 1, HARDEST_PUSH_OF_CROSS_ENTROPY], labels=["0", "0.5", "1", "√2"])
    figure.supxlabel(
        "losses: sums over classes; a push common to all logits moves no Q and is left out",
        fontsize="x-small",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Measure the fields, hold them to the formulas, and draw those of the one-hot target."""
    fields: dict[str, list[GradientField]] = {}
    with jax.enable_x64(True):
        for name, law in laws().items():
            progress(name)
            fields[name] = [field_of(law.loss, target) for target in TARGETS]
        progress("formulas")
        cross_entropy, squared_error, on_logits = fields.values()
        corners = wrong_corners()
        rows = [
            *velocities(fields),
            *comparison(cross_entropy, squared_error),
            *corners,
            resting_place(on_logits[0]),
        ]
        progress("figure")
        figure = draw({name: of_targets[0] for name, of_targets in fields.items()})
    entropy, squared, logits = (row.measured for row in corners)
    return Finding(
        answer=(
            "Where Q is sure of a wrong class cross-entropy pushes hardest, with a norm of "
            f"{entropy:.3f}, and squared error on probabilities fades to {squared:.2f} times the "
            "little that is left to the truth. Squared error on logits pushes there with "
            f"{logits:.1f} at {FAR_BEHIND:g} logits behind, and pushes a truth of more than "
            f"{rows[-1].measured:.2f} back."
        ),
        rows=rows,
        pictures={"simplex_field": Picture(figure, CAPTION, in_readme=True)},
    )
