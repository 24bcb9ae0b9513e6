"""Click-through models on half of MovieLens-1M: `python -m tests.benchmarks movielens`. Needs the data beside the
project; prints nothing without it.

MovieLens-1M: 4 and 5 stars are clicks, 1 and 2 are none, 3 stars are left out; 8/1/1 at random or by time. Every model
gets the same choice of `init_std`, by validation AUC on the first seed, and the same patience. On the split by time,
where only weights and batches differ between seeds, the choice on the random one is taken over.

`TABLES=random`, `time` or `ids` takes one of the three tables, `SEEDS` so many seeds.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reelmill.models.baselines.fm import DeepFMSettings, FMSettings
from reelmill.models.fit import train
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.pipeline import sources
from tests.benchmarks._seeds import difference, markdown, mean

DATA = Path(__file__).parents[3] / "shared" / "data"
SEEDS = range(int(os.environ.get("SEEDS", "5")))
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("all fields, random split", {}),
    "time": ("all fields, split by time", {"split": "time"}),
    "ids": ("ids alone, random split", {"fields": "user_id,item_id"}),
}
WANTED = os.environ.get("TABLES", ",".join(TABLES)).split(",")
INIT_STD = (0.01, 0.1)
COMMON: dict[str, Any] = {"patience": 3, "epochs": 40}
FEW: dict[str, tuple[str, FieldSettings]] = {
    "FM": ("fm", FMSettings(**COMMON)),
    "DeepFM": ("deepfm", DeepFMSettings(**COMMON)),
    "CTR, basic": ("multimodal", MultimodalSettings.ablation("basic", **COMMON)),
    "CTR, crossing": ("multimodal", MultimodalSettings.ablation("crossing", **{**COMMON, "modalities": "none"})),
}
METRICS = ("auc", "log_loss")
Figures = Mapping[str, Mapping[str, float]]


def fit(root: Path, model: str, settings: FieldSettings, stores: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Figures of a fit: by group ("all" among them) and row, with validation and seconds."""
    began = time.perf_counter()
    metrics = train(root, stores, settings, model=model, logger="none", pictures=False).metrics
    found: dict[str, Any] = {"validation": metrics["fit"]["best_validation"], "epochs": metrics["fit"]["best_epoch"]}
    for row in [{"group": "all", **row} for row in metrics["rows"]] + metrics["by_sparsity"]:
        name = "model" if row["row"] == model else row["row"]
        found[f"{row['group']}/{name}/{row['metric']}"] = row["mean"]
    return {**found, "seconds": time.perf_counter() - began}


def movielens(root: Path) -> None:
    """FM, DeepFM and the CTR model in the wanted tables."""
    sources.write_source(root, sources.read(DATA / "ml-1m" / "ratings_first487650.dat.gz", "movielens"))
    chosen: dict[str, float] = {}
    for title, options in (TABLES[name] for name in WANTED):
        found: dict[str, list[dict[str, Any]]] = {}
        for name, (model, settings) in FEW.items():
            settings, first = replace(settings, **options), []
            if name not in chosen or "fields" in options:
                tried = {std: fit(root, model, replace(settings, init_std=std, seed=SEEDS[0])) for std in INIT_STD}
                chosen[name] = max(tried, key=lambda std: tried[std]["validation"])
                first = [tried[chosen[name]]]
            rest = [
                fit(root, model, replace(settings, init_std=chosen[name], seed=seed)) for seed in SEEDS[len(first) :]
            ]
            found[name] = [*first, *rest]
            print(name, chosen[name], [round(f["all/model/auc"], 4) for f in found[name]], flush=True)
        for metric in METRICS:
            floors = [
                [row, "", mean([f[f"all/{row}/{metric}"] for f in found["FM"]]), "", "", ""]
                for row in ("random", "most popular", "rates")
            ]
            values = {name: [f[f"all/model/{metric}"] for f in fits] for name, fits in found.items()}
            lines = [
                [name, str(chosen[name]), mean(values[name]), difference(values[name], values["FM"]),
                 str([f["epochs"] for f in found[name]]), f"{sum(f['seconds'] for f in found[name]):.0f}"]
                for name in found
            ]  # fmt: skip
            print(f"\nMovieLens-1M (first half), {title}, {len(SEEDS)} seeds")
            markdown(["", "init_std", metric, "minus FM", "best epochs", "seconds"], floors + lines)


def main() -> None:
    """Print the tables."""
    if not DATA.exists():
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        movielens(Path(folder))


if __name__ == "__main__":
    main()
