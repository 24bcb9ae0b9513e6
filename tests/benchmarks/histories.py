"""The Dynamic RNN, its variants and FPMC on real histories: `python -m tests.benchmarks histories`. Needs the data
beside the project; prints nothing without it. `SEEDS=3` takes fewer seeds.

MovieTweetings-100K spans six months: six sessions of which four are known, the last two are the truth. MovieLens
latest-small spans 22 years: the twelve months with most ratings. Of the 50 users who watch anything there after the
third month, 42 have watched nothing before, so the short mode (three months known) and half of the users for the test
leave some 25 cases, most of them strangers. The Dynamic RNN and its variants share their settings: the learning rate
by the first seed's validation figures on MovieTweetings, the rest for speed (`longest` is the length of the lists). On
MovieLens, which has some hundred examples, epochs are more and batches smaller. FPMC's `l2` and `negatives` are by the
first seed's validation figures on MovieTweetings too.

There are no pictures: the roles of pictures are left out, and with them eq. 1, whose pairs need both. Text and topics
are learned from title, genres and free tags by the encoders that `reelmill extract` runs.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reelmill.extractors.registry import build_encoder
from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.fit import train
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.pipeline import sources
from reelmill.pipeline.extract.texts import extract_texts
from reelmill.storage import Tables
from tests.benchmarks._seeds import difference, markdown, mean

DATA = Path(__file__).parents[3] / "shared" / "data"
SEEDS = range(int(os.environ.get("SEEDS", "5")))
DAY_MS = 24 * 3600 * 1000
YEAR_MS = 365.25 * DAY_MS
STORES = {"frames": "", "clips": ""}
METRICS = ("f@5", "precision@5", "recall@5")
Row = dict[str, float]


@dataclass(frozen=True)
class World:
    """A file of ratings and how it is divided."""

    file: str
    protocol: dict[str, Any]
    few: dict[str, Any] = field(default_factory=dict)
    """Of the Dynamic RNN where examples are few: more epochs of smaller batches."""
    window: bool = False
    """Take the twelve months with most ratings, not the last ones."""


WORLDS = {
    "MovieTweetings-100K": World("movietweetings-100k/ratings.dat", {"sessions": 6, "known_months": 4}),
    "MovieLens latest-small": World(
        "ml-latest-small/ratings.csv",
        {"known_months": 3, "test_share": 0.5, "validation_share": 0.2},
        {"batch": 32, "epochs": 60, "patience": 15},
        window=True,
    ),
}
DRNN: dict[str, Any] = {
    "dim": 64, "hidden": 64, "batch": 256, "longest": 5, "learning_rate": 0.003, "epochs": 5, "patience": 0
}  # fmt: skip
FPMC: dict[str, Any] = {"l2": 0.03, "negatives": 5, "epochs": 12, "patience": 3}
VARIANTS = ("drnn", "rnn_no_rel", "static_dnn", "rnn_sem", "rnn")


def ingest(root: Path, world: World) -> None:
    """Tables, and features of the text."""
    sources.write_source(root, sources.read(DATA / world.file, "movielens"))
    for encoder in (build_encoder("text", device="cpu"), build_encoder("topics")):
        print(extract_texts(str(root), encoder).stores, flush=True)


def busiest_year(root: Path) -> str:
    """The day after the twelve months with most ratings."""
    ms = np.sort(Tables(root).read("events", ["time"])["time"].cast("int64").to_numpy())
    days = np.arange(ms[0] // DAY_MS + 1, ms[-1] // DAY_MS + 2)
    inside = np.searchsorted(ms, days * DAY_MS) - np.searchsorted(ms, days * DAY_MS - YEAR_MS)
    return str(days[inside.argmax()].astype("datetime64[D]"))


def fits(
    root: Path, protocol: dict[str, Any], few: dict[str, Any], seed: int
) -> Iterator[tuple[str, Row, dict[str, int]]]:
    """Name, {metric: figure} and counts of each ranking, floors among them."""
    asked: dict[str, tuple[str, HistorySettings, dict[str, str]]] = {
        "fpmc": ("fpmc", FPMCSettings(**protocol, **FPMC), {})
    }
    for variant in VARIANTS:
        asked[variant] = ("drnn", DRNNSettings(**protocol, **DRNN | few, variant=variant), STORES)  # type: ignore[arg-type]
    for name, (model, settings, stores) in asked.items():
        began = time.perf_counter()
        fit = train(
            root, stores, replace(settings, seed=seed), model=model, device="cpu", pictures=False, logger="none"
        )
        rows = fit.metrics["rows"]
        print(f"seed {seed}  {name}  {time.perf_counter() - began:.0f} s  epoch {fit.metrics['fit']['best_epoch']}",
              flush=True)  # fmt: skip
        for row in dict.fromkeys(row["row"] for row in rows):
            own = row if model == "fpmc" else row.replace("drnn", name)
            if model == "fpmc" or row.startswith("drnn"):
                yield own, {r["metric"]: r["mean"] for r in rows if r["row"] == row}, fit.counts


def table(title: str, world: World) -> None:
    """Print the table of one world."""
    found: dict[str, list[Row]] = {}
    told: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ingest(root, world)
        protocol = world.protocol | ({"end": busiest_year(root)} if world.window else {})
        for seed in SEEDS:
            for name, figures, counts in fits(root, protocol, world.few, seed):
                found.setdefault(name, []).append(figures)
                told.append(counts)
    shown = ("users", "videos", "train_users", "test_cases", "test_users_of_whom_nothing_is_known")
    print(f"\n### {title}: lists of five, {len(SEEDS)} seeds; {protocol}")
    print({name: float(np.mean([counts[name] for counts in told])) for name in shown})
    of = {name: {m: [row[m] for row in rows] for m in METRICS} for name, rows in found.items()}
    first = of["drnn"]["f@5"]
    markdown(
        ["", "F", "precision", "recall", "drnn − it, F"],
        [
            [name, *(mean(values[m]) for m in METRICS), "" if name == "drnn" else difference(first, values["f@5"])]
            for name, values in of.items()
        ],
    )


def main() -> None:
    """Print the tables."""
    if not DATA.exists():
        return
    torch.set_num_threads(1)
    for title, world in WORLDS.items():
        table(title, world)


if __name__ == "__main__":
    main()
