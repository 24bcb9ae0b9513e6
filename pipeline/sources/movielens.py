"""MovieLens and its friends: who rated which film, and when. Titles and genres come from a file beside the ratings.

    file                        separator  header                                       beside it
    ratings.dat (ml-1m,         ::         none: user, item, rating, time               movies.dat
      MovieTweetings)
    ratings.csv (ml-latest)     ,          userId,movieId,rating,timestamp              movies.csv
    X.inter (RecBole's ml-100k) tab        user_id:token item_id:token rating:float …   X.item
    u.data (ml-100k)            tab        none: user, item, rating, time

Which of them it is, is told from the suffix (before `.gz`), else from the first line.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources import text, values
from pipeline.sources.checks import check
from pipeline.sources.rows import Rows, SourceResult
from storage.errors import InputError, nearest

NO_GENRES = "(no genres listed)"


class _Layout(NamedTuple):
    separator: str
    names: tuple[str, str, str, str]
    """Columns of user, item, rating and time."""
    header: bool
    quoted: bool = False
    items: str | None = None
    """Name of the file of films; `*` stands for the name of the ratings."""
    item_names: tuple[str, str, str] = ("id", "title", "genres")
    genre_separator: str = "|"


PLAIN = ("user", "item", "rating", "time")
DAT = _Layout("::", PLAIN, header=False, items="movies.dat")
CSV = _Layout(
    ",", ("userId", "movieId", "rating", "timestamp"), True, True, "movies.csv", ("movieId", "title", "genres")
)
INTER = _Layout(
    "\t",
    ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
    header=True,
    items="*.item",
    item_names=("item_id:token", "movie_title:token_seq", "class:token_seq"),
    genre_separator=" ",
)
U_DATA = _Layout("\t", PLAIN, header=False)
BY_SUFFIX = {".dat": DAT, ".csv": CSV, ".inter": INTER, ".data": U_DATA}


def read(
    path: Path, source: str, *, url_template: str | None = None, durations: Mapping[str, int] | None = None
) -> SourceResult:
    """Read a file of ratings. Ratings have no place in the video, so `durations` change nothing."""
    data = text.read_bytes(path)
    layout = _layout(data, path)
    columns = _split(data, path, layout, layout.names)
    user, item, rating, time = (columns.values[name] for name in layout.names)
    items, notes = _items(path, layout)
    video_id = values.texts(layout.names[1], item, trim=True)
    place = pc.index_in(video_id, value_set=items["id"], skip_nulls=True)
    rows = Rows(
        source,
        columns.problem,
        user_id=values.texts(layout.names[0], user, trim=True),
        video_id=video_id,
        kind=pa.chunked_array([pa.repeat("rating", columns.rows)]),
        value=values.numbers(layout.names[2], rating),
        time=values.times(layout.names[3], time),
        facts={name: items[name].take(place) for name in ("title", "tags")},
    )
    return replace(check(rows, durations, url_template), notes=notes)


def _layout(data: bytes, path: Path) -> _Layout:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    first = data.partition(b"\n")[0]
    for mark, layout in ((b"::", DAT), (b":token", INTER), (b"\t", U_DATA), (b",", CSV)):
        if mark in first:
            return layout
    raise InputError(
        f"{path}: its first line {first[:80]!r} is that of no MovieLens file (user::item::rating::time, "
        "userId,movieId,…, user_id:token …); other layouts are read with format 'mapped'"
    )


def _split(data: bytes, path: Path, layout: _Layout, wanted: tuple[str, ...]) -> text.Columns:
    """The wanted columns of a file of this layout, ratings or films."""
    names: list[str] = list(wanted)
    if layout.header:
        names, data = text.split_header(data, layout.separator, path)
        for column in wanted:
            if names.count(column) != 1:
                raise InputError(
                    f"{path}: column {column!r} is there {names.count(column)} times; {nearest(column, names)}"
                )
    return text.split(data, layout.separator, names, wanted, quoted=layout.quoted)


def _items(path: Path, layout: _Layout) -> tuple[pa.Table, tuple[str, ...]]:
    """Films in the file beside the ratings as columns id, title, tags; and what was wrong with it."""
    empty = pa.table({"id": pa.array([], pa.string()), "title": pa.array([], pa.string()),
                      "tags": pa.array([], pa.list_(pa.string()))})  # fmt: skip
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    beside = path.with_name(layout.items.replace("*", stem)) if layout.items else path
    if beside == path or not beside.is_file():
        return empty, ()
    data = text.read_bytes(beside)
    if len(text.undecodable_lines(data)):
        data = data.decode("latin-1").encode()  # as ml-1m's films are written
    columns = _split(data, beside, layout, layout.item_names)
    good = columns.problem.is_null()
    ids, titles, genres = (values.texts(name, columns.values[name].filter(good)) for name in layout.item_names)
    genres = pc.if_else(pc.equal(genres, NO_GENRES), None, genres)
    films = pa.table({"id": ids, "title": titles, "tags": values.text_lists("genres", genres, layout.genre_separator)})
    lost = columns.rows - films.num_rows
    return films, (f"{beside.name}: {lost} of {columns.rows} rows cannot be read",) if lost else ()
