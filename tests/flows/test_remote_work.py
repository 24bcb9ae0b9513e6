"""Downloads and fits into a root on an object store, interrupted and taken up by other machines."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reelmill.flows.jobs import places, steps
from reelmill.flows.settings.load import load
from reelmill.models import fit, runs
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import World, write
from reelmill.pipeline import media
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.download import fetch
from reelmill.pipeline.download.ingest import Wanted, fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.errors import NotFound
from reelmill.storage import Tables, cache, objects, parts
from reelmill.storage.errors import InputError, Unreachable
from reelmill.storage.place import place
from tests.media import make_video

OPTIONS = DownloadOptions(allow_private_addresses=True, backoff_s=0.05, per_host_interval_s=0)


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Be a machine whose cache is empty."""
    return lambda: monkeypatch.setenv("REELMILL_CACHE", str(tmp_path / "cache of another machine"))


def test_a_download_is_delivered_and_found_again(s3_root: str, tmp_path: Path, another_machine: Any) -> None:
    (tmp_path / "files").mkdir()
    content = make_video(tmp_path / "files" / "v.mp4").read_bytes()
    with serve_folder(tmp_path / "files") as url:
        Tables(s3_root).write("videos", [{"video_id": "v", "url": f"{url}/v.mp4"}])
        wanted = missing_media(s3_root)
        (outcome,) = fetch_media(s3_root, wanted, OPTIONS, Limits())
    (row,) = Tables(s3_root).read("media").to_pylist()
    assert (outcome.status, outcome.attempt) == ("done", 1)
    assert parts.read_file(place(s3_root) / row["uri"]) == content
    desk = cache.folder() / "desk"
    assert not [p for p in desk.rglob("*") if p.is_file() and ".hosts" not in str(p)], "nothing is left behind"
    assert missing_media(s3_root) == []
    # The rows are lost, or were never written: the server is gone, and the file stands.
    another_machine()
    (again,) = fetch_media(s3_root, wanted, OPTIONS, Limits())
    assert (again.status, again.attempt) == ("done", 0)
    # Another file stands there now: it is wanted again.
    parts.write_file(place(s3_root) / row["uri"], content[:-1])
    assert missing_media(s3_root) == wanted
    (gone,) = fetch_media(s3_root, wanted, OPTIONS, Limits())
    assert gone.status == "failed"


def test_a_download_waits_for_the_store(s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fetched is not fetched again when the store refuses it."""
    (tmp_path / "files").mkdir()
    make_video(tmp_path / "files" / "v.mp4")

    def refuse(file: Path, path: object) -> None:
        raise Unreachable(f"{path}: busy")

    with serve_folder(tmp_path / "files") as url:
        wanted = [Wanted("v", f"{url}/v.mp4")]
        with monkeypatch.context() as patch, fetch.Downloader(s3_root, OPTIONS) as downloader:
            patch.setattr(objects, "put", refuse)
            with pytest.raises(Unreachable, match="busy"):
                downloader.fetch("v", wanted[0].url)
    (outcome,) = fetch_media(s3_root, wanted, OPTIONS, Limits())
    assert (outcome.status, outcome.attempt) == ("done", 0)


def test_local_files_stay_or_are_copied(s3_root: str, tmp_path: Path) -> None:
    file = make_video(tmp_path / "v.mp4")
    wanted = [Wanted("v", str(file))]
    fetch_media(s3_root, wanted, OPTIONS, Limits())
    assert Tables(s3_root).read("media")["uri"].to_pylist() == [str(file)]
    assert not parts.is_folder(place(s3_root) / "media")
    fetch_media(s3_root, wanted, DownloadOptions(copy_local=True), Limits())
    (uri,) = Tables(s3_root).read("media")["uri"].to_pylist()
    assert parts.read_file(place(s3_root) / uri) == file.read_bytes()
    assert file.exists()


def test_an_error_names_the_object_and_not_its_copy(s3_root: str) -> None:
    parts.write_file(place(s3_root) / "media" / "v.mp4", b"nothing")

    def read() -> None:
        with media.at_hand(f"{s3_root}/media/v.mp4") as file:
            assert file.read_bytes() == b"nothing"
            raise NotFound(f"{file} is bad")

    with pytest.raises(NotFound, match=rf"^{s3_root}/media/v\.mp4 is bad"):
        read()
    with pytest.raises(NotFound, match=r"none\.mp4 is not a file"), media.at_hand(f"{s3_root}/media/none.mp4"):
        pass


def test_a_killed_fit_goes_on_on_another_machine(s3_root: str, tmp_path: Path, another_machine: Any) -> None:
    world, settings = (
        World(users=30, old_videos=12, new_videos=6, hidden=0.0),
        TransGRecSettings(batch=250, epochs=4, dim=8),
    )
    train = partial(fit.train, settings=settings, pictures=False, save_every_s=0)
    whole = train(tmp_path, write(tmp_path, world)["features"])
    store = write(s3_root, world)["features"]  # type: ignore[arg-type]

    class Stop(Exception):
        pass

    def stop(epoch: int, _: object) -> None:
        if epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(s3_root, store, on_epoch=stop)
    (name,) = parts.folders(place(s3_root) / "runs")
    run = runs.Run(place(s3_root) / "runs" / name)
    assert (run.complete, runs.list_runs(s3_root)) == (False, [])
    assert run.progress()["epoch"] == 2  # type: ignore[index]
    assert any("tfevents" in file for file in parts.files(run.folder))
    another_machine()
    epochs: list[int] = []
    done = train(s3_root, store, on_epoch=lambda epoch, _: epochs.append(epoch))
    assert epochs == [3, 4]
    assert done.metrics["rows"] == whole.metrics["rows"]
    assert [r.folder for r in runs.list_runs(s3_root)] == [run.folder]
    names = {file.partition(".out.")[0] for file in parts.files(run.folder)}
    assert names == {"settings.json", "checkpoint.pt", "history.csv", "metrics.json", "cases.parquet", "events"}
    assert not list((cache.folder() / "logs").iterdir())
    assert runs.load(run.folder).name == "transgrec"
    assert train(s3_root, store).skipped


def test_a_planted_world_is_written_once(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(None, [f"root={s3_root}", "train.models={transgrec: {}}"])
    knobs = "users=12,old_videos=6,new_videos=3"
    planted = places.of_world(settings, "transgrec", knobs)
    assert planted.root.startswith(f"{s3_root}/transgrec-")
    before = parts.walk(place(s3_root))
    assert places.of_world(settings, "transgrec", knobs).train == planted.train
    assert parts.walk(place(s3_root)) == before
    assert Tables(planted.root).read("labels").num_rows > 0


def test_settings_take_a_root_anywhere(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("root: s3://bucket/corpus/\nreport: s3://other/page.html\n")
    settings = load(tmp_path / "settings.yaml")
    assert (steps.root_of(settings).address, settings.report) == ("s3://bucket/corpus", "s3://other/page.html")
    (tmp_path / "settings.yaml").write_text("root: data\n")
    assert steps.root_of(load(tmp_path / "settings.yaml")).address == str(tmp_path / "data")
    assert steps.root_of(load(None, ["root=file:///srv/data"])).address == "/srv/data"
    for root, message in (
        ("nope://bucket/x", "no driver for 'nope'"),
        ("s3://KEY:geheim@bucket/x", "may hold no key or password"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load(None, [f"root={root}"])
        assert "geheim" not in str(caught.value)
