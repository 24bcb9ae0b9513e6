"""Training reads: batches of 256 rows out of 50,000 × 4096 float32, against numpy's memmap of the same numbers.

The page cache is warm. Target: the HDF5 store takes at most 1.5 times as long as `memmap[rows]`.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from reelmill.storage import Block, FeatureWriter, Spec, open_store
from reelmill.storage.features import FeatureStore, Format
from tests.benchmarks import interleaved, table

ROWS, DIM, PER_VIDEO, BATCH = 50_000, 4096, 20, 256
SPEC = Spec("benchmark", "fc6", DIM, "segment")


def blocks() -> Iterator[Block]:
    """Videos of 20 segments; vectors like those behind a ReLU, three quarters zeros."""
    rng = np.random.default_rng(0)
    segment = np.arange(PER_VIDEO)
    for video in range(ROWS // PER_VIDEO):
        vectors = np.maximum(rng.standard_normal((PER_VIDEO, DIM), np.float32) - 0.67, 0)
        yield Block(f"v{video:05d}", vectors, np.ones(PER_VIDEO), segment, segment * 5000, segment * 5000 + 5000)


def fill(root: Path, format: Format) -> float:
    """Write the store; return MB a second, fsync included."""
    began = time.perf_counter()
    with FeatureWriter(root, SPEC, format) as writer:
        for block in blocks():
            writer.add(block)
    return ROWS * DIM * 4 / 1e6 / (time.perf_counter() - began)


Method = Callable[[np.ndarray], object]


def random_rows(rng: np.random.Generator) -> np.ndarray:
    """Row numbers (256,) drawn one by one."""
    return rng.integers(0, ROWS, BATCH)


def rows_of_videos(rng: np.random.Generator) -> np.ndarray:
    """Row numbers (256,) of 13 videos."""
    videos = rng.choice(ROWS // PER_VIDEO, -(-BATCH // PER_VIDEO), replace=False)
    return (videos[:, None] * PER_VIDEO + np.arange(PER_VIDEO)).ravel()[:BATCH]


def fancy(store: FeatureStore) -> Method:
    """The same batch with h5py's own index, which wants ascending rows without doubles, shard by shard."""
    files = [h5py.File(shard.path) for shard in store.shards]
    edges = np.cumsum([0, *(len(f["features"]) for f in files)])

    def read(rows: np.ndarray) -> np.ndarray:
        distinct, back = np.unique(rows, return_inverse=True)
        home = np.searchsorted(edges, distinct, side="right") - 1
        parts = [files[n]["features"][distinct[home == n] - edges[n]] for n in np.unique(home)]
        return np.concatenate(parts)[back]

    return read


def main() -> None:
    """Print reading times by format and by batch, and what it costs to write."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        speed = {"hdf5": fill(root / "hdf5", "hdf5"), "parquet": fill(root / "parquet", "parquet")}
        hdf5, parquet = (open_store(root / name, SPEC.name) for name in speed)
        flat = np.memmap(root / "flat", np.float32, "w+", shape=(ROWS, DIM))
        for start in range(0, ROWS, 1000):  # also brings everything into the page cache
            flat[start : start + 1000] = hdf5.take(np.arange(start, start + 1000))
        pairs = [(video, segment) for video in sorted(hdf5.keys()) for segment in range(PER_VIDEO)]
        buffer = np.empty((BATCH, DIM), np.float32)
        base: dict[str, Method] = {"numpy memmap[rows]": lambda rows: flat[rows]}
        store: dict[str, Method] = base | {
            "HDF5 store, take": lambda rows: hdf5.take(rows),
            "HDF5 store, take into a buffer": lambda rows: hdf5.take(rows, buffer),
            "HDF5 store, rows of (video, segment)": lambda rows: hdf5.rows([pairs[row] for row in rows.tolist()]),
        }
        others: dict[str, Method] = base | {  # apart, since they leave nothing in the processor's caches for the rest
            "HDF5 file, h5py fancy index": fancy(hdf5),
            "Parquet store, take": lambda rows: parquet.take(rows),
        }
        rng = np.random.default_rng(1)
        for kind, draw in (("random rows", random_rows), ("rows of 13 videos", rows_of_videos)):
            sample = draw(rng)
            for name, method in (store | others).items():
                assert np.array_equal(method(sample), flat[sample]), name
            for methods, rounds in ((store, 200), (others, 10)):
                ms = interleaved(methods, functools.partial(draw, rng), rounds)
                title = f"{BATCH} {kind} of {ROWS:,} × {DIM} float32 in {len(hdf5.shards)} shards"
                table(title, ["", "ms", "× memmap"], [(n, t, t / ms["numpy memmap[rows]"]) for n, t in ms.items()])
        sizes = {n: sum(p.stat().st_size for p in (root / n).rglob("part-*")) / 1e6 for n in speed}
        table("Writing, fsync included", ["", "MB/s", "MB"], [(n, v, f"{sizes[n]:.0f}") for n, v in speed.items()])


if __name__ == "__main__":
    main()
