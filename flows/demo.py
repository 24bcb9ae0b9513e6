"""The demo: a planted corpus through the whole job, with a control that must stay at chance.

Videos are rendered, served over HTTP on the loopback and downloaded from there like any others. Users of the corpus
like segments of their hidden tastes; users of its noise twin like segments at random. The same features serve both.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows import steps
from flows.ingest import ingest
from flows.load import load
from flows.progress import current
from flows.run import run
from flows.settings import Settings
from flows.train import train
from pipeline.corpus import render, write_source
from pipeline.loopback import serve_folder
from pipeline.planted import CorpusPlan, planted_videos
from storage import Tables

PLAN = CorpusPlan()

RANDOM = {"weights": "random", "windows": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "c3d": {**RANDOM, "layers": ["fc6"]},
    "i3d_r50": RANDOM,
    "vgg19": {**RANDOM, "layers": ["fc7"]},
}


def settings_of(
    folder: Path, url: str, source: str = "planted", networks: dict[str, dict[str, Any]] = NETWORKS
) -> Settings:
    """Settings of the demo; those of the twin differ in their source and root only."""
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
            "extract": {"extractors": networks},
            "train": {"store": "c3d-fc6", "options": TRAINING},
            "report": str(folder / "report.html"),
        },
    )


TRAINING: dict[str, Any] = {"epochs": 30, "patience": 10}
"""Where the demo's fit differs from the paper's settings: on a corpus this small more epochs change nothing."""


def demo(folder: Path, plan: CorpusPlan = PLAN, networks: dict[str, dict[str, Any]] = NETWORKS) -> dict[str, Any]:
    """Render, serve, run, and fit the control; a second call in the same folder does only what is missing."""
    folder = folder.resolve()
    corpus = folder / "corpus"
    videos = planted_videos(plan)
    todo = [v.video_id for v in videos if not (corpus / "videos" / f"{v.video_id}.mp4").exists()]
    report = current()
    if todo:
        report.start("render", len(todo), items=len(todo))
    render(plan, corpus / "videos", on_video=lambda video: report.advance("render") if video in todo else None)
    write_source(plan, corpus / "planted.csv")
    write_source(replace(plan, noise=True), corpus / "twin.csv")
    with serve_folder(corpus / "videos") as url:
        chosen = settings_of(folder, url, "planted", networks)
        figures = run(chosen)
        control = control_run(settings_of(folder, url, "twin", networks), chosen, figures["extract"]["stores"])
    page = steps.report(chosen, [figures["train"]["folder"], control["train"]["folder"]])
    stores = steps.status(steps.root_of(chosen))["stores"]
    return {"run": {**figures, "report": str(page)}, "control": control, "stores": stores}


def control_run(twin: Settings, planted: Settings, stores: Sequence[str]) -> dict[str, Any]:
    """Fit the noise twin on the planted corpus's own media and features: nothing is fetched or extracted again."""
    root, home = Path(steps.root_of(twin)), Path(steps.root_of(planted))
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "features").exists():
        (root / "features").symlink_to(home / "features")
    known = Tables(root).units("media")
    media = [row for row in Tables(home).read("media").to_pylist() if row["video_id"] not in known]
    Tables(root).write("media", [{**row, "uri": str(home / row["uri"])} for row in media])
    return {"ingest": ingest(twin), "train": train(twin, stores)}
