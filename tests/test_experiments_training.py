"""Training by several losses side by side: fair, and judged by known answers."""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import pytest

from experiments import _training as training
from jaxent import losses

LOSSES = (losses.softmax_cross_entropy, losses.softmax_brier_score, losses.logit_squared_error)
DATA = training.Part(
    np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32) * [1, 10, 0, 3] + 5,
    np.arange(60) % 3,
)


def test_split_is_standardised_by_what_the_training_part_knows():
    parts = training.split(DATA, seed=0)
    assert [len(part.labels) for part in parts] == [36, 12, 12]
    assert [len(set(part.labels)) for part in parts] == [3, 3, 3]
    np.testing.assert_allclose(parts.train.features.mean(axis=0), 0, atol=1e-6)
    # the third feature is constant
    np.testing.assert_allclose(parts.train.features.std(axis=0), [1, 1, 0, 1], atol=1e-6)
    assert (np.abs(parts.test.features.mean(axis=0)[[0, 1, 3]]) > 0.01).all()


def test_split_loses_and_repeats_no_example():
    data = training.Part(np.arange(60.0)[:, None], DATA.labels)
    parts = training.split(data, seed=3)
    features = np.concatenate([part.features for part in parts])[:, 0]
    assert len(np.unique(features)) == 60
    for part in parts:
        # standardising keeps the order, so ranks tell which examples these are
        ranks = np.sort(features).searchsorted(part.features[:, 0])
        np.testing.assert_array_equal(part.labels, DATA.labels[ranks])


def test_every_pass_sees_every_training_example_once():
    draw = training.draw(DATA, (), 0, steps=9, batch_size=8)
    first, second = np.asarray(draw.batches).reshape(2, 36)
    np.testing.assert_array_equal(np.sort(first), np.arange(36))
    np.testing.assert_array_equal(np.sort(second), np.arange(36))
    assert (first != second).any()


def test_seeds_differ_and_repeat():
    one, again, other = (training.draw(DATA, (5,), s, steps=3, batch_size=8) for s in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, again))
    assert not np.array_equal(one.batches, other.batches)
    assert not np.array_equal(one.start[0][0], other.start[0][0])


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_scaling_the_last_layer_scales_the_logits(hidden):
    draw = training.draw(DATA, hidden, 0, steps=1, batch_size=1)
    logits_of = jax.jit(training.logits_of)
    features = draw.split.test.features
    received = logits_of(training.with_logits_scaled(draw.start, 10), features)
    expected = 10 * np.asarray(logits_of(draw.start, features))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@jax.jit
def each_alone(layers, held_out, x, p):
    """For each loss and its own network: the logits held out, and the gradient of a batch."""
    logits = [training.logits_of(network, held_out) for network in layers]
    gradients = [
        jax.grad(lambda network, loss=loss: loss(training.logits_of(network, x), p).mean())(network)
        for loss, network in zip(LOSSES, layers, strict=True)
    ]
    return logits, gradients


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("rule", [optax.sgd, optax.adam])
def test_training_side_by_side_is_training_alone(hidden, rule):
    draw = training.draw(DATA, hidden, 0, steps=7, batch_size=8)
    rates, looks = np.array([0.1, 0.2, 0.05], np.float32), np.array([0, 1, 7])
    optimizer = optax.identity() if rule is optax.sgd else optax.scale_by_adam()
    train = jax.jit(partial(training.train, losses=LOSSES, optimizer=optimizer))
    received = train(draw.start, rates, draw.split.train, draw.batches, draw.split.test, looks)

    @jax.jit
    def move(layers, gradients, states):
        moved = []
        for rate, network, gradient, state in zip(rates, layers, gradients, states, strict=True):
            updates, state = rule(rate).update(gradient, state)
            moved.append((optax.apply_updates(network, updates), state))
        return tuple(zip(*moved, strict=True))

    x, p = draw.split.train.features, np.eye(3)[draw.split.train.labels]
    layers: Any = (draw.start,) * 3
    states: Any = (jax.jit(rule(0.0).init)(draw.start),) * 3
    accuracy = []
    for step in range(8):
        batch = draw.batches[min(step, 6)]
        logits, gradients = each_alone(layers, draw.split.test.features, x[batch], p[batch])
        accuracy.append(np.mean(np.argmax(logits, axis=-1) == draw.split.test.labels, axis=-1))
        if step < 7:
            layers, states = move(layers, gradients, states)
    for index, loss in enumerate(LOSSES):
        for side_by_side, alone in zip(
            jax.tree.leaves(received.layers), jax.tree.leaves(layers[index]), strict=True
        ):
            np.testing.assert_allclose(
                np.asarray(side_by_side)[index], alone, rtol=2e-4, atol=1e-5, err_msg=str(loss)
            )
    np.testing.assert_allclose(received.accuracy, np.array(accuracy)[looks].T)


def test_looks_start_at_zero_end_at_the_last_step_and_grow():
    looks = training.looks_until(500)
    assert looks[0] == 0
    assert looks[-1] == 500
    np.testing.assert_array_equal(looks[:21], np.arange(21))
    assert (np.diff(looks) >= 1).all()
    assert (np.diff(looks[20:]) <= 0.05 * looks[20:-1] + 1).all()


def test_steps_to_a_target_keep_failures():
    looks = np.array([0, 1, 5, 9])
    accuracy = np.array(
        [
            [0.1, 0.5, 0.9, 0.8],  # the first look that sees it
            [0.1, 0.2, 0.3, 0.4],  # never
            [0.1, 0.9, 0.9, 0.0],  # past it, and then diverged
        ]
    )
    np.testing.assert_array_equal(training.steps_to(0.9, accuracy, looks), [5, np.inf, np.inf])


def test_tuning_widens_the_grid_until_every_best_is_inside():
    best = np.array([2.0**-5, 2.0**6])
    tuning = training.tune(lambda multiple: np.abs(np.log(multiple / best)), range(-1, 2))
    np.testing.assert_array_equal(tuning.chosen, best)
    assert tuning.inside.all()
    np.testing.assert_array_equal(tuning.multiples, 2.0 ** np.arange(-6, 8))


def test_tuning_that_gets_better_for_ever_gives_up_and_says_so():
    tuning = training.tune(lambda multiple: np.array([multiple, 1 / multiple]), range(2), most=9)
    assert len(tuning.multiples) >= 9
    assert not tuning.inside.any()


def test_logits_that_are_no_numbers_are_never_right():
    logits = np.array([[np.nan, 0.0], [1.0, 0.0], [0.0, 1.0]])
    received = jax.jit(training.is_right)(logits, np.array([0, 0, 0]))
    np.testing.assert_array_equal(received, [False, True, False])


inverse_temperature = jax.jit(training.inverse_temperature)


def test_temperature_of_logits_that_are_too_large_by_a_factor_takes_it_back():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((20_000, 3)).astype(np.float32) * 2
    q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (generator.random((20_000, 1)) > q.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    for factor in (0.25, 1.0, 4.0):
        received = inverse_temperature(factor * logits, labels)
        assert received == pytest.approx(1 / factor, rel=0.03)


def test_temperature_stays_within_its_bounds():
    logits = np.eye(2)
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert inverse_temperature(logits, right, largest=20.0) == pytest.approx(20)
    assert inverse_temperature(logits, wrong, largest=20.0) == pytest.approx(1 / 20)


def test_judgement_of_three_answers_done_by_hand():
    logits = np.log([[0.8, 0.2], [0.65, 0.35], [0.35, 0.65]])
    received = jax.jit(training.judge)(logits, np.array([0, 1, 1]))
    assert received.accuracy == pytest.approx(2 / 3)
    assert received.nll == pytest.approx(-np.log([0.8, 0.35, 0.65]).mean())
    assert received.brier_score == pytest.approx(2 * (0.2**2 + 0.65**2 + 0.35**2) / 3)
    # one answer of confidence 0.8, right; two of 0.65, of which one is right
    assert received.calibration_error == pytest.approx((0.2 + 2 * abs(0.5 - 0.65)) / 3)


def test_bootstrap_interval_of_many_seeds_is_that_of_the_mean():
    values = np.random.default_rng(1).standard_normal(400) + 3
    mean, low, high = training.bootstrap(values)
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_bootstrap_interval_of_five_seeds_covers_the_mean_nearly_as_often_as_it_says():
    generator = np.random.default_rng(2)
    intervals = [
        training.bootstrap(generator.standard_normal(5), resamples=1000) for _ in range(400)
    ]
    # the interval cannot reach past the values themselves, which cover in 15 of 16 cases
    assert np.mean([low < 0 < high for _, low, high in intervals]) > 0.9


def test_bootstrap_interval_of_a_ratio_of_paired_means_knows_what_the_pairs_share():
    generator = np.random.default_rng(3)
    common, alone = generator.lognormal(size=400), generator.normal(1, 0.1, size=(2, 400))
    one, other = 2 * common * alone[0], common * alone[1]
    ratio, low, high = training.bootstrap(one, other, of_means=np.divide)
    assert ratio == pytest.approx(one.mean() / other.mean())
    # by the delta method, the variance of (x − r y)/mean y
    half = 1.96 * (one - ratio * other).std() / other.mean() / 20
    assert (low, high) == pytest.approx((ratio - half, ratio + half), abs=0.2 * half)
