"""Settings of the click-through model by validation alone: `python -m tests.benchmarks._choice l2=0.02 dim=10`.

Each argument is a choice beside the defaults (`l2=0.02,init_std=0.01` is one), on the random split of half of
MovieLens-1M as in `movielens`, on seeds from 100 on, which no table reports. No test figure is computed. `SEEDS` so
many seeds, `MODEL` fm or deepfm for the others.
"""

import os
import sys
import tempfile
from typing import Any

import torch

from reelmill.flows.settings.load import value
from reelmill.models.core.training import Training, run_epoch
from reelmill.models.protocols.clicks.data import load_clicks
from reelmill.models.registry import find
from reelmill.pipeline import sources
from tests.benchmarks._seeds import markdown, mean
from tests.benchmarks.movielens import COMMON, DATA

SEEDS = range(100, 100 + int(os.environ.get("SEEDS", "2")))
MODEL = os.environ.get("MODEL", "multimodal")
CPU = torch.device("cpu")


def best(data: Any, options: dict[str, Any]) -> tuple[float, int]:
    """Best validation AUC, and its epoch."""
    recommender = find(MODEL)
    settings = recommender.settings.from_dict({**COMMON, **options})
    one = Training(recommender.task(data, settings, CPU), settings, CPU)
    found, curve = (0.0, 0), []
    while one.epoch < settings.epochs and one.epoch - found[1] < settings.patience:
        run_epoch(one)
        one.epoch += 1
        one.network.eval()
        curve.append(one.task.validate(one.network)["auc"])
        found = max(found, (curve[-1], one.epoch))
    print(options, " ".join(f"{auc:.4f}" for auc in curve), flush=True)
    return found


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    base: dict[str, Any] = {"modalities": "none"} if MODEL == "multimodal" else {}
    with tempfile.TemporaryDirectory() as folder:
        sources.write_source(folder, sources.read(DATA / "ml-1m" / "ratings_first487650.dat.gz", "movielens"))
        data = load_clicks(folder)
        rows = []
        for text in ["", *sys.argv[1:]]:
            pairs = (pair.split("=", 1) for pair in text.split(",") if pair)
            options = {**base, **{name: value(said) for name, said in pairs}}
            found = [best(data, {**options, "seed": seed}) for seed in SEEDS]
            rows.append([text or "as it is", mean([auc for auc, _ in found]), str([epoch for _, epoch in found])])
    markdown([MODEL, "best validation AUC", "epochs"], rows)


if __name__ == "__main__":
    main()
