"""The demo: a planted corpus through the whole job, with a control that must stay at chance.

Videos are rendered, served over HTTP on the loopback and downloaded from there like any others. Users of the corpus
like segments of their hidden tastes; users of its noise twin like segments at random. The same features serve both. A
second table says when they watched what, and what the videos are called: all five recommenders are fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.ingest import IngestResult, ingest
from reelmill.flows.jobs.report import report
from reelmill.flows.jobs.run import RunResult, run
from reelmill.flows.jobs.status import StoreStatus, status
from reelmill.flows.jobs.train import TrainResult, train
from reelmill.flows.progress import current
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.flows.settings.source import SourceSettings
from reelmill.pipeline.demo.corpus import render, write_source
from reelmill.pipeline.demo.loopback import serve_folder
from reelmill.pipeline.demo.planted import CorpusPlan, planted_videos
from reelmill.pipeline.demo.stories import MAPPING, write_watches
from reelmill.storage import Tables
from reelmill.storage.place import place

PLAN = CorpusPlan()

RANDOM = {"weights": "random", "windows": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "c3d": {**RANDOM, "layers": ["fc6", "conv5"]},
    "i3d_r50": RANDOM,
    "vgg19": {**RANDOM, "layers": ["fc6", "fc7"]},
    "logmel": {},
    "text": {"steps": 200},
    "topics": {"topics": PLAN.tastes},
}
SMALL: dict[str, Any] = {"dim": 16, "learning_rate": 0.01, "patience": 10}
MODELS: dict[str, dict[str, Any]] = {
    "transgrec": {"stores": "c3d-fc6", "options": {"epochs": 30, "patience": 10}},
    "jifr": {"stores": "vgg19-fc7", "options": {**SMALL, "hidden": 16, "epochs": 30}},
    "prnet": {
        "stores": "c3d-conv5",
        "options": {"dim": 32, "projection": True, "epochs": 15, "patience": 5, "batch": 16, "learning_rate": 3e-3,
                    "validation_share": 0.1, "test_share": 0.4, "tested": "every"},
    },
    "multimodal": {
        "stores": {"picture": "vgg19-fc7", "sound": "logmel", "text": "text"},
        "options": {**SMALL, "epochs": 20, "hidden": "16"},
    },
    "drnn": {
        "options": {**SMALL, "dim": 32, "hidden": 32, "epochs": 15, "batch": 128, "least_videos": 4, "test_share": 0.5},
    },
}  # fmt: skip
"""All five, each with smaller numbers where its paper's are for data a thousand times as large. There are segments and
frames enough to learn from; videos are 24, too few to tell items apart, and the last month's are new to everybody."""


SOURCES = ["planted.csv", "watches.csv"]
"""Of the planted corpus: its users and videos have the same ids in both, and mean the same."""


def settings_of(
    folder: Path,
    url: str,
    source: str = "planted",
    plan: CorpusPlan = PLAN,
    networks: dict[str, dict[str, Any]] = NETWORKS,
    models: dict[str, dict[str, Any]] = MODELS,
) -> Settings:
    """Settings of the demo; those of the twin differ in source, root and recommender only."""
    return load(
        None,
        (),
        {
            "root": str(folder / source),
            "source": {
                "path": str(folder / "corpus" / f"{source}.csv"),
                "format": "phd2",
                "url_template": url + "/{video_id}.mp4",
            },
            "download": {"allow_private_addresses": True, "per_host_interval_s": 0, "workers": 2},
            "segments": {"segment_ms": plan.segment_ms},
            "extract": {"extractors": networks},
            "train": {"models": models, "sources": SOURCES if source == "planted" else []},
            "report": str(folder / "report.html"),
        },
    )


@dataclass(frozen=True)
class ControlResult:
    """Results on the noise twin."""

    ingest: IngestResult
    train: TrainResult


@dataclass(frozen=True)
class DemoResult:
    """Results on the planted corpus and on its control."""

    run: RunResult
    control: ControlResult
    stores: dict[str, StoreStatus]


def demo(
    folder: Path,
    plan: CorpusPlan = PLAN,
    networks: dict[str, dict[str, Any]] = NETWORKS,
    models: dict[str, dict[str, Any]] = MODELS,
) -> DemoResult:
    """Render, serve, run, and fit the control; a second call in the same folder does only what is missing."""
    folder = folder.resolve()
    corpus = folder / "corpus"
    videos = planted_videos(plan)
    todo = [v.video_id for v in videos if not (corpus / "videos" / f"{v.video_id}.mp4").exists()]
    if todo:
        current().start("render", len(todo), items=len(todo))
    render(plan, corpus / "videos", on_video=lambda video: current().advance("render") if video in todo else None)
    write_source(plan, corpus / "planted.csv")
    write_source(replace(plan, noise=True), corpus / "twin.csv")
    write_watches(plan, corpus / "watches.csv")
    with serve_folder(corpus / "videos") as url:
        chosen = settings_of(folder, url, "planted", plan, networks, models)
        steps.read_source(watched(chosen, corpus / "watches.csv"))
        figures = run(chosen)
        twin = settings_of(folder, url, "twin", plan, networks, {name: models[name] for name in list(models)[:1]})
        control = control_run(twin, chosen, figures.extract.stores)
    fits = [fitted for part in (figures, control) for fitted in part.train.fits.values()]
    page = report(chosen, [place(fitted.folder) for fitted in fits])
    return DemoResult(replace(figures, page=page), control, status(steps.root_of(chosen).address).stores)


def watched(settings: Settings, table: Path) -> Settings:
    """Settings for the second source: who watched what when, and what the videos are called."""
    source = SourceSettings(path=table, format="mapped", mapping=MAPPING)
    return settings.model_copy(update={"source": source})


def control_run(twin: Settings, planted: Settings, stores: Sequence[str]) -> ControlResult:
    """Fit the noise twin on the planted corpus's own media and features: nothing is fetched or extracted again."""
    root, home = Path(steps.root_of(twin).address), Path(steps.root_of(planted).address)
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "features").exists():
        (root / "features").symlink_to(home / "features")
    known = Tables(root).units("media")
    media = [row for row in Tables(home).read("media").to_pylist() if row["video_id"] not in known]
    Tables(root).write("media", [{**row, "uri": str(home / row["uri"])} for row in media])
    return ControlResult(ingest(twin), train(twin, stores=stores))
