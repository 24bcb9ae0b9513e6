"""Peak memory and time of reading 10,000,000 ratings (a CSV of 265 MB) into a root, in batches and as a whole.

Each way has a process of its own. As a whole means in one batch, as version 0.1.0 did; it needs some 6 GB.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks import table

RATINGS, USERS, FILMS = 10_000_000, 138_493, 26_744
AT_ONCE = 500_000
READ = """
import resource, sys, time
from reelmill.pipeline import labels, sources
from reelmill.pipeline.sources import dialect
path, root, piece = sys.argv[1:]
dialect.PIECE_BYTES = int(piece)
began = time.monotonic()
counts = sources.write_source(root, sources.open_source(path, "movielens"))
labels.write_labels(root)
seconds = time.monotonic() - began
used = resource.getrusage(resource.RUSAGE_SELF)
print(counts.events, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""


def ratings(path: Path, count: int = RATINGS) -> Path:
    """A file of ratings like those of MovieLens 20M."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for done in range(0, count, AT_ONCE):
            rows = min(AT_ONCE, count - done)
            user, film = rng.integers(1, USERS, rows).tolist(), rng.integers(1, FILMS, rows).tolist()
            stars, time = (
                (rng.integers(1, 11, rows) / 2).tolist(),
                rng.integers(789_652_009, 1_427_784_002, rows).tolist(),
            )
            file.write("".join(map("%d,%d,%.1f,%d\n".__mod__, zip(user, film, stars, time, strict=True))))
    return path


def read(path: Path, root: Path, piece: int) -> tuple[int, float, float, float]:
    """Events, seconds, processor seconds and peak bytes of a process that reads the file in pieces of so many bytes."""
    command = [sys.executable, "-c", READ, str(path), str(root), str(piece)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return int(said[0]), float(said[1]), float(said[2]), float(said[3])


def main() -> None:
    """Print the table."""
    from reelmill.pipeline.sources.dialect import PIECE_BYTES

    with tempfile.TemporaryDirectory() as folder:
        path = ratings(Path(folder) / "ratings.csv")
        found = {way: read(path, Path(folder) / way, piece) for way, piece in
                 (("in batches", PIECE_BYTES), ("as a whole", 1 << 30))}  # fmt: skip
        size = path.stat().st_size / 1e6
    whole = found["as a whole"]
    rows = [[way, peak / 1e9, seconds, processor, seconds / whole[1]] for way, (_, seconds, processor, peak)
            in found.items()]  # fmt: skip
    table(f"{found['in batches'][0]:,} ratings, {size:.0f} MB", ["", "peak GB", "s", "processor s", "ratio"], rows)


if __name__ == "__main__":
    main()
