"""A clock that jumps. Nothing is ordered by it alone, and nothing of a living writer is taken for old."""

import os
import socket
import time
from pathlib import Path

import pytest

from reelmill.storage import FeatureWriter, Outcome, Outcomes, Tables, open_store, parts
from reelmill.storage.compact import compact
from tests.stores import SPEC, block, fill, same

YEAR = 365 * 24 * 3600.0


class Clock:
    """The system's clock, set wrong by `off` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off = 0.0
        now, now_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: now() + self.off)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(self.off * 1e9))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("jumps", [(YEAR, -YEAR, -2 * YEAR), (-YEAR, -2 * YEAR, YEAR), (0, -1, -1)])
def test_the_part_that_was_written_last_counts(tmp_path: Path, clock: Clock, jumps: tuple[float, ...]) -> None:
    fill(tmp_path, [block("a"), block("b")])
    tables, outcomes = Tables(tmp_path), Outcomes(tmp_path)
    for number, jump in enumerate(jumps):
        clock.off = jump
        fill(tmp_path, [block("a", seed=number)])
        tables.write("labels", [{"user_id": f"u{number}", "video_id": "a", "segment_index": 0, "covered_ms": 1}])
        outcomes.write([Outcome("extract", "a", "failed" if number % 2 else "done", message=str(number))])
        assert same(open_store(tmp_path, "c3d").read("a"), block("a", seed=number))
        assert [row["user_id"] for row in tables.read("labels").to_pylist()] == [f"u{number}"]
        assert outcomes.latest("extract")["a"]["message"] == str(number)
    compact(tmp_path, "c3d")
    tables.compact("outcomes")
    clock.off = -10 * YEAR
    assert [row["message"] for row in tables.read("outcomes").to_pylist()] == [str(n) for n in range(len(jumps))]
    assert same(open_store(tmp_path, "c3d").read("a"), block("a", seed=len(jumps) - 1))
    fill(tmp_path, [block("a", seed=9)])
    assert same(open_store(tmp_path, "c3d").read("a"), block("a", seed=9)), "newer than what compaction made"


def test_the_temporary_of_a_living_writer_outlives_a_jump(tmp_path: Path, clock: Clock) -> None:
    """Of this machine, that is; of another one, whose processes nobody here knows, a day counts."""
    part = parts.new_part(tmp_path, ".txt")
    with part as path:
        path.write_text("half")
        away = tmp_path / ".part-bb.tmp-elsewhere-1"
        away.touch()
        clock.off = YEAR
        assert parts.sweep(tmp_path) == [away]
        clock.off = -YEAR
        assert parts.sweep(tmp_path) == []
    assert part.committed.read_text() == "half"


def test_what_the_dead_left_goes_whatever_the_clock_says(tmp_path: Path, clock: Clock) -> None:
    folder = fill(tmp_path, [block("a")])
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    for number, jump in enumerate((-YEAR, YEAR)):
        clock.off = jump
        dead = folder / f".part-{number:08}.tmp-{socket.gethostname()}-{child}"
        dead.touch()
        FeatureWriter(tmp_path, SPEC)
        assert not dead.exists()
