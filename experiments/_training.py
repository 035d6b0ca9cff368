"""Train small classifiers on real data by several losses at once, and judge them alike.

What is random about a seed, the split, the start and the order of the data, is drawn once and is
the same for every loss. All losses are trained side by side in one compiled program, each with a
step of its own; `jax.vmap` runs it over seeds and over whatever else is varied. Judged is by what
no loss owns.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int
from scipy import stats

from jaxent import losses
from jaxent._examples import Loss

AnyArray = Array | np.ndarray
Layers = Sequence[tuple[ArrayLike, ArrayLike]]
"""Weights [inputs, outputs] and biases [outputs] of a network, the last layer gives the logits."""


# Data and starts


class Part(NamedTuple):
    """Some examples of a data set."""

    features: Float[AnyArray, "*batch examples features"]
    labels: Int[AnyArray, "*batch examples"]


class Split(NamedTuple):
    """Three parts of a data set, standardised by what the first of them knows."""

    train: Part
    validation: Part
    test: Part


class Draw(NamedTuple):
    """All that is random about a seed, the same for every loss."""

    split: Split
    start: Layers
    batches: Int[AnyArray, "*batch steps batch_size"]
    """Which training examples each step looks at."""


def load(name: str) -> Part:
    """A data set of scikit-learn: digits, iris, wine or breast_cancer."""
    from sklearn import datasets

    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Part(features.astype(np.float32), labels)


def split(data: Part, seed: int) -> Split:
    """Three fifths to train on and one fifth each to validate and to test, each with all classes.

    Mean and standard deviation come from the training part alone; a feature that is constant
    there is only centred.
    """
    from sklearn.model_selection import train_test_split

    features, labels = np.asarray(data.features), np.asarray(data.labels)

    def divide(chosen: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        part, rest = train_test_split(
            chosen, test_size=fraction, stratify=labels[chosen], random_state=seed
        )
        return np.array(part), np.array(rest)

    train, held_out = divide(np.arange(len(labels)), 0.4)
    validation, test = divide(held_out, 0.5)
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    deviation = np.where(deviation == 0, 1, deviation)

    def standardised(chosen: np.ndarray) -> Part:
        return Part((features[chosen] - mean) / deviation, labels[chosen])

    return Split(standardised(train), standardised(validation), standardised(test))


def draw(data: Part, hidden: Sequence[int], seed: int, *, steps: int, batch_size: int) -> Draw:
    """Split, start and order of the data for a seed.

    Args:
        data: What `load` gave.
        hidden: Widths of the hidden layers; none for a linear model.
        seed: Any natural number.
        steps: How many batches there are.
        batch_size: Examples a batch. Each pass through the training part is in a new order, and
            goes on in the middle of a batch where the last one ended.
    """
    parts = split(data, seed)
    generator = np.random.default_rng(seed)
    num_train, num_features = np.shape(parts.train.features)
    sizes = [num_features, *hidden, int(np.max(data.labels)) + 1]
    passes = -(-steps * batch_size // num_train)
    order = np.concatenate([generator.permutation(num_train) for _ in range(passes)])
    batches = order[: steps * batch_size].reshape(steps, batch_size)
    start = tuple(
        (
            (generator.standard_normal((inputs, outputs)) / inputs**0.5).astype(np.float32),
            np.zeros(outputs, np.float32),
        )
        for inputs, outputs in itertools.pairwise(sizes)
    )
    return Draw(parts, start, batches)


def stack(draws: Sequence[Draw]) -> Draw:
    """Several draws as one with a leading axis, to be mapped over."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *draws)


# Models


def logits_of(
    layers: Layers, features: Float[AnyArray, "examples features"]
) -> Float[Array, "examples classes"]:
    """The logits that a network gives each example: tanh between layers, nothing after the last.

    With a single layer this is the linear model.
    """
    *hidden, (weights, biases) = layers
    activations = jnp.asarray(features)
    for hidden_weights, hidden_biases in hidden:
        activations = jnp.tanh(activations @ hidden_weights + hidden_biases)
    return activations @ weights + biases


def with_logits_scaled(layers: Layers, scale: ArrayLike) -> Layers:
    """The last layer multiplied: the logits of every example are `scale` times what they were."""
    *hidden, (weights, biases) = layers
    return (*hidden, (weights * scale, biases * scale))


# Training


class Training(NamedTuple):
    """What training by several losses led to; the losses are the first axis of what is below."""

    layers: Layers
    """At the end."""
    accuracy: Float[Array, "losses looks"]
    """On the examples held out, after as many steps as the looks said."""


def looks_until(steps: int, growth: float = 0.05) -> Int[np.ndarray, " looks"]:
    """After which steps to look at the accuracy: 0, 1, 2, …, then each time `growth` later."""
    looks = [0]
    while looks[-1] < steps:
        looks.append(min(steps, max(looks[-1] + 1, round(looks[-1] * (1 + growth)))))
    return np.array(looks)


def train(
    start: Layers,
    rates: Float[Array, " losses"],
    part: Part,
    batches: Int[AnyArray, "steps batch_size"],
    held_out: Part,
    looks: Int[Array, " looks"],
    *,
    losses: Sequence[Loss],
    optimizer: optax.GradientTransformation,
) -> Training:
    """Train one network by each of several losses, from the same start, on the same batches.

    To be called inside `jax.jit`, with `jax.vmap` over seeds, starts or labels. The examples are
    not copied for the losses, nor for a mapped axis that they do not have.

    Args:
        start: The layers, the same for all losses.
        rates: The step size of each loss.
        part: The examples to train on.
        batches: Which of them each step looks at.
        held_out: The examples by which accuracy is measured.
        looks: After which steps, ascending; the last is the number of steps taken.
        losses: Each a mean over the batch.
        optimizer: An elementwise rule without its step size: `optax.identity()` for plain descent,
            `optax.scale_by_adam()`.
    """
    num_classes = jnp.shape(start[-1][1])[-1]
    features, batches = jnp.asarray(part.features), jnp.asarray(batches)
    targets = jax.nn.one_hot(part.labels, num_classes)
    layers = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(losses), *jnp.shape(x))), start)

    def logits(layers: Layers, features: Array) -> Array:
        return jax.vmap(logits_of, in_axes=(0, None))(layers, features)

    def objective(layers: Layers, batch: Array) -> Array:
        targets_of_batch = targets[batch]
        values = [
            loss(z, targets_of_batch).mean()
            for loss, z in zip(losses, logits(layers, features[batch]), strict=True)
        ]
        # Each loss has layers of its own, so the gradient of the sum is that of each.
        return jnp.stack(values).sum()

    def step(index, state):
        layers, memory = state
        gradient = jax.grad(objective)(layers, batches[index])
        updates, memory = optimizer.update(gradient, memory)

        def moved(x: Array, update: Array) -> Array:
            return x - rates.reshape(-1, *[1] * (x.ndim - 1)) * update

        return jax.tree.map(moved, layers, updates), memory

    def look(state, until):
        index, *state = state
        state = lax.fori_loop(index, until, step, tuple(state))
        right = is_right(logits(state[0], jnp.asarray(held_out.features)), held_out.labels)
        return (until, *state), right.mean(axis=-1)

    state = (jnp.zeros_like(looks[0]), layers, optimizer.init(layers))
    (_, layers, _), accuracy = lax.scan(look, state, looks)
    return Training(layers, accuracy.T)


class Tuning(NamedTuple):
    """How each cell of an experiment fared with every step size that was tried."""

    multiples: Float[np.ndarray, " tried"]
    """Step sizes in each loss's own unit, ascending."""
    scores: Float[np.ndarray, "tried *cells"]
    """The lower the better."""

    @property
    def best(self) -> Int[np.ndarray, "*cells"]:
        """Which of the steps is best for each cell; of equals the smallest."""
        return np.argmin(self.scores, axis=0)

    @property
    def chosen(self) -> Float[np.ndarray, "*cells"]:
        """The best multiple of each cell."""
        return self.multiples[self.best]

    @property
    def inside(self) -> Bool[np.ndarray, "*cells"]:
        """Whether the best of a cell has a step on either side of it."""
        return (self.best > 0) & (self.best < len(self.multiples) - 1)


def tune(
    score: Callable[[float], Float[np.ndarray, "*cells"]],
    powers: range,
    *,
    base: float = 2.0,
    most: int = 40,
) -> Tuning:
    """Try step sizes on a logarithmic grid, and widen it until the best of each cell is inside.

    Args:
        score: How well each cell does with this multiple of its unit, the lower the better.
        powers: The multiples tried first are base ** power.
        base: The factor from one step size to the next.
        most: Give up widening when so many have been tried.
    """
    scores = {power: score(base**power) for power in powers}
    while True:
        tried = sorted(scores)
        tuning = Tuning(base ** np.array(tried, float), np.array([scores[k] for k in tried]))
        if len(tried) >= most or tuning.inside.all():
            return tuning
        if (tuning.best == 0).any():
            scores[tried[0] - 1] = score(base ** (tried[0] - 1))
        if (tuning.best == len(tried) - 1).any():
            scores[tried[-1] + 1] = score(base ** (tried[-1] + 1))


# Judging


def is_right(
    logits: Float[Array, "*batch classes"], labels: Int[ArrayLike, "..."]
) -> Bool[Array, "*batch"]:
    """Whether the label has the highest logit; never where a logit is NaN."""
    highest = jnp.argmax(logits, axis=-1) == labels
    return highest & ~jnp.isnan(logits).any(axis=-1)


def steps_to(
    target: float, accuracy: Float[np.ndarray, "*batch looks"], looks: Int[np.ndarray, " looks"]
) -> Float[np.ndarray, "*batch"]:
    """After how many steps a look first saw the target; ∞ where none did.

    Also ∞ where nothing is right at the end, which is how a run ends that has diverged: it may
    well have come past the target on its way.
    """
    reached = accuracy >= target
    arrived = reached.any(axis=-1) & (accuracy[..., -1] > 0)
    return np.where(arrived, looks[reached.argmax(axis=-1)], np.inf)


def inverse_temperature(
    logits: Float[Array, "examples classes"],
    labels: Int[AnyArray, " examples"],
    largest: float = 20.0,
) -> Float[Array, ""]:
    """The β for which β · logits has the least cross-entropy on these examples.

    Cross-entropy is convex in β, with the derivative mean(Σⱼ (qⱼ − pⱼ) zⱼ), whose zero is found by
    bisection of ln β. Where every example is right, more confidence is always better and there is
    no zero; so β is kept between 1/largest and largest.

    References:
        C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1])

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        residual = jax.nn.softmax(jnp.exp(middle) * logits) - targets
        too_high = (residual * logits).sum() > 0
        return jnp.where(too_high, low, middle), jnp.where(too_high, middle, high)

    widest = jnp.log(jnp.asarray(largest, logits.dtype))
    low, high = lax.fori_loop(0, 40, halve, (-widest, widest))
    return jnp.exp((low + high) / 2)


class Judgement(NamedTuple):
    """How good predictions are, by measures of which no loss owns all."""

    accuracy: Float[Array, "..."]
    nll: Float[Array, "..."]
    """Cross-entropy of the labels, nats an example."""
    brier_score: Float[Array, "..."]
    """Sum over the classes."""
    calibration_error: Float[Array, "..."]
    """Mean |accuracy − confidence| over ten bins of the confidence (ECE); of few examples it is
    more than 0 even for a perfect forecast."""


def judge(
    logits: Float[Array, "examples classes"], labels: Int[AnyArray, " examples"]
) -> Judgement:
    """Judge softmax(logits), whatever the logits were trained for."""
    confidence = jax.nn.softmax(logits).max(axis=-1)
    right = is_right(logits, labels)
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    bins = jax.nn.one_hot(jnp.minimum((10 * confidence).astype(int), 9), 10)
    return Judgement(
        right.mean(),
        losses.softmax_cross_entropy(logits, targets).mean(),
        losses.softmax_brier_score(logits, targets).mean(),
        jnp.abs((right - confidence) @ bins).sum() / len(targets),
    )


def bootstrap(
    *samples: Float[np.ndarray, " seeds"],
    of_means: Callable[..., Any] = lambda mean: mean,
    resamples: int = 10_000,
) -> tuple[float, float, float]:
    """The mean over seeds, or a function of several means, and its 95 % interval.

    The interval is by percentiles, over sets of seeds that are drawn anew from the seeds there
    are. Samples are paired: a seed is drawn for all of them, and of their differences this is the
    paired bootstrap too. The plain percentiles are too narrow for few seeds; these are expanded as
    Hesterberg does, to Φ(−t √(n/(n−1))) on either side, t being Student's for 97.5 % and n − 1
    degrees of freedom: 2.3 % for 100 seeds, 0.1 % for 5.

    References:
        T. Hesterberg, What Teachers Should Know About the Bootstrap, American Statistician 2015.
    """
    count = len(samples[0])
    chosen = np.random.default_rng(0).integers(count, size=(resamples, count))
    tail = stats.norm.cdf(-stats.t.ppf(0.975, count - 1) * (count / (count - 1)) ** 0.5)
    measured = of_means(*(np.mean(values) for values in samples))
    resampled = of_means(*(np.asarray(values)[chosen].mean(axis=-1) for values in samples))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(measured), float(low), float(high)
