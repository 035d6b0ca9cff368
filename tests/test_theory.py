"""The closed forms against 50-digit arithmetic, quadrature, differential equations and autodiff."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, special, stats

from jaxent import information, losses, theory
from tests.leaks import checking_leaks

MARGINS = np.array([-60.0, -20.0, -3.0, 0.0, 0.7, 5.0, 20.0, 60.0])
CLASSES = np.array([2.0, 3.0, 10.0, 1000.0])
GRID = np.linspace(-30, 30, 13)[:, None], np.array([2.0, 3.0, 10.0])
MOST = 10  # classes in a batch of mistakes; fewer are padded with classes that cannot happen


@cache
def jit_once(function, **options):
    """The function compiled, with results in NumPy.

    Compiling is what takes time here: it is done with less care, once for a function, and for all
    the exponents that are bound to it.
    """
    if isinstance(function, partial) and not function.args:
        return partial(jit_once(function.func, **options), **function.keywords)
    compiled = jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
    return lambda *args, **kwargs: jax.tree.map(np.asarray, compiled(*args, **kwargs))


class Law(NamedTuple):
    """A loss of a softmax; what it is told of a, 1 − a, K and C in 50 digits; what theory says."""

    loss: Callable
    slope: Callable  # −dL/da of a one-hot target, wrong mass even
    push: Callable
    time: Callable
    steps: Callable


def generalized(exponent):
    return Law(
        partial(losses.generalized_cross_entropy, exponent=exponent),
        lambda a, rest, wrong: a ** (exponent - 1),
        partial(theory.generalized_cross_entropy_push, exponent=exponent),
        partial(theory.generalized_cross_entropy_escape_time, exponent=exponent),
        partial(theory.generalized_cross_entropy_escape_steps, exponent=exponent),
    )


def focal(gamma):
    return Law(
        partial(losses.softmax_focal_loss, gamma=gamma),
        lambda a, rest, wrong: rest**gamma / a - gamma * rest ** (gamma - 1) * mpmath.log(a),
        partial(theory.focal_loss_push, gamma=gamma),
        partial(theory.focal_loss_escape_time, gamma=gamma),
        partial(theory.focal_loss_escape_steps, gamma=gamma),
    )


LAWS = {
    "cross-entropy": Law(
        losses.softmax_cross_entropy,
        lambda a, rest, wrong: 1 / a,
        theory.cross_entropy_push,
        theory.cross_entropy_escape_time,
        theory.cross_entropy_escape_steps,
    ),
    "Brier score": Law(
        losses.softmax_brier_score,
        lambda a, rest, wrong: 2 * rest * (wrong + 1) / wrong,
        theory.brier_score_push,
        theory.brier_score_escape_time,
        theory.brier_score_escape_steps,
    ),
    "mean absolute error": Law(
        losses.softmax_mean_absolute_error,
        lambda a, rest, wrong: mpmath.mpf(2) / (wrong + 1),
        theory.mean_absolute_error_push,
        theory.mean_absolute_error_escape_time,
        theory.mean_absolute_error_escape_steps,
    ),
    "generalised cross-entropy 0.5": generalized(0.5),
    "focal loss 2": focal(2.0),
}
OTHER_EXPONENTS = {
    "generalised cross-entropy 0": generalized(0.0),
    "generalised cross-entropy 0.7": generalized(0.7),
    "generalised cross-entropy 1": generalized(1.0),
    "focal loss 0": focal(0.0),
    "focal loss 5": focal(5.0),
}
GRADIENT_NORMS = {
    "cross-entropy": theory.cross_entropy_gradient_norm,
    "Brier score": theory.brier_score_gradient_norm,
}
BEST_STEPS = {
    "cross-entropy": theory.cross_entropy_best_fixed_step,
    "Brier score": theory.brier_score_best_fixed_step,
}
LARGEST_STEPS = {
    "cross-entropy": theory.cross_entropy_largest_step,
    "Brier score": theory.brier_score_largest_step,
}

every_law = pytest.mark.parametrize("name", LAWS)
every_softmax_loss = pytest.mark.parametrize("name", GRADIENT_NORMS)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def gradient(loss, logits, targets):
    """dL/dz of a batch; classes at −inf are no classes, also for a mean over them."""
    return jax.grad(lambda z: loss(z, targets, where=logits > -jnp.inf).sum())(logits)


gradients = jit_once(gradient, static_argnums=0)


@partial(jit_once, static_argnums=0)
def gradient_of_one(loss, logits, target):
    return jax.grad(loss)(logits, target)


def mistakes(margins, classes):
    """Class 0 is the truth, and stands `margin` behind each of the others; [..., MOST]."""
    margins, classes = np.broadcast_arrays(margins, classes)
    number = np.arange(MOST)
    logits = np.where(number == 0, 0.0, margins[..., None])
    return np.where(number < classes[..., None], logits, -np.inf), np.eye(MOST)[0] + 0 * logits


def probabilities_of_a_mistake(margin, classes):
    """a, 1 − a and K, in the precision of mpmath."""
    wrong, odds = int(classes) - 1, mpmath.exp(mpmath.mpf(float(margin)))
    return 1 / (1 + wrong * odds), wrong * odds / (1 + wrong * odds), wrong


def exact_push(law, margin, classes):
    a, rest, wrong = probabilities_of_a_mistake(margin, classes)
    return law.slope(a, rest, wrong) * a * rest


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


def exact_time(law, margin, classes, end=0.0):
    """∫ ds/g′ between two margins, by mpmath."""
    panels = mpmath.linspace(end, margin, 2 + int(abs(margin - end) / 5))
    share = mpmath.mpf(int(classes) - 1) / int(classes)
    push = partial(exact_push, law, classes=classes)
    integral: Any = mpmath.quad(lambda s: 1 / push(margin=s), panels, maxdegree=6)
    return float(share * integral)


def on_a_grid(function, margins, classes):
    return np.array([[float(function(m, c)) for c in classes] for m in margins])


@partial(jit_once, static_argnums=0)
def steps_to_the_tie(loss, logits, targets, rates):
    """Descent of a batch, one step at a time; the crossing interpolated linearly."""

    def gap(logits):
        return logits[..., 0] - logits[..., 1]

    def step(state):
        logits, count, crossings = state
        moved = logits - rates[..., None] * gradient(loss, logits, targets)
        crossing = count + gap(logits) / (gap(logits) - gap(moved))
        crossings = jnp.where((gap(logits) < 0) & (gap(moved) >= 0), crossing, crossings)
        return moved, count + 1, crossings

    state = logits, 0, jnp.full(rates.shape, jnp.inf)
    return jax.lax.while_loop(lambda state: jnp.any(jnp.isinf(state[2])), step, state)[2]


def solve(velocity, start, time, **options):
    """The flow of a velocity, by SciPy's adaptive Runge–Kutta, to twelve digits or so."""
    return integrate.solve_ivp(
        lambda _, x: velocity(x),
        (0.0, float(time)),
        start,
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
        **options,
    )


def flow_of(loss, target):
    return lambda logits: -gradient_of_one(loss, logits, target)


def exact_eigenvalues(p):
    """Those of diag(p) − p pᵀ without the one that is zero, in 50 digits."""
    with mpmath.workdps(50):
        p = mpmath.matrix([mpmath.mpf(value) for value in p])
        eigenvalues = mpmath.eigsy(mpmath.diag(list(p)) - p * p.T, eigvals_only=True)
        return sorted(float(value) for value in eigenvalues)[1:]


# Gradient norms


def test_probability_of_the_truth_keeps_its_digits_at_both_ends():
    received = jit_once(theory.true_class_probability)(MARGINS[:, None], CLASSES)
    expected = on_a_grid(lambda m, c: probabilities_of_a_mistake(m, c)[0], MARGINS, CLASSES)
    np.testing.assert_allclose(received, expected, rtol=1e-6)


@every_softmax_loss
def test_gradient_norm_keeps_its_digits_in_float32_at_every_margin(name):
    received = jit_once(GRADIENT_NORMS[name])(MARGINS[:, None], CLASSES)
    expected = on_a_grid(partial(exact_gradient_norm, name), MARGINS, CLASSES)
    assert received.dtype == jnp.float32
    # Below 1e-38 float32 flushes to zero.
    np.testing.assert_allclose(received, expected, rtol=2e-6, atol=1e-37)


@every_softmax_loss
def test_gradient_norm_is_that_of_autodiff(name, float64):
    expected = np.linalg.norm(gradients(LAWS[name].loss, *mistakes(*GRID)), axis=-1)
    np.testing.assert_allclose(jit_once(GRADIENT_NORMS[name])(*GRID), expected, rtol=1e-12)


@every_softmax_loss
@pytest.mark.parametrize("margin", [-4.0, 0.0, 4.0])
def test_two_classes_stand_for_wrong_mass_on_one_of_many(name, margin, float64):
    q = np.exp([0.0, margin, -np.inf, -np.inf])
    q /= q.sum()
    gradient = q - np.eye(4)[0]
    if name == "Brier score":
        gradient = 2 * q * (gradient - q @ gradient)
    expected = np.linalg.norm(gradient)
    np.testing.assert_allclose(jit_once(GRADIENT_NORMS[name])(margin, 2), expected, rtol=1e-12)


def test_mean_squared_error_has_the_gradient_norm_of_the_brier_score_over_the_classes(float64):
    slopes = gradients(losses.softmax_mean_squared_error, *mistakes(*GRID))
    received = jit_once(theory.brier_score_gradient_norm)(*GRID) / GRID[1]
    np.testing.assert_allclose(received, np.linalg.norm(slopes, axis=-1), rtol=1e-12)


def test_ratio_of_gradient_norms_is_exact_and_vanishes_at_both_ends():
    received = jit_once(theory.gradient_norm_ratio)(MARGINS[:, None], CLASSES)
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
    largest = jit_once(theory.largest_brier_score_gradient_norm)(classes)
    assert largest == pytest.approx(at, rel=1e-13)
    truth = jit_once(theory.true_class_probability)(margin_of_one_third, classes)
    assert truth == pytest.approx(1 / 3)


# How hard the true logit is pushed


@every_law
def test_push_is_minus_the_gradient_at_the_true_logit(name, float64):
    expected = -gradients(LAWS[name].loss, *mistakes(*GRID))[..., 0]
    np.testing.assert_allclose(jit_once(LAWS[name].push)(*GRID), expected, rtol=1e-12)


@every_law
def test_push_keeps_its_digits_in_float32_at_every_margin(name):
    classes = np.array([2.0, 10.0, 10_001.0])
    received = jit_once(LAWS[name].push)(MARGINS[:, None], classes)
    expected = on_a_grid(partial(exact_push, LAWS[name]), MARGINS, classes)
    assert received.dtype == jnp.float32
    np.testing.assert_allclose(received, expected, rtol=3e-6, atol=1e-37)


@every_law
def test_spread_of_the_wrong_mass_matters_to_the_push_of_the_brier_score_alone(name, float64):
    logits, targets = mistakes(np.zeros((13, 1)), np.full(3, 4))
    logits += np.random.default_rng(0).normal(0.0, 2.0, logits.shape)
    q = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    truth, rest, beta = q[..., 0], q[..., 1:].sum(axis=-1), np.sum(q[..., 1:] ** 2, axis=-1)
    expected = -gradients(LAWS[name].loss, logits, targets)[..., 0]
    received = jit_once(LAWS[name].push)(np.log(rest / truth / 3), np.full(3, 4.0))
    if name == "Brier score":
        assert np.all(received < expected)  # even is the least of all
        received = 2 * truth * (rest**2 + beta)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_root_of_a_probability_below_float32_still_pushes():
    assert jit_once(theory.true_class_probability)(120.0, 2) == 0
    received = jit_once(theory.generalized_cross_entropy_push)(120.0, 2, 0.5)
    np.testing.assert_allclose(received, math.exp(-60), rtol=1e-5)


def test_push_of_the_focal_loss_has_a_derivative_where_the_rest_underflows():
    slopes = jit_once(jax.vmap(jax.grad(theory.focal_loss_push), (0, None, None)))
    np.testing.assert_array_equal(slopes(np.array([-200.0, 200.0]), 3.0, 0.5), 0)


# Escape


@pytest.mark.parametrize("name", LAWS | OTHER_EXPONENTS)
def test_escape_time_is_the_integral_of_one_over_the_speed(name, float64):
    law = (LAWS | OTHER_EXPONENTS)[name]
    margins, classes = np.array([0.25, 5.0, 30.0]), np.array([2.0, 10_000.0])
    received = jit_once(law.time)(margins[:, None], classes)
    expected = on_a_grid(partial(exact_time, law), margins, classes)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_quadrature_holds_ten_digits_for_margins_to_a_hundred(float64):
    for name in ("mean absolute error", "focal loss 2"):
        expected = exact_time(LAWS[name], 100.0, 2)
        received = jit_once(partial(theory.escape_time, LAWS[name].push))(100.0, 2)
        assert float(received) == pytest.approx(expected, rel=1e-10)


def test_flow_on_the_brier_score_is_at_the_tie_after_the_escape_time(float64):
    time = jit_once(theory.brier_score_escape_time)(3.0, 5)
    flow = flow_of(losses.softmax_brier_score, np.eye(5)[0])
    end = solve(flow, [0.0, 3.0, 3.0, 3.0, 3.0], time).y[:, -1]
    np.testing.assert_allclose(end, end[0], atol=1e-9)


@pytest.mark.parametrize("name", ["cross-entropy", "Brier score", "mean absolute error"])
def test_escape_time_keeps_its_digits_in_float32(name):
    # 2 and 1001 classes, for which K is exact in float32 and in float64
    margins, classes = np.array([2**-20, 2**-7, 1.0, 10.0, 70.0]), np.array([2.0, 1001.0])
    received = jit_once(LAWS[name].time)(margins[:, None], classes)
    expected = on_a_grid(partial(exact_time, LAWS[name]), margins, classes)
    assert received.dtype == jnp.float32
    np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_time_of_generalised_cross_entropy_overflows_no_earlier_than_it_must():
    # K^{γ+1} e^{γm}/(γ C), with γ = 1
    received = jit_once(theory.generalized_cross_entropy_escape_time)(88.0, 2, 1.0)
    np.testing.assert_allclose(received, math.exp(88) / 2, rtol=1e-5)


def test_huge_margins_are_linear_for_the_focal_loss_as_for_cross_entropy(float64):
    later, sooner = jit_once(theory.focal_loss_escape_time)(np.array([1e4, 1e3]), 3, 2.0)
    assert later - sooner == pytest.approx(9000 * 2 / 3, rel=1e-4)


def test_escape_time_of_a_push_of_ones_own_is_its_integral(float64):
    escape_time = partial(theory.escape_time, lambda s, classes: jnp.exp(-s) / classes)
    received = jit_once(escape_time)(10.0, 4)
    assert float(received) == pytest.approx(3 * math.expm1(10.0), rel=1e-13)


@pytest.mark.parametrize("offset", [-3.0, 50.0])
def test_escape_on_raw_logits_asks_neither_for_the_offset_nor_for_the_other_classes(
    offset, float64
):
    flow = flow_of(losses.logit_squared_error, np.eye(3)[0])
    time = jit_once(theory.logit_squared_error_escape_time)(6.0)
    for logits in ([0.0, 6.0, 6.0], [0.0, 6.0, -2.0]):
        end = solve(flow, np.array(logits) + offset, time).y[:, -1]
        assert end[0] == pytest.approx(end[1], abs=1e-8)


def natural_flow_of(loss, target):
    """z′ = −J⁺ dL/dz."""
    flow = flow_of(loss, target)

    def velocity(logits):
        q = np.exp(logits - logits.max())
        q /= q.sum()
        return np.linalg.pinv(np.diag(q) - np.outer(q, q)) @ flow(logits)

    return velocity


def test_natural_gradient_of_cross_entropy_is_at_the_tie_after_a_bounded_time(float64):
    escape_time = jit_once(theory.natural_gradient_escape_time)
    time = escape_time(6.0, 3)
    flow = natural_flow_of(losses.softmax_cross_entropy, np.eye(3)[0])
    end = solve(flow, [0.0, 6.0, 6.0], time).y[:, -1]
    np.testing.assert_allclose(end, end[0], atol=1e-6)
    assert time < escape_time(1000.0, 3) <= math.log(1.5) * (1 + 1e-15)


def test_natural_gradient_of_the_brier_score_takes_half_the_time_of_descent_on_cross_entropy(
    float64,
):
    flow = natural_flow_of(losses.softmax_brier_score, np.eye(3)[0])
    time = jit_once(theory.cross_entropy_escape_time)(6.0, 3) / 2
    end = solve(flow, [0.0, 6.0, 6.0], time).y[:, -1]
    np.testing.assert_allclose(end, end[0], atol=1e-6)


def test_time_of_the_natural_gradient_keeps_its_digits_in_float32():
    margins, classes = np.array([2**-20, 1.0, 60.0]), np.array([2.0, 1001.0])
    with mpmath.workdps(50):
        expected = on_a_grid(
            lambda m, c: mpmath.log(c / (c - 1 + mpmath.exp(-mpmath.mpf(m)))), margins, classes
        )
    received = jit_once(theory.natural_gradient_escape_time)(margins[:, None], classes)
    np.testing.assert_allclose(received, expected, rtol=1e-6)


@every_law
def test_discrete_correction_predicts_the_steps_to_a_fiftieth(name, float64):
    law, rates = LAWS[name], np.array([0.1, 0.02])
    margins, classes = np.array([0.5, 2.0, 5.0])[:, None, None], np.array([2.0, 5.0])[:, None]
    margins, classes, rates = np.broadcast_arrays(margins, classes, rates)
    received = jit_once(law.steps)(margins, classes, learning_rate=rates)
    expected = steps_to_the_tie(law.loss, *mistakes(margins, classes), rates)
    errors = np.abs(received - expected)
    assert errors.max() < 0.02
    # and the error is of first order in the step size
    assert errors[..., 1].max() < errors[..., 0].max() / 3


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 2.0])
def test_steps_on_raw_logits_are_exact_at_every_learning_rate(rate, float64):
    margins = np.array([0.3, 4.0, 11.0])
    received = jit_once(theory.logit_squared_error_escape_steps)(margins, rate)
    expected = steps_to_the_tie(losses.logit_squared_error, *mistakes(margins, 3), np.full(3, rate))
    np.testing.assert_allclose(received, expected, rtol=1e-9)


def test_steps_on_raw_logits_are_whole_where_a_step_ends_at_the_tie(float64):
    # (1 + m) (1 − 2η)ⁿ = 1 at n = 3 for m = 7, η = 1/4.
    received = jit_once(theory.logit_squared_error_escape_steps)(7.0, 0.25)
    assert float(received) == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0, 2.0])
def test_steps_of_the_natural_gradient_are_those_of_a_straight_walk(rate, float64):
    for margin, classes in ((0.3, 2), (8.0, 5)):
        q = np.append(1.0, np.full(classes - 1, np.exp(margin)))
        q, p, steps, behind = q / q.sum(), np.eye(classes)[0], 0, np.inf
        while q[0] < q[1]:
            behind, q, steps = q[1] - q[0], q - rate * (q - p), steps + 1
        expected = steps - 1 + behind / (behind + q[0] - q[1])
        received = jit_once(theory.natural_gradient_escape_steps)(margin, classes, rate)
        assert float(received) == pytest.approx(expected, rel=1e-9)


SIGMOID_LAWS = {
    "cross-entropy": (
        losses.sigmoid_binary_cross_entropy,
        theory.binary_cross_entropy_escape_time,
        theory.binary_cross_entropy_escape_steps,
    ),
    "squared error": (
        losses.sigmoid_squared_error,
        theory.sigmoid_squared_error_escape_time,
        theory.sigmoid_squared_error_escape_steps,
    ),
}


@pytest.mark.parametrize("name", SIGMOID_LAWS)
def test_one_sigmoid_logit_takes_the_time_and_the_steps_of_its_own_law(name, float64):
    loss, time, steps = SIGMOID_LAWS[name]

    def push(logits):
        return -jax.vmap(jax.grad(loss))(logits, jnp.ones_like(logits))

    end = solve(jit_once(push), [-6.0], jit_once(time)(6.0)).y[0, -1]
    assert end == pytest.approx(0, abs=1e-8)

    @jit_once
    def walk(logits, rate):
        def step(state):
            _, logits, count = state
            return logits, logits + rate * push(logits), count + 1

        state = logits - 1, logits, 0
        return jax.lax.while_loop(lambda state: state[1][0] < 0, step, state)

    for margin in (0.5, 6.0):
        before, after, count = walk(np.array([-margin]), 0.1)
        expected = count - 1 + before[0] / (before[0] - after[0])
        assert float(jit_once(steps)(margin, 0.1)) == pytest.approx(float(expected), abs=0.01)


def test_adam_without_momentum_takes_the_margin_and_epsilon_times_the_time_of_descent(float64):
    epsilon = 1e-3
    one_logit = flow_of(lambda z, target: losses.sigmoid_squared_error(z, target).sum(), np.ones(1))
    two_logits = flow_of(losses.softmax_brier_score, np.eye(2)[0])
    for flow, start, distance, descent_time in (
        (one_logit, [-10.0], 10.0, jit_once(theory.sigmoid_squared_error_escape_time)(10.0)),
        (two_logits, [0.0, 10.0], 5.0, jit_once(theory.brier_score_escape_time)(10.0, 2)),
    ):
        time = jit_once(theory.adam_escape_time)(distance, descent_time, epsilon)
        assert time > 1.1 * distance

        def velocity(z, flow=flow):
            push = flow(z)
            return push / (np.abs(push) + epsilon)

        end = solve(velocity, start, time).y[:, -1]
        np.testing.assert_allclose(end, end[0] if len(end) == 2 else 0, atol=1e-8)


@pytest.mark.parametrize("classes", [2, 3, 100, 10_000])
def test_time_to_one_half_is_the_integral_from_the_uniform_start(classes, float64):
    for name, received in (
        ("cross-entropy", jit_once(theory.cross_entropy_time_to_half)(classes)),
        ("Brier score", jit_once(theory.brier_score_time_to_half)(classes)),
    ):
        expected = exact_time(LAWS[name], 0.0, classes, end=-math.log(classes - 1))
        assert float(received) == pytest.approx(expected, rel=1e-13)


def test_time_to_one_half_grows_like_the_logarithm_and_like_half_the_number_of_classes():
    # In float32, where K² + 1 is K² from 4097 classes on.
    classes = np.array([1e4, 1e6])
    entropy, brier = (
        jit_once(theory.cross_entropy_time_to_half)(classes),
        jit_once(theory.brier_score_time_to_half)(classes),
    )
    np.testing.assert_allclose(entropy, 1 + np.log(classes), rtol=1e-3)
    np.testing.assert_allclose(brier, classes / 2, rtol=3e-3)


# Cross-entropy's flow in closed form


def escape_by_solver(logits, label):
    flow = flow_of(losses.softmax_cross_entropy, np.eye(len(logits))[label])

    def ahead(_, z):
        return z[label] - np.delete(z, label).max()

    return solve(flow, logits, 30.0, events=ahead).t_events[0][0]


# with one class more that cannot happen, so that one program is compiled for all
STARTS = {
    "one of many": ([-9.0, 0.0, -9.0, -9.0, -9.0, -np.inf], 0),
    "at all heights": ([0.0, -1.0, -12.0, -3.0, -7.0, -np.inf], 2),
    "two that will meet": ([5.0, 4.9, 0.0, -20.0, 3.0, 4.0], 2),
}
time_and_slope = jit_once(jax.value_and_grad(theory.cross_entropy_escape_time_from))


@pytest.mark.parametrize("start", STARTS)
def test_escape_time_from_any_start_is_that_of_the_differential_equation(start, float64):
    logits, label = np.array(STARTS[start][0]), STARTS[start][1]
    received, slope = time_and_slope(logits, label)
    possible = logits[np.isfinite(logits)]
    assert float(received) == pytest.approx(escape_by_solver(possible, label), rel=1e-10)
    # along the flow it falls as fast as time passes: ∇T · z′ = −1
    q = np.exp(logits) / np.exp(logits).sum()
    assert float(slope @ (np.eye(6)[label] - q)) == pytest.approx(-1, rel=1e-10)


def test_escape_time_from_a_hundred_logits_behind_holds_ten_digits(float64):
    logits = np.array([-100.0, 0.0, -1.0, -5.0, -20.0, -45.0])

    def gained(u) -> Any:  # by the truth, where the highest wrong class has lost u
        return sum(mpmath.log1p(mpmath.exp(z) * mpmath.expm1(u)) for z in logits[1:].tolist())

    end = mpmath.findroot(lambda u: u + gained(u) - 100, (20, 50), solver="anderson", tol=1e-14)
    panels = mpmath.linspace(0, end, 20)
    expected: Any = gained(end) + mpmath.quad(lambda u: mpmath.exp(u + gained(u) - 100), panels)
    received, _ = time_and_slope(logits, 0)
    assert float(received) == pytest.approx(float(expected), rel=1e-10)


def test_escape_time_from_an_even_start_is_that_of_its_margin(float64):
    from_any_start = jit_once(theory.cross_entropy_escape_time_from)
    for classes in (2, 10, 10_000):
        for margin in (2**-10, 30.0, 1000.0):
            logits = np.where(np.arange(10_000) < classes, margin, -np.inf)
            logits[1] = 0
            expected = (1 - math.exp(-margin) + (classes - 1) * margin) / classes
            assert float(from_any_start(logits, 1)) == pytest.approx(expected, rel=1e-12)


def test_escape_time_from_a_start_asks_neither_for_the_order_nor_for_the_offset(float64):
    logits, order = (
        np.random.default_rng(0).normal(0.0, 4.0, 6),
        np.random.default_rng(0).permutation(6),
    )
    expected, _ = time_and_slope(logits, int(np.argmin(logits)))
    received, _ = time_and_slope(logits[order] + 100, int(np.argmin(logits[order])))
    assert float(received) == pytest.approx(float(expected), rel=1e-12)


def test_who_is_not_behind_has_escaped(float64):
    logits = np.array([3.0, 1.0, -np.inf, 2.0, 0.0, -9.0])
    value, slope = time_and_slope(logits, 0)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_escape_time_from_a_start_keeps_its_digits_in_float32():
    logits = np.array([-20.0, 0.0, -1.0, -15.0, -2.5, -3.0])
    with jax.enable_x64(True):
        expected = escape_by_solver(logits, 0)
    received, _ = time_and_slope(logits.astype(np.float32), 0)
    assert received.dtype == jnp.float32
    assert float(received) == pytest.approx(expected, rel=1e-6)


def test_flow_on_cross_entropy_conserves_its_invariants_and_flow_on_the_brier_score_does_not(
    float64,
):
    logits, target = [-3.0, 0.0, -0.5, -1.0], np.eye(4)[0]
    invariants = jit_once(theory.cross_entropy_flow_invariants)
    expected = invariants(np.array(logits), 0)
    assert np.count_nonzero(expected) == 2
    entropy, brier = (
        invariants(solve(flow_of(loss, target), logits, 9.0).y[:, -1], 0)
        for loss in (losses.softmax_cross_entropy, losses.softmax_brier_score)
    )
    np.testing.assert_allclose(entropy, expected, rtol=1e-9, atol=1e-9)
    assert np.all(np.abs(brier - expected)[2:] > 0.01)


def test_invariants_keep_the_digits_of_nearly_equal_classes():
    logits = np.array([9.0, 0.0, -(2**-20)])
    received = jit_once(theory.cross_entropy_flow_invariants)(logits, 0)
    np.testing.assert_allclose(received[2], math.expm1(2**-20), rtol=1e-6)


# Gradients and curvature

SKEWED = [
    [0.5, 0.5],
    [0.9, 0.09, 0.01],
    [0.98, 0.01, 0.006, 0.004],
    [0.25, 0.25, 0.25, 0.125, 0.125],
]


def test_softmax_jacobian_is_that_of_autodiff(float64):
    p = np.array(SKEWED[2])
    expected = jit_once(jax.jacfwd(jax.nn.softmax))(np.log(p))
    np.testing.assert_allclose(jit_once(theory.softmax_jacobian)(p), expected, atol=1e-16)


def test_softmax_jacobian_keeps_the_digits_of_a_q_next_to_one():
    q = np.array([1.0, 3e-9, 2e-9])
    received = np.asarray(jit_once(theory.softmax_jacobian)(q))
    np.testing.assert_allclose(np.diag(received), [5e-9, 3e-9, 2e-9], rtol=1e-6)
    np.testing.assert_allclose(received.sum(axis=0), 0, atol=1e-15)


@pytest.mark.parametrize("p", SKEWED)
def test_eigenvalues_of_the_softmax_jacobian_keep_twelve_digits(p, float64):
    received = jit_once(theory.softmax_jacobian_eigenvalues)(np.array(p))
    np.testing.assert_allclose(received, exact_eigenvalues(p), rtol=1e-12)


class Points(NamedTuple):
    """Points of all kinds, of 2 to 5 classes of which the last may have q = p = 0."""

    logits: Any
    targets: Any
    classes: Any

    @property
    def q(self):
        q = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return q / q.sum(axis=1, keepdims=True)


UNIFORM = [0, 2, 3]  # points of 2, 4 and 5 classes


def points(one_hot):
    random = np.random.default_rng(1)
    classes = 2 + np.arange(400) % 4
    possible = np.arange(5) < classes[:, None]
    scales = random.choice([0.3, 1.0, 4.0], (400, 1))
    scales[UNIFORM] = 0
    logits = np.where(possible, scales * random.normal(size=(400, 5)), -np.inf)
    soft = np.where(possible, random.dirichlet(np.ones(5), 400), 0.0)
    soft /= soft.sum(axis=1, keepdims=True)
    return Points(logits, np.eye(5)[np.zeros(400, int)] if one_hot else soft, classes)


every_kind_of_target = pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "soft"])


@jit_once
def brier_score_hessians(logits, targets):
    return jax.vmap(jax.hessian(losses.softmax_brier_score))(logits, targets)


def eigenvalues_on_the_simplex(hessian, classes):
    basis = np.linalg.svd(np.ones((1, classes)))[2][1:]
    return np.linalg.eigvalsh(basis @ hessian[:classes, :classes] @ basis.T)


@pytest.fixture(scope="module")
def extreme_eigenvalues():
    """The least and the largest at each of the points, by autodiff."""
    with jax.enable_x64(True):
        return {
            one_hot: np.array(
                [
                    eigenvalues_on_the_simplex(hessian, count)[[0, -1]]
                    for hessian, count in zip(
                        np.asarray(brier_score_hessians(*points(one_hot)[:2])),
                        points(one_hot).classes,
                        strict=True,
                    )
                ]
            )
            for one_hot in (True, False)
        }


@every_kind_of_target
def test_gradients_of_q_and_p_are_those_of_the_losses(one_hot, float64):
    logits, targets, _ = points(one_hot)
    for loss, formula in (
        (losses.softmax_cross_entropy, theory.cross_entropy_logit_gradient),
        (losses.softmax_brier_score, theory.brier_score_logit_gradient),
    ):
        received = jit_once(jax.vmap(formula))(points(one_hot).q, targets)
        np.testing.assert_allclose(received, gradients(loss, logits, targets), atol=1e-15)


def test_brier_score_raises_exactly_the_wrong_logits_whose_gradient_is_negative(float64):
    logits, targets, _ = points(one_hot=True)
    received = jit_once(jax.vmap(theory.brier_score_pushes_up, (0, None)))(points(True).q, 0)
    gradient = np.array(gradients(losses.softmax_brier_score, logits, targets))
    gradient[:, 0] = 0
    np.testing.assert_array_equal(received, gradient < 0)
    assert 20 < np.sum(received) < 600
    assert not np.any(gradients(losses.softmax_cross_entropy, logits, targets)[:, 1:] < 0)


@every_kind_of_target
def test_hessian_of_the_brier_score_is_that_of_autodiff(one_hot, float64):
    logits, targets, _ = points(one_hot)
    received = jit_once(jax.vmap(theory.brier_score_hessian))(points(one_hot).q, targets)
    np.testing.assert_allclose(received, brier_score_hessians(logits, targets), atol=3e-15)


@every_kind_of_target
def test_brier_score_is_convex_exactly_where_no_eigenvalue_is_negative(
    one_hot, extreme_eigenvalues, float64
):
    received = jit_once(jax.vmap(theory.brier_score_is_convex))(
        points(one_hot).q, points(one_hot).targets
    )
    np.testing.assert_array_equal(received, extreme_eigenvalues[one_hot][:, 0] > -1e-15)
    assert 50 < np.sum(received) < 350


def test_brier_score_is_concave_somehow_below_one_third_and_convex_from_one_half(
    extreme_eigenvalues,
):
    truth, least = points(one_hot=True).q[:, 0], extreme_eigenvalues[True][:, 0]
    assert np.all(least[truth < 1 / 3] < 0)
    assert np.all(least[truth >= 1 / 2] > -1e-15)
    between = least[(truth > 1 / 3) & (truth < 1 / 2)]
    assert between.min() < -1e-3
    assert between.max() > 1e-3


def test_criterion_of_convexity_holds_where_a_term_of_it_is_zero():
    with jax.debug_nans(True):
        # d = 0 and 1, and a class that cannot happen
        is_convex = jit_once(theory.brier_score_is_convex)
        assert is_convex(np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0]))
        # d = 0, −¼ and ⅞: moving the first as well, the second keeps the constraint for nothing
        q, p = np.array([1, 2, 13]) / 16, np.array([0, 6, 10]) / 16
        np.testing.assert_array_equal(2 * q - p - q @ (q - p), [0, -0.25, 0.875])
        assert not is_convex(q, p)


def test_uniform_start_has_two_eigenvalues_and_is_concave_on_the_way_from_four_classes(float64):
    hessians = np.asarray(brier_score_hessians(*points(one_hot=True)[:2]))
    for index in UNIFORM:
        classes = int(points(one_hot=True).classes[index])
        hessian = hessians[index, :classes, :classes]
        received = jit_once(theory.brier_score_uniform_eigenvalues)(classes)
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
        (theory.BRIER_SCORE_SMOOTHNESS, brier.max()),
        (theory.BRIER_SCORE_LEAST_CURVATURE, brier.min()),
        (theory.CROSS_ENTROPY_SMOOTHNESS, entropy.max()),
        (theory.SIGMOID_SQUARED_ERROR_SMOOTHNESS, squared.max()),
        (theory.BINARY_CROSS_ENTROPY_SMOOTHNESS, binary.max()),
    ):
        assert received == pytest.approx(float(expected), rel=1e-9)


def test_no_eigenvalue_of_more_classes_goes_beyond_the_smoothness_constants(extreme_eigenvalues):
    found = np.concatenate([*extreme_eigenvalues.values()])
    assert 0.9 * theory.BRIER_SCORE_SMOOTHNESS < found.max() < theory.BRIER_SCORE_SMOOTHNESS
    least = theory.BRIER_SCORE_LEAST_CURVATURE
    assert least < found.min() < 0.9 * least


# The fit near an interior P


@pytest.mark.parametrize("classes", [2, 8])
def test_a_uniform_p_has_condition_number_one(classes, float64):
    best = jit_once(theory.cross_entropy_best_fixed_step)(np.full(classes, 1 / classes))
    assert best.condition_number == pytest.approx(1)
    assert best.rate == pytest.approx(0, abs=1e-12)
    assert best.learning_rate == pytest.approx(classes)


@every_softmax_loss
def test_steps_are_those_of_the_hessian_at_q_equal_to_p(name, float64):
    p = np.array(SKEWED[2])

    @jit_once
    def measure(p):
        hessian = jax.hessian(LAWS[name].loss)(jnp.log(p), p)
        return hessian, BEST_STEPS[name](p), LARGEST_STEPS[name](p)

    hessian, best, largest_step = measure(p)
    eigenvalues = np.linalg.eigvalsh(hessian)
    smallest, largest = eigenvalues[1], eigenvalues[-1]
    assert best.condition_number == pytest.approx(largest / smallest, rel=1e-9)
    assert best.learning_rate == pytest.approx(2 / (largest + smallest), rel=1e-9)
    assert largest_step == pytest.approx(2 / largest, rel=1e-12)


@partial(jit_once, static_argnums=(0, 4))
def errors_of_descent(loss, logits, p, learning_rate, steps):
    """z − ln p after each of the steps."""

    def step(logits, _):
        logits = logits - learning_rate * jax.grad(loss)(logits, p)
        return logits, logits - jnp.log(p)

    return jax.lax.scan(step, logits, length=steps)[1]


def near(p):
    """Even parts of the slowest and of the fastest direction, and the directions."""
    _, vectors = np.linalg.eigh(jit_once(theory.softmax_jacobian)(p))
    return np.log(p) + 1e-5 * (vectors[:, 1] + vectors[:, -1]), vectors[:, 1:]


@every_softmax_loss
def test_error_of_descent_shrinks_at_the_rate_and_no_other_step_is_better(name, float64):
    p = np.array([0.9, 0.09, 0.01])
    best, (start, directions) = jit_once(BEST_STEPS[name])(p), near(p)

    def rate_of(learning_rate):
        errors = errors_of_descent(LAWS[name].loss, start, p, learning_rate, 400)
        errors = np.abs(errors @ directions)
        return np.max((errors[39] / errors[29]) ** (1 / 10))

    best_rate = rate_of(best.learning_rate)
    assert float(best_rate) == pytest.approx(float(best.rate), rel=1e-3)
    assert rate_of(1.05 * best.learning_rate) > best_rate
    assert rate_of(0.95 * best.learning_rate) > best_rate


@every_softmax_loss
def test_steps_to_shrink_the_error_are_those_of_descent(name, float64):
    p = np.array([0.9, 0.09, 0.01])
    best, (start, _) = jit_once(BEST_STEPS[name])(p), near(p)
    errors = errors_of_descent(LAWS[name].loss, start, p, best.learning_rate, 400)
    errors = np.linalg.norm(errors, axis=1)
    steps = 1 + np.argmax(errors <= np.linalg.norm(start - np.log(p)) / 100)
    received = jit_once(theory.steps_to_shrink_error)(best.condition_number, 100.0)
    assert int(steps) == pytest.approx(float(received), abs=1.01)


@every_softmax_loss
def test_descent_comes_to_p_up_to_the_largest_step_and_leaves_it_past_that(name, float64):
    p = np.array([0.9, 0.09, 0.01])
    largest, (start, directions) = jit_once(LARGEST_STEPS[name])(p), near(p)
    below, above = (
        np.abs(errors_of_descent(LAWS[name].loss, start, p, factor * largest, 400) @ directions)
        for factor in (0.99, 1.01)
    )
    assert below[-1, -1] < below[0, -1] / 100
    assert above[-1, -1] > above[0, -1] * 10


def test_a_sure_p_holds_any_step():
    for largest_step in LARGEST_STEPS.values():
        assert jit_once(largest_step)(np.array([1.0, 0.0, 0.0])) == jnp.inf


def test_descent_on_cross_entropy_settles_on_the_two_cycle(float64):
    p, start = np.array([0.5, 0.5]), np.array([0.3, -0.3])
    for rate in (3.5, 4.5, 6.0, 10.0):
        errors = errors_of_descent(losses.softmax_cross_entropy, start, p, rate, 400)
        gaps = errors[-2:, 0] - errors[-2:, 1]
        received = jit_once(theory.cross_entropy_two_cycle_gap)(rate)
        np.testing.assert_allclose(np.abs(gaps), received, rtol=1e-9, atol=1e-9)
        assert received == 0 or gaps[0] * gaps[1] < 0


def test_gap_of_the_two_cycle_solves_its_equation_from_the_threshold_to_huge_steps(float64):
    rates = np.array([4 + 1e-6, 4.3, 9.0, 1e3, 1e9, 0.0, 3.0, 4.0])
    received = jit_once(theory.cross_entropy_two_cycle_gap)(rates)
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


def test_steps_to_shrink_error_keep_their_digits_where_the_rate_rounds_to_one():
    expected = mpmath.log(1000) / (mpmath.log(mpmath.mpf(10) ** 9 + 1) - mpmath.log(10**9 - 1))
    received = jit_once(theory.steps_to_shrink_error)(1e9, 1000.0)
    np.testing.assert_allclose(received, float(expected), rtol=1e-6)


# How the probabilities move


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
        jax.vmap(partial(theory.flow_velocity, num_jacobians=jacobians))(q, p)
        for jacobians in range(3)
    ]


@every_kind_of_target
def test_velocity_of_q_has_as_many_jacobians_as_the_rule(one_hot, float64):
    logits, targets, _ = points(one_hot)
    q = points(one_hot).q

    expected = (
        -brier_score_gradient_in_q(q, targets) / 2,
        softmax_moves(logits, -gradients(losses.softmax_cross_entropy, logits, targets)),
        softmax_moves(logits, -gradients(losses.softmax_brier_score, logits, targets)) / 2,
    )
    for received, velocity in zip(flow_velocities(q, targets), expected, strict=True):
        np.testing.assert_allclose(received, velocity, atol=1e-15)


def test_truth_rises_under_the_brier_score_at_least_at_its_least_speed(float64):
    q = points(one_hot=True).q
    even = np.array([[a, *[(1 - a) / 4] * 4] for a in (0.01, 0.2, 0.9)])

    @jit_once
    @jax.vmap
    def speeds(q):
        flow = 2 * theory.flow_velocity(q, np.eye(5)[0], 2)[0]
        return flow, theory.brier_score_least_progress(q, 0)

    flow, bound = speeds(np.concatenate([q, even]))
    assert np.all(bound > 0)
    assert np.all(bound <= flow * (1 + 1e-9))
    np.testing.assert_allclose(bound[len(q) :], flow[len(q) :], rtol=1e-12)


def test_least_speed_keeps_its_digits_where_q_is_sure():
    # 2a²(1 − a)³(1 + Σ shares²)², right and wrong
    bound = jit_once(theory.brier_score_least_progress)
    received = bound(np.array([1.0, 3e-9, 1e-9]), 0)
    np.testing.assert_allclose(received, 2 * 4e-9**3 * (1 + 10 / 16) ** 2, rtol=1e-6)
    received = bound(np.array([1e-9, 1.0, 0.0]), 0)
    np.testing.assert_allclose(received, 8e-18, rtol=1e-6)
    assert bound(np.array([1.0, 0.0, 0.0]), 0) == 0


@every_kind_of_target
def test_exponentiated_gradient_on_the_brier_score_is_descent_on_cross_entropy_at_twice_the_step(
    one_hot, float64
):
    logits, targets, _ = points(one_hot)
    q, rate = points(one_hot).q, 0.7
    gradient = brier_score_gradient_in_q(q, targets)
    received = jit_once(theory.exponentiated_gradient_step)(q, gradient, rate)
    step = 2 * rate * gradients(losses.softmax_cross_entropy, logits, targets)
    np.testing.assert_allclose(received, special.softmax(logits - step, axis=1), rtol=1e-13)


def test_exponentiated_gradient_keeps_zeros_and_survives_huge_gradients():
    q = np.array([0.5, 0.5, 0.0])
    with jax.debug_nans(True):
        step = jit_once(theory.exponentiated_gradient_step)
        received = step(q, np.array([1e4, 2e4, -1e30]), 1.0)
        np.testing.assert_array_equal(received, [1.0, 0.0, 0.0])
        offset = step(q, np.array([513.0, 512.0, 0.0]), 1.0)
    np.testing.assert_allclose(offset[1] / offset[0], math.e, rtol=1e-6)


# Expected losses


def over_all_labels(loss, q):
    """The loss of each label, [..., C]."""
    labels = np.eye(q.shape[-1]) + 0 * q[..., None]
    with np.errstate(divide="ignore"):
        logits = np.log(q)[..., None, :] + 0 * labels
    return jit_once(loss)(logits, labels)


def test_brier_score_over_all_labels_is_the_sum_and_lies_between_its_bounds(float64):
    q = np.concatenate(
        [np.random.default_rng(0).dirichlet(np.ones(4), 20), np.eye(4)[:1], np.full((1, 4), 0.25)]
    )
    received = jit_once(theory.brier_score_over_all_labels)(q)
    expected = over_all_labels(losses.softmax_brier_score, q).sum(axis=-1)
    np.testing.assert_allclose(received, expected, rtol=1e-13)
    assert np.all((received >= 3) & (received <= 6))
    np.testing.assert_allclose(received[-2:], [6, 3])


def test_expected_absolute_error_is_the_mean_over_labels_and_least_at_the_mode(float64):
    p, others = np.array([0.6, 0.3, 0.1]), np.random.default_rng(0).dirichlet(np.ones(3), 20)
    q = np.concatenate([others, [p], np.eye(3)])
    received = jit_once(jax.vmap(theory.expected_absolute_error, (0, None)))(q, p)
    expected = over_all_labels(losses.softmax_mean_absolute_error, q) @ p
    np.testing.assert_allclose(received, expected, rtol=1e-13)
    assert np.argmin(received) == 21


def test_expected_absolute_error_of_sure_q_and_p_keeps_its_digits():
    q, p = np.array([1.0, 2e-9]), np.array([1.0, 1e-9])
    received = jit_once(theory.expected_absolute_error)(q, p)
    np.testing.assert_allclose(received, 3e-9, rtol=1e-6)


# Statistics


def test_efficiency_of_logistic_regression_is_that_of_efrons_table(float64):
    distances = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 20.0])
    received = jit_once(theory.logistic_relative_efficiency)(distances)
    np.testing.assert_allclose(received[:5], [1, 0.9949, 0.8992, 0.6410, 0.3430], atol=5e-5)
    for distance, efficiency in zip(distances, received, strict=True):

        def integrand(x, half=distance / 2):
            return mpmath.npdf(x) / (mpmath.exp(half * x) + mpmath.exp(-half * x))

        integral = mpmath.quad(integrand, [-12, -4, -1, 0, 1, 4, 12])
        expected = 2 * (1 + distance**2 / 4) * mpmath.exp(-(distance**2) / 8) * integral
        assert float(efficiency) == pytest.approx(float(expected), rel=1e-12)


def test_least_squares_errs_as_often_as_the_limit_says(float64):
    dimensions, examples, signal = 240, 400, 2.0
    random, rates = np.random.default_rng(0), []
    for _ in range(10):
        signed = random.normal(size=(examples, dimensions))
        signed[:, 0] += signal
        weights = np.linalg.solve(signed.T @ signed, signed.sum(axis=0))
        rates.append(stats.norm.sf(signal * weights[0] / np.linalg.norm(weights)))
    received = jit_once(theory.least_squares_error_rate)(signal, dimensions / examples)
    assert np.mean(rates) == pytest.approx(float(received), rel=0.06)


def test_error_rate_keeps_its_digits_in_the_tail_and_is_that_of_bayes_with_few_dimensions():
    for signal, ratio in ((8.0, 0.0), (9.0, 0.25), (0.0, 0.5)):
        distance = 0 if signal == 0 else signal**2 * math.sqrt((1 - ratio) / (signal**2 + ratio))
        expected = mpmath.ncdf(-mpmath.mpf(distance))
        received = jit_once(theory.least_squares_error_rate)(signal, ratio)
        np.testing.assert_allclose(received, float(expected), rtol=1e-5)


# Transformations

OF_A_MARGIN = {
    "true_class_probability": lambda m: theory.true_class_probability(m, 3),
    "cross_entropy_gradient_norm": lambda m: theory.cross_entropy_gradient_norm(m, 3),
    "brier_score_gradient_norm": lambda m: theory.brier_score_gradient_norm(m, 3),
    "gradient_norm_ratio": lambda m: theory.gradient_norm_ratio(m, 3),
    "natural_gradient_escape_time": lambda m: theory.natural_gradient_escape_time(m, 3),
    "natural_gradient_escape_steps": lambda m: theory.natural_gradient_escape_steps(m, 3, 0.1),
    "logit_squared_error_escape_time": theory.logit_squared_error_escape_time,
    "logit_squared_error_escape_steps": lambda m: theory.logit_squared_error_escape_steps(m, 0.1),
    "binary_cross_entropy_escape_time": theory.binary_cross_entropy_escape_time,
    "sigmoid_squared_error_escape_time": theory.sigmoid_squared_error_escape_time,
    "binary_cross_entropy_escape_steps": lambda m: theory.binary_cross_entropy_escape_steps(m, 0.1),
    "sigmoid_squared_error_escape_steps": (
        lambda m: theory.sigmoid_squared_error_escape_steps(m, 0.1)
    ),
    "adam": lambda m: theory.adam_escape_time(m, jnp.exp(m), 1e-3),
    "cross_entropy_two_cycle_gap": lambda m: theory.cross_entropy_two_cycle_gap(4 + m),
    "logistic_relative_efficiency": theory.logistic_relative_efficiency,
    "least_squares_error_rate": lambda m: theory.least_squares_error_rate(m, 0.5),
}
for name, law in LAWS.items():
    OF_A_MARGIN[f"push of {name}"] = lambda m, law=law: law.push(m, 3)
    OF_A_MARGIN[f"time of {name}"] = lambda m, law=law: law.time(m, 3)
    OF_A_MARGIN[f"steps of {name}"] = lambda m, law=law: law.steps(m, 3, learning_rate=0.1)


@pytest.fixture(scope="module")
def values_of_margins():
    """Every formula on an array of margins, under every check of JAX."""
    with (
        jax.debug_nans(True),
        jax.numpy_rank_promotion("raise"),
        checking_leaks(),
    ):
        of_margins = jit_once(lambda m: {name: of(m) for name, of in OF_A_MARGIN.items()})
        return of_margins(np.array([[0.0, 1.0], [5.0, 20.0]]))


def test_formulas_work_on_arrays_and_under_every_check_of_jax(values_of_margins):
    assert values_of_margins.keys() == OF_A_MARGIN.keys()
    for name, values in values_of_margins.items():
        assert values.shape == (2, 2), name
        assert values.dtype == jnp.float32, name
        assert np.all(np.isfinite(values)), name


def test_no_margin_takes_no_time(values_of_margins):
    timed = {
        name: values[0, 0]
        for name, values in values_of_margins.items()
        if name.startswith(("time", "steps")) or name.endswith(("escape_time", "escape_steps"))
    }
    assert len(timed) == 18
    assert not any(timed.values()), timed


def test_derivative_with_respect_to_the_margin_is_the_central_difference(float64):
    margins, step = np.array([1e-3, 2.0, 30.0]), 1e-6

    @jit_once
    def measure(margins):
        return {name: jax.vmap(jax.value_and_grad(of))(margins) for name, of in OF_A_MARGIN.items()}

    for name, (values, slopes) in measure(
        np.concatenate([margins - step, margins, margins + step])
    ).items():
        below, _, above = np.split(values, 3)
        expected, received = (above - below) / (2 * step), slopes[3:6]
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-8, err_msg=name)


def test_classes_may_be_an_array_and_margins_integers():
    @jit_once
    def measure(margin, classes):
        half = theory.cross_entropy_gradient_norm(jnp.float16(1.0), 1000)
        return {name: law.time(margin, classes) for name, law in LAWS.items()}, half

    times, half = measure(2, np.array([2, 3]))
    for name, received in times.items():
        assert received.dtype == jnp.float32, name
        expected = exact_time(LAWS[name], 2, 3)
        np.testing.assert_allclose(received[1], expected, rtol=1e-6, err_msg=name)
    assert half.dtype == jnp.float16


def test_fit_formulas_work_under_jit_vmap_and_grad(float64):
    p = np.array([[0.6, 0.3, 0.1], [0.9, 0.09, 0.01]])
    received = jit_once(jax.vmap(theory.brier_score_best_fixed_step))(p)
    of_one = jit_once(theory.brier_score_best_fixed_step)
    np.testing.assert_allclose(received.rate, [of_one(row).rate for row in p])

    @jit_once
    @jax.value_and_grad
    def condition_number(p):
        return theory.cross_entropy_best_fixed_step(p).condition_number

    direction = np.array([1.0, -2.0, 1.0])
    (below, _), (_, slope), (above, _) = (
        condition_number(p[0] + step * direction) for step in (-1e-6, 0.0, 1e-6)
    )
    assert float(slope @ direction) == pytest.approx(float(above - below) / 2e-6, rel=1e-6)
