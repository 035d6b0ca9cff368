"""Is cross-entropy “natural”, and what does each Jacobian of the softmax cost?

Let the logits z of Q = softmax(z) follow a rule, and look at how the probabilities move. With
J = diag(q) − q qᵀ, the Jacobian of softmax, a motion z′ moves them by q′ = J z′, and a loss of q
has the gradient dL/dz = J ∂L/∂q in the logits. J is also the Fisher information, so that descent
along the natural gradient is z′ = −J⁺ dL/dz = −∂L/∂q, up to a constant, and moves the probabilities
by q′ = −dL/dz: what is the natural gradient in the probabilities is the plain one in the logits.
Count the Jacobians that are left before q − p:

    J⁰   natural gradient of cross-entropy           q′ = −(q − p)
    J¹   descent on cross-entropy                    q′ = −J (q − p)
    J¹   natural gradient of squared error           q′ = −2J (q − p)
    J²   descent on squared error                    q′ = −2J² (q − p)

Cross-entropy is natural for squared error: descent on it is the natural descent on squared error,
on the same path, at half the speed. And its own natural descent has no Jacobian at all: it goes
straight from q₀ to p, q(t) = p + (q₀ − p) e⁻ᵗ. Step by step, too: the exponentiated gradient of
squared error, qᵢ ∝ qᵢ exp(−η ∂L/∂qᵢ), is with ∂L/∂q = 2 (q − p) a step of 2η (q − p) in the logits.

J fades where q is sure of itself, so each J costs time when it is sure and wrong. From m logits
behind every wrong logit to the tie, for C classes, K = C − 1 and a truth that is certain,

    J⁰   natural gradient of cross-entropy           T = ln C/(K + e⁻ᵐ)                   O(1)
    J¹   descent on cross-entropy                    T = [1 − e⁻ᵐ + K m] / C              linear
    J²   descent on squared error                    T ≈ K³ eᵐ/(2C²)                 exponential
         descent on squared error on logits          T = ½ ln(1 + m)                 logarithmic

The last has no softmax to differentiate; but it fits logits, and rests at softmax(p), not at p.
Squared error is a sum over the classes throughout.

Predictions:

- The velocity of q is that of the formula for each of the four rules, and under the natural
  gradient it is −dL/dz, within 1e-11 of its size, at 1000 random pairs P, Q of 5 classes.
- From three starts to P = (0.6, 0.3, 0.1) the natural gradient of cross-entropy strays from the
  straight line, and from p + (q₀ − p) e⁻ᵗ, by at most 1e-9.
- The natural gradient of squared error is where descent on cross-entropy is after twice the time,
  within 1e-9.
- 1000 steps of the exponentiated gradient of squared error with η = 0.01, 0.1 and 1 are those of
  descent on cross-entropy with 2η, within 1e-13.
- The times to the tie are those of the closed forms within 1e-8 of them, for 3 classes and m from 1
  to 12.
- From m = 11 to m = 12 the time grows by 0 for the natural gradient of cross-entropy, by K/C =
  0.666667 for descent on cross-entropy and by half of it, 0.333333, for the natural gradient of
  squared error, within 1e-4; for descent on squared error it is multiplied by 2.718, within 0.001.
- Squared error on logits: the time over ln(1 + m) is 0.5 at m = 12, within 1e-8.
- Squared error on logits rests where the first class has 0.426013 instead of 0.6, within 1e-9.
- From Q = (0.01, 0.01, 0.98) until max|q − p| ≤ 0.01: descent on cross-entropy takes at most 5
  times the time of its natural gradient, and descent on squared error at least 3 times that of
  descent on cross-entropy.
- The longest detour from the three starts, as length over that of the straight line, is at most 1.2
  for descent on cross-entropy and at most 1.5 for descent on squared error.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpltern.ternary import TernaryAxes
from scipy.integrate import solve_ivp
from scipy.special import softmax

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Row, claim, prediction
from jaxent import descent, gradients, losses, plots, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.softmax_cross_entropy
SQUARED_ERROR = losses.softmax_brier_score
SQUARED_ERROR_ON_LOGITS = losses.logit_squared_error
Gradient = Callable[[Loss, Array, Array], Array]
Velocity = Callable[[Array, Array], Array]

SECONDS = 3
PAIRS, CLASSES = 1_000, 5
TARGET = np.array([0.6, 0.3, 0.1])
P = f"P = {tuple(TARGET.tolist())}"
STARTS = np.array([[0.01, 0.01, 0.98], [0.05, 0.9, 0.05], [0.9, 0.02, 0.08]])
TIMES = np.linspace(0.0, 200.0, 2_001)
RATES = np.array([0.01, 0.1, 1.0])
STEPS = 1_000
MARGINS = np.arange(1.0, 13.0)
NEAR = 0.01
SEED = 0


class Rule(NamedTuple):
    """How the logits move, and what should come of it."""

    name: str
    loss: Loss
    gradient: Gradient
    """In the logits: the plain one or the natural one."""
    velocity: Velocity | None
    """That of q, from q and p; None where it is not one of q alone."""
    escape_time: Callable[[ArrayLike], Array]
    """From a margin to the tie, for three classes."""
    colour: str


class Rules(NamedTuple):
    """Every rule; the names say whose gradient it is that is followed."""

    natural_cross_entropy: Rule
    cross_entropy: Rule
    natural_squared_error: Rule
    squared_error: Rule
    squared_error_on_logits: Rule


def all_rules() -> Rules:
    """From no Jacobian to two; then the one that has no softmax."""
    plain, natural = gradients.logit_gradient, gradients.tangent_gradient
    return Rules(
        Rule(
            "natural gradient of cross-entropy",
            CROSS_ENTROPY,
            natural,
            lambda q, p: theory.flows.flow_velocity(q, p, 0),
            jax.jit(lambda margins: theory.escape.natural_gradient_escape_time(margins, 3)),
            colours.NATURAL_GRADIENT,
        ),
        Rule(
            "descent on cross-entropy",
            CROSS_ENTROPY,
            plain,
            lambda q, p: theory.flows.flow_velocity(q, p, 1),
            jax.jit(lambda margins: theory.escape.cross_entropy_escape_time(margins, 3)),
            colours.CROSS_ENTROPY,
        ),
        Rule(
            "natural gradient of squared error",
            SQUARED_ERROR,
            natural,
            lambda q, p: 2 * theory.flows.flow_velocity(q, p, 1),
            jax.jit(lambda margins: theory.escape.cross_entropy_escape_time(margins, 3) / 2),
            colours.SQUARED_ERROR,
        ),
        Rule(
            "descent on squared error",
            SQUARED_ERROR,
            plain,
            lambda q, p: 2 * theory.flows.flow_velocity(q, p, 2),
            jax.jit(lambda margins: theory.escape.brier_score_escape_time(margins, 3)),
            colours.SQUARED_ERROR,
        ),
        Rule(
            "descent on squared error on logits",
            SQUARED_ERROR_ON_LOGITS,
            plain,
            None,
            jax.jit(theory.escape.logit_squared_error_escape_time),
            colours.LOGIT_SQUARED_ERROR,
        ),
    )


# Velocities


@partial(jax.jit, static_argnums=(0, 1, 2))
def velocities(
    loss: Loss, gradient: Gradient, formula: Velocity, logits: Array, targets: Array
) -> tuple[Array, Array, Array]:
    """Of q under a rule, J z′ by forward differentiation; by the formula; and −dL/dz."""

    def of_one(z: Array, p: Array) -> tuple[Array, Array, Array]:
        q, velocity = jax.jvp(jax.nn.softmax, (z,), (-gradient(loss, z, p),))
        return velocity, formula(q, p), -gradients.logit_gradient(loss, z, p)

    return jax.vmap(of_one)(logits, targets)


def difference(measured: Array, expected: Array) -> float:
    """The largest difference of two vectors, relative to the size of the second."""
    distances = np.linalg.norm(np.subtract(measured, expected), axis=-1)
    return np.max(distances / np.linalg.norm(expected, axis=-1))


def of_velocities(rules: Rules, random: np.random.Generator) -> list[Row]:
    """The formulas, at random pairs."""
    logits = 2 * random.standard_normal([PAIRS, CLASSES])
    targets = random.dirichlet(np.ones(CLASSES), PAIRS)
    pairs = f"at {PAIRS} random pairs P, Q of {CLASSES} classes"
    rows, naturals = [], []
    for rule in rules:
        if rule.velocity is None:
            continue
        measured, expected, pushes = velocities(
            rule.loss, rule.gradient, rule.velocity, logits, targets
        )
        rows.append(
            claim(
                f"{rule.name}: largest relative difference of the velocity of q from the formula, "
                f"{pairs}",
                predicted=0,
                measured=difference(measured, expected),
                tolerance=1e-11,
            )
        )
        if rule.gradient is gradients.tangent_gradient:
            naturals.append(difference(measured, pushes))
    return [
        *rows,
        claim(
            "natural gradients: largest relative difference of the velocity of q from −dL/dz, "
            f"{pairs}",
            predicted=0,
            measured=max(naturals),
            tolerance=1e-11,
        ),
    ]


# Paths


@partial(jax.jit, static_argnums=(0, 1))
def motion(loss: Loss, gradient: Gradient, z: Array, p: Array) -> Array:
    """z′."""
    return -gradient(loss, z, p)


def solve(rule: Rule, start: np.ndarray, target: np.ndarray, longest: float, **options: Any) -> Any:
    """Follow a rule in the logits from Q = start, to the last digits that can be had."""
    return solve_ivp(
        lambda t, z: np.asarray(motion(rule.loss, rule.gradient, z, target)),
        (0, longest),
        np.log(start),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        **options,
    )


def path(rule: Rule, start: np.ndarray, times: np.ndarray = TIMES) -> np.ndarray:
    """Q at the times, on its way from start to TARGET."""
    solution = solve(rule, start, TARGET, times[-1], t_eval=times)
    return softmax(solution.y.T, axis=-1)


def time_until(
    arrived: Callable[[np.ndarray], float], rule: Rule, start: np.ndarray, target: np.ndarray
) -> float:
    """When arrived(z) first is 0; NaN if never in a million."""

    def event(t: float, z: np.ndarray) -> float:
        return arrived(z)

    event.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    (times,) = solve(rule, start, target, 1e6, events=event).t_events
    return times[0] if times.size else math.nan


def of_paths(rules: Rules, paths: Mapping[str, np.ndarray]) -> list[Row]:
    """What is straight, what goes the same way, and where it ends."""
    natural, straight = paths[rules.natural_cross_entropy.name] - TARGET, STARTS - TARGET
    directions = straight / np.linalg.norm(straight, axis=-1, keepdims=True)
    along = np.einsum("sti,si->st", natural, directions)[:, :, None] * directions[:, None]
    decay = np.exp(-TIMES)[:, None] * straight[:, None]
    twice = np.stack([path(rules.natural_squared_error, start, TIMES / 2) for start in STARTS])
    rest = paths[rules.squared_error_on_logits.name][:, -1, 0]
    expected = np.exp(TARGET[0]) / np.exp(TARGET).sum()
    return [
        claim(
            f"{rules.natural_cross_entropy.name}: largest distance of q from the straight line to "
            f"{P}, of three starts",
            predicted=0,
            measured=np.linalg.norm(natural - along, axis=-1).max(),
            tolerance=1e-9,
        ),
        claim(
            f"{rules.natural_cross_entropy.name}: largest |q − p − (q₀ − p) e⁻ᵗ|, of three starts",
            predicted=0,
            measured=np.abs(natural - decay).max(),
            tolerance=1e-9,
        ),
        claim(
            f"{rules.natural_squared_error.name}: largest distance of q from that of descent on "
            "cross-entropy after twice the time, of three starts",
            predicted=0,
            measured=np.linalg.norm(twice - paths[rules.cross_entropy.name], axis=-1).max(),
            tolerance=1e-9,
        ),
        claim(
            f"{rules.squared_error_on_logits.name}: q of the first class at rest, where p is "
            f"{TARGET[0]}, of three starts the farthest off",
            predicted=expected,
            measured=rest[np.abs(rest - expected).argmax()],
            tolerance=1e-9,
        ),
    ]


def of_detours(rules: Rules, paths: Mapping[str, np.ndarray]) -> list[Row]:
    """What was guessed of paths and of times."""

    def near(z: np.ndarray) -> float:
        q = np.exp(z - z.max())
        return NEAR - np.abs(q / q.sum() - TARGET).max()

    natural, entropy, squared = (
        time_until(near, rule, STARTS[0], TARGET)
        for rule in (rules.natural_cross_entropy, rules.cross_entropy, rules.squared_error)
    )
    until = f"from Q = {tuple(STARTS[0].tolist())} until max|q − p| ≤ {NEAR}: time of"
    rows = [
        prediction(
            f"{until} descent on cross-entropy over that of its natural gradient",
            predicted=5,
            measured=entropy / natural,
            relation="≤",
        ),
        prediction(
            f"{until} descent on squared error over that of descent on cross-entropy",
            predicted=3,
            measured=squared / entropy,
            relation="≥",
        ),
    ]
    for rule, predicted in ((rules.cross_entropy, 1.2), (rules.squared_error, 1.5)):
        lengths = np.linalg.norm(np.diff(paths[rule.name], axis=1), axis=-1).sum(axis=-1)
        straight = np.linalg.norm(STARTS - TARGET, axis=-1)
        rows.append(
            prediction(
                f"{rule.name}: length of the path over that of the straight line, of three starts "
                "the largest",
                predicted=predicted,
                measured=(lengths / straight).max(),
                relation="≤",
            )
        )
    return rows


# The same in steps


@partial(jax.jit, static_argnums=(0, 1, 3))
def farthest_apart(squared_error: Loss, cross_entropy: Loss, rate: Array, steps: int) -> Array:
    """Of the exponentiated gradient of one loss and descent on another at twice the rate."""
    start, target = jnp.array(STARTS[0]), jnp.array(TARGET)

    def step(q: Array, _: None) -> tuple[Array, Array]:
        slope = gradients.tangent_gradient(squared_error, jnp.log(q), target)
        return theory.flows.exponentiated_gradient_step(q, slope, rate), q

    _, exponentiated = jax.lax.scan(step, start, None, length=steps)
    sgd, record = optax.sgd(2 * rate), descent.record_path
    fit = descent.fit(cross_entropy, jnp.log(start), target, sgd, steps=steps, record=record)
    return jnp.abs(exponentiated - jax.nn.softmax(fit.record)).max()


def of_steps() -> Row:
    """Exponentiated gradient is descent on cross-entropy."""
    differences = [farthest_apart(SQUARED_ERROR, CROSS_ENTROPY, rate, STEPS) for rate in RATES]
    return claim(
        f"largest difference of q in {STEPS} steps of the exponentiated gradient of squared error, "
        f"η = {', '.join(f'{rate:g}' for rate in RATES)}, and of descent on cross-entropy with 2η",
        predicted=0,
        measured=np.max(differences),
        tolerance=1e-13,
    )


# Escape


def escape_times(rule: Rule) -> Float[np.ndarray, " margins"]:
    """Of three classes, from each margin to the tie."""
    truth = np.eye(3)[0]

    def lead(z: np.ndarray) -> float:
        return z[0] - z[1:].max()

    return np.array([time_until(lead, rule, np.exp(-m * truth), truth) for m in MARGINS])


def of_escapes(rules: Rules, times: Mapping[str, np.ndarray]) -> list[Row]:
    """The closed forms, and how the times grow."""
    rows = [
        claim(
            f"{rule.name}: largest relative difference of the time to the tie from the closed "
            f"form, 3 classes, m from {MARGINS[0]:g} to {MARGINS[-1]:g}",
            predicted=0,
            measured=np.abs(times[rule.name] / np.asarray(rule.escape_time(MARGINS)) - 1).max(),
            tolerance=1e-8,
        )
        for rule in rules
    ]
    growth = f"from m = {MARGINS[-2]:g} to m = {MARGINS[-1]:g}"
    for rule, predicted in (
        (rules.natural_cross_entropy, 0),
        (rules.cross_entropy, 2 / 3),
        (rules.natural_squared_error, 1 / 3),
    ):
        before, after = times[rule.name][-2:]
        rows.append(
            claim(
                f"{rule.name}: growth of the time {growth}",
                predicted=predicted,
                measured=after - before,
                tolerance=1e-4,
            )
        )
    before, after = times[rules.squared_error.name][-2:]
    on_logits = times[rules.squared_error_on_logits.name][-1]
    return [
        *rows,
        claim(
            f"{rules.squared_error.name}: ratio of the times {growth}",
            predicted=math.e,
            measured=after / before,
            tolerance=1e-3,
        ),
        claim(
            f"{rules.squared_error_on_logits.name}: time over ln(1 + m), m = {MARGINS[-1]:g}",
            predicted=0.5,
            measured=on_logits / math.log(1 + MARGINS[-1]),
            tolerance=1e-8,
        ),
    ]


# Picture


def draw_paths(ax: TernaryAxes, rules: Rules, paths: Mapping[str, np.ndarray]) -> None:
    """The ways from the first start to TARGET, with a dot for each unit of time."""
    units = np.searchsorted(TIMES, np.arange(1.0, 11.0))
    for rule in rules:
        if rule is rules.natural_squared_error:
            continue
        way, *_ = paths[rule.name]
        plots.plot_simplex_path(ax, way, color=rule.colour, lw=1.4, markersize=4.5)
        ax.plot(*way[units].T, "o", color=rule.colour, markersize=4)
    ax.plot(*TARGET[:, None], "P", color=colours.INK, markersize=9, zorder=5)
    ax.set_title("to P (cross), a dot at t = 1 … 10", y=1.12)
    for rule, time, words, shift in (
        (rules.squared_error, units[-1], "squared error\nat t = 10", (-78, 10)),
        (rules.squared_error_on_logits, -1, "on logits it\nrests here", (-30, -34)),
    ):
        (place,) = ax.transProjection.transform(paths[rule.name][0, time, None])
        ax.annotate(
            words,
            place,
            xytext=shift,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize="small",
            color=rule.colour,
            arrowprops={"arrowstyle": "->", "color": rule.colour, "lw": 0.8},
        )


def draw_escapes(ax: Axes, rules: Rules, times: Mapping[str, np.ndarray]) -> None:
    """Times to the tie, measured as dots on the lines of the closed forms."""
    margins = np.linspace(0.2, MARGINS[-1], 200)
    for rule in rules:
        dashes = "--" if rule is rules.natural_squared_error else "-"
        ax.plot(margins, rule.escape_time(margins), dashes, color=rule.colour, lw=1.2)
        ax.plot(MARGINS, times[rule.name], "o", color=rule.colour, ms=4, clip_on=False, zorder=3)
    label = partial(ax.text, ha="right", va="center", fontsize="small")
    for rule, height, words in (
        (rules.cross_entropy, 13, "J¹  descent on cross-entropy"),
        (rules.natural_squared_error, 1.75, "J¹  natural, squared error"),
        (rules.squared_error_on_logits, 0.69, "squared error on logits"),
        (rules.natural_cross_entropy, 0.23, "J⁰  natural, cross-entropy"),
    ):
        label(11.9, height, words, color=rule.colour)
    label(7.6, 5e3, "J²  descent on\nsquared error", color=rules.squared_error.colour)
    ax.set(
        title="sure and wrong: until the tie",
        xlabel="margin m of the mistake, logits",
        ylabel="time, η × steps",
        yscale="log",
        xlim=(0, MARGINS[-1]),
        ylim=(0.1, 1e5),
    )


def draw(rules: Rules, paths: Mapping[str, np.ndarray], times: Mapping[str, np.ndarray]) -> Figure:
    """Ways on the simplex; and what each costs from a confident mistake."""
    figure = Figure(figsize=(7.0, 4.8))
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 1.1))
    triangle = cast(TernaryAxes, figure.add_subplot(grid[0], projection="ternary"))
    draw_paths(triangle, rules, paths)
    draw_escapes(figure.add_subplot(grid[1]), rules, times)
    figure.supxlabel(
        "flows of the logits, z′ = −dL/dz or its natural gradient; squared error: sum over classes",
        fontsize="x-small",
    )
    return figure


def run(progress: Progress) -> Finding:
    """Velocities, paths, steps and times, each against its formula."""
    random = np.random.default_rng(SEED)
    with jax.enable_x64(True):
        rules = all_rules()
        progress("velocities", 0)
        rows = of_velocities(rules, random)
        progress("paths", 0.3)
        paths = {rule.name: np.stack([path(rule, start) for start in STARTS]) for rule in rules}
        rows += of_paths(rules, paths) + of_detours(rules, paths)
        progress("steps", 0.5)
        steps = of_steps()
        progress("times", 0.6)
        times = {rule.name: escape_times(rule) for rule in rules}
        rows += [steps, *of_escapes(rules, times)]
        figure = draw(rules, paths, times)
    natural, entropy, _, squared, on_logits = (of_rule[-1] for of_rule in times.values())
    return Finding(
        answer=(
            "Descent on cross-entropy is the natural descent on squared error at half its speed, "
            "and step by step its exponentiated gradient, to "
            f"{steps.measured:.0e}; its own natural gradient goes straight to P, without any "
            f"Jacobian. From a mistake of {MARGINS[-1]:g} logits, three classes, the flows with 0, "
            f"1 and 2 Jacobians take the times {natural:.2f}, {entropy:.1f} and {squared:,.0f} to "
            f"the tie, and squared error on logits, without a softmax, {on_logits:.1f}."
        ),
        rows=rows,
        pictures={
            "flows": Picture(
                figure,
                f"Left: flows from Q = {tuple(STARTS[0].tolist())} to {P}, in the colours of the "
                "right; the natural gradient of cross-entropy goes straight, squared error has "
                "hardly left the corner when the others have nearly arrived, and squared error "
                "on logits rests elsewhere. Right: the time that a mistake takes to the tie, three "
                "classes and a truth that is certain; dots are measured, lines are the closed "
                "forms. Each Jacobian of the softmax costs more than the one before: from a "
                "bounded time to a linear and an exponential one.",
                in_readme=True,
            )
        },
    )
