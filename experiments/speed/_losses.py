"""Values and gradients of the losses, over optax and over plain formulas."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.speed import _timing as timing
from experiments.speed._timing import Job
from jaxent import losses

SHAPES = [(65536, 10), (8192, 1000), (1024, 32768)]
MIDDLE = (8192, 1000)
BOTH, ALONE = "Value and gradient", "Value alone"


def optax_kl_divergence(logits, targets):
    return optax.kl_divergence(jax.nn.log_softmax(logits), targets)


def plain_brier_score(logits, targets):
    return jnp.sum((jax.nn.softmax(logits) - targets) ** 2, -1)


class Pair(NamedTuple):
    """A loss of jaxent, what it is compared with, and the kind of targets."""

    ours: Callable
    theirs: Callable
    kind: str


PAIRS = {
    "cross-entropy, integer labels / optax": Pair(
        losses.softmax_cross_entropy_with_integer_labels,
        optax.softmax_cross_entropy_with_integer_labels,
        "labels",
    ),
    "cross-entropy, dense targets / optax": Pair(
        losses.softmax_cross_entropy, optax.softmax_cross_entropy, "one_hot"
    ),
    "KL divergence / optax on log_softmax": Pair(
        losses.softmax_kl_divergence, optax_kl_divergence, "soft"
    ),
    "Brier score / plain formula": Pair(losses.softmax_brier_score, plain_brier_score, "one_hot"),
}


@lru_cache(maxsize=1)
def arguments(shape: tuple[int, int], kind: str, dtype: Any = jnp.float32) -> tuple:
    """Returns random logits with a standard deviation of 3, and targets of this kind."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * rng.standard_normal(shape, np.float32), dtype)
    labels = jnp.asarray(rng.integers(0, shape[1], shape[0], np.int32))
    if kind == "labels":
        return logits, labels
    if kind == "one_hot":
        return logits, jax.nn.one_hot(labels, shape[1], dtype=dtype)
    return logits, jax.nn.softmax(jnp.asarray(rng.standard_normal(shape, np.float32))).astype(dtype)


def compiled(loss: Callable, what: str):
    """Returns the jitted sum over the batch, with its gradient or without."""

    def total(logits, targets):
        return loss(logits, targets).sum()

    return jax.jit(jax.value_and_grad(total) if what == BOTH else total)


def prepare(functions: tuple[Callable, ...], what: str, shape, kind: str, dtype):
    arrays = arguments(shape, kind, dtype)
    return [partial(compiled(function, what), *arrays) for function in functions]


def jobs() -> Iterator[Job]:
    """Yields a comparison for each loss, shape and dtype."""
    settings = [(shape, jnp.float32, written(shape)) for shape in SHAPES]
    settings.append((MIDDLE, jnp.bfloat16, f"{written(MIDDLE)}, bfloat16"))
    for shape, dtype, column in settings:
        for name, (ours, theirs, kind) in PAIRS.items():
            for what in (BOTH, ALONE):
                functions = partial(prepare, (ours, theirs), what, shape, kind, dtype)
                yield Job(f"{what}: time over time", [(name, column)], timing.ratios(functions))


def written(shape: tuple[int, int]) -> str:
    return f"{shape[0]} × {shape[1]}"
