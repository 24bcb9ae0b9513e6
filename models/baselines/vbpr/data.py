"""Who has what, and what it looks like: the events of a root, and a vector for each item, as arrays.

**What counts as a positive.** Every event of kind `rating` (from which value on, is a setting); a root without any
takes `highlight` and `watch` events in their place. Of events of one user and item the newest counts.

**What an item looks like.** The mean of the usable rows that the store has of it, whatever a row is.

Nothing is left out silently: what falls away stands in `counts`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from reelmill.models.data.events import NO_TIME, PARTS, newest, read_events
from reelmill.models.data.pairs import Pairs
from reelmill.models.data.vectors import mean_vectors
from reelmill.storage import Tables, open_store
from reelmill.storage.errors import InputError

LEAST = 3
"""Positives that a user needs to give one to the test and one to the validation."""


@dataclass(frozen=True)
class Positives:
    """Distinct pairs. Users and items are numbers here; the lists give their names."""

    users: list[str]
    """User ids, sorted."""
    items: list[str]
    """Video ids, sorted."""
    user: np.ndarray
    """(P,) int64; pairs stand by user, then by item."""
    item: np.ndarray
    """(P,) int64."""
    value: np.ndarray
    """(P,) float64 rating; NaN where there is none."""
    time: np.ndarray
    """(P,) int64 milliseconds; the least int64 where there is none."""
    part: np.ndarray
    """(P,) int64: place in `PARTS` of the event's source, −1 for any other source."""
    features: np.ndarray | None
    """(items, dim) float32, NaN for an item of which the store has no usable row; None without a store."""
    stores: dict[str, str]
    """{role: name of the feature store}, empty without one."""
    counts: dict[str, int]
    fingerprint: str
    """64 hex digits: hash of the ids, all arrays, and the spec of the store."""


def load(root: str | Path, features: str = "") -> Positives:
    """Read events and, if it is named, one store. Raises InputError if there is no event, or the store has no usable
    row of any item."""
    tables = Tables(root)
    events, rated = read_events(tables, root)
    users, items = (sorted(pc.unique(events[name]).to_pylist()) for name in ("user_id", "video_id"))
    pair, value, time, part = newest(events, users, items)
    user, item = np.divmod(pair, len(items))
    value = value if rated else np.full(len(pair), np.nan)
    counts = {"events": events.num_rows, "events_repeated": events.num_rows - len(pair)}
    sha, stores, vectors = hashlib.sha256("\0".join([*users, "", *items]).encode()), {}, None
    if features:
        store = open_store(root, features)
        vectors, lost = mean_vectors(store, items)
        counts |= lost
        stores["features"] = store.spec.name
        sha.update(store.spec.to_json().encode() + vectors.tobytes())
    for array in (user, item, value, time, part):
        sha.update(array.tobytes())
    return Positives(users, items, user, item, value, time, part, vectors, stores, counts, sha.hexdigest())


@dataclass(frozen=True)
class Split:
    """Positives in parts. Users have the model's numbers, 0 … M − 1; items those of the training, 0 … N − 1, and behind
    them those that no training positive names, N … N + C − 1."""

    users: np.ndarray
    """(M,) int64, numbers in the data of the users with a training positive."""
    items: np.ndarray
    """(N + C,) int64, numbers in the data."""
    warm: int
    """N."""
    train: Pairs
    validation: Pairs
    """Of items of the training."""
    test: Pairs
    """The same."""
    cold: Pairs
    """Test positives of the other items."""
    counts: dict[str, int]


def divide(data: Positives, how: str, liked: float, shares: tuple[float, float], rng: np.random.Generator) -> Split:
    """Training, validation and test of the positives, which are the pairs not rated below `liked`. `shares` are those
    of validation and test. Raises InputError if there is nothing to train or to test on."""
    rows = np.flatnonzero(~(data.value < liked))
    if how == "last":
        parts = _last(data, rows, rng)
    elif how == "given":
        parts = [rows[data.part[rows] == number] for number in range(len(PARTS))]
    else:
        validation, test = (round(share * len(rows)) for share in shares)
        parts = np.split(rng.permutation(rows), [len(rows) - validation - test, len(rows) - test])
    if not len(parts[0]):
        given = f"the events need sources called {', '.join(PARTS)}; ingest each under its name"
        raise InputError(
            f"split {how}: none of {len(rows)} positives is left to train on; "
            + (given if how == "given" else "ingest more events")
        )
    train = np.sort(parts[0])
    users, warm = np.unique(data.user[train]), np.unique(data.item[train])
    items = np.concatenate([warm, np.setdiff1d(data.item[rows], warm)])
    number = np.empty(len(data.items), np.int64)
    number[items] = np.arange(len(items))

    def numbered(part: np.ndarray, cold: bool = False) -> Pairs:
        item = number[data.item[part]]
        kept = np.isin(data.user[part], users) & ((item >= len(warm)) == cold)
        return np.searchsorted(users, data.user[part[kept]]), item[kept]

    found = {"train": numbered(train), "validation": numbered(parts[1]), "test": numbered(parts[2])}
    cold = numbered(parts[2], cold=True)
    if not len(found["test"][0]):
        raise InputError(
            f"split {how}: of {len(parts[2])} test positives none has a user and an item of the training; ingest more "
            "events or choose another split"
        )
    counts = {
        "users": len(users),
        "items": len(warm),
        "cold_items": len(items) - len(warm),
        "rated_below_liked": len(data.user) - len(rows),
        "positives_of_no_part": len(rows) - sum(map(len, parts)),
        **{f"{name}_positives": len(pairs[0]) for name, pairs in found.items()},
        "test_positives_of_cold_items": len(cold[0]),
        **{
            f"{name}_positives_of_unseen_users": int((~np.isin(data.user[part], users)).sum())
            for name, part in zip(PARTS[1:], parts[1:], strict=True)
        },
        "validation_positives_of_cold_items": len(numbered(parts[1], cold=True)[0]),
    }
    return Split(users, items, len(warm), found["train"], found["validation"], found["test"], cold, counts)


def _last(data: Positives, rows: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Of each user with at least three positives the newest and the one before; equal times at random."""
    if undated := int((data.time[rows] == NO_TIME).sum()):
        raise InputError(f"split last: {undated} of {len(rows)} events have no time; say split: random")
    rows = rng.permutation(rows)
    rows = rows[np.lexsort((data.time[rows], data.user[rows]))]
    user = data.user[rows]
    count = np.bincount(user)[user]
    left = np.searchsorted(user, user, side="right") - np.arange(len(rows))  # 1 for the newest
    held = np.where(count >= LEAST, left, LEAST)
    return [rows[held >= LEAST], rows[held == 2], rows[held == 1]]
