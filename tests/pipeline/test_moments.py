"""Times as other programs and people write them: the unit is found on the whole column, or the source is refused."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.flows.settings.load import load
from reelmill.pipeline import labels, sources
from reelmill.pipeline.sources import SourceResult, moments, values
from reelmill.pipeline.sources.moments import Unit
from reelmill.storage import Tables
from reelmill.storage.errors import InputError

PAIRS = {"user_id": "user", "video_id": "item", "time": "timestamp"}


def pairs(path: Path, times: Sequence[object], unit: Unit | None = None) -> SourceResult:
    """A table of pairs with these times, as MicroLens publishes them."""
    rows = [f"{n},{n % 3},{said}\n" for n, said in enumerate(times)]
    path.write_text("user,item,timestamp\n" + "".join(rows))
    return sources.read(path, "mapped", mapping=PAIRS, time_unit=unit)


def typed(path: Path, times: pa.Array) -> SourceResult:
    """The same in Parquet."""
    numbers = [str(n) for n in range(len(times))]
    pq.write_table(pa.table({"user": numbers, "item": numbers, "timestamp": times}), path)
    return sources.read(path, "mapped", mapping=PAIRS)


def at(result: SourceResult) -> list[str]:
    return [f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] if moment else "" for moment in result.events["time"].to_pylist()]


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        (1583378629123, "Unix milliseconds"),  # MicroLens, KuaiRand, Amazon 2023
        (1583378629123456, "Unix microseconds"),
        (1583378629123456789, "Unix nanoseconds"),
        ("1583378629.123", "Unix seconds"),  # KuaiRec
        ("1.583378629123e+12", "Unix milliseconds"),  # as pandas writes a column with a gap
    ],
)
def test_the_unit_of_a_column_is_found(tmp_path: Path, said: object, unit: str) -> None:
    result = pairs(tmp_path / "pairs.csv", [said, "", said])
    assert at(result) == ["2020-03-05 03:23:49.123", "", "2020-03-05 03:23:49.123"]
    assert result.understood["time"] == unit
    assert result.reasons() == {}


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        (20200705, "2020-07-05 00:00:00.000"),  # KuaiRec
        ("20200705.0", "2020-07-05 00:00:00.000"),
        (202007051530, "2020-07-05 15:30:00.000"),
        (20200705153001, "2020-07-05 15:30:01.000"),
        (20000229, "2000-02-29 00:00:00.000"),
    ],
)
def test_a_number_can_be_a_date(tmp_path: Path, said: object, moment: str) -> None:
    result = pairs(tmp_path / "pairs.csv", [said])
    assert at(result) == [moment]
    assert result.understood["time"] == "dates as numbers (YYYYMMDD)"
    assert at(typed(tmp_path / "pairs.parquet", pa.array([int(float(str(said)))]))) == [moment]


def test_days_that_are_none_are_rejected(tmp_path: Path) -> None:
    result = pairs(tmp_path / "pairs.csv", [20200705, 20200706, 20200705, 20200706, 20200732, 20210229])
    assert [moment[:10] for moment in at(result)] == ["2020-07-05", "2020-07-06", "2020-07-05", "2020-07-06"]
    assert result.reasons() == {"unparsable_time": 2}
    with pytest.raises(InputError, match=r"of 3 numbers 1 are dates as numbers.*, 2 fit none; give source.time_unit"):
        pairs(tmp_path / "pairs.csv", [20200705, 20200732, 20210229])


def test_a_few_numbers_of_another_unit_are_rejected_and_many_refused(tmp_path: Path) -> None:
    result = pairs(tmp_path / "pairs.csv", [1583378629123] * 8 + [1583378629, 20200705])
    assert len(result.events) == 8
    assert [row["detail"] for row in result.rejects.to_pylist()] == ["timestamp=1583378629", "timestamp=20200705"]
    assert result.reasons() == {"out_of_range": 2}
    assert result.understood["time"] == "Unix milliseconds, which 8 of 10 numbers fit; the others are rejected"
    with pytest.raises(
        InputError, match=r"'timestamp' must hold times of one unit: of 4 numbers 2 are Unix seconds, 2"
    ):
        pairs(tmp_path / "pairs.csv", [1583378629, 1583378629123] * 2)
    with pytest.raises(
        InputError, match=r"2 are Unix seconds, 1 are Unix milli.*1 are dates.*give source.time_unit \(s, ms, us, ns, d"
    ):
        pairs(tmp_path / "pairs.csv", [1583378629, 1583378630, 20200705] + ["1e20"] * 9 + [1583378629123])


def test_the_unit_can_be_told(tmp_path: Path) -> None:
    told: dict[Unit, str] = {"s": "1970-08-22", "ms": "1970-01-01", "date": "2020-07-05"}
    for unit, day in told.items():
        result = pairs(tmp_path / "pairs.csv", [20200705], unit)
        assert at(result)[0].startswith(day)
        assert result.understood["time"].endswith(", as time_unit says")
    settings = tmp_path / "settings.yaml"
    settings.write_text("root: data\nsource: {path: pairs.csv, time_unit: us}\n")
    source = load(settings).source
    assert source is not None
    assert source.time_unit == "us"


def test_small_numbers_are_seconds_and_it_is_said(tmp_path: Path) -> None:
    result = pairs(tmp_path / "pairs.csv", [0, 9, 86_400])
    assert at(result)[2] == "1970-01-02 00:00:00.000"
    assert "no number is large enough to say its unit; give source.time_unit" in result.understood["time"]


def test_days_with_slashes_and_typed_columns(tmp_path: Path) -> None:
    result = pairs(tmp_path / "pairs.csv", ["2020/7/5", "2020/07/05 12:30", "2020-07-05"])
    assert [moment[:16] for moment in at(result)] == ["2020-07-05 00:00", "2020-07-05 12:30", "2020-07-05 00:00"]
    assert result.understood["time"] == "ISO 8601 times"
    moment = datetime(2020, 7, 5, 1, tzinfo=UTC)
    for kind in (pa.timestamp("s", tz="UTC"), pa.timestamp("ns", tz="UTC"), pa.date64()):
        array = pa.array([moment if pa.types.is_timestamp(kind) else moment.date()], kind)
        assert at(typed(tmp_path / "t.parquet", array))[0].startswith("2020-07-05")


def test_the_unit_is_that_of_the_whole_column() -> None:
    """Counts of pieces add up to those of the column."""
    column = pa.chunked_array([[1583378629123] * 5, [20200705, 7], [1583378629]])
    parts = [moments.count("t", pa.chunked_array([chunk])) for chunk in column.chunks]
    assert parts[0] + parts[1] + parts[2] == moments.count("t", column)
    assert (parts[1] + parts[0]).found("t").unit == "ms"


# ---- times in a video ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0:02", 2), ("1:02:03.5", 3723.5), ("75:30", 4530), ("00:01:02,25", 62.25), ("PT4M13S", 253),
     ("PT1H0.5S", 3600.5), (" 0:02 ", 2), ("12.5", 12.5), ("-0:02", -2)],
)  # fmt: skip
def test_times_as_people_write_them(said: str, seconds: float) -> None:
    for scale in (1000, 1):  # a clock has its own unit
        read = values.clock_times("start", pa.chunked_array([[said, "0:02"]]), scale)
        assert read.values[0] == (seconds * 1000 if ":" in said or "P" in said else seconds * scale)
        assert not read.unreadable.any()


@pytest.mark.parametrize("said", ["0:2", "1:77", "1:61:00", "00:00:02:12", "2s", "P", ":30", "1:02:", "0x10"])
def test_what_is_no_time_stays_unreadable(said: str) -> None:
    assert values.clock_times("start", pa.chunked_array([[said]]), 1000).unreadable.all()


def test_typed_lengths_and_times_of_day() -> None:
    for array in (pa.array([timedelta(seconds=62.5)], pa.duration("ns")), pa.array([time(0, 1, 2, 500_000)])):
        assert values.clock_times("start", pa.chunked_array([array]), 1000).values.tolist() == [62_500]


def likes(folder: Path, *rows: str) -> SourceResult:
    path = folder / "likes.csv"
    path.write_text("\n".join(["user,clip,from,to,long", *rows]) + "\n")
    mapping = {"user_id": "user", "video_id": "clip", "start_s": "from", "stop_s": "to", "video_duration_s": "long"}
    return sources.read(path, "mapped", mapping=mapping)


def test_a_like_without_times_is_one_of_the_whole_video(tmp_path: Path) -> None:
    result = likes(tmp_path, "ann,a,,,0:12", "bob,a,0:02,0:09,0:12", "cid,a,5,,12", "dan,b,,,")
    found: list[dict[str, Any]] = result.events.to_pylist()
    assert [(row["user_id"], row["kind"], row["start_ms"], row["stop_ms"]) for row in found] == [
        ("ann", "highlight", None, None), ("bob", "highlight", 2000, 9000), ("dan", "highlight", None, None),
    ]  # fmt: skip
    assert result.reasons() == {"missing_time": 1}
    sources.write_source(tmp_path / "root", result)
    made = labels.write_labels(tmp_path / "root")
    rows = Tables(tmp_path / "root").read("labels").to_pylist()
    assert [(row["user_id"], row["segment_index"], row["covered_ms"]) for row in rows] == [
        ("ann", 0, 5000), ("bob", 0, 3000), ("ann", 1, 5000), ("bob", 1, 4000), ("ann", 2, 2000),
    ]  # fmt: skip
    assert (made.events, made.events_without_duration) == (2, 1)


def test_a_video_whose_rows_are_all_rejected_is_counted(tmp_path: Path) -> None:
    result = likes(tmp_path, "ann,a,1,3,12", "ann,b,9,3,12", "bob,b,x,3,12", "bob,a,9,3,12")
    assert result.videos_without_events == 1
    counts = sources.write_source(tmp_path / "root", result)
    assert (counts.videos, counts.videos_without_events, counts.rejects) == (1, 1, 3)
