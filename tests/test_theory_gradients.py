"""Gradient norms, pushes and gradients against 50-digit arithmetic and autodiff."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxent import losses, theory
from tests.closed_forms import (
    LOSSES,
    check_formulas_of_a_margin,
    every_kind_of_target,
    every_loss,
    exact_push,
    gradients,
    jit_once,
    mistakes,
    on_a_grid,
    points,
    probabilities_of_a_mistake,
)

MARGINS = np.array([-60.0, -20.0, -3.0, 0.0, 0.7, 5.0, 20.0, 60.0])
CLASSES = np.array([2.0, 3.0, 10.0, 1000.0])
GRID = np.linspace(-30, 30, 13)[:, None], np.array([2.0, 3.0, 10.0])
GRADIENT_NORMS = {
    "cross-entropy": theory.gradients.cross_entropy_gradient_norm,
    "Brier score": theory.gradients.brier_score_gradient_norm,
}
every_norm = pytest.mark.parametrize("name", GRADIENT_NORMS)


def exact_gradient_norm(name, margin, classes):
    """The Euclidean norm of the whole gradient vector, from its definition, in 50 digits."""
    with mpmath.workdps(50):
        q_true, rest, wrong = probabilities_of_a_mistake(margin, classes)
        q_wrong, residual_true, residual_wrong = rest / wrong, -rest, rest / wrong
        if name == "Brier score":
            mean = q_true * residual_true + wrong * q_wrong * residual_wrong
            residual_true = 2 * q_true * (residual_true - mean)
            residual_wrong = 2 * q_wrong * (residual_wrong - mean)
        return float(mpmath.sqrt(residual_true**2 + wrong * residual_wrong**2))


# Gradient norms


def test_probability_of_the_truth_keeps_its_digits_at_both_ends():
    received = jit_once(theory.gradients.true_class_probability)(MARGINS[:, None], CLASSES)
    expected = on_a_grid(lambda m, c: probabilities_of_a_mistake(m, c)[0], MARGINS, CLASSES)
    np.testing.assert_allclose(received, expected, rtol=1e-6)


@every_norm
def test_gradient_norm_keeps_its_digits_in_float32_at_every_margin(name):
    received = jit_once(GRADIENT_NORMS[name])(MARGINS[:, None], CLASSES)
    expected = on_a_grid(partial(exact_gradient_norm, name), MARGINS, CLASSES)
    assert received.dtype == jnp.float32
    # Below 1e-38 float32 flushes to zero.
    np.testing.assert_allclose(received, expected, rtol=2e-6, atol=1e-37)


def test_gradient_norm_is_that_of_autodiff_and_of_mean_squared_error_over_the_classes(float64):
    for name, loss, scale in (
        ("cross-entropy", losses.softmax_cross_entropy, 1),
        ("Brier score", losses.softmax_brier_score, 1),
        ("Brier score", losses.softmax_mean_squared_error, GRID[1]),
    ):
        expected = np.linalg.norm(gradients(loss, *mistakes(*GRID)), axis=-1)
        received = jit_once(GRADIENT_NORMS[name])(*GRID) / scale
        np.testing.assert_allclose(received, expected, rtol=1e-12)


@every_norm
@pytest.mark.parametrize("margin", [-4.0, 0.0, 4.0])
def test_two_classes_stand_for_wrong_mass_on_one_of_many(name, margin, float64):
    q = np.exp([0.0, margin, -np.inf, -np.inf])
    q /= q.sum()
    gradient = q - np.eye(4)[0]
    if name == "Brier score":
        gradient = 2 * q * (gradient - q @ gradient)
    expected = np.linalg.norm(gradient)
    np.testing.assert_allclose(jit_once(GRADIENT_NORMS[name])(margin, 2), expected, rtol=1e-12)


def test_ratio_of_gradient_norms_is_exact_and_vanishes_at_both_ends():
    received = jit_once(theory.gradients.gradient_norm_ratio)(MARGINS[:, None], CLASSES)
    brier, entropy = (
        on_a_grid(partial(exact_gradient_norm, name), MARGINS, CLASSES)
        for name in ("Brier score", "cross-entropy")
    )
    np.testing.assert_allclose(received, brier / entropy, rtol=2e-6)
    assert np.all(received[np.array([0, -1])] < 1e-20)


@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_brier_score_pushes_hardest_at_one_third(classes, float64):
    margin_of_one_third = np.log(2 / (classes - 1))
    near, at, beyond = (
        exact_gradient_norm("Brier score", margin_of_one_third + shift, classes)
        for shift in (-1e-3, 0.0, 1e-3)
    )
    assert at > max(near, beyond)
    largest = jit_once(theory.gradients.largest_brier_score_gradient_norm)(classes)
    assert largest == pytest.approx(at, rel=1e-13)
    truth = jit_once(theory.gradients.true_class_probability)(margin_of_one_third, classes)
    assert truth == pytest.approx(1 / 3)


# How hard the true logit is pushed


@every_loss
def test_push_is_minus_the_gradient_at_the_true_logit(loss, float64):
    expected = -gradients(loss.loss, *mistakes(*GRID))[..., 0]
    received = jit_once(loss.push)(*GRID, *loss.exponent)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


@every_loss
def test_push_keeps_its_digits_in_float32_at_every_margin(loss):
    classes = np.array([2.0, 10.0, 10_001.0])
    received = jit_once(loss.push)(MARGINS[:, None], classes, *loss.exponent)
    expected = on_a_grid(partial(exact_push, loss), MARGINS, classes)
    assert received.dtype == jnp.float32
    np.testing.assert_allclose(received, expected, rtol=3e-6, atol=1e-37)


@every_loss
def test_spread_of_the_wrong_mass_matters_to_the_push_of_the_brier_score_alone(loss, float64):
    logits, targets = mistakes(np.zeros((13, 1)), np.full(3, 4))
    logits += np.random.default_rng(0).normal(0.0, 2.0, logits.shape)
    q = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    truth, rest, beta = q[..., 0], q[..., 1:].sum(axis=-1), np.sum(q[..., 1:] ** 2, axis=-1)
    expected = -gradients(loss.loss, logits, targets)[..., 0]
    received = jit_once(loss.push)(np.log(rest / truth / 3), np.full(3, 4.0), *loss.exponent)
    if loss is LOSSES["Brier score"]:
        assert np.all(received < expected)  # even is the least of all
        received = 2 * truth * (rest**2 + beta)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_root_of_a_probability_below_float32_still_pushes():
    assert jit_once(theory.gradients.true_class_probability)(120.0, 2) == 0
    received = jit_once(theory.gradients.generalized_cross_entropy_push)(120.0, 2, 0.5)
    np.testing.assert_allclose(received, math.exp(-60), rtol=1e-5)


def test_push_of_the_focal_loss_has_a_derivative_where_the_rest_underflows():
    slopes = jit_once(jax.vmap(jax.grad(theory.gradients.focal_loss_push), (0, None, None)))
    np.testing.assert_array_equal(slopes(np.array([-200.0, 200.0]), 3.0, 0.5), 0)


def test_formulas_of_a_margin_work_on_arrays_and_have_derivatives():
    formulas = {
        "probability": lambda m: theory.gradients.true_class_probability(m, 3),
        "ratio": lambda m: theory.gradients.gradient_norm_ratio(m, 3),
        **{name: lambda m, norm=norm: norm(m, 3) for name, norm in GRADIENT_NORMS.items()},
    }
    for name, loss in LOSSES.items():
        formulas[f"push of {name}"] = lambda m, loss=loss: loss.push(m, 3, *loss.exponent)
    check_formulas_of_a_margin(formulas)
    half = jax.eval_shape(lambda m: formulas["cross-entropy"](m), jnp.float16(1))
    assert half.dtype == jnp.float16


# The gradient in the logits


def test_softmax_jacobian_is_that_of_autodiff_and_keeps_the_digits_of_a_q_next_to_one():
    jacobian, q = jit_once(theory.gradients.softmax_jacobian), np.array([0.98, 0.01, 0.01])
    with jax.enable_x64(True):
        expected = jit_once(jax.jacfwd(jax.nn.softmax))(np.log(q))
        np.testing.assert_allclose(jacobian(q), expected, atol=1e-16)
    received = jacobian(np.array([1.0, 3e-9, 2e-9]))
    np.testing.assert_allclose(np.diag(received), [5e-9, 3e-9, 2e-9], rtol=1e-6)
    np.testing.assert_allclose(received.sum(axis=0), 0, atol=1e-15)


@every_kind_of_target
def test_gradients_of_q_and_p_are_those_of_the_losses(one_hot, float64):
    logits, targets, q, _ = points(one_hot)
    for loss, formula in (
        (losses.softmax_cross_entropy, theory.gradients.cross_entropy_logit_gradient),
        (losses.softmax_brier_score, theory.gradients.brier_score_logit_gradient),
    ):
        received = jit_once(jax.vmap(formula))(q, targets)
        np.testing.assert_allclose(received, gradients(loss, logits, targets), atol=1e-15)


def test_brier_score_raises_exactly_the_wrong_logits_whose_gradient_is_negative(float64):
    logits, targets, q, _ = points(one_hot=True)
    pushes_up = jit_once(jax.vmap(theory.gradients.brier_score_pushes_up, (0, None)))
    received = pushes_up(q, 0)
    gradient = np.array(gradients(losses.softmax_brier_score, logits, targets))
    gradient[:, 0] = 0
    np.testing.assert_array_equal(received, gradient < 0)
    assert 20 < np.sum(received) < 600
    assert not np.any(gradients(losses.softmax_cross_entropy, logits, targets)[:, 1:] < 0)
