"""Losses as people hand them over: one or several, with or without names, built in or their own.

What looks at a loss calls it as `loss(logits, targets)` on one example of C classes. Losses of one
logit and of integer labels are called otherwise, and are brought into that form here.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping

from jax import Array

from jaxent import _arguments as arguments
from jaxent import losses
from jaxent._examples import Loss


def built_in() -> dict[str, Callable[..., Array]]:
    """The losses of `jaxent.losses` by name, in the order in which they are written there.

    A loss is a function of logits first; the helpers of the module are not.
    """
    return {
        name: member
        for name, member in vars(losses).items()
        if inspect.isfunction(member)
        and member.__module__ == losses.__name__
        and next(iter(inspect.signature(member).parameters)) == "logits"
    }


def is_binary(loss: Callable[..., Array]) -> bool:
    """Whether this is a loss of one logit, with options bound or without: it has no axis."""
    function = _unbound(loss)
    return function in built_in().values() and "axis" not in inspect.signature(function).parameters


def of_one_example(loss: Callable[..., Array]) -> Loss:
    """The same loss as a function of C logits and a P over C classes.

    A binary loss reads the gap z₁ − z₀ against p₁. A loss of integer labels is its dense twin,
    which says the same of a P that is all on one class. Any other loss is what it is.
    """
    function = _unbound(loss)
    if is_binary(function):

        @functools.wraps(function)
        def of_two_logits(logits: Array, targets: Array) -> Array:
            return loss(logits[1] - logits[0], targets[1])

        return of_two_logits
    for name, member in built_in().items():
        if function is member and name.endswith("_with_integer_labels"):
            return getattr(losses, name.removesuffix("_with_integer_labels"))
    return loss


def named(given: Loss | Iterable[Loss] | Mapping[str, Loss]) -> dict[str, Loss]:
    """One loss or several, by name, each as a function of C logits and a P over C classes.

    Raises:
        TypeError: something that cannot be called stands where a loss should.
        ValueError: there is no loss, or two have the same name.
    """
    pairs: list[tuple[str, Loss]]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif callable(given):
        pairs = [(arguments.name_of(given), given)]
    elif isinstance(given, Iterable) and not isinstance(given, str):
        pairs = [(arguments.name_of(loss), loss) for loss in given]
    else:
        raise TypeError(
            f"losses must be a loss, several losses, or losses by name, but they are {given!r}."
        )
    if not pairs:
        raise ValueError("There must be at least one loss.")
    by_name: dict[str, Loss] = {}
    for name, loss in pairs:
        if not callable(loss):
            raise TypeError(f"A loss must be a function of (logits, targets), not {loss!r}.")
        if name in by_name:
            raise ValueError(
                f"Two losses are called {name}: tell them apart with a mapping "
                f'{{"one": first, "other": second}}.'
            )
        by_name[name] = of_one_example(loss)
    return by_name


def _unbound(loss: Callable[..., Array]) -> Callable[..., Array]:
    return _unbound(loss.func) if isinstance(loss, functools.partial) else loss
