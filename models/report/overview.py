"""Contents of a root as plain data for the report: counts, failures, stores, charts of labels, sample pictures."""

import base64
import json
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelmill.models.core import charts
from reelmill.models.data.sources import counted, shared_ids
from reelmill.storage import Outcomes, Root, Tables, cache, parts
from reelmill.storage.errors import StoreError
from reelmill.storage.features import NO_DATA, PADDED, VALID

PICTURES = 24
USERS_SHOWN = 2
EXAMPLES = 3


def corpus(tables: Tables, labels: pa.Table) -> dict[str, Any]:
    """Counts of the tables, and lengths, sizes and codecs of the media."""
    media = tables.read("media")
    events, grid = tables.read("events", ["user_id", "kind"]), tables.read("segments", ["video_id"])
    kinds = {v["values"]: v["counts"] for v in pc.value_counts(events["kind"]).to_pylist()}
    durations = media["duration_ms"].to_numpy()
    sizes = [f"{w} × {h}" for w, h in zip(media["width"].to_pylist(), media["height"].to_pylist(), strict=True)]
    return {
        "videos": tables.read("videos", ["video_id"]).num_rows,
        "media": media.num_rows,
        "hours": float(durations.sum()) / 3.6e6,
        "bytes": pc.sum(media["bytes"]).as_py() or 0,
        "shortest": int(durations.min()) if len(durations) else 0,
        "median": int(np.median(durations)) if len(durations) else 0,
        "longest": int(durations.max()) if len(durations) else 0,
        "silent": media["audio_rate"].null_count,
        "variable": pc.sum(media["variable_rate"]).as_py() or 0,
        "sizes": _common(sizes),
        "codecs": _common(media["codec"].to_pylist()),
        "segments": grid.num_rows,
        "gridded": len(pc.unique(grid["video_id"])),
        "labels": labels.num_rows,
        "users": len(pc.unique(events["user_id"])),
        "users_with_labels": len(pc.unique(labels["user_id"])),
        "events": events.num_rows,
        "kinds": kinds,
    }


def _common(values: list[str], most: int = 3) -> str:
    """`h264 (20), vp9 (4)`: the most frequent values."""
    counts = Counter(values)
    text = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(most))
    return text + (f", {len(counts) - most} more" if len(counts) > most else "")


def sources(root: Root) -> dict[str, Any]:
    """Each source with its events by kind, users and videos; and which of the sources share ids."""
    events = root.tables.read("events", ["source", "kind", "user_id", "video_id"])
    rows = []
    for name, count in counted(root).items():
        mine = events.filter(pc.equal(events["source"], name))
        kinds = {v["values"]: v["counts"] for v in pc.value_counts(mine["kind"]).to_pylist()}
        users, videos = (pc.count_distinct(mine[column]).as_py() for column in ("user_id", "video_id"))
        rows.append({"name": name, "events": count, "kinds": kinds, "users": users, "videos": videos})
    return {"rows": rows, "shared": [str(shared) for shared in shared_ids(root)]}


def rejects(tables: Tables) -> list[dict[str, Any]]:
    """Rejected source rows: one dict for each reason, the most frequent first, with its first row."""
    table = tables.read("rejects", ["reason", "source_row", "detail"]).sort_by("source_row")
    groups = table.group_by("reason", use_threads=False).aggregate(
        [([], "count_all"), ("source_row", "first"), ("detail", "first")]
    )
    rows = [
        {
            "reason": r["reason"],
            "count": r["count_all"],
            "row": r["source_row_first"],
            "detail": r["detail_first"] or "",
        }
        for r in groups.to_pylist()
    ]
    return sorted(rows, key=lambda r: (-r["count"], r["reason"]))


def stores(root: Root) -> list[dict[str, Any]]:
    """One dict for each feature store: its spec, its rows by mask, the share of all segments that it covers."""
    grid = root.tables.read("segments", ["segment_index"]).num_rows
    found: list[dict[str, Any]] = []
    for name in root.features.list():
        try:
            store = root.features.open(name)
        except StoreError as error:
            found.append({"name": name, "wrong": str(error)})
            continue
        sizes = parts.files(store.folder)
        masks: dict[str, np.ndarray] = {}  # a newer shard overwrites, as it does for a reader
        for shard in store.shards:
            for video, a, b in zip(shard.video_ids, shard.index.row_start, shard.index.row_stop, strict=True):
                masks[video] = np.bincount(shard.mask[a:b], minlength=3)
        rows = np.sum(list(masks.values()), axis=0)
        spec = json.loads(store.spec.to_json())
        found.append(
            {
                "name": name,
                "wrong": "",
                "spec": spec,
                "random": spec["weights"].startswith("random"),
                "videos": len(masks),
                "rows": int(rows.sum()),
                "valid": int(rows[VALID]),
                "padded": int(rows[PADDED]),
                "masked": int(rows[NO_DATA]),
                "share": rows.sum() / grid if grid and spec["rows"] == "segment" else None,
                "bytes": sum(sizes.get(shard.path.name, 0) for shard in store.shards),
            }
        )
    return found


def outcomes(log: Outcomes) -> list[dict[str, Any]]:
    """The newest outcome of each thing attempted, by stage and store: how many are done, failures and warnings by
    class."""
    stages: dict[tuple[str, str], dict[str, Any]] = {}
    for row in log.newest(["status", "error_class", "permanent", "message"]).to_pylist():
        stage, spec = row["stage"], row["spec"] or ""
        here = stages.setdefault((stage, spec), {"stage": stage, "spec": spec, "done": 0, "failed": 0, "warned": 0,
                                                  "classes": {}})  # fmt: skip
        if row["status"] == "done":
            here["done"] += 1
            continue
        here[row["status"]] += 1
        name = row["error_class"] or "unknown"
        failures = here["classes"].setdefault(
            name, {"count": 0, "permanent": row["permanent"], "warned": row["status"] == "warned", "examples": []}
        )
        failures["count"] += 1
        if len(failures["examples"]) < EXAMPLES:
            message = (row["message"] or "").strip().splitlines()
            failures["examples"].append({"key": row["key"], "message": message[-1][:300] if message else ""})
    return list(stages.values())


def label_charts(tables: Tables, labels: pa.Table) -> dict[str, Any]:
    """Charts of the labels; none if there are none."""
    if not labels.num_rows:
        return {}
    index = tables.read("segments", ["segment_index"])["segment_index"].to_numpy()
    cells = np.bincount(index)
    liked = np.bincount(labels["segment_index"].to_numpy(), minlength=len(cells))[: len(cells)]
    often = cells >= max(1, cells.max(initial=0) // 10)  # where only few videos reach, a mean says nothing
    mean = liked[often] / cells[often]
    per_user = labels.group_by("user_id").aggregate([([], "count_all")])["count_all"].to_numpy()
    per_segment = labels.group_by(["video_id", "segment_index"]).aggregate([([], "count_all")])["count_all"].to_numpy()
    return {
        "position": charts.bars(mean, 0, "segment of the video, from its start", "labels a segment"),
        "user": charts.histogram(per_user, "labels of a user", "users"),
        "segment": charts.histogram(per_segment, "users who like the segment", "segments"),
        "liked": len(per_segment),
        "segments": len(index),
    }


def samples(tables: Tables, labels: pa.Table) -> list[dict[str, Any]]:
    """Segments with a picture: the most liked ones, and some of the least liked, in rounds over the videos."""
    frames = tables.read("frames", ["video_id", "segment_index", "time_ms"])
    grid = tables.read("segments", ["video_id", "segment_index", "start_ms", "stop_ms"])
    here = frames.join(grid, ["video_id", "segment_index"], join_type="inner")  # a picture of an older grid shows
    inside = pc.and_(  # another piece of the video
        pc.greater_equal(here["time_ms"], here["start_ms"]), pc.less(here["time_ms"], here["stop_ms"])
    )
    here = here.filter(inside)
    keys = list(zip(here["video_id"].to_pylist(), here["segment_index"].to_pylist(), strict=True))
    groups = labels.group_by(["video_id", "segment_index"]).aggregate([([], "count_all")])
    likes = dict.fromkeys(keys, 0)
    for video, index, count in zip(*(column.to_pylist() for column in groups.columns), strict=True):
        if (video, index) in likes:
            likes[video, index] = count
    ranked = sorted(likes, key=lambda key: (-likes[key], key))
    most = _spread(ranked, PICTURES // 2)
    least = _spread([key for key in reversed(ranked) if key not in set(most)], PICTURES - len(most))

    shown = pa.array(sorted({video for video, _ in [*most, *least]}), pa.string())
    titles, users = (_of_videos(tables.read(name), shown) for name in ("videos", "labels"))
    title = {row["video_id"]: row["title"] for row in titles}
    times = {
        (row["video_id"], row["segment_index"]): (row["start_ms"], row["stop_ms"]) for row in _of_videos(grid, shown)
    }
    fans: dict[tuple[str, int], list[str]] = {}
    for row in users:
        fans.setdefault((row["video_id"], row["segment_index"]), []).append(row["user_id"])
    pictures = _pictures(tables, {*most, *least})

    def card(key: tuple[str, int]) -> dict[str, Any]:
        mine = sorted(fans.get(key, []))
        return {
            "video": key[0], "title": title.get(key[0]) or key[0], "segment": key[1], "times": times.get(key),
            "likes": len(mine), "users": mine[:USERS_SHOWN], "more": max(0, len(mine) - USERS_SHOWN),
            "picture": pictures[key],
        }  # fmt: skip

    return [
        {"name": name, "cards": [card(key) for key in chosen]}
        for name, chosen in (("Most liked", most), ("Least liked", least))
        if chosen
    ]


def _of_videos(table: pa.Table, videos: pa.Array) -> list[dict[str, Any]]:
    return table.filter(pc.is_in(table["video_id"], value_set=videos)).to_pylist()


def _spread(ranked: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """The first `count` keys, in rounds that take one of each video at most."""
    rounds: dict[str, int] = {}
    turn = {}
    for key in ranked:
        turn[key] = rounds[key[0]] = rounds.get(key[0], -1) + 1
    return sorted(ranked, key=turn.__getitem__)[:count]


def _pictures(tables: Tables, keys: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Pictures of these segments as data URIs. Part by part: all pictures of a root may not fit into memory."""
    found = {}
    wanted = sorted({video for video, _ in keys})
    for path in parts.list_parts(tables.folder / "frames", ".parquet") if wanted else []:
        columns = ["video_id", "segment_index", "jpeg"]
        of_these = partial(pq.read_table, columns=columns, filters=[("video_id", "in", wanted)])
        for row in cache.reading(path, of_these).to_pylist():
            if (key := (row["video_id"], row["segment_index"])) in keys:  # a newer part overwrites
                found[key] = "data:image/jpeg;base64," + base64.b64encode(row["jpeg"]).decode()
    return found
