"""Files beside a table of records: what they say about its videos and users.

The attributes of a user are gender, age (ml-1m: the lower end of a range) and occupation, but not the post code. The
users.dat of MovieTweetings has other content and is not read.

The tags of a film are its genres, then the free tags of users, the most frequent first. The encoders of text and topics
read them as words of the film. Who gave a tag, and when, is not stored: tags given after the months that a recommender
is trained on are among the words too.

A file that lacks a column is read for the others, and the columns that it lacks are noted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import tables, text, values
from reelmill.pipeline.sources.dialect import Dialect
from reelmill.pipeline.sources.rows import is_true
from reelmill.pipeline.sources.tables import Table, Wanted
from reelmill.storage.schema import SCHEMAS

NO_GENRES = "(no genres listed)"
ATTRIBUTES = ("gender", "age", "occupation")
LISTS = ("tags", "categories")


@dataclass(frozen=True)
class ItemFile:
    """A file with a row for each video."""

    pattern: str
    """Its name; where it begins with `*.`, the star stands for the name of the table."""
    ids: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]
    """{column of the table `videos`: how the file calls it, the usual name first}"""
    separator: str
    """Between the words of a list."""
    dialect: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True)
class UserFile:
    """A file with a row for each user, whose attributes are called as `ATTRIBUTES`."""

    pattern: str
    ids: tuple[str, ...]
    dialect: Dialect


@dataclass(frozen=True)
class TagFile:
    """A file with a row for each time that a user gave a film a tag."""

    pattern: str
    names: tuple[str, str, str, str]
    """Columns of user, film, tag and time."""
    dialect: Dialect


@dataclass(frozen=True)
class Side:
    """What the files beside a table say."""

    videos: pa.Table
    """video_id and facts, one row a video, of the videos asked for."""
    users: pa.Table
    """In the schema of the table `users`, of the users asked for."""
    notes: tuple[str, ...]


def read(
    path: Path,
    items: Sequence[ItemFile],
    users: Sequence[UserFile],
    tags: TagFile | None,
    videos: pa.Array,
    persons: pa.Array,
) -> Side:
    """Read the files beside the table `path` for these ids of videos and users."""
    found = pa.table({"video_id": pa.array([], pa.string())})
    notes: list[str] = []
    for item in items:
        if (file := _beside(path, item.pattern)) is not None:
            found, more = _items(file, item, videos)
            notes += more
    if tags is not None and (file := _beside(path, tags.pattern)) is not None:
        found, more = _tagged(found, file, tags)
        notes += more
    said = SCHEMAS["users"].empty_table()
    for user in users:
        if (file := _beside(path, user.pattern)) is not None:
            said, more = _users(file, user)
            notes += more
    return Side(found, said.filter(pc.is_in(said["user_id"], value_set=persons)), tuple(notes))


def _items(file: Path, how: ItemFile, wanted: pa.Array) -> tuple[pa.Table, list[str]]:
    """The wanted videos that a file describes: video_id and facts; and notes about what it does not say."""
    table = _open(file, how.dialect)
    id_name = _named(table, how.ids)
    if id_name is None:
        return pa.table({"video_id": pa.array([], pa.string())}), [
            f"{file.name} has no column {' or '.join(how.ids[:3])}; not read"
        ]
    columns = {fact: name for fact, names in how.facts.items() if (name := _named(table, names)) is not None}
    missing = [f"{fact} ({', '.join(how.facts[fact])})" for fact in how.facts if fact not in columns]
    notes = [f"{file.name}: no column for {', '.join(missing)}"] if missing else []
    read, lost = _read(table, Wanted(tuple(dict.fromkeys([id_name, *columns.values()]))))
    found = {"video_id": values.identities(id_name, read[id_name])}
    for fact, name in columns.items():
        column = values.texts(name, read[name], trim=True)
        found[fact] = _words(column, how.separator) if fact in LISTS else column
    videos = pa.table(found)
    kept = videos.filter(pc.is_in(videos["video_id"], value_set=wanted, skip_nulls=True))
    place = pc.index_in(pc.unique(kept["video_id"]), value_set=kept["video_id"])  # the first row of each
    return kept.take(place), notes + lost


def _words(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """Texts as lists: 'A', 'B' in quotes as they are; else [A, B] or A|B or what the separator parts."""
    column = pc.if_else(pc.equal(column, NO_GENRES), None, column)
    plain = pc.replace_substring_regex(column, r"^\[(.*)\]$", r"\1")
    quoted = is_true(pc.match_substring_regex(plain, r"^'.*'$"))
    if quoted.any():
        marked = pc.replace_substring_regex(plain, r"^'|'$", "")
        marked = pc.replace_substring_regex(marked, r"'\s*,?\s*'", "|")
        plain = pc.if_else(pa.array(quoted), marked, plain)
    barred = is_true(pc.match_substring(plain, "|"))
    if separator != "|":
        parted = pc.replace_substring_regex(plain, r"\s*,\s*" if separator == "," else r"\s+", "|")
        plain = pc.if_else(pa.array(barred | quoted), plain, parted)
    return values.text_lists("words", plain)


def _tagged(films: pa.Table, file: Path, how: TagFile) -> tuple[pa.Table, list[str]]:
    """Films with the free tags of a file after their genres: each tag once, regardless of case, in the first spelling,
    the most frequent first. And notes about tags that were left out."""
    _, item, tag, _ = how.names
    columns = _columns(_open(file, how.dialect), Wanted(how.names))
    ids, tags = values.identities(item, columns.values[item]), values.texts(tag, columns.values[tag], trim=True)
    place = pc.fill_null(pc.index_in(ids, value_set=films["video_id"], skip_nulls=True), -1).to_numpy()
    said = is_true(ids.is_valid()) & is_true(tags.is_valid())
    known = said & (place >= 0)
    if "tags" not in films.column_names:
        films = films.append_column("tags", pa.nulls(len(films), pa.list_(pa.string())))
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
    notes = [f"{file.name}: left out of {columns.rows} tags are {note}"] if note else []
    return films, notes + _lost(file, columns)


def _users(file: Path, how: UserFile) -> tuple[pa.Table, list[str]]:
    """Users of a file, in the schema of the table; and notes about what was not read."""
    schema = SCHEMAS["users"]
    table = _open(file, how.dialect)
    id_name = _named(table, how.ids)
    names = {attribute: name for attribute in ATTRIBUTES if (name := _named(table, (attribute,))) is not None}
    columns = None
    if id_name is not None and names:
        columns = _columns(table, Wanted((id_name, *names.values())))
    if id_name is None or columns is None or (isinstance(how.dialect.header, tuple) and not columns.problem.null_count):
        what = "MovieLens file of users" if isinstance(how.dialect.header, tuple) else "file of users with attributes"
        return schema.empty_table(), [f"{file.name} is no {what}; not read"]
    good = columns.problem.is_null()
    said = {name: column.filter(good) for name, column in columns.values.items()}
    ids = values.identities("user", said[id_name])
    pairs = [pc.binary_join_element_wise(f"{a}=", values.texts(n, said[n], trim=True), "") for a, n in names.items()]
    joined = pc.binary_join_element_wise(*pairs, "|", null_handling="skip")
    attributes = values.text_lists("attributes", joined)
    return pa.table([ids, attributes], schema=schema).filter(ids.is_valid()), _lost(file, columns)


def _open(file: Path, dialect: Dialect) -> Table:
    """The table of a file. Its encoding is latin-1 if any line is no UTF-8: ml-1m's films are."""
    return tables.open_table(file, dialect)


def _named(table: Table, names: Sequence[str]) -> str | None:
    """The column that has one of these names, the first of them that is there; without the `:type` of RecBole."""
    plain = {name.partition(":")[0].lower(): name for name in reversed(table.names)}
    return next((plain[name.lower()] for name in names if name.lower() in plain), None)


def _read(table: Table, wanted: Wanted) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """The good rows of the wanted columns, and a note about the others."""
    columns = _columns(table, wanted)
    good = columns.problem.is_null()
    return {name: column.filter(good) for name, column in columns.values.items()}, _lost(table.path, columns)


def _columns(table: Table, wanted: Wanted) -> text.Columns:
    """The wanted columns as a whole."""
    pieces = list(table.batches(wanted))
    columns = {name: pa.chunked_array([c for p in pieces for c in p.values[name].chunks]) for name in wanted.names}
    problem = pa.concat_arrays([p.problem for p in pieces])
    return text.Columns(columns, problem, sum(p.rows for p in pieces))


def _beside(path: Path, pattern: str) -> Path | None:
    """The first file of this pattern beside the table, maybe packed; None if there is none."""
    if pattern.startswith("*."):
        name = path.name.removesuffix(".gz").rpartition(".")[0]
        pattern = f"{name}{pattern[1:]}"
        found = [file for file in (path.with_name(pattern), path.with_name(f"{pattern}.gz")) if file.is_file()]
    else:
        found = sorted(f for p in (pattern, f"{pattern}.gz") for f in path.parent.glob(p) if f.is_file())
    return next(iter(found), None)


def _lost(file: Path, columns: text.Columns) -> list[str]:
    lost = columns.rows - columns.problem.null_count
    return [f"{file.name}: {lost} of {columns.rows} rows cannot be read"] if lost else []


def join(videos: pa.Table, side: Side) -> pa.Table:
    """Rows of the table `videos`, with the facts of the files beside the source where the source says none."""
    place = pc.index_in(videos["video_id"], value_set=side.videos["video_id"], skip_nulls=True)
    for name in side.videos.column_names[1:]:
        number, field_ = videos.schema.get_field_index(name), videos.schema.field(name)
        said = side.videos[name].take(place).cast(field_.type)
        own = videos[name].is_valid()
        videos = videos.set_column(number, field_, pc.if_else(own, videos[name], said))
    return videos
