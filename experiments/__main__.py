"""Ask the questions of experiments/, and hold the answers to what was predicted.

    python -m experiments                 all of them
    python -m experiments escape          one
    python -m experiments --full          all of them, the statistical ones with 30 seeds or more
    python -m experiments --list          what they ask

Prints one table and writes a folder, `results/`: every figure, claims.json, and index.html, one
file that reads as an article. Exit status: 0, every claim holds; 1, a claim fails; 2, wrong
input; 130, interrupted.
"""

import argparse
import ast
import difflib
import importlib
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tabulate import tabulate

import jaxent
from jaxent import _files as files

if TYPE_CHECKING:
    from experiments._blocks import Blocks
    from experiments._claims import Finding, Picture, Progress

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


def is_statistical(experiment: ModuleType) -> bool:
    """Whether --full gives it more seeds."""
    return hasattr(experiment, "FULL_SEEDS")


def blocks_of(experiment: ModuleType, out: Path) -> "Blocks":
    """Where the blocks of a full run are kept."""
    from experiments._blocks import Blocks, fingerprint

    name = experiment.__name__.rpartition(".")[2]
    sources = [*FOLDER.glob("_*.py"), FOLDER / f"{name}.py"]
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
        picture.figure.savefig(drawn, format="png")
    # A third of the bytes of all colours, which on a smooth field the eye does not tell from these.
    image = Image.open(drawn).convert("RGB")
    palette = image.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    colours = np.reshape(palette.getpalette() or [], (-1, 3))
    # Pillow looks colours up rounded, and would take one of these for the white of the paper.
    colours[colours.min(axis=1) > 247] = 255
    palette.putpalette(colours.ravel().tolist())
    image.quantize(palette=palette).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


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


def tally(findings: "dict[str, Finding]") -> str:
    """How many rows of each verdict, in a line."""
    rows = [row for finding in findings.values() for row in finding.rows]
    verdicts = [row.verdict for row in rows]
    claims = [row for row in rows if row.kind == "claim"]
    predictions = len(rows) - len(claims)
    return (
        f"{verdicts.count('holds')} of {len(claims)} claims hold; "
        f"{verdicts.count('met')} of {predictions} predictions met, "
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

    findings: dict[str, Finding] = {}
    images: dict[str, bytes] = {}
    seconds: dict[str, float] = {}
    expected = {
        name: experiment.FULL_SECONDS if full and is_statistical(experiment) else experiment.SECONDS
        for name, experiment in experiments.items()
    }
    if full and any(map(is_statistical, experiments.values())):
        say_how_long(experiments, expected, out)
    # The bar counts expected seconds, as experiments differ a hundredfold.
    layout = "{l_bar}{bar}| {elapsed} gone, {remaining} to go"
    with tqdm(total=sum(expected.values()), bar_format=layout, file=sys.stderr) as bar:
        behind = 0.0
        for name, experiment in experiments.items():

            def progress(
                words: str, fraction: float | None = None, /, name=name, behind=behind
            ) -> None:
                bar.set_description(f"{name}: {words}", refresh=fraction is None)
                if fraction is not None:
                    bar.update(max(0.0, behind + min(fraction, 1) * expected[name] - bar.n))

            start = time.perf_counter()
            blocks = blocks_of(experiment, out) if full and is_statistical(experiment) else None
            findings[name] = perform(experiment, progress, blocks)
            bar.set_description(f"{name}: figures")
            for stem, picture in findings[name].pictures.items():
                images[stem] = render(picture)
                files.write(out / f"{stem}.png", images[stem])
                if picture.in_readme and figures is not None:
                    files.write(figures / f"{stem}.png", images[stem])
            seconds[name] = time.perf_counter() - start
            behind += expected[name]
            bar.update(behind - bar.n)
        bar.set_description("done")
    docstrings = {name: experiment.__doc__ or "" for name, experiment in experiments.items()}
    footer = made_with(sum(seconds.values()))
    page = _page.page(docstrings, findings, images, tally(findings), footer)
    files.write(out / "claims.json", as_json(findings, docstrings, seconds))
    files.write(out / "index.html", page.encode())
    return findings


def say_how_long(experiments: dict[str, ModuleType], expected: dict[str, float], out: Path) -> None:
    """Before a full run: how long it takes, and what is there already."""
    for name, experiment in experiments.items():
        if is_statistical(experiment):
            minutes = f"about {expected[name] / 60:.0f} minutes on two cores"
            kept = len(blocks_of(experiment, out))
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
    print(f"\n{tally(findings)}.\nThe article: {options.out / 'index.html'}")
    return int(any(row.verdict == "FAILS" for f in findings.values() for row in f.rows))


if __name__ == "__main__":
    sys.exit(main())
