"""What is there: each stage and store, failures by class, rows of each table."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from reelmill.extractors.registry import EXTRACTORS, reads_text
from reelmill.flows.jobs.failures import Failure, Warned, newest_failures_and_warnings
from reelmill.pipeline.download.breaker import PausedHost, paused_hosts
from reelmill.pipeline.download.fetch import hosts_folder
from reelmill.pipeline.download.ingest import missing_media
from reelmill.storage import Tables
from reelmill.storage.features import FeatureStore, list_stores, open_store
from reelmill.storage.schema import SCHEMAS

EXAMPLES = 3
"""Keys named of each class of failures."""


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is."""

    of: str
    """What is counted."""
    done: int
    missing: int
    failed: int


@dataclass(frozen=True)
class StoreStatus:
    """What a feature store holds."""

    videos: int
    """Or users, as `of` says."""
    of: str
    missing: int
    failed: int
    rows: int
    dim: int


@dataclass(frozen=True)
class StatusResult:
    """What a root holds."""

    root: str
    stages: dict[str, StageStatus]
    stores: dict[str, StoreStatus]
    failures: dict[str, int]
    """By stage, store and class."""
    examples: dict[str, list[str]]
    """A few keys of each of these."""
    newest_failures: list[Failure]
    tables: dict[str, int]
    """Rows of each."""
    warnings: list[Warned] = field(default_factory=list)
    """Files that are used although their facts contradict each other."""
    paused: list[PausedHost] = field(default_factory=list)
    """Hosts of which this machine asks nothing for now."""


def status(root: str) -> StatusResult:
    """Of each stage and store how many are done, how many are missing, how many of these have failed; failures by class
    with examples; rows of each table."""
    tables, (failed, warned) = Tables(root), newest_failures_and_warnings(root)
    rows = {name: tables.read(name, [SCHEMAS[name].names[0]]).num_rows for name in SCHEMAS}
    media = tables.units("media")
    videos = tables.read("videos", ["video_id", "url"])
    linked = set(videos.filter(pc.is_valid(videos["url"]))["video_id"].to_pylist())
    missing = {wanted.video_id for wanted in missing_media(root, retry=True)}
    of_stage = Counter(one.stage for one in failed if one.spec is None)
    labelled = tables.units("segments")
    stages = {
        "download": StageStatus("videos", len((linked | media) - missing), len(missing), of_stage["download"]),
        "segments": StageStatus("videos", len(labelled), len(media - labelled), of_stage["segments"]),
    }
    examples: dict[str, list[str]] = {one.kind: [] for one in failed}
    for one in failed:
        if len(examples[one.kind]) < EXAMPLES:
            examples[one.kind].append(one.key)
    of_store = Counter(one.spec for one in failed)
    units = {"segment": media, "window": media, "video": media}
    stores = {name: _store(root, open_store(root, name), units, of_store[name]) for name in list_stores(root)}
    by_kind = dict(Counter(one.kind for one in failed))
    return StatusResult(root, stages, stores, by_kind, examples, failed, rows, warned, paused_hosts(hosts_folder(root)))


def _store(root: str, store: FeatureStore, units: dict[str, set[str]], failed: int) -> StoreStatus:
    """A store's figures. `units`: what could be in it, by what a row is; that of texts and posts is looked up."""
    spec = store.spec
    of_text = spec.extractor in EXTRACTORS and reads_text(spec.extractor)
    kind = "posts" if spec.rows == "post" else "texts" if of_text else spec.rows
    if kind not in units:
        tables = Tables(root)
        events = tables.read("events", ["user_id", "kind", "time"]) if kind == "posts" else None
        units[kind] = tables.units("videos") if events is None else _posters(events)
    missing = units[kind] - set(store.keys())
    lengths = ((shard, shard.index.row_stop - shard.index.row_start) for shard in store.shards)
    rows = sum(int(length[store.live(shard)].sum()) for shard, length in lengths)
    return StoreStatus(len(store), "users" if kind == "posts" else "videos", len(missing), failed, rows, spec.dim)


def _posters(events: Any) -> set[str]:
    """Users with posts that have a time."""
    return set(
        events.filter(pc.and_(pc.equal(events["kind"], "post"), pc.is_valid(events["time"])))["user_id"].to_pylist()
    )
