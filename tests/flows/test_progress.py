"""Progress counts what was done: each video once, whoever did it, with its own seconds."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reelmill.flows.jobs import retries, steps
from reelmill.flows.progress import Reporter, reporting
from reelmill.flows.settings.sections import EngineSettings
from reelmill.pipeline.extract.videos import ExtractSummary
from tests.roots import settings, with_videos

FRAMES = (25, 50, 75, 100)
"""Videos of one second, two, three, four."""


class Recorded(Reporter):
    """Remembers by how much a stage advanced."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self.items = 0

    def advance(self, stage: str, steps: float = 1, *, items: int = 1, note: str = "") -> None:
        self.steps.append(round(steps))
        self.items += items


@pytest.mark.parametrize("other", [[0], [1], [1, 2], [3], [0, 1, 2, 3]])
def test_what_another_worker_has_done_counts_with_its_own_seconds(tmp_path: Path, other: list[int]) -> None:
    chosen, recorded = settings(with_videos(tmp_path, FRAMES)), Recorded()
    try:
        todo = steps.extract_plan(chosen, steps.networks_of_process(chosen))
        steps.extract_block(chosen, [todo[number] for number in other], set())
        with reporting(recorded):
            recorded.start("extract", 10, items=4)
            steps.extract_block(chosen, todo, set())
    finally:
        steps.release_networks()
    assert recorded.steps[: len(other)] == [number + 1 for number in other], "theirs, before the work begins"
    assert sorted(recorded.steps) == [1, 2, 3, 4]


def test_a_block_that_is_tried_again_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system was gone for a moment, after some of the videos had been stored."""
    chosen, recorded = settings(with_videos(tmp_path, FRAMES)), Recorded()
    keep, failures = steps.rates.keep, [errno.ESTALE, errno.ETIMEDOUT]

    def stalled(*given: Any) -> None:
        if failures:
            raise OSError(failures.pop(), "stalled")
        keep(*given)

    monkeypatch.setattr(steps.rates, "keep", stalled)
    try:
        todo = steps.extract_plan(chosen, steps.networks_of_process(chosen))
        with reporting(recorded):
            recorded.start("extract", 10, items=4)
            retries.call(lambda: steps.extract_block(chosen, todo, set()), lambda _: None)
    finally:
        steps.release_networks()
    assert not failures
    assert sorted(recorded.steps) == [1, 2, 3, 4]


def test_a_second_stage_of_the_same_name_counts_anew() -> None:
    recorded = Recorded()
    for _ in range(2):
        recorded.start("extract", 2, items=2)
        for key in ("a", "b", "a"):
            recorded.finished("extract", key)
    assert recorded.items == 4


class Future:
    """Of a block on Ray, with its result or its error."""

    def __init__(self, result: ExtractSummary | Exception) -> None:
        self.end = result

    def result(self) -> ExtractSummary:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


def test_on_ray_blocks_that_were_lost_do_not_count(tmp_path: Path) -> None:
    from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

    from reelmill.flows.serve.ray_cluster import ClusterError, collected

    chosen = settings(with_videos(tmp_path, FRAMES))
    todo = steps.extract_plan(chosen, steps.extractors(chosen))
    summary = ExtractSummary(videos=1)
    for error in (NodeDiedError("its node\ndied"), WorkerCrashedError(), ConnectionError("gone")):
        ends = [Future(summary), Future(error), Future(error), Future(replace(summary))]
        blocks = {future: [one] for future, one in zip(ends, todo, strict=True)}
        recorded = Recorded()
        with reporting(recorded), pytest.raises(ClusterError) as raised:
            collected(ends, blocks, EngineSettings(runner="ray"))
        assert recorded.steps == [1, 4]
        message = str(raised.value)
        assert "lost 2 of 4 blocks" in message
        assert "2 of 4 videos are done and stored, run the same command for the others" in message
        assert "\n" not in message
    ends = [Future(RayTaskError("extract_block", "a traceback", OSError(errno.ENOSPC, "full")))]
    with pytest.raises(OSError, match="full"):
        collected(ends, {ends[0]: [todo[0]]}, EngineSettings(runner="ray"))


def test_a_head_that_does_not_answer_is_said_at_once() -> None:
    from reelmill.flows.serve.ray_cluster import ClusterError, _check_address

    with pytest.raises(ClusterError, match=r"nothing answers at engine.address ray://127.0.0.1:1 .*ray start --head"):
        _check_address("ray://127.0.0.1:1")
    _check_address(None)
