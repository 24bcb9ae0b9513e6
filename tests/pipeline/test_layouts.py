"""Published data sets by name: `--data` recognises them, says how it read them, and what it did not read."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelmill.pipeline import dataset, sources
from reelmill.pipeline.dataset import Dataset
from reelmill.pipeline.sources.guess import guess
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.optional import needs

DATA = Path(__file__).parents[3] / "shared" / "data"
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t978300760\n2\t20\t3\t978302109\n"
KUAIREC = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
KUAIRAND = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,long_view,play_time_ms,duration_ms,tab\n"


def folder(place: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return place


def read(place: Path, files: Mapping[str, str]) -> tuple[Dataset, list[tuple[Any, ...]], dict[str, dict[str, Any]]]:
    """What was read, its events and its videos."""
    found = dataset.read(place / "root", folder(place / "set", files))
    tables = Tables(place / "root")
    names = ("user_id", "video_id", "kind", "value", "time")
    events = [
        tuple(f"{row[n]:%Y-%m-%d}" if n == "time" and row[n] else row[n] for n in names)
        for row in tables.read("events").to_pylist()
    ]
    return found, events, {row["video_id"]: row for row in tables.read("videos").to_pylist()}


@pytest.mark.parametrize("genres", ["class", "genre", "genres"])
def test_recbole(tmp_path: Path, genres: str) -> None:
    item = f"item_id:token\tmovie_title:token_seq\t{genres}:token_seq\n10\tToy Story\tAnimation Comedy\n99\tNo\tX\n"
    found, events, videos = read(tmp_path, {"m.inter": INTER, "m.item": item})
    assert (found.kind, found.notes) == ("recbole", ())
    assert events == [("1", "10", "rating", 5.0, "2000-12-31"), ("2", "20", "rating", 3.0, "2000-12-31")]
    assert (videos["10"]["title"], videos["10"]["tags"]) == ("Toy Story", ["Animation", "Comedy"])
    assert found.sources[0].understood["file"].startswith("a RecBole .inter: separator tab, UTF-8")


def test_recbole_of_amazon(tmp_path: Path) -> None:
    """No rating, categories in quotes, and columns that nobody asked for."""
    item = "item_id:token\ttitle:token\tprice:float\tcategories:token_seq\n10\tA toy\t3.5\t'Toys & Games', 'Puzzles'\n"
    inter = "user_id:token\titem_id:token\ttimestamp:float\n1\t10\t1583378629\n"
    found, events, videos = read(tmp_path, {"amazon.inter": inter, "amazon.item": item})
    assert events == [("1", "10", "watch", None, "2020-03-05")]
    assert (videos["10"]["title"], videos["10"]["tags"]) == ("A toy", ["Toys & Games", "Puzzles"])
    assert found.notes == ()


def test_what_a_file_beside_it_lacks_is_noted(tmp_path: Path) -> None:
    files = {"m.inter": INTER, "m.item": "item_id:token\trelease_year:token\n10\t1995\n", "m.user": "uid\n1\n"}
    found, events, videos = read(tmp_path, files)
    assert len(events) == len(videos) == 2
    assert found.notes == (
        "m.item: no column for title (movie_title, title, item_title, name, video_title), tags (class, genre, genres, "
        "categories, category, tags)",
        "m.user is no file of users with attributes; not read",
    )
    found, _, _ = read(tmp_path / "2", {"m.inter": INTER, "m.item": "name:token\nA\n"})
    assert found.notes == ("m.item has no column user_id or userID or userId; not read".replace(
        "user_id or userID or userId", "item_id or itemID or itemId"),)  # fmt: skip


def test_mmrec(tmp_path: Path) -> None:
    """Headers without types, and the split in a column."""
    rows = [(0, 10, 5, 1398211200, 0), (0, 11, 4, 1398211200, 1), (1, 10, 3, 1398211200, 2), (1, 12, 3, 1398211200, 0)]
    inter = "userID\titemID\trating\ttimestamp\tx_label\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    found, events, _ = read(tmp_path, {"baby.inter": inter})
    assert {(source.source, source.rows, source.events) for source in found.sources} == {
        ("train", 2, 2), ("validation", 1, 1), ("test", 1, 1),
    }  # fmt: skip
    assert sorted(event[:2] for event in events) == [("0", "10"), ("0", "11"), ("1", "10"), ("1", "12")]


@pytest.mark.parametrize("unpacked", [True, False])
def test_microlens(tmp_path: Path, unpacked: bool) -> None:
    name = "MicroLens-50k_pairs.csv" if unpacked else "pairs.csv"
    pairs = "user,item,timestamp\n36121,9580,1583378629552\n36121,9580,1584344451000\n7,12,1600000000000\n"
    titles = 'item,title\n9580,A cat\n12,"A dog, too"\n' if unpacked else '9580,A cat\n12,"A dog, too"\n'
    found, events, videos = read(tmp_path, {name: pairs, "MicroLens-50k_titles.csv": titles})
    assert (found.kind, found.sources[0].rejects) == ("microlens", 0)
    assert events[0] == ("36121", "9580", "watch", None, "2020-03-05")
    assert {video: row["title"] for video, row in videos.items()} == {"9580": "A cat", "12": "A dog, too"}
    assert found.sources[0].understood["time"] == "Unix milliseconds"


def test_kuairec(tmp_path: Path) -> None:
    row = "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.722103\n"
    captions = (
        'video_id,manual_cover_text,caption,topic_tag,first_level_category_name\n148,UNKNOWN,Hi,"[cat,dog]",Pets\n'
    )
    files = {"data/big_matrix.csv": KUAIREC + row, "data/kuairec_caption_category.csv": captions}
    found, events, videos = read(tmp_path, files)
    assert (found.kind, found.notes) == ("kuairec", ())
    assert events == [("14", "148", "watch", 0.722103, "2020-07-04")]  # UTC
    video = videos["148"]
    assert (video["claimed_duration_ms"], video["title"], video["tags"], video["categories"]) == (
        6067, "Hi", ["cat", "dog"], ["Pets"],
    )  # fmt: skip
    folder(tmp_path / "set", {"data/small_matrix.csv": KUAIREC + row})
    for place in (tmp_path / "set", tmp_path / "set" / "data" / "big_matrix.csv"):
        again = dataset.read(tmp_path / "root", place)
        assert [source.source for source in again.sources] == ["big_matrix.csv"]
        assert again.notes == ("not read: small_matrix.csv; give --data one of these files to read it",)


def test_the_date_of_kuairec_is_a_date(tmp_path: Path) -> None:
    place = folder(tmp_path, {"big.csv": KUAIREC + "14,148,1,2,,20200705,,0.5\n15,148,1,2,,20200731,,0.5\n"})
    mapping = {"user_id": "user_id", "video_id": "video_id", "time": "date"}
    moments = sources.read(place / "big.csv", "mapped", mapping=mapping).events["time"].to_pylist()
    assert [f"{moment:%Y-%m-%d}" for moment in moments] == ["2020-07-05", "2020-07-31"]


def test_kuairand(tmp_path: Path) -> None:
    rows = "0,3,20220421,1600,1650529200000,1,0,0,900,12000,1\n0,4,20220421,1600,1650529200000,0,0,0,0,7000,1\n"
    later = "0,3,20220505,1600,1651738800000,0,0,0,900,12000,1\n"
    features = 'video_id,author_id,upload_dt,tag\n3,77,2022-04-01,"39,28"\n'
    found, events, videos = read(tmp_path, {
        "data/log_standard_4_08_to_4_21_pure.csv": KUAIRAND + rows,
        "data/log_standard_4_22_to_5_08_pure.csv": KUAIRAND + later,
        "data/log_random_4_22_to_5_08_pure.csv": KUAIRAND + later,
        "data/video_features_basic_pure.csv": features,
    })  # fmt: skip
    assert (found.kind, [source.events for source in found.sources]) == ("kuairand", [2, 1])
    assert events == [
        ("0", "3", "rating", 1.0, "2022-04-21"), ("0", "4", "rating", 0.0, "2022-04-21"),
        ("0", "3", "rating", 0.0, "2022-05-05"),
    ]  # fmt: skip
    video = videos["3"]
    assert (video["uploader"], video["tags"], video["claimed_duration_ms"]) == ("77", ["39", "28"], 12_000)
    assert found.notes[-1].startswith("not read: log_random_4_22_to_5_08_pure.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings_Books.csv", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\nA2IIIDRK3PRRZY,0000000116,1.0,1395619200\n"),
        ("Books.csv", "0000000116,AH2L9G3DQHHAJ,4.0,1019865600\n0000000116,A2IIIDRK3PRRZY,1.0,1395619200\n"),
        ("Books.csv.gz", "user_id,parent_asin,rating,timestamp\nAH2L9G3DQHHAJ,0000000116,4.0,1019865600000\n"
                         "A2IIIDRK3PRRZY,0000000116,1.0,1395619200000\n"),
        ("reviews_Books_5.json.gz", '{"reviewerID": "AH2L9G3DQHHAJ", "asin": "0000000116", "overall": 4.0, '
         '"unixReviewTime": 1019865600}\n{"reviewerID": "A2IIIDRK3PRRZY", "asin": "0000000116", "overall": 1.0, '
         '"unixReviewTime": 1395619200}\n'),
        ("Books.jsonl", "".join(json.dumps({"rating": rating, "asin": "x", "parent_asin": "0000000116", "user_id": user,
                                            "timestamp": time}) + "\n" for user, rating, time in
                                (("AH2L9G3DQHHAJ", 4.0, 1019865600000), ("A2IIIDRK3PRRZY", 1.0, 1395619200000)))),
    ],
)  # fmt: skip
def test_amazon(tmp_path: Path, name: str, content: str) -> None:
    found, events, _ = read(tmp_path, {name: content})
    assert found.kind == "amazon"
    assert events == [
        ("AH2L9G3DQHHAJ", "0000000116", "rating", 4.0, "2002-04-27"),
        ("A2IIIDRK3PRRZY", "0000000116", "rating", 1.0, "2014-03-24"),
    ]
    assert guess(tmp_path / "set" / name).format == "amazon"


def test_interactions_of_any_suffix(tmp_path: Path) -> None:
    for number, name in enumerate(("mine.tsv", "mine.csv.gz", "mine.jsonl")):
        separator = "\t" if ".tsv" in name else ","
        rows = [("userID", "itemID", "timestamp"), ("a", "x", "1583378629123")]
        content = "".join(separator.join(row) + "\n" for row in rows)
        if name.endswith("jsonl"):
            content = json.dumps(dict(zip(*rows, strict=True))) + "\n"
        found, events, _ = read(tmp_path / str(number), {name: content})
        assert (found.kind, events) == ("interactions", [("a", "x", "watch", None, "2020-03-05")])


def test_an_unknown_layout_says_which_are_known(tmp_path: Path) -> None:
    place = folder(tmp_path, {"odd.csv": "who,what,when\na,b,c\n"})
    for path in (place, place / "odd.csv"):
        with pytest.raises(InputError) as told:
            dataset.read(tmp_path / "root", path)
        said = str(told.value)
        assert "unknown layout (columns who, what, when); known layouts: a PHD² file, MovieLens' or Movie" in said
        for name in ("RecBole", "KuaiRand", "KuaiRec", "MicroLens", "Amazon", "reelmill init"):
            assert name in said
    pq.write_table(pa.table({"a": [1]}), tmp_path / "odd.parquet")
    with pytest.raises(InputError, match="unknown layout"):
        dataset.read(tmp_path / "root", tmp_path / "odd.parquet")


@needs("data", DATA.is_dir())
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("ml-100k", "a RecBole .inter: separator tab, UTF-8, names in the first line, no quotes"),
        ("ml-latest-small", "MovieLens' ratings.csv: separator comma, UTF-8, names in the first line"),
        ("movietweetings-100k", "MovieLens' or MovieTweetings' ratings.dat: separator double colon, UTF-8, no header"),
    ],
)
def test_real_sets_say_how_they_were_read(tmp_path: Path, name: str, how: str) -> None:
    found = dataset.read(tmp_path, DATA / name)
    assert found.sources[0].understood["file"].startswith(how)
    assert found.sources[0].understood["time"] == "Unix seconds"
    assert found.sources[0].rejects == 0
