"""Noisy labels and numbers of examples, against sums, Efron's table, simulation and mpmath."""

import math
from functools import partial

import mpmath
import numpy as np
import pytest
from scipy import stats

from jaxent import losses, theory
from tests.closed_forms import check_formulas_of_a_margin, jit_once


def test_brier_score_over_all_labels_is_the_sum_and_lies_between_its_bounds(float64):
    q = np.concatenate(
        [np.random.default_rng(0).dirichlet(np.ones(4), 20), np.eye(4)[:1], np.full((1, 4), 0.25)]
    )
    received = jit_once(theory.statistics.brier_score_over_all_labels)(q)
    labels = np.eye(4) + 0 * q[..., None]
    with np.errstate(divide="ignore"):
        logits = np.log(q)[..., None, :] + 0 * labels
    expected = jit_once(losses.softmax_brier_score)(logits, labels).sum(axis=-1)
    np.testing.assert_allclose(received, expected, rtol=1e-13)
    assert np.all((received >= 3) & (received <= 6))
    np.testing.assert_allclose(received[-2:], [6, 3])


def test_efficiency_of_logistic_regression_is_that_of_efrons_table(float64):
    distances = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 20.0])
    received = jit_once(theory.statistics.logistic_relative_efficiency)(distances)
    np.testing.assert_allclose(received[:5], [1, 0.9949, 0.8992, 0.6410, 0.3430], atol=5e-5)
    for distance, efficiency in zip(distances, received, strict=True):

        def integrand(x, half=distance / 2):
            return mpmath.npdf(x) / (mpmath.exp(half * x) + mpmath.exp(-half * x))

        integral = mpmath.quad(integrand, [-12, -4, -1, 0, 1, 4, 12])
        expected = 2 * (1 + distance**2 / 4) * mpmath.exp(-(distance**2) / 8) * integral
        assert float(efficiency) == pytest.approx(float(expected), rel=1e-12)


def test_least_squares_errs_as_often_as_the_limit_says(float64):
    dimensions, examples, signal = 240, 400, 2.0
    random, rates = np.random.default_rng(0), []
    for _ in range(10):
        signed = random.normal(size=(examples, dimensions))
        signed[:, 0] += signal
        weights = np.linalg.solve(signed.T @ signed, signed.sum(axis=0))
        rates.append(stats.norm.sf(signal * weights[0] / np.linalg.norm(weights)))
    received = jit_once(theory.statistics.least_squares_error_rate)(signal, dimensions / examples)
    assert np.mean(rates) == pytest.approx(float(received), rel=0.06)


def test_error_rate_keeps_its_digits_in_the_tail_and_is_that_of_bayes_with_few_dimensions():
    for signal, ratio in ((8.0, 0.0), (9.0, 0.25), (0.0, 0.5)):
        distance = 0 if signal == 0 else signal**2 * math.sqrt((1 - ratio) / (signal**2 + ratio))
        expected = mpmath.ncdf(-mpmath.mpf(distance))
        received = jit_once(theory.statistics.least_squares_error_rate)(signal, ratio)
        np.testing.assert_allclose(received, float(expected), rtol=1e-5)


def test_formulas_of_a_distance_work_on_arrays_and_have_derivatives():
    check_formulas_of_a_margin(
        {
            "efficiency": theory.statistics.logistic_relative_efficiency,
            "error rate": partial(theory.statistics.least_squares_error_rate, aspect_ratio=0.5),
        }
    )
