"""Are cards right about whole families?  `python -m experiments.families.cards` prints Markdown.

Formulas give the facts of some families of losses. The cards of these losses are held to them. It
takes from one to ten seconds a loss.
"""

import argparse

import jax
import numpy as np
from tabulate import tabulate

from experiments.families import _known as known

FAMILIES = {
    "scaled": ("logits times s", known.scaled, (2, 3)),
    "clipped": ("clips at ε", known.clipped, (2, 3, 10)),
    "composed": ("sums, multiples, shifts, squashings", known.composed, (2, 3)),
    "recoded": ("targets a p + b", known.recoded, (2, 3)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, action="append", help="only this one")
    parser.add_argument("--classes", type=int, action="append", help="only so many classes")
    parser.add_argument("--only", default="", help="only the losses with this in their name")
    options = parser.parse_args()
    rows, lines = [], []
    for short, (family, make, counts) in FAMILIES.items():
        if options.family and short not in options.family:
            continue
        number = wrong = unanswered = 0
        for num_classes in options.classes or counts:
            for one in make(num_classes):
                if options.only not in one.name:
                    continue
                off = [fact for fact in known.judged(one) if fact.verdict != "right"]
                for fact in off:
                    line = (
                        f"- {one.name}, {num_classes} classes: {fact.fact}: expected "
                        f"{fact.expected}, received {fact.received} ({fact.verdict})"
                    )
                    lines.append(line)
                    print(line, flush=True)
                verdicts = {fact.verdict for fact in off}
                number += 1
                wrong += "wrong" in verdicts
                unanswered += verdicts == {"no answer"}
                if number % 30 == 0:
                    jax.clear_caches()
        rows.append([family, number, wrong, unanswered])
    print()
    print(tabulate(rows, ["family", "losses", "wrong", "no answer"], "github"))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
