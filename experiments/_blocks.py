"""Blocks of work kept on disk, so that a long experiment goes on where it was interrupted."""

import hashlib
import io
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from experiments._claims import Arrays
from jaxent import _files as files


def fingerprint(sources: Iterable[Path]) -> str:
    """Twelve digits for these files and the versions of what they compute with."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    for package in ("jax", "numpy", "optax", "scikit-learn"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:12]


class Blocks:
    """A folder of finished blocks, one file of arrays each.

    A block that is there is read, whichever run it was computed in: the folder is named after all
    that decides the numbers, so that a change of the experiment starts afresh.
    """

    def __init__(self, folder: Path):
        """Keep blocks in a folder, which is made when there is something to keep."""
        self.folder = folder

    def __len__(self) -> int:
        """How many are there."""
        return len(list(self.folder.glob("[!.]*.npz")))

    def __call__(self, block: str, compute: Callable[[], Arrays], /) -> Arrays:
        """The arrays of a block, read or computed."""
        path = self.folder / f"{block}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                return dict(kept)
        arrays = compute()
        content = io.BytesIO()
        # whose other keyword, allow_pickle, is of no concern to a name of ours
        np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write(path, content.getvalue())
        return arrays
