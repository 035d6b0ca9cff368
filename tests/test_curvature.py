"""Hessians and their eigenvalues, against the closed forms."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxent import curvature, losses
from tests.examples import brier_score, by_hand, cross_entropy, examples, raw_squared_error, softmax
from tests.leaks import checking_leaks

BRIER_SMOOTHNESS = (39 + 55 * np.sqrt(33)) / 576
BRIER_LEAST = (39 - 55 * np.sqrt(33)) / 576


def jacobian(q):
    return q[..., None] * np.eye(q.shape[-1]) - q[..., None] * q[..., None, :]


SHAPE = (2, 3, 4)


def both(loss, logits, targets):
    """The Hessians, and their eigenvalues."""
    return (
        curvature.hessian(loss, logits, targets),
        curvature.eigenvalues(loss, logits, targets),
    )


@functools.cache
def compiled(function, loss):
    """One program for each shape, where the same in eager mode is one an operation."""
    return jax.jit(functools.partial(function, loss))


def of_one_hot(loss, q):
    """Eigenvalues at the probabilities q, of which class 0 is the truth."""
    q = np.asarray(q)
    truth = np.broadcast_to(np.eye(1, q.shape[-1])[0], q.shape)
    return np.asarray(compiled(curvature.eigenvalues, loss)(np.log(q), truth))


# ---- Hessians --------------------------------------------------------------------------------


def test_hessian_of_cross_entropy_is_j_whatever_the_target(float64):
    logits, targets = examples(*SHAPE)
    received, _ = compiled(both, cross_entropy)(logits, targets)
    np.testing.assert_allclose(received, jacobian(softmax(logits)), rtol=1e-11, atol=1e-14)


def test_hessian_of_brier_score_is_the_quadratic_form_of_its_d(float64):
    logits, targets = examples(*SHAPE)
    q, v = softmax(logits), np.array([0.3, -1.1, 0.6, 0.9])
    d = 2 * q - targets - (q * (q - targets)).sum(-1, keepdims=True)
    w = v - (q @ v)[..., None]
    received = np.asarray(compiled(both, brier_score)(logits, targets)[0]) @ v @ v
    np.testing.assert_allclose(received, 2 * (q * d * w**2).sum(-1), rtol=1e-11)


def test_at_the_optimum_brier_score_has_twice_the_square_of_the_hessian_of_cross_entropy(float64):
    _, p = examples(*SHAPE)
    p[0, 0] = 0.7, 0.2, 0.06, 0.04
    of_cross_entropy, of_brier_score = (
        compiled(both, loss)(np.log(p), p) for loss in (cross_entropy, brier_score)
    )
    np.testing.assert_allclose(of_cross_entropy[0], jacobian(p), atol=1e-15)
    np.testing.assert_allclose(of_brier_score[0], 2 * jacobian(p) @ jacobian(p), atol=1e-15)
    condition, squared = (
        np.divide(values[..., -1], values[..., 0])
        for _, values in (of_cross_entropy, of_brier_score)
    )
    np.testing.assert_allclose(squared, condition**2, rtol=1e-11)


# ---- eigenvalues -----------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_eigenvalues_at_the_uniform_start(num_classes, float64):
    @jax.jit
    def of_both(z, p):
        return tuple(curvature.eigenvalues(loss, z, p) for loss in (cross_entropy, brier_score))

    start = np.full(num_classes, -np.log(num_classes))
    of_cross_entropy, of_brier_score = of_both(start, np.eye(num_classes)[0])
    np.testing.assert_allclose(
        of_cross_entropy, np.full(num_classes - 1, 1 / num_classes), rtol=1e-13
    )
    expected = [4 / num_classes**2] * (num_classes - 2) + [2 * (3 - num_classes) / num_classes**2]
    np.testing.assert_allclose(of_brier_score, np.sort(expected), atol=1e-15)


def test_eigenvalues_are_those_of_the_hessian_but_for_the_zero_of_the_common_shift(float64):
    hessians, received = compiled(both, brier_score)(*examples(*SHAPE))
    everything = np.linalg.eigvalsh(hessians)
    assert received.shape == (2, 3, 3)
    assert np.all(np.diff(received, axis=-1) >= 0)
    for row in np.ndindex(2, 3):
        kept = np.delete(everything[row], np.abs(everything[row]).argmin())
        np.testing.assert_allclose(np.asarray(received)[row], kept, rtol=1e-11, atol=1e-15)


def test_eigenvalues_of_raw_logits_are_those_within_the_plane_of_a_constant_sum(float64):
    # the whole Hessian is 2 + 6·(1, …, 1)ᵀ(1, …, 1)/C, the second term across that plane
    def loss(z, p):
        return raw_squared_error(z, p) + 3 * jnp.square(jnp.sum(z)) / z.size

    received = compiled(curvature.eigenvalues, loss)(*examples(4))
    np.testing.assert_allclose(received, [2, 2, 2], rtol=1e-13)


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_cross_entropy_is_convex_and_never_steeper_than_one_half(num_classes, float64):
    logits, targets = examples(500, num_classes)
    halves = np.r_[0.5, 0.5, np.full(num_classes - 2, 1e-9)]
    logits = np.vstack([2 * logits, np.log(halves)])
    targets = np.vstack([targets, np.eye(num_classes)[0]])
    values = np.asarray(compiled(curvature.eigenvalues, cross_entropy)(logits, targets))
    assert values[:500].min() > -1e-15
    assert values[:500].max() <= 0.5
    np.testing.assert_allclose(values[500, -1], 0.5, rtol=1e-8)


def test_brier_score_of_two_classes_attains_its_smoothness_and_its_least_eigenvalue(float64):
    # a fine grid in the gap; near an extremum the error is quadratic in its spacing
    gaps = np.linspace(-8, 8, 16001)
    logits = np.stack([gaps / 2, -gaps / 2], -1)
    truth = np.tile([1.0, 0.0], (len(gaps), 1))
    received = np.asarray(compiled(curvature.eigenvalues, brier_score)(logits, truth))
    np.testing.assert_allclose(received.max(), BRIER_SMOOTHNESS, rtol=1e-6)
    np.testing.assert_allclose(received.min(), BRIER_LEAST, rtol=1e-6)
    assert received.max() <= BRIER_SMOOTHNESS + 1e-15
    assert received.min() >= BRIER_LEAST - 1e-15


def test_brier_score_of_more_classes_stays_within_the_bounds_of_two(float64):
    q = softmax(3 * np.random.default_rng(1).normal(size=(20000, 4)))
    received = of_one_hot(brier_score, q)
    assert received.max() <= BRIER_SMOOTHNESS
    assert received.min() >= BRIER_LEAST


def test_convexity_of_brier_score_by_the_probability_of_the_truth(float64):
    generator = np.random.default_rng(2)

    def least_eigenvalues(a):
        rest = softmax(3 * generator.normal(size=(len(a), 3)))
        return of_one_hot(brier_score, np.column_stack([a, (1 - a)[:, None] * rest]))[:, 0]

    assert np.all(least_eigenvalues(generator.uniform(0.01, 1 / 3, 1000)) < 0)
    assert np.all(least_eigenvalues(generator.uniform(0.5, 0.99, 1000)) > -1e-16)
    # in between it depends on how the wrong mass is spread: for three classes d = 0 where it is
    even, one = [0.4, 0.3, 0.3], [0.4, 0.6 - 1e-6, 1e-6]
    signs = of_one_hot(brier_score, [even, one])[:, 0] >= 0
    assert set(signs.tolist()) == {True, False}


def test_convexity_criterion_of_brier_score_by_the_signs_of_d(float64):
    generator = np.random.default_rng(3)
    q = softmax(1.5 * generator.normal(size=(1000, 4)))
    d = 2 * q - np.eye(4)[0] - (q * (q - np.eye(4)[0])).sum(-1, keepdims=True)
    negative = (d < 0).sum(-1)
    expected = (negative == 0) | ((negative == 1) & ((q / d).sum(-1) <= 0))
    np.testing.assert_array_equal(of_one_hot(brier_score, q)[:, 0] >= 0, expected)
    assert 0.05 < expected.mean() < 0.95


# ---- what both have in common ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_comes_back_as_it_went_in(dtype):
    logits, targets = (x.astype(dtype) for x in examples(2, 3))
    function = compiled(both, losses.softmax_brier_score)
    in_single = function(logits.astype(np.float32), targets.astype(np.float32))
    for received, expected in zip(function(logits, targets), in_single, strict=True):
        assert received.dtype == dtype
        np.testing.assert_allclose(
            np.asarray(received, float), expected, atol=4 * float(jnp.finfo(dtype).eps)
        )


def test_jit_and_vmap_agree_with_eager_and_leak_nothing():
    logits, targets = (x.astype(np.float32) for x in examples(2, 3))
    eager = both(brier_score, logits, targets)
    with checking_leaks(), jax.numpy_rank_promotion("raise"), jax.debug_nans(True):
        mapped = jax.jit(jax.vmap(functools.partial(both, brier_score)))(logits, targets)
    for received, expected in zip(mapped, eager, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_eigenvalues_can_be_differentiated(float64):
    # two classes, cross-entropy: λ = 2a(1 − a), so dλ/dz₀ = 2a(1 − a)(1 − 2a)
    z, p = np.array([1.0, -0.5]), np.array([1.0, 0.0])
    received = jax.jit(jax.grad(lambda z: curvature.eigenvalues(cross_entropy, z, p)[0]))(z)
    a = softmax(z)[0]
    expected = 2 * a * (1 - a) * (1 - 2 * a)
    np.testing.assert_allclose(received, [expected, -expected], rtol=1e-12)


def test_a_custom_vjp_has_the_hessian_of_its_derivative(float64):
    logits, targets = examples(5, 3)
    received = compiled(curvature.hessian, by_hand)(logits, targets)
    np.testing.assert_allclose(received, jacobian(softmax(logits)), atol=1e-14)


def test_one_class_has_a_hessian_of_zero_and_no_eigenvalues():
    one = np.ones((2, 1), np.float32)
    hessians, eigenvalues = compiled(both, brier_score)(one, one)
    np.testing.assert_array_equal(hessians, np.zeros((2, 1, 1)))
    assert eigenvalues.shape == (2, 0)


def test_bad_arguments_are_named():
    for function, bad in itertools.product(
        (curvature.hessian, curvature.eigenvalues),
        (
            (ValueError, r"same shape.*\(3,\) and \(2,\)", (np.ones(3), np.ones(2))),
            (ValueError, "axis of classes", (np.array(1.0), np.array(1.0))),
            (TypeError, "int32", (np.arange(3), np.ones(3))),
        ),
    ):
        error, message, arguments = bad
        with pytest.raises(error, match=message):
            function(brier_score, *arguments)
    with pytest.raises(ValueError, match="must be a scalar"):
        curvature.hessian(lambda z, p: z, np.ones(3), np.ones(3))
