"""The work that is broken in these tests: a small corpus, a thin C3D, one run over it as a flow makes it, and what came
of it in a form that two roots can be compared by."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.settings import Compute
from reelmill.extractors.video.c3d import EXTRACTOR, C3DSettings
from reelmill.extractors.video.c3d_network import C3D
from reelmill.pipeline.extract.missing import ExtractOptions, Video, missing, pictured, still_missing
from reelmill.pipeline.extract.videos import extract_missing
from reelmill.pipeline.labels import write_labels
from reelmill.pipeline.probe import probe
from reelmill.storage import Block, Outcomes, Root, Tables, open_store
from reelmill.storage.compact import compact
from reelmill.storage.features import list_stores, sweep
from tests.media import make_video
from tests.networks import ThinC3D
from tests.stores import same

OPTIONS = ExtractOptions(segment_ms=1000, thumbnail_height=24, seal_seconds=0.0)
"""A commit after every video: as many moments to be killed at as there can be."""
BLOCK = 8
TOLD = ("host", "extracted_at")
"""What of a block's provenance may differ between two runs."""


class Thin(C3D):
    """The real extractor around a thin network: two layers of eight numbers."""

    about = replace(EXTRACTOR, layers={"fc6": 8, "fc7": 8})

    def _build(self) -> ThinC3D:
        return ThinC3D()


def network() -> Extractor:
    """With random weights, always the same."""
    settings = C3DSettings(weights="random", batch_size=4, layers=("fc6", "fc7"))
    return Thin(settings, Compute(device="cpu", precision="float32"))


def corpus(folder: Path, count: int) -> list[Video]:
    """So many videos of one to three seconds, measured."""
    folder.mkdir(parents=True, exist_ok=True)
    return [measured(make_video(folder / f"v{n:02}.mp4", 20 + 13 * (n % 5), size=(96, 64))) for n in range(count)]


def measured(path: Path, video_id: str | None = None) -> Video:
    """A file as the `media` table would have it."""
    facts = probe(path)
    return Video(
        video_id or path.stem, str(path), facts["sha256"], facts["start_ms"], facts["duration_ms"], facts["bytes"]
    )


def run(root: str, videos: list[Video], extractor: Extractor, seed: int, options: ExtractOptions = OPTIONS) -> None:
    """Labels, and what is missing of the features, as `reelmill.flows.jobs.extract` does it: blocks of videos in an
    order of one's own, each asked anew what of it is still missing."""
    Tables(root).sweep()
    sweep(root)
    write_labels(root, 1000)
    snapshot = Root(root).snapshot()
    todo = missing(root, videos, [extractor], options, retry=True, snapshot=snapshot)
    blocks = [todo[i : i + BLOCK] for i in range(0, len(todo), BLOCK)]
    random.Random(seed).shuffle(blocks)
    for block in blocks:
        left = still_missing(snapshot, block)
        extract_missing(root, left, [extractor], options, pictured(root, options.segment_ms))


def keep_house(root: str) -> None:
    """What `tidy` and `compact` do."""
    tables = Tables(root)
    tables.sweep()
    sweep(root)
    for name in ("frames", "labels", "outcomes", "segments"):
        tables.compact(name)
    for name in list_stores(root):
        compact(root, name)


def plant(root: str, videos: list[Video]) -> None:
    """The rows that a source and an ingest would have written: two users like some seconds of each video."""
    tables = Tables(root)
    tables.write("videos", [{"video_id": v.video_id, "claimed_duration_ms": v.duration_ms} for v in videos])
    events = [
        {"source": "faults", "source_row": 2 * n + u, "user_id": f"u{u}", "video_id": video.video_id,
         "kind": "highlight", "start_ms": 100 * u, "stop_ms": 900 + 100 * u}
        for n, video in enumerate(videos) for u in range(2)
    ]  # fmt: skip
    tables.write("events", events)


def blocks_of(root: str) -> dict[tuple[str, str], Block]:
    """Every block that readers see, by store and video, without what may differ between two runs."""
    found = {}
    for name in list_stores(root):
        for block in open_store(root, name).blocks():
            kept = {key: value for key, value in block.provenance.items() if key not in TOLD}
            found[name, block.video_id] = replace(block, provenance=kept)
    return found


def differing(found: dict[tuple[str, str], Block], expected: dict[tuple[str, str], Block]) -> list[tuple[str, str]]:
    """Blocks that are not what an unbroken run made, and those that it did not make."""
    return [key for key, block in found.items() if key not in expected or not same(block, expected[key])]


def rows_of(root: str, name: str) -> list[tuple[Any, ...]]:
    """The rows of a table, in an order of their own."""
    table = Tables(root).read(name)
    return sorted((tuple(map(repr, row.values())) for row in table.to_pylist()), key=repr)


def state(root: str) -> dict[str, Any]:
    """What of a root must not depend on what happened to those who wrote it."""
    return {name: rows_of(root, name) for name in ("videos", "events", "segments", "labels", "frames")}


def doubled_outcomes(root: str) -> int:
    """Rows of the log that are there twice."""
    rows = rows_of(root, "outcomes")
    return len(rows) - len(set(rows))


def last_words(root: str) -> dict[str, str]:
    """`done` or the class of failure of each (key, store)'s newest outcome."""
    return {
        f"{key} {name}": row["error_class"] or "done"
        for name in list_stores(root)
        for key, row in Outcomes(root).latest("extract", name).items()
    }


def assert_equal_roots(root: str, reference: str) -> int:
    """Compare a finished root with one that was made without a fault; gives the number of blocks compared."""
    found, expected = blocks_of(root), blocks_of(reference)
    assert found.keys() == expected.keys()
    assert differing(found, expected) == []
    assert state(root) == state(reference)
    for name in list_stores(root):
        assert open_store(root, name).verify() == []
    # A kill between a block and its outcome leaves the block only; what is done is asked of the stores.
    assert last_words(root).keys() <= last_words(reference).keys()
    assert set(last_words(root).values()) <= {"done", "killed"}, "killed: here, while another worker did it"
    assert doubled_outcomes(root) == 0
    assert not list(Path(root).rglob(".part-*")), "temporaries stayed behind"
    assert all(np.isfinite(block.features[block.mask > 0]).all() for block in found.values())
    return len(found)
