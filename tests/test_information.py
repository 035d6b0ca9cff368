"""Information against SciPy, closed forms of the derivatives, and 50-digit arithmetic."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from scipy import special, stats
from scipy.spatial import distance

from experiments.digits import truth
from jaxent import information
from tests.leaks import checking_leaks

EXAMPLES, OUTCOMES = 6, 4
RANDOM = np.random.default_rng(0)
P, Q = RANDOM.dirichlet(np.ones(OUTCOMES), (2, EXAMPLES))
LOGITS = RANDOM.normal(0.0, 2.0, (EXAMPLES, OUTCOMES))
DIRECTIONS = RANDOM.normal(size=(EXAMPLES, OUTCOMES))


def jensen_shannon(p, q):
    return np.array([distance.jensenshannon(*pair) ** 2 for pair in zip(p, q, strict=True)])


def entropy_of_logits_slope(z):
    q = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return [-q * (np.log(q) - (q * np.log(q)).sum(-1, keepdims=True))]


class Quantity(NamedTuple):
    """What is known of a quantity before it is measured."""

    operands: tuple[np.ndarray, ...]
    reference: Callable
    slopes: Callable  # by every operand; takes complex numbers as well
    has_base: bool = True


QUANTITIES = {
    "entropy": Quantity((P,), partial(stats.entropy, axis=-1), lambda p: [-np.log(p) - 1]),
    "entropy_of_logits": Quantity(
        (LOGITS,),
        lambda z: special.entr(special.softmax(z, -1)).sum(-1),
        entropy_of_logits_slope,
    ),
    "cross_entropy": Quantity(
        (P, Q),
        lambda p, q: (special.entr(p) + special.rel_entr(p, q)).sum(-1),
        lambda p, q: [-np.log(q), -p / q],
    ),
    "kl_divergence": Quantity(
        (P, Q),
        lambda p, q: special.rel_entr(p, q).sum(-1),
        lambda p, q: [np.log(p / q) + 1, -p / q],
    ),
    "jensen_shannon_divergence": Quantity(
        (P, Q),
        jensen_shannon,
        lambda p, q: [np.log(2 * p / (p + q)) / 2, np.log(2 * q / (p + q)) / 2],
    ),
    "brier_score": Quantity(
        (P, Q),
        lambda p, q: distance.cdist(p, q, "sqeuclidean").diagonal(),
        lambda p, q: [2 * (p - q), 2 * (q - p)],
        has_base=False,
    ),
}
OF_PROBABILITIES = [name for name in QUANTITIES if name != "entropy_of_logits"]
OF_TWO = [name for name, quantity in QUANTITIES.items() if len(quantity.operands) == 2]

every_quantity = pytest.mark.parametrize("name", QUANTITIES)
every_quantity_of_two = pytest.mark.parametrize("name", OF_TWO)
every_quantity_of_probabilities = pytest.mark.parametrize("name", OF_PROBABILITIES)


def evaluate(name, *operands, **options):
    operands = jax.device_put(operands)  # which compiles nothing, as jnp.asarray does
    return np.asarray(getattr(information, name)(*operands, **options))


@cache
def compiled(name, static=()):
    @jax.jit
    def value_and_slopes(operands, options):
        function = partial(getattr(information, name), **options, **dict(static))
        value, pullback = jax.vjp(function, *operands)
        return value, pullback(jnp.ones_like(value))

    return value_and_slopes


def measure(name, *operands, static=(), **options):
    """The value and the derivatives by every operand under jit."""
    value, slopes = compiled(name, static)(operands, options)
    return np.asarray(value), [np.asarray(slope) for slope in slopes]


def single(*operands):
    return [np.asarray(operand, np.float32) for operand in operands]


def second_derivatives(slopes, *operands):
    """[..., a, i, b, j] = ∂²/∂xᵃᵢ∂xᵇⱼ, complex steps of the slopes."""
    columns = []
    for index, operand in enumerate(operands):
        for j in range(operand.shape[-1]):
            moved = [each.astype(complex) for each in operands]
            moved[index][..., j] += 1e-30j
            columns.append(np.stack([each.imag for each in slopes(*moved)], -2) / 1e-30)
    stacked = np.stack(columns, -1)
    return stacked.reshape(*stacked.shape[:-1], len(operands), -1)


def test_every_public_quantity_is_described_here():
    public = {
        name
        for name, member in vars(information).items()
        if inspect.isfunction(member)
        and member.__module__ == information.__name__
        and not name.startswith("_")
    }
    assert public - {"surprisal"} == set(QUANTITIES)


# Values and derivatives


@every_quantity
def test_value_is_that_of_scipy_and_slopes_are_closed_forms(name, float64):
    quantity = QUANTITIES[name]
    value, slopes = measure(name, *quantity.operands)
    np.testing.assert_allclose(value, quantity.reference(*quantity.operands), rtol=1e-13)
    for received, expected in zip(slopes, quantity.slopes(*quantity.operands), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-15)


@every_quantity
def test_every_mode_of_differentiation_gives_the_same_derivatives(name, float64):
    quantity = QUANTITIES[name]
    which = tuple(range(len(quantity.operands)))

    @jax.jit
    @jax.vmap
    def derivatives(*operands):
        function = getattr(information, name)
        reverse = jax.jacrev(function, which)
        return [
            reverse(*operands),
            jax.jacfwd(function, which)(*operands),
        ], [jax.jacfwd(reverse, which)(*operands), jax.jacrev(reverse, which)(*operands)]

    first, second = derivatives(*quantity.operands)
    for received in first:
        expected = quantity.slopes(*quantity.operands)
        np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-15)
    expected = second_derivatives(quantity.slopes, *quantity.operands)
    for each in second:
        received = np.stack([np.stack(row, -2) for row in each], 1)
        np.testing.assert_allclose(received, expected, rtol=1e-11, atol=1e-14)


def test_surprisal_is_the_negative_logarithm(float64):
    np.testing.assert_allclose(evaluate("surprisal", P), -np.log(P), rtol=1e-15)
    received = jax.jit(jax.vmap(jax.hessian(information.surprisal)))(P.ravel())
    np.testing.assert_allclose(received, P.ravel() ** -2, rtol=1e-14)


def test_nothing_surprises_less_than_what_is_sure_and_nothing_more_than_the_impossible():
    received = evaluate("surprisal", single([1.0, 0.0])[0])
    np.testing.assert_array_equal(received, [0.0, np.inf])
    assert not np.signbit(received).any()
    slope = jax.jit(jax.vmap(jax.grad(information.surprisal)))(jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(slope, [-1.0, -np.inf])


@every_quantity
def test_a_batch_is_a_vmap_is_a_loop(name):
    operands = single(*QUANTITIES[name].operands)
    expected = np.stack([evaluate(name, *example) for example in zip(*operands, strict=True)])
    assert expected.shape == (EXAMPLES,)
    np.testing.assert_array_max_ulp(evaluate(name, *operands), expected, 2)
    mapped = np.asarray(jax.vmap(getattr(information, name))(*operands))
    np.testing.assert_array_max_ulp(mapped, expected, 2)


@every_quantity
def test_jit_and_eager_agree_to_an_ulp(name):
    operands = single(*QUANTITIES[name].operands)
    jitted, _ = measure(name, *operands)
    np.testing.assert_array_max_ulp(jitted, evaluate(name, *operands), 1)


# Nothing and everything: 0·log 0


@every_quantity_of_probabilities
def test_an_outcome_that_never_happens_and_is_never_expected_changes_nothing(name, float64):
    operands = QUANTITIES[name].operands
    padded = [np.pad(operand, ((0, 0), (0, 1))) for operand in operands]
    value, slopes = measure(name, *padded)
    expected_value, expected_slopes = measure(name, *operands)
    np.testing.assert_allclose(value, expected_value, rtol=1e-14)
    for received, expected in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(received[:, :-1], expected, rtol=1e-14)
        assert not np.isnan(received).any()


@pytest.mark.parametrize(
    ("name", "by_p", "by_q"),
    [
        # outcomes of (p, q) = (0, ¼), (½, 0), (½, ¾)
        ("cross_entropy", [np.log(4), np.inf, np.log(4 / 3)], [0, -np.inf, -2 / 3]),
        ("kl_divergence", [-np.inf, np.inf, 1 - np.log(1.5)], [0, -np.inf, -2 / 3]),
        (
            "jensen_shannon_divergence",
            [-np.inf, np.log(2) / 2, np.log(0.8) / 2],
            [np.log(2) / 2, -np.inf, np.log(1.2) / 2],
        ),
        ("brier_score", [-0.5, 1, -0.5], [0.5, -1, 0.5]),
    ],
)
def test_slopes_at_the_boundary_are_limits_in_every_mode(name, by_p, by_q, float64):
    p, q = np.array([0.0, 0.5, 0.5]), np.array([0.25, 0.0, 0.75])
    function = getattr(information, name)
    jacobians = [jacobian(function, (0, 1)) for jacobian in (jax.jacrev, jax.jacfwd)]
    for received in jax.jit(lambda p, q: [jacobian(p, q) for jacobian in jacobians])(p, q):
        np.testing.assert_allclose(received, [by_p, by_q], rtol=1e-14)


@every_quantity_of_two
def test_second_derivatives_at_the_boundary_spare_the_other_outcomes(name, float64):
    p, q = np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.25, 0.0, 0.75, 0.0])
    function, inner = getattr(information, name), np.array([2])
    expected = second_derivatives(QUANTITIES[name].slopes, p[inner], q[inner])
    hessians = [outer(jax.jacrev(function, (0, 1)), (0, 1)) for outer in (jax.jacfwd, jax.jacrev)]
    for both in jax.jit(lambda p, q: [hessian(p, q) for hessian in hessians])(p, q):
        received = np.stack([np.stack(row, -2) for row in both])
        assert not np.isnan(received).any()
        np.testing.assert_allclose(received[:, inner][..., inner], expected, rtol=1e-13)
        np.testing.assert_array_equal(received[:, inner][..., [0, 1, 3]], 0.0)


def test_second_derivatives_of_entropy_at_the_boundary_spare_the_other_outcomes(float64):
    p = np.array([0.0, 0.25, 0.75])
    for outer in (jax.jacfwd, jax.jacrev):
        received = jax.jit(outer(jax.grad(information.entropy)))(p)
        np.testing.assert_array_equal(received, np.diag([-np.inf, -4.0, -4 / 3]))


def test_entropy_of_a_sure_outcome_is_zero_and_any_doubt_raises_it_without_bound():
    p = jnp.array([1.0, 0.0])
    assert information.entropy(p) == 0
    for jacobian in (jax.jacrev, jax.jacfwd):
        np.testing.assert_array_equal(jax.jit(jacobian(information.entropy))(p), [-1, np.inf])


def test_what_q_holds_impossible_costs_infinitely_much_if_it_happens():
    p, q = jnp.array([[0.5, 0.5], [0.0, 1.0]]), jnp.array([[0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(information.cross_entropy(p, q), [np.inf, 0.0])
    np.testing.assert_array_equal(information.kl_divergence(p, q), [np.inf, 0.0])
    assert np.isfinite(information.jensen_shannon_divergence(p, q)).all()


@every_quantity
def test_nan_spoils_its_own_example_and_no_other(name):
    operands = single(*QUANTITIES[name].operands)
    unharmed, slopes = measure(name, *operands)
    operands[-1][2, 1] = np.nan
    harmed, harmed_slopes = measure(name, *operands)
    assert np.isnan(harmed[2])
    np.testing.assert_array_equal(np.delete(harmed, 2), np.delete(unharmed, 2))
    for received, expected in zip(harmed_slopes, slopes, strict=True):
        assert np.isnan(received[2]).any()
        np.testing.assert_array_equal(np.delete(received, 2, 0), np.delete(expected, 2, 0))


@every_quantity_of_two
@pytest.mark.parametrize("place", [0, 1])
def test_nan_spoils_what_it_is_multiplied_by_zero_in(name, place):
    operands = single([[0.5, 0.5, 0.0]], [[0.25, 0.5, 0.25]])
    operands[1 - place][0, 2], operands[place][0, 2] = 0.0, np.nan
    value, slopes = measure(name, *operands)
    assert np.isnan(value).all()
    assert any(np.isnan(slope[0, 2]) for slope in slopes)


@every_quantity_of_probabilities
def test_negative_probabilities_are_refused_where_they_are_kept(name):
    operands = single(P, Q)[: len(QUANTITIES[name].operands)]
    operands[-1][2, 1] = -0.25
    last = "pq"[len(operands) - 1]
    with pytest.raises(ValueError, match=rf"{last} must be .*{last}\[2, 1\] is -0.25: jax"):
        evaluate(name, *operands)
    kept = np.ones((EXAMPLES, OUTCOMES), bool)
    kept[2, 1] = False
    assert np.isfinite(evaluate(name, *operands, where=kept)).all()


def test_a_negative_probability_has_no_surprisal():
    with pytest.raises(ValueError, match=r"p must be probabilities, none of them negative, but p"):
        information.surprisal(jnp.array(-0.5))


# Digits


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_entropy_of_logits_keeps_its_digits_where_the_prediction_is_sure(offset):
    gaps = np.array([0.0, 1.0, 16.0, 18.0, 30.0, 50.0, 80.0], np.float32)
    z = np.stack([gaps, 0 * gaps, 0 * gaps - 2, 0 * gaps - 90], -1) + np.float32(offset)
    value, (slope,) = measure("entropy_of_logits", z)
    for row, received, received_slope in zip(z, value, slope, strict=True):
        expected = truth.entropy_of_logits(row, row)
        np.testing.assert_allclose(received, float(expected.value), rtol=2e-6)
        expected_slope = np.array(expected.gradient, float)
        largest = np.abs(expected_slope).max()
        np.testing.assert_allclose(received_slope, expected_slope, rtol=0, atol=4e-6 * largest)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_divergences_of_near_distributions_are_no_differences(distance):
    """JSD keeps its digits, KL those that a sum of p log(p/q) can have in float32."""
    p, q = single(P, P * (1 + distance * DIRECTIONS))
    kl, jsd = evaluate("kl_divergence", p, q), evaluate("jensen_shannon_divergence", p, q)
    for row in range(EXAMPLES):
        exact_kl = truth.kl_divergence_of_probabilities(p[row], q[row])
        exact_jsd = truth.jensen_shannon_divergence(p[row], q[row])
        assert truth.ulps(kl[row : row + 1], [exact_kl.value], "float32", exact_kl.value_size) <= 4
        np.testing.assert_allclose(jsd[row], float(exact_jsd.value), rtol=1e-5)


# Theorems


def distributions(count):
    """A few distributions over four outcomes, some of which may have probability 0."""
    weights = arrays.arrays(float, (count, OUTCOMES), elements=strategies.floats(0, 1))
    weights = weights.filter(lambda w: (w.sum(-1) > 1e-3).all())
    return weights.map(lambda w: w / w.sum(-1, keepdims=True))


@hypothesis.given(distributions(2))
@hypothesis.settings(deadline=None, max_examples=200)
def test_divergences_are_bounded_as_theory_says(both):
    p, q = both
    with jax.enable_x64(True):
        kl = evaluate("kl_divergence", p, q)
        jsd, swapped = (evaluate("jensen_shannon_divergence", *pair) for pair in [(p, q), (q, p)])
        entropy, cross_entropy = evaluate("entropy", p), evaluate("cross_entropy", p, q)
        brier = evaluate("brier_score", p, q)
    assert kl >= brier - 1e-15
    assert kl >= np.abs(p - q).sum() ** 2 / 2 - 1e-15  # Pinsker
    assert cross_entropy >= entropy - 1e-15
    if np.isfinite(cross_entropy):
        np.testing.assert_allclose(cross_entropy, entropy + kl, rtol=1e-12, atol=1e-15)
    assert -1e-16 <= entropy <= np.log(OUTCOMES) + 1e-15
    assert 0 <= jsd <= np.log(2) + 1e-15
    np.testing.assert_allclose(jsd, swapped, rtol=1e-12, atol=1e-300)


@hypothesis.given(distributions(3))
@hypothesis.settings(deadline=None, max_examples=100)
def test_the_root_of_jensen_shannon_divergence_is_a_distance(three):
    p, q, r = three
    with jax.enable_x64(True):
        pairs = [(p, q), (q, r), (p, r)]
        near, far, direct = (evaluate("jensen_shannon_divergence", *pair) ** 0.5 for pair in pairs)
    assert direct <= near + far + 1e-12


def test_a_distribution_does_not_differ_from_itself():
    p = single(P)[0]
    for name in ("kl_divergence", "jensen_shannon_divergence", "brier_score"):
        np.testing.assert_array_equal(evaluate(name, p, p), 0.0)


# Axis, where, base


@every_quantity
@pytest.mark.parametrize("axis", [0, (0, 2), None], ids=str)
def test_an_axis_is_the_last_one_moved(name, axis, float64):
    axes = (0, 1, 2) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    count = len(QUANTITIES[name].operands)
    operands = np.random.default_rng(1).uniform(size=(count, 2, 3, 2))
    operands /= operands.sum(tuple(1 + one for one in axes), keepdims=True)
    moved = np.moveaxis(operands, [1 + one for one in axes], range(-len(axes), 0))
    rows = moved.reshape(*moved.shape[: 4 - len(axes)], -1)
    flat = rows.reshape(len(operands), -1, rows.shape[-1])
    expected = QUANTITIES[name].reference(*flat)
    received = evaluate(name, *operands, axis=axis)
    np.testing.assert_allclose(received.ravel(), expected, rtol=1e-13)
    assert received.shape == rows.shape[1:-1]


@every_quantity
def test_hiding_outcomes_is_dropping_them(name, float64):
    kept = np.array([True, True, False, True])
    operands = [x[:, kept] / x[:, kept].sum(-1, keepdims=True) for x in QUANTITIES[name].operands]
    padded = [np.insert(x, 2, np.nan, -1) for x in operands]
    value, slopes = measure(name, *padded, where=kept)
    np.testing.assert_allclose(value, QUANTITIES[name].reference(*operands), rtol=1e-13)
    for received, expected in zip(slopes, QUANTITIES[name].slopes(*operands), strict=True):
        np.testing.assert_array_equal(received[:, 2], 0.0)
        np.testing.assert_allclose(received[:, kept], expected, rtol=1e-12, atol=1e-15)


@every_quantity
def test_a_hidden_example_is_zero_has_no_slope_and_leaks_no_nan(name):
    kept = np.array([True, True, False, True, False, True])
    operands = single(*QUANTITIES[name].operands)
    expected, expected_slopes = measure(name, *operands)
    for x in operands:
        x[~kept] = np.nan
    value, slopes = measure(name, *operands, where=kept)
    np.testing.assert_allclose(value, np.where(kept, expected, 0.0), rtol=1e-6)
    for received, expected in zip(slopes, expected_slopes, strict=True):
        expected = np.where(kept[:, None], expected, 0.0)
        np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)


@every_quantity
def test_a_mask_that_fits_outcomes_and_examples_is_refused(name):
    operands = [x[:OUTCOMES] for x in single(*QUANTITIES[name].operands)]
    with pytest.raises(ValueError, match=r"where\[\.\.\., None\]"):
        evaluate(name, *operands, where=np.ones(OUTCOMES, bool))


@pytest.mark.parametrize("name", [name for name, each in QUANTITIES.items() if each.has_base])
@pytest.mark.parametrize("base", [2, 10.0, 0.5])
def test_a_base_is_a_unit(name, base, float64):
    operands = QUANTITIES[name].operands
    expected = evaluate(name, *operands) / np.log(base)
    np.testing.assert_allclose(evaluate(name, *operands, base=base), expected, rtol=1e-14)


def test_bits_are_counted(float64):
    received = evaluate("surprisal", np.array([1.0, 0.5, 0.125]), base=2)
    np.testing.assert_allclose(received, [0, 1, 3], rtol=1e-15)
    assert evaluate("entropy", np.full(8, 1 / 8), base=2) == 3
    assert evaluate("jensen_shannon_divergence", np.eye(2)[0], np.eye(2)[1], base=2) == 1
    slope = jax.jit(jax.grad(lambda base: information.entropy(P[0], base=base)))(3.0)
    expected = -evaluate("entropy", P[0]) / (3 * np.log(3) ** 2)
    np.testing.assert_allclose(slope, expected, rtol=1e-14)


@pytest.mark.parametrize("base", [1, 0, -2, np.nan, np.inf])
def test_what_is_no_base_of_a_logarithm_is_refused(base):
    for name, operands in (("surprisal", (P,)), ("cross_entropy", (P, Q))):
        with pytest.raises(ValueError, match="base must"):
            evaluate(name, *operands, base=base)


# Dtypes, settings, refusals


@every_quantity
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_is_kept_and_half_precision_is_rounded_once(name, dtype):
    operands = tuple(x.astype(jnp.dtype(dtype)) for x in QUANTITIES[name].operands)
    value = evaluate(name, *operands)
    _, slopes = jax.eval_shape(compiled(name), operands, {})
    assert {value.dtype, *(slope.dtype for slope in slopes)} == {jnp.dtype(dtype)}
    exact, _ = measure(name, *(np.asarray(x, np.float32) for x in operands))
    half_an_ulp = float(jnp.finfo(dtype).eps) / 2
    np.testing.assert_allclose(value.astype(float), exact, rtol=half_an_ulp + 1e-6)


@every_quantity
def test_nothing_is_promoted_or_leaked(name):
    def total(*operands):
        return getattr(information, name)(*operands, where=jnp.ones(EXAMPLES, bool)).sum()

    operands = [jnp.asarray(x, jnp.bfloat16) for x in QUANTITIES[name].operands]
    which = tuple(range(len(operands)))
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), checking_leaks():
        jax.eval_shape(jax.hessian(total, which), *operands)


@every_quantity
def test_no_operation_makes_a_nan_where_the_result_is_finite(name):
    """Operation by operation, so that branches that are not taken are looked at as well."""
    p = np.array([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    q = np.array([[0.25, 0.5, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    operands = [jnp.asarray(x) for x in single(p, q)[: len(QUANTITIES[name].operands)]]
    if name == "entropy_of_logits":
        z = [[-np.inf, 0.0, 1.0, 1.0], [-np.inf] * 4, [1e15, 0.0, 0.0, 0.0]]
        operands = [jnp.asarray(x) for x in single(z)]
    with jax.debug_nans(True), jax.disable_jit():
        value, pullback = jax.vjp(getattr(information, name), *operands)
        slopes = pullback(jnp.ones_like(value))
    assert np.isfinite(value).all()
    assert not any(np.isnan(slope).any() for slope in slopes)


@every_quantity_of_two
def test_shapes_that_would_broadcast_are_refused(name):
    p, q = single(P, Q)
    with pytest.raises(ValueError, match=r"p and q .*\(6, 4\) and \(6, 1\)"):
        evaluate(name, p, q[:, :1])
    with pytest.raises(ValueError, match=r"p and q .*\(6, 4\) and \(4,\)"):
        evaluate(name, p, q[0])


@every_quantity
def test_integers_are_no_probabilities(name):
    operands = [np.ones((EXAMPLES, OUTCOMES), int) for _ in QUANTITIES[name].operands]
    with pytest.raises(TypeError, match="must be floating point"):
        evaluate(name, *operands)


@every_quantity
def test_a_scalar_is_no_distribution(name):
    with pytest.raises(ValueError, match="scalar"):
        evaluate(name, *(np.float32(1.0) for _ in QUANTITIES[name].operands))
