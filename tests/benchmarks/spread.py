"""Two workers beside one on the same list: `python -m tests.benchmarks spread`.

The work is decoding and a network with one torch thread, so that one process does not use two cores already. Starting
Ray is not counted: its cluster stands before the clock starts, as that of a team does, and each worker has built its
networks by a first block. Rounds take turns; ratios are of neighbours.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import reelmill.flows.serve  # noqa: F401 (before Prefect: it keeps Prefect's servers from calling home)
from tests.sounds import write_sound

VIDEOS, WARM, SECONDS, ROUNDS = 16, 4, 25, 2


def main() -> None:
    """A table of seconds for one and two workers."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as folder, prefect_test_harness(server_startup_timeout=240):
        measured = [_round(Path(folder), number) for number in range(ROUNDS)]
    print("\n| round | one worker, s | two workers, s | ratio |\n|---|---|---|---|")
    for number, (one, two) in enumerate(measured, 1):
        print(f"| {number} | {one:.1f} | {two:.1f} | {two / one:.2f} |")
    ratio = statistics.median(two / one for one, two in measured)
    print(f"\n{VIDEOS} videos of {SECONDS} s through C3D; median ratio {ratio:.2f} (0.5 is perfect, 0.6 the promise)")


def _round(folder: Path, number: int) -> tuple[float, float]:
    """Seconds for one and for two workers, the first of them in turn."""
    order = (1, 2) if number % 2 == 0 else (2, 1)
    took = {workers: _timed(folder, f"{number}-{workers}", workers) for workers in order}
    return took[1], took[2]


def _timed(folder: Path, name: str, workers: int) -> float:
    import ray

    from reelmill.flows.jobs import steps
    from reelmill.flows.jobs.extract import extract
    from reelmill.flows.jobs.ingest import ingest
    from reelmill.flows.serve.ray_cluster import RayCluster, ray_runner
    from reelmill.flows.settings.load import load

    videos = folder / "videos"
    if not videos.exists():
        videos.mkdir()
        for index in range(VIDEOS + WARM):
            write_sound(videos / f"{index:02}.mkv", seconds=SECONDS)
    root = folder / name
    network: dict[str, Any] = {"c3d": {"layers": ["conv5"], "weights": "random", "windows": 1}}
    base = {
        "root": str(root),
        "source": {"path": str(videos), "format": "folder"},
        "extract": {"extractors": network, "block": 1, "precision": "float32", "device": "cpu"},
        "engine": {"runner": "ray", "workers": workers},
    }
    settings = load(None, (), base)
    ingest(settings)
    runner = ray_runner(settings.engine)
    ray.init(**runner.init_kwargs)
    try:
        _warm(settings)
        began = time.monotonic()
        RayCluster().job(extract, settings)
        took = time.monotonic() - began
    finally:
        ray.shutdown()
    assert steps.complete(settings, steps.specs(settings, steps.extractors(settings))) == VIDEOS + WARM
    return took


def _warm(settings: Any) -> None:
    """Let every worker do a block, so that its process stands with its networks built."""
    from reelmill.flows.jobs import steps
    from reelmill.flows.jobs.extract import blocks_of
    from reelmill.flows.serve.ray_cluster import RayCluster

    networks = steps.extractors(settings)
    todo = steps.extract_plan(settings, networks)[:WARM]
    RayCluster().extract(settings, blocks_of(todo, 1), set())
