"""A loss that was handed in, called on one example at a time.

Every module that examines a loss calls ``loss(logits, targets)`` on one example, [C] and [C], and
maps that call over leading axes. This module holds the code that all of them share: the type of
such a loss, the mapping, and the few things that are found out about a loss by calling it.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxent import _arguments as arguments

Loss: TypeAlias = Callable[[Array, Array], Array]
"""``loss(logits, targets)``: of one example, [C] and [C], a scalar."""

PYTHON_LOOKS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where Python code of a loss needs to know what is traced."""

# What runs for milliseconds is not worth the seconds of compiling it well.
jit_quickly = partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)


# Compiled once

_compiled: dict[tuple, Callable] = {}
_KEPT = 256


def compiled(program: Callable[..., Any], functions: tuple, *arrays: Any) -> Any:
    """program(*functions, *arrays), compiled, and kept for the next call with these functions.

    Static arguments of one jitted function would do the same, but it would also keep functions
    that close over the tracers of a transformation under way. Their results are tracers too, so
    what gives one is not kept. (Each program must use all its functions for that to be true.)
    """
    key = (program, *functions)
    try:
        run = _compiled.get(key)
    except TypeError:  # a callable object that cannot be hashed is compiled each time
        return jax.jit(partial(program, *functions))(*arrays)
    if run is not None:
        return run(*arrays)
    run = jax.jit(partial(program, *functions))
    result = run(*arrays)
    if not any(map(arguments.is_traced, jax.tree.leaves(result))):
        _compiled[key] = run
        if len(_compiled) > _KEPT:
            del _compiled[next(iter(_compiled))]
    return result


# One example at a time


def as_examples(logits: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Logits and targets as floating arrays of one shape, [..., C].

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the shapes differ, or there is no axis of classes.
    """
    logits = arguments.as_floating(logits, "logits")
    targets = arguments.as_real(targets, "targets")
    if logits.ndim == 0:
        raise ValueError("logits must have a last axis of classes, but their shape is ().")
    arguments.check_same_shape(logits, targets, "logits", "targets")
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(logits.dtype)
    return logits, targets


def of_each_example(
    transformation: Callable[[Loss], Callable[[Array, Array], Any]],
    loss: Loss,
    logits: Array,
    targets: Array,
) -> Any:
    """What `transformation` (jax.grad, jax.hessian, …) makes of the loss, at every example."""

    def value(z: Array, p: Array) -> Array:
        result = loss(z, p)
        shape = getattr(result, "shape", () if isinstance(result, int | float) else None)
        if shape != ():
            returned = f"a {type(result).__name__}" if shape is None else f"shape {shape}"
            raise ValueError(
                f"The loss of one example, logits and targets of shape {z.shape}, must be a "
                f"scalar, but this loss returned {returned}."
            )
        return result

    return over_leading_axes(transformation(value), logits, targets)


def over_leading_axes(
    function: Callable[[Array, Array], Any], logits: Array, targets: Array
) -> Any:
    for _ in logits.shape[:-1]:
        function = jax.vmap(function)
    return function(logits, targets)


def forward_mode(
    function: Callable[..., Array], otherwise: Callable[..., Any]
) -> Callable[..., Any]:
    """`jax.jacfwd(function)`, or `otherwise` where a custom_vjp forbids forward mode.

    JAX says that with a TypeError. One that the loss itself raises comes from reverse mode too.
    """

    def derivative(*operands: Array) -> Any:
        try:
            return jax.jacfwd(function)(*operands)
        except TypeError:
            return otherwise(*operands)

    return derivative


def second_derivative(function: Callable[..., Array]) -> Callable[..., Any]:
    """Forward over reverse; reverse over reverse for a function with a custom_vjp."""
    gradient = jax.grad(function)
    return forward_mode(gradient, otherwise=jax.jacrev(gradient))


def readings(result: Any) -> Any:
    """The arrays of a result as NumPy arrays; inside a transformation, as JAX can use them there.

    A JAX array of float64 cannot be computed with where x64 is off: its sum is float32 and a
    warning, its argmax an error.
    """
    if any(arguments.is_traced(x) for x in jax.tree.leaves(result)):
        return jax.tree.map(lambda x: x.astype(jax.dtypes.canonicalize_dtype(x.dtype)), result)
    return jax.tree.map(np.asarray, result)


# What a loss reads, and how it rounds


def shift_changes(
    values: Callable[[np.ndarray, np.ndarray], Any], logits: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, float]:
    """How much a loss changes when one number is added to all logits, which Q does not feel.

    Two numbers are tried, −1 and 4, since a parabola may return to its value after one. Logits
    that are multiples of ¼ are shifted exactly.

    Args:
        values: the loss of many examples, [N, C] and [N, C] to [N]. Where that depends on a traced
            array, there is nothing to look at, and no change is reported.
        logits, targets: the examples, [N, C].

    Returns:
        The larger change of each example, relative to its loss where that is above 1, [N]; and up
        to which change the loss is one of Q = softmax(logits) alone. An unshifted log Σ exp, which
        is such a loss though a careless one, stays well below 64 ulp.
    """
    shifts = np.array([0.0, -1.0, 4.0])
    shifted = (logits + shifts[:, None, None]).reshape(-1, logits.shape[-1])
    found = values(shifted, np.tile(targets, (len(shifts), 1)))
    tolerance = max(1e-6, 64 * float(jnp.finfo(found.dtype).eps))
    if arguments.is_traced(found):
        return np.zeros(len(logits)), tolerance
    original, *others = np.asarray(found, np.float64).reshape(len(shifts), -1)
    changes = np.abs(np.array(others) - original) / np.maximum(1, np.abs(original))
    return changes.max(0), tolerance


def raw_logits_change(values: Callable[[np.ndarray, np.ndarray], Any], num_classes: int) -> float:
    """The change by a shift of a loss that reads raw logits; 0 for a loss of Q = softmax(logits).

    Args:
        values: as for `shift_changes`.
        num_classes: C.
    """
    labels = np.arange(min(num_classes, 3))
    levels = (np.arange(num_classes) * 5 % 9 - 4) / 4
    logits = np.tile(levels, (len(labels), 1))
    changes, tolerance = shift_changes(values, logits, np.eye(num_classes)[labels])
    return float(changes.max()) if changes.max() > tolerance else 0.0


def precision_of(loss: Loss, num_classes: int) -> np.dtype:
    """The coarsest floating dtype that a loss of float64 logits rounds to on its way."""
    example = jax.ShapeDtypeStruct((num_classes,), jnp.float64)
    roundings = [np.dtype(np.float64), *_roundings(jax.make_jaxpr(loss)(example, example).jaxpr)]
    return max(roundings, key=lambda dtype: float(jnp.finfo(dtype).eps))


def _roundings(jaxpr: Any) -> Iterator[np.dtype]:
    for equation in _equations(jaxpr):
        if equation.primitive.name == "convert_element_type":
            dtypes = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
            if all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
                yield dtypes[1]


def _equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr, and of those within it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def calls_back(loss: Loss, num_classes: int) -> bool:
    """Whether a loss calls code outside JAX."""
    with jax.enable_x64(True):
        example = jax.ShapeDtypeStruct((num_classes,), jnp.float64)
        equations = [*_equations(jax.make_jaxpr(loss)(example, example).jaxpr)]
    return any("callback" in equation.primitive.name for equation in equations)


@contextlib.contextmanager
def float64_in_all_threads() -> Iterator[None]:
    """Float64 in the threads of callbacks too. JAX calls a loss back in any of its threads, and
    `jax.enable_x64` holds only in the thread that entered it. To be entered outside of that."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


# The logits that Q can feel


def sum_zero_basis(num_classes: int) -> np.ndarray:
    """Helmert's basis of 1⊥, [C, C − 1]: column k − 1 is (1, …, 1, −k, 0, …, 0)/√(k(k + 1))."""
    k = np.arange(1, num_classes)
    columns = np.triu(np.ones((num_classes, num_classes - 1)))
    columns[k, k - 1] = -k
    return columns / np.sqrt(k * (k + 1))
