"""Who clicked what, and what is known of users and items: events, side tables and stores of a root as arrays.

**What counts as an example.** Every event of kind `rating`; a root without any takes `highlight` and `watch` events in
their place: who marks or watches a video chose it. Of events of one user and item the newest counts.

**What a field holds.** `user_id` and `item_id`; of the user what the table `users` says, one field a name; of the item
its `tags`, `categories` and `uploader`, its `duration` (logarithm of the measured milliseconds, else of the claimed
ones), and for each role that has a store the mean of the usable rows that the store has of it.

Nothing is left out silently: what falls away stands in `counts`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.splits import PARTS
from reelmill.storage import FeatureStore, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA

ROLES = ("picture", "sound", "text")
"""Modalities; each may have a store."""
CHUNK = 4096
"""Vectors that are measured at once."""
IN_PLACE_OF_RATINGS = ["highlight", "watch"]
LISTS, NAMES = ("tags", "categories"), ("uploader",)
"""Columns of `videos` that become fields."""


@dataclass(frozen=True)
class Column:
    """A field, as all users or all items have it."""

    name: str
    kind: str
    """`category`, `number` or `modality`, as in `fields`."""
    side: str
    """`user` or `item`."""
    table: np.ndarray
    """Category: (n, Q) int64, codes from the left, then −1. Else (n, size) float32, NaN where there is nothing."""
    names: tuple[str, ...] = ()
    """Of the codes."""


@dataclass(frozen=True)
class Clicks:
    """Examples without a verdict yet: which of them are clicks is a setting. Users and items are numbers here."""

    users: list[str]
    """User ids, sorted."""
    items: list[str]
    """Video ids, sorted."""
    user: np.ndarray
    """(P,) int64; distinct pairs, by user, then by item."""
    item: np.ndarray
    """(P,) int64."""
    value: np.ndarray
    """(P,) float64 rating; NaN where there is none."""
    time: np.ndarray
    """(P,) int64 milliseconds; the least int64 where there is none."""
    part: np.ndarray
    """(P,) int64: place in PARTS of the event's source, −1 for any other source."""
    rated: bool
    """They are ratings."""
    columns: tuple[Column, ...]
    stores: dict[str, str]
    """{role: store} of the roles that have one."""
    counts: dict[str, int]
    fingerprint: str
    """64 hex digits: hash of the ids, all arrays and the specs of the stores."""


NO_TIME = np.iinfo(np.int64).min


def load_clicks(root: str | Path, **roles: str) -> Clicks:
    """Read events, side tables and a store for each role that names one. Raises InputError if there is no event, a
    store has none of the items, or a user's attribute has no name of its own."""
    tables = Tables(root)
    events, rated = read_events(tables, root)
    users, items = (sorted(pc.unique(events[name]).to_pylist()) for name in ("user_id", "video_id"))
    kept = newest(events, users, items)
    pair, value, time, part = kept
    user, item = np.divmod(pair, len(items))
    columns = [
        Column("user_id", "category", "user", np.arange(len(users))[:, None], tuple(users)),
        Column("item_id", "category", "item", np.arange(len(items))[:, None], tuple(items)),
        *attributes(tables, users),
        *facts(tables, items),
    ]
    counts = {"events": events.num_rows, "events_repeated": events.num_rows - len(pair)}
    specs, stores = [], {}
    for role, name in roles.items():
        if name:
            store = open_store(root, name)
            table, lost = mean_vectors(store, items)
            columns.append(Column(role, "modality", "item", table))
            counts |= {f"{what}_{role}": number for what, number in lost.items()}
            specs.append(store.spec.to_json())
            stores[role] = store.spec.name
    _check_names(columns)
    sha = hashlib.sha256("\0".join([*users, "", *items, "", *specs, str(rated)]).encode())
    for array in (user, item, value, time, part):
        sha.update(array.tobytes())
    for column in columns:
        sha.update("\0".join([column.name, column.kind, column.side, *column.names, str(column.table.shape)]).encode())
        sha.update(np.ascontiguousarray(column.table).view(np.uint8).data)
    return Clicks(users, items, user, item, value, time, part, rated, tuple(columns), stores, counts, sha.hexdigest())


def read_events(tables: Tables, root: str | Path) -> tuple[pa.Table, bool]:
    """The events that count as examples, and whether they are ratings. Raises InputError if there is none."""
    events = tables.read("events", ["user_id", "video_id", "kind", "time", "value", "source", "source_row"])
    rated = events.filter(pc.equal(events["kind"], "rating"))
    if rated.num_rows:
        return rated, True
    chosen = events.filter(pc.is_in(events["kind"], value_set=pa.array(IN_PLACE_OF_RATINGS)))
    if not chosen.num_rows:
        raise InputError(f"{root} has no event of kind rating, highlight or watch; ingest some first (reelmill ingest)")
    return chosen, False


def newest(
    events: pa.Table, users: list[str], items: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pair (user · items + item), value, time and part of the newest event of each pair; of equally new ones that of
    the last source and row counts."""
    time = pc.fill_null(events["time"].cast(pa.int64()), int(NO_TIME)).to_numpy()
    pair = codes(events["user_id"], users) * len(items) + codes(events["video_id"], items)
    sources = sorted(pc.unique(events["source"]).to_pylist())
    source = codes(events["source"], sources)
    order = np.lexsort((events["source_row"].to_numpy(), source, time, pair))
    last = order[np.append(np.diff(pair[order]) != 0, True)]
    place = np.array([PARTS.index(name) if name in PARTS else -1 for name in sources])
    value = pc.fill_null(events["value"], float("nan")).to_numpy()
    return pair[last], value[last], time[last], place[source[last]]


def attributes(tables: Tables, users: list[str]) -> Iterable[Column]:
    """One field for each name among the users' attributes, in order of the names."""
    said = tables.read("users", ["user_id", "attributes"])
    owner, text = _flat(said["user_id"], said["attributes"], users)
    if not len(owner):
        return
    split = pc.find_substring(text, "=")
    if (bad := pc.less(split, 1)).true_count:
        wrong = text.filter(bad)[0].as_py()
        raise InputError(f"table users: attribute {wrong!r} must be name=value, such as gender=F")
    pieces = pc.split_pattern(text, "=", max_splits=1)
    name, value = pc.list_element(pieces, 0), pc.list_element(pieces, 1)
    for one in sorted(pc.unique(name).to_pylist()):
        here = np.asarray(pc.equal(name, one))
        yield _category(one, "user", owner[here], value.filter(pa.array(here)), len(users))


def facts(tables: Tables, items: list[str]) -> Iterable[Column]:
    """Fields of the items out of the tables; one that no item has is none."""
    said = tables.read("videos", ["video_id", *LISTS, *NAMES, "claimed_duration_ms"])
    for name in (*LISTS, *NAMES):
        owner, text = _flat(said["video_id"], said[name], items)
        if len(owner):
            yield _category(name, "item", owner, text, len(items))
    long = np.full(len(items), np.nan)
    media = tables.read("media", ["video_id", "duration_ms"])
    for table, name in ((said, "claimed_duration_ms"), (media, "duration_ms")):
        place, ms = codes(table["video_id"], items), pc.fill_null(table[name], 0).to_numpy()
        known = (place >= 0) & (ms > 0)
        long[place[known]] = np.log(ms[known])
    if np.isfinite(long).any():
        yield Column("duration", "number", "item", long[:, None].astype(np.float32))


def _flat(ids: pa.ChunkedArray, values: pa.ChunkedArray, known: list[str]) -> tuple[np.ndarray, pa.Array]:
    """Place in `known` (n,) and text (n,) of every value of those known; an empty text is none."""
    owner, column = codes(ids, known), values.combine_chunks()
    if pa.types.is_list(column.type):
        owner, column = owner[pc.list_parent_indices(column).to_numpy()], pc.list_flatten(column)
    kept = (owner >= 0) & np.asarray(pc.fill_null(pc.not_equal(column, ""), False))
    return owner[kept], column.filter(pa.array(kept))


def _category(name: str, side: str, owner: np.ndarray, text: pa.Array, owners: int) -> Column:
    """Codes (owners, Q) of texts (n,), each once."""
    names = sorted(pc.unique(text).to_pylist())
    owner, code = np.divmod(np.unique(owner * len(names) + codes(text, names)), len(names))
    count = np.bincount(owner, minlength=owners)
    table = np.full((owners, int(count.max())), -1, np.int64)
    table[owner, np.arange(len(owner)) - (np.cumsum(count) - count)[owner]] = code
    return Column(name, "category", side, table, tuple(names))


def mean_vectors(store: FeatureStore, items: list[str]) -> tuple[np.ndarray, dict[str, int]]:
    """(items, dim) float32, the mean over the usable rows of each item, NaN where it has none; and what was lost."""
    if store.spec.rows == "post":
        raise InputError(f"store {store.spec.name} has one row a post of a user; this model needs rows of videos")
    out = np.full((len(items), store.spec.dim), np.nan, np.float32)
    absent = empty = not_finite = 0
    for place, video in enumerate(items):  # a block is a view of the memory map: one read for each item
        if video not in store:
            absent += 1
            continue
        block = store.read(video)
        valid = block.mask > NO_DATA
        usable = valid & np.isfinite(block.features).all(axis=1)
        empty, not_finite = empty + int((~valid).sum()), not_finite + int((valid & ~usable).sum())
        if usable.any():
            out[place] = block.features[usable].mean(axis=0, dtype=np.float64)
    without = int(np.isnan(out[:, 0]).sum())
    if without == len(items):
        raise InputError(f"{store.spec.name} holds no usable row of any item with events; extract them first")
    return out, {
        "items_without": without,
        "items_not_extracted": absent,
        "rows_without_data": empty,
        "rows_not_finite": not_finite,
    }


def _check_names(columns: list[Column]) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1 or "," in name or " " in name:
            raise InputError(f"table users: attribute {name!r} needs a name of its own, without comma or space")


def codes(column: pa.ChunkedArray | pa.Array, names: list[str]) -> np.ndarray:
    """Place (n,) int64 of each value in the list of names; −1 where it is not in it."""
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)
