"""What is found out about a loss by calling it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxent import _differences
from jaxent import _examples as examples
from tests.examples import by_hand, cross_entropy, softmax


def test_without_forward_mode_the_other_derivative_is_taken(float64):
    z, p = np.array([1.0, -0.5, 0.25]), np.array([0.5, 0.5, 0.0])
    for loss in (cross_entropy, by_hand):
        derivative = examples.forward_mode(loss, otherwise=jax.grad(loss))
        np.testing.assert_allclose(derivative(z, p), softmax(z) - p, rtol=1e-14)


def test_raw_logits_are_told_by_a_shift_and_not_by_carelessness(float64):
    def change(loss):
        return examples.raw_logits_change(jax.jit(jax.vmap(loss)), 3)

    assert change(lambda z, p: jnp.log(jnp.sum(jnp.exp(z))) - p @ z) == 0
    assert change(lambda z, p: cross_entropy(z, p) + 1e-4 * jax.nn.logsumexp(z) ** 2) > 1e-6


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_the_coarsest_precision_is_found_inside_of_what_is_called(dtype, float64):
    def rounded(z, p):
        _, total = jax.lax.scan(lambda kept, x: (kept, x.astype(dtype)), 0.0, z)
        return jax.jit(lambda total: jnp.sum(total.astype(jnp.float64)))(total)

    assert examples.precision_of(rounded, 3) == dtype
    assert examples.precision_of(cross_entropy, 3) == np.float64


def test_basis_is_orthonormal_and_sums_to_zero():
    basis = examples.sum_zero_basis(7)
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-15)
    np.testing.assert_allclose(basis.sum(0), 0, atol=1e-15)


def test_central_differences_are_right_to_their_own_uncertainty(float64):
    z, p = jnp.array([1.0, -0.5, 0.25]), jnp.array([0.5, 0.5, 0.0])
    values, _ = _differences.samples(cross_entropy)(z, p)
    slopes, _, uncertain = _differences.central_differences(values, np.finfo(float).eps)
    assert (np.abs(slopes - (softmax(np.asarray(z)) - p)) <= uncertain).all()
    assert uncertain.max() < 1e-11
