"""Interactions of users with whole videos, read from the table of events."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.arrays import codes
from reelmill.storage import Tables
from reelmill.storage.errors import InputError

PARTS = ("train", "validation", "test")
"""Names of the sources of a split that was published."""
IN_PLACE_OF_RATINGS = ["highlight", "watch"]
NO_TIME = np.iinfo(np.int64).min


def read_events(tables: Tables, root: str | Path) -> tuple[pa.Table, bool]:
    """The events that count as examples, and whether they are ratings. Raises InputError if there is none."""
    events = tables.read("events", ["user_id", "video_id", "kind", "time", "value", "source", "source_row"])
    rated = events.filter(pc.equal(events["kind"], "rating"))
    if rated.num_rows:
        return rated, True
    chosen = events.filter(pc.is_in(events["kind"], value_set=pa.array(IN_PLACE_OF_RATINGS)))
    if not chosen.num_rows:
        raise InputError(f"{root} has no event of kind rating, highlight or watch; ingest some first (reelmill ingest)")
    return chosen, False


def newest(
    events: pa.Table, users: list[str], items: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pair (user · items + item), value, time and part of the newest event of each pair; of equally new ones that of
    the last source and row counts."""
    time = pc.fill_null(events["time"].cast(pa.int64()), int(NO_TIME)).to_numpy()
    pair = codes(events["user_id"], users) * len(items) + codes(events["video_id"], items)
    sources = sorted(pc.unique(events["source"]).to_pylist())
    source = codes(events["source"], sources)
    order = np.lexsort((events["source_row"].to_numpy(), source, time, pair))
    last = order[np.append(np.diff(pair[order]) != 0, True)]
    place = np.array([PARTS.index(name) if name in PARTS else -1 for name in sources])
    value = pc.fill_null(events["value"], float("nan")).to_numpy()
    return pair[last], value[last], time[last], place[source[last]]
