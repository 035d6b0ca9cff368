"""Is a right derivative ever called wrong?  `python -m experiments.families` prints it as Markdown.

`jaxent check` judges random forms of losses: right ones, and ones with a custom_vjp of which one
gradient entry is off by a part of the largest. `--cards` asks the cards instead. It takes about a
second a form.
"""

import argparse
import itertools
from collections import Counter

import jax
import numpy as np
from tabulate import tabulate

from experiments.families._forms import Form, forms, wrongly
from jaxent.__main__ import hear_witnesses, points_to_check
from jaxent._specification import Given, Refusal
from jaxent.cards._facts import facts_of

OFF = {False: (1e-3, 1e-5, 1e-7), True: (1e-3,)}
POINTS = points_to_check(3, None)


def found_right(form: Form, by_card: bool = False) -> bool:
    """Whether `jaxent check`, or a card, calls the gradient of a form right."""
    if by_card:
        return facts_of(form.loss, 3, "derivatives")["derivatives"].right
    given = Given(form.name, form.name, form.loss, binary=False, folder=None)
    return hear_witnesses(given, *POINTS)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forms", type=int, default=1000, help="how many right forms")
    parser.add_argument(
        "--wrong", type=int, default=100, help="of how many wrong ones are made too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cards", action="store_true", help="ask the cards, not jaxent check")
    options = parser.parse_args()
    judged: Counter[tuple[str, str, bool]] = Counter()
    for number, form in enumerate(itertools.islice(forms(options.seed), options.forms)):
        precision = "float32" if form.single else "float64"
        asked = [("right", form)]
        if number < options.wrong and form.sharp:
            asked += [(f"off by {off:.0e}", wrongly(form, off)) for off in OFF[form.single]]
        for rule, one in asked:
            try:
                right = found_right(one, options.cards)
            except Refusal:
                continue  # it is finite at none of the points
            judged[precision, rule, right] += 1
            if right != (rule == "right"):
                print(f"judged {'right' if right else 'wrong'}: {one.name}", flush=True)
        if number % 50 == 49:
            jax.clear_caches()
    kinds = dict.fromkeys((precision, rule) for precision, rule, _ in judged)
    rows = [[*kind, judged[(*kind, True)], judged[(*kind, False)]] for kind in kinds]
    print(tabulate(rows, ["computes in", "rule", "judged right", "judged wrong"], "github"))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
