"""Where a downloaded file is stored in a root, and the note about it.

    ROOT/media/<kk>/<key>.<ext>      a complete file; it is renamed into place last, so it is whole
    ROOT/media/<kk>/<key>.json       a note: address asked for, hash, size, what the web page said
    ROOT/media/.partial/<key>/       an unfinished download; the next attempt, or the next run, resumes it

`key` is the start of a hash of the video's id: ids, titles and addresses never become paths.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelmill.pipeline.download.hosts import HostPacer
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.media import digest
from reelmill.storage.disk import sync


@dataclass(frozen=True)
class Fetched:
    """A complete file."""

    path: Path
    """Absolute."""
    sha256: str
    bytes: int
    info: dict[str, Any] = field(default_factory=dict)
    """Columns of `videos` from the web page: title, description, tags, categories, uploader, upload_date,
    claimed_duration_ms; those that it does not give are left out."""
    downloader: str | None = None
    """Program and version; None for a local file."""
    format_id: str | None = None
    attempts: int = 1
    """Number of attempts in this call; 0 if an earlier run completed it."""
    uri: str | None = None
    """Path in the root, if that is on an object store; `path` is then a local copy."""


@dataclass(frozen=True)
class Place:
    """Where the file of a video is, or will be."""

    media: Path
    key: str
    asked: str
    """Hash of the request: address and format."""

    @classmethod
    def of(cls, media: Path, video_id: str, url: str, options: DownloadOptions) -> "Place":
        """The place of a video in a root's media folder."""
        key = hashlib.sha256(video_id.encode(errors="surrogatepass")).hexdigest()[:16]
        question = json.dumps([url, options.selector()])
        return cls(media, key, hashlib.sha256(question.encode()).hexdigest()[:16])

    @property
    def folder(self) -> Path:
        """Folder of the complete file."""
        return self.media / self.key[:2]

    @property
    def partial(self) -> Path:
        """Folder of the unfinished download."""
        return self.media / ".partial" / self.key

    @property
    def note(self) -> Path:
        """The note about the complete file."""
        return self.folder / f"{self.key}.json"

    def standing(self) -> Fetched | None:
        """The file, if an earlier run completed it for the same address and format and it has not changed since."""
        try:
            note = json.loads(self.note.read_text())
            return self.noted(note, self.folder / note["file"])
        except (OSError, ValueError, KeyError):
            return None

    def noted(self, note: dict[str, Any], path: Path) -> Fetched | None:
        """A file with what its note says, if it was fetched from the same address in the same format and has not
        changed since. Raises OSError, and KeyError for another kind of note."""
        if note["asked"] != self.asked or digest(path) != (note["sha256"], note["bytes"]):
            return None
        return Fetched(path, note["sha256"], note["bytes"], note["info"], note["downloader"], note["format_id"], 0)

    def put(self, file: Path, info: dict[str, Any], downloader: str | None, format_id: str | None) -> Fetched:
        """Move a complete file out of the partial folder; its rename comes last. A note without its file, or with an
        older one, does no harm: the hash differs."""
        suffix = file.suffix if file.suffix[1:].isalnum() and len(file.suffix) <= 8 else ".bin"
        path = self.folder / f"{self.key}{suffix}"
        sha256, size = digest(file)
        note = {"file": path.name, "asked": self.asked, "sha256": sha256, "bytes": size,
                "info": info, "downloader": downloader, "format_id": format_id}  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.partial / "note.json"
        draft.write_text(json.dumps(note))
        for written in (file, draft):
            sync(written)
        draft.replace(self.note)
        file.replace(path)
        sync(self.folder)
        self.clear()
        return Fetched(path, sha256, size, info, downloader, format_id)

    def clear(self) -> None:
        """Remove the unfinished download."""
        shutil.rmtree(self.partial, ignore_errors=True)


@dataclass(frozen=True)
class DownloadJob:
    """A job for the downloading process."""

    place: Place
    url: str
    options: DownloadOptions
    pacer: HostPacer
