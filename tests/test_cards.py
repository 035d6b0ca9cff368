"""The facts on a card, held to closed forms, to mpmath, and to losses made to have them."""

import math
from functools import cache, partial
from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest

from experiments.families import _known as known
from jaxent import cards, losses, theory
from jaxent._arguments import name_of
from jaxent.cards import EscapeLaw, _curvature, _derivatives, _invariance, _measuring
from jaxent.cards._facts import facts_of
from jaxent.descent import escape_steps
from tests import wild
from tests.examples import by_hand

CROSS_ENTROPY = losses.softmax_cross_entropy
BRIER = losses.softmax_brier_score
MSE = losses.softmax_mean_squared_error
MAE = losses.softmax_mean_absolute_error
HALF = partial(losses.generalized_cross_entropy, exponent=0.5)
SEVEN = partial(losses.generalized_cross_entropy, exponent=0.7)
FOCAL = losses.softmax_focal_loss
RAW = losses.logit_squared_error
SQUENTROPY = losses.squentropy
EXAMINED = (CROSS_ENTROPY, BRIER, MSE, MAE, HALF, SEVEN, FOCAL, RAW, SQUENTROPY)


@cache
def card_of(loss, num_classes=3):
    return cards.card(loss, num_classes)


def every(*examined):
    return [pytest.param(loss, id=name_of(loss)) for loss in examined]


@cache
def of_labels(loss):
    """The loss of three classes for each of the labels, at any number of logits."""
    one_hot = np.eye(3)
    return jax.jit(jax.vmap(lambda z: jax.vmap(loss, (None, 0))(z, one_hot)))


# Losses that people bring


def temperature(logits, targets, scale=2.0):
    return -jnp.sum(targets * jax.nn.log_softmax(logits / scale))


def sharp(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(20 * logits))


def tsallis(logits, targets):
    q = jax.nn.softmax(logits)
    return jnp.sum(targets * (1 - q**0.5) / 0.5)


def largest_margin(logits, targets):
    label = targets.argmax()
    behind = logits - logits[label] + 1.0
    return jnp.max(jnp.where(jnp.arange(logits.size) == label, 0.0, behind))


def weighted(logits, targets):
    return -jnp.sum(jnp.array([1.0, 2.0, 5.0]) * targets * jax.nn.log_softmax(logits))


def clipped(logits, targets):
    q = jnp.clip(jax.nn.softmax(logits), 1e-3, 1.0)
    return -jnp.sum(targets * jnp.log(q))


def in_half_precision(logits, targets):
    log_q = jax.nn.log_softmax(logits.astype(jnp.float16))
    return -jnp.sum(targets * log_q.astype(logits.dtype))


def of_three_classes_only(logits, targets):
    q0, q1, q2 = jax.nn.softmax(logits)
    return -(targets[0] * jnp.log(q0) + targets[1] * jnp.log(q1) + targets[2] * jnp.log(q2))


def half_a_gradient(logits, targets):
    q = jax.nn.softmax(logits)
    return jnp.sum((q - targets) * (jax.lax.stop_gradient(q) - targets))


def lead_of_the_truth(logits, targets):
    return jnp.sum(targets * logits) - jnp.sum((1 - targets) * logits) / (logits.size - 1)


def slower_than_linear(logits, targets):
    return -jnp.arcsinh(lead_of_the_truth(logits, targets))


def constant_time(logits, targets):
    return jnp.sum(jnp.exp(logits - jnp.sum(targets * logits)))


def flat(logits, targets):
    return 0.0 * jnp.sum(logits) + 1.0


# Properness


@pytest.mark.parametrize("loss", every(CROSS_ENTROPY, BRIER, MSE, losses.softmax_kl_divergence))
def test_proper_scores_of_the_softmax_are_strictly_proper(loss):
    properness = card_of(loss).properness
    assert (properness.proper, properness.strict, properness.link) == (True, True, "softmax")


def test_squared_error_on_logits_is_proper_for_the_logits_themselves():
    properness = card_of(RAW).properness
    assert (properness.proper, properness.strict, properness.link) == (True, True, "identity")
    np.testing.assert_allclose(properness.minimizer, properness.target, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "link"),
    [
        # Σ p (1 − q^γ)/γ is least at q ∝ p^{1/(1−γ)}
        (HALF, "softmax(0.5 z)"),
        (SEVEN, "softmax(0.3 z)"),
        (temperature, "softmax(0.5 z)"),
        (sharp, "softmax(20 z)"),
        (weighted, "softmax with offsets"),  # at q ∝ w p
        (FOCAL, "another"),
        (SQUENTROPY, "another"),
    ],
    ids=lambda x: name_of(x) if callable(x) else "",
)
def test_links_are_found_from_the_minimisers(loss, link):
    properness = card_of(loss).properness
    assert (properness.proper, properness.strict, properness.link) == (True, True, link)

    p = properness.target
    with jax.enable_x64(True):
        values_at_p, values_at_the_least = np.asarray(
            of_labels(loss)(np.stack([np.log(p), properness.minimizer]))
        )
    assert p @ (values_at_p - values_at_the_least) >= properness.worst_excess * (1 - 1e-9) > 1e-3


def test_absolute_error_is_least_at_the_mode_by_as_much_as_its_formula_says():
    properness = card_of(MAE).properness
    p = properness.target
    assert (properness.proper, properness.strict, properness.link) == (False, False, "none")
    assert properness.worst_excess == pytest.approx(2 / 3 * (p.max() - p @ p), abs=1e-9)
    np.testing.assert_allclose(properness.minimizer_q, p == p.max(), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 0.7])
def test_generalised_cross_entropy_is_least_where_its_stationary_point_is(gamma):
    # Σ p (1 − q^γ)/γ is least on the simplex at q ∝ p^{1/(1−γ)}
    properness = card_of(HALF if gamma == 0.5 else SEVEN).properness
    expected = properness.target ** (1 / (1 - gamma))
    np.testing.assert_allclose(properness.minimizer_q, expected / expected.sum(), atol=1e-6)


def test_a_loss_without_a_minimum_is_not_proper():
    assert not card_of(lead_of_the_truth).properness.proper


def test_a_loss_that_does_not_feel_the_logits_is_not_proper():
    card = card_of(flat)
    assert (card.properness.proper, card.properness.strict) == (False, False)
    assert card.properness.directions == 0
    assert "does not depend on the logits" in card.warnings.sentences[0]


# Curvature

SMOOTHNESS = (39 + 55 * math.sqrt(33)) / 576
LEAST = (39 - 55 * math.sqrt(33)) / 576


def second_derivative_at_most(of_the_truth, scale=1.0):
    """2 sup |ℓ″(s)| of two classes, s the lead of the truth and a = σ(s), to 50 digits."""
    with mpmath.workdps(50):

        def curvature(s):
            return mpmath.diff(lambda x: of_the_truth(1 / (1 + mpmath.exp(-x))), s, 2)

        rough = max(np.arange(-12, 12, 0.05), key=lambda s: abs(float(curvature(mpmath.mpf(s)))))
        at = mpmath.findroot(lambda s: mpmath.diff(curvature, s), rough)
        return float(2 * scale * abs(curvature(at)))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CROSS_ENTROPY, 0.5),
        (BRIER, SMOOTHNESS),
        (MSE, SMOOTHNESS / 3),
        (MAE, second_derivative_at_most(lambda a: 1 - a, 2 / 3)),
        (HALF, second_derivative_at_most(lambda a: (1 - a**0.5) / 0.5)),
        (SEVEN, second_derivative_at_most(lambda a: (1 - a ** mpmath.mpf(0.7)) / mpmath.mpf(0.7))),
        (FOCAL, second_derivative_at_most(lambda a: -((1 - a) ** 2) * mpmath.log(a))),
        (RAW, 2.0),
        (temperature, 0.125),
    ],
    ids=name_of,
)
def test_smoothness_is_that_of_the_formula(loss, expected):
    curvature = card_of(loss).curvature
    assert curvature.smoothness == pytest.approx(expected, abs=2e-6)
    assert curvature.largest_step == pytest.approx(2 / expected, rel=2e-5)
    with jax.enable_x64(True):
        matrix = jax.jit(jax.hessian(loss))(curvature.smoothness_at, np.eye(3)[0])
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert np.abs(eigenvalues).max() == pytest.approx(curvature.smoothness, rel=1e-9)


def test_the_brier_score_curves_down_as_far_as_its_closed_form():
    curvature = card_of(BRIER).curvature
    assert curvature.least_eigenvalue == pytest.approx(LEAST, abs=2e-6)


def test_share_of_the_simplex_where_the_brier_score_is_not_convex_is_that_of_its_criterion():
    # PSD on 1⊥ iff all d ≥ 0, or exactly one d < 0 and Σ q/d ≤ 0
    q = np.random.default_rng(1).dirichlet(np.ones(3), 200_000)
    r = q - np.eye(3)[0]
    d = 2 * q - np.eye(3)[0] - np.sum(q * r, -1, keepdims=True)
    negative = (d < 0).sum(-1)
    convex = (negative == 0) | ((negative == 1) & ((q / d).sum(-1) <= 0))
    assert card_of(BRIER).curvature.not_convex_share == pytest.approx(1 - convex.mean(), abs=0.01)


@pytest.mark.parametrize("loss", every(CROSS_ENTROPY, RAW, SQUENTROPY, temperature))
def test_convex_losses_are_convex_everywhere(loss):
    curvature = card_of(loss).curvature
    assert curvature.not_convex_share == 0
    assert curvature.least_eigenvalue >= 0


def test_a_gradient_that_jumps_has_no_smoothness_and_the_jump_is_shown():
    for loss in (largest_margin, clipped):
        curvature = card_of(loss).curvature
        assert curvature.smoothness == math.inf
        assert curvature.largest_step == 0
        at, target = curvature.smoothness_at, np.eye(3)[curvature.smoothness_label]
        nearby = 1e-6 * np.random.default_rng(0).standard_normal([64, 3])
        with jax.enable_x64(True):
            gradients = jax.jit(jax.vmap(jax.grad(loss), (0, None)))(at + nearby, target)
        assert np.ptp(gradients, axis=0).max() > 1e-4


def test_smoothness_of_a_loss_with_a_custom_vjp_is_measured_by_reverse_over_reverse():
    assert card_of(by_hand).curvature.smoothness == pytest.approx(0.5, abs=2e-6)


def test_classes_that_are_told_apart_are_all_looked_at():
    # the truth with the weight 5 has 5 times the curvature of cross-entropy
    curvature = card_of(weighted).curvature
    assert curvature.smoothness == pytest.approx(2.5, abs=1e-5)
    assert curvature.smoothness_label == 2


# Push


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(BRIER, 1 / 3), (MSE, 1 / 3), (MAE, 1 / 2), (HALF, 0.5 / 1.5), (SEVEN, 0.7 / 1.7)],
    ids=name_of,
)
def test_largest_push_is_where_the_formula_has_it(loss, expected):
    assert card_of(loss).push.largest_at == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_push_is_that_of_the_closed_forms(num_classes):
    with jax.enable_x64(True):
        expected = float(theory.gradients.largest_brier_score_gradient_norm(num_classes))
        mistake = float(theory.gradients.cross_entropy_gradient_norm(12.0, num_classes))
    assert card_of(BRIER, num_classes).push.largest_norm == pytest.approx(expected, rel=1e-9)
    assert card_of(CROSS_ENTROPY, num_classes).push.mistake_norm == pytest.approx(mistake, rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(CROSS_ENTROPY, 0), (BRIER, -1), (MSE, -2), (MAE, -2), (HALF, -0.5), (SEVEN, -0.7), (RAW, 0)],
    ids=name_of,
)
def test_push_at_the_uniform_start_is_a_power_of_the_number_of_classes(loss, expected):
    assert card_of(loss).push.uniform_power == pytest.approx(expected, abs=2e-3)


def test_a_loss_of_three_classes_has_a_card_and_no_power_of_their_number():
    card = card_of(of_three_classes_only)
    assert math.isnan(card.push.uniform_power)
    assert card.escape.law == "linear"


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CROSS_ENTROPY, {"right corner"}),
        (FOCAL, {"right corner"}),
        (BRIER, {"right corner", "wrong corners", "far edge"}),
        (SEVEN, {"right corner", "wrong corners", "far edge"}),
        (clipped, {"right corner", "wrong corners", "far edge", "near edges"}),
        (largest_margin, {"right corner"}),
        (RAW, {"interior"}),
    ],
    ids=name_of,
)
def test_push_vanishes_where_it_should_and_nowhere_else(loss, expected):
    push = card_of(loss).push
    assert set(push.vanishes) == expected
    assert len(push.vanishes_at) == len(expected)


def test_the_brier_score_rests_in_the_middle_of_the_far_edge():
    push = card_of(BRIER).push
    at = push.vanishes_at[push.vanishes.index("far edge")]
    assert at[1] == pytest.approx(at[2], abs=1e-6)


# Escape


def push_of_the_truth(loss):
    """−∂L/∂z of the truth at p_true = a, three classes, the wrong mass even; mpmath."""
    return {
        MAE: lambda a: a * (1 - a) * mpmath.mpf(2) / 3,
        HALF: lambda a: mpmath.sqrt(a) * (1 - a),
        SEVEN: lambda a: a ** mpmath.mpf(0.7) * (1 - a),
        FOCAL: lambda a: (1 - a) ** 2 * ((1 - a) - 2 * a * mpmath.log(a)),
        temperature: lambda a: (1 - a) / 2,
    }[loss]


@cache
def flow_time_of_half_a_logit(loss, halves, scale):
    """∫ dg/g′ over the gap g from −(halves + 1)/2 to −halves/2, with g′ = (C/K) push(a), a = a(g),
    at 30 digits."""
    push = push_of_the_truth(loss)
    with mpmath.workdps(30):

        def slowness(g):
            return 1 / (push(1 / (1 + 2 * mpmath.exp(-g / scale))) * mpmath.mpf(3) / 2)

        time: Any = mpmath.quad(slowness, [-mpmath.mpf(halves + 1) / 2, -mpmath.mpf(halves) / 2])
        return time


def flow_time(loss, margin, scale=1):
    """∫ dg/g′ over the gap g from −m to 0, m a multiple of ½."""
    assert 2 * margin == int(2 * margin)
    return sum(flow_time_of_half_a_logit(loss, halves, scale) for halves in range(int(2 * margin)))


@pytest.mark.parametrize(
    ("loss", "closed_form"),
    [
        (CROSS_ENTROPY, lambda m: theory.escape.cross_entropy_escape_time(m, 3)),
        (BRIER, lambda m: theory.escape.brier_score_escape_time(m, 3)),
        (MSE, lambda m: 3 * theory.escape.brier_score_escape_time(m, 3)),
        (RAW, theory.escape.logit_squared_error_escape_time),
        *((loss, partial(flow_time, loss)) for loss in (MAE, HALF, SEVEN, FOCAL)),
        (temperature, partial(flow_time, temperature, scale=2)),
    ],
    ids=lambda x: name_of(x) if x in (*EXAMINED, temperature) else "",
)
def test_times_are_those_of_the_closed_form_or_of_a_quadrature(loss, closed_form):
    escape = card_of(loss).escape
    assert escape.margins.max() == (80 if loss is RAW else 300)
    quadrature = closed_form.__class__ is partial
    near = escape.margins <= (14 if quadrature else 300)
    with jax.enable_x64(True):
        expected = [float(closed_form(m)) for m in escape.margins[near]]
    np.testing.assert_allclose(escape.times[near], expected, rtol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_times_are_those_of_the_closed_form_for_other_numbers_of_classes(num_classes):
    escape = card_of(BRIER, num_classes).escape
    with jax.enable_x64(True):
        expected = theory.escape.brier_score_escape_time(escape.margins, num_classes)
    np.testing.assert_allclose(escape.times, expected, rtol=1e-6)


def test_time_is_what_descent_with_small_steps_takes():
    escape = card_of(SQUENTROPY).escape
    with jax.enable_x64(True):
        steps = escape_steps(SQUENTROPY, 4.0, optax.sgd(1e-3), num_classes=3).steps
    assert escape.times[escape.margins == 4] == pytest.approx(1e-3 * float(steps), rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "law", "exponent"),
    [
        (CROSS_ENTROPY, "linear", None),
        (FOCAL, "linear", None),
        (SQUENTROPY, "linear", None),
        (temperature, "linear", None),
        (largest_margin, "linear", None),
        (RAW, "logarithmic", None),
        (BRIER, "exponential", 1.0),
        (MSE, "exponential", 1.0),
        (MAE, "exponential", 1.0),
        (HALF, "exponential", 0.5),
        (SEVEN, "exponential", 0.7),
        (tsallis, "exponential", 0.5),
        (slower_than_linear, "power", 2.0),
        (constant_time, "constant", None),
        (flat, "never", None),
        (clipped, "never", None),
    ],
    ids=lambda x: name_of(x) if callable(x) else "",
)
def test_law_of_the_escape_is_named_right(loss, law, exponent):
    escape = card_of(loss).escape
    assert escape.law == law
    assert escape.left_out_error < 1e-3
    if exponent is None:
        assert math.isnan(escape.exponent)
    else:
        assert escape.exponent == pytest.approx(exponent, rel=0.02)
    if law != "never":
        known = np.isfinite(escape.times) & (escape.margins >= 12)
        predicted = escape.predict(escape.margins[known])
        np.testing.assert_allclose(predicted, escape.times[known], rtol=1e-3)
    else:
        assert escape.predict(12.0) == math.inf


def test_a_dead_zone_is_never_left_and_what_lies_before_it_is():
    # q is clipped at 1e-3: the truth is in the dead zone from ln(999/2) = 6.21 logits behind on
    escape = card_of(clipped).escape
    np.testing.assert_array_equal(np.isfinite(escape.times), escape.margins < math.log(999 / 2))


# Noise


def test_ranges_are_those_of_the_formulas():
    for loss, least, most in ((BRIER, 0, 2), (HALF, 0, 2), (SEVEN, 0, 1 / 0.7), (MAE, 0, 2 / 3)):
        noise = card_of(loss).noise
        assert noise.bounded
        assert (noise.least, noise.most) == pytest.approx((least, most), abs=1e-9)
    for loss in (CROSS_ENTROPY, FOCAL, RAW, SQUENTROPY):
        assert not card_of(loss).noise.bounded
        assert card_of(loss).noise.most == math.inf
    assert card_of(lead_of_the_truth).noise.least == -math.inf


def test_absolute_error_is_symmetric_and_the_brier_score_is_only_bounded():
    absolute, brier = card_of(MAE).noise, card_of(BRIER).noise
    assert absolute.symmetric
    assert (absolute.least_sum, absolute.most_sum) == pytest.approx((4 / 3, 4 / 3))
    assert not brier.symmetric
    assert (brier.least_sum, brier.most_sum) == pytest.approx((2, 4), abs=1e-3)


@pytest.mark.parametrize("loss", every(BRIER, MAE, HALF, RAW, weighted))
def test_values_are_met_where_the_card_says(loss):
    noise = card_of(loss).noise
    places = noise.least_at, noise.least_sum_at, noise.most_at, noise.most_sum_at
    with jax.enable_x64(True):
        least, least_sum, most, most_sum = np.asarray(of_labels(loss)(np.stack(places)))
    assert least[noise.least_label] == pytest.approx(noise.least, abs=1e-12)
    assert sum(least_sum) == pytest.approx(noise.least_sum, abs=1e-12)
    if noise.bounded:
        assert most[noise.most_label] == pytest.approx(noise.most)
        assert sum(most_sum) == pytest.approx(noise.most_sum, abs=1e-12)
    else:
        assert most[noise.most_label] > 1e4


# Invariance


def test_changes_are_met_where_the_card_says():
    shifted, renumbered = card_of(RAW).invariance, card_of(weighted).invariance
    with jax.enable_x64(True):
        logits, targets = shifted.shift_at
        by = np.array([[0.0], [-1.0], [4.0]])
        before, *after = jax.jit(jax.vmap(RAW, (0, None)))(logits + by, targets).tolist()
        logits, targets = renumbered.permutation_at
        orders = np.array([*permutations(range(3))])
        values = jax.jit(jax.vmap(weighted))(logits[orders], targets[orders]).tolist()
    changes = [abs(value - before) / max(1, before) for value in after]
    assert max(changes) == pytest.approx(shifted.shift_change)
    changes = [abs(value - values[0]) / max(1, values[0]) for value in values]
    assert max(changes) >= renumbered.permutation_change * (1 - 1e-12)
    assert renumbered.permutation_change > 0.1


def test_raw_logits_are_found_out_by_a_shift():
    for loss in EXAMINED:
        assert card_of(loss).invariance.shift == (loss not in (RAW, SQUENTROPY))


def test_weights_of_classes_are_found_out_by_renumbering():
    assert not card_of(weighted).invariance.permutation
    assert all(card_of(loss).invariance.permutation for loss in EXAMINED)


def test_what_overflows_at_a_corner_is_found():
    assert card_of(CROSS_ENTROPY).invariance.finite_at_corners
    invariance = card_of(of_three_classes_only).invariance
    assert not invariance.finite_at_corners
    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(of_three_classes_only))(
            invariance.not_finite_at, np.eye(3)[invariance.not_finite_label]
        )
    assert not (np.isfinite(value) and np.isfinite(gradient).all())


def test_soft_targets_are_accepted_ignored_or_refused():
    def one_hot_only(logits, targets):
        return jnp.where(jnp.max(targets) == 1, CROSS_ENTROPY(logits, targets), jnp.nan)

    assert card_of(CROSS_ENTROPY).invariance.soft_targets == "accepted"
    assert card_of(largest_margin).invariance.soft_targets == "ignored"
    refused = cards.card(one_hot_only)
    assert refused.invariance.soft_targets == "refused"
    assert refused.properness.proper


# Derivatives


@pytest.mark.parametrize("loss", every(*EXAMINED, temperature, largest_margin, by_hand))
def test_derivatives_that_are_right_are_confirmed(loss):
    derivatives = card_of(loss).derivatives
    assert derivatives.right
    assert derivatives.finite_difference < 1e-9
    assert derivatives.precision == "float64"


def test_a_gradient_that_has_rounded_away_in_the_values_is_not_called_wrong():
    # 20 times the gap: the loss of a right answer is 1e-30 and its gradient as small, and no
    # difference of values can see either
    assert card_of(sharp).derivatives.right
    assert card_of(sharp).curvature.smoothness == pytest.approx(200, rel=1e-5)


def test_a_gradient_that_is_not_the_derivative_is_shown():
    derivatives = card_of(half_a_gradient).derivatives
    assert not derivatives.right
    assert derivatives.finite_difference == pytest.approx(0.5, abs=1e-6)


def test_only_a_custom_vjp_leaves_no_forward_mode():
    assert math.isnan(card_of(by_hand).derivatives.forward_mode)
    assert card_of(CROSS_ENTROPY).derivatives.forward_mode < 1e-12


def test_rounding_inside_a_loss_is_named_and_not_taken_for_a_wrong_derivative():
    card = card_of(in_half_precision)
    assert card.derivatives.precision == "float16"
    assert card.derivatives.right
    assert card.derivatives.uncertainty > 1e-3
    assert card.properness.proper
    assert card.escape.law == "linear"
    with jax.enable_x64(True):
        expected = theory.escape.cross_entropy_escape_time(card.escape.margins, 3)
    np.testing.assert_allclose(card.escape.times, expected, rtol=1e-3)


# The card


def test_a_loss_of_ones_own_has_the_card_of_the_same_loss_in_the_library():
    ours, own = card_of(HALF), card_of(tsallis)
    assert own.curvature.smoothness == pytest.approx(ours.curvature.smoothness, abs=1e-9)
    np.testing.assert_allclose(own.escape.times, ours.escape.times, rtol=1e-9)
    assert (own.noise.least, own.noise.most) == pytest.approx((ours.noise.least, ours.noise.most))


def test_card_is_the_same_whether_x64_is_enabled_or_not_and_for_the_same_seed():
    plain = card_of(BRIER)
    with jax.enable_x64(True):
        enabled = cards.card(BRIER)
    jax.tree.map(np.testing.assert_array_equal, plain, enabled)


def test_card_is_named_after_the_loss_with_its_options_or_as_told():
    assert card_of(HALF).name == "generalized_cross_entropy(exponent=0.5)"
    assert cards.card(flat, 2, name="nothing at all").name == "nothing at all"


def test_a_card_of_a_loss_that_calls_back_leaves_the_settings_of_jax_alone():
    cards.card(wild.outside_of_jax)
    assert not jax.config.read("jax_enable_x64")


def test_progress_names_each_part_before_it_is_measured():
    parts = []
    cards.card(flat, 2, progress=parts.append)
    facts = cards.LossCard._fields[3:]
    assert sorted(parts) == sorted(facts)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((CROSS_ENTROPY, 1), ValueError, "num_classes must be at least 2, but it is 1"),
        ((CROSS_ENTROPY, 3.0), TypeError, r"num_classes must be an int, but it is 3\.0"),
        (("softmax",), TypeError, r"loss must be a function of \(logits, targets\)"),
        ((lambda z, p: z - p,), ValueError, r"must be a scalar, but this loss returned shape"),
        ((lambda z, p: jnp.nan * z[0],), ValueError, "not finite at any of the logits"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        cards.card(*arguments)


# Side by side


def test_table_has_a_row_a_fact_and_a_column_a_loss():
    table = cards.comparison_table([card_of(CROSS_ENTROPY), card_of(BRIER), card_of(RAW)])
    lines = table.splitlines()
    assert lines[0].split() == [
        "softmax_cross_entropy",
        "softmax_brier_score",
        "logit_squared_error",
    ]
    (law,) = (line for line in lines if line.startswith("escape"))
    for words in ("linear, T = 0.3333 + 0.6667 m", "exponential, T = ", "T = 0.5 ln(1 + m)"):
        assert words in law
    assert len({line.index("logit_squared_error") for line in lines[:1]}) == 1


def test_markdown_table_has_as_many_cells_in_each_row():
    table = cards.comparison_table([card_of(MAE), card_of(largest_margin)], markdown=True)
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    assert set("".join(rows[1])) == {"-"}
    assert {len(row) for row in rows} == {3}
    assert "no: at P = " in table
    assert "where the gradient jumps" in table


def test_table_without_cards_is_refused():
    with pytest.raises(ValueError, match="at least one card"):
        cards.comparison_table([])


def test_a_single_card_is_a_table_of_one_column():
    card = card_of(BRIER)
    assert cards.comparison_table(card) == cards.comparison_table([card])


@pytest.mark.parametrize("given", [[losses.softmax_brier_score], losses.softmax_brier_score, "ab"])
def test_what_is_no_card_is_refused_by_the_table(given):
    with pytest.raises(
        TypeError, match=r"cards must be a card or several, .*: measure a loss firs"
    ):
        cards.comparison_table(given)


def test_a_card_that_does_not_fit_into_memory_is_refused_with_the_numbers():
    said = r"A card of 10,000,000 classes would need about [\d,]+ GiB of memory, and this machine h"
    with pytest.raises(MemoryError, match=said):
        cards.card(losses.softmax_brier_score, 10_000_000)


@pytest.mark.parametrize(
    ("law", "coefficients", "expected"),
    [
        ("constant", (2.0, math.nan, math.nan), "constant, T = 2"),
        ("logarithmic", (0.0, 0.5, math.nan), "logarithmic, T = 0.5 ln(1 + m)"),
        ("linear", (1.0, -2.0, math.nan), "linear, T = 1 − 2 m"),
        ("power", (-1.0, 0.25, 2.0), "power, T = -1 + 0.25 m^2"),
        ("exponential", (4.0, 3.0, 0.5), "exponential, T = 4 + 3 exp(0.5 m)"),
    ],
)
def test_law_in_words(law, coefficients, expected):
    escape = EscapeLaw(law, coefficients, 0.0, np.array([]), np.array([]))
    assert escape.in_words() == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"never_from": 0.0, "law": "never"}, "never"),
        ({"never_from": 6.214, "law": "never"}, "never beyond 6.214 logits behind"),
        ({"law": "none"}, "no law found"),
        (
            {"never_from": 15.42},
            "linear up to 15.42 logits behind, never beyond; T = 1 + 2 m",
        ),
        ({"holds_from": 40.0}, "linear from 40 logits behind on, T = 1 + 2 m"),
        (
            {"holds_from": 40.0, "never_from": 68.4},
            "linear from 40 logits behind on, up to 68.4 logits behind, never beyond; T = 1 + 2 m",
        ),
    ],
)
def test_words_of_a_law_say_where_it_holds(changes, expected):
    nothing = np.array([])
    escape = EscapeLaw("linear", (1.0, 2.0, math.nan), 0.0, nothing, nothing)
    assert escape._replace(**changes).in_words() == expected


# Losses as people write them


@cache
def fact_of(loss, name, num_classes=3):
    """One fact of a card, without those that it does not need."""
    return facts_of(loss, num_classes, name)[name]


def death_of_a_clip(eps, num_classes):
    """The margin at which 1/(1 + (C − 1) eᵐ) = ε."""
    return math.log((1 / eps - 1) / (num_classes - 1))


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_clipped_loss_is_linear_up_to_the_clip_and_never_escapes_beyond(num_classes):
    expected = death_of_a_clip(1e-7, num_classes)
    escape = fact_of(wild.clipped, "escape", num_classes)
    assert escape.never_from == pytest.approx(expected, abs=1e-4)
    assert escape.law == "linear"
    for_ever = escape.margins > expected
    np.testing.assert_array_equal(escape.times[for_ever], math.inf)
    with jax.enable_x64(True):
        times = theory.escape.cross_entropy_escape_time(escape.margins[~for_ever], num_classes)
    np.testing.assert_allclose(escape.times[~for_ever], times, rtol=1e-5)
    assert f"linear up to {expected:.4g} logits behind, never beyond" in escape.in_words()


def test_a_clipped_loss_pushes_hardest_at_the_clip_and_not_at_all_behind_it():
    push = fact_of(wild.clipped, "push")
    assert push.largest_norm == pytest.approx(math.sqrt(3 / 2), rel=1e-6)
    assert push.largest_at == pytest.approx(1e-7, rel=1e-6)
    assert (push.behind.kind, push.behind.start) == (
        "zero",
        pytest.approx(death_of_a_clip(1e-7, 3), abs=1e-4),
    )


@pytest.mark.parametrize(
    ("dtype", "spacing"), [("float32", 2**-20), ("bfloat16", 2**-4), ("float16", None)]
)
def test_the_death_of_a_clipped_loss_in_each_precision(dtype, spacing):
    found = {one.dtype: one for one in fact_of(wild.clipped, "precisions").of}[dtype].behind
    if dtype == "float16":  # where 1e-7 has no inverse, log′ is infinite
        assert found.not_finite_from < death_of_a_clip(1e-7, 3)
        return
    expected = death_of_a_clip(float(jnp.asarray(1e-7, dtype)), 3)
    assert found.zero_from == pytest.approx(expected, abs=max(0.01, spacing))


def test_a_fading_gradient_is_told_from_one_that_is_zero():
    # log(q + ε): the gradient of the truth is q (1 − q)/(q + ε), which fades like eˡ⁻ᵐ
    push = fact_of(wild.with_epsilon, "push")
    assert (push.behind.kind, push.behind.rate) == ("exponential", pytest.approx(1, abs=1e-3))
    escape = fact_of(wild.with_epsilon, "escape")
    assert escape.never_from == math.inf
    assert (escape.before.law, escape.law) == ("linear", "exponential")
    assert escape.exponent == pytest.approx(1, abs=1e-3)


def test_a_clamp_that_half_precision_rounds_to_one_is_not_finite_there():
    of = {one.dtype: one for one in fact_of(wild.rounded_clamp, "precisions").of}
    assert of["float32"].ahead.not_finite_from == math.inf
    for dtype, digits in ("bfloat16", 8), ("float16", 11):
        # from where on q = 1/(1 + 2 e⁻ᵐ) rounds to 1: between a unit and half a unit below it
        earliest, latest = math.log(2 * 2**digits), math.log(2 * 2 ** (digits + 1))
        assert earliest - 0.1 < of[dtype].ahead.not_finite_from < latest + 0.1


def test_exact_losses_keep_their_digits_in_single_precision_and_others_do_not():
    def naive(z, p):
        return -jnp.sum(p * jax.nn.log_softmax(z))

    exact = {one.dtype: one for one in fact_of(CROSS_ENTROPY, "precisions").of}["float32"]
    assert exact.ahead == exact.behind == (math.inf, math.inf, math.inf)
    lost = {one.dtype: one for one in fact_of(naive, "precisions").of}["float32"].ahead.digits_to
    # 1 − q = 2 e⁻ᵐ is half a unit in the last place of 1
    assert lost == pytest.approx(math.log(2 * 2**24), abs=1.0)


@pytest.mark.parametrize(
    ("loss", "least", "most"),
    [
        (wild.soft_capped, math.log1p(2 * math.exp(-60)), 60 + math.log(2 + math.exp(-60))),
        (wild.tanh_squared, 0, 12),
        (wild.sigmoid_each, 0, math.inf),
        (wild.stablemax, 0, math.inf),
        (wild.stablemax_brier, 0, 2),
        (wild.bounded_distance, 0, 3),
        (wild.distance, 0, math.inf),
        (wild.softmax_twice, math.log(1 + 2 / math.e), math.log(math.e + 2)),
        (wild.sparsemax, 0, math.inf),
        (wild.forgotten_minus, -math.inf, 0),
        (wild.clipped, -math.log(1 - 1e-7), -math.log(1e-7)),
    ],
    ids=name_of,
)
def test_ranges_are_those_of_all_logits(loss, least, most):
    noise = fact_of(loss, "noise")
    assert noise.least == pytest.approx(least, rel=1e-9, abs=1e-12)
    assert noise.most == pytest.approx(most, rel=1e-9)
    assert noise.bounded == math.isfinite(most)


def test_a_limit_is_told_from_a_value_that_is_attained():
    capped, distance = fact_of(wild.soft_capped, "noise"), fact_of(wild.distance, "noise")
    assert (capped.least_attained, capped.most_attained) == (False, False)
    assert distance.least_attained
    np.testing.assert_allclose(distance.least_at, np.eye(3)[distance.least_label], atol=1e-12)


def test_sums_over_labels_are_those_of_all_logits():
    # class by class (t − 1)² + 2 (t + 1)², which is 8/3 at t = −1/3 and 8 at t = 1
    noise = fact_of(wild.tanh_squared, "noise")
    assert (noise.least_sum, noise.most_sum) == pytest.approx((8, 24), rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "behind", "ahead"),
    [
        # q = (1/(1 + m), 1, 1)/(2 + …) behind, (1 + m, 1, 1)/(3 + m) ahead
        (wild.stablemax_brier, ("power", 1), ("power", 2)),
        (wild.stablemax, ("constant", math.nan), ("power", 1)),
        (CROSS_ENTROPY, ("constant", math.nan), ("exponential", 1)),
        (BRIER, ("exponential", 1), ("exponential", 2)),
        (RAW, ("grows", math.nan), ("grows", math.nan)),
    ],
    ids=lambda x: name_of(x) if callable(x) else "",
)
def test_tails_of_the_gradient_are_named(loss, behind, ahead):
    push = fact_of(loss, "push")
    for found, (kind, rate) in (push.behind, behind), (push.ahead, ahead):
        assert found.kind == kind
        assert found.rate == pytest.approx(rate, abs=0.02, nan_ok=True)
    if loss is wild.stablemax_brier:
        assert {"right corner", "wrong corners"} <= set(push.vanishes)


def test_times_are_exact_over_kinks():
    # ∫ (1 + s)² ds from 1 to 1 + m, and m
    escape = fact_of(wild.bounded_distance, "escape")
    near = escape.margins <= 80
    expected = ((escape.margins[near] + 2) ** 3 - 8) / 3
    np.testing.assert_allclose(escape.times[near], expected, rtol=1e-8)
    assert escape.times[escape.margins == 4] == pytest.approx((6**3 - 8) / 3, rel=1e-9)
    escape = fact_of(wild.distance, "escape")
    np.testing.assert_allclose(escape.times, escape.margins, rtol=1e-9)
    assert escape.law == "linear"


def test_no_exponent_is_too_large():
    escape = fact_of(wild.scaled_brier, "escape")
    assert (escape.law, escape.exponent) == ("exponential", pytest.approx(10, rel=1e-6))
    with jax.enable_x64(True):
        expected = theory.escape.brier_score_escape_time(10 * escape.margins, 3) / 100
    known = np.isfinite(escape.times)
    assert known.sum() > 20
    np.testing.assert_allclose(escape.times[known], np.asarray(expected)[known], rtol=1e-6)


def test_a_gradient_that_rounds_to_zero_is_not_a_mistake_for_ever():
    # the truth alone: z′ = 2 (1 − tanh z) sech² z, which is about 16 e²ᶻ far below 0, and in
    # float64 exactly 0 from 20 logits behind on
    escape = fact_of(wild.tanh_squared, "escape")
    assert (escape.law, escape.never_from) == ("exponential", math.inf)
    assert escape.exponent == pytest.approx(2, rel=1e-3)
    assert np.isnan(escape.times[escape.margins >= 20]).all()


def test_softmax_applied_twice_is_left_like_the_exponential_of_the_margin():
    escape = fact_of(wild.softmax_twice, "escape")
    assert (escape.law, escape.exponent) == ("exponential", pytest.approx(1, rel=1e-3))


@pytest.mark.parametrize(
    ("loss", "proper", "link"),
    [
        (wild.sigmoid_each, True, "sigmoid"),
        (wild.tanh_squared, True, "sigmoid(2 z)"),  # tanh z = 2p − 1
        (wild.sparsemax, True, "sparsemax"),
        (wild.scaled_brier, True, "softmax(10 z)"),
        (wild.softmax_twice, False, "none"),
        (wild.distance, False, "none"),
        (wild.one_latent, False, "none"),
    ],
    ids=name_of,
)
def test_links_of_losses_that_people_write(loss, proper, link):
    properness = fact_of(loss, "properness")
    assert (properness.proper, properness.strict, properness.link) == (proper, proper, link)


def test_facts_that_differ_by_class_are_given_of_each_class():
    weights = (1, 2, 5)
    pushes = fact_of(wild.weighted, "push").of_labels
    assert [push.truth for push in pushes] == [0, 1, 2]
    norms = [push.largest_norm / math.sqrt(3 / 2) for push in pushes]
    assert norms == pytest.approx(weights, rel=1e-9)
    for escape, weight in zip(fact_of(wild.weighted, "escape").of_labels, weights, strict=True):
        near = escape.margins <= 80
        with jax.enable_x64(True):
            times = theory.escape.cross_entropy_escape_time(escape.margins[near], 3) / weight
        np.testing.assert_allclose(escape.times[near], times, rtol=1e-6)
    slowest = fact_of(wild.weighted, "escape")
    assert slowest.truth == 0
    assert "truth 2: 6.124" in fact_of(wild.weighted, "push").long_words(False)["largest push"]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (wild.forgotten_minus, "Is a minus missing?"),
        (wild.labels_first, "Is its order (targets, logits)?"),
        (wild.labels_made_one_hot, "Does it take integer labels?"),
        (wild.batch_of_binary_logits, "treats each logit alone"),
        (wild.weighted, "tells the classes apart"),
        (wild.one_latent, "ignores the logits 1, 2"),
        (wild.with_noise, "different values on two equal calls"),
        (wild.finite_for_some, "is not finite at"),
    ],
    ids=name_of,
)
def test_what_does_not_look_like_a_loss_is_said_first(loss, words):
    assert any(words in sentence for sentence in fact_of(loss, "warnings").sentences)


def test_a_warning_is_the_first_row_of_the_table_and_of_a_picture():
    table = cards.comparison_table([card_of(CROSS_ENTROPY), card_of(weighted)])
    assert table.splitlines()[1].split() == [
        *("WARNING", "–", "tells", "the", "classes", "apart:", "facts"),
        *("are", "given", "for", "each", "truth."),
    ]
    (said, words), *_ = card_of(weighted).short_words().items()
    assert (said, words) == ("WARNING", "tells the classes apart")
    assert len(card_of(weighted).short_words()) <= 12


@pytest.mark.parametrize("loss", every(*EXAMINED, wild.softmax_twice, wild.scaled_brier))
def test_losses_that_look_like_losses_get_no_warning(loss):
    assert card_of(loss).warnings.sentences == ()


# Derivatives and curvature that autodiff gets wrong, and rounding that is neither


def of_a_frozen_residual(z, p):
    def value(z, p):
        return -jnp.sum(p * jax.nn.log_softmax(z))

    def gradient(z, p):
        return jax.lax.stop_gradient(jax.nn.softmax(z) - p)

    return wild.with_gradient(value, gradient)(z, p)


def self_paced(z, p):
    weight = (1 - jnp.sum(p * jax.lax.stop_gradient(jax.nn.softmax(z)))) ** 2
    return -weight * jnp.sum(p * jax.nn.log_softmax(z))


def naive_sparsemax(z, p):
    ordered = jnp.sort(z)[::-1]
    size = jnp.sum(1 + jnp.arange(1, z.size + 1) * ordered > jnp.cumsum(ordered))
    q = jnp.maximum(z - (jnp.cumsum(ordered)[size - 1] - 1) / size, 0)
    return jnp.sum(q * z) - 0.5 * jnp.sum(q**2) + 0.5 * jnp.sum(p**2) - p @ z


def one_latent(z, p):
    edges = jnp.array([-jnp.inf, -1.0, 1.0, jnp.inf]) - z[0]
    return -jnp.sum(p * jnp.log(jax.nn.sigmoid(edges[1:]) - jax.nn.sigmoid(edges[:-1]) + 1e-12))


def log_sum_exp_form(z, p):
    return jax.nn.logsumexp(z) - p @ z


def unlikelihood(z, p):
    q = jax.nn.softmax(z)
    return -jnp.sum(p * jnp.log(q)) - jnp.sum((1 - p) * jnp.log(1 - q + 1e-9))


def derivatives_and_curvature(loss, num_classes=3):
    """These two facts of a card, without the others."""
    facts: dict[str, Any] = {}
    with jax.enable_x64(True):
        subject = _measuring.Subject(loss, num_classes, 0)
        for name, part in [("invariance", _invariance), ("derivatives", _derivatives)]:
            facts[name] = part.measure(subject, facts)
        return facts["derivatives"], _curvature.measure(subject, facts)


def at_scale(loss, scale):
    return lambda z, p: loss(scale * z, p)


@pytest.mark.parametrize(
    ("loss", "hessian"), [(of_a_frozen_residual, "wrong"), (wild.outside_of_jax, "missing")]
)
def test_curvature_is_that_of_the_gradients_where_autodiff_has_it_not(loss, hessian):
    card = card_of(loss)
    assert card.derivatives.right
    assert card.derivatives.hessian == hessian
    # cross-entropy: H = J = diag(q) − q qᵀ, between 0 and ½
    assert card.curvature.smoothness == pytest.approx(0.5, abs=1e-6)
    assert card.curvature.largest_step == pytest.approx(4, abs=1e-5)
    assert card.curvature.not_convex_share == 0
    assert card.curvature.least_eigenvalue == pytest.approx(0, abs=1e-9)
    said = card.long_words()["second derivatives"]
    assert said.endswith("differences of gradients are used")
    assert ("off by 100 %" in said) == (hessian == "wrong")


def test_a_gradient_with_a_stop_gradient_is_told_and_its_own_jacobian_is_used():
    card = card_of(self_paced)
    assert not card.derivatives.right
    assert card.derivatives.stopped
    words = card.long_words()
    assert "because a stop_gradient stands in it" in words["derivatives"]
    assert "differences of this gradient are used" in words["second derivatives"]
    # g = (1 − a)² (q − e₀), of which the Jacobian is (1 − a)² J − 2 (1 − a) (q − e₀) (∂a/∂z)ᵀ
    q = np.random.default_rng(0).dirichlet(np.ones(3), 300_000)
    two = (np.arange(100_000) + 0.5) / 100_000
    q = np.concatenate([q, np.stack([two, 1 - two, 0 * two], -1)])
    a, residual = q[:, 0, None, None], q - np.eye(3)[0]
    jacobian_of_q = np.einsum("ni,ij->nij", q, np.eye(3)) - np.einsum("ni,nj->nij", q, q)
    of_the_weight = np.einsum("ni,nj->nij", residual, jacobian_of_q[:, 0])
    jacobians = (1 - a) ** 2 * jacobian_of_q - 2 * (1 - a) * of_the_weight
    expected = np.linalg.norm(jacobians, 2, (-2, -1)).max()
    assert card.curvature.smoothness == pytest.approx(expected, rel=1e-4)


def test_a_wrong_gradient_without_a_stop_gradient_is_not_blamed_on_the_one_in_softmax():
    def value(z, p):
        return -jnp.sum(p * jax.nn.log_softmax(z))

    wrong = wild.with_gradient(value, lambda z, p: 1.01 * (jax.nn.softmax(z) - p))
    derivatives, _ = derivatives_and_curvature(wrong)
    assert (derivatives.right, derivatives.stopped) == (False, False)


@pytest.mark.parametrize("loss", every(log_sum_exp_form, unlikelihood, at_scale(BRIER, 10.0)))
def test_lost_digits_are_not_a_wrong_rule(loss):
    derivatives, _ = derivatives_and_curvature(loss)
    assert derivatives.right


@pytest.mark.parametrize("scale", [0.1, 14.3, 100.0])
@pytest.mark.parametrize("loss", every(CROSS_ENTROPY, BRIER))
def test_logits_times_a_scale_curve_by_its_square(loss, scale):
    def careless(z, p):
        return -jnp.sum(p * jax.nn.log_softmax(scale * z))

    _, curvature = derivatives_and_curvature(
        careless if loss is CROSS_ENTROPY else at_scale(BRIER, scale)
    )
    largest, least = (0.5, 0.0) if loss is CROSS_ENTROPY else (SMOOTHNESS, LEAST)
    assert curvature.smoothness == pytest.approx(largest * scale**2, rel=1e-5)
    assert curvature.least_eigenvalue == pytest.approx(least * scale**2, rel=1e-5, abs=1e-12)
    assert (curvature.not_convex_share > 0) == (loss is BRIER)


def test_a_kink_is_no_curvature():
    _, curvature = derivatives_and_curvature(naive_sparsemax)
    assert curvature.not_convex_share == 0
    assert curvature.least_eigenvalue == pytest.approx(0, abs=1e-12)


def test_a_loss_in_half_precision_is_as_smooth_as_its_rounding_shows():
    curvature = card_of(in_half_precision).curvature
    assert curvature.smoothness == pytest.approx(0.5, rel=8 * float(jnp.finfo(jnp.float16).eps))
    assert curvature.not_convex_share == 0


def test_rounding_in_a_loss_of_raw_logits_is_no_curvature_and_points_are_logits():
    _, curvature = derivatives_and_curvature(one_latent)
    # −log(e⁻ˣ + c) curves by −a(1 − a), a = e⁻ˣ/(e⁻ˣ + c), at least −¼
    assert curvature.least_eigenvalue == pytest.approx(-0.25, rel=1e-3)
    words = curvature.long_words(alike=False)
    assert " at z = (" in words["least eigenvalue"]
    assert words["not convex"].endswith(" at Σz = 0")


# Families: a few of the losses of `python -m experiments.families.cards`

FAMILIES = {
    f"{one.name}, {num_classes} classes": one
    for num_classes in (2, 3)
    for make in (known.scaled, known.composed, known.recoded)
    for one in make(num_classes)
}


@pytest.mark.parametrize(
    "name",
    [
        "softmax_cross_entropy of 0.1 z, 2 classes",
        "softmax_brier_score of 100 z, 3 classes",
        "logit_squared_error of 0.1 z, 2 classes",
        "0.001 L + 5, L soft-capped, 2 classes",
        "L/(1 + L), L cross-entropy, 3 classes",
        "tanh L, L squared error, 2 classes",
        "squared error + 30 · cross-entropy, 3 classes",
        "Σ(z − (100 p + 0))², 2 classes",
        "Σ(tanh z − (-2 p + 1))², 3 classes",
        "−Σ (0.7 p + 0.1) log q, 3 classes",
    ],
)
def test_facts_of_a_family_are_those_of_its_formulas(name):
    assert not [fact for fact in known.judged(FAMILIES[name]) if fact.verdict != "right"]


def test_a_limit_that_a_logarithm_comes_near_is_not_found_rather_than_wrong():
    facts = known.judged(FAMILIES["arctan L, L stablemax, 2 classes"])
    assert [fact.fact for fact in facts if fact.verdict == "no answer"] == ["noise.most"]
    assert not [fact for fact in facts if fact.verdict == "wrong"]


@pytest.mark.parametrize(("num_classes", "least"), [(2, 1e-4), (10, 1e-7)])
def test_a_clip_kills_the_gradient_where_bisection_finds_it_dead(num_classes, least):
    facts = known.judged(known.clip(known.clip_both, least, num_classes))
    assert not [fact for fact in facts if fact.verdict != "right"]


def test_a_loss_that_curves_down_outside_the_points_of_the_simplex_is_not_called_convex():
    _, curvature = derivatives_and_curvature(at_scale(FOCAL, 0.1), 2)
    assert curvature.not_convex_share == 0
    assert curvature.least_eigenvalue < 0
    assert curvature.short_words()["not convex"] == "0 % of the simplex"
