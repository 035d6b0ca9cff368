"""Gradients in their three spaces, and the instruments that look at a whole loss."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxent import gradients, losses
from tests.examples import brier_score, cross_entropy, examples, raw_squared_error, softmax
from tests.leaks import checking_leaks


@jax.jit
def unshifted_cross_entropy(z, p):
    return jnp.log(jnp.sum(jnp.exp(z))) * jnp.sum(p) - jnp.sum(p * z)


@jax.jit
def hinge(z, p):
    """Of the differences of the logits: not smooth, not of q by name, but of q alone."""
    return jnp.maximum(0.0, 1 + jnp.max(z - 1e3 * p) - jnp.sum(z * p))


def times_jacobian(q, v):
    return q * (v - (q * v).sum(-1, keepdims=True))


def single(x):
    return np.asarray(x, np.float32)


SHAPE = (2, 3, 4)


@functools.cache
def program(function, loss):
    return jax.jit(functools.partial(function, loss))


def compiled(function, loss, logits, targets):
    """One compilation for each shape, where the same in eager mode is one an operation."""
    return jax.tree.map(np.asarray, program(function, loss)(logits, targets))


ARRAY_FUNCTIONS = [
    gradients.logit_gradient,
    gradients.tangent_gradient,
    gradients.simplex_velocity,
]


def all_three(loss, logits, targets):
    return {f.__name__: f(loss, logits, targets) for f in ARRAY_FUNCTIONS}


# ---- the closed forms, at every example of a batch -------------------------------------------


def test_gradient_of_cross_entropy_is_q_minus_p(float64):
    logits, targets = examples(*SHAPE)
    received = compiled(gradients.logit_gradient, cross_entropy, logits, targets)
    np.testing.assert_allclose(received, softmax(logits) - targets, rtol=1e-12, atol=1e-15)


def test_gradient_of_brier_score_has_one_more_jacobian_and_is_never_the_larger_one(float64):
    logits, targets = examples(*SHAPE)
    q = softmax(logits)
    received = compiled(gradients.logit_gradient, brier_score, logits, targets)
    expected = 2 * times_jacobian(q, q - targets)
    np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-15)
    assert np.all(np.linalg.norm(received, axis=-1) <= np.linalg.norm(q - targets, axis=-1))


def test_tangent_gradient_of_cross_entropy_is_minus_p_over_q_without_its_mean(float64):
    logits, targets = examples(*SHAPE)
    ratio = targets / softmax(logits)
    expected = ratio.mean(-1, keepdims=True) - ratio
    received = compiled(gradients.tangent_gradient, cross_entropy, logits, targets)
    np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.sum(received, -1), 0.0, atol=1e-11)


def test_tangent_gradient_of_brier_score_is_twice_q_minus_p(float64):
    # so natural gradient descent on it is plain descent on cross-entropy at twice the speed
    logits, targets = examples(*SHAPE)
    received = compiled(gradients.tangent_gradient, brier_score, logits, targets)
    np.testing.assert_allclose(received, 2 * (softmax(logits) - targets), rtol=1e-11, atol=1e-13)


def test_natural_gradient_descent_on_cross_entropy_moves_q_straight_to_p(float64):
    logits, targets = examples(*SHAPE)
    q = softmax(logits)
    received = -times_jacobian(
        q, compiled(gradients.tangent_gradient, cross_entropy, logits, targets)
    )
    np.testing.assert_allclose(received, targets - q, rtol=1e-12, atol=1e-14)


def test_velocity_of_cross_entropy_is_minus_j_times_q_minus_p(float64):
    logits, targets = examples(*SHAPE)
    q = softmax(logits)
    received = compiled(gradients.simplex_velocity, cross_entropy, logits, targets)
    expected = -times_jacobian(q, q - targets)
    np.testing.assert_allclose(received, expected, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(np.sum(received, -1), 0.0, atol=1e-15)


def test_velocity_of_brier_score_is_minus_two_j_squared_times_q_minus_p(float64):
    logits, targets = examples(*SHAPE)
    q = softmax(logits)
    received = compiled(gradients.simplex_velocity, brier_score, logits, targets)
    expected = -2 * times_jacobian(q, times_jacobian(q, q - targets))
    np.testing.assert_allclose(received, expected, rtol=1e-11, atol=1e-15)


def test_velocity_of_raw_squared_error_is_what_a_small_step_of_descent_does_to_q(float64):
    logits, targets = examples(*SHAPE)
    step = 1e-4 * 2 * (logits - targets)
    expected = (softmax(logits - step) - softmax(logits + step)) / 2e-4
    received = compiled(gradients.simplex_velocity, raw_squared_error, logits, targets)
    np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.parametrize("loss", [losses.generalized_cross_entropy, hinge])
def test_tangent_gradient_is_the_slope_of_the_loss_over_the_simplex(loss, float64):
    z, p = examples(4)
    received = compiled(gradients.tangent_gradient, loss, z, p)
    direction = np.array([0.3, -1.1, 0.6, 0.2])
    slope = jax.jit(lambda q: jax.jvp(lambda q: loss(jnp.log(q), p), (q,), (direction,))[1])
    expected = slope(softmax(z))
    np.testing.assert_allclose(received @ direction, expected, rtol=1e-10)


def test_velocity_of_a_nearly_certain_q_keeps_its_digits():
    # two classes, the wrong one ahead by the margin: a′ = 2a(1 − a)²
    margins = np.array([-30.0, -10.0, 10.0, 30.0])
    with mpmath.workdps(50):
        a = [1 / (1 + mpmath.exp(mpmath.mpf(margin))) for margin in margins]
        expected = np.array([float(2 * x * (1 - x) ** 2) for x in a])  # pyright: ignore
    logits = np.stack([np.zeros(4), margins], -1).astype(np.float32)
    truth = np.tile(single([1, 0]), (4, 1))
    received = compiled(gradients.simplex_velocity, losses.softmax_cross_entropy, logits, truth)
    np.testing.assert_allclose(received, np.stack([expected, -expected], -1), rtol=1e-6)


def test_a_loss_of_labels_can_be_examined_through_argmax():
    logits, targets = single([0.3, -1.0, 2.0]), single([0, 1, 0])
    received = compiled(
        gradients.logit_gradient,
        lambda z, p: losses.softmax_cross_entropy_with_integer_labels(z, p.argmax()),
        logits,
        targets,
    )
    np.testing.assert_allclose(received, softmax(logits) - targets, atol=1e-7)


# ---- what the three have in common -----------------------------------------------------------


def test_jit_and_vmap_agree_with_eager_and_leak_nothing():
    logits, targets = map(single, examples(3, 4))
    eager = all_three(brier_score, logits, targets)
    with checking_leaks(), jax.numpy_rank_promotion("raise"), jax.debug_nans(True):
        mapped = jax.jit(jax.vmap(functools.partial(all_three, brier_score)))(logits, targets)
    for name, received in mapped.items():
        np.testing.assert_allclose(received, eager[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_half_precision_comes_back_as_it_went_in():
    logits, targets = (x.astype(jnp.bfloat16) for x in examples(3, 4))
    in_half = compiled(all_three, losses.softmax_brier_score, logits, targets)
    logits, targets = logits.astype(np.float32), targets.astype(np.float32)
    in_single = compiled(all_three, losses.softmax_brier_score, logits, targets)
    for name, received in in_half.items():
        assert received.dtype == jnp.bfloat16, name
        expected = in_single[name]
        # g is rounded once by the loss, and the quotient or product with q once more
        error = np.abs(received.astype(np.float32) - expected)
        scale = np.abs(expected).max(-1, keepdims=True)
        assert np.all(error <= 4 * float(jnp.finfo(jnp.bfloat16).eps) * scale), name


def test_integer_and_boolean_targets_are_cast_and_an_empty_batch_stays_empty():
    logits = single([0.3, -1.0, 2.0])
    expected = gradients.logit_gradient(brier_score, logits, single([0, 1, 0]))
    for targets in (np.array([0, 1, 0]), np.array([False, True, False])):
        received = gradients.logit_gradient(brier_score, logits, targets)
        np.testing.assert_array_equal(received, expected)
    empty = np.ones((0, 3), np.float32)
    for name, received in compiled(all_three, brier_score, empty, empty).items():
        assert received.shape == (0, 3), name


def test_a_nan_logit_makes_its_row_nan_and_no_other():
    logits = single([[0.0, np.nan, 1.0], [0.0, 1.0, 2.0]])
    targets = np.full((2, 3), 0.5, np.float32)
    for name, received in compiled(all_three, losses.softmax_brier_score, logits, targets).items():
        assert np.isnan(received[0]).all(), name
        assert np.isfinite(received[1]).all(), name


def test_a_row_without_any_possible_class_is_zero():
    logits, targets = np.full((2, 3), -np.inf, np.float32), np.zeros((2, 3), np.float32)
    for name, received in compiled(all_three, losses.softmax_brier_score, logits, targets).items():
        np.testing.assert_array_equal(received, 0.0, name)


@pytest.mark.parametrize("function", ARRAY_FUNCTIONS)
def test_bad_arguments_are_named(function):
    three = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"same shape.*\(3,\) and \(2, 3\)"):
        function(cross_entropy, three, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"same shape.*\(2, 3\) and \(2, 1\)"):
        function(cross_entropy, np.ones((2, 3)), np.ones((2, 1)))
    with pytest.raises(ValueError, match="axis of classes"):
        function(cross_entropy, np.array(1.0), np.array(1.0))
    with pytest.raises(TypeError, match="int32"):
        function(cross_entropy, np.array([1, 2, 3]), three)


@pytest.mark.parametrize("function", ARRAY_FUNCTIONS)
def test_a_loss_that_does_not_return_a_scalar_is_told_what_it_returned(function):
    with pytest.raises(ValueError, match=r"shape \(3,\), must be a scalar.*returned shape \(3,\)"):
        function(lambda z, p: z * p, np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"must be a scalar.*returned shape \(1,\)"):
        function(lambda z, p: jnp.sum(z, keepdims=True), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"must be a scalar.*returned a tuple"):
        function(lambda z, p: (jnp.sum(z), p), np.ones(3), np.ones(3))


# ---- where the tangent gradient is not defined -----------------------------------------------


def test_an_impossible_class_has_no_part_in_the_tangent_gradient():
    with jax.debug_nans(True):
        received = compiled(
            gradients.tangent_gradient,
            losses.softmax_cross_entropy,
            single([1.0, -np.inf, 2.0]),
            single([0.25, 0.0, 0.75]),
        )
    ratio = np.array([0.25, 0.75]) / softmax(np.array([1.0, 2.0]))
    np.testing.assert_allclose(received[[0, 2]], ratio.mean() - ratio, rtol=1e-5)
    assert received[1] == 0


def test_tangent_gradient_is_nan_where_q_underflows_and_the_next_row_is_not():
    logits, targets = single([[0, 120], [0, 80]]), single([[1, 0], [1, 0]])
    received = compiled(gradients.tangent_gradient, losses.softmax_cross_entropy, logits, targets)
    assert np.isnan(received[0]).all()
    expected = np.exp(80) / 2 * np.array([-1.0, 1.0])
    np.testing.assert_allclose(received[1], expected, rtol=1e-5)


RAW_LOSSES = {
    "squared error": raw_squared_error,
    "jaxent.logit_squared_error": losses.logit_squared_error,
    "squentropy": losses.squentropy,
    "a sigmoid for each class": lambda z, p: jnp.sum(jnp.logaddexp(0.0, z) - p * z),
    "cross-entropy with a penalty on log Z": (
        lambda z, p: cross_entropy(z, p) + 1e-4 * jnp.square(jax.nn.logsumexp(z))
    ),
    # shifted by −1 and by −4 a parabola may return to its value, not by both
    "a parabola about 5/2": lambda z, p: jnp.square(jnp.mean(z) - 2.5),
}


@pytest.mark.parametrize("loss", RAW_LOSSES.values(), ids=RAW_LOSSES.keys())
def test_a_loss_that_reads_raw_logits_has_no_tangent_gradient(loss):
    for dtype in (jnp.float32, jnp.bfloat16):
        with pytest.raises(ValueError, match="reads raw logits"):
            gradients.tangent_gradient(jax.jit(loss), np.zeros(3, dtype), np.zeros(3, dtype))


def test_a_loss_of_one_raw_logit_has_no_tangent_gradient_and_a_loss_of_one_probability_has():
    one = np.ones(1, np.float32)
    with pytest.raises(ValueError, match="reads raw logits"):
        gradients.tangent_gradient(raw_squared_error, one, one)
    for loss in (brier_score, unshifted_cross_entropy):
        received = compiled(gradients.tangent_gradient, loss, one, one)
        np.testing.assert_allclose(received, 0.0, atol=1e-7)


def test_raw_logits_are_refused_inside_jit_vmap_and_grad_too():
    three = np.ones((2, 3), np.float32)
    function = functools.partial(gradients.tangent_gradient, raw_squared_error)
    for transformed in (
        jax.jit(function),
        jax.vmap(function),
        jax.grad(lambda z, p: jnp.sum(function(z, p))),
    ):
        with pytest.raises(ValueError, match="reads raw logits"):
            transformed(three, three)


def test_a_loss_with_a_traced_parameter_is_not_refused():
    z, p = single([0, 1, 3]), single([1, 0, 0])

    def scaled(loss, scale):
        return gradients.tangent_gradient(lambda z, p: scale * loss(z, p), z, p)

    received = jax.jit(jax.vmap(functools.partial(scaled, brier_score)))(single([1, 2]))
    expected = 2 * (softmax(z) - p)
    np.testing.assert_allclose(received, np.stack([expected, 2 * expected]), rtol=1e-5)
    unchecked = jax.jit(functools.partial(scaled, raw_squared_error))(1.0)
    assert unchecked.shape == (3,)


def test_careless_losses_of_q_are_not_taken_for_losses_of_raw_logits():
    logits = np.zeros(1000, np.float16)
    targets = np.eye(1, 1000, dtype=np.float16)[0]
    for loss in (
        unshifted_cross_entropy,
        hinge,
        lambda z, p: cross_entropy(z.astype(jnp.bfloat16), p),
    ):
        assert np.isfinite(compiled(gradients.tangent_gradient, loss, logits, targets)).all()


# ---- profiles --------------------------------------------------------------------------------


CLASSES = [2, 3, 10, 1000]


def wrong_probability(margin, wrong):
    """1 − a with all its digits."""
    return wrong / (wrong + np.exp(-margin))


@pytest.mark.parametrize("classes", CLASSES)
def test_profiles_of_cross_entropy_are_the_closed_forms_to_both_ends(classes):
    wrong = classes - 1
    profile = gradients.gradient_profile(losses.softmax_cross_entropy, classes)
    rest = wrong_probability(profile.margin, wrong)
    np.testing.assert_allclose(profile.gradient_norm, np.sqrt(classes / wrong) * rest, rtol=1e-12)
    np.testing.assert_allclose(profile.true_class_gradient, -rest, rtol=1e-12)
    np.testing.assert_allclose(profile.value, np.log1p(wrong * np.exp(profile.margin)), rtol=1e-12)


@pytest.mark.parametrize("classes", CLASSES)
def test_profiles_of_brier_score_are_the_closed_forms_and_largest_at_one_third(classes):
    wrong = classes - 1
    profile = gradients.gradient_profile(losses.softmax_brier_score, classes)
    a, rest = profile.p_true, wrong_probability(profile.margin, wrong)
    expected = 2 * a * rest**2 * (classes / wrong) ** 1.5
    np.testing.assert_allclose(profile.gradient_norm, expected, rtol=1e-11)
    expected = -2 * a * rest**2 * classes / wrong
    np.testing.assert_allclose(profile.true_class_gradient, expected, rtol=1e-11)

    height = 8 / 27 * (classes / wrong) ** 1.5
    assert 0.999 * height < profile.gradient_norm.max() <= height
    assert abs(a[profile.gradient_norm.argmax()] - 1 / 3) < 0.02


@pytest.mark.parametrize("classes", [2, 5])
def test_profiles_with_the_wrong_mass_on_one_class_are_the_closed_forms(classes):
    profile = gradients.gradient_profile(losses.softmax_cross_entropy, classes, spread="one")
    a, rest = profile.p_true, wrong_probability(profile.margin, 1)
    np.testing.assert_allclose(profile.gradient_norm, np.sqrt(2) * rest, rtol=1e-12)
    profile = gradients.gradient_profile(losses.softmax_brier_score, classes, spread="one")
    np.testing.assert_allclose(profile.gradient_norm, 4 * np.sqrt(2) * a * rest**2, rtol=1e-11)


def test_default_profile_is_symmetric_in_log_odds_and_goes_beyond_a_millionth():
    profile = gradients.gradient_profile(losses.softmax_brier_score, 10)
    log_odds = -(profile.margin + np.log(9))
    np.testing.assert_allclose(log_odds, -log_odds[::-1], atol=1e-12)
    assert log_odds.max() > np.log(1e6)
    np.testing.assert_allclose(profile.p_true, 1 / (1 + np.exp(-log_odds)), rtol=1e-12)


def test_profile_is_float64_without_x64_and_can_be_computed_with():
    profile = gradients.gradient_profile(losses.softmax_brier_score, 3)
    assert {x.dtype for x in profile} == {np.dtype(np.float64)}
    assert profile.gradient_norm.argmax() > 0
    assert jnp.ones(3).dtype == jnp.float32


def test_points_may_be_margins_or_probabilities_of_any_shape():
    margin = np.array([[-3.0, 0.0], [1.0, 4.0]])
    by_margin = gradients.gradient_profile(brier_score, 4, margin=margin)
    by_p_true = gradients.gradient_profile(brier_score, 4, p_true=1 / (1 + 3 * np.exp(margin)))
    assert by_margin.gradient_norm.shape == (2, 2)
    assert by_margin.logits.shape == (2, 2, 4)
    for received, expected in zip(by_p_true, by_margin, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-14)
    assert gradients.gradient_profile(brier_score, 4, margin=4).gradient_norm.shape == ()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_profile_has_the_dtype_of_its_points(dtype):
    points = np.array([-2.0, 4.0])
    profile = gradients.gradient_profile(
        losses.softmax_cross_entropy, 2, margin=points.astype(dtype)
    )
    assert {x.dtype for x in profile} == {jnp.dtype(dtype)}
    expected = np.sqrt(2) * wrong_probability(points, 1)
    received = np.asarray(profile.gradient_norm, float)
    np.testing.assert_allclose(received, expected, rtol=4 * float(jnp.finfo(dtype).eps))


def test_norms_do_not_underflow_when_they_are_squared():
    profile = gradients.gradient_profile(
        lambda z, p: 1e-30 * (z[0] - z[1]), 2, margin=single([-2, 4])
    )
    np.testing.assert_allclose(profile.gradient_norm, np.sqrt(2) * 1e-30, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_classes_without_mass_have_finite_logits_and_no_probability(dtype):
    profile = gradients.gradient_profile(
        lambda z, p: jnp.sum(z), 5, spread="one", margin=np.array([-9.0, 9.0], dtype)
    )
    assert np.isfinite(profile.logits.astype(float)).all()
    gaps = profile.logits.astype(float) - profile.logits.astype(float).max(-1, keepdims=True)
    assert (np.exp(gaps[:, 2:]).astype(dtype) == 0).all()


def test_logits_with_mass_sum_to_zero():
    even = gradients.gradient_profile(raw_squared_error, 4, margin=np.array([3.0]))
    np.testing.assert_allclose(even.logits, [[-2.25, 0.75, 0.75, 0.75]])
    np.testing.assert_allclose(even.value, [3.25**2 + 3 * 0.75**2])
    one = gradients.gradient_profile(raw_squared_error, 4, margin=np.array([3.0]), spread="one")
    np.testing.assert_allclose(one.logits[0, :2], [-1.5, 1.5])


@pytest.mark.parametrize("points", [1, 8, 55])
def test_profile_under_jit_keeps_the_digits_of_a_right_answer(points):
    """Where the compiler makes several loops of it, each with roundings of its own."""
    with jax.enable_x64(True):
        profile = jax.jit(
            functools.partial(gradients.gradient_profile, losses.softmax_focal_loss, 3)
        )(margin=np.linspace(-27.0, -20.0, points))
    for margin, received in zip(profile.margin, profile.true_class_gradient, strict=True):
        with mpmath.workdps(50):
            right = 1 / (1 + 2 * mpmath.exp(mpmath.mpf(float(margin))))
            rest = 1 - right
            expected = -(rest**2) * (rest - 2 * right * mpmath.log(right))
        assert float(received) == pytest.approx(float(expected), rel=1e-13, abs=0)


def test_profile_can_be_jitted_mapped_and_differentiated():
    def norm(scale, margin):
        return gradients.gradient_profile(
            lambda z, p: scale * brier_score(z, p), 3, margin=margin
        ).gradient_norm

    margin = single([0.5, 2.0])
    eager = norm(1.0, margin)
    np.testing.assert_allclose(jax.jit(norm)(2.0, margin), 2 * eager, rtol=1e-5)
    in_double = jax.jit(jax.vmap(lambda scale: norm(scale, margin.astype(np.float64))))
    received = in_double(single([1, 3]))
    assert received.dtype == jnp.float32
    np.testing.assert_allclose(received, np.stack([eager, 3 * eager]), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(norm))(1.0, margin), eager, rtol=1e-5)


def test_default_profile_can_be_jitted_without_x64():
    expected = gradients.gradient_profile(losses.softmax_brier_score, 3)
    received = jax.jit(lambda: gradients.gradient_profile(losses.softmax_brier_score, 3))()
    assert received.gradient_norm.dtype == jnp.float32
    np.testing.assert_allclose(received.gradient_norm, expected.gradient_norm, rtol=1e-6)


def test_bad_profiles_are_refused():
    profile = functools.partial(gradients.gradient_profile, cross_entropy)
    with pytest.raises(ValueError, match="at least 2, but it is 1"):
        profile(1)
    with pytest.raises(TypeError):
        profile(2.5)  # pyright: ignore
    with pytest.raises(ValueError, match=r"\"even\" or \"one\".*'some'"):
        profile(3, spread="some")  # pyright: ignore
    with pytest.raises(ValueError, match="not as both"):
        profile(3, margin=1.0, p_true=0.5)
    for p_true in (0.0, 1.0, -0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            profile(3, p_true=np.array([0.5, p_true]))
    for margin in (np.inf, np.nan):
        with pytest.raises(ValueError, match="must be finite"):
            profile(3, margin=margin)
    with pytest.raises(ValueError, match="must be a scalar"):
        gradients.gradient_profile(lambda z, p: z, 3)


# ---- fields ----------------------------------------------------------------------------------


def test_field_points_are_regular_symmetric_strictly_inside_and_one_is_uniform(float64):
    q = np.asarray(gradients.gradient_field(brier_score, np.array([1.0, 0.0, 0.0])).q)
    assert q.shape == (325, 3)
    np.testing.assert_allclose(q.sum(-1), 1.0, rtol=1e-15)
    assert q.min() > 0
    steps = q * 25 - 1 / 3
    np.testing.assert_allclose(steps, steps.round(), atol=1e-12)
    points = {tuple(row) for row in steps.round().astype(int).tolist()}
    assert len(points) == 325
    assert points == {(j, k, i) for i, j, k in points} == {(j, i, k) for i, j, k in points}
    assert (8, 8, 8) in points


@pytest.mark.parametrize("target", [[0.0, 1.0, 0.0], [0.2, 0.5, 0.3]])
def test_field_holds_the_values_gradients_and_velocities_of_its_points(target, float64):
    target = np.array(target)
    field = gradients.gradient_field(brier_score, target, resolution=7)
    q = np.asarray(field.q)
    np.testing.assert_allclose(np.sum(field.logits, -1), 0.0, atol=1e-14)
    np.testing.assert_allclose(softmax(np.asarray(field.logits)), q, rtol=1e-14)
    np.testing.assert_allclose(field.values, np.square(q - target).sum(-1), rtol=1e-12)
    expected = 2 * times_jacobian(q, q - target)
    np.testing.assert_allclose(field.gradients, expected, rtol=1e-11, atol=1e-15)
    expected = -times_jacobian(q, expected)
    np.testing.assert_allclose(field.velocities, expected, rtol=1e-11, atol=1e-15)


def test_field_of_a_loss_of_raw_logits_is_that_of_logits_that_sum_to_zero(float64):
    target = np.array([1.0, 0.0, 0.0])
    field = gradients.gradient_field(raw_squared_error, target, resolution=7)
    np.testing.assert_allclose(field.gradients, 2 * (np.asarray(field.logits) - target), rtol=1e-12)


def test_field_can_be_jitted_and_mapped_over_targets_and_accepts_integers(float64):
    field = functools.partial(gradients.gradient_field, brier_score, resolution=7)
    mapped = jax.jit(jax.vmap(field))(np.eye(3))
    expected = field(np.array([0, 1, 0]))
    for received, of_one in zip(mapped, expected, strict=True):
        np.testing.assert_allclose(np.asarray(received)[1], of_one, rtol=1e-12, atol=1e-15)


def test_bad_fields_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\), but it has \(4,\)"):
        gradients.gradient_field(cross_entropy, np.ones(4))
    with pytest.raises(ValueError, match=r"\(3,\), but it has \(2, 3\)"):
        gradients.gradient_field(cross_entropy, np.ones((2, 3)))
    with pytest.raises(ValueError, match="at least 1, but it is 0"):
        gradients.gradient_field(cross_entropy, np.ones(3), resolution=0)
    with pytest.raises(TypeError):
        gradients.gradient_field(cross_entropy, np.ones(3), resolution=2.5)  # pyright: ignore
