"""Losses as people hand them over, and the form in which they are examined."""

import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxent import _catalogue, losses

LOGITS = jnp.array([0.5, -1.0, 2.0])
ONE_HOT = jnp.array([0.0, 1.0, 0.0])


def own(logits, targets):
    return jnp.sum((logits - targets) ** 2)


def test_built_in_losses_are_those_of_the_module_without_its_helpers():
    names = list(_catalogue.built_in())
    assert names[0] == "softmax_cross_entropy"
    assert {"softmax_brier_score", "sigmoid_squared_error", "squentropy"} < set(names)
    assert not {"masked_mean", "smooth_labels"} & set(names)
    assert all(_catalogue.built_in()[name] is getattr(losses, name) for name in names)


@functools.cache
def values_and_gradients():
    by_name = {name: _catalogue.of_one_example(f) for name, f in _catalogue.built_in().items()}
    every = {name: jax.value_and_grad(loss) for name, loss in by_name.items()}
    return jax.jit(lambda z, p: {name: f(z, p) for name, f in every.items()})(LOGITS, ONE_HOT)


@pytest.mark.parametrize("name", list(_catalogue.built_in()))
def test_every_built_in_loss_answers_for_three_classes_and_can_be_differentiated(name):
    value, gradient = values_and_gradients()[name]
    assert value.shape == ()
    assert gradient.shape == (3,)
    assert np.isfinite(gradient).all()


def test_a_binary_loss_reads_the_gap_of_the_first_two_logits():
    loss = _catalogue.of_one_example(losses.sigmoid_binary_cross_entropy)
    expected = np.log1p(np.exp(1.5))  # −log σ(−1.5)
    np.testing.assert_allclose(loss(LOGITS, ONE_HOT), expected, rtol=1e-6)
    bound = partial(losses.sigmoid_squared_error)
    assert _catalogue.is_binary(bound)
    assert not _catalogue.is_binary(losses.softmax_brier_score)
    np.testing.assert_allclose(
        _catalogue.of_one_example(bound)(LOGITS, ONE_HOT), (1 / (1 + np.exp(-1.5))) ** 2, rtol=1e-6
    )


def test_integer_label_cross_entropy_is_its_dense_twin():
    loss = _catalogue.of_one_example(losses.softmax_cross_entropy_with_integer_labels)
    expected = losses.softmax_cross_entropy_with_integer_labels(LOGITS, jnp.int32(1))
    np.testing.assert_allclose(loss(LOGITS, ONE_HOT), expected, rtol=1e-6)


def test_any_other_loss_is_what_it_is():
    assert _catalogue.of_one_example(own) is own


def test_losses_are_named_whether_one_or_several_or_by_name():
    half = partial(losses.generalized_cross_entropy, exponent=0.5)
    assert _catalogue.named(own) == {"own": own}
    assert list(_catalogue.named([own, half, losses.sigmoid_squared_error])) == [
        "own",
        "generalized_cross_entropy(exponent=0.5)",
        "sigmoid_squared_error",
    ]
    assert _catalogue.named({"mine": own, "half": half}) == {"mine": own, "half": half}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], ValueError, "There must be at least one loss."),
        ("own", TypeError, "losses must be a loss, several losses, or losses by name"),
        ([own, 3], TypeError, "A loss must be a function of (logits, targets), not 3."),
        ([own, own], ValueError, "Two losses are called own: tell them apart with a mapping"),
    ],
)
def test_what_is_no_loss_is_refused_in_a_sentence(given, error, message):
    with pytest.raises(error, match=re.escape(message)):
        _catalogue.named(given)
