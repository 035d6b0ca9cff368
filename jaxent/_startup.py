"""Settings that JAX reads when it is imported, for programs. `import jaxent` changes none."""

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

DAYS_KEPT = 30
"""A compiled program that is older is compiled anew."""

FAST_LOOPS = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=65536"
"""XLA on CPU compiles a loop to one kernel only if the loop touches few bytes, by default 1 KB."""


def set_up(*xla_flags: str) -> None:
    """Make loops fast and keep compiled programs on disk, in this process and in its children.

    To be called before JAX is imported; later the call changes nothing. What the user has set in
    the environment stays as it is.

    Args:
        xla_flags: more of them, each "--name=value".
    """
    if "jax" in sys.modules:
        return
    for flag in (FAST_LOOPS, *xla_flags):
        if flag.partition("=")[0] not in os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = cache_folder() / "programs"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_old_files(folder)
    except (OSError, RuntimeError):  # Path.home() raises RuntimeError where there is no home
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # JAX keeps only what took over a second to compile, and here many small programs add up.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    ignore_cache_warnings()


def ignore_cache_warnings() -> None:
    """Be quiet about a cache that fails: JAX warns for each program, and compiles it all the same.

    A disk may be full. A process that is stopped may leave half an entry.
    """
    for verb in ("reading", "writing"):
        warnings.filterwarnings("ignore", f"Error {verb} persistent compilation cache entry")


def cache_folder() -> Path:
    """The folder in which this user keeps what jaxent can compute again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():  # then, says the standard, it is to be ignored
            base = Path.home() / ".cache"
    return base / "jaxent"


def _remove_old_files(folder: Path) -> None:
    oldest = time.time() - DAYS_KEPT * 24 * 60 * 60
    for path in folder.glob("*-cache"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
