"""Workers on one root that are killed again and again until their work is done. Runs in a process of its own
(`reelmill.pipeline.process.child`), which imports torch once and forks the workers: each is a real run with real
decoding processes.

    python -m tests.faults.kills SEED KILLS     the same by hand, in a folder of its own
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.extract.missing import Video
from reelmill.storage.features import list_stores, open_store
from tests.faults.processes import children, ended, joined, living, started, stop
from tests.faults.work import (
    assert_equal_roots,
    blocks_of,
    corpus,
    differing,
    doubled_outcomes,
    keep_house,
    network,
    plant,
    run,
)

WAYS = ("worker", "worker", "all", "decoder")
"""Only the worker, whose decoding process then has to end by itself; the worker and what it started; only that."""


@dataclass
class Tally:
    """What a campaign did."""

    seed: int
    roots: int = 0
    kills: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    halves: int = 0
    """Temporaries that the dead left behind."""
    looked: int = 0
    """Blocks that were compared while the work was under way."""
    compared: int = 0
    """Blocks that were compared in the end."""


def campaign(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Target for a child process. Job: `folder`, `seed`, `kills`, `videos`. Kills at least so many times, over as many
    roots as that takes; gives the tally at its end. Raises AssertionError for a promise that does not hold."""
    torch.set_num_threads(1)
    folder, tally = Path(job["folder"]), Tally(job["seed"])
    rng = random.Random(job["seed"])
    videos, extractor = corpus(folder / "files", job["videos"]), network()
    reference = str(folder / "unbroken")
    plant(reference, videos)
    assert joined(started(lambda: run(reference, videos, extractor, 0))) == 0
    while tally.kills < job["kills"]:
        root = folder / f"root-{tally.roots}"
        plant(str(root), videos)
        _Siege(str(root), reference, videos, extractor, rng, tally).hold(job["kills"])
        tally.roots += 1
        shutil.rmtree(root)
    yield vars(tally)


class _Siege:
    """One root, two workers and a housekeeper on it, and somebody who kills them."""

    def __init__(
        self, root: str, reference: str, videos: list[Video], extractor: Extractor, rng: random.Random, tally: Tally
    ) -> None:
        self.root, self.rng, self.tally = root, rng, tally
        self.reference, self.expected = reference, blocks_of(reference)
        self.committed: set[tuple[str, str]] = set()
        self.runs = 0
        work: dict[str, Callable[[int], Callable[[], object]]] = {
            "one": lambda seed: lambda: run(root, videos, extractor, seed),
            "two": lambda seed: lambda: run(root, videos, extractor, seed),
            "keeper": lambda seed: lambda: _keep_on(root, seed),
        }
        self.work = work
        self.at_work: dict[str, int] = {}

    def hold(self, kills: int) -> None:
        """Until both workers found nothing more to do."""
        finished: set[str] = set()
        try:
            while finished != {"one", "two"}:
                for who in self.work.keys() - self.at_work.keys() - finished:
                    self._start(who)
                time.sleep(self.rng.uniform(0.05, 1.4))
                finished |= self._strike() if self.tally.kills < kills else self._wait()
                self._look()
        finally:
            for process in self.at_work.values():
                stop(process)
                os.waitpid(process, 0)
        self._start("one")
        assert joined(self.at_work.pop("one")) == 0, "one more run did not finish the job"
        self.tally.compared += assert_equal_roots(self.root, self.reference)
        keep_house(self.root)
        self.tally.compared += assert_equal_roots(self.root, self.reference)

    def _start(self, who: str) -> None:
        self.runs += 1
        self.at_work[who] = started(self.work[who](self.rng.randrange(1 << 30)))

    def _strike(self) -> set[str]:
        """Kill one; gives who had ended well before."""
        done = self._gone()
        who = self.rng.choice(sorted(self.at_work) or ["none"])
        if who == "none":
            return done
        victim, way = self.at_work[who], self.rng.choice(WAYS)
        below = children(victim)
        if way == "decoder":
            for process in below:
                stop(process)
            self._count(way, bool(below))
            return done
        if way == "all":
            for process in below:
                stop(process)
        stop(victim)
        _, status = os.waitpid(self.at_work.pop(who), 0)
        self._count(way, os.waitstatus_to_exitcode(status) == -signal.SIGKILL)
        assert living(below) == [], "a decoding process outlived its worker"
        self.tally.halves += len(list(Path(self.root).rglob(".part-*.tmp-*")))
        return done

    def _wait(self) -> set[str]:
        done: set[str] = set()
        while not done and self.at_work.keys() & {"one", "two"}:
            done = self._gone()
            time.sleep(0.02)
        return done

    def _gone(self) -> set[str]:
        """Who has ended; nobody may have ended badly."""
        done = set()
        for who, process in list(self.at_work.items()):
            if (status := ended(process)) is not None:
                del self.at_work[who]
                assert status == 0, f"{who} ended with {status}"
                done.add(who)
        return done

    def _count(self, way: str, hit: bool) -> None:
        self.tally.kills += hit
        self.tally.ways[way] = self.tally.ways.get(way, 0) + hit

    def _look(self) -> None:
        """What a reader sees meanwhile: nothing that was there is gone, nothing is wrong or there twice."""
        found = blocks_of(self.root)
        assert differing(found, self.expected) == []
        assert found.keys() >= self.committed, "a committed block is lost"
        self.committed = set(found)
        assert doubled_outcomes(self.root) == 0
        for name in list_stores(self.root):
            assert open_store(self.root, name).verify() == []
        self.tally.looked += len(found)


def _keep_on(root: str, seed: int) -> None:
    """Merge parts all the time, until killed."""
    rng = random.Random(seed)
    while True:
        keep_house(root)
        time.sleep(rng.uniform(0.1, 0.6))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        seed, kills = map(int, sys.argv[1:])
        print(*campaign({"folder": folder, "seed": seed, "kills": kills, "videos": 16}))
