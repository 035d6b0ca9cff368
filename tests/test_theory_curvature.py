"""Curvature, and the fit near an interior P, against autodiff, descent and 50-digit arithmetic."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxent import losses, theory
from tests.closed_forms import (
    UNIFORM,
    check_formulas_of_a_margin,
    every_kind_of_target,
    jit_once,
    points,
)


class Fit(NamedTuple):
    """A loss near an interior P, and the eigenvalues of its Hessian as a function of those of J."""

    loss: Callable
    best_step: Callable
    largest_step: Callable
    of_jacobian: Callable


FITS = {
    "cross-entropy": Fit(
        losses.softmax_cross_entropy,
        theory.curvature.cross_entropy_best_fixed_step,
        theory.curvature.cross_entropy_largest_step,
        lambda eigenvalues: eigenvalues,
    ),
    "Brier score": Fit(
        losses.softmax_brier_score,
        theory.curvature.brier_score_best_fixed_step,
        theory.curvature.brier_score_largest_step,
        lambda eigenvalues: 2 * eigenvalues**2,
    ),
}
every_fit = pytest.mark.parametrize("fit", FITS.values(), ids=FITS)

PROBABILITIES = [
    [0.5, 0.5],
    [0.9, 0.09, 0.01],
    [0.98, 0.01, 0.006, 0.004],
    [0.25, 0.25, 0.25, 0.125, 0.125],
    [0.125] * 8,
]


def exact_eigenvalues(p):
    """Those of diag(p) − p pᵀ without the one that is zero, in 50 digits."""
    with mpmath.workdps(50):
        p = mpmath.matrix([mpmath.mpf(value) for value in p])
        eigenvalues = mpmath.eigsy(mpmath.diag(list(p)) - p * p.T, eigvals_only=True)
        return np.sort([float(value) for value in eigenvalues])[1:]


@jit_once
def brier_score_hessians(logits, targets):
    return jax.vmap(jax.hessian(losses.softmax_brier_score))(logits, targets)


def eigenvalues_on_the_simplex(hessian, classes):
    basis = np.linalg.svd(np.ones((1, classes)))[2][1:]
    return np.linalg.eigvalsh(basis @ hessian[:classes, :classes] @ basis.T)


@pytest.fixture(scope="module")
def extreme_eigenvalues():
    """The least and the largest at each of the points, by autodiff."""

    def extremes(logits, targets, _, classes):
        hessians = brier_score_hessians(logits, targets)
        eigenvalues = map(eigenvalues_on_the_simplex, hessians, classes)
        return np.array([ascending[[0, -1]] for ascending in eigenvalues])

    with jax.enable_x64(True):
        return {one_hot: extremes(*points(one_hot)) for one_hot in (True, False)}


@every_kind_of_target
def test_hessian_of_the_brier_score_is_that_of_autodiff(one_hot, float64):
    logits, targets, q, _ = points(one_hot)
    received = jit_once(jax.vmap(theory.curvature.brier_score_hessian))(q, targets)
    np.testing.assert_allclose(received, brier_score_hessians(logits, targets), atol=3e-15)


@every_kind_of_target
def test_brier_score_is_convex_exactly_where_no_eigenvalue_is_negative(
    one_hot, extreme_eigenvalues, float64
):
    _, targets, q, _ = points(one_hot)
    received = jit_once(jax.vmap(theory.curvature.brier_score_is_convex))(q, targets)
    np.testing.assert_array_equal(received, extreme_eigenvalues[one_hot][:, 0] > -1e-15)
    assert 50 < np.sum(received) < 350


def test_brier_score_is_concave_somehow_below_one_third_and_convex_from_one_half(
    extreme_eigenvalues,
):
    _, _, q, _ = points(one_hot=True)
    truth, least = q[:, 0], extreme_eigenvalues[True][:, 0]
    assert np.all(least[truth < 1 / 3] < 0)
    assert np.all(least[truth >= 1 / 2] > -1e-15)
    between = least[(truth > 1 / 3) & (truth < 1 / 2)]
    assert between.min() < -1e-3
    assert between.max() > 1e-3


def test_criterion_of_convexity_holds_where_a_term_of_it_is_zero():
    with jax.debug_nans(True):
        # d = 0 and 1, and a class that cannot happen
        is_convex = jit_once(theory.curvature.brier_score_is_convex)
        assert is_convex(np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0]))
        # d = 0, −¼ and ⅞: moving the first as well, the second keeps the constraint for nothing
        q, p = np.array([1, 2, 13]) / 16, np.array([0, 6, 10]) / 16
        np.testing.assert_array_equal(2 * q - p - q @ (q - p), [0, -0.25, 0.875])
        assert not is_convex(q, p)


def test_uniform_start_has_two_eigenvalues_and_is_concave_on_the_way_from_four_classes(float64):
    logits, targets, _, numbers = points(one_hot=True)
    hessians = brier_score_hessians(logits, targets)
    for index in UNIFORM:
        classes = int(numbers[index])
        hessian = hessians[index, :classes, :classes]
        received = jit_once(theory.curvature.brier_score_uniform_eigenvalues)(classes)
        expected = np.sort([float(received.along)] + [float(received.sideways)] * (classes - 2))
        np.testing.assert_allclose(
            eigenvalues_on_the_simplex(hessian, classes), expected, atol=1e-15
        )
        along = np.append(classes - 1.0, np.full(classes - 1, -1.0))
        np.testing.assert_allclose(hessian @ along, received.along * along, atol=1e-14)
        assert (received.along < 0) == (classes > 3)


def test_smoothness_constants_are_the_extremes_of_the_second_derivative_of_two_classes(float64):
    def along(loss):
        target, direction = np.array([1.0, 0.0]), np.array([1.0, -1.0]) / math.sqrt(2)
        return lambda s: loss(s * direction, target)

    @jit_once
    def second_derivatives(logits):
        return [
            jax.vmap(jax.grad(jax.grad(loss)))(logits)
            for loss in (
                along(losses.softmax_brier_score),
                along(losses.softmax_cross_entropy),
                lambda s: losses.sigmoid_squared_error(s, 1.0),
                lambda s: losses.sigmoid_binary_cross_entropy(s, 1.0),
            )
        ]

    # fine enough for ten digits, because a maximum is flat
    brier, entropy, squared, binary = second_derivatives(np.linspace(-3, 3, 200_001))
    for received, expected in (
        (theory.curvature.BRIER_SCORE_SMOOTHNESS, brier.max()),
        (theory.curvature.BRIER_SCORE_LEAST_CURVATURE, brier.min()),
        (theory.curvature.CROSS_ENTROPY_SMOOTHNESS, entropy.max()),
        (theory.curvature.SIGMOID_SQUARED_ERROR_SMOOTHNESS, squared.max()),
        (theory.curvature.BINARY_CROSS_ENTROPY_SMOOTHNESS, binary.max()),
    ):
        assert received == pytest.approx(float(expected), rel=1e-9)


def test_no_eigenvalue_of_more_classes_goes_beyond_the_smoothness_constants(extreme_eigenvalues):
    found = np.concatenate([*extreme_eigenvalues.values()])
    largest = theory.curvature.BRIER_SCORE_SMOOTHNESS
    least = theory.curvature.BRIER_SCORE_LEAST_CURVATURE
    assert 0.9 * largest < found.max() < largest
    assert least < found.min() < 0.9 * least


# The fit near an interior P


@every_fit
@pytest.mark.parametrize("p", PROBABILITIES)
def test_steps_are_those_of_the_hessian_at_q_equal_to_p_to_twelve_digits(fit, p, float64):
    @jit_once
    def measure(p):
        return jax.hessian(fit.loss)(jnp.log(p), p), fit.best_step(p), fit.largest_step(p)

    hessian, best, largest_step = measure(np.array(p))
    expected = fit.of_jacobian(exact_eigenvalues(p))
    least, most = expected[0], expected[-1]
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian)[1:], expected, rtol=1e-9)
    assert best.condition_number == pytest.approx(most / least, rel=1e-12)
    assert best.learning_rate == pytest.approx(2 / (most + least), rel=1e-12)
    assert best.rate == pytest.approx((most - least) / (most + least), rel=1e-12, abs=1e-12)
    assert largest_step == pytest.approx(2 / most, rel=1e-12)


@partial(jit_once, static_argnums=(0, 4))
def errors_of_descent(loss, logits, p, learning_rate, steps):
    """z − ln p after each of the steps."""

    def step(logits, _):
        logits = logits - learning_rate * jax.grad(loss)(logits, p)
        return logits, logits - jnp.log(p)

    return jax.lax.scan(step, logits, length=steps)[1]


def near(p):
    """Even parts of the slowest and of the fastest direction, and the directions."""
    _, vectors = np.linalg.eigh(jit_once(theory.gradients.softmax_jacobian)(p))
    return np.log(p) + 1e-5 * (vectors[:, 1] + vectors[:, -1]), vectors[:, 1:]


@every_fit
def test_error_of_descent_shrinks_at_the_rate_and_no_other_step_is_better(fit, float64):
    p = np.array([0.9, 0.09, 0.01])
    best, (start, directions) = jit_once(fit.best_step)(p), near(p)

    def rate_of(learning_rate):
        errors = errors_of_descent(fit.loss, start, p, learning_rate, 400)
        errors = np.abs(errors @ directions)
        return np.max((errors[39] / errors[29]) ** (1 / 10))

    best_rate = rate_of(best.learning_rate)
    assert float(best_rate) == pytest.approx(float(best.rate), rel=1e-3)
    assert rate_of(1.05 * best.learning_rate) > best_rate
    assert rate_of(0.95 * best.learning_rate) > best_rate


@every_fit
def test_steps_to_shrink_the_error_are_those_of_descent(fit, float64):
    p = np.array([0.9, 0.09, 0.01])
    best, (start, _) = jit_once(fit.best_step)(p), near(p)
    errors = errors_of_descent(fit.loss, start, p, best.learning_rate, 400)
    errors = np.linalg.norm(errors, axis=1)
    steps = 1 + np.argmax(errors <= np.linalg.norm(start - np.log(p)) / 100)
    received = jit_once(theory.curvature.steps_to_shrink_error)(best.condition_number, 100.0)
    assert int(steps) == pytest.approx(float(received), abs=1.01)


@every_fit
def test_descent_comes_to_p_up_to_the_largest_step_and_leaves_it_past_that(fit, float64):
    p = np.array([0.9, 0.09, 0.01])
    largest, (start, directions) = jit_once(fit.largest_step)(p), near(p)
    below, above = (
        np.abs(errors_of_descent(fit.loss, start, p, factor * largest, 400) @ directions)
        for factor in (0.99, 1.01)
    )
    assert below[-1, -1] < below[0, -1] / 100
    assert above[-1, -1] > above[0, -1] * 10


def test_a_sure_p_holds_any_step():
    for fit in FITS.values():
        assert jit_once(fit.largest_step)(np.array([1.0, 0.0, 0.0])) == jnp.inf


def test_descent_on_cross_entropy_settles_on_the_two_cycle(float64):
    p, start = np.array([0.5, 0.5]), np.array([0.3, -0.3])
    for rate in (3.5, 4.5, 6.0, 10.0):
        errors = errors_of_descent(losses.softmax_cross_entropy, start, p, rate, 400)
        gaps = errors[-2:, 0] - errors[-2:, 1]
        received = jit_once(theory.curvature.cross_entropy_two_cycle_gap)(rate)
        np.testing.assert_allclose(np.abs(gaps), received, rtol=1e-9, atol=1e-9)
        assert received == 0 or gaps[0] * gaps[1] < 0


def test_gap_of_the_two_cycle_solves_its_equation_from_the_threshold_to_huge_steps(float64):
    rates = np.array([4 + 1e-6, 4.3, 9.0, 1e3, 1e9, 0.0, 3.0, 4.0])
    received = jit_once(theory.curvature.cross_entropy_two_cycle_gap)(rates)
    # From above, where the equation pulls toward the root.
    for rate, gap in zip(rates[:5], received[:5], strict=True):
        with mpmath.workdps(40):
            half = mpmath.mpf(float(rate)) / 2
            expected = mpmath.findroot(
                lambda g, half=half: g - half * mpmath.tanh(g / 2), float(gap)
            )
        assert float(gap) == pytest.approx(float(expected), rel=1e-9)
    assert received[0] == pytest.approx(math.sqrt(3e-6), rel=1e-5)
    np.testing.assert_array_equal(received[5:], 0)


def test_formula_of_the_two_cycle_works_on_arrays_and_has_a_derivative():
    gap = theory.curvature.cross_entropy_two_cycle_gap
    check_formulas_of_a_margin({"gap": lambda above: gap(4 + above)})


def test_steps_to_shrink_error_keep_their_digits_where_the_rate_rounds_to_one():
    expected = mpmath.log(1000) / (mpmath.log(mpmath.mpf(10) ** 9 + 1) - mpmath.log(10**9 - 1))
    received = jit_once(theory.curvature.steps_to_shrink_error)(1e9, 1000.0)
    np.testing.assert_allclose(received, float(expected), rtol=1e-6)


def test_fit_formulas_work_under_jit_vmap_and_grad(float64):
    p = np.array([[0.6, 0.3, 0.1], [0.9, 0.09, 0.01]])
    received = jit_once(jax.vmap(theory.curvature.brier_score_best_fixed_step))(p)
    of_one = jit_once(theory.curvature.brier_score_best_fixed_step)
    np.testing.assert_allclose(received.rate, [of_one(row).rate for row in p])

    @jit_once
    @jax.vmap
    @jax.value_and_grad
    def condition_numbers(p):
        return theory.curvature.cross_entropy_best_fixed_step(p).condition_number

    direction = np.array([1.0, -2.0, 1.0])
    near_p = p[0] + np.array([[-1e-6], [0.0], [1e-6]]) * direction
    (below, _, above), slopes = condition_numbers(near_p)
    assert float(slopes[1] @ direction) == pytest.approx(float(above - below) / 2e-6, rel=1e-6)
