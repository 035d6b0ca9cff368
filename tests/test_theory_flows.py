"""How the probabilities move, against autodiff, SciPy and 50-digit quadrature."""

import math
from functools import partial

import jax
import numpy as np
import pytest
from scipy import special

from jaxent import information, losses, theory
from tests.closed_forms import (
    LOSSES,
    every_kind_of_target,
    exact_time,
    gradients,
    jit_once,
    points,
)


@jit_once
def brier_score_gradient_in_q(q, targets):
    return jax.grad(lambda q: information.brier_score(targets, q).sum())(q)


@jit_once
def softmax_moves(logits, velocity):
    return jax.jvp(jax.nn.softmax, (logits,), (velocity,))[1]


@jit_once
def flow_velocities(q, p):
    """With no Jacobian, one and two."""
    return [
        jax.vmap(partial(theory.flows.flow_velocity, num_jacobians=jacobians))(q, p)
        for jacobians in range(3)
    ]


@every_kind_of_target
def test_velocity_of_q_has_as_many_jacobians_as_the_rule(one_hot, float64):
    logits, targets, q, _ = points(one_hot)
    expected = (
        -brier_score_gradient_in_q(q, targets) / 2,
        softmax_moves(logits, -gradients(losses.softmax_cross_entropy, logits, targets)),
        softmax_moves(logits, -gradients(losses.softmax_brier_score, logits, targets)) / 2,
    )
    for received, velocity in zip(flow_velocities(q, targets), expected, strict=True):
        np.testing.assert_allclose(received, velocity, atol=1e-15)


@every_kind_of_target
def test_exponentiated_gradient_on_the_brier_score_is_descent_on_cross_entropy_at_twice_the_step(
    one_hot, float64
):
    logits, targets, q, _ = points(one_hot)
    rate = 0.7
    gradient = brier_score_gradient_in_q(q, targets)
    received = jit_once(theory.flows.exponentiated_gradient_step)(q, gradient, rate)
    step = 2 * rate * gradients(losses.softmax_cross_entropy, logits, targets)
    np.testing.assert_allclose(received, special.softmax(logits - step, axis=1), rtol=1e-13)


def test_exponentiated_gradient_keeps_zeros_and_survives_huge_gradients():
    q = np.array([0.5, 0.5, 0.0])
    with jax.debug_nans(True):
        step = jit_once(theory.flows.exponentiated_gradient_step)
        received = step(q, np.array([1e4, 2e4, -1e30]), 1.0)
        np.testing.assert_array_equal(received, [1.0, 0.0, 0.0])
        offset = step(q, np.array([513.0, 512.0, 0.0]), 1.0)
    np.testing.assert_allclose(offset[1] / offset[0], math.e, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 100, 10_000])
def test_time_to_one_half_is_the_integral_from_the_uniform_start(classes, float64):
    for name, received in (
        ("cross-entropy", jit_once(theory.flows.cross_entropy_time_to_half)(classes)),
        ("Brier score", jit_once(theory.flows.brier_score_time_to_half)(classes)),
    ):
        expected = exact_time(LOSSES[name], 0.0, classes, end=-math.log(classes - 1))
        assert float(received) == pytest.approx(expected, rel=1e-13)


def test_time_to_one_half_grows_like_the_logarithm_and_like_half_the_number_of_classes():
    # In float32, where K² + 1 is K² from 4097 classes on.
    classes = np.array([1e4, 1e6])
    entropy, brier = (
        jit_once(theory.flows.cross_entropy_time_to_half)(classes),
        jit_once(theory.flows.brier_score_time_to_half)(classes),
    )
    np.testing.assert_allclose(entropy, 1 + np.log(classes), rtol=1e-3)
    np.testing.assert_allclose(brier, classes / 2, rtol=3e-3)
