"""What is traced and never let go."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def checking_leaks() -> Iterator[None]:
    """`jax.checking_leaks`, which goes through every object of the process whenever a trace ends:
    here through those made since, among which a leak would be. After hundreds of tests that is
    seconds a trace."""
    gc.freeze()
    try:
        with jax.checking_leaks():
            yield
    finally:
        gc.unfreeze()
