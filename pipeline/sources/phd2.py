"""PHD²: highlights that users of a GIF maker cut out of videos (Garcia del Molino and Gygli, ACM Multimedia 2018).

CSV with the columns `youtubeId,start,duration,user_id,video_duration,is_last`, seconds as fractions; an unknown
`video_duration` is −1 or 0. `is_last` (the user's test video) is not read: splits are made from time or by seed.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from pipeline.sources import text, values
from pipeline.sources.checks import check
from pipeline.sources.rows import Rows, SourceResult
from storage.errors import InputError, nearest

COLUMNS = ("youtubeId", "start", "duration", "user_id", "video_duration")
URL_TEMPLATE = "https://www.youtube.com/watch?v={video_id}"


def read(
    path: Path, source: str, *, url_template: str | None = None, durations: Mapping[str, int] | None = None
) -> SourceResult:
    """Read a PHD² CSV into highlights."""
    names, body = text.split_header(text.read_bytes(path), ",", path)
    for column in COLUMNS:
        if names.count(column) != 1:
            raise InputError(
                f"{path}: a PHD² file has one column {column!r}, this one has {names.count(column)}; "
                f"{nearest(column, names)}; other layouts are read with format 'mapped'"
            )
    columns = text.split(body, ",", names, COLUMNS, quoted=True)
    read = columns.values
    rows = Rows(
        source,
        columns.problem,
        user_id=values.texts("user_id", read["user_id"], trim=True),
        video_id=values.texts("youtubeId", read["youtubeId"], trim=True),
        kind=pa.chunked_array([pa.repeat("highlight", columns.rows)]),
        start=values.numbers("start", read["start"], 1000),
        length=values.numbers("duration", read["duration"], 1000),
        video_duration=values.numbers("video_duration", read["video_duration"], 1000),
    )
    return check(rows, durations, url_template or URL_TEMPLATE)
