"""The report of `python -m experiments.speed`. Nothing is timed here."""

import json
import re

import numpy as np
import pytest

from experiments.speed import __main__ as speed
from experiments.speed import _tables as tables
from experiments.speed import _timing as timing
from experiments.speed import _torch
from experiments.speed._timing import Job, Unavailable


def fake_process(number):
    """A process that has measured the same number everywhere, as JSON brings it."""
    numbers = [
        (job.table, *cell, number)
        for jobs in speed.GROUPS.values()
        for job in jobs()
        for cell in job.cells
    ]
    notes = [("A table that is empty", "torch is not installed.")]
    return json.loads(json.dumps({"machine": "A processor", "numbers": numbers, "notes": notes}))


def test_the_report_has_every_group_row_and_column_with_median_and_range():
    lines = list(tables.report([fake_process(number) for number in (1.5, 0.25, -2.0)]))
    assert lines[0] == "**A processor**"
    printed = set()
    for table in (line for line in lines if line.startswith("|")):
        (title, *columns), _, *rows = (
            [text.strip() for text in row.split("|")[1:-1]] for row in table.splitlines()
        )
        for row, *cells in rows:
            printed |= {(title, row, *pair) for pair in zip(columns, cells, strict=True)}
    ratio, difference = "0.25 [−2.00–1.50]", "+0.2 [−2.0 to +1.5]"
    for group, jobs in speed.GROUPS.items():
        expected = {
            (job.table, row, column, difference if column == "µs" else ratio)
            for job in jobs()
            for row, column in job.cells
        }
        assert expected, group
        assert expected <= set(printed), group
    assert lines[-3:] == ["A table that is empty: not measured.", "", "torch is not installed."]


def test_no_cell_is_measured_twice():
    cells = [
        (job.table, *cell) for jobs in speed.GROUPS.values() for job in jobs() for cell in job.cells
    ]
    assert len(cells) == len(set(cells))


def test_what_is_unavailable_becomes_a_note(monkeypatch, capsys):
    def refuse(rounds):
        raise Unavailable("There is no compiler.")

    jobs = [
        Job("Table", [("row", "a"), ("row", "b")], lambda rounds: [1.0, float(rounds or 0)]),
        Job("Table", [("row", "c")], refuse),
    ]
    monkeypatch.setitem(speed.GROUPS, "losses", lambda: iter(jobs))
    speed.main(["--process", "--only", "losses", "--rounds", "3"])
    found = json.loads(capsys.readouterr().out)
    assert found["numbers"] == [["Table", "row", "a", 1.0], ["Table", "row", "b", 3]]
    assert found["notes"] == [["Table", "There is no compiler."]]
    lines = list(tables.report([found]))
    assert "Median [range] of 1 process." in lines
    assert lines[-1] == "There is no compiler."


def test_without_torch_its_comparisons_are_unavailable(monkeypatch):
    monkeypatch.setattr(_torch, "INSTALLED", False)
    for job in _torch.jobs():
        with pytest.raises(Unavailable, match="torch is not installed"):
            job.measure(1)


def test_a_ratio_is_the_median_of_pairs_over_the_last_function():
    times = {"fast": iter([9, 9, 2, 2, 1]), "slow": iter([9, 9, 1, 4, 4])}
    measure = timing.ratios(lambda: [lambda: "fast", lambda: "slow"], lambda f: next(times[f()]))
    np.testing.assert_array_equal(measure(3), [0.5])  # of 2/1, 2/4 and 1/4


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("model name\t: Cool CPU 9000 @ 3GHz\ncpu family\t: 6\n", "Cool CPU 9000 @ 3GHz"),
        (
            "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n",
            "AMD EPYC (family 26, model 2)",
        ),
    ],
)
def test_a_processor_whose_name_says_little_has_its_family_told(described, expected):
    assert tables.processor(described) == expected


def test_an_unknown_group_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--only", "losses,fit"])
    assert re.search(r"expected some of losses,.*torch, but 'fit'", capsys.readouterr().err)
