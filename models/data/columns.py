"""Columns of the tables `users` and `videos` as arrays: attributes of users; tags, categories, uploader and duration of
videos."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.arrays import codes
from reelmill.storage import Tables
from reelmill.storage.errors import InputError

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


def user_columns(tables: Tables, users: list[str]) -> Iterable[Column]:
    """One column for each name among the attributes of these users, in order of the names. Raises InputError for an
    attribute that is not name=value."""
    table = tables.read("users", ["user_id", "attributes"])
    owner, text = _flat(table["user_id"], table["attributes"], users)
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


def video_columns(tables: Tables, items: list[str]) -> Iterable[Column]:
    """The columns of the table `videos` that any of these items has a value in, and the logarithm of their duration in
    milliseconds, measured where media exist, else claimed."""
    claimed = tables.read("videos", ["video_id", *LISTS, *NAMES, "claimed_duration_ms"])
    for name in (*LISTS, *NAMES):
        owner, text = _flat(claimed["video_id"], claimed[name], items)
        if len(owner):
            yield _category(name, "item", owner, text, len(items))
    long = np.full(len(items), np.nan)
    media = tables.read("media", ["video_id", "duration_ms"])
    for table, name in ((claimed, "claimed_duration_ms"), (media, "duration_ms")):
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
