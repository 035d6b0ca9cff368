"""What `import jaxent` promises, and what is promised in README.md and pyproject.toml."""

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import jaxent
from jaxent.__main__ import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxent"
MODULES = sorted(path.stem for path in PACKAGE.glob("[!_]*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

every_module = pytest.mark.parametrize("module", MODULES)


def run(script):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def public_members(module):
    """The functions and classes that a module defines under a public name."""
    module = importlib.import_module(f"jaxent.{module}")
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or inspect.isclass(member))
        and member.__module__ == module.__name__
    }


# Importing


def test_importing_the_package_loads_neither_jax_nor_matplotlib():
    heavy = ("jax", "jaxlib", "optax", "numpy", "matplotlib", "mpltern")
    received = run(f"""
        import sys
        import jaxent
        dir(jaxent), jaxent.__version__
        print([name for name in {heavy} if name in sys.modules])
    """)
    assert received == "[]\n"


def test_importing_every_module_starts_no_backend_and_changes_no_setting():
    received = run(f"""
        import importlib
        import jax
        import matplotlib
        import optax  # what it sets on import, as 0.2.7 does, is not ours
        from jax._src import xla_bridge
        before = dict(jax.config.values), dict(matplotlib.rcParams)
        for name in {MODULES}:
            importlib.import_module("jaxent." + name)
        print(xla_bridge.backends_are_initialized())
        print((dict(jax.config.values), dict(matplotlib.rcParams)) == before)
    """)
    assert received == "False\nTrue\n"


@pytest.mark.parametrize("module", ["losses", "information", "descent", "theory"])
def test_computing_does_not_load_matplotlib(module):
    received = run(f"""
        import sys
        from jaxent import {module}
        print("matplotlib" in sys.modules)
    """)
    assert received == "False\n"


def test_modules_are_attributes_of_the_package():
    assert sorted(jaxent.__all__) == MODULES
    assert set(MODULES) < set(dir(jaxent))
    for module in MODULES:
        assert getattr(jaxent, module) is importlib.import_module(f"jaxent.{module}")
    with pytest.raises(AttributeError, match="module 'jaxent' has no attribute 'utils'"):
        jaxent.utils  # noqa: B018


def imported_modules(module):
    """The modules of ours that this one's source imports anywhere."""
    received = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxent":
            received |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxent."):
            received.add((node.module or "").removeprefix("jaxent."))
    return received


@every_module
def test_imports_point_one_way_and_no_instrument_knows_a_loss(module):
    order = ["_files", "_arguments", "_softmax", "information", "losses", "theory"]
    order += ["gradients", "curvature", "descent", "cards", "plots"]
    order += ["_catalogue", "portraits", "_javascript", "pages"]
    imported = imported_modules(module)
    assert imported <= set(order[: order.index(module)])
    assert not imported & {"information", "losses", "theory"}


# What is public


@every_module
def test_what_is_public_is_said_by_the_name_alone(module):
    assert not hasattr(importlib.import_module(f"jaxent.{module}"), "__all__")
    assert public_members(module)


@every_module
def test_every_public_function_is_documented_with_an_example(module):
    assert (importlib.import_module(f"jaxent.{module}").__doc__ or "").strip()
    for name, member in public_members(module).items():
        documentation = inspect.getdoc(member) or ""
        assert documentation, name
        assert "_description_" not in documentation, name
        if inspect.isfunction(member):
            assert re.search(r"^Example:$", documentation, re.MULTILINE), name
            assert ">>>" in documentation, name
            assert "Args" in documentation, name


def test_one_name_has_one_path():
    names = [name for module in MODULES for name in public_members(module)]
    assert len(names) == len(set(names))


def test_readme_lists_every_function_of_the_first_two_rooms():
    readme = (ROOT / "README.md").read_text()
    for module in ("losses", "information"):
        missing = [name for name in public_members(module) if f"`{name}`" not in readme]
        assert not missing, module


def test_every_path_in_the_readme_leads_somewhere():
    readme = (ROOT / "README.md").read_text()
    paths = re.findall(rf"`(?:jaxent\.)?({'|'.join(MODULES)})\.(\w+)`", readme)
    assert paths
    for module, name in paths:
        assert name in public_members(module)


def blocks_of_readme(language):
    readme = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)


def test_a_loss_of_ones_own_gets_from_the_command_what_the_readme_shows(
    tmp_path, monkeypatch, capsys
):
    own, *_ = (block for block in blocks_of_readme("python") if ">>>" not in block)
    assert own == (ROOT / "experiments" / "page" / "my_losses.py").read_text()
    (tmp_path / "my_losses.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    commands = [
        shlex.split(line)
        for block in blocks_of_readme("sh")
        for line in block.splitlines()
        if line.startswith("jaxent ")
    ]
    assert [command[1] for command in commands] == ["card", "portrait", "page", "check"]
    assert [main(command[1:]) for command in commands] == [0, 0, 0, 0]
    assert {"portrait.png", "page.html"} < {path.name for path in tmp_path.iterdir()}
    printed = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    (table,) = blocks_of_readme("text")
    assert {" ".join(line.split()) for line in table.splitlines()} <= printed


def test_pictures_of_the_readme_are_there_and_small_enough_to_load():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(pictures) >= 4
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 150_000, picture


# Types


def test_annotations_hold_wherever_an_example_goes():
    """The examples of every docstring, with shapes and types checked at every call.

    doctest itself does not look through the checking wrappers, and would find no examples.
    """
    received = run(f"""
        import doctest
        import gc
        import importlib
        import inspect
        from jaxtyping import install_import_hook

        gc.disable()  # the process ends before that would pay
        modules = ["jaxent." + name for name in {MODULES}]
        with install_import_hook("jaxent", "beartype.beartype"):
            modules = [importlib.import_module(name) for name in modules]

        examples = 0
        runner = doctest.DocTestRunner(
            optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        )
        for module in modules:
            documented = [module] + [
                member for name, member in vars(module).items()
                if getattr(member, "__module__", None) == module.__name__
                and (inspect.isfunction(member) or inspect.isclass(member))
            ]
            for member in documented:
                test = doctest.DocTestParser().get_doctest(
                    inspect.getdoc(member) or "", dict(vars(module)), repr(member), None, None
                )
                examples += len(test.examples)
                runner.run(test)
        print(runner.failures, examples)
    """)
    failures, examples = map(int, received.split()[-2:])
    sources = [(PACKAGE / f"{module}.py").read_text() for module in MODULES]
    assert failures == 0, received
    assert examples == sum(len(re.findall(r"^ *>>>", text, re.MULTILINE)) for text in sources)


# Packaging


DATA = ["py.typed", "paper.mplstyle", "page/index.html", "page/style.css", "page/main.js"]


def test_types_style_and_page_are_in_the_package():
    assert all((PACKAGE / name).is_file() for name in DATA)
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["jaxent"]}  # all of the folder but what git ignores
    ignored = (ROOT / ".gitignore").read_text().split()
    kinds = {"*.typed", "*.mplstyle", "*.html", "*.css", "*.js"}
    assert not {"jaxent/", "page/", *DATA, *kinds} & set(ignored)


def test_a_wheel_ships_the_whole_package_and_nothing_else():
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    files = wheel.WheelBuilder(str(ROOT)).recurse_included_files()
    shipped = {file.distribution_path for file in files}
    whole = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert shipped == {path.relative_to(ROOT).as_posix() for path in whole}
    assert {f"jaxent/{name}" for name in DATA} <= shipped


def test_the_version_is_written_once():
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"] == {"path": "jaxent/__init__.py"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", jaxent.__version__)


def test_the_readme_and_the_gate_run_the_same_two_lines():
    lines = [
        "pip install -e '.[experiments]' && python -m experiments",
        "pip install -e '.[test]' && pytest",
    ]
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert lines in [block.splitlines() for block in blocks]
    gate = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in gate if line in lines] == lines


def test_every_extra_that_a_command_installs_is_declared():
    commands = (ROOT / ".ci" / "run").read_text() + (ROOT / "README.md").read_text()
    asked = set(re.findall(r"pip install -e '\.\[(\w+)\]'", commands))
    assert asked <= set(PYPROJECT["project"]["optional-dependencies"])
