"""Cross-entropy of integer labels: without a one-hot P, and with one sum.

The label's own term is left out of the sum of exponentials. So the sum of the others is either the
whole tail, or holds the top class.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxent import _softmax as softmax
from jaxent._passes import where_possible
from jaxent._softmax import are_few, are_small, batched_as_rows, expand, sums


def class_index(axes, shape):
    """For every logit the number of its class, counted over `axes` in their order."""
    index, stride = jnp.zeros([1] * len(shape), jnp.int32), 1
    for axis in reversed(axes):
        one = jnp.arange(shape[axis], dtype=jnp.int32) * stride
        index = index + one.reshape([-1 if other == axis else 1 for other in range(len(shape))])
        stride *= shape[axis]
    return jnp.broadcast_to(index, shape)


def is_label(axes, shape, labels):
    return class_index(axes, shape) == expand(labels, axes)


def at_label(axes, v, labels):
    """v at the label; of a label that names no class, at any class or 0."""
    if len(axes) > 1 or are_few(axes, v.shape):
        return jnp.sum(jnp.where(is_label(axes, v.shape, labels), v, 0.0), axes)
    return softmax.at_class(axes[0], v, expand(labels, axes))


def _label_top(axes, z, labels):
    """max z, and NaN where the label names no class of a row that has a possible one."""
    top = softmax.top_logit(axes, z)
    names_a_class = (labels >= 0) & (labels < softmax.classes(axes, z.shape))
    return jnp.where(names_a_class | (top == -jnp.finfo(z.dtype).max), top, jnp.nan)


def _label_terms(top, at_label, others):
    """(value, Σ e) from the sum of the others' e."""
    below = top - jnp.where(at_label < top, at_label, top)
    own = jnp.exp(-below)
    normalizer = others + own
    return where_possible(normalizer, below + jnp.log1p(others + (own - 1))), normalizer


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def label_cross_entropy(axes, z, labels):
    """−log q at the label."""
    return batched_as_rows(_label_values, axes, z, labels)


def _label_values(axes, z, labels):
    few = are_few(axes, z.shape, stored=False) or are_small(z.shape)
    if few or softmax.classes(axes, z.shape) > 2**24 or len(axes) > 1:
        return _label_values_and_gradients(axes, z, labels)[0]
    top = _label_top(axes, z, labels)
    # e ≤ 1 ≤ |k − y| for the classes k ≠ y, so this minimum is e without the label's own
    apart = jnp.abs(class_index(axes, z.shape).astype(z.dtype) - expand(labels, axes))
    others = jnp.sum(jnp.minimum(jnp.exp(softmax.below(axes, z, top)), apart), axes)
    return _label_terms(top, at_label(axes, z, labels), others)[0]


@label_cross_entropy.defjvp
def _label_cross_entropy_jvp(axes, primals, tangents):
    (z, labels), (z_dot, _) = primals, tangents
    value, others, own = _label_parts(axes, z, labels)
    return value, _label_slope(axes, others, own, z_dot, labels)


def _label_slope(axes, others, own, z_dot, labels):
    return jnp.sum(others * z_dot, axes) + own * at_label(axes, z_dot, labels)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _label_parts(axes, z, labels):
    return batched_as_rows(_label_values_and_gradients, axes, z, labels)


def _label_values_and_gradients(axes, z, labels):
    """The value, q without the label's own, and q − 1 at the label: in two parts, because XLA on
    CPUs puts one number a row into a stored array faster than it selects from two arrays."""
    top = _label_top(axes, z, labels)
    e = jnp.exp(softmax.below(axes, z, top))
    label = is_label(axes, z.shape, labels)
    if are_few(axes, z.shape):
        e = jnp.where(label, 0.0, e)
        others, at = sums(axes, e, jnp.where(label, z, 0.0))
    else:
        if len(axes) > 1:
            e = jnp.where(label, 0.0, e)
        else:
            index = expand(labels, axes)
            e = jnp.put_along_axis(e, index, 0.0, axes[0], inplace=False, mode="clip")
        others, at = jnp.sum(e, axes), at_label(axes, z, labels)
    value, normalizer = _label_terms(top, at, others)
    scale = 1 / jnp.where(normalizer == 0, 1.0, normalizer)
    return value, e * expand(scale, axes), -others * scale


@_label_parts.defjvp
def _label_parts_jvp(axes, primals, tangents):
    # beyond the first derivative, a label is a one-hot P
    (z, labels), (z_dot, _) = primals, tangents
    value, others, own = _label_parts(axes, z, labels)
    value_dot = _label_slope(axes, others, own, z_dot, labels)
    gradient_dot = softmax.tangent(axes, z, z_dot)
    others_dot = jnp.where(is_label(axes, z.shape, labels), 0.0, gradient_dot)
    own_dot = at_label(axes, gradient_dot, labels)
    return (value, others, own), (value_dot, others_dot, own_dot)
