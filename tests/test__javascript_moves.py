"""Numbers that JavaScript moves, finds and puts, held to where JAX does."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.browser import chromium
from tests.javascript import run_on_targets


@pytest.fixture(scope="module")
def page():
    with chromium() as browser, jax.enable_x64(True):
        yield browser.new_page()


INDEXED = {
    "item": lambda m, i, j, x: (x * m)[i, j],
    "row": lambda m, i, j, x: (x * m)[i],
    "column and row": lambda m, i, j, x: (x * m)[jnp.array([0, 1]) + i, j],
    "fill": lambda m, i, j, x: (x * m).at[i, j].get(mode="fill", fill_value=-7.0),
    "clip": lambda m, i, j, x: (x * m).at[i, j].get(mode="clip"),
    "take": lambda m, i, j, x: jnp.nan_to_num(jnp.take(x * m, jnp.stack([i, j]), 0, mode="fill")),
    "integers": lambda m, i, j, x: jnp.take(jnp.arange(3) + (x > 0), i, mode="fill"),
    "unsigned": lambda m, i, j, x: jnp.take(jnp.arange(3, dtype=jnp.uint8) + i, j, mode="fill"),
    "booleans": lambda m, i, j, x: jnp.take(jnp.arange(3) > x, i, mode="fill"),
    "along an axis": lambda m, i, j, x: jnp.take_along_axis(
        x * m, jnp.stack([i, j, i, j])[None] % 3, 0
    ),
    "window": lambda m, i, j, x: lax.dynamic_slice(x * m, (i, j), (2, 3)),
    "columns": lambda m, i, j, x: lax.dynamic_slice_in_dim(x * m, j, 2, axis=1),
    "mapped": lambda m, i, j, x: jax.vmap(lambda row, k: row[k])(x * m, jnp.stack([i, j, i])),
    "write a window": lambda m, i, j, x: lax.dynamic_update_slice(m, x + m[:2, :2], (i, j)),
    "set": lambda m, i, j, x: m.at[i, j].set(x),
    "add twice": lambda m, i, j, x: m.at[jnp.stack([i, i]), jnp.stack([j, 0 * j])].add(x),
    "subtract": lambda m, i, j, x: m.at[i].subtract(x),
    "multiply": lambda m, i, j, x: m.at[:, j].multiply(x),
    "largest": lambda m, i, j, x: m.at[i].max(9 * x),
    "least": lambda m, i, j, x: m.at[i, 1:3].min(x, mode="clip"),
    "mapped add": lambda m, i, j, x: jax.vmap(lambda r, k: r.at[k].add(x))(m, jnp.stack([i, j, i])),
    "padded": lambda m, i, j, x: lax.pad(x * m, x, ((0, 1, 1), (-1, 0, 2))),
    "reversed": lambda m, i, j, x: jnp.pad((x * m)[::-1, 1::2].T, ((1, 0), (2, 1))),
    "moved": lambda m, i, j, x: jnp.tile(
        jnp.concatenate(jnp.split(jnp.stack([m * x, m]), 2, 2)), 2
    ),
    "three cases": lambda m, i, j, x: lax.select_n(jnp.clip(i, 0, 2), x, 2 * x, 3 * x),
    "switch": lambda m, i, j, x: lax.switch(j, [jnp.sin, jnp.cos, jnp.tanh], x * m[0]),
}


PLACES = [-4.0, -3.0, -1.0, 0.0, 1.0, 2.0, 3.0, 9.0]
INDICES = np.array(list(itertools.product(PLACES, PLACES, [0.5])))


def indexed(name, p):
    i, j = p[:2].astype(jnp.int32)
    matrix = jnp.arange(12.0).reshape(3, 4)
    return jnp.ravel(INDEXED[name](matrix, i, j, p[2])).astype(float)


@functools.cache
def indexed_by_jax():
    return jax.jit(jax.vmap(lambda p: {name: indexed(name, p) for name in INDEXED}))(INDICES)


@pytest.mark.parametrize("name", INDEXED)
def test_numbers_are_found_and_put_where_jax_does(page, name):
    expected = np.array(indexed_by_jax()[name])
    weights = np.random.default_rng(0).uniform(1, 2, expected.shape[1])
    received = run_on_targets(page, [lambda p: jnp.sum(weights * indexed(name, p))], INDICES)
    np.testing.assert_allclose(received[0], expected @ weights, rtol=1e-14)
