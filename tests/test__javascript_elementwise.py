"""Primitives of each element, as JavaScript computes them, held to what JAX computes."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from jaxent import _javascript
from tests.browser import chromium
from tests.javascript import run_on_targets


@pytest.fixture(scope="module")
def page():
    with chromium() as browser, jax.enable_x64(True):
        yield browser.new_page()


def by_name(*functions, **others):
    return {function.__name__: function for function in functions} | others


def of_dtype(dtype, arity, operations):
    """The operations on the first numbers of p, converted to the dtype."""

    def converted(operation):
        return lambda p: operation(*p[:arity].astype(dtype)).astype(jnp.float64)

    return [converted(operation) for operation in operations]


def compared(page, dtype, operations, targets):
    """(name, what the browser says, what JAX says) of each of the operations by their arity.

    Conversions stay out of what JAX compiles into one program, where they may be skipped.
    """
    names = [name for of_arity in operations.values() for name in of_arity]
    functions = [f for n in operations for f in of_dtype(dtype, n, operations[n].values())]
    numbers = jax.jit(lambda p: p.astype(dtype))(targets)
    results = jax.jit(lambda x: [f(*x[:n]) for n in operations for f in operations[n].values()])
    expected = [np.asarray(x, float) for x in results(numbers.T)]
    return zip(names, run_on_targets(page, functions, targets), expected, strict=True)


NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -2.5, 0.3, -0.7]
NUMBERS += [7.0, -3.25, 11.75, 1e-3, 40.5, 1e6, 3e9, -3e9]
PAIRS = np.array([(x, y, 1.0) for x, y in itertools.product(NUMBERS, NUMBERS)])

FLOATING = [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16]
COMPARISONS = [lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge]
CORRECTLY_ROUNDED = {
    1: by_name(
        *(lax.neg, lax.abs, lax.sign, lax.floor, lax.ceil, lax.is_finite, lax.square, lax.sqrt),
        round_to_even=lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
        round_away=lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
        cube=lambda x: lax.integer_pow(x, 3),
        inverse=lambda x: lax.integer_pow(x, -1),
        clamp=lambda x: lax.clamp(jnp.asarray(-1, x.dtype), x, jnp.asarray(2, x.dtype)),
    ),
    2: by_name(
        *(lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min, *COMPARISONS),
        eq_to=lax.eq_to_p.bind,
        le_to=lax.le_to_p.bind,
        lt_to=lax.lt_to_p.bind,
    ),
}


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_what_is_correctly_rounded_is_the_same_to_the_bit(page, dtype):
    for name, received, expected in compared(page, dtype, CORRECTLY_ROUNDED, PAIRS):
        np.testing.assert_array_equal(received, expected, name)
        of_number = ~np.isnan(expected)
        signs = np.signbit(received[of_number]), np.signbit(expected[of_number])
        np.testing.assert_array_equal(*signs, name)


TRANSCENDENTAL = {
    1: by_name(
        *(lax.rsqrt, lax.cbrt, lax.exp, lax.expm1, lax.log, lax.log1p, lax.logistic),
        *(lax.sin, lax.cos, lax.tan, lax.asin, lax.acos, lax.atan),
        *(lax.tanh, lax.asinh, lax.acosh, lax.atanh, lax.erf, lax.erfc, lax.erf_inv),
    ),
    2: by_name(lax.pow, lax.atan2),
}


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.__name__)
def test_transcendental_functions_differ_by_units_in_the_last_place(page, dtype):
    ulps = 10 if dtype == jnp.float64 else 3
    tolerance = ulps * float(jnp.finfo(dtype).eps)
    for name, received, expected in compared(page, dtype, TRANSCENDENTAL, PAIRS):
        np.testing.assert_allclose(received, expected, tolerance, err_msg=name)


def test_functions_that_are_less_exact_in_xla_agree_with_fifty_digits(page):
    x = np.array([-2.75, -1.5, -0.5, 1e-3, 0.1, 0.9, 1.1, 2.0, 2.5, 6.0, 11.75, 40.5, 170.0])
    truths = {
        lax.exp2: lambda x: mpmath.mpf(2) ** x,
        lax.sinh: mpmath.sinh,
        lax.cosh: mpmath.cosh,
        lax.erf: mpmath.erf,
        lax.erfc: mpmath.erfc,
        lax.lgamma: lambda x: mpmath.log(abs(mpmath.gamma(x))),
        lax.digamma: mpmath.digamma,
    }
    received = run_on_targets(page, of_dtype(float, 1, truths), np.stack([x, x, x], -1))
    with mpmath.workdps(50):
        expected = [[float(truth(mpmath.mpf(one))) for one in x] for truth in truths.values()]
    for function, one, other in zip(truths, received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, err_msg=function.__name__)


def test_polygamma_agrees_with_fifty_digits(page):
    x = np.array([1e-3, 0.3, 1.0, 2.5, 9.5, 11.0, 170.0, 1e6])
    orders = [0, 1, 2, 5]
    functions = [lambda p, m=m: lax.polygamma(jnp.full((), m, p.dtype), p[0]) for m in orders]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    with mpmath.workdps(50):
        expected = [[float(mpmath.polygamma(m, mpmath.mpf(one))) for one in x] for m in orders]
    np.testing.assert_allclose(received, expected, rtol=1e-13)


WHOLE = [0, 1, 2, 3, 7, 100, 127, 255, 1000, 40000, 2**31 - 1]
WHOLE_PAIRS = np.array(list(itertools.product([*(-x for x in WHOLE[1:]), *WHOLE], repeat=2)), float)
WHOLE_PAIRS = np.column_stack([WHOLE_PAIRS, np.ones(len(WHOLE_PAIRS))])


@pytest.mark.parametrize(
    "dtype",
    [jnp.int8, jnp.int16, jnp.int32, jnp.int64, jnp.uint8, jnp.uint16, jnp.uint32],
    ids=lambda dtype: dtype.__name__,
)
def test_integers_wrap_and_divide_as_in_jax(page, dtype):
    unary = by_name(lax.sign, lax.neg)
    binary = by_name(lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min, *COMPARISONS)
    if jnp.iinfo(dtype).min < 0:
        unary |= by_name(lax.abs)
    if dtype != jnp.int64:  # exact to 2⁵³ only, so without bits and without the cube
        unary |= by_name(lax.bitwise_not, cube=lambda x: lax.integer_pow(x, 3))
        binary |= by_name(lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor)
    for name, received, expected in compared(page, dtype, {1: unary, 2: binary}, WHOLE_PAIRS):
        exact = np.abs(expected) < 2**53
        np.testing.assert_array_equal(received[exact], expected[exact], name)
        assert not np.signbit(received[received == 0]).any(), name


def test_numbers_change_their_type_as_in_jax(page):
    types = [jnp.bool_, jnp.int8, jnp.uint8, jnp.int32, jnp.uint32, jnp.int64, *FLOATING]

    def through(old, new):
        return lambda p: p[0].astype(old).astype(new).astype(jnp.float64)

    targets = np.array([(x, 1.0, 1.0) for x in [*NUMBERS, 130.0, -130.0, 70000.0, 65519.0]])
    functions = [through(old, new) for old, new in itertools.product(types, types)]
    received = run_on_targets(page, functions, targets).reshape(len(types), len(types), -1)
    # in two programs, as in one the first conversion may be skipped
    every = jax.jit(lambda x: [x.astype(dtype) for dtype in types])
    again = jax.jit(lambda converted: [[x.astype(new) for new in types] for x in converted])
    for old, by_browser, by_jax in zip(types, received, again(every(targets[:, 0])), strict=True):
        expected = np.array([np.asarray(x, float) for x in by_jax])
        # int64 has no largest number here
        held = np.isfinite(targets[:, 0]) if old == jnp.int64 else slice(None)
        np.testing.assert_array_equal(by_browser[:, held], expected[:, held], str(old))


def test_half_types_round_every_number_as_numpy_does(page):
    generator = np.random.default_rng(0)
    mantissas = generator.choice([-1, 1], 3000) * generator.integers(2**12, 2**13, 3000)
    edges = [65504, 65519.99, 65520, 65536, 2**-24, 2**-25, 1.5 * 2**-25]
    edges += [3.38e38, 3.3895e38, 3.4e38]
    x = np.concatenate([np.ldexp(mantissas, generator.integers(-45, 4, 3000)), edges])
    halves = (jnp.float16, jnp.bfloat16)
    functions = [f for dtype in halves for f in of_dtype(dtype, 1, [lambda x: x])]
    with np.errstate(over="ignore"):
        expected = [x.astype(np.float32).astype(dtype).astype(float) for dtype in halves]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    np.testing.assert_array_equal(received, expected)


def test_precision_is_reduced_to_types_that_are_known(page):
    x = np.array([1 / 3, -1e-3, 12345.678])
    formats = {np.float64: (11, 52), np.float32: (8, 23), np.float16: (5, 10), jnp.bfloat16: (8, 7)}
    functions = [
        lambda p, bits=bits: lax.reduce_precision(p[0], *bits) for bits in formats.values()
    ]
    received = run_on_targets(page, functions, np.stack([x, x, x], -1))
    np.testing.assert_array_equal(received, [x.astype(dtype).astype(float) for dtype in formats])
    odd = _javascript.translate(lambda z, p: lax.reduce_precision(p[0], 4, 3) + 0 * z[0])
    assert odd.reason == "numbers of 4 + 3 bits"


def test_booleans_are_combined_as_in_jax(page):
    operations = [lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor, lax.max, lax.min]
    operations += [lax.eq, lax.ne]

    def of_signs(operation):
        return lambda p: operation(p[0] > 0, p[1] > 1).astype(float) + 2 * ~(p[0] < p[1])

    received = run_on_targets(page, [of_signs(operation) for operation in operations], PAIRS)
    by_jax = jax.jit(jax.vmap(lambda p: [of_signs(operation)(p) for operation in operations]))
    for operation, one, other in zip(operations, received, by_jax(PAIRS), strict=True):
        np.testing.assert_array_equal(one, other, operation.__name__)
