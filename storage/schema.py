"""What each table holds. One `pyarrow` schema a table; each field carries its meaning as `doc` metadata.

Times of a video are integer milliseconds, ranges are half-open. `UNIT` names the column by which a later part
replaces an earlier one: a reader sees, for each unit, the rows of the newest part that covers it (`tables.py`).
"""

import pyarrow as pa


def _field(name: str, kind: pa.DataType, doc: str, *, null: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"doc": doc})


def _time(name: str, doc: str) -> pa.Field:
    return _field(name, pa.timestamp("ms", tz="UTC"), doc)


VIDEO_ID = _field("video_id", pa.string(), "identity of the video, as its source gives it", null=False)
USER_ID = _field("user_id", pa.string(), "identity of the user, as the source gives it", null=False)
SEGMENT = _field("segment_index", pa.int32(), "cell i of the grid: [i·L, min((i+1)·L, D))", null=False)

SCHEMAS: dict[str, pa.Schema] = {
    "videos": pa.schema(
        [
            VIDEO_ID,
            _field("url", pa.string(), "address to download it from, or path of a local file"),
            _field("title", pa.string(), "title, from the source or the web page"),
            _field("description", pa.string(), "description on the web page"),
            _field("tags", pa.list_(pa.string()), "tags on the web page, or genres"),
            _field("categories", pa.list_(pa.string()), "categories on the web page"),
            _field("uploader", pa.string(), "who published it"),
            _field("upload_date", pa.string(), "date of publication, YYYYMMDD"),
            _field("claimed_duration_ms", pa.int64(), "duration that the source or the web page claims"),
        ]
    ),
    "users": pa.schema(
        [
            USER_ID,
            _field(
                "attributes", pa.list_(pa.string()), "attributes from the source, as `name=value`, such as gender=F"
            ),
        ]
    ),
    "media": pa.schema(
        [
            VIDEO_ID,
            _field("uri", pa.string(), "path of the file; relative ones start at the root", null=False),
            _field("sha256", pa.string(), "hash of the whole file, 64 hex digits", null=False),
            _field("bytes", pa.int64(), "size of the file", null=False),
            _field("container", pa.string(), "container format", null=False),
            _field("codec", pa.string(), "codec of the video stream", null=False),
            _field("width", pa.int32(), "pixels, as coded (before rotation and sample aspect)", null=False),
            _field("height", pa.int32(), "pixels, as coded (before rotation and sample aspect)", null=False),
            _field(
                "rotation",
                pa.int32(),
                "degrees counter-clockwise that turn a frame upright: 0, 90, 180, 270",
                null=False,
            ),
            _field("mean_fps", pa.float64(), "frames per second over the measured duration", null=False),
            _field("variable_rate", pa.bool_(), "whether frames are unevenly spaced", null=False),
            _field("frame_count", pa.int64(), "frames that are shown, by the packets of the video stream", null=False),
            _field("start_ms", pa.int64(), "time of the first frame on the file's own clock", null=False),
            _field(
                "duration_ms",
                pa.int64(),
                "measured: end of the last frame minus start of the first",
                null=False,
            ),
            _field("audio_rate", pa.int32(), "audio samples per second; null without sound"),
            _field(
                "sample_aspect",
                pa.string(),
                "width of a pixel as coded : its height, such as 64:45; null if version 0.1.0 measured it",
            ),
            _field("video_stream", pa.int32(), "index of the stream of picture; null if version 0.1.0 measured it"),
            _field("audio_stream", pa.int32(), "index of the stream of sound; null without sound"),
            _field(
                "named_streams",
                pa.string(),
                "streams that the settings named when it was measured, such as video 3; null: chosen by the rules",
            ),
            _field("downloader", pa.string(), "program and version that fetched it; null for a local file"),
            _field("format_id", pa.string(), "format that the downloader chose"),
            _time("fetched_at", "when it was downloaded or first seen"),
        ]
    ),
    "events": pa.schema(
        [
            USER_ID,
            VIDEO_ID,
            _field("kind", pa.string(), "highlight, watch, rating, frame_like or post", null=False),
            _time("time", "when it happened; null if the source gives no time"),
            _field("start_ms", pa.int64(), "start in the video; null for the whole video"),
            _field("stop_ms", pa.int64(), "stop in the video, exclusive"),
            _field("value", pa.float64(), "rating, or share watched"),
            _field("text", pa.string(), "text of a post"),
            _field(
                "last_video",
                pa.bool_(),
                "the source marks the video as the user's last; null without such marks",
            ),
            _field("source", pa.string(), "name of the source", null=False),
            _field("source_row", pa.int64(), "row number in the source, the first data row is 1", null=False),
        ]
    ),
    "rejects": pa.schema(
        [
            _field("source", pa.string(), "name of the source", null=False),
            _field("source_row", pa.int64(), "row number in the source, the first data row is 1", null=False),
            _field("reason", pa.string(), "rule that the row violates", null=False),
            _field("detail", pa.string(), "the value that violates it"),
            _field("user_id", pa.string(), "user of the row, if it has one"),
            _field("video_id", pa.string(), "video of the row, if it has one"),
        ]
    ),
    "segments": pa.schema(
        [
            VIDEO_ID,
            SEGMENT,
            _field("start_ms", pa.int64(), "start of the segment", null=False),
            _field("stop_ms", pa.int64(), "stop of the segment, exclusive", null=False),
            _field(
                "duration_source",
                pa.string(),
                "which duration the grid was made from: measured or claimed",
                null=False,
            ),
        ]
    ),
    "labels": pa.schema(
        [
            USER_ID,
            VIDEO_ID,
            SEGMENT,
            _field("covered_ms", pa.int64(), "how much of the segment the best record covers, in ms", null=False),
        ]
    ),
    "frames": pa.schema(
        [
            VIDEO_ID,
            SEGMENT,
            _field("time_ms", pa.int64(), "since when the picture is on screen in the segment, in ms", null=False),
            _field("width", pa.int32(), "pixels of the picture", null=False),
            _field("height", pa.int32(), "pixels of the picture", null=False),
            _field("jpeg", pa.binary(), "the picture", null=False),
        ]
    ),
    "outcomes": pa.schema(
        [
            _field("stage", pa.string(), "download, probe, extract, …", null=False),
            _field("key", pa.string(), "video_id, or the name of the source", null=False),
            _field("spec", pa.string(), "feature store that the attempt was for; null in other stages"),
            _field("status", pa.string(), "done, failed or warned", null=False),
            _field("error_class", pa.string(), "class of the failure, see pipeline/errors.py"),
            _field("permanent", pa.bool_(), "whether trying again is useless; null when done"),
            _field("message", pa.string(), "what happened, in words"),
            _field("attempt", pa.int32(), "number of the attempt in this run, from 1", null=False),
            _field("seconds", pa.float64(), "duration of the attempt", null=False),
            _time("time", "when it ended"),
        ]
    ),
    "rates": pa.schema(
        [
            _field("host", pa.string(), "machine that was measured", null=False),
            _field("extractors", pa.string(), "extractors that ran together, and on which device", null=False),
            _field(
                "part",
                pa.string(),
                "what took the time: a network, decode, wait, begin, rest, load",
                null=False,
            ),
            _field("amount", pa.float64(), "number of windows, frames, seconds of video, or times", null=False),
            _field("seconds", pa.float64(), "time spent: processor time for decode, else wall time", null=False),
            _time("time", "when it ended"),
        ]
    ),
}

ABOUT = {
    "videos": "What sources and web pages say about a video: claims, not measurements.",
    "users": "What sources say about a user.",
    "media": "The file of a video, and what was measured in it.",
    "events": "Which user did what with which part of which video; one row for each row of the source.",
    "rejects": "Rows of a source that were rejected, with the reason.",
    "segments": "The segments of each video.",
    "labels": "Which user likes which segment: a record covers strictly more than the threshold of it.",
    "frames": "A key frame of each segment, for people to look at.",
    "outcomes": "The outcome of each attempt; a log, of which the newest row for a stage, key and spec counts.",
    "rates": "How long extraction took on which machine; a log, from which `reelmill plan` predicts durations.",
}

UNIT: dict[str, str | None] = {
    "videos": "video_id",
    "users": "user_id",
    "media": "video_id",
    "events": "source",
    "rejects": "source",
    "segments": "video_id",
    "labels": "video_id",
    "frames": "video_id",
    "outcomes": None,  # a log: every row stays
    "rates": None,
}

EVENT_KINDS = ("highlight", "watch", "rating", "frame_like", "post")


def markdown() -> str:
    """The tables as `storage/README.md` shows them, between `<!-- tables -->` and `<!-- /tables -->`."""
    lines = []
    for name, schema in SCHEMAS.items():
        newer = f" A newer part replaces an older one by `{UNIT[name]}`." if UNIT[name] else ""
        lines += ["", f"#### `{name}`", "", ABOUT[name] + newer, "", "| column | type | meaning |", "|---|---|---|"]
        for field in schema:
            doc = field.metadata[b"doc"].decode().replace("|", "\\|")
            kind = f"`{field.type}`, may be null" if field.nullable else f"`{field.type}`"
            lines.append(f"| `{field.name}` | {kind} | {doc} |")
    return "\n".join(lines[1:]) + "\n"
