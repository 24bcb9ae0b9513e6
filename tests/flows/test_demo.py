"""What the demo claims: on the rendered corpus TransGRec-E finds the tastes, on its noise twin it finds nothing."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from reelmill.extractors.video import c3d_network
from reelmill.flows.jobs.demo import MODELS, NETWORKS, DemoResult, demo
from reelmill.models.registry import of_papers
from reelmill.pipeline.demo.planted import CorpusPlan
from tests.demo_output import block, sentences, shapes

HOUSE = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)

SIZES = {
    "small": CorpusPlan(size=(64, 36), segment_ms=2000),
    "full": CorpusPlan(size=(160, 90)),
}
"""Both with as many videos and segments; the small one renders less, and its network has a hundredth of the weights."""

CODE = """
import io, json, sys
from pathlib import Path
from rich.console import Console
from reelmill.flows.cli.demo import render
from reelmill.flows.jobs.results import plain
from tests.flows.test_demo import run_demo
figures = run_demo(Path(sys.argv[1]), sys.argv[2])
out = Console(file=io.StringIO(), width=200)
render(out, figures)
json.dump({**plain(figures), "printed": out.file.getvalue()}, sys.stdout)
"""


class SmallC3D(c3d_network.C3DNetwork):
    """C3D with 32 channels throughout: enough that its random features tell tastes apart."""

    def __init__(self) -> None:
        super().__init__()
        for name, module in list(self.named_children()):
            if isinstance(module, nn.Conv3d):
                setattr(self, name, nn.Conv3d(3 if name == "conv1a" else 32, 32, kernel_size=3, padding=1))
        self.fc6, self.fc7 = nn.Linear(32 * 16, 4096), nn.Linear(4096, 4096)


def run_demo(folder: Path, size: str) -> DemoResult:
    """The demo with one network, in this process; a small one has a small network."""
    if size == "small":
        c3d_network.C3DNetwork = SmallC3D  # type: ignore[misc]
        c3d_network.C3D.about = replace(c3d_network.C3D.about, layers={"fc6": 4096, "conv5": 32})
    networks = {name: NETWORKS[name] for name in ("c3d", "logmel", "topics")}
    networks["c3d"] = {**networks["c3d"], "layers": ["fc6", "conv5"]}
    models = {
        **MODELS,
        "jifr": {**MODELS["jifr"], "stores": "c3d-fc6"},
        "multimodal": {**MODELS["multimodal"], "stores": {"picture": "c3d-fc6", "sound": "logmel"}},
        "drnn": {**MODELS["drnn"], "stores": {"frames": "", "text": ""}},
    }
    return demo(folder, SIZES[size], networks, models)


def demo_process(folder: Path, size: str, **environment: str) -> dict[str, Any]:
    """The same as a process of its own."""
    command = [sys.executable, "-c", CODE, str(folder), size]
    chosen = {**os.environ, **environment}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False, env=chosen)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


@pytest.fixture(scope="module", params=["small", pytest.param("full", marks=pytest.mark.slow)])
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return demo_process(tmp_path_factory.mktemp("demo"), request.param)


def row(fitted: dict[str, Any], metric: str, name: str = "transgrec") -> dict[str, Any]:
    rows = fitted["fits"][name]["metrics"]
    return next(r for r in rows if r["row"] == name and r["metric"] == metric)


def test_the_fit_beats_chance_clearly_on_the_planted_corpus(figures: dict[str, Any]) -> None:
    for metric in ("map", "ndcg@5", "hr@1"):
        found = row(figures["run"]["train"], metric)
        assert found["cases"] > 90
        assert found["minus_random_low"] > 0.2


def test_all_five_are_fitted_from_end_to_end(figures: dict[str, Any]) -> None:
    """Moments and frames follow tastes; items are too few here to tell."""
    fitted = figures["run"]["train"]
    assert (list(fitted["fits"]), fitted["unfitted"]) == (of_papers(), {})
    assert row(fitted, "map", "prnet")["minus_random_low"] > 0.03
    assert row(fitted, "frame_hr@3", "jifr")["minus_random_low"] > 0.03
    assert row(fitted, "auc", "multimodal")["cases"] > 100
    assert row(fitted, "f@5", "drnn")["cases"] > 40
    assert fitted["fits"]["multimodal"]["stores"].keys() == {"picture", "sound"}


def test_it_stays_at_chance_on_the_noise_twin(figures: dict[str, Any]) -> None:
    found = row(figures["control"]["train"], "map")
    assert found["cases"] > 90
    assert found["minus_random_low"] < 0 < found["minus_random_high"]


def test_the_twin_costs_no_second_download_or_extraction(figures: dict[str, Any]) -> None:
    assert figures["control"]["ingest"]["download"] == {"done": 0, "skipped": CorpusPlan().videos, "failed": {}}
    assert figures["run"]["extract"]["done"] == CorpusPlan().videos
    assert Path(figures["run"]["report"]).is_file()


def test_the_pages_show_what_the_demo_prints(figures: dict[str, Any]) -> None:
    """The same tables with the same recommenders, metrics and rankings, and the same sentences; numbers are of the full
    demo, which has more extractors than this one."""
    printed = figures["printed"]
    stages, stores, *metrics = shapes(printed)
    page, short = (block((HOUSE / name).read_text(encoding="utf-8")) for name in ("flows/README.md", "README.md"))
    shown_stages, shown_stores, *shown_metrics = shapes(page)
    assert shown_metrics == metrics
    for part, whole in ((stages, shown_stages), (stores, shown_stores)):
        assert part.headings == whole.headings
        assert list(part.rows) == [row for row in whole.rows if row in part.rows]
    assert {f"train {name}" for name in MODELS} <= set(shown_stages.rows)
    assert {row.split("-")[0] for row in shown_stores.rows} == set(NETWORKS)
    assert sentences(page) == sentences(printed)
    assert set(shapes(short)) <= set(shown_metrics)


@pytest.mark.slow
@pytest.mark.timeout(1300)
@pytest.mark.parametrize("figures", ["full"], indirect=True)
def test_bfloat16_finds_what_float32_finds(figures: dict[str, Any]) -> None:
    """Every metric of every ranking, within the interval that it has in the other precision."""
    folder = Path(figures["run"]["report"]).parent
    exact, rough = (
        demo_process(folder, "full", REELMILL__EXTRACT__PRECISION=precision)["run"]["train"]
        for precision in ("float32", "bfloat16")
    )
    exact, rough = exact["fits"]["transgrec"], rough["fits"]["transgrec"]
    assert exact["stores"] != rough["stores"]
    for one, other in zip(exact["metrics"], rough["metrics"], strict=True):
        assert (one["row"], one["metric"]) == (other["row"], other["metric"])
        assert one["low"] <= other["mean"] <= one["high"], (one, other)
        assert other["low"] <= one["mean"] <= other["high"], (one, other)
