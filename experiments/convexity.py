"""Where is squared error not convex?

Descent is safe where a loss curves upwards in every direction that changes Q, and Newton's method
makes sense only there. With q = softmax(z), r = q − p and J = diag(q) − q qᵀ, the Hessians in z are

    cross-entropy    J, whatever P: convex everywhere
    squared error    vᵀHv = 2 Σₖ qₖ dₖ wₖ²,    dₖ = 2qₖ − pₖ − q·r,    w = v − (q·v) 1

where squared error is Σᵢ (qᵢ − pᵢ)², a sum over the classes. On the w that there are, those with
Σₖ qₖ wₖ = 0, the sum is nowhere negative if and only if no dₖ is negative, or exactly one is and
Σₖ qₖ/dₖ ≤ 0.

Let the truth be certain and write a for its probability. With the wrong mass spread evenly over the
K = C − 1 wrong classes, the curvature in the direction in which Q has to travel is

    2 (C/K)² a (1 − a)² (3a − 1),

negative below a = 1/3 for every number of classes; with all of the wrong mass on one of several
wrong classes, d is negative for the truth and for the classes that have nothing, until a = 1/2. In
between it depends on the spread. At the uniform start, a = 1/C, the curvature is 2(3 − C)/C² in the
direction of travel and 4/C² in the others: from 4 classes on squared error is concave exactly where
it has to go.

H is affine in P, so its largest eigenvalue is convex in P, and its least concave: both are extreme
for a certain truth. With two classes the eigenvalue is 8a (1 − a)² (3a − 1), which is extreme where
12a² − 9a + 1 = 0: (39 ± 55√33)/576. That more classes do not have more is a search, not a proof. A
class that has no probability adds only an eigenvalue 0, so searching 7 classes searches all fewer.

Predictions:

- Everywhere on grids of three and of four classes, for certain truths and others, the Hessians by
  automatic differentiation are these formulas within 1e-14, and the sign of the least eigenvalue of
  squared error is that of the criterion: 0 points disagree where it is further than 1e-13 from 0.
- The least eigenvalue of cross-entropy is nowhere below 0, within 1e-15.
- A certain truth, of three classes and of four: of the points with a < 1/3 the fraction that is not
  convex is 1, of those with a ≥ 1/2 it is 0. On the way up squared error becomes convex at 0.333333
  with the wrong mass even and at 0.5 with all of it on one, within 1e-6.
- Uniform start: in the direction of travel 0.5 for two classes, 0 for three, −0.125 for four and
  −0.14 for ten; in the others 0.444444 for three, 0.25 for four and 0.04 for ten. Within 1e-15.
- By a search over the Q of 7 classes, for a certain truth, squared error curves at most with
  0.616234280485 and at least with −0.480817613819, where a is 0.614357 and 0.135643, and
  cross-entropy with 0.5 and 0; within 1e-12, and 1e-4 for a. Squared error has no more, and no
  less, in 20000 random pairs P, Q.
- Not convex is, for a certain truth, 0.65 of the triangle, within 0.05; for P = (0.6, 0.3, 0.1) 0.7
  of it, and for the uniform P 0.75.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from scipy.special import softmax

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import curvature, descent, losses, plots, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score

CERTAIN, SOFT, UNIFORM = (1.0, 0.0, 0.0), (0.6, 0.3, 0.1), (1 / 3, 1 / 3, 1 / 3)
TARGETS = {3: (CERTAIN, SOFT, UNIFORM), 4: ((1.0, 0.0, 0.0, 0.0), (0.4, 0.3, 0.2, 0.1))}
Target = tuple[float, ...]
RESOLUTIONS = {3: 199, 4: 41}
BLOCK = 256
"""Points that are measured at once, so that one program is enough for any number of them."""
ROUNDING = 1e-13
STARTS = (2, 3, 4, 10)
SHARES = np.linspace(0.5, 1 - 1e-7, 60)
MOST_CLASSES = 7
SEARCHES = 16
SEARCH_STEPS = 1000
# By signs, as the slope towards q = 0, where the extremes are, fades with q.
OPTIMIZER = optax.sign_sgd(optax.cosine_decay_schedule(0.2, SEARCH_STEPS))
PAIRS = 20_000
SEED = 0
SECONDS = 6
COLOURS = {"cross-entropy": colours.CROSS_ENTROPY, "squared error": colours.SQUARED_ERROR}
CAPTION = (
    "Above, the least eigenvalue of the Hessian at every Q over three classes: purple is convex, "
    "orange is not. The line is where it changes sign as measured, the dots are where it should by "
    "the criterion. Below, the same on three ways from a certain mistake to the truth, and where "
    "on such ways squared error becomes convex: dots as measured, the line by the criterion."
)


class Law(NamedTuple):
    """A loss, and its Hessian by the formula: (q, p) → H."""

    loss: Loss
    hessian: Callable[[Array, Array], Array]


def softmax_jacobian(q: Array, p: Array) -> Array:
    """The Hessian of cross-entropy, in which P has no part."""
    return theory.gradients.softmax_jacobian(q)


def laws() -> dict[str, Law]:
    """The two losses by name."""
    return {
        "cross-entropy": Law(CROSS_ENTROPY, softmax_jacobian),
        "squared error": Law(SQUARED_ERROR, theory.curvature.brier_score_hessian),
    }


# Curvature at many Q


class Curvatures(NamedTuple):
    """What is measured at each point."""

    hessians: Float[np.ndarray, "points classes classes"]
    eigenvalues: Float[np.ndarray, "points classes-1"]
    """Ascending."""


@partial(jax.jit, static_argnums=0)
def measure_block(loss: Loss, q: Array, targets: Array) -> tuple[Array, Array]:
    """Hessians and eigenvalues."""
    logits = jnp.log(q)
    return curvature.hessian(loss, logits, targets), curvature.eigenvalues(loss, logits, targets)


@partial(jax.jit, static_argnums=0)
def evaluate_block(formula: Callable[[Array, Array], Array], q: Array, targets: Array) -> Array:
    """A formula of q and p at each point."""
    return jax.vmap(formula)(q, targets)


def in_blocks(
    function: Callable[[np.ndarray, np.ndarray], Array | tuple[Array, ...]],
    q: np.ndarray,
    targets: np.ndarray,
) -> list[np.ndarray]:
    """What a function of BLOCK points gives at any number of them, the last block filled up."""
    targets = np.broadcast_to(targets, q.shape)
    blocks = np.resize(np.arange(len(q)), (-(-len(q) // BLOCK), BLOCK))
    found = [jax.tree.leaves(function(q[block], targets[block])) for block in blocks]
    return [np.concatenate(parts)[: len(q)] for parts in zip(*found, strict=True)]


def measure(loss: Loss, q: np.ndarray, targets: np.ndarray) -> Curvatures:
    """At many Q, for one P or one P each."""
    return Curvatures(*in_blocks(partial(measure_block, loss), q, targets))


def evaluate(
    formula: Callable[[Array, Array], Array], q: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """A formula at many Q, for one P."""
    (values,) = in_blocks(partial(evaluate_block, formula), q, target)
    return values


def criterion(q: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where squared error is convex by the signs of the dₖ."""
    return evaluate(theory.curvature.brier_score_is_convex, q, target)


def measured_criterion(q: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where squared error is convex by its least eigenvalue."""
    return measure(SQUARED_ERROR, q, target).eigenvalues[:, 0] >= 0


def grid(num_classes: int) -> Float[np.ndarray, "points classes"]:
    """Points all over the inside of the simplex, regular and the same for every class."""
    resolution = RESOLUTIONS[num_classes]
    counts = np.indices([resolution] * (num_classes - 1)).reshape(num_classes - 1, -1)
    last = resolution - 1 - counts.sum(axis=0)
    return (np.vstack([counts, last])[:, last >= 0].T + 1 / num_classes) / resolution


def split(shares: np.ndarray) -> Float[np.ndarray, "shares 3"]:
    """Q with nothing for the truth, a share for class 1 and the rest for class 2."""
    return np.stack([np.zeros_like(shares), shares, 1 - shares], axis=-1)


def boundary(
    is_convex: Callable[[np.ndarray, np.ndarray], np.ndarray],
    target: Target,
    ends: np.ndarray,
) -> Float[np.ndarray, "ends 3"]:
    """Where squared error stops to be convex on the way from P to each of the ends; by halving."""
    inside, outside = np.zeros((len(ends), 1)), np.ones((len(ends), 1))

    def on_the_way(fraction: np.ndarray) -> np.ndarray:
        return (1 - fraction) * target + fraction * ends

    for _ in range(50):
        middle = (inside + outside) / 2
        convex = is_convex(on_the_way(middle), np.array(target))[:, None]
        inside, outside = np.where(convex, middle, inside), np.where(convex, outside, middle)
    return on_the_way(inside)


# Rows


def everywhere(found: Mapping[str, Mapping[Target, Curvatures]]) -> list[Row]:
    """Formulas and criterion at every point of the grids."""
    rows = []
    for name, law in laws().items():
        differences = [
            np.abs(
                curvatures.hessians - evaluate(law.hessian, grid(len(target)), np.array(target))
            ).max()
            for target, curvatures in found[name].items()
        ]
        rows.append(
            claim(
                f"{name}: largest difference of a Hessian from the formula, on the grids",
                predicted=0,
                measured=max(differences),
                tolerance=1e-14,
            )
        )
    rows.append(
        claim(
            "cross-entropy: least eigenvalue on the grids",
            predicted=0,
            measured=min(each.eigenvalues.min() for each in found["cross-entropy"].values()),
            tolerance=1e-15,
            relation="≥",
        )
    )
    disagree = points = not_judged = 0
    for target, curvatures in found["squared error"].items():
        values = curvatures.eigenvalues[:, 0]
        expected = criterion(grid(len(target)), np.array(target))
        clear = np.abs(values) > ROUNDING
        disagree += np.sum(clear & (expected != (values > 0)))
        points += values.size
        not_judged += np.sum(~clear)
    rows.append(
        claim(
            f"squared error: of {points:,} points, those where the sign of the least eigenvalue is "
            f"not that of the criterion ({not_judged} within {ROUNDING:g} of 0 are not judged)",
            predicted=0,
            measured=disagree,
        )
    )
    return rows


def thresholds(
    least: Mapping[Target, np.ndarray], on_shares: Float[np.ndarray, "shares 3"]
) -> list[Row]:
    """Never convex below 1/3, always above 1/2, and in between as the wrong mass is spread."""
    rows = []
    for classes, (certain, *_) in TARGETS.items():
        a, not_convex = grid(classes)[:, 0], least[certain] < -ROUNDING
        rows += [
            claim(
                f"squared error, certain truth, {classes} classes: fraction that is not convex of "
                f"the points with {where}",
                predicted=predicted,
                measured=not_convex[chosen].mean(),
            )
            for where, predicted, chosen in (
                ("a < 1/3", 1, a < 1 / 3 - 1e-12),
                ("a ≥ 1/2", 0, a >= 1 / 2),
            )
        ]
    rows += [
        claim(
            f"squared error, certain truth, 3 classes, wrong mass {spread}: a from which it is "
            "convex",
            predicted=predicted,
            measured=q[0],
            tolerance=1e-6,
        )
        for spread, predicted, q in (
            ("even", 1 / 3, on_shares[0]),
            ("on one but for 1e-7 of it", 1 / 2, on_shares[-1]),
        )
    ]
    return rows


def uniform_starts() -> list[Row]:
    """The eigenvalues of squared error where every class has 1/C."""
    rows, uniform_eigenvalues = [], jax.jit(theory.curvature.brier_score_uniform_eigenvalues)
    for classes in STARTS:
        q = np.full([1, classes], 1 / classes)
        (found,) = measure(SQUARED_ERROR, q, np.eye(classes)[0]).eigenvalues
        expected = uniform_eigenvalues(classes)
        directions = [("in the direction of travel", expected.along, found[0])]
        if classes > 2:
            directions.append(("in the others", expected.sideways, found[-1]))
        rows += [
            claim(
                f"squared error, uniform start, {classes} classes: curvature {direction}",
                predicted=predicted,
                measured=measured,
                tolerance=1e-15,
            )
            for direction, predicted, measured in directions
        ]
    return rows


class Extremes(NamedTuple):
    """The least and the largest curvature that a search finds, and the a where they are."""

    curvatures: Float[Array, "2"]
    truths: Float[Array, "2"]


@partial(jax.jit, static_argnums=0)
def search(loss: Loss, starts: Array) -> Extremes:
    """The ends of the spectrum over all Q, for a certain truth, from many starts."""
    target = jnp.eye(MOST_CLASSES)[0]

    def extreme(weights: Array) -> tuple[Array, Array]:
        def height(logits: Array) -> Array:
            return weights @ curvature.eigenvalues(loss, logits, target)[jnp.array([0, -1])]

        def lowest(start: Array) -> descent.Descent:
            return descent.descend(height, start, OPTIMIZER, steps=SEARCH_STEPS, record=None)

        found = jax.vmap(lowest)(starts)
        best = found.value.argmin()
        return found.value[best], jax.nn.softmax(found.params[best])[0]

    signs = jnp.array([1.0, -1.0])
    values, truths = jax.vmap(extreme)(jnp.diag(signs))
    return Extremes(signs * values, truths)


def extremes() -> tuple[dict[str, Extremes], list[Row]]:
    """The smoothness of either loss, and what bounds its curvature from below."""
    random = np.random.default_rng(SEED)
    starts = random.standard_normal([SEARCHES, MOST_CLASSES])
    found = {
        name: jax.tree.map(np.asarray, search(law.loss, starts)) for name, law in laws().items()
    }
    logits = 3 * random.standard_normal([PAIRS, MOST_CLASSES])
    targets = random.dirichlet(np.full(MOST_CLASSES, 0.3), size=PAIRS)
    in_pairs = measure(SQUARED_ERROR, softmax(logits, axis=1), targets).eigenvalues
    root = 33**0.5
    bounds = {
        "cross-entropy": (0.0, theory.curvature.CROSS_ENTROPY_SMOOTHNESS),
        "squared error": (
            theory.curvature.BRIER_SCORE_LEAST_CURVATURE,
            theory.curvature.BRIER_SCORE_SMOOTHNESS,
        ),
    }
    places = (9 - root) / 24, (9 + root) / 24
    rows = [
        claim(
            f"{name}: {which} curvature found, certain truth, Q of {MOST_CLASSES} classes",
            predicted=predicted,
            measured=measured,
            tolerance=1e-12,
        )
        for name in found
        for which, predicted, measured in zip(
            ("least", "largest"), bounds[name], found[name].curvatures, strict=True
        )
    ]
    rows += [
        claim(
            f"squared error: a where the curvature found is {which}",
            predicted=predicted,
            measured=measured,
            tolerance=1e-4,
        )
        for which, predicted, measured in zip(
            ("least", "largest"), places, found["squared error"].truths, strict=True
        )
    ]
    lower, upper = bounds["squared error"]
    rows += [
        claim(
            f"squared error: least curvature in {PAIRS} random pairs P, Q",
            predicted=lower,
            measured=in_pairs.min(),
            relation="≥",
        ),
        claim(
            f"squared error: largest curvature in {PAIRS} random pairs P, Q",
            predicted=upper,
            measured=in_pairs.max(),
            relation="≤",
        ),
    ]
    return found, rows


def fractions(least: Mapping[Target, np.ndarray]) -> list[Row]:
    """How much of the triangle is not convex."""
    return [
        prediction(
            f"squared error, {words}: fraction of the triangle that is not convex",
            predicted=predicted,
            measured=(least[target] < -ROUNDING).mean(),
            tolerance=0.05,
        )
        for words, target, predicted in (
            ("certain truth", CERTAIN, 0.65),
            (f"P = {SOFT}", SOFT, 0.7),
            ("uniform P", UNIFORM, 0.75),
        )
    ]


# Picture


def draw_maps(
    figure: SubFigure,
    least: Mapping[str, Mapping[Target, np.ndarray]],
    boundaries: Mapping[Target, np.ndarray],
) -> None:
    """The least eigenvalue on the triangle, on one scale, and the boundary by the criterion."""
    panels = figure.subplots(1, 3, subplot_kw={"projection": "ternary"})
    norm = Normalize(-0.5, 0.5)
    meshes = []
    for ax, name, target, corners in (
        (panels[0], "cross-entropy", CERTAIN, ("truth", "wrong", "wrong")),
        (panels[1], "squared error", CERTAIN, ("truth", "wrong", "wrong")),
        (panels[2], "squared error", SOFT, tuple(map(str, SOFT))),
    ):
        mesh, _ = plots.plot_simplex_map(
            ax, grid(3), least[name][target], norm=norm, class_names=corners
        )
        meshes.append(mesh)
        words = "certain truth" if target == CERTAIN else f"P = {target}"
        ax.set_title(f"{name}\n{words}", color=COLOURS[name])
        if name == "squared error":
            ax.plot(*boundaries[target].T, "o", color=colours.INK, markersize=2.5)
    bar = figure.colorbar(meshes[0], ax=panels, shrink=0.8, aspect=16, label="least eigenvalue")
    bar.set_ticks([-0.5, -0.25, 0, 0.25, 0.5])


def draw_profile(ax: Axes) -> None:
    """The least eigenvalue on the way from certainly wrong to right."""
    a = np.linspace(0.001, 0.999, 400)[:, None]
    for name, share, style in (
        ("cross-entropy", 1 / 2, "-"),
        ("squared error", 1 / 2, "-"),
        ("squared error", 3 / 4, "--"),
        ("squared error", 9 / 10, ":"),
    ):
        q = a * CERTAIN + (1 - a) * split(np.array([share]))
        values = measure(laws()[name].loss, q, np.array(CERTAIN)).eigenvalues[:, 0]
        ax.plot(a, values, color=COLOURS[name], linestyle=style)
    orange = partial(ax.text, color=COLOURS["squared error"])
    ax.text(0.02, 0.36, "cross-entropy, wrong mass 1 : 1", color=COLOURS["cross-entropy"])
    orange(0.4, -0.27, "squared error, wrong\nmass 1 : 1, 3 : 1, 9 : 1")
    orange(0.42, 0.2, "1 : 1", ha="right", fontsize="small")
    orange(0.53, 0.125, "3 : 1", fontsize="small")
    orange(0.6, -0.02, "9 : 1", va="top", fontsize="small")
    ax.axhline(0, color=colours.INK, linewidth=0.8)
    ax.set_xticks([0, 1 / 3, 1 / 2, 1], ["0", "⅓", "½", "1"])
    ax.set_ylim(-0.48, 0.42)
    ax.set_xlabel("probability a of the truth")
    ax.set_ylabel("least eigenvalue of H")


def draw_thresholds(ax: Axes, measured: np.ndarray, expected: np.ndarray) -> None:
    """Where squared error becomes convex, against the spread of the wrong mass."""
    ax.plot(SHARES, expected[:, 0], color=COLOURS["squared error"])
    few = np.r_[0 : len(SHARES) : 6, -1]
    ax.plot(SHARES[few], measured[few, 0], "o", color=COLOURS["squared error"], clip_on=False)
    ax.text(0.52, 0.46, "convex", color=COLOURS["squared error"])
    ax.text(0.98, 0.345, "not convex", color=COLOURS["squared error"], ha="right")
    ax.set_yticks([1 / 3, 0.4, 1 / 2], ["⅓", "0.4", "½"])
    ax.set_xticks([0.5, 0.75, 0.9, 1], ["1 : 1", "3 : 1", "9 : 1", "1 : 0"])
    ax.set_xlabel("how the wrong mass is split")
    ax.set_ylabel("probability a of the truth")


def draw(least: Mapping[str, Mapping[Target, np.ndarray]], on_shares: np.ndarray) -> Figure:
    """Maps above; below, profiles and thresholds."""
    expected = boundary(criterion, CERTAIN, split(SHARES))
    one_side = expected[::6]
    edge = split(np.linspace(0, 1, len(SHARES) // 3, endpoint=False))
    around = np.vstack([np.roll(edge, shift, axis=1) for shift in range(3)])
    boundaries = {
        CERTAIN: np.vstack([one_side, one_side[:, [0, 2, 1]]]),
        SOFT: boundary(criterion, SOFT, around),
    }
    figure = Figure(figsize=(7.0, 5.8))
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False)
    draw_maps(above, least, boundaries)
    profile, thresholds = below.subplots(1, 2, width_ratios=[1.3, 1])
    draw_profile(profile)
    draw_thresholds(thresholds, on_shares, expected)
    below.supxlabel(
        "three classes; losses: sums over classes; H: Hessian in the logits", fontsize="small"
    )
    return figure


def run(progress: Progress) -> Finding:
    """Measure curvatures, hold them to the criterion, search their extremes, and draw."""
    with jax.enable_x64(True):
        progress("grids", 0.0)
        on_grids = {
            name: {
                target: measure(law.loss, grid(classes), np.array(target))
                for classes, targets in TARGETS.items()
                for target in targets
            }
            for name, law in laws().items()
        }
        least = {
            name: {target: curvatures.eigenvalues[:, 0] for target, curvatures in of_law.items()}
            for name, of_law in on_grids.items()
        }
        on_shares = boundary(measured_criterion, CERTAIN, split(SHARES))
        rows = [
            *everywhere(on_grids),
            *thresholds(least["squared error"], on_shares),
            *uniform_starts(),
        ]
        progress("search for extremes", 0.4)
        found, of_search = extremes()
        parts = fractions(least["squared error"])
        rows += [*of_search, *parts]
        progress("figure", 0.7)
        figure = draw(least, on_shares)
    lowest, highest = found["squared error"].curvatures
    return Finding(
        answer=(
            f"In {100 * parts[0].measured:.0f} % of the triangle for a certain truth: nowhere is "
            "squared error convex where the truth has less than 1/3, everywhere where it has 1/2 "
            f"or more, and its curvatures lie between −{-lowest:.4f} and {highest:.4f}. "
            "Cross-entropy is convex everywhere, for every P, with curvatures between 0 and "
            f"{found['cross-entropy'].curvatures[1]:.4f}."
        ),
        rows=rows,
        pictures={"convexity": Picture(figure, CAPTION)},
    )
