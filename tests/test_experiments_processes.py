"""Several experiments at once: the same results as one after the other, and no process is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import _processes as processes

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not hasattr(os, "killpg") or processes.cores() < 2, reason="needs two cores, and POSIX"
)

SCRIPT = '''"""Is {name} equal to itself?

Predictions:

- It is 1.
"""

from experiments._claims import Finding, Picture, claim, prediction
from matplotlib.figure import Figure

SECONDS = 6


def run(progress):
    progress("at it", 0.5)
    {first}
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([{number}, 2])
    rows = [claim("{name}", predicted=1, measured=1), prediction("{name}", predicted=1, measured=2)]
    return Finding("It is {number}. So.", rows, {{"{name}": Picture(figure, "A line.")}})
'''


@pytest.fixture
def start(tmp_path):
    """Start `python -m experiments` on experiments made for the purpose, in a group of its own."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for path in processes.FOLDER.glob("_*.py"):
        shutil.copy(path, folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # what runs the tests in the background has them, and their children, ignore Ctrl-C
    launch = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "os.execv(sys.executable, [sys.executable, '-m', 'experiments', *sys.argv[1:]])"
    )

    def start(*arguments, **first):
        for number, (name, statement) in enumerate(first.items()):
            text = SCRIPT.format(name=name, number=number, first=statement)
            (folder / f"{name}.py").write_text(text)
        return subprocess.Popen(
            [sys.executable, "-c", launch, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def nobody_is_left(group):
    """The helper that multiprocessing starts ends a moment after the program."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_two_processes_find_what_one_finds_in_the_order_of_the_article(start, tmp_path):
    both = start("--out", "both", made_a="pass", made_b="import os; assert os.environ['NPROC']")
    said, progress = both.communicate(timeout=60)
    assert both.returncode == 0, progress
    assert "made_a: 1 of 1 claims hold; 0 of 1 predictions met, 1 refuted" in progress
    assert said.index("made_a:") < said.index("made_b:")
    one = start("--out", "one", "made_a")
    one.communicate(timeout=60)

    def record(folder):
        record = json.loads((tmp_path / folder / "claims.json").read_text())["made_a"]
        return record | {"seconds": 0}

    assert record("both") == record("one")
    pictures = [(tmp_path / folder / "made_a.png").read_bytes() for folder in ("both", "one")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("raise ValueError('of mine')", "The experiment made_b failed:\n\nTraceback"),
        ("import os; os._exit(3)", "The process of the experiment made_b died."),
    ],
)
def test_an_experiment_that_fails_is_named_and_ends_the_others(start, statement, expected):
    run = start(made_a="import time; time.sleep(60)", made_b=statement)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert expected in said
    assert "ValueError: of mine" in said or "raise" not in statement


def test_an_interruption_ends_all_processes_with_one_word(start):
    run = start(made_a="import time; time.sleep(60)", made_b="import time; time.sleep(60)")
    while "at it" not in (said := run.stderr.readline(20)):
        assert run.poll() is None, said
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert said.endswith("\nInterrupted.\n")
    assert "Traceback" not in said
    assert nobody_is_left(run.pid)
