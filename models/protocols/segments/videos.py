"""Interactions whose items are whole videos: who touched which video, and one vector for each.

TransGRec embeds whatever has a vector. With a store of segments its items are segments, and labels are its positives;
with a store that has one row a video, its items are videos, and events are its positives: those of kind `rating`, or
`highlight` and `watch` events in a root without any, as for the models that rank videos.
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from reelmill.models.data.events import NO_TIME, newest, read_events
from reelmill.models.protocols.segments import data
from reelmill.models.protocols.segments.data import Counts, Interactions
from reelmill.storage import FeatureStore, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA


def load(root: str | Path, features: str) -> Interactions:
    """Segments and labels, or whole videos and events, as the rows of the store have it. Raises InputError."""
    store = open_store(root, features)
    return _whole(root, store) if store.spec.rows == "video" else data.load(root, features)


def _whole(root: str | Path, store: FeatureStore) -> Interactions:
    """Each video with a usable vector as one segment, with the index 0. Raises InputError if there is none."""
    events, _ = read_events(Tables(root), root)
    users, touched = (sorted(pc.unique(events[name]).to_pylist()) for name in ("user_id", "video_id"))
    pair, _, time, part = newest(events, users, touched)
    user, video = np.divmod(pair, len(touched))
    usable, not_finite, digest = _usable(store, touched)
    kept = usable[video]
    if not kept.any():
        raise InputError(f"{store.spec.name} holds no usable vector of a video with events; extract them first")
    alive, user, number = np.unique(user[kept]), user[kept], (np.cumsum(usable) - 1)[video[kept]]
    user, videos = np.searchsorted(alive, user), [touched[v] for v in np.flatnonzero(usable)]
    time = time[kept]
    seen = np.lexsort((number, time, user))
    dated = np.ones(len(alive), bool)
    dated[user[time == NO_TIME]] = False
    counts = Counts(
        users=len(alive),
        videos=len(videos),
        segments=len(videos),
        positives=len(user),
        users_without_positives=len(users) - len(alive),
        videos_without_features=len(touched) - len(videos),
        segments_without_features=len(touched) - len(videos),
        segments_not_finite=not_finite,
        labels_without_features=int((~kept).sum()),
        labels_repeated=events.num_rows - len(pair),
        views_without_event=0,
        users_ordered_by_row=int((~dated).sum()),
    )
    every, names = np.arange(len(videos)), [users[u] for u in alive]
    arrays = (every, np.zeros_like(every), user, number, part[kept], user[seen], number[seen])
    rows = store.locate((name, 0) for name in videos)
    said = data.fingerprint(store, [*names, "", *videos], arrays, digest)
    return Interactions(names, videos, *arrays, store, rows, counts, said)


def _usable(store: FeatureStore, videos: list[str]) -> tuple[np.ndarray, int, bytes]:
    """(n,) bool: has the store a vector of this video? How many of them are not finite, and a digest of the vectors."""
    usable, not_finite, sha = np.zeros(len(videos), bool), 0, hashlib.sha256()
    for place, video in enumerate(videos):  # a block is a view of the memory map: one read for each video
        if video in store:
            block = store.read(video)
            valid, finite = bool(block.mask[0] > NO_DATA), bool(np.isfinite(block.features[0]).all())
            usable[place], not_finite = valid and finite, not_finite + (valid and not finite)
            sha.update(np.ascontiguousarray(block.features).view(np.uint8).data)
    return usable, not_finite, sha.digest()
