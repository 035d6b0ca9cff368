"""Costs outside the compiled program: an eager call, compilation, memory."""

import os
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from experiments.speed import _timing as timing
from experiments.speed._losses import BOTH, MIDDLE, PAIRS, arguments, compiled, written
from experiments.speed._memory import SHAPE
from experiments.speed._timing import Job, Unavailable

SMALL = (32, 10)
CALLS = 100
MOST_COMPILATIONS = 5


def extra_microseconds(name: str, rounds: int | None) -> list[float]:
    """Returns how much longer an eager call takes than a jitted call of the reference."""
    ours, theirs, kind = PAIRS[name]
    arrays = arguments(SMALL, kind)

    def clock(function):
        return timeit.timeit(function, number=CALLS) / CALLS

    functions = [partial(ours, *arrays), partial(jax.jit(theirs), *arrays)]
    times = timing.paired(functions, rounds, clock)
    return [1e6 * statistics.median(times[:, 0] - times[:, 1])]


def compilations(name: str) -> list[Callable]:
    ours, theirs, kind = PAIRS[name]
    dense = jax.ShapeDtypeStruct(MIDDLE, jnp.float32)
    targets = jax.ShapeDtypeStruct(MIDDLE[:1], jnp.int32) if kind == "labels" else dense
    return [
        lambda loss=loss: compiled(loss, BOTH).lower(dense, targets).compile()
        for loss in (ours, theirs)
    ]


def compiling(function: Callable) -> float:
    """Returns the time to compile when no trace is kept from earlier."""
    jax.clear_caches()
    return timing.seconds(function)


def compile_ratio(name: str, rounds: int | None) -> list[float]:
    return timing.ratios(partial(compilations, name), compiling)(rounds or MOST_COMPILATIONS)


def memory_ratio(name: str, rounds: int | None) -> list[float]:
    """Returns the peak of a fresh process with our loss over the peak of one with the other."""
    # On an accelerator this process already holds most of the memory.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    peaks = []
    for side in ("ours", "theirs"):
        command = [sys.executable, "-m", "experiments.speed._memory", name, side]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        peaks.append(int(done.stdout))
    if not all(peaks):
        raise Unavailable("This system does not tell the peak memory of a process.")
    return [peaks[0] / peaks[1]]


def calls() -> Iterator[Job]:
    """Yields the cost of an eager call for each loss."""
    for name in PAIRS:
        cells = [(name, "µs")]
        title = f"An eager call on {list(SMALL)}: µs more than a jitted call of the other"
        yield Job(title, cells, partial(extra_microseconds, name))


def compile_times() -> Iterator[Job]:
    """Yields the time to compile each loss."""
    title = f"Time to compile value and gradient, {written(MIDDLE)}: time over time"
    for name in PAIRS:
        yield Job(title, [(name, "compile time")], partial(compile_ratio, name))


def memory() -> Iterator[Job]:
    """Yields the peak memory of each loss."""
    title = f"Peak memory of value and gradient, {written(SHAPE)}: peak over peak"
    for name in PAIRS:
        yield Job(title, [(name, "peak memory")], partial(memory_ratio, name))
