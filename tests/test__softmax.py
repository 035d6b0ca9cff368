"""Rows of many classes, along any axis, one by one and under vmap: one loss, several programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.digits import truth
from jaxent import losses
from tests import digits
from tests.test__kernels import LOSSES, every_loss, regions_for


def value_gradient_and_curvature(loss, z, p, axis=-1):
    def total(z):
        return loss(z, p, axis=axis).sum()

    def slope(z):
        return jnp.vdot(jax.grad(total)(z), jnp.cos(z))

    return loss(z, p, axis=axis), *jax.value_and_grad(total)(z), jax.grad(slope)(z)


def examples(shape):
    random = np.random.default_rng(0)
    z = random.normal(0, 3, shape).astype(np.float32)
    return z, random.dirichlet(np.ones(shape[-1]), shape[0]).astype(np.float32)


@every_loss
def test_rows_that_come_one_by_one_keep_their_digits(name):
    loss, regions = LOSSES[name], regions_for(name, "float32")
    logits, targets = map(np.concatenate, zip(*regions.values(), strict=True))
    z = np.pad(logits, ((0, 0), (0, 64)), constant_values=-np.inf)
    p = np.argmax(targets, -1) if loss.takes_labels else np.pad(targets, ((0, 0), (0, 64)))

    @jax.jit
    def one_by_one(z, p):
        return jax.lax.map(lambda row: jax.value_and_grad(loss.function)(*row), (z, p))

    names = [region for region, (logits, _) in regions.items() for _ in logits]
    rows = zip(names, *map(np.asarray, one_by_one(z, p)), logits, targets, strict=True)
    for region, value, gradient, logits_of_row, targets_of_row in rows:
        expected = loss.exactly(logits_of_row, targets_of_row)
        value_size, gradient_size = truth.sizes(region, expected)
        of_value = truth.ulps([value], [expected.value], "float32", value_size)
        of_gradient = truth.ulps(gradient[:8], expected.gradient, "float32", gradient_size)
        found = digits.Results(of_value, of_gradient, 0, 0, 0)
        assert digits.beyond_their_limits(loss, "float32", {region: found}) == {}


@pytest.mark.parametrize(
    "loss",
    [
        losses.softmax_cross_entropy,
        losses.softmax_cross_entropy_with_integer_labels,
        losses.softmax_kl_divergence,
        losses.softmax_brier_score,
        losses.softmax_mean_absolute_error,
        losses.softmax_focal_loss,
    ],
)
def test_many_classes_along_any_axis_and_under_vmap(loss):
    z, p = examples((96, 50))
    if loss is losses.softmax_cross_entropy_with_integer_labels:
        p, transposed, split = np.argmax(p, -1), np.argmax(p, -1), np.argmax(p, -1)
    else:
        transposed, split = p.T, p.reshape(96, 5, 10)
    rows, columns, blocks = jax.jit(value_gradient_and_curvature, static_argnums=(0, 3)), {}, {}
    expected = rows(loss, z, p)
    columns = rows(loss, z.T, transposed, 0)
    blocks = rows(loss, z.reshape(96, 5, 10), split, (1, 2))
    one_by_one = jax.jit(jax.vmap(lambda z, p: value_gradient_and_curvature(loss, z, p)))(z, p)
    one_by_one = one_by_one[0], one_by_one[1].sum(), *one_by_one[2:]
    for other in (
        (*columns[:2], columns[2].T, columns[3].T),
        (*blocks[:2], blocks[2].reshape(96, 50), blocks[3].reshape(96, 50)),
        one_by_one,
    ):
        for received, wanted in zip(other, expected, strict=True):
            np.testing.assert_allclose(received, wanted, rtol=2e-5, atol=2e-6)


def test_a_branch_on_all_rows_stays_a_branch_under_vmap():
    z, p = examples((100, 50))
    branches = [
        str(jax.make_jaxpr(function)(z, p)).count("cond[")
        for function in (losses.softmax_cross_entropy, jax.vmap(losses.softmax_cross_entropy))
    ]
    assert branches == [1, 1]


def test_a_row_without_a_possible_class_does_not_disturb_others():
    z, p = examples((100, 50))
    for loss in (losses.softmax_cross_entropy, losses.softmax_kl_divergence):
        expected = jax.jit(jax.value_and_grad(lambda z, loss=loss: loss(z, p)[1:].sum()))(z)
        masked = z.copy()
        masked[0] = -np.inf
        received = jax.jit(jax.value_and_grad(lambda z, loss=loss: loss(z, p).sum()))(masked)
        np.testing.assert_allclose(received[0], expected[0], rtol=1e-6)
        np.testing.assert_allclose(received[1], expected[1], rtol=1e-5, atol=1e-7)
