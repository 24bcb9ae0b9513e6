"""Which events are equal to an earlier one, with 20 bytes of memory for each event.

Of an event a hash of 96 bits over its fields is kept, not the fields: that two different events among 100 million have
the same is less likely than 10⁻¹². Hashes of texts are those of Python, which nobody can foresee.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIELDS = ("user_id", "video_id", "kind", "text", "time", "start_ms", "stop_ms", "value")
RUNS = 6
"""Sorted runs of hashes that are kept before they are merged."""
MISSING = np.uint64(0x9E3779B97F4A7C15)


class Seen:
    """The events so far."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        """Each (m,): first hash (sorted), second hash, row."""

    def originals(self, columns: Mapping[str, pa.Array | pa.ChunkedArray], kept: np.ndarray, before: int) -> np.ndarray:
        """(n,) int64: the earlier row with the same values, counted from the first row of the source, −1 if there is
        none. `columns`: of the table `events`; only the rows `kept` are compared. `before`: rows before these."""
        first, second = _hashes(columns)
        first, second, row = first[kept], second[kept], kept + before
        order = np.lexsort((row, second, first))
        first, second, row = first[order], second[order], row[order]
        original = np.full(len(row), -1)
        for run in self._runs:
            found = _lookup(run, first, second)
            original = np.where(original < 0, found, original)
        repeated = np.append(False, (first[1:] == first[:-1]) & (second[1:] == second[:-1]))[: len(row)]
        head = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(row)))) if len(row) else row
        original = np.where((original < 0) & repeated, row[head], original)
        new = original < 0
        self._runs.append((first[new], second[new], row[new]))
        if len(self._runs) > RUNS:
            self._runs = [_merged(self._runs)]
        result = np.full(len(columns["user_id"]), -1)
        result[row - before] = original
        return result


def _lookup(run: tuple[np.ndarray, np.ndarray, np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) int64: the row of a run with these hashes, −1 if there is none."""
    hashes, others, rows = run
    found = np.full(len(first), -1)
    if not len(hashes):
        return found
    place = np.searchsorted(hashes, first)
    while True:  # once more for each two events that share the first hash alone, which is next to never
        there = place < len(hashes)
        there[there] = hashes[place[there]] == first[there]
        same = there.copy()
        same[there] = others[place[there]] == second[there]
        found[same] = rows[place[same]]
        place = np.where(there & ~same, place + 1, len(hashes))
        if not (there & ~same).any():
            return found


def _merged(runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hashes = np.concatenate([run[0] for run in runs])
    order = np.argsort(hashes, kind="stable")
    return (
        hashes[order],
        np.concatenate([run[1] for run in runs])[order],
        np.concatenate([run[2] for run in runs])[order],
    )


def _hashes(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint64 and (n,) uint32: two hashes of each event."""
    n = len(columns["user_id"])
    first, second = np.zeros(n, np.uint64), np.full(n, np.uint64(1))
    for name in FIELDS:
        bits = _bits(columns[name])
        first, second = _mixed(first, bits, 0xBF58476D1CE4E5B9), _mixed(second, bits, 0x94D049BB133111EB)
    return first, (second >> np.uint64(32)).astype(np.uint32)


def _mixed(state: np.ndarray, bits: np.ndarray, factor: int) -> np.ndarray:
    """One round of a hash, as in splitmix64."""
    state = (state ^ bits) * np.uint64(factor)
    state ^= state >> np.uint64(29)
    state *= np.uint64(0x9FB21C651E98DF25)
    state ^= state >> np.uint64(32)
    return state


def _bits(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(n,) uint64: equal for equal values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_string(column.type):
        words = column.dictionary_encode()
        known = np.array([hash(word) for word in words.dictionary.to_pylist()] or [0], np.int64).view(np.uint64)
        place = np.asarray(pc.fill_null(words.indices, 0)).astype(np.int64)
        bits = known[place]
    elif pa.types.is_floating(column.type):
        values = np.asarray(pc.fill_null(column, 0.0), np.float64) + 0.0  # −0 is 0
        bits = values.view(np.uint64).copy()
    else:
        bits = np.asarray(pc.fill_null(column.cast(pa.int64()), 0)).astype(np.int64).view(np.uint64).copy()
    bits[np.asarray(column.is_null())] = MISSING
    return bits
