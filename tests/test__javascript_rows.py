"""Rows of numbers, as JavaScript reduces and orders them, held to what JAX makes of them."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.browser import chromium
from tests.javascript import points, run_on_targets


@pytest.fixture(scope="module")
def page():
    with chromium() as browser, jax.enable_x64(True):
        yield browser.new_page()


TRIPLES = np.array(
    list(itertools.product([math.nan, math.inf, -2.0, -0.0, 0.0, 1.0, 3.5], repeat=3))
)
ROWS = {
    "sum": jnp.sum,
    "product": jnp.prod,
    "max": jnp.max,
    "min": jnp.min,
    "all": jnp.all,
    "any": jnp.any,
    "parity": lambda p: lax.reduce_xor((p > 0).astype(jnp.int32), (0,)),
    "largest and sum at once": lambda p: jnp.stack(
        lax.reduce(
            (p, p),
            (jnp.asarray(-jnp.inf, p.dtype), jnp.zeros((), p.dtype)),
            lambda x, y: (jnp.maximum(x[0], y[0]), x[1] + y[1]),
            (0,),
        )
    ),
    "argmax": jnp.argmax,
    "argmin": jnp.argmin,
    "argmax of booleans": lambda p: jnp.argmax(p > 0),
    "cumulative sum": jnp.cumsum,
    "cumulative product": jnp.cumprod,
    "cumulative maximum, backwards": lambda p: lax.cummax(p, reverse=True),
    "cumulative minimum of columns": lambda p: lax.cummin(jnp.stack([p, -p]), axis=0)[1],
    "sort": jnp.sort,
    "argsort": jnp.argsort,
    "argsort, falling": lambda p: jnp.argsort(p, descending=True),
    "sort of columns": lambda p: jnp.sort(jnp.stack([p, 1 - p, p[::-1]]), axis=0)[:, 1],
    "sort by two keys": lambda p: lax.sort((jnp.sign(p), -p, p), num_keys=2)[2],
    "largest two": lambda p: lax.top_k(p, 2)[0],
    "product with a matrix": lambda p: jnp.arange(9.0).reshape(3, 3) @ p,
    "products of a batch": lambda p: jnp.einsum("bi,bij->bj", jnp.outer(p, p), jnp.ones((3, 3, 2))),
}


def by_element(function, size):
    return [lambda p, n=n: jnp.ravel(function(p))[n] for n in range(size)]


@functools.cache
def rows_by_jax():
    return jax.jit(jax.vmap(lambda p: {name: function(p) for name, function in ROWS.items()}))(
        TRIPLES
    )


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_reduced_and_ordered_as_in_jax(page, name):
    expected = np.array(rows_by_jax()[name], float).reshape(len(TRIPLES), -1)
    functions = by_element(ROWS[name], expected.shape[1])
    np.testing.assert_array_equal(run_on_targets(page, functions, TRIPLES), expected.T)


def test_places_of_the_largest_are_those_of_a_stable_sort(page):
    # XLA tells −0 from 0 there, and NaNs by their sign
    targets = TRIPLES[~np.isnan(TRIPLES).any(-1) & ~np.signbit(TRIPLES).any(-1)]
    received = run_on_targets(page, by_element(lambda p: lax.top_k(p, 2)[1], 2), targets)
    np.testing.assert_array_equal(received.T, np.argsort(-targets, kind="stable")[:, :2])


def test_logarithms_of_cumulative_sums_are_those_of_jax(page):
    _, targets = points()
    functions = by_element(lambda p: lax.cumlogsumexp(jnp.log(p), reverse=True), 3)
    with np.errstate(divide="ignore"):
        expected = np.log(np.cumsum(targets[:, ::-1], -1))[:, ::-1]
    np.testing.assert_allclose(run_on_targets(page, functions, targets).T, expected, atol=1e-15)
