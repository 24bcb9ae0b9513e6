"""Blocks and stores for the tests."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from reelmill.storage import Block, FeatureWriter, Spec
from reelmill.storage.features import Format
from reelmill.storage.formats import write_shard
from reelmill.storage.shards import SUFFIX

DIM = 24
SPEC = Spec("c3d", "fc6", DIM, "segment", sampling={"crop": (112, 112)})
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
formats = pytest.mark.parametrize("format", get_args(Format))


def block(video: str, rows: int = 5, *, first: int = 0, seed: int = 0, spec: Spec = SPEC) -> Block:
    """A block whose numbers follow from its arguments; of three or more rows the second has no data."""
    rng = np.random.default_rng([seed, rows, *video[:20].encode()])
    features = rng.random((rows, spec.dim), np.float32).astype(spec.dtype)
    mask = rng.integers(1, 3, rows).astype(np.uint8)
    if rows > 2:
        mask[1], features[1] = 0, np.nan
    segment = np.arange(first, first + rows, dtype=np.int32)
    return Block(video, features, mask, segment, segment * 5000, segment * 5000 + 5000, {"seed": seed, "é": [1, None]})


def same(one: Block, other: Block) -> bool:
    names = ("features", "mask", "segment_index", "start_ms", "stop_ms")
    arrays = [(getattr(one, name), getattr(other, name)) for name in names]
    return (
        one.video_id == other.video_id
        and one.provenance == other.provenance
        and all(a.dtype == b.dtype for a, b in arrays[:1])
        and all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in arrays)
    )


def fill(root: Path, blocks: list[Block], format: Format = "hdf5", per_shard: int = 1024, spec: Spec = SPEC) -> Path:
    """Write blocks; return the store's folder."""
    with FeatureWriter(root, spec, format, shard_blocks=per_shard) as writer:
        for one in blocks:
            writer.add(one)
    return writer.folder


def shard_file(tmp_path: Path, format: Format, blocks: list[Block]) -> Path:
    path = tmp_path / f"shard{SUFFIX[format]}"
    write_shard(path, format, SPEC, [b.packed(SPEC) for b in blocks])
    return path
