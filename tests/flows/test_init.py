"""`reelmill init`: a table is looked at, and its settings file is one that `ingest` and `run` accept."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from reelmill.flows.cli.main import app
from reelmill.flows.jobs import steps
from reelmill.flows.jobs.check import check
from reelmill.flows.settings.load import load
from reelmill.flows.settings.starter import starter
from reelmill.pipeline.sources.guess import Guess, guess
from reelmill.storage import Tables
from reelmill.storage.errors import InputError, ReelmillError
from tests.media import make_video
from tests.optional import needs

DATA = Path("/work/shared/data")
ROWS = [("ann", "c1", 0.0, 5.5, "https://example.org/1"), ("ann", "c2", 2.0, 8.0, "https://example.org/2"),
        ("bob", "c1", 1.0, 4.0, "https://example.org/1")]  # fmt: skip


def init(table: Path, *options: str, status: int = 0) -> dict[str, Any]:
    """What `reelmill init` says of a table; it writes `settings.yaml` beside it."""
    output = table.parent / "settings.yaml"
    ended = CliRunner().invoke(app, ["init", str(table), "-o", str(output), *options, "--json"])
    assert ended.exit_code == status, ended.output
    return json.loads(ended.stdout)


def events(settings: Path) -> list[dict[str, Any]]:
    """The events that `reelmill ingest` reads by a settings file, nothing downloaded."""
    chosen = load(settings, ["download.schemes=[none]"])
    check(load(settings, ["extract.extractors.c3d.weights=random"] if "c3d" in settings.read_text() else []))
    steps.read_source(chosen)
    return Tables(chosen.root).read("events").to_pylist()


def write_csv(path: Path, header: str, rows: list[tuple[Any, ...]], separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_rows(path: Path, names: list[str]) -> Path:
    rows = [dict(zip(names, row, strict=True)) for row in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        write_csv(path, "\t".join(names), ROWS, "\t")
    return path


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_columns_are_told_by_their_names(tmp_path: Path, suffix: str) -> None:
    table = write_rows(tmp_path / f"likes{suffix}", ["Viewer", "clip_id", "From", "To", "Link"])
    figures = init(table)
    assert figures["mapping"] == {
        "user_id": "Viewer", "video_id": "clip_id", "start_s": "From", "stop_s": "To", "url": "Link",
    }  # fmt: skip
    assert (figures["events"], figures["videos"], figures["rejected"], figures["missing"]) == (3, 2, {}, [])
    assert figures["first_rows"][0] == "user ann: highlight of c1, 0–5.5 s"
    found = events(tmp_path / "settings.yaml")
    assert [(row["user_id"], row["video_id"], row["start_ms"], row["stop_ms"]) for row in found] == [
        ("ann", "c1", 0, 5500), ("ann", "c2", 2000, 8000), ("bob", "c1", 1000, 4000),
    ]  # fmt: skip
    assert yaml.safe_load((tmp_path / "settings.yaml").read_text())["source"]["path"] == table.name


def test_columns_are_told_by_their_values(tmp_path: Path) -> None:
    """An address, a time and a range need no telling name; milliseconds are whole numbers too large for seconds."""
    rows = [(f"u{n % 3}", "x", f"https://example.org/{n % 4}", 3000 * n, 3000 * n + 4000, f"2026-01-{n + 1:02} 10:00")
            for n in range(12)]  # fmt: skip
    figures = init(write_csv(tmp_path / "t.csv", "user,noise,where,a,b,c", rows))
    assert figures["mapping"] == {
        "user_id": "user", "video_id": "where", "start_ms": "a", "stop_ms": "b", "time": "c", "url": "where",
    }  # fmt: skip
    assert figures["unused"] == ["noise"]
    found = events(tmp_path / "settings.yaml")
    assert (found[1]["start_ms"], found[1]["stop_ms"], f"{found[1]['time']:%m-%d}") == (3000, 7000, "01-02")


@pytest.mark.parametrize(
    ("header", "row", "mapping"),
    [
        ("user_id,video_id,start,duration", (1, 2, 3.5, 4.0), {"start_s": "start", "duration_s": "duration"}),
        ("user_id,video_id,start,end,duration", (1, 2, 3.5, 4.0, 60.0),
         {"start_s": "start", "stop_s": "end", "video_duration_s": "duration"}),
        ("user_id,video_id,start_ms,end_ms", (1, 2, 30, 400), {"start_ms": "start_ms", "stop_ms": "end_ms"}),
        ("user_id,video_id,rating,timestamp", (1, 2, 3, 978300760), {"time": "timestamp", "value": "rating"}),
        ("user_id,video_id,start,end", (1, 2, "0:02", "0:09"), {"start_s": "start", "stop_s": "end"}),
        ("user_id,video_id,duration", (1, 2, "PT1M"), {"video_duration_s": "duration"}),
        ("user_id,video_id,timestamp", (1, 2, 1583378629123), {"time": "timestamp"}),
        ("user_id,video_id,date", (1, 2, 20200705), {"time": "date"}),
        ("user_id,video_id,when", (1, 2, "2020/7/5"), {"time": "when"}),
        ("user_id,video_id,duration", (1, 2, 60), {"video_duration_s": "duration"}),
        ("user_id,video_id,title,tags,url", (1, 2, "A film", "a|b", "clips/2.mp4"),
         {"url": "url", "title": "title", "tags": "tags"}),
        ("user_id,video_id,kind", (1, 2, "frame_like"), {"kind": "kind"}),
        ("user_id,video_id,timestamp,url", (1, 2, "soon", "a word"), {}),
    ],
)  # fmt: skip
def test_what_a_column_is_depends_on_the_others_and_on_its_values(
    tmp_path: Path, header: str, row: tuple[Any, ...], mapping: dict[str, str]
) -> None:
    shifted = (row[0], row[1], *(cell + 1 if isinstance(cell, float) else cell for cell in row[2:]))
    found = guess(write_csv(tmp_path / "t.csv", header, [row, shifted]))
    assert found.mapping == {"user_id": "user_id", "video_id": "video_id", **mapping}


def test_published_formats_are_known(tmp_path: Path) -> None:
    phd2 = write_csv(tmp_path / "p" / "likes.csv", "youtubeId,start,duration,user_id,video_duration,is_last",
                     [("aaaaaaaaaaa", 0, 5, 1, 12, False)])  # fmt: skip
    ratings = write_csv(tmp_path / "m" / "ratings.csv", "userId,movieId,rating,timestamp", [(1, 2, 3.5, 978300760)])
    old = tmp_path / "old" / "ratings.dat"
    old.parent.mkdir()
    old.write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    for table, form, count in ((phd2, "phd2", 1), (ratings, "movielens", 1), (old, "movielens", 2)):
        figures = init(table)
        assert (figures["format"], figures["events"]) == (form, count)
        assert len(events(table.parent / "settings.yaml")) == count
    assert guess(tmp_path / "old").path == old


def test_videos_are_a_source(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clip = make_video(tmp_path / "clips" / "a.mp4", frames=5)
    for place in (clip.parent, clip):
        figures = init(place, "--force")
        assert (figures["format"], figures["videos"], figures["events"]) == ("folder", 1, 0)
        chosen = load(place.parent / "settings.yaml")
        steps.read_source(chosen)
        assert [wanted.video_id for wanted in steps.download_plan(chosen)] == ["a.mp4"]


def test_paths_and_ids_of_youtube_say_where_videos_are(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    here = init(write_csv(tmp_path / "t.csv", "user,file", [("u", "a.mp4")]))
    assert here["mapping"] == {"user_id": "user", "video_id": "file", "url": "file"}
    tube = guess(write_csv(tmp_path / "y" / "t.csv", "user,video", [("u", "dQw4w9WgXcQ")]))
    assert tube.url_template == "https://www.youtube.com/watch?v={video_id}"


def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path) -> None:
    """The file is written with a gap, which `ingest` names; `--map` fills it."""
    table = write_csv(tmp_path / "t.csv", "a,clip,b", [("x", "c1", "y"), ("z", "c2", "y")])
    figures = init(table, status=2)
    assert (figures["missing"], figures["unused"]) == (["user_id"], ["a", "b"])
    text = (tmp_path / "settings.yaml").read_text()
    assert "which column is the user? a, b" in text
    with pytest.raises(InputError, match="no column '\\?', which the mapping names for 'user_id'"):
        events(tmp_path / "settings.yaml")
    assert init(table, "--map", "user_id=a", "--force")["events"] == 2
    for wrong, message in (("user_id=c", "no column 'c'"), ("usr_id=a", "did you mean 'user_id'")):
        ended = CliRunner().invoke(app, ["init", str(table), "-o", str(tmp_path / "other.yaml"), "--map", wrong])
        assert isinstance(ended.exception, InputError)
        assert message in str(ended.exception)
        assert not (tmp_path / "other.yaml").exists()


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "likes.tsv", ["user", "clip", "start", "stop", "url"])
    (tmp_path / "settings.yaml").write_text("root: mine\n")
    ended = CliRunner().invoke(app, ["init", str(table), "-o", str(tmp_path / "settings.yaml")])
    assert isinstance(ended.exception, InputError)
    assert "--force" in str(ended.exception)
    assert (tmp_path / "settings.yaml").read_text() == "root: mine\n"
    init(table, "--force", "--root", "s3://bucket/name")
    assert load(tmp_path / "settings.yaml").root == "s3://bucket/name"


def test_the_root_is_no_folder_of_something_else(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "data" / "likes.tsv", ["user", "clip", "start", "stop", "url"]) if (
        (tmp_path / "data").mkdir() is None) else None  # fmt: skip
    assert table is not None
    ended = CliRunner().invoke(app, ["init", str(table), "-o", str(tmp_path / "settings.yaml")])
    assert ended.exit_code == 0, ended.output
    assert load(tmp_path / "settings.yaml").root == str(tmp_path / "reelmill")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "does not exist"),
        ("t.xlsx", b"PK", "ends in '.xlsx'"),
        ("t.csv", b"user,,clip\n4,x,6\n", "first line must hold the names"),
        ("t.csv", b"user,clip\n", "holds no rows"),
        ("t.csv", b"", "cannot be read as csv|holds no rows|names of the columns"),
        ("t.csv", b"user,clip,user\n1,2,3\n", "two columns have the same name"),
        ("t.csv", b"\xff\xfe\x00user", "cannot be read as csv"),
        ("t.parquet", b"PAR1 no", "cannot be read as parquet"),
        ("t.csv.gz", b"no gzip", "cannot be read as csv"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        guess(tmp_path / name)
    for folder in ("empty", "two"):
        (tmp_path / folder).mkdir()
    for table in ("a.csv", "b.csv"):
        (tmp_path / "two" / table).write_text("user,clip\n1,2\n")
    for folder, rule in (("empty", "holds no table and no video"), ("two", r"several tables: a\.csv, b\.csv")):
        with pytest.raises(InputError, match=rule):
            guess(tmp_path / folder)


def test_a_large_or_packed_table_is_looked_at_by_its_beginning(tmp_path: Path) -> None:
    rows = [(f"u{n}", f"c{n % 7}", n % 50, n % 50 + 5) for n in range(60_000)]
    table = write_csv(tmp_path / "t.csv", "user,clip,start,stop", rows)
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert guess(table).mapping == guess(packed).mapping
    assert init(packed)["events"] == 60_000


def test_hostile_names_stay_in_comments_and_quotes(tmp_path: Path) -> None:
    wild = "x\x1b[31m\u202e: [a, #b]"
    mapping, reasons = {"user_id": wild, "video_id": "v: {"}, {"user_id": "x", "video_id": "y"}
    found = Guess(tmp_path / "t.csv", "mapped", mapping, reasons, unused=(wild, "a\nroot: evil"))
    text = starter(found, tmp_path / "s.yaml", "data", [f"user {wild}\nroot: evil"])
    read = yaml.safe_load(text)
    assert read["root"] == "data"
    assert read["source"]["mapping"] == {"user_id": wild, "video_id": "v: {"}
    assert "\x1b" not in text


@needs("data", DATA.is_dir())
@pytest.mark.parametrize(
    ("place", "form", "count"),
    [
        ("phd2", "phd2", 8894),
        ("ml-1m", "movielens", 487_650),
        ("ml-latest-small", "movielens", 100_836),
        ("movietweetings-100k", "movielens", 100_000),
        ("tiktok", "mapped", 68_722),
        ("clips", "folder", 0),
    ],
)
def test_published_tables_are_understood(tmp_path: Path, place: str, form: str, count: int) -> None:
    ended = CliRunner().invoke(app, ["init", str(DATA / place), "-o", str(tmp_path / "settings.yaml"), "--json"])
    assert ended.exit_code == 0, ended.output
    figures = json.loads(ended.stdout)
    assert (figures["format"], figures["missing"], figures["events"] >= count) == (form, [], True)
    try:
        assert len(events(tmp_path / "settings.yaml")) == figures["events"]
    except ReelmillError as error:  # pragma: no cover
        pytest.fail(str(error))
