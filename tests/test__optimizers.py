"""Optimizers with points of their own, against their rules written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxent.descent import descend, escape_steps, record_path
from jaxent.losses import softmax_cross_entropy

CURVATURES, START, STEPS = np.array([1.0, 4.0, 0.5]), np.array([1.0, -0.5, 2.0]), 12
RATE, SHARE, PERIOD, RADIUS = 0.1, 0.5, 5, 0.05


def valley(x):
    return jnp.sum(CURVATURES * x**2) / 2


def by_lookahead():
    """Zhang et al. 2019, algorithm 1: k steps forward, 1 step back."""
    slow = fast = START
    for step in range(STEPS):
        yield fast
        fast = fast - RATE * CURVATURES * fast
        if step % PERIOD == PERIOD - 1:
            slow = fast = slow + SHARE * (fast - slow)


def by_sam():
    """Foret et al. 2021, algorithm 1: the gradient at the top of a ball, taken from its centre."""
    x = START
    for _ in range(STEPS):
        yield x
        g = CURVATURES * x
        x = x - RATE * CURVATURES * (x + RADIUS * g / np.linalg.norm(g))


def by_sophia():
    """Liu et al. 2023, algorithm 3, where the estimate of a diagonal Hessian is exact."""
    x, m, h = START, np.zeros(3), np.zeros(3)
    for step in range(STEPS):
        yield x
        m = 0.965 * m + 0.035 * CURVATURES * x
        u = np.clip(m / (1 - 0.965 ** (step + 1)) / np.maximum(0.01 * h, 1e-8), -1, 1)
        if step % 10 == 0:
            h = 0.99 * h + 0.01 * CURVATURES
        x = x - RATE * (u + 1e-4 * x)


def sam(*, opaque_mode=True):
    uphill = optax.chain(optax.contrib.normalize(), optax.sgd(RADIUS))
    return optax.contrib.sam(optax.sgd(RATE), uphill, opaque_mode=opaque_mode)


RULES = {
    "lookahead": (optax.lookahead(optax.sgd(RATE), PERIOD, SHARE), by_lookahead),
    "sam": (sam(), by_sam),
    "sophia": (optax.contrib.sophia(RATE), by_sophia),
}


@pytest.mark.parametrize("name", RULES)
def test_the_path_is_that_of_the_rule(name):
    optimizer, rule = RULES[name]
    received = descend(valley, jnp.array(START), optimizer, steps=STEPS, record=record_path)
    np.testing.assert_allclose(received.record, [*rule()], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_a_mistake_is_unlearned_by_it(name):
    escape = escape_steps(softmax_cross_entropy, 2.0, RULES[name][0], max_steps=200)
    assert 1 < escape.steps < 200


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (sam(opaque_mode=False), "with opaque_mode=False, .*: make it with opaque_mode=True"),
        (optax.chain(optax.clip(1.0), sam()), r"optax\.contrib\.sam inside a chain"),
        (
            optax.chain(optax.clip(1.0), optax.lookahead(optax.sgd(RATE), PERIOD, SHARE)),
            r"optax\.lookahead inside a chain",
        ),
        (optax.lookahead(optax.lbfgs(), PERIOD, SHARE), "around a search or L-BFGS"),
    ],
)
def test_what_cannot_be_given_what_it_needs_is_refused(optimizer, reason):
    with pytest.raises(ValueError, match=f"optimizer must not .*{reason}"):
        descend(valley, jnp.array(START), optimizer, steps=1)
