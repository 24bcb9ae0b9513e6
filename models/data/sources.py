"""The sources of a root: which of them a fit reads, and which of them share ids.

Ids are those of the source, so that user 1 of one data set and user 1 of another are the same text. Two sources that
share ids are therefore fitted together only when both are named. Sources called train, validation and test are parts of
one data set (`split: given`), and are read together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.events import PARTS
from reelmill.storage import Root
from reelmill.storage.errors import InputError, nearest

IDS = {"user_id": "users", "video_id": "videos"}
"""Columns that sources may share values of, and what they identify."""
SHOWN = 3
"""Shared ids that a message names."""


@dataclass(frozen=True)
class Shared:
    """Ids that two sources have in common."""

    sources: tuple[str, str]
    users: int
    videos: int
    examples: tuple[str, ...]
    """Some of these ids."""

    def __str__(self) -> str:
        found = [f"{count:,} {what}" for count, what in ((self.users, "users"), (self.videos, "videos")) if count]
        return f"{' and '.join(self.sources)} share {' and '.join(found)} (such as {', '.join(self.examples)})"


def counted(root: Root) -> dict[str, int]:
    """{source: its events}, of those that the root reads, by name."""
    found = pc.value_counts(root.tables.read("events", ["source"])["source"]).to_pylist()
    return {row["values"]: row["counts"] for row in sorted(found, key=lambda row: row["values"])}


def shared_ids(root: Root) -> list[Shared]:
    """The pairs of sources with a common user or video, parts of one data set aside."""
    names = list(counted(root))
    if len(names) < 2:
        return []
    events = root.tables.read("events", ["user_id", "video_id", "source"])
    ids: dict[str, dict[str, pa.Array]] = {}
    for name in names:
        mine = events.filter(pc.equal(events["source"], name))
        ids[name] = {column: _ids(mine[column]) for column in IDS}
    return [
        found for pair in combinations(names, 2)
        if not {*pair} <= {*PARTS} and (found := _common(pair, *(ids[name] for name in pair))) is not None
    ]  # fmt: skip


def choose(root: Root, names: Collection[str] = ()) -> Root:
    """The root of which only the events of these sources are read; without names, of all of them. Raises InputError for
    a source that has no events, and, without names, for sources that share ids."""
    known = counted(root)
    for name in names:
        if name not in known:
            raise InputError(f"source {name!r} has no events in {root}: {nearest(name, list(known))}")
    if names:
        return root if {*names} >= {*known} else root.of_sources(names)
    if shared := shared_ids(root):
        raise InputError(
            f"{root} holds the sources {', '.join(known)}: {'; '.join(map(str, shared))}. The same id may mean another "
            "user or video, so they are not mixed unasked: name the sources to read (train.sources: "
            f"[{shared[0].sources[0]}], or all of them where an id means the same in each)"
        )
    return root


def counts(root: Root) -> dict[str, int]:
    """What is left out of a root that is read by sources: rows of other sources, and ids that these share with them."""
    if not root.sources:
        return {}
    every = Root(root.address)
    left = {
        f"{table}_of_other_sources": every.tables.read(table, ["user_id"]).num_rows
        - root.tables.read(table, ["user_id"]).num_rows
        for table in ("events", "labels")
    }
    common = beside(every, root.sources)
    return {**left, **{f"{what}_shared_with_other_sources": len(common[what]) for what in IDS.values()}}


def beside(root: Root, names: Collection[str]) -> dict[str, pa.Array]:
    """{`users` and `videos`: the ids that these sources share with any other one of the root}."""
    events = Root(root.address).tables.read("events", ["source", *IDS])
    mine = pc.is_in(events["source"], value_set=pa.array(sorted(names), pa.string()))
    own, other = events.filter(mine), events.filter(pc.invert(mine))
    return {what: _intersection(_ids(own[column]), _ids(other[column])) for column, what in IDS.items()}


def _ids(column: pa.ChunkedArray) -> pa.Array:
    """Distinct ids; posts name no video."""
    found = pc.unique(column)
    return found.filter(pc.not_equal(found, ""))


def _intersection(one: pa.Array, other: pa.Array) -> pa.Array:
    return one.filter(pc.is_in(one, value_set=other))


def _common(pair: Sequence[str], one: dict[str, pa.Array], other: dict[str, pa.Array]) -> Shared | None:
    found = {what: _intersection(one[column], other[column]) for column, what in IDS.items()}
    if not any(map(len, found.values())):
        return None
    examples = [repr(name) for ids in found.values() for name in ids[:SHOWN].to_pylist()][:SHOWN]
    return Shared((pair[0], pair[1]), len(found["users"]), len(found["videos"]), tuple(examples))
