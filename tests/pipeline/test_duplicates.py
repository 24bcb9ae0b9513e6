"""Duplicates over many batches, against a dictionary."""

from random import Random

import numpy as np
import pyarrow as pa
import pytest

from reelmill.pipeline.sources import duplicates
from reelmill.pipeline.sources.duplicates import FIELDS, Seen


def batch(rng: Random, rows: int) -> dict[str, pa.Array]:
    """Rows of which many are equal, with nulls in every field that may have them."""
    texts = {"user_id": "abc", "video_id": "xy", "kind": ("watch", "rating")}
    columns = {name: pa.array([rng.choice(values) for _ in range(rows)]) for name, values in texts.items()}
    columns["text"] = pa.array([rng.choice([None, "", "t"]) for _ in range(rows)], pa.string())
    columns["time"] = pa.array([rng.choice([None, 0, 5]) for _ in range(rows)], pa.timestamp("ms", tz="UTC"))
    for name in ("start_ms", "stop_ms"):
        columns[name] = pa.array([rng.choice([None, 0]) for _ in range(rows)], pa.int64())
    columns["value"] = pa.array([rng.choice([None, 0.0, -0.0, 2.5]) for _ in range(rows)], pa.float64())
    return columns


@pytest.mark.parametrize("colliding", [False, True])
def test_the_first_equal_row_is_named(monkeypatch: pytest.MonkeyPatch, colliding: bool) -> None:
    """Also where the first hashes of all rows are the same."""
    if colliding:
        whole = duplicates._hashes
        monkeypatch.setattr(
            duplicates, "_hashes", lambda columns: (whole(columns)[0] % np.uint64(3), whole(columns)[1])
        )
    rng, seen, first, before = Random(0), Seen(), dict[tuple[object, ...], int](), 0
    doubled = 0
    for _ in range(25):
        rows = rng.randint(0, 60)
        columns = batch(rng, rows)
        kept = np.flatnonzero([rng.random() < 0.8 for _ in range(rows)])
        found = seen.originals(columns, kept, before)
        values = list(zip(*(columns[name].to_pylist() for name in FIELDS), strict=True))
        for row in range(rows):
            expected = first.get(values[row], -1) if row in kept else -1
            assert found[row] == expected
            doubled += expected >= 0
            if row in kept:
                first.setdefault(values[row], before + row)
        before += rows
    assert doubled > 50
