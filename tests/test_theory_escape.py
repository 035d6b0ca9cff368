"""Times and steps of escape against 50-digit quadrature, differential equations and descent."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

from jaxent import losses
from jaxent.theory import escape
from tests.closed_forms import (
    LOSSES,
    check_formulas_of_a_margin,
    every_loss,
    exact_push,
    exact_time,
    flow_of,
    focal,
    generalized,
    gradient,
    jit_once,
    mistakes,
    on_a_grid,
    solve,
)

OTHER_EXPONENTS = {
    "generalised cross-entropy 0": generalized(0.0),
    "generalised cross-entropy 0.7": generalized(0.7),
    "generalised cross-entropy 1": generalized(1.0),
    "focal loss 0": focal(0.0),
    "focal loss 5": focal(5.0),
}
steps_to_escape = jit_once(escape.steps_to_escape, static_argnums=0)


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


# Time to the tie


@pytest.mark.parametrize("name", LOSSES | OTHER_EXPONENTS)
def test_escape_time_is_the_integral_of_one_over_the_speed(name, float64):
    loss = (LOSSES | OTHER_EXPONENTS)[name]
    margins, classes = np.array([0.25, 5.0, 30.0]), np.array([2.0, 10_000.0])
    received = jit_once(loss.law.time)(margins[:, None], classes, *loss.exponent)
    expected = on_a_grid(partial(exact_time, loss), margins, classes)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_quadrature_holds_ten_digits_for_margins_to_a_hundred(float64):
    for loss in (LOSSES["mean absolute error"], LOSSES["focal loss 2"]):

        def push(margin, classes, loss=loss):
            return loss.push(margin, classes, *loss.exponent)

        received = jit_once(partial(escape.escape_time, push))(100.0, 2)
        assert float(received) == pytest.approx(exact_time(loss, 100.0, 2), rel=1e-10)


@pytest.mark.parametrize("name", ["cross-entropy", "Brier score", "mean absolute error"])
def test_times_and_steps_keep_their_digits_in_float32(name):
    # 2 and 1001 classes, for which K is exact in float32 and in float64
    margins, classes = np.array([2**-20, 2**-7, 1.0, 10.0, 70.0]), np.array([2.0, 1001.0])
    loss, rate = LOSSES[name], 2**-3
    received = jit_once(loss.law.time)(margins[:, None], classes)
    times = on_a_grid(partial(exact_time, loss), margins, classes)
    assert received.dtype == jnp.float32
    np.testing.assert_allclose(received, times, rtol=1e-6)

    def log_speedup(margin, classes):
        with mpmath.workdps(50):
            return mpmath.log(exact_push(loss, 0, classes) / exact_push(loss, margin, classes))

    received = steps_to_escape(loss.law, margins[:, None], classes, learning_rate=rate)
    expected = times / rate + on_a_grid(log_speedup, margins, classes) / 2
    np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_time_of_generalised_cross_entropy_overflows_no_earlier_than_it_must():
    # K^{γ+1} e^{γm}/(γ C), with γ = 1
    received = jit_once(escape.generalized_cross_entropy_escape_time)(88.0, 2, 1.0)
    np.testing.assert_allclose(received, math.exp(88) / 2, rtol=1e-5)


def test_huge_margins_are_linear_for_the_focal_loss_as_for_cross_entropy(float64):
    later, sooner = jit_once(escape.focal_loss_escape_time)(np.array([1e4, 1e3]), 3, 2.0)
    assert later - sooner == pytest.approx(9000 * 2 / 3, rel=1e-4)


def test_escape_time_of_a_push_of_ones_own_is_its_integral(float64):
    escape_time = partial(escape.escape_time, lambda s, classes: jnp.exp(-s) / classes)
    received = jit_once(escape_time)(10.0, 4)
    assert float(received) == pytest.approx(3 * math.expm1(10.0), rel=1e-13)


def natural_flow_of(loss, target):
    """z′ = −J⁺ dL/dz."""

    def velocity(logits):
        q = special.softmax(logits)
        return np.linalg.pinv(np.diag(q) - np.outer(q, q)) @ flow_of(loss, target)(logits)

    return velocity


FLOWS = {
    "Brier score": (
        flow_of(losses.softmax_brier_score, np.eye(5)[0]),
        lambda: jit_once(escape.brier_score_escape_time)(3.0, 5),
        [[0.0, 3.0, 3.0, 3.0, 3.0]],
    ),
    "natural gradient of cross-entropy": (
        natural_flow_of(losses.softmax_cross_entropy, np.eye(3)[0]),
        lambda: jit_once(escape.natural_gradient_escape_time)(6.0, 3),
        [[0.0, 6.0, 6.0]],
    ),
    "natural gradient of the Brier score": (
        natural_flow_of(losses.softmax_brier_score, np.eye(3)[0]),
        lambda: jit_once(escape.cross_entropy_escape_time)(6.0, 3) / 2,
        [[0.0, 6.0, 6.0]],
    ),
    # which asks neither for the offset nor for the other classes
    "squared error on logits": (
        flow_of(losses.logit_squared_error, np.eye(3)[0]),
        lambda: jit_once(escape.logit_squared_error_escape_time)(6.0),
        [[-3.0, 3.0, 3.0], [-3.0, 3.0, -5.0], [50.0, 56.0, 56.0], [50.0, 56.0, 48.0]],
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow_is_at_the_tie_after_the_escape_time(name, float64):
    flow, time, starts = FLOWS[name]
    tolerance = 1e-6 if "natural" in name else 1e-8
    for start in starts:
        end = solve(flow, start, time()).y[:, -1]
        assert end[0] == pytest.approx(end[1:].max(), abs=tolerance)


def test_natural_gradient_takes_a_bounded_time_and_keeps_its_digits_in_float32():
    margins, classes = np.array([2**-20, 1.0, 60.0]), np.array([2.0, 1001.0])
    with mpmath.workdps(50):
        expected = on_a_grid(
            lambda m, c: mpmath.log(c / (c - 1 + mpmath.exp(-mpmath.mpf(m)))), margins, classes
        )
    escape_time = jit_once(escape.natural_gradient_escape_time)
    np.testing.assert_allclose(escape_time(margins[:, None], classes), expected, rtol=1e-6)
    with jax.enable_x64(True):
        assert escape_time(6.0, 3) < escape_time(1000.0, 3) <= math.log(1.5) * (1 + 1e-15)


def test_adam_without_momentum_takes_the_margin_and_epsilon_times_the_time_of_descent(float64):
    epsilon = 1e-3
    one_logit = flow_of(lambda z, target: losses.sigmoid_squared_error(z, target).sum(), np.ones(1))
    two_logits = flow_of(losses.softmax_brier_score, np.eye(2)[0])
    of_one_logit = jit_once(escape.sigmoid_squared_error_escape_time)
    for flow, start, distance, descent_time in (
        (one_logit, [-10.0], 10.0, of_one_logit(10.0)),
        (two_logits, [0.0, 10.0], 5.0, jit_once(escape.brier_score_escape_time)(10.0, 2)),
    ):
        time = jit_once(escape.adam_escape_time)(distance, descent_time, epsilon)
        assert time > 1.1 * distance

        def velocity(z, flow=flow):
            push = flow(z)
            return push / (np.abs(push) + epsilon)

        end = solve(velocity, start, time).y[:, -1]
        np.testing.assert_allclose(end, end[0] if len(end) == 2 else 0, atol=1e-8)


# Steps to the tie


@every_loss
def test_discrete_correction_predicts_the_steps_to_a_fiftieth(loss, float64):
    margins, classes, rates = np.broadcast_arrays(
        np.array([0.5, 2.0, 5.0])[:, None, None],
        np.array([2.0, 5.0])[:, None],
        np.array([0.1, 0.02]),
    )
    received = steps_to_escape(loss.law, margins, classes, *loss.exponent, learning_rate=rates)
    expected = steps_to_the_tie(loss.loss, *mistakes(margins, classes), rates)
    errors = np.abs(received - expected)
    assert errors.max() < 0.02
    # and the error is of first order in the step size
    assert errors[..., 1].max() < errors[..., 0].max() / 3


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.3, 0.5, 0.9, 2.0])
def test_steps_on_raw_logits_are_exact_at_every_learning_rate(rate, float64):
    margins = np.array([0.3, 4.0, 7.0, 11.0])  # from 7 with η = 1/4 the third step ends at the tie
    received = jit_once(escape.logit_squared_error_escape_steps)(margins, rate)
    expected = steps_to_the_tie(losses.logit_squared_error, *mistakes(margins, 3), np.full(4, rate))
    np.testing.assert_allclose(received, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "loss", "time", "share"),
    [
        (
            "cross-entropy",
            losses.sigmoid_binary_cross_entropy,
            escape.binary_cross_entropy_escape_time,
            2,
        ),
        ("Brier score", losses.sigmoid_squared_error, escape.sigmoid_squared_error_escape_time, 4),
    ],
)
def test_one_sigmoid_logit_takes_its_time_and_the_steps_of_two_classes_at_a_smaller_step(
    name, loss, time, share, float64
):
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
        received = steps_to_escape(LOSSES[name].law, margin, 2, learning_rate=0.1 / share)
        assert float(received) == pytest.approx(float(expected), abs=0.01)


# From any start


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
time_and_slope = jit_once(jax.value_and_grad(escape.cross_entropy_escape_time_from))


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
    from_any_start = jit_once(escape.cross_entropy_escape_time_from)
    for classes in (2, 10, 10_000):
        for margin in (2**-10, 30.0, 1000.0):
            logits = np.where(np.arange(10_000) < classes, margin, -np.inf)
            logits[1] = 0
            expected = (1 - math.exp(-margin) + (classes - 1) * margin) / classes
            assert float(from_any_start(logits, 1)) == pytest.approx(expected, rel=1e-12)


def test_escape_time_from_a_start_asks_neither_for_the_order_nor_for_the_offset(float64):
    random = np.random.default_rng(0)
    logits, order = random.normal(0.0, 4.0, 6), random.permutation(6)
    expected, _ = time_and_slope(logits, int(np.argmin(logits)))
    received, _ = time_and_slope(logits[order] + 100, int(np.argmin(logits[order])))
    assert float(received) == pytest.approx(float(expected), rel=1e-12)


def test_who_is_not_behind_has_escaped(float64):
    value, slope = time_and_slope(np.array([3.0, 1.0, -np.inf, 2.0, 0.0, -9.0]), 0)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_escape_time_from_a_start_keeps_its_digits_in_float32():
    logits = np.array([-20.0, 0.0, -1.0, -15.0, -2.5, -3.0])
    with jax.enable_x64(True):
        expected = escape_by_solver(logits, 0)
    received, _ = time_and_slope(logits.astype(np.float32), 0)
    assert received.dtype == jnp.float32
    assert float(received) == pytest.approx(expected, rel=1e-6)


# Transformations


def test_formulas_of_a_margin_work_on_arrays_and_have_derivatives():
    formulas = {
        "time of the natural gradient": lambda m: escape.natural_gradient_escape_time(m, 3),
        "time on raw logits": escape.logit_squared_error_escape_time,
        "steps on raw logits": lambda m: escape.logit_squared_error_escape_steps(m, 0.1),
        "time of a sigmoid": escape.binary_cross_entropy_escape_time,
        "time of a sigmoid's squared error": escape.sigmoid_squared_error_escape_time,
        "adam": lambda m: escape.adam_escape_time(m, jnp.exp(m), 1e-3),
    }
    for name, loss in LOSSES.items():
        formulas[f"time of {name}"] = lambda m, loss=loss: loss.law.time(m, 3, *loss.exponent)
        formulas[f"steps of {name}"] = lambda m, loss=loss: escape.steps_to_escape(
            loss.law, m, 3, *loss.exponent, learning_rate=0.1
        )
    values = check_formulas_of_a_margin(formulas)
    # no margin takes no time
    assert {name for name, value in values.items() if value[0, 0] != 0} == {"adam"}


def test_classes_may_be_an_array_and_margins_integers():
    for name, loss in LOSSES.items():
        received = jit_once(loss.law.time)(2, np.array([2, 3]), *loss.exponent)
        assert received.dtype == jnp.float32, name
        expected = exact_time(loss, 2, 3)
        np.testing.assert_allclose(received[1], expected, rtol=1e-6, err_msg=name)
