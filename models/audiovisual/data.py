"""Pictures, sound and class names of videos: two stores and the table `videos` of a root as arrays.

A video counts if the table has a name that may be its class, and the store of pictures a usable row of it; its sound
may be missing. What is left out is counted, in `counts`.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from reelmill.models.audiovisual.settings import MODALITIES
from reelmill.models.data.accounts import Account
from reelmill.models.data.columns import LISTS, NAMES, Column, video_columns
from reelmill.models.data.vectors import mean_vectors
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class Clips:
    """Videos are numbers; the list holds their ids."""

    videos: list[str]
    """N video ids, sorted."""
    picture: np.ndarray
    """(N, ·) float32, mean over the usable rows."""
    sound: np.ndarray
    """(N, ·) float32; NaN of a video without a usable row."""
    named: dict[str, Column]
    """{column of the table: codes (N, Q) and their names}, of the columns that say anything."""
    stores: dict[str, str]
    """{role: name of the feature store}."""
    counts: dict[str, int]
    fingerprint: str
    """64 hex digits: hash of the ids, the names, all vectors and the specs of the stores."""
    accounts: tuple[Account, ...] = ()
    """Where the rows of the tables went."""


def load(root: AnyRoot, picture: str, sound: str) -> Clips:
    """Read the table and both stores. Raises InputError if no video has a name of a class, or one of the stores has no
    usable row of those that have."""
    root = Root(root)
    tables = root.tables
    videos = sorted(tables.units("videos"))
    every = len(videos)
    if root.sources:
        met = set(tables.read("events", ["video_id"])["video_id"].to_pylist())
        videos = [video for video in videos if video in met]
    named = [column for column in video_columns(tables, videos) if column.name in (*LISTS, *NAMES)]
    has_name = np.zeros(len(videos), bool)
    for column in named:
        has_name |= (column.table >= 0).any(1)
    if not has_name.any():
        raise InputError(
            f"no video of {root} has categories, tags or an uploader, of which its class could be made; ingest a "
            "source that names them (source.mapping), or download the videos from pages that do (reelmill ingest)"
        )
    counts = {"videos": len(videos), "videos_without_a_name": int((~has_name).sum())}
    chosen = [videos[n] for n in np.flatnonzero(has_name)]
    vectors, specs, stores = {}, [], {}
    for role, name in zip(MODALITIES, (picture, sound), strict=True):
        store = root.features.open(name)
        vectors[role], lost = mean_vectors(store, chosen)
        counts |= {f"{what}_{role}".replace("items", "videos"): number for what, number in lost.items()}
        specs.append(store.spec.to_json())
        stores[role] = store.spec.name
    seen = ~np.isnan(vectors["picture"][:, 0])
    kept, place = [chosen[n] for n in np.flatnonzero(seen)], np.flatnonzero(has_name)[seen]
    classes = {c.name: Column(c.name, c.kind, c.side, c.table[place], c.names) for c in named}
    both = {role: table[seen] for role, table in vectors.items()}
    if np.isnan(both["sound"][:, 0]).all():
        raise InputError(f"no video has both a picture in {stores['picture']} and sound in {stores['sound']}")
    sha = hashlib.sha256("\0".join([*kept, "", *specs]).encode())
    for column in classes.values():
        sha.update("\0".join([column.name, *column.names, str(column.table.shape)]).encode() + column.table.tobytes())
    for table in both.values():
        sha.update(table.tobytes())
    left_out = {
        "videos_of_other_sources": every - len(videos),
        **{name: counts[name] for name in ("videos_without_a_name", "videos_without_picture")},
    }
    account = Account("videos", every, len(kept), left_out)
    return Clips(kept, both["picture"], both["sound"], classes, stores, counts, sha.hexdigest(), (account,))
