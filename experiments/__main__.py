"""Ask the questions of experiments/, and hold the answers to what was predicted.

    python -m experiments                 all of them
    python -m experiments escape          one
    python -m experiments --full          all of them, the statistical ones with 30 seeds or more
    python -m experiments --list          what they ask

Runs several at once, in a process for each core, and says what each finds as soon as it is there.
Prints one table and writes a folder, `results/`: every figure, claims.json, and index.html, one
file that reads as an article. Exit status: 0, every claim holds; 1, a claim fails; 2, wrong
input; 130, interrupted.
"""

import argparse
import ast
import difflib
import importlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tabulate import tabulate

import jaxent
from experiments import _processes as processes
from jaxent import _files as files
from jaxent import _startup as startup

if TYPE_CHECKING:
    from experiments._claims import Finding

FOLDER = Path(__file__).parent
RESULTS = Path("results")
README_FIGURES = FOLDER / "figures"


def questions() -> dict[str, str]:
    """The first line of each experiment's docstring, by name, read without importing it.

    In the order of the article; those that have no place in it come last.
    """
    from experiments._chapters import CHAPTERS

    placed = [name for chapter in CHAPTERS for name in chapter.names]
    docstrings = {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
        for path in sorted(FOLDER.glob("[!_]*.py"))
    }
    names = [name for name in placed if name in docstrings]
    names += [name for name in docstrings if name not in placed]
    return {name: docstrings[name].splitlines()[0] for name in names}


def table(findings: "dict[str, Finding]", asked: dict[str, str]) -> str:
    """Every row of every experiment as aligned text, the statement last."""
    rows = [row for finding in findings.values() for row in finding.rows]
    cells = [(row.kind, row.verdict, *row.cells, row.statement) for row in rows]
    heading = ("", "", "predicted", "measured", "tolerance", "")
    aligned = tabulate(cells, heading, tablefmt="plain", disable_numparse=True).splitlines()
    lines, of_rows = aligned[:1], iter(aligned[1:])
    for name, finding in findings.items():
        lines += ["", f"{name}: {asked[name]}"]
        for row in finding.rows:
            lines.append(next(of_rows))
            if row.evidence:
                lines.append(f"{' ' * lines[-1].index(row.statement)}  ({row.evidence})")
    return "\n".join(lines)


def tally(findings: "Iterable[Finding]") -> str:
    """How many rows of each verdict, in a line."""
    rows = [row for finding in findings for row in finding.rows]
    verdicts = [row.verdict for row in rows]
    claims = [row for row in rows if row.kind == "claim"]
    predictions = len(rows) - len(claims)
    claims_hold = f"{verdicts.count('holds')} of {len(claims)} claims hold"
    if not predictions:
        return claims_hold
    return (
        f"{claims_hold}; {verdicts.count('met')} of {predictions} predictions met, "
        f"{verdicts.count('refuted')} refuted, {verdicts.count('undecided')} undecided"
    )


def made_with(seconds: float) -> str:
    """Versions and device, in a line."""
    import jax

    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "optax", "matplotlib"))
    device = jax.devices()[0].device_kind
    return f"Made in {seconds:.0f} s with jaxent {jaxent.__version__}, {packages} on {device}."


def as_json(
    findings: "dict[str, Finding]", docstrings: dict[str, str], seconds: dict[str, float]
) -> bytes:
    """Question, answer and rows of every experiment; what JSON has no number for is a string."""

    def number(value: float) -> float | str:
        return value if math.isfinite(value) else str(value)

    record = {
        name: {
            "question": docstrings[name].splitlines()[0],
            "answer": finding.answer,
            "seconds": round(seconds[name], 1),
            "pictures": [f"{picture}.png" for picture in finding.pictures],
            "rows": [
                {
                    "kind": row.kind,
                    "statement": row.statement,
                    "relation": row.relation,
                    "predicted": number(row.predicted),
                    "measured": number(row.measured),
                    "tolerance": number(row.tolerance),
                    "interval": row.interval and [number(end) for end in row.interval],
                    "seeds": row.seeds,
                    "protocol": row.protocol,
                    "verdict": row.verdict,
                }
                for row in finding.rows
            ],
        }
        for name, finding in findings.items()
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode()


def conduct(
    experiments: dict[str, ModuleType], out: Path, figures: Path | None, full: bool
) -> "dict[str, Finding]":
    """Run experiments by name, with progress on stderr, and write what they find to folders."""
    from tqdm import tqdm

    from experiments import _page

    start = time.perf_counter()
    outcomes: dict[str, processes.Outcome] = {}
    expected = {
        name: experiment.FULL_SECONDS
        if full and processes.is_statistical(experiment)
        else experiment.SECONDS
        for name, experiment in experiments.items()
    }
    if full and any(map(processes.is_statistical, experiments.values())):
        say_how_long(experiments, expected, out)
    # The bar counts expected seconds, as experiments differ a hundredfold.
    layout = "{l_bar}{bar}| {elapsed} gone, {remaining} to go"
    with tqdm(total=sum(expected.values()), bar_format=layout, file=sys.stderr) as bar:
        done = dict.fromkeys(experiments, 0.0)

        def hear(name: str, message: processes.Said | processes.Outcome) -> None:
            if isinstance(message, processes.Said):
                bar.set_description(f"{name}: {message.words}", refresh=message.fraction is None)
                done[name] = max(done[name], min(message.fraction or 0.0, 1.0))
            else:
                outcomes[name], done[name] = message, 1.0
                for stem, image in message.images.items():
                    files.write(out / f"{stem}.png", image)
                    if message.finding.pictures[stem].in_readme and figures is not None:
                        files.write(figures / f"{stem}.png", image)
                said = f"{name}: {tally([message.finding])}. {message.finding.answer}"
                bar.write(said, file=sys.stderr)
            bar.update(sum(expected[name] * done[name] for name in expected) - bar.n)

        # The first finding is there soon, and at the end no core waits for the longest.
        quickest, *others = sorted(expected, key=lambda name: expected[name])
        count = processes.processes_for([*expected.values()])
        if count == 1:
            processes.work_here([*experiments], out, full, hear)
        else:
            processes.work_in_processes([quickest, *others[::-1]], count, out, full, hear)
        bar.set_description("done")
    docstrings = {name: experiment.__doc__ or "" for name, experiment in experiments.items()}
    seconds = {name: outcomes[name].seconds for name in experiments}
    findings = {name: outcomes[name].finding for name in experiments}
    images = {stem: image for name in experiments for stem, image in outcomes[name].images.items()}
    footer = made_with(time.perf_counter() - start)
    page = _page.page(docstrings, findings, images, tally(findings.values()), footer)
    files.write(out / "claims.json", as_json(findings, docstrings, seconds))
    files.write(out / "index.html", page.encode())
    return findings


def say_how_long(experiments: dict[str, ModuleType], expected: dict[str, float], out: Path) -> None:
    """Before a full run: how long it takes, and what is there already."""
    for name, experiment in experiments.items():
        if processes.is_statistical(experiment):
            minutes = f"about {expected[name] / 60:.0f} minutes on two cores"
            kept = len(processes.blocks_of(experiment, out))
            there = f", less what is there already ({kept} blocks)" if kept else ""
            print(f"{name}: {experiment.FULL_SEEDS} seeds, {minutes}{there}", file=sys.stderr)
    print("Ctrl-C stops it; the same command then goes on where it was.", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    asked = questions()
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Run experiments; print one table; write figures, claims.json, index.html.",
        epilog="Exit status: 0, every claim holds; 1, a claim fails; 2, wrong input; "
        "130, interrupted.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all; see --list")
    parser.add_argument(
        "--full",
        action="store_true",
        help="30 seeds or more for what is statistical; takes long, says how long, can be "
        "interrupted and goes on where it was",
    )
    parser.add_argument("--list", action="store_true", help="print each NAME and what it asks")
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help=f"default: {RESULTS}; only a run into it renews the README's figures too",
    )
    options = parser.parse_args(arguments)
    if options.list:
        print(tabulate(asked.items(), tablefmt="plain"))
        return 0

    def refuse(reason: str) -> int:
        print(f"python -m experiments: {reason}", file=sys.stderr)
        return 2

    for name in options.names:
        if name not in asked:
            close = difflib.get_close_matches(name, asked, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(asked)}"
            return refuse(f"no experiment is called {name}; {hint}")
    names = list(dict.fromkeys(options.names)) or list(asked)
    # a full run has other seeds, and the README's figures are those of the default line
    figures = README_FIGURES if options.out == RESULTS and not options.full else None
    folders = [options.out] if figures is None else [options.out, figures]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return refuse(f"cannot write to {folder}: {error.strerror}")
    # compiles in half the time; what runs for seconds asks for more
    startup.set_up("--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level=1")
    try:
        importlib.import_module("tqdm")
        experiments = {name: importlib.import_module(f"experiments.{name}") for name in names}
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("experiments", "jaxent"):
            raise
        return refuse(f"{error.name} is not installed; pip install -e '.[experiments]' brings it")

    try:
        findings = conduct(experiments, options.out, figures, options.full)
    except KeyboardInterrupt:
        kept = " The same command goes on where it was." if options.full else ""
        print(f"\nInterrupted.{kept}", file=sys.stderr)
        return 130
    print(table(findings, asked))
    print(f"\n{tally(findings.values())}.\nThe article: {options.out / 'index.html'}")
    return int(any(row.verdict == "FAILS" for f in findings.values() for row in f.rows))


if __name__ == "__main__":
    sys.exit(main())
