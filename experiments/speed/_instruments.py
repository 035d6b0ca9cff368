"""Gradient fields, gradient profiles and Hessians, over plain JAX on optax's loss."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.speed import _timing as timing
from experiments.speed._timing import Job
from jaxent import curvature, gradients, losses

RESOLUTION = 1413
"""Gives 999,000 points."""

MARGINS, CLASSES_OF_PROFILE = 100_000, 10
CLASSES_OF_HESSIAN = {3: 200, 100: 50, 1000: 5}
"""Number of classes: calls that are timed together."""

LOSSES = {
    "optax's loss": optax.softmax_cross_entropy,
    "jaxent's loss": losses.softmax_cross_entropy,
}


def plain(logits, targets) -> Callable:
    """Returns a call of jitted value and gradient at these points."""
    each = jax.jit(jax.vmap(jax.value_and_grad(optax.softmax_cross_entropy)))
    return partial(each, logits, jnp.tile(targets, (len(logits), 1)))


def prepare_field() -> list[Callable]:
    """The field is called eagerly, as a user does. It computes velocities as well."""
    truth = jnp.array([1.0, 0.0, 0.0])
    fields = [
        partial(gradients.gradient_field, loss, truth, resolution=RESOLUTION)
        for loss in LOSSES.values()
    ]
    return [*fields, plain(jnp.array(fields[0]().logits), truth)]


def prepare_profile() -> list[Callable]:
    margins = jnp.linspace(-20.0, 20.0, MARGINS)
    profiles = [
        partial(gradients.gradient_profile, loss, CLASSES_OF_PROFILE, margin=margins)
        for loss in LOSSES.values()
    ]
    truth = jnp.zeros(CLASSES_OF_PROFILE).at[0].set(1.0)
    logits = margins[:, None] * (1 / CLASSES_OF_PROFILE - truth)
    return [*profiles, plain(logits, truth)]


def prepare_hessian(classes: int, calls: int) -> list[Callable]:
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * rng.standard_normal(classes, np.float32))
    targets = jax.nn.one_hot(1, classes)

    def often(function):
        function = jax.jit(function)
        return lambda: [function(logits, targets) for _ in range(calls)]

    ours = [partial(curvature.hessian, loss) for loss in LOSSES.values()]
    return [often(function) for function in (*ours, jax.hessian(optax.softmax_cross_entropy))]


def jobs() -> Iterator[Job]:
    """Yields a comparison for each instrument."""
    rows = {
        f"`gradient_field`, {RESOLUTION * (RESOLUTION + 1) // 2:,} points": prepare_field,
        f"`gradient_profile`, {MARGINS:,} margins, C = {CLASSES_OF_PROFILE}": prepare_profile,
    }
    for classes, calls in CLASSES_OF_HESSIAN.items():
        rows[f"`hessian`, C = {classes}"] = partial(prepare_hessian, classes, calls)
    for row, prepare in rows.items():
        cells = [(row, column) for column in LOSSES]
        yield Job(
            "Instruments: time over plain JAX's on optax's loss", cells, timing.ratios(prepare)
        )
