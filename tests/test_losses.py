"""One set of behaviour tests for every public loss, and what each of them promises beyond that.

Expected values are plain formulas in NumPy, their derivatives complex steps: no JAX, no autodiff.
All batches have the same few shapes, because compiling is what these tests spend their time on.
"""

import inspect
import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from jaxent import _catalogue, losses
from tests.leaks import checking_leaks

EXAMPLES, CLASSES = 6, 4
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0.0, 2.0, (EXAMPLES, CLASSES))
LABELS = np.array([0, 1, 2, 3, 1, 0])
ONE_HOT = np.eye(CLASSES)[LABELS]
SOFT = RANDOM.dirichlet(np.ones(CLASSES), EXAMPLES)


# The losses as formulas. They take complex logits and targets as well.


def log_softmax(z):
    d = z - z.real.max(-1, keepdims=True)
    return d - np.log(np.exp(d).sum(-1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def magnitude(x):
    return np.where(x.real < 0, -x, x)


def cross_entropy(z, p):
    return -(p * log_softmax(z)).sum(-1)


def kl_divergence(z, p):
    return (p * np.log(np.where(p == 0, 1, p))).sum(-1) + cross_entropy(z, p)


def brier_score(z, p):
    return ((softmax(z) - p) ** 2).sum(-1)


def mean_squared_error(z, p):
    return ((softmax(z) - p) ** 2).mean(-1)


def mean_absolute_error(z, p):
    return magnitude(softmax(z) - p).mean(-1)


def generalized_cross_entropy(z, p, exponent=0.7):
    return (p * (1 - softmax(z) ** exponent) / exponent).sum(-1)


def focal_loss(z, p, gamma=2.0):
    return -(p * (1 - softmax(z)) ** gamma * log_softmax(z)).sum(-1)


def logit_squared_error(z, p, true_class_weight=1.0, true_class_value=1.0):
    return ((1 + (true_class_weight - 1) * p) * (z - true_class_value * p) ** 2).sum(-1)


def squentropy(z, p):
    classes = z.shape[-1]
    wrong = [(np.delete(z, y, -1) ** 2).sum(-1) / max(classes - 1, 1) for y in range(classes)]
    return sum(p[..., y] * (wrong[y] - log_softmax(z)[..., y]) for y in range(classes))


def log_sigmoid(s):
    return np.where(s.real < 0, s, 0) - np.log1p(np.exp(-magnitude(s)))


def binary_cross_entropy(z, p):
    return -p * log_sigmoid(z) - (1 - p) * log_sigmoid(-z)


def binary_squared_error(z, p):
    return (np.exp(log_sigmoid(z)) - p) ** 2


def derivative(formula, x):
    """Of the formula's sum by every entry of x: a complex step, exact to the last digits."""
    received = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-30j
        received[index] = formula(moved).sum().imag / 1e-30
    return received


def second_derivatives(formula, z):
    """[examples, i, j] = ∂²/∂zᵢ∂zⱼ of every example, a difference of complex steps."""
    steps = 1e-5 * np.eye(z.shape[-1])
    columns = [derivative(formula, z + step) - derivative(formula, z - step) for step in steps]
    return np.stack(columns, -1) / 2e-5


class Loss(NamedTuple):
    """What is known of a loss before it is measured."""

    formula: Callable
    reads: str  # "softmax": classes through q; "scores": raw logits; "odds": elements through σ
    targets: str = "distributions"  # or "labels": one integer an example
    least_at_p: bool = False  # a plugged-in soft P is best met by Q = P
    residual: Callable | None = None  # the gradient, where it is as plain as link − label


LOSSES = {
    "softmax_cross_entropy": Loss(
        cross_entropy, "softmax", least_at_p=True, residual=lambda z, p: softmax(z) - p
    ),
    "softmax_cross_entropy_with_integer_labels": Loss(
        cross_entropy, "softmax", targets="labels", residual=lambda z, p: softmax(z) - p
    ),
    "softmax_kl_divergence": Loss(
        kl_divergence, "softmax", least_at_p=True, residual=lambda z, p: softmax(z) - p
    ),
    "generalized_cross_entropy": Loss(generalized_cross_entropy, "softmax"),
    "softmax_focal_loss": Loss(focal_loss, "softmax"),
    "softmax_brier_score": Loss(brier_score, "softmax", least_at_p=True),
    "softmax_mean_squared_error": Loss(mean_squared_error, "softmax", least_at_p=True),
    "softmax_mean_absolute_error": Loss(mean_absolute_error, "softmax", least_at_p=True),
    "logit_squared_error": Loss(logit_squared_error, "scores", residual=lambda z, p: 2 * (z - p)),
    "squentropy": Loss(squentropy, "scores"),
    "sigmoid_binary_cross_entropy": Loss(
        binary_cross_entropy,
        "odds",
        least_at_p=True,
        residual=lambda z, p: np.exp(log_sigmoid(z)) - p,
    ),
    "sigmoid_squared_error": Loss(binary_squared_error, "odds", least_at_p=True),
}

SOFTMAX = [name for name, loss in LOSSES.items() if loss.reads == "softmax"]
SCORES = [name for name, loss in LOSSES.items() if loss.reads == "scores"]
ODDS = [name for name, loss in LOSSES.items() if loss.reads == "odds"]
ALONG_CLASSES = SOFTMAX + SCORES
TAKES_DISTRIBUTIONS = [name for name, loss in LOSSES.items() if loss.targets == "distributions"]
RESIDUALS = {name: loss.residual for name, loss in LOSSES.items() if loss.residual}
LEAST_AT_P = [name for name, loss in LOSSES.items() if loss.least_at_p]
PARAMETERS = [
    (name, parameter.name, parameter.default)
    for name in LOSSES
    for parameter in inspect.signature(getattr(losses, name)).parameters.values()
    if isinstance(parameter.default, float)
]

every_loss = pytest.mark.parametrize("name", LOSSES)
every_loss_of_distributions = pytest.mark.parametrize("name", TAKES_DISTRIBUTIONS)
every_loss_along_classes = pytest.mark.parametrize("name", ALONG_CLASSES)
every_softmax_loss = pytest.mark.parametrize("name", SOFTMAX)
every_parameter = pytest.mark.parametrize(("name", "parameter", "default"), PARAMETERS)


def targets_for(name, p):
    """P in the form that this loss takes."""
    return np.argmax(p, -1) if LOSSES[name].targets == "labels" else p


def evaluate(name, z, targets, **options):
    z, targets = jax.device_put((z, targets))  # which compiles nothing, as jnp.asarray does
    return np.asarray(getattr(losses, name)(z, targets, **options))


@cache
def compiled(name, by, static):
    @jax.jit
    def value_and_gradient(z, targets, options):
        loss = partial(getattr(losses, name), **options, **dict(static))
        if by == "logits":
            value, pullback = jax.vjp(lambda z: loss(z, targets), z)
        elif by == "targets":
            value, pullback = jax.vjp(lambda targets: loss(z, targets), targets)
        else:
            value, pullback = jax.vjp(loss, z, targets)
        return value, *pullback(jnp.ones_like(value))

    return value_and_gradient


def measure(name, z, targets, by="logits", static=(), **options):
    """The value and the gradient under jit, compiled once a loss, shape and dtype."""
    return [np.asarray(each) for each in compiled(name, by, static)(z, targets, options)]


def single(x):
    return np.asarray(x, np.float32) if np.asarray(x).dtype.kind == "f" else x


def test_every_built_in_loss_is_described_here():
    assert set(LOSSES) == set(_catalogue.built_in())


# Values and derivatives


@every_loss
def test_value_and_gradient_are_those_of_the_plain_formula(name, float64):
    for p in [ONE_HOT, SOFT] if name in TAKES_DISTRIBUTIONS else [ONE_HOT]:
        formula = partial(LOSSES[name].formula, p=p)
        value, gradient = measure(name, LOGITS, targets_for(name, p))
        assert value.dtype == gradient.dtype == np.float64
        np.testing.assert_allclose(value, formula(LOGITS), rtol=1e-13)
        expected = derivative(formula, LOGITS)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@every_loss_of_distributions
def test_derivative_by_the_targets_is_that_of_the_plain_formula(name, float64):
    expected = derivative(lambda p: LOSSES[name].formula(LOGITS, p), SOFT)
    _, received = measure(name, LOGITS, SOFT, by="targets")
    np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-15)


@every_loss
def test_every_mode_of_differentiation_gives_the_same_derivatives(name, float64):
    def value(z, target):
        return jnp.sum(getattr(losses, name)(z, target))

    @jax.jit
    @jax.vmap
    def derivatives(z, target):
        first = [jax.grad(value), jax.jacfwd(value)]
        second = [jax.jacfwd(jax.grad(value)), jax.jacrev(jax.grad(value))]
        return [f(z, target) for f in first], [f(z, target) for f in second]

    p = SOFT if name in TAKES_DISTRIBUTIONS else ONE_HOT
    formula = partial(LOSSES[name].formula, p=p)
    first, second = derivatives(LOGITS, targets_for(name, p))
    for received in first:
        np.testing.assert_allclose(received, derivative(formula, LOGITS), rtol=1e-12, atol=1e-15)
    for received in second:
        np.testing.assert_allclose(received, second_derivatives(formula, LOGITS), atol=1e-8)
        np.testing.assert_allclose(received, second[0], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", RESIDUALS)
def test_gradient_is_link_minus_label(name, float64):
    _, received = measure(name, LOGITS, targets_for(name, ONE_HOT))
    expected = RESIDUALS[name](LOGITS, ONE_HOT)
    np.testing.assert_allclose(received, expected, rtol=1e-13, atol=1e-16)


@every_loss
def test_value_and_gradient_are_zero_at_the_right_answer(name):
    certain = 1e15 * (2 * ONE_HOT - 1)
    right = {"logit_squared_error": ONE_HOT, "squentropy": 1e15 * ONE_HOT}.get(name, certain)
    for received in measure(name, single(right), targets_for(name, single(ONE_HOT))):
        np.testing.assert_array_equal(received, 0.0)


@pytest.mark.parametrize("name", [name for name in LEAST_AT_P if "absolute" not in name])
def test_gradient_is_zero_where_q_is_p(name, float64):
    """Save for absolute error, which has its kink there."""
    right = np.log(SOFT) - (np.log1p(-SOFT) if name in ODDS else 0.0)
    _, received = measure(name, right, SOFT)
    np.testing.assert_allclose(received, 0.0, atol=2e-16)


@pytest.mark.parametrize("name", LEAST_AT_P)
@hypothesis.given(
    z=arrays.arrays(np.float32, (EXAMPLES, CLASSES), elements=strategies.floats(-9, 9, width=32)),
    best=arrays.arrays(
        np.float32, (EXAMPLES, CLASSES), elements=strategies.floats(-9, 9, width=32)
    ),
)
@hypothesis.settings(deadline=None, max_examples=25)
def test_no_q_does_better_than_p(name, z, best):
    p = single(np.exp(log_sigmoid(best)) if name in ODDS else softmax(best))
    least = evaluate(name, best, p)
    assert (least >= -1e-6).all()
    assert (evaluate(name, z, p) >= least - 1e-6 * (1 + np.abs(least))).all()


@every_loss
def test_a_batch_is_a_vmap_is_a_loop(name):
    loss = getattr(losses, name)
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    expected = np.stack([evaluate(name, *example) for example in zip(z, targets, strict=True)])
    assert expected.shape == ((EXAMPLES, CLASSES) if name in ODDS else (EXAMPLES,))
    np.testing.assert_array_max_ulp(np.asarray(jax.vmap(loss)(z, targets)), expected, 2)
    np.testing.assert_array_max_ulp(evaluate(name, z, targets), expected, 2)


@every_loss
def test_jit_and_eager_agree_to_an_ulp(name):
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    jitted, _ = measure(name, z, targets)
    np.testing.assert_array_max_ulp(jitted, evaluate(name, z, targets), 1)


@every_loss
def test_renaming_the_classes_changes_nothing(name, float64):
    order = np.array([2, 0, 3, 1])
    value, gradient = measure(name, LOGITS, targets_for(name, ONE_HOT))
    expected = value[:, order] if name in ODDS else value, gradient[:, order]
    received = measure(name, LOGITS[:, order], targets_for(name, ONE_HOT[:, order]))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@every_loss_along_classes
def test_a_common_offset_costs_softmax_losses_nothing_and_raw_logits_something(name):
    z, targets = single(np.round(LOGITS * 64) / 64), targets_for(name, single(ONE_HOT))
    unmoved, moved = measure(name, z, targets), measure(name, z + 8192, targets)
    for received, expected in zip(moved, unmoved, strict=True):
        assert np.array_equal(received, expected) == (name in SOFTMAX)


@pytest.mark.parametrize(
    "name",
    ["generalized_cross_entropy", "softmax_focal_loss", "squentropy", "softmax_cross_entropy"],
)
def test_a_soft_target_is_the_mean_over_its_labels(name, float64):
    labels = [np.eye(CLASSES)[[y] * EXAMPLES] for y in range(CLASSES)]
    of_labels = np.stack([measure(name, LOGITS, one_hot)[0] for one_hot in labels], -1)
    received, _ = measure(name, LOGITS, SOFT)
    np.testing.assert_allclose(received, (SOFT * of_labels).sum(-1), rtol=1e-13)


# Extremes


@every_loss
def test_huge_logits_give_the_value_and_gradient_of_exact_arithmetic(name):
    signs = [[1, -1, 0, 0], [-1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, -1, 0, 0], [0, 1, 0, 1]]
    z = 2.0**50 * np.array(signs)
    value, gradient = measure(name, single(z), targets_for(name, single(ONE_HOT)))
    formula = partial(LOSSES[name].formula, p=ONE_HOT)
    np.testing.assert_allclose(value, formula(z), rtol=1e-6)
    np.testing.assert_allclose(gradient, derivative(formula, z), rtol=1e-6)


@every_loss
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_logit_that_is_no_number_spoils_its_own_example_and_no_other(name, poison):
    targets = targets_for(name, single(ONE_HOT))
    poisoned = single(LOGITS)
    poisoned[2, 1] = poison
    unharmed, harmed = (measure(name, z, targets) for z in (single(LOGITS), poisoned))
    for received, expected in zip(harmed, unharmed, strict=True):
        np.testing.assert_array_equal(np.delete(received, 2, 0), np.delete(expected, 2, 0))
        if np.isnan(poison) or name in SOFTMAX:
            assert np.isnan(received[2]).any()


@every_loss_of_distributions
def test_a_target_that_is_nan_spoils_its_own_example_and_no_other(name):
    poisoned = single(SOFT)
    poisoned[2, 1] = np.nan
    unharmed, harmed = (measure(name, single(LOGITS), p) for p in (single(SOFT), poisoned))
    for received, expected in zip(harmed, unharmed, strict=True):
        np.testing.assert_array_equal(np.delete(received, 2, 0), np.delete(expected, 2, 0))
        assert np.isnan(received[2]).any()


@every_softmax_loss
def test_a_class_with_logit_minus_infinity_cannot_happen(name):
    """Where the target is 0 nothing is lost, and where it is not −log q, and only that, is ∞."""
    z, far = single(LOGITS), LOGITS.copy()
    z[:, 3], far[:, 3] = -np.inf, -1e4
    value, gradient = measure(name, z, targets_for(name, single(ONE_HOT)))
    formula = partial(LOSSES[name].formula, p=ONE_HOT)
    expected = np.where(formula(far) > 1e3, np.inf, formula(far))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, derivative(formula, far), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_of_minus_infinity_is_infinitely_wrong(name):
    z = single(LOGITS)
    z[:, 3] = -np.inf
    value, gradient = measure(name, z, single(ONE_HOT))
    np.testing.assert_array_equal(value, np.inf)
    assert not np.isnan(gradient).any()


@pytest.mark.parametrize("name", ODDS)
def test_infinite_odds_are_certainty(name):
    s = single(np.where(LOGITS < 0, -np.inf, np.inf))
    wrong = (s > 0) != (ONE_HOT > 0)
    infinite = name == "sigmoid_binary_cross_entropy"
    value, gradient = measure(name, s, single(ONE_HOT))
    np.testing.assert_array_equal(value, np.where(wrong, np.inf if infinite else 1.0, 0.0))
    np.testing.assert_array_equal(gradient, np.where(wrong & infinite, np.sign(s), 0.0))


@every_loss_along_classes
def test_an_example_without_possible_classes_costs_nothing_whatever_its_target(name):
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    possible = measure(name, z, targets)
    z[2], targets[2] = -np.inf, 99
    for received, expected in zip(measure(name, z, targets), possible, strict=True):
        np.testing.assert_array_equal(received[2], 0.0)
        np.testing.assert_array_equal(np.delete(received, 2, 0), np.delete(expected, 2, 0))
    assert evaluate(name, z, targets)[2] == 0.0


# Axes and masks


@every_loss_along_classes
@pytest.mark.parametrize("axis", [-2, (2, 0)], ids=str)
def test_an_axis_is_the_last_one_moved(name, axis, float64):
    axes = axis if isinstance(axis, tuple) else (axis,)
    last = range(-len(axes), 0)
    random = np.random.default_rng(1)
    z = random.normal(0.0, 2.0, (2, 3, 2))
    moved = np.moveaxis(z, axes, last)
    rows = moved.reshape(*moved.shape[: 3 - len(axes)], -1)
    one_hot = np.eye(rows.shape[-1])[random.integers(rows.shape[-1], size=rows.shape[:-1])]

    def back(x):
        return np.moveaxis(x.reshape(moved.shape), last, axes)

    targets = one_hot.argmax(-1) if LOSSES[name].targets == "labels" else back(one_hot)
    value, gradient = measure(name, z, targets, static=(("axis", axis),))
    formula = partial(LOSSES[name].formula, p=one_hot)
    np.testing.assert_allclose(value, formula(rows), rtol=1e-13)
    expected = back(derivative(formula, rows))
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in ALONG_CLASSES if name in TAKES_DISTRIBUTIONS])
def test_no_axis_is_all_axes(name):
    z = jnp.zeros((2, 3, 2))
    of_none, of_all = (
        str(jax.make_jaxpr(partial(getattr(losses, name), axis=axis))(z, z))
        for axis in (None, (0, 1, 2))
    )
    assert of_none == of_all


@every_loss_along_classes
def test_hiding_classes_is_dropping_them(name):
    kept = np.array([True, True, False, True])
    one_hot = np.eye(CLASSES)[[0, 1, 3, 3, 1, 0]]
    z = single(LOGITS)
    z[:, 2] = np.nan
    value, gradient = measure(name, z, targets_for(name, single(one_hot)), where=kept)
    formula = partial(LOSSES[name].formula, p=one_hot[:, kept])
    np.testing.assert_allclose(value, formula(LOGITS[:, kept]), rtol=1e-5)
    expected = np.zeros_like(LOGITS)
    expected[:, kept] = derivative(formula, LOGITS[:, kept])
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@every_loss_along_classes
def test_a_hidden_example_has_no_loss_no_gradient_and_leaks_no_nan(name):
    kept = np.array([True, True, False, True, False, True])
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    value, gradient = measure(name, z, targets)
    z[~kept] = np.nan
    targets[~kept] = -7 if LOSSES[name].targets == "labels" else np.nan
    by = "both" if name in TAKES_DISTRIBUTIONS else "logits"
    received, received_gradient, *by_targets = measure(name, z, targets, by=by, where=kept)
    np.testing.assert_allclose(received, value * kept, rtol=1e-6)
    np.testing.assert_allclose(received_gradient, gradient * kept[:, None], rtol=1e-6, atol=1e-7)
    for each in by_targets:
        np.testing.assert_array_equal(each[~kept], 0.0)


@every_loss_along_classes
def test_a_mask_that_fits_classes_and_examples_is_refused(name):
    z, targets = single(LOGITS[:CLASSES]), targets_for(name, single(ONE_HOT[:CLASSES]))
    with pytest.raises(ValueError, match=r"where\[\.\.\., None\]"):
        evaluate(name, z, targets, where=np.ones(CLASSES, bool))


@every_loss_along_classes
def test_a_mask_of_the_own_class_is_refused_or_where_it_is_traced_gives_nan(name):
    """A row without possible classes comes first, and costs nothing."""
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    z[4] = -np.inf
    where = np.arange(CLASSES) != 1  # the class of examples 1 and 4
    with pytest.raises(ValueError, match="where hides"):
        evaluate(name, z, targets, where=where)
    value, gradient = measure(name, z, targets, where=where)
    np.testing.assert_array_equal(np.isnan(value), np.arange(EXAMPLES) == 1)
    assert np.isnan(gradient[1, where]).all()
    assert np.isfinite(np.delete(gradient, 1, 0)).all()
    assert value[4] == 0
    np.testing.assert_array_equal(gradient[4], 0.0)


# Dtypes and settings


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_is_kept_and_half_precision_is_rounded_once(name, dtype):
    z, one_rounding = LOGITS.astype(jnp.dtype(dtype)), float(jnp.finfo(dtype).eps) / 2
    expected = LOSSES[name].formula(z.astype(float), ONE_HOT)
    targets = targets_for(name, single(ONE_HOT))
    value = evaluate(name, z, targets)
    _, gradient = jax.eval_shape(compiled(name, "logits", ()), z, targets, {})
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value.astype(float), expected, rtol=one_rounding + 1e-6)


@every_loss_of_distributions
@pytest.mark.parametrize("dtype", [np.int32, np.bool_])
def test_integer_and_boolean_targets_are_cast(name, dtype):
    expected = evaluate(name, single(LOGITS), single(ONE_HOT))
    received = evaluate(name, single(LOGITS), ONE_HOT.astype(dtype))
    np.testing.assert_array_equal(received, expected)


@every_loss
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_nothing_is_promoted_or_leaked(name, dtype):
    def value(z, targets, **options):
        return getattr(losses, name)(z, targets, **options).sum()

    z, targets = jnp.asarray(LOGITS, dtype), jnp.asarray(targets_for(name, single(ONE_HOT)))
    options = {"where": jnp.ones(EXAMPLES, bool)} if name in ALONG_CLASSES else {}
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), checking_leaks():
        jax.eval_shape(jax.hessian(value), z, targets, **options)


@every_loss
def test_no_operation_makes_a_nan_where_the_loss_is_finite(name):
    """Operation by operation, so that branches that are not taken are looked at as well.

    Save where labels are checked: NaN is what those that name no class are replaced by.
    """
    loss = getattr(losses, name)
    sure, tie = [1e15, 0.0, -1e15, 0.0], [2.0, 2.0, 2.0, 2.0]
    impossible = [-np.inf, 0.0, 1.0, 1.0] if name in SOFTMAX else [-1e15, 0.0, 1.0, 1.0]
    z = single([sure, sure, tie, impossible, [-np.inf] * 4, impossible])
    p = np.eye(CLASSES)[[0, 2, 2, 1, 3, 1]]
    targets = jnp.asarray(targets_for(name, single(p)))
    if name in ODDS:
        z = np.nan_to_num(z, neginf=-1e15)
    with jax.debug_nans(True), jax.disable_jit(name in TAKES_DISTRIBUTIONS):
        value, pullback = jax.vjp(lambda z: loss(z, targets), jnp.asarray(z))
        (gradient,) = pullback(jnp.ones_like(value))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


# What is refused


@every_loss
def test_shapes_that_would_broadcast_are_refused(name):
    z, targets = single(LOGITS), targets_for(name, single(ONE_HOT))
    with pytest.raises(ValueError, match=r"\(6, 4\).*\(6, 1\)"):
        evaluate(name, z, targets.reshape(EXAMPLES, -1)[:, :1])


@every_loss
def test_integer_logits_are_refused(name):
    with pytest.raises(TypeError, match="logits must be floating point"):
        evaluate(name, LOGITS.astype(int), targets_for(name, ONE_HOT))


@every_loss_along_classes
def test_a_scalar_has_no_classes(name):
    with pytest.raises(ValueError, match="scalar"):
        evaluate(name, np.float32(1.0), 0 if LOSSES[name].targets == "labels" else 1.0)


# Parameters


@every_parameter
def test_derivative_by_a_parameter_is_that_of_the_plain_formula(name, parameter, default, float64):
    @jax.jit
    def by_parameter(value):
        def total(value):
            return getattr(losses, name)(LOGITS, SOFT, **{parameter: value}).sum()

        return total(value), jax.grad(total)(value), jax.jacfwd(total)(value)

    def formula(value):
        return LOSSES[name].formula(LOGITS, SOFT, **{parameter: value})

    value, *slopes = by_parameter(default - 0.25)
    np.testing.assert_allclose(value, formula(default - 0.25).sum(), rtol=1e-13)
    expected = derivative(formula, np.asarray(default - 0.25))
    np.testing.assert_allclose(slopes, [expected, expected], rtol=1e-12)


@every_parameter
def test_another_value_of_a_parameter_compiles_nothing(name, parameter, default, caplog):
    z = jnp.zeros((len(parameter), CLASSES))  # a shape that no other test uses
    with jax.log_compiles():
        getattr(losses, name)(z, z, **{parameter: default})
        assert "Compiling" in caplog.text
        caplog.clear()
        for value in (0.5 * default, 0.1):
            getattr(losses, name)(z, z, **{parameter: value})
        assert "Compiling" not in caplog.text


@every_parameter
def test_a_parameter_is_a_single_number(name, parameter, default):
    def value(values):
        return getattr(losses, name)(single(LOGITS), single(SOFT), **{parameter: values})

    with pytest.raises(ValueError, match=rf"{parameter} must be a single number.*\(4,\)"):
        value(jnp.full(CLASSES, default))
    with pytest.raises(ValueError, match=rf"{parameter} must be a single number"):
        jax.jit(value)(jnp.full(CLASSES, default))


def test_generalized_cross_entropy_runs_from_cross_entropy_to_absolute_error(float64):
    received = evaluate("generalized_cross_entropy", LOGITS, ONE_HOT, exponent=1e-9)
    expected = cross_entropy(LOGITS, ONE_HOT)
    np.testing.assert_allclose(received, expected, rtol=1e-7)
    received = evaluate("generalized_cross_entropy", LOGITS, ONE_HOT, exponent=1.0)
    expected = CLASSES / 2 * mean_absolute_error(LOGITS, ONE_HOT)
    np.testing.assert_allclose(received, expected, rtol=1e-13)


def test_focal_loss_without_focus_is_cross_entropy(float64):
    received = evaluate("softmax_focal_loss", LOGITS, SOFT, gamma=0.0)
    np.testing.assert_allclose(received, cross_entropy(LOGITS, SOFT), rtol=1e-13)


# One loss and another


@pytest.mark.parametrize(
    "name",
    [
        "softmax_cross_entropy",
        "softmax_cross_entropy_with_integer_labels",
        "sigmoid_binary_cross_entropy",
        "smooth_labels",
    ],
)
def test_the_arguments_are_those_of_optax(name):
    received, expected = (
        [
            (parameter.name, parameter.kind, parameter.default)
            for parameter in inspect.signature(getattr(module, name)).parameters.values()
        ]
        for module in (losses, optax)
    )
    assert received == expected


def test_changing_the_import_from_optax_changes_no_value(float64):
    where = np.random.default_rng(1).random((EXAMPLES, CLASSES)) < 0.7
    where |= ONE_HOT > 0
    for name, targets, options in [
        ("softmax_cross_entropy", SOFT * where, {"where": where}),
        ("softmax_cross_entropy_with_integer_labels", LABELS, {"where": where}),
        ("sigmoid_binary_cross_entropy", SOFT, {}),
    ]:
        expected = jax.jit(getattr(optax, name))(LOGITS, targets, **options)
        received = evaluate(name, LOGITS, targets, **options)
        np.testing.assert_allclose(received, expected, rtol=1e-13)


def test_kl_divergence_is_that_of_optax_without_its_logarithm(float64):
    expected = jax.jit(optax.kl_divergence)(log_softmax(LOGITS), SOFT)
    received = evaluate("softmax_kl_divergence", LOGITS, SOFT)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


@pytest.mark.parametrize("axis", [(1, 2), (-1, 0)], ids=str)
def test_labels_along_several_axes_count_as_in_optax(axis, float64):
    random = np.random.default_rng(1)
    z = random.normal(0.0, 2.0, (2, 3, 2))
    from_the_front = tuple(one % 3 for one in axis)  # as optax wants them
    batch = [size for i, size in enumerate(z.shape) if i not in from_the_front]
    labels = random.integers(z.size // batch[0], size=batch)
    name = "softmax_cross_entropy_with_integer_labels"
    expected = jax.jit(partial(getattr(optax, name), axis=from_the_front))(z, labels)
    received = evaluate(name, z, labels, axis=axis)
    np.testing.assert_allclose(received, expected, rtol=1e-13)


def test_two_classes_are_one_binary_decision(float64):
    s, y = LOGITS.ravel(), SOFT.ravel()
    z, p = np.stack([0 * s, s], -1), np.stack([1 - y, y], -1)
    received = evaluate("sigmoid_binary_cross_entropy", s, y)
    np.testing.assert_allclose(received, evaluate("softmax_cross_entropy", z, p), rtol=1e-13)
    received = 2 * evaluate("sigmoid_squared_error", s, y)
    np.testing.assert_allclose(received, evaluate("softmax_brier_score", z, p), rtol=1e-13)


def test_absolute_error_summed_over_the_labels_is_constant_and_squared_error_is_not(float64):
    def summed(name):
        labels = [np.eye(CLASSES)[[y] * EXAMPLES] for y in range(CLASSES)]
        return np.sum([evaluate(name, LOGITS, one_hot) for one_hot in labels], 0)

    np.testing.assert_allclose(
        summed("softmax_mean_absolute_error"), 2 * (CLASSES - 1) / CLASSES, rtol=1e-13
    )
    brier = summed("softmax_brier_score")
    assert np.ptp(brier) > 0.1
    assert ((brier >= CLASSES - 1) & (brier <= 2 * CLASSES - 2)).all()


# Derivatives by the targets, where P or Q touches the boundary


def test_derivative_of_cross_entropy_by_p_is_the_surprisal_also_where_p_is_zero(float64):
    _, received = measure("softmax_cross_entropy", LOGITS, ONE_HOT, by="targets")
    np.testing.assert_allclose(received, -log_softmax(LOGITS), rtol=1e-13)
    _, received = measure("sigmoid_binary_cross_entropy", LOGITS, ONE_HOT, by="targets")
    np.testing.assert_allclose(received, -LOGITS, rtol=1e-13)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_focal_loss"])
def test_mass_on_an_impossible_class_is_infinitely_dear_and_on_others_not(name):
    z, p = np.array([-np.inf, 0.0, 1.0]), np.array([0.0, 0.5, 0.5])
    expected = derivative(lambda p: LOSSES[name].formula(z[1:], p), p[1:])
    jacobians = [jacobian(getattr(losses, name), 1) for jacobian in (jax.jacrev, jax.jacfwd)]
    for received in jax.jit(lambda z, p: [jacobian(z, p) for jacobian in jacobians])(z, p):
        assert received[0] == np.inf
        np.testing.assert_allclose(received[1:], expected, rtol=1e-6)


def test_derivative_of_kl_divergence_by_p_falls_without_bound_where_p_is_zero():
    """∂/∂p [p log(p/q)] = log(p/q) + 1."""
    z, p = jnp.zeros(3), jnp.array([0.0, 0.5, 0.5])
    for jacobian in (jax.jacrev, jax.jacfwd):
        received = jax.jit(jacobian(losses.softmax_kl_divergence, 1))(z, p)
        assert received[0] == -jnp.inf
        np.testing.assert_allclose(received[1:], math.log(1.5) + 1, rtol=1e-6)


def test_an_unnormalised_target_scales_the_pull(float64):
    """The gradient of −Σ p log q is q Σp − p, and a row of zeros pulls nowhere."""
    p = np.concatenate([3 * SOFT[:3], 0 * SOFT[3:]])
    expected = softmax(LOGITS) * p.sum(-1, keepdims=True) - p
    for name in ("softmax_cross_entropy", "softmax_kl_divergence"):
        value, gradient = measure(name, LOGITS, p)
        np.testing.assert_allclose(gradient, expected, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(value[3:], 0.0)


# Integer labels

labelled = losses.softmax_cross_entropy_with_integer_labels


def test_labels_give_what_one_hot_targets_give():
    z = single(LOGITS)
    of_labels = measure("softmax_cross_entropy_with_integer_labels", z, LABELS)
    of_one_hot = measure("softmax_cross_entropy", z, single(ONE_HOT))
    for received, expected in zip(of_labels, of_one_hot, strict=True):
        np.testing.assert_allclose(received, expected, rtol=3e-7, atol=3e-8)


@pytest.mark.parametrize(
    ("label", "dtype"),
    [
        *((label, "int32") for label in (-1, 4, -(2**31), 2**31 - 1)),
        *((label, "int8") for label in (-1, 127)),
        (255, "uint8"),
    ],
)
def test_a_label_that_names_no_class_is_refused_or_where_it_is_traced_gives_nan(label, dtype):
    labels = LABELS.astype(dtype)
    labels[2] = label
    z = jnp.asarray(single(LOGITS))
    with pytest.raises(ValueError, match=rf"\[0, 4\).*example 2 is {label}: where="):
        labelled(z, labels)
    with pytest.raises(ValueError, match=rf"\[0, 4\).*example 2 is {label}: where="):
        jax.grad(lambda z: labelled(z, labels).sum())(z)
    for received in measure("softmax_cross_entropy_with_integer_labels", z, labels):
        assert np.isnan(received[2]).all()
        assert np.isfinite(np.delete(received, 2, 0)).all()


def test_labels_of_64_bits_do_not_wrap_round(float64):
    labels = jnp.array([0, 2**32])
    received = jax.jit(labelled)(LOGITS[:2], labels)
    np.testing.assert_array_equal(np.isnan(received), [False, True])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_labels_of_few_bits_name_the_first_of_many_classes(dtype):
    z = single(np.random.default_rng(1).normal(size=(3, 300)))
    labels = np.array([0, 1, 127], dtype)
    expected = cross_entropy(z.astype(float), np.eye(300)[labels])
    where = np.arange(300) < 200
    np.testing.assert_allclose(labelled(z, labels), expected, rtol=1e-6)
    np.testing.assert_allclose(
        labelled(z, labels, where=where),
        cross_entropy(z[:, :200].astype(float), np.eye(200)[labels]),
        rtol=1e-6,
    )
    hidden = np.asarray(jax.jit(labelled)(z, labels, where=np.arange(300) != 1))
    np.testing.assert_array_equal(np.isnan(hidden), [False, True, False])


def test_constant_labels_are_checked_under_jit_too():
    wrong = np.array([0, 1, 2, 9, 1, 0])
    for labels in (wrong, jnp.asarray(wrong)):
        with pytest.raises(ValueError, match="example 3 is 9"):
            jax.jit(lambda z, labels=labels: labelled(z, labels))(single(LOGITS))


def test_constant_masks_are_checked_under_jit_too():
    hides_the_label = np.arange(CLASSES) > 0
    with pytest.raises(ValueError, match="where hides"):
        jax.jit(lambda z: labelled(z, LABELS, where=hides_the_label))(single(LOGITS))


@pytest.mark.parametrize("label", [-1, 99])
def test_a_hidden_example_may_have_any_label(label):
    labels, kept = LABELS.copy(), np.arange(EXAMPLES) != 2
    labels[2] = label
    expected = kept * cross_entropy(LOGITS, ONE_HOT)
    for each in (labelled, jax.jit(labelled)):
        received = each(single(LOGITS), labels, where=kept)
        np.testing.assert_allclose(received, expected, rtol=1e-6)


# Helpers


def test_smoothed_labels_are_those_of_optax_and_sum_to_one(float64):
    received = losses.smooth_labels(ONE_HOT, 0.3)
    np.testing.assert_allclose(received, optax.smooth_labels(ONE_HOT, 0.3), rtol=1e-15)
    np.testing.assert_allclose(np.sum(received, -1), 1.0, rtol=1e-15)


@pytest.mark.parametrize("axis", [0, (0, 1), None], ids=str)
def test_smoothing_spreads_over_the_classes_along_its_axes(axis, float64):
    p = np.random.default_rng(1).dirichlet(np.ones(24)).reshape(2, 3, 4)
    uniform = 1 / np.sum(np.ones(p.shape), axis, keepdims=True)
    received = losses.smooth_labels(p, 0.3, axis=axis)
    np.testing.assert_allclose(received, 0.7 * p + 0.3 * uniform, rtol=1e-14)


def test_smoothing_gives_no_mass_to_what_is_hidden(float64):
    classes = np.array([[True, True, False, True]])
    p = np.eye(CLASSES)[[0, 1, 3]]
    received = losses.smooth_labels(p, 0.3, where=classes)
    np.testing.assert_allclose(received, (0.7 * p + 0.1) * classes, rtol=1e-15)
    received = losses.smooth_labels(p, 0.3, where=np.array([True, False, True]))
    expected = (0.7 * p + 0.3 / 4) * np.array([[1], [0], [1]])
    np.testing.assert_allclose(received, expected, rtol=1e-15)


def test_smoothing_refuses_mass_that_is_hidden_or_where_it_is_traced_makes_it_nan():
    p, where = single(ONE_HOT), np.arange(CLASSES) > 0
    with pytest.raises(ValueError, match=r"where hides, at \(0, 0\)"):
        losses.smooth_labels(p, 0.3, where=where)
    received = jax.jit(losses.smooth_labels)(p, 0.3, where=where)
    np.testing.assert_array_equal(np.isnan(received), (p > 0) & ~where)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan])
def test_smoothing_refuses_an_alpha_outside_of_the_unit_interval(alpha):
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], but it is"):
        losses.smooth_labels(ONE_HOT, alpha)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (jnp.arange(8), r"labels\[2\] of shape \(8,\) is 2: make integer labels one-hot first"),
        (jnp.array([0, 1, 1]), r"labels\[1\] of shape \(3,\) is 1: make integer"),
        (jnp.array([[0.5, -0.5, 1.0]]), r"labels\[0, 1\] of shape \(1, 3\) is -0.5: "),
    ],
)
def test_numbers_of_classes_are_no_labels_to_smooth(labels, named):
    with pytest.raises(ValueError, match=named):
        losses.smooth_labels(labels, 0.1)


@pytest.mark.parametrize("shape", [(), (5,), (2, 5)])
def test_integer_labels_of_a_dense_loss_are_told_to_be_made_one_hot(shape):
    logits, labels = jnp.zeros((*shape, 3)), jnp.ones(shape, int)
    with pytest.raises(ValueError, match=r"they are integers of shape .*: make them one-hot first"):
        losses.softmax_brier_score(logits, labels)
    dense = losses.softmax_brier_score(logits, jax.nn.one_hot(labels, 3))
    np.testing.assert_allclose(dense, np.full(shape, 2 / 3), rtol=1e-6)


def test_smoothing_makes_integer_labels_floating_and_keeps_other_dtypes():
    assert losses.smooth_labels(ONE_HOT.astype(int), 0.1).dtype == jnp.float32
    assert losses.smooth_labels(ONE_HOT.astype(bool), 0.1).dtype == jnp.float32
    assert losses.smooth_labels(jnp.asarray(ONE_HOT, jnp.bfloat16), 0.1).dtype == jnp.bfloat16


def test_smoothing_is_differentiable_by_alpha(float64):
    received = jax.jit(jax.jacfwd(lambda alpha: losses.smooth_labels(ONE_HOT, alpha)))(0.3)
    np.testing.assert_allclose(received, 1 / CLASSES - ONE_HOT, rtol=1e-15)


def test_smoothed_cross_entropy_is_least_at_a_finite_gap(float64):
    gap = np.log1p(CLASSES * (1 - 0.2) / 0.2)
    smoothed = losses.smooth_labels(ONE_HOT, 0.2)
    _, gradient = measure("softmax_cross_entropy", gap * ONE_HOT, smoothed)
    np.testing.assert_allclose(gradient, 0.0, atol=2e-16)


VALUES = np.array([1.0, 3.0, 8.0, 2.0])


def mean_and_gradients(values, where=None, weights=None):
    weights = jnp.ones(4) if weights is None else jnp.asarray(weights)
    mean = partial(losses.masked_mean, where=where)

    @jax.jit
    def all_at_once(values, weights):
        return (
            mean(values, weights=weights),
            *jax.grad(lambda v, w: mean(v, weights=w), (0, 1))(values, weights),
        )

    return [np.asarray(each) for each in all_at_once(jnp.asarray(values), weights)]


def test_masked_mean_is_the_weighted_mean_of_what_is_kept(float64):
    where, weights = np.array([True, True, False, True]), np.array([0.5, 2.0, 7.0, 0.0])
    received, by_value, by_weight = mean_and_gradients(VALUES, where, weights)
    kept = weights * where
    expected = (kept * VALUES).sum() / kept.sum()
    np.testing.assert_allclose(received, expected, rtol=1e-15)
    np.testing.assert_allclose(by_value, kept / kept.sum(), rtol=1e-15)
    # also by the weight that is 0
    np.testing.assert_allclose(by_weight, where * (VALUES - expected) / kept.sum(), rtol=1e-14)
    np.testing.assert_allclose(losses.masked_mean(VALUES), VALUES.mean(), rtol=1e-15)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_masked_mean_lets_nothing_leak_from_what_is_not_kept(poison, float64):
    values = np.where([False, False, True, True], poison, VALUES)
    where, weights = np.array([True, True, False, True]), np.array([1.0, 1.0, 1.0, 0.0])
    received, by_value, by_weight = mean_and_gradients(values, where, weights)
    assert received == 2.0
    np.testing.assert_array_equal(by_value, [0.5, 0.5, 0.0, 0.0])
    assert np.isfinite(by_weight).all()


@pytest.mark.parametrize(
    "nothing", [{"where": np.zeros(4, bool)}, {"weights": np.zeros(4)}], ids=str
)
def test_masked_mean_of_nothing_is_zero_with_zero_gradient(nothing, float64):
    with jax.debug_nans(True):
        received = mean_and_gradients(VALUES, **nothing)
    for each in received:
        np.testing.assert_array_equal(each, 0.0)
    assert losses.masked_mean(jnp.zeros((0, 3))) == 0.0


def test_masked_mean_averages_over_all_axes_and_keeps_the_dtype():
    values = jnp.asarray(VALUES.reshape(2, 2), jnp.bfloat16)
    received = losses.masked_mean(values, weights=jnp.array([[1, 0], [1, 0]]))
    assert received.dtype == jnp.bfloat16
    assert received == 4.5


def test_masked_mean_lets_nan_that_is_kept_through():
    values = jnp.asarray(np.where(np.arange(4) == 2, np.nan, VALUES))
    assert jnp.isnan(losses.masked_mean(values))


def test_masked_mean_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"values and where.*\(4,\) and \(4, 1\)"):
        losses.masked_mean(VALUES, np.ones((4, 1), bool))
    with pytest.raises(ValueError, match=r"values and weights.*\(4,\) and \(1,\)"):
        losses.masked_mean(VALUES, weights=np.ones(1))
    with pytest.raises(ValueError, match="weights must not be negative"):
        losses.masked_mean(VALUES, weights=-np.ones(4))
    with pytest.raises(TypeError, match="where must be boolean"):
        losses.masked_mean(VALUES, np.ones(4))
    with pytest.raises(TypeError, match="values must be floating point"):
        losses.masked_mean(np.arange(4))
