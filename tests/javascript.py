"""Functions of JavaScript, run by a browser."""

import jax.numpy as jnp
import numpy as np

from jaxent import _javascript

RUN = """([sources, points]) => {
    const print = x => Object.is(x, -0) ? "-0" : String(x), read = eval(points);
    return sources.map(eval).flatMap(f => read.map(x => f(...x).map(print).join())).join();
}"""


def run(page, sources, logits, targets):
    """[functions, N, 4]: value and gradient of each at each point, by the browser."""
    # as text, because numbers are converted one by one
    points = np.stack([logits, targets], 1).tolist()
    script = str(points).replace("nan", "NaN").replace("inf", "Infinity")
    numbers = page.evaluate(RUN, [sources, script]).split(",")
    return np.array(numbers, float).reshape(len(sources), len(points), 4)


def points(count=200):
    """In the simplex and near its corners, with P on one class, soft, and with zeros."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 3)) * generator.choice([1.0, 3.0], (count, 1))
    logits[: count // 4] += 30 * np.eye(3)[generator.integers(3, size=count // 4)]
    logits[count // 4 : count // 2] -= 15 * np.eye(3)[generator.integers(3, size=count // 4)]
    targets = generator.dirichlet([1.0, 1.0, 1.0], count)
    targets[::2] = np.eye(3)[generator.integers(3, size=len(targets[::2]))]
    targets[1::6, 1] = 0
    targets[1::6] /= targets[1::6].sum(-1, keepdims=True)
    return logits, targets


def run_on_targets(page, functions, targets):
    """[functions, N]: functions of p at all the targets, by the browser."""

    def loss_of(function):
        return lambda z, p: jnp.asarray(function(p)).astype(z.dtype)

    translations = [_javascript.translate(loss_of(function)) for function in functions]
    assert [one.reason for one in translations if not one.exact] == []
    received = run(page, [one.source for one in translations], np.zeros_like(targets), targets)
    assert (received[..., 1:] == 0).all()
    return received[..., 0]
