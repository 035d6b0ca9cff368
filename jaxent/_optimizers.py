"""Optimizers of optax that want more than a gradient, or whose parameters are more than a point."""

import inspect
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import PyTree


class WithSlow(NamedTuple):
    """The state of `optax.lookahead`, whose slow parameters are parameters to optax."""

    state: PyTree
    slow: PyTree


def adapted(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The optimizer, of the parameters of the objective alone, each step given what it asks for.

    Its update takes `value`, `grad` and `value_fn`, the objective as a function of the parameters.

    Raises:
        ValueError: by `init`, for an optimizer whose points are not those at which it is, or that
            is not given what it needs.
    """

    def init(params: PyTree) -> PyTree:
        if not is_lookahead:
            state = optimizer.init(params)
            _check(state)
            return state
        state = optimizer.init(optax.LookaheadParams.init_synced(params))
        _check(state)
        return WithSlow(state, params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        value_fn = extra["value_fn"]
        if any(isinstance(part, optax.contrib.SophiaState) for part in _parts(state)):
            extra["obj_fn"] = value_fn
        if not takes_all:
            extra["grad_fn"] = lambda params, step: jax.grad(value_fn)(params)
            extra = {name: one for name, one in extra.items() if name in names}
        if not is_lookahead:
            return optimizer.update(updates, state, params, **extra)
        pair = optax.LookaheadParams(fast=params, slow=state.slow)
        steps: Any
        try:
            steps, state_of_fast = optimizer.update(updates, state.state, pair, **extra)
        except TypeError as error:
            raise ValueError(
                "optimizer must not be optax.lookahead around a search or L-BFGS, since it hands "
                "them gradients alone: take a fast optimizer such as optax.sgd or optax.adam."
            ) from error
        return steps.fast, WithSlow(state_of_fast, optax.apply_updates(state.slow, steps.slow))

    # its state tells it as well, but is made of parameters that are pairs already
    is_lookahead = getattr(optimizer.init, "__qualname__", "").startswith("lookahead.")
    parameters = []
    if isinstance(optimizer, optax.GradientTransformationExtraArgs):
        parameters = [*inspect.signature(optimizer.update).parameters.values()]
    names = {one.name for one in parameters}
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return optax.GradientTransformationExtraArgs(init, update)


_KNOWN = optax.LookaheadState, optax.contrib.SAMState, optax.contrib.SophiaState


def _parts(state: PyTree) -> list[Any]:
    """The states of known optimizers in a state, and the other leaves."""
    return jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, _KNOWN))


def _check(state: PyTree) -> None:
    for part in _parts(state):
        is_sam = isinstance(part, optax.contrib.SAMState)
        if part is not state and (is_sam or isinstance(part, optax.LookaheadState)):
            name = "optax.contrib.sam" if is_sam else "optax.lookahead"
            raise ValueError(
                f"optimizer must not have {name} inside a chain or a wrapper, where it is not "
                f"given what it needs: make it the outermost, and the chain its optimizer."
            )
        if is_sam and part.cache is not None:
            raise ValueError(
                "optimizer must not be optax.contrib.sam with opaque_mode=False, since every other "
                "of its points is one that it goes up to: make it with opaque_mode=True."
            )
