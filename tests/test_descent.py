import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import softmax

from jaxent import descent
from jaxent.descent import Status, descend, escape_steps, fit
from tests.leaks import checking_leaks


def cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits))


def brier_score(logits, targets):
    return jnp.sum((jax.nn.softmax(logits) - targets) ** 2)


def squared_error(logits, targets):
    return jnp.sum((logits - targets) ** 2)


def half_square(x):
    """Plain descent with rate η multiplies x by 1 − η."""
    return x**2 / 2


def counted(loss):
    """The loss, with a list that grows by one whenever Python runs it: at each trace."""
    traces = []

    def counting(*args):
        traces.append(1)
        return loss(*args)

    return counting, traces


TARGETS = (0.7, 0.2, 0.1)
START = (0.3, -1.0, 2.0)

OPTIMIZERS = {
    "momentum": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "schedule": lambda: optax.sgd(optax.cosine_decay_schedule(1.0, 10)),
    "adam": lambda: optax.adam(0.1),
    "lion": lambda: optax.lion(0.1),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0)),
    "noise": lambda: optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(0)), optax.sgd(0.5)),
    "hyperparameters": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "every third step": lambda: optax.MultiSteps(optax.sgd(0.5), 3).gradient_transformation(),
    "value": lambda: optax.polyak_sgd(),
    "plateau": lambda: optax.chain(optax.sgd(5.0), optax.contrib.reduce_on_plateau(patience=1)),
    "a step after the search": lambda: optax.chain(
        optax.sgd(1.0),
        optax.scale_by_backtracking_linesearch(15, store_grad=True),
        optax.scale(0.5),
    ),
    "lbfgs": lambda: optax.lbfgs(),
}


def test_trajectory_is_that_of_a_python_loop_over_jitted_steps(float64):
    optimizers = {name: optimizer() for name, optimizer in OPTIMIZERS.items()}
    start, targets = np.array(START), np.array(TARGETS)

    def loss(logits):
        return cross_entropy(logits, targets)

    def record(params, value, grad):
        return {"path": params, "loss": value, "gradient": grad}

    @jax.jit  # all in one program: compiling is what takes time here
    def descend_by_each(start):
        return {
            name: descend(loss, start, optimizer, steps=10, record=record)
            for name, optimizer in optimizers.items()
        }

    @jax.jit
    def init_of_each(point):
        def strongly_typed(x):  # or the step is compiled twice
            return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x.astype(x.dtype)

        states = {name: optimizer.init(point) for name, optimizer in optimizers.items()}
        return jax.tree.map(strongly_typed, states)

    @jax.jit
    def step_of_each(points, states, values, gradients):
        moved = {}
        for name, optimizer in optimizers.items():
            value, grad = values[name], gradients[name]
            updates, state = optax.with_extra_args_support(optimizer).update(
                grad, states[name], points[name], value=value, grad=grad, value_fn=loss
            )
            moved[name] = optax.apply_updates(points[name], updates), state
        return {name: point for name, (point, _) in moved.items()}, {
            name: state for name, (_, state) in moved.items()
        }

    points: Any = dict.fromkeys(optimizers, start)
    states = init_of_each(start)
    loop = []
    for _ in range(11):
        q = {name: softmax(z) for name, z in points.items()}
        values = {name: -targets @ np.log(q[name]) for name in q}
        gradients = {name: q[name] - targets for name in q}
        loop.append((points, values, gradients))
        points, states = step_of_each(points, states, values, gradients)

    for name, received in descend_by_each(start).items():
        close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12, err_msg=name)
        path, values, gradients = ([row[name] for row in rows] for rows in zip(*loop, strict=True))
        close(received.record["path"], path[:-1])
        close(received.record["loss"], values[:-1])
        close(received.record["gradient"], gradients[:-1])
        close(received.params, path[-1])
        close(received.value, values[-1])
        assert received.steps_taken == 10, name
        assert received.status == Status.max_steps, name


# ---- records ---------------------------------------------------------------------------------


def test_row_k_is_the_state_before_update_k_and_the_last_point_comes_after_the_rows(float64):
    def record(*state):
        return descent.record_path(*state), descent.record_loss(*state)

    received = descend(half_square, 1.0, optax.sgd(0.25), steps=4, record=record)
    x = 0.75 ** np.arange(5)
    np.testing.assert_allclose(received.record[0], x[:4], rtol=1e-15)
    np.testing.assert_allclose(received.record[1], x[:4] ** 2 / 2, rtol=1e-15)
    np.testing.assert_allclose(received.params, x[4], rtol=1e-15)
    np.testing.assert_allclose(received.value, x[4] ** 2 / 2, rtol=1e-15)


def test_nothing_is_recorded_when_nothing_is_asked_for():
    received = descend(half_square, 1.0, optax.sgd(0.25), steps=4, record=None)
    assert received.record is None
    np.testing.assert_allclose(received.params, 0.75**4)


def test_recorded_gradient_norm_neither_underflows_nor_overflows():
    sizes = [
        (jnp.float32, 1e-30),
        (jnp.float32, 1e30),
        (jnp.float16, 100.0),
        (jnp.bfloat16, 1e30),
    ]

    def norm(dtype, size):
        gradient = (np.array([3.0, 4.0]) * size).astype(dtype)
        return descend(
            lambda x: jnp.sum(x * gradient),
            jnp.zeros(2, dtype),
            optax.sgd(0.0),
            steps=1,
            record=descent.record_gradient_norm,
        ).record[0]

    norms = jax.jit(lambda: [norm(dtype, size) for dtype, size in sizes])()
    for received, (dtype, size) in zip(norms, sizes, strict=True):
        assert received.dtype == jnp.float32
        np.testing.assert_allclose(received, 5 * size, rtol=float(jnp.finfo(dtype).eps))


def test_recorded_gradient_norm_is_over_all_leaves_and_has_a_derivative_at_zero():
    @jax.jit
    @jax.value_and_grad
    def norm(x):
        def objective(tree):
            return 3 * x * tree["a"] + jnp.sum(4 * x * tree["b"])

        start = {"a": jnp.array(1.0), "b": jnp.array([1.0]), "empty": jnp.zeros((0, 2))}
        record = descent.record_gradient_norm
        return descend(objective, start, optax.sgd(0.0), steps=1, record=record).record[0]

    np.testing.assert_allclose(norm(2.0), (10.0, 5.0), rtol=1e-6)
    _, derivative = norm(0.0)
    assert derivative == 0.0


def test_rows_after_a_stop_are_nan_and_in_integers_what_jax_fills_in():
    def record(params, value, grad):
        return {
            "float": params,
            "signed": jnp.int16(7),
            "unsigned": jnp.uint8(7),
            "bool": params < 0,
        }

    # |∇f| = 2⁻ᵏ: 0.3 is reached by the second update
    received = descend(half_square, 1.0, optax.sgd(0.5), steps=4, record=record, tolerance=0.3)
    assert received.steps_taken == 2
    expected = {
        "float": [1.0, 0.5, np.nan, np.nan],
        "signed": [7, 7, -(2**15), -(2**15)],
        "unsigned": [7, 7, 255, 255],
        "bool": [False, False, True, True],
    }
    for name, rows in expected.items():
        np.testing.assert_array_equal(received.record[name], rows)
    filled = jax.jit(lambda: jnp.zeros(1, jnp.int16).at[1].get(mode="fill"))()
    assert np.asarray(received.record["signed"])[-1] == filled


# ---- stops -----------------------------------------------------------------------------------


def test_overflow_is_divergence_and_the_last_finite_point_is_kept():
    # x is multiplied by −9; x² fits float32 up to 9⁴⁰ = 1.5e38, and 9⁴² is too much
    received = descend(lambda x: x**2, jnp.float32(1.0), optax.sgd(5.0), steps=30)
    assert received.status == Status.diverged
    assert received.steps_taken == 20
    np.testing.assert_allclose(received.params, 9.0**20, rtol=1e-5)
    np.testing.assert_allclose(received.value, 9.0**40, rtol=1e-5)
    np.testing.assert_array_equal(np.isfinite(received.record), np.arange(30) < 20)


def test_divergence_in_the_very_last_update_is_taken_back():
    received = descend(lambda x: x**2, jnp.float32(1.0), optax.sgd(5.0), steps=21)
    assert received.status == Status.diverged
    assert received.steps_taken == 20
    assert np.isfinite(received.value)


def test_infinite_gradient_of_a_finite_value_stops_a_descent_that_would_go_on():
    # Each step takes 1 from x. The gradient of the cube root is infinite at 0, and nowhere else.
    by_sign = optax.chain(optax.stateless(lambda g, _: jax.tree.map(jnp.sign, g)), optax.sgd(1.0))
    run = partial(descend, jnp.cbrt, optimizer=by_sign, steps=20_000)
    # of two parts: within the first, the last point of the first, the first steps of the second
    starts = np.array([3.0, 1e4, 10_001.0, 10_002.0, 19_999.0, 2e4, 3.5])
    received = jax.jit(jax.vmap(lambda x: run(x)))(starts)
    np.testing.assert_array_equal(
        received.steps_taken, [2, 9999, 10_000, 10_001, 19_998, 19_999, 20_000]
    )
    np.testing.assert_array_equal(received.params, [1, 1, 1, 1, 1, 1, -19_996.5])
    np.testing.assert_allclose(received.value, np.cbrt(np.asarray(received.params)), rtol=1e-6)
    assert (np.asarray(received.status)[:-1] == Status.diverged).all()
    assert np.asarray(received.status)[-1] == Status.max_steps
    for index in (0, 1):
        alone = run(jnp.float32(starts[index]))
        assert alone.status == Status.diverged
        assert alone.steps_taken == starts[index] - 1
        assert alone.params == alone.value == 1.0
        np.testing.assert_array_equal(alone.record, np.asarray(received.record)[index])
    params, derivative = jax.jit(jax.value_and_grad(lambda x: run(x).params))(3.0)
    assert params == derivative == 1.0


@pytest.mark.parametrize(
    ("objective", "start"),
    [(jnp.log, -1.0), (lambda x: 1 / x, 0.0), (jnp.sqrt, 0.0)],
    ids=["NaN", "infinite value", "infinite gradient alone"],
)
def test_start_that_is_not_finite_is_divergence_at_step_zero(objective, start):
    received = descend(objective, start, optax.sgd(0.1), steps=3, tolerance=1.0)
    assert received.status == Status.diverged
    assert received.steps_taken == 0
    assert received.params == start
    assert np.isnan(received.record).all()


def test_impossible_class_with_logit_minus_infinity_is_no_divergence():
    def loss(logits, targets):
        return jax.nn.logsumexp(logits) - jnp.sum(targets[:2] * logits[:2])

    logits, targets = jnp.array([0.0, 0.0, -jnp.inf]), jnp.array([0.75, 0.25, 0.0])
    received = fit(loss, logits, targets, optax.sgd(1.0), steps=100, tolerance=1e-6)
    assert received.status == Status.converged
    first, second, _ = np.asarray(received.params)
    np.testing.assert_allclose(first - second, math.log(3), rtol=1e-5)


def test_descend_stops_at_the_first_gradient_within_the_tolerance():
    optimizer = optax.sgd(0.5)

    def run(steps, tolerance):
        return descend(half_square, 1.0, optimizer, steps=steps, tolerance=tolerance)

    # x = 2⁻ᵏ is exact
    for steps in (6, 7, 20):  # 6: noticed after the last update, too
        received = run(steps, 2.0**-6)
        assert received.status == Status.small_gradient
        assert received.steps_taken == 6
        assert received.params == 2.0**-6
    assert run(5, 2.0**-6).status == Status.max_steps
    assert run(5, 1.0).steps_taken == 0
    assert run(5, 1.0).status == Status.small_gradient


def test_fit_stops_at_the_first_q_within_the_tolerance_of_p(float64):
    targets, rate, tolerance = np.array(TARGETS), 0.5, 1e-3
    logits = np.zeros(3)
    expected = 0
    while np.abs(np.exp(logits) / np.exp(logits).sum() - targets).max() > tolerance:
        logits -= rate * (np.exp(logits) / np.exp(logits).sum() - targets)
        expected += 1
    received = fit(
        cross_entropy,
        jnp.zeros(3),
        jnp.array(targets),
        optax.sgd(rate),
        steps=200,
        tolerance=tolerance,
    )
    assert received.status == Status.converged
    assert received.steps_taken == expected
    np.testing.assert_allclose(received.params, logits, rtol=1e-12)


def test_plateau_is_not_called_converged():
    logits, targets = jnp.array([-30.0, 0.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
    optimizer = optax.sgd(0.1)
    fitted = fit(brier_score, logits, targets, optimizer, steps=10, tolerance=1e-3)
    assert fitted.status == Status.max_steps
    descended = descend(
        lambda z: brier_score(z, targets), logits, optimizer, steps=10, tolerance=1e-3
    )
    assert descended.status == Status.small_gradient


def test_convergence_is_judged_by_all_that_q_lacks_where_it_rounds_to_one():
    # 1 − q = 100 e⁻²⁵ = 1.4e-9 for the truth, though q is 1 in float32; q = 1.4e-11 elsewhere
    logits, targets = jnp.array(25 * np.eye(101)[0]), jnp.array(np.eye(101)[0])
    run = partial(fit, cross_entropy, logits, targets, optax.sgd(0.0), steps=1)
    lacking = 100 * math.exp(-25)
    assert run(tolerance=0.99 * lacking).status == Status.max_steps
    assert run(tolerance=1.01 * lacking).status == Status.converged


def test_cross_entropy_past_its_step_limit_settles_on_the_known_two_cycle(float64):
    @jax.jit
    @jax.vmap
    def gaps(rate):
        logits, targets = jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5])
        run = fit(
            cross_entropy,
            logits,
            targets,
            optax.sgd(rate),
            steps=2000,
            record=lambda z, value, grad: z[0] - z[1],
        )
        return run.record

    rates = np.array([3.9, 4.1, 6.0, 8.0])
    received = np.asarray(gaps(rates))[:, -2:]

    def half_cycle(rate) -> Any:
        if rate <= 4:
            return 0.0
        return brentq(lambda g: g - rate / 2 * math.tanh(g / 2), 1e-3, rate, xtol=1e-14)

    expected = [[half_cycle(rate)] * 2 for rate in rates]
    np.testing.assert_allclose(np.abs(received), expected, rtol=1e-9, atol=1e-9)
    assert (received[1:, 0] * received[1:, 1] < 0).all()


# ---- trees and precisions --------------------------------------------------------------------


def test_trees_keep_their_structure_and_every_leaf_its_precision():
    start = {
        "half": np.ones((2, 3), jnp.bfloat16),
        "nested": (1.0, np.zeros((0, 4), np.float32), None),
        "other half": np.ones(2, np.float16),
    }

    def objective(tree):
        squares = [jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in jax.tree.leaves(tree)]
        return jnp.sum(jnp.stack(squares))

    # a hyperparameter that is an array, as under vmap, would promote the half-precision moments
    optimizer = optax.adam(0.1, b1=jnp.float32(0.9))
    received = descend(objective, start, optimizer, steps=5, record=descent.record_path)
    assert jax.tree.structure(received.params) == jax.tree.structure(start)
    for leaf, last, rows in zip(
        jax.tree.leaves(start),
        jax.tree.leaves(received.params),
        jax.tree.leaves(received.record),
        strict=True,
    ):
        assert last.dtype == rows.dtype == jnp.result_type(leaf)
        assert rows.shape == (5, *jnp.shape(leaf))
        assert (np.abs(last) < 1).all()
    assert received.value < 9


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_fit_computes_in_the_precision_of_the_logits(dtype):
    received = fit(
        cross_entropy,
        jnp.zeros(3, dtype),
        jnp.array(TARGETS, dtype),
        optax.adam(0.1),
        steps=100,
        tolerance=0.02,
    )
    assert received.params.dtype == received.value.dtype == received.record.dtype == dtype
    assert received.status == Status.converged


def test_fit_takes_whole_numbers_as_targets():
    optimizer = optax.sgd(1.0)
    for targets in ([1, 0, 0], [True, False, False]):
        received = fit(cross_entropy, jnp.zeros(3), jnp.array(targets), optimizer, steps=1)
        np.testing.assert_allclose(received.params, [2 / 3, -1 / 3, -1 / 3], rtol=1e-6)


def test_status_is_an_int32_that_names_itself():
    received = descend(half_square, 1.0, optax.sgd(0.5), steps=1)
    assert received.status.dtype == received.steps_taken.dtype == jnp.int32
    assert Status(received.status).name == "max_steps"


# ---- transformations -------------------------------------------------------------------------


def test_thousand_step_sizes_compile_as_one():
    loss, traces = counted(cross_entropy)
    start, targets = jnp.zeros(3), jnp.array(TARGETS)

    @jax.jit
    @jax.vmap
    def run(rate):
        return fit(loss, start, targets, optax.sgd(rate), steps=20)

    run(np.array([0.1]))
    for_one = len(traces)
    rates = np.geomspace(0.01, 4.0, 1000)
    received = run(rates)
    assert len(traces) == 2 * for_one
    run(2 * rates)
    assert len(traces) == 2 * for_one
    alone = fit(cross_entropy, start, targets, optax.sgd(rates[500]), steps=20)
    np.testing.assert_allclose(np.asarray(received.record)[500], alone.record, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(received.params)[500], alone.params, rtol=1e-4)


def test_blocks_of_fits_are_the_fits_also_under_an_optimizer_that_looks_at_norms(float64):
    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.1))
    starts = np.array([START, (0.0, 0.0, 0.0), (-1e6, 0.0, 0.0)])
    targets = np.array([TARGETS, (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)])
    run = partial(fit, cross_entropy, optimizer=optimizer, steps=30, tolerance=1e-2)

    @jax.jit
    def in_blocks(examples):
        return jax.lax.map(lambda one: run(*one), examples, batch_size=2)

    received = in_blocks((starts, targets))
    for index in range(3):
        alone = run(starts[index], targets[index])
        for expected, batched in zip(
            jax.tree.leaves(alone), jax.tree.leaves(received), strict=True
        ):
            np.testing.assert_allclose(np.asarray(batched)[index], expected, rtol=1e-9, atol=1e-12)


def test_members_of_a_batch_stop_each_in_their_own_time():
    # |∇f| = 2⁻ᵏ x₀; the last one diverges
    starts = np.array([1.0, 2.0, 4.0, np.nan])
    run = partial(descend, half_square, optimizer=optax.sgd(0.5), steps=10, tolerance=0.25)
    received = jax.jit(jax.vmap(lambda x: run(x)))(starts)
    np.testing.assert_array_equal(received.steps_taken, [2, 3, 4, 0])
    small = Status.small_gradient
    np.testing.assert_array_equal(received.status, [small, small, small, Status.diverged])
    np.testing.assert_array_equal(np.isfinite(received.record).sum(axis=1), [2, 3, 4, 0])


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd])
def test_end_of_a_descent_is_differentiable(float64, derivative):
    def end(rate, start):
        return descend(half_square, start, optax.sgd(rate), steps=10).params

    rate, start = 0.1, 3.0
    received = jax.jit(derivative(end, argnums=(0, 1)))(rate, start)
    np.testing.assert_allclose(received, [-10 * 0.9**9 * start, 0.9**10], rtol=1e-12)
    second = jax.jit(jax.vmap(derivative(jax.grad(end)), in_axes=(0, None)))
    expected = 90 * 0.9**8 * start
    np.testing.assert_allclose(second(np.array([rate]), start), [expected], rtol=1e-12)


def test_derivative_of_a_descent_that_stopped_is_that_of_the_steps_taken(float64):
    def end(start):
        run = descend(half_square, start, optax.adam(0.1), steps=100, tolerance=0.5)
        return run.params, run.steps_taken

    derivative, steps_taken = jax.jit(jax.grad(end, has_aux=True))(2.0)
    steps = int(steps_taken)
    short = jax.jit(
        jax.grad(lambda start: descend(half_square, start, optax.adam(0.1), steps=steps).params)
    )
    assert 0 < steps_taken < 100
    np.testing.assert_allclose(derivative, short(2.0), rtol=1e-12)


def test_no_tracer_leaks_and_none_is_left_behind_by_an_optimizer_that_closes_over_one():
    def run(rate):
        fitted = fit(cross_entropy, jnp.zeros(3), jnp.array(TARGETS), optax.sgd(rate), steps=5)
        return fitted.value, escape_steps(cross_entropy, 1.0, optax.sgd(rate)).steps

    rates = np.array([0.1, 0.2])
    with checking_leaks():
        eager = jax.vmap(run)(rates)
        jitted = jax.jit(jax.vmap(run))(rates)
    np.testing.assert_allclose(eager, jitted, rtol=1e-6)


def test_runs_with_nans_hunted_and_rank_promotion_refused():
    run = partial(fit, cross_entropy, jnp.zeros(3), jnp.array(TARGETS), steps=50)
    with jax.debug_nans(True), jax.numpy_rank_promotion("raise"):
        for optimizer in (optax.adam(0.1), optax.lbfgs()):
            assert run(optimizer=optimizer, record=descent.record_gradient_norm).value < 0.81
        escaped = escape_steps(brier_score, 2.0, optax.sgd(0.1), num_classes=3)
    assert escaped.status == Status.converged


# ---- compiled once ---------------------------------------------------------------------------


def test_second_call_with_the_same_functions_does_not_trace_again():
    loss, traces = counted(cross_entropy)
    objective, objective_traces = counted(half_square)
    optimizer = optax.sgd(0.1)

    def run(shift):
        logits, targets = jnp.array([shift, 0.0, 0.0]), jnp.array(np.roll(TARGETS, shift))
        fit(loss, logits, targets, optimizer, steps=5, tolerance=0.1 * shift)
        descend(objective, 1.0 + shift, optimizer, steps=5)
        escape_steps(loss, 1.0 + shift, optimizer, max_steps=100 + shift)

    run(0)
    before = len(traces), len(objective_traces)
    run(1)
    assert (len(traces), len(objective_traces)) == before


def test_equal_code_that_closes_over_other_data_is_another_objective():
    optimizer = optax.sgd(1.0)
    for center in (1.0, 2.0):
        received = descend(lambda x, c=center: (x - c) ** 2 / 2, 0.0, optimizer, steps=1)
        assert received.params == center


def test_callable_objects_that_cannot_be_hashed_are_losses_too():
    @dataclass
    class Scaled:
        factor: float

        def __call__(self, logits, targets):
            return self.factor * squared_error(logits, targets)

    received = fit(Scaled(0.5), jnp.zeros(2), jnp.array([1.0, 0.0]), optax.sgd(1.0), steps=1)
    np.testing.assert_array_equal(received.params, [1.0, 0.0])


# ---- progress --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "rate", "tolerance", "status"),
    [
        (cross_entropy, 0.01, 1e-5, Status.converged),
        (
            squared_error,
            optax.piecewise_constant_schedule(1e-4, {2600: 1e5}),
            None,
            Status.diverged,
        ),
    ],
)
def test_progress_changes_no_bit_and_adds_up_to_the_steps(loss, rate, tolerance, status):
    optimizer = optax.adam(rate) if tolerance else optax.sgd(rate)
    logits, targets = jnp.array(START), jnp.array(TARGETS)
    run = partial(fit, loss, logits, targets, optimizer, steps=5000, tolerance=tolerance)
    done = []
    plain, shown = run(), run(progress=done.append)
    for expected, received in zip(jax.tree.leaves(plain), jax.tree.leaves(shown), strict=True):
        np.testing.assert_array_equal(received, expected)
    assert plain.status == status
    assert plain.steps_taken > 0
    assert done == [1000] * 5


@pytest.mark.parametrize("steps", [1, 999, 1999, 2001, 123_456, 1_000_001])
def test_progress_is_shown_at_most_a_hundred_times_and_never_for_less_than_1000_steps(steps):
    done = []
    descend(half_square, 1.0, SGD, steps=steps, record=None, progress=done.append)
    assert sum(done) == steps
    assert len(done) <= 100
    assert min(done) >= min(steps, 1000)
    assert len(set(done)) <= 2


@pytest.mark.parametrize(
    "transform",
    [jax.jit, lambda f: lambda x: jax.vmap(f)(x[None]), jax.grad],
    ids=["jit", "vmap", "grad"],
)
def test_progress_inside_a_transformation_is_refused(transform):
    def run(rate):
        run = descend(half_square, 1.0, optax.sgd(rate), steps=3, progress=shown.append)
        return run.value

    shown = []

    with pytest.raises(ValueError, match="progress cannot be shown inside jit, vmap or grad"):
        transform(run)(np.float32(0.1))
    assert not shown


# ---- escape ----------------------------------------------------------------------------------


def escape_time(kind, classes, margin):
    """The gradient flow's time from a gap of −m to a tie, wrong mass even."""
    others, e = classes - 1, math.exp
    if kind == "cross-entropy":
        return (1 - e(-margin) + others * margin) / classes
    terms = (1 - e(-2 * margin)) / 2 + 3 * others * (1 - e(-margin)) + 3 * others**2 * margin
    return (terms + others**3 * (e(margin) - 1)) / (2 * classes**2)


def escape_speed(kind, classes, gap):
    """d gap/dt under the flow, from the gradients q − p and 2 q∘(r − q·r)."""
    others = classes - 1
    true = 1 / (1 + others * math.exp(-gap))
    q = np.array([true] + [(1 - true) / others] * others)
    residual = q - np.eye(classes)[0]
    gradient = residual if kind == "cross-entropy" else 2 * q * (residual - q @ residual)
    return gradient[1] - gradient[0]


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize(
    ("kind", "loss"), [("cross-entropy", cross_entropy), ("Brier", brier_score)]
)
def test_escape_takes_the_flow_time_with_the_discrete_correction(float64, kind, loss, classes):
    # N η = T + (η/2) ln(f₁/f₀) + O(η²)
    cases = [(rate, margin) for rate in (0.1, 0.03) for margin in (0.5, 1.0, 3.0, 6.0)]

    def steps(rate, margin):
        return escape_steps(loss, margin, optax.sgd(rate), num_classes=classes).steps

    received = jax.jit(jax.vmap(steps))(*np.array(cases).T)
    end = escape_speed(kind, classes, 0.0)
    expected = [
        escape_time(kind, classes, margin) / rate
        + math.log(end / escape_speed(kind, classes, -margin)) / 2
        for rate, margin in cases
    ]
    np.testing.assert_allclose(received, expected, rtol=0, atol=0.05)


def test_escape_of_hundred_thousands_of_steps_keeps_the_digits_of_float64(float64):
    margin, rate, classes = 9.0, 0.1, 10
    received = escape_steps(brier_score, np.float64(margin), optax.sgd(rate), num_classes=classes)
    ratio = escape_speed("Brier", classes, 0.0) / escape_speed("Brier", classes, -margin)
    expected = escape_time("Brier", classes, margin) / rate + math.log(ratio) / 2
    assert expected > 200_000
    np.testing.assert_allclose(received.steps, expected, rtol=0, atol=0.05)


def test_escape_of_raw_logits_is_their_linear_recurrence(float64):
    cases = [(rate, margin) for rate in (0.1, 0.01) for margin in (0.3, 1.0, 5.0, 20.0)]

    def steps(rate, margin):
        return escape_steps(squared_error, margin, optax.sgd(rate)).steps

    received = jax.jit(jax.vmap(steps))(*np.array(cases).T)
    for (rate, margin), count in zip(cases, np.asarray(received), strict=True):
        # each step shrinks z_y − 1 by 1 − 2η, and the wrong logits stay where their targets are
        def gap(step, rate=rate, margin=margin):
            return 1 - (1 + margin) * (1 - 2 * rate) ** step

        before = math.floor(math.log(1 + margin) / -math.log(1 - 2 * rate))
        expected = before - gap(before) / (gap(before + 1) - gap(before))
        np.testing.assert_allclose(count, expected, rtol=1e-11, err_msg=f"{rate=} {margin=}")


def test_escape_from_one_wrong_class_takes_the_time_of_the_integrated_flow(float64):
    # dτ = dt/Σeᶻ: e^{−z_j} = c_j + τ for the wrong classes, z_y = z_y(0) + Σ ln(1 + τ/c_j) and
    # t = e^{z_y(0)} ∫ Π(1 + s/c_j) ds + Σ ln(1 + τ/c_j)
    margin, classes, rate = 4.0, 5, 1e-3
    c = np.exp(-np.array([0.0] + [-margin] * (classes - 2)))

    def lead(tau):
        return -margin + np.log1p(tau / c).sum() + np.log(c + tau).min()

    tau = brentq(lead, 0.0, 1e4)
    time = math.exp(-margin) * quad(lambda s: np.prod(1 + s / c), 0, tau)[0]
    time += np.log1p(tau / c).sum()
    received = escape_steps(
        cross_entropy, np.float64(margin), optax.sgd(rate), num_classes=classes, spread="one"
    )
    assert abs(received.steps - time / rate) < 1.0  # of 4,000: the discrete correction is left out


def test_crossing_is_interpolated_between_two_steps(float64):
    optimizer = optax.sgd(0.5)

    def loss(z, p):  # the gap grows by 2·0.4·0.5 = 0.4 a step
        return 0.4 * (z[1] - z[0])

    for margin in (0.0, 0.5, 0.8, 3.1):
        received = escape_steps(loss, np.float64(margin), optimizer, max_steps=10)
        np.testing.assert_allclose(received.steps, margin / 0.4, rtol=1e-12)
        assert received.status == Status.converged


def test_escape_that_never_comes_takes_max_steps():
    received = escape_steps(cross_entropy, 5.0, optax.sgd(1e-3), max_steps=17)
    assert received.steps == 17
    assert received.status == Status.max_steps


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, p: jnp.log(z[1] - 2.0) * z[0],  # NaN at the start
        lambda z, p: -jnp.exp(-30 * z[0]),  # jumps to infinity
    ],
)
def test_divergence_is_no_escape(loss):
    received = escape_steps(loss, 2.0, optax.sgd(1.0), max_steps=100)
    assert received.status == Status.diverged
    assert received.steps == 100


def test_margin_that_is_not_finite_is_divergence_when_it_is_traced():
    run = jax.jit(jax.vmap(lambda margin: escape_steps(cross_entropy, margin, optax.sgd(1.0))))
    received = run(np.array([np.nan, np.inf]))
    np.testing.assert_array_equal(received.status, [Status.diverged, Status.diverged])


def test_escape_counts_in_the_precision_of_the_margin(float64):
    optimizer = optax.adam(0.1, b1=jnp.float64(0.9))
    for dtype in (jnp.float32, jnp.float64):
        margin = np.asarray(2.0, dtype)
        assert escape_steps(cross_entropy, margin, optimizer).steps.dtype == dtype
    assert escape_steps(cross_entropy, 2, optimizer).steps.dtype == jnp.float64


def test_escape_in_half_precision_counts_beyond_2048_steps():
    margin = np.float16(2.0)
    received = escape_steps(cross_entropy, margin, optax.sgd(0.0), max_steps=2049)
    assert received.steps == 2049


def test_escape_with_an_optimizer_that_searches():
    search = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15))
    plain = escape_steps(cross_entropy, 3.0, optax.sgd(1.0))
    # a step of 1 is always accepted: it is below 2/L
    np.testing.assert_allclose(
        escape_steps(cross_entropy, 3.0, search).steps, plain.steps, rtol=1e-5
    )


# ---- bad input -------------------------------------------------------------------------------

SGD = optax.sgd(0.1)
THREE = np.zeros(3, np.float32)


def quick_fit(
    logits: Any = THREE,
    targets: Any = THREE,
    optimizer: Any = SGD,
    steps: Any = 1,
    loss=cross_entropy,
    **options,
):
    return fit(loss, logits, targets, optimizer, steps=steps, **options)


def quick_descend(
    params: Any = 1.0, optimizer: Any = SGD, steps: Any = 1, objective=half_square, **options
):
    return descend(objective, params, optimizer, steps=steps, **options)


def quick_escape(margin: Any = 1.0, optimizer: Any = SGD, loss=cross_entropy, **options):
    return escape_steps(loss, margin, optimizer, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(quick_descend, steps=0), ValueError, "steps must be at least 1, but it is 0"),
        (partial(quick_descend, steps=2.0), TypeError, "steps must be an int, but it is 2.0"),
        (partial(quick_fit, steps=True), TypeError, "steps must be an int, but it is True"),
        (
            partial(quick_descend, params={"w": [1.0, 2]}),
            TypeError,
            r"params must be floating point, but their dtype at \['w'\]\[1\] is int32",
        ),
        (
            partial(quick_descend, params=1j),
            TypeError,
            "params must be floating point, but their dtype is complex64",
        ),
        (
            partial(quick_descend, params=THREE),
            ValueError,
            r"the objective returned shape \(3,\)",
        ),
        (
            partial(quick_fit, loss=lambda z, p: (z - p) ** 2),
            ValueError,
            r"the objective returned shape \(3,\)",
        ),
        (
            partial(quick_escape, loss=lambda z, p: (z - p) ** 2),
            ValueError,
            r"the objective returned shape \(2,\)",
        ),
        (
            partial(quick_descend, optimizer=optax.sgd),
            TypeError,
            r"optimizer must be an optax.GradientTransformation such as optax.sgd\(0.1\)",
        ),
        (partial(quick_fit, optimizer=0.1), TypeError, "GradientTransformation .*but it is 0.1"),
        (partial(quick_escape, optimizer=None), TypeError, "GradientTransformation .*it is None"),
        (partial(quick_descend, tolerance=-1.0), ValueError, "tolerance must lie in .* it is -1"),
        (partial(quick_fit, tolerance=np.nan), ValueError, "tolerance must lie in .* it is nan"),
        (partial(quick_fit, tolerance=THREE), ValueError, r"tolerance must be .* shape is \(3,\)"),
        (partial(quick_descend, record="loss"), TypeError, "record must be a function .* 'loss'"),
        (partial(quick_fit, progress=True), TypeError, "progress must be a function .* is True"),
        (
            partial(quick_fit, logits=np.zeros((4, 3))),
            ValueError,
            r"one distribution, of shape \[C\], but theirs is \(4, 3\); batch it with jax.vmap",
        ),
        (partial(quick_fit, logits=0.0), ValueError, r"of shape \[C\], but theirs is \(\)"),
        (
            partial(quick_fit, targets=np.zeros(2)),
            ValueError,
            r"logits and targets must have the same shape.* \(3,\) and \(2,\)",
        ),
        (
            partial(quick_fit, logits=np.zeros(3, np.int32)),
            TypeError,
            "logits must be floating point, but their dtype is int32",
        ),
        (
            partial(quick_fit, targets=np.zeros(3, np.complex64)),
            TypeError,
            "targets must be real, but their dtype is complex64",
        ),
        (partial(quick_escape, margin=-1.0), ValueError, "margin must lie in .* it is -1"),
        (partial(quick_escape, margin=np.nan), ValueError, "margin must lie in .* it is nan"),
        (
            partial(quick_escape, margin=THREE),
            ValueError,
            r"margin must be a scalar, but its shape is \(3,\); batch it with jax.vmap",
        ),
        (partial(quick_escape, margin=True), TypeError, "margin must be .* its dtype is bool"),
        (
            partial(quick_escape, spread="all"),
            ValueError,
            'spread must be "even" or "one", but it is \'all\'',
        ),
        (partial(quick_escape, num_classes=1), ValueError, "num_classes must be at least 2"),
        (partial(quick_escape, num_classes=2.0), TypeError, "num_classes must be an int"),
        (partial(quick_escape, max_steps=0), ValueError, "max_steps must be at least 1"),
        (partial(quick_escape, max_steps=2**31), ValueError, "at most 2147483647, but it is 2147"),
        (partial(quick_escape, max_steps=1e6), TypeError, "max_steps must be an int"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()
