"""Blocks through a real Ray cluster on this machine: the same features, each block once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelmill.storage import Tables, open_store
from tests.sounds import write_sound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
EXTRACT = "extract={block: 1, device: cpu, precision: float32, extractors: {c3d: {layers: [conv5], weights: random}}}"


def reelmill(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """Run a verb with --json in its own process; its figures."""
    command = [sys.executable, "-c", "from reelmill.flows.cli.main import main; main()", *map(str, arguments), "--json"]
    # Networks' sums must not depend on how many threads a worker gets.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    assert ended.returncode == status, ended.stderr[-3000:]
    return json.loads(ended.stdout)


def test_ray_stores_what_one_process_stores(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(6):
        write_sound(tmp_path / "videos" / f"{number}.mkv", seconds=5 + number)
    source = ["--set", f"source.path={tmp_path / 'videos'}", "--set", "source.format=folder", "--set", EXTRACT]
    stores = {}
    for name, engine in (("here", []), ("ray", ["--set", "engine={runner: ray, workers: 2}"])):
        root = ["--root", tmp_path / name]
        reelmill("ingest", *source, *root)
        figures = reelmill("extract", *source, *root, *engine)
        assert (figures["done"], figures["failed"]) == (6, {})
        stores[name] = open_store(tmp_path / name, "c3d-conv5")
        rows = Tables(tmp_path / name).read("outcomes").to_pylist()
        assert sorted(row["key"] for row in rows if row["stage"] == "extract") == sorted(stores[name].keys())
    assert sorted(stores["here"].keys()) == sorted(stores["ray"].keys())
    for video in stores["here"].keys():  # noqa: SIM118
        here, ray = (stores[name].read(video).features for name in ("here", "ray"))
        np.testing.assert_allclose(ray, here, rtol=1e-5, atol=1e-6)


def test_a_task_that_no_machine_can_take_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_sound(tmp_path / "videos" / "one.mkv")
    source = ["--set", f"source.path={tmp_path / 'videos'}", "--set", "source.format=folder", "--set", EXTRACT]
    reelmill("ingest", *source, "--root", tmp_path / "root")
    engine = "engine={runner: ray, workers: 1, gpus_per_task: 99}"
    told = reelmill("extract", *source, "--root", tmp_path / "root", "--set", engine, status=2)
    assert "no machine of the cluster has so many" in told["error"]["message"]
