"""`reelmill compact`: merges many small parts into few large ones, and drops blocks that newer parts replaced.

Safe at any moment, beside readers and writers: the merged part takes the age of the newest part that it replaces, so
everything written meanwhile is newer; the old parts are removed when it is complete. A crash in between leaves
duplicates, which readers ignore and the next run removes. A store that is open may have to be opened again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reelmill.storage import parts
from reelmill.storage.features import open_store
from reelmill.storage.place import AnyRoot
from reelmill.storage.shards import SUFFIX, SUFFIXES, Shard
from reelmill.storage.store import FeatureStore
from reelmill.storage.writer import FeatureWriter


@dataclass(frozen=True)
class Compacted:
    """What `compact` did to one store."""

    parts_before: int
    parts_after: int
    dropped: int
    """Blocks removed because a newer one of the same video counts."""


def compact(root: AnyRoot, name: str, shard_bytes: int = 256 << 20) -> Compacted:
    """Merge the shards of a store that are under half of `shard_bytes`, and those with blocks that newer ones
    replaced. Shards are verified first, since the merged ones get a checksum of their own. Raises CorruptPart."""
    try:
        return _compact(root, name, shard_bytes)
    except FileNotFoundError:
        return compact(root, name, shard_bytes)  # another process compacts it too: start again


def _compact(root: AnyRoot, name: str, shard_bytes: int) -> Compacted:
    store = open_store(root, name)
    if wrong := store.verify():
        raise wrong[0]
    live = {shard: store.live(shard) for shard in store.shards}
    small, dropped = _to_merge(store, live, shard_bytes)
    before = len(store.shards)
    if not small:
        return Compacted(before, before, 0)
    age = max(parts.sequence(shard.path) for shard in small)
    format = next(format for format, suffix in SUFFIX.items() if suffix == small[-1].path.suffix)
    with FeatureWriter(root, store.spec, format, shard_bytes, 1 << 20, sequence=age) as writer:
        for shard in small:
            for place in live[shard]:
                writer.add(shard.block(place))
    there = set(parts.list_parts(store.folder, SUFFIXES))
    for shard in small:
        parts.remove(shard.path)
    if not there.issuperset(shard.path for shard in small):  # another process merged them too: merge both results
        return replace(compact(root, name, shard_bytes), parts_before=before, dropped=dropped)
    return Compacted(before, len(parts.list_parts(store.folder, SUFFIXES)), dropped)


def planned(root: AnyRoot, name: str, shard_bytes: int = 256 << 20) -> Compacted:
    """What `compact` would do; an estimate, since the last shard may be smaller."""
    store = open_store(root, name)
    live = {shard: store.live(shard) for shard in store.shards}
    small, dropped = _to_merge(store, live, shard_bytes)
    sizes = parts.files(store.folder)
    kept = sum(len(live[s]) / max(len(s.video_ids), 1) * sizes.get(s.path.name, 0) for s in small)
    merged = -(-int(kept) // shard_bytes)
    return Compacted(len(store.shards), len(store.shards) - len(small) + merged, dropped)


def _to_merge(store: FeatureStore, live: Mapping[Shard, Sequence[int]], shard_bytes: int) -> tuple[list[Shard], int]:
    """The shards to merge (none if it is not worth it), and how many of their blocks were replaced by newer ones."""
    dead = {shard: len(shard.video_ids) - len(live[shard]) for shard in store.shards}
    sizes = parts.files(store.folder)
    small = [s for s in store.shards if dead[s] or sizes.get(s.path.name, 0) < shard_bytes // 2]
    dropped = sum(dead.values())
    return (small, dropped) if len(small) > 1 or dropped else ([], 0)
