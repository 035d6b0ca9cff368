"""Losses as they are named on the command line, and what to say where a name leads to none.

    softmax_brier_score                       of jaxent.losses
    generalized_cross_entropy:exponent=0.5    with options
    package.module:function                   of a module
    path/to/file.py:function:T=2              of a file

Nothing here loads JAX before a loss is read.
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxent._words import vector

if TYPE_CHECKING:
    import numpy as np

    from jaxent._examples import Loss

_PACKAGE = Path(__file__).parent


class Refusal(Exception):
    """What is wrong with the input, and what is allowed."""


def suggestion(word: str, known: Sequence[str], otherwise: str) -> str:
    """What may have been meant by a word that is not known."""
    close = difflib.get_close_matches(word, known, n=1)
    close = close or [name for name in known if len(word) > 1 and word in name]
    return f"did you mean {close[0]}?" if close else otherwise


class Given(NamedTuple):
    """A loss as it was named.

    Attributes:
        words: that named it.
        name: to be shown.
        loss: of one example.
        binary: whether it looks at two classes only.
        folder: where its code is; None for a loss that is built in.
    """

    words: str
    name: str
    loss: "Loss"
    binary: bool
    folder: Path | None


def read_losses(words: Sequence[str]) -> list[Given]:
    """The losses that were named, under names that differ."""
    load = functools.cache(_load_module)  # a file with two losses is run once
    given = [_read_loss(one, load) for one in dict.fromkeys(words)]
    times = Counter(one.name for one in given)
    return [one._replace(name=one.words) if times[one.name] > 1 else one for one in given]


def _read_loss(words: str, load: Callable[[str], ModuleType]) -> Given:
    from jaxent import _catalogue as catalogue

    place, *options = re.split(r":(?=\w+=)", words, maxsplit=1)
    source, _, name = (place, "", "") if place.endswith(".py") else place.rpartition(":")
    built_in = catalogue.built_in()
    folder = None
    if source in built_in or re.search(r"\.py:\w+$", source):
        raise Refusal(f"{words}: options are written {source}:NAME=NUMBER, separated by commas")
    if source:
        module = load(source)
        name, function = _function_of(module, source, name)
        file = getattr(module, "__file__", None)
        folder = Path(file).parent if file else None
    elif place in built_in:
        function = built_in[place]
    else:
        otherwise = "jaxent list names them, and your own is written path/to/file.py:function"
        meant = suggestion(place, [*built_in], otherwise)
        if re.fullmatch(r"\w+(\.\w+)+", place):
            meant = f"did you mean {':'.join(place.rsplit('.', 1))}, the function of a module?"
        raise Refusal(f"no loss is called {place}; {meant}")
    for text in options:
        function = functools.partial(function, **_read_options(text, place, function))
        name = f"{name}({text.replace(',', ', ')})"
    loss = catalogue.of_one_example(function)
    return Given(words, name, loss, catalogue.is_binary(function), folder)


def _function_of(module: ModuleType, source: str, name: str) -> tuple[str, Callable]:
    """A function of a module by name, or without a name its only one."""
    functions = {
        known: member
        for known, member in vars(module).items()
        if not known.startswith("_") and inspect.isfunction(inspect.unwrap(member))
    }
    own = [known for known in functions if functions[known].__module__ == module.__name__]
    has = f"it has {', '.join(own)}" if own else "it has none of its own"
    if not name and len(own) == 1:
        name = own[0]
    if not name:
        raise Refusal(f"{source} needs the name of a function, {source}:function; {has}")
    if not hasattr(module, name):
        raise Refusal(f"{source} has no function {name}; {suggestion(name, [*functions], has)}")
    function = getattr(module, name)
    if not callable(function):
        kind = type(function).__name__
        raise Refusal(
            f"{source}:{name} must be a function of (logits, targets), not of type {kind}"
        )
    return name, function


def options_of(function: Callable) -> dict[str, Any]:
    """The parameters besides logits and targets that can be a number, and their defaults."""
    return {
        parameter.name: parameter.default
        for parameter in [*inspect.signature(function).parameters.values()][2:]
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter.name not in ("axis", "where")
    }


def _read_options(text: str, place: str, function: Callable) -> dict[str, int | float]:
    try:
        known = [*options_of(function)]
    except ValueError:
        raise Refusal(f"{place} does not tell which options it has") from None
    has = f"it has {', '.join(known)}" if known else "it has none"
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    options: dict[str, int | float] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if not equals:
            raise Refusal(f"{place}: options are written NAME=NUMBER, separated by commas")
        if name in options:
            raise Refusal(f"{place}: option {name} is given twice")
        if name not in known and not takes_any:
            raise Refusal(f"{place} has no option {name}; {suggestion(name, known, has)}")
        try:
            options[name] = int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        except ValueError:
            raise Refusal(f"{place}: option {name} must be a number, not {value!r}") from None
    return options


def _load_module(source: str) -> ModuleType:
    """The module that a path or a dotted name leads to."""
    if source.endswith(".py") or os.sep in source:
        path = Path(source).resolve()
        if path.suffix != ".py" or not path.is_file():
            there = [str(Path(source).with_name(file.name)) for file in path.parent.glob("*.py")]
            otherwise = "losses are read from a file that ends in .py"
            raise Refusal(f"there is no file {source}; {suggestion(source, there, otherwise)}")
        folder, run = path.parent, functools.partial(_run_file, path)
    else:
        folder, run = Path.cwd(), functools.partial(importlib.import_module, source)
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        return run()
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{source}.".startswith(f"{missing}."):
            raise Refusal(
                f"there is no module {missing}, neither in the current folder nor installed"
            ) from error
        raise Refusal(f"{source} cannot be imported:\n{_told(error, folder)}") from error


def _run_file(path: Path) -> ModuleType:
    """A file as a module, which finds its neighbours as a script would."""
    name = str(path).replace(".", "_")  # which no other module has
    before = {*sys.modules, name}
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    finally:
        sys.path.remove(str(path.parent))
        # files of other folders may have neighbours of the same names
        new = {other: sys.modules[other] for other in set(sys.modules) - before}
        for other in [other for other in new if _lies_in(path.parent, new[other])]:
            del sys.modules[other]
    return module


def _is_own(path: Path, folder: Path | None) -> bool:
    """Whether a path is in a folder, and not in what is installed below it."""
    if folder is None or not path.is_relative_to(folder) or path.is_relative_to(_PACKAGE):
        return False
    return "site-packages" not in path.relative_to(folder).parts


def _lies_in(folder: Path, module: ModuleType) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(place and _is_own(Path(place), folder) for place in places)


def _own_frames(error: BaseException, folder: Path | None) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if _is_own(Path(frame.filename), folder)]


def _told(error: BaseException, folder: Path | None) -> str:
    """An error, and the last line of the code in a folder that led to it."""
    story = traceback.TracebackException.from_exception(error)
    story.__notes__ = None  # JAX's, on lines of its own that it leaves out
    frame = traceback.format_list(_own_frames(error, folder)[-1:])
    return "".join([*frame, *story.format_exception_only()]).rstrip()


def evaluate(
    given: Given, logits: "np.ndarray", targets: "np.ndarray"
) -> "tuple[np.ndarray, np.ndarray]":
    """Values and gradients of a loss at several examples; what is no loss is refused."""
    found = _call(given, logits, targets)
    _check_finite_somewhere(given, logits, targets, *found)
    return found


def _wanted(given: Given, classes: int) -> str:
    return (
        f"{given.words} must be a function of (logits, targets) of one example, arrays of shape "
        f"({classes},) and ({classes},), that returns a floating-point scalar"
    )


def _check_finite_somewhere(
    given: Given,
    logits: "np.ndarray",
    targets: "np.ndarray",
    values: "np.ndarray",
    gradients: "np.ndarray",
) -> None:
    import numpy as np

    if not (np.isfinite(values) & np.isfinite(gradients).all(-1)).any():
        raise Refusal(
            f"{_wanted(given, logits.shape[-1])}, finite with a finite gradient, but it is so at "
            f"none of {len(values)} points: at logits {vector(logits[0])} and targets "
            f"{vector(targets[0])} they are {values[0]:.3g} and {vector(gradients[0])}"
        )


def _call(
    given: Given, logits: "np.ndarray", targets: "np.ndarray", *, untraced: bool = False
) -> "tuple[np.ndarray, np.ndarray]":
    """The same, finite or not; a loss may be called eagerly where it may stay `untraced`."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxent._advice import advice
    from jaxent._examples import PYTHON_LOOKS, jit_quickly

    classes = logits.shape[-1]
    must = _wanted(given, classes)

    def value(z, p):
        result = given.loss(z, p)
        if not isinstance(result, jax.Array | np.ndarray | np.generic | float | int):
            kind, wrap = type(result).__name__, ""
            if isinstance(result, tuple | list) and result and jnp.shape(result[0]) == ():
                wrap = ": wrap it as lambda logits, targets: loss(logits, targets)[0]"
            raise Refusal(f"{must}, but it returned a {kind}{wrap}")
        if jnp.shape(result) != () or not jnp.issubdtype(jnp.result_type(result), jnp.floating):
            kind = jnp.result_type(result).name
            raise Refusal(f"{must}, but it returned shape {jnp.shape(result)} of {kind}")
        return result

    def one_by_one(logits, targets):
        pairs = [jax.value_and_grad(value)(*pair) for pair in zip(logits, targets, strict=True)]
        return tuple(map(np.stack, zip(*pairs, strict=True)))

    try:
        with jax.enable_x64(True):
            try:
                run = jit_quickly(jax.vmap(jax.value_and_grad(value)))
                values, gradients = jax.tree.map(np.asarray, run(logits, targets))
            except PYTHON_LOOKS:
                if not untraced:
                    raise
                values, gradients = one_by_one(jnp.asarray(logits), jnp.asarray(targets))
    except Refusal:
        raise
    except Exception as error:
        if given.folder is not None:
            said = advice(given.loss, error, classes)
            if said:
                at = (
                    _own_frames(error, given.folder)[-1:] if isinstance(error, PYTHON_LOOKS) else []
                )
                line = f" ({Path(at[0].filename).name}, line {at[0].lineno})" if at else ""
                raise Refusal(f"{given.words} {said}{line}") from error
            raise Refusal(f"{must}, but it raised:\n{_told(error, given.folder)}") from error
        if isinstance(error, TypeError | ValueError):  # what is wrong is an option
            raise Refusal(f"{given.words}: {error}") from error
        raise
    return values, gradients


def one_hot(labels: "np.ndarray", classes: int) -> "np.ndarray":
    import numpy as np

    return (labels[:, None] == np.arange(classes)).astype(float)


def try_out(
    given: Given,
    classes: int,
    target: Sequence[float] | None = None,
    *,
    untraced: bool = False,
) -> None:
    """Refuse what is no loss, before anything that takes long is done with it."""
    _check_finite_somewhere(given, *check_takes_logits(given, classes, target, untraced=untraced))


def check_takes_logits(
    given: Given,
    classes: int,
    target: Sequence[float] | None = None,
    *,
    untraced: bool = False,
) -> "tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]":
    """Refuse a loss of probabilities; eight examples, and its values and gradients there."""
    import numpy as np

    from jaxent._advice import PROBABILITIES, wants_probabilities

    logits = np.random.default_rng(0).normal(size=(8, classes))
    certain = one_hot(np.arange(8) % classes, classes)
    targets = certain if target is None else np.tile(target, (8, 1))
    call = functools.partial(_call, given, untraced=untraced)
    found = call(logits, targets)
    if wants_probabilities(call, found, logits, targets):
        raise Refusal(f"{given.words} {PROBABILITIES}")
    return logits, targets, *found


@contextlib.contextmanager
def blaming(given: Sequence[Given]) -> Iterator[None]:
    """Turn an error that comes out of the code of one of the losses into a refusal of it."""
    try:
        yield
    except Exception as error:
        for one in given:
            if _own_frames(error, one.folder):
                raise Refusal(f"{one.words} raised:\n{_told(error, one.folder)}") from error
        raise
