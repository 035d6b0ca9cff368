"""What the tests of theory share: losses in 50 digits, mistakes, points, flows, transformations."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, special

from jaxent import losses, theory
from tests.leaks import checking_leaks

MOST = 10  # classes in a batch of mistakes; fewer are padded with classes that cannot happen


@cache
def jit_once(function, **options):
    """The function compiled, with results in NumPy.

    Compiling is what takes time here: it is done with less care, and once for a function.
    """
    compiled = jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
    return lambda *args, **kwargs: jax.tree.map(np.asarray, compiled(*args, **kwargs))


class Loss(NamedTuple):
    """A loss of a softmax, what it is told of a, 1 − a and K in 50 digits, what theory says."""

    loss: Callable
    slope: Callable  # −dL/da of a one-hot target, wrong mass even
    push: Callable
    law: theory.escape.Law
    exponent: tuple[float, ...] = ()  # after the margin and the number of classes


def generalized(exponent):
    return Loss(
        partial(losses.generalized_cross_entropy, exponent=exponent),
        lambda a, rest, wrong: a ** (exponent - 1),
        theory.gradients.generalized_cross_entropy_push,
        theory.escape.GENERALIZED_CROSS_ENTROPY_LAW,
        (exponent,),
    )


def focal(gamma):
    return Loss(
        partial(losses.softmax_focal_loss, gamma=gamma),
        lambda a, rest, wrong: rest**gamma / a - gamma * rest ** (gamma - 1) * mpmath.log(a),
        theory.gradients.focal_loss_push,
        theory.escape.FOCAL_LOSS_LAW,
        (gamma,),
    )


LOSSES = {
    "cross-entropy": Loss(
        losses.softmax_cross_entropy,
        lambda a, rest, wrong: 1 / a,
        theory.gradients.cross_entropy_push,
        theory.escape.CROSS_ENTROPY_LAW,
    ),
    "Brier score": Loss(
        losses.softmax_brier_score,
        lambda a, rest, wrong: 2 * rest * (wrong + 1) / wrong,
        theory.gradients.brier_score_push,
        theory.escape.BRIER_SCORE_LAW,
    ),
    "mean absolute error": Loss(
        losses.softmax_mean_absolute_error,
        lambda a, rest, wrong: mpmath.mpf(2) / (wrong + 1),
        theory.gradients.mean_absolute_error_push,
        theory.escape.MEAN_ABSOLUTE_ERROR_LAW,
    ),
    "generalised cross-entropy 0.5": generalized(0.5),
    "focal loss 2": focal(2.0),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def gradient(loss, logits, targets):
    """dL/dz of a batch; classes at −inf are no classes, also for a mean over them."""
    return jax.grad(lambda z: loss(z, targets, where=logits > -jnp.inf).sum())(logits)


gradients = jit_once(gradient, static_argnums=0)


@partial(jit_once, static_argnums=0)
def gradient_of_one(loss, logits, target):
    return jax.grad(loss)(logits, target)


def mistakes(margins, classes):
    """Class 0 is the truth, and stands `margin` behind each of the others; [..., MOST]."""
    margins, classes = np.broadcast_arrays(margins, classes)
    number = np.arange(MOST)
    logits = np.where(number == 0, 0.0, margins[..., None])
    return np.where(number < classes[..., None], logits, -np.inf), np.eye(MOST)[0] + 0 * logits


def probabilities_of_a_mistake(margin, classes):
    """a, 1 − a and K, in the precision of mpmath."""
    wrong, odds = int(classes) - 1, mpmath.exp(mpmath.mpf(float(margin)))
    return 1 / (1 + wrong * odds), wrong * odds / (1 + wrong * odds), wrong


def exact_push(loss, margin, classes):
    a, rest, wrong = probabilities_of_a_mistake(margin, classes)
    return loss.slope(a, rest, wrong) * a * rest


def exact_time(loss, margin, classes, end=0.0):
    """∫ ds/g′ between two margins, by mpmath."""
    panels = mpmath.linspace(end, margin, 2 + int(abs(margin - end) / 5))
    share = mpmath.mpf(int(classes) - 1) / int(classes)
    integral: Any = mpmath.quad(lambda s: 1 / exact_push(loss, s, classes), panels, maxdegree=6)
    return float(share * integral)


def on_a_grid(function, margins, classes):
    return np.array([[float(function(m, c)) for c in classes] for m in margins])


# by adaptive Runge–Kutta, to twelve digits or so
solve_ivp = partial(integrate.solve_ivp, method="DOP853", rtol=1e-11, atol=1e-13)


def solve(velocity, start, time, **options):
    """The flow of a velocity."""
    return solve_ivp(lambda _, x: velocity(x), (0.0, float(time)), start, **options)


def flow_of(loss, target):
    return lambda logits: -gradient_of_one(loss, logits, target)


UNIFORM = [0, 2, 3]  # among the points, of 2, 4 and 5 classes


def points(one_hot):
    """Logits, targets, Q and the number of classes, 2 to 5: the last of five may be impossible."""
    random = np.random.default_rng(1)
    classes = 2 + np.arange(400) % 4
    possible = np.arange(5) < classes[:, None]
    scales = random.choice([0.3, 1.0, 4.0], (400, 1))
    scales[UNIFORM] = 0
    logits = np.where(possible, scales * random.normal(size=(400, 5)), -np.inf)
    soft = np.where(possible, random.dirichlet(np.ones(5), 400), 0.0)
    soft /= soft.sum(axis=1, keepdims=True)
    targets = np.eye(5)[np.zeros(400, int)] if one_hot else soft
    return logits, targets, special.softmax(logits, axis=1), classes


every_kind_of_target = pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "soft"])


def check_formulas_of_a_margin(formulas):
    """Their values on an array under every check of JAX; their derivatives are differences."""
    of_margins = jit_once(lambda m: {name: formula(m) for name, formula in formulas.items()})
    with jax.debug_nans(True), jax.numpy_rank_promotion("raise"), checking_leaks():
        values = of_margins(np.array([[0.0, 1.0], [5.0, 20.0]]))
    for name, value in values.items():
        assert value.shape == (2, 2), name
        assert value.dtype == jnp.float32, name
        assert np.all(np.isfinite(value)), name

    margins, step = np.array([1e-3, 2.0, 30.0]), 1e-6
    with jax.enable_x64(True):
        of_each = {name: jax.vmap(jax.value_and_grad(f)) for name, f in formulas.items()}
        found = jit_once(lambda m: {name: f(m) for name, f in of_each.items()})(
            np.concatenate([margins - step, margins, margins + step])
        )
    for name, (value, slope) in found.items():
        below, _, above = np.split(value, 3)
        expected = (above - below) / (2 * step)
        np.testing.assert_allclose(slope[3:6], expected, rtol=1e-5, atol=1e-8, err_msg=name)
    return values
