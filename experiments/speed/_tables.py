"""The machine in words, and the numbers of several processes as Markdown."""

import os
import platform
import re
import statistics
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypedDict

import jax
from tabulate import tabulate

from experiments._processes import cores


class Process(TypedDict):
    """The measurement of one process.

    machine: the machine and the versions, in words.
    numbers: (table, row, column, number) of each cell.
    notes: (table, sentence): what could not be measured, and why.
    """

    machine: str
    numbers: list[tuple[str, str, str, float]]
    notes: list[tuple[str, str]]


def processor(described: str) -> str:
    """Returns the processor's name, from the text of Linux's /proc/cpuinfo.

    A name without a number says little, so the family and the model number follow.
    """
    entries = dict(
        re.findall(r"^([\w ]+?)\s*: (.*)$", described.partition("\n\n")[0], re.MULTILINE)
    )
    name = entries.get("model name", "").strip()
    if not name:
        return platform.processor() or platform.machine()
    if re.search(r"\d", name) or "cpu family" not in entries:
        return name
    return f"{name} (family {entries['cpu family']}, model {entries.get('model', 'unknown')})"


def machine() -> str:
    """Returns the processor, the device of JAX and the versions."""
    path = Path("/proc/cpuinfo")
    described = path.read_text(encoding="utf-8") if path.exists() else ""
    count = cores()
    parts = [f"{processor(described)}, {count} core{'s' * (count != 1)}"]
    versions = [f"Python {platform.python_version()}"]
    for name in ("jax", "jaxlib", "optax", "torch"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    parts += [f"JAX device “{jax.devices()[0].device_kind}”", ", ".join(versions)]
    if flags := os.environ.get("XLA_FLAGS"):
        parts.append(f"XLA_FLAGS={flags}")
    return "; ".join(parts)


def cell(numbers: Sequence[float], signed: bool) -> str:
    """Returns the median and the range, "1.20 [1.10–1.30]"; signed: with a sign and one digit."""
    if not numbers:
        return "—"
    form = "{:+.1f}" if signed else "{:.2f}"
    middle, low, high = (
        form.format(f(numbers)).replace("-", "−") for f in (statistics.median, min, max)
    )
    return f"{middle} [{low}{' to ' if signed else '–'}{high}]"


def report(processes: Sequence[Process]) -> Iterator[str]:
    """Yields the lines: the machine, and the tables in the order of measurement."""
    count = len(processes)
    yield f"**{processes[0]['machine']}**"
    yield ""
    yield f"Median [range] of {count} process{'es' * (count != 1)}."
    numbers = [number for process in processes for number in process["numbers"]]
    notes = [tuple(note) for process in processes for note in process["notes"]]
    for title in dict.fromkeys([*(number[0] for number in numbers), *(note[0] for note in notes)]):
        found: dict[tuple[str, str], list[float]] = {}
        for table, row, column, value in numbers:
            if table == title:
                found.setdefault((row, column), []).append(value)
        rows = dict.fromkeys(row for row, _ in found)
        columns = dict.fromkeys(column for _, column in found)
        yield ""
        if found:
            lines = [
                [row, *(cell(found.get((row, column), []), column == "µs") for column in columns)]
                for row in rows
            ]
            yield tabulate(lines, [title, *columns], tablefmt="github", disable_numparse=True)
        else:
            yield f"{title}: not measured."
        for _, sentence in dict.fromkeys(note for note in notes if note[0] == title):
            yield ""
            yield sentence
