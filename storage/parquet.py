"""The Parquet format of a shard, for readers without HDF5: vectors are a FixedSizeList column.

    video_id       string
    segment_index  int32
    start_ms       int64
    stop_ms        int64
    mask           uint8                 0 no data, 1 valid, 2 padded
    features       fixed_size_list<float or halffloat>[dim]
    file metadata  format, version, spec (JSON), fingerprint, sha256, and index: the JSON object
                   {video_id: […], row_start: […], row_stop: […], provenance: […]}, each key after `reelmill.`

A row group holds a few videos, since a reader decodes all of it to get one row; for training use HDF5.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reelmill.storage import cache
from reelmill.storage.blocks import COLUMNS, Block
from reelmill.storage.shards import Index, Shard, checksum, columns_of, description, readable
from reelmill.storage.spec import Spec

PREFIX = "reelmill."
GROUP_ROWS = 64
"""A row group takes whole videos until it has this many rows."""
GROUP_LIMIT = 256
"""A longer row group is split."""
GROUPS = 8
"""Decoded row groups that a process keeps in memory, for readers that read a video row by row."""


def write(path: Path, spec: Spec, blocks: Sequence[Block]) -> None:
    """Write one shard; raises OSError (no space, no permission)."""
    columns, index = columns_of(blocks), Index.of(blocks)
    described = description(spec, checksum(spec, (b.features for b in blocks), columns, index))
    listed = {name: np.asarray(values).tolist() for name, values in vars(index).items()}
    schema = _schema(spec)
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=["video_id"],
        write_statistics=["video_id", *COLUMNS],
        write_page_checksum=True,
    ) as writer:
        for group in _groups(blocks):
            values = np.concatenate([b.features for b in group]).ravel()
            arrays = {
                "video_id": pa.array([b.video_id for b in group for _ in range(len(b))], pa.string()),
                "features": pa.FixedSizeListArray.from_arrays(pa.array(values), type=schema.field("features").type),
                **{name: pa.array(column) for name, column in columns_of(group).items()},
            }
            writer.write_table(pa.table([arrays[n] for n in schema.names], schema=schema), row_group_size=GROUP_LIMIT)
        texts = {**described, "index": json.dumps(listed)}
        writer.add_key_value_metadata({PREFIX + key: str(text) for key, text in texts.items()})


class ParquetShard(Shard):
    """A sealed Parquet shard. Vectors are decoded a row group at a time, on demand."""

    def _open(self) -> None:
        footer = _footer(self)
        texts = {key.decode(): text.decode() for key, text in (footer.metadata or {}).items()}
        self._describe({key.removeprefix(PREFIX): text for key, text in texts.items() if key.startswith(PREFIX)})
        if not footer.schema.to_arrow_schema().equals(_schema(self.spec)):
            raise ValueError("its columns do not match its spec")
        listed = json.loads(texts[PREFIX + "index"])
        starts, stops = (np.array(listed[name], np.int64) for name in ("row_start", "row_stop"))
        self.index = Index(listed["video_id"], starts, stops, listed["provenance"])
        self.rows = footer.num_rows
        sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        self.edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _read(self, columns: list[str], group: int | None = None) -> pa.Table:
        """Columns of one row group or of all."""
        options = {"memory_map": True, "page_checksum_verification": True}

        def read(path: Path) -> pa.Table:
            with pq.ParquetFile(path, metadata=_footer(self), **options) as file:
                if group is None:
                    return file.read(columns, use_threads=False)
                return file.read_row_group(group, columns, use_threads=False)

        with readable(self.path):
            return cache.reading(self.path, read)

    def column(self, name: str) -> np.ndarray:
        return _column(self, name)

    @property
    def memory(self) -> "_Memory":
        return _Memory(self)

    def slice(self, start: int, stop: int) -> np.ndarray:
        first, last = np.searchsorted(self.edges, [start, max(start, stop - 1)], side="right") - 1
        groups = [_vectors(self, group) for group in range(first, last + 1)] if start < stop else []
        values = np.concatenate([np.empty((0, self.spec.dim), self.spec.dtype), *groups])
        return values[start - self.edges[first] :][: stop - start]

    def read_ahead(self, rows: np.ndarray) -> None:
        """Does nothing: whole row groups are read anyway."""

    def verify(self) -> None:
        super().verify()
        with readable(self.path):  # the column repeats the index for plain readers, so the checksum leaves it out
            sizes = (self.index.row_stop - self.index.row_start).tolist()
            named = [video for video, size in zip(self.video_ids, sizes, strict=True) for _ in range(size)]
            if self._read(["video_id"])["video_id"].to_pylist() != named:
                raise ValueError("its column video_id does not match its index")


class _Memory:
    """The vectors of a shard as if they were memory, decoded where it is read."""

    def __init__(self, shard: ParquetShard) -> None:
        self.shard = shard
        self.width = shard.spec.dim * np.dtype(shard.spec.dtype).itemsize

    def __getitem__(self, at: slice) -> bytes:
        row = at.start // self.width
        group = int(np.searchsorted(self.shard.edges, row, side="right")) - 1
        return _vectors(self.shard, group)[row - self.shard.edges[group]].tobytes()


@functools.lru_cache(maxsize=GROUPS)
def _vectors(shard: ParquetShard, group: int) -> np.ndarray:
    """Vectors (rows, dim) of a row group."""
    column = shard._read(["features"], group)["features"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, shard.spec.dim)


@functools.lru_cache(maxsize=8 * len(COLUMNS))
def _column(shard: ParquetShard, name: str) -> np.ndarray:
    """A column beside the vectors, (rows,)."""
    return shard._read([name])[name].to_numpy().astype(COLUMNS[name], copy=False)


@functools.lru_cache(maxsize=64)
def _footer(shard: ParquetShard) -> pq.FileMetaData:
    """The footer: where in the file everything is; too large to keep for every shard."""
    with cache.index_of(shard.path) as source:
        return pq.read_metadata(source)


def _schema(spec: Spec) -> pa.Schema:
    vector = pa.list_(pa.field("element", pa.from_numpy_dtype(spec.dtype), nullable=False), spec.dim)
    types = {
        "video_id": pa.string(),
        **{name: pa.from_numpy_dtype(COLUMNS[name]) for name in ("segment_index", "start_ms", "stop_ms", "mask")},
        "features": vector,
    }
    return pa.schema([pa.field(name, type, nullable=False) for name, type in types.items()])


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Consecutive blocks that share a row group; blocks without rows are in the index only."""
    group: list[Block] = []
    for block in blocks:
        if len(block):
            group.append(block)
        if sum(map(len, group)) >= GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group
