"""`fit` and `escape_steps`, over bare loops with optax's loss."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.speed import _timing as timing
from experiments.speed._timing import Job
from jaxent import descent, losses

STEPS = 10_000
CLASSES = (3, 10, 1000)
FITS, BLOCK, STEPS_IN_BLOCKS = 4_000, 1_000, 2_000
MARGIN, MOST_STEPS = 8.0, 1_000_000
OPTIMIZERS = {"SGD": optax.sgd(0.1), "Adam": optax.adam(0.01)}
ESCAPING = {"SGD": optax.sgd(1e-3), "Adam": optax.adam(1e-3)}
OPTAX, OURS = optax.softmax_cross_entropy, losses.softmax_cross_entropy


def bare_fit(optimizer, steps, logits, targets):
    """The least loop: a scan that records the loss."""

    def step(state, _):
        logits, state = state
        value, gradient = jax.value_and_grad(OPTAX)(logits, targets)
        updates, state = optimizer.update(gradient, state, logits)
        return (optax.apply_updates(logits, updates), state), value

    start = logits, optimizer.init(logits)
    (logits, _), history = jax.lax.scan(step, start, None, length=steps)
    return logits, history


def bare_escape(optimizer, margin):
    """The least loop: it stops at a tie, or as soon as a value is not finite."""
    targets = jnp.array([1.0, 0.0, 0.0])

    def behind(state):
        logits, _, steps = state
        return (logits[0] < jnp.max(logits[1:])) & (steps < MOST_STEPS)

    def step(state):
        logits, state, steps = state
        value, gradient = jax.value_and_grad(OPTAX)(logits, targets)
        updates, state = optimizer.update(gradient, state, logits)
        return optax.apply_updates(logits, updates) + 0 * value, state, steps + 1

    start = -margin * targets
    return jax.lax.while_loop(behind, step, (start, optimizer.init(start), jnp.int32(0)))[2]


def distributions(*shape: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    logits, others = rng.standard_normal((2, *shape), np.float32)
    return jnp.asarray(logits), jax.nn.softmax(jnp.asarray(others))


def prepare_fits(optimizer, classes: int) -> list[Callable]:
    def fit(loss, targets, tolerance=None):
        @jax.jit
        def run(logits, targets):
            return descent.fit(loss, logits, targets, optimizer, steps=STEPS, tolerance=tolerance)

        return partial(run, logits, targets)

    logits, targets = distributions(classes)
    out_of_reach = targets.at[0].add(1.0)  # sums to 2, which no softmax does
    bare = jax.jit(partial(bare_fit, optimizer, STEPS))
    return [
        fit(OPTAX, targets),
        fit(OPTAX, out_of_reach, tolerance=1e-3),
        fit(OURS, targets),
        partial(bare, logits, targets),
    ]


def prepare_blocks(optimizer) -> list[Callable]:
    def in_blocks(one):
        run = jax.jit(lambda *rows: jax.lax.map(lambda row: one(*row), rows, batch_size=BLOCK))
        return partial(run, *distributions(FITS, 3))

    def fit(loss):
        return lambda logits, targets: descent.fit(
            loss, logits, targets, optimizer, steps=STEPS_IN_BLOCKS
        )

    bare = partial(bare_fit, optimizer, STEPS_IN_BLOCKS)
    return [in_blocks(fit(OPTAX)), in_blocks(fit(OURS)), in_blocks(bare)]


def prepare_escapes(optimizer) -> list[Callable]:
    def escape(loss):
        return lambda margin: descent.escape_steps(
            loss, margin, optimizer, num_classes=3, max_steps=MOST_STEPS
        )

    loops = escape(OPTAX), escape(OURS), partial(bare_escape, optimizer)
    return [partial(jax.jit(loop), jnp.float32(MARGIN)) for loop in loops]


def jobs() -> Iterator[Job]:
    """Yields a comparison for each optimizer, number of classes and loop."""
    title = f"{STEPS:,} steps of `fit`: time over a bare scan's"
    for name, optimizer in OPTIMIZERS.items():
        rows = "optax's loss", "optax's loss, tolerance never reached", "jaxent's loss"
        for classes in CLASSES:
            cells = [(f"{name}, {row}", f"C = {classes}") for row in rows]
            yield Job(title, cells, timing.ratios(partial(prepare_fits, optimizer, classes)))
    title = f"Blocks of {BLOCK:,} fits, {STEPS_IN_BLOCKS:,} steps, C = 3: time over bare scans'"
    for name, optimizer in OPTIMIZERS.items():
        cells = [(name, "optax's loss"), (name, "jaxent's loss")]
        yield Job(title, cells, timing.ratios(partial(prepare_blocks, optimizer)))
    title = "`escape_steps`, C = 3: time over a bare while loop's"
    for name, optimizer in ESCAPING.items():
        cells = [(name, "optax's loss"), (name, "jaxent's loss")]
        yield Job(title, cells, timing.ratios(partial(prepare_escapes, optimizer)))
