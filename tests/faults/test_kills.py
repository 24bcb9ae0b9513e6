"""kill -9: at random moments, of everybody who works on a root; and at each critical moment."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from reelmill.pipeline.process.child import Child
from reelmill.storage import Tables
from tests.faults.downloads import Server
from tests.media import make_video


def tell(figures: object) -> None:
    """For `pytest -s`: the figures that `tests/README.md` gives."""
    print(figures)


def done(nursery: Child, **job: Any) -> Any:
    """The last that a job of the nursery says."""
    *_, last = nursery.run(job, limit_s=3600)
    tell({**{k: v for k, v in job.items() if k in ("do", "seed", "scene", "every")}, "came": last})
    return last


def test_two_workers_that_are_killed_make_the_store_of_an_unbroken_run(nursery: Child, swift: Path) -> None:
    tally = done(nursery, do="campaign", folder=str(swift), seed=5, kills=6, videos=8)
    assert tally["kills"] >= 6
    assert tally["compared"] >= 2 * 2 * 8


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_hundred_kills(nursery: Child, swift: Path, seed: int) -> None:
    tally = done(nursery, do="campaign", folder=str(swift), seed=seed, kills=40, videos=24)
    assert tally["kills"] >= 40
    assert tally["halves"] + tally["ways"]["decoder"] > 0


@pytest.mark.parametrize(
    ("scene", "every", "least"),
    [("extract", 29, 6), ("compact", 17, 5), ("merge", 2, 14), ("place", 1, 10), ("finish", 3, 10)],
)
def test_a_kill_between_any_two_steps(nursery: Child, swift: Path, scene: str, every: int, least: int) -> None:
    """Before and after each write, fsync, rename and removal; here some of them, of what has many."""
    assert done(nursery, do="moments", scene=scene, folder=str(swift), every=every) >= least


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("scene", "least"), [("extract", 150), ("compact", 80), ("merge", 25), ("finish", 30)])
def test_a_kill_between_any_two_steps_all_of_them(nursery: Child, swift: Path, scene: str, least: int) -> None:
    assert done(nursery, do="moments", scene=scene, folder=str(swift), every=1) >= least


def ingest_under_fire(nursery: Child, folder: Path, seed: int, kills: int) -> None:
    files = folder / "files"
    files.mkdir()
    made = [make_video(files / f"v{n}.mp4", 120 + 5 * n, size=(160, 120)) for n in range(6)]
    for path in made:  # a box that players skip: so the file takes a second
        size = 120_000 - path.stat().st_size
        with path.open("ab") as file:
            file.write(size.to_bytes(4, "big") + b"free" + bytes(n * n % 251 for n in range(size - 8)))
    with Server(files, pause_s=0.06) as server:
        root = str(folder / "root")
        Tables(root).write("videos", [{"video_id": p.stem, "url": server.address(p.name)} for p in made])
        figures = done(nursery, do="ingests", root=root, seed=seed, kills=kills, files={p.stem: str(p) for p in made})
    assert figures["kills"] >= min(kills, 3), "the files came before the kills did"
    assert max(server.ranges) > 0, "no download was resumed"
    shutil.rmtree(root)


@pytest.mark.slow
def test_ingests_that_are_killed_end_with_the_right_files(nursery: Child, tmp_path: Path) -> None:
    ingest_under_fire(nursery, tmp_path, seed=3, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ingests_that_are_killed_often(nursery: Child, tmp_path: Path) -> None:
    ingest_under_fire(nursery, tmp_path, seed=4, kills=25)
