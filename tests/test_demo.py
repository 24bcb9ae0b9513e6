"""What the demo claims: on the rendered corpus TransGRec-E finds the tastes, on its noise twin it finds nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.planted import CorpusPlan

CODE = """
import json, sys
from pathlib import Path
from flows.demo import NETWORKS, demo
from flows.document import plain
from pipeline.planted import CorpusPlan
figures = demo(Path(sys.argv[1]), CorpusPlan(size=(160, 90)), {"c3d": NETWORKS["c3d"]})
json.dump(figures, sys.stdout, default=plain)
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo in small pictures and with one network, as a process of its own."""
    command = [sys.executable, "-c", CODE, str(tmp_path_factory.mktemp("demo"))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


def row(fitted: dict[str, Any], metric: str, name: str = "transgrec") -> dict[str, Any]:
    return next(r for r in fitted["metrics"] if r["row"] == name and r["metric"] == metric)


def test_the_fit_beats_chance_clearly_on_the_planted_corpus(figures: dict[str, Any]) -> None:
    for metric in ("map", "ndcg@5", "hr@1"):
        found = row(figures["run"]["train"], metric)
        assert found["cases"] > 90
        assert found["minus_random_low"] > 0.2


def test_it_stays_at_chance_on_the_noise_twin(figures: dict[str, Any]) -> None:
    found = row(figures["control"]["train"], "map")
    assert found["cases"] > 90
    assert found["minus_random_low"] < 0 < found["minus_random_high"]


def test_the_twin_costs_no_second_download_or_extraction(figures: dict[str, Any]) -> None:
    assert figures["control"]["ingest"]["download"] == {"done": 0, "skipped": CorpusPlan().videos, "failed": {}}
    assert figures["run"]["extract"]["done"] == CorpusPlan().videos
    assert Path(figures["run"]["report"]).is_file()
