"""The closed forms against 50-digit arithmetic, quadrature, differential equations and autodiff."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate

from jaxent import theory

MARGINS = [-60.0, -20.0, -3.0, 0.0, 0.7, 5.0, 20.0, 60.0]
CLASSES = [2, 3, 10, 1000]


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def cross_entropy(logits, target):
    return -jnp.sum(target * jax.nn.log_softmax(logits))


def brier_score(logits, target):
    return jnp.sum((jax.nn.softmax(logits) - target) ** 2)


def logit_squared_error(logits, target):
    return jnp.sum((logits - target) ** 2)


SOFTMAX_LOSSES = {"cross-entropy": cross_entropy, "Brier score": brier_score}
GRADIENT_NORMS = {
    "cross-entropy": theory.cross_entropy_gradient_norm,
    "Brier score": theory.brier_score_gradient_norm,
}
ESCAPE_TIMES = {
    "cross-entropy": theory.cross_entropy_escape_time,
    "Brier score": theory.brier_score_escape_time,
}
ESCAPE_STEPS = {
    "cross-entropy": theory.cross_entropy_escape_steps,
    "Brier score": theory.brier_score_escape_steps,
}
BEST_STEPS = {
    "cross-entropy": theory.cross_entropy_best_fixed_step,
    "Brier score": theory.brier_score_best_fixed_step,
}

every_softmax_loss = pytest.mark.parametrize("name", SOFTMAX_LOSSES)


def start(margin, classes):
    """Class 0 is the truth, and stands `margin` behind each of the others."""
    return jnp.full(classes, margin).at[0].set(0.0), jnp.zeros(classes).at[0].set(1.0)


def exact_gradient_norm(name, margin, classes):
    """The Euclidean norm of the whole gradient vector, from its definition, in 50 digits."""
    with mpmath.workdps(50):
        odds = mpmath.exp(mpmath.mpf(margin))
        total = 1 + (classes - 1) * odds
        q_true, q_wrong = 1 / total, odds / total
        residual_true, residual_wrong = -(classes - 1) * odds / total, q_wrong
        if name == "Brier score":
            mean = q_true * residual_true + (classes - 1) * q_wrong * residual_wrong
            residual_true = 2 * q_true * (residual_true - mean)
            residual_wrong = 2 * q_wrong * (residual_wrong - mean)
        return float(mpmath.sqrt(residual_true**2 + (classes - 1) * residual_wrong**2))


def speed_of_the_gap(loss, gap, classes):
    gradient = jax.grad(loss)(*start(-gap, classes))
    return gradient[1] - gradient[0]


def measured_escape_steps(loss, margin, classes, learning_rate):
    """Descent, one step at a time, to the tie; the crossing interpolated linearly."""
    logits, target = start(margin, classes)

    def step(state):
        _, logits, count = state
        return logits, logits - learning_rate * jax.grad(loss)(logits, target), count + 1

    before, after, count = jax.jit(
        lambda logits: jax.lax.while_loop(
            lambda state: state[1][0] < state[1].max(), step, (logits, logits, 0)
        )
    )(logits)
    gap_before, gap_after = before[0] - before[1], after[0] - after[1]
    return float(count - 1 + gap_before / (gap_before - gap_after))


def exact_eigenvalues(p):
    """Those of diag(p) − p pᵀ without the one that is zero, in 50 digits."""
    with mpmath.workdps(50):
        p = mpmath.matrix([mpmath.mpf(value) for value in p])
        eigenvalues = mpmath.eigsy(mpmath.diag(list(p)) - p * p.T, eigvals_only=True)
        return sorted(float(value) for value in eigenvalues)[1:]


# Gradient norms


@pytest.mark.parametrize("classes", CLASSES)
def test_probability_of_the_truth_keeps_its_digits_at_both_ends(classes):
    received = jax.jit(theory.true_class_probability)(jnp.array(MARGINS), classes)
    expected = [float(1 / (1 + (classes - 1) * mpmath.exp(margin))) for margin in MARGINS]
    np.testing.assert_allclose(received, expected, rtol=1e-6)


@every_softmax_loss
@pytest.mark.parametrize("classes", CLASSES)
def test_gradient_norm_keeps_its_digits_in_float32_at_every_margin(name, classes):
    received = jax.jit(GRADIENT_NORMS[name])(jnp.array(MARGINS), classes)
    expected = [exact_gradient_norm(name, margin, classes) for margin in MARGINS]
    assert received.dtype == jnp.float32
    # Below 1e-38 float32 flushes to zero.
    np.testing.assert_allclose(received, expected, rtol=2e-6, atol=1e-37)


@every_softmax_loss
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_gradient_norm_is_that_of_autodiff(name, classes, float64):
    gradient = jax.jit(jax.grad(SOFTMAX_LOSSES[name]))
    for margin in (-4.0, 0.0, 4.0):
        expected = np.linalg.norm(gradient(*start(margin, classes)))
        received = GRADIENT_NORMS[name](margin, classes)
        np.testing.assert_allclose(received, expected, rtol=1e-12)


@every_softmax_loss
@pytest.mark.parametrize("margin", [-4.0, 0.0, 4.0])
def test_two_classes_stand_for_wrong_mass_on_one_of_many(name, margin, float64):
    logits = jnp.array([0.0, margin, -jnp.inf, -jnp.inf])
    target = jnp.array([1.0, 0.0, 0.0, 0.0])
    q = jax.nn.softmax(logits)
    gradient = q - target
    if name == "Brier score":
        gradient = 2 * q * (gradient - q @ gradient)
    expected = jnp.linalg.norm(gradient)
    np.testing.assert_allclose(GRADIENT_NORMS[name](margin, 2), expected, rtol=1e-12)


def test_mean_squared_error_has_the_gradient_norm_of_the_brier_score_over_the_classes(float64):
    def mean_squared_error(logits, target):
        return jnp.mean((jax.nn.softmax(logits) - target) ** 2)

    expected = np.linalg.norm(jax.jit(jax.grad(mean_squared_error))(*start(2.0, 5)))
    received = theory.brier_score_gradient_norm(2.0, 5) / 5
    np.testing.assert_allclose(received, expected, rtol=1e-12)


@pytest.mark.parametrize("classes", CLASSES)
def test_ratio_of_gradient_norms_is_exact_and_vanishes_at_both_ends(classes):
    received = theory.gradient_norm_ratio(jnp.array(MARGINS), classes)
    expected = [
        exact_gradient_norm("Brier score", margin, classes)
        / exact_gradient_norm("cross-entropy", margin, classes)
        for margin in MARGINS
    ]
    np.testing.assert_allclose(received, expected, rtol=2e-6)
    assert received[0] < 1e-20
    assert received[-1] < 1e-20


@pytest.mark.parametrize("classes", CLASSES)
def test_brier_score_pushes_hardest_at_one_third(classes, float64):
    margin_of_one_third = np.log(2 / (classes - 1))
    near, at, beyond = (
        exact_gradient_norm("Brier score", margin_of_one_third + shift, classes)
        for shift in (-1e-3, 0.0, 1e-3)
    )
    assert at > max(near, beyond)
    assert theory.largest_brier_score_gradient_norm(classes) == pytest.approx(at, rel=1e-13)
    assert theory.true_class_probability(margin_of_one_third, classes) == pytest.approx(1 / 3)


# Escape


@every_softmax_loss
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("margin", [0.5, 4.0, 12.0])
def test_escape_time_is_the_integral_of_one_over_the_speed(name, classes, margin, float64):
    slowness = jax.jit(lambda gap: 1 / speed_of_the_gap(SOFTMAX_LOSSES[name], gap, classes))
    expected, _ = integrate.quad(lambda gap: float(slowness(gap)), -margin, 0.0, epsrel=1e-10)
    np.testing.assert_allclose(ESCAPE_TIMES[name](margin, classes), expected, rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 5])
def test_flow_on_the_brier_score_is_at_the_tie_after_the_escape_time(classes, float64):
    logits, target = start(3.0, classes)
    flow = jax.jit(lambda time, logits: -jax.grad(brier_score)(logits, target))
    time = float(theory.brier_score_escape_time(3.0, classes))
    solution = integrate.solve_ivp(flow, (0.0, time), logits, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solution.y[:, -1], solution.y[0, -1], atol=1e-8)


@pytest.mark.parametrize("name", ESCAPE_TIMES)
@pytest.mark.parametrize("classes", [2, 1000])
def test_escape_time_keeps_its_digits_in_float32(name, classes):
    margins = [1e-6, 1e-2, 1.0, 10.0, 80.0]
    received = ESCAPE_TIMES[name](jnp.array(margins), classes)
    for margin, value in zip(jnp.array(margins), received, strict=True):
        with mpmath.workdps(50):
            m, wrong = mpmath.mpf(float(margin)), classes - 1
            if name == "cross-entropy":
                expected = (1 - mpmath.exp(-m) + wrong * m) / classes
            else:
                # ∫ (K + e^g)³ e^{−g} dg / (2C²), term by term of the binomial.
                expected = (
                    (1 - mpmath.exp(-2 * m)) / 2
                    + 3 * wrong * (1 - mpmath.exp(-m))
                    + 3 * wrong**2 * m
                    + wrong**3 * (mpmath.exp(m) - 1)
                ) / (2 * classes**2)
        np.testing.assert_allclose(value, float(expected), rtol=1e-6)


@pytest.mark.parametrize("offset", [-3.0, 0.0, 50.0])
def test_escape_on_raw_logits_asks_neither_for_the_offset_nor_for_the_other_classes(
    offset, float64
):
    target = jnp.array([1.0, 0.0, 0.0])
    flow = jax.jit(lambda _, logits: -jax.grad(logit_squared_error)(logits, target))
    time = float(theory.logit_squared_error_escape_time(6.0))
    for logits in ([0.0, 6.0, 6.0], [0.0, 6.0, -2.0]):
        solution = integrate.solve_ivp(
            flow, (0.0, time), np.array(logits) + offset, rtol=1e-10, atol=1e-12
        )
        assert solution.y[0, -1] == pytest.approx(solution.y[1, -1], abs=1e-7)


@every_softmax_loss
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("margin", [0.5, 3.0, 7.0])
def test_discrete_correction_predicts_the_steps_to_a_fiftieth(name, classes, margin, float64):
    rate = 0.1
    received = ESCAPE_STEPS[name](margin, classes, rate)
    expected = measured_escape_steps(SOFTMAX_LOSSES[name], margin, classes, rate)
    assert float(received) == pytest.approx(expected, abs=0.02)


@every_softmax_loss
def test_error_of_the_predicted_steps_is_of_first_order_in_the_learning_rate(name, float64):
    errors = [
        abs(
            float(ESCAPE_STEPS[name](5.0, 3, rate))
            - measured_escape_steps(SOFTMAX_LOSSES[name], 5.0, 3, rate)
        )
        for rate in (0.1, 0.01)
    ]
    assert errors[1] < errors[0] / 4


@pytest.mark.parametrize("margin", [0.3, 4.0, 11.0])
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 2.0])
def test_steps_on_raw_logits_are_exact_at_every_learning_rate(margin, rate, float64):
    received = theory.logit_squared_error_escape_steps(margin, rate)
    expected = measured_escape_steps(logit_squared_error, margin, 3, rate)
    assert float(received) == pytest.approx(expected, rel=1e-9)


def test_steps_on_raw_logits_are_whole_where_a_step_ends_at_the_tie(float64):
    # (1 + m) (1 − 2η)ⁿ = 1 at n = 3 for m = 7, η = 1/4.
    assert float(theory.logit_squared_error_escape_steps(7.0, 0.25)) == pytest.approx(3, abs=1e-12)


def test_no_margin_takes_no_time():
    for escape in ESCAPE_TIMES.values():
        assert escape(0.0, 5) == 0
    for steps in ESCAPE_STEPS.values():
        assert steps(0.0, 5, 0.1) == 0
    assert theory.logit_squared_error_escape_time(0.0) == 0
    assert theory.logit_squared_error_escape_steps(0.0, 0.1) == 0


# The fit near an interior P

SKEWED = [
    [0.5, 0.5],
    [0.9, 0.09, 0.01],
    [0.98, 0.01, 0.006, 0.004],
    [0.25, 0.25, 0.25, 0.125, 0.125],
]


@pytest.mark.parametrize("p", SKEWED)
def test_softmax_jacobian_is_that_of_autodiff(p, float64):
    p = jnp.array(p)
    expected = jax.jit(jax.jacfwd(jax.nn.softmax))(jnp.log(p))
    np.testing.assert_allclose(theory.softmax_jacobian(p), expected, atol=1e-16)


def test_softmax_jacobian_keeps_the_digits_of_a_q_next_to_one():
    q = jnp.array([1.0, 3e-9, 2e-9])
    received = theory.softmax_jacobian(q)
    np.testing.assert_allclose(jnp.diag(received), [5e-9, 3e-9, 2e-9], rtol=1e-6)
    np.testing.assert_allclose(received.sum(axis=0), 0, atol=1e-15)


@pytest.mark.parametrize("p", SKEWED)
def test_eigenvalues_of_the_softmax_jacobian_keep_twelve_digits(p, float64):
    received = theory.softmax_jacobian_eigenvalues(jnp.array(p))
    np.testing.assert_allclose(received, exact_eigenvalues(p), rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_a_uniform_p_has_condition_number_one(classes, float64):
    best = theory.cross_entropy_best_fixed_step(jnp.full(classes, 1 / classes))
    assert best.condition_number == pytest.approx(1)
    assert best.rate == pytest.approx(0, abs=1e-12)
    assert best.learning_rate == pytest.approx(classes)


@every_softmax_loss
@pytest.mark.parametrize("p", SKEWED)
def test_condition_number_is_that_of_the_hessian_at_q_equal_to_p(name, p, float64):
    p = jnp.array(p)
    hessian = jax.jit(jax.hessian(SOFTMAX_LOSSES[name]))(jnp.log(p), p)
    eigenvalues = np.linalg.eigvalsh(hessian)
    smallest, largest = eigenvalues[1], eigenvalues[-1]
    best = BEST_STEPS[name](p)
    assert best.condition_number == pytest.approx(largest / smallest, rel=1e-9)
    assert best.learning_rate == pytest.approx(2 / (largest + smallest), rel=1e-9)


@every_softmax_loss
def test_error_of_descent_shrinks_at_the_rate_and_no_other_step_is_better(name, float64):
    p = jnp.array([0.9, 0.09, 0.01])
    best = BEST_STEPS[name](p)
    gradient = jax.grad(SOFTMAX_LOSSES[name])
    # Even parts of the slowest and of the fastest direction.
    _, vectors = jnp.linalg.eigh(theory.softmax_jacobian(p))
    near = jnp.log(p) + 1e-5 * (vectors[:, 1] + vectors[:, -1])

    @jax.jit
    def rate_of(learning_rate):
        def step(logits, _):
            logits = logits - learning_rate * gradient(logits, p)
            return logits, jnp.abs((logits - jnp.log(p)) @ vectors[:, 1:])

        _, errors = jax.lax.scan(step, near, length=40)
        return jnp.max((errors[39] / errors[29]) ** (1 / 10))

    best_rate = rate_of(best.learning_rate)
    assert float(best_rate) == pytest.approx(float(best.rate), rel=1e-3)
    assert rate_of(1.05 * best.learning_rate) > best_rate
    assert rate_of(0.95 * best.learning_rate) > best_rate


@every_softmax_loss
def test_steps_to_shrink_the_error_are_those_of_descent(name, float64):
    p = jnp.array([0.9, 0.09, 0.01])
    best = BEST_STEPS[name](p)
    _, vectors = jnp.linalg.eigh(theory.softmax_jacobian(p))
    logits = jnp.log(p) + 1e-5 * (vectors[:, 1] + vectors[:, -1])
    first = jnp.linalg.norm(logits - jnp.log(p))
    steps = 0
    gradient = jax.jit(jax.grad(SOFTMAX_LOSSES[name]))
    while jnp.linalg.norm(logits - jnp.log(p)) > first / 100:
        logits = logits - best.learning_rate * gradient(logits, p)
        steps += 1
    received = theory.steps_to_shrink_error(best.condition_number, 100.0)
    assert steps == pytest.approx(float(received), abs=1.01)


def test_steps_to_shrink_error_keep_their_digits_where_the_rate_rounds_to_one():
    expected = mpmath.log(1000) / (mpmath.log(mpmath.mpf(10) ** 9 + 1) - mpmath.log(10**9 - 1))
    received = theory.steps_to_shrink_error(1e9, 1000.0)
    np.testing.assert_allclose(received, float(expected), rtol=1e-6)


# Transformations

OF_A_MARGIN = {
    "true_class_probability": lambda m: theory.true_class_probability(m, 3),
    "cross_entropy_gradient_norm": lambda m: theory.cross_entropy_gradient_norm(m, 3),
    "brier_score_gradient_norm": lambda m: theory.brier_score_gradient_norm(m, 3),
    "gradient_norm_ratio": lambda m: theory.gradient_norm_ratio(m, 3),
    "cross_entropy_escape_time": lambda m: theory.cross_entropy_escape_time(m, 3),
    "brier_score_escape_time": lambda m: theory.brier_score_escape_time(m, 3),
    "logit_squared_error_escape_time": theory.logit_squared_error_escape_time,
    "cross_entropy_escape_steps": lambda m: theory.cross_entropy_escape_steps(m, 3, 0.1),
    "brier_score_escape_steps": lambda m: theory.brier_score_escape_steps(m, 3, 0.1),
    "logit_squared_error_escape_steps": lambda m: theory.logit_squared_error_escape_steps(m, 0.1),
}


@pytest.mark.parametrize("name", OF_A_MARGIN)
def test_derivative_with_respect_to_the_margin_is_the_central_difference(name, float64):
    margins = jnp.array([1e-3, 2.0, 30.0])
    received = jax.jit(jax.vmap(jax.grad(OF_A_MARGIN[name])))(margins)
    above, below = (OF_A_MARGIN[name](margins + step) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(received, (above - below) / 2e-6, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", OF_A_MARGIN)
def test_formulas_work_on_arrays_and_under_every_check_of_jax(name):
    margins = jnp.array([[0.0, 1.0], [5.0, 20.0]])
    expected = [[OF_A_MARGIN[name](margin) for margin in row] for row in margins]
    with (
        jax.debug_nans(True),
        jax.numpy_rank_promotion("raise"),
        jax.checking_leaks(),
    ):
        received = jax.jit(OF_A_MARGIN[name])(margins)
        np.testing.assert_allclose(jax.vmap(OF_A_MARGIN[name])(margins), received, rtol=1e-6)
    np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_classes_may_be_an_array_and_margins_integers():
    received = theory.brier_score_escape_time(2, jnp.array([2, 3]))
    expected = [theory.brier_score_escape_time(2.0, classes) for classes in (2, 3)]
    np.testing.assert_allclose(received, expected)
    assert theory.cross_entropy_gradient_norm(jnp.float16(1.0), 1000).dtype == jnp.float16


def test_fit_formulas_work_under_jit_vmap_and_grad(float64):
    p = jnp.array([[0.6, 0.3, 0.1], [0.9, 0.09, 0.01]])
    received = jax.jit(jax.vmap(theory.brier_score_best_fixed_step))(p)
    expected = [theory.brier_score_best_fixed_step(row) for row in p]
    np.testing.assert_allclose(received.rate, [best.rate for best in expected])

    def condition_number(p):
        return theory.cross_entropy_best_fixed_step(p).condition_number

    direction = jnp.array([1.0, -2.0, 1.0])
    gradient = jax.grad(condition_number)(p[0]) @ direction
    above, below = (condition_number(p[0] + step * direction) for step in (1e-6, -1e-6))
    assert gradient == pytest.approx(float((above - below) / 2e-6), rel=1e-6)
