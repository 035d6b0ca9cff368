"""What an experiment is, and what it hands back: an answer, rows that can fail, and figures.

An experiment is a module `experiments/NAME.py`:

    its docstring     the question as the first line; then the reasoning; then, after a line
                      `Predictions:`, a list (`- …`) in which every number is one that a row
                      predicts, or allows as its tolerance, or names in its statement
    its constants     in capitals; among them the losses it measures, under full words
                      (CROSS_ENTROPY = losses.softmax_cross_entropy), looked up when they are
                      used, so that a test can swap one and see a claim fail: a jitted function
                      takes its loss as a static argument, never from the module
    run(progress)     measures, calling `progress("what comes next")` before what takes time,
                      and returns a Finding

Two kinds of row: a claim is a theorem or a closed form and has to hold; a prediction was
written down before measuring, and is shown as refuted when it is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, SupportsFloat

from matplotlib.figure import Figure

Relation = Literal["=", "≤", "≥"]
Progress = Callable[[str], None]


class Row(NamedTuple):
    """One number that was predicted, and what was measured."""

    kind: Literal["claim", "prediction"]
    statement: str
    relation: Relation
    predicted: float
    measured: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether `measured relation predicted`, give or take the tolerance; NaN never holds."""
        if self.measured == self.predicted:
            return True
        match self.relation:
            case "=":
                # An infinite prediction is met by itself alone: ∞ − 1 = ∞ is within no tolerance.
                return math.isfinite(self.predicted) and (
                    abs(self.measured - self.predicted) <= self.tolerance
                )
            case "≤":
                return self.measured <= self.predicted + self.tolerance
            case "≥":
                return self.measured >= self.predicted - self.tolerance

    @property
    def verdict(self) -> Literal["holds", "FAILS", "met", "refuted"]:
        """The row in a word; of the four only FAILS means that something here is wrong."""
        if self.kind == "claim":
            return "holds" if self.holds else "FAILS"
        return "met" if self.holds else "refuted"

    @property
    def cells(self) -> tuple[str, str, str]:
        """Predicted, measured and tolerance as a table shows them."""
        bound = "" if self.relation == "=" else f"{self.relation} "
        tolerance = f"{self.tolerance:.2g}" if self.tolerance else "none"
        return f"{bound}{self.predicted:.6g}", f"{self.measured:.6g}", tolerance


class Picture(NamedTuple):
    """A figure, what it shows in a sentence or two, and whether the README shows it as well."""

    figure: Figure
    caption: str
    in_readme: bool = False


class Finding(NamedTuple):
    """What an experiment found.

    Attributes:
        answer: Two sentences that answer the question, with measured numbers put in by code.
        rows: Every number that was predicted, beside what was measured.
        pictures: By name; a name is the experiment's own (`escape`), or begins with it
            (`escape_rates`), and names the file.
    """

    answer: str
    rows: Sequence[Row]
    pictures: Mapping[str, Picture]


def claim(
    statement: str,
    *,
    predicted: SupportsFloat,
    measured: SupportsFloat,
    tolerance: float = 0.0,
    relative_tolerance: float = 0.0,
    relation: Relation = "=",
) -> Row:
    """A theorem or a closed form: if it does not hold, something here is wrong.

    Args:
        statement: What is equal, with its unit, in words that a reader can check.
        predicted: What the mathematics gives; may be infinite.
        measured: What was measured.
        tolerance: Largest |measured − predicted| that still holds.
        relative_tolerance: The same in units of |predicted|; the larger of the two counts.
        relation: How measured stands to predicted: "=", "≤" or "≥".

    Example:
        >>> claim("surprisal of a coin, nats", predicted=0.693147, measured=0.6931472,
        ...       tolerance=1e-6).holds
        True
    """
    predicted = float(predicted)
    slack = relative_tolerance * abs(predicted) if relative_tolerance else 0.0
    return Row("claim", statement, relation, predicted, float(measured), max(tolerance, slack))


def prediction(
    statement: str,
    *,
    predicted: SupportsFloat,
    measured: SupportsFloat,
    tolerance: float = 0.0,
    relative_tolerance: float = 0.0,
    relation: Relation = "=",
) -> Row:
    """An expectation written down before it was measured: it may be refuted, and says so.

    Takes what `claim` takes.

    Example:
        >>> prediction("held-out accuracy", predicted=0.9, measured=0.88, relation="≥").holds
        False
    """
    return claim(
        statement,
        predicted=predicted,
        measured=measured,
        tolerance=tolerance,
        relative_tolerance=relative_tolerance,
        relation=relation,
    )._replace(kind="prediction")
