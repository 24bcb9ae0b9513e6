"""Free tags beside a file of ratings: words of the films, and an account of those left out."""

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from reelmill.pipeline import sources
from reelmill.pipeline.extract import texts
from reelmill.storage import Tables
from tests.optional import need

DATA = Path(__file__).parents[3] / "shared" / "data" / "ml-latest-small"
RATINGS = "userId,movieId,rating,timestamp\n1,10,5,9\n1,20,4,9\n1,30,4,9\n1,40,4,9\n"
FILMS = "movieId,title,genres\n10,A,Comedy|Film-Noir\n20,B,(no genres listed)\n30,C,Horror\n50,Unrated,Drama\n"
TAGS = (
    "userId,movieId,tag,timestamp\n"
    "1,10,slow,9\n2,10,Dark,9\n3,10,dark,9\n3,10,comedy,9\n2,20,\"odd, but good\",9\n1,20,café ,9\n3,10,DARK,9\n"
    "1,50,nobody rated it,9\n1,40,no name,9\n1,,of what,9\n1,10,,9\n1,10,too few\n"
)  # fmt: skip


def folder(tmp_path: Path, tags: str | None = TAGS) -> Path:
    files = {"ratings.csv": RATINGS, "movies.csv": FILMS, "tags.csv": tags}
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_text(content)
    return tmp_path / "ratings.csv"


def words(result: sources.SourceResult) -> dict[str, list[str] | None]:
    return {row["video_id"]: row["tags"] for row in result.videos.to_pylist()}


def test_genres_come_first_then_tags_by_how_often_they_were_given(tmp_path: Path) -> None:
    result = sources.read(folder(tmp_path), "movielens")
    assert words(result) == {
        "10": ["Comedy", "Film-Noir", "Dark", "slow"],
        "20": ["odd, but good", "café"],
        "30": ["Horror"],
        "40": None,
    }
    assert result.notes == (
        "tags.csv: left out of 12 tags are 2 of films that nobody rated or that the file of films does not name, "
        "3 that the film has already, 2 without film or tag",
        "tags.csv: 1 of 12 rows cannot be read",
    )
    assert len(result.events) == 4, "a tag is no watch"


def test_without_a_file_of_tags_the_genres_stay(tmp_path: Path) -> None:
    result = sources.read(folder(tmp_path, None), "movielens")
    assert words(result) == {"10": ["Comedy", "Film-Noir"], "20": None, "30": ["Horror"], "40": None}
    assert result.notes == ()


@pytest.mark.parametrize("tags", ["", "1,20,quiet,9\n", "9,99,no such film,9\n"])
def test_few_tags(tmp_path: Path, tags: str) -> None:
    """None at all, one, or one of no film, also where no film has a genre."""
    path = folder(tmp_path, "userId,movieId,tag,timestamp\n" + tags)
    assert words(sources.read(path, "movielens"))["20"] == (["quiet"] if "quiet" in tags else None)
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n20,B,(no genres listed)\n")
    assert words(sources.read(path, "movielens"))["20"] == (["quiet"] if "quiet" in tags else None)


def test_tags_beside_ratings_without_a_header(tmp_path: Path) -> None:
    """As ml-10m has them."""
    (tmp_path / "ratings.dat").write_text("1::10::5::9\n")
    (tmp_path / "movies.dat").write_text("10::A::Comedy\n")
    (tmp_path / "tags.dat").write_text("1::10::excellent!::1215184630\n")
    assert words(sources.read(tmp_path / "ratings.dat", "movielens")) == {"10": ["Comedy", "excellent!"]}


def test_the_encoders_read_them_and_a_new_tag_is_written(tmp_path: Path) -> None:
    root, path = tmp_path / "root", folder(tmp_path)
    sources.write_source(root, sources.read(path, "movielens"))
    units, _ = texts.video_units(str(root))
    assert units[0].texts[0].fields[:2] == ("A", "Comedy Film-Noir Dark slow")
    (tmp_path / "tags.csv").write_text(TAGS + "5,30,scary,9\n")
    assert sources.write_source(root, sources.read(path, "movielens")).videos_written == 1
    known = {row["video_id"]: row["tags"] for row in Tables(root).read("videos").to_pylist()}
    assert known["30"] == ["Horror", "scary"]


def test_real_tags() -> None:
    """Against a plain loop over MovieLens' own files."""
    need("data", (DATA / "tags.csv").exists())
    rated, films, tagged = (
        list(csv.DictReader(io.StringIO((DATA / name).read_text())))
        for name in ("ratings.csv", "movies.csv", "tags.csv")
    )
    genres = {row["movieId"]: row["genres"].split("|") for row in films}
    given: dict[str, Counter[str]] = {row["movieId"]: Counter() for row in rated}
    for row in tagged:
        given.get(row["movieId"], Counter())[row["tag"].strip().lower()] += 1
    found = words(sources.read(DATA / "ratings.csv", "movielens"))
    assert found.keys() == given.keys()
    with_tags = 0
    for film, counts in given.items():
        own = [genre for genre in genres[film] if genre != "(no genres listed)"]
        mine, behind = (found[film] or [])[: len(own)], [word.lower() for word in (found[film] or [])[len(own) :]]
        assert mine == own
        assert sorted(behind) == sorted(counts.keys() - {genre.lower() for genre in own})
        assert (np.diff([counts[word] for word in behind]) <= 0).all()
        with_tags += bool(behind)
    assert with_tags > 1000
