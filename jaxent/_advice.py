"""What to say to the author of a loss that is no ``loss(logits, targets)`` of one example."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from jaxent._examples import PYTHON_LOOKS

# The first class of which an error is an instance has the words: subclasses come first.
_OUT_OF_JAX: dict[type[Exception], str] = {
    jax.errors.TracerArrayConversionError: "use jax.numpy in it, not NumPy",
    jax.errors.TracerBoolConversionError: (
        "use jnp.where or jax.lax.cond in it, not a Python if, and, or, min, max or while on values"
    ),
    jax.errors.TracerIntegerConversionError: (
        "use jnp.take or jax.lax.fori_loop in it, not a Python index or range on values"
    ),
    jax.errors.NonConcreteBooleanIndexError: "use jnp.where in it, not a boolean mask as an index",
    jax.errors.ConcretizationTypeError: (
        "use jax.numpy in it, not float(), int(), bool() or .item() on values"
    ),
}
PROBABILITIES = (
    "wants probabilities, not logits, as it is finite at softmax(logits) and not at the logits: "
    "wrap it as lambda logits, targets: loss(jax.nn.softmax(logits), targets)"
)
_LABELS = "one integer label an example"


class _Form(NamedTuple):
    """Another way to call a loss: what it takes then, and its arguments in words."""

    taken: str
    call: str
    batch: bool
    labels: bool

    def arguments(self, num_classes: int, size: int, dtype: Any) -> list[jax.ShapeDtypeStruct]:
        """Logits and targets, [B, C] if it takes a batch, the targets of a dtype."""
        of_batch, classes = (size,) * self.batch, (num_classes,)
        of_targets = of_batch if self.labels else (*of_batch, *classes)
        return [
            jax.ShapeDtypeStruct((*of_batch, *classes), jnp.float64),
            jax.ShapeDtypeStruct(of_targets, dtype),
        ]


_FORMS = (
    _Form("", "logits, targets", False, False),
    _Form(_LABELS, "logits, targets.argmax()", False, True),
    _Form("a batch, [B, C] and [B, C]", "logits[None], targets[None]", True, False),
    _Form(
        f"a batch, [B, C], and {_LABELS}, [B]",
        "logits[None], targets.argmax()[None]",
        True,
        True,
    ),
)
_OF_TRAINING = {"params", "parameters", "variables", "weights", "model", "state", "batch", "data"}
_NO_ARRAYS = ("string indexing", "Tracer' object", "Tracer has no attribute", "to unpack")


def advice(loss: Callable[..., Any], error: Exception, num_classes: int) -> str:
    """What a loss that raised is, and what to do: words to follow its name, "" if unknown.

    Args:
        loss: that was called as ``loss(logits, targets)`` on one example, [C] and [C].
        error: that it raised.
        num_classes: C.
    """
    if isinstance(error, PYTHON_LOOKS):
        words = next(words for kind, words in _OUT_OF_JAX.items() if isinstance(error, kind))
        return f"cannot be traced by JAX: {words}"
    wanted = f"(logits, targets) of one example, arrays of shape ({num_classes},), are wanted"
    does, call = _form(loss, num_classes, wanted)
    if call:
        return f"{does}: wrap it as lambda logits, targets: {call}"
    names = [parameter.name for parameter in _parameters(loss)[:2]]
    if {*names} & _OF_TRAINING or any(words in str(error) for words in _NO_ARRAYS):
        return (
            f"takes ({', '.join(names)}), where {wanted}: move what compares predictions with "
            f"targets into a function of (logits, targets), and call that function in training "
            f"with the logits of your model"
        )
    return ""


def wants_probabilities(
    call: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    found: tuple[np.ndarray, np.ndarray],
    logits: np.ndarray,
    targets: np.ndarray,
) -> bool:
    """Whether a loss fails at logits as such, and works at every Q = softmax(logits).

    Args:
        call: values and gradients of many examples, [N, C] and [N, C] to [N] and [N, C].
        found: the same at the logits.
        logits, targets: examples, [N, C], their logits a few units apart, some negative.
    """

    def works(values: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        return np.isfinite(values) & np.isfinite(gradients).all(-1)

    if works(*found).all():
        return False
    return bool(works(*call(softmax(logits, axis=-1), targets)).all())


def _form(loss: Callable[..., Any], num_classes: int, wanted: str) -> tuple[str, str]:
    """(what a loss does otherwise, how it is called), where it works when called in another way."""
    prefixes, by_name = ("", ""), ""
    needed = [one for one in _parameters(loss) if one.default is one.empty]
    if len(needed) == 2 and all(one.kind is one.KEYWORD_ONLY for one in needed):
        prefixes, by_name = (f"{needed[0].name}=", f"{needed[1].name}="), " by name"

    def called(z: Any, p: Any) -> Any:
        return loss(**{one.name: x for one, x in zip(needed, (z, p), strict=True)})

    def result(form: _Form, size: int, dtype: Any) -> Any:
        """What the loss returns, a shape and a dtype; None if it raises or is no loss."""
        arguments = form.arguments(num_classes, size, dtype)
        try:
            with jax.enable_x64(True):
                found = jax.eval_shape(called if by_name else loss, *arguments)
        except Exception:  # a loss that is called in a wrong way may raise anything
            return None
        first: Any = found[0] if isinstance(found, tuple | list) and found else found
        shapes = [(), (size,)] if form.batch else [()]
        is_loss = getattr(first, "shape", None) in shapes
        return found if is_loss and jnp.issubdtype(first.dtype, jnp.floating) else None

    for form in _FORMS:
        dtype = jnp.int32 if form.labels else jnp.float64
        found = result(form, 1, dtype)
        # what works by chance, as a label is broadcast and a slice may be as long as it is
        chance = form.labels and result(form, 1, jnp.float64) is not None
        if found is None or chance or (form.batch and result(form, 5, dtype) is None):
            continue
        several = isinstance(found, tuple | list)
        does = f"takes {form.taken or 'its arguments'}{by_name}, where {wanted}"
        if not form.taken and not by_name:
            if not several:  # it works as it should be called
                break
            does = "returns more than a scalar"
        shape = (found[0] if several else found).shape
        words = ", ".join(map("".join, zip(prefixes, form.call.split(", "), strict=True)))
        return does, f"loss({words}){'[0]' * several}{'[0]' if shape else ''}"
    return "", ""


def _parameters(loss: Callable[..., Any]) -> list[inspect.Parameter]:
    bound = loss.keywords if isinstance(loss, functools.partial) else {}
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one for one in parameters if one.name not in bound]
