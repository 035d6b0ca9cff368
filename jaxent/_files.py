"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path


def _unfinished(path: Path) -> Path:
    """Beside the file, where the file system is the same, and hidden."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def check_writable(path: Path) -> None:
    """OSError now, and not after the work, where `write` could put nothing."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _unfinished(path).touch()
    _unfinished(path).unlink()


def write(path: Path, content: bytes) -> None:
    """Put the content at path; if that fails, with OSError, what was there stays as it was."""
    try:
        _unfinished(path).write_bytes(content)
        os.replace(_unfinished(path), path)
    finally:
        _unfinished(path).unlink(missing_ok=True)
