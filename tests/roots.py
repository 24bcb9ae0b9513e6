"""Roots with real videos for the tests."""

from collections.abc import Sequence
from pathlib import Path

from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.labels import write_labels
from reelmill.storage import Tables
from tests.media import make_video


def with_videos(folder: Path, frames: Sequence[int] = (50,) * 5, likes: Sequence[int] = ()) -> Path:
    """A root with videos v0, v1, … of so many frames (25 a second) and sound, fetched and measured, and for each so
    many users (those of `likes`) who like its first segment."""
    root, tables = folder / "root", Tables(folder / "root")
    for number, count in enumerate(frames):
        make_video(folder / f"v{number}.mp4", frames=count, size=(160, 120), sound=True)
    names = [f"v{number}" for number in range(len(frames))]
    rows = [{"video_id": v, "url": str(folder / f"{v}.mp4"), "uploader": f"by {v}", "tags": [v, "all"]} for v in names]
    tables.write("videos", rows)
    outcomes = fetch_media(str(root), missing_media(str(root)), DownloadOptions(), Limits())
    assert {outcome.status for outcome in outcomes} <= {"done"}
    liked = [(v, user) for v, users in zip(names, likes, strict=False) for user in range(users)]
    tables.write("events", [
        {"user_id": str(user), "video_id": v, "kind": "highlight", "start_ms": 0, "stop_ms": 5000, "source": "test",
         "source_row": row} for row, (v, user) in enumerate(liked, 1)
    ])  # fmt: skip
    write_labels(str(root))
    return root


def settings(root: Path, *overrides: str) -> Settings:
    """Settings that extract log-mel statistics, which need no weights, by default."""
    return load(None, [f"root={root}", "extract.extractors={logmel: {}}", *overrides])
