"""The rows of one unit of a table (mostly one source), written batch by batch: memory is that of a batch."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from reelmill.storage import parts
from reelmill.storage.place import AnyPath


class UnitWriter:
    """Context manager: on a clean exit the rows that were added become one part, which replaces the unit's earlier
    rows. Nothing is written on an error, or if they are the rows that the table has already."""

    def __init__(
        self,
        folder: AnyPath,
        schema: pa.Schema,
        current: Callable[[], Iterator[pa.Table]],
        added: Callable[[Path], Iterator[pa.Table]],
        clear: Callable[[], object],
    ) -> None:
        """`current`: the rows that the table in `folder` has now; `added`: those of a new part, batch by batch.
        `clear`: write that there are none."""
        self.schema, self._current, self._added, self._clear = schema, current, added, clear
        self.written = False
        """Whether the table was changed; known after the exit."""
        self._part = parts.new_part(folder, ".parquet")
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "UnitWriter":
        self._path = self._part.__enter__()
        return self

    def add(self, rows: pa.Table) -> None:
        """The next rows, in the table's schema, all of this unit."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self.schema, compression="zstd", write_page_checksum=True)
        self._writer.write_table(rows.cast(self.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
            changed = error is None and self._writer is not None and not self._same()
        except BaseException as failed:
            self._part.__exit__(type(failed), failed, failed.__traceback__)
            raise
        if error is not None or changed:
            self._part.__exit__(kind, error, trace)
        else:
            self._part.discard()
        if error is None and self._writer is None and next(self._current(), None) is not None:
            self._clear()
            changed = True
        self.written = changed

    def _same(self) -> bool:
        """Whether the rows that were added are those of the table."""
        current = self._current()
        first = next(current, None)
        return first is not None and _equal(itertools.chain([first], current), self._added(self._path))


def _equal(first: Iterator[pa.Table], second: Iterator[pa.Table]) -> bool:
    """Whether two streams hold the same rows, however they are divided into tables."""
    a, b = next(first, None), next(second, None)
    while a is not None and b is not None:
        rows = min(a.num_rows, b.num_rows)
        if not a.slice(0, rows).equals(b.slice(0, rows)):
            return False
        a, b = a.slice(rows), b.slice(rows)
        a = a if a.num_rows else next(first, None)
        b = b if b.num_rows else next(second, None)
    return a is None and b is None
