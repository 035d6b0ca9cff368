"""Every sentence that bad input is answered with, and the input that is not bad after all."""

import re
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxent import _arguments as arguments

CLASSES_LAST = (1,)


def zeros(shape, dtype: type = float):
    """JAX's array of NumPy's, which compiles nothing."""
    return jnp.asarray(np.zeros(shape, dtype))


LOGITS = zeros((3, 4))


def refused(error, message):
    """Expect the whole message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


# Functions and counts


def test_a_function_is_called_by_its_name_and_the_options_bound_to_it():
    def power(x, exponent=1, *, scale=1):
        return scale * x**exponent

    class Callable:
        def __call__(self, x):
            return x

    assert arguments.name_of(power) == "power"
    assert arguments.name_of(partial(power, 2.0, scale=3)) == "power(2.0, scale=3)"
    assert arguments.name_of(partial(partial(power, scale=3), exponent=2)) == (
        "power(scale=3, exponent=2)"
    )
    assert arguments.name_of(Callable()) == "Callable"


def test_counts_are_whole_numbers_within_their_bounds():
    arguments.check_count(np.int64(3), "steps")
    for count in (3.0, True, "3"):
        with refused(TypeError, f"steps must be an int, but it is {count!r}."):
            arguments.check_count(count, "steps")
    with refused(ValueError, "steps must be at least 1, but it is 0."):
        arguments.check_count(0, "steps")
    with refused(ValueError, "steps must be at least 2 and at most 5, but it is 6."):
        arguments.check_count(6, "steps", least=2, most=5)


@pytest.mark.parametrize("spread", ["all", "", None, 1])
def test_a_mistake_is_spread_evenly_or_lies_on_one_class(spread):
    with refused(ValueError, f'spread must be "even" or "one", but it is {spread!r}.'):
        arguments.check_spread(spread)
    for right in get_args(arguments.Spread):
        arguments.check_spread(right)


# Dtypes


def test_logits_are_floating_point():
    message = "logits must be floating point, but their dtype is int32."
    with refused(TypeError, message):
        arguments.as_floating(zeros(3, int), "logits")
    with refused(TypeError, message.replace("int32", "bool")):
        arguments.as_floating(np.array([True, False]), "logits")
    with refused(TypeError, message.replace("int32", "complex64")):
        arguments.as_floating(1j, "logits")
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        assert arguments.as_floating(zeros(3, dtype), "logits").dtype == dtype


def test_targets_are_real():
    with refused(TypeError, "targets must be real, but their dtype is complex64."):
        arguments.as_real(1j, "targets")
    for dtype in (bool, int, float):
        assert arguments.as_real(np.zeros(3, dtype), "targets").shape == (3,)


def test_masks_are_boolean():
    with refused(TypeError, "where must be boolean, but its dtype is int32."):
        arguments.as_boolean(np.array([0, 1]), "where")
    assert arguments.as_boolean(np.array([False, True]), "where").shape == (2,)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [False, True]], ids=["float", "bool"])
def test_labels_are_integers(labels):
    labels = jnp.asarray(np.array(labels))
    message = (
        f"labels must be integers that number the classes, but their dtype is {labels.dtype}; "
        "softmax_cross_entropy takes one label a class."
    )
    with refused(TypeError, message):
        arguments.as_labels(labels)
    for dtype in (jnp.int8, jnp.uint32):
        assert arguments.as_labels(zeros(3, dtype)).dtype == dtype


def test_constants_stay_concrete_under_jit():
    seen = []

    @jax.jit
    def look(x):
        seen.append(arguments.as_array(np.arange(3)))
        seen.append(arguments.as_mask(np.ones(3, bool), (3, 4), (1,)))
        assert arguments.is_traced(arguments.as_array(x))
        return x

    look(1.0)
    assert not any(map(arguments.is_traced, seen))


def test_kernels_compute_in_single_or_double_precision():
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        assert arguments.compute_dtype(jnp.dtype(dtype)) == jnp.float32
    assert arguments.compute_dtype(jnp.dtype("float64")) == jnp.float64


# Numbers


@pytest.mark.parametrize(
    ("bounds", "wrong", "message"),
    [
        ({"above": 0, "at_most": 1}, 0.0, "gamma must lie in (0, 1], but it is 0.0."),
        ({"above": 0, "at_most": 1}, 1.5, "gamma must lie in (0, 1], but it is 1.5."),
        ({"at_least": 0, "at_most": 1}, -0.5, "gamma must lie in [0, 1], but it is -0.5."),
        ({"at_least": 0}, -1, "gamma must lie in [0, ∞), but it is -1."),
        ({"above": 0}, 0, "gamma must lie in (0, ∞), but it is 0."),
        ({"at_least": 0}, float("nan"), "gamma must lie in [0, ∞), but it is nan."),
    ],
)
def test_numbers_lie_within_their_bounds(bounds, wrong, message):
    for each in (wrong, np.asarray(wrong), jnp.asarray(wrong)):
        with refused(ValueError, message):
            arguments.check_number(each, "gamma", **bounds)
    arguments.check_number(1.0, "gamma", **bounds)
    jax.jit(lambda x: arguments.check_number(x, "gamma", **bounds))(wrong)


def test_numbers_are_single_also_where_they_are_traced():
    message = "gamma must be a single number, but its shape is (2,)."
    with refused(ValueError, message):
        arguments.check_number(np.ones(2), "gamma")
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.jit(lambda x: arguments.check_number(x, "gamma"))(jnp.ones(2))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (1, "base must not be 1: it is no base of a logarithm."),
        (np.inf, "base must not be inf: it is no base of a logarithm."),
        (-2.0, "base must lie in (0, ∞), but it is -2.0."),
        (np.ones(2), "base must be a single number, but its shape is (2,)."),
    ],
    ids=str,
)
def test_bases_are_positive_numbers_other_than_one(base, message):
    with refused(ValueError, message):
        arguments.check_base(base)
    for right in (None, 2, np.e, 0.5):
        arguments.check_base(right)


# Shapes


@pytest.mark.parametrize("shape", [(3, 1), (4,), (1, 4), (3, 4, 1), ()], ids=str)
def test_shapes_are_the_same_and_nothing_is_broadcast(shape):
    message = (
        "logits and targets must have the same shape, nothing is broadcast, "
        f"but they have (3, 4) and {shape}."
    )
    with refused(ValueError, message):
        arguments.check_same_shape(LOGITS, zeros(shape), "logits", "targets")
    arguments.check_same_shape(LOGITS, LOGITS, "logits", "targets")


@pytest.mark.parametrize("shape", [(3, 1), (4,), (3, 4), ()], ids=str)
def test_labels_have_the_shape_of_the_logits_without_their_classes(shape):
    message = (
        "labels must have the shape of the logits without their class axis, (3,) for logits of "
        f"shape (3, 4), but they have {shape}."
    )
    with refused(ValueError, message):
        arguments.check_labels_shape(zeros(shape, int), LOGITS, CLASSES_LAST)
    arguments.check_labels_shape(zeros(3, int), LOGITS, CLASSES_LAST)


@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        (2, ValueError, "axis 2 is out of range for an array of 2 dimensions."),
        ((0, -3), ValueError, "axis -3 is out of range for an array of 2 dimensions."),
        ((1, -1), ValueError, "axis names an axis twice: (1, -1)."),
        (1.0, TypeError, "axis must be an int, a tuple of ints or None, but it is 1.0."),
        (True, TypeError, "axis must be an int, a tuple of ints or None, but it is True."),
        ([0, 1], TypeError, "axis must be an int, a tuple of ints or None, but it is [0, 1]."),
        (("x",), TypeError, "axis must be an int, a tuple of ints or None, but it is ('x',)."),
    ],
    ids=str,
)
def test_an_axis_names_an_axis(axis, error, message):
    with refused(error, message):
        arguments.as_axes(axis, (3, 4))


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(-1, (1,)), (0, (0,)), ((1, 0), (1, 0)), (None, (0, 1)), (np.int64(-2), (0,)), ((), ())],
    ids=str,
)
def test_axes_are_counted_from_the_front_in_the_order_given(axis, expected):
    received = arguments.as_axes(axis, (3, 4))
    assert received == expected
    assert all(type(one) is int for one in received)


def test_a_scalar_has_no_axis():
    with refused(ValueError, "The classes lie along an axis, but a scalar was given."):
        arguments.as_axes(-1, ())


def test_there_is_a_class():
    with refused(ValueError, "There must be at least one class along axis -1, not (3, 0)."):
        arguments.as_axes(-1, (3, 0))
    assert arguments.as_axes(-1, (0, 3)) == (1,)


# Masks


@pytest.mark.parametrize(
    ("shape", "axes", "mask", "expected"),
    [
        ((3, 4), (1,), (3,), (3, 1)),
        ((3, 4), (1,), (3, 1), (3, 1)),
        ((3, 4), (1,), (4,), (1, 4)),
        ((3, 4), (1,), (3, 4), (3, 4)),
        ((3, 4), (1,), (), (1, 1)),
        ((3, 4), (0,), (4,), (1, 4)),
        ((3, 3), (0,), (3,), (1, 3)),
        ((2, 3, 4), (0, 2), (3,), (1, 3, 1)),
        ((2, 3, 4), (2,), (2, 3), (2, 3, 1)),
        ((4,), (0,), (), (1,)),
    ],
    ids=str,
)
def test_a_mask_keeps_classes_or_examples(shape, axes, mask, expected):
    where = np.arange(np.prod(mask, dtype=int)).reshape(mask) % 2 == 0
    received_axes, received = arguments.as_axes_and_mask(axes, where, shape)
    assert received_axes == axes
    assert received is not None
    assert received.shape == expected
    np.testing.assert_array_equal(np.ravel(received), np.ravel(where))


def test_a_mask_that_could_keep_classes_or_examples_is_refused():
    message = (
        "where of shape (3,) could keep classes or examples of logits of shape (3, 3); write "
        "where[..., None] to keep examples, where[None, ...] to keep classes."
    )
    where = np.ones(3, bool)
    with refused(ValueError, message):
        arguments.as_mask(where, (3, 3), CLASSES_LAST)
    for right in (where[..., None], where[None, ...]):
        assert arguments.as_mask(right, (3, 3), CLASSES_LAST).shape == right.shape


@pytest.mark.parametrize("mask", [(2,), (4, 3), (1, 3, 4)], ids=str)
def test_a_mask_that_fits_nothing_is_refused(mask):
    message = f"where must broadcast to (3, 4) or have the result's shape (3,), but it has {mask}."
    with refused(ValueError, message):
        arguments.as_mask(np.ones(mask, bool), (3, 4), CLASSES_LAST)


# Contents


def check_labels(labels, where=None, logits=LOGITS, axes=CLASSES_LAST):
    arguments.check_labels(jnp.asarray(labels), where, logits, axes)


def impossible(row, *classes):
    """Logits by which these classes of a row, or all of them, cannot happen."""
    logits = np.array(LOGITS)
    logits[row, list(classes or range(4))] = -np.inf
    return jnp.asarray(logits)


@pytest.mark.parametrize("wrong", [-1, 4, 99])
def test_a_label_outside_its_range_is_named(wrong):
    message = (
        f"Labels must lie in [0, 4), but the label of example 1 is {wrong}: "
        f"where=labels != {wrong} leaves such examples out."
    )
    with refused(ValueError, message):
        check_labels([0, wrong, 3])
    check_labels([0, 2, 3])
    jax.jit(check_labels)([0, wrong, 3])


def test_a_label_in_a_batch_of_many_axes_is_named_by_all_of_them():
    message = "Labels must lie in [0, 4), but the label of example (1, 0) is 7: where=labels != 7 "
    message += "leaves such examples out."
    with refused(ValueError, message):
        check_labels([[0, 1], [7, 3]], logits=zeros((2, 2, 4)), axes=(2,))
    message = (
        "Labels must lie in [0, 8), but the label of example 1 is 8: where=labels != 8 leaves "
    )
    message += "such examples out."
    with refused(ValueError, message):
        check_labels([0, 8], logits=zeros((2, 2, 4)), axes=(0, 2))


def test_a_mask_that_hides_the_label_is_refused():
    where = np.arange(4)[None] != 2
    message = (
        "where hides the label's own class in example 1 (label 2): "
        "its cross-entropy would be infinite."
    )
    with refused(ValueError, message):
        check_labels([0, 2, 3], where)
    check_labels([0, 1, 3], where)
    jax.jit(check_labels)([0, 2, 3], where)


def test_labels_along_several_axes_are_hidden_in_their_order():
    where = np.ones((2, 3, 4), bool)
    where[1, 0, 2] = False
    logits = zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"example 0 \(label 6\)"):
        check_labels([6, 0, 0], where, logits, (0, 2))
    with pytest.raises(ValueError, match=r"example 0 \(label 5\)"):
        check_labels([5, 0, 0], where, logits, (2, 0))


def test_a_row_that_keeps_nothing_may_have_any_label():
    masked = np.array([[True], [False], [True]])
    check_labels([0, -1, 3], masked)
    check_labels([0, 99, 3], logits=impossible(1))
    check_labels([0, 99, 3], np.arange(4)[None] != 1, impossible(1, 0, 2, 3))


def test_an_empty_batch_has_no_wrong_label():
    check_labels(np.zeros(0, int), logits=zeros((0, 4)))


def check_mass(p, where, logits=None):
    arguments.check_mass_is_kept(jnp.asarray(p), where, CLASSES_LAST, logits)


def test_mass_on_a_hidden_class_is_refused():
    p, where = np.eye(4)[[0, 2, 3]], np.arange(4)[None] != 2
    message = "P has mass on a class that where hides, at (1, 2): keep the class or move its mass."
    with refused(ValueError, message):
        check_mass(p, where)
    with refused(ValueError, message):
        check_mass(p.astype(bool), where)
    with refused(ValueError, message):
        check_mass(np.where(p == 1, np.nan, 0.0) * ~where, where)
    check_mass(p * where, where)
    check_mass(p, None)
    jax.jit(check_mass)(p, where)


def test_a_row_that_keeps_nothing_may_have_mass_anywhere():
    p = np.eye(4)[[0, 2, 3]]
    check_mass(p, np.array([[True], [False], [True]]))
    where = np.arange(4)[None] != 2
    check_mass(p, where, impossible(1))
    with pytest.raises(ValueError, match=r"at \(1, 2\)"):
        check_mass(p, where, impossible(0))
