"""KNN and LFM on 100,000 users × 50,000 items × 10 million watches, beside implicit's native code.

`python -m tests.benchmarks closed_form`. The watches are drawn: users differ in how much they watch (log-normal),
items in how popular they are (a power of their rank). Competitors are processes with the same watches and `THREADS`
threads that take turns; a turn is the whole fit of KNN, and one sweep of LFM's least squares, from the same start and
with the same 64 factors. `USERS=`, `ITEMS=`, `WATCHES=` and `ROUNDS=` take other sizes.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.peers import THREADS, Competitor

USERS, ITEMS = int(os.environ.get("USERS", "100000")), int(os.environ.get("ITEMS", "50000"))
WATCHES = int(os.environ.get("WATCHES", "10000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
RACES = {"KNN, 50 neighbours, a fit": ("knn_ours", "knn_implicit"), "LFM, a sweep": ("als_ours", "als_implicit")}


def draw(folder: Path) -> None:
    """Write distinct pairs of users and items (2, WATCHES)."""
    rng = np.random.default_rng(0)
    active = rng.lognormal(0, 1, USERS)
    popular = 1 / np.arange(1, ITEMS + 1) ** 0.7
    pairs = np.zeros(0, np.int64)
    while len(pairs) < WATCHES:
        user, item = (rng.choice(len(share), WATCHES // 2, p=share / share.sum()) for share in (active, popular))
        pairs = np.unique(np.concatenate([pairs, user * ITEMS + item]))
    np.save(folder / "pairs.npy", np.stack(np.divmod(rng.permutation(pairs)[:WATCHES], ITEMS)).astype(np.int32))


def main() -> None:
    """Print a table for each race."""
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        for title, rivals in RACES.items():
            started = [Competitor(rival, Path(sys.executable), Path(name)) for rival in rivals]
            turns: dict[str, list[dict[str, float]]] = {one.name: [] for one in started}
            for number in range(ROUNDS + 1):
                for one in started if number % 2 else reversed(started):
                    turns[one.name].append(one.turn())
            for one in started:
                one.close()
            seconds = {name: [turn["seconds"] for turn in own[1:]] for name, own in turns.items()}  # the first warms up
            apart = [ours / theirs for ours, theirs in zip(*(seconds[rival] for rival in rivals), strict=True)]
            rows = [
                [rival, statistics.median(seconds[rival]), max(turn["gib"] for turn in turns[rival]),
                 turns[rival][-1].get("loss", "")] for rival in rivals
            ]  # fmt: skip
            of = f"{USERS:,} users, {ITEMS:,} items, {WATCHES:,} watches, {THREADS} threads"
            ratio = (
                f"ours is {statistics.median(apart):.2f} × ({min(apart):.2f} to {max(apart):.2f}) of implicit's time"
            )
            table(f"{title}; {of}; {ratio}", ["", "seconds", "GiB", "loss of a watch"], rows)


if __name__ == "__main__":
    main()
