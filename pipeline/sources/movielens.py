"""MovieLens and datasets of the same format: who rated which film, and when. Titles, genres and attributes of users are
read from files beside the ratings.

    file                        separator  header                                       beside it
    ratings.dat (ml-1m, ml-10m, ::         none: user, item, rating, time               movies.dat, users.dat,
      MovieTweetings)                                                                     tags.dat
    ratings.csv (ml-latest)     ,          userId,movieId,rating,timestamp              movies.csv, tags.csv
    X.inter (RecBole's ml-100k) tab        user_id:token item_id:token rating:float …   X.item, X.user
    u.data (ml-100k)            tab        none: user, item, rating, time

The attributes of a user are gender, age (ml-1m: the lower end of a range) and occupation, but not the post code. The
users.dat of MovieTweetings has other content and is not read.

The tags of a film are its genres, then the free tags of users, the most frequent first. The encoders of text and topics
read them as words of the film. Who gave a tag, and when, is not stored: tags given after the months that a recommender
is trained on are among the words too.

The format is recognised by the suffix (before `.gz`), else by the first line.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import moments, text, values
from reelmill.pipeline.sources.checks import check
from reelmill.pipeline.sources.moments import Unit
from reelmill.pipeline.sources.rows import Rows, SourceResult, is_true
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.schema import SCHEMAS

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
    users: str | None = None
    """Name of the file of users."""
    user_names: tuple[str, ...] = ("user", "gender", "age", "occupation", "zip")
    tags: str | None = None
    """Name of the file of free tags."""
    tag_names: tuple[str, str, str, str] = ("user", "item", "tag", "time")


ATTRIBUTES = ("gender", "age", "occupation")
PLAIN = ("user", "item", "rating", "time")
DAT = _Layout("::", PLAIN, header=False, items="movies.dat", users="users.dat", tags="tags.dat")
CSV = _Layout(
    ",",
    ("userId", "movieId", "rating", "timestamp"),
    header=True,
    quoted=True,
    items="movies.csv",
    item_names=("movieId", "title", "genres"),
    tags="tags.csv",
    tag_names=("userId", "movieId", "tag", "timestamp"),
)
INTER = _Layout(
    "\t",
    ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
    header=True,
    items="*.item",
    item_names=("item_id:token", "movie_title:token_seq", "class:token_seq"),
    genre_separator=" ",
    users="*.user",
    user_names=("user_id:token", "age:token", "gender:token", "occupation:token"),
)
U_DATA = _Layout("\t", PLAIN, header=False)
BY_SUFFIX = {".dat": DAT, ".csv": CSV, ".inter": INTER, ".data": U_DATA}


def read(
    path: Path,
    source: str,
    *,
    url_template: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
) -> SourceResult:
    """Read a file of ratings. Ratings have no time range in the video, so `durations` are not used."""
    data = text.read_bytes(path)
    layout = _layout(data, path)
    columns = _split(data, path, layout, layout.names)
    user, item, rating, time = (columns.values[name] for name in layout.names)
    items, notes = _items(path, layout)
    users, more = _users(path, layout)
    video_id = values.identities(layout.names[1], item)
    items, of_tags = _tagged(items.filter(pc.is_in(items["id"], value_set=pc.unique(video_id))), path, layout)
    place = pc.index_in(video_id, value_set=items["id"], skip_nulls=True)
    how, understood = moments.how(layout.names[3], time, columns.problem, time_unit)
    rows = Rows(
        source,
        columns.problem,
        user_id=values.identities(layout.names[0], user),
        video_id=video_id,
        kind=pa.chunked_array([pa.repeat("rating", columns.rows)]),
        value=values.numbers(layout.names[2], rating),
        time=moments.read(layout.names[3], time, how),
        facts={name: items[name].take(place) for name in ("title", "tags")},
    )
    result = check(rows, durations, url_template)
    users = users.filter(pc.is_in(users["user_id"], value_set=pc.unique(result.events["user_id"])))
    return replace(result, understood=understood, users=users, notes=(*notes, *of_tags, *more))


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
    """Films from the file beside the ratings as columns id, title, tags; and notes about rows that were not read."""
    empty = pa.table({"id": pa.array([], pa.string()), "title": pa.array([], pa.string()),
                      "tags": pa.array([], pa.list_(pa.string()))})  # fmt: skip
    beside = _beside(path, layout.items)
    if beside is None:
        return empty, ()
    data = text.read_bytes(beside)
    if len(text.undecodable_lines(data)):
        data = data.decode("latin-1").encode()  # the encoding of ml-1m's films
    columns = _split(data, beside, layout, layout.item_names)
    good = columns.problem.is_null()
    said = [columns.values[name].filter(good) for name in layout.item_names]
    ids = values.identities(layout.item_names[0], said[0])
    titles, genres = (values.texts(name, column) for name, column in zip(layout.item_names[1:], said[1:], strict=True))
    genres = pc.if_else(pc.equal(genres, NO_GENRES), None, genres)
    films = pa.table({"id": ids, "title": titles, "tags": values.text_lists("genres", genres, layout.genre_separator)})
    return films, _lost(beside, columns)


def _tagged(films: pa.Table, path: Path, layout: _Layout) -> tuple[pa.Table, tuple[str, ...]]:
    """Rated films with the free tags of the file beside the ratings after their genres: each tag once, regardless of
    case, in the first spelling, the most frequent first. And notes about tags that were left out."""
    beside = _beside(path, layout.tags)
    if beside is None:
        return films, ()
    columns = _split(text.read_bytes(beside), beside, layout, layout.tag_names)
    _, item, tag, *_ = layout.tag_names
    ids, tags = values.identities(item, columns.values[item]), values.texts(tag, columns.values[tag], trim=True)
    place = pc.fill_null(pc.index_in(ids, value_set=films["id"], skip_nulls=True), -1).to_numpy()
    said = is_true(ids.is_valid()) & is_true(tags.is_valid())
    known = said & (place >= 0)
    genres = films["tags"].combine_chunks()
    film = np.concatenate([pc.list_parent_indices(genres), place[known]])
    words = pa.concat_arrays([pc.list_flatten(genres), *tags.filter(pa.array(known)).chunks])

    codes = pc.utf8_lower(words).dictionary_encode()
    key = film.astype(np.int64) * max(len(codes.dictionary), 1) + codes.indices.to_numpy()
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    own = first < len(words) - known.sum()  # genres come first, in their own order
    first = first[np.lexsort((first, np.where(own, -len(words), -count), film[first]))]
    end = np.cumsum(np.bincount(film[first], minlength=len(films)))
    lists = pa.ListArray.from_arrays(np.concatenate([[0], end]).astype(np.int32), words.take(pa.array(first)))
    films = films.set_column(films.column_names.index("tags"), "tags", values.text_lists("tags", lists))
    left_out = {
        "of films that nobody rated or that the file of films does not name": said.sum() - known.sum(),
        "that the film has already": len(words) - len(first),
        "without film or tag": columns.problem.null_count - said.sum(),
    }
    note = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    notes = (f"{beside.name}: left out of {columns.rows} tags are {note}",) if note else ()
    return films, (*notes, *_lost(beside, columns))


def _users(path: Path, layout: _Layout) -> tuple[pa.Table, tuple[str, ...]]:
    """Users from the file beside the ratings, in the schema of the table; and notes about rows that were not read."""
    schema = SCHEMAS["users"]
    beside = _beside(path, layout.users)
    if beside is None:
        return schema.empty_table(), ()
    columns = _split(text.read_bytes(beside), beside, layout, layout.user_names)
    good = columns.problem.is_null()
    if not layout.header and not good.true_count:
        return schema.empty_table(), (f"{beside.name} is no MovieLens file of users; not read",)
    said = {name.removesuffix(":token"): columns.values[name].filter(good) for name in layout.user_names}
    ids = values.identities("user", said[layout.user_names[0].removesuffix(":token")])
    pairs = [pc.binary_join_element_wise(f"{n}=", values.texts(n, said[n], trim=True), "") for n in ATTRIBUTES]
    joined = pc.binary_join_element_wise(*pairs, "|", null_handling="skip")
    attributes = values.text_lists("attributes", joined)
    return pa.table([ids, attributes], schema=schema).filter(ids.is_valid()), _lost(beside, columns)


def _beside(path: Path, name: str | None) -> Path | None:
    """The file of this name beside the ratings, `*` stands for theirs; None if there is no such file."""
    if name is None:
        return None
    found = path.with_name(name.replace("*", path.name.removesuffix(".gz").rpartition(".")[0]))
    return found if found.is_file() else None


def _lost(beside: Path, columns: text.Columns) -> tuple[str, ...]:
    lost = columns.rows - columns.problem.null_count
    return (f"{beside.name}: {lost} of {columns.rows} rows cannot be read",) if lost else ()
