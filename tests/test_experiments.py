"""The frame of the experiments, and what every experiment has to be."""

import html.parser
import importlib
import json
import math
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import matplotlib.style
import numpy as np
import optax
import pytest

import experiments
from experiments import __main__ as frame
from experiments import _chapters, _page
from experiments import _processes as processes
from experiments._blocks import Blocks, fingerprint
from experiments._chapters import CHAPTERS, Chapter
from experiments._claims import Finding, claim, prediction
from jaxent import cards, losses
from tests.text_overlaps import unreadable_text

NAMES = list(frame.questions())

SIZES: dict[str, dict[str, object]] = {
    "classics": {
        "WEIGHTS": np.linspace(-10, 10, 41),
        "BITS": 6,
        "MOST_STEPS": 60,
        "SHARES": np.array([0.25, 1.0]),
        "RACE_SEEDS": 5,
    },
    "convexity": {"RESOLUTIONS": {3: 61, 4: 16}},
    "escape": {"MARGINS": {2: np.arange(1, 13), 10: np.arange(1, 7)}},
    "label_noise": {
        "SEEDS": 2,
        "HIDDEN": (4,),
        "BATCH_SIZE": 16,
        "STEPS": 20,
        "TUNING_STEPS": 10,
        "POWERS": range(2),
        "MOST_POWERS": 3,
    },
    "gaussian_classes": {
        "EXAMPLES": 1000,
        "DRAWS": 10,
        "MANY_EXAMPLES": 60,
        "MANY_DRAWS": 4,
    },
    "gallery": {"SHEETS": ("gallery", "gallery_by_hand", "gallery_of_scales")},
    "race": {
        "SEEDS": 2,
        "SEEDS_AT_ONCE": 2,
        "TARGETS": {"iris": 0.9},
        "FOCUS": "iris",
        "STEPS": 20,
        "POWERS": range(-2, 3),
        # one program for all
        "MODELS": dict.fromkeys(("linear", "hidden layer"), ()),
        "OPTIMIZERS": dict.fromkeys(("descent", "Adam"), optax.identity()),
    },
}
"""Constants of experiments that would take long here; `python -m experiments` has its own sizes."""


# ---- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"predicted": 1.0, "measured": 1.0}, True),
        ({"predicted": 1.0, "measured": 1.0 + 1e-15}, False),
        ({"predicted": 1.0, "measured": 1.05, "tolerance": 0.1}, True),
        ({"predicted": 1.0, "measured": 1.15, "tolerance": 0.1}, False),
        ({"predicted": -200.0, "measured": -201.0, "relative_tolerance": 0.01}, True),
        ({"predicted": -200.0, "measured": -203.0, "relative_tolerance": 0.01}, False),
        ({"predicted": 2.0, "measured": 1.0, "relation": "≤"}, True),
        ({"predicted": 2.0, "measured": 2.5, "relation": "≤"}, False),
        ({"predicted": 2.0, "measured": 2.5, "relation": "≤", "tolerance": 0.6}, True),
        ({"predicted": 2.0, "measured": 3.0, "relation": "≥"}, True),
        ({"predicted": 2.0, "measured": 1.0, "relation": "≥"}, False),
        ({"predicted": math.inf, "measured": math.inf}, True),
        ({"predicted": math.inf, "measured": 1e300, "relative_tolerance": 0.1}, False),
        ({"predicted": 1e300, "measured": math.inf, "tolerance": 1.0}, False),
        ({"predicted": math.inf, "measured": -math.inf, "tolerance": math.inf}, False),
    ],
)
def test_row_holds_where_measured_stands_to_predicted_as_said(row, expected):
    assert claim("x", **row).holds is expected
    assert prediction("x", **row).holds is expected


@pytest.mark.parametrize("relation", ["=", "≤", "≥"])
@pytest.mark.parametrize("predicted", [0.0, math.inf, -math.inf, math.nan])
def test_nan_never_holds(relation, predicted):
    row = claim("x", predicted=predicted, measured=math.nan, tolerance=1e9, relation=relation)
    assert not row.holds


def test_a_claim_fails_and_a_prediction_is_refuted():
    assert claim("x", predicted=1, measured=2).verdict == "FAILS"
    assert prediction("x", predicted=1, measured=2).verdict == "refuted"
    assert claim("x", predicted=1, measured=1).verdict == "holds"
    assert prediction("x", predicted=1, measured=1).verdict == "met"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"relation": "≥", "measured": 1.2, "interval": (1.1, 1.3)}, "met"),
        ({"relation": "≥", "measured": 1.2, "interval": (0.9, 1.3)}, "undecided"),
        ({"relation": "≥", "measured": 0.9, "interval": (0.8, 1.1)}, "undecided"),
        ({"relation": "≥", "measured": 0.8, "interval": (0.7, 0.9)}, "refuted"),
        ({"relation": "≤", "measured": 0.8, "interval": (0.7, 0.9)}, "met"),
        ({"relation": "≤", "measured": 1.2, "interval": (1.1, 1.3)}, "refuted"),
        ({"relation": "=", "measured": 1.0, "interval": (0.96, 1.04), "tolerance": 0.05}, "met"),
        ({"relation": "=", "measured": 1.0, "interval": (0.5, 1.5), "tolerance": 0.1}, "undecided"),
        (
            {"relation": "=", "measured": 1.2, "interval": (1.06, 1.3), "tolerance": 0.1},
            "undecided",
        ),
        ({"relation": "=", "measured": 1.3, "interval": (1.2, 1.4), "tolerance": 0.1}, "refuted"),
        ({"relation": "≥", "measured": math.nan, "interval": (math.nan, math.nan)}, "refuted"),
    ],
)
def test_prediction_is_no_stronger_than_its_interval(row, expected):
    row = prediction("x", predicted=1, seeds=5, protocol="bootstrap", **row)
    assert row.verdict == expected


@pytest.mark.parametrize("left_out", ["interval", "seeds", "protocol"])
def test_interval_seeds_and_protocol_come_together(left_out):
    evidence = {"interval": (0.0, 1.0), "seeds": 5, "protocol": "bootstrap"}
    del evidence[left_out]
    with pytest.raises(ValueError, match="needs all of interval, seeds and protocol"):
        prediction("x", predicted=1, measured=1, **evidence)


# ---- python -m experiments, on experiments made for the purpose ----------------------------------

SCRIPT = '''"""Is one equal to {predicted}?

Since a < b, and so on.

    one = {predicted}

Predictions:

- one is {predicted}.
"""

from experiments._claims import Finding, Picture, {kind}
from matplotlib.figure import Figure

SECONDS = 0.1


def run(progress):
    progress("counting")
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    row = {kind}("one < two & more", predicted=float("{predicted}"), measured=float("{measured}"))
    picture = Picture(figure, "A line, <straight>.", in_readme=True)
    return Finding("It is 1. That is all.", [row], {{"{name}": picture}})
'''


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder of experiments beside the empty folder that the command is given in."""
    scripts, here = tmp_path / "scripts", tmp_path / "here"
    scripts.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(frame, "FOLDER", scripts)
    monkeypatch.setattr(frame, "README_FIGURES", tmp_path / "figures")
    # another process would not find the scripts
    monkeypatch.setattr(processes, "processes_for", lambda seconds: 1)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(scripts)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("experiments.made_"):
            del sys.modules[name]


def make(workplace, name, *, kind="claim", predicted="1", measured="1", text=None):
    script = text or SCRIPT.format(name=name, kind=kind, predicted=predicted, measured=measured)
    (workplace / "scripts" / f"{name}.py").write_text(script)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("kind", "measured", "expected"),
    [("claim", "1", 0), ("claim", "2", 1), ("claim", "nan", 1), ("prediction", "2", 0)],
)
def test_exit_status_is_one_when_and_only_when_a_claim_fails(
    workplace, capsys, kind, measured, expected
):
    make(workplace, "made_good")
    make(workplace, "made_here", kind=kind, measured=measured)
    assert frame.main([]) == expected
    table = capsys.readouterr().out
    verdict = {"claim": "FAILS", "prediction": "refuted"}[kind] if measured != "1" else "holds"
    assert re.search(rf"{kind} +{verdict} +1 +{measured} +none +one < two & more", table)
    assert "made_good: Is one equal to 1?" in table


def test_run_writes_every_figure_the_rows_and_a_page(workplace, capsys):
    make(workplace, "made_a")
    make(workplace, "made_b", predicted="inf", measured="inf")
    assert frame.main([]) == 0
    results = workplace / "here" / "results"
    assert sorted(path.name for path in results.iterdir()) == [
        "claims.json",
        "index.html",
        "made_a.png",
        "made_b.png",
    ]
    record = json.loads((results / "claims.json").read_text(), parse_constant=pytest.fail)
    assert record["made_a"]["question"] == "Is one equal to 1?"
    assert record["made_b"]["rows"][0]["measured"] == "inf"
    assert record["made_a"]["rows"][0] == {
        "kind": "claim",
        "statement": "one < two & more",
        "relation": "=",
        "predicted": 1.0,
        "measured": 1.0,
        "tolerance": 0.0,
        "interval": None,
        "seeds": None,
        "protocol": "",
        "verdict": "holds",
    }
    assert "made_a: counting" in capsys.readouterr().err


class Outline(html.parser.HTMLParser):
    """Checks that tags nest, and keeps what a page loads and says."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_is_one_file_that_needs_nothing_else(workplace):
    make(workplace, "made_a")
    frame.main([])
    text = (workplace / "here" / "results" / "index.html").read_text()
    page = Outline(text)
    assert len(page.sources) == 1
    assert page.sources[0].startswith("data:image/png;base64,")
    assert "http" not in text
    assert "url(" not in text
    for said in (
        "Is one equal to 1?",
        "It is 1. That is all.",
        "one < two & more",
        "A line, <straight>.",
        "Since a < b, and so on.",
        "python -m experiments made_a",
        "1 of 1 claims hold",
    ):
        assert said in page.text


def test_article_is_in_chapters_with_a_word_for_a_teacher_and_what_has_no_place_comes_last(
    workplace, monkeypatch
):
    chapters = Chapter("First things", "Ask the class.", ("made_z", "made_y")), Chapter("-", "", ())
    monkeypatch.setattr(_chapters, "CHAPTERS", chapters)
    monkeypatch.setattr(_page, "CHAPTERS", chapters)
    for name in "made_a", "made_y", "made_z":
        make(workplace, name)
    assert list(frame.questions()) == ["made_z", "made_y", "made_a"]
    frame.main([])
    text = (workplace / "here" / "results" / "index.html").read_text()
    said = Outline(text).text
    assert said.rindex("First things") < said.index("Ask the class.") < said.rindex("More")
    assert re.findall('<section id="([a-z_]+)">', text) == ["made_z", "made_y", "made_a"]
    assert "What was predicted, and measured: 1 claim holds" in said


def test_figures_of_the_readme_are_renewed_by_a_run_into_the_default_folder_only(workplace):
    make(workplace, "made_a")
    frame.main(["--out", "elsewhere"])
    assert not (workplace / "figures").exists()
    frame.main([])
    renewed = (workplace / "figures" / "made_a.png").read_bytes()
    assert renewed == (workplace / "here" / "results" / "made_a.png").read_bytes()


def test_same_figure_gives_the_same_bytes(workplace):
    make(workplace, "made_a")
    frame.main(["--out", "one"])
    frame.main(["--out", "two"])
    one, two = (workplace / "here" / name / "made_a.png" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_unknown_name_is_refused_with_the_nearest_one(workplace, capsys):
    make(workplace, "made_escape")
    assert frame.main(["made_excape"]) == 2
    expected = "no experiment is called made_excape; did you mean made_escape?\n"
    assert capsys.readouterr().err.endswith(expected)
    assert not (workplace / "here" / "results").exists()


def test_name_like_no_other_is_refused_with_the_list(workplace, capsys):
    make(workplace, "made_a")
    make(workplace, "made_b")
    assert frame.main(["zzz"]) == 2
    assert capsys.readouterr().err.endswith("; there are made_a, made_b\n")


def test_unwritable_out_is_refused_before_anything_is_computed(workplace, capsys):
    make(workplace, "made_a", text='"""Q?"""\nraise AssertionError("was run")')
    (workplace / "here" / "taken").write_text("")
    for out in ("taken", "taken/below"):
        assert frame.main(["--out", out]) == 2
        assert f"cannot write to {out}: " in capsys.readouterr().err


def test_missing_package_is_named_with_the_line_that_installs_it(workplace, capsys):
    make(workplace, "made_a", text='"""Q?"""\nimport sklearn_of_nowhere')
    assert frame.main([]) == 2
    expected = "sklearn_of_nowhere is not installed; pip install -e '.[experiments]' brings it\n"
    assert capsys.readouterr().err.endswith(expected)


def test_broken_import_of_our_own_is_not_called_a_missing_package(workplace):
    make(workplace, "made_a", text='"""Q?"""\nimport jaxent.nowhere')
    with pytest.raises(ModuleNotFoundError, match=r"jaxent\.nowhere"):
        frame.main([])


def test_scripts_are_found_by_glob_without_private_ones_and_folders(workplace, capsys):
    make(workplace, "made_b")
    make(workplace, "made_a")
    make(workplace, "_private")
    (workplace / "scripts" / "speed").mkdir()
    (workplace / "scripts" / "speed" / "made_c.py").write_text('"""Fast?"""')
    assert frame.main(["--list"]) == 0
    expected = "made_a  Is one equal to 1?\nmade_b  Is one equal to 1?\n"
    assert capsys.readouterr().out == expected


STATISTICAL = '''"""Is the mean of some numbers 0?

Predictions:

- It is 0.
"""

import numpy as np
from experiments._claims import Finding, Picture, prediction
from matplotlib.figure import Figure

SEEDS, FULL_SEEDS, SECONDS, FULL_SECONDS = 2, 3, 0.1, 600
computed, stopping = [], set()


def run(progress, seeds, keep):
    def block(seed):
        computed.append(seed)
        if seed in stopping:
            raise KeyboardInterrupt
        return {"drawn": np.array([-1.0, 0.0, 1.0]) + seed}

    drawn = [keep(f"seed-{seed}", lambda: block(seed))["drawn"] for seed in range(seeds)]
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(drawn)
    row = prediction("mean", predicted=0, measured=np.mean(drawn), tolerance=9,
                     interval=(-1, 1), seeds=seeds, protocol="drawn by hand")
    return Finding("It is 1. So.", [row], {"made_mean": Picture(figure, "A line.", True)})
'''


def test_full_run_uses_all_seeds_and_goes_on_where_it_was_interrupted(workplace, capsys):
    make(workplace, "made_mean", text=STATISTICAL)
    module = importlib.import_module("experiments.made_mean")
    module.stopping.add(1)
    assert frame.main(["--full", "made_mean"]) == 130
    said = capsys.readouterr()
    assert "made_mean: 3 seeds, about 10 minutes on two cores\n" in said.err
    assert "Interrupted. The same command goes on where it was." in said.err
    assert said.out == ""
    module.stopping.clear()
    module.computed.clear()
    assert frame.main(["--full", "made_mean"]) == 0
    assert module.computed == [1, 2]
    assert "less what is there already (1 blocks)" in capsys.readouterr().err


def test_full_run_carries_its_evidence_into_table_record_and_page(workplace, capsys):
    make(workplace, "made_mean", text=STATISTICAL)
    make(workplace, "made_a")
    assert frame.main(["--full"]) == 0
    results = workplace / "here" / "results"
    row = json.loads((results / "claims.json").read_text())["made_mean"]["rows"][0]
    assert (row["seeds"], row["interval"], row["protocol"]) == (3, [-1, 1], "drawn by hand")
    assert "3 seeds; drawn by hand" in capsys.readouterr().out
    assert "3 seeds; drawn by hand" in Outline((results / "index.html").read_text()).text
    assert not (workplace / "figures").exists(), "the README shows what the first line makes"
    frame.main([])
    assert json.loads((results / "claims.json").read_text())["made_mean"]["rows"][0]["seeds"] == 2


def test_what_is_kept_is_computed_anew_when_the_experiment_has_changed(tmp_path):
    script = tmp_path / "made.py"
    script.write_text("SEEDS = 1")
    before = fingerprint([script])
    script.write_text("SEEDS = 2")
    assert fingerprint([script]) != before


def test_kept_block_is_read_and_not_computed(tmp_path):
    blocks = Blocks(tmp_path / "blocks")
    first = blocks("a", lambda: {"x": np.arange(3)})
    again = blocks("a", lambda: pytest.fail("computed again"))
    assert list(again) == list(first)
    np.testing.assert_array_equal(again["x"], first["x"])
    assert len(blocks) == 1


def test_progress_shows_the_time_left_and_never_goes_back(workplace, capsys):
    text = SCRIPT.format(name="made_a", kind="claim", predicted="1", measured="1").replace(
        'progress("counting")',
        'progress("first", 0.25)\n    progress("second", 0.1)\n    progress("third", 2.0)',
    )
    make(workplace, "made_a", text=text)
    make(workplace, "made_b")
    assert frame.main([]) == 0
    shown = capsys.readouterr().err
    percents = [int(percent) for percent in re.findall(r"(\d+)%", shown)]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert re.search(r"\d\d:\d\d gone, \d\d:\d\d to go", shown)


@pytest.mark.parametrize("option", ["--list", "--help"])
def test_looking_around_loads_neither_jax_nor_matplotlib(option):
    program = f"""
import atexit, sys
from experiments.__main__ import main
atexit.register(lambda: print({{"jax", "matplotlib"}} & set(sys.modules), file=sys.stderr))
main(["{option}"])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stderr == "set()\n"


# ---- every experiment --------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def _each_card_measured_once():
    """A card takes a second, and what computes the same has the same."""
    measured, measure = {}, cards.card

    def card(loss, num_classes=3, *, name=None, seed=0, progress=None):
        example = jax.ShapeDtypeStruct((num_classes,), float)
        # in a function of its own, as JAX would remember what the loss was before a swap
        traced = jax.make_jaxpr(lambda z, p: loss(z, p))(example, example)
        program = re.sub("0x[0-9a-f]+", "", str(traced))
        key = program, num_classes, seed
        if key not in measured:
            measured[key] = measure(loss, num_classes, seed=seed)
        return measured[key]._replace(name=name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "card", card)
        yield


@pytest.fixture(autouse=True, scope="module")
def _small_sizes():
    with pytest.MonkeyPatch.context() as patch:
        for name, constants in SIZES.items():
            for constant, value in constants.items():
                patch.setattr(importlib.import_module(f"experiments.{name}"), constant, value)
        yield


def silence(words, fraction=None):
    """No progress."""


@cache
def perform(name) -> Finding:
    return processes.perform(importlib.import_module(f"experiments.{name}"), silence)


def losses_of(name) -> list[str]:
    """The constants of an experiment that are losses of jaxent, read without importing it."""
    script = (frame.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return re.findall(r"^([A-Z_]+) = (?:losses|information)\.", script, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_holds(name):
    assert [row for row in perform(name).rows if row.verdict == "FAILS"] == []


@pytest.mark.parametrize("name", NAMES)
def test_experiment_names_a_loss_that_can_be_swapped(name):
    assert losses_of(name)


class ClaimFails(Exception):
    """What a run is stopped by."""


def claim_or_stop(*args, **kwargs):
    row = claim(*args, **kwargs)
    if row.verdict == "FAILS":
        raise ClaimFails(row.statement)
    return row


def another_loss(loss):
    """One that takes the same arguments."""
    if loss is losses.sigmoid_binary_cross_entropy:
        return losses.sigmoid_squared_error
    if loss is losses.sigmoid_squared_error:
        return losses.sigmoid_binary_cross_entropy
    if loss is losses.softmax_brier_score:
        return losses.softmax_cross_entropy
    return losses.softmax_brier_score


@pytest.mark.parametrize(
    ("name", "constant"), [(name, constant) for name in NAMES for constant in losses_of(name)]
)
def test_swapping_a_loss_makes_a_claim_fail(name, constant, monkeypatch):
    experiment = importlib.import_module(f"experiments.{name}")
    swap = another_loss(getattr(experiment, constant))
    monkeypatch.setattr(experiment, constant, swap)
    # the first that fails is enough, and what comes after it would take time
    monkeypatch.setattr(experiment, "claim", claim_or_stop)
    with pytest.raises(ClaimFails):
        processes.perform(experiment, silence)


def test_every_experiment_has_its_place_in_the_article_once():
    placed = [name for chapter in CHAPTERS for name in chapter.names]
    assert sorted(placed) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_colours_are_those_of_the_losses_everywhere(name):
    script = (frame.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert re.findall(r"#[0-9A-Fa-f]{6}\b", script) == []


@pytest.mark.parametrize("name", NAMES)
def test_experiment_says_how_long_it_takes(name):
    assert importlib.import_module(f"experiments.{name}").SECONDS > 0


def as_float(number: str) -> float:
    return float(number.replace("−", "-"))


NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-−]?\d+)?(?![\w.]*\d)")


@pytest.mark.parametrize("name", NAMES)
def test_every_number_predicted_in_the_docstring_is_in_a_row(name):
    docstring = importlib.import_module(f"experiments.{name}").__doc__ or ""
    _, heading, predictions = docstring.partition("\nPredictions:\n")
    assert heading
    rows = perform(name).rows
    in_words = {as_float(number) for row in rows for number in NUMBER.findall(row.statement)}
    in_cells = [value for row in rows for value in (row.predicted, row.tolerance)]
    for number in NUMBER.findall(predictions):
        digits = len(re.sub(r"e.*|\D", "", number).lstrip("0")) or 1
        rounded = {float(f"{value:.{digits}g}") for value in in_cells}
        assert as_float(number) in in_words | rounded, f"{number} is predicted, and no row says so"


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_named_after_the_script_and_say_what_they_show(name):
    pictures = perform(name).pictures
    assert name in pictures
    for stem, picture in pictures.items():
        assert stem.startswith(name)
        assert picture.caption.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_all_text_of_the_pictures_can_be_read(name):
    pictures = perform(name).pictures
    with matplotlib.style.context("jaxent.paper"):
        received = {stem: unreadable_text(picture.figure) for stem, picture in pictures.items()}
    assert received == {stem: [] for stem in pictures}


@pytest.mark.parametrize("name", NAMES)
def test_answer_is_two_sentences_with_a_number(name):
    answer = perform(name).answer
    assert len(re.findall(r"\.(?:\s|$)", answer)) == 2
    assert re.search(r"\d", answer)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_the_readme_are_small_enough_to_load(name):
    for picture in perform(name).pictures.values():
        if picture.in_readme:
            assert len(processes.render(picture)) < 150_000


def owner(stem) -> str:
    """The experiment that a picture is named after."""
    return max((name for name in NAMES if stem.startswith(name)), key=len, default="")


@pytest.mark.parametrize("name", NAMES)
def test_figures_kept_for_the_readme_are_those_that_the_experiment_names(name):
    expected = {stem for stem, picture in perform(name).pictures.items() if picture.in_readme}
    kept = [path.stem for path in Path(frame.README_FIGURES).glob("*")]
    assert {stem for stem in kept if owner(stem) == name} == expected


def test_every_figure_kept_for_the_readme_is_of_an_experiment():
    assert all(owner(path.stem) for path in Path(frame.README_FIGURES).glob("*"))


def section_of_readme(heading) -> str:
    readme = (Path(frame.FOLDER).parent / "README.md").read_text(encoding="utf-8")
    return readme.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_readme_lists_the_questions_in_the_order_of_the_article():
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", section_of_readme("Experiments"), re.MULTILINE)
    assert listed == list(frame.questions().items())


def said_in_readme() -> list[tuple[str, str]]:
    """What the README's two lists say, and the experiment that is named after it."""
    lists = [section_of_readme(heading) for heading in ("Why cross-entropy?", "When not?")]
    return [
        (text, name)
        for found in lists
        for item in found.partition("\n\n![")[0].split("\n- ")[1:]
        for text, name in re.findall(r"(.*?)`(\w+)(?: --full)?`", item, re.DOTALL)
    ]


# the numbers of the others depend on sizes that they do not have here
OF_ANY_SIZE = sorted({name for _, name in said_in_readme()} - {*SIZES} | {"convexity", "escape"})


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_readme_says_what_the_experiment_found(name):
    finding = perform(name)
    printed = [finding.answer]
    printed += [f"{row.statement} {row.predicted:.4g} {row.predicted:.6f}" for row in finding.rows]
    numbers = {as_float(x) for x in NUMBER.findall(" ".join(printed).replace(",", ""))}
    said = [text for text, named in said_in_readme() if named == name]
    for number in NUMBER.findall(" ".join(said).replace(",", "")):
        assert as_float(number) in numbers, f"{number} is no number of {name}"
