"""What callers hand in, checked: one clear sentence for whatever cannot be meant.

Shapes and dtypes are always known and always checked. Contents are checked where they are
concrete, with NumPy: that is faster than a compiled check, and a traced value has none yet.
"""

import functools
import math
import os
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Real

Axis: TypeAlias = int | tuple[int, ...] | None
"""The axis, or axes, of the classes; None means all."""

Mask: TypeAlias = Bool[ArrayLike, "..."] | None
"""What to keep: classes, or examples; None keeps all."""

Base: TypeAlias = Real[ArrayLike, ""] | None
"""The base of a logarithm; None is e."""

Spread: TypeAlias = Literal["even", "one"]
"""Where a mistake puts its probability: even on all wrong classes, or on one of them."""


def is_traced(x) -> bool:
    return isinstance(x, jax.core.Tracer)


def compute_dtype(dtype):
    """What kernels compute in: float32, or float64 for float64."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def name_of(function: Any) -> str:
    """What to call a function that was handed in: its name, with the options bound to it."""
    if isinstance(function, functools.partial):
        options = [f"{value}" for value in function.args]
        options += [f"{name}={value}" for name, value in function.keywords.items()]
        return f"{name_of(function.func)}({', '.join(options)})"
    return getattr(function, "__name__", type(function).__name__)


def as_array(x: ArrayLike) -> jax.Array:
    if isinstance(x, jax.Array):
        return x
    with jax.ensure_compile_time_eval():  # so that constants stay concrete under jit
        return jnp.asarray(x)


def as_floating(x: ArrayLike, name: str) -> jax.Array:
    x = as_array(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, but their dtype is {x.dtype}.")
    return x


def as_real(x: ArrayLike, name: str) -> jax.Array:
    """Floating, integer or bool: what can be cast to floating without losing anything."""
    x = as_array(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, but their dtype is {x.dtype}.")
    return x


def check_not_negative(p: jax.Array, where: jax.Array | None, name: str) -> None:
    """Probabilities, where they are concrete and kept."""
    if is_traced(p) or is_traced(where) or not p.size:
        return
    concrete = np.asarray(p)
    wrong = concrete < 0
    if where is not None:
        wrong &= np.broadcast_to(np.asarray(where), p.shape)
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"{name} must be probabilities, none of them negative, but {name}{place} is "
            f"{concrete[tuple(place)]}: jax.nn.softmax makes probabilities of logits."
        )


def as_boolean(x: ArrayLike, name: str) -> jax.Array:
    x = as_array(x)
    if x.dtype != jnp.bool_:
        raise TypeError(f"{name} must be boolean, but its dtype is {x.dtype}.")
    return x


def as_labels(x: ArrayLike) -> jax.Array:
    x = as_array(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(
            f"labels must be integers that number the classes, but their dtype is {x.dtype}; "
            f"softmax_cross_entropy takes one label a class."
        )
    return x


def check_number(x, name: str, *, above=None, at_least=None, at_most=None) -> None:
    """A scalar, and within its bounds where it is concrete."""
    if np.ndim(x) != 0:
        raise ValueError(f"{name} must be a single number, but its shape is {np.shape(x)}.")
    if is_traced(x):
        return
    number = np.asarray(x)
    lowest = above if above is not None else at_least
    fits = (above is None or number > above) and (at_least is None or number >= at_least)
    if not (fits and (at_most is None or number <= at_most)):
        bounds = f"{'(' if above is not None else '['}{lowest:g}, "
        bounds += "∞)" if at_most is None else f"{at_most:g}]"
        raise ValueError(f"{name} must lie in {bounds}, but it is {number}.")


def _is_int(x) -> bool:
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def check_count(count, name, least=1, most=None):
    if not _is_int(count):
        raise TypeError(f"{name} must be an int, but it is {count!r}.")
    if count < least or (most is not None and count > most):
        upper = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} must be at least {least}{upper}, but it is {count}.")


def check_memory(needed: int, what: str) -> None:
    """That work which needs so many bytes can be begun on this machine, as far as it tells."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return
    if needed > there:
        raise MemoryError(
            f"{what} would need about {needed / 2**30:,.0f} GiB of memory, and this machine has "
            f"{there / 2**30:,.0f} GiB: take fewer classes."
        )


def is_distribution(p: ArrayLike | Sequence[float], num_classes: int) -> bool:
    """Whether p is num_classes numbers, none of them negative, that sum to 1."""
    p = np.asarray(p, np.float64)
    return p.shape == (num_classes,) and bool((p >= 0).all() and abs(p.sum() - 1) <= 1e-6)


def check_spread(spread) -> None:
    if spread not in ("even", "one"):
        raise ValueError(f'spread must be "even" or "one", but it is {spread!r}.')


def check_same_shape(x: jax.Array, y: jax.Array, x_name: str, y_name: str) -> None:
    if x.shape != y.shape:
        raise ValueError(
            f"{x_name} and {y_name} must have the same shape, nothing is broadcast, "
            f"but they have {x.shape} and {y.shape}."
        )


def check_no_labels(targets: jax.Array, logits: jax.Array, name: str) -> None:
    """Integers, one for each example, number the classes and are no distribution over them."""
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.ndim == logits.ndim - 1:
        raise ValueError(
            f"{name} must be a distribution over the classes of each example, of the shape of the "
            f"logits, {logits.shape}, but they are integers of shape {targets.shape}: make "
            f"them one-hot first, jax.nn.one_hot(labels, num_classes), or for cross-entropy use "
            f"softmax_cross_entropy_with_integer_labels."
        )


def check_within_one(p: jax.Array, axes: tuple[int, ...]) -> None:
    """Concrete probabilities; integers number classes where a row adds up to more than 1."""
    if is_traced(p) or not p.size:
        return
    concrete = np.asarray(p)
    wrong = (concrete < 0) | (concrete > 1.001)  # as far as half precision may round
    if not wrong.any() and jnp.issubdtype(p.dtype, jnp.integer):
        wrong = (concrete > 0) & (concrete.sum(axes, keepdims=True) > 1)
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"labels must be probabilities of the classes of each example, of shape [..., C], but "
            f"labels{place} of shape {p.shape} is {concrete[tuple(place)]}: make integer labels "
            f"one-hot first, jax.nn.one_hot(labels, num_classes)."
        )


def as_axes(axis: Axis, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of the classes, counted from the front, without duplicates."""
    ndim = len(shape)
    if ndim == 0:
        raise ValueError("The classes lie along an axis, but a scalar was given.")
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in axes:
        if not _is_int(one):
            raise TypeError(f"axis must be an int, a tuple of ints or None, but it is {axis!r}.")
        if not -ndim <= one < ndim:
            raise ValueError(f"axis {one} is out of range for an array of {ndim} dimensions.")
    axes = tuple(int(one) % ndim for one in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis names an axis twice: {axis!r}.")
    if any(shape[one] == 0 for one in axes):
        raise ValueError(f"There must be at least one class along axis {axis}, not {shape}.")
    return axes


def as_axes_and_mask(
    axis: Axis, where: ArrayLike | None, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], jax.Array | None]:
    axes = as_axes(axis, shape)
    return axes, None if where is None else as_mask(where, shape, axes)


def as_mask(where: ArrayLike, shape: tuple[int, ...], axes: tuple[int, ...]) -> jax.Array:
    """The mask with one dimension for each of the logits'.

    It may broadcast to the logits (classes kept) or have the result's shape (examples kept).
    """
    where = as_boolean(where, "where")
    ndim = len(shape)
    result_shape = tuple(size for index, size in enumerate(shape) if index not in axes)
    padded = (1,) * (ndim - where.ndim) + where.shape
    of_classes = len(padded) == ndim and all(
        have in (1, want) for have, want in zip(padded, shape, strict=True)
    )
    of_examples = where.shape == result_shape
    expanded = tuple(1 if index in axes else size for index, size in enumerate(shape))
    if of_classes and of_examples and padded != expanded:
        raise ValueError(
            f"where of shape {where.shape} could keep classes or examples of logits of shape "
            f"{shape}; write where[..., None] to keep examples, where[None, ...] to keep classes."
        )
    if not of_classes and not of_examples:
        raise ValueError(
            f"where must broadcast to {shape} or have the result's shape {result_shape}, "
            f"but it has {where.shape}."
        )
    shape = padded if of_classes else expanded
    if where.shape == shape:
        return where
    with jax.ensure_compile_time_eval():  # as in as_array
        return where.reshape(shape)


def check_labels_shape(labels: jax.Array, logits: jax.Array, axes: tuple[int, ...]) -> None:
    expected = tuple(size for index, size in enumerate(logits.shape) if index not in axes)
    if labels.shape != expected:
        raise ValueError(
            f"labels must have the shape of the logits without their class axis, {expected} for "
            f"logits of shape {logits.shape}, but they have {labels.shape}."
        )


def check_mass_is_kept(p: jax.Array, where, axes: tuple[int, ...], logits=None) -> None:
    """P puts no mass on a class that `where` hides, except in rows that keep nothing."""
    if where is None or is_traced(where) or is_traced(p):
        return
    hidden = ~np.broadcast_to(np.asarray(where), p.shape)
    wrong = hidden & (np.asarray(p) != 0)
    if wrong.any():
        wrong &= _keeps_something(where, p.shape, axes, logits)
    if wrong.any():
        raise ValueError(
            f"P has mass on a class that where hides, at {_first(wrong)}: "
            f"keep the class or move its mass."
        )


def check_labels(labels: jax.Array, where, logits: jax.Array, axes: tuple[int, ...]) -> None:
    """Every label names a class that `where` keeps, except in rows that keep nothing."""
    if is_traced(labels) or is_traced(where) or labels.size == 0:
        return
    classes = math.prod(logits.shape[axis] for axis in axes)
    concrete = np.asarray(labels)
    # one pass for both ends, since this is most of what an eager call costs: seen as unsigned,
    # a negative label is larger than any class
    if where is None and concrete.view(f"u{concrete.itemsize}").max() < classes:
        return
    outside = (concrete < 0) | (concrete >= classes)
    kept = _keeps_something(where, logits.shape, axes, logits).reshape(concrete.shape)
    if (outside & kept).any():
        row = _first(outside & kept)
        label = concrete[row]
        raise ValueError(
            f"Labels must lie in [0, {classes}), but the label of example {row} is {label}: "
            f"where=labels != {label} leaves such examples out."
        )
    if where is not None:
        rows = np.moveaxis(
            np.broadcast_to(np.asarray(where), logits.shape), axes, range(-len(axes), 0)
        ).reshape(*concrete.shape, classes)
        named = np.where(outside, 0, concrete)[..., None]
        hidden = ~np.take_along_axis(rows, named, -1)[..., 0] & kept
        if hidden.any():
            row = _first(hidden)
            raise ValueError(
                f"where hides the label's own class in example {row} (label {concrete[row]}): "
                f"its cross-entropy would be infinite."
            )


def _keeps_something(where, shape: tuple[int, ...], axes: tuple[int, ...], logits) -> np.ndarray:
    """Rows with at least one class that is kept and possible, axes kept with size 1."""
    possible = np.ones(shape, bool) if where is None else np.asarray(where)
    if logits is not None and not is_traced(logits):
        possible = possible & (np.asarray(logits) != -np.inf)
    return np.asarray(np.broadcast_to(possible, shape).any(axes, keepdims=True))


def _first(wrong: np.ndarray) -> int | tuple[int, ...]:
    index = tuple(np.argwhere(wrong)[0].tolist())
    return index[0] if len(index) == 1 else index


def check_base(base) -> None:
    """A single number, and where it is concrete one that can be the base of a logarithm."""
    if base is None:
        return
    check_number(base, "base", above=0)
    if not is_traced(base) and np.asarray(base) in (1, np.inf):
        raise ValueError(f"base must not be {base}: it is no base of a logarithm.")
