"""Whether the gradient of a loss is right, and how that is found out."""

from itertools import islice

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from experiments.families.__main__ import found_right
from experiments.families._forms import forms, wrongly
from jaxent import derivatives, losses
from tests.examples import brier_score, by_hand, cross_entropy, examples, raw_squared_error, softmax


@pytest.mark.parametrize(
    "loss",
    [
        losses.softmax_cross_entropy,
        losses.softmax_brier_score,
        losses.generalized_cross_entropy,
        raw_squared_error,
        lambda z, p: cross_entropy(z / 0.05, p),
    ],
)
def test_right_derivatives_agree_to_a_trillionth(loss):
    check = derivatives.check_derivatives(loss, *examples(3, 4))
    assert check.finite_difference.relative < 1e-12
    assert check.finite_difference.absolute < 10 * check.uncertainty
    assert check.forward_mode is not None
    assert check.forward_mode.relative < 1e-14
    assert check.closed_form is None
    assert check.gradient.dtype == np.float64


def test_closed_form_is_held_against_the_gradient_and_a_wrong_one_is_found():
    logits, targets = examples(3, 4)

    def one_wrong_sign(z, p):
        return (jax.nn.softmax(z) - p) * jnp.where(jnp.arange(4) == 2, -1, 1)

    right, wrong = (
        derivatives.check_derivatives(cross_entropy, logits, targets, closed_form=formula)
        for formula in (lambda z, p: jax.nn.softmax(z) - p, one_wrong_sign)
    )
    assert right.closed_form is not None
    assert right.closed_form.relative < 1e-15
    assert wrong.closed_form is not None
    residual = softmax(logits) - targets
    row = np.abs(residual[:, 2]).argmax()
    assert tuple(map(int, wrong.closed_form.entry)) == (row, 2)
    np.testing.assert_allclose(wrong.closed_form.absolute, 2 * abs(residual[row, 2]), rtol=1e-12)
    np.testing.assert_allclose(
        wrong.closed_form.relative, 2 * abs(residual[row, 2]) / np.abs(residual).max(), rtol=1e-12
    )


def test_a_wrong_derivative_rule_is_found():
    @jax.custom_jvp
    def wrong(z, p):
        return cross_entropy(z, p)

    @wrong.defjvp
    def rule(primals, tangents):
        value, tangent = jax.jvp(cross_entropy, primals, tangents)
        return value, tangent + 1e-6 * tangents[0][1]

    check = derivatives.check_derivatives(wrong, *examples(4))
    np.testing.assert_allclose(check.finite_difference.absolute, 1e-6, rtol=1e-6)
    assert tuple(map(int, check.finite_difference.entry)) == (1,)
    assert check.uncertainty < 1e-11


def test_a_stopped_gradient_is_found():
    def stopped(z, p):
        return -jnp.sum(p * (z - jax.lax.stop_gradient(jax.nn.logsumexp(z))))

    z, p = examples(4)
    check = derivatives.check_derivatives(stopped, z, p)
    np.testing.assert_allclose(check.finite_difference.absolute, softmax(z).max(), rtol=1e-10)


def test_a_reverse_mode_that_is_not_the_transpose_of_forward_mode_is_found():
    def halved_in_reverse(z):
        return jax.lax.custom_linear_solve(
            lambda x: x, z, lambda _, b: b, transpose_solve=lambda _, b: b / 2
        )

    check = derivatives.check_derivatives(
        lambda z, p: cross_entropy(halved_in_reverse(z), p), *examples(4)
    )
    assert check.forward_mode is not None
    np.testing.assert_allclose(check.forward_mode.relative, 0.5, rtol=1e-12)
    np.testing.assert_allclose(check.finite_difference.relative, 0.5, rtol=1e-10)


def test_a_custom_vjp_is_checked_without_forward_mode():
    check = derivatives.check_derivatives(by_hand, *examples(4))
    assert check.forward_mode is None
    assert check.finite_difference.relative < 1e-12


def test_near_a_kink_the_step_shrinks_and_on_it_the_uncertainty_tells():
    def kinked(z, p):
        return cross_entropy(z, p) + jnp.abs(z[0] - 1)

    targets = np.array([0.2, 0.3, 0.5])
    near = derivatives.check_derivatives(kinked, np.array([1.001, 0.3, -0.2]), targets)
    assert near.finite_difference.absolute < 1e-10
    on = derivatives.check_derivatives(kinked, np.array([1.0001, 0.3, -0.2]), targets)
    assert on.finite_difference.absolute > 1e-3
    assert on.uncertainty > 1e-3


def test_a_loss_that_rounds_to_float32_is_known_to_be_uncertain():
    def rounded(z, p):
        return cross_entropy(z.astype(jnp.float32), p.astype(jnp.float32))

    check = derivatives.check_derivatives(rounded, *examples(4))
    assert 1e-8 < check.uncertainty < 1e-3
    assert check.finite_difference.absolute < 1e-3


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_values_rounded_so_coarsely_that_small_steps_see_no_change_are_not_believed(dtype):
    def rounded(z, p):
        return -jnp.sum(p * jax.nn.log_softmax(z.astype(dtype)).astype(z.dtype))

    check = derivatives.check_derivatives(rounded, *examples(4))
    assert check.uncertainty > jnp.finfo(dtype).eps
    assert check.finite_difference.absolute < check.uncertainty


def test_a_nan_is_the_largest_difference():
    check = derivatives.check_derivatives(
        lambda z, p: jnp.sum(jnp.where(z > 0, jnp.sqrt(z), 0.0)), np.array([1.0, -1.0]), np.ones(2)
    )
    assert tuple(map(int, check.finite_difference.entry)) == (1,)
    assert np.isnan(check.finite_difference.absolute)


def test_checks_can_be_jitted_and_mapped():
    logits, targets = (np.asarray(x, np.float32) for x in examples(2, 3))
    expected = jax.jit(jax.vmap(jax.grad(brier_score)))(logits, targets)

    def check(z, p):
        return derivatives.check_derivatives(
            brier_score, z, p, closed_form=lambda z, p: jax.grad(brier_score)(z, p)
        )

    for transformed in (check, jax.vmap(check)):
        received = jax.tree.map(np.asarray, jax.jit(transformed)(logits, targets))
        assert received.gradient.dtype == np.float32
        np.testing.assert_allclose(received.gradient, expected, rtol=1e-4, atol=1e-6)
        assert np.all(received.finite_difference.relative < 1e-11)
        assert received.closed_form is not None
        assert np.all(received.closed_form.relative < 1e-13)


def test_bad_checks_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        derivatives.check_derivatives(cross_entropy, np.ones(3), np.ones(2))
    with pytest.raises(TypeError, match="floating"):
        derivatives.check_derivatives(cross_entropy, np.arange(3), np.ones(3))
    with pytest.raises(ValueError, match="must be a scalar"):
        derivatives.check_derivatives(lambda z, p: z, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"closed form.*shape \(3,\).*returned shape \(\)"):
        derivatives.check_derivatives(
            cross_entropy, np.ones(3), np.ones(3), closed_form=cross_entropy
        )


def test_verdict_is_wrong_where_a_witness_is_further_off_than_can_be_explained():
    gradient = np.array([[1.0, -1.0], [1e-14, -1e-14], [0.5, -0.5]])
    uncertainty = np.array([1e-13, 1e-13, 1e-3])
    off = np.array(
        [1e-10, 1e-13, 1e-3]
    )  # a small gradient is nothing but the rounding of large ones
    assert derivatives.verdict(gradient, [off], uncertainty).right
    for wrong in (2e-9, np.nan):
        other = np.array([wrong, 0.0, 0.0])
        right, excess, worst = derivatives.verdict(gradient, [off, other], uncertainty)
        assert not right
        assert worst == 0
        assert excess[0] > 1 > excess[1:].max()
    assert derivatives.verdict(gradient, [np.array([1e-3, 0, 0])], uncertainty, np.float16).right


# Forms of losses: what rounds is not wrong, and what is wrong is found


def rounded_away(z, p):
    return jax.nn.logsumexp(z) - p @ z


def lost_digits(z, p):
    q = jax.nn.softmax(z)
    return -jnp.sum(p * jnp.log(q)) - jnp.sum((1 - p) * jnp.log(1 - q + 1e-9))


@pytest.mark.parametrize("loss", [rounded_away, lost_digits])
def test_uncertainty_covers_what_a_loss_loses_in_digits(loss):
    sure = np.array([-1.0, 26.3, 0.4])
    check = derivatives.check_derivatives(loss, sure, np.array([1.0, 0.0, 0.0]))
    with mpmath.workdps(50):
        e = [mpmath.exp(x) for x in sure]
        q = [x / sum(e) for x in e]
        gradient = [q[0] - 1, q[1], q[2]]
        if loss is lost_digits:
            # ∂/∂zᵢ of −Σ (1 − pⱼ) log(1 − qⱼ + c) is Σⱼ (1 − pⱼ) qⱼ (δᵢⱼ − qᵢ)/(1 − qⱼ + c)
            weights = [0, *(q[j] / (1 - q[j] + mpmath.mpf("1e-9")) for j in (1, 2))]
            gradient = [gradient[i] + weights[i] - q[i] * sum(weights) for i in range(3)]
    truth = np.array([float(x) for x in gradient])
    assert np.abs(check.gradient - truth).max() < check.uncertainty
    assert check.finite_difference.absolute < check.uncertainty
    assert check.uncertainty < (1e-9 if loss is rounded_away else 1e-2)


def test_stop_gradients_are_left_out_of_loops_and_branches():
    def stopped(z, p):
        held = jax.lax.stop_gradient(z)

        def add(total, x):
            return total + x * jax.lax.stop_gradient(x), None

        total, _ = jax.lax.scan(add, 0.0, z)
        return jax.lax.cond(z[0] > 0, lambda: jnp.sum(held * z * p), lambda: 0.0) + total

    z, p = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 0.25])
    unstopped = derivatives.without_stop_gradients(stopped)
    np.testing.assert_allclose(jax.jit(unstopped)(z, p), stopped(z, p), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(stopped))(z, p), z * p + z, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(unstopped))(z, p), 2 * z * p + 2 * z, rtol=1e-6)


@pytest.mark.parametrize("form", list(islice(forms(1), 24)), ids=lambda form: form.name)
def test_a_right_derivative_is_called_right_in_every_form(form):
    assert found_right(form)


SHARP = [form for form in islice(forms(2, single=0.0), 60) if form.sharp]


@pytest.mark.parametrize("form", SHARP[:4], ids=lambda form: form.name)
@pytest.mark.parametrize("off", [1e-3, 1e-7])
def test_a_wrong_entry_of_a_gradient_is_found_in_every_form(form, off):
    assert not found_right(wrongly(form, off))


def test_a_wrong_entry_is_found_in_a_loss_that_computes_in_float32():
    single = next(form for form in forms(4, single=1.0) if form.sharp)
    assert not found_right(wrongly(single, 1e-3))
