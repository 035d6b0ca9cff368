"""What JavaScript says of a loss, held to what JAX says of it."""

import functools
import itertools
import math
import re
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxent import _catalogue, _javascript
from tests.browser import chromium


@pytest.fixture(scope="module")
def page():
    with chromium() as browser:
        yield browser.new_page()


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


translated = functools.cache(_javascript.translate)


RUN = """([sources, points]) => {
    const print = x => Object.is(x, -0) ? "-0" : String(x), read = eval(points);
    return sources.map(eval).flatMap(f => read.map(x => f(...x).map(print).join())).join();
}"""


def run(page, sources, logits, targets):
    """[functions, N, 4]: value and gradient of each at each point, by the browser."""
    # as text, because numbers are converted one by one
    points = np.stack([logits, targets], 1).tolist()
    script = str(points).replace("nan", "NaN").replace("inf", "Infinity")
    numbers = page.evaluate(RUN, [sources, script]).split(",")
    return np.array(numbers, float).reshape(len(sources), len(points), 4)


def reference(loss, logits, targets):
    """[N, 4]: value and gradient at each point, by JAX, in the dtype of the points."""
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))(logits, targets)
    return np.column_stack([values, gradients]).astype(float)


def points(count=200):
    """In the simplex and near its corners, with P on one class, soft, and with zeros."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 3)) * generator.choice([1.0, 3.0], (count, 1))
    logits[: count // 4] += 30 * np.eye(3)[generator.integers(3, size=count // 4)]
    logits[count // 4 : count // 2] -= 15 * np.eye(3)[generator.integers(3, size=count // 4)]
    targets = generator.dirichlet([1.0, 1.0, 1.0], count)
    targets[::2] = np.eye(3)[generator.integers(3, size=len(targets[::2]))]
    targets[1::6, 1] = 0
    targets[1::6] /= targets[1::6].sum(-1, keepdims=True)
    return logits, targets


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
def test_every_loss_of_the_package_is_translated(page, double, name):
    check(page, BUILT_IN[name])


def test_losses_of_the_package_are_short():
    sizes = [len(translated(loss).source) for loss in BUILT_IN.values()]
    assert max(sizes) < 2000


def kl_divergence(z, p):
    return optax.losses.kl_divergence(jax.nn.log_softmax(z), p)


def focal(z, p):
    return optax.losses.sigmoid_focal_loss(z, p, alpha=0.25).sum()


def generalized_kl_divergence(z, p):
    return optax.losses.generalized_kl_divergence(jax.nn.log_softmax(z), p)


def sparsemax(z, p):
    return optax.losses.multiclass_sparsemax_loss(z[None], p.argmax()[None])[0]


def perceptron(z, p):
    return optax.losses.multiclass_perceptron_loss(z, p.argmax())


def hinge(z, p):
    return optax.losses.multiclass_hinge_loss(z, p.argmax())


def of_labels(z, p):
    return optax.losses.softmax_cross_entropy_with_integer_labels(z, p.argmax())


def cosine(z, p):
    return optax.losses.cosine_distance(z, p, epsilon=1e-9)


OPTAX = [
    optax.losses.softmax_cross_entropy,
    optax.losses.poly_loss_cross_entropy,
    optax.losses.safe_softmax_cross_entropy,
    kl_divergence,
    generalized_kl_divergence,
    focal,
    sparsemax,
    perceptron,
    hinge,
    of_labels,
    cosine,
]


@pytest.mark.parametrize("loss", OPTAX, ids=lambda loss: loss.__name__)
def test_losses_of_optax_are_translated(page, double, loss):
    check(page, loss)


def temperature(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z / 2.5)) * 2.5**2


def tsallis(z, p, alpha=1.5):
    q = jax.nn.softmax(z)
    return jnp.sum(p * (1 - q ** (alpha - 1))) / (alpha - 1)


def clipped(z, p):
    return -jnp.sum(p * jnp.log(jnp.clip(jax.nn.softmax(z), 1e-7, 1 - 1e-7)))


def softmax_twice(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(jax.nn.softmax(z)))


def margin(z, p):
    truth = p.argmax()
    others = jnp.where(jnp.arange(3) == truth, -jnp.inf, z)
    return jnp.maximum(0.0, 1 + others.max() - z[truth])


def squared_hinge_of_every_pair(z, p):
    truth = jnp.argmax(p)
    violations = jax.nn.relu(1 + z - z[truth]).at[truth].set(0.0)
    return jnp.sum(violations**2)


def with_where(z, p):
    q = jax.nn.softmax(z)
    return jnp.where(q[p.argmax()] > 0.5, -jnp.log(q[p.argmax()]), 2 * (1 - q[jnp.argmax(p)]))


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


def earth_mover(z, p):
    return jnp.sum(jnp.abs(jnp.cumsum(jax.nn.softmax(z) - p)))


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
    entmax_by_bisection,
    sinkhorn,
    interpolated,
    with_remarks,
    constant,
    temperature,
    tsallis,
    clipped,
    softmax_twice,
    margin,
    squared_hinge_of_every_pair,
    with_where,
    python_loop,
    fori_loop,
    scanned,
    branched,
    switched,
    ranked,
    top_two,
    with_costs,
    earth_mover,
    median_of_squares,
    with_custom_vjp,
    with_remat,
    of_normal_noise,
    probit,
    dirichlet,
    label_smoothed_by_hand,
    while_with_known_length,
]


@pytest.mark.parametrize("loss", OWN, ids=lambda loss: loss.__name__)
def test_a_users_loss_is_translated(page, double, loss):
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
def test_half_precision_loses_the_same_digits_as_in_jax(page, double, dtype):
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


def through_a_callback(value_and_gradient):
    """A loss that is computed where JAX does not see it, in NumPy."""

    def call(z, p):
        shapes = jax.ShapeDtypeStruct((), z.dtype), jax.ShapeDtypeStruct((3,), z.dtype)
        return jax.pure_callback(value_and_gradient, shapes, z, p)

    @jax.custom_vjp
    def loss(z, p):
        return call(z, p)[0]

    def forward(z, p):
        value, gradient = call(z, p)
        return value, gradient

    loss.defvjp(forward, lambda gradient, g: (g * gradient, jnp.zeros(3)))
    return loss


def q_and_log_q(z):
    z = np.asarray(z)
    log_q = z - np.logaddexp.reduce(z)
    return np.exp(log_q), log_q


def cross_entropy(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z))


@through_a_callback
def opaque_cross_entropy(z, p):
    q, log_q = q_and_log_q(z)
    return -np.sum(p * log_q), q - np.asarray(p)


def brier_score(z, p):
    return jnp.sum((jax.nn.softmax(z) - p) ** 2)


@through_a_callback
def opaque_brier_score(z, p):
    q, _ = q_and_log_q(z)
    r = q - np.asarray(p)
    return np.sum(r**2), 2 * q * (r - np.sum(q * r))


WEIGHTS = np.array([1.0, 5.0, 0.2])


def weighted_cross_entropy(z, p):
    return cross_entropy(z, p * WEIGHTS)


@through_a_callback
def opaque_weighted_cross_entropy(z, p):
    q, log_q = q_and_log_q(z)
    p = WEIGHTS * np.asarray(p)
    return -np.sum(p * log_q), q * p.sum() - p


def cross_entropy_that_overflows(z, p):
    return jnp.where(jnp.ptp(z) < 14, cross_entropy(z, p), jnp.nan)


@through_a_callback
def opaque_cross_entropy_that_overflows(z, p):
    q, log_q = q_and_log_q(z)
    factor = 1.0 if np.ptp(z) < 14 else np.nan
    return -np.sum(p * log_q) * factor, (q - np.asarray(p)) * factor


def in_the_chart(count=400):
    """Logits and one-hot targets all over the chart in which tables are made."""
    generator = np.random.default_rng(1)
    u, v = generator.uniform(-16, 16, (2, count))
    order = generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    chart = np.stack([u + np.logaddexp(v / 2, -v / 2), v / 2, -v / 2], -1)
    logits = np.take_along_axis(chart, np.argsort(order), 1) + generator.normal(size=(count, 1))
    return logits, np.eye(3)[order[:, 0]]


@pytest.mark.parametrize(
    ("opaque_loss", "loss", "bound"),
    [
        (opaque_cross_entropy, cross_entropy, 3e-5),
        (opaque_brier_score, brier_score, 3e-4),
        (opaque_weighted_cross_entropy, weighted_cross_entropy, 3e-5),
    ],
    ids=["cross-entropy", "Brier score", "weighted cross-entropy"],
)
def test_a_table_errs_by_no_more_than_it_says(page, double, opaque_loss, loss, bound):
    translation = translated(opaque_loss)
    assert translation[1:3] == (False, True)
    assert translation.reason == "primitive 'pure_callback'"
    assert 0 < translation.worst_error < bound
    logits, targets = in_the_chart()
    (received,), expected = (
        run(page, [translation.source], logits, targets),
        reference(loss, logits, targets),
    )
    errors = np.abs((received - expected)[:, 1:]).max(-1)
    norms = np.linalg.norm(expected[:, 1:], axis=-1)
    for target in np.eye(3):  # the points are others, so 1.2
        of_class = (targets == target).all(-1)
        assert errors[of_class].max() <= 1.2 * translation.worst_error * norms[of_class].max()
    assert np.median(errors / norms) < 1e-3  # also where the gradient is small


def test_a_table_is_used_for_the_nearest_place_in_it_and_the_largest_p(page, double):
    translation = translated(opaque_cross_entropy)
    logits = np.array([[-40.0, 0.0, 0.0], [-16.0 - math.log(2), 0.0, 0.0]])
    targets = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    (received,) = run(page, [translation.source], logits, targets)
    np.testing.assert_allclose(received[0], received[1], rtol=1e-12)
    np.testing.assert_allclose(received[0, 1:], [-1.0, 0.5, 0.5], rtol=1e-4)


def test_tables_are_small_and_one_serves_for_classes_that_are_alike(double):
    assert len(translated(opaque_cross_entropy).source) < 50_000
    assert len(translated(opaque_weighted_cross_entropy).source) < 150_000


def test_a_table_goes_on_where_the_loss_is_not_finite(page, double):
    translation = translated(opaque_cross_entropy_that_overflows)
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


def with_an_unknown_primitive(z, p):
    return cross_entropy(z, p) + 0 * lax.stop_gradient(
        jnp.linalg.inv(jnp.outer(z, p) + jnp.eye(3))[0, 0]
    )


def with_a_primitive_that_is_not_elementwise_of_what_is_partly_known(z, p):
    return cross_entropy(z, p) + 0 * jnp.convolve(jnp.array([1.0, 2.0]).at[1].set(p[0]), p).sum()


def with_a_long_loop(z, p):
    return lax.fori_loop(
        0, 2000, lambda n, x: jnp.sin(x) + x * p[0] * 0, cross_entropy(z, p)
    ) * 0 + cross_entropy(z, p)


REASONS = {
    branches_on_targets: "Python code that needs to know the data",
    loops_on_data: "a loop whose length depends on the data",
    with_an_unknown_primitive: "primitive 'lu'",
    with_a_primitive_that_is_not_elementwise_of_what_is_partly_known: (
        "primitive 'conv_general_dilated'"
    ),
    with_a_long_loop: "more than 4000 operations",
}


@pytest.mark.parametrize("loss", REASONS, ids=lambda loss: loss.__name__)
def test_what_cannot_be_translated_is_a_table_and_says_why(page, double, loss):
    translation = translated(loss)
    assert (translation.exact, translation.reason) == (False, REASONS[loss])
    logits, targets = in_the_chart()
    (received,) = run(page, [translation.source], logits, targets)
    expected = reference(cross_entropy, logits, targets)
    np.testing.assert_allclose(received[:, 1:], expected[:, 1:], atol=3e-5)


def test_python_code_that_looks_at_the_logits_is_run_one_point_at_a_time(double):
    def loss(z, p):
        return jnp.sum(z) if z[0] > z[1] else jnp.sum(p)

    evaluate = _javascript._uncompiled(jax.value_and_grad(loss))
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


def test_what_is_printed_needs_nothing_from_outside(page, double):
    names = set()
    losses: list[Any] = [*BUILT_IN.values(), *OWN, opaque_cross_entropy]
    for loss in losses:
        source = translated(loss).source
        names |= set(re.findall(r"(?<![\w.$])[A-Za-z]\w\w+", source))
    globals_of_javascript = {"Math", "NaN", "Infinity", "isFinite", "Float32Array", "Int32Array"}
    words = {"const", "let", "return", "for", "true", "false"}
    assert names - words - globals_of_javascript <= {
        *_javascript._HELPERS,
        "tables",
        "table",
        "place",
        "low",
        "high",
    }


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


# Primitives. As the loss does not depend on z, they need no derivative.


def run_on_targets(page, functions, targets):
    """[functions, N]: functions of p at all the targets, by the browser."""

    def loss_of(function):
        return lambda z, p: jnp.asarray(function(p)).astype(z.dtype)

    translations = [_javascript.translate(loss_of(function)) for function in functions]
    assert [one.reason for one in translations if not one.exact] == []
    received = run(page, [one.source for one in translations], np.zeros_like(targets), targets)
    assert (received[..., 1:] == 0).all()
    return received[..., 0]


def at_once(functions, targets):
    """[functions, N]: the same by JAX, which compiles them into one program."""
    values = jax.jit(jax.vmap(lambda p: [jnp.asarray(f(p)) for f in functions]))(targets)
    return np.array(values, float)


def of_dtype(dtype, arity, operations):
    """The operations on the first numbers of p, converted to the dtype."""

    def converted(operation):
        return lambda p: operation(*p[:arity].astype(dtype)).astype(jnp.float64)

    return [converted(operation) for operation in operations]


def compared(page, dtype, operations, targets):
    """[operations, N] twice: what the browser and what JAX says of operations by their arity.

    Conversions stay out of what JAX compiles into one program, where they may be skipped.
    """
    functions = [f for arity in operations for f in of_dtype(dtype, arity, operations[arity])]
    numbers = jax.jit(lambda p: p.astype(dtype))(targets)
    results = jax.jit(lambda x: [f(*x[:n]) for n in operations for f in operations[n]])(numbers.T)
    return run_on_targets(page, functions, targets), np.array(
        [np.asarray(x, float) for x in results]
    )


NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -2.5, 0.3, -0.7]
NUMBERS += [7.0, -3.25, 11.75, 1e-3, 40.5, 1e6, 3e9, -3e9]
PAIRS = np.array([(x, y, 1.0) for x, y in itertools.product(NUMBERS, NUMBERS)])
TRIPLES = np.array(
    list(itertools.product([math.nan, math.inf, -2.0, -0.0, 0.0, 1.0, 3.5], repeat=3))
)

FLOATING = [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16]
TO_EVEN, AWAY = lax.RoundingMethod.TO_NEAREST_EVEN, lax.RoundingMethod.AWAY_FROM_ZERO
COMPARISONS = [lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge]
TOTAL_ORDER = [lax.eq_to_p.bind, lax.le_to_p.bind, lax.lt_to_p.bind]
CORRECTLY_ROUNDED = {
    1: [
        *(lax.neg, lax.abs, lax.sign, lax.floor, lax.ceil, lax.is_finite, lax.square, lax.sqrt),
        lambda x: lax.round(x, TO_EVEN),
        lambda x: lax.round(x, AWAY),
        lambda x: lax.integer_pow(x, 3),
        lambda x: lax.integer_pow(x, -1),
        lambda x: lax.clamp(jnp.asarray(-1, x.dtype), x, jnp.asarray(2, x.dtype)),
    ],
    2: [
        *(lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min),
        *(*COMPARISONS, *TOTAL_ORDER),
    ],
}


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_what_is_correctly_rounded_is_the_same_to_the_bit(page, double, dtype):
    received, expected = compared(page, dtype, CORRECTLY_ROUNDED, PAIRS)
    np.testing.assert_array_equal(received, expected)
    of_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(received[of_number]), np.signbit(expected[of_number]))


TRANSCENDENTAL = {
    1: [
        *(lax.rsqrt, lax.cbrt, lax.exp, lax.expm1, lax.log, lax.log1p, lax.logistic),
        *(lax.sin, lax.cos, lax.tan, lax.asin, lax.acos, lax.atan),
        *(lax.tanh, lax.asinh, lax.acosh, lax.atanh, lax.erf, lax.erfc, lax.erf_inv),
    ],
    2: [lax.pow, lax.atan2],
}


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_transcendental_functions_differ_by_units_in_the_last_place(page, double, dtype):
    ulps = 10 if dtype == jnp.float64 else 3
    received, expected = compared(page, dtype, TRANSCENDENTAL, PAIRS)
    np.testing.assert_allclose(received, expected, rtol=ulps * float(jnp.finfo(dtype).eps))


def test_functions_that_are_less_exact_in_xla_agree_with_fifty_digits(page, double):
    x = np.array([-2.75, -1.5, -0.5, 1e-3, 0.1, 0.9, 1.1, 2.0, 2.5, 6.0, 11.75, 40.5, 170.0])
    truths = {
        lax.exp2: lambda x: mpmath.mpf(2) ** x,
        lax.sinh: mpmath.sinh,
        lax.cosh: mpmath.cosh,
        lax.erf: mpmath.erf,
        lax.erfc: mpmath.erfc,
        lax.lgamma: lambda x: mpmath.log(abs(mpmath.gamma(x))),
        lax.digamma: mpmath.digamma,
    }
    received = run_on_targets(page, of_dtype(float, 1, truths), np.stack([x, x, x], -1))
    with mpmath.workdps(50):
        expected = [[float(truth(mpmath.mpf(one))) for one in x] for truth in truths.values()]
    np.testing.assert_allclose(received, expected, rtol=1e-13)


def test_polygamma_agrees_with_fifty_digits(page, double):
    x = np.array([1e-3, 0.3, 1.0, 2.5, 9.5, 11.0, 170.0, 1e6])
    orders = [0, 1, 2, 5]
    functions = [lambda p, m=m: lax.polygamma(jnp.full((), m, p.dtype), p[0]) for m in orders]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    with mpmath.workdps(50):
        expected = [[float(mpmath.polygamma(m, mpmath.mpf(one))) for one in x] for m in orders]
    np.testing.assert_allclose(received, expected, rtol=1e-13)


WHOLE = [0, 1, 2, 3, 7, 100, 127, 255, 1000, 40000, 2**31 - 1]
WHOLE_PAIRS = np.array(list(itertools.product([*(-x for x in WHOLE[1:]), *WHOLE], repeat=2)), float)
WHOLE_PAIRS = np.column_stack([WHOLE_PAIRS, np.ones(len(WHOLE_PAIRS))])


@pytest.mark.parametrize(
    "dtype",
    [jnp.int8, jnp.int16, jnp.int32, jnp.int64, jnp.uint8, jnp.uint16, jnp.uint32],
    ids=lambda dtype: dtype.__name__,
)
def test_integers_wrap_and_divide_as_in_jax(page, double, dtype):
    unary = [lax.sign, lax.neg, lambda x: lax.integer_pow(x, 3)]
    binary = [lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min, *COMPARISONS]
    if jnp.iinfo(dtype).min < 0:
        unary += [lax.abs]
    if dtype == jnp.int64:  # exact to 2⁵³ only, so without bits and without the cube
        del unary[2]
    else:
        unary += [lax.bitwise_not]
        binary += [lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor]
    received, expected = compared(page, dtype, {1: unary, 2: binary}, WHOLE_PAIRS)
    exact = np.abs(expected) < 2**53
    np.testing.assert_array_equal(received[exact], expected[exact])
    assert not np.signbit(received[received == 0]).any()


def test_numbers_change_their_type_as_in_jax(page, double):
    types = [jnp.bool_, jnp.int8, jnp.uint8, jnp.int32, jnp.uint32, jnp.int64, *FLOATING]

    def through(old, new):
        return lambda p: p[0].astype(old).astype(new).astype(jnp.float64)

    targets = np.array([(x, 1.0, 1.0) for x in [*NUMBERS, 130.0, -130.0, 70000.0, 65519.0]])
    functions = [through(old, new) for old, new in itertools.product(types, types)]
    received = run_on_targets(page, functions, targets).reshape(len(types), len(types), -1)
    # in two programs, as in one the first conversion may be skipped
    every = jax.jit(lambda x: [x.astype(dtype) for dtype in types])
    again = jax.jit(lambda converted: [[x.astype(new) for new in types] for x in converted])
    for old, by_browser, by_jax in zip(types, received, again(every(targets[:, 0])), strict=True):
        expected = np.array([np.asarray(x, float) for x in by_jax])
        # int64 has no largest number here
        held = np.isfinite(targets[:, 0]) if old == jnp.int64 else slice(None)
        np.testing.assert_array_equal(by_browser[:, held], expected[:, held], str(old))


def test_half_types_round_every_number_as_numpy_does(page, double):
    generator = np.random.default_rng(0)
    mantissas = generator.choice([-1, 1], 3000) * generator.integers(2**12, 2**13, 3000)
    edges = [
        65504,
        65519.99,
        65520,
        65536,
        2**-24,
        2**-25,
        1.5 * 2**-25,
        3.38e38,
        3.3895e38,
        3.4e38,
    ]
    x = np.concatenate([np.ldexp(mantissas, generator.integers(-45, 4, 3000)), edges])
    halves = (jnp.float16, jnp.bfloat16)
    functions = [f for dtype in halves for f in of_dtype(dtype, 1, [lambda x: x])]
    with np.errstate(over="ignore"):
        expected = [x.astype(np.float32).astype(dtype).astype(float) for dtype in halves]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    np.testing.assert_array_equal(received, expected)


def test_precision_is_reduced_to_types_that_are_known(page, double):
    x = np.array([1 / 3, -1e-3, 12345.678])
    formats = {np.float64: (11, 52), np.float32: (8, 23), np.float16: (5, 10), jnp.bfloat16: (8, 7)}
    functions = [
        lambda p, bits=bits: lax.reduce_precision(p[0], *bits) for bits in formats.values()
    ]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    np.testing.assert_array_equal(received, [x.astype(dtype).astype(float) for dtype in formats])
    odd = _javascript.translate(lambda z, p: lax.reduce_precision(p[0], 4, 3) + 0 * z[0])
    assert odd.reason == "numbers of 4 + 3 bits"


def test_booleans_are_combined_as_in_jax(page, double):
    operations = [
        lax.bitwise_and,
        lax.bitwise_or,
        lax.bitwise_xor,
        lax.max,
        lax.min,
        lax.eq,
        lax.ne,
    ]

    def of_signs(operation):
        return lambda p: operation(p[0] > 0, p[1] > 1).astype(float) + 2 * ~(p[0] < p[1])

    functions = [of_signs(operation) for operation in operations]
    received, expected = run_on_targets(page, functions, PAIRS), at_once(functions, PAIRS)
    np.testing.assert_array_equal(received, expected)


ROWS = {
    "sum": jnp.sum,
    "product": jnp.prod,
    "max": jnp.max,
    "min": jnp.min,
    "all": jnp.all,
    "any": jnp.any,
    "parity": lambda p: lax.reduce_xor((p > 0).astype(jnp.int32), (0,)),
    "argmax": jnp.argmax,
    "argmin": jnp.argmin,
    "argmax of booleans": lambda p: jnp.argmax(p > 0),
    "cumulative sum": jnp.cumsum,
    "cumulative product": jnp.cumprod,
    "cumulative maximum, backwards": lambda p: lax.cummax(p, reverse=True),
    "cumulative minimum of columns": lambda p: lax.cummin(jnp.stack([p, -p]), axis=0)[1],
    "sort": jnp.sort,
    "argsort": jnp.argsort,
    "argsort, falling": lambda p: jnp.argsort(p, descending=True),
    "sort of columns": lambda p: jnp.sort(jnp.stack([p, 1 - p, p[::-1]]), axis=0)[:, 1],
    "sort by two keys": lambda p: lax.sort((jnp.sign(p), -p, p), num_keys=2)[2],
    "largest two": lambda p: lax.top_k(p, 2)[0],
    "product with a matrix": lambda p: jnp.arange(9.0).reshape(3, 3) @ p,
    "products of a batch": lambda p: jnp.einsum("bi,bij->bj", jnp.outer(p, p), jnp.ones((3, 3, 2))),
}


def by_element(function, size):
    return [lambda p, n=n: jnp.ravel(function(p))[n] for n in range(size)]


@functools.cache
def rows_by_jax():
    return jax.jit(jax.vmap(lambda p: {name: function(p) for name, function in ROWS.items()}))(
        TRIPLES
    )


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_reduced_and_ordered_as_in_jax(page, double, name):
    expected = np.array(rows_by_jax()[name], float).reshape(len(TRIPLES), -1)
    functions = by_element(ROWS[name], expected.shape[1])
    np.testing.assert_array_equal(run_on_targets(page, functions, TRIPLES), expected.T)


def test_places_of_the_largest_are_those_of_a_stable_sort(page, double):
    # XLA tells −0 from 0 there, and NaNs by their sign
    targets = TRIPLES[~np.isnan(TRIPLES).any(-1) & ~np.signbit(TRIPLES).any(-1)]
    received = run_on_targets(page, by_element(lambda p: lax.top_k(p, 2)[1], 2), targets)
    np.testing.assert_array_equal(received.T, np.argsort(-targets, kind="stable")[:, :2])


def test_logarithms_of_cumulative_sums_are_those_of_jax(page, double):
    _, targets = points()
    functions = by_element(lambda p: lax.cumlogsumexp(jnp.log(p), reverse=True), 3)
    with np.errstate(divide="ignore"):
        expected = np.log(np.cumsum(targets[:, ::-1], -1))[:, ::-1]
    np.testing.assert_allclose(run_on_targets(page, functions, targets).T, expected, atol=1e-15)


INDEXED = {
    "item": lambda m, i, j, x: (x * m)[i, j],
    "row": lambda m, i, j, x: (x * m)[i],
    "column and row": lambda m, i, j, x: (x * m)[jnp.array([0, 1]) + i, j],
    "fill": lambda m, i, j, x: (x * m).at[i, j].get(mode="fill", fill_value=-7.0),
    "clip": lambda m, i, j, x: (x * m).at[i, j].get(mode="clip"),
    "take": lambda m, i, j, x: jnp.nan_to_num(jnp.take(x * m, jnp.stack([i, j]), 0, mode="fill")),
    "integers": lambda m, i, j, x: jnp.take(jnp.arange(3) + (x > 0), i, mode="fill"),
    "unsigned": lambda m, i, j, x: jnp.take(jnp.arange(3, dtype=jnp.uint8) + i, j, mode="fill"),
    "booleans": lambda m, i, j, x: jnp.take(jnp.arange(3) > x, i, mode="fill"),
    "along an axis": lambda m, i, j, x: jnp.take_along_axis(
        x * m, jnp.stack([i, j, i, j])[None] % 3, 0
    ),
    "window": lambda m, i, j, x: lax.dynamic_slice(x * m, (i, j), (2, 3)),
    "columns": lambda m, i, j, x: lax.dynamic_slice_in_dim(x * m, j, 2, axis=1),
    "mapped": lambda m, i, j, x: jax.vmap(lambda row, k: row[k])(x * m, jnp.stack([i, j, i])),
    "write a window": lambda m, i, j, x: lax.dynamic_update_slice(m, x + m[:2, :2], (i, j)),
    "set": lambda m, i, j, x: m.at[i, j].set(x),
    "add twice": lambda m, i, j, x: m.at[jnp.stack([i, i]), jnp.stack([j, 0 * j])].add(x),
    "subtract": lambda m, i, j, x: m.at[i].subtract(x),
    "multiply": lambda m, i, j, x: m.at[:, j].multiply(x),
    "largest": lambda m, i, j, x: m.at[i].max(9 * x),
    "least": lambda m, i, j, x: m.at[i, 1:3].min(x, mode="clip"),
    "mapped add": lambda m, i, j, x: jax.vmap(lambda r, k: r.at[k].add(x))(m, jnp.stack([i, j, i])),
    "padded": lambda m, i, j, x: lax.pad(x * m, x, ((0, 1, 1), (-1, 0, 2))),
    "reversed": lambda m, i, j, x: jnp.pad((x * m)[::-1, 1::2].T, ((1, 0), (2, 1))),
    "moved": lambda m, i, j, x: jnp.tile(
        jnp.concatenate(jnp.split(jnp.stack([m * x, m]), 2, 2)), 2
    ),
    "three cases": lambda m, i, j, x: lax.select_n(jnp.clip(i, 0, 2), x, 2 * x, 3 * x),
    "switch": lambda m, i, j, x: lax.switch(j, [jnp.sin, jnp.cos, jnp.tanh], x * m[0]),
}


PLACES = [-4.0, -3.0, -1.0, 0.0, 1.0, 2.0, 3.0, 9.0]
INDICES = np.array(list(itertools.product(PLACES, PLACES, [0.5])))


def indexed(name, p):
    i, j = p[:2].astype(jnp.int32)
    matrix = jnp.arange(12.0).reshape(3, 4)
    return jnp.ravel(INDEXED[name](matrix, i, j, p[2])).astype(float)


@functools.cache
def indexed_by_jax():
    return jax.jit(jax.vmap(lambda p: {name: indexed(name, p) for name in INDEXED}))(INDICES)


@pytest.mark.parametrize("name", INDEXED)
def test_numbers_are_found_and_put_where_jax_does(page, double, name):
    expected = np.array(indexed_by_jax()[name])
    weights = np.random.default_rng(0).uniform(1, 2, expected.shape[1])
    received = run_on_targets(page, [lambda p: jnp.sum(weights * indexed(name, p))], INDICES)
    np.testing.assert_allclose(received[0], expected @ weights, rtol=1e-14)


# The browser


def test_without_a_browser_tests_are_skipped_or_fail_where_one_is_required(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAXENT_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), chromium():
        pass
    monkeypatch.setenv("JAXENT_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), chromium():
        pass
