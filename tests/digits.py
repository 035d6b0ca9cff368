"""The errors of losses that promise digits, held to 50 of them wherever digits are hard to keep.

Value, gradient (reverse and forward) and Hessian diagonal (forward over reverse, reverse over
reverse) of public functions, through `jax.jit`, in every dtype. Errors are in units in the last
place, of the largest entry of the row where there are several.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.digits import truth

HALF = ("float16", "bfloat16")
DTYPES = (*HALF, "float32", "float64")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


# Where the value is a tail of the softmax. Its relative error is that of the logits' difference.
CONFIDENT = {"confident right", "smoothed, right", truth.LIGHTLY_SMOOTHED, "−inf masks"}
CONFIDENT_ANYHOW = {"confident wrong", "smoothed, wrong", "zeros in Q", "q = 0 < p"}


class Loss(NamedTuple):
    """A loss of one example, its truth, and how far apart they may be."""

    function: Callable
    exactly: truth.Formula
    takes_labels: bool = False
    of_q_alone: bool = False
    value_limit: float = 5
    gradient_limit: float = 64
    gradient_limit_of_soft_far_logits: float = 64


class Results(NamedTuple):
    """A loss's value and its derivatives by each class, or the errors of these."""

    value: Any
    reverse: Any
    forward: Any
    forward_over_reverse: Any
    reverse_over_reverse: Any


@lru_cache
def program(loss, batched):
    """All that is tested of a loss, with its derivatives by one class."""

    def of_row(z, p, i):
        def of_logits(z):
            return loss.function(z, p)

        gradient_of_logits, at_i = jax.grad(of_logits), jnp.zeros_like(z).at[i].set(1)
        value, gradient = jax.value_and_grad(of_logits)(z)
        _, forward = jax.jvp(of_logits, (z,), (at_i,))
        _, forward_over_reverse = jax.jvp(gradient_of_logits, (z,), (at_i,))
        _, pullback = jax.vjp(gradient_of_logits, z)
        (reverse_over_reverse,) = pullback(at_i)
        return Results(
            value, gradient[i], forward, forward_over_reverse[i], reverse_over_reverse[i]
        )

    return jax.jit(jax.vmap(of_row, (0, 0, None)) if batched else of_row)


def evaluate(loss, dtype, logits, targets, classes):
    """The derivatives are by each of these classes, which are the last axis."""
    with jax.enable_x64(True) if dtype == "float64" else nullcontext():
        given = np.argmax(targets, -1) if loss.takes_labels else targets
        by_class = [program(loss, logits.ndim == 2)(logits, given, int(i)) for i in classes]
    assert {x.dtype for results in by_class for x in results} == {np.dtype(dtype)}
    (value, *_), *derivatives = zip(*by_class, strict=True)
    return Results(np.asarray(value), *(np.stack(each, -1) for each in derivatives))


def errors_of_row(dtype, region, received, expected):
    ulps = partial(truth.ulps, dtype=dtype)
    value_size, gradient_size = truth.sizes(region, expected)
    return Results(
        ulps([received.value], [expected.value], size=value_size),
        *(ulps(x, expected.gradient, size=gradient_size) for x in received[1:3]),
        *(ulps(x, expected.hessian_diagonal, size=expected.hessian_size) for x in received[3:]),
    )


def errors(loss, dtype, regions, padding=0):
    """The worst of each region; `padding` adds so many classes that cannot happen."""
    logits, targets = map(np.concatenate, zip(*regions.values(), strict=True))
    received = evaluate(
        loss,
        dtype,
        np.pad(logits, ((0, 0), (0, padding)), constant_values=-np.inf),
        np.pad(targets, ((0, 0), (0, padding))),
        range(logits.shape[1]),
    )
    rows = zip(
        [region for region, (logits, _) in regions.items() for _ in logits],
        map(Results, *received),
        map(loss.exactly, logits, targets),
        strict=True,
    )
    found = {region: [] for region in regions}
    for region, *row in rows:
        found[region].append(errors_of_row(dtype, region, *row))
    return {region: Results(*map(max, zip(*rows, strict=True))) for region, rows in found.items()}


def beyond_their_limits(loss, dtype, errors, value_limit=None):
    """The errors that are too large."""

    def limits(region):
        if dtype in HALF:
            return Results(1, 1, 1, 1, 1)
        if dtype == "float64":
            return Results(300, 300, 300, 300, 300)
        value = value_limit or loss.value_limit
        if "tie" in region:
            value = max(value, 16)
        elif region in CONFIDENT or (loss.of_q_alone and region in CONFIDENT_ANYHOW):
            value += 80
        far = region.startswith(("offset", "±")) and region.endswith("soft")
        gradient = loss.gradient_limit_of_soft_far_logits if far else loss.gradient_limit
        return Results(value, gradient, gradient, 64, 64)

    return {
        (region, mode): error
        for region, results in errors.items()
        for mode, error, limit in zip(Results._fields, results, limits(region), strict=True)
        if not error <= limit
    }


def errors_of_scaled_logits(loss, classes):
    """(value, gradient) of a right answer's rows, where the logits are scaled in the program."""
    random, scale = np.random.default_rng(0), np.float32(2.37)
    raw = random.uniform(-9, 9, (7, classes)).astype(np.float32)
    raw[:, 0] += np.float32(9)
    p = np.eye(1, classes, dtype=np.float32)[0]
    given = 0 if loss.takes_labels else p

    def value(raw, scale):
        return loss.function(raw * scale, given)

    def gradient(raw, scale):
        return jax.grad(loss.function)(raw * scale, given)

    # in two programs, since what else is computed decides on how XLA computes a product
    values, gradients = (
        jax.jit(jax.vmap(function, (0, None)))(raw, scale) for function in (value, gradient)
    )
    for received, slopes, logits in zip(values, np.asarray(gradients), raw * scale, strict=True):
        expected = loss.exactly(logits, p)
        yield (
            truth.ulps([received], [expected.value], "float32"),
            truth.ulps(slopes, expected.gradient, "float32"),
        )
