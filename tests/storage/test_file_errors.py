"""Errors of the file system name the file, also those of calls that know only its number."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reelmill.pipeline.media import digest
from reelmill.storage import FeatureWriter, Tables, hdf5, parts
from reelmill.storage.features import open_store
from tests.stores import SPEC, block, fill


def _broken(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _write_block(root: Path) -> None:
    with FeatureWriter(root, SPEC) as writer:
        writer.add(block("v"))


WRITES: dict[str, Callable[[Path], object]] = {
    "table": lambda root: Tables(root).write("videos", [{"video_id": "v"}]),
    "shard": _write_block,
    "file": lambda root: parts.write_file(root / "notes" / "note.json", b"{}"),
    "move": lambda root: parts.move(parts.write_file(root / "a", b""), root / "b"),
}


@pytest.mark.parametrize(
    ("what", "of_file"), [*((what, True) for what in WRITES if what != "move"), *((what, False) for what in WRITES)]
)
def test_a_failed_fsync_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, of_file: bool
) -> None:
    """As a disk that breaks reports what could not be written; of the file, or of its folder."""
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_file() is of_file:
            _broken()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        WRITES[what](tmp_path)
    assert str(raised.value.filename).startswith(str(tmp_path))


def test_a_failed_read_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of a process's memory can be opened and not be read, as a bad sector."""
    sector = tmp_path / "sector"
    sector.symlink_to("/proc/self/mem")
    reads: tuple[Callable[[Path], object], ...] = (parts.read_file, digest)
    for read in reads:
        with pytest.raises(OSError, match="Input/output error") as raised:
            read(sector)
        assert raised.value.filename == str(sector)
    Tables(tmp_path).write("videos", [{"video_id": "v"}])
    fill(tmp_path, [block("v")])
    monkeypatch.setattr(pq, "ParquetFile", _broken)
    monkeypatch.setattr(hdf5, "_pages", _broken)
    with pytest.raises(OSError, match=r"Input/output error.*part-"):
        Tables(tmp_path).read("videos")
    with pytest.raises(OSError, match=r"Input/output error.*part-"):
        open_store(tmp_path, SPEC.name).read("v")
