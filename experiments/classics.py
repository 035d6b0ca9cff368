"""Do the classic demonstrations hold when they are measured again?

Four are taken up. The losses of one sigmoid logit s with q = σ(s) are cross-entropy
−y ln q − (1 − y) ln(1 − q) and squared error (q − y)², without a ½.

One neuron (Nielsen, Neural Networks and Deep Learning, 2015, chapter 3): q = σ(w + b) should learn
y = 0. From w = 0.6, b = 0.9 and from w = b = 2, with ½(q − y)² and η = 0.15, it reportedly ends 300
epochs later at 0.09 and 0.20, and the worse start begins with a plateau. Here that is η/2 on
(q − y)². His picture of cross-entropy reportedly has another step, 0.005: it compares shapes, not
speeds. Weight and bias move alike, so s descends at twice the push of one logit, and from s = m to
q = ½ takes, but for a correction of ½ ln(f₁/f₀) epochs, f the speeds at end and start, 1/(2η) times

    cross-entropy       m + 1 − e⁻ᵐ
    ½(q − y)²           eᵐ + 3m + 5/2 − 3e⁻ᵐ − ½e⁻²ᵐ

The ratio of the two starts is free of η. Which loss is the faster is not: so both are also compared
with the same share of 2/L, L the largest curvature, and with the same first move.

A surface over two weights (Glorot and Bengio, Understanding the difficulty of training deep
feedforward neural networks, 2010, who report more severe plateaus for the quadratic cost). Their
specification could not be read in full, so this one is ours: q = σ(w₂ tanh(w₁x)), one hundred
inputs x that are standard normal, targets y that are fair coins, the mean loss on a grid of weights
between −10 and 10, five draws. Call plateau what has less than 1 % of the largest gradient.

The contiguity problem (Solla, Levin and Fleisher, Accelerated learning in layered neural networks,
1988, whose abstract reports marked reductions in learning times). The numbers of the paper were not
at hand, so this one is ours too: tell the strings of ten bits that have three runs of ones from
those that have two; bits as ±1, twelve tanh units, normal weights of variance 1/inputs, descent on
the mean over all 792 strings, learned at 95 %. Where q is near ½ squared error pushes
2q(1 − q) ≤ ½ times as hard as cross-entropy, so with the same step it should take twice as long.
That is a matter of scale: each loss has also its own best step, from a grid in units of 2/L of one
logit, tuned on other seeds. (A trial with eight bits, in which squared error was not the slower one
at its best step, came before the predictions were written down here; they are what the abstract and
this argument say.)

Local minima of one neuron (Auer, Herbster and Warmuth, Exponentially many local minima for single
neurons, 1996). Let x_t = 100ᵗ, t = 1 … n, all with y = ¾. Take w > 0. Example t is right where
w x_t = ln 3. Far below q is ½, far above it is 1, and ¾ lies in the middle: (q − y)² is 1/16 on
both sides. So each example is a dip in a flat line, the dips are a factor of 100 apart and do not
reach each other, and their sum has n minima, each of which fits one example and leaves an error of
about (n − 1)/16. (For w < 0 every q is below ½ and falls.) With inputs (x_t, 0) and (0, x_t) the
errors of two weights add up, which makes n² minima of 2n examples. Cross-entropy does not flatten:
it is convex in w, and has one.

Predictions:

- The neuron ends as the update worked by hand does, within 1e-12: with squared error at 0.0940 and
  0.2028; with cross-entropy, at his 0.005, at 0.4177 and 0.7796, which is worse; at the same share
  of 2/L, at 0.0409 and 0.0458.
- The worse start takes squared error 6.4 times as long to q = ½ as the better one, cross-entropy
  2.19 times, within 0.05. From the worse start the epochs are those of the flow, corrected, within
  0.1: 231.13 by squared error; by cross-entropy 497.83 at his step, 53.56 at the same share of 2/L,
  and 939.81 with the same first move.
- The surface: gradients are the formulas within 1e-12. Plateau is at least 0.25 of it for squared
  error and at most 0.02 for cross-entropy. Each loss has 2 local minima, mirror images.
- Contiguity: with the same step 1 squared error takes at least 2 times the steps of cross-entropy;
  each with its own best step, at least 1 times.
- One weight: n minima for n = 1 … 8, that of example t within 0.02 of w x_t = ln 3, relative, and
  for 5 examples all within 0.002 of 0.25; cross-entropy has 1. Two weights, 10 examples: 25 minima,
  with curvatures of at least 0.05 in ln w; cross-entropy has 1.
"""

import itertools
import math
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
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy import stats

from experiments import _colours as colours
from experiments._claims import Finding, Picture, Progress, Relation, Row, claim, prediction
from experiments._training import bootstrap
from jaxent import descent, losses, theory
from jaxent._examples import Loss

CROSS_ENTROPY = losses.sigmoid_binary_cross_entropy
SQUARED_ERROR = losses.sigmoid_squared_error
NAMES = ("cross-entropy", "squared error")
COLOURS = {"cross-entropy": colours.CROSS_ENTROPY, "squared error": colours.SQUARED_ERROR}
SMOOTHNESS = {
    "cross-entropy": theory.curvature.BINARY_CROSS_ENTROPY_SMOOTHNESS,
    "squared error": theory.curvature.SIGMOID_SQUARED_ERROR_SMOOTHNESS,
}

BETTER, WORSE = (0.6, 0.9), (2.0, 2.0)
EPOCHS = 300
SHOWN_EPOCHS = 1000

DRAWS = 5
SIGNALS = 100
WEIGHTS = np.linspace(-10, 10, 101)

BITS = 10
HIDDEN = 12
LEARNED = 0.95
MOST_STEPS = 600
SAME_STEP = 1.0
SHARES = 2.0 ** np.arange(-3, 5)
SEEDS_AT_ONCE = 5
RACE_SEEDS = 30

MOST_EXAMPLES = 8
EXAMPLES_SHOWN = 5
SCAN = 20_000
LOG_WEIGHTS = np.arange(-28.0, 1.0, 0.2)

SEED = 0
SECONDS = 12
CAPTION = (
    "Top left: outputs of Nielsen's neuron; dots after 300 epochs at his steps. "
    "Top right: how much of the surface over two weights has how little gradient; five draws each. "
    "Bottom left: steps to learn contiguity against the step size; dots with bars are fresh seeds, "
    "mean and standard deviation of the logarithm. Bottom right: the error of a neuron with one "
    "weight, for x = 100, 100², … and y = ¾."
)
CAPTION_OF_LANDSCAPES = (
    "Above, gradient norms over the two weights of two layers, mean losses on random signals: "
    "where both weights are large squared error has plateaus. Below, errors of one neuron with two "
    "weights, sums over ten examples, and their minima."
)


def by_name() -> dict[str, Loss]:
    """The two losses of one logit."""
    return dict(zip(NAMES, (CROSS_ENTROPY, SQUARED_ERROR), strict=True))


# One neuron


class Run(NamedTuple):
    """A descent of the neuron."""

    name: str
    start: tuple[float, float]
    learning_rate: float
    """On the loss without ½."""
    step: str
    """The same in words."""

    @property
    def words(self) -> str:
        return f"{self.name}, w = {self.start[0]:g}, b = {self.start[1]:g}, {self.step}"


def runs() -> list[Run]:
    """His two starts, by squared error at his step, and by cross-entropy at his and at others."""
    of_squares = 0.15 / 2
    share = of_squares * SMOOTHNESS["squared error"] / SMOOTHNESS["cross-entropy"]
    q = 1 / (1 + math.exp(-sum(WORSE)))
    return [
        *(
            Run("squared error", start, of_squares, "Nielsen's step 0.15")
            for start in (BETTER, WORSE)
        ),
        *(Run("cross-entropy", start, 0.005, "Nielsen's step 0.005") for start in (BETTER, WORSE)),
        *(Run("cross-entropy", start, share, "same share of 2/L") for start in (BETTER, WORSE)),
        Run("cross-entropy", WORSE, of_squares * 2 * q * (1 - q), "same first move"),
    ]


@partial(jax.jit, static_argnums=0)
def descend_neuron(loss: Loss, starts: Array, learning_rates: Array) -> Array:
    """The logit before each epoch, for each start and its step."""

    def error(weight_and_bias: Array) -> Array:
        return jnp.sum(loss(weight_and_bias.sum(keepdims=True), jnp.zeros(1)))

    def logits(start: Array, learning_rate: Array) -> Array:
        sgd, record = optax.sgd(learning_rate), descent.record_path
        return descent.descend(error, start, sgd, steps=SHOWN_EPOCHS, record=record).record.sum(-1)

    return jax.vmap(logits)(starts, learning_rates)


def measure_neuron() -> dict[Run, np.ndarray]:
    """The logits of all runs."""
    measured = {}
    for name, loss in by_name().items():
        chosen = [run for run in runs() if run.name == name]
        starts = np.array([run.start for run in chosen])
        rates = np.array([run.learning_rate for run in chosen])
        measured |= zip(chosen, np.asarray(descend_neuron(loss, starts, rates)), strict=True)
    return measured


def by_hand(run: Run) -> float:
    """The output after EPOCHS updates of weight and bias."""
    weight, bias = run.start
    for _ in range(EPOCHS):
        q = 1 / (1 + math.exp(-weight - bias))
        push = q if run.name == "cross-entropy" else 2 * q * q * (1 - q)
        weight, bias = weight - run.learning_rate * push, bias - run.learning_rate * push
    return 1 / (1 + math.exp(-weight - bias))


def epochs_to_half(logits: np.ndarray) -> float:
    """Until the output is ½, between two epochs by the logit; ∞ if never."""
    after = (logits <= 0).argmax()
    if after == 0:
        return math.inf
    return after - 1 + logits[after - 1] / (logits[after - 1] - logits[after])


def of_neuron(measured: Mapping[Run, np.ndarray]) -> list[Row]:
    """Outputs by hand, epochs by the flow, and the ratio of the two starts."""
    rows = [
        claim(
            f"neuron, {run.words}: output after {EPOCHS} epochs",
            predicted=by_hand(run),
            measured=1 / (1 + math.exp(-logits[EPOCHS])),
            tolerance=1e-12,
        )
        for run, logits in measured.items()
        if run.step != "same first move"
    ]
    epochs = {run: epochs_to_half(logits) for run, logits in measured.items()}
    # one logit is two classes at a half of the step, and squared error has half of the Brier score
    closed_forms = {
        "cross-entropy": (theory.escape.CROSS_ENTROPY_LAW, 1 / 2),
        "squared error": (theory.escape.BRIER_SCORE_LAW, 1 / 4),
    }

    @partial(jax.jit, static_argnums=0)
    def epochs_by_theory(name: str, margin: float, learning_rate: float) -> Array:
        law, share = closed_forms[name]
        return theory.escape.steps_to_escape(law, margin, 2, learning_rate=share * learning_rate)

    rows += [
        claim(
            f"neuron, {run.words}: epochs to an output of ½",
            predicted=epochs_by_theory(run.name, sum(run.start), 2 * run.learning_rate),
            measured=found,
            tolerance=0.1,
        )
        for run, found in epochs.items()
        if run.start == WORSE
    ]
    at_nielsens = {
        run[:2]: found for run, found in epochs.items() if run.step.startswith("Nielsen")
    }
    rows += [
        claim(
            f"neuron, {name}: epochs to ½ from the worse start over those from the better",
            predicted=float(time(sum(WORSE))) / float(time(sum(BETTER))),
            measured=at_nielsens[name, WORSE] / at_nielsens[name, BETTER],
            tolerance=0.05,
        )
        for name, time in (
            ("squared error", jax.jit(theory.escape.sigmoid_squared_error_escape_time)),
            ("cross-entropy", jax.jit(theory.escape.binary_cross_entropy_escape_time)),
        )
    ]
    return rows


# A surface over two weights


class Surface(NamedTuple):
    """The mean loss and its gradient at every w₁ and w₂, for each draw of signals."""

    values: Float[np.ndarray, "draws weights weights"]
    gradients: Float[np.ndarray, "draws weights weights 2"]

    @property
    def slopes(self) -> Float[np.ndarray, "draws weights weights"]:
        """The gradient norm in units of the largest on the surface."""
        norms = np.linalg.norm(self.gradients, axis=-1)
        return norms / norms.max(axis=(1, 2), keepdims=True)


def signals() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, [draws, signals] each."""
    random = np.random.default_rng(SEED)
    inputs = random.standard_normal([DRAWS, SIGNALS])
    return inputs, random.integers(2, size=[DRAWS, SIGNALS]).astype(float)


def error_on_signals(loss: Loss, weights: Array, signal: tuple[Array, Array]) -> Array:
    """The mean loss of two layers of one weight each."""
    first, second = weights
    inputs, targets = signal
    return jnp.mean(loss(second * jnp.tanh(first * inputs), targets))


@partial(jax.jit, static_argnums=0)
def surface(loss: Loss, inputs: Array, targets: Array) -> tuple[Array, Array]:
    """Values and gradients of each draw."""
    weights = jnp.stack(jnp.meshgrid(WEIGHTS, WEIGHTS, indexing="ij"), axis=-1)

    def value_and_gradient(signal: tuple[Array, Array]) -> tuple[Array, Array]:
        error = jax.value_and_grad(partial(error_on_signals, loss))
        return jax.vmap(jax.vmap(error, (0, None)), (0, None))(weights, signal)

    return jax.lax.map(value_and_gradient, (inputs, targets))


def surface_by_formula(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradients of one draw."""
    first, second = WEIGHTS[:, None, None], WEIGHTS[:, None]
    hidden = np.tanh(first * x)
    q = 1 / (1 + np.exp(-second * hidden))
    push = q - y if name == "cross-entropy" else 2 * (q - y) * q * (1 - q)
    along_first = (push * second * (1 - hidden**2) * x).mean(axis=-1)
    return np.stack([along_first, (push * hidden).mean(axis=-1)], axis=-1)


def strict_minima(values: Float[np.ndarray, "rows columns"], margin: float) -> np.ndarray:
    """Indices of inner points that are lower than all eight neighbours by more than a margin."""
    inner = values[1:-1, 1:-1]
    rows, columns = inner.shape
    lower = [
        inner < values[i : i + rows, j : j + columns] - margin
        for i, j in itertools.product(range(3), repeat=2)
        if (i, j) != (1, 1)
    ]
    return np.argwhere(np.all(lower, axis=0)) + 1


class Minima(NamedTuple):
    """Points of two coordinates where Newton's method ends, and what they are."""

    points: Float[np.ndarray, "points 2"]
    slopes: Float[np.ndarray, " points"]
    """The gradient norm there."""
    curvatures: Float[np.ndarray, " points"]
    """The least eigenvalue of the Hessian there."""


@partial(jax.jit, static_argnums=(0, 1))
def newton(
    error: Callable[..., Array], loss: Loss, points: Array, data: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    """The end, the gradient norm and the least eigenvalue of the Hessian, from each point."""
    gradient, hessian = jax.grad(error, 1), jax.hessian(error, 1)

    def step(_: int, point: Array) -> Array:
        return point - jnp.linalg.solve(hessian(loss, point, data), gradient(loss, point, data))

    def each(point: Array) -> tuple[Array, Array, Array]:
        point = jax.lax.fori_loop(0, 20, step, point)
        least = jnp.linalg.eigvalsh(hessian(loss, point, data))[0]
        return point, jnp.linalg.norm(gradient(loss, point, data)), least

    return jax.vmap(each)(points)


def minima_among(
    candidates: np.ndarray, error: Callable[..., Array], loss: Loss, data: tuple[np.ndarray, ...]
) -> Minima:
    """The different points near candidates where the gradient vanishes in a valley.

    On a grid a narrow valley has lowest points that are no minima.
    """
    found = Minima(*map(np.asarray, newton(error, loss, candidates, data)))
    true = (found.slopes < 1e-10) & (found.curvatures > 0)
    _, once = np.unique(found.points[true].round(6), axis=0, return_index=True)
    return Minima(*(values[true][once] for values in found))


def of_surface(measured: Mapping[str, Surface]) -> list[Row]:
    """Gradients by hand, plateaus and minima."""
    inputs, targets = signals()
    rows = [
        claim(
            f"surface, {name}: largest difference of a gradient from the formula",
            predicted=0,
            measured=np.abs(
                found.gradients[0] - surface_by_formula(name, inputs[0], targets[0])
            ).max(),
            tolerance=1e-12,
        )
        for name, found in measured.items()
    ]
    limits: dict[str, tuple[float, Relation]] = {
        "squared error": (0.25, "≥"),
        "cross-entropy": (0.02, "≤"),
    }
    for name, (predicted, relation) in limits.items():
        plateaus = (measured[name].slopes < 0.01).mean(axis=(1, 2))
        half = stats.t.ppf(0.975, DRAWS - 1) * stats.sem(plateaus)
        rows.append(
            prediction(
                f"surface, {name}: fraction that is plateau",
                predicted=predicted,
                measured=plateaus.mean(),
                relation=relation,
                interval=(plateaus.mean() - half, plateaus.mean() + half),
                seeds=DRAWS,
                protocol="draws of the signals, nothing tuned; t interval of the mean",
            )
        )
    for name, found in measured.items():
        candidates = WEIGHTS[strict_minima(found.values[0], 0)]
        signal = (inputs[0], targets[0])
        rows.append(
            prediction(
                f"surface, {name}: local minima, first draw",
                predicted=2,
                measured=len(
                    minima_among(candidates, error_on_signals, by_name()[name], signal).points
                ),
            )
        )
    return rows


# The contiguity problem


def strings() -> tuple[np.ndarray, np.ndarray]:
    """All strings with two or three runs of ones, as ±1, and whether there are three."""
    bits = np.array(list(itertools.product([0, 1], repeat=BITS)))
    runs_of_ones = (np.diff(bits, axis=1, prepend=0) == 1).sum(axis=1)
    chosen = (runs_of_ones == 2) | (runs_of_ones == 3)
    return (2 * bits[chosen] - 1).astype(np.float32), (runs_of_ones[chosen] == 3).astype(np.float32)


@jax.jit
@jax.vmap
def first_layers(seed: Array) -> tuple[Array, ...]:
    """Weights and biases of the hidden units and of the output, for each seed."""
    first, second = jax.random.split(jax.random.key(seed))
    return (
        jax.random.normal(first, (BITS, HIDDEN)) / BITS**0.5,
        jnp.zeros(HIDDEN),
        jax.random.normal(second, (HIDDEN,)) / HIDDEN**0.5,
        jnp.zeros(()),
    )


# it runs for seconds, so it pays to compile it well, whatever XLA_FLAGS says
@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 3})
def learn(
    loss: Loss, learning_rate: Array, starts: tuple[Array, ...], inputs: Array, targets: Array
) -> Array:
    """The steps until LEARNED are told right, from each start; MOST_STEPS if never."""

    def logits(layers: tuple[Array, ...]) -> Array:
        weights, biases, output, bias = layers
        return jnp.tanh(inputs @ weights + biases) @ output + bias

    def error(layers: tuple[Array, ...]) -> Array:
        return jnp.mean(loss(logits(layers), targets))

    def accuracy(layers: tuple[Array, ...], value: Array, gradient: tuple[Array, ...]) -> Array:
        return jnp.mean((logits(layers) > 0) == (targets > 0))

    def steps(start: tuple[Array, ...]) -> Array:
        sgd = optax.sgd(learning_rate)
        reached = descent.descend(error, start, sgd, steps=MOST_STEPS, record=accuracy).record
        learned = reached >= LEARNED
        return jnp.where(learned.any(), learned.argmax(), MOST_STEPS)

    return jax.vmap(steps)(starts)


class Race(NamedTuple):
    """The steps of one loss."""

    learning_rates: np.ndarray
    tuning: Float[np.ndarray, " rates"]
    """Geometric mean of the steps over the tuning seeds."""
    best: Float[np.ndarray, " seeds"]
    same: Float[np.ndarray, " seeds"]
    """With the step that is the same for both."""

    @property
    def best_rate(self) -> float:
        return self.learning_rates[self.tuning.argmin()]


def race(name: str) -> Race:
    """Tune the step, then run fresh seeds with it and with the one that both losses share."""
    loss = by_name()[name]
    data = strings()

    def steps(learning_rate: float, seeds: np.ndarray) -> np.ndarray:
        batches = seeds.reshape(-1, SEEDS_AT_ONCE)
        rate = np.float32(learning_rate)
        return np.concatenate([learn(loss, rate, first_layers(batch), *data) for batch in batches])

    learning_rates = SHARES * 2 / SMOOTHNESS[name]
    fresh = np.arange(RACE_SEEDS)
    tried = [steps(rate, RACE_SEEDS + np.arange(SEEDS_AT_ONCE)) for rate in learning_rates]
    tuning = np.exp(np.log(tried).mean(axis=1))
    best = learning_rates[tuning.argmin()]
    return Race(learning_rates, tuning, steps(best, fresh), steps(SAME_STEP, fresh))


def of_race(races: Mapping[str, Race]) -> list[Row]:
    """Steps of squared error over steps of cross-entropy, with one step size and with the best."""
    cross_entropy, squared_error = (races[name] for name in NAMES)
    interval = "95 % of the geometric mean, by expanded percentiles of the paired bootstrap"
    rows = []
    for words, predicted, one, other, protocol in (
        (
            f"with the same step {SAME_STEP:g}",
            2,
            squared_error.same,
            cross_entropy.same,
            f"nothing tuned; {interval}",
        ),
        (
            "each with its own best step",
            1,
            squared_error.best,
            cross_entropy.best,
            (
                f"step tuned for each loss on {SEEDS_AT_ONCE} other seeds, {len(SHARES)} steps in "
                f"units of 2/L; {interval}"
            ),
        ),
    ):
        ratio, low, high = np.exp(bootstrap(np.log(one / other)))
        failures = np.sum(one >= MOST_STEPS), np.sum(other >= MOST_STEPS)
        rows.append(
            prediction(
                f"contiguity, {words}: steps of squared error over steps of cross-entropy",
                predicted=predicted,
                measured=ratio,
                relation="≥",
                interval=(low, high),
                seeds=RACE_SEEDS,
                protocol=f"{protocol}; {failures[0]} and {failures[1]} not there in {MOST_STEPS} "
                "steps, counted as such",
            )
        )
    return rows


# Local minima of one neuron


def inputs_of(examples: int) -> Float[np.ndarray, " inputs"]:
    """x_t = 100ᵗ, and zeros, which pull at nothing, up to MOST_EXAMPLES."""
    t = np.arange(1, MOST_EXAMPLES + 1)
    return np.where(t <= examples, 100.0**t, 0.0)


@partial(jax.jit, static_argnums=0)
def errors_and_slopes(loss: Loss, weights: Array, inputs: Array) -> tuple[Array, Array]:
    """The error of one weight on all examples, and its derivative: [sets of inputs, weights]."""

    def error(weight: Array, x: Array) -> Array:
        return jnp.sum(loss(weight * x, jnp.full_like(x, 0.75)))

    along_weights = jax.vmap(jax.value_and_grad(error), (0, None))
    return jax.vmap(along_weights, (None, 0))(weights, inputs)


class Line(NamedTuple):
    """The error of one weight on the first n examples, for each n."""

    weights: Float[np.ndarray, " weights"]
    errors: Float[np.ndarray, "examples weights"]
    slopes: Float[np.ndarray, "examples weights"]

    def minima(self, examples: int) -> np.ndarray:
        """Indices of weights after which the derivative turns from negative to positive."""
        moving = np.flatnonzero(self.slopes[examples - 1])
        signs = np.sign(self.slopes[examples - 1, moving])
        return moving[:-1][(signs[:-1] < 0) & (signs[1:] > 0)]


def line(loss: Loss) -> Line:
    """Scan all weights of either sign whose size could matter."""
    sizes = np.geomspace(1e-3 * 100.0**-MOST_EXAMPLES, 10.0, SCAN)
    weights = np.concatenate([-sizes[::-1], [0.0], sizes])
    inputs = np.array([inputs_of(examples) for examples in range(1, MOST_EXAMPLES + 1)])
    return Line(weights, *map(np.asarray, errors_and_slopes(loss, weights, inputs)))


def error_of_two(loss: Loss, log_weights: Array, inputs: tuple[Array]) -> Array:
    """The error of a neuron of two inputs, by the logarithms of its weights."""
    (x,) = inputs
    return jnp.sum(loss(x @ jnp.exp(log_weights), jnp.full(len(x), 0.75)))


@partial(jax.jit, static_argnums=0)
def errors_of_two(loss: Loss, inputs: tuple[Array]) -> Array:
    """At all pairs of LOG_WEIGHTS."""
    pairs = jnp.stack(jnp.meshgrid(LOG_WEIGHTS, LOG_WEIGHTS, indexing="ij"), axis=-1)
    along_one = jax.vmap(partial(error_of_two, loss), (0, None))
    return jax.vmap(along_one, (0, None))(pairs, inputs)


class Plane(NamedTuple):
    """The error of two weights on a grid, and its minima, by the logarithms of the weights."""

    errors: Float[np.ndarray, "first second"]
    minima: Minima


def plane(loss: Loss) -> Plane:
    """Each of the two weights has EXAMPLES_SHOWN examples to itself."""
    x = inputs_of(EXAMPLES_SHOWN)[:EXAMPLES_SHOWN, None]
    inputs = (np.kron(np.eye(2), x),)
    errors = np.asarray(errors_of_two(loss, inputs))
    # What is flat but for rounding has no minima.
    candidates = LOG_WEIGHTS[strict_minima(errors, 1e-12)]
    return Plane(errors, minima_among(candidates, error_of_two, loss, inputs))


def of_minima(lines: Mapping[str, Line], planes: Mapping[str, Plane]) -> list[Row]:
    """How many there are, where, and how deep."""
    rows = []
    examples = range(1, MOST_EXAMPLES + 1)
    for name, predicted in (
        ("squared error", list(examples)),
        ("cross-entropy", [1] * MOST_EXAMPLES),
    ):
        counts = [len(lines[name].minima(n)) for n in examples]
        rows += [
            claim(
                f"one weight, {name}: local minima, n = {n} of 1 … {MOST_EXAMPLES} examples",
                predicted=expected,
                measured=count,
            )
            for n, expected, count in zip(examples, predicted, counts, strict=True)
        ]
    found = lines["squared error"]
    places = found.minima(EXAMPLES_SHOWN)
    expected = np.sort(math.log(3) / inputs_of(EXAMPLES_SHOWN)[:EXAMPLES_SHOWN])
    as_many = len(places) == EXAMPLES_SHOWN
    rows.append(
        claim(
            f"one weight, squared error, {EXAMPLES_SHOWN} examples: largest difference of a "
            "minimum from w x_t = ln 3, relative",
            predicted=0,
            measured=np.abs(found.weights[places] / expected - 1).max() if as_many else math.inf,
            tolerance=0.02,
        )
    )
    padding = (MOST_EXAMPLES - EXAMPLES_SHOWN) / 16
    depths = found.errors[EXAMPLES_SHOWN - 1, places] - padding
    flat = (EXAMPLES_SHOWN - 1) / 16
    rows.append(
        claim(
            f"one weight, squared error, {EXAMPLES_SHOWN} examples: the error at a minimum that is "
            "furthest from (n − 1)/16",
            predicted=flat,
            measured=max(depths, key=lambda depth: abs(depth - flat), default=math.inf),
            tolerance=0.002,
        )
    )
    rows += [
        claim(
            f"two weights, {name}, {2 * EXAMPLES_SHOWN} examples: local minima",
            predicted=predicted,
            measured=len(planes[name].minima.points),
        )
        for name, predicted in (("squared error", EXAMPLES_SHOWN**2), ("cross-entropy", 1))
    ]
    of_squares = planes["squared error"].minima
    rows += [
        claim(
            "two weights, squared error: largest gradient norm at a minimum, by ln w",
            predicted=0,
            measured=of_squares.slopes.max(initial=0),
            tolerance=1e-12,
        ),
        claim(
            "two weights, squared error: least curvature at a minimum, by ln w",
            predicted=0.05,
            measured=of_squares.curvatures.min(initial=math.inf),
            relation="≥",
        ),
    ]
    return rows


# Pictures


def draw_neuron(ax: Axes, measured: Mapping[Run, np.ndarray]) -> None:
    """Outputs from the worse start."""
    rates = {}
    for run, logits in measured.items():
        if run.start == WORSE:
            outputs, colour = 1 / (1 + np.exp(-logits)), COLOURS[run.name]
            dash = {"same share of 2/L": "--", "same first move": ":"}.get(run.step, "-")
            ax.plot(outputs, color=colour, linestyle=dash)
            rates[run.step] = run.learning_rate
            if run.step.startswith("Nielsen"):
                ax.plot(EPOCHS, outputs[EPOCHS], "o", color=colour)
                ax.text(EPOCHS + 12, outputs[EPOCHS] + 0.01, f"{outputs[EPOCHS]:.4f}", color=colour)
    small = partial(ax.text, fontsize="small")
    small(262, 0.42, "squared error,\nη = 0.15 with ½", color=COLOURS["squared error"])
    blue = partial(small, color=COLOURS["cross-entropy"])
    blue(410, 0.92, f"η = {rates['same first move']:.4f},\nsame first move")
    blue(430, 0.63, "cross-entropy,\nη = 0.005")
    blue(65, 0.45, f"η = {rates['same share of 2/L']:.3f},\nsame share\nof 2/L")
    ax.set_title("one neuron, from w = b = 2", loc="left")
    ax.set(xlim=(0, 600), ylim=(0, 1.05), xlabel="epoch", ylabel="output, which should be 0")


def draw_plateaus(ax: Axes, surfaces: Mapping[str, Surface]) -> None:
    """Which fraction of the surface has less than so much of the largest gradient."""
    for name, found in surfaces.items():
        for slopes in found.slopes:
            ordered = np.sort(slopes.ravel())
            fractions = np.arange(1, ordered.size + 1) / ordered.size
            ax.plot(ordered, fractions, color=COLOURS[name], linewidth=0.9)
    ax.axvline(0.01, color=colours.INK, linewidth=0.8)
    ax.text(0.008, 0.97, "plateau", ha="right", va="top", fontsize="small")
    ax.text(0.008, 0.5, "squared\nerror", color=COLOURS["squared error"], ha="right")
    ax.text(0.2, 0.4, "cross-\nentropy", color=COLOURS["cross-entropy"])
    ax.set_title("two layers of one weight each", loc="left")
    ax.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1))
    ax.set(xlabel="gradient norm over the largest", ylabel="fraction of the surface below")


def draw_race(ax: Axes, races: Mapping[str, Race]) -> None:
    """Steps to learn against the step size, and what fresh seeds took."""
    for name, found in races.items():
        colour = COLOURS[name]
        ax.plot(found.learning_rates, found.tuning, ".-", color=colour, linewidth=1)
        for rate, steps in ((SAME_STEP, found.same), (found.best_rate, found.best)):
            mean, deviation = np.log(steps).mean(), np.log(steps).std()
            low, middle, high = np.exp([mean - deviation, mean, mean + deviation])
            ax.errorbar(
                rate, middle, [[middle - low], [high - middle]], fmt="o", color=colour, capsize=3
            )
    ax.text(22, 440, "cross-entropy", color=COLOURS["cross-entropy"])
    ax.text(3, 62, "squared error", color=COLOURS["squared error"])
    ax.set_title("contiguity of ten bits", loc="left")
    ax.set(xscale="log", yscale="log", ylim=(40, 900))
    ax.set_yticks([50, 100, 200, 400], ["50", "100", "200", "400"])
    ax.minorticks_off()
    ax.set(xlabel="step size η, no ½", ylabel="steps until 95 % are right")


def draw_line(ax: Axes, lines: Mapping[str, Line]) -> None:
    """The error of one weight on the examples shown, and where cross-entropy has its minimum."""
    found, row = lines["squared error"], EXAMPLES_SHOWN - 1
    errors = found.errors[row] - (MOST_EXAMPLES - EXAMPLES_SHOWN) / 16
    places = found.minima(EXAMPLES_SHOWN)
    ax.plot(found.weights, errors, color=COLOURS["squared error"])
    ax.plot(found.weights[places], errors[places], "o", color=COLOURS["squared error"])
    other = lines["cross-entropy"]
    alone = other.minima(EXAMPLES_SHOWN)
    ax.plot(other.weights[alone], [0.215] * len(alone), "^", color=COLOURS["cross-entropy"])
    ax.text(1e-12, 0.33, f"squared error: {len(places)} minima", color=COLOURS["squared error"])
    ax.text(1e-9, 0.211, f"cross-entropy: {len(alone)}, here", color=COLOURS["cross-entropy"])
    ax.set_title("one weight, five examples", loc="left")
    ax.set(xscale="log", xlim=(3e-13, 10), ylim=(0.2, 0.345), xlabel="weight w")
    ax.set_ylabel("error, sum over examples")


def draw(
    measured: Mapping[Run, np.ndarray],
    surfaces: Mapping[str, Surface],
    races: Mapping[str, Race],
    lines: Mapping[str, Line],
) -> Figure:
    """The four, a panel each."""
    figure = Figure(figsize=(7.0, 6.3))
    (first, second), (third, fourth) = figure.subplots(2, 2)
    draw_neuron(first, measured)
    draw_plateaus(second, surfaces)
    draw_race(third, races)
    draw_line(fourth, lines)
    return figure


def draw_landscapes(surfaces: Mapping[str, Surface], planes: Mapping[str, Plane]) -> Figure:
    """Gradients over the weights of two layers; errors over the weights of one neuron."""
    figure = Figure(figsize=(7.0, 6.3))
    axes = figure.subplots(2, 2)
    weights = np.exp(LOG_WEIGHTS)
    slopes, errors = [], []
    for above, below, name in zip(*axes, NAMES, strict=True):
        norm = LogNorm(1e-3, 1)
        shown = np.clip(surfaces[name].slopes[0], norm.vmin, norm.vmax)
        slopes.append(above.pcolormesh(WEIGHTS, WEIGHTS, shown.T, norm=norm))
        above.set(aspect="equal", xlabel="first weight", ylabel="second weight")
        plateau = (surfaces[name].slopes[0] < 0.01).mean()
        above.set_title(f"{name}: {100 * plateau:.0f} % plateau", color=COLOURS[name])

        norm = LogNorm(1e-3, 1)
        found = planes[name]
        shown = np.clip(found.errors - found.errors.min(), norm.vmin, norm.vmax)
        errors.append(below.pcolormesh(weights, weights, shown.T, norm=norm))
        below.plot(*np.exp(found.minima.points.T), "o", color="white", markersize=4)
        below.set(xscale="log", yscale="log", aspect="equal")
        below.set(xlabel="weight of the first input", ylabel="weight of the second")
        count = len(found.minima.points)
        minima = "local minima" if count > 1 else "minimum"
        below.set_title(f"{name}: {count} {minima}", color=COLOURS[name])
    figure.colorbar(slopes[0], ax=axes[0], extend="min", label="gradient norm over the largest")
    figure.colorbar(errors[0], ax=axes[1], extend="both", label="error above the least")
    return figure


def run(progress: Progress) -> Finding:
    """Measure the four demonstrations again, and draw them."""
    progress("the contiguity problem", 0.0)
    races = {name: race(name) for name in NAMES}
    with jax.enable_x64(True):
        progress("one neuron", 0.6)
        measured = measure_neuron()
        progress("a surface over two weights", 0.65)
        surfaces = {
            name: Surface(*map(np.asarray, surface(loss, *signals())))
            for name, loss in by_name().items()
        }
        progress("local minima", 0.8)
        lines = {name: line(loss) for name, loss in by_name().items()}
        planes = {name: plane(loss) for name, loss in by_name().items()}
        rows = [
            *of_neuron(measured),
            *of_surface(surfaces),
            *of_race(races),
            *of_minima(lines, planes),
        ]
    progress("figures", 0.9)
    outputs = {run[:2] + run[3:]: 1 / (1 + math.exp(-z[EPOCHS])) for run, z in measured.items()}
    quadratic = outputs["squared error", WORSE, "Nielsen's step 0.15"]
    entropy = outputs["cross-entropy", WORSE, "Nielsen's step 0.005"]
    at_once, tuned = (row for row in rows if row.statement.startswith("contiguity"))
    count = len(planes["squared error"].minima.points)
    return Finding(
        answer=(
            f"What they show of shape holds: Nielsen's neuron ends at {quadratic:.4f}, and squared "
            f"error has {count} local minima where cross-entropy has one. What they seem to show "
            "of speed is the step: at the steps of his pictures cross-entropy is behind after "
            f"{EPOCHS} epochs, with {entropy:.4f}, and on our contiguity problem squared error "
            f"takes {at_once.measured:.2f} [{spell(at_once)}] times the steps of cross-entropy "
            f"at the same step, but {tuned.measured:.2f} [{spell(tuned)}] times at the best step "
            f"of each ({RACE_SEEDS} seeds)."
        ),
        rows=rows,
        pictures={
            "classics": Picture(draw(measured, surfaces, races, lines), CAPTION),
            "classics_landscapes": Picture(
                draw_landscapes(surfaces, planes), CAPTION_OF_LANDSCAPES
            ),
        },
    )


def spell(row: Row) -> str:
    """The interval of a row."""
    low, high = row.interval or (math.nan, math.nan)
    return f"{low:.2f}, {high:.2f}"
