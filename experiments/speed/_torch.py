"""Values and gradients of the losses, over `torch` and `torch.compile`."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._processes import cores
from experiments.speed import _losses
from experiments.speed import _timing as timing
from experiments.speed._losses import ALONE, BOTH, MIDDLE, PAIRS
from experiments.speed._timing import Job, Unavailable

INSTALLED = importlib.util.find_spec("torch") is not None


def total(name: str) -> Callable:
    """Returns torch's own loss, summed over the batch."""
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    if name.startswith("KL"):
        return lambda z, p: F.kl_div(F.log_softmax(z, -1), p, reduction="sum")
    if name.startswith("Brier"):
        return lambda z, p: ((F.softmax(z, -1) - p) ** 2).sum()
    return lambda z, p: F.cross_entropy(z, p, reduction="sum")


def as_tensors(arrays: tuple, dtype: Any, differentiate: bool) -> list:
    import torch  # pyright: ignore[reportMissingImports]

    if jax.default_backend() == "cpu":
        torch.set_num_threads(cores())
        device = "cpu"
    elif torch.cuda.is_available():
        device = "cuda"
    else:
        raise Unavailable("jax runs on an accelerator, and this torch does not.")
    half = dtype == jnp.bfloat16
    tensors = []
    for array in arrays:
        integer = jnp.issubdtype(array.dtype, jnp.integer)
        tensor = torch.from_numpy(np.array(array, np.int64 if integer else np.float32))
        tensors.append(tensor.to(device, torch.bfloat16 if half and not integer else None))
    tensors[0].requires_grad_(differentiate)
    return tensors


def torch_function(name: str, arrays: tuple, dtype: Any, what: str, compiling: bool) -> Callable:
    """Returns a call of torch's loss of these arrays, with its gradient or without."""
    import torch  # pyright: ignore[reportMissingImports]

    logits, targets = as_tensors(arrays, dtype, what == BOTH)
    loss = total(name)
    if compiling:
        torch.compiler.reset()
        loss = torch.compile(loss)

    def call():
        value = loss(logits, targets)
        found = (value, *torch.autograd.grad(value, logits)) if what == BOTH else (value,)
        if logits.is_cuda:
            torch.cuda.synchronize()
        return found

    if compiling:
        try:
            call()
        except Exception as error:  # a missing C++ compiler has an error of its own in each version
            reason = str(error).strip().partition("\n")[0]
            raise Unavailable(f"torch.compile failed: {reason}") from error
    return call


def prepare(name: str, what: str, dtype: Any, compiling: bool) -> list[Callable]:
    if not INSTALLED:
        raise Unavailable("torch is not installed: `pip install -e '.[bench]'`.")
    ours, _, kind = PAIRS[name]
    arrays = _losses.arguments(MIDDLE, kind, dtype)
    theirs = torch_function(name, arrays, dtype, what, compiling)
    return [partial(_losses.compiled(ours, what), *arrays), theirs]


def jobs() -> Iterator[Job]:
    """Yields a comparison for each loss, dtype and way to run torch."""
    for name in PAIRS:
        row = name.partition(" /")[0]
        for dtype, suffix in ((jnp.float32, ""), (jnp.bfloat16, ", bfloat16")):
            for what in (BOTH, ALONE):
                title = f"{what}, {_losses.written(MIDDLE)}: time over torch's"
                for compiling, column in ((False, "torch"), (True, "torch.compile")):
                    functions = partial(prepare, name, what, dtype, compiling)
                    yield Job(title, [(row, column + suffix)], timing.ratios(functions))
