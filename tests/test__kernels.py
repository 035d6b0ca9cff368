"""The losses of a softmax that promise digits, and the truths that all losses are held to."""

import jax
import numpy as np
import pytest

from experiments.digits import truth
from jaxent import _catalogue, information, losses
from tests import digits
from tests.digits import Loss, every_dtype

CROSS_ENTROPY, BRIER = "cross-entropy", "Brier"
LOSSES = {
    CROSS_ENTROPY: Loss(losses.softmax_cross_entropy, truth.softmax_cross_entropy),
    "cross-entropy of labels": Loss(
        losses.softmax_cross_entropy_with_integer_labels,
        truth.softmax_cross_entropy,
        takes_labels=True,
    ),
    "KL": Loss(losses.softmax_kl_divergence, truth.softmax_kl_divergence, value_limit=20),
    BRIER: Loss(
        losses.softmax_brier_score,
        truth.softmax_brier_score,
        value_limit=20,
        gradient_limit=100,
        gradient_limit_of_soft_far_logits=2e3,
    ),
    "entropy": Loss(
        lambda z, p: information.entropy_of_logits(z), truth.entropy_of_logits, of_q_alone=True
    ),
}
every_loss = pytest.mark.parametrize("name", list(LOSSES))


def regions_for(name, dtype):
    regions = truth.regions(np.dtype(dtype))
    if LOSSES[name].takes_labels:
        regions = {k: region for k, region in regions.items() if region.labels is not None}
    if name == BRIER:
        del regions[truth.NEARLY_EQUAL]  # there q is rounded by as much as q − p
    return regions


@every_dtype
@every_loss
def test_value_gradient_and_hessian_diagonal_keep_their_digits(name, dtype):
    found = digits.errors(LOSSES[name], dtype, regions_for(name, dtype))
    assert digits.beyond_their_limits(LOSSES[name], dtype, found) == {}


def test_classes_that_cannot_happen_cost_no_digits():
    loss, regions = LOSSES[CROSS_ENTROPY], regions_for(CROSS_ENTROPY, "float32")
    found = digits.errors(loss, "float32", regions, padding=64)
    assert digits.beyond_their_limits(loss, "float32", found) == {}


@every_dtype
@every_loss
def test_a_million_classes_cost_few_digits(name, dtype):
    loss, found = LOSSES[name], {}
    for region, (logits, targets, counts) in truth.million_classes(np.dtype(dtype)).items():
        if loss.takes_labels and targets[0] != 1:
            continue
        kinds, first = truth.shuffled(counts)
        received = digits.evaluate(loss, dtype, logits[kinds], targets[kinds], first[:2])
        expected = loss.exactly(logits, targets, counts)
        assert expected.hessian_diagonal is not None
        expected = expected._replace(
            gradient=expected.gradient[:2], hessian_diagonal=expected.hessian_diagonal[:2]
        )
        found[region] = digits.errors_of_row(dtype, region, received, expected)
    assert digits.beyond_their_limits(loss, dtype, found, value_limit=50) == {}


@every_loss
def test_a_single_class_has_no_gradient(name):
    loss, exactly, takes_labels, *_ = LOSSES[name]
    value_and_gradient = jax.jit(jax.value_and_grad(loss))
    p = np.array([1.0 if takes_labels else 0.7], np.float32)
    for z in np.array([[0.0], [3.3], [-1e4], [-np.inf]], np.float32):
        value, gradient = value_and_gradient(z, 0 if takes_labels else p)
        assert truth.ulps([value], [exactly(z, p).value], "float32") <= 5
        assert gradient == 0


@every_loss
def test_logits_that_are_scaled_in_the_same_program_keep_their_digits(name):
    for value_error, gradient_error in digits.errors_of_scaled_logits(LOSSES[name], classes=10):
        assert value_error <= 20
        assert gradient_error <= 32


def test_every_built_in_loss_has_a_truth():
    dense = {name.removesuffix("_with_integer_labels") for name in _catalogue.built_in()}
    assert dense <= vars(truth).keys()


@pytest.mark.parametrize(
    "name",
    [
        "entropy_of_logits",
        *(
            name
            for name, loss in _catalogue.built_in().items()
            if hasattr(truth, name) and not _catalogue.is_binary(loss)
        ),
    ],
)
def test_the_truth_of_a_derivative_is_the_derivative_of_the_truth(name):
    logits, targets, step = [0.5, -1.25, 2.0], [0.25, 0.125, 0.5], 2.0**-20
    exact = getattr(truth, name)

    def exactly(change, i):
        moved = [z + change * (i == j) for j, z in enumerate(logits)]
        return exact(moved, targets, **truth.options_of(exact, float))

    for i in range(3):
        below, here, above = (exactly(change, i) for change in (-step, 0, step))
        slope = (above.value - below.value) / (2 * step)
        assert float(slope) == pytest.approx(float(here.gradient[i]), rel=1e-9, abs=1e-12)
        if here.hessian_diagonal is not None:
            bend = (above.gradient[i] - below.gradient[i]) / (2 * step)
            assert float(bend) == pytest.approx(float(here.hessian_diagonal[i]), rel=1e-9)
