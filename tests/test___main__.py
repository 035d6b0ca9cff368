"""The command: what it is asked, what it answers, what it refuses."""

import io
import json
import math
import re
import signal
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxent
from jaxent import __main__ as command
from jaxent import _catalogue, cards, losses, pages, portraits
from jaxent._specification import Refusal, read_losses
from jaxent.cards import card as measured
from tests import wild

COMMANDS = ["list", "card", "portrait", "page", "check"]

OF_A_READER = """
import jax
import jax.numpy as jnp

def tempered(logits, targets, T=2.0):
    return -jnp.sum(targets * jax.nn.log_softmax(logits / T))

def tsallis(logits, targets, order=1.5):
    q = jax.nn.softmax(logits)
    return jnp.sum(targets * (1 - q ** (order - 1))) / (order - 1)

def margin(logits, targets):
    truth = jnp.argmax(targets)
    others = jnp.where(jnp.arange(logits.size) == truth, -jnp.inf, logits)
    return jax.nn.relu(1 - logits[truth] + jnp.max(others)) ** 2

def pieces(logits, targets):
    gaps = logits - logits[jnp.argmax(targets)]
    return jnp.sum(jnp.where(gaps > 0, 1 + gaps, jnp.exp(gaps))) - 1
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The empty folder that the command is given in, with the path of modules put back after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def call(here, capsys, monkeypatch):
    """Give the command; what it answers: exit status, stdout, stderr.

    By its clock it takes no time, so that a busy machine is told of no progress.
    """
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: 0.0))

    def call(line):
        status = command.main(line.split())
        answer = capsys.readouterr()
        return status, answer.out, answer.err

    return call


@pytest.fixture
def refused(call, here):
    """Give a command that must be refused; the line that says why."""

    def refused(line):
        before = sorted(path.name for path in here.iterdir())
        status, out, err = call(line)
        assert (status, out) == (2, "")
        assert err.startswith("jaxent: ")
        assert err.count("\n") == 1
        assert sorted(path.name for path in here.iterdir()) == before
        return err.removeprefix("jaxent: ").rstrip("\n")

    return refused


@cache
def a_card(name, num_classes):
    """With an infinite number and one that is NaN."""
    card = measured(losses.squentropy)
    push = card.push._replace(uniform_power=math.nan)
    return card._replace(name=name, num_classes=num_classes, push=push)


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the instruments, which answer at once."""
    asked = []

    def card(loss, num_classes=3, *, name=None, seed=0, progress=None):
        asked.append((name, num_classes, loss))
        return a_card(name, num_classes)

    def portrait(given, num_classes=3, target=None, *, seed=0, progress=None):
        asked.append((given, num_classes, target))
        figure = Figure()
        figure.subplots().plot([0, 1], label="a line")
        return figure

    def save_page(given, path, *, target=None, title=None, float32=False):
        asked.append((given, path, target))
        Path(path).write_text("a page")
        return Path(path)

    monkeypatch.setattr(cards, "card", card)
    monkeypatch.setattr(
        cards, "comparison_table", lambda cards, *, markdown=False: f"{len(cards)} {markdown}"
    )
    monkeypatch.setattr(portraits, "portrait", portrait)
    monkeypatch.setattr(pages, "save_page", save_page)
    return asked


# Help


def test_help_and_version_are_given_without_loading_jax():
    received = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import sys
                from jaxent.__main__ import main
                assert main(["--version"]) == main(["--help"]) == 0
                for name in {COMMANDS}:
                    assert main([name, "--help"]) == 0
                heavy = ("jax", "jaxlib", "numpy", "optax", "matplotlib")
                print([name for name in heavy if name in sys.modules])
            """),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert received[0] == f"jaxent {jaxent.__version__}"
    assert received[-1] == "[]"
    for name in COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in received)
        assert any(line.startswith(f"usage: jaxent {name} ") for line in received)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_names_every_way_to_name_a_loss(call, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = call(f"{name} --help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for way in (
        "softmax_brier_score",
        "generalized_cross_entropy:exponent=0.5",
        "package.module:function",
        "path/to/file.py:function:T=2",
    ):
        assert f"  {way} " in out
    assert ("Exit status: 0" in out) is (name != "list")
    assert ("1, wrong" in out) is (name == "check")


def test_the_script_and_the_module_are_the_same_command():
    script = Path(sys.executable).with_name("jaxent")
    if not script.exists():
        pytest.skip("jaxent is not installed")
    for start in [str(script)], [sys.executable, "-m", "jaxent"]:
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (f"jaxent {jaxent.__version__}\n", "")


def test_list_names_every_loss_as_it_may_be_asked_for(call):
    status, out, err = call("list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    named = read_losses(lines[::2])
    assert [one.words.partition(":")[0] for one in named] == list(_catalogue.built_in())
    for loss, summary in zip(_catalogue.built_in().values(), lines[1::2], strict=True):
        assert summary == "    " + (loss.__doc__ or "").splitlines()[0]
    assert "generalized_cross_entropy:exponent=0.7" in lines
    assert "softmax_brier_score" in lines
    assert "smooth_labels" not in out


# What is refused

REFUSED = {
    "": "needs a command: list, card, portrait, page, check; see jaxent --help",
    "cards": "there is no command cards; did you mean card?",
    "draw": "there is no command draw; there are list, card, portrait, page, check",
    "--hepl": "there is no option --hepl; did you mean --help?",
    "--quiet card x": "there is no option --quiet; jaxent has --help, --version",
    "list all": "all is one argument too many; see jaxent list --help",
    "card": "the following arguments are required: LOSS; see jaxent card --help",
    "card x --clases 4": "there is no option --clases; did you mean --classes?",
    "card x --clases=4": "there is no option --clases=4; did you mean --classes?",
    "card x --class 4": "there is no option --class; did you mean --classes?",
    "card x -o card.png": "there is no option -o; jaxent card has --classes, --json, --markd",
    "card x --json --markdown": "argument --markdown: not allowed with argument --json; see",
    "card x --classes": "argument --classes: expected one argument; see jaxent card --help",
    "card x --classes 1": "--classes must be a whole number of at least 2, but it is 1",
    "card x --classes -3": "--classes must be a whole number of at least 2, but it is -3",
    "card x --classes 2.5": "--classes must be a whole number of at least 2, but it is 2.5",
    "card x --classes three": "--classes must be a whole number of at least 2, but it is three",
    "card softmax_brier": "no loss is called softmax_brier; did you mean softmax_brier_score?",
    "card softmax_focal_loss:gama=2": "softmax_focal_loss has no option gama; did you mean gamma?",
    "card softmax_focal_loss:gamma=-1": "softmax_focal_loss:gamma=-1: gamma must lie in [0, ∞), ",
    "card softmax_brier_score --classes 1000000": "A card of 1,000,000 classes would need about ",
    "portrait softmax_brier_score": "the following arguments are required: -o/--output; see jaxent",
    "portrait x -o x.jpg": "--output must be a file that ends in .png or .pdf or .svg, but it is x",
    "portrait x -o png": "--output must be a file that ends in .png or .pdf or .svg, but it is png",
    "portrait x -o no/x.png": "--output no/x.png cannot be written: No such file or directory",
    "portrait x -o /proc/x.png": "--output /proc/x.png cannot be written: ",
    "portrait x -o {250}.png": "--output {250}.png cannot be written: File name too long",
    "portrait x -o a.svg --target 1,0": "--target must be 3 numbers, none of them negative, that",
    "portrait x -o a.svg --classes 4 --target 1,0,0": "--target is for the triangles of 3 classes",
    "portrait sigmoid_squared_error -o a.svg --target 1,0,0": "--target is for 3 classes, and sig",
    "portrait sigmoid_squared_error -o a.svg --classes 3": "--classes must be 2 with sigmoid_sq",
    "page x -o x.htm": "--output must be a file that ends in .html, but it is x.htm",
    "page x --float -o x.html": "there is no option --float; did you mean --float32?",
    "page x --classes 3 -o x.html": "there is no option --classes; jaxent page has --target, ",
    "page x -o x.html --target 0.7,0.2,0.2": "--target must be 3 numbers, none of them negative, "
    "that sum to 1, such as 0.7,0.3,0, but it is 0.7,0.2,0.2, which sums to 1.1",
    "page x -o x.html --target 0.7,0.4,-0.1": "--target must be 3 numbers, none of them negative, ",
    "page x -o x.html --target 0.7,0.3,zero": "--target must be 3 numbers, none of them negative, ",
    "page x -o x.html --target nan,0.5,0.5": "--target must be 3 numbers, none of them negative, ",
    "page x -o x.html --target inf,-inf,1": "--target must be 3 numbers, none of them negative, ",
    "page x -o x.html --target 1,,0": "--target must be 3 numbers, none of them negative, that",
    "page x -o x.html --target=": "--target must be 3 numbers, none of them negative, that sum",
    "page x -o x.html --target -1,1,1": "argument --target: expected one argument; see jaxent page",
    "check x y": "y is one argument too many; see jaxent check --help",
    "check softmax_brier_score --classes 2 --target 1,0,0": "--target must be 2 numbers, none of",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_refused_in_one_line(refused, line):
    given, expected = (text.replace("{250}", "x" * 250) for text in (line, REFUSED[line]))
    assert refused(given).startswith(expected)


def test_a_folder_is_no_file_to_write(refused, here):
    (here / "folder.png").mkdir()
    assert refused("portrait x -o folder.png") == (
        "--output folder.png cannot be written: Is a directory"
    )


def test_where_nothing_can_be_written_is_found_before_any_loss_is_looked_at(refused, here):
    (here / "mine.py").write_text("raise SystemExit('looked at')\n")
    assert "cannot be written" in refused("portrait mine.py -o no/x.png")
    assert "cannot be written" in refused("page mine.py -o no/x.html")


@pytest.mark.parametrize("line", ["card mine.py", "check mine.py", "page mine.py -o x.html"])
def test_a_loss_of_probabilities_is_refused_and_told_to_take_the_softmax(refused, here, line):
    (here / "mine.py").write_text(
        "import jax.numpy as jnp\ndef of_q(q, p):\n    return -jnp.sum(p * jnp.log(q))\n"
    )
    said = refused(line)
    assert said.startswith("mine.py wants probabilities, not logits, ")
    assert said.endswith("lambda logits, targets: loss(jax.nn.softmax(logits), targets)")


def test_a_loss_that_fails_is_found_before_any_other_is_measured(call, here, asked):
    (here / "mine.py").write_text("def f(z, p):\n    return z[7:] + p\n")
    for line in "card squentropy mine.py", "portrait squentropy mine.py -o x.png":
        status, out, err = call(line)
        assert (status, out, asked) == (2, "", [])
        assert f'File "{here}/mine.py", line 2, in f\n    return z[7:] + p\n' in err
        assert "(3,) and (3,)" in err
        assert "site-packages" not in err


def test_a_loss_that_fails_later_is_shown_by_its_own_last_line(call, here, monkeypatch):
    (here / "mine.py").write_text(
        "def f(z, p):\n"
        "    if z.shape != (3,):\n"
        "        raise RuntimeError('three classes only')\n"
        "    return z[0]\n"
    )
    monkeypatch.setattr(cards, "card", lambda loss, *_, **__: loss(jnp.zeros(5), jnp.zeros(5)))
    status, out, err = call("card squentropy mine.py:f")
    assert (status, out) == (2, "")
    assert err == (
        f'jaxent: mine.py:f raised:\n  File "{here}/mine.py", line 3, in f\n'
        "    raise RuntimeError('three classes only')\nRuntimeError: three classes only\n"
    )


def test_an_error_of_jaxents_own_is_not_hidden(here, monkeypatch):
    monkeypatch.setattr(cards, "card", lambda *_, **__: divmod(1, 0))
    with pytest.raises(ZeroDivisionError):
        command.main(["card", "squentropy"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory"),
        (MemoryError("Unable to allocate 74.5 GiB"), "Unable to allocate 74.5 GiB"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nand more"),
            "there is not enough memory: Out of memory allocating 9 bytes.",
        ),
    ],
)
def test_too_little_memory_is_named_in_one_line(call, monkeypatch, error, said):
    def exhausted(*_, **__):
        raise error

    monkeypatch.setattr(cards, "card", exhausted)
    assert call("card squentropy") == (2, "", f"jaxent: {said}\n")


# What is asked of the instruments


def test_a_card_is_asked_for_each_loss_with_two_classes_for_one_logit(call, asked):
    line = "card squentropy sigmoid_squared_error softmax_focal_loss:gamma=0.5"
    assert call(line) == (0, "3 False\n", "")
    assert [(name, classes) for name, classes, _ in asked] == [
        ("squentropy", 3),
        ("sigmoid_squared_error", 2),
        ("softmax_focal_loss(gamma=0.5)", 3),
    ]
    assert call("card --classes 5 squentropy --markdown sigmoid_squared_error")[1] == "2 True\n"
    assert [classes for _, classes, _ in asked[3:]] == [5, 5]


def test_a_portrait_is_asked_for_with_its_classes_and_target(call, asked, here):
    status, out, err = call(
        "portrait -q squentropy -o a.png --target 0.7,0.2,0.1 softmax_brier_score"
    )
    assert (status, out, err) == (0, "a.png\n", "")
    given, classes, target = asked.pop()
    assert given == {
        "squentropy": losses.squentropy,
        "softmax_brier_score": losses.softmax_brier_score,
    }
    assert classes == 3
    np.testing.assert_array_equal(target, [0.7, 0.2, 0.1])
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    call("portrait -o a.PDF squentropy --classes 7")
    assert asked.pop()[1:] == (7, None)
    assert (here / "a.PDF").read_bytes().startswith(b"%PDF")
    call("portrait --output=a.svg squentropy sigmoid_squared_error")
    assert asked.pop()[1:] == (2, None)
    assert ElementTree.parse(here / "a.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert sorted(path.name for path in here.iterdir()) == ["a.PDF", "a.png", "a.svg"]


def test_a_page_is_asked_for_with_its_target(call, asked, here):
    assert call("page -q squentropy -o a.html") == (0, "a.html\n", "")
    given, path, target = asked.pop()
    assert (given, path, target) == ({"squentropy": losses.squentropy}, Path("a.html"), (1, 0, 0))
    call("page squentropy -o a.html --target 0.25,0.25,0.5")
    assert asked.pop()[2] == (0.25, 0.25, 0.5)


# What is answered


def test_rounding_in_code_that_jax_does_not_see_is_no_wrong_derivative(call):
    status, out, _ = call(f"check -q {wild.__file__}:outside_of_jax")
    assert status == 0
    assert "The derivatives are right: reverse mode agrees with central differences." in out


def test_json_has_every_field_of_every_card(call, asked):
    status, out, _ = call("card squentropy softmax_brier_score --json")

    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    received = json.loads(out, parse_constant=no_constant)
    assert status == 0
    assert [facts["name"] for facts in received] == ["squentropy", "softmax_brier_score"]

    def fields(facts):
        if hasattr(facts, "_fields"):
            return {name: fields(part) for name, part in facts._asdict().items()}
        return None

    def keys(facts):
        return (
            {name: keys(part) for name, part in facts.items()} if isinstance(facts, dict) else None
        )

    expected = a_card("squentropy", 3)
    assert keys(received[0]) == fields(expected)
    assert received[0]["num_classes"] == 3
    assert received[0]["properness"]["link"] == "another"
    assert received[0]["properness"]["target"] == expected.properness.target.tolist()
    assert received[0]["noise"]["most"] == "inf"
    assert received[0]["push"]["uniform_power"] == "nan"
    assert received[0]["push"]["vanishes_at"] == [at.tolist() for at in expected.push.vanishes_at]
    assert received[0]["invariance"]["not_finite_at"] is None


def test_what_a_loss_prints_is_no_result(call, here, asked):
    (here / "mine.py").write_text(
        "print('imported')\ndef f(z, p):\n    print('called')\n    return z @ p\n"
    )
    _, out, err = call("card mine.py --json")
    assert [facts["name"] for facts in json.loads(out)] == ["f"]
    assert "imported\n" in err
    assert "called\n" in err


@pytest.mark.parametrize("extension", [".png", ".pdf", ".svg"])
def test_the_same_figure_is_the_same_file(extension):
    def figure():
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        axes.fill_between([0, 1], [1, 2], hatch="//", label="an area")
        axes.set_clip_path(axes.patch)
        axes.legend()
        return figure

    first, second = (command.render(figure(), extension) for _ in range(2))
    assert first == second
    assert not re.search(rb"CreationDate|Producer|Creator|<dc:date>|Software", first)


def test_text_in_a_pdf_is_text():
    figure = Figure(figsize=(2, 2))
    figure.text(0.5, 0.5, "margin")
    content = command.render(figure, ".pdf")
    assert b"/TrueType" in content or b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_a_disk_that_is_full_is_named_in_one_line():
    said = r"--output a\.png cannot be written: No space left on device"
    with pytest.raises(Refusal, match=said), command.writing(Path("a.png")):
        raise OSError(28, "No space left on device")


# While it works


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_on_a_terminal_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with command.at_work(quiet=False) as progress:
        progress("measuring")
        progress("x" * 100)
    start = "\r\x1b[2K"
    assert sys.stderr.getvalue() == f"{start}measuring{start}{'x' * 19}{start}"  # pyright: ignore


def test_progress_is_lines_elsewhere_and_only_for_what_takes_over_a_second(monkeypatch, capsys):
    clock = iter([0.0, 0.5, 1.5, 1.5, 2.0, 3.0, 3.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    with command.at_work(quiet=False) as progress:
        for words in "soon", "later", "at once", "last":
            progress(words)
    assert capsys.readouterr().err == "later\nlast\n"


def test_nothing_is_said_if_nothing_shall_be(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with command.at_work(quiet=True) as progress:
        progress("measuring")
    assert sys.stderr.getvalue() == ""  # pyright: ignore


def test_an_interruption_is_quiet(call, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cards, "card", interrupted)
    assert call("card squentropy") == (130, "", "")


def test_a_reader_that_goes_away_is_not_complained_of():
    with subprocess.Popen(
        [sys.executable, "-m", "jaxent", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 128 + signal.SIGPIPE


def test_an_interruption_is_not_lost_in_code_that_catches_it(here):
    (here / "mine.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        "except BaseException as error:\n    raise ImportError from error\n"
        "def f(z, p):\n    return z @ p\n"
    )
    # a shell that runs the tests in the background has them, and their children, ignore Ctrl-C
    launch = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, '-m', 'jaxent', 'check', 'mine.py'])"
    )
    received = subprocess.run([sys.executable, "-c", launch], capture_output=True, text=True)
    assert (received.returncode, received.stdout, received.stderr) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", ["list", "--help"])
def test_results_that_cannot_be_written_are_named_in_one_line(words):
    with open("/dev/full", "w") as full:
        received = subprocess.run(
            [sys.executable, "-m", "jaxent", words], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert received.returncode == 2
    assert received.stderr == "jaxent: stdout cannot be written: No space left on device\n"


def test_a_terminal_without_the_letters_is_shown_others(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert command.main(["list"]) == 0
    assert b"probability ?(logit)" in stdout.buffer.getvalue()  # pyright: ignore


# The check of derivatives

CHECKED = """
import jax
import jax.numpy as jnp

@jax.custom_vjp
def doubled(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z))

doubled.defvjp(
    lambda z, p: (doubled(z, p), (z, p)),
    lambda at, g: (2 * g * (jax.nn.softmax(at[0]) - at[1]), jnp.zeros_like(at[1])),
)

@jax.custom_vjp
def honest(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z))

honest.defvjp(
    lambda z, p: (honest(z, p), (z, p)),
    lambda at, g: (g * (jax.nn.softmax(at[0]) - at[1]), jnp.zeros_like(at[1])),
)

def detached(z, p):
    q = jax.nn.softmax(z)
    return -jnp.sum(p * jax.lax.stop_gradient(1 - q) ** 2 * jnp.log(q))

def clipped(z, p):
    return -jnp.sum(p * jnp.log(jnp.clip(jax.nn.softmax(z), 1e-7, 1 - 1e-7)))

def hinge(z, p):
    truth = jnp.argmax(p)
    rest = jnp.max(jnp.where(jnp.arange(z.size) == truth, -jnp.inf, z))
    return jax.nn.relu(1 - z[truth] + rest)

def constant(z, p):
    return 0.0

def half(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z.astype(jnp.bfloat16)))

def single(z, p):
    return -jnp.sum(p * jax.nn.log_softmax(z.astype(jnp.float32)))

def kl(z, p):
    return jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(z)))

def lost(z, p):
    return jnp.sum(z * z) + jnp.sqrt(jax.nn.relu(z[0]))
"""

RIGHT = "The derivatives are right: reverse mode agrees with central differences"


@pytest.fixture
def check(call, here):
    (here / "mine.py").write_text(CHECKED)
    return lambda line: call(f"check -q {line}")


@pytest.mark.parametrize(
    "line",
    [
        "softmax_cross_entropy",
        "softmax_mean_absolute_error --classes 10",
        "sigmoid_squared_error",
        "logit_squared_error --target 0.7,0.2,0.1",
        "mine.py:clipped",
        "mine.py:hinge",
        "mine.py:constant",
    ],
)
def test_derivatives_that_are_right_are_found_right(check, line):
    status, out, err = check(line)
    assert (status, err) == (0, "")
    assert out.endswith(f"\n\n{RIGHT} and forward mode.\n")
    kinds = ["any Q", "sure and right", "sure and wrong", "any Q, any P"]
    table = out.splitlines()[5:-2]
    assert [line[:16].rstrip() for line in table] == kinds[: 3 if "--target" in line else 4]
    assert max(map(len, out.splitlines()[:-1])) <= 80


def test_a_gradient_twice_as_large_as_it_should_be_is_found_wrong(check):
    status, out, err = check("mine.py:doubled")
    assert (status, err) == (1, "")
    assert "forward mode" not in out
    verdict = out.splitlines()[-1]
    number = r"[-+\de.]+"
    vector = rf"\(({number}), ({number}), ({number})\)"
    found = re.fullmatch(
        rf"The derivatives are wrong: at logits {vector} and targets {vector} reverse mode gives "
        rf"{vector}, of which entry (\d) is ({number}) off central differences\.",
        verdict,
    )
    assert found
    numbers = [float(number) for number in found.groups()]
    z, p, gradient, entry = np.array(numbers[:3]), numbers[3:6], numbers[6:9], int(numbers[9])
    q = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(gradient, 2 * (q - p), rtol=1e-2, atol=1e-3)
    assert numbers[10] == pytest.approx(abs(gradient[entry]) / 2, rel=1e-2)


@pytest.mark.parametrize("name", ["detached", "lost"])
def test_derivatives_that_are_wrong_are_found_wrong(check, name):
    status, out, _ = check(f"mine.py:{name}")
    assert status == 1
    assert out.splitlines()[-1].startswith("The derivatives are wrong: at logits (")


def test_a_custom_vjp_is_checked_without_forward_mode(check):
    status, out, _ = check("mine.py:honest")
    assert (status, out.splitlines()[-1]) == (0, f"{RIGHT}.")
    assert "forward mode" not in out


@pytest.mark.parametrize(("name", "precision"), [("half", "bfloat16"), ("single", "float32")])
def test_a_loss_that_rounds_is_not_called_wrong_for_it(check, name, precision):
    status, out, _ = check(f"mine.py:{name}")
    assert status == 0
    assert f"The loss rounds to {precision}, and no more than that can be seen.\n" in out


def test_points_where_the_loss_is_not_finite_are_counted_and_not_judged(check):
    status, out, _ = check("mine.py:kl")
    assert status == 0
    assert "At 96 of 128 points the loss is not finite.\n" in out
    assert re.search(r"^sure and right( +–){4}$", out, re.MULTILINE)


# From end to end


@pytest.fixture
def of_a_reader(here):
    (here / "mine.py").write_text(OF_A_READER)
    return "mine.py:tempered mine.py:tsallis:order=1.25 mine.py:margin mine.py:pieces"


def test_a_reader_gets_cards_of_his_own_losses(call, of_a_reader):
    status, out, _ = call(f"card {of_a_reader} --json")
    assert status == 0
    tempered, tsallis, margin, pieces = json.loads(out)
    assert [facts["name"] for facts in (tempered, tsallis, margin, pieces)] == [
        "tempered",
        "tsallis(order=1.25)",
        "margin",
        "pieces",
    ]
    # the Hessian of cross-entropy at T, (diag(q) − q qᵀ)/T², is largest where two classes share q
    assert tempered["curvature"]["smoothness"] == pytest.approx(1 / 2 / 2**2, rel=1e-6)
    # (1 − q^(order−1))/(order − 1) is generalised cross-entropy with γ = order − 1
    gamma = 0.25
    assert tsallis["push"]["largest_at"] == pytest.approx(gamma / (1 + gamma), abs=1e-4)
    assert tsallis["properness"]["link"] == "softmax(0.75 z)"
    assert margin["invariance"]["soft_targets"] == "ignored"
    assert not pieces["noise"]["bounded"]
    assert all(facts["derivatives"]["right"] for facts in (tempered, tsallis, margin, pieces))


def test_a_reader_gets_a_portrait_of_his_own_losses(call, of_a_reader, here):
    status, out, _ = call(f"portrait {of_a_reader} -o mine.png")
    assert (status, out.splitlines()[-1]) == (0, "mine.png")
    assert (here / "mine.png").stat().st_size > 50_000


def test_a_page_in_float32_rounds_every_operation(call, here):
    for option, rounds in ("", False), ("--float32", True):
        assert call(f"page -q softmax_brier_score {option} -o a.html") == (0, "a.html\n", "")
        assert ("Math.fround" in (here / "a.html").read_text()) == rounds


def test_a_reader_gets_a_page_of_his_own_losses(call, of_a_reader, here):
    status, out, _ = call(f"page {of_a_reader} -o mine.html --target 0.7,0.2,0.1")
    assert (status, out.splitlines()[-1]) == (0, "mine.html")
    page = (here / "mine.html").read_text()
    for name in "tempered", "tsallis(order=1.25)", "margin", "pieces":
        assert name in page


def test_cards_of_losses_that_are_built_in_stand_side_by_side(call):
    status, out, _ = call("card softmax_brier_score sigmoid_squared_error")
    assert status == 0
    rows = {line.split("  ")[0]: line.split("  ")[1:] for line in out.splitlines()}
    assert out.splitlines()[0].split() == ["softmax_brier_score", "sigmoid_squared_error"]
    assert [cell.strip() for cell in rows["classes"] if cell.strip()] == ["3", "2"]
