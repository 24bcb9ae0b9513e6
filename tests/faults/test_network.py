"""A network that is cut and a server that is restarted, in the middle of downloads."""

import threading
import time
from pathlib import Path

from reelmill.pipeline.decode import Limits
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.media import digest
from reelmill.storage import Outcomes, Tables
from tests.faults.downloads import OPTIONS, Server
from tests.media import make_video


def prepared(tmp_path: Path, server: Server) -> dict[str, tuple[str, int]]:
    """Three videos of 200 kB and a root that wants them; hash and size of each."""
    rows = []
    for n in range(3):
        path = make_video(server.folder / f"v{n}.mp4", 30 + n, size=(160, 120))
        size = 200_000 - path.stat().st_size
        with path.open("ab") as file:
            file.write(size.to_bytes(4, "big") + b"free" + bytes(k * (k + n) % 251 for k in range(size - 8)))
        rows.append({"video_id": f"v{n}", "url": server.address(path.name)})
    Tables(tmp_path / "root").write("videos", rows)
    return {row["video_id"]: digest(server.folder / f"{row['video_id']}.mp4") for row in rows}


def measured(root: str) -> dict[str, tuple[str, int]]:
    return {row["video_id"]: (row["sha256"], row["bytes"]) for row in Tables(root).read("media").to_pylist()}


def test_a_server_that_comes_back_finds_its_clients_where_they_were(tmp_path: Path) -> None:
    """It goes twice, a second each time, and resets every connection."""
    root = str(tmp_path / "root")
    with Server(tmp_path) as server:
        true = prepared(tmp_path, server)
        came: list[object] = []
        worker = threading.Thread(target=lambda: came.extend(fetch_media(root, missing_media(root), OPTIONS, Limits())))
        worker.start()
        for _ in range(2):
            before, deadline = server.sent, time.monotonic() + 30
            while server.sent < before + 90_000 and time.monotonic() < deadline:
                time.sleep(0.01)
            server.stop()
            time.sleep(1)
            server.start()
        worker.join(timeout=90)
    assert not worker.is_alive()
    assert measured(root) == true
    assert [getattr(outcome, "status", None) for outcome in came] == ["done"] * 3
    assert len([start for start in server.ranges if start > 0]) >= 2, "nothing was resumed"


def test_a_network_that_stays_away_fails_each_video_and_one_more_run_finishes(tmp_path: Path) -> None:
    root, hasty = str(tmp_path / "root"), OPTIONS.__class__(**{**vars(OPTIONS), "attempts": 2})
    with Server(tmp_path) as server:
        true = prepared(tmp_path, server)
        threading.Timer(1.5, server.stop).start()
        began = time.monotonic()
        outcomes = fetch_media(root, missing_media(root), hasty, Limits())
        assert time.monotonic() - began < 60
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        assert failed
        assert {(outcome.error_class, outcome.permanent) for outcome in failed} <= {
            ("network", False), ("cut_short", False)}  # fmt: skip
        server.start()
        assert {outcome.status for outcome in fetch_media(root, missing_media(root), OPTIONS, Limits())} == {"done"}
    assert measured(root) == true
    assert {row["status"] for row in Outcomes(root).latest("download").values()} == {"done"}
