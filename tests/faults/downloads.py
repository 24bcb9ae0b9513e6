"""Downloads that are killed, and servers that go away. The job `ingests` runs in the nursery."""

import contextlib
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from reelmill.pipeline.decode import Limits
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.media import digest
from reelmill.storage import Outcomes, Tables
from tests.faults.processes import children, ended, joined, living, started, stop
from tests.faults.work import doubled_outcomes
from tests.servers import FolderHandler, QuietServer

OPTIONS = DownloadOptions(
    allow_private_addresses=True,
    proxy="",
    backoff_s=0.1,
    attempts=12,
    socket_timeout_s=5,
    max_seconds=60,
    per_host_interval_s=0,
)


class Server:
    """A folder on a port of the loopback; slow, and it can go away in the middle of everything and come back."""

    def __init__(self, folder: Path, pause_s: float = 0.02) -> None:
        self.folder, self.pause_s, self.port = folder, pause_s, 0
        self.gone = threading.Event()
        self.ranges: list[int] = []
        """Where each answer began."""
        self.sent = 0

    def start(self) -> None:
        """On a free port the first time, later on the same one."""
        self.gone.clear()
        self.server = QuietServer(("127.0.0.1", self.port), partial(_Slow, folder=self.folder, owner=self))
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Refuse connections and break off those that there are."""
        self.gone.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.gone.is_set():
            self.stop()


class _Slow(FolderHandler):
    """Sends a few kilobytes at a time."""

    def __init__(self, *arguments: object, folder: Path, owner: Server) -> None:
        self.owner = owner
        super().__init__(*arguments, folder=folder)

    def send_body(self, body: bytes) -> None:
        self.owner.ranges.append(int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]))
        with contextlib.suppress(OSError):
            for start in range(0, len(body), 4000):
                if self.owner.gone.is_set():
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                self.wfile.write(body[start : start + 4000])
                self.owner.sent += 4000
                time.sleep(self.owner.pause_s)


def ingests(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Target for a child process. Job: `root`, `seed`, `kills`, `files` ({video: path}), a root whose `videos` name
    addresses. Two ingests on one root, killed so many times; then one more. Gives what was done."""
    root, rng, files = job["root"], random.Random(job["seed"]), job["files"]
    true = {video: digest(Path(path)) for video, path in files.items()}
    kills, at_work = 0, dict[str, int]()

    def ingest() -> None:
        fetch_media(root, missing_media(root), OPTIONS, Limits())

    while kills < job["kills"] and missing_media(root):
        for who in {"one", "two"} - at_work.keys():
            at_work[who] = started(ingest)
        _until_under_way(root)
        time.sleep(rng.uniform(0, 0.7))
        who = rng.choice(["one", "two"])
        below = children(at_work[who])
        if rng.random() < 0.3:
            for process in below:
                stop(process)
        stop(at_work[who])
        status = os.waitstatus_to_exitcode(os.waitpid(at_work.pop(who), 0)[1])
        assert status in (0, -signal.SIGKILL), f"an ingest ended with {status}"
        kills += status == -signal.SIGKILL
        assert living(below) == [], "a downloading process outlived its worker"
        _media(root, true)
        for other in [w for w, process in at_work.items() if ended(process) is not None]:
            del at_work[other]
    for process in at_work.values():
        assert joined(process) == 0
    assert joined(started(ingest)) == 0
    assert _media(root, true) == len(true)
    assert {row["status"] for row in Outcomes(root).latest("download").values()} == {"done"}
    assert doubled_outcomes(root) == 0
    left = [path for path in (Path(root) / "media" / ".partial").rglob("*") if path.is_file()]
    assert not left, f"parts stayed behind: {left}"
    yield {"kills": kills, "videos": len(true)}


def _until_under_way(root: str) -> None:
    """Wait until a part of some file has come; not for ever, for all of them may be complete."""
    deadline = time.monotonic() + 3
    while not list((Path(root) / "media" / ".partial").glob("*/*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)


def _media(root: str, true: dict[str, tuple[str, int]]) -> int:
    """Every row of `media` is true of its file; gives their number."""
    rows = Tables(root).read("media").to_pylist()
    assert len({row["video_id"] for row in rows}) == len(rows)
    for row in rows:
        assert (row["sha256"], row["bytes"]) == true[row["video_id"]]
        assert digest(Path(root) / row["uri"]) == true[row["video_id"]]
    return len(rows)
