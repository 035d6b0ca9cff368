"""Files that are there whole or not at all."""

import os
from pathlib import Path

import pytest

from jaxent import _files as files

FULL = OSError(28, "No space left on device")


def written_by_half(self, content):
    with self.open("wb") as file:
        file.write(content[:2])
    raise FULL


def not_replaced(*paths):
    raise FULL


@pytest.mark.parametrize(
    ("place", "name", "fails"),
    [(Path, "write_bytes", written_by_half), (os, "replace", not_replaced)],
    ids=["while it is written", "while it takes its place"],
)
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path, monkeypatch, place, name, fails
):
    path = tmp_path / "claims.json"
    files.write(path, b"first")
    assert path.read_bytes() == b"first"
    monkeypatch.setattr(place, name, fails)
    with pytest.raises(OSError, match="No space left on device"):
        files.write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    path = tmp_path / "page.html"
    files.check_writable(path)
    assert list(tmp_path.iterdir()) == []
    files.write(path, b"old")
    files.check_writable(path)
    assert path.read_bytes() == b"old"
    with pytest.raises(IsADirectoryError):
        files.check_writable(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.check_writable(tmp_path / "nowhere" / "page.html")
