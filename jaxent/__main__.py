"""What does this loss do to my gradients? Asked on the command line.

    jaxent list                                               the losses that are built in
    jaxent card softmax_cross_entropy my_losses.py:clipped    the facts of losses, side by side
    jaxent portrait my_losses.py:clipped -o clipped.png       how a loss trains, on one sheet
    jaxent page my_losses.py:clipped -o clipped.html          a page to play with in a browser
    jaxent check my_losses.py:clipped                         are its derivatives right?

`python -m jaxent` is the same. Results go to stdout and all else to stderr. Exit status: 0; 1, the
derivatives are wrong; 2, wrong input or a loss that fails; 130, interrupted.
"""

import argparse
import contextlib
import functools
import inspect
import io
import json
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import jaxent
from jaxent import _files as files
from jaxent import _specification as specification
from jaxent import _startup as startup
from jaxent._specification import Given, Refusal, suggestion
from jaxent._words import vector

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from jaxent._examples import Loss
    from jaxent.derivatives import DerivativeCheck

Progress = Callable[[str], object]

HOW_TO_NAME_A_LOSS = """\
LOSS is named in one of these ways:
  softmax_brier_score                      built in: see jaxent list
  generalized_cross_entropy:exponent=0.5   with options, separated by commas
  package.module:function                  of a module, here or installed
  path/to/file.py:function                 of a file
  path/to/file.py:function:T=2             of either, with options
(path/to/file.py is enough if it has one function.) It is a function of
(logits, targets) of one example, arrays of shape (classes,), that returns a
scalar and that JAX can trace.

"""
HOW_MANY_CLASSES = "how many classes; default: 3, or 2 for a loss of one logit"
EXIT_STATUS = "Exit status: 0; 2, wrong input or a loss that fails."


# The words of the command line


class Parser(argparse.ArgumentParser):
    """Refuses in one line, suggests what may have been meant, takes arguments in any order."""

    def __init__(self, command: str, description: str, epilog: str):
        super().__init__(
            prog=f"jaxent {command}".strip(),
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str):
        raise Refusal(f"{message}; see {self.prog} --help")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_intermixed_args(words)
        for word in unknown:
            if word.startswith("-"):
                known = [*dict.fromkeys(re.findall(r"--[a-z][a-z0-9-]*", self.format_help()))]
                otherwise = f"{self.prog} has {', '.join(known)}"
                raise Refusal(f"there is no option {word}; {suggestion(word, known, otherwise)}")
        if unknown:
            raise Refusal(f"{unknown[0]} is one argument too many; see {self.prog} --help")
        return options


def parser_of_losses(
    command: str,
    *,
    losses: str | int = "+",
    output: str = "",
    classes: str = "",
    exit_status: str = EXIT_STATUS,
) -> Parser:
    """The arguments that commands share; --output and --classes where there is help on them."""
    parser = Parser(command, COMMANDS[command].summary, HOW_TO_NAME_A_LOSS + exit_status)
    parser.add_argument("losses", nargs=losses, metavar="LOSS", help="see below")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    if output:
        parser.add_argument("-o", "--output", required=True, metavar="FILE", help=output)
    if classes:
        parser.add_argument("--classes", type=number_of_classes, metavar="N", help=classes)
    return parser


def number_of_classes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 2):
        raise Refusal(f"--classes must be a whole number of at least 2, but it is {text}")
    return int(text)


def distribution(text: str, classes: int) -> tuple[float, ...]:
    """The numbers of --target, P over the classes."""
    from jaxent._arguments import is_distribution

    try:
        target = tuple(float(part) for part in text.split(","))
    except ValueError:
        target = ()
    if not is_distribution(target, classes):
        example = ",".join(["0.7", "0.3", *["0"] * (classes - 2)])
        of_sum = f", which sums to {sum(target):.7g}" if len(target) == classes else ""
        raise Refusal(
            f"--target must be {classes} numbers, none of them negative, that sum to 1, "
            f"such as {example}, but it is {text}{of_sum}"
        )
    return target


def file_to_write(text: str, extensions: Sequence[str]) -> Path:
    """The path of --output, where a file can be written."""
    path = Path(text)
    if path.suffix.lower() not in extensions:
        allowed = " or ".join(extensions)
        raise Refusal(f"--output must be a file that ends in {allowed}, but it is {text}")
    with writing(path):
        files.check_writable(path)
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refusal(f"--output {path} cannot be written: {error.strerror or error}") from error


# While it works

CLEAR_LINE = "\r\x1b[2K"


def is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def at_work(quiet: bool) -> Iterator[Progress]:
    """Say on stderr what is being done, and keep stdout for the results.

    On a terminal what is said replaces itself. Elsewhere it is a line, at most one a second.
    """
    stderr, last = sys.stderr, time.monotonic()
    terminal = is_terminal(stderr)

    def progress(words: str) -> None:
        nonlocal last
        if quiet:
            return
        if terminal:
            words = words[: shutil.get_terminal_size().columns - 1]
            print(f"{CLEAR_LINE}{words}", end="", file=stderr, flush=True)
        elif time.monotonic() - last > 1:
            print(words, file=stderr, flush=True)
            last = time.monotonic()

    startup.set_up()
    try:
        with contextlib.redirect_stdout(stderr):  # what a loss prints is no result
            yield progress
    finally:
        if terminal and not quiet:
            print(CLEAR_LINE, end="", file=stderr, flush=True)


def plain(value: Any) -> Any:
    """A result as what JSON can say; what it has no number for (inf, nan) is a string."""
    if hasattr(value, "_fields"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def render(figure: "Figure", extension: str) -> bytes:
    """A picture as a file of that kind, the same bytes for the same figure: no date, no version."""
    import matplotlib
    import matplotlib.style

    nameless = {
        ".png": {"Software": None},
        ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        ".svg": {"Creator": None, "Date": None},
    }
    buffer = io.BytesIO()
    with (
        matplotlib.style.context("jaxent.paper"),
        # text stays text, with its font; the names of parts do not change from run to run
        matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "jaxent"}),
    ):
        figure.savefig(buffer, format=extension[1:], metadata=nameless[extension])
    return buffer.getvalue()


# The check of derivatives


def points_to_check(
    classes: int, target: Sequence[float] | None
) -> "tuple[list[str], np.ndarray, np.ndarray]":
    """Names of kinds of points, and logits and targets of each, [kinds, points, classes]."""
    import numpy as np

    points = 32
    random = np.random.default_rng(0)
    noise = random.normal(size=(points, classes))
    gaps = np.linspace(5, 30, points)[:, None]
    if target is None:
        labels = np.arange(points) % classes
        others = (labels + 1) % classes
        targets = specification.one_hot(labels, classes)
    else:
        targets = np.tile(target, (points, 1))
        labels, others = targets.argmax(-1), targets.argmin(-1)
    kinds = {
        "any Q": (2 * noise, targets),
        "sure and right": (noise + gaps * specification.one_hot(labels, classes), targets),
        "sure and wrong": (noise + gaps * specification.one_hot(others, classes), targets),
    }
    if target is None:
        kinds["any Q, any P"] = (2 * noise, random.dirichlet(np.ones(classes), points))
    logits, targets = map(np.stack, zip(*kinds.values(), strict=True))
    return [*kinds], logits, targets


def hear_witnesses(
    given: Given, kinds: list[str], logits: "np.ndarray", targets: "np.ndarray"
) -> tuple[list[str], bool]:
    """A table of what agrees with reverse mode how far, a verdict in words, and whether right."""
    import jax
    import numpy as np
    from tabulate import tabulate

    from jaxent._examples import precision_of
    from jaxent.derivatives import verdict, without_stop_gradients

    _, count, classes = logits.shape
    logits, targets = logits.reshape(-1, classes), targets.reshape(-1, classes)
    values, gradients = specification.evaluate(given, logits, targets)
    finite = np.isfinite(values)
    with specification.blaming([given]), jax.enable_x64(True):
        precision = precision_of(given.loss, classes)
        found = look_at(given.loss, logits, targets)
    overflows = ""
    if precision != np.float64:  # next to its largest number a right rule has wrong digits
        farther, _ = specification.evaluate(given, 2 * logits, targets)
        within = finite & np.isfinite(gradients).all(-1) & np.isfinite(farther)
        within &= np.isfinite(found.uncertainty)
        if within.any() and not within.all():
            finite, overflows = within, f", or {precision.name} is about to overflow"
    witnesses = {"central differences": found.finite_difference}
    if found.forward_mode is not None:
        witnesses["forward mode"] = found.forward_mode
    off = {name: witness.absolute for name, witness in witnesses.items()}
    differences = [of_one[finite] for of_one in off.values()]
    judged = verdict(found.gradient[finite], differences, found.uncertainty[finite], precision)
    excess = np.full(len(finite), -1.0)
    excess[finite] = judged.excess

    gradient = np.asarray(found.gradient)
    largest = np.abs(gradient).max(-1)
    columns = {"∂L/∂z": largest, **off, "uncertainty": found.uncertainty}
    rows = []
    for index, kind in enumerate(kinds):
        worst = index * count + int(excess[index * count :][:count].argmax())
        cells = [f"{numbers[worst]:.1e}" if finite[worst] else "–" for numbers in columns.values()]
        rows.append([kind, *cells])
    lines = [
        f"{given.name}, {classes} classes",
        "∂L/∂z by reverse mode, its largest entry, and how far off the others are, at the",
        f"worst of {count} points of each kind (sure: by 5 to 30 logits)",
        "",
        tabulate(
            rows,
            ["", *columns],
            tablefmt="plain",
            disable_numparse=True,
            colalign=["left", *["right"] * len(columns)],
        ),
        "",
    ]
    if not finite.all():
        lines.append(
            f"At {np.sum(~finite)} of {len(finite)} points the loss is not finite{overflows}."
        )
    if precision != np.float64:
        lines.append(f"The loss rounds to {precision.name}, and no more than that can be seen.")
    if judged.right:
        lines.append(f"The derivatives are right: reverse mode agrees with {' and '.join(off)}.")
        return lines, True
    worst = int(excess.argmax())
    name = max(off, key=lambda name: np.nan_to_num(off[name][worst], nan=np.inf))
    at = f"logits {vector(logits[worst])} and targets {vector(targets[worst])}"
    lines.append(
        f"The derivatives are wrong: at {at} reverse mode gives {vector(gradient[worst])}, "
        f"of which entry {witnesses[name].entry[0][worst]} is {off[name][worst]:.2g} off {name}."
    )
    with specification.blaming([given]), jax.enable_x64(True):
        without = look_at(without_stop_gradients(given.loss), logits, targets)
    off_without = without.finite_difference.absolute[finite]
    uncertainty = without.uncertainty[finite]
    if verdict(without.gradient[finite], [off_without], uncertainty, precision).right:
        lines[-1] += (
            " The gradient is not the derivative of the value, because a stop_gradient stands "
            "in it."
        )
    return lines, False


def look_at(loss: "Loss", logits: "np.ndarray", targets: "np.ndarray") -> "DerivativeCheck":
    """The check of a loss at each of several points."""
    import jax
    import numpy as np

    from jaxent._examples import jit_quickly
    from jaxent.derivatives import check_derivatives

    check_each = jit_quickly(jax.vmap(functools.partial(check_derivatives, loss)))
    return jax.tree.map(np.asarray, check_each(logits, targets))


# The commands


def list_losses(words: Sequence[str]) -> int:
    Parser("list", COMMANDS["list"].summary, HOW_TO_NAME_A_LOSS).read(words)
    from jaxent import _catalogue as catalogue

    for name, loss in catalogue.built_in().items():
        options = ",".join(
            f"{option}={value}" for option, value in specification.options_of(loss).items()
        )
        print(f"{name}:{options}".removesuffix(":"))
        print("    " + (inspect.getdoc(loss) or "").partition("\n")[0])
    return 0


def print_cards(words: Sequence[str]) -> int:
    parser = parser_of_losses("card", classes=HOW_MANY_CLASSES)
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--json", action="store_true", help="every fact, as a JSON list of objects")
    layout.add_argument("--markdown", action="store_true", help="a Markdown table")
    options = parser.read(words)
    with at_work(options.quiet) as progress:
        progress("loading JAX")
        from jaxent import cards

        given = specification.read_losses(options.losses)
        classes = [options.classes or (2 if one.binary else 3) for one in given]
        for one, count in zip(given, classes, strict=True):
            specification.try_out(one, count)
        with specification.blaming(given):
            made = [
                cards.card(
                    one.loss,
                    count,
                    name=one.name,
                    progress=lambda words, name=one.name: progress(f"{name}: {words}"),
                )
                for one, count in zip(given, classes, strict=True)
            ]
    if options.json:
        print(json.dumps(plain(made), indent=1, allow_nan=False))
    else:
        print(cards.comparison_table(made, markdown=options.markdown))
    return 0


def draw_portrait(words: Sequence[str]) -> int:
    extensions = (".png", ".pdf", ".svg")
    parser = parser_of_losses(
        "portrait",
        output="where to write it; ends in .png, .pdf or .svg",
        classes="how many classes; default: 3, or 2 with a loss of one logit; a triangle needs 3",
    )
    parser.add_argument("--target", metavar="P1,P2,P3", help="P on the triangles; default: 1,0,0")
    options = parser.read(words)
    target = None if options.target is None else distribution(options.target, 3)
    if target and options.classes not in (None, 3):
        raise Refusal("--target is for the triangles of 3 classes, and --classes is not 3")
    path = file_to_write(options.output, extensions)
    with at_work(options.quiet) as progress:
        progress("loading JAX")
        import numpy as np

        from jaxent import portraits

        given = specification.read_losses(options.losses)
        binary = [one.words for one in given if one.binary]
        classes = options.classes or (2 if binary else 3)
        if binary and classes != 2:
            raise Refusal(f"--classes must be 2 with {binary[0]}, a loss of one logit")
        if target and classes != 3:
            raise Refusal(f"--target is for 3 classes, and {binary[0]} is a loss of one logit")
        for one in given:
            specification.try_out(one, classes, target)
        with specification.blaming(given):
            figure = portraits.portrait(
                {one.name: one.loss for one in given},
                classes,
                None if target is None else np.array(target),
                progress=progress,
            )
            progress(f"drawing {path}")
            picture = render(figure, path.suffix.lower())
        with writing(path):
            files.write(path, picture)
    print(path)
    return 0


def write_page(words: Sequence[str]) -> int:
    parser = parser_of_losses("page", output="where to write it; ends in .html")
    parser.add_argument(
        "--target", default="1,0,0", metavar="P1,P2,P3", help="P at first; default: 1,0,0"
    )
    parser.add_argument(
        "--float32",
        action="store_true",
        help="compute in float32, every operation rounded, and see what that takes away",
    )
    options = parser.read(words)
    target = distribution(options.target, 3)
    path = file_to_write(options.output, [".html"])
    with at_work(options.quiet) as progress:
        progress("loading JAX")
        from jaxent import pages

        given = specification.read_losses(options.losses)
        for one in given:
            specification.try_out(one, 3, target, untraced=True)
        with specification.blaming(given), writing(path):
            progress(f"writing {path}")
            pages.save_page(
                {one.name: one.loss for one in given},
                path,
                target=target,
                float32=options.float32,
            )
    print(path)
    return 0


def check(words: Sequence[str]) -> int:
    status = EXIT_STATUS.replace("0;", "0, right; 1, wrong;")
    parser = parser_of_losses("check", losses=1, classes=HOW_MANY_CLASSES, exit_status=status)
    parser.add_argument(
        "--target", metavar="P1,P2,…", help="P, a number for each class; default: many"
    )
    options = parser.read(words)
    with at_work(options.quiet) as progress:
        progress("loading JAX")
        (given,) = specification.read_losses(options.losses)
        classes = options.classes or (2 if given.binary else 3)
        target = None if options.target is None else distribution(options.target, classes)
        specification.check_takes_logits(given, classes, target)
        progress(f"{given.name}: differences of the values")
        from jaxent._examples import float64_in_all_threads

        with float64_in_all_threads():
            lines, right = hear_witnesses(given, *points_to_check(classes, target))
    print(*lines, sep="\n")
    return 0 if right else 1


class Command(NamedTuple):
    run: Callable[[Sequence[str]], int]
    summary: str


COMMANDS = {
    "list": Command(list_losses, "The losses that are built in, and their options."),
    "card": Command(print_cards, "The facts of losses, side by side."),
    "portrait": Command(draw_portrait, "How losses train, on one sheet."),
    "page": Command(write_page, "A web page, one file, to play with losses of three classes."),
    "check": Command(check, "Whether the derivatives of a loss are right."),
}


def run(words: Sequence[str]) -> int:
    """Obey the command that is named first; the exit status."""
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]].run(words[1:])
    if words and not words[0].startswith("-"):
        otherwise = f"there are {', '.join(COMMANDS)}"
        raise Refusal(
            f"there is no command {words[0]}; {suggestion(words[0], [*COMMANDS], otherwise)}"
        )
    summaries = "\n".join(f"  {name:<10}{command.summary}" for name, command in COMMANDS.items())
    parser = Parser(
        "",
        "What does this loss do to my gradients?",
        f"commands:\n{summaries}\n\njaxent COMMAND --help says more.",
    )
    parser.usage = "jaxent [--help] [--version] COMMAND …"
    parser.add_argument("--version", action="version", version=f"jaxent {jaxent.__version__}")
    parser.read(words)
    raise Refusal(f"needs a command: {', '.join(COMMANDS)}; see jaxent --help")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process at once, with status 130.

    As an exception it would not arrive: the native code of JAX and NumPy turns a KeyboardInterrupt
    into an ImportError, or prints it and goes on. Only a file that is being written is left in
    the usual way, since what is unfinished has to be removed.
    """

    def interrupted(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is files.write.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back
        if is_terminal(sys.stderr):
            os.write(sys.stderr.fileno(), CLEAR_LINE.encode())
        os._exit(130)

    usual = signal.getsignal(signal.SIGINT)
    if (
        usual is not signal.default_int_handler
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def say(result: str) -> int:
    """Write the results to stdout; the exit status."""
    try:
        sys.stdout.write(result)
        sys.stdout.flush()
        return 0
    except OSError as error:
        # what is left in the buffer has to go somewhere when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + 13  # as if SIGPIPE had ended it
        print(f"jaxent: stdout cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ∂ is shown a ?
    result = io.StringIO()
    try:
        with interruptible(), contextlib.redirect_stdout(result):
            status = run(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as end:  # argparse's, after --help and --version
        status = int(end.code or 0)
    except (Refusal, MemoryError) as error:
        print(f"jaxent: {str(error) or 'there is not enough memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's word for it, in an error of many kinds
            raise
        reason = str(error).splitlines()[0].partition("RESOURCE_EXHAUSTED: ")[2]
        print(f"jaxent: there is not enough memory: {reason}", file=sys.stderr)
        return 2
    return say(result.getvalue()) or status


if __name__ == "__main__":
    sys.exit(main())
