"""Who clicked what, and what is known of users and items: events, side tables and stores of a root as arrays.

**What counts as an example.** Every event of kind `rating`; a root without any takes `highlight` and `watch` events in
their place: who marks or watches a video chose it. Of events of one user and item the newest counts.

**What a field holds.** `user_id` and `item_id`; of the user what the table `users` says, one field a name; of the item
its `tags`, `categories` and `uploader`, its `duration` (logarithm of the measured milliseconds, else of the claimed
ones), and for each role that has a store the mean of the usable rows that the store has of it.

Nothing is left out silently: what falls away stands in `counts`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from reelmill.models.data.columns import Column, attributes, facts
from reelmill.models.data.events import newest, read_events
from reelmill.models.data.vectors import mean_vectors
from reelmill.storage import Tables, open_store
from reelmill.storage.errors import InputError

ROLES = ("picture", "sound", "text")
"""Modalities; each may have a store."""


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


def _check_names(columns: list[Column]) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1 or "," in name or " " in name:
            raise InputError(f"table users: attribute {name!r} needs a name of its own, without comma or space")
