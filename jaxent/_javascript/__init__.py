"""A loss as JavaScript, for pages that run it without Python.

What is translated is the jaxpr of `jax.value_and_grad(loss)` at three classes. An array of the
jaxpr is an array of scalars here, each a number that is known or the name of one that is not, and
what comes out is one line of arithmetic after the other. Whatever only moves numbers about
therefore costs nothing, whatever is known already is computed here, by JAX, and a loop becomes its
steps. Branches are all computed and selected from.

Every operation rounds to its own dtype, as the jaxpr says: JavaScript's numbers are float64, and
results of smaller types are rounded to those. (XLA may keep more digits between operations that it
compiles into one.) Integers of 64 bits are exact up to 2⁵³.

A loss that cannot be translated is tabulated instead.

Imports point only to the left: `program ← elementwise ← moves, rows ← tracing ← this module`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxent._examples import PYTHON_LOOKS, Loss, of_each_example
from jaxent._javascript.program import Untranslatable, written
from jaxent._javascript.tracing import traced
from jaxent._table import tabulate


class Translation(NamedTuple):
    """A loss of three classes in JavaScript.

    Attributes:
        source: an expression whose value is a function (z, p) => [L, g₀, g₁, g₂] of two arrays
            of three numbers, with g = ∂L/∂z. It needs nothing from outside.
        exact: whether it computes what the loss computes, operation by operation. If not, it
            interpolates in a table, and knows z up to a constant only: it reads the logits that
            sum to zero.
        one_hot_only: whether p is read by its largest entry alone, as a table does.
        worst_error: of a table, the largest error of a component of g at the centres of its
            cells, over the largest norm ‖g‖ met for the same P. 0 if exact.
        reason: what could not be translated; empty if exact.
    """

    source: str
    exact: bool
    one_hot_only: bool
    worst_error: float
    reason: str


def translate(loss: Loss, *, float32: bool = False) -> Translation:
    """The loss and its gradient as a JavaScript function.

    Args:
        loss: `loss(logits, targets)` of one example, [3] and [3], a scalar.
        float32: whether logits, targets and whatever follows from them are float32 and not
            float64.

    Returns:
        A `Translation`. It is a table if the loss calls back to Python, loops as long as its data
        tell it to, branches in Python, or uses a primitive that has no translation.

    Raises:
        ValueError: the loss does not return a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxent import _javascript
        >>> def squared_error(logits, targets):
        ...     return jnp.sum((logits - targets) ** 2)
        >>> print(_javascript.translate(squared_error).source)
        (z,p)=>{const a=z[0]-p[0],b=z[1]-p[1],c=z[2]-p[2];return[((a*a)+(b*b))+(c*c),2*a,2*b,2*c]}
    """
    dtype = np.dtype(np.float32 if float32 else np.float64)
    with jax.enable_x64(not float32):
        function = partial(of_each_example, jax.value_and_grad, loss)
        vector = jax.ShapeDtypeStruct((3,), dtype)
        # one point after the other, as a callback may not be mapped
        evaluate = jax.jit(lambda logits, p: lax.map(lambda z: function(z, p), logits))
        try:
            source = written(*traced(jax.make_jaxpr(function)(vector, vector), dtype))
            return Translation(source, True, False, 0.0, "")
        except Untranslatable as error:
            reason = str(error)
        except PYTHON_LOOKS:
            reason = "Python code that needs to know the data"
            evaluate = uncompiled(function)
        source, worst_error = tabulate(
            lambda z, p: evaluate(jnp.asarray(z, dtype), jnp.asarray(p, dtype))
        )
        return Translation(source, False, True, worst_error, reason)


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Values and gradients at many logits, one by one if Python code looks at the logits too."""

    def evaluate(logits: jax.Array, p: jax.Array) -> tuple[Any, Any]:
        try:
            return jax.vmap(lambda z: function(z, p))(logits)
        except PYTHON_LOOKS:
            pairs = [function(z, p) for z in np.asarray(logits)]
            return np.stack([value for value, _ in pairs]), np.stack([g for _, g in pairs])

    return evaluate
