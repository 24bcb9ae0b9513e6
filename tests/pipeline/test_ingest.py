"""Media into a root: what is missing is asked of the files, and a stop is a stop."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from reelmill.pipeline.decode import Limits
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.download.ingest import KnownVideos, Wanted, fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage import Tables
from reelmill.storage.schema import SCHEMAS
from tests.media import make_video
from tests.servers import World, misbehaving

OPTIONS = DownloadOptions(allow_private_addresses=True, backoff_s=0.05, per_host_interval_s=0)


def test_media_that_is_gone_or_another_file_is_wanted_again(tmp_path: Path) -> None:
    first, second = (make_video(tmp_path / name, frames=n) for name, n in (("a.mp4", 10), ("b.mp4", 20)))
    root = str(tmp_path / "root")
    Tables(root).write("videos", [{"video_id": "a", "url": str(first)}, {"video_id": "b", "url": str(second)}])
    wanted = missing_media(root)
    assert [w.video_id for w in wanted] == ["a", "b"]
    assert {o.status for o in fetch_media(root, wanted, OPTIONS, Limits())} == {"done"}
    assert missing_media(root) == []
    first.unlink()
    make_video(second, frames=30)
    assert [w.video_id for w in missing_media(root)] == ["a", "b"]
    outcomes = fetch_media(root, missing_media(root), OPTIONS, Limits())
    assert [(o.key, o.error_class) for o in outcomes] == [("a", "not_found"), ("b", None)]
    assert {r["video_id"]: r["frame_count"] for r in Tables(root).read("media").to_pylist()} == {"a": 10, "b": 30}


def test_what_the_source_says_stays(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    make_video(tmp_path / "files" / "v.mp4")
    root = str(tmp_path / "root")
    with serve_folder(tmp_path / "files") as url:
        row = {"video_id": "v", "url": f"{url}/v.mp4", "title": "as the source says", "claimed_duration_ms": 1234}
        Tables(root).write("videos", [row])
        (outcome,) = fetch_media(root, missing_media(root), OPTIONS, Limits())
    assert outcome.status == "done", outcome.message
    (kept,) = Tables(root).read("videos").to_pylist()
    assert (kept["title"], kept["claimed_duration_ms"]) == ("as the source says", 1234)


def test_a_stop_ends_a_download_at_once_and_is_no_failure(tmp_path: Path) -> None:
    """As Ctrl-C does: the download that is under way is dropped, not recorded, and resumed by the next run."""
    root, stop = str(tmp_path / "root"), threading.Event()
    world = World(media=make_video(tmp_path / "v.mp4", frames=500).read_bytes(), drip_s=0.5)
    with misbehaving(world) as url:
        wanted = [Wanted("slow", f"{url}/slow/v.mp4"), Wanted("next", f"{url}/good/v.mp4")]
        ended: list[float] = []

        def work() -> None:
            assert fetch_media(root, wanted, OPTIONS, Limits(), stop=stop) == []
            ended.append(time.monotonic())

        thread = threading.Thread(target=work)
        thread.start()
        while len(world.hits("/slow/v.mp4")) < 2:
            time.sleep(0.05)
        stopped = time.monotonic()
        stop.set()
        thread.join(timeout=30)
    assert ended
    assert ended[0] - stopped < 3
    assert Tables(root).read("outcomes").num_rows == 0
    assert not world.hits("/good/v.mp4")


def test_the_blocks_of_a_run_read_the_table_of_videos_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as large as the run: read again for each block of downloads it would make the run quadratic."""
    video, root = make_video(tmp_path / "v.mp4", frames=10), tmp_path / "root"
    rows = [{"video_id": f"v{n}", "url": str(video), "title": f"title {n}"} for n in range(3)]
    Tables(root).write("videos", rows)
    wanted, read = missing_media(root), []
    plain = Tables.read

    def counted(self: Tables, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        read.append(name)
        return plain(self, name, columns)

    monkeypatch.setattr(Tables, "read", counted)
    known = KnownVideos(root)
    for one in wanted:
        assert [o.status for o in fetch_media(root, [one], OPTIONS, Limits(), known=known)] == ["done"]
    assert read.count("videos") == 1
    assert known.of(["v1", "unknown"]) == {"v1": {**dict.fromkeys(SCHEMAS["videos"].names), **rows[1]}}
