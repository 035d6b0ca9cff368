"""What do exact digits cost?  `python -m experiments.speed` prints the answer as Markdown.

Every number is a ratio: the time of jaxent over the time of what it is compared with, taken as a
pair in one process, in random order within a round; the median over the rounds, then the median
of three processes. Below 1, jaxent is faster. Absolute times are given for orientation only. Run
it on a machine that does nothing else.

Where torch is installed, its own loss is timed as well, over the same reference.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import timeit
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tabulate import tabulate

from jaxent import descent, losses

SHAPES = [(65536, 10), (8192, 1000), (1024, 32768)]
ROUNDS = 15
PROCESSES = 3
TORCH = importlib.util.find_spec("torch") is not None


def optax_kl_divergence(logits, targets):
    return optax.kl_divergence(jax.nn.log_softmax(logits), targets)


def plain_brier_score(logits, targets):
    return jnp.sum((jax.nn.softmax(logits) - targets) ** 2, -1)


# name: jaxent's loss, what it is compared with, the name of the targets
PAIRS = {
    "cross-entropy, integer labels / optax": (
        losses.softmax_cross_entropy_with_integer_labels,
        optax.softmax_cross_entropy_with_integer_labels,
        "labels",
    ),
    "cross-entropy, dense / optax": (
        losses.softmax_cross_entropy,
        optax.softmax_cross_entropy,
        "one_hot",
    ),
    "KL divergence / optax on log_softmax": (
        losses.softmax_kl_divergence,
        optax_kl_divergence,
        "soft",
    ),
    "Brier score / plain formula": (losses.softmax_brier_score, plain_brier_score, "one_hot"),
}


def arguments(shape, kind):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, shape[1], shape[0])
    if kind == "labels":
        return jnp.asarray(logits), jnp.asarray(labels)
    if kind == "one_hot":
        return jnp.asarray(logits), jax.nn.one_hot(labels, shape[1])
    return jnp.asarray(logits), jax.nn.softmax(rng.normal(size=shape).astype(np.float32))


def seconds(function):
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def paired(functions, rounds=ROUNDS, clock=seconds):
    """The times of all functions, one row a round, after a round that is not counted."""
    for function in functions:
        clock(function)
    rows = []
    for _ in range(rounds):
        times = {}
        for index in random.sample(range(len(functions)), len(functions)):
            times[index] = clock(functions[index])
        rows.append([times[index] for index in range(len(functions))])
    return np.array(rows)


def torch_function(kind, arrays, differentiate):
    """torch's own loss of the same arguments, with its gradient in the logits or without."""
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    logits, targets = (torch.from_numpy(np.array(array)) for array in arrays)
    targets = targets.long() if kind == "labels" else targets
    logits.requires_grad_(differentiate)

    def total():
        if kind == "soft":
            return F.kl_div(F.log_softmax(logits, -1), targets, reduction="sum")
        return F.cross_entropy(logits, targets, reduction="sum")

    if not differentiate:
        return total
    return lambda: torch.autograd.grad(total(), logits)[0]


def measure_losses():
    found = {}
    for name, (ours, theirs, kind) in PAIRS.items():
        for shape in SHAPES:
            arrays = arguments(shape, kind)
            for what in ("value and gradient", "value"):

                def prepare(loss, what=what, arrays=arrays):
                    def total(logits, targets):
                        return loss(logits, targets).sum()

                    compiled = jax.jit(jax.value_and_grad(total) if what != "value" else total)
                    return lambda: compiled(*arrays)

                functions = [prepare(ours), prepare(theirs)]
                if TORCH and "Brier" not in name:
                    functions.append(torch_function(kind, arrays, what != "value"))
                times = paired(functions)
                ratios = [statistics.median(column / times[:, 1]) for column in times.T]
                key = f"{name}|{what}|{shape[0]} × {shape[1]}"
                found[key] = {
                    "ratio": ratios[0],
                    "ms": 1e3 * statistics.median(times[:, 0]),
                    "torch": ratios[2] if len(ratios) > 2 else None,
                }
    return found


def measure_calls():
    """Microseconds of an eager call on [32, 10], over those of a jitted optax call."""

    def per_call(function):
        return timeit.timeit(function, number=100) / 100

    found = {}
    for name, (ours, theirs, kind) in PAIRS.items():
        arrays = arguments((32, 10), kind)
        jitted = jax.jit(theirs)
        functions = [lambda f=ours, a=arrays: f(*a), lambda f=jitted, a=arrays: f(*a)]
        times = paired(functions, rounds=40, clock=per_call)
        found[name] = 1e6 * statistics.median(times[:, 0] - times[:, 1])
    return found


def measure_descent():
    """10,000 steps of Adam on three logits, over as many calls of a jitted step."""
    target, start = jnp.array([0.7, 0.2, 0.1]), jnp.zeros(3)
    optimizer = optax.adam(1e-2)

    def compiled():
        fit = descent.fit(losses.softmax_cross_entropy, start, target, optimizer, steps=10_000)
        return fit.params

    @jax.jit
    def step(logits, state):
        value, gradient = jax.value_and_grad(losses.softmax_cross_entropy)(logits, target)
        updates, state = optimizer.update(gradient, state, logits)
        return optax.apply_updates(logits, updates), state, value

    def loop():
        logits, state = start, optimizer.init(start)
        for _ in range(10_000):
            logits, state, _ = step(logits, state)
        return logits

    times = paired([compiled, loop], rounds=5)
    return statistics.median(times[:, 0] / times[:, 1])


def measure():
    return {"losses": measure_losses(), "calls": measure_calls(), "descent": measure_descent()}


def median_of(processes, *keys):
    values = []
    for value in processes:
        for key in keys:
            value = value[key]
        values.append(value)
    return statistics.median(values)


def report(processes):
    packages = ["jax", "optax", *(["torch"] if TORCH else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    yield f"{versions}; float32, CPU, {os.cpu_count()} cores, Python {platform.python_version()}"

    def table(heading, rows):
        return "\n" + tabulate(rows, heading, tablefmt="github", disable_numparse=True)

    for what in ("value and gradient", "value"):
        lines = []
        for name in PAIRS:
            for column, label in (("ratio", name), ("torch", "— torch over the same")):
                cells = []
                for rows, columns in SHAPES:
                    key = f"{name}|{what}|{rows} × {columns}"
                    if processes[0]["losses"][key][column] is None:
                        break
                    ratio = median_of(processes, "losses", key, column)
                    took = median_of(processes, "losses", key, "ms")
                    cells.append(f"{ratio:.2f}" + (f" ({took:.3g} ms)" * (column == "ratio")))
                else:
                    lines.append([label, *cells])
        shapes = [f"{rows} × {columns}" for rows, columns in SHAPES]
        yield table([f"{what}: time over time", *shapes], lines)
    yield table(
        ["an eager call on [32, 10]", "µs more than a jitted call of the other"],
        [[name, f"{median_of(processes, 'calls', name):+.1f}"] for name in PAIRS],
    )
    share = median_of(processes, "descent")
    yield table(
        ["10,000 steps of Adam on three logits", "time over time"],
        [["`descent.fit` / Python loop over a jitted step", f"1/{1 / share:.0f}"]],
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m experiments.speed", description=__doc__)
    parser.add_argument("--process", action="store_true", help="measure once, print JSON")
    if parser.parse_args().process:
        json.dump(measure(), sys.stdout)
        return
    processes = []
    for number in range(PROCESSES):
        print(f"process {number + 1} of {PROCESSES} …", file=sys.stderr)
        command = [sys.executable, "-m", "experiments.speed", "--process"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        processes.append(json.loads(done.stdout))
    print("\n".join(report(processes)))


if __name__ == "__main__":
    main()
