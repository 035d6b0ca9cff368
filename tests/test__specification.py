"""What a LOSS of the command line leads to, and what is said where it leads to none."""

import math
import re
import sys
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxent
from jaxent import losses
from jaxent._specification import Refusal, blaming, evaluate, read_losses, try_out

Z, P = jnp.array([0.5, -1.0, 2.0]), jnp.array([0.0, 1.0, 0.0])

MINE = """
import functools
import jax
import jax.numpy as jnp

def tempered(logits, targets, T=1, *, axis=-1):
    return -jnp.sum(targets * jax.nn.log_softmax(logits / T, axis))

def powered(z, p, *, power):
    return jnp.sum(jnp.abs(z - p) ** power)

def open_handed(z, p, **options):
    return options["scale"] * jnp.sum(z * p)

@jax.jit
def compiled(z, p):
    return jnp.sum((z - p) ** 2)

class Scaled:
    def __call__(self, z, p):
        return 2.0 * jnp.sum(z * p)

scaled = Scaled()
bound = functools.partial(tempered, T=3)
T = 3

def three(z, p, w):
    return w

def branches(z, p):
    if z[0] > 0:
        return z[0]
    return z[1]

def calls_a_helper(z, p):
    return _helper(z, p)

def _helper(z, p):
    return jnp.sum(z[:2] * p)

def calls_jaxent(z, p):
    from jaxent import losses
    return losses.softmax_cross_entropy(z[:2], p)

def calls_numpy(z, p):
    import numpy
    return numpy.linalg.norm(z)

def keeps_its_shape(z, p):
    return (z - p) ** 2

def counts(z, p):
    return jnp.argmax(z)

def forgets_to_return(z, p):
    jnp.sum(z)

def has_no_value(z, p):
    return jnp.log(-jnp.sum(z * z) - 1)

def has_no_gradient(z, p):
    return jnp.sum(z) * jnp.sqrt(0 * z[0])

def asserts(z, p):
    assert z.shape == (2,)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that the command is given in, with a file of losses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MINE)
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def read(words):
    (given,) = read_losses([words])
    return given


def refusal(function, *arguments):
    with pytest.raises(Refusal) as caught:
        function(*arguments)
    return str(caught.value)


# Losses that are built in


def test_a_name_leads_to_the_loss_of_that_name():
    given = read("softmax_brier_score")
    assert given.loss is losses.softmax_brier_score
    assert (given.name, given.binary, given.folder) == ("softmax_brier_score", False, None)


def test_options_are_bound_and_shown():
    given = read("generalized_cross_entropy:exponent=0.5")
    assert given.name == "generalized_cross_entropy(exponent=0.5)"
    at_tie = given.loss(jnp.zeros(4), jnp.array([1.0, 0.0, 0.0, 0.0]))
    assert float(at_tie) == pytest.approx((1 - math.sqrt(1 / 4)) / 0.5)
    given = read("logit_squared_error:true_class_weight=2,true_class_value=10")
    assert given.name == "logit_squared_error(true_class_weight=2, true_class_value=10)"
    assert float(given.loss(Z, P)) == 0.5**2 + 2 * 11**2 + 2**2


def test_a_loss_of_one_logit_reads_the_gap_of_two():
    given = read("sigmoid_binary_cross_entropy")
    assert given.binary
    value = given.loss(jnp.array([0.25, 1.0]), jnp.array([0.0, 1.0]))
    assert float(value) == pytest.approx(math.log1p(math.exp(-0.75)))


def test_cross_entropy_of_integer_labels_is_its_dense_twin():
    given = read("softmax_cross_entropy_with_integer_labels")
    assert given.name == "softmax_cross_entropy_with_integer_labels"
    assert float(given.loss(Z, P)) == float(losses.softmax_cross_entropy(Z, P))


# Losses of a reader's own


@pytest.mark.parametrize("source", ["mine.py", "./mine.py", "mine", "{here}/mine.py"])
def test_a_function_of_a_file_or_a_module_is_that_function(here, source):
    given = read(f"{source}:tempered:T=4".replace("{here}", str(here)))
    assert given.name == "tempered(T=4)"
    assert given.folder == here
    expected = losses.softmax_cross_entropy(Z / 4, P)
    assert float(given.loss(Z, P)) == pytest.approx(float(expected))


def test_a_module_may_be_in_a_package_or_installed(here):
    (here / "package").mkdir()
    (here / "package" / "__init__.py").touch()
    (here / "package" / "module.py").write_text("def f(z, p):\n    return p @ z\n")
    assert float(read("package.module:f").loss(Z, P)) == -1
    assert read("jaxent.losses:squentropy").loss is losses.squentropy
    assert read("jaxent.losses:sigmoid_squared_error").binary


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mine.py:powered:power=2", 0.5**2 + 2**2 + 2**2),
        ("mine.py:powered:power=1e0", 0.5 + 2 + 2),
        ("mine.py:powered:power=-1", 1 / 0.5 + 1 / 2 + 1 / 2),
        ("mine.py:open_handed:scale=3", -3),
        ("mine.py:compiled", 0.5**2 + 2**2 + 2**2),
        ("mine.py:scaled", -2),
        ("mine.py:bound", float(losses.softmax_cross_entropy(Z / 3, P))),
    ],
)
def test_whatever_can_be_called_is_a_loss(here, words, expected):
    given = read(words)
    assert float(given.loss(Z, P)) == pytest.approx(expected)
    try_out(given, 3)


def test_a_file_with_one_function_needs_no_name(here):
    (here / "one.py").write_text(
        "from jax.numpy import sum\nfrom jax.nn import softmax\n"
        "def _half(x):\n    return x / 2\n"
        "def only(z, p):\n    return _half(sum(p * softmax(z)))\n"
    )
    assert read("one.py").name == "only"
    has = "it has tempered, powered, open_handed, compiled, three, branches, "
    assert refusal(read, "mine.py").startswith(
        f"mine.py needs the name of a function, mine.py:function; {has}"
    )


def test_a_file_imports_its_neighbours_and_no_others(here):
    for folder, number in ("a", 1.0), ("b", 2.0):
        (here / folder / "kit").mkdir(parents=True)
        (here / folder / "kit" / "__init__.py").write_text("from kit.inner import number\n")
        (here / folder / "kit" / "inner.py").write_text(f"number = {number}\n")
        (here / folder / "neighbour.py").write_text(f"number = {number}\n")
        (here / folder / "loose" / "deep").mkdir(parents=True)
        (here / folder / "loose" / "deep" / "part.py").write_text(f"number = {number}\n")
        (here / folder / "loss.py").write_text(
            "import kit, loose.deep.part, neighbour\n"
            "def f(z, p):\n    return kit.number + loose.deep.part.number + neighbour.number\n"
        )
    path, modules = [*sys.path], set(sys.modules)
    a, b = read_losses(["a/loss.py:f", "b/loss.py:f"])
    assert (a.loss(Z, P), b.loss(Z, P)) == (3.0, 6.0)
    assert sys.path == path
    added = set(sys.modules) - modules
    assert (
        not {"kit", "kit.inner", "loose", "loose.deep", "loose.deep.part", "neighbour", "loss"}
        & added
    )


def test_a_file_may_have_the_name_of_a_module_that_is_needed(here):
    (here / "json.py").write_text("def f(z, p):\n    return p @ z\n")
    before = sys.modules["json"]
    assert read("json.py").name == "f"
    assert sys.modules["json"] is before


def test_a_file_with_two_losses_is_run_once(here, capsys):
    (here / "loud.py").write_text("print('loud')\ndef f(z, p): ...\ndef g(z, p): ...\n")
    assert [given.name for given in read_losses(["loud.py:f", "loud.py:g"])] == ["f", "g"]
    assert capsys.readouterr().out == "loud\n"


def test_names_differ_and_a_loss_named_twice_is_one(here):
    (here / "other.py").write_text(MINE)
    words = ["mine.py:tempered", "other.py:tempered", "mine.py:scaled", "mine.py:tempered"]
    names = [given.name for given in read_losses(words)]
    assert names == ["mine.py:tempered", "other.py:tempered", "scaled"]
    (here / "ce.py").write_text("def softmax_cross_entropy(z, p): ...\n")
    words = ["softmax_cross_entropy", "ce.py"]
    assert [given.name for given in read_losses(words)] == words


# What leads nowhere

REFUSED = {
    "sofmax_cross_entropy": "no loss is called sofmax_cross_entropy; did you mean softmax_cross_en",
    "brier": "no loss is called brier; did you mean softmax_brier_score?",
    "huber": "no loss is called huber; jaxent list names them, and your own is written path/to/",
    "masked_mean": "no loss is called masked_mean; jaxent list names them",
    ":softmax_brier_score": "no loss is called :softmax_brier_score; did you mean softmax_brier",
    "": "no loss is called ; jaxent list names them",
    "optax.squared_error": "no loss is called optax.squared_error; did you mean optax:squared_err",
    "optaxx:squared_error": "there is no module optaxx, neither in the current folder nor install",
    "optax.here:f": "there is no module optax.here, neither in",
    "optax:softmax_crossentropy": "optax has no function softmax_crossentropy; did you mean softma",
    "softmax_cross_entropy:": "softmax_cross_entropy:: options are written softmax_cross_entropy:N",
    "softmax_focal_loss:gamma": "softmax_focal_loss:gamma: options are written softmax_focal_",
    "softmax_focal_loss:gama=1": "softmax_focal_loss has no option gama; did you mean gamma?",
    "softmax_focal_loss:power=1": "softmax_focal_loss has no option power; it has gamma",
    "softmax_brier_score:axis=0": "softmax_brier_score has no option axis; it has none",
    "softmax_focal_loss:gamma=two": "softmax_focal_loss: option gamma must be a number, not 'two'",
    "softmax_focal_loss:gamma=": "softmax_focal_loss: option gamma must be a number, not ''",
    "softmax_focal_loss:gamma=1,": "softmax_focal_loss: options are written NAME=NUMBER, separated",
    "softmax_focal_loss:gamma=1,gamma=2": "softmax_focal_loss: option gamma is given twice",
    "main.py:tempered": "there is no file main.py; did you mean mine.py?",
    "./mine:tempered": "there is no file ./mine; ",
    "nowhere/at/all.py:f": "there is no file nowhere/at/all.py; losses are read from a file that",
    "mine.py:temperd": "mine.py has no function temperd; did you mean tempered?",
    "mine.py:T": "mine.py:T must be a function of (logits, targets), not of type int",
    "mine.py:jnp": "mine.py:jnp must be a function of (logits, targets), not of type module",
    "mine.py:tempered:T": "mine.py:tempered:T: options are written mine.py:tempered:NAME=NUMBER,",
    "mine.py:tempered:T=": "mine.py:tempered: option T must be a number, not ''",
    "math:hypot:x=1": "math:hypot does not tell which options it has",
    "mine.py:tempered:axis=0": "mine.py:tempered has no option axis; it has T",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_leads_nowhere_is_refused_in_one_line(here, words):
    said = refusal(read, words)
    assert said.startswith(REFUSED[words])
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "line", "error"),
    [
        ("import jax\n\nimport no_such_thing\n", 3, "ModuleNotFoundError: No module named"),
        ("def f(z, p)\n    return z\n", 1, "SyntaxError: expected ':'"),
        ("def f():\n    raise RuntimeError('lost')\n\nf()\n", 2, "RuntimeError: lost"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_shown_where_it_fails(here, text, line, error):
    (here / "broken.py").write_text(text)
    first, *rest = refusal(read, "broken.py:f").splitlines()
    assert first == "broken.py cannot be imported:"
    assert re.match(rf'  File "{here}/broken.py", line {line}\b', rest[0])
    assert rest[1] == "    " + text.splitlines()[line - 1].strip()
    assert rest[-1].startswith(error)
    assert sum(row.startswith("  File") for row in rest) == 1


# Losses that are none

MUST = (
    "must be a function of (logits, targets) of one example, arrays of shape (3,) and (3,), "
    "that returns a floating-point scalar, "
)


@pytest.mark.parametrize(
    ("name", "but"),
    [
        ("keeps_its_shape", "but it returned shape (3,) of float64"),
        ("counts", "but it returned shape () of int64"),
        ("forgets_to_return", "but it returned a NoneType"),
        ("has_no_value", "finite with a finite gradient, but it is so at none of 8 points: at "),
        ("has_no_gradient", "finite with a finite gradient, but it is so at none of 8 points: at "),
    ],
)
def test_a_loss_that_returns_no_value_is_refused_in_one_line(here, name, but):
    said = refusal(try_out, read(f"mine.py:{name}"), 3)
    assert said.startswith(f"mine.py:{name} {MUST}{but}")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "line", "error"),
    [
        ("calls_a_helper", "    return jnp.sum(z[:2] * p)", "TypeError: mul got incompatible sha"),
        ("calls_jaxent", "    return losses.softmax_cross_entropy(z[:2], p)", "ValueError: logits"),
        ("asserts", "    assert z.shape == (2,)", "AssertionError"),
        ("three", None, "TypeError: three() missing 1 required positional argument: 'w'"),
        ("powered", None, "TypeError: powered() missing 1 required keyword-only argument: 'power'"),
    ],
)
def test_a_loss_that_fails_is_shown_by_its_own_last_line(here, name, line, error):
    first, *rest = refusal(try_out, read(f"mine.py:{name}"), 3).splitlines()
    assert first == f"mine.py:{name} {MUST}but it raised:"
    if line is not None:
        number = MINE.splitlines().index(line) + 1
        assert rest[0].startswith(f'  File "{here}/mine.py", line {number}, in ')
        assert rest[1] == f"    {line.strip()}"
    assert sum(row.startswith("  File") for row in rest) == (line is not None)
    assert any(row.startswith(error) for row in rest)
    assert "JAX has removed its internal frames" not in "\n".join(rest)


@pytest.mark.parametrize(
    ("name", "line", "advice"),
    [
        ("branches", "    if z[0] > 0:", "use jnp.where or jax.lax.cond in it"),
        ("calls_numpy", "    return numpy.linalg.norm(z)", "use jax.numpy in it, not NumPy"),
    ],
)
def test_what_jax_cannot_trace_is_told_what_to_use_and_where(here, name, line, advice):
    said = refusal(try_out, read(f"mine.py:{name}"), 3)
    assert said.startswith(f"mine.py:{name} cannot be traced by JAX: {advice}")
    assert said.endswith(f" (mine.py, line {MINE.splitlines().index(line) + 1})")


def test_what_jax_cannot_trace_may_stay_untraced_if_it_has_a_gradient(here):
    try_out(read("mine.py:branches"), 3, untraced=True)
    assert "use jax.numpy" in refusal(
        partial(try_out, untraced=True), read("mine.py:calls_numpy"), 3
    )


def test_a_loss_of_probabilities_is_told_from_one_of_logits(here):
    (here / "q.py").write_text(
        "import jax.numpy as jnp\ndef of_q(q, p):\n    return -jnp.sum(p * jnp.log(q))\n"
    )
    assert "q.py wants probabilities, not logits, " in refusal(try_out, read("q.py"), 3)


def test_an_option_out_of_its_range_is_refused_in_one_line():
    said = refusal(try_out, read("generalized_cross_entropy:exponent=5"), 3)
    assert said == (
        "generalized_cross_entropy:exponent=5: exponent must lie in (0, 1], but it is 5."
    )


def test_values_and_gradients_are_those_of_the_loss(here):
    logits, targets = np.stack([Z, -Z]), np.stack([P, P])
    values, gradients = evaluate(read("mine.py:compiled"), logits, targets)
    np.testing.assert_allclose(values, ((logits - targets) ** 2).sum(-1), rtol=1e-15)
    np.testing.assert_allclose(gradients, 2 * (logits - targets), rtol=1e-15)


def test_a_loss_is_tried_with_the_target_that_is_asked_for(here):
    (here / "kl.py").write_text(
        "import jax, jax.numpy as jnp\n"
        "def kl(z, p):\n    return jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(z)))\n"
    )
    given = read("kl.py")
    try_out(given, 3, (0.7, 0.2, 0.1))
    assert "finite gradient, but it is so at none" in refusal(try_out, given, 3, (1.0, 0.0, 0.0))


def test_only_errors_out_of_the_losses_own_code_are_blamed_on_it(here):
    given = read("mine.py:asserts")
    with (
        pytest.raises(Refusal, match=r"mine\.py:asserts raised:\n  File .*mine\.py"),
        blaming([given]),
    ):
        given.loss(Z, P)
    with pytest.raises(ZeroDivisionError), blaming([given]):
        divmod(1, 0)


def test_jaxent_is_nobodys_own_code_wherever_it_lies(here):
    beside_jaxent = read("mine.py:compiled")._replace(folder=Path(jaxent.__file__).parents[1])
    elsewhere = compile("with blamed: loss(z, p)", "/elsewhere.py", "exec")
    names = {"blamed": blaming([beside_jaxent]), "loss": losses.squentropy, "z": Z, "p": P[:2]}
    with pytest.raises(ValueError, match="same shape"):
        exec(elsewhere, names)
