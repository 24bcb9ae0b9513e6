"""What each case of a test gave, kept in a run as `cases.parquet`: so that runs on the same cases can be compared in
pairs later.

One row for each case, ranking and metric. Two runs have the same cases if `digest` of a test is equal: the same users
and videos, with the same candidates, of which the same are relevant.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([
    pa.field("test", pa.string(), nullable=False),
    pa.field("case", pa.int64(), nullable=False),
    pa.field("user_id", pa.string()),
    pa.field("video_id", pa.string()),
    pa.field("ranking", pa.string(), nullable=False),
    pa.field("metric", pa.string(), nullable=False),
    pa.field("value", pa.float64(), nullable=False),
])  # fmt: skip
"""`case` counts from 0 in each test; `user_id` and `video_id` are null where a case has none."""


@dataclass(frozen=True, eq=False)
class CaseValues:
    """The values of one test. Two are equal if they are of the same cases and have the same values."""

    test: str
    """What is ranked: `segments`, `items`, `frames`, …"""
    users: Sequence[str] | None
    """(C,) user of each case."""
    videos: Sequence[str] | None
    """(C,) video of each case."""
    metrics: Sequence[str]
    values: Mapping[str, np.ndarray]
    """{ranking: (C, metrics)}, the model's and the floors'."""
    truth: Sequence[np.ndarray] = field(default=())
    """Numbers that say what the candidates are and which of them are relevant, for the digest."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaseValues) or (self.digest, [*self.metrics]) != (other.digest, [*other.metrics]):
            return False
        return [*self.values] == [*other.values] and all(
            np.array_equal(values, other.values[name]) for name, values in self.values.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def digest(self) -> str:
        """16 hex digits: hash of the test's name, its cases and their truth."""
        sha = hashlib.sha256(self.test.encode())
        for ids in (self.users, self.videos):
            sha.update("\0".join(["-"] if ids is None else ["+", *ids]).encode())
        for array in self.truth:
            sha.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()[:16]

    def tables(self) -> Iterator[pa.Table]:
        """In the form of `SCHEMA`: one for each ranking and metric, by case."""
        count = len(self)
        users, videos = (
            pa.nulls(count, pa.string()) if ids is None else pa.array(ids, pa.string())
            for ids in (self.users, self.videos)
        )
        for ranking, values in self.values.items():
            for metric, column in zip(self.metrics, values.T, strict=True):
                words = [pa.repeat(word, count) for word in (self.test, ranking, metric)]
                case, value = pa.array(np.arange(count)), pa.array(column.astype(np.float64))
                yield pa.table([words[0], case, users, videos, *words[1:], value], schema=SCHEMA)


def to_parquet(tests: Sequence[CaseValues]) -> bytes:
    """The file `cases.parquet` of these tests."""
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
        for test in tests:
            for table in test.tables():
                writer.write_table(table)
    return buffer.getvalue()


def digests(tests: Sequence[CaseValues]) -> dict[str, str]:
    """{test: digest}, as `metrics.json` has it."""
    return {test.test: test.digest for test in tests}
