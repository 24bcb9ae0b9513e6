"""Published layouts by name: which file holds the records, and what its columns are.

    format      file                              columns
    phd2        a CSV with youtubeId              youtubeId, start, duration, user_id, video_duration, is_last
    movielens   ratings.dat (ml-1m, ml-10m,       user::item::rating::time, no header
                MovieTweetings)
                ratings.csv (ml-latest)           userId, movieId, rating, timestamp
                u.data (ml-100k)                  user, item, rating, time by tabs, no header
    recbole     X.inter (RecBole, MMRec)          user_id:token, item_id:token …; rating and types may be missing
    microlens   *pairs.csv                        user, item, timestamp
    kuairec     big_matrix.csv, small_matrix.csv  user_id, video_id, video_duration, timestamp, watch_ratio …
    kuairand    log_standard_*.csv                user_id, video_id, time_ms, is_click, duration_ms …
    amazon      ratings_*.csv, no header;         user_id or reviewerID, parent_asin or asin, rating, timestamp
                reviews as CSV or JSON lines

A layout is recognised by the name of the file and by its columns. Files beside it that say more about videos and users
are read by `beside`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reelmill.pipeline.sources import tables
from reelmill.pipeline.sources.beside import ItemFile, TagFile, UserFile
from reelmill.pipeline.sources.dialect import Dialect, suffix_of
from reelmill.pipeline.sources.tables import Table
from reelmill.storage.errors import InputError, nearest

USERS = ("user_id", "userID", "userId", "user", "uid")
ITEMS = ("item_id", "itemID", "itemId", "item", "iid", "video_id", "movie_id")
YOUTUBE = "https://www.youtube.com/watch?v={video_id}"
ASIN = re.compile(r"B0[0-9A-Z]{8}|\d{9}[\dX]")
"""A product of Amazon; books have their ISBN."""


@dataclass(frozen=True)
class Layout:
    """A published layout."""

    format: str
    title: str
    columns: Mapping[str, tuple[str, ...]]
    """{our column: how the layout calls it, the usual name first}; without the `:type` of RecBole."""
    files: tuple[str, ...] = ()
    """Patterns of its names, before `.gz`."""
    optional: frozenset[str] = frozenset()
    """Of our columns, those that may be missing."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """{our column: its value in every row}"""
    dialect: Dialect = field(default_factory=Dialect)
    url_template: str | None = None
    items: tuple[ItemFile, ...] = ()
    users: tuple[UserFile, ...] = ()
    tags: TagFile | None = None
    left: str = ""
    """Pattern of files of the same layout that are not read with the others."""

    def mapping(self, table: Table) -> dict[str, str]:
        """{our column: the table's}. Raises InputError for a column that is not there once."""
        plain = [name.partition(":")[0] for name in table.names]
        found = {}
        for ours, theirs in self.columns.items():
            name = next((name for name in theirs if name in plain), None)
            if name is not None and plain.count(name) == 1:
                found[ours] = table.names[plain.index(name)]
            elif name is not None or ours not in self.optional:
                raise InputError(
                    f"{table.path}: {self.title} has one column {' or '.join(map(repr, theirs[:2]))}, this one has "
                    f"{plain.count(name or theirs[0])}; {nearest(theirs[0], list(table.names))}; other layouts are "
                    "read with format 'mapped'"
                )
        return {**found, **{ours: f"={value}" for ours, value in self.constants.items()}}

    def fits(self, names: Iterable[str]) -> bool:
        """Whether a table with these columns can be of this layout."""
        plain = {name.partition(":")[0] for name in names}
        return all(ours in self.optional or plain & {*theirs} for ours, theirs in self.columns.items())


RATING = {"kind": "rating"}
PLAIN = ("user", "item", "rating", "time")
PLAIN_COLUMNS = {"user_id": ("user",), "video_id": ("item",), "value": ("rating",), "time": ("time",)}
DAT = Layout(
    "movielens",
    "MovieLens' or MovieTweetings' ratings.dat",
    PLAIN_COLUMNS,
    ("ratings*.dat",),
    constants=RATING,
    dialect=Dialect(PLAIN, "::", quote="none"),
    items=(ItemFile("movies.dat", ("id",), {"title": ("title",), "tags": ("genres",)}, "|",
                    Dialect(("id", "title", "genres"), "::", quote="none")),),
    users=(UserFile("users.dat", ("user",),
                    Dialect(("user", "gender", "age", "occupation", "zip"), "::", quote="none")),),
    tags=TagFile("tags.dat", ("user", "item", "tag", "time"),
                 Dialect(("user", "item", "tag", "time"), "::", quote="none")),
)  # fmt: skip
CSV = Layout(
    "movielens",
    "MovieLens' ratings.csv",
    {"user_id": ("userId",), "video_id": ("movieId",), "value": ("rating",), "time": ("timestamp",)},
    ("ratings.csv",),
    constants=RATING,
    dialect=Dialect(True, ","),
    items=(ItemFile("movies.csv", ("movieId",), {"title": ("title",), "tags": ("genres",)}, "|", Dialect(True, ",")),),
    tags=TagFile("tags.csv", ("userId", "movieId", "tag", "timestamp"), Dialect(True, ",")),
)
U_DATA = Layout(
    "movielens", "MovieLens' u.data", PLAIN_COLUMNS, ("u.data",), constants=RATING,
    dialect=Dialect(PLAIN, "\t", quote="none"),
)  # fmt: skip
INTER = Layout(
    "recbole",
    "a RecBole .inter",
    {"user_id": USERS, "video_id": ITEMS, "value": ("rating",), "time": ("timestamp", "time")},
    ("*.inter",),
    frozenset({"value", "time"}),
    dialect=Dialect(True, "\t", quote="none"),
    items=(ItemFile("*.item", ITEMS, {"title": ("movie_title", "title", "item_title", "name", "video_title"),
                                      "tags": ("class", "genre", "genres", "categories", "category", "tags")}, " ",
                    Dialect(True, "\t", quote="none")),),
    users=(UserFile("*.user", USERS, Dialect(True, "\t", quote="none")),),
)  # fmt: skip
PHD2 = Layout(
    "phd2",
    "a PHD² file",
    {"video_id": ("youtubeId",), "start_s": ("start",), "duration_s": ("duration",), "user_id": ("user_id",),
     "video_duration_s": ("video_duration",), "last_video": ("is_last",)},
    ("*.csv",),
    frozenset({"last_video"}),
    {"kind": "highlight"},
    Dialect(True, ","),
    YOUTUBE,
)  # fmt: skip
MICROLENS = Layout(
    "microlens",
    "MicroLens' pairs",
    {"user_id": ("user",), "video_id": ("item",), "time": ("timestamp",)},
    ("*pairs.csv", "*pairs.tsv"),
    constants={"kind": "watch"},
    items=(ItemFile("*title*.csv", ("item", "1"), {"title": ("title", "2")}, "|"),),
)
KUAIREC = Layout(
    "kuairec",
    "KuaiRec's matrix",
    {"user_id": ("user_id",), "video_id": ("video_id",), "video_duration_ms": ("video_duration",),
     "time": ("timestamp", "time", "date"), "value": ("watch_ratio",)},
    ("big_matrix.csv", "small_matrix.csv"),
    frozenset({"time", "video_duration_ms"}),
    {"kind": "watch"},
    items=(ItemFile("kuairec_caption_category.csv", ("video_id",),
                    {"title": ("caption",), "tags": ("topic_tag",), "categories": ("first_level_category_name",)},
                    ","),),
    left="small_matrix.csv",
)  # fmt: skip
KUAIRAND = Layout(
    "kuairand",
    "KuaiRand's log",
    {"user_id": ("user_id",), "video_id": ("video_id",), "time": ("time_ms",), "value": ("is_click",),
     "video_duration_ms": ("duration_ms",)},
    ("log_*.csv",),
    frozenset({"video_duration_ms"}),
    RATING,
    items=(ItemFile("video_features_basic*.csv", ("video_id",),
                    {"tags": ("tag",), "uploader": ("author_id",), "upload_date": ("upload_dt",)}, ","),),
    left="log_random*.csv",
)  # fmt: skip
AMAZON = Layout(
    "amazon",
    "Amazon's reviews",
    {"user_id": ("user_id", "reviewerID"), "video_id": ("parent_asin", "asin"), "value": ("rating", "overall"),
     "time": ("timestamp", "unixReviewTime")},
    ("ratings_*.csv", "*.csv", "*.jsonl", "reviews_*.json", "*.json"),
    frozenset({"time"}),
    RATING,
)  # fmt: skip
LAYOUTS = (PHD2, DAT, CSV, U_DATA, INTER, KUAIRAND, KUAIREC, MICROLENS, AMAZON)
"""In the order in which they are tried."""
FORMATS = tuple(dict.fromkeys(layout.format for layout in LAYOUTS))
BY_SUFFIX = {".dat": DAT, ".csv": CSV, ".inter": INTER, ".data": U_DATA}
"""Which layout of MovieLens a suffix is."""
UNKNOWN = (
    f"known layouts: {', '.join(layout.title for layout in LAYOUTS)}, or interactions with user_id and item_id; any "
    "other table is read by a settings file with a mapping (reelmill init TABLE writes one)"
)


def open_layout(path: Path, format: str, told: Dialect) -> tuple[Layout, Table]:
    """The layout of a file of this format, and its table. `told`: goes before what the layout says of the file's form.

    Raises InputError if the file is not of this format."""
    layout = _variant(path, format)
    form = _with(layout.dialect, told)
    table = tables.open_table(path, form if suffix_of(path) not in (*tables.JSON, ".parquet") else told)
    if layout is AMAZON and len(table.names) == 4 and table.names[0] == "1":
        table = tables.open_table(path, _with(Dialect(_amazon_names(table)), told))
    return layout, table


def recognise(path: Path, told: Dialect | None = None) -> Layout | None:
    """The layout that a file has by its name and its columns; None if it is none of those known. Raises InputError if
    it cannot be read."""
    name = path.name.lower().removesuffix(".gz")
    for layout in (DAT, U_DATA, INTER):
        if any(Path(name).match(pattern) for pattern in layout.files):
            return layout
    if suffix_of(path) not in tables.SUFFIXES:
        return None
    table = tables.open_table(path, told)
    for layout in (PHD2, CSV, KUAIRAND, KUAIREC, AMAZON):
        if layout.fits(table.names) and (layout is not AMAZON or suffix_of(path) != ".parquet"):
            return layout
    if MICROLENS.fits(table.names) and len(table.names) == 3:
        return MICROLENS
    if len(table.names) == 4 and table.names[0] == "1":
        return AMAZON
    return None


def _variant(path: Path, format: str) -> Layout:
    of_format = [layout for layout in LAYOUTS if layout.format == format]
    if format != "movielens":
        return of_format[0]
    suffix = suffix_of(path)
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    first = tables.first_line(path)
    for mark, layout in (("::", DAT), (":token", INTER), ("\t", U_DATA), (",", CSV)):
        if mark in first:
            return layout
    raise InputError(
        f"{path}: its first line {first[:80]!r} is that of no MovieLens file (user::item::rating::time, "
        "userId,movieId,…, user_id:token …); other layouts are read with format 'mapped'"
    )


def _with(usual: Dialect, told: Dialect) -> Dialect:
    """What the user says, and for the rest what is usual."""
    return Dialect(*(b if a is None else a for a, b in zip(vars(told).values(), vars(usual).values(), strict=True)))


def _amazon_names(table: Table) -> tuple[str, ...]:
    """Names of the columns of ratings without a header: 2014 has the user first, 2018 the product."""
    columns = next(table.batches(tables.Wanted(("1", "2")))).values
    share = [sum(bool(ASIN.fullmatch(c)) for c in columns[n].slice(0, 1000).to_pylist()) for n in ("1", "2")]
    order = ("asin", "user_id") if share[0] > share[1] else ("user_id", "asin")
    return (*order, "rating", "timestamp")
