"""Who has what, and what it looks like: the events of a root, and a vector for each item, as arrays.

**Positives.** The events of `data.events`, ratings from the setting `liked` on; of one user and item the newest counts.

**What an item looks like.** The mean of the usable rows that the store has of it, whatever a row is.

What is left out is counted, in `counts`.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from reelmill.models.data.events import NO_TIME, PARTS, Newest
from reelmill.models.data.pairs import Pairs
from reelmill.models.data.vectors import mean_vectors
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

LEAST = 3
"""Positives that a user needs to give one to the test and one to the validation."""


@dataclass(frozen=True)
class Positives(Newest):
    """Interactions, of which it is a setting which are positives, and what their items look like."""

    features: np.ndarray | None
    """(items, dim) float32, NaN for an item of which the store has no usable row; None without a store."""
    stores: dict[str, str]
    """{role: name of the feature store}, empty without one."""
    counts: dict[str, int]
    fingerprint: str
    """64 hex digits: hash of the ids, all arrays, and the spec of the store."""


def load(root: AnyRoot, features: str = "") -> Positives:
    """Read events and, if it is named, one store. Raises InputError if there is no event, or the store has no usable
    row of any item."""
    root = Root(root)
    newest = Newest.read(root)
    if not newest.rated:
        newest = replace(newest, value=np.full(len(newest.user), np.nan))
    counts = {"events": newest.events, "events_repeated": newest.repeated}
    sha = hashlib.sha256("\0".join([*newest.users, "", *newest.items]).encode())
    stores, vectors = {}, None
    if features:
        store = root.features.open(features)
        vectors, missing = mean_vectors(store, newest.items)
        counts |= missing
        stores["features"] = store.spec.name
        sha.update(store.spec.to_json().encode() + vectors.tobytes())
    for array in newest.arrays:
        sha.update(array.tobytes())
    return Positives(**vars(newest), features=vectors, stores=stores, counts=counts, fingerprint=sha.hexdigest())


@dataclass(frozen=True)
class Split:
    """Positives in parts. Users have the model's numbers, 0 … M − 1; items of the training come first, 0 … N − 1, then
    those that no training positive names, N … N + C − 1."""

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
    """Training, validation and test: the newest positive of each user with at least `LEAST` tests, the one before it
    validates; equal times at random."""
    if undated := int((data.time[rows] == NO_TIME).sum()):
        raise InputError(f"split last: {undated} of {len(rows)} events have no time; say split: random")
    rows = rng.permutation(rows)
    rows = rows[np.lexsort((data.time[rows], data.user[rows]))]
    user = data.user[rows]
    count = np.bincount(user)[user]
    left = np.searchsorted(user, user, side="right") - np.arange(len(rows))  # 1 for the newest
    held = np.where(count >= LEAST, left, LEAST)
    return [rows[held >= LEAST], rows[held == 2], rows[held == 1]]
