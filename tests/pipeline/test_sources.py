"""Adapters: every source row ends as an event or as a reject, and says why."""

import csv
import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.flows.jobs.steps import read_source
from reelmill.flows.settings.load import load
from reelmill.pipeline import sources
from reelmill.pipeline.sources.checks import REASONS
from reelmill.pipeline.sources.rows import SourceResult
from reelmill.storage import Tables, parts
from reelmill.storage.errors import InputError
from reelmill.storage.schema import SCHEMAS
from tests.optional import need

DATA = Path(__file__).parents[3] / "shared" / "data"
HEAD = "youtubeId,start,duration,user_id,video_duration,is_last"


def phd2(tmp_path: Path, *lines: str, durations: dict[str, int] | None = None) -> SourceResult:
    path = tmp_path / "phd2.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return sources.read(path, "phd2", durations=durations)


def account(result: SourceResult) -> None:
    """Nothing lost, nothing doubled, all of it as the schemas say."""
    events, rejects = result.events, result.rejects
    rows = sorted(events["source_row"].to_pylist() + rejects["source_row"].to_pylist())
    assert rows == list(range(1, result.rows + 1))
    for name in ("events", "rejects", "videos"):
        table = getattr(result, name)
        table.validate(full=True)
        assert table.schema.equals(SCHEMAS[name])
        assert all(f.nullable or not table[f.name].null_count for f in SCHEMAS[name])
    assert set(rejects["reason"].to_pylist()) <= set(REASONS)
    assert set(events["video_id"].to_pylist()) <= set(result.videos["video_id"].to_pylist())
    events.to_pylist()  # every value is one that Python knows too


def test_phd2_marks_the_last_video(tmp_path: Path) -> None:
    result = phd2(tmp_path, "a,0,5,u,60,True", "b,0,5,u,60,False", "c,0,5,u,60,false ", "d,0,5,u,60,")
    assert result.events["last_video"].to_pylist() == [True, False, False, None]
    path = tmp_path / "without.csv"
    path.write_text("youtubeId,start,duration,user_id,video_duration\na,0,5,u,60\n")
    assert sources.read(path, "phd2").events["last_video"].to_pylist() == [None]


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("v,1,2,u,60", "malformed_row", "5 fields, expected 6"),
        ("v,1,2,u,60,True,x", "malformed_row", "7 fields, expected 6"),
        ("", "malformed_row", "empty line"),
        ('v,1,2,"u,60,True', "malformed_row", "broken quotes"),
        ('v,1,2,u"x"y,60,True', "malformed_row", "broken quotes"),
        ("v,1,2,u\0,60,True", "malformed_row", "NUL byte"),
        (" ,1,2,u,60,True", "missing_id", "video_id"),
        ("v,1,2,,60,True", "missing_id", "user_id"),
        (",x,2,,60,True", "missing_id", "user_id"),  # precedence: before the number
        ("v,one,2,u,60,True", "unparsable_number", "start=one"),
        ("v,1,2s,u,60,True", "unparsable_number", "duration=2s"),
        ("v,1,2,u,1:77,True", "unparsable_number", "video_duration=1:77"),
        ("v,0x10,2,u,60,True", "unparsable_number", "start=0x10"),
        ("v,nan,2,u,60,True", "not_finite", "start=nan"),
        ("v,1,-inf,u,60,True", "not_finite", "duration=-inf"),
        ("v,inf,-inf,u,60,True", "not_finite", "start=inf"),
        ("v,1,1e999,u,60,True", "not_finite", "duration=1e999"),
        ("v,-0.5,2,u,60,True", "negative_time", "start=-0.5"),
        ("v,1,-2,u,60,True", "negative_time", "duration=-2"),
        ("v,1e300,2,u,60,True", "out_of_range", "start=1e300"),
        ("v,1,2,u,604801,True", "out_of_range", "video_duration=604801"),
        ("v,,2,u,60,True", "missing_time", "start"),
        ("v,1,,u,60,True", "missing_time", "stop"),
        ("v,1,0,u,60,True", "empty_range", "stop_ms=1000"),
        ("v,1,0.0004,u,60,True", "empty_range", "stop_ms=1000"),
        ("v,1,2,u,-1.0,True", "unknown_duration", "video_duration=-1.0"),
        ("v,1,2,u,0,True", "unknown_duration", "video_duration=0"),
        ("v,1,2,u,NaN,True", "unknown_duration", "video_duration=NaN"),
        ("v,1,2,u,,True", "unknown_duration", "video_duration="),
        ("v,60,2,u,60,True", "start_beyond_end", "start_ms=60000"),
    ],
)
def test_each_rule(tmp_path: Path, line: str, reason: str, detail: str) -> None:
    good = "w,1.0,2.5,u,60,True"
    result = phd2(tmp_path, good, line, good.replace("u", "t"))
    account(result)
    assert result.events["source_row"].to_pylist() == [1, 3]
    (reject,) = result.rejects.to_pylist()
    assert (reject["source_row"], reject["reason"], reject["detail"]) == (2, reason, detail)
    assert result.reasons() == {reason: 1}


def test_a_clean_row(tmp_path: Path) -> None:
    result = phd2(tmp_path, "v,79.99,4.14,13000,85.0,True")
    assert result.events.to_pylist() == [
        {"user_id": "13000", "video_id": "v", "kind": "highlight", "time": None, "start_ms": 79990, "stop_ms": 84130,
         "value": None, "text": None, "last_video": True, "source": "phd2.csv", "source_row": 1}
    ]  # fmt: skip
    (video,) = result.videos.to_pylist()
    assert video["url"] == "https://www.youtube.com/watch?v=v"
    assert video["claimed_duration_ms"] == 85_000
    assert result.clipped == result.conflicting_durations == 0


def test_stops_beyond_the_end_are_clipped_and_counted(tmp_path: Path) -> None:
    result = phd2(tmp_path, "v,50,20,u,60,True", "v,50,10,t,60,True", "v,50,1e9,s,60,True", "v,99,1,r,60,True")
    assert result.events["stop_ms"].to_pylist() == [60_000] * 3
    assert result.clipped == 2
    assert result.reasons() == {"start_beyond_end": 1}


def test_duplicates_name_the_first_row(tmp_path: Path) -> None:
    rows = ["v,1,2,u,60,True", "v,1,2,t,60,True", "v,1.0,2.00,u,60,False", "v,1,2,u,60,True", "v,-1,2,u,60,True"]
    result = phd2(tmp_path, *rows, "v,55,50,u,60,True", "v,55,60,u,60,True")
    found = [(r["source_row"], r["reason"], r["detail"]) for r in result.rejects.to_pylist()]
    assert found == [(3, "duplicate", "same as row 1"), (4, "duplicate", "same as row 1"),
                     (5, "negative_time", "start=-1"), (7, "duplicate", "same as row 6")]  # fmt: skip


def test_a_measured_duration_makes_a_row_usable(tmp_path: Path) -> None:
    rows = ["v,1,2,u,-1,True", "w,1,2,u,-1,True", "x,50,10,u,100,True"]
    without = phd2(tmp_path, *rows)
    assert without.reasons() == {"unknown_duration": 2}
    assert without.videos["video_id"].to_pylist() == ["v", "w", "x"]  # to be measured
    assert without.videos["claimed_duration_ms"].to_pylist() == [None, None, 100_000]
    result = phd2(tmp_path, *rows, durations={"v": 2500, "x": 55_000, "elsewhere": 1})
    account(result)
    assert [(e["video_id"], e["stop_ms"]) for e in result.events.to_pylist()] == [("v", 2500), ("x", 55_000)]
    assert result.reasons() == {"unknown_duration": 1}
    assert result.videos["claimed_duration_ms"].to_pylist() == [None, None, 100_000]  # a claim stays a claim
    with pytest.raises(InputError, match="'v' is 0 ms"):
        phd2(tmp_path, *rows, durations={"v": 0})


def test_conflicting_claims(tmp_path: Path) -> None:
    claims = {"v": [10, 20, 20, -1], "w": [30, 40], "x": [50, 50]}
    result = phd2(tmp_path, *(f"{v},{i},1,u,{c},True" for v, all_ in claims.items() for i, c in enumerate(all_)))
    claimed = dict(zip(*(result.videos[c].to_pylist() for c in ("video_id", "claimed_duration_ms")), strict=True))
    assert claimed == {"v": 20_000, "w": 30_000, "x": 50_000}
    assert result.conflicting_durations == 2
    assert result.rejects.num_rows == 0  # the row without a claim takes that of its neighbours


def test_header_only_and_no_header(tmp_path: Path) -> None:
    account(result := phd2(tmp_path))
    assert result.rows == result.videos.num_rows == 0
    path = tmp_path / "x.csv"
    for content, match in (
        (b"", "first line is empty"),
        (b"a,b\n1,2\n", "'youtubeId'.*'mapped'"),
        (b"\xff\n", "column"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=match):
            sources.read(path, "phd2")
    (tmp_path / "half.csv.gz").write_bytes(gzip.compress(HEAD.encode())[:-9])
    with pytest.raises(InputError, match="gzip"):
        sources.read(tmp_path / "half.csv.gz", "phd2")


def test_wrong_arguments(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(HEAD + "\n")
    with pytest.raises(InputError, match="did you mean 'phd2'"):
        sources.read(path, "phd")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a mapping"):
        sources.read(path, "mapped")
    with pytest.raises(InputError, match="'phd2' takes no mapping"):
        sources.read(path, "phd2", mapping={})
    with pytest.raises(InputError, match="video_id"):
        sources.read(path, "phd2", url_template="https://example.org/")
    with pytest.raises(InputError, match="not a file"):
        sources.read(tmp_path, "phd2")
    with pytest.raises(InputError, match="not a file"):  # before anything is said of the mapping
        sources.read(tmp_path / "gone.csv", "mapped")


# ---- MovieLens -------------------------------------------------------------------------------------------------------

DAT = "1::10::5::978300760\n2::20::3.5::978302109\n1::30::1::978300760\n"
TABS = DAT.replace("::", "\t")
HEADED = "userId,movieId,rating,timestamp\n" + DAT.replace("::", ",")
LAYOUTS = {
    "ratings.dat": (DAT, "movies.dat", "10::Amélie (2001)::Comedy|Romance\n20::Alien: One::Horror\n"),
    "ratings.csv": (HEADED.replace("\n", "\r\n"),
                    "movies.csv", 'movieId,title,genres\n10,"Amélie (2001)",Comedy|Romance\n20,Alien: One,Horror\n'),
    "ml.inter": ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + TABS,
                 "ml.item", "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
                            "10\tAmélie (2001)\t2001\tComedy Romance\n20\tAlien: One\t1979\tHorror\n"),
    "u.data": (TABS, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_movielens_layouts(tmp_path: Path, name: str, encoding: str) -> None:
    ratings, items, films = LAYOUTS[name]
    (tmp_path / name).write_bytes(ratings.encode())
    if items:
        (tmp_path / items).write_bytes(films.encode(encoding))
    result = sources.read(tmp_path / name, "movielens", url_template="https://example.org/{video_id}/{video_id}.mp4")
    account(result)
    assert [(e["user_id"], e["video_id"], e["value"], e["kind"], e["start_ms"]) for e in result.events.to_pylist()] == [
        ("1", "10", 5.0, "rating", None), ("2", "20", 3.5, "rating", None), ("1", "30", 1.0, "rating", None)
    ]  # fmt: skip
    assert result.events["time"][0].as_py() == datetime.fromtimestamp(978300760, UTC)
    titles = ["Amélie (2001)", "Alien: One", None] if items else [None] * 3
    assert result.videos["title"].to_pylist() == titles
    assert result.videos["tags"].to_pylist() == ([["Comedy", "Romance"], ["Horror"], None] if items else [None] * 3)
    assert result.videos["url"][1].as_py() == "https://example.org/20/20.mp4"


def test_movielens_rejects_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text("1::10::5::978300760\n1::10::5\n1::10::great::978300760\n1::10::5::soon\n1::10::5::978300760\n"
                    "::10::5::1\n1::10::5::978300760000000\n")  # fmt: skip
    (tmp_path / "movies.dat").write_text("10::A::(no genres listed)\nbroken\n")
    result = sources.read(path, "movielens")
    account(result)
    assert result.rejects["reason"].to_pylist() == [
        "malformed_row", "unparsable_number", "unparsable_time", "duplicate", "missing_id", "out_of_range"
    ]  # fmt: skip
    assert result.notes == ("movies.dat: 1 of 2 rows cannot be read",)
    assert result.videos["tags"].to_pylist() == [None]
    odd = tmp_path / "odd.txt"
    odd.write_text("nothing\n")
    with pytest.raises(InputError, match="mapped"):
        sources.read(odd, "movielens")


def test_movielens_users(tmp_path: Path) -> None:
    """Of users with events, those that the file knows; twice ingested, nothing new."""
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n2::10::4::978300760\n9::10::4::978300760\n")
    users = tmp_path / "users.dat"
    users.write_text("1::F::1::10::48067\n2::M::::16::70072\n3::M::25::15::55117\nbroken\n")
    result = sources.read(tmp_path / "ratings.dat", "movielens")
    first = {"user_id": "1", "attributes": ["gender=F", "age=1", "occupation=10"]}
    assert result.users.to_pylist() == [first, {"user_id": "2", "attributes": ["gender=M", "occupation=16"]}]
    assert result.notes == ("users.dat: 1 of 4 rows cannot be read",)
    written = sources.write_source(tmp_path, result)
    assert (written.users_written, written.written) == (2, True)
    again = sources.write_source(tmp_path, result)
    assert (again.users_written, again.written) == (0, False)
    users.write_text("1::F::18::10::48067\n")
    assert sources.write_source(tmp_path, sources.read(tmp_path / "ratings.dat", "movielens")).users_written == 1
    known = {row["user_id"]: row["attributes"] for row in Tables(tmp_path).read("users").to_pylist()}
    assert known == {"1": ["gender=F", "age=18", "occupation=10"], "2": ["gender=M", "occupation=16"]}

    users.write_text("1::18405182\n2::31260677\n")  # MovieTweetings
    result = sources.read(tmp_path / "ratings.dat", "movielens")
    assert (result.users.num_rows, result.notes) == (0, ("users.dat is no MovieLens file of users; not read",))


def test_movielens_users_of_recbole(tmp_path: Path) -> None:
    (tmp_path / "ml.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t9\n")
    (tmp_path / "ml.user").write_text("user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
                                      "1\t24\tM\ttechnician\t85711\n")  # fmt: skip
    result = sources.read(tmp_path / "ml.inter", "movielens")
    assert result.users["attributes"].to_pylist() == [["gender=M", "age=24", "occupation=technician"]]


REAL = {
    "ml-1m/ratings_first487650.dat.gz": ("::", 0),
    "ml-latest-small/ratings.csv": (",", 1),
    "ml-100k/ml-100k.inter": ("\t", 1),
    "movietweetings-100k/ratings.dat": ("::", 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_ratings(name: str) -> None:
    path, (separator, header) = DATA / name, REAL[name]
    need("data", path.exists())
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = content.decode().splitlines()[header:]
    rows = [line.split(separator) for line in lines]
    result = sources.read(path, "movielens")
    assert result.rows == len(lines) == result.events.num_rows + result.rejects.num_rows
    assert len(lines) == len(set(lines)) == result.events.num_rows
    assert result.events["value"].to_numpy().sum() == pytest.approx(sum(float(row[2]) for row in rows))
    seconds = [t.timestamp() for t in result.events["time"].slice(0, 1000).to_pylist()]
    assert seconds == [float(row[3]) for row in rows[:1000]]
    assert set(result.videos["video_id"].to_pylist()) == {row[1] for row in rows}
    assert result.videos["title"].null_count <= 0.01 * result.videos.num_rows


# ---- mapped ----------------------------------------------------------------------------------------------------------

TABLE = {
    "viewer": ["ann", "bob", "ann"],
    "clip": ["a", "b", "a"],
    "from": [1000, 2500, 1000],
    "to": [4000, 9000, 70_000],
    "length": [60_000, 50_000, 60_000],
    "when": ["2020-01-01T00:00:00Z", "1577836800.5", None],
    "page": ["http://x/a", None, "http://x/other"],
    "words": ["x|y", "z", None],
}
BY_MS = {"user_id": "viewer", "video_id": "clip", "kind": "highlight", "start_ms": "from", "stop_ms": "to",
         "video_duration_ms": "length", "time": "when", "url": "page", "tags": "words", "text": "=note"}  # fmt: skip


def write(path: Path, table: dict[str, list]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(table), path)
    elif path.suffix == ".jsonl":
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_mapped_formats_agree(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"mine{suffix}", TABLE)
    result = sources.read(path, "mapped", mapping=BY_MS, name="m", url_template="http://y/{video_id}")
    account(result)
    moments = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC), None]
    got = [
        (e["user_id"], e["video_id"], e["start_ms"], e["stop_ms"], e["time"], e["text"])
        for e in result.events.to_pylist()
    ]
    assert got == [("ann", "a", 1000, 4000, moments[0], "note"), ("bob", "b", 2500, 9000, moments[1], "note"),
                   ("ann", "a", 1000, 60_000, None, "note")]  # fmt: skip
    assert result.clipped == 1
    facts = [(v["video_id"], v["url"], v["tags"], v["claimed_duration_ms"]) for v in result.videos.to_pylist()]
    assert facts == [("a", "http://x/a", ["x", "y"], 60_000), ("b", "http://y/b", ["z"], 50_000)]


def test_mapped_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "typed.parquet"
    pq.write_table(
        pa.table({
            "user": pa.array([7, None, 9, 9]),
            "video": pa.array(["a", "b", "a", "a"]).dictionary_encode(),
            "what": ["rating", "rating", "watch", "dance"],
            "stars": pa.array([4.5, 1, float("nan"), 1]),
            "at": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 4),
            "tags": pa.array([["x"], [], None, None]),
        }), path,
    )  # fmt: skip
    mapping = {"user_id": "user", "video_id": "video", "kind": "what", "value": "stars", "time": "at", "tags": "tags"}
    result = sources.read(path, "mapped", mapping=mapping)
    account(result)
    assert [(e["user_id"], e["value"]) for e in result.events.to_pylist()] == [("7", 4.5)]
    assert [(r["reason"], r["detail"]) for r in result.rejects.to_pylist()] == [
        ("missing_id", "user_id"), ("not_finite", "stars=nan"), ("unknown_kind", "kind=dance")
    ]  # fmt: skip
    assert result.videos["tags"].to_pylist() == [["x"]]
    with pytest.raises(InputError, match="'tags' has type list"):
        sources.read(path, "mapped", mapping={**mapping, "value": "tags"})


def test_mapped_parquet_with_bad_texts(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    raw = pa.array([b"a", b"\xff", b"b\0", b"\xc3", b"\xa9", b"c\nc", None], pa.binary())
    users = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2]).take(pa.array(range(6)))
    pq.write_table(pa.table({"u": users, "v": ["v"] * 6}), path)
    result = sources.read(path, "mapped", mapping={"user_id": "u", "video_id": "v", "kind": "post"})
    account(result)
    assert result.events["user_id"].to_pylist() == ["a", "c\nc"]
    assert result.reasons() == {"malformed_row": 4}


def test_mapped_kinds_need_what_they_need(tmp_path: Path) -> None:
    table = {"k": ["highlight", "frame_like", "frame_like", "watch", "watch", "post", "post", "post", "Highlight"],
             "s": ["", "5", "", "", "5", "5", "", "", "5"], "e": ["", "", "", "", "", "", "", "9", "9"]}  # fmt: skip
    path = write(tmp_path / "kinds.csv", table)
    mapping = {"user_id": "=me", "video_id": "=v", "kind": "k", "start_s": "s", "stop_s": "e"}
    result = sources.read(path, "mapped", mapping=mapping)
    account(result)
    kept = [(e["kind"], e["start_ms"], e["stop_ms"]) for e in result.events.to_pylist()]
    assert kept == [("highlight", None, None), ("frame_like", 5000, None), ("watch", None, None),
                    ("post", 5000, None), ("post", None, None)]  # fmt: skip
    assert [(r["source_row"], r["reason"], r["detail"]) for r in result.rejects.to_pylist()] == [
        (3, "missing_time", "start"), (5, "missing_time", "stop"),
        (8, "missing_time", "start"), (9, "unknown_kind", "kind=Highlight"),
    ]  # fmt: skip


def test_mapping_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", TABLE)

    def fails(match: str, change: dict[str, str | None], where: Path = path) -> None:
        mapping = {k: v for k, v in {**BY_MS, **change}.items() if v is not None}
        with pytest.raises(InputError, match=match):
            sources.read(where, "mapped", mapping=mapping)

    fails("'user'.* did you mean 'user_id'", {"user": "viewer"})
    fails("'viewr'.*'user_id'; did you mean 'viewer'", {"user_id": "viewr"})
    fails("'video_id' is missing", {"video_id": None})
    fails("start_s and start_ms", {"start_s": "from"})
    fails("stop_ms and duration_s", {"duration_s": "length"})
    fails("needs a start", {"start_ms": None})
    fails("no column 'clap'", {"kind": "clap"})
    fails("one of .csv", {}, write(tmp_path / "mine.xls", TABLE))
    (tmp_path / "not.parquet").write_bytes(b"PAR1")
    fails("Parquet", {}, tmp_path / "not.parquet")
    (tmp_path / "twice.csv").write_text("viewer,viewer\n")
    fails("2 columns are called 'viewer'", {}, tmp_path / "twice.csv")


@pytest.mark.parametrize(
    ("more", "kind"),
    [({"start_s": "s", "stop_s": "e", "value": "x"}, "highlight"), ({"value": "x"}, "rating"), ({}, "watch"),
     ({"kind": "post"}, "post")],
)  # fmt: skip
def test_a_mapping_without_a_kind(tmp_path: Path, more: dict[str, str], kind: str) -> None:
    path = write(tmp_path / "mine.csv", {"s": [1], "e": [2], "x": [3]})
    result = sources.read(path, "mapped", mapping={"user_id": "=u", "video_id": "=v", **more})
    assert result.events["kind"].to_pylist() == [kind]


def test_the_settings_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that somebody tries. Its table lies elsewhere than where the command is typed."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.partition("## Your own videos")[2].partition("```yaml\n")[2].partition("```")[0]
    place = tmp_path / "mine"
    place.mkdir()
    table = {"user": ["ann", "bob"], "clip": ["a", "b"], "from": [0, 2.5], "to": [6, 9],
             "link": ["https://example.org/a", "clips/b.mp4"]}  # fmt: skip
    write(place / "likes.csv", table)
    (place / "settings.yaml").write_text(block)
    monkeypatch.chdir(tmp_path)
    settings = load(Path("mine", "settings.yaml"))
    counts = read_source(settings).counts
    assert counts is not None
    assert (counts.events, counts.rejects) == (2, 0)
    assert Tables(settings.root).read("events")["kind"].to_pylist() == ["highlight", "highlight"]
    urls = dict(zip(*(Tables(settings.root).read("videos")[c].to_pylist() for c in ("video_id", "url")), strict=True))
    assert urls == {"a": "https://example.org/a", "b": str(place / "clips" / "b.mp4")}


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    links = ["b.mp4", "/top/c.mp4", "HTTP://x/d", "ftp://x/e", None, "file:f", "../g h.mp4"]
    path = write(tmp_path / "t.jsonl", {"clip": list("bcdefgh"), "link": links})
    mapping = {"user_id": "=u", "video_id": "clip", "url": "link"}
    result = sources.read(path, "mapped", mapping=mapping, url_template="clips/{video_id}.mp4")
    account(result)
    assert result.videos["url"].to_pylist() == [
        f"{tmp_path}/b.mp4", "/top/c.mp4", "HTTP://x/d", "ftp://x/e", f"{tmp_path}/clips/f.mp4", "file:f",
        f"{tmp_path}/../g h.mp4",
    ]  # fmt: skip


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    for name in ("b/a.mp4", "a.mkv", "a.MP4", "notes.txt", "c.mp4/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.mp4")).write_bytes(b"x")
    result = sources.read_folder(tmp_path)
    assert result.rows == result.videos.num_rows + result.rejects.num_rows == 4
    assert result.videos["video_id"].to_pylist() == ["a.MP4", "a.mkv", "b/a.mp4"]
    assert result.videos["url"][2].as_py() == str(tmp_path / "b" / "a.mp4")
    assert result.reasons() == {"malformed_row": 1}
    one = sources.read_folder(tmp_path / "b" / "a.mp4")
    assert one.videos["video_id"].to_pylist() == ["a.mp4"]
    with pytest.raises(InputError, match="no media file"):
        sources.read_folder(tmp_path / "c.mp4")
    with pytest.raises(InputError, match="neither"):
        sources.read_folder(tmp_path / "gone")


# ---- into the tables -------------------------------------------------------------------------------------------------


def count_parts(root: Path) -> int:
    return sum(len(parts.list_parts(folder)) for folder in (root / "tables").iterdir())


def test_writing_twice_writes_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    result = phd2(tmp_path, "v,1,2,u,60,True", "w,1,2,u,-1,True", "v,4,2,u,60,True")
    first = sources.write_source(root, result)
    assert (first.written, first.videos_written, first.events, first.rejects) == (True, 2, 2, 1)
    assert first.reasons == {"unknown_duration": 1}
    before = count_parts(root)
    again = sources.write_source(root, phd2(tmp_path, "v,1,2,u,60,True", "w,1,2,u,-1,True", "v,4,2,u,60,True"))
    assert (again.written, again.videos_written) == (False, 0)
    assert count_parts(root) == before
    assert sources.write_source(root, phd2(tmp_path, "v,1,2,u,60,True")).written
    tables = Tables(root)
    assert tables.read("events").num_rows == 1
    assert tables.read("rejects").num_rows == 0


def test_two_tables_of_one_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    a, b = (phd2(tmp_path / place, f"{place},1,2,u,60,True") for place in ("a", "b"))
    sources.write_source(root, a)
    with pytest.raises(InputError, match=r"'phd2.csv' belongs to .*/a/phd2.csv already; give source.name"):
        sources.write_source(root, b)
    assert Tables(root).read("events")["video_id"].to_pylist() == ["a"]
    assert not sources.write_source(root, a).written
    path = tmp_path / "b" / "phd2.csv"
    sources.write_source(root, sources.read(path, "phd2", name="b"))
    assert sorted(Tables(root).read("events")["video_id"].to_pylist()) == ["a", "b"]
    sources.write_source(root, sources.read(path, "phd2", name="phd2.csv"))
    assert Tables(root).read("events")["video_id"].to_pylist() == ["b", "b"]


def test_videos_are_merged(tmp_path: Path) -> None:
    root = tmp_path / "root"
    Tables(root).write("videos", [{"video_id": "v", "url": "old", "title": "kept", "tags": ["kept"],
                                   "claimed_duration_ms": 1}])  # fmt: skip
    path = write(tmp_path / "a.jsonl", {"id": ["v", "w"], "tag": [[], ["new"]], "name": ["", "W"], "long": [9, 8]})
    mapping = {"user_id": "=me", "video_id": "id", "kind": "post", "tags": "tag", "title": "name",
               "video_duration_s": "long", "url": "=http://new"}  # fmt: skip
    counts = sources.write_source(root, sources.read(path, "mapped", mapping=mapping))
    assert counts.videos_written == 2
    rows = {row["video_id"]: row for row in Tables(root).read("videos").to_pylist()}
    v, w = rows["v"], rows["w"]
    assert (v["url"], v["title"], v["tags"], v["claimed_duration_ms"]) == ("http://new", "kept", ["kept"], 9000)
    assert (w["url"], w["title"], w["tags"], w["claimed_duration_ms"]) == ("http://new", "W", ["new"], 8000)
    other = sources.write_source(root, sources.read(path, "mapped", mapping=mapping, name="other"))
    assert (other.written, other.videos_written) == (True, 0)
    assert Tables(root).read("events").num_rows == 4


# ---- real highlights -------------------------------------------------------------------------------------------------


def test_real_highlights() -> None:
    path = DATA / "phd2" / "even_users.csv"
    need("data", path.exists())
    reasons: Counter[str] = Counter()
    kept, clipped, seen = 0, 0, set()
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            start, end = float(row["start"]) * 1000, float(row["video_duration"]) * 1000
            begin, stop = round(start), round(start + float(row["duration"]) * 1000)
            if begin >= stop:
                reasons["empty_range"] += 1
            elif end <= 0:
                reasons["unknown_duration"] += 1
            elif begin >= end:
                reasons["start_beyond_end"] += 1
            elif (key := (row["user_id"], row["youtubeId"], begin, min(stop, round(end)))) in seen:
                reasons["duplicate"] += 1
            else:
                seen.add(key)
                kept += 1
                clipped += stop > round(end)
    result = sources.read(path, "phd2")
    account(result)
    assert result.reasons() == dict(reasons)
    assert (result.events.num_rows, result.clipped) == (kept, clipped)
    columns = ("user_id", "video_id", "start_ms", "stop_ms")
    assert set(zip(*(result.events[c].to_pylist() for c in columns), strict=True)) == seen
