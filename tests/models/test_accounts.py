"""Every row that a loader reads is used or counted under the rule that leaves it out, whatever the recommender; and so
is every pair that a protocol divides."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from reelmill.models import train
from reelmill.models.baselines.vbpr import BPRSettings
from reelmill.models.data.accounts import Account
from reelmill.models.registry import RECOMMENDERS, find, world_of
from reelmill.storage import Root, Tables
from reelmill.storage.schema import EVENT_KINDS

CPU = torch.device("cpu")
NAMES = list(RECOMMENDERS)


def dirty(root: Path) -> None:
    """Put rows of every kind into a planted root that some rule or other leaves out: without a time or a range, of
    videos and users that nothing else names, said twice."""
    events = Tables(root).read("events").to_pylist()
    own = [e for e in events if e["video_id"]][:40]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    rows: list[dict[str, Any]] = []
    for kind in EVENT_KINDS:
        for n, one in enumerate(own):
            video = "" if kind == "post" else one["video_id"]
            base = {"user_id": one["user_id"], "video_id": video, "kind": kind, "value": None, "text": None}
            said = {**base, "time": when if n % 2 else None, "start_ms": 1000 * (n % 5), "stop_ms": 1000 * (n % 7)}
            if kind == "frame_like":
                said["stop_ms"] = None
            if kind == "rating":
                said["value"] = 4.0
            if n % 4 == 0:
                said["user_id"] = f"stranger {n}"
            if n % 5 == 0 and kind != "post":
                said["video_id"] = f"never seen {n}"
            rows += [said, said]
    keep = {"rating", "post"} & {e["kind"] for e in events}  # ratings would take the place of what the world has
    rows = [row for row in rows if row["kind"] not in {"rating", "post"} - keep]
    Tables(root).write("events", [{**row, "source": "planted", "source_row": 10**6 + n} for n, row in enumerate(rows)]
                       + events)  # fmt: skip


def loaded(name: str, folder: Path) -> tuple[Root, Any, Any]:
    """The dirty world of a recommender: root, data and settings."""
    world = world_of(name)
    written = world.planted.write(folder, world.planted.knobs(**world.planted.small))
    dirty(folder)
    recommender = find(name)
    stores = world.stores(written)
    roles = {role: stores.get(role, "" if role in recommender.optional else default)
             for role, default in recommender.roles.items()}  # fmt: skip
    settings = recommender.settings.from_dict({**world.options, "epochs": 1})
    return Root(folder), recommender.load(folder, **roles), settings


@pytest.mark.parametrize("name", NAMES)
def test_rows_read_are_rows_used_and_rejects_by_rule(name: str, tmp_path: Path) -> None:
    root, data, _ = loaded(name, tmp_path)
    assert data.accounts
    for account in data.accounts:
        assert account.read == root.tables.read(account.what).num_rows > 0, account
        assert account.balanced, account
        assert all(count >= 0 for count in account.left_out.values()), account
    by_table = {account.what: account for account in data.accounts}
    if "events" in by_table:
        left = by_table["events"].left_out
        kinds = {k["values"]: k["counts"] for k in pc.value_counts(root.tables.read("events")["kind"]).to_pylist()}
        for kind in EVENT_KINDS:
            if f"events_unused_{kind}" in left:
                assert left[f"events_unused_{kind}"] == kinds[kind]
        assert sum(n > 0 for n in left.values()) >= 2, "the dirt is seen"


def kinds(folder: Path, watches: int, ratings: int) -> Root:
    rows = [
        {"user_id": f"u{n % 20}", "video_id": f"v{n // 20}", "kind": kind, "source": "s",
         "source_row": n + 1 + 1000 * (kind == "watch"), "value": 5.0 if kind == "rating" else None}
        for kind, count in (("watch", watches), ("rating", ratings)) for n in range(count)
    ]  # fmt: skip
    Tables(folder).write("events", rows)
    return Root(folder)


def test_watches_beside_ratings_are_counted(tmp_path: Path) -> None:
    """480 watches, then 40 ratings: the watches do not count, and are not forgotten."""
    settings = BPRSettings(epochs=1, dim=4, test_share=0.2)
    found = train(kinds(tmp_path, 480, 40), settings=settings, model="bpr", logger="none", pictures=False).counts
    assert (found["events_read"], found["events_used"], found["events_unused_watch"]) == (520, 40, 480)
    assert found["events"] == 40


def test_an_account_that_does_not_balance_says_so() -> None:
    assert Account("events", 5, 2, {"a": 3}).balanced
    assert not Account("events", 5, 2, {"a": 2}).balanced
    assert Account("events", 5, 2, {"a": 3}).counts() == {"events_read": 5, "events_used": 2, "a": 3}


def total(*names: str) -> Callable[[dict[str, int]], int]:
    return lambda counts: sum(counts[name] for name in names)


PARTS = ("train", "validation", "test")
DIVIDED: dict[str, tuple[Callable[[Any], int], Callable[[dict[str, int]], int]]] = {
    "fm": (
        lambda data: len(data.user),
        total(*(f"{part}_examples" for part in PARTS), "ratings_between", "ratings_without_value", "low_ratings_unused",
              "events_of_no_part"),
    ),
    "bpr": (
        lambda data: len(data.user),
        total(*(f"{part}_positives" for part in PARTS), "rated_below_liked", "positives_of_no_part",
              "test_positives_of_cold_items", "validation_positives_of_cold_items",
              "test_positives_of_unseen_users", "validation_positives_of_unseen_users"),
    ),
    "jifr": (
        lambda data: len(data.user),
        total(*(f"{part}_ratings" for part in PARTS), "validation_ratings_of_unseen", "test_ratings_of_unseen",
              "ratings_of_these"),
    ),
    "transgrec": (lambda data: len(data.positive_user), total(*(f"{part}_positives" for part in PARTS))),
}  # fmt: skip
"""{recommender of a protocol: (rows that it divides, where they went)}"""


@pytest.mark.parametrize("name", list(DIVIDED))
def test_what_is_divided_is_in_a_part_or_counted(name: str, tmp_path: Path) -> None:
    _, data, settings = loaded(name, tmp_path)
    if name == "fm":
        settings = replace(settings, split="random")
    task = find(name).task(data, settings, CPU)
    rows, parts = DIVIDED[name]
    assert rows(data) == parts(task.counts) > 0


def test_next_videos_are_kept_or_counted(tmp_path: Path) -> None:
    _, data, settings = loaded("drnn", tmp_path)
    task: Any = find("drnn").task(data, replace(settings, end="2025-06-01"), CPU)
    kept = len(task.split.watched[0])
    after, rare = (task.counts[name] for name in ("watches_after_end", "watches_of_these_users_and_videos"))
    assert len(data.watch_user) == kept + after + rare
    assert np.isin([kept, rare], 0).sum() <= 1
