"""How fast is jaxent?  `python -m experiments.speed` prints the answer as Markdown.

The losses are compared with optax, with the plain formulas and, where it is installed, with torch,
eager and compiled. `fit` and `escape_steps` are compared with bare loops, the instruments with
plain JAX. Eager calls, compilation and memory follow.

Every number but one kind is a ratio: jaxent over the other. Below 1, jaxent is faster (or
smaller). Eager calls are a difference in microseconds. Both sides run in one process, in random
order within a round; a ratio is the median over the rounds. The table shows the median and the
range of three fresh processes. Run it on a machine that does nothing else.

No XLA flag is set: these are the speeds that an importer of jaxent gets.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from experiments.speed import (
    _descents,
    _instruments,
    _losses,
    _overheads,
    _tables,
    _torch,
)
from experiments.speed._tables import Process
from experiments.speed._timing import Job, Unavailable

PROCESSES = 3

# Compile times come late: they clear what JAX has compiled. Torch comes last: its threads stay.
GROUPS: dict[str, Callable[[], Iterator[Job]]] = {
    "losses": _losses.jobs,
    "fits": _descents.jobs,
    "instruments": _instruments.jobs,
    "calls": _overheads.calls,
    "compilation": _overheads.compile_times,
    "memory": _overheads.memory,
    "torch": _torch.jobs,
}


def measure(groups: Sequence[str], rounds: int | None) -> Process:
    """Returns the numbers of these groups, measured once, with progress on stderr."""
    found: Process = {"machine": _tables.machine(), "numbers": [], "notes": []}
    for group in groups:
        jobs = list(GROUPS[group]())
        for count, (table, cells, take) in enumerate(jobs, start=1):
            row, column = cells[0]
            print(f"{group} {count}/{len(jobs)}: {row}, {column}", file=sys.stderr, flush=True)
            try:
                numbers = take(rounds)
            except Unavailable as reason:
                found["notes"].append((table, str(reason)))
            else:
                pairs = zip(cells, numbers, strict=True)
                found["numbers"] += [(table, *cell, number) for cell, number in pairs]
    return found


def measure_elsewhere(groups: Sequence[str], rounds: int | None) -> Process:
    """Returns the numbers of a fresh process, which compiles everything itself."""
    command = [sys.executable, "-m", "experiments.speed", "--process", "--only", ",".join(groups)]
    if rounds is not None:
        command += ["--rounds", str(rounds)]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment
    )
    return json.loads(done.stdout)


def groups_of(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(GROUPS)}, but {unknown[0]!r} is none of them"
        )
    return [name for name in GROUPS if name in names]


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=groups_of,
        default=list(GROUPS),
        metavar="GROUPS",
        help=f"some of {','.join(GROUPS)}",
    )
    parser.add_argument(
        "--rounds", type=positive, help="rounds of each comparison, instead of 7 to 31"
    )
    parser.add_argument("--process", action="store_true", help="measure once, print JSON")
    options = parser.parse_args(arguments)
    if options.process:
        print(json.dumps(measure(options.only, options.rounds)))
        return
    processes = []
    for number in range(PROCESSES):
        print(f"process {number + 1} of {PROCESSES}", file=sys.stderr, flush=True)
        processes.append(measure_elsewhere(options.only, options.rounds))
    print("\n".join(_tables.report(processes)))


if __name__ == "__main__":
    main()
