"""Bring the media of a root's videos in: download or find each file, measure it, write `media` and `videos`.

What is to do is asked of the tables: videos without a media row, less those that failed for good.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pipeline.child import Child
from pipeline.decode import Limits
from pipeline.fetch import Downloader, DownloadOptions, Fetched
from storage import Outcome, Outcomes, Tables

COMMIT_SECONDS = 20.0
"""Fetched videos are written to the tables at least this often."""


@dataclass(frozen=True)
class Wanted:
    """A video to fetch."""

    video_id: str
    url: str


def missing_media(root: str, *, retry: bool = False) -> list[Wanted]:
    """Videos with an address and without media, in the order of their ids; permanent failures only on `retry`."""
    tables = Tables(root)
    videos = tables.read("videos", ["video_id", "url"])
    videos = videos.filter(pc.is_valid(videos["url"]))
    done = tables.units("media")
    if not retry:
        done |= Outcomes(root).permanently_failed("download") | Outcomes(root).permanently_failed("probe")
    return sorted(
        (
            Wanted(v, u)
            for v, u in zip(*(videos[c].to_pylist() for c in ("video_id", "url")), strict=True)
            if v not in done
        ),
        key=lambda wanted: wanted.video_id,
    )


def fetch_media(
    root: str,
    wanted: Sequence[Wanted],
    options: DownloadOptions,
    limits: Limits,
    on_video: Callable[[Wanted, Outcome], None] | None = None,
) -> list[Outcome]:
    """Fetch and measure videos one after another; one thread. A failure becomes an outcome and the next video follows.

    Whatever was fetched is written to the tables also when this ends early.
    """
    outcomes: list[Outcome] = []
    batch = _Rows(root)
    with (
        Downloader(root, options) as downloader,
        Child("pipeline.probe:measure", memory_bytes=limits.memory_bytes) as prober,
    ):
        try:
            for entry in wanted:
                outcome = _fetch_one(root, entry, downloader, prober, limits, batch)
                outcomes.append(outcome)
                batch.outcomes.append(outcome)
                batch.commit_if_due()
                if on_video:
                    on_video(entry, outcome)
        finally:
            batch.commit()
    return outcomes


def _fetch_one(
    root: str, entry: Wanted, downloader: Downloader, prober: Child, limits: Limits, batch: "_Rows"
) -> Outcome:
    began = time.monotonic()
    try:
        fetched = downloader.fetch(entry.video_id, entry.url)
    except Exception as error:
        tries = getattr(error, "attempts", 1)
        return Outcome.failure("download", entry.video_id, error, attempt=tries, seconds=time.monotonic() - began)
    try:
        (facts,) = prober.run({"path": str(fetched.path), "limits": limits}, limits.wall_seconds)
    except Exception as error:
        return Outcome.failure("probe", entry.video_id, error, seconds=time.monotonic() - began)
    batch.media.append(_media_row(root, entry, fetched, facts))
    batch.info[entry.video_id] = fetched.info
    return Outcome(
        "download", entry.video_id, "done", attempt=fetched.attempts, seconds=time.monotonic() - began,
        message=f"{facts['bytes']} bytes, {facts['duration_ms']} ms, {facts['codec']}",
    )  # fmt: skip


def _media_row(root: str, entry: Wanted, fetched: Fetched, facts: dict[str, Any]) -> dict[str, Any]:
    path, home = Path(fetched.path), Path(root).resolve()
    inside = path.resolve().is_relative_to(home)
    return {
        **facts,
        "video_id": entry.video_id,
        "uri": str(path.resolve().relative_to(home)) if inside else str(path.resolve()),
        "downloader": fetched.downloader,
        "format_id": fetched.format_id,
    }


class _Rows:
    """Rows on their way into the tables."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.media: list[dict[str, Any]] = []
        self.info: dict[str, dict[str, Any]] = {}
        self.outcomes: list[Outcome] = []
        self.committed = time.monotonic()

    def commit_if_due(self) -> None:
        if time.monotonic() - self.committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        tables = Tables(self.root)
        if self.info:
            known = tables.read("videos")
            known = known.filter(pc.is_in(known["video_id"], pc.cast(list(self.info), known["video_id"].type)))
            rows = {row["video_id"]: row for row in known.to_pylist()}
            for video_id, info in self.info.items():
                known_facts = {k: v for k, v in rows.get(video_id, {"video_id": video_id}).items() if v is not None}
                rows[video_id] = {**info, **known_facts}  # what the source says stays; the page fills the gaps
            tables.write("videos", list(rows.values()))
        tables.write("media", self.media)
        Outcomes(self.root).write(self.outcomes)
        self.media, self.info, self.outcomes = [], {}, []
        self.committed = time.monotonic()
