"""What every test shares: compiled programs, kept on disk from run to run, and the processors."""

import gc
import os
from pathlib import Path

import pytest

# read by JAX when it is imported, here and in the processes that tests start
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The processes share the processors already, and threads that wait for work of 3 × 3 matrices spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# traces are many small objects, and looking for cycles among them takes a twentieth of the time
gc.set_threshold(100_000, 20, 100)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What shares its compiled programs runs in one process: the tests of a file, or of an
    experiment, of which there are many in one file."""
    for item in items:
        group = item.path.name
        if group == "test_experiments.py" and hasattr(item, "callspec"):
            group += f"-{item.callspec.params.get('name', '')}"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def float64():
    import jax  # not before the settings above

    with jax.enable_x64(True):
        yield
