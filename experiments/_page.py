"""The findings as one HTML file: no network, light and dark, wide and narrow."""

import base64
import textwrap
from collections import Counter
from collections.abc import Mapping
from html import escape

from experiments._chapters import CHAPTERS, Chapter
from experiments._claims import Finding, Picture, Row

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #1d1d1b; --quiet: #66645f; --line: #dedbd3; --card: #fff;
  --link: #0072b2; --good: #00694d; --bad: #b3260c; --open: #7d5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161618; --ink: #e9e7e2; --quiet: #a09d96; --line: #37363a; --card: #1f1f22;
    --link: #6cbcf0; --good: #4fc9a0; --bad: #ff8f75; --open: #e3b64f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 56rem;
  background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
}
h1, h2, h3, nav, table, summary, figcaption, .rerun, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.75rem; line-height: 1.2; margin: 1rem 0 .5rem; text-wrap: balance; }
a { color: var(--link); }
.quiet, footer, figcaption, .rerun { color: var(--quiet); font-size: .875rem; }
h3 { font-size: 1.375rem; line-height: 1.3; margin: 0 0 1rem; text-wrap: balance; }
.chapter { margin-top: 5rem; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; }
.chapter h2 { font-size: 1.125rem; margin: 0; }
.chapter p { margin: .25rem 0 0; font-size: .9375rem; line-height: 1.5; color: var(--quiet); }
nav p { margin: 1rem 0 0; font-weight: 600; font-size: .9375rem; }
nav ul { margin: 0; padding-left: 1.25rem; line-height: 1.7; font-size: .9375rem; }
section { margin-top: 3rem; }
section + section { padding-top: 2.5rem; border-top: 1px solid var(--line); }
.answer { font-size: 1.125rem; max-width: 42rem; }
figure { margin: 1.5rem 0; }
.paper { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem;
  overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { margin-top: .5rem; max-width: 42rem; line-height: 1.45; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; line-height: 1.4; }
th { text-align: left; font-weight: 600; color: var(--quiet); }
th, td { padding: .375rem .75rem .375rem 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
.verdict, .number { white-space: nowrap; }
.number { font-variant-numeric: tabular-nums; }
.holds, .met { color: var(--good); } .FAILS { color: var(--bad); font-weight: 700; }
.refuted, .undecided { color: var(--open); }
details { margin: 1rem 0; max-width: 42rem; }
details.rows { max-width: none; }
summary { cursor: pointer; font-size: .9375rem; color: var(--link); }
pre, code { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace;
  font-size: .875em; }
pre { overflow-x: auto; padding: .75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .375rem; }
@media (max-width: 40rem) {
  img { max-width: none; width: 36rem; }
  thead { position: absolute; clip-path: inset(50%); }
  tr, td { display: block; border: 0; padding: 0; }
  tr { padding: .625rem 0; border-bottom: 1px solid var(--line); }
  td.number { display: inline-block; margin-right: 1rem; color: var(--quiet); }
  td.number::before { content: attr(data-label) " "; }
}
"""


def page(
    docstrings: Mapping[str, str],
    findings: Mapping[str, Finding],
    images: Mapping[str, bytes],
    tally: str,
    footer: str,
) -> str:
    """One HTML document.

    Args:
        docstrings: Of every experiment, by name, in the order of the page.
        findings: What each experiment found.
        images: PNG files by the names of the pictures.
        tally: How many rows hold, in a line.
        footer: What the run was made with, in a line.
    """
    chapters = [*CHAPTERS, Chapter("More", "", tuple(docstrings))]
    contents, sections, placed = "", "", set[str]()
    for chapter in chapters:
        names = [name for name in chapter.names if name in docstrings and name not in placed]
        placed.update(names)
        if not names:
            continue
        links = "".join(
            f'<li><a href="#{name}">{escape(question(docstrings[name]))}</a></li>' for name in names
        )
        contents += f"<p>{escape(chapter.title)}</p><ul>{links}</ul>"
        lesson = (
            f"<p><em>For a teacher:</em> {escape(chapter.lesson)}</p>" if chapter.lesson else ""
        )
        sections += f'<header class="chapter"><h2>{escape(chapter.title)}</h2>{lesson}</header>'
        sections += "".join(
            section(name, docstrings[name], findings[name], images) for name in names
        )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jaxent: what does this loss do to my gradients?</title>
<style>{STYLE}</style>
<h1>What does this loss do to my gradients?</h1>
<p>Why are classifiers trained with cross-entropy and not with squared error, and when does it make
no difference? Each question below was answered by a script that wrote down first what it
expects. A <em>claim</em> is a theorem or a closed form, and has to hold. A <em>prediction</em> is
a guess about the world, and may be refuted; where it is about something statistical, it is
undecided as long as its 95 % interval reaches to both sides.</p>
<p><strong>{escape(tally)}.</strong></p>
<p class="quiet">For a reader in a hurry: the pictures, and the sentences in larger type. For a
teacher: the chapters are in the order of a lesson, and at the head of each stands what a class
can do with it.</p>
<nav>{contents}</nav>
{sections}
<footer><p>{escape(footer)}</p></footer>
</html>
"""


def section(name: str, docstring: str, finding: Finding, images: Mapping[str, bytes]) -> str:
    """One experiment: question, picture, answer, the other pictures, rows, reasoning, how to rerun.

    Its rows are folded, and how many of them came out as predicted is what is seen of them.
    """
    first, *others = (figure(images[stem], p) for stem, p in finding.pictures.items())
    return f"""
<section id="{name}">
<h3>{escape(question(docstring))}</h3>
{first}
<p class="answer">{escape(finding.answer)}</p>
{"".join(others)}
<details class="rows"><summary>What was predicted, and measured: {verdicts(finding)}</summary>
<table>
<thead><tr><th>verdict</th><th>what was predicted</th><th>predicted</th><th>measured</th>
<th>tolerance</th></tr></thead>
<tbody>{"".join(map(table_row, finding.rows))}</tbody>
</table></details>
<details><summary>The reasoning, written before measuring</summary>
{prose(docstring.partition(chr(10))[2])}</details>
<p class="rerun">Run it again: <code>python -m experiments {name}</code></p>
</section>"""


def figure(image: bytes, picture: Picture) -> str:
    """A picture with its caption, the image inside."""
    return (
        '<figure><div class="paper" tabindex="0"><img src="data:image/png;base64,'
        f'{base64.b64encode(image).decode()}" alt="{escape(picture.caption)}"></div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def verdicts(finding: Finding) -> str:
    """How many rows there are of each verdict, those that are missing left out."""
    counts = Counter((row.kind, row.verdict) for row in finding.rows)
    return ", ".join(
        f'<span class="{verdict}">{count} {kind}{"s" * (count > 1)} '
        f"{'hold' if verdict == 'holds' and count > 1 else verdict}</span>"
        for (kind, verdict), count in counts.items()
    )


def question(docstring: str) -> str:
    """The first line."""
    return docstring.partition("\n")[0]


def table_row(row: Row) -> str:
    """One row that was predicted, as a row of the table."""
    predicted, measured, tolerance = row.cells
    evidence = f'<div class="quiet">{escape(row.evidence)}</div>' if row.evidence else ""
    return (
        f'<tr><td class="verdict {row.verdict}">{row.kind} {row.verdict}</td>'
        f"<td>{escape(row.statement)}{evidence}</td>"
        f'<td class="number" data-label="predicted">{predicted}</td>'
        f'<td class="number" data-label="measured">{measured}</td>'
        f'<td class="number" data-label="tolerance">{tolerance}</td></tr>'
    )


def prose(text: str) -> str:
    """A docstring as HTML: paragraphs, `- ` lists, and what is indented as it stands."""
    blocks = textwrap.dedent(text).strip("\n").split("\n\n")
    return "\n".join(map(block_of_prose, blocks))


def block_of_prose(block: str) -> str:
    """One block between blank lines."""
    if block.startswith("    "):
        return f"<pre>{escape(textwrap.dedent(block))}</pre>"
    if block.startswith("- "):
        items = ("\n" + block).split("\n- ")[1:]
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
    return f"<p>{escape(block)}</p>"
