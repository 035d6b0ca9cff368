"""What `import jaxent` promises, and what is promised in README.md and pyproject.toml."""

import ast
import graphlib
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from functools import cache
from pathlib import Path

import pytest

import jaxent
from jaxent.__main__ import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxent"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("jaxent", "experiments", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
MODULES = [
    name.removeprefix("jaxent.")
    for name in sorted(SOURCES)
    if name.startswith("jaxent.") and not re.search(r"\._", name)
]
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
    """The functions and classes of a public module, its own or of its private files."""
    module = importlib.import_module(f"jaxent.{module}")
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or inspect.isclass(member))
        and re.fullmatch(rf"{module.__name__}(\._\w+)?", member.__module__)
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
    assert sorted(jaxent.__all__) == [module for module in MODULES if "." not in module]
    assert set(jaxent.__all__) < set(dir(jaxent))
    for module in MODULES:
        parent, _, name = f"jaxent.{module}".rpartition(".")
        assert getattr(importlib.import_module(parent), name) is importlib.import_module(
            f"jaxent.{module}"
        )
    with pytest.raises(AttributeError, match="module 'jaxent' has no attribute 'utils'"):
        jaxent.utils  # noqa: B018


# Borders

OF_THE_PACKAGE = [name for name in SOURCES if name.startswith("jaxent.")]
OF_LIBRARIES = {"_exit", "_replace", "_asdict", "_fields", "_make", "_triangulation"}

# A module imports modules that stand before its own, and no other.
ORDER = ["_words", "_arguments", "_files", "_startup", "theory", "_examples", "_softmax"]
ORDER += [
    "_passes",
    "_kernels",
    "_labels",
    "_sigmoid",
    "_run",
    "_differences",
    "losses",
    "information",
    "gradients",
]
ORDER += ["curvature", "derivatives", "_loop", "_optimizers", "descent", "_catalogue", "_advice"]
ORDER += ["cards", "plots", "_table", "_javascript"]
ORDER += ["portraits", "pages", "_specification", "__main__"]


@cache
def nodes(name):
    return list(ast.walk(ast.parse(SOURCES[name].read_text())))


def imports(name, *, of_types=True):
    """(module, names) of every import in a source; of_types: also those for annotations only."""
    annotating = {
        id(inner)
        for node in nodes(name)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in node.body
    }
    for node in nodes(name):
        if id(node) in annotating and not of_types:
            continue
        if isinstance(node, ast.ImportFrom):
            yield node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def imported_sources(name, **which):
    """Our own modules that a source imports anywhere."""
    for module, names in imports(name, **which):
        inner = {f"{module}.{one}" for one in names} & set(SOURCES)
        yield from inner or {module} & set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_no_private_name_leaves_its_module(name):
    """Neither as `from module import _name` nor as `anything._name`."""
    own = {getattr(node, "name", None) for node in nodes(name)}
    own |= {node.id for node in nodes(name) if isinstance(node, ast.Name)}
    own |= {node.arg for node in nodes(name) if isinstance(node, ast.arg)}
    attributes = [node for node in nodes(name) if isinstance(node, ast.Attribute)]
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in attributes} - own
    imported = set()
    for module, names in imports(name):
        if module.split(".")[0] in ("jaxent", "experiments", "tests"):
            imported |= {one for one in names if f"{module}.{one}" not in SOURCES}
    private = {one for one in used | imported if re.match("_[^_]", one)} - OF_LIBRARIES
    assert not private, f"{name}: {sorted(private)} leave their module; make them public in it"


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_imports_point_one_way(name):
    room = name.split(".")[1]
    for module in imported_sources(name):
        if module != "jaxent" and (other := module.split(".")[1]) != room:
            assert other in ORDER[: ORDER.index(room)], f"{name} may not import {module}: see ORDER"


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: set(imported_sources(name, of_types=False)) for name in SOURCES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the way


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_no_instrument_knows_a_loss(name):
    room = name.split(".")[1]
    if room not in ("losses", "_catalogue", "_specification", "__main__", "theory"):
        known = {module.split(".")[1] for module in imported_sources(name) if "." in module}
        assert not known & {"information", "losses", "theory"}, f"{name} takes losses as arguments"


def test_no_file_holds_two_ideas():
    limits = {".py": 700, ".js": 250}
    for path in PACKAGE.rglob("*"):
        if limit := limits.get(path.suffix):
            lines = len(path.read_text().splitlines())
            assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines, over {limit}"


# What is public


@every_module
def test_what_is_public_is_said_by_the_name_alone(module):
    assert not hasattr(importlib.import_module(f"jaxent.{module}"), "__all__")
    assert public_members(module) or any(other.startswith(f"{module}.") for other in MODULES)


SECTIONS = ["Attributes", "Args", "Returns", "Raises", "Example", "References"]


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


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_docstrings_speak_one_dialect(name):
    """Sections have these names and this order; an entry is `name: text` or `Error: condition`."""
    for node in nodes(name):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            continue
        documentation = ast.get_docstring(node) or ""
        where = f"{name}.{getattr(node, 'name', '')}"
        heads = re.findall(r"^([A-Z][A-Za-z, ]*):\n(?= )", documentation, re.MULTILINE)
        assert heads == [head for head in SECTIONS if head in heads], f"{where}: {heads}"
        for head in {"Attributes", "Args", "Raises"} & set(heads):
            (section,) = re.findall(rf"^{head}:\n((?: .*\n?|\n)*)", documentation, re.MULTILINE)
            for entry in re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE):
                assert re.match(r"[\w*., ]+: \S|As |Whatever ", entry), f"{where}: {entry}"
                assert not re.match(r"[\w*., ]+: If ", entry), f"{where}: no If in {entry}"


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
        assert name in public_members(module) or f"{module}.{name}" in MODULES


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
    sources = [SOURCES[f"jaxent.{module}"].read_text() for module in MODULES]
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
