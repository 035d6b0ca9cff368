"""Differences and noise, held to closed forms and to noise that is put there."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxent._differences import central_differences, distances, noise, rounding


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_differences_of_a_smooth_function_are_its_derivative_within_their_uncertainty(scale):
    values = np.sin(scale * (0.3 + distances()))
    derivative, step, uncertainty = central_differences(values, 2e-16)
    assert abs(derivative - scale * np.cos(0.3 * scale)) < uncertainty < 1e-9 * scale
    assert step in np.abs(distances()[0, :, 0])


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-6])
def test_noise_is_found_as_large_as_it_is(size):
    random = np.random.default_rng(0)
    values = np.exp(0.3 + distances()) + size * random.standard_normal([50, *distances().shape])
    centres = np.exp(0.3) + size * random.standard_normal(50)
    found = np.asarray(noise(values, centres))
    assert size / 2 < np.median(found) < 3 * size


def test_a_smooth_function_has_no_noise_but_its_rounding():
    assert noise(np.exp(0.3 + distances()), np.array(np.exp(0.3))) < 8e-16
    assert noise(np.full(distances().shape, 7.0), np.array(7.0)) == 0


def test_rounding_finds_digits_that_every_neighbour_has_lost():
    def lost(z, p):
        return jnp.sum(jnp.log(1 - jax.nn.sigmoid(z) + 1e-12) * p)

    z = np.array([34.0, 33.0])
    of_value, of_gradient = jax.jit(rounding(lost))(z, np.ones(2))
    with mpmath.workdps(50):
        exact = float(sum(mpmath.log(1 / (1 + mpmath.exp(x)) + mpmath.mpf("1e-12")) for x in z))
    error = abs(float(lost(z, np.ones(2))) - exact)
    # 1 − σ(z) is a multiple of 2⁻⁵³
    assert 2.0**-53 / 1e-12 / 4 < of_value < 2.0**-53 / 1e-12 * 16
    assert error < 4 * of_value
    assert np.all(of_gradient > 1e-6)


def test_rounding_of_a_sum_is_a_few_units_in_the_last_place_also_in_loops():
    def total(z, p):
        return jax.lax.scan(lambda t, x: (t + x * x, None), 0.0, z)[0] + jnp.sum(p * z)

    z = np.array([1.0, 2.0, 3.0])
    of_value, of_gradient = jax.jit(rounding(total))(z, z)
    assert 0 < of_value < 100 * 28 * 2.0**-52
    assert np.all(of_gradient < 100 * 9 * 2.0**-52)
