"""The losses that promise digits, held to 50 of them wherever digits are hard to keep.

Value, gradient (reverse and forward) and Hessian diagonal (forward over reverse, reverse over
reverse) of the public losses, through `jax.jit`, in every dtype. Errors are in units in the last
place, of the largest entry of the row where there are several.
"""

from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.digits import truth
from jaxent import information, losses

HALF = ("float16", "bfloat16")
DTYPES = (*HALF, "float32", "float64")
CROSS_ENTROPY, LABELS, KL, BRIER, ENTROPY, BINARY = (
    "cross-entropy",
    "cross-entropy of labels",
    "KL",
    "Brier",
    "entropy",
    "binary cross-entropy",
)
LOSSES = {
    CROSS_ENTROPY: (losses.softmax_cross_entropy, truth.cross_entropy),
    LABELS: (losses.softmax_cross_entropy_with_integer_labels, truth.cross_entropy),
    KL: (losses.softmax_kl_divergence, truth.kl_divergence),
    BRIER: (losses.softmax_brier_score, truth.brier_score),
    ENTROPY: (lambda z, p: information.entropy_of_logits(z), truth.entropy_of_logits),
    BINARY: (
        lambda s, y: losses.sigmoid_binary_cross_entropy(s, y)[0],
        truth.binary_cross_entropy,
    ),
}
every_loss = pytest.mark.parametrize("name", list(LOSSES))
every_softmax_loss = pytest.mark.parametrize("name", [name for name in LOSSES if name != BINARY])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


class Results(NamedTuple):
    """A loss's value and its derivatives by each class, or the errors of these."""

    value: Any
    reverse: Any
    forward: Any
    forward_over_reverse: Any
    reverse_over_reverse: Any


@lru_cache
def program(name, batched):
    """All that is tested of a loss, with its derivatives by one class."""
    loss, _ = LOSSES[name]

    def of_row(z, p, i):
        def of_logits(z):
            return loss(z, p)

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


def evaluate(name, dtype, logits, targets, classes):
    """The derivatives are by each of these classes, which are the last axis."""
    with jax.enable_x64(True) if dtype == "float64" else nullcontext():
        given = np.argmax(targets, -1) if name == LABELS else targets
        by_class = [program(name, logits.ndim == 2)(logits, given, int(i)) for i in classes]
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


@lru_cache
def errors(name, dtype, padding=0):
    """The worst of each region; `padding` adds so many classes that cannot happen."""
    regions = (truth.binary_regions if name == BINARY else truth.regions)(np.dtype(dtype))
    if name == LABELS:
        regions = {k: region for k, region in regions.items() if region.labels is not None}
    if name == BRIER:
        del regions[truth.NEARLY_EQUAL]  # there q is rounded by as much as q − p
    logits, targets = map(np.concatenate, zip(*regions.values(), strict=True))
    received = evaluate(
        name,
        dtype,
        np.pad(logits, ((0, 0), (0, padding)), constant_values=-np.inf),
        np.pad(targets, ((0, 0), (0, padding))),
        range(logits.shape[1]),
    )
    rows = zip(
        [region for region, (logits, _) in regions.items() for _ in logits],
        map(Results, *received),
        map(LOSSES[name][1], logits, targets),
        strict=True,
    )
    found = {region: [] for region in regions}
    for region, *row in rows:
        found[region].append(errors_of_row(dtype, region, *row))
    return {region: Results(*map(max, zip(*rows, strict=True))) for region, rows in found.items()}


def value_limit(name, dtype, region):
    if dtype in HALF:
        return 1
    return 20 if name == KL or region.endswith("right") else 5


def gradient_limit(name, dtype, region):
    if dtype in HALF:
        return 1
    return 100 if name == BRIER and region.startswith(("offset", "±")) else 32


def hessian_limit(name, dtype, region):
    return 1 if dtype in HALF else 64


def million_limit(name, dtype, region):
    return 1 if dtype in HALF else 50


LIMITS = {
    "value": value_limit,
    "reverse": gradient_limit,
    "forward": gradient_limit,
    "forward_over_reverse": hessian_limit,
    "reverse_over_reverse": hessian_limit,
}


def beyond(limits, name, dtype, errors):
    """The errors that are not within their limits."""
    return {
        (region, mode): getattr(results, mode)
        for region, results in errors.items()
        for mode, limit in limits.items()
        if not getattr(results, mode) <= limit(name, dtype, region)
    }


@every_dtype
@every_loss
def test_value_gradient_and_hessian_diagonal_keep_their_digits(name, dtype):
    assert beyond(LIMITS, name, dtype, errors(name, dtype)) == {}


def test_classes_that_cannot_happen_cost_no_digits():
    assert beyond(LIMITS, CROSS_ENTROPY, "float32", errors(CROSS_ENTROPY, "float32", 64)) == {}


@every_dtype
@every_softmax_loss
def test_a_million_classes_cost_few_digits(name, dtype):
    found = {}
    for region, (logits, targets, counts) in truth.million_classes(np.dtype(dtype)).items():
        if name == LABELS and targets[0] != 1:
            continue
        kinds, first = truth.shuffled(counts)
        received = evaluate(name, dtype, logits[kinds], targets[kinds], first[:2])
        expected = LOSSES[name][1](logits, targets, counts)
        expected = expected._replace(
            gradient=expected.gradient[:2], hessian_diagonal=expected.hessian_diagonal[:2]
        )
        found[region] = errors_of_row(dtype, region, received, expected)
    limits = {**LIMITS, "value": million_limit}
    assert beyond(limits, name, dtype, found) == {}


@every_softmax_loss
def test_a_single_class_has_no_gradient(name):
    loss, exactly = LOSSES[name]
    value_and_gradient = jax.jit(jax.value_and_grad(loss))
    p = np.array([1.0 if name == LABELS else 0.7], np.float32)
    for z in np.array([[0.0], [3.3], [-1e4], [-np.inf]], np.float32):
        value, gradient = value_and_gradient(z, 0 if name == LABELS else p)
        assert truth.ulps([value], [exactly(z, p).value], "float32") <= 5
        assert gradient == 0


@every_loss
def test_logits_that_are_scaled_in_the_same_program_keep_their_digits(name):
    loss, exactly = LOSSES[name]
    random, scale = np.random.default_rng(0), np.float32(2.37)
    raw = random.uniform(-9, 9, (7, 1 if name == BINARY else 10)).astype(np.float32)
    raw[:, 0] += np.float32(9)
    p = np.eye(1, raw.shape[1], dtype=np.float32)[0]
    given = 0 if name == LABELS else p

    def value(raw, scale):
        return loss(raw * scale, given)

    def gradient(raw, scale):
        return jax.grad(loss)(raw * scale, given)

    # in two programs, since what else is computed decides on how XLA computes a product
    values, gradients = (
        jax.jit(jax.vmap(function, (0, None)))(raw, scale) for function in (value, gradient)
    )
    rows = zip(np.asarray(values), np.asarray(gradients), raw * scale, strict=True)
    for value_of_row, gradient_of_row, logits in rows:
        expected = exactly(logits, p)
        assert truth.ulps([value_of_row], [expected.value], "float32") <= 20
        assert truth.ulps(gradient_of_row, expected.gradient, "float32") <= 32


PARAMETERS = {
    "cross_entropy": {},
    "kl_divergence": {},
    "brier_score": {},
    "entropy_of_logits": {},
    "mean_squared_error": {},
    "mean_absolute_error": {},
    "generalized_cross_entropy": {"exponent": 0.7},
    "focal_loss": {"gamma": 2.0},
    "squentropy": {},
    "logit_squared_error": {"weight": 3.0, "value": 2.0},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_truth_of_a_derivative_is_the_derivative_of_the_truth(name):
    logits, targets, step = [0.5, -1.25, 2.0], [0.25, 0.125, 0.5], 2.0**-20

    def exactly(change, i):
        moved = [z + change * (i == j) for j, z in enumerate(logits)]
        return getattr(truth, name)(moved, targets, **PARAMETERS[name])

    for i in range(3):
        below, here, above = (exactly(change, i) for change in (-step, 0, step))
        slope = (above.value - below.value) / (2 * step)
        assert float(slope) == pytest.approx(float(here.gradient[i]), rel=1e-9, abs=1e-12)
        if here.hessian_diagonal is not None:
            bend = (above.gradient[i] - below.gradient[i]) / (2 * step)
            assert float(bend) == pytest.approx(float(here.hessian_diagonal[i]), rel=1e-9)
