"""The main job as a user runs it: one command, a real Prefect flow, real downloads from a loopback web server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from reelmill.models import runs
from reelmill.pipeline.demo.corpus import render, write_source
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.demo.planted import CorpusPlan, planted_videos
from reelmill.storage import Tables, open_store
from tests.optional import needs

PLAN = CorpusPlan(videos=9, new_videos=3, segments=(3, 4), tastes=3, users=45, size=(96, 54))
CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
RANDOM = {"weights": "random", "windows": 1, "batch_size": 4}


def reelmill(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """Run a verb with --json in its own process; its figures."""
    command = [sys.executable, "-c", "from reelmill.flows.cli.main import main; main()", *map(str, arguments), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, env=dict(os.environ), check=False)
    assert ended.returncode == status, ended.stderr[-3000:]
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rendered corpus, its source table and a settings file; one video is not on the server."""
    folder = tmp_path_factory.mktemp("job")
    render(PLAN, folder / "videos")
    write_source(PLAN, folder / "likes.csv")
    with (folder / "likes.csv").open("a") as file:
        file.write("gonegonegone,0.0,5.0,20000,30.0,False\n")
    settings = {
        "root": "root",
        "source": {"path": "likes.csv", "format": "phd2"},
        "download": {"allow_private_addresses": True, "per_host_interval_s": 0, "workers": 2},
        "extract": {"extractors": {"c3d": {**RANDOM, "layers": ["fc6", "conv5"]}}, "block": 4, "precision": "float32"},
        "train": {"models": {"transgrec": {"stores": "c3d-fc6", "options": {"epochs": 3, "batch": 500}}}},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def first(place: Path) -> Iterator[dict[str, Any]]:
    """The first run."""
    with serve_folder(place / "videos") as url:
        template = f"source.url_template={url}/{{video_id}}.mp4"
        yield reelmill("run", place / "settings.yaml", "--set", template, status=1)


def test_the_job_goes_from_a_table_to_a_fitted_recommender(place: Path, first: dict[str, Any]) -> None:
    root, videos = place / "root", planted_videos(PLAN)
    assert first["ingest"]["download"] == {"done": 9, "skipped": 0, "failed": {"removed": 1}}
    assert first["ingest"]["source"]["events_written"]
    assert first["new_failures"] == ["download: gonegonegone"]
    assert (first["extract"]["done"], first["extract"]["failed"], first["extract"]["without"]) == (9, {}, 0)
    segments = sum(len(v.tastes) for v in videos)
    assert first["extract"]["segments"] == segments
    tables = Tables(root)
    measured = {row["video_id"]: row["duration_ms"] for row in tables.read("media").to_pylist()}
    assert all(abs(measured[v.video_id] - v.duration_ms) <= 40 for v in videos)
    assert tables.read("frames").num_rows == segments
    for layer, dim in (("fc6", 4096), ("conv5", 512)):
        store = open_store(root, f"c3d-{layer}")
        assert (len(store), store.spec.dim, store.spec.weights) == (9, dim, "random-0")
        values = np.concatenate([store.read(v).features for v in store.keys()])  # noqa: SIM118
        assert values.std(axis=0).max() > 0
        assert not store.verify()
    assert {row["row"] for row in first["train"]["fits"]["transgrec"]["metrics"]} >= {"transgrec", "random"}


def test_every_source_row_is_an_event_or_a_reject(place: Path, first: dict[str, Any]) -> None:
    rows = len((place / "likes.csv").read_text().splitlines()) - 1
    tables = Tables(place / "root")
    numbers = tables.read("events")["source_row"].to_pylist() + tables.read("rejects")["source_row"].to_pylist()
    assert sorted(numbers) == list(range(1, rows + 1))
    # Rows of unknown duration waited for the measured one.
    assert "-1.0" in (place / "likes.csv").read_text()
    assert "unknown_duration" not in first["ingest"]["source"]["reasons"]


def test_the_checkpoint_rebuilds_the_model(place: Path, first: dict[str, Any]) -> None:
    folder = Path(first["train"]["fits"]["transgrec"]["folder"])
    fitted = runs.load(folder)
    assert sum(p.numel() for p in fitted.model.parameters()) > 4096
    assert {"settings.json", "metrics.json", "history.csv", "checkpoint.pt"} <= {p.name for p in folder.iterdir()}


def test_the_report_is_a_page_that_needs_nothing(first: dict[str, Any]) -> None:
    page = Path(first["report"]).read_text()
    outside: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            values = [v for k, v in attrs if k in ("src", "href") and v]
            outside.extend(v for v in values if not v.startswith(("data:", "#")))
            assert tag != "script"

    Links().feed(page)
    assert not outside
    assert page.count("data:image/jpeg") >= 9


def test_a_second_run_does_nothing_twice(place: Path, first: dict[str, Any]) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in (place / "root").rglob("part-*"))
    again = reelmill("run", place / "settings.yaml")  # no server any more: nothing is asked of it
    assert again["ingest"]["download"] == {"done": 0, "skipped": 9, "failed": {}}
    # Events were made with measured durations in the first run already, so they stay.
    assert not again["ingest"]["source"]["events_written"]
    assert not again["ingest"]["labels"]["written"]
    assert (again["extract"]["done"], again["extract"]["skipped"]) == (0, 9)
    assert again["train"]["fits"]["transgrec"]["skipped"]
    assert again["new_failures"] == []
    after = sorted((p, p.stat().st_mtime_ns) for p in (place / "root").rglob("part-*"))
    # The address template changed with the server's port; nothing else was written.
    assert [p for p, _ in after if "videos" not in str(p)] == [p for p, _ in before if "videos" not in str(p)]
    assert set(before) <= set(after)


@needs("data", CLIPS.exists())
def test_real_clips_of_odd_kinds_all_end_with_an_outcome(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for clip in CLIPS.glob("*/*"):
        if clip.stat().st_size < 2_000_000:
            (folder / clip.name).symlink_to(clip)
    (folder / "page.mp4").write_text("<html>")
    (folder / "empty.mkv").touch()
    whole = (CLIPS / "pytorchvideo" / "archery.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    common = ["--root", tmp_path / "root", "--set", "segments.segment_ms=20000"]  # a window or two a clip
    options = ["--set", f"source.path={folder}", "--set", "source.format=folder"]
    media = reelmill("ingest", *common, *options, status=1)
    networks = "extract.extractors=" + json.dumps({"c3d": {**RANDOM, "layers": ["conv5"]}})
    figures = reelmill("extract", *common, "--set", networks)
    rows = Tables(tmp_path / "root").read("outcomes").to_pylist()
    ended = {row["key"]: row for row in rows}
    assert set(ended) == {p.name for p in folder.iterdir()}
    failed = {key: row["error_class"] for key, row in ended.items() if row["status"] == "failed"}
    assert failed == {"page.mp4": "unsupported", "empty.mkv": "corrupt", "cut.mp4": "corrupt"}
    assert all(row["message"] for key, row in ended.items() if key in failed)
    assert media["download"]["done"] == figures["done"] == len(ended) - len(failed)
    store = open_store(tmp_path / "root", "c3d-conv5")
    assert set(store.keys()) == set(ended) - set(failed)
