"""Ask the questions of experiments/, and hold the answers to what was predicted.

    python -m experiments                 all of them
    python -m experiments escape          one
    python -m experiments --list          what they ask

Prints one table and writes a folder, `results/`: every figure, claims.json, and index.html, one
file that shows it all. Exit status: 0, every claim holds; 1, a claim fails; 2, wrong input.
"""

import argparse
import ast
import difflib
import importlib
import io
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import jaxent

if TYPE_CHECKING:
    from experiments._claims import Finding, Picture, Progress

FOLDER = Path(__file__).parent
RESULTS = Path("results")
README_FIGURES = FOLDER / "figures"


def questions() -> dict[str, str]:
    """The first line of each experiment's docstring, by name, read without importing it."""
    docstrings = {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
        for path in sorted(FOLDER.glob("[!_]*.py"))
    }
    return {name: docstring.splitlines()[0] for name, docstring in docstrings.items()}


def perform(experiment: ModuleType, progress: "Progress") -> "Finding":
    """What one experiment finds, drawn in the style of all."""
    import matplotlib.style

    with matplotlib.style.context("jaxent.paper"):
        return experiment.run(progress)


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


def write(path: Path, content: bytes) -> None:
    """Put content at path whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def table(findings: "dict[str, Finding]", asked: dict[str, str]) -> str:
    """Every row of every experiment as aligned text, the statement last."""
    rows = [row for finding in findings.values() for row in finding.rows]
    heading = ("", "", "predicted", "measured", "tolerance", "")
    widths = [
        max(map(len, column))
        for column in zip(heading, *((r.kind, r.verdict, *r.cells, "") for r in rows), strict=True)
    ]

    def line(*cells: str) -> str:
        return "  ".join(map(str.ljust, cells, widths)).rstrip()

    lines = [line(*heading)]
    for name, finding in findings.items():
        lines += ["", f"{name}: {asked[name]}"]
        lines += [line(r.kind, r.verdict, *r.cells, r.statement) for r in finding.rows]
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
        f"{verdicts.count('refuted')} refuted"
    )


def made_with(seconds: float) -> str:
    """Versions and device, in a line."""
    import jax

    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "optax", "matplotlib"))
    device = jax.devices()[0].device_kind
    return f"Made in {seconds:.0f} s with jaxent {jaxent.__version__}, {packages} on {device}."


def as_json(findings: "dict[str, Finding]", seconds: dict[str, float]) -> bytes:
    """Every row of every experiment; what JSON has no number for (inf, nan) is a string."""

    def number(value: float) -> float | str:
        return value if math.isfinite(value) else str(value)

    record = {
        name: {
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
                    "holds": row.holds,
                }
                for row in finding.rows
            ],
        }
        for name, finding in findings.items()
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode()


def conduct(experiments: dict[str, ModuleType], out: Path) -> "dict[str, Finding]":
    """Run experiments by name, with progress on stderr, and write what they find to a folder."""
    from tqdm import tqdm

    from experiments import _page

    findings: dict[str, Finding] = {}
    images: dict[str, bytes] = {}
    seconds: dict[str, float] = {}
    with tqdm(total=len(experiments), unit="experiment", file=sys.stderr) as bar:
        for name, experiment in experiments.items():
            start = time.perf_counter()
            findings[name] = perform(
                experiment, lambda words, name=name: bar.set_description(f"{name}: {words}")
            )
            bar.set_description(f"{name}: figures")
            for stem, picture in findings[name].pictures.items():
                images[stem] = render(picture)
                write(out / f"{stem}.png", images[stem])
                if picture.in_readme and out == RESULTS:
                    write(README_FIGURES / f"{stem}.png", images[stem])
            seconds[name] = time.perf_counter() - start
            bar.update()
        bar.set_description("done")
    docstrings = {name: experiment.__doc__ or "" for name, experiment in experiments.items()}
    footer = made_with(sum(seconds.values()))
    page = _page.page(docstrings, findings, images, tally(findings), footer)
    write(out / "claims.json", as_json(findings, seconds))
    write(out / "index.html", page.encode())
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    asked = questions()
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Run experiments; print one table; write figures, claims.json, index.html.",
        epilog="Exit status: 0, every claim holds; 1, a claim fails; 2, wrong input.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all; see --list")
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
        for name, question in asked.items():
            print(f"{name:<{max(map(len, asked))}}  {question}")
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
    folders = [options.out] + [README_FIGURES] * (options.out == RESULTS)
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

    findings = conduct(experiments, options.out)
    print(table(findings, asked))
    print(f"\n{tally(findings)}. Figures and reasons: {options.out / 'index.html'}")
    return int(any(row.verdict == "FAILS" for f in findings.values() for row in f.rows))


if __name__ == "__main__":
    sys.exit(main())
