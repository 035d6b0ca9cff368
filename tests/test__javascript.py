"""What JavaScript says of a loss, held to what JAX says of it."""

import functools
import math
import re
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxent import _catalogue, _javascript
from jaxent._javascript.program import HELPERS
from tests.browser import chromium
from tests.javascript import points, run


@pytest.fixture(scope="module")
def page():
    with chromium() as browser:
        yield browser.new_page()


translated = functools.cache(_javascript.translate)


def reference(loss, logits, targets):
    """[N, 4]: value and gradient at each point, by JAX, in the dtype of the points."""
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))(logits, targets)
    return np.column_stack([values, gradients]).astype(float)


def assert_close(received, expected, relative=1e-9):
    assert np.isfinite(expected).all()
    allowed = relative * np.linalg.norm(expected[:, 1:], axis=-1) + 1e-12
    errors = np.abs(received[:, 1:] - expected[:, 1:]).max(-1)
    assert (errors <= allowed).all(), (errors / allowed).max()
    np.testing.assert_allclose(received[:, 0], expected[:, 0], rtol=1e-12, atol=1e-12)


def check(page, loss, same=None):
    """That the translation is the loss, or the same written otherwise."""
    translation = translated(loss)
    assert translation[1:] == (True, False, 0.0, "")
    logits, targets = points()
    (received,) = run(page, [translation.source], logits, targets)
    assert_close(received, reference(same or loss, logits, targets))


# Losses

BUILT_IN = _catalogue.named(_catalogue.built_in())


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_loss_of_the_package_is_translated(page, float64, name):
    check(page, BUILT_IN[name])


def test_losses_of_the_package_are_short():
    sizes = [len(translated(loss).source) for loss in BUILT_IN.values()]
    assert max(sizes) < 2000


OPTAX = {
    "softmax_cross_entropy": optax.losses.softmax_cross_entropy,
    "poly_loss_cross_entropy": optax.losses.poly_loss_cross_entropy,
    "safe_softmax_cross_entropy": optax.losses.safe_softmax_cross_entropy,
    "kl_divergence": lambda z, p: optax.losses.kl_divergence(jax.nn.log_softmax(z), p),
    "generalized_kl_divergence": lambda z, p: optax.losses.generalized_kl_divergence(
        jax.nn.log_softmax(z), p
    ),
    "focal": lambda z, p: optax.losses.sigmoid_focal_loss(z, p, alpha=0.25).sum(),
    "sparsemax": lambda z, p: optax.losses.multiclass_sparsemax_loss(z[None], p.argmax()[None])[0],
    "perceptron": lambda z, p: optax.losses.multiclass_perceptron_loss(z, p.argmax()),
    "hinge": lambda z, p: optax.losses.multiclass_hinge_loss(z, p.argmax()),
    "of_labels": lambda z, p: optax.losses.softmax_cross_entropy_with_integer_labels(z, p.argmax()),
    "cosine": lambda z, p: optax.losses.cosine_distance(z, p, epsilon=1e-9),
}


@pytest.mark.parametrize("name", OPTAX)
def test_losses_of_optax_are_translated(page, float64, name):
    check(page, OPTAX[name])


def temperature(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z / 2.5)) * 2.5**2


def tsallis(z, p, alpha=1.5):
    q = jax.nn.softmax(z)
    return jnp.sum(p * (1 - q ** (alpha - 1))) / (alpha - 1)


def margin(z, p):
    truth = p.argmax()
    others = jnp.where(jnp.arange(3) == truth, -jnp.inf, z)
    return jnp.maximum(0.0, 1 + others.max() - z[truth])


def squared_hinge_of_every_pair(z, p):
    truth = jnp.argmax(p)
    violations = jax.nn.relu(1 + z - z[truth]).at[truth].set(0.0)
    return jnp.sum(violations**2)


def python_loop(z, p):
    total = 0.0
    for i in range(3):
        for j in range(i):
            total += jax.nn.softplus((z[i] - z[j]) * jnp.sign(p[j] - p[i])) + abs(p[i] * z[j])
    return total


def fori_loop(z, p):
    q = jax.nn.softmax(z)
    return lax.fori_loop(0, 3, lambda i, total: total + p[i] * jnp.abs(q[i] - p[i]) ** 1.5, 0.0)


def scanned(z, p):
    """Ten steps of gradient descent on cross-entropy, and what is left."""

    def step(z, rate):
        return z - rate * (jax.nn.softmax(z) - p), z[0]

    z, path = lax.scan(step, z, jnp.linspace(1.0, 0.1, 10), reverse=True)
    return jnp.sum(p * (jax.nn.logsumexp(z) - z)) + 0.01 * path.sum()


def branched(z, p):
    return lax.cond(
        z[0] > z[1], lambda: jnp.sum((z - p) ** 2), lambda: -jnp.sum(p * jax.nn.log_softmax(z))
    )


def switched(z, p):
    branches = [jnp.sum, lambda z: jnp.sum(z**2), lambda z: jax.nn.logsumexp(2 * z)]
    return lax.switch(p.argmax(), branches, z)


def ranked(z, p):
    order = jnp.argsort(-z)
    return jnp.sum(jnp.sort(jax.nn.softmax(z)) * jnp.array([0.1, 0.5, 2.0])) + jnp.sum(
        p[order] * jnp.arange(3.0) * jnp.tanh(z[order])
    )


def top_two(z, p):
    values, places = lax.top_k(z, 2)
    return jnp.log1p(jnp.exp(values[1] - values[0])) + jnp.sum(p[places] * values)


COSTS = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [2.0, 0.5, 0.0]])


def with_costs(z, p):
    return p @ COSTS @ jax.nn.softmax(z) + jnp.einsum("i,ij,j", p, COSTS @ COSTS, jnp.tanh(z))


def median_of_squares(z, p):
    return jnp.median((z - p) ** 2) + jnp.quantile(z, 0.3)


@jax.custom_vjp
def clipped_slope(x):
    return x**2


clipped_slope.defvjp(lambda x: (x**2, x), lambda x, g: (jnp.clip(2 * x, -1, 1) * g,))


def with_custom_vjp(z, p):
    return jnp.sum(clipped_slope(z - p))


def with_remat(z, p):
    return jax.checkpoint(lambda z: -jnp.sum(p * jax.nn.log_softmax(jnp.sin(z))))(z)


def of_normal_noise(z, p):
    noise = jax.random.normal(jax.random.key(0), (4, 3))
    return -jnp.mean(jax.vmap(lambda e: jnp.sum(p * jax.nn.log_softmax(z + e)))(noise))


def probit(z, p):
    return -jnp.sum(p * jnp.log(0.5 * lax.erfc(-z / 8))) + jnp.sum(
        jax.nn.gelu(z, approximate=False)
    )


def dirichlet(z, p):
    concentration = 1 + jax.nn.softplus(z)
    total = concentration.sum()
    return jnp.sum(p * (lax.digamma(total) - lax.digamma(concentration))) + lax.lgamma(total)


def label_smoothed_by_hand(z, p):
    smooth = jnp.full(3, 0.05).at[p.argmax()].add(0.85)
    return -jnp.dot(smooth, jax.nn.log_softmax(z))


def while_with_known_length(z, p):
    def step(state):
        return state[0] + 1, state[1] * 0.5 + p

    _, target = lax.while_loop(lambda state: state[0] < 5, step, (0, jnp.zeros(3)))
    return jnp.sum((z - target) ** 2)


def entmax_by_bisection(z, p):
    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        above = jnp.sum(jnp.maximum(0.5 * z - middle, 0.0) ** 2) > 1
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, _ = lax.fori_loop(0, 40, halve, (jnp.max(0.5 * z) - 1, jnp.max(0.5 * z)))
    q = jnp.maximum(0.5 * z - lax.stop_gradient(low), 0.0) ** 2
    return jnp.sum((q / q.sum() - p) ** 2)


def sinkhorn(z, p):
    cost = jnp.abs(jnp.arange(3.0)[:, None] - jnp.arange(3.0))
    kernel = jnp.exp(-2 * cost)
    rows = columns = jnp.ones(3)
    for _ in range(10):
        columns = (p + 1e-3) / (kernel.T @ rows)
        rows = jax.nn.softmax(z) / (kernel @ columns)
    return jnp.sum(rows[:, None] * kernel * cost * columns)


def interpolated(z, p):
    bins = jnp.array([0.0, 0.3, 0.6, 1.0])
    q = jax.nn.softmax(z)
    return (
        jnp.interp(q[0], bins, bins**2) + p[1] * jnp.searchsorted(bins, q[1], side="right") * z[1]
    )


def with_remarks(z, p):
    jax.debug.print("{z}", z=z)
    return jnp.sum(checkpoint_name(jax.nn.softplus(z), "softplus") * p)


def without_remarks(z, p):
    return jnp.sum(jax.nn.softplus(z) * p)


def constant(z, p):
    return 1.0


OWN = [
    *(entmax_by_bisection, sinkhorn, interpolated, with_remarks, constant, temperature, tsallis),
    *(margin, squared_hinge_of_every_pair, python_loop, fori_loop, scanned, branched, switched),
    *(ranked, top_two, with_costs, median_of_squares, with_custom_vjp, with_remat, of_normal_noise),
    *(probit, dirichlet, label_smoothed_by_hand, while_with_known_length),
]


@pytest.mark.parametrize("loss", OWN, ids=lambda loss: loss.__name__)
def test_a_users_loss_is_translated(page, float64, loss):
    # JAX would print the remarks, point by point, which takes longer than all else
    check(page, loss, without_remarks if loss is with_remarks else None)


STEPS = [
    lambda x, p: jax.nn.softmax(x),
    lambda x, p: jax.nn.log_softmax(2 * x),
    lambda x, p: jnp.tanh(x) - p,
    lambda x, p: jnp.sort(x)[::-1],
    lambda x, p: jnp.cumsum(x * p),
    lambda x, p: x[jnp.argsort(p)] / (1 + x**2),
    lambda x, p: jnp.where(x > 0.1, x, jnp.sin(x)),
    lambda x, p: jnp.outer(x, p) @ jnp.array([1.0, -2.0, 0.5]),
    lambda x, p: jnp.abs(x) ** 1.5 - x[p.argmax()],
    lambda x, p: jnp.clip(x, -1, 2) + lax.erf(x),
    lambda x, p: lax.scan(lambda c, y: (0.5 * c + y, c * y), 0.0, x)[1],
    lambda x, p: jnp.roll(x, 1) * jax.nn.sigmoid(x),
]
ENDS = [jnp.sum, jnp.max, jax.nn.logsumexp, lambda x: jnp.linalg.norm(x + 0.1), jnp.var]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=4),
    end=st.sampled_from(range(len(ENDS))),
)
def test_whatever_is_composed_is_translated(page, steps, end):
    def loss(z, p):
        for step in steps:
            z = STEPS[step](z, p)
        return ENDS[end](z)

    with jax.enable_x64(True):
        translation = _javascript.translate(loss)
        logits, targets = points()
        (received,) = run(page, [translation.source], logits, targets)
        expected = reference(loss, logits, targets)
    # a gradient that is lost to rounding is so in both, by as much as its terms are larger
    finite = np.isfinite(expected).all(-1)
    np.testing.assert_allclose(received[finite], expected[finite], rtol=1e-9, atol=1e-11)


# Smaller types


def cross_entropy_in(dtype):
    def cross_entropy(z, p):
        return -jnp.sum(p.astype(dtype) * jax.nn.log_softmax(z.astype(dtype)))

    return cross_entropy


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
def test_half_precision_loses_the_same_digits_as_in_jax(page, float64, dtype):
    loss = cross_entropy_in(dtype)
    logits, targets = points()
    (received,) = run(page, [_javascript.translate(loss).source], logits, targets)
    with jax.disable_jit():
        values, gradients = jax.vmap(jax.value_and_grad(loss))(logits, targets)
    np.testing.assert_array_equal(received, np.column_stack([values, gradients]).astype(float))
    # and it does lose some: sure of the truth, the gradient is 0, as no number below 1 is close
    sure = np.array([[20.0, 0.0, -1.0]]), np.array([[1.0, 0.0, 0.0]])
    (received,) = run(page, [_javascript.translate(loss).source], *sure)
    assert received[0, 1] == 0


FLOAT32 = [
    BUILT_IN["softmax_cross_entropy"],
    BUILT_IN["logit_squared_error"],
    BUILT_IN["squentropy"],
    margin,
]


@pytest.mark.parametrize("loss", FLOAT32, ids=lambda loss: loss.__name__)
def test_float32_is_rounded_as_in_jax(page, loss):
    logits, targets = (x.astype(np.float32) for x in points())
    translation = _javascript.translate(loss, float32=True)
    (received,) = run(page, [translation.source], logits.astype(float), targets.astype(float))
    assert (received == received.astype(np.float32)).all()
    expected = reference(loss, logits, targets)
    ulp = np.spacing(np.abs(expected).max(-1, keepdims=True).astype(np.float32))
    assert np.abs((received - expected)[:, 1:] / ulp).max() <= 2
    assert np.mean(received == expected) > 0.85


@pytest.mark.parametrize("loss", [temperature, ranked], ids=lambda loss: loss.__name__)
def test_what_loses_digits_in_float32_loses_as_many(page, loss):
    logits, targets = (x.astype(np.float32) for x in points())
    translation = _javascript.translate(loss, float32=True)
    (received,) = run(page, [translation.source], logits.astype(float), targets.astype(float))
    np.testing.assert_allclose(received, reference(loss, logits, targets), rtol=1e-6, atol=1e-6)


def test_float32_rounds_what_it_is_given(page):
    translation = _javascript.translate(lambda z, p: z[0] + p[0], float32=True)
    (received,) = run(page, [translation.source], np.full((1, 3), 0.1), np.zeros((1, 3)))
    assert received[0, 0] == float(np.float32(0.1)) != 0.1


# Tables


def cross_entropy(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z))


@jax.custom_vjp
def in_numpy(z, p):
    return computed_in_numpy(z, p)[0]


def computed_in_numpy(z, p):
    """Cross-entropy and its gradient, where JAX does not see them."""

    def call(z, p):
        z, p = np.asarray(z), np.asarray(p)
        log_q = z - np.logaddexp.reduce(z)
        return -np.sum(p * log_q), np.exp(log_q) - p

    return jax.pure_callback(call, (jax.ShapeDtypeStruct((), z.dtype), z), z, p)


in_numpy.defvjp(computed_in_numpy, lambda gradient, g: (g * gradient, jnp.zeros(3)))


def brier_score(z, p):
    return jnp.sum((jax.nn.softmax(z) - p) ** 2)


def weighted_cross_entropy(z, p):
    return cross_entropy(z, p * jnp.array([1.0, 5.0, 0.2]))


def cross_entropy_that_overflows(z, p):
    return jnp.where(jnp.ptp(z) < 14, cross_entropy(z, p), jnp.nan)


@functools.cache
def opaque(loss):
    """The same loss with a primitive that is not translated."""
    return lambda z, p: (
        loss(z, p) + 0 * lax.stop_gradient(jnp.linalg.inv(jnp.outer(z, p) + jnp.eye(3))[0, 0])
    )


def in_the_chart(count=400):
    """Logits and one-hot targets all over the chart in which tables are made."""
    generator = np.random.default_rng(1)
    u, v = generator.uniform(-16, 16, (2, count))
    order = generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    chart = np.stack([u + np.logaddexp(v / 2, -v / 2), v / 2, -v / 2], -1)
    logits = np.take_along_axis(chart, np.argsort(order), 1) + generator.normal(size=(count, 1))
    return logits, np.eye(3)[order[:, 0]]


@pytest.mark.parametrize(
    ("opaque_loss", "loss", "primitive", "bound"),
    [
        (in_numpy, cross_entropy, "pure_callback", 3e-5),
        (opaque(brier_score), brier_score, "lu", 3e-4),
        (opaque(weighted_cross_entropy), weighted_cross_entropy, "lu", 3e-5),
    ],
    ids=["cross-entropy", "Brier score", "weighted cross-entropy"],
)
def test_a_table_errs_by_no_more_than_it_says(page, float64, opaque_loss, loss, primitive, bound):
    translation = translated(opaque_loss)
    assert translation[1:3] == (False, True)
    assert translation.reason == f"primitive '{primitive}'"
    assert 0 < translation.worst_error < bound
    logits, targets = in_the_chart()
    (received,) = run(page, [translation.source], logits, targets)
    expected = reference(loss, logits, targets)
    errors = np.abs((received - expected)[:, 1:]).max(-1)
    norms = np.linalg.norm(expected[:, 1:], axis=-1)
    for target in np.eye(3):  # the points are others, so 1.2
        of_class = (targets == target).all(-1)
        assert errors[of_class].max() <= 1.2 * translation.worst_error * norms[of_class].max()
    assert np.median(errors / norms) < 1e-3  # also where the gradient is small


def test_a_table_is_used_for_the_nearest_place_in_it_and_the_largest_p(page, float64):
    translation = translated(in_numpy)
    logits = np.array([[-40.0, 0.0, 0.0], [-16.0 - math.log(2), 0.0, 0.0]])
    targets = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    (received,) = run(page, [translation.source], logits, targets)
    np.testing.assert_allclose(received[0], received[1], rtol=1e-12)
    np.testing.assert_allclose(received[0, 1:], [-1.0, 0.5, 0.5], rtol=1e-4)


def test_tables_are_small_and_one_serves_for_classes_that_are_alike(float64):
    assert len(translated(in_numpy).source) < 50_000
    assert len(translated(opaque(weighted_cross_entropy)).source) < 150_000


def test_a_table_goes_on_where_the_loss_is_not_finite(page, float64):
    translation = translated(opaque(cross_entropy_that_overflows))
    logits, targets = in_the_chart()
    expected = reference(cross_entropy_that_overflows, logits, targets)
    finite = np.isfinite(expected).all(-1)
    assert 0 < finite.mean() < 1
    (received,) = run(page, [translation.source], logits, targets)
    assert np.isfinite(received).all()
    assert np.median(np.abs(received - expected)[finite]) < 1e-4
    assert math.isfinite(translation.worst_error)


def branches_on_targets(z, p):
    if p[0] == 1:
        return -jax.nn.log_softmax(z)[int(p.argmax())]
    return -jnp.sum(p * jax.nn.log_softmax(z))


def loops_on_data(z, p):
    steps = lax.while_loop(lambda n: n < jnp.abs(z[0]), lambda n: n + 1, 0.0)
    return cross_entropy(z, p) + 0 * steps


def with_a_convolution_of_what_is_partly_known(z, p):
    return cross_entropy(z, p) + 0 * jnp.convolve(jnp.array([1.0, 2.0]).at[1].set(p[0]), p).sum()


def with_a_long_loop(z, p):
    return lax.fori_loop(
        0, 2000, lambda n, x: jnp.sin(x) + x * p[0] * 0, cross_entropy(z, p)
    ) * 0 + cross_entropy(z, p)


REASONS = {
    branches_on_targets: "Python code that needs to know the data",
    loops_on_data: "a loop whose length depends on the data",
    with_a_convolution_of_what_is_partly_known: "primitive 'conv_general_dilated'",
    with_a_long_loop: "more than 4000 operations",
}


@pytest.mark.parametrize("loss", REASONS, ids=lambda loss: loss.__name__)
def test_what_cannot_be_translated_is_a_table_and_says_why(page, float64, loss):
    translation = translated(loss)
    assert (translation.exact, translation.reason) == (False, REASONS[loss])
    logits, targets = in_the_chart()
    (received,) = run(page, [translation.source], logits, targets)
    expected = reference(cross_entropy, logits, targets)
    np.testing.assert_allclose(received[:, 1:], expected[:, 1:], atol=3e-5)


def test_python_code_that_looks_at_the_logits_is_run_one_point_at_a_time(float64):
    def loss(z, p):
        return jnp.sum(z) if z[0] > z[1] else jnp.sum(p)

    evaluate = _javascript.uncompiled(jax.value_and_grad(loss))
    values, gradients = evaluate(jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]), jnp.ones(3))
    np.testing.assert_array_equal(values, [3.0, 3.0])
    np.testing.assert_array_equal(gradients, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


# What fails


def test_a_loss_that_is_not_a_scalar_is_refused():
    with pytest.raises(ValueError, match=r"must be a scalar, but this loss returned shape \(3,\)"):
        _javascript.translate(lambda z, p: z - p)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, TypeError])
def test_an_error_of_the_loss_itself_is_not_hidden(error):
    def loss(z, p):
        raise error("mine")

    with pytest.raises(error, match="mine"):
        _javascript.translate(loss)


def test_numpy_on_logits_is_an_error_as_everywhere_in_jax():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        _javascript.translate(lambda z, p: np.exp(np.asarray(z)).sum())


# The form


def test_what_is_printed_needs_nothing_from_outside(page, float64):
    names = set()
    losses: list[Any] = [*BUILT_IN.values(), *OWN, in_numpy]
    for loss in losses:
        source = translated(loss).source
        names |= set(re.findall(r"(?<![\w.$])[A-Za-z]\w\w+", source))
    known = {"Math", "NaN", "Infinity", "isFinite", "Float32Array", "Int32Array"}
    known |= {"const", "let", "return", "for", "true", "false"}
    known |= {"tables", "table", "place", "low", "high"}
    assert names <= known | HELPERS.keys()


def test_the_same_operation_is_printed_once_and_what_is_not_used_not_at_all():
    def loss(z, p):
        jnp.cos(z).sum()
        return jnp.exp(z[0] * p[0]) + jnp.exp(z[0] * p[0]) ** 2

    source = _javascript.translate(loss).source
    assert source.count("exp") == 1
    assert "cos" not in source


def test_long_expressions_are_cut():
    def loss(z, p):
        return functools.reduce(jnp.add, [jnp.sin(n * z[0]) for n in range(100)])

    source = _javascript.translate(loss).source
    nested = max(len(part) for part in source.split(","))
    assert nested < 300


# The browser


def test_without_a_browser_tests_are_skipped_or_fail_where_one_is_required(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAXENT_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), chromium():
        pass
    monkeypatch.setenv("JAXENT_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), chromium():
        pass
