"""The way from a public loss to its kernel: checks, one jitted call, and the rules for masks.

Kernels compute in float32, or in float64 for float64. The result has the dtype of the logits.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxent import _arguments as arguments
from jaxent import _softmax as softmax
from jaxent._labels import is_label
from jaxent._passes import number_of_classes


def along_classes(kernel, logits, targets, axis, where, name="targets", /, **options):
    """`kernel(axes, z, p, kept, **options)` of logits and targets of the same shape.

    A row without a class that is kept and possible is 0. The options are numbers, and may be
    traced.
    """
    logits = arguments.as_floating(logits, "logits")
    targets = arguments.as_real(targets, name)
    arguments.check_no_labels(targets, logits, name)
    arguments.check_same_shape(logits, targets, "logits", name)
    axes, where = arguments.as_axes_and_mask(axis, where, logits.shape)
    arguments.check_mass_is_kept(targets, where, axes, logits)
    return _along_classes(kernel, axes, logits, targets, where, options)


@partial(jax.jit, static_argnums=(0, 1))
def _along_classes(kernel, axes, logits, targets, where, options):
    z = logits.astype(arguments.compute_dtype(logits.dtype))
    p = targets.astype(z.dtype)
    options = {name: jnp.asarray(value, z.dtype) for name, value in options.items()}
    if where is None:
        return kernel(axes, z, p, None, **options).astype(logits.dtype)
    z = jnp.where(where, z, -jnp.inf)
    possible = softmax.possible(axes, z)
    # an impossible row may have any target
    kept = where & softmax.expand(possible, axes)
    value = kernel(axes, z, jnp.where(kept, p, 0.0), kept, **options)
    # a factor, so that the gradient is NaN as well
    refused = possible & jnp.any(~where & (p != 0), axes)
    return (value * jnp.where(refused, jnp.nan, 1.0)).astype(logits.dtype)


def at_labels(kernel, logits, labels, axis, where):
    """`kernel(axes, z, labels)` of logits and of one integer label a row.

    Labels reach the kernel as int32. A label that names no class, or a class that `where` hides, is
    −1 or the number of classes there.
    """
    logits = arguments.as_floating(logits, "logits")
    labels = arguments.as_labels(labels)
    if axis is None:
        raise ValueError("Integer labels count the classes along axis: it must not be None.")
    axes = arguments.as_axes(axis, logits.shape)
    arguments.check_labels_shape(labels, logits, axes)
    if where is not None:
        where = arguments.as_mask(where, logits.shape, axes)
    arguments.check_labels(labels, where, logits, axes)
    return _at_labels(kernel, axes, logits, labels, where)


@partial(jax.jit, static_argnums=(0, 1))
def _at_labels(kernel, axes, logits, labels, where):
    z = logits.astype(arguments.compute_dtype(logits.dtype))
    # into int32 without wrapping round: what names no class goes on naming none
    classes, limits = math.prod(z.shape[axis] for axis in axes), jnp.iinfo(labels.dtype)
    labels = jnp.clip(labels, max(-1, limits.min), min(classes, limits.max)).astype(jnp.int32)
    if where is not None:
        z = jnp.where(where, z, -jnp.inf)
        hidden = jnp.any(is_label(axes, z.shape, labels) & ~where, axes)
        labels = jnp.where(hidden, -1, labels)
    return kernel(axes, z, labels).astype(logits.dtype)


def elementwise(kernel, logits, labels):
    """`kernel(s, y)` of logits and labels of the same shape."""
    logits = arguments.as_floating(logits, "logits")
    labels = arguments.as_real(labels, "labels")
    arguments.check_same_shape(logits, labels, "logits", "labels")
    return _elementwise(kernel, logits, labels)


@partial(jax.jit, static_argnums=0)
def _elementwise(kernel, logits, labels):
    s = logits.astype(arguments.compute_dtype(logits.dtype))
    return kernel(s, labels.astype(s.dtype)).astype(logits.dtype)


# Helpers


def smooth_labels(labels, alpha, axis, where):
    labels = arguments.as_real(labels, "labels")
    arguments.check_number(alpha, "alpha", at_least=0.0, at_most=1.0)
    axes, where = arguments.as_axes_and_mask(axis, where, labels.shape)
    arguments.check_within_one(labels, axes)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        labels = labels.astype(float)
    arguments.check_mass_is_kept(labels, where, axes)
    return _smooth_labels(axes, labels, alpha, where)


@partial(jax.jit, static_argnums=0)
def _smooth_labels(axes, labels, alpha, where):
    p = labels.astype(arguments.compute_dtype(labels.dtype))
    alpha = jnp.asarray(alpha, p.dtype)
    kept = jnp.broadcast_to(True if where is None else where, p.shape)
    uniform = 1 / softmax.expand(number_of_classes(axes, p, kept), axes)
    smoothed = jnp.where(kept, (1 - alpha) * p + alpha * uniform, 0.0)
    if where is not None:
        keeps_any = jnp.any(kept, axes, keepdims=True)
        smoothed = jnp.where(kept | (p == 0) | ~keeps_any, smoothed, jnp.nan)
    return smoothed.astype(labels.dtype)


def masked_mean(values, where, weights):
    values = arguments.as_floating(values, "values")
    if where is not None:
        where = arguments.as_boolean(where, "where")
        arguments.check_same_shape(values, where, "values", "where")
    if weights is not None:
        weights = arguments.as_real(weights, "weights")
        arguments.check_same_shape(values, weights, "values", "weights")
        if not arguments.is_traced(weights) and (np.asarray(weights) < 0).any():
            raise ValueError("weights must not be negative.")
    return _masked_mean(values, where, weights)


@jax.jit
def _masked_mean(values, where, weights):
    v = values.astype(arguments.compute_dtype(values.dtype))
    w = jnp.ones_like(v) if weights is None else weights.astype(v.dtype)
    w = w if where is None else jnp.where(where, w, 0.0)
    weight = jnp.sum(w)
    # finite values stay where their weight is 0: the derivative by that weight needs them
    total = jnp.sum(w * jnp.where((w == 0) & ~jnp.isfinite(v), 0.0, v))
    mean = total / jnp.where(weight == 0, 1.0, weight)
    return jnp.where(weight == 0, 0.0, mean).astype(values.dtype)
