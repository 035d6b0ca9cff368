"""One web page to play with any loss: what does it do to my gradients?

`save_page` writes a file that a browser opens from disk. On it are Q and P, to be dragged in the
triangle of three classes and in a chart of their log-odds, and for each loss, live and side by
side, its value, its gradient in the three logits, the motion of Q, and the path and the number of
steps that descent takes. The file needs no server and no network, and asks for nothing.

The losses run in the page. They are translated from JAX to JavaScript, operation by operation, so
what is dragged is the function that was handed in and not a table of it, and holds for every Q
and P. (A loss that cannot be translated is a table, and the page says so and how far it is off.)
Numbers on the page are in double precision unless float32 is asked for, and each element that shows
one carries all of its digits in a `data-` attribute.

The folder `page/` is an ordinary page of HTML, CSS and JavaScript modules. Linters and editors read
it as it is, and follow a name from the module that exports it to those that import it. The modules
become one script here: each stands after those that it imports, without its `import` and `export`.
So they share one scope, in which no name is declared twice.
"""

import contextlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

import jaxent
from jaxent import _arguments as arguments
from jaxent import _catalogue, _javascript
from jaxent import _files as files
from jaxent._advice import PROBABILITIES, advice, wants_probabilities
from jaxent._examples import (
    PYTHON_LOOKS,
    Loss,
    jit_quickly,
    of_each_example,
    raw_logits_change,
)

TITLE = "What does this loss do to my gradients?"


def save_page(
    losses: Loss | Iterable[Loss] | Mapping[str, Loss],
    path: str | os.PathLike[str],
    *,
    target: Float[ArrayLike, "3"] | Sequence[float] = (1.0, 0.0, 0.0),
    title: str | None = None,
    float32: bool = False,
) -> Path:
    """Write one HTML file in which to play with a loss, or with several side by side.

    The page shows what the losses are at three classes, whatever number they are used at. A loss
    of one logit reads the gap z₁ − z₀ against p₁, and that of integer labels is its dense twin. A
    loss that reads raw logits, and not only Q = softmax(z), is recognised by its values and shown
    where the logits sum to zero, which the page says.

    Args:
        losses: a loss, several, or losses by name: `loss(logits, targets)` of one example, [3]
            and [3], a scalar.
        path: where to write. A file that is there is replaced, and only by a page that is whole.
        target: the P to begin with, three probabilities. A reader can drag it.
        title: of the page; "What does this loss do to my gradients?" if not given.
        float32: whether the losses and their gradients are computed in float32, every operation
            rounded, as JAX does it unless told otherwise: to see what rounding takes away.

    Returns:
        The path.

    Raises:
        OSError: there is no such folder, the path is a folder, or nothing can be written there.
            That is found out before anything is translated.
        TypeError: something that cannot be called stands where a loss should.
        ValueError: the path does not end in .html; there is no loss; two have the same name; a
            loss does not return a scalar, uses NumPy and not jax.numpy, wants probabilities and
            not logits, or is called in another way than `loss(logits, targets)`; or the target
            is not three probabilities that sum to 1.

    Example:
        Cross-entropy as it is often written by hand, beside the real one. Drag Q to the left in
        the chart of log-odds: where its probability of the truth is clipped, the bars of the
        first are suddenly gone.

        >>> import tempfile, jax, jax.numpy as jnp
        >>> from jaxent import losses, pages
        >>> def clipped(logits, targets):
        ...     q = jnp.clip(jax.nn.softmax(logits), 1e-4, 1.0)
        ...     return -jnp.sum(targets * jnp.log(q))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pages.save_page([clipped, losses.softmax_cross_entropy], f"{folder}/ce.html")
        ...     print(path.name, path.stat().st_size < 100_000)
        ce.html True
    """
    path = Path(path)
    if path.suffix.lower() != ".html" and not path.is_dir():
        raise ValueError(f"path must end in .html, such as {path}.html, but it is {path}.")
    with _naming(path):
        files.check_writable(path)
    document = page(losses, target=target, title=title, float32=float32)
    with _naming(path):
        files.write(path, document.encode())
    return path


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An error of the file system in one sentence, of the same class."""
    try:
        yield
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        said = f"path must be a file that can be written, but {path} cannot: {reason}."
        raise type(error)(said) from error


def page(
    losses: Loss | Iterable[Loss] | Mapping[str, Loss],
    *,
    target: Float[ArrayLike, "3"] | Sequence[float] = (1.0, 0.0, 0.0),
    title: str | None = None,
    float32: bool = False,
) -> str:
    """The page that `save_page` writes, as a string.

    Args:
        losses, target, title, float32: as for `save_page`.

    Returns:
        A whole HTML document.

    Raises:
        TypeError: something that cannot be called stands where a loss should.
        ValueError: as for `save_page`.

    Example:
        >>> from jaxent import losses, pages
        >>> document = pages.page(losses.softmax_brier_score, title="Brier <score>")
        >>> print(document[document.index("<title>"):].partition("</title>")[0])
        <title>Brier &lt;score&gt;
    """
    by_name = _catalogue.named(losses)
    if not arguments.is_distribution(target, 3):
        raise ValueError(f"target must be three probabilities that sum to 1, but it is {target}.")
    entries = enumerate(by_name.items())
    parts = {
        "TITLE": html.escape(TITLE if title is None else title),
        "LOSSES": "[\n" + "".join(_entry(i, *item, float32) for i, item in entries) + "]",
        "PRECISION": (
            "float32, every operation rounded, as JAX does unless told otherwise"
            if float32
            else "double precision"
        ),
        "TARGET": json.dumps(np.asarray(target, np.float64).tolist()),
        "VERSION": html.escape(jaxent.__version__),
    }
    # in one pass, lest a title that contains a marker be filled in as well
    return re.sub(f"__({'|'.join(parts)})__", lambda marker: parts[marker[1]], _template())


def _template() -> str:
    """The page without losses: the style and the script stand where index.html links to them."""
    style = f"<style>\n{_source('style.css')}</style>"
    script = f'<script type="module">\n{_script()}'
    document = _source("index.html").replace('<link rel="stylesheet" href="style.css">', style)
    return document.replace('<script type="module" src="main.js">', script)


def _script() -> str:
    """All modules that main.js needs, as one."""
    bodies: dict[str, str] = {}

    def add(name: str) -> None:
        source = _source(name)
        for imported in _IMPORT.findall(source):
            if imported not in bodies:
                add(imported)
        bodies[name] = re.sub("^export ", "", _IMPORT.sub("", source), flags=re.MULTILINE)

    add("main.js")
    return "\n".join(bodies.values())


_IMPORT = re.compile(r'^import {[^}]*} from "\./(.*)";\n+', re.MULTILINE)


def _source(name: str) -> str:
    return resources.files("jaxent").joinpath("page", name).read_text(encoding="utf-8")


def _entry(index: int, name: str, loss: Loss, float32: bool) -> str:
    """One loss as the page's script knows it."""
    try:
        _check_takes_logits(name, loss)
        translation = _javascript.translate(loss, float32=float32)
    except Exception as error:
        said = advice(loss, error, 3)
        if said:
            raise ValueError(f"{name} {said}.") from error
        raise
    facts = {
        "index": index,
        "name": name,
        "exact": translation.exact,
        "oneHotOnly": translation.one_hot_only,
        "worstError": translation.worst_error,
        "reason": translation.reason,
        "readsRawLogits": _reads_raw_logits(loss),
    }
    # Inside <script> a "<" could only end it or begin a comment; in a string it may be escaped.
    literal = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    source = re.sub("<(?=[!/])", "< ", translation.source)
    return f"  {{ ...{literal},\n    valueAndGradient: {source} }},\n"


def _check_takes_logits(name: str, loss: Loss) -> None:
    function = partial(of_each_example, jax.value_and_grad, loss)

    def call(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = zip(*_one_by_one(function, logits, targets), strict=True)
        return np.stack(values), np.stack(gradients)

    logits, targets = np.random.default_rng(0).normal(size=(8, 3)), np.eye(3)[np.arange(8) % 3]
    with jax.enable_x64(True):
        if wants_probabilities(call, call(logits, targets), logits, targets):
            raise ValueError(f"{name} {PROBABILITIES}.")


def _reads_raw_logits(loss: Loss) -> bool:
    def values(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.array(_one_by_one(loss, logits, targets), float)

    with jax.enable_x64(True):
        return raw_logits_change(values, 3) > 0


def _one_by_one(function: Callable[..., Any], logits: np.ndarray, targets: np.ndarray) -> list[Any]:
    """A function at each example, compiled unless Python code of the loss looks at values."""

    def results(evaluate: Callable[..., Any]) -> list[Any]:
        pairs = zip(logits, targets, strict=True)
        return [evaluate(jnp.asarray(z), jnp.asarray(p)) for z, p in pairs]

    try:
        return results(jit_quickly(function))
    except PYTHON_LOOKS:
        return results(function)
