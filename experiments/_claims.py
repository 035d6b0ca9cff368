"""What an experiment is, and what it hands back: an answer, rows that can fail, and figures.

An experiment is a module `experiments/NAME.py`:

    its docstring     the question as the first line; then the reasoning; then, after a line
                      `Predictions:`, a list (`- …`) in which every number is one that a row
                      predicts, or allows as its tolerance, or names in its statement
    its constants     in capitals; among them the losses it measures, under full words
                      (CROSS_ENTROPY = losses.softmax_cross_entropy), looked up when they are
                      used, so that a test can swap one and see a claim fail: a jitted function
                      takes its loss as a static argument, never from the module
    SECONDS           what it takes on one core, which weighs its part of the progress bar; those
                      that take longest start first
    run(progress)     measures, calling `progress("what comes next", fraction_done)` before what
                      takes time, and returns a Finding

An experiment that is statistical has besides

    SEEDS             how many it takes by default, too few for a claim about speed
    FULL_SEEDS        how many `--full` gives it, 30 or more, and FULL_SECONDS what that takes
    run(progress, seeds, keep)
                      gets every block of its work as `keep(name, compute)`, where compute()
                      returns named arrays: under --full they are kept on disk, so that a run
                      that was interrupted goes on where it was

Two kinds of row: a claim is a theorem or a closed form and has to hold; a prediction was
written down before measuring, and is shown as refuted when it is. A prediction about something
statistical has an interval, the number of seeds and the protocol, and is no stronger than its
interval: met when all of it is on the predicted side, refuted when none of it is, and undecided
in between.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, SupportsFloat

import numpy as np
from matplotlib.figure import Figure

Relation = Literal["=", "≤", "≥"]
Verdict = Literal["holds", "FAILS", "met", "refuted", "undecided"]
Arrays = dict[str, np.ndarray]


class Progress(Protocol):
    """Says what comes next, and, if given, which fraction of the experiment is done."""

    def __call__(self, words: str, fraction: float | None = None, /) -> None: ...


class Keep(Protocol):
    """Hands back the arrays of a block of work: those kept from an earlier run, or computed."""

    def __call__(self, block: str, compute: Callable[[], Arrays], /) -> Arrays: ...


def compute(block: str, compute: Callable[[], Arrays], /) -> Arrays:
    """Keep nothing: compute every block."""
    return compute()


class Row(NamedTuple):
    """One number that was predicted, and what was measured.

    Attributes:
        kind: Whether it must hold.
        statement: What the number is, with its unit.
        relation: How measured should stand to predicted.
        predicted: From mathematics, or guessed before measuring.
        measured: As the run found it; of something statistical the estimate over all seeds.
        tolerance: How far measured may be off.
        interval: The 95 % interval of a statistical estimate.
        seeds: How many seeds the estimate and its interval come from.
        protocol: How it was measured: what was tuned, on what, and what interval this is.
    """

    kind: Literal["claim", "prediction"]
    statement: str
    relation: Relation
    predicted: float
    measured: float
    tolerance: float
    interval: tuple[float, float] | None = None
    seeds: int | None = None
    protocol: str = ""

    def allows(self, measured: float) -> bool:
        """Whether `measured relation predicted`, give or take the tolerance; NaN never does."""
        if measured == self.predicted:
            return True
        match self.relation:
            case "=":
                # An infinite prediction is met by itself alone: ∞ − 1 = ∞ is within no tolerance.
                return math.isfinite(self.predicted) and (
                    abs(measured - self.predicted) <= self.tolerance
                )
            case "≤":
                return measured <= self.predicted + self.tolerance
            case "≥":
                return measured >= self.predicted - self.tolerance

    @property
    def holds(self) -> bool:
        """Whether the measurement, with all of its interval, is what was predicted."""
        return all(map(self.allows, (self.measured, *(self.interval or ()))))

    @property
    def verdict(self) -> Verdict:
        """The row in a word; of them only FAILS means that something here is wrong."""
        if self.kind == "claim":
            return "holds" if self.holds else "FAILS"
        if self.holds:
            return "met"
        if self.interval is not None:
            low, high = self.interval
            around = self.relation == "=" and low <= self.predicted <= high
            if around or self.allows(low) or self.allows(high):
                return "undecided"
        return "refuted"

    @property
    def cells(self) -> tuple[str, str, str]:
        """Predicted, measured and tolerance as a table shows them."""
        bound = "" if self.relation == "=" else f"{self.relation} "
        tolerance = f"{self.tolerance:.2g}" if self.tolerance else "none"
        measured = f"{self.measured:.6g}"
        if self.interval is not None:
            low, high = self.interval
            measured = f"{self.measured:.3g} [{low:.3g}, {high:.3g}]"
        return f"{bound}{self.predicted:.6g}", measured, tolerance

    @property
    def evidence(self) -> str:
        """Seeds and protocol of a statistical row in words; nothing for others."""
        if self.seeds is None:
            return ""
        return f"{self.seeds} seeds; {self.protocol}"


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
    interval: tuple[SupportsFloat, SupportsFloat] | None = None,
    seeds: int | None = None,
    protocol: str = "",
) -> Row:
    """An expectation written down before it was measured: it may be refuted, and says so.

    Takes what `claim` takes, and of something statistical:

    Args:
        interval: The 95 % interval of what was measured; decides together with it.
        seeds: How many seeds.
        protocol: What was tuned, on what, and what interval this is, in words.

    Raises:
        ValueError: If of interval, seeds and protocol some are given and some are not.

    Example:
        >>> prediction("held-out accuracy", predicted=0.9, measured=0.88, relation="≥").verdict
        'refuted'
        >>> prediction("held-out accuracy", predicted=0.9, measured=0.88, relation="≥",
        ...            interval=(0.85, 0.91), seeds=5, protocol="bootstrap").verdict
        'undecided'
    """
    if len({interval is None, seeds is None, not protocol}) > 1:
        raise ValueError(
            f"{statement!r} needs all of interval, seeds and protocol, or none of them, but has "
            f"interval={interval}, seeds={seeds}, protocol={protocol!r}."
        )
    return claim(
        statement,
        predicted=predicted,
        measured=measured,
        tolerance=tolerance,
        relative_tolerance=relative_tolerance,
        relation=relation,
    )._replace(
        kind="prediction",
        interval=interval and (float(interval[0]), float(interval[1])),
        seeds=seeds,
        protocol=protocol,
    )
