"""How long does it take to unlearn a confident mistake?

The truth starts m logits behind every wrong class: m = 12 is a model that gives the truth of two
classes six chances in a million. It has escaped at the tie. Write g = z_true − z_wrong for the gap,
a = q_true, C for the number of classes and K = C − 1. Descent with small steps η follows a flow
from g = −m to 0, in the time T = ∫ dg/g′, and takes about T/η steps:

    natural gradient, cross-entropy  g′ = 1/a              T = ln(C/K) − ln(1 + e⁻ᵐ/K)
    squared error on logits          g′ = 2 (1 − g)        T = ½ ln(1 + m)
    cross-entropy                    g′ = (1 − a) C/K      T = [1 − e⁻ᵐ + K m]/C
    focal loss, γ = 2                g′ = (1 − a)² (1 − a − 2a ln a) C/K      T ~ K m/C
    generalised cross-entropy        g′ = a^γ (1 − a) C/K                     T ~ exp(γ m)
    squared error on probabilities   g′ = 2a (1 − a)² (C/K)²                  T ~ exp(m)
    mean absolute error              g′ = 2a (1 − a)/K                        T ~ exp(m)

Cross-entropy pushes a mistake with all its force, so the time is linear in m. Through the softmax
squared error pushes it with a force that is proportional to a ≈ e⁻ᵐ/K, so the time is exponential:
the more certain the mistake, the longer it lasts. On the logits themselves the force grows with
the mistake, and the time is logarithmic. It is the softmax that makes squared error slow, not the
square. A larger η divides each of these times by a constant, and no constant turns eᵐ into m.

The natural gradient moves Q and not z, by q′ = p − q whatever the confidence. In logits its speed
1/a is more than a step of any size can follow, so its descent is on the probabilities,
q ← q − η dL/dz, for dL/dz is the natural gradient there; that leaves 1 − η of 1 − a, exactly.

Descent is not the flow. Up to O(η) it takes ½ ln(f₁/f₀) steps more than T/η, f₁ and f₀ being g′ at
the tie and at the start; on logits each step shrinks 1 − g by the factor 1 − 2η, and the count is
exact. The flow itself is measured by quadrature, with g′ from automatic differentiation, which
needs no eᵐ steps and so goes on to m = 20.

If instead one wrong class alone holds the mistake, and the others stand as low as the truth, they
help: what they gain, the mistake loses. Cross-entropy hardly notices, for they stay small while it
pushes with all its force. The flow of squared error starts with g′ ≈ 2(C + 2) a, which is 8a for
two classes, and the others stay at the truth's height for most of its time.

Squared errors are sums over the classes, the absolute error is a mean. All is in float64.

Predictions:

- Descent takes T/η + ½ ln(f₁/f₀) steps, within 0.015 with η = 0.1 and within 0.0075 with η = 0.05,
  for 2, 3 and 10 classes; squared error on logits and the natural gradient take exactly those of
  their own, within 1e-9.
- Two classes, m = 12, η = 0.1: 6.59 steps by the natural gradient, 11.52 by squared error on
  logits, 64.65 by cross-entropy, 63.30 by the focal loss, 4042.88 and 31790.97 by generalised
  cross-entropy of exponent 0.5 and 0.7, 203496.57 by squared error on probabilities and 813899.26
  by absolute error.
- The flow times by automatic differentiation and quadrature, m = 1 to 20 and 2, 3 and 10 classes,
  are those of theory within 1e-12 of their size.
- Cross-entropy: each further logit costs K/(Cη) steps more: 5, 6.66667 and 9 for 2, 3 and 10
  classes, η = 0.1, within 1e-6.
- Fitted to the times of m = 8, 9, …, 12, two classes, T grows exponentially with an exponent of 1
  for squared and for absolute error, 0.7 and 0.5 for generalised cross-entropy of these exponents,
  and linearly with 0.5 for cross-entropy and the focal loss, each within 0.005.
- What is fitted there foretells T at m = 14, 16, 18 and 20 within 3 % (0.03), for all of these.
  An exponential fitted to cross-entropy there is 25 % (0.25) wrong or more at m = 20.
- The range of the fit matters: over m = 2, 3, …, 8 the exponent of squared error comes out as 0.885
  for 2 classes and 0.951 for 3, as it does for the closed form, within 0.0005.
- Even wrong mass: squared error takes 4K³/C² times as long as with two classes, 3.55556 and 29.16
  times with 3 and 10, m = 20, within 1e-4.
- Wrong mass on one class of 3 or 10: the times of cross-entropy are those of its integral, those of
  squared error those of a solver of differential equations, within 0.0005 of their size; squared
  error on logits takes the steps of even wrong mass again, within 1e-9.
- On one of ten, m = 10, cross-entropy takes the time of two classes within 1 % (0.01), and squared
  error is quicker than with two classes: 2.83 times within 0.05; on one of three 1.2 within 0.02.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.integrate import solve_ivp
from scipy.special import softmax

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, gradients, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
SQUARED_ERROR_ON_LOGITS = losses.logit_squared_error
# of exponent 0.7, as nobody says another one
GENERALIZED_CROSS_ENTROPY = losses.generalized_cross_entropy
MILD_GENERALIZED_CROSS_ENTROPY = partial(losses.generalized_cross_entropy, exponent=0.5)
ABSOLUTE_ERROR = losses.softmax_mean_absolute_error
FOCAL_LOSS = losses.softmax_focal_loss

LEARNING_RATE = 0.1
CLASSES = 2, 3, 10
# By descent, to where it takes a million steps or so.
MARGINS = {2: np.arange(1, 13), 3: np.arange(1, 11), 10: np.arange(1, 9)}
ONE_CLASS_MARGINS = np.arange(1, 11)
# By formula to 20: every quarter of a logit, so that all that is measured is among them.
GRID = np.arange(1, 81) / 4
FAR = np.arange(1, 21)
FITTED = np.arange(8, 13)
LEFT_OUT = np.array([14, 16, 18, 20])
TOO_NEAR = np.arange(2, 9)
MAX_STEPS = 100_000_000
SECONDS = 9
CAPTION = (
    "Steps until the truth, which starts behind by a margin, ties with the wrong class: constant "
    "for the natural gradient, logarithmic in the margin for squared error on logits, linear for "
    "cross-entropy and the focal loss, exponential for all that goes through the softmax and "
    "leaves a power of the probability a of the truth in its push."
)
CAPTION_OF_SPREAD = (
    "How long the flow takes, in units of its time with two classes. With even wrong mass every "
    "wrong class starts m ahead of the truth. With wrong mass on one, the others start as low as "
    "the truth: cross-entropy hardly notices them, and squared error, at a large margin, is "
    "quicker for them, as they too take from the mistake."
)


# Descent


def natural_gradient(learning_rate: float | Array) -> optax.GradientTransformation:
    """Descent on the probabilities along the natural gradient, q ← q − η dL/dz, seen from z."""

    def log_of_growth(gradient, logits):
        return jnp.log1p(-learning_rate * gradient / jax.nn.softmax(logits))

    return optax.stateless_with_tree_map(log_of_growth)


@partial(jax.jit, static_argnums=(0, 1, 2), static_argnames="spread")
def steps_taken(
    loss: Loss,
    optimizer: Callable[[Array], optax.GradientTransformation],
    num_classes: int,
    margins: Array,
    learning_rate: Array,
    *,
    spread: Literal["even", "one"] = "even",
) -> Array:
    """The steps from each margin to the tie."""

    def steps(margin: Array) -> Array:
        return descent.escape_steps(
            loss,
            margin,
            optimizer(learning_rate),
            num_classes=num_classes,
            spread=spread,
            max_steps=MAX_STEPS,
        ).steps

    return jax.lax.map(steps, margins)


# The flow


# a program that runs once, compiled in half the time
@partial(
    jax.jit,
    static_argnums=(0, 1),
    compiler_options={"xla_cpu_use_fusion_emitters": False},
)
def gap_speeds(loss: Loss, gradient: Callable[..., Array], gaps: Array) -> dict[int, Array]:
    """g′ under the flow z′ = −gradient, where the truth is `gaps` above all wrong logits."""

    def of_classes(num_classes: int) -> Array:
        truth = jnp.eye(num_classes)[0]
        logits = gaps[..., None] * truth
        gradients_there = gradient(loss, logits, jnp.broadcast_to(truth, logits.shape))
        return gradients_there[..., 1] - gradients_there[..., 0]

    return {classes: of_classes(classes) for classes in CLASSES}


def flow_times(loss: Loss, gradient: Callable[..., Array]) -> dict[int, np.ndarray]:
    """∫ dg/g′ from each −m of FAR to 0, logit by logit by Gauss and Legendre's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    speeds = gap_speeds(loss, gradient, -(FAR[:, None] - (1 + nodes) / 2))
    return {
        classes: np.cumsum(weights / 2 @ (1 / np.asarray(found)).T)
        for classes, found in speeds.items()
    }


@jax.jit
def integrated_cross_entropy_times(starts: Array) -> Array:
    """The times from each start to the tie."""
    return jax.vmap(partial(theory.escape.cross_entropy_escape_time_from, label=0))(starts)


def solved_brier_score_times(starts: np.ndarray) -> np.ndarray:
    """The times in which the flow z′ = −2 q∘(r − q·r), r = q − p, comes to the tie."""
    target = np.eye(starts.shape[1])[0]

    def velocity(_: float, logits: np.ndarray) -> np.ndarray:
        q = softmax(logits)
        residual = q - target
        return -2 * q * (residual - q @ residual)

    def lead(_: float, logits: np.ndarray) -> float:
        return logits[0] - logits[1:].max()

    lead.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    solve = partial(solve_ivp, velocity, method="DOP853", events=lead, rtol=1e-10, atol=1e-10)
    solutions = [solve((0, 10 * np.exp(start[1] - start[0])), start) for start in starts]
    return np.array([solution.t_events[0][0] for solution in solutions])


# What theory says


class Law(NamedTuple):
    """A rule of descent, and what theory says of it.

    Attributes:
        loss: What is descended.
        time: T of (margin, number of classes).
        steps: N of (margin, number of classes, η).
        colour: Of the loss.
        growth: What T grows like.
        rate: Its exponent if exponential, and per logit if linear, for two classes.
        optimizer: Of η.
        gradient: What the flow descends, of (loss, logits, targets).
        exact: Whether N is, or else right up to O(η).
    """

    loss: Loss
    time: Callable[..., Array]
    steps: Callable[..., Array]
    colour: str
    growth: Literal["constant", "logarithmic", "linear", "exponential"]
    rate: float = math.nan
    optimizer: Callable[[Array], optax.GradientTransformation] = optax.sgd
    gradient: Callable[..., Array] = gradients.logit_gradient
    exact: bool = False

    def tolerance(self, learning_rate: float) -> float:
        """How far N may be off, in steps."""
        return 1e-9 if self.exact else 0.15 * learning_rate


def natural_gradient_steps(margin: Array, num_classes: Array, learning_rate: Array) -> Array:
    """1 − a shrinks by 1 − η a step; the gap is interpolated, as the measurement does it."""
    wrong = num_classes - 1
    shrink = jnp.log1p(-learning_rate)

    def gap(steps: Array) -> Array:
        rest = jnp.exp(steps * shrink) * wrong / (wrong + jnp.exp(-margin))
        return jnp.log((1 - rest) * wrong / rest)

    behind = jnp.floor(theory.escape.natural_gradient_escape_time(margin, num_classes) / -shrink)
    return behind + gap(behind) / (gap(behind) - gap(behind + 1))


# remembered, as what is the same function is the same compiled program
@cache
def of_exponent(function: Callable[..., Array], exponent: float) -> Callable[..., Array]:
    """A formula of theory of one exponent."""
    return lambda margin, classes: function(margin, classes, exponent)


@cache
def steps_by(law: theory.escape.Law, *exponent: float) -> Callable[..., Array]:
    """N of (margin, number of classes, η) by a law of theory."""
    steps = theory.escape.steps_to_escape
    return lambda margin, classes, rate: steps(law, margin, classes, *exponent, learning_rate=rate)


@cache
def whatever_the_classes(function: Callable[..., Array]) -> Callable[..., Array]:
    """A formula of theory that does not ask for the number of classes."""
    return lambda margin, _, *rate: function(margin, *rate)


def laws() -> dict[str, Law]:
    """All of them by name, from the quickest to the slowest."""
    return {
        "natural gradient on cross-entropy": Law(
            CROSS_ENTROPY,
            theory.escape.natural_gradient_escape_time,
            natural_gradient_steps,
            colours.NATURAL_GRADIENT,
            "constant",
            optimizer=natural_gradient,
            gradient=gradients.tangent_gradient,
            exact=True,
        ),
        "squared error on logits": Law(
            SQUARED_ERROR_ON_LOGITS,
            whatever_the_classes(theory.escape.logit_squared_error_escape_time),
            whatever_the_classes(theory.escape.logit_squared_error_escape_steps),
            colours.LOGIT_SQUARED_ERROR,
            "logarithmic",
            exact=True,
        ),
        "focal loss": Law(
            FOCAL_LOSS,
            of_exponent(theory.escape.focal_loss_escape_time, 2.0),
            steps_by(theory.escape.FOCAL_LOSS_LAW, 2.0),
            colours.FOCAL_LOSS,
            "linear",
            0.5,
        ),
        "cross-entropy": Law(
            CROSS_ENTROPY,
            theory.escape.cross_entropy_escape_time,
            steps_by(theory.escape.CROSS_ENTROPY_LAW),
            colours.CROSS_ENTROPY,
            "linear",
            0.5,
        ),
        "generalised cross-entropy of exponent 0.5": Law(
            MILD_GENERALIZED_CROSS_ENTROPY,
            of_exponent(theory.escape.generalized_cross_entropy_escape_time, 0.5),
            steps_by(theory.escape.GENERALIZED_CROSS_ENTROPY_LAW, 0.5),
            colours.MILD_GENERALIZED_CROSS_ENTROPY,
            "exponential",
            0.5,
        ),
        "generalised cross-entropy of exponent 0.7": Law(
            GENERALIZED_CROSS_ENTROPY,
            of_exponent(theory.escape.generalized_cross_entropy_escape_time, 0.7),
            steps_by(theory.escape.GENERALIZED_CROSS_ENTROPY_LAW, 0.7),
            colours.GENERALIZED_CROSS_ENTROPY,
            "exponential",
            0.7,
        ),
        "squared error on probabilities": Law(
            SQUARED_ERROR,
            theory.escape.brier_score_escape_time,
            steps_by(theory.escape.BRIER_SCORE_LAW),
            colours.SQUARED_ERROR,
            "exponential",
            1.0,
        ),
        "absolute error": Law(
            ABSOLUTE_ERROR,
            theory.escape.mean_absolute_error_escape_time,
            steps_by(theory.escape.MEAN_ABSOLUTE_ERROR_LAW),
            colours.ABSOLUTE_ERROR,
            "exponential",
            1.0,
        ),
    }


# What was measured, beside it


class Escapes(NamedTuple):
    """Of one law, by the number of classes."""

    steps: dict[int, np.ndarray]
    """From MARGINS to the tie, by descent with η = LEARNING_RATE."""
    halved: dict[int, np.ndarray]
    """The same with half that η."""
    times: dict[int, np.ndarray]
    """From FAR to the tie, by the flow."""
    expected_steps: dict[int, np.ndarray]
    """From GRID, with η = LEARNING_RATE."""
    expected_halved: dict[int, np.ndarray]
    expected_times: dict[int, np.ndarray]


def at(margins: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What stands on the GRID at some of its margins."""
    return values[np.searchsorted(GRID, margins)]


@partial(jax.jit, static_argnums=(0, 1))
def on_grid(
    steps: Callable[..., Array], time: Callable[..., Array], rates: Array, classes: Array
) -> tuple[Array, Array]:
    """N of each η and number of classes, and T of each number of classes, from GRID."""
    of_rates = jax.vmap(jax.vmap(steps, (None, 0, None)), (None, None, 0))
    return of_rates(GRID, classes, rates), jax.vmap(time, (None, 0))(GRID, classes)


def by_classes(rows: np.ndarray) -> dict[int, np.ndarray]:
    """A row for each of CLASSES."""
    return dict(zip(CLASSES, rows, strict=True))


def escapes(law: Law) -> Escapes:
    """Measure, and ask theory."""
    rates = np.array([LEARNING_RATE, LEARNING_RATE / 2])
    steps, halved = (
        {
            classes: np.asarray(
                steps_taken(law.loss, law.optimizer, classes, margins.astype(float), rate)
            )
            for classes, margins in MARGINS.items()
        }
        for rate in rates
    )
    expected = on_grid(law.steps, law.time, rates, np.array(CLASSES, float))
    (expected_steps, expected_halved), expected_times = map(np.asarray, expected)
    return Escapes(
        steps=steps,
        halved=halved,
        times=flow_times(law.loss, law.gradient),
        expected_steps=by_classes(expected_steps),
        expected_halved=by_classes(expected_halved),
        expected_times=by_classes(expected_times),
    )


def agreement(name: str, law: Law, found: Escapes) -> list[Row]:
    """Steps and times against theory."""
    furthest = max(
        np.abs(found.times[classes] / at(FAR, found.expected_times[classes]) - 1).max()
        for classes in CLASSES
    )
    return [
        *(
            claim(
                f"{name}: largest difference of the steps from theory, η = {rate}; "
                f"{', '.join(map(str, MARGINS))} classes",
                predicted=0,
                measured=max(
                    np.abs(measured[classes] - at(margins, expected[classes])).max()
                    for classes, margins in MARGINS.items()
                ),
                tolerance=law.tolerance(rate),
            )
            for rate, measured, expected in (
                (LEARNING_RATE, found.steps, found.expected_steps),
                (LEARNING_RATE / 2, found.halved, found.expected_halved),
            )
        ),
        claim(
            f"{name}: steps from m = {MARGINS[2][-1]}, 2 classes, η = {LEARNING_RATE}",
            predicted=at(MARGINS[2], found.expected_steps[2])[-1],
            measured=found.steps[2][-1],
            tolerance=law.tolerance(LEARNING_RATE),
        ),
        claim(
            f"{name}: largest relative difference of the flow time from theory, m = 1 to "
            f"{FAR[-1]}; 2, 3 and 10 classes",
            predicted=0,
            measured=furthest,
            tolerance=1e-12,
        ),
    ]


def fit(margins: np.ndarray, times: np.ndarray, growth: str) -> np.ndarray:
    """Least squares of T, or of ln T where growth is exponential, against m: slope, intercept."""
    chosen = times[margins - 1]
    return np.polyfit(margins, np.log(chosen) if growth == "exponential" else chosen, 1)


def error_of_foretelling(margins: np.ndarray, times: np.ndarray, growth: str) -> float:
    """How far off, at these margins, is what was fitted over FITTED; relative, the worst."""
    foretold = np.polyval(fit(FITTED, times, growth), margins)
    if growth == "exponential":
        foretold = np.exp(foretold)
    return np.abs(foretold / times[margins - 1] - 1).max()


def of_growth(by_name: Mapping[str, Law], found: Mapping[str, Escapes]) -> list[Row]:
    """What more of a margin costs, where each law has settled, and what a fit makes of it."""
    rows = []
    for classes, times in found["cross-entropy"].times.items():
        rows.append(
            claim(
                f"cross-entropy: steps for the 20th logit, {classes} classes, η = {LEARNING_RATE}",
                predicted=(classes - 1) / (classes * LEARNING_RATE),
                measured=(times[-1] - times[-2]) / LEARNING_RATE,
                tolerance=1e-6,
            )
        )
    growing = {name: law for name, law in by_name.items() if not math.isnan(law.rate)}
    for name, law in growing.items():
        meaning = "exponent of T" if law.growth == "exponential" else "T per logit"
        rows.append(
            prediction(
                f"{name}: {meaning}, fitted over m = 8, 9, …, 12, 2 classes",
                predicted=law.rate,
                measured=fit(FITTED, found[name].times[2], law.growth)[0],
                tolerance=0.005,
            )
        )
    for name, law in growing.items():
        rows.append(
            prediction(
                f"{name}: relative error of what was fitted there, at m = 14, 16, 18 and 20",
                predicted=0,
                measured=error_of_foretelling(LEFT_OUT, found[name].times[2], law.growth),
                tolerance=0.03,
            )
        )
    rows.append(
        prediction(
            "cross-entropy: relative error at m = 20 of an exponential fitted there, which is the "
            "wrong law, 25 % or more",
            predicted=0.25,
            measured=error_of_foretelling(
                LEFT_OUT[-1:], found["cross-entropy"].times[2], "exponential"
            ),
            relation="≥",
        )
    )
    squared = found["squared error on probabilities"]
    rows += [
        claim(
            f"squared error on probabilities: time with even wrong mass on {classes} classes over "
            f"that of 2, m = {FAR[-1]}",
            predicted=4 * (classes - 1) ** 3 / classes**2,
            measured=squared.times[classes][-1] / squared.times[2][-1],
            tolerance=1e-4,
        )
        for classes in (3, 10)
    ]
    for classes in 2, 3:
        closed_form = at(FAR, squared.expected_times[classes])
        rows.append(
            claim(
                "squared error on probabilities: exponent of T, fitted over m = 2, 3, …, 8, "
                f"{classes} classes",
                predicted=fit(TOO_NEAR, closed_form, "exponential")[0],
                measured=fit(TOO_NEAR, squared.times[classes], "exponential")[0],
                tolerance=5e-4,
            )
        )
    return rows


# Wrong mass on one class


class FromOneClass(NamedTuple):
    """Descent from ONE_CLASS_MARGINS with the mistake on one wrong class, by number of classes."""

    times: dict[int, np.ndarray]
    """η N, with η → 0."""
    expected_times: dict[int, np.ndarray]


def from_one_class(loss: Loss, expected_times: Callable[[np.ndarray], ArrayLike]) -> FromOneClass:
    """Class 1 holds the mistake, and the others start as low as the truth, which is class 0.

    Of descent with two steps, η N, which is T + O(η), is extrapolated to η = 0.
    """
    found = FromOneClass({}, {})
    margins = ONE_CLASS_MARGINS.astype(float)
    for classes in (3, 10):
        steps, halved = (
            np.asarray(steps_taken(loss, optax.sgd, classes, margins, rate, spread="one"))
            for rate in (LEARNING_RATE, LEARNING_RATE / 2)
        )
        found.times[classes] = LEARNING_RATE * (halved - steps)
        starts = np.repeat(-margins[:, None], classes, axis=1)
        starts[:, 1] = 0
        found.expected_times[classes] = np.asarray(expected_times(starts))
    return found


def of_one_class(
    entropy: FromOneClass,
    squared: FromOneClass,
    steps_on_logits: np.ndarray,
    even: Mapping[str, Escapes],
) -> list[Row]:
    """The times against integral and solver, and against those of two classes."""
    last = ONE_CLASS_MARGINS[-1]
    rows = [
        claim(
            f"{name}: wrong mass on one class of {classes}: largest relative difference of the "
            f"time, η → 0, from theory; m = 1 to {last}",
            predicted=0,
            measured=np.abs(times / found.expected_times[classes] - 1).max(),
            tolerance=5e-4,
        )
        for name, found in (
            ("cross-entropy", entropy),
            ("squared error on probabilities", squared),
        )
        for classes, times in found.times.items()
    ]
    expected = at(ONE_CLASS_MARGINS, even["squared error on logits"].expected_steps[2])
    rows.append(
        claim(
            "squared error on logits: wrong mass on one class of 3 or 10: largest difference of "
            f"the steps from those of even wrong mass, η = {LEARNING_RATE}",
            predicted=0,
            measured=np.abs(steps_on_logits - expected).max(),
            tolerance=1e-9,
        )
    )
    of_two_classes = even["cross-entropy"].times[2][last - 1]
    rows.append(
        prediction(
            f"cross-entropy: time of two classes over that of one of 10, m = {last}; within 1 %",
            predicted=1,
            measured=of_two_classes / entropy.times[10][-1],
            tolerance=0.01,
        )
    )
    of_two_classes = even["squared error on probabilities"].times[2][last - 1]
    for classes, quicker, tolerance in (10, 2.83, 0.05), (3, 1.2, 0.02):
        rows.append(
            prediction(
                "squared error on probabilities: time of two classes over that of one of "
                f"{classes}, m = {last}",
                predicted=quicker,
                measured=of_two_classes / squared.times[classes][-1],
                tolerance=tolerance,
            )
        )
    return rows


# Pictures

LABELS = {
    "natural gradient on cross-entropy": ("natural gradient: constant", -3),
    "squared error on logits": (r"squared error on logits: $\propto\ln m$", 3),
    "focal loss": (r"focal loss, $\gamma=2$: $\propto m$", -6),
    "cross-entropy": (r"cross-entropy: $\propto m$", 7),
    "generalised cross-entropy of exponent 0.5": (
        "generalised cross-entropy\nof exponent ½: $\\propto e^{m/2}$",
        0,
    ),
    "generalised cross-entropy of exponent 0.7": (
        "generalised cross-entropy\nof exponent 0.7: $\\propto e^{0.7m}$",
        0,
    ),
    "squared error on probabilities": ("squared error\non probabilities: $\\propto e^m$", -7),
    "absolute error": (r"absolute error: $\propto e^m$", 6),
}
"""What stands at the right end of each line, and how many points above it."""


def draw(by_name: Mapping[str, Law], found: Mapping[str, Escapes]) -> Figure:
    """Steps against the margin for two classes: measured as dots, theory as lines."""
    figure = Figure(figsize=(7.2, 4.8))
    ax = figure.add_subplot()
    for name, law in by_name.items():
        lines = found[name].expected_steps[2]
        # the focal loss lies within two steps of cross-entropy, so it is drawn as its rim
        width, size = (4, 7.5) if name == "focal loss" else (1.8, 4.5)
        ax.plot(GRID, lines, color=law.colour, lw=width)
        ax.plot(MARGINS[2], found[name].steps[2], "o", color=law.colour, markersize=size)
        words, points = LABELS[name]
        ax.annotate(
            words,
            (GRID[-1], lines[-1]),
            xytext=(6, points),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=law.colour,
        )
    ax.text(
        *(0.02, 0.98),
        f"2 classes, descent with η = {LEARNING_RATE}\n"
        f"dots: measured, to m = {MARGINS[2][-1]}\n"
        f"lines: theory, to m = {FAR[-1]}\n"
        "squared errors: sums over classes\nabsolute error: mean over classes",
        transform=ax.transAxes,
        va="top",
        fontsize="small",
    )
    ax.set_yscale("log")
    ax.set_xlim(0, GRID[-1])
    ax.set_xticks(range(0, 21, 4))
    ax.set_ylim(1, 1e10)
    ax.set_xlabel("margin m: logits by which the truth starts behind")
    ax.set_ylabel("steps to the tie")
    powers = np.arange(1, 9)
    top = ax.secondary_xaxis("top")
    top.set_xticks(np.log(10.0**powers - 1), [f"$10^{{-{power}}}$" for power in powers])
    top.set_xlabel("probability of the truth at the start")
    return figure


def draw_spread(
    ax: Axes, even: Escapes, one: FromOneClass, colour: str, points: Mapping[str, int]
) -> None:
    """Times over those of two classes, against the margin; labels moved up by so many points."""
    margins = ONE_CLASS_MARGINS
    look = {"color": colour, "clip_on": False}
    ends = {}
    for classes, times in even.times.items():
        ratio = even.expected_times[classes] / even.expected_times[2]
        ax.plot(GRID, ratio, color=colour)
        ax.plot(margins, times[: margins.size] / even.times[2][: margins.size], "o", **look)
        ends["two classes" if classes == 2 else f"all of {classes}"] = at(margins, ratio)[-1]
    for classes, times in one.times.items():
        ratio = one.expected_times[classes] / at(margins, even.expected_times[2])
        ax.plot(margins, ratio, "--", color=colour, lw=1)
        measured = times / even.times[2][: margins.size]
        ax.plot(margins, measured, "o", markerfacecolor="white", **look)
        ends[f"one of {classes}"] = ratio[-1]
    for words, end in ends.items():
        ax.annotate(
            words,
            (margins[-1], end),
            xytext=(8, points.get(words, 0)),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=colour,
        )
    ax.set_yscale("log")
    ax.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0, margins[-1])
    ax.set_ylim(0.25, 50)
    ax.set_xlabel("margin m of the mistake, logits")


def draw_spreads(
    even: Mapping[str, Escapes], entropy: FromOneClass, squared: FromOneClass
) -> Figure:
    """Cross-entropy beside squared error, on the same scale."""
    figure = Figure(figsize=(7.2, 3.9))
    left, right = figure.subplots(1, 2, sharey=True)
    draw_spread(
        left,
        even["cross-entropy"],
        entropy,
        colours.CROSS_ENTROPY,
        {"all of 3": 3, "one of 10": -10, "two classes": -20, "one of 3": 0, "all of 10": 3},
    )
    draw_spread(
        right,
        even["squared error on probabilities"],
        squared,
        colours.SQUARED_ERROR,
        {"two classes": 3, "one of 3": -4},
    )
    left.set_title("cross-entropy", loc="left")
    right.set_title("squared error on probabilities", loc="left")
    left.set_ylabel("time to the tie, in that of two classes")
    left.text(
        *(0.03, 0.97),
        "wrong mass on all wrong classes: ●\non one of them: ○\n"
        "dots: measured, η → 0\nlines: theory\nlosses: sums over classes",
        transform=left.transAxes,
        va="top",
        fontsize="small",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Count the steps, integrate the flows, hold both to theory, and draw them."""
    by_name = laws()
    found: dict[str, Escapes] = {}
    rows = []
    with jax.enable_x64(True):
        for index, (name, law) in enumerate(by_name.items()):
            progress(name, index / 10)
            found[name] = escapes(law)
            rows += agreement(name, law, found[name])
        rows += of_growth(by_name, found)
        progress("wrong mass on one class", 0.8)
        entropy = from_one_class(CROSS_ENTROPY, integrated_cross_entropy_times)
        squared = from_one_class(SQUARED_ERROR, solved_brier_score_times)
        margins = ONE_CLASS_MARGINS.astype(float)
        on_logits = [
            steps_taken(
                SQUARED_ERROR_ON_LOGITS, optax.sgd, classes, margins, LEARNING_RATE, spread="one"
            )
            for classes in (3, 10)
        ]
        rows += of_one_class(entropy, squared, np.array(on_logits), found)
    progress("figures", 0.95)
    figure = draw(by_name, found)
    spread = draw_spreads(found, entropy, squared)
    steps = {name: by_law.steps[2][-1] for name, by_law in found.items()}
    growing = ("cross-entropy", "squared error on probabilities")
    per_logit, exponent = (
        fit(FITTED, found[name].times[2], by_name[name].growth)[0] for name in growing
    )
    foretold = error_of_foretelling(LEFT_OUT[-1:], found[growing[1]].times[2], "exponential")
    chances = 1e6 / (1 + math.exp(MARGINS[2][-1]))
    return Finding(
        answer=(
            f"A model of two classes that gives the truth {chances:.0f} chances in a million "
            f"unlearns it, with η = {LEARNING_RATE}, in {steps['cross-entropy']:.0f} steps of "
            f"cross-entropy, in {steps['squared error on logits']:.0f} of squared error on logits, "
            f"and in {steps['squared error on probabilities']:,.0f} of squared error on "
            f"probabilities. The time grows by {per_logit:.3f} for each logit of the margin by "
            f"cross-entropy and like exp({exponent:.3f} m) by squared error on probabilities, "
            "fitted over margins of 8 to 12, which foretells that of 20 within "
            f"{100 * foretold:.1f} %."
        ),
        rows=rows,
        pictures={
            "escape": Picture(figure, CAPTION, in_readme=True),
            "escape_spread": Picture(spread, CAPTION_OF_SPREAD),
        },
    )
