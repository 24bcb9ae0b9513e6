"""What is there: each stage and store, failures by class, rows of each table."""

from collections import Counter
from typing import Any

import pyarrow.compute as pc

from reelmill.flows.jobs import steps
from reelmill.pipeline.download.ingest import missing_media
from reelmill.storage import Tables
from reelmill.storage.features import FeatureStore, list_stores, open_store
from reelmill.storage.schema import SCHEMAS

EXAMPLES = 3
"""Keys named of each class of failures."""


def status(root: str) -> dict[str, Any]:
    """What is there, per stage and store: how many are done, how many are missing, how many of these have failed;
    failures by class with examples; rows of each table."""
    tables, failed = Tables(root), steps.newest_failures(root)
    rows = {name: tables.read(name, [SCHEMAS[name].names[0]]).num_rows for name in SCHEMAS}
    media = tables.units("media")
    videos = tables.read("videos", ["video_id", "url"])
    linked = set(videos.filter(pc.is_valid(videos["url"]))["video_id"].to_pylist())
    lacking = {wanted.video_id for wanted in missing_media(root, retry=True)}
    of_stage = Counter(row["stage"] for row in failed if row["spec"] is None)
    labelled = tables.units("segments")
    stages = {
        "download": {"of": "videos", "done": len((linked | media) - lacking), "missing": len(lacking)},
        "segments": {"of": "videos", "done": len(labelled), "missing": len(media - labelled)},
    }
    counts = Counter(_kind(row) for row in failed)
    keys: dict[str, list[str]] = {kind: [] for kind in counts}
    for row in failed:
        if len(keys[_kind(row)]) < EXAMPLES:
            keys[_kind(row)].append(row["key"])
    of_store = Counter(row["spec"] for row in failed)
    units = {"segment": media, "window": media, "video": media}
    return {
        "root": root,
        "stages": {name: {**stage, "failed": of_stage[name]} for name, stage in stages.items()},
        "stores": {name: _store(root, open_store(root, name), units, of_store[name]) for name in list_stores(root)},
        "failures": dict(counts), "examples": keys, "newest_failures": failed, "tables": rows,
    }  # fmt: skip


def _store(root: str, store: FeatureStore, units: dict[str, set[str]], failed: int) -> dict[str, Any]:
    """A store's figures. `units`: what could be in it, by what a row is; that of texts and posts is looked up."""
    spec = store.spec
    kind = "posts" if spec.rows == "post" else "texts" if spec.extractor in ("text", "topics") else spec.rows
    if kind not in units:
        tables = Tables(root)
        events = tables.read("events", ["user_id", "kind", "time"]) if kind == "posts" else None
        units[kind] = tables.units("videos") if events is None else _posters(events)
    lacking = units[kind] - set(store.keys())
    lengths = ((shard, shard.index.row_stop - shard.index.row_start) for shard in store.shards)
    rows = sum(int(length[store.live(shard)].sum()) for shard, length in lengths)
    return {
        "videos": len(store), "of": "users" if kind == "posts" else "videos", "missing": len(lacking),
        "failed": failed, "rows": rows, "dim": spec.dim,
    }  # fmt: skip


def _posters(events: Any) -> set[str]:
    """Users with posts that have a time."""
    return set(
        events.filter(pc.and_(pc.equal(events["kind"], "post"), pc.is_valid(events["time"])))["user_id"].to_pylist()
    )


def _kind(failure: dict[str, Any]) -> str:
    return f"{' '.join(filter(None, (failure['stage'], failure['spec'])))}: {failure['class']}"
