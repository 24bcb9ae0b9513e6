"""Interactions of users with whole videos, read from the table of events.

**What counts.** Every event of kind `rating`; a root without any takes `highlight` and `watch` events in their place: a
user who marks or watches a video chose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.models.data.accounts import Account, unused_kinds
from reelmill.models.data.arrays import codes
from reelmill.storage import Root
from reelmill.storage.errors import InputError

PARTS = ("train", "validation", "test")
"""Names of the sources of a split that was published."""
IN_PLACE_OF_RATINGS = ["highlight", "watch"]
COLUMNS = ["user_id", "video_id", "kind", "time", "value", "source", "source_row"]
NO_TIME = np.iinfo(np.int64).min
"""Time of an event without one."""


@dataclass(frozen=True)
class Newest:
    """The newest event of each (user, item) pair, by user, then by item. Users and items are numbers here."""

    users: list[str]
    """User ids, sorted."""
    items: list[str]
    """Video ids, sorted."""
    user: np.ndarray
    """(P,) int64."""
    item: np.ndarray
    """(P,) int64."""
    value: np.ndarray
    """(P,) float64 rating; NaN where there is none."""
    time: np.ndarray
    """(P,) int64 milliseconds; `NO_TIME` where there is none."""
    part: np.ndarray
    """(P,) int64: place in `PARTS` of the event's source, −1 for any other source."""
    rated: bool
    """Whether the events are ratings."""
    events: int
    """How many events count; those beyond P repeat a pair."""
    accounts: tuple[Account, ...]
    """Where the rows of the tables went."""

    @classmethod
    def read(cls, root: Root) -> "Newest":
        """Of the events that count; of equally new ones that of the last source and row. Raises InputError if there is
        none."""
        every = root.tables.read("events", COLUMNS)
        events, rated = interactions(root, every)
        users, items = (sorted(pc.unique(events[name]).to_pylist()) for name in ("user_id", "video_id"))
        time = pc.fill_null(events["time"].cast(pa.int64()), int(NO_TIME)).to_numpy()
        pair = codes(events["user_id"], users) * len(items) + codes(events["video_id"], items)
        sources = sorted(pc.unique(events["source"]).to_pylist())
        source = codes(events["source"], sources)
        order = np.lexsort((events["source_row"].to_numpy(), source, time, pair))
        last = order[np.append(np.diff(pair[order]) != 0, True)]
        place = np.array([PARTS.index(name) if name in PARTS else -1 for name in sources])
        value = pc.fill_null(events["value"], float("nan")).to_numpy()
        user, item = np.divmod(pair[last], len(items))
        columns = (value[last], time[last], place[source[last]])
        left_out = {"events_repeated": events.num_rows - len(user), **unused_kinds(every, counted_kinds(rated))}
        account = Account("events", every.num_rows, len(user), left_out)
        return cls(users, items, user, item, *columns, rated, events.num_rows, (account,))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What identifies the events, for a fingerprint."""
        return self.user, self.item, self.value, self.time, self.part

    @property
    def repeated(self) -> int:
        """Events that an equally new or newer one of the same pair replaces."""
        return self.events - len(self.user)


def counted_kinds(rated: bool) -> Sequence[str]:
    """The kinds of events that count."""
    return ["rating"] if rated else IN_PLACE_OF_RATINGS


def rating_values(events: pa.Table) -> np.ndarray:
    """(n,) value of each event that is a rating, NaN of others."""
    value = pc.if_else(pc.equal(events["kind"], "rating"), events["value"], None)
    return np.asarray(pc.fill_null(value, float("nan")).to_numpy())


def interactions(root: Root, events: pa.Table) -> tuple[pa.Table, bool]:
    """The events that count, and whether they are ratings. Raises InputError if there is none."""
    rated = events.filter(pc.equal(events["kind"], "rating"))
    if rated.num_rows:
        return rated, True
    chosen = events.filter(pc.is_in(events["kind"], value_set=pa.array(IN_PLACE_OF_RATINGS)))
    if not chosen.num_rows:
        raise InputError(f"{root} has no event of kind rating, highlight or watch; ingest some first (reelmill ingest)")
    return chosen, False


def chronological(events: pa.Table, user: np.ndarray, pair: np.ndarray, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Order (n,) of events by user, oldest first, and which users (users,) are ordered by row.

    By time where all events of the user have one, else by the rows of the source; events of the (user, video) pair (n,)
    that the source marks as the user's last video come last."""
    time = events["time"].cast(pa.int64())
    dated = pc.is_valid(time).to_numpy(zero_copy_only=False)
    by_row = np.zeros(users, bool)
    by_row[user[~dated]] = True
    ms = np.where(by_row[user], 0, pc.fill_null(time, 0).to_numpy())
    source = codes(events["source"], sorted(set(events["source"].to_pylist())))
    marked = pc.fill_null(events["last_video"], False).to_numpy(zero_copy_only=False)
    return np.lexsort((events["source_row"].to_numpy(), source, ms, np.isin(pair, pair[marked]), user)), by_row
