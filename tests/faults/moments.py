"""Kills at every critical moment: a worker kills itself before and after the n-th write, fsync, rename and removal, for
each n, until it ends by itself. Runs in a process of its own, like `kills`.

Work whose media are decoded here decodes them in the worker itself, so that a hundred workers cost seconds.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reelmill.models.runs import Run
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.download.stored import Place
from reelmill.pipeline.extract import videos
from reelmill.pipeline.extract.cut import cut
from reelmill.storage import Outcome, Outcomes, Tables, hdf5, open_store, parts
from reelmill.storage.compact import compact
from tests.faults.processes import joined, started
from tests.faults.work import (
    OPTIONS,
    blocks_of,
    corpus,
    differing,
    doubled_outcomes,
    keep_house,
    network,
    plant,
    run,
    state,
)
from tests.stores import SPEC, block, fill, same

CALLS = ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (hdf5._Sink, "write"))
"""What the safety of a store hangs on."""


def die_at(moment: int) -> None:
    """Have this process kill itself at a moment: 2n is just before the n-th of these calls, 2n + 1 just after it."""
    passed = iter(range(1 << 30))

    def guarded(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        for after in (False, True):
            if next(passed) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            if not after:
                came = call(*given, **named)
        return came

    for home, name in CALLS:
        call = getattr(home, name)
        if isinstance(home, type):
            setattr(home, name, lambda self, *given, _call=call: guarded(partial(_call, self), *given))
        else:
            setattr(home, name, partial(guarded, call))


class Scene:
    """Something that is done to a root: how it is made ready, done, and looked at."""

    def prepare(self, root: Path) -> None:
        """What stands before."""

    def act(self, root: Path) -> None:
        """What is killed, and done once more afterwards."""
        raise NotImplementedError

    def check(self, root: Path) -> None:
        """What must hold after a kill."""
        raise NotImplementedError

    def end(self, root: Path) -> None:
        """What must hold when it was done once more."""
        raise NotImplementedError


class Extracting(Scene):
    """A commit of frames, two stores and outcomes, labels before it."""

    def __init__(self, folder: Path) -> None:
        self.videos, self.network = corpus(folder / "files", 2), network()
        self.whole = folder / "whole"
        plant(str(self.whole), self.videos)
        assert joined(started(lambda: self.act(self.whole))) == 0
        self.blocks, self.state = blocks_of(str(self.whole)), state(str(self.whole))

    def prepare(self, root: Path) -> None:
        plant(str(root), self.videos)

    def act(self, root: Path) -> None:
        videos.decode_ahead = lambda jobs, *_: ((g, message) for g, job in jobs for message in cut(job))
        run(str(root), self.videos, self.network, 0, OPTIONS)

    def check(self, root: Path) -> None:
        found = blocks_of(str(root))
        assert differing(found, self.blocks) == []
        pictures = {row["video_id"] for row in Tables(root).read("frames").to_pylist()}
        assert {video for _, video in found} <= pictures, "a block without its pictures"
        assert doubled_outcomes(str(root)) == 0

    def end(self, root: Path) -> None:
        assert blocks_of(str(root)).keys() == self.blocks.keys()
        assert state(str(root)) == self.state


class Compacting(Scene):
    """A store of several shards with doubles among them is merged."""

    def prepare(self, root: Path) -> None:
        fill(root, [block(f"v{n}") for n in range(6)], per_shard=2)
        fill(root, [block("v1", seed=1), block("v6")])

    def act(self, root: Path) -> None:
        compact(root, SPEC.name)

    def check(self, root: Path) -> None:
        store = open_store(root, SPEC.name)
        assert store.keys() == [f"v{n}" for n in range(7)]
        assert all(same(found, block(found.video_id, seed=found.video_id == "v1")) for found in store.blocks())
        assert store.verify() == []

    def end(self, root: Path) -> None:
        assert len(open_store(root, SPEC.name).shards) == 1
        assert not [*root.rglob(".part-*")]


class Merging(Scene):
    """The parts of a log and of a table are merged."""

    def prepare(self, root: Path) -> None:
        for n in range(4):
            Outcomes(root).write([Outcome("download", f"v{n % 3}", "done", message=str(n), seconds=n)])
            rows = [{"user_id": f"u{n}", "video_id": f"v{n % 3}", "segment_index": 0, "covered_ms": n}]
            Tables(root).write("labels", rows)

    def act(self, root: Path) -> None:
        keep_house(str(root))

    def check(self, root: Path) -> None:
        rows = Tables(root).read("outcomes").to_pylist()
        assert sorted(row["message"] for row in rows) == list("0123"), "a log keeps every row, each once"
        assert Outcomes(root).latest("download")["v0"]["message"] == "3"
        labels = {row["video_id"]: row["user_id"] for row in Tables(root).read("labels").to_pylist()}
        assert labels == {"v0": "u3", "v1": "u1", "v2": "u2"}

    def end(self, root: Path) -> None:
        assert all(len(parts.list_parts(root / "tables" / name)) == 1 for name in ("labels", "outcomes"))


class Placing(Scene):
    """A complete download is put into its place, over an older file of the same video."""

    old, new = b"old" * 1000, b"newer" * 1000

    def place(self, root: Path, address: str) -> Place:
        return Place.of(root / "media", "v", address, DownloadOptions())

    def put(self, root: Path, address: str, content: bytes) -> None:
        place = self.place(root, address)
        if place.standing() is None:
            place.partial.mkdir(parents=True, exist_ok=True)
            (place.partial / "media.mp4").write_bytes(content)
            place.put(place.partial / "media.mp4", {"title": "t"}, "d", None)

    def prepare(self, root: Path) -> None:
        self.put(root, "one", self.old)

    def act(self, root: Path) -> None:
        self.put(root, "two", self.new)

    def check(self, root: Path) -> None:
        for address, content in (("one", self.old), ("two", self.new)):
            if (standing := self.place(root, address).standing()) is not None:
                assert standing.path.read_bytes() == content, "a file of another question"

    def end(self, root: Path) -> None:
        standing = self.place(root, "two").standing()
        assert standing is not None
        assert standing.path.read_bytes() == self.new
        assert len([path for path in (root / "media").rglob("*") if path.is_file()]) == 2


class Finishing(Scene):
    """A fit saves where it stands, then its results."""

    def run(self, root: Path) -> Run:
        return Run(root / "runs" / "m-00000000")

    def prepare(self, root: Path) -> None:
        self.run(root).save_progress({"epoch": 1})

    def act(self, root: Path) -> None:
        parts.sweep(self.run(root).folder)
        if not self.run(root).complete:
            self.run(root).save_progress({"epoch": 2})
            self.run(root).finish({"state": torch.arange(9)}, [{"epoch": 1}], {"loss": b"<svg/>"}, {"rows": []}, b"")

    def check(self, root: Path) -> None:
        here = self.run(root)
        if here.complete:
            assert torch.load(here.folder / "checkpoint.pt", weights_only=True)["state"].tolist() == [*range(9)]
            assert (here.folder / "plots" / "loss.svg").read_bytes() == b"<svg/>"
            assert here.metrics() == {"rows": []}
        else:
            assert here.progress() in ({"epoch": 1}, {"epoch": 2})

    def end(self, root: Path) -> None:
        assert self.run(root).complete
        assert not [*self.run(root).folder.glob(".part-*")]


SCENES: dict[str, Callable[[Path], Scene]] = {
    "extract": Extracting,
    "compact": lambda _: Compacting(),
    "merge": lambda _: Merging(),
    "place": lambda _: Placing(),
    "finish": lambda _: Finishing(),
}


def moments(job: dict[str, Any]) -> Iterator[int]:
    """Target for a child process. Job: `scene`, `folder`, and `every`, to leave out moments. Gives the kills. Raises
    AssertionError, with the moment, for a promise that does not hold."""
    torch.set_num_threads(1)
    folder = Path(job["folder"])
    scene = SCENES[job["scene"]](folder)
    kills, moment, status = 0, 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        root = folder / f"{job['scene']}-{moment}"
        root.mkdir()
        scene.prepare(root)

        def act(root: Path = root, moment: int = moment) -> None:
            die_at(moment)
            scene.act(root)

        status = joined(started(act))
        try:
            assert status in (0, -signal.SIGKILL), f"ended with {status}"
            scene.check(root)
            assert joined(started(lambda root=root: scene.act(root))) == 0, "one more run does not end well"
            scene.check(root)
            scene.end(root)
        except Exception as error:
            raise AssertionError(f"{job['scene']}, killed at moment {moment}: {error!r}") from error
        shutil.rmtree(root)
        kills += status == -signal.SIGKILL
        moment += job["every"]
    yield kills
