"""PHD²: highlights that users of a GIF maker cut out of videos (Garcia del Molino and Gygli, ACM Multimedia 2018).

CSV with the columns `youtubeId,start,duration,user_id,video_duration,is_last`, seconds as fractions; an unknown
`video_duration` is −1 or 0. There are no times of events; `is_last` marks the rows of the last video of a user,
which come first in the published files.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.sources import text, values
from reelmill.pipeline.sources.checks import check
from reelmill.pipeline.sources.moments import Unit
from reelmill.pipeline.sources.rows import Rows, SourceResult
from reelmill.storage.errors import InputError, nearest

COLUMNS = ("youtubeId", "start", "duration", "user_id", "video_duration")
LAST = "is_last"  # may be missing
URL_TEMPLATE = "https://www.youtube.com/watch?v={video_id}"


def read(
    path: Path,
    source: str,
    *,
    url_template: str | None = None,
    durations: Mapping[str, int] | None = None,
    time_unit: Unit | None = None,
) -> SourceResult:
    """Read a PHD² CSV into highlights. It has no points in time, so `time_unit` is not used."""
    names, body = text.split_header(text.read_bytes(path), ",", path)
    for column in COLUMNS:
        if names.count(column) != 1:
            raise InputError(
                f"{path}: a PHD² file has one column {column!r}, this one has {names.count(column)}; "
                f"{nearest(column, names)}; other layouts are read with format 'mapped'"
            )
    columns = text.split(body, ",", names, {*COLUMNS, LAST} & set(names), quoted=True)
    read = columns.values
    rows = Rows(
        source,
        columns.problem,
        user_id=values.identities("user_id", read["user_id"]),
        video_id=values.identities("youtubeId", read["youtubeId"]),
        kind=pa.chunked_array([pa.repeat("highlight", columns.rows)]),
        start=values.clock_times("start", read["start"], 1000),
        length=values.clock_times("duration", read["duration"], 1000),
        video_duration=values.clock_times("video_duration", read["video_duration"], 1000),
        last_video=_flags(read[LAST]) if LAST in read else None,
    )
    return check(rows, durations, url_template or URL_TEMPLATE)


def _flags(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """True and False in any case; null for anything else."""
    said = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    return pc.if_else(pc.is_in(said, pa.array(["true", "false"])), pc.equal(said, "true"), None)
