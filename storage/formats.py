"""The formats of a shard: a file each (`hdf5`, `parquet`). Opens a shard by its suffix, writes one by its format.

A format's library is imported when a shard of it is opened or written: reading tables needs no h5py.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from reelmill.storage.blocks import Block
from reelmill.storage.errors import CorruptPart
from reelmill.storage.place import AnyPath
from reelmill.storage.shards import SUFFIX, Format, Shard
from reelmill.storage.spec import Spec


def open_shard(path: AnyPath) -> Shard:
    """Open a shard of either format. Shards never change, so one that this process has opened before is not read again.
    On disk its inode, size and time are compared first, since somebody may have put another file in its place."""
    if not isinstance(path, Path):
        return _open(path, (0, 0, 0))
    facts = path.stat()
    return _open(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns))


@functools.lru_cache(maxsize=1 << 14)
def _open(path: AnyPath, identity: tuple[int, int, int]) -> Shard:
    return read_shard(path)


def read_shard(path: AnyPath) -> Shard:
    """Open a shard from the file as it is now. Raises CorruptPart, FileNotFoundError."""
    if path.suffix == SUFFIX["hdf5"]:
        from reelmill.storage.hdf5 import Hdf5Shard

        return Hdf5Shard(path)
    if path.suffix == SUFFIX["parquet"]:
        from reelmill.storage.parquet import ParquetShard

        return ParquetShard(path)
    raise CorruptPart(f"{path}: a feature store holds {' and '.join(SUFFIX.values())} parts only; move it away")


def write_shard(path: Path, format: Format, spec: Spec, blocks: Sequence[Block]) -> None:
    """Write one shard of packed blocks to a path. Blocks keep their order, rows of a video are adjacent."""
    if format == "hdf5":
        from reelmill.storage import hdf5

        hdf5.write(path, spec, blocks)
    else:
        from reelmill.storage import parquet

        parquet.write(path, spec, blocks)
