"""The main job on an object store: the same tables, features and fits as on disk."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from reelmill.extractors.video import c3d_network
from reelmill.flows.cli.main import app
from reelmill.flows.jobs import fits, steps, texts
from reelmill.flows.jobs.demo import watched
from reelmill.flows.jobs.report import report
from reelmill.flows.jobs.results import plain
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.models.recommendations import recommend
from reelmill.pipeline.demo.corpus import render, write_source
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.demo.planted import CorpusPlan
from reelmill.pipeline.demo.stories import write_watches
from reelmill.pipeline.highlight import write_highlight
from reelmill.storage import Tables, open_store, parts
from reelmill.storage.features import list_stores
from reelmill.storage.place import place as anywhere
from reelmill.storage.schema import SCHEMAS
from tests import s3
from tests.networks import ThinC3D

pytestmark = pytest.mark.timeout(1800)

PLAN = CorpusPlan(videos=6, new_videos=2, segments=(2, 3), tastes=2, users=30, size=(96, 54))
CODE = """
import json, sys
from pathlib import Path
from tests.flows.test_job_s3 import by_flow, thin
thin(setattr)
json.dump([by_flow(Path(sys.argv[1]), root) for root in sys.argv[2:]], sys.stdout)
"""
OWN = {
    "media": {"fetched_at"},
    "outcomes": {"seconds", "time", "message"},
    "rates": {"seconds", "time"},
}
"""Columns that tell when and how long."""


class Runs(NamedTuple):
    """Roots, and the figures of the runs into them."""

    disk: Path
    root: str
    disk_first: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rendered corpus, its source table and a settings file; one video is not on the server."""
    folder = tmp_path_factory.mktemp("job")
    render(PLAN, folder / "videos")
    write_source(PLAN, folder / "likes.csv")
    write_watches(PLAN, folder / "watches.csv")
    with (folder / "likes.csv").open("a") as file:
        file.write("gonegonegone,0.0,5.0,20000,30.0,False\n")
    settings = {
        "root": "disk",
        "source": {"path": "likes.csv", "format": "phd2"},
        "download": {"allow_private_addresses": True, "per_host_interval_s": 0, "workers": 2},
        "extract": {
            "extractors": {
                "c3d": {"weights": "random", "windows": 1, "batch_size": 4, "layers": ["fc6"]},
                "logmel": {},
                "topics": {"topics": 2},
            },
            "block": 3,
            "precision": "float32",
        },
        "train": {
            "models": {"transgrec": {"stores": "c3d-fc6", "options": {"epochs": 3, "batch": 500}}},
            "sources": ["likes.csv", "watches.csv"],
        },
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def environment(place: Path, s3_endpoint: str) -> Iterator[None]:
    """Endpoint, credentials and cache, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(s3_endpoint, place / "cache").items():
            patch.setenv(name, value)
        yield


def thin(put: Any) -> None:
    """C3D with few channels."""
    put(c3d_network, "C3DNetwork", ThinC3D)
    put(c3d_network.C3D, "about", replace(c3d_network.C3D.about, layers={"fc6": 8}))


def chosen(file: Path, root: str) -> Settings:
    """The settings with this root, after the second source was read into it: what the videos are called."""
    settings = load(file, [f"root={root}"])
    steps.read_source(watched(settings, file.parent / "watches.csv"))
    return settings


def by_flow(file: Path, root: str) -> dict[str, Any]:
    """Figures of the real job."""
    from reelmill.flows.jobs.run import run

    return plain(run(chosen(file, root)))


def by_steps(file: Path, root: str) -> dict[str, Any]:
    """The same without Prefect, whose server takes long to start."""
    settings = chosen(file, root)
    steps.tidy(settings)
    steps.read_source(settings)
    fetched = steps.fetch_block(settings, steps.download_plan(settings))
    steps.read_source(settings)
    steps.label(settings)
    networks = steps.extractors(settings)
    todo = steps.extract_plan(settings, networks)
    extracted = steps.extract_block(settings, todo, steps.have_pictures(settings))
    stores = steps.spec_names(settings, networks)
    stores += [s for one, refit in texts.encoders(settings.extract) for s in texts.encode(settings, one, refit).stores]
    fitted = fits.fit(settings, "transgrec", stores)
    return {
        "ingest": {"download": {"done": sum(o.status == "done" for o in fetched), "failed": steps.by_class(fetched)}},
        "extract": {"done": len(todo), "segments": extracted.segments, "stores": stores},
        "train": {"fits": {"transgrec": plain(fitted)}},
        "report": report(settings).report,
    }


@pytest.fixture(scope="module", params=["steps", pytest.param("flow", marks=pytest.mark.slow)])
def runs(request: pytest.FixtureRequest, place: Path, environment: None) -> Runs:
    """What came of the job on disk, on the object store, and there again."""
    disk, root, file = place / f"disk-{request.param}", s3.new_root(), place / "settings.yaml"
    with serve_folder(place / "videos") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELMILL__SOURCE__URL_TEMPLATE", f"{url}/{{video_id}}.mp4")
        if request.param == "flow":
            command = [sys.executable, "-c", CODE, str(file), str(disk), root, root]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
            assert ended.returncode == 0, ended.stderr[-5000:]
            figures = json.loads(ended.stdout)
        else:
            thin(patch.setattr)
            figures = [by_steps(file, where) for where in (str(disk), root, root)]
    return Runs(disk, root, *figures)


def rows(root: str | Path, name: str) -> list[dict[str, Any]]:
    """Rows of a table in an order of their own, without what tells when and how long."""
    table = Tables(root).read(name)
    table = table.drop_columns(sorted(OWN.get(name, set())))
    return sorted(table.to_pylist(), key=lambda row: json.dumps(row, default=str, sort_keys=True))


def test_every_table_is_the_same(runs: Runs) -> None:
    assert runs.first["ingest"]["download"]["done"] == 6
    assert runs.first["ingest"]["download"]["failed"] == {"removed": 1}
    for name in SCHEMAS:
        assert rows(runs.root, name) == rows(runs.disk, name), name
    assert Tables(runs.root).read("frames").num_rows == runs.first["extract"]["segments"] > 10
    assert all(uri.startswith("media/") for uri in Tables(runs.root).read("media")["uri"].to_pylist())


def test_every_block_is_the_same(runs: Runs) -> None:
    assert list_stores(runs.root) == list_stores(runs.disk)
    assert {name.split("-")[0] for name in list_stores(runs.root)} == {"c3d", "logmel", "topics"}
    for name in list_stores(runs.root):
        ours, theirs = open_store(runs.root, name), open_store(runs.disk, name)
        assert (ours.keys(), ours.spec) == (theirs.keys(), theirs.spec)
        assert len(ours) >= 6
        for video in ours.keys():  # noqa: SIM118
            a, b = ours.read(video), theirs.read(video)
            for part in ("features", "mask", "segment_index", "start_ms", "stop_ms"):
                np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
        assert not ours.verify()


def test_the_root_holds_the_same_files(runs: Runs) -> None:
    """But for random parts of their names."""

    def kinds(root: str | Path) -> list[str]:
        names = parts.walk(anywhere(root))
        return sorted(re.sub(r"\d{10,}[-.\w]*", "#", name) for name in names if ".hosts" not in name)

    assert kinds(runs.root) == kinds(runs.disk)


def test_the_fit_is_the_same_and_can_be_asked(runs: Runs, tmp_path: Path) -> None:
    here, there = (figures["train"]["fits"]["transgrec"] for figures in (runs.disk_first, runs.first))
    assert there["metrics"] == here["metrics"]
    assert there["folder"].startswith(f"{runs.root}/runs/transgrec-")
    label = Tables(runs.root).read("labels").to_pylist()[0]
    asked = {"user": label["user_id"], "video": label["video_id"], "run": "transgrec", "why": True}
    answer = recommend(runs.root, **asked)
    assert answer.recommended == recommend(runs.disk, **asked).recommended
    gif = write_highlight(runs.root, label["video_id"], 0, 3000, tmp_path / "best.gif")
    assert (tmp_path / "best.gif").read_bytes()[:4] == b"GIF8"
    assert gif["pictures"] == 30
    page = parts.read_file(anywhere(runs.first["report"])).decode()
    assert page.count("data:image/jpeg") >= 6


def test_a_second_run_does_nothing_twice(runs: Runs) -> None:
    assert runs.second["ingest"]["download"]["done"] == 0
    assert runs.second["extract"]["done"] == 0
    assert runs.second["train"]["fits"]["transgrec"]["skipped"]
    assert runs.second["extract"]["stores"] == runs.first["extract"]["stores"]


def test_the_command_line_takes_the_root(runs: Runs) -> None:
    def reelmill(*arguments: str) -> dict[str, Any]:
        told = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        assert told.exit_code == 0
        return json.loads(told.stdout)

    told = reelmill("status", "--root", runs.root)
    assert (told["root"], told["tables"]["media"], len(told["stores"])) == (runs.root, 6, 3)
    assert not any(reelmill("verify", "--root", runs.root)["stores"].values())
    assert reelmill("recommend", "--root", runs.root, "--user", "nobody")["model"] == "transgrec"
