"""Writing features: blocks are collected in memory and sealed into shards."""

from types import TracebackType
from typing import Self

from reelmill.storage import parts
from reelmill.storage.blocks import Block
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.formats import write_shard
from reelmill.storage.place import AnyPath, AnyRoot, place
from reelmill.storage.shards import SUFFIX, Format
from reelmill.storage.shield import shielded
from reelmill.storage.spec import Spec


class FeatureWriter:
    """Collects blocks and seals them into shards. Use it as a context manager: leaving it seals the rest, also on an
    error, so that an interrupted run keeps every finished video. For one thread; any number of writers, in any number
    of processes, may share a store."""

    def __init__(
        self,
        root: AnyRoot,
        spec: Spec,
        format: Format = "hdf5",
        shard_bytes: int = 256 << 20,
        shard_blocks: int = 1024,
        *,
        sequence: int = 0,
    ) -> None:
        """`sequence`: age of the shards, if they replace older ones (`parts.new_part`)."""
        if format not in SUFFIX:
            raise InputError(f"feature format {format!r}: {nearest(format, list(SUFFIX))}")
        self.folder = features_folder(root) / spec.name
        self.spec, self.format = spec, format
        self.shard_bytes, self.shard_blocks = shard_bytes, shard_blocks
        self.sequence = sequence
        self._blocks: dict[str, Block] = {}
        self._bytes = 0
        parts.sweep(self.folder)

    def add(self, block: Block) -> None:
        """Check a block and keep a copy, which replaces an earlier one of the same video; seal a shard if there is
        enough for one. Raises InputError."""
        packed, replaced = block.packed(self.spec), self._blocks.get(block.video_id)
        self._blocks[block.video_id] = packed
        self._bytes += packed.features.nbytes - (replaced.features.nbytes if replaced else 0)
        if self._bytes >= self.shard_bytes or len(self._blocks) >= self.shard_blocks:
            self.seal()

    def seal(self) -> AnyPath | None:
        """Write the collected blocks as one complete shard; return its path, or None if there are none.

        On an error (no space left) the blocks are kept, so that it can be tried again. A signal that asks the process
        to end is handled afterwards.
        """
        if not self._blocks:
            return None
        with shielded():
            part = parts.new_part(self.folder, SUFFIX[self.format], self.sequence)
            with part as path:
                write_shard(path, self.format, self.spec, list(self._blocks.values()))
            self._blocks, self._bytes = {}, 0
        return part.committed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seal()


def features_folder(root: AnyRoot) -> AnyPath:
    """`ROOT/features`."""
    return place(root) / "features"
