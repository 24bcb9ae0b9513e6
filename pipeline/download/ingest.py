"""Fetch the missing media of a root: download or find each file, measure it, write `media` and `videos`.

What is missing is asked of the tables: videos without a row in `media`, except those that failed permanently.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelmill.pipeline.decode import BY_RULE, Limits, Streams
from reelmill.pipeline.decode.contradictions import Contradiction
from reelmill.pipeline.download.fetch import Downloader
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.download.stored import Fetched
from reelmill.pipeline.download.words import still_permanent
from reelmill.pipeline.media import at_hand
from reelmill.pipeline.process.child import Child
from reelmill.storage import Outcome, Outcomes, Root, Tables, parts
from reelmill.storage.place import AnyPath, AnyRoot
from reelmill.storage.shield import shielded

COMMIT_SECONDS = 20.0
"""Fetched videos are written to the tables at least this often."""


CHECK = "facts"
"""Stage of the outcomes that say whether what was measured of a file contradicts itself."""


@dataclass(frozen=True)
class Stored:
    """A file that is there, by its row of `media`."""

    uri: str
    downloader: str | None
    format_id: str | None


@dataclass(frozen=True)
class Wanted:
    """A video to fetch and to measure."""

    video_id: str
    url: str
    stored: Stored | None = None
    """Its file, if that is there and only to be measured again."""


def missing_media(root: AnyRoot, *, retry: bool = False, streams: Streams | None = None) -> list[Wanted]:
    """Videos with an address and without media, sorted by id; permanent failures only with `retry`.

    A video has media if its file exists and has the size that was measured. If `streams` are given, videos are listed
    too whose file was measured with other streams named, or by version 0.1.0, which did not choose among streams and
    took a reset clock at its word: these are measured again, and not fetched.
    """
    tables = Tables(root)
    videos = tables.read("videos", ["video_id", "url"])
    videos = videos.filter(pc.is_valid(videos["url"]))
    columns = ["video_id", "uri", "bytes", "downloader", "format_id", "video_stream", "named_streams"]
    media, size_of = tables.read("media", columns).to_pylist(), _sizes(root)
    there = {row["video_id"]: row for row in media if size_of(row["uri"]) == row["bytes"]}
    again = {video: row for video, row in there.items() if streams is not None and not _measured_so(row, streams)}
    done = there.keys() - again.keys()
    if not retry:
        done |= _given_up(root)
    return sorted(
        (
            Wanted(v, u, _stored(again[v]) if v in again else None)
            for v, u in zip(*(videos[c].to_pylist() for c in ("video_id", "url")), strict=True)
            if v not in done
        ),
        key=lambda wanted: wanted.video_id,
    )


def _measured_so(row: dict[str, Any], streams: Streams) -> bool:
    """Whether a row of `media` says which streams it measured, and the same ones were named."""
    return row["video_stream"] is not None and row["named_streams"] == streams.named


def _stored(row: dict[str, Any]) -> Stored:
    return Stored(row["uri"], row["downloader"], row["format_id"])


def _given_up(root: AnyRoot) -> set[str]:
    """Videos whose newest download failed for good, by the classes of today: what an older version took for permanent,
    such as a 403, is not given up."""
    table = Outcomes(root).newest(["status", "permanent", "error_class", "message"], join_probe=True)
    failed = pc.and_(pc.equal(table["status"], "failed"), table["permanent"])
    failed = pc.and_(failed, pc.equal(table["stage"], "download"))
    return {
        row["key"]
        for row in table.filter(failed).to_pylist()
        if still_permanent(row["error_class"], row["message"], recorded=True)
    }


class KnownVideos:
    """Rows of the table `videos` as they were before a run, read on first use, once for all threads of the run: the
    table is large, and while a video is fetched nobody else writes its row."""

    def __init__(self, root: AnyRoot) -> None:
        self.root = Root(root)
        self._lock = threading.Lock()
        self._rows: tuple[pa.Table, dict[str, int]] | None = None

    def of(self, video_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """{video_id: row} of those of these videos that have a row."""
        with self._lock:
            if self._rows is None:
                table = self.root.tables.read("videos")
                ids = table["video_id"].to_pylist()
                self._rows = table, dict(zip(ids, range(len(ids)), strict=True))
        table, numbers = self._rows
        asked = [numbers[video] for video in video_ids if video in numbers]
        return {row["video_id"]: row for row in table.take(asked).to_pylist()} if asked else {}


def fetch_media(
    root: AnyRoot,
    wanted: Sequence[Wanted],
    options: DownloadOptions,
    limits: Limits,
    on_video: Callable[[Wanted, Outcome], None] | None = None,
    stop: threading.Event | None = None,
    known: KnownVideos | None = None,
    streams: Streams = BY_RULE,
) -> list[Outcome]:
    """Fetch and measure videos one after another; one thread. A failure becomes an outcome and the next video follows.
    `known`: shared by the calls that a run consists of. `streams`: those that the settings name.

    Setting `stop` ends this within a second, also during a download. What was fetched is written to the tables also
    when this ends early.
    """
    outcomes: list[Outcome] = []
    batch = _Rows(root, known or KnownVideos(root))
    stop = stop or threading.Event()
    with (
        Downloader(root, options, stop=stop) as downloader,
        Child("reelmill.pipeline.probe:measure", memory_bytes=limits.memory_bytes) as prober,
        _interrupted(stop, downloader, prober),
    ):
        try:
            for entry in wanted:
                outcome = _fetch_one(root, entry, downloader, prober, limits, batch, streams)
                if stop.is_set():
                    break  # it was interrupted, which is no outcome
                outcomes.append(outcome)
                batch.outcomes.append(outcome)
                batch.commit_if_due()
                if on_video:
                    on_video(entry, outcome)
        finally:
            batch.commit()
    return outcomes


@contextlib.contextmanager
def _interrupted(stop: threading.Event, *busy: Downloader | Child) -> Iterator[None]:
    """Interrupt these as soon as `stop` is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(0.2):
                for one in busy:
                    one.interrupt()
                over.wait(0.2)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _sizes(root: AnyRoot) -> Callable[[str], int | None]:
    """A function from `uri` to the size of the file, None if there is none. An object store is listed once for all."""
    here = Root(root)
    if not here.remote:
        return lambda uri: parts.size(here.file(uri))
    known = {f"media/{name}": size for name, size in parts.walk(here.media).items()}
    return lambda uri: parts.size(Path(uri)) if Path(uri).is_absolute() else known.get(uri)


def _fetch_one(
    root: AnyRoot,
    entry: Wanted,
    downloader: Downloader,
    prober: Child,
    limits: Limits,
    batch: "_Rows",
    streams: Streams,
) -> Outcome:
    began = time.monotonic()
    try:
        fetched = None if entry.stored is not None else downloader.fetch(entry.video_id, entry.url)
    except Exception as error:
        tries = getattr(error, "attempts", 1)
        return Outcome.failure("download", entry.video_id, error, attempt=tries, seconds=time.monotonic() - began)
    try:
        with at_hand(_file(Root(root), entry, fetched)) as file:
            job = {"path": str(file), "limits": limits, "streams": streams}
            (measured,) = prober.run(job, limits.wall_seconds)
    except Exception as error:
        return Outcome.failure("probe", entry.video_id, error, seconds=time.monotonic() - began)
    facts = measured.facts
    batch.media.append(_media_row(root, entry, fetched, facts))
    batch.checked(entry.video_id, measured.contradictions)
    if fetched is not None:
        batch.info[entry.video_id] = fetched.info
    attempts = 1 if fetched is None else fetched.attempts
    return Outcome(
        "download", entry.video_id, "done", attempt=attempts, seconds=time.monotonic() - began,
        message=f"{facts['bytes']} bytes, {facts['duration_ms']} ms, {facts['codec']}",
    )  # fmt: skip


def _file(root: Root, entry: Wanted, fetched: Fetched | None) -> AnyPath:
    """The file to measure: what was fetched, otherwise what is stored."""
    if fetched is None:
        assert entry.stored is not None
        return root.file(entry.stored.uri)
    return fetched.path if fetched.uri is None else root.file(fetched.uri)


def _media_row(root: AnyRoot, entry: Wanted, fetched: Fetched | None, facts: dict[str, Any]) -> dict[str, Any]:
    if fetched is None:
        return {**facts, "video_id": entry.video_id, **vars(entry.stored)}
    return {
        **facts,
        "video_id": entry.video_id,
        "uri": fetched.uri or _uri(root, fetched.path.resolve()),
        "downloader": fetched.downloader,
        "format_id": fetched.format_id,
    }


def _uri(root: AnyRoot, path: Path) -> str:
    """Relative to the root, if the file is in it."""
    home = Root(root).address
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


class _Rows:
    """Rows that are not yet written to the tables."""

    def __init__(self, root: AnyRoot, known: KnownVideos) -> None:
        self.root, self.known = root, known
        self.media: list[dict[str, Any]] = []
        self.info: dict[str, dict[str, Any]] = {}
        self.outcomes: list[Outcome] = []
        self._warned: dict[str, Any] | None = None
        self.committed = time.monotonic()

    def checked(self, video_id: str, found: Sequence[Contradiction]) -> None:
        """Warn of facts of a video that contradict each other; if there are none, an earlier warning is over."""
        if self._warned is None:
            self._warned = Outcomes(self.root).latest(CHECK)
        message = "; ".join(one.message for one in found)
        if found:
            self.outcomes.append(Outcome(CHECK, video_id, "warned", error_class=found[0].kind, message=message))
        elif self._warned.get(video_id, {}).get("status") == "warned":
            self.outcomes.append(Outcome(CHECK, video_id, "done"))

    def commit_if_due(self) -> None:
        if time.monotonic() - self.committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write the rows; a signal that comes meanwhile is handled afterwards."""
        tables = Tables(self.root)
        with shielded():
            if self.info:
                tables.write("videos", self._news())
            tables.write("media", self.media)
            Outcomes(self.root).write(self.outcomes)
            self.media, self.info, self.outcomes = [], {}, []
            self.committed = time.monotonic()

    def _news(self) -> list[dict[str, Any]]:
        """Rows of videos of which the page says more than the source."""
        known, news = self.known.of(self.info), []
        for video_id, info in self.info.items():
            said = {k: v for k, v in known.get(video_id, {}).items() if v is not None}
            row = {"video_id": video_id, **info, **said}  # the page only fills what the source leaves out
            if row != {"video_id": video_id, **said}:
                news.append(row)
        return news
