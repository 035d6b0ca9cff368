"""Random forms of losses: right ones, written in many ways, and ones with a wrong derivative rule.

    forms(seed)          endlessly many right forms
    wrongly(form, …)     the same value, and a gradient of which one entry is wrong

A form is built from the inside out: logits, moved and scaled; a loss, in one of the ways in which
people write it; a function of its value; and the way in which JAX is told of its derivative.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_softmax, logsumexp, softmax, softplus

Loss = Callable[[Array, Array], Array]


class Form(NamedTuple):
    """A loss, and the words of its parts."""

    name: str
    loss: Loss
    single: bool
    """It computes in float32."""
    sharp: bool
    """No step of it takes digits from the gradient, so that a wrong rule has to be seen."""


def _log_one_by_one(z: Array, p: Array) -> Array:
    def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        return total - one[0] * one[1], None

    return jax.lax.scan(add, jnp.zeros((), z.dtype), (p, log_softmax(z)))[0]


BASES: dict[str, Loss] = {
    "−p·log_softmax": lambda z, p: -jnp.sum(p * log_softmax(z)),
    "−p·log(softmax)": lambda z, p: -jnp.sum(p * jnp.log(softmax(z))),
    "−p·log(softmax + 1e-9)": lambda z, p: -jnp.sum(p * jnp.log(softmax(z) + 1e-9)),
    "logsumexp − p·z": lambda z, p: logsumexp(z) - p @ z,
    "log Σ exp(z − p·z)": lambda z, p: jnp.log(jnp.sum(jnp.exp(z - p @ z))),
    "a loop over −p log q": _log_one_by_one,
    "KL": lambda z, p: jnp.sum(jax.scipy.special.xlogy(p, p) - p * log_softmax(z)),
    "softplus of log-odds": lambda z, p: jnp.sum(
        p * softplus(logsumexp(jnp.where(jnp.eye(z.size) > 0, -jnp.inf, z), axis=-1) - z)
    ),
    "unlikelihood": lambda z, p: (
        -jnp.sum(p * log_softmax(z)) - jnp.sum((1 - p) * jnp.log(1 - softmax(z) + 1e-9))
    ),
    "(q − p)²": lambda z, p: jnp.sum((softmax(z) - p) ** 2),
    "q·q − 2p·q + p·p": lambda z, p: (q := softmax(z)) @ q - 2 * p @ q + p @ p,
    "1 − 2p·q + q·q": lambda z, p: 1 - 2 * p @ softmax(z) + jnp.sum(softmax(z) ** 2),
    "Tsallis": lambda z, p: jnp.sum(p * (1 - (softmax(z) + 1e-9) ** 0.7)) / 0.7,
    "Tsallis by exp and log": lambda z, p: (1 - jnp.sum(p * jnp.exp(0.7 * log_softmax(z)))) / 0.7,
    "focal": lambda z, p: -jnp.sum(p * (1 - softmax(z)) ** 2 * log_softmax(z)),
    "sigmoids": lambda z, p: jnp.sum(softplus(z) - p * z),
    "log of sigmoids": lambda z, p: (
        -jnp.sum(p * jnp.log(jax.nn.sigmoid(z) + 1e-12))
        - jnp.sum((1 - p) * jnp.log(1 - jax.nn.sigmoid(z) + 1e-12))
    ),
    "(z − p)²": lambda z, p: jnp.sum((z - p) ** 2),
    "z·z − 2p·z + p·p": lambda z, p: z @ z - 2 * p @ z + p @ p,
    "(tanh z − p)²": lambda z, p: jnp.sum((jnp.tanh(z) - p) ** 2),
    "hinge": lambda z, p: jnp.sum(jnp.maximum(0, 1 - (2 * p - 1) * z) ** 2),
    "Huber": lambda z, p: jnp.sum(
        jnp.where(jnp.abs(z - p) < 1, (z - p) ** 2 / 2, jnp.abs(z - p) - 0.5)
    ),
    "margin": lambda z, p: jnp.max(z + 1 - p) - p @ z,
}
_SHARP = {"", "log(1 + L)", "100 L", "√(1 + L²)"}
SQUASHINGS: dict[str, Callable[[Array], Array]] = {
    "": lambda value: value,
    "L/(1 + L)": lambda value: value / (1 + value),
    "tanh": jnp.tanh,
    "arctan": jnp.arctan,
    "log(1 + L)": jnp.log1p,
    "1 − exp(−L)": lambda value: 1 - jnp.exp(-value),
    "log(exp(L))": lambda value: jnp.log(jnp.exp(value / 1e4)) * 1e4,
    "√(1 + L²)": lambda value: jnp.sqrt(1 + value**2),
    "exp(log(1e-6 + L))": lambda value: jnp.exp(jnp.log(1e-6 + value)),
    "100 L": lambda value: 100 * value,
    "L + 1000 − 1000": lambda value: value + 1000 - 1000,
    "L/1000 + 1": lambda value: value / 1000 + 1,
}


def _composed(base: Loss, squash: Callable[[Array], Array], scale: float, shift: float) -> Loss:
    def composed(z: Array, p: Array) -> Array:
        value = base(scale * z + shift, p)
        return squash(value) + 0 * value  # a squashed infinity is no value

    return composed


def _with_jvp(loss: Loss) -> Loss:
    ruled = jax.custom_jvp(loss)

    @ruled.defjvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (z, p), (moved, _) = primals, tangents
        return jax.jvp(lambda z: loss(z, p), (z,), (moved,))

    return ruled


def _with_vjp(loss: Loss, change: Callable[[Array], Array] = lambda gradient: gradient) -> Loss:
    ruled = jax.custom_vjp(loss)

    def forward(z: Array, p: Array) -> tuple[Array, tuple[Array, Array]]:
        return loss(z, p), (z, p)

    def backward(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, None]:
        return cotangent * change(jax.grad(loss)(*residuals)), None

    ruled.defvjp(forward, backward)
    return ruled


def _in_single(loss: Loss) -> Loss:
    return lambda z, p: loss(z.astype(jnp.float32), p.astype(jnp.float32)).astype(z.dtype)


WRAPPINGS: dict[str, Callable[[Loss], Any]] = {
    "": lambda loss: loss,
    "jit": jax.jit,
    "custom_jvp": _with_jvp,
    "custom_vjp": _with_vjp,
    "select": lambda loss: lambda z, p: jnp.where(jnp.sum(z) > 1e6, 0.0, loss(z, p)),
    "swapped": lambda loss: lambda z, p: (lambda p, z: loss(z, p))(p, z),
    "checkpoint": jax.checkpoint,
    "backwards": lambda loss: lambda z, p: loss(z[::-1], p[::-1]),
    "a mean of 3": lambda loss: (
        lambda z, p: sum(loss(jnp.roll(z, i), jnp.roll(p, i)) for i in range(3)) / 3
    ),
}


def forms(seed: int, single: float = 0.1) -> Iterator[Form]:
    """Random right forms, one after the other; a share `single` of them computes in float32."""
    random = np.random.default_rng(seed)

    def any_of(choices: dict[str, Any]) -> tuple[str, Any]:
        name = random.choice(list(choices))
        return name, choices[name]

    while True:
        of_loss, base = any_of(BASES)
        of_value, squash = any_of(SQUASHINGS)
        of_rule, wrap = any_of(WRAPPINGS)
        scale = float(10 ** random.uniform(-1, 2)) if random.random() < 0.6 else 1.0
        shift = float(random.uniform(-30, 30)) if random.random() < 0.2 else 0.0
        in_single = random.random() < single
        if "exp" in of_loss:
            scale = min(scale, 10.0)  # beyond, exp overflows

        loss = _composed(base, squash, scale, shift)
        if in_single:
            loss = _in_single(loss)
        words = [
            of_loss,
            f"z = {scale:.3g} z" * (scale != 1),
            f"z + {shift:.3g}" * (shift != 0),
            of_value,
            "in float32" * in_single,
            of_rule,
        ]
        sharp = of_value in _SHARP and shift == 0 and 0.3 < scale < 10
        yield Form(", ".join(word for word in words if word), wrap(loss), in_single, sharp)


def wrongly(form: Form, off: float, entry: int = 1) -> Form:
    """The form with one entry of its gradient off by so much of the largest entry."""

    def change(gradient: Array) -> Array:
        return gradient.at[entry].add(off * jnp.max(jnp.abs(gradient)))

    ruled = _with_vjp(form.loss, change)
    return form._replace(name=f"{form.name}, off by {off:.0e}", loss=ruled)
