"""Labels by source. The table of labels does not say whose record made a label: its user and video do, as long as no
two sources name the same pair."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.storage.errors import InputError


def labels_of(labels: pa.Table, events: pa.Table, sources: frozenset[str]) -> pa.Table:
    """The labels whose user and video a highlight of these sources names. `events`: user_id, video_id, kind and source
    of all events. Raises InputError if a highlight of another source names the pair of such a label too."""
    records = events.filter(pc.equal(events["kind"], "highlight"))
    mine = pc.is_in(records["source"], value_set=pa.array(sorted(sources)))
    pairs, own, other = (_pairs(table) for table in (labels, records.filter(mine), records.filter(pc.invert(mine))))
    kept = np.asarray(pc.is_in(pairs, value_set=own))
    doubtful = pairs.filter(pa.array(kept & np.asarray(pc.is_in(pairs, value_set=other))))
    if len(doubtful):
        user, video = doubtful[0].as_py().split("\0", 1)
        raise InputError(
            f"labels of user {user!r} on video {video!r} come from records of {', '.join(sorted(sources))} and of "
            "other sources, and the table labels does not tell them apart: keep these sources in roots of their own"
        )
    return labels.filter(pa.array(kept))


def _pairs(table: pa.Table) -> pa.Array:
    """User and video of each row as one text; no id holds a NUL character."""
    joined = pc.binary_join_element_wise(table["user_id"], table["video_id"], "\0")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
