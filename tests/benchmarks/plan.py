"""What `plan` says against what is then measured, on the demo's corpus with the demo's networks.

First with `--calibrate`, then from the rates that the videos before have left behind: a plan of four of the 24 videos,
at once followed by their extraction, three times. The machine should be idle: seconds are those of the clock.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.demo import NETWORKS, PLAN
from reelmill.flows.jobs.plan import ExtractPlan, plan
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.pipeline.decode import Limits
from reelmill.pipeline.demo.corpus import render
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Tables
from tests.benchmarks import machine, table

CHOSEN = Selection(limit=4)
T = TypeVar("T")


def size(root: Path) -> int:
    """Bytes of stores and key frames."""
    folders = (root / "features", root / "tables" / "frames")
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("part-*"))


def corpus(folder: Path) -> Path:
    """A root with the demo's videos, measured."""
    render(PLAN, folder / "videos")
    root, clips = folder / "root", sorted((folder / "videos").glob("*.mp4"))
    Tables(root).write("videos", [{"video_id": clip.stem, "url": str(clip)} for clip in clips])
    fetch_media(str(root), missing_media(str(root)), DownloadOptions(), Limits())
    return root


def planned(root: Path, calibrate: bool) -> ExtractPlan:
    """What a plan says of the next videos."""
    found = plan(settings(root), CHOSEN, ("extract",), calibrate).stages.extract
    assert found is not None
    return found


def extracted(root: Path) -> float:
    """Seconds that loading the networks and extracting from the next videos took."""
    chosen, began = settings(root), time.perf_counter()
    loaded = steps.extractors(chosen)
    todo, _ = steps.selected(chosen, steps.extract_plan(chosen, loaded), CHOSEN)
    steps.extract_block(chosen, todo, steps.have_pictures(chosen))
    return time.perf_counter() - began


def settings(root: Path) -> Settings:
    """The demo's networks over a root."""
    networks = {name: how for name, how in NETWORKS.items() if name not in ("text", "topics")}
    return load(None, (), {"root": str(root), "extract": {"extractors": networks}})


def alone(work: Callable[..., T], *given: object) -> T:
    """Do it in a new process, as each verb does: the networks are loaded, and torch is."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def main() -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = corpus(Path(folder))
        for calibrate in (True, False, False):
            said, before = alone(planned, root, calibrate), size(root)
            took, grown = alone(extracted, root), size(root) - before
            how = "calibrated" if calibrate else "from rates"
            time_row = said.seconds, took, (said.seconds or 0) / took
            rows.append((how, said.videos, *time_row, said.bytes / 1e6, grown / 1e6, said.bytes / grown))
    head = ("rates", "videos", "s planned", "s taken", "ratio", "MB planned", "MB written", "ratio")
    table(machine(), head, rows)


if __name__ == "__main__":
    main()
