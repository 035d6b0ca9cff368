"""Does cross-entropy train classifiers faster, when every loss gets its own step?

Three losses train the same networks on the same data: cross-entropy, the Brier score Σᵢ (qᵢ − pᵢ)²
of the softmax, and squared error on raw logits Σᵢ (zᵢ − pᵢ)², all summed over the classes. (The
mean squared error of the softmax is the Brier score over the number of classes C: with a step C
times as long plain descent takes the same path, and Adam takes it with the same step, so it needs
no race of its own.) For a linear model with features X and n examples the weights feel

    cross-entropy            Xᵀ (q − p) / n
    Brier score              Xᵀ 2J (q − p) / n,        J = diag(q) − q qᵀ
    squared error on logits  Xᵀ 2 (z − p) / n

and the curvature is at most L λ, λ the largest eigenvalue of XᵀX/n (a 1 appended to the features
for the bias) and L the largest curvature of the loss in the logits: 1/2, 0.6162 and 2.

A loss with twice the L wants half the step, so one step for all is a race between units. Here each
loss has its own for every data set, network, optimizer and start. It is tuned on seeds that do not
race, on a grid of powers of 2 in units of 2/(L λ), or of 0.01 for Adam, which does not see the
scale of a loss; the grid is widened until the best lies inside. (For the network with a hidden
layer 2/(L λ) is a unit and no bound.) Each seed has its own split, start and order of the batches,
the same for all losses. A start × 10 has its last layer multiplied by ten, so that all logits are
ten times as large: a confident model that knows nothing. Where Q is so sure J is nearly 0, and the
Brier score alone has a J in its gradient.

What counts is the number of steps until the share of test examples that are right first reaches a
target stated beforehand: 0.9 of digits and iris, 0.95 of wine and breast_cancer. A run has failed
if it has not arrived after 500 steps, or diverges. It is kept, and counts as 500, so that where one
side fails the ratio is nearer to 1 than it should be. At the end all predictions are judged by
measures of which no loss owns all, before and after temperature scaling, the temperature fitted to
the validation part; a run that diverged counts as a forecast that finds all classes equally likely.

The intervals are about other seeds, that is other splits, starts and orders of these data sets, and
take the tuned steps as given: tuned on few seeds, a step is a matter of luck as well. They say
nothing about other data.

Predictions:

- Autodiff finds these gradients within 1e-12. At zero weights and two classes the largest curvature
  over L λ is 1, 0.811380 and 1, within 1e-9; it is at most 1 everywhere.
- Descent on raw logits ends at the weights of least squares, within 1e-8. The mean squared error
  takes the path of the Brier score with C times its step, within 1e-12; by Adam without its ε with
  the same step, within 1e-9. All losses start from the same accuracy: a difference of 0.
- Start × 1: no difference to speak of. Steps by the Brier score over steps by cross-entropy,
  geometric mean over the data sets, are 1 within 0.5, for either network and optimizer; on digits
  they are 1 within 0.3.
- Start × 10, plain descent: that ratio is at least 3 for the linear model and 2 for the hidden
  layer. By Adam, whose step does not fade with the gradient, at least 1.3.
- Squared error on logits over cross-entropy, hidden layer: 1 within 0.5 from × 1; from × 10 at most
  1 by plain descent, as raw logits do not saturate, and at least 1 by Adam.
- The linear model on raw logits cannot tell the middle class of iris: from × 1 at least 0.5 of its
  runs never arrive. By cross-entropy at most 0.05 of all runs never do.
- At the end, from × 1: test accuracy by cross-entropy less that by the Brier score is 0 within
  0.02. Raw logits are no log-probabilities: their calibration error (ECE) is larger than that of
  cross-entropy by at least 0.1 before temperature scaling, and after it by 0 within 0.02; their
  negative log-likelihood by at least 0.1 nats before.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import _colours as colours
from experiments import _training as training
from experiments._claims import (
    Arrays,
    Finding,
    Keep,
    Picture,
    Progress,
    Relation,
    Row,
    claim,
    prediction,
)
from jaxent import descent, losses, theory

SECONDS = 28
SEEDS = 5
FULL_SEEDS = 100
FULL_SECONDS = 400
FEW = 30
"""Below so many seeds nothing is claimed about speed."""

CROSS_ENTROPY = losses.softmax_cross_entropy
BRIER_SCORE = losses.softmax_brier_score
LOGIT_SQUARED_ERROR = losses.logit_squared_error
MEAN_SQUARED_ERROR = losses.softmax_mean_squared_error

NAMES = ("cross-entropy", "Brier score", "squared error on logits")
LABELS = (NAMES[0], f"{NAMES[1]}, sum over classes", f"{NAMES[2]}, sum")
COLOURS = (colours.CROSS_ENTROPY, colours.SQUARED_ERROR, colours.LOGIT_SQUARED_ERROR)
SMOOTHNESS = (
    theory.curvature.CROSS_ENTROPY_SMOOTHNESS,
    theory.curvature.BRIER_SCORE_SMOOTHNESS,
    2.0,
)
"""L of each loss in its logits, in the order of NAMES."""

TARGETS = {"digits": 0.9, "iris": 0.9, "wine": 0.95, "breast_cancer": 0.95}
WORK = {"digits": 3, "linear": 1, "hidden layer": 5}
"""What each adds to the time of a race, roughly, for the progress bar."""
FOCUS = "digits"
"""The data set that has rows and curves of its own."""
MODELS: dict[str, tuple[int, ...]] = {"linear": (), "hidden layer": (32,)}
OPTIMIZERS = {"descent": optax.identity(), "Adam": optax.scale_by_adam()}
ADAM_UNIT = 0.01
SCALES = (1.0, 3.0, 10.0)
DASHES = ("-", "--", ":")
STEPS = 500
BATCH_SIZE = 32
POWERS = range(-1, 5)
SEEDS_AT_ONCE = 5
TUNING_SEEDS_FROM = 1000


# What has to hold, in float64


jit_once = partial(jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": False})
"""For what runs once: compiled in half the time."""


def means(
    functions: Sequence[training.Loss], logits: Float[Array, "examples classes"], p: Array
) -> Float[Array, " functions"]:
    """The mean of each loss over the examples."""
    return jnp.stack([function(logits, p).mean() for function in functions])


def of_gradients() -> list[Row]:
    """The gradient of the linear model, by autodiff and by hand."""
    part = training.split(training.load("iris"), 0).train
    x, p = part.features.astype(float), np.eye(3)[part.labels]

    @jit_once
    def gradients(weights: Array) -> tuple[Array, Array]:
        z = x @ weights
        q = jax.nn.softmax(z)
        pulls = (
            jax.vmap(theory.gradients.cross_entropy_logit_gradient)(q, p),
            jax.vmap(theory.gradients.brier_score_logit_gradient)(q, p),
            2 * (z - p),
        )
        by_autodiff = jax.jacobian(lambda w: means(losses_that_race(), x @ w, p))(weights)
        return by_autodiff, jnp.array(x).T @ jnp.stack(pulls) / len(x)

    weights = np.random.default_rng(0).standard_normal((x.shape[1], 3))
    received = zip(NAMES, *map(np.asarray, gradients(weights)), strict=True)
    return [
        claim(
            f"{name}: gradient of the linear model by autodiff less that by hand, largest",
            predicted=0,
            measured=np.abs(gradient - by_hand).max(),
            tolerance=1e-12,
        )
        for name, gradient, by_hand in received
    ]


def of_curvature() -> list[Row]:
    """The largest curvature of the linear model in units of its bound L λ."""

    def over_bound(dataset: str, scales: Sequence[float]) -> Float[np.ndarray, "scales losses"]:
        data = training.load(dataset)
        parts, ((weights, biases),), _ = training.draw(data, (), 0, steps=1, batch_size=1)
        x = parts.train.features.astype(float)
        targets = np.eye(int(data.labels.max()) + 1)[parts.train.labels]
        flat = np.append(weights, biases).astype(float)

        def values(flat: Array) -> Array:
            rows = flat.reshape(-1, len(targets[0]))
            layers = ((rows[:-1], rows[-1]),)
            return means(losses_that_race(), training.logits_of(layers, x), targets)

        @jit_once
        def largest(scales: Array) -> Array:
            hessians = jax.vmap(lambda scale: jax.hessian(values)(scale * flat))(scales)
            return jnp.linalg.eigvalsh(hessians)[..., -1]

        bounds = np.array(SMOOTHNESS) * largest_eigenvalue(parts.train)
        return np.asarray(largest(np.array(scales))) / bounds

    # At zero weights both Hessians in the logits have the eigenvalue ½ along (1, −1): 1/C of
    # cross-entropy, 2(3 − C)/C² of the Brier score.
    expected = (1.0, 0.5 / SMOOTHNESS[1], 1.0)
    (at_zero,) = over_bound("breast_cancer", [0.0])
    anywhere = over_bound("iris", [0.0, *SCALES])
    return [
        claim(
            f"{name}: largest curvature over L λ, linear model, zero weights, two classes",
            predicted=ratio,
            measured=measured,
            tolerance=1e-9,
        )
        for name, ratio, measured in zip(NAMES, expected, at_zero, strict=True)
    ] + [
        claim(
            "the largest such ratio of all three losses on iris, starts × 0, 1, 3 and 10",
            predicted=1,
            measured=anywhere.max(),
            tolerance=1e-9,
            relation="≤",
        )
    ]


def of_least_squares() -> Row:
    """Descent by squared error on raw logits, against a direct solution."""
    part = training.split(training.load("iris"), 0).train
    x = np.column_stack([part.features, np.ones(len(part.labels))]).astype(float)
    p = np.eye(3)[part.labels]
    curvatures = np.linalg.eigvalsh(2 * x.T @ x / len(x))
    best = optax.sgd(2 / (curvatures[0] + curvatures[-1]))
    loss = LOGIT_SQUARED_ERROR
    fitted = descent.descend(
        lambda weights: loss(x @ weights, p).mean(),
        np.zeros((x.shape[1], 3)),
        best,
        steps=5000,
        record=None,
    )
    return claim(
        "linear model on raw logits of iris: weights by descent less those of "
        "least squares, largest",
        predicted=0,
        measured=np.abs(fitted.params - np.linalg.lstsq(x, p)[0]).max(),
        tolerance=1e-8,
    )


def of_the_mean() -> list[Row]:
    """The mean over classes is the sum with another step, or, by Adam, with the same."""
    data = training.load("iris")
    parts, start, batches = training.draw(data, (8,), 0, steps=100, batch_size=BATCH_SIZE)
    start = jax.tree.map(lambda leaf: leaf.astype(float), start)
    rows = []
    for words, optimizer, rates, tolerance in (
        ("plain descent, C times the step", optax.identity(), (0.1, 0.3), 1e-12),
        ("Adam without ε, the same step", optax.scale_by_adam(eps=0.0), (0.01, 0.01), 1e-9),
    ):
        train = partial(
            training.train, losses=(BRIER_SCORE, MEAN_SQUARED_ERROR), optimizer=optimizer
        )
        layers, _ = jit_once(train)(
            start, np.array(rates), parts.train, batches, parts.test, np.array([0, 100])
        )
        rows.append(
            claim(
                f"weights by the mean squared error less those by the Brier score: {words}; "
                "largest after 100 steps on iris",
                predicted=0,
                measured=max(
                    np.abs(np.diff(leaf, axis=0)).max() for leaf in jax.tree.leaves(layers)
                ),
                tolerance=tolerance,
            )
        )
    return rows


# The race


def losses_that_race() -> tuple[training.Loss, ...]:
    """In the order of NAMES."""
    return CROSS_ENTROPY, BRIER_SCORE, LOGIT_SQUARED_ERROR


def largest_eigenvalue(part: training.Part) -> float:
    """λ of XᵀX/n, a 1 appended to the features."""
    x = np.column_stack([part.features, np.ones(len(part.labels))])
    return float(np.linalg.norm(x, 2) ** 2 / len(x))


class Cell(NamedTuple):
    """A race of all losses from all starts."""

    dataset: str
    model: str
    optimizer: str


class Result(NamedTuple):
    """How a race went. Axes: seeds, scales of the start, losses, and what is named besides."""

    multiples: np.ndarray
    """Step sizes that were tried in tuning, in units of each loss; [tried]."""
    scores: np.ndarray
    """ln of the steps they took to the target, mean over tuning seeds; [tried, scales, losses]."""
    accuracy: np.ndarray
    """Of the test part; [..., looks]."""
    before: np.ndarray
    """`training.Judgement` at the end; [..., measures]."""
    after: np.ndarray
    """The same after temperature scaling."""


@partial(jax.jit, static_argnames=("losses", "optimizer"))
def train(
    draws: training.Draw,
    rates: Float[Array, "scales losses"],
    held_out: training.Part,
    looks: Array,
    *,
    losses: tuple[training.Loss, ...],
    optimizer: optax.GradientTransformation,
) -> training.Training:
    """From all starts by all losses; axes: seeds, scales, losses."""

    def of_seed(draw: training.Draw, held_out: training.Part) -> training.Training:
        def of_scale(scale: Array, rates: Array) -> training.Training:
            start = training.with_logits_scaled(draw.start, scale)
            return training.train(
                *(start, rates, draw.split.train, draw.batches, held_out, looks),
                losses=losses,
                optimizer=optimizer,
            )

        return jax.vmap(of_scale)(jnp.array(SCALES), rates)

    return jax.vmap(of_seed)(draws, held_out)


@jax.jit
def judge(
    layers: training.Layers, split: training.Split
) -> tuple[training.Judgement, training.Judgement]:
    """Test predictions before and after temperature scaling; axes: seeds, scales, losses."""

    def one(
        layers: training.Layers, split: training.Split
    ) -> tuple[training.Judgement, training.Judgement]:
        validation, test = (
            training.logits_of(layers, part.features) for part in (split.validation, split.test)
        )
        # A run that diverged is kept, as a forecast that finds all classes equally likely.
        finite = jnp.isfinite(validation).all() & jnp.isfinite(test).all()
        validation, test = jnp.where(finite, validation, 0.0), jnp.where(finite, test, 0.0)
        inverse_temperature = training.inverse_temperature(validation, split.validation.labels)
        labels = split.test.labels
        return training.judge(test, labels), training.judge(inverse_temperature * test, labels)

    over_losses = jax.vmap(one, in_axes=(0, None))
    over_scales = jax.vmap(over_losses, in_axes=(0, None))
    return jax.vmap(over_scales)(layers, split)


def hold(cell: Cell, seeds: int) -> Arrays:
    """Tune every loss on as many other seeds, then let them race."""
    data = training.load(cell.dataset)

    def draws_from(first: int) -> list[training.Draw]:
        drawn = [
            training.draw(data, MODELS[cell.model], seed, steps=STEPS, batch_size=BATCH_SIZE)
            for seed in range(first, first + seeds)
        ]
        return [
            jax.tree.map(jnp.asarray, training.stack(drawn[k : k + SEEDS_AT_ONCE]))
            for k in range(0, seeds, SEEDS_AT_ONCE)
        ]

    looks = training.looks_until(STEPS)
    run = partial(
        train,
        looks=jnp.array(looks),
        losses=losses_that_race(),
        optimizer=OPTIMIZERS[cell.optimizer],
    )
    tuning_draws, racing_draws = draws_from(TUNING_SEEDS_FROM), draws_from(0)
    units = np.full(len(NAMES), ADAM_UNIT)
    if cell.optimizer == "descent":
        eigenvalue = largest_eigenvalue(training.split(data, TUNING_SEEDS_FROM).train)
        units = 2 / (np.array(SMOOTHNESS) * eigenvalue)

    def score(multiple: float) -> np.ndarray:
        rates = np.broadcast_to(multiple * units, (len(SCALES), len(NAMES))).astype(np.float32)
        accuracy = np.concatenate(
            [run(draws, rates, draws.split.validation).accuracy for draws in tuning_draws]
        )
        steps = training.steps_to(TARGETS[cell.dataset], accuracy, looks)
        # A failure counts as twice the steps there are; of steps that always fail the one wins
        # that ends with the highest accuracy.
        failures = np.where(np.isinf(steps), 2 * STEPS, np.maximum(steps, 1))
        return np.log(failures).mean(axis=0) - accuracy[..., -1].mean(axis=0) / 1000

    tuning = training.tune(score, POWERS)
    rates = (tuning.chosen * units).astype(np.float32)
    runs = [run(draws, rates, draws.split.test) for draws in racing_draws]
    judged = [judge(r.layers, draws.split) for r, draws in zip(runs, racing_draws, strict=True)]
    before, after = (
        np.concatenate([np.stack(judgements[k], axis=-1) for judgements in judged]) for k in (0, 1)
    )
    accuracy = np.concatenate([r.accuracy for r in runs])
    return Result(tuning.multiples, tuning.scores, accuracy, before, after)._asdict()


class Races:
    """All results, and what is read off them."""

    def __init__(self, results: Mapping[Cell, Result], seeds: int):
        """Keep the results of the cells."""
        self.results = results
        self.seeds = seeds
        self.looks = training.looks_until(STEPS)
        self.steps = {
            cell: training.steps_to(TARGETS[cell.dataset], result.accuracy, self.looks)
            for cell, result in results.items()
        }

    def log_ratio(self, cell: Cell, loss: str, scale: float) -> Float[np.ndarray, " seeds"]:
        """ln of the steps of a loss over those of cross-entropy; a failure counts as STEPS."""
        steps = np.clip(self.steps[cell][:, SCALES.index(scale)], 1, STEPS)
        return np.log(steps[:, NAMES.index(loss)] / steps[:, 0])

    def failures(self, cell: Cell, loss: str, scale: float) -> Float[np.ndarray, " seeds"]:
        """1 for a run that failed, 0 for one that arrived."""
        steps = self.steps[cell][:, SCALES.index(scale), NAMES.index(loss)]
        return np.isinf(steps).astype(float)

    def judged(
        self, measure: str, loss: str, scale: float, *, after: bool = False, dataset: str = ""
    ) -> Float[np.ndarray, " seeds"]:
        """A measure of `training.Judgement`, mean over the races of all data sets or of one."""
        index = (slice(None), SCALES.index(scale), NAMES.index(loss))
        column = training.Judgement._fields.index(measure)
        return np.mean(
            [
                (result.after if after else result.before)[index][..., column]
                for cell, result in self.results.items()
                if dataset in ("", cell.dataset)
            ],
            axis=0,
        )

    def pooled(
        self,
        read: Callable[[Cell, str, float], np.ndarray],
        loss: str,
        scale: float,
        **wanted: str,
    ) -> Float[np.ndarray, " seeds"]:
        """The mean over all cells with the wanted data set, model or optimizer."""
        return np.mean(
            [
                read(cell, loss, scale)
                for cell in self.results
                if wanted.items() <= cell._asdict().items()
            ],
            axis=0,
        )


def ratio(log_ratios: Float[np.ndarray, " seeds"]) -> tuple[float, float, float]:
    """The geometric mean over seeds, and its interval."""
    mean, low, high = np.exp(training.bootstrap(log_ratios))
    return mean, low, high


# Rows


def of_protocol(races: Races) -> list[Row]:
    """That the race was fair in what can be checked."""
    starts = [result.accuracy[..., 0] for result in races.results.values()]
    outside = [
        ~training.Tuning(result.multiples, result.scores).inside
        for result in races.results.values()
    ]
    return [
        claim(
            "largest difference between losses of the accuracy at the start, all races",
            predicted=0,
            measured=max(np.ptp(start, axis=-1).max() for start in starts),
        ),
        claim(
            "races, starts and losses whose best step lies at the edge of the grid",
            predicted=0,
            measured=np.sum(outside),
        ),
    ]


def expect(
    statement: str,
    estimate: tuple[float, float, float],
    relation: Relation,
    predicted: float,
    tolerance: float,
    races: Races,
    protocol: str,
) -> Row:
    """A guess about an estimate with its interval."""
    middle, low, high = estimate
    return prediction(
        statement,
        predicted=predicted,
        measured=middle,
        tolerance=tolerance,
        relation=relation,
        interval=(low, high),
        seeds=races.seeds,
        protocol=f"{protocol}; 95 % by expanded percentiles of the paired bootstrap over seeds",
    )


def of_steps(races: Races) -> list[Row]:
    """What was guessed about steps to the target."""
    protocol = (
        f"each loss's step tuned on {races.seeds} other seeds, and then taken as given; a run that "
        f"fails counts as {STEPS} steps"
    )

    def compare(
        loss: str,
        scale: float,
        model: str,
        optimizer: str,
        relation: Relation,
        predicted: float,
        tolerance: float = 0.0,
        **dataset: str,
    ) -> Row:
        ratios = races.pooled(
            races.log_ratio, loss, scale, model=model, optimizer=optimizer, **dataset
        )
        (where,) = dataset.values() or ("geometric mean over data sets",)
        return expect(
            f"steps by {loss} over steps by cross-entropy, start × {scale:g}, {where}, {model}, "
            f"{in_words(optimizer)}",
            ratio(ratios),
            *(relation, predicted, tolerance, races, protocol),
        )

    def fail(where: str, failures: np.ndarray, relation: Relation, predicted: float) -> Row:
        return expect(
            f"share of runs that fail, {where}",
            training.bootstrap(failures),
            *(relation, predicted, 0.0, races, protocol),
        )

    brier, logits = NAMES[1:]
    pairs = list(itertools.product(MODELS, OPTIMIZERS))
    every = np.mean([races.pooled(races.failures, NAMES[0], scale) for scale in SCALES], axis=0)
    masked = races.pooled(races.failures, logits, 1.0, dataset="iris", model="linear")
    return [
        *(compare(brier, 1.0, *pair, "=", 1, 0.5) for pair in pairs),
        *(compare(brier, 1.0, *pair, "=", 1, 0.3, dataset=FOCUS) for pair in pairs),
        compare(brier, 10.0, "linear", "descent", "≥", 3),
        compare(brier, 10.0, "hidden layer", "descent", "≥", 2),
        compare(brier, 10.0, "linear", "Adam", "≥", 1.3),
        compare(brier, 10.0, "hidden layer", "Adam", "≥", 1.3),
        compare(logits, 1.0, "hidden layer", "descent", "=", 1, 0.5),
        compare(logits, 1.0, "hidden layer", "Adam", "=", 1, 0.5),
        compare(logits, 10.0, "hidden layer", "descent", "≤", 1),
        compare(logits, 10.0, "hidden layer", "Adam", "≥", 1),
        fail(f"{logits}, start × 1, iris, linear", masked, "≥", 0.5),
        fail("cross-entropy, all races and starts", every, "≤", 0.05),
    ]


def of_the_end(races: Races) -> list[Row]:
    """What was guessed about the predictions at the end."""
    protocol = (
        f"mean over data sets, networks and optimizers after {STEPS} steps with the step tuned for "
        "speed"
    )

    def compare(
        words: str,
        measure: str,
        loss: str,
        other: str,
        relation: Relation,
        predicted: float,
        tolerance: float = 0.0,
        *,
        after: bool = False,
    ) -> Row:
        mine, others = (races.judged(measure, name, 1.0, after=after) for name in (loss, other))
        return expect(
            f"start × 1, at the end: {words} by {loss} less that by {other}",
            training.bootstrap(mine - others),
            *(relation, predicted, tolerance, races, protocol),
        )

    entropy, brier, logits = NAMES
    error = "calibration_error"
    return [
        compare("test accuracy", "accuracy", entropy, brier, "=", 0, 0.02),
        compare("ECE before temperature scaling", error, logits, entropy, "≥", 0.1),
        compare("ECE after it", error, logits, entropy, "=", 0, 0.02, after=True),
        compare("negative log-likelihood before it, nats,", "nll", logits, entropy, "≥", 0.1),
    ]


# Pictures


def draw_ratios(races: Races) -> Picture:
    """Ratios of steps with their intervals, a panel for each network and optimizer."""
    figure = Figure(figsize=(7.0, 7.0))
    axes = figure.subplots(len(MODELS), len(OPTIMIZERS), sharex=True, sharey=True, squeeze=False)
    places = {
        (dataset, scale): -(len(SCALES) + 0.8) * row - line
        for row, dataset in enumerate(TARGETS)
        for line, scale in enumerate(SCALES)
    }
    panels = zip(itertools.product(MODELS, OPTIMIZERS), axes.flat, strict=True)
    for (model, optimizer), ax in panels:
        for row in range(0, len(TARGETS), 2):
            top = 0.9 - (len(SCALES) + 0.8) * row
            ax.axhspan(top - len(SCALES) - 0.8, top, color=colours.INK, alpha=0.05, lw=0)
        ax.axvline(1, color=COLOURS[0])
        for (dataset, scale), place in places.items():
            cell = Cell(dataset, model, optimizer)
            for loss, colour, offset in zip(NAMES[1:], COLOURS[1:], (0.17, -0.17), strict=True):
                middle, low, high = ratio(races.log_ratio(cell, loss, scale))
                often = any(
                    races.failures(cell, name, scale).mean() > 0.05 for name in (NAMES[0], loss)
                )
                ax.plot([low, high], [place + offset] * 2, color=colour, lw=1.4)
                ax.plot(
                    *(middle, place + offset, "o"),
                    color=colour,
                    markerfacecolor="white" if often else colour,
                )
        ax.set(title=f"{model}, {in_words(optimizer)}", xscale="log")
        ax.set_xticks(ticks := [0.3, 1, 3, 10, 30, 100], [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(
        list(places.values()),
        [
            f"{dataset.replace('_', ' ')}   × {scale:g}" if scale == SCALES[1] else f"× {scale:g}"
            for dataset, scale in places
        ],
    )
    for ax in axes[:, 0]:
        ax.set_ylabel("data set, scale of the start")
    figure.supxlabel(
        "steps to the target accuracy, over those by cross-entropy (right of 1: it is faster);\n"
        "the step η of each loss tuned for each line",
        fontsize="medium",
    )
    figure.legend(
        handles=[
            Line2D([], [], color=COLOURS[0], label=f"{NAMES[0]}: 1"),
            *(
                Line2D([], [], color=colour, marker="o", label=name)
                for colour, name in zip(COLOURS[1:], LABELS[1:], strict=True)
            ),
        ],
        loc="outside upper center",
        ncols=3,
    )
    return Picture(
        figure,
        f"Steps to {target_words()}, over those by cross-entropy, each loss (sums over the "
        "classes) with the step tuned for it; right of the line cross-entropy is faster. "
        f"Geometric mean and paired bootstrap 95 % interval over {races.seeds} seeds; hollow where "
        f"more than one run in twenty failed, which counts as {STEPS} steps. From a start × 10 all "
        "logits are ten times as large.",
    )


def draw_tuning(races: Races) -> Picture:
    """All step-size curves: steps to the target against the step."""
    figure = Figure(figsize=(7.0, 7.4))
    columns = list(itertools.product(MODELS, OPTIMIZERS))
    axes = figure.subplots(len(TARGETS), len(columns), sharex="col", sharey=True, squeeze=False)
    cells = [Cell(dataset, *column) for dataset in TARGETS for column in columns]
    for cell, ax in zip(cells, axes.flat, strict=True):
        result = races.results[cell]
        tuning = training.Tuning(result.multiples, result.scores)
        for line, style in enumerate(DASHES):
            for loss, colour in enumerate(COLOURS):
                best = tuning.best[line, loss]
                steps = np.exp(tuning.scores[:, line, loss])
                ax.plot(tuning.multiples, steps, color=colour, ls=style, lw=1.0)
                ax.plot(*(tuning.multiples[best], steps[best], "o"), color=colour, ms=3)
        ax.axhline(2 * STEPS, color=colours.INK, lw=0.6)
        ax.set(xscale="log", yscale="log")
        ax.minorticks_off()
    for (model, optimizer), above, below in zip(columns, axes[0], axes[-1], strict=True):
        above.set_title(f"{model},\n{in_words(optimizer)}", fontsize="medium")
        below.set_xlabel("η in 2/(L λ)" if optimizer == "descent" else f"η in {ADAM_UNIT}")
    for dataset, ax in zip(TARGETS, axes[:, 0], strict=True):
        ax.set_ylabel(f"{dataset.replace('_', ' ')}\nsteps to {TARGETS[dataset]}")
    figure.legend(
        handles=[
            *(Line2D([], [], color=c, label=n) for c, n in zip(COLOURS, LABELS, strict=True)),
            *(
                Line2D([], [], color=colours.INK, ls=style, lw=1.0, label=f"start × {scale:g}")
                for style, scale in zip(DASHES, SCALES, strict=True)
            ),
        ],
        loc="outside upper center",
        ncols=2,
    )

    of_focus = races.results[Cell(FOCUS, "linear", "descent")]
    chosen = training.Tuning(of_focus.multiples, of_focus.scores).chosen.T

    def units(loss: int) -> str:
        return ", ".join(f"{multiple:g}" for multiple in chosen[loss])

    return Picture(
        figure,
        "Every step size η that was tried: steps to the target, geometric mean over "
        f"{races.seeds} seeds that do not race, a failure counted as twice the steps there are "
        "(the thin line). Dots: the step each loss then races with. The unit of plain descent is "
        "2/(L λ), another for each loss. From starts × 1, 3 and 10 the linear model on "
        f"{FOCUS} by plain descent races with {units(0)} of them by cross-entropy, {units(1)} by "
        f"the Brier score and {units(2)} by squared error on logits.",
    )


def draw_curves(races: Races) -> Picture:
    """Test accuracy against steps on one data set, by plain descent."""
    figure = Figure(figsize=(7.0, 4.8))
    axes = figure.subplots(len(MODELS), len(SCALES), sharex=True, sharey=True, squeeze=False)
    panels = zip(itertools.product(MODELS, enumerate(SCALES)), axes.flat, strict=True)
    for (model, (line, scale)), ax in panels:
        accuracy = races.results[Cell(FOCUS, model, "descent")].accuracy[:, line]
        for loss, (name, colour) in enumerate(zip(LABELS, COLOURS, strict=True)):
            low, middle, high = np.quantile(accuracy[:, loss], [0.05, 0.5, 0.95], axis=0)
            ax.fill_between(races.looks, low, high, color=colour, alpha=0.2, lw=0)
            ax.plot(races.looks, middle, color=colour, label=name)
        ax.axhline(TARGETS[FOCUS], color=colours.INK, lw=0.8, ls=":")
        ax.set_title(f"{model}, start × {scale:g}")
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        ax.set_xlim(0, STEPS)
        ax.set_ylim(0, 1)
    for ax in axes[-1]:
        ax.set_xlabel("steps, each loss at its best η")
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return Picture(
        figure,
        f"Accuracy on the test part of {FOCUS} by plain descent, each loss (sums over the classes) "
        f"with the step tuned for the start: median of {races.seeds} seeds, and where 90 % of them "
        "are. Dotted: the target.",
    )


def draw_calibration(races: Races) -> Picture:
    """Judgements at the end, before and after temperature scaling."""
    figure = Figure(figsize=(7.0, 4.6))
    panels = {
        "calibration_error": "calibration error (ECE)",
        "nll": "negative log-likelihood, nats",
        "brier_score": "Brier score, sum",
    }
    axes = figure.subplots(1, len(panels), sharey=True)
    for (measure, words), ax in zip(panels.items(), axes, strict=True):
        for row, dataset in enumerate(TARGETS):
            for loss, (name, colour) in enumerate(zip(NAMES, COLOURS, strict=True)):
                before, after = (
                    training.bootstrap(
                        races.judged(measure, name, 1.0, after=after, dataset=dataset)
                    )
                    for after in (False, True)
                )
                place = -(len(NAMES) + 1) * row - loss
                for (middle, low, high), offset in ((before, 0.0), (after, -0.28)):
                    ax.plot([low, high], [place + offset] * 2, color=colour, lw=1.2)
                    ax.plot(
                        *(middle, place + offset, "o"),
                        color=colour,
                        markerfacecolor="white" if offset == 0 else colour,
                    )
        ax.set(xlabel=words, xscale="log")
        ax.set_xticks(ticks := [0.01, 0.1, 1], [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(
        [-(len(NAMES) + 1) * row - 1 for row in range(len(TARGETS))],
        [dataset.replace("_", " ") for dataset in TARGETS],
    )
    figure.legend(
        handles=[
            *(Line2D([], [], color=c, label=n) for c, n in zip(COLOURS, LABELS, strict=True)),
            Line2D([], [], color=colours.INK, marker="o", mfc="white", label="as trained"),
            Line2D([], [], color=colours.INK, marker="o", label="temperature scaled"),
        ],
        loc="outside upper center",
        ncols=2,
    )
    return Picture(
        figure,
        f"Test predictions after {STEPS} steps from the start × 1, mean over networks and "
        "optimizers, each loss with the step tuned for speed, as trained and with the temperature "
        f"fitted to the validation part; 95 % intervals over {races.seeds} seeds. Squared error on "
        "logits trains scores and no log-probabilities: read as such they are far too timid, until "
        "they are scaled. Where the few validation examples of iris and wine are all right, the "
        "temperature is the lowest allowed, 1/20, and a mistake in the test is then dear.",
    )


def in_words(optimizer: str) -> str:
    """The optimizer as a title says it."""
    return "plain descent" if optimizer == "descent" else optimizer


def target_words() -> str:
    """The targets, as a caption says them."""
    return ", ".join(f"{TARGETS[name]} ({name.replace('_', ' ')})" for name in TARGETS)


def answer(races: Races) -> str:
    """What came out, no stronger than its intervals."""

    def pooled(loss: str, scale: float) -> str:
        middle, low, high = ratio(races.pooled(races.log_ratio, loss, scale))
        return f"{middle:.3g} [{low:.3g}, {high:.3g}]"

    def sides(loss: str) -> tuple[int, int, int]:
        intervals = [
            ratio(races.log_ratio(cell, loss, scale))[1:]
            for cell in races.results
            for scale in SCALES
        ]
        above, below = sum(low > 1 for low, _ in intervals), sum(high < 1 for _, high in intervals)
        return above, below, len(intervals)

    brier, logits = NAMES[1:]
    above, below, comparisons = sides(brier)
    few = ", too few for a claim about speed" if races.seeds < FEW else ""
    return (
        f"Each with its own step, the Brier score takes {pooled(brier, 1.0)} times the steps of "
        f"cross-entropy to a fixed accuracy from an ordinary start and {pooled(brier, 10.0)} times "
        "from one whose logits are ten times as large, and squared error on logits "
        f"{pooled(logits, 1.0)} and {pooled(logits, 10.0)} times (geometric means over "
        f"{len(races.results)} races with 95 % intervals over {races.seeds} seeds{few}; failures "
        f"counted as {STEPS} steps). Of {comparisons} comparisons with the Brier score, race by "
        f"race and start by start, {above} have an interval on the side of cross-entropy and "
        f"{below} one on the other."
    )


def run(progress: Progress, seeds: int, keep: Keep) -> Finding:
    """Check what has to hold, let all losses race everywhere, and compare."""
    progress("gradients, curvature, least squares", 0.0)
    with jax.enable_x64(True):
        rows = [*of_gradients(), *of_curvature(), of_least_squares(), *of_the_mean()]
    cells = list(itertools.starmap(Cell, itertools.product(TARGETS, MODELS, OPTIMIZERS)))
    results = {}
    work = np.array([sum(WORK.get(part, 0) for part in cell) for cell in cells])
    for cell, done in zip(cells, (work.cumsum() - work) / work.sum(), strict=True):
        progress(f"{cell.dataset}, {cell.model}, {in_words(cell.optimizer)}", done)
        block = "-".join(cell).replace(" ", "_")
        results[cell] = Result(**keep(block, partial(hold, cell, seeds)))
    progress("pictures", 1.0)
    races = Races(results, seeds)
    return Finding(
        answer(races),
        [*rows, *of_protocol(races), *of_steps(races), *of_the_end(races)],
        {
            "race": draw_ratios(races),
            "race_curves": draw_curves(races),
            "race_steps": draw_tuning(races),
            "race_calibration": draw_calibration(races),
        },
    )
