"""A source as it would be read: its first rows, and what becomes of all of them; nothing is written."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from reelmill.pipeline.sources.rows import AnySource, by_reason
from reelmill.pipeline.sources.source import Source

SHOWN = 5
"""First rows, and first events or videos, that are shown."""


@dataclass(frozen=True)
class FirstRow:
    """A row of the source."""

    cells: dict[str, str | None]
    """{our column: text in the file}"""
    becomes: str
    """The event, or the rule by which it is rejected."""


@dataclass(frozen=True)
class Preview:
    """What a source holds."""

    source: str
    rows: int
    events: int
    videos: int
    rejected: dict[str, int]
    """Rejects by rule."""
    videos_without_events: int
    """Videos of which every row is rejected."""
    understood: dict[str, str]
    """{our column, or `file`: what it was taken for}"""
    columns: dict[str, str] = field(default_factory=dict)
    """{our column: column of the table}"""
    first_rows: list[FirstRow] = field(default_factory=list)
    first_events: list[str] = field(default_factory=list)
    """First events, or videos of a source without events."""
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """Files of a folder that are no videos, by kind."""


def preview(source: AnySource) -> Preview:
    """Read a source to its end without writing it. Raises InputError for one that cannot be read."""
    events, rows, reasons = 0, 0, Counter[str]()
    becomes: dict[int, str] = {}
    first: list[str] = []
    for kept, rejects in source.batches():
        if rows < SHOWN:
            for row in kept.slice(0, SHOWN).to_pylist():
                becomes[row["source_row"]] = described(row)
            for row in rejects.slice(0, SHOWN).to_pylist():
                becomes[row["source_row"]] = f"rejected: {row['reason']} ({row['detail']})"
        if len(first) < SHOWN:
            first += [described(row) for row in kept.slice(0, SHOWN - len(first)).to_pylist()]
        events, rows = events + kept.num_rows, rows + kept.num_rows + rejects.num_rows
        reasons.update(by_reason(rejects))
    summary = source.summary()
    cells = source.first_rows(SHOWN) if isinstance(source, Source) else []
    return Preview(
        source.source,
        summary.rows,
        events,
        summary.videos.num_rows,
        dict(reasons.most_common()),
        summary.videos_without_events,
        dict(summary.understood),
        dict(source.columns.mapping) if isinstance(source, Source) else {},
        [FirstRow(row, becomes.get(number, "")) for number, row in enumerate(cells, 1)],
        first or summary.videos["video_id"].slice(0, SHOWN).to_pylist(),
        list(summary.notes),
        dict(summary.skipped),
    )


def described(event: dict[str, Any]) -> str:
    """`user 13000: highlight of vKU7ITgAz4k, 79.99–84.13 s`."""
    text = f"user {event['user_id']}: {event['kind']} of {event['video_id']}"
    if event["start_ms"] is not None and event["stop_ms"] is not None:
        text += f", {event['start_ms'] / 1000:g}–{event['stop_ms'] / 1000:g} s"
    elif event["start_ms"] is not None:
        text += f", {event['start_ms'] / 1000:g} s"
    if event["value"] is not None:
        text += f", value {event['value']:g}"
    if event["time"] is not None:
        text += f", at {event['time']:%Y-%m-%d %H:%M}"
    return " ".join(text.split())
