"""Interactions whose items are whole videos: who touched which video, and one vector for each.

TransGRec embeds whatever has a vector. With a store of segments its items are segments, and labels are its positives;
with a store that has one row a video, its items are videos, and the events of `data.events` are its positives.
"""

import numpy as np

from reelmill.models.data.accounts import Account
from reelmill.models.data.events import NO_TIME, Newest
from reelmill.models.data.scale import Scale
from reelmill.models.data.vectors import VectorDigest, blocks, fingerprint, usable
from reelmill.models.protocols.segments import data
from reelmill.models.protocols.segments.data import Counts, Interactions
from reelmill.storage import FeatureStore, Root
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA
from reelmill.storage.place import AnyRoot


def load(root: AnyRoot, features: str) -> Interactions:
    """Segments and labels, or whole videos and events, as the rows of the store have it. Raises InputError."""
    root = Root(root)
    store = root.features.open(features)
    return _whole(root, store) if store.spec.rows == "video" else data.load(root, features)


def _whole(root: Root, store: FeatureStore) -> Interactions:
    """Each video with a usable vector as one segment, with the index 0. Raises InputError if there is none."""
    newest = Newest.read(root)
    there, not_finite, digest = _usable(store, newest.items)
    yes = Scale.chosen(newest.value) if newest.rated else np.ones(len(newest.user), bool)
    kept = there[newest.item] & yes
    if not kept.any():
        raise InputError(f"{store.spec.name} holds no usable vector of a video with events; extract them first")
    alive, user = np.unique(newest.user[kept], return_inverse=True)
    number, time = (np.cumsum(there) - 1)[newest.item[kept]], newest.time[kept]
    videos = [newest.items[v] for v in np.flatnonzero(there)]
    seen = np.lexsort((number, time, user))
    missing = len(newest.items) - len(videos)
    counts = Counts(
        users=len(alive),
        videos=len(videos),
        segments=len(videos),
        positives=len(user),
        users_without_positives=len(newest.users) - len(alive),
        videos_without_features=missing,
        segments_without_features=missing,
        segments_not_finite=not_finite,
        labels_without_features=int((yes & ~kept).sum()),
        labels_repeated=newest.repeated,
        views_without_event=0,
        users_ordered_by_row=len(np.unique(user[time == NO_TIME])),
    )
    every, names = np.arange(len(videos)), [newest.users[u] for u in alive]
    arrays = (every, np.zeros_like(every), user, number, newest.part[kept], user[seen], number[seen])
    rows = store.locate((name, 0) for name in videos)
    print_ = fingerprint(store, [*names, "", *videos], arrays, digest, lengths=False)
    (read,) = newest.accounts
    left_out = {**read.left_out, "events_without_features": int((yes & ~kept).sum())}
    left_out["ratings_that_say_no"] = int((~yes).sum())
    account = Account("events", read.read, len(user), left_out)
    return Interactions(names, videos, *arrays, store, rows, counts, print_, (account,))


def _usable(store: FeatureStore, videos: list[str]) -> tuple[np.ndarray, int, bytes]:
    """(n,) bool: has the store a usable vector of this video? How many vectors are not finite, and a digest of all."""
    there, not_finite, digest = np.zeros(len(videos), bool), 0, VectorDigest(store.spec.dim)
    for place, block in blocks(store, videos):
        there[place] = usable(block)[0]
        not_finite += bool(block.mask[0] > NO_DATA) and not there[place]
        digest.add(block.features)
    return there, not_finite, digest.digest()
