"""What programs set before JAX starts, and what they leave as the user has set it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxent import _startup as startup


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """That of a user whose home is an empty folder, before JAX is imported."""
    environment = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    return environment


def test_programs_are_kept_in_the_cache_of_the_user_and_loops_are_fast(environment, tmp_path):
    startup.set_up("--of=mine")
    assert environment["XLA_FLAGS"] == f"{startup.FAST_LOOPS} --of=mine"
    folder = Path(environment["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
    assert environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"


@pytest.mark.parametrize("given", ["--xla_backend_extra_options=xla_x=1", "--of=3"])
def test_a_flag_of_the_user_is_never_overridden(environment, given):
    environment["XLA_FLAGS"] = given
    startup.set_up("--of=mine")
    flags = environment["XLA_FLAGS"].split()
    assert flags[0] == given
    names = [flag.partition("=")[0] for flag in flags]
    assert sorted(names) == ["--of", "--xla_backend_extra_options"]


def test_a_cache_of_the_user_stays_as_it_is(environment):
    environment["JAX_COMPILATION_CACHE_DIR"] = "/mine"
    startup.set_up()
    assert environment["JAX_COMPILATION_CACHE_DIR"] == "/mine"
    assert "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in environment


def test_without_a_folder_that_can_be_written_there_is_no_cache(environment, monkeypatch, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    monkeypatch.setattr(startup, "cache_folder", lambda: taken)
    startup.set_up()
    assert "JAX_COMPILATION_CACHE_DIR" not in environment


def test_after_jax_is_imported_nothing_is_set(environment, monkeypatch):
    before = dict(environment)
    monkeypatch.setitem(sys.modules, "jax", None)
    startup.set_up()
    assert environment == before


def test_programs_of_long_ago_are_removed(environment):
    startup.set_up()
    folder = Path(environment.pop("JAX_COMPILATION_CACHE_DIR"))
    for name, days in ("old-cache", 31), ("young-cache", 29):
        (folder / name).write_text("")
        then = time.time() - days * 24 * 60 * 60
        os.utime(folder / name, (then, then))
    startup.set_up()
    assert [path.name for path in folder.iterdir()] == ["young-cache"]


def test_a_kept_program_is_used_and_half_a_one_is_compiled_anew_in_silence(tmp_path):
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    environment = {name: value for name, value in os.environ.items() if "JAX" not in name} | home
    program = """
from jaxent import _startup as startup
startup.set_up()
import jax
jax.monitoring.register_event_listener(lambda name, **_: print(name.split("/")[-1]))
jax.jit(lambda x: x + 1)(1.0)
"""

    def run() -> tuple[bool, str]:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return "cache_hits" in done.stdout, done.stderr

    assert run() == (False, "")
    assert run() == (True, "")
    for path in tmp_path.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    assert run() == (False, "")
