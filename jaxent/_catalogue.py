"""Losses as people hand them over: one or several, with or without names, built in or their own.

What looks at a loss calls it as `loss(logits, targets)` on one example of C classes. Three of the
losses of `jaxent.losses` are called otherwise, and stand here in that form.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping

from jax import Array

from jaxent import _arguments as arguments
from jaxent import losses
from jaxent._examples import Loss

HELPERS = ("masked_mean", "smooth_labels")
BINARY = ("sigmoid_binary_cross_entropy", "sigmoid_squared_error")
INTEGER_LABELS = "softmax_cross_entropy_with_integer_labels"


def built_in() -> dict[str, Callable[..., Array]]:
    """The losses of `jaxent.losses` by name, in the order in which they are written there."""
    return {
        name: member
        for name, member in vars(losses).items()
        if inspect.isfunction(member)
        and member.__module__ == losses.__name__
        and not name.startswith("_")
        and name not in HELPERS
    }


def is_binary(loss: Callable[..., Array]) -> bool:
    """Whether this is a loss of one logit, with options bound or without."""
    return _unbound(loss) in [getattr(losses, name) for name in BINARY]


def of_one_example(loss: Callable[..., Array]) -> Loss:
    """The same loss as a function of C logits and a P over C classes.

    A binary loss reads the gap z₁ − z₀ against p₁. Integer-label cross-entropy is its dense twin,
    which says the same of a P that is all on one class. Any other loss is what it is.
    """
    if is_binary(loss):

        @functools.wraps(_unbound(loss))
        def of_two_logits(logits: Array, targets: Array) -> Array:
            return loss(logits[1] - logits[0], targets[1])

        return of_two_logits
    if _unbound(loss) is getattr(losses, INTEGER_LABELS):
        return losses.softmax_cross_entropy
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
