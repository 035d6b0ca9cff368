"""Times of functions, taken in pairs, and the record of one measurement."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

SECONDS = 0.6
"""The time that a comparison takes, without compilation. Slow functions have 7 rounds anyway."""

FEWEST, MOST = 7, 31


class Unavailable(Exception):
    """A comparison cannot be made here. The message says why."""


class Job(NamedTuple):
    """One comparison, which is measured later.

    Attributes:
        table: the title of its table.
        cells: (row, column) of each of its numbers.
        measure: takes the number of rounds, or None for the default. Returns one number a cell.
    """

    table: str
    cells: Sequence[tuple[str, str]]
    measure: Callable[[int | None], Sequence[float]]


def seconds(function: Callable[[], object]) -> float:
    """Returns the time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def paired(
    functions: Sequence[Callable[[], object]],
    rounds: int | None = None,
    clock: Callable[[Callable], float] = seconds,
) -> np.ndarray:
    """Returns the times of all functions, [rounds, functions].

    A round calls every function once, in random order. Two rounds before the first are not
    counted: they compile and warm up.
    """
    for function in functions:
        clock(function)
    one_round = sum(clock(function) for function in functions)
    if rounds is None:
        rounds = min(max(int(SECONDS / one_round), FEWEST), MOST)
    times = np.empty((rounds, len(functions)))
    for row in times:
        for index in random.sample(range(len(functions)), len(functions)):
            row[index] = clock(functions[index])
    return times


def ratios(
    prepare: Callable[[], Sequence[Callable[[], object]]],
    clock: Callable[[Callable], float] = seconds,
) -> Callable[[int | None], list[float]]:
    """Returns a `measure` for a `Job`: the time of each function over the time of the last one.

    Args:
        prepare: makes the functions. It is called when the job is measured.
        clock: returns the time of one function.
    """

    def measure(rounds: int | None) -> list[float]:
        times = paired(prepare(), rounds, clock)
        return [statistics.median(column) for column in (times[:, :-1] / times[:, -1:]).T]

    return measure
