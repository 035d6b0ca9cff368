"""Experiments at work: one after the other in this process, or several at once, in processes.

JAX compiles on one core, and most programs here are too small for two.
"""

import importlib
import io
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing import connection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from experiments._blocks import Blocks
    from experiments._claims import Finding, Picture, Progress

FOLDER = Path(__file__).parent
MOST = 4
"""Processes at once. The longest experiment takes a quarter of the time of all."""
WORTH_A_PROCESS = 10
"""Seconds of work: a process needs some to load JAX."""


class Said(NamedTuple):
    """What comes next in an experiment, and which fraction of it is done."""

    words: str
    fraction: float | None = None


class Outcome(NamedTuple):
    """What came out of an experiment.

    Attributes:
        finding: Its figures are empty: they are drawn, and large to hand on.
        images: PNG, by name.
        seconds: How long it took.
    """

    finding: "Finding"
    images: dict[str, bytes]
    seconds: float


Hear = Callable[[str, Said | Outcome], object]
"""Called with the name of an experiment, and with what it says; last with its outcome."""


# One experiment


def is_statistical(experiment: ModuleType) -> bool:
    """Whether --full gives it more seeds."""
    return hasattr(experiment, "FULL_SEEDS")


def blocks_of(experiment: ModuleType, out: Path) -> "Blocks":
    """Where the blocks of a full run are kept."""
    from experiments._blocks import Blocks, fingerprint

    name = experiment.__name__.rpartition(".")[2]
    sources = [*FOLDER.glob("_*.py"), Path(experiment.__file__ or "")]
    return Blocks(out / "blocks" / f"{name}-{fingerprint(sources)}")


def perform(
    experiment: ModuleType, progress: "Progress", blocks: "Blocks | None" = None
) -> "Finding":
    """What one experiment finds, drawn in the style of all; with all its seeds if into blocks."""
    import matplotlib.style

    from experiments._claims import compute

    with matplotlib.style.context("jaxent.paper"):
        if not is_statistical(experiment):
            return experiment.run(progress)
        if blocks is None:
            return experiment.run(progress, experiment.SEEDS, compute)
        return experiment.run(progress, experiment.FULL_SEEDS, blocks)


def render(picture: "Picture") -> bytes:
    """A picture as PNG of 256 colours, the same bytes for the same figure: no date, no version."""
    import matplotlib.style
    import numpy as np
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    with matplotlib.style.context("jaxent.paper"):
        picture.figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    # A third of the bytes of all colours, which on a smooth field the eye does not tell from these.
    image = Image.open(drawn).convert("RGB")
    palette = image.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    colours = np.reshape(palette.getpalette() or [], (-1, 3))
    # Pillow looks colours up rounded, and would take one of these for the white of the paper.
    colours[colours.min(axis=1) > 247] = 255
    palette.putpalette(colours.ravel().tolist())
    # 6 % fewer bytes for seven times the time, worth it for what is committed
    image.quantize(palette=palette).save(buffer, format="png", optimize=picture.in_readme)
    return buffer.getvalue()


def work(name: str, out: Path, full: bool, progress: "Progress") -> Outcome:
    """Run one experiment and draw its figures; its blocks are kept in a folder if full."""
    from matplotlib.figure import Figure

    experiment = importlib.import_module(f"experiments.{name}")
    start = time.perf_counter()
    blocks = blocks_of(experiment, out) if full and is_statistical(experiment) else None
    finding = perform(experiment, progress, blocks)
    progress("figures")
    images = {stem: render(picture) for stem, picture in finding.pictures.items()}
    pictures = {
        stem: picture._replace(figure=Figure()) for stem, picture in finding.pictures.items()
    }
    return Outcome(finding._replace(pictures=pictures), images, time.perf_counter() - start)


# Many


def cores() -> int:
    """How many this process may use. XLA starts as many threads."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def processes_for(seconds: Sequence[float]) -> int:
    """In how many processes to run experiments that take so long."""
    # A TPU serves one process.
    if find_spec("libtpu") is not None or sum(seconds) < WORTH_A_PROCESS:
        return 1
    return min(cores(), len(seconds), MOST)


def work_here(names: Sequence[str], out: Path, full: bool, hear: Hear) -> None:
    """Run experiments in this process, one after the other."""
    for name in names:

        def progress(words: str, fraction: float | None = None, /, name: str = name) -> None:
            hear(name, Said(words, fraction))

        hear(name, work(name, out, full, progress))


def work_in_processes(names: Sequence[str], count: int, out: Path, full: bool, hear: Hear) -> None:
    """Run experiments in several processes, which take them in the order of the names.

    Raises:
        RuntimeError: an experiment raised an error, or its process died.
    """
    context = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would lose
    waiting = list(names)
    busy: dict[connection.Connection, str] = {}
    processes = []

    def hand_out(end: connection.Connection) -> None:
        if waiting:
            busy[end] = waiting.pop(0)
            end.send(busy[end])

    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, cores() // count, out, full), daemon=True
            )
            # until the process can say that it does not hear Ctrl-C, it inherits that
            usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                process.start()
            finally:
                signal.signal(signal.SIGINT, usual)
            processes.append(process)
            there.close()
            hand_out(here)
        while busy:
            heard = connection.wait([*busy])
            for end, name in [item for item in busy.items() if item[0] in heard]:
                try:
                    message = end.recv()
                except (EOFError, OSError):
                    raise RuntimeError(f"The process of the experiment {name} died.") from None
                if isinstance(message, str):
                    raise RuntimeError(f"The experiment {name} failed:\n\n{message}")
                hear(name, message)
                if isinstance(message, Outcome):
                    del busy[end]
                    hand_out(end)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(end: connection.Connection, threads: int, out: Path, full: bool) -> None:
    """Run the experiments that the other end names, until it is gone."""
    from jaxent import _startup as startup

    # XLA and OpenBLAS start a thread for each core, and these wait for work by spinning.
    os.environ.setdefault("NPROC", str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    # Of a GPU's memory the first process would take three quarters.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # A terminal sends Ctrl-C to every process; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    startup.ignore_cache_warnings()

    def progress(words: str, fraction: float | None = None, /) -> None:
        end.send(Said(words, fraction))

    try:
        while True:
            name = end.recv()
            try:
                message = work(name, out, full, progress)
            except Exception:
                message = traceback.format_exc()
            end.send(message)
    except (EOFError, OSError):
        return
