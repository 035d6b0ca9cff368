"""`python -m experiments.speed._memory NAME ours|theirs` prints the peak memory of one loss.

The process evaluates value and gradient once. Its peak holds Python, JAX and the arguments too.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.speed._losses import BOTH, PAIRS, compiled

SHAPE = (1024, 32768)


def peak() -> int:
    """Returns the largest memory so far of the accelerator, or else of this process.

    The unit depends on the system. Where the peak is not known, it is 0.
    """
    statistics = jax.devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, ru_maxrss includes the peak of the process that started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(name: str, side: str) -> None:
    ours, theirs, kind = PAIRS[name]
    logits = jnp.zeros(SHAPE)
    targets = jnp.zeros(SHAPE[:1], jnp.int32) if kind == "labels" else jnp.full(SHAPE, 1 / SHAPE[1])
    loss = ours if side == "ours" else theirs
    jax.block_until_ready(compiled(loss, BOTH)(logits, targets))
    print(peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
