"""Who clicked what, and what is known of users and items: events, side tables and stores of a root as arrays.

**Examples.** The events of `data.events`; of one user and item the newest counts.

**Fields.** `user_id` and `item_id`; each attribute that the table `users` has of the user, one field a name; the item's
`tags`, `categories`, `uploader` and `duration`; and for each role with a store the mean of the item's usable rows.

What is left out is counted, in `counts`.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from reelmill.models.data.columns import Column, user_columns, video_columns
from reelmill.models.data.events import Newest
from reelmill.models.data.vectors import mean_vectors
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

ROLES = ("picture", "sound", "text")
"""Modalities; each may have a store."""


@dataclass(frozen=True)
class Clicks(Newest):
    """Examples, of which it is a setting which are clicks, and what is known of their users and items."""

    columns: tuple[Column, ...]
    stores: dict[str, str]
    """{role: store} of the roles that have one."""
    counts: dict[str, int]
    fingerprint: str
    """64 hex digits: hash of the ids, all arrays and the specs of the stores."""


def load_clicks(root: AnyRoot, **roles: str) -> Clicks:
    """Read events, side tables and a store for each role that names one. Raises InputError if there is no event, a
    store has none of the items, or a user's attribute has no name of its own."""
    root = Root(root)
    tables, newest = root.tables, Newest.read(root)
    users, items = newest.users, newest.items
    columns = [
        Column("user_id", "category", "user", np.arange(len(users))[:, None], tuple(users)),
        Column("item_id", "category", "item", np.arange(len(items))[:, None], tuple(items)),
        *user_columns(tables, users),
        *video_columns(tables, items),
    ]
    counts = {"events": newest.events, "events_repeated": newest.repeated}
    specs, stores = [], {}
    for role, name in roles.items():
        if name:
            store = root.features.open(name)
            table, missing = mean_vectors(store, items)
            columns.append(Column(role, "modality", "item", table))
            counts |= {f"{what}_{role}": number for what, number in missing.items()}
            specs.append(store.spec.to_json())
            stores[role] = store.spec.name
    _check_names(columns)
    sha = hashlib.sha256("\0".join([*users, "", *items, "", *specs, str(newest.rated)]).encode())
    for array in newest.arrays:
        sha.update(array.tobytes())
    for column in columns:
        sha.update("\0".join([column.name, column.kind, column.side, *column.names, str(column.table.shape)]).encode())
        sha.update(np.ascontiguousarray(column.table).view(np.uint8).data)
    return Clicks(**vars(newest), columns=tuple(columns), stores=stores, counts=counts, fingerprint=sha.hexdigest())


def _check_names(columns: list[Column]) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1 or "," in name or " " in name:
            raise InputError(f"table users: attribute {name!r} needs a name of its own, without comma or space")
