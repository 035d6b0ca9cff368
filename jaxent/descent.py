"""Fit Q toward P, or any parameters toward less of an objective, and keep the path.

The whole descent, with whatever is recorded on the way, is one compiled loop, almost as fast as a
bare `jax.lax.scan`. For a handful of numbers a step costs a tenth of a microsecond, where a Python
loop over a jitted step costs ten microseconds or more.

For thousands of fits or escapes, take blocks: `jax.jit(lambda xs: jax.lax.map(one, xs,
batch_size=1000))`, where `one` makes a fit from one element of `xs`. A block stays in the cache of
the processor, which a `jax.vmap` over all of them leaves. `fit` has an example.

Compilation follows `jax.jit`. Calls with the very same objective (or loss), optimizer and record,
equal shapes and equal steps share one compiled program, so make these functions once, outside the
loop that calls, and do not change what they close over; the last 256 programs are kept. Under
`jax.vmap` or `jax.grad` each call compiles again, because the functions may then close over traced
values, a step size for instance; wrap what is called often in `jax.jit`, as in
`jax.jit(jax.vmap(…))`.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import reduce
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from jaxent import _arguments as arguments
from jaxent._arguments import Spread
from jaxent._examples import Loss, compiled
from jaxent._loop import Step, at_start, joined, walk
from jaxent._optimizers import adapted
from jaxent._softmax import residual

Record: TypeAlias = Callable[[PyTree, Array, PyTree], PyTree]
"""``record(params, value, grad)``: what to keep of one state, any pytree."""


class Status(IntEnum):
    """Why a descent ended. In results an int32 array, to be compared with `==`.

    Attributes:
        max_steps: all steps were taken.
        converged: `fit`: Q came within the tolerance of P. `escape_steps`: the truth caught up.
        small_gradient: the norm of the gradient is within the tolerance: at a minimum, or on a
            plateau.
        diverged: the next value or gradient is not finite. The last point at which both were is
            kept.
    """

    max_steps = 0
    converged = 1
    small_gradient = 2
    diverged = 3


class Descent(NamedTuple):
    """Where a descent ended, and what was recorded on the way.

    `record` holds the states before each update, `params` and `value` the one after the last:
    the first `steps_taken` rows, followed by `params`, are the whole path.

    Attributes:
        params: the last point at which value and gradient are finite.
        value: the objective at `params`.
        record: row k is what `record` gave before update k. Rows from `steps_taken` on are NaN.
        steps_taken: the number of updates that led to `params`.
        status: a `Status`.
    """

    params: PyTree
    value: Float[Array, ""]
    record: PyTree
    steps_taken: Int[Array, ""]
    status: Int[Array, ""]


class Escape(NamedTuple):
    """How long a confident mistake lasted.

    Attributes:
        steps: steps until the truth ties with the highest wrong logit; `max_steps` if it never
            does.
        status: a `Status`: `converged` for an escape, else `max_steps` or `diverged`.
    """

    steps: Float[Array, ""]
    status: Int[Array, ""]


# What may be recorded


def record_loss(params: PyTree, value: Float[Array, ""], grad: PyTree) -> Float[Array, ""]:
    """Record the value of the objective: a [steps] array.

    Args:
        params, value, grad: one state, as `descend` hands it over.

    Returns:
        The value, a scalar.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxent.descent import descend, record_loss
        >>> half = optax.sgd(0.25)  # halves x each step
        >>> print(descend(lambda x: x**2, jnp.array(1.0), half, steps=3, record=record_loss).record)
        [1.     0.25   0.0625]
    """
    return value


def record_gradient_norm(params: PyTree, value: Float[Array, ""], grad: PyTree) -> Float[Array, ""]:
    """Record the Euclidean norm of the gradient over all leaves: a [steps] array.

    It keeps its digits where the squares of the gradient would underflow or overflow. Half
    precision is summed in float32.

    Args:
        params, value, grad: one state, as `descend` hands it over.

    Returns:
        The norm, a scalar.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxent.descent import descend, record_gradient_norm
        >>> start, sgd = jnp.array([0.6, 0.8]), optax.sgd(0.25)
        >>> result = descend(lambda x: x @ x, start, sgd, steps=3, record=record_gradient_norm)
        >>> print(result.record)
        [2.  1.  0.5]
    """
    return _norm(grad)


def record_path(params: PyTree, value: Float[Array, ""], grad: PyTree) -> PyTree:
    """Record the parameters themselves: a leaf of shape S becomes one of shape [steps, *S].

    Args:
        params, value, grad: one state, as `descend` hands it over.

    Returns:
        The parameters.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxent.descent import descend, record_path
        >>> start, sgd = jnp.array([4.0, -4.0]), optax.sgd(0.25)
        >>> print(descend(lambda x: x @ x, start, sgd, steps=3, record=record_path).record)
        [[ 4. -4.]
         [ 2. -2.]
         [ 1. -1.]]
    """
    return params


# Descend and fit


def descend(
    objective: Callable[[PyTree], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    record: Record | None = record_loss,
    tolerance: ArrayLike | None = None,
    progress: Callable[[int], object] | None = None,
) -> Descent:
    """Minimise an objective from `params` with any optax optimizer, in one compiled loop.

        θₖ₊₁ = θₖ + uₖ,   uₖ = the optimizer's update for ∇f(θₖ),   k = 0 … steps − 1

    Line searches, L-BFGS, Sophia and SAM (with ``opaque_mode=True``) are given the value, the
    gradient and the objective that they ask for. With `optax.lookahead` the points are the fast
    parameters, which are the slow ones after each synchronisation.

    A batch under `jax.vmap` is as many independent descents, of which each has its own stop (by
    `tolerance`, or because something is not finite). Stops are found in parts of 10,000 to
    20,000 steps (longer beyond a million), and the parts after the last stop are skipped. The
    result can be differentiated, in reverse mode too, with respect to the start, and to whatever
    the objective and the optimizer close over.

    Args:
        objective: maps the parameters to a scalar.
        params: the start, a pytree of floating-point arrays.
        optimizer: an `optax.GradientTransformation`, with extra arguments or without.
        steps: the number of updates, and the length of the record. Static.
        record: what to keep of each state before its update, a function of (params, value, grad):
            `record_loss`, `record_gradient_norm`, `record_path`, one of your own that returns any
            pytree, or None. Ask for no more than you look at: as long as a step touches less than
            1 KB, XLA on CPU runs the loop as a single kernel, and a step costs a tenth. Static.
        tolerance: stop as soon as the norm of the gradient is no larger than this.
        progress: is called with the number of steps done since its last call, at most a hundred
            times and never for less than 1,000 steps. A progress bar is one line:
            `with tqdm(total=steps) as bar: descend(…, progress=bar.update)`. The result is the
            same to the last bit.

    Returns:
        A `Descent`. The point and the value are those after the last update, which is checked
        like all others: an update to a value or gradient that is not finite is taken back
        (at the start, whatever it is, there is nothing to take back: `steps_taken` is 0). The
        rows of the record for updates that were not made, or were taken back, are NaN; a record
        of integers or booleans has there what `jnp.take(…, mode="fill")` gives, the least signed
        or the largest unsigned integer, or True. (`jax_debug_nans` takes such rows for a bug.)

    Raises:
        TypeError: `steps` is no int, a leaf of `params` is not floating point, `optimizer` is no
            `optax.GradientTransformation`, or `record` or `progress` cannot be called.
        ValueError: `steps` is not positive, `tolerance` is negative or no scalar, the objective
            does not return a scalar, `progress` is asked for inside a JAX transformation, or the
            optimizer is SAM without ``opaque_mode=True``, or has SAM or `optax.lookahead` inside.

    Example:
        A quadratic with curvatures 1 and 10. Steps of 1/5.5 shrink both directions by
        (10 − 1)/(10 + 1) = 9/11 each time, the best that any fixed step can do.

        >>> import jax.numpy as jnp, optax
        >>> from jaxent.descent import Status, descend
        >>> def valley(x):
        ...     return (x["flat"] ** 2 + 10 * x["steep"] ** 2) / 2
        >>> start = {"flat": jnp.array(1.0), "steep": jnp.array(1.0)}
        >>> result = descend(valley, start, optax.sgd(1 / 5.5), steps=100, tolerance=1e-6)
        >>> Status(result.status).name, int(result.steps_taken)
        ('small_gradient', 81)
        >>> print(f"{result.record[1] / result.record[0]:.4f} = {(9 / 11) ** 2:.4f}")
        0.6694 = 0.6694
    """
    params, rule = _floating_leaves(params), _SMALL_GRADIENT
    return _descend(objective, (), params, optimizer, rule, steps, record, tolerance, progress)


def fit(
    loss: Loss,
    logits: Float[Array, "classes"],
    targets: Float[Array, "classes"],
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    record: Record | None = record_loss,
    tolerance: ArrayLike | None = None,
    progress: Callable[[int], object] | None = None,
) -> Descent:
    """Fit one distribution Q = softmax(logits) to P = targets by descent on the logits.

    This is `descend` on z ↦ loss(z, targets), except for what `tolerance` means: how near Q has
    come to P. A plateau, on which the gradient is small and Q far from P, is not an arrival.

    Args:
        loss: (logits, targets) → one value; called with two arrays of shape [C].
        logits: the start, [C], floating point.
        targets: P, [C]. Not checked to be a distribution; integers and booleans are cast.
        optimizer: as for `descend`.
        steps: as for `descend`.
        record: as for `descend`; `params` are the logits.
        tolerance: stop as soon as max|q − p| is no larger than this. The differences are exact
            also where Q is nearly certain. A loss that reads raw logits and not their softmax
            has its optimum elsewhere, and does not stop.
        progress: as for `descend`.

    Returns:
        A `Descent` whose `params` are the last logits, [C].

    Raises:
        TypeError: as for `descend`; or the logits are not floating point, or the targets not real.
        ValueError: as for `descend`; or the logits are not of shape [C], or the targets of another.

    Example:
        Cross-entropy comes down to the entropy of P, 0.8018 nats, and no further.

        >>> import jax, jax.numpy as jnp, optax
        >>> from jaxent.descent import fit
        >>> from jaxent.losses import softmax_cross_entropy
        >>> p = jnp.array([0.7, 0.2, 0.1])
        >>> result = fit(softmax_cross_entropy, jnp.zeros(3), p, optax.sgd(1.0), steps=100)
        >>> [round(float(q), 4) for q in jax.nn.softmax(result.params)]
        [0.7, 0.2, 0.1]
        >>> round(float(result.value), 4)
        0.8018

        Many fits are one program: batch whatever differs with `jax.vmap`, here the step size.

        >>> def steps_to_p(rate):
        ...     sgd = optax.sgd(rate)
        ...     run = fit(softmax_cross_entropy, jnp.zeros(3), p, sgd, steps=500, tolerance=1e-3)
        ...     return run.steps_taken
        >>> rates = jnp.array([0.1, 1.0, 4.0])
        >>> jax.vmap(steps_to_p)(rates)
        Array([317,  30,   5], dtype=int32)

        Thousands of fits are several times faster in blocks that fit into the processor's cache.

        >>> in_blocks = jax.jit(lambda rates: jax.lax.map(steps_to_p, rates, batch_size=1000))
        >>> in_blocks(rates)
        Array([317,  30,   5], dtype=int32)
    """
    logits = arguments.as_floating(logits, "logits")
    targets = arguments.as_real(targets, "targets")
    if logits.ndim != 1:
        raise ValueError(
            f"fit takes the logits of one distribution, of shape [C], but theirs is "
            f"{logits.shape}; batch it with jax.vmap."
        )
    arguments.check_same_shape(logits, targets, "logits", "targets")
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(logits.dtype)
    start, operands = _floating_leaves(logits), (targets,)
    rule = _CONVERGED
    return _descend(loss, operands, start, optimizer, rule, steps, record, tolerance, progress)


def _descend(
    objective, operands, params, optimizer, rule, steps, record, tolerance, progress
) -> Descent:
    _check_optimizer(optimizer)
    arguments.check_count(steps, "steps")
    for name, function, of in (
        ("record", record, "(params, value, grad)"),
        ("progress", progress, "a number of steps"),
    ):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function of {of} or None, but it is {function!r}.")
    if tolerance is None:
        rule = None
    else:
        arguments.check_number(tolerance, "tolerance", at_least=0)

    program, place, results = _begin, params, []
    shown = [(length,) for length in _parts(steps, least=1000)]
    for part in [_parts(steps, least=10_000)] if progress is None else shown:
        functions = (objective, optimizer, rule, record, part)
        place, result = compiled(program, functions, place, operands, tolerance)
        program = _advance
        results.append(result)
        if progress is not None:
            if any(map(arguments.is_traced, jax.tree.leaves(result))):
                raise ValueError("progress cannot be shown inside jit, vmap or grad.")
            jax.block_until_ready(result)
            progress(sum(part))
    return results[-1]._replace(record=joined([result.record for result in results]))


def _parts(steps: int, least: int) -> tuple[int, ...]:
    """About equal parts, at most 100, of no less than so many steps each (or all the steps)."""
    count = min(max(steps // least, 1), 100)
    shorter, longer = divmod(steps, count)
    return (shorter + 1,) * longer + (shorter,) * (count - longer)


def _begin(objective, optimizer, rule, record, lengths, params, operands, tolerance):
    place = at_start(params, adapted(optimizer).init(params))
    return _advance(objective, optimizer, rule, record, lengths, place, operands, tolerance)


def _advance(objective, optimizer, rule, record, lengths, place, operands, tolerance):
    def step(params, state, operands, tolerance):
        value, grad = _value_and_grad(objective, operands)(params)
        row = () if record is None else record(params, value, grad)
        new, state = _updater(objective, operands, optimizer)(params, state, value, grad)
        signal, may_end = value, None
        if rule is not None:
            signal = jnp.where(rule.holds(params, grad, operands, tolerance), jnp.inf, signal)
            may_end = rule.may_hold(params, grad, operands, tolerance)
        signal = jnp.where(_all_finite((value, grad)), signal, jnp.nan)
        return Step(new, state, value, signal, may_end, row)

    place, rows = walk(step, place, lengths, operands, tolerance)
    status = Status.max_steps
    if rule is not None:
        status = jnp.where(jnp.isinf(place.signal), rule.status, status)
    status = jnp.where(jnp.isnan(place.signal), Status.diverged, status).astype(jnp.int32)
    rows = None if record is None else rows
    return place, Descent(place.point, place.value, rows, place.steps_taken, status)


class _Rule(NamedTuple):
    """When a descent stops. `may_hold` is true wherever `holds` is, and costs less."""

    holds: Callable
    may_hold: Callable
    status: Status


def _gradient_is_small(params, grad, operands, tolerance):
    return _norm(grad) <= tolerance


def _q_is_near_p(logits, grad, operands, tolerance):
    logits, targets = _in_float32(logits), _in_float32(*operands)
    return jnp.max(jnp.abs(residual((0,), logits, targets))) <= tolerance


def _q_may_be_near_p(logits, grad, operands, tolerance):
    # Most losses compute this very softmax, and XLA computes it once.
    q, targets = jax.nn.softmax(_in_float32(logits)), _in_float32(*operands)
    rounding = (q.size + 16) * jnp.finfo(q.dtype).eps
    return jnp.max(jnp.abs(q - targets)) <= tolerance + (1 + tolerance) * rounding


def _in_float32(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


_SMALL_GRADIENT = _Rule(_gradient_is_small, _gradient_is_small, Status.small_gradient)
_CONVERGED = _Rule(_q_is_near_p, _q_may_be_near_p, Status.converged)


# Escape


def escape_steps(
    loss: Loss,
    margin: ArrayLike,
    optimizer: optax.GradientTransformation,
    *,
    num_classes: int = 2,
    spread: Spread = "even",
    max_steps: int = 1_000_000,
) -> Escape:
    """Count the steps that it takes to unlearn a confident mistake.

    The truth y starts `margin` m behind the highest wrong logit. It has escaped at the first tie:

        z_y ≥ max_{j≠y} zⱼ

    The crossing is interpolated linearly between the steps before and after it, so the count is
    not a whole number. For plain descent with rate η it is close to T/η, T the time that the
    gradient flow z′ = −∇loss takes, which is linear in m for cross-entropy, exponential in m for
    squared error on the softmax.

    Nothing is recorded, so 10⁸ steps need no more memory than one. But the many small updates are
    rounded to the digits of the logits: for squared error on the softmax, float32 is right to 3e-5
    at m = 8, off by 0.1 % (3 classes) to 4 % (10) at m = 10, and may never end at m = 12. Take a
    float64 margin there (`with jax.enable_x64(True):`).

    Args:
        loss: (logits, targets) → one value; called with two arrays of shape [C].
        margin: m ≥ 0, a scalar in logits. Its dtype is the one that is computed in (integers
            count as Python floats). Not checked when it is traced; batch it with `jax.vmap`.
        optimizer: as for `descend`.
        num_classes: C. The truth is class 0.
        spread: where the mistaken belief is. "even": all wrong logits are 0. "one": that of class
            1 is 0, the others are at the truth's height. The truth is at −m in both.
        max_steps: give up after as many steps.

    Returns:
        An `Escape`, its steps in the dtype of the margin or at least float32. Without an escape
        they are `max_steps`, also if the descent diverged: `status` tells them apart.

    Raises:
        TypeError: the margin is not real, `num_classes` or `max_steps` are no ints, or `optimizer`
            is no `optax.GradientTransformation`.
        ValueError: the margin is negative, NaN or no scalar, there are less than two
            classes, `spread` is neither of the two, `max_steps` is not positive or more than an
            int32 holds, or the loss does not return a scalar.

    Example:
        Twice the margin takes cross-entropy about twice as long, but squared error 43 times, on
        its way to the eᵐ of large margins.

        >>> import optax
        >>> from jaxent.descent import escape_steps
        >>> from jaxent.losses import softmax_brier_score, softmax_cross_entropy
        >>> sgd = optax.sgd(0.1)
        >>> for loss in softmax_cross_entropy, softmax_brier_score:
        ...     print([round(float(escape_steps(loss, m, sgd).steps)) for m in (4.0, 8.0)])
        [25, 45]
        [87, 3762]
    """
    _check_optimizer(optimizer)
    arguments.check_count(num_classes, "num_classes", least=2)
    arguments.check_count(max_steps, "max_steps", most=jnp.iinfo(jnp.int32).max)
    arguments.check_spread(spread)
    if np.ndim(margin) != 0:
        raise ValueError(
            f"margin must be a scalar, but its shape is {np.shape(margin)}; batch it with jax.vmap."
        )
    dtype = jnp.result_type(margin)
    if jnp.issubdtype(dtype, jnp.integer):
        dtype = jnp.result_type(float)
    elif not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"margin must be a real number, but its dtype is {dtype}.")
    arguments.check_number(margin, "margin", at_least=0)
    return compiled(
        _escape,
        (loss, optimizer, num_classes, spread),
        jnp.asarray(margin, dtype),
        np.int32(max_steps),
    )


def _escape(loss, optimizer, num_classes, spread, margin, max_steps) -> Escape:
    classes = jnp.arange(num_classes)
    targets = (classes == 0).astype(margin.dtype)
    behind = classes == 0 if spread == "even" else classes != 1
    start = jnp.where(behind, -margin, 0.0)
    value_and_grad = _value_and_grad(loss, (targets,))
    update = _updater(loss, (targets,), optimizer)

    def ahead(logits):
        return logits[0] - jnp.max(logits[1:])

    def is_behind(state):
        logits, _, steps, _ = state
        now = ahead(logits)
        return jnp.isfinite(now) & (now < 0) & (steps < max_steps)

    def step(state):
        logits, optimizer_state, steps, _ = state
        value, grad = value_and_grad(logits)
        then = ahead(logits)
        logits, optimizer_state = update(logits, optimizer_state, value, grad)
        return logits, optimizer_state, steps + 1, then

    # A previous lead of −1 makes the interpolation right for a tie at the start.
    then = jnp.full_like(margin, -1.0)
    state = start, adapted(optimizer).init(start), jnp.int32(0), then
    logits, _, steps, then = jax.lax.while_loop(is_behind, step, state)
    now = ahead(logits)
    finite = jnp.isfinite(now)
    escaped = finite & (now >= 0)
    dtype = jnp.promote_types(margin.dtype, jnp.float32)  # half precision counts to 2,048
    crossing = (steps - 1).astype(dtype) + then / (then - jnp.where(escaped, now, 0.0))
    status = jnp.where(escaped, Status.converged, Status.max_steps)
    return Escape(
        jnp.where(escaped, crossing, max_steps.astype(dtype)),
        jnp.where(finite, status, Status.diverged).astype(jnp.int32),
    )


# One update


def _value_and_grad(objective, operands):
    def scalar(params):
        value = jnp.asarray(objective(params, *operands))
        if value.shape != ():
            raise ValueError(
                f"Descent needs a scalar, but the objective returned shape {value.shape}."
            )
        return value

    return jax.value_and_grad(scalar)


def _updater(objective, operands, optimizer):
    def value_fn(params):
        return objective(params, *operands)

    rule = adapted(optimizer)

    def update(params, state, value, grad):
        updates, new_state = rule.update(
            grad, state, params, value=value, grad=grad, value_fn=value_fn
        )
        # A hyperparameter that is an array, as under vmap, would promote half precision.
        new_state = jax.tree.map(_as_precise_as, new_state, state)
        # To ask whether all are finite takes one more reduction, which makes small loops slow. But
        # 0 · x is NaN where x is not finite.
        finite = jax.tree.map(lambda g: 0 * g == (0 * value).astype(g.dtype), grad)
        params = optax.apply_updates(params, updates)
        return jax.tree.map(lambda it, x: jnp.where(it, x, jnp.nan), finite, params), new_state

    return update


def _as_precise_as(new, old):
    floating = jnp.issubdtype(new.dtype, jnp.floating) and jnp.issubdtype(old.dtype, jnp.floating)
    return new.astype(old.dtype) if floating else new


# Trees


def _norm(tree):
    leaves = [
        leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(tree)
    ]
    largest = reduce(jnp.maximum, [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves])
    largest = jax.lax.stop_gradient(largest)
    scale = jnp.where(largest > 0, largest, 1.0)
    # Without the barrier XLA multiplies the quotients of a constant gradient out, (a·a)/(s·s).
    shares = jax.lax.optimization_barrier([leaf / scale for leaf in leaves])
    total = reduce(jnp.add, [jnp.sum(share**2) for share in shares])
    # The inner select keeps the derivative of the root at zero out of the derivative of the norm.
    return largest * jnp.sqrt(jnp.where(largest > 0, total, 1.0))


def _all_finite(tree):
    return reduce(jnp.logical_and, [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)])


# Arguments


def _floating_leaves(params):
    def as_floating(path, leaf):
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            where = f" at {name}" if (name := jax.tree_util.keystr(path)) else ""
            raise TypeError(
                f"params must be floating point, but their dtype{where} is {array.dtype}."
            )
        # A Python number is weakly typed, and would change its type within the loop.
        return jax.lax.convert_element_type(array, array.dtype)

    return jax.tree_util.tree_map_with_path(as_floating, params)


def _check_optimizer(optimizer):
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "optimizer must be an optax.GradientTransformation such as optax.sgd(0.1), but it is "
            f"{optimizer!r}."
        )
