"""TikTok micro-videos with their published split: what pictures and sound bring, and what can be said of videos that no
training user touched. `python -m tests.benchmarks tiktok`. Needs the data beside the project; prints nothing without.

Warm: BPR and VBPR rank all videos of the training. Cold: TransGRec, VBPR and plain content rank the 465 videos without
a training user, for the users of the 449 test clicks on them (VBPR for 448: one is of a user without training).
Click-through: one sampled negative a click; of the clicks of the test, those on cold videos have a column.

Settings are the best of a few by the first seed's validation: l2 of BPR of 1e-3, 1e-2, 3e-2, 0.1 and 0.2; of VBPR the
same up to 0.1, and l2_visual of 0, 1e-3 and 1e-2; l2 of TransGRec of 1e-4, 1e-2 and 0.1. TransGRec stands with and
without its graph (K = 0); its width, batch, negatives and rate are such that a fit takes a minute of one core.
`SEEDS=3` takes fewer seeds, `TABLES=rankers` fewer tables.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from reelmill.models.baselines.fm import FMSettings
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.core.settings import FitSettings
from reelmill.models.data.events import PARTS
from reelmill.models.fit import train
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.pipeline import sources
from reelmill.pipeline.vectors import write_vectors
from tests.benchmarks._seeds import markdown, mean
from tests.benchmarks.movielens import COMMON, DATA, fit

SEEDS = range(int(os.environ.get("SEEDS", "5")))
TABLES = os.environ.get("TABLES", "rankers,transfer,clicks").split(",")
QUICK: dict[str, Any] = {"split": "given", "epochs": 60, "patience": 6, "batch": 2048}
GRAPH: dict[str, Any] = {"split": "given", "epochs": 30, "patience": 12, "batch": 2000, "negatives": 4, "dim": 64}
GRAPH |= {"learning_rate": 3e-3, "l2": 1e-2}
FLOORS = ("random", "most popular", "content")
MEASURES = ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "map")
Found = dict[str, dict[str, list[float]]]
"""{ranking: {metric: figures by seed}}; those without training stand there once a fit."""


def read(root: Path) -> dict[str, str]:
    """Write the events, a source for each part, and both stores; their names by modality."""
    folder = DATA / "tiktok"
    events = pq.read_table(folder / "interactions.parquet")
    for part in PARTS:
        pq.write_table(events.filter(pc.equal(events["split"].cast("string"), part)), root / f"{part}.parquet")
        names = {"user_id": "user_id", "video_id": "item_id"}
        result = sources.read(root / f"{part}.parquet", "mapped", mapping=names, name=part)
        sources.write_source(root, result)
    return {
        role: write_vectors(root, folder / f"{file}_features.npy", "tiktok", role).store
        for role, file in (("picture", "image"), ("sound", "audio"))
    }


def rankers(root: Path, stores: Mapping[str, str]) -> None:
    """BPR and VBPR."""
    vbpr = VBPRSettings(**QUICK, l2=0.1, l2_visual=1e-2)
    fits: dict[str, tuple[str, FitSettings, str | None]] = {"BPR": ("bpr", BPRSettings(**QUICK, l2=0.2), None)}
    fits |= {f"VBPR, {role}": ("vbpr", vbpr, store) for role, store in stores.items()}
    found = _fit_all(root, fits)
    for title, kind in (("videos of the training", ""), ("videos that no training user touched", "cold_")):
        _print(title, {name: rows for name, rows in found.items() if kind + "map" in rows}, kind)


def transfer(root: Path, stores: Mapping[str, str]) -> None:
    """TransGRec, whose every test is on videos that no training user touched."""
    chosen = {
        "E, K = 2": TransGRecSettings(**GRAPH),
        "E, K = 0": TransGRecSettings(**GRAPH, depth=0),
        "A, K = 1": TransGRecSettings.adversarial(**GRAPH),
    }
    found = _fit_all(
        root, {f"TransGRec-{kind}, picture": ("transgrec", s, stores["picture"]) for kind, s in chosen.items()}
    )
    _print("videos that no training user touched", found)


def _fit_all(root: Path, fits: Mapping[str, tuple[str, FitSettings, str | None]]) -> Found:
    found: Found = {}
    for name, (model, settings, store) in fits.items():
        began, role = time.perf_counter(), name.rpartition(", ")[2]
        results = [
            train(root, store, replace(settings, seed=seed), model=model, logger="none", pictures=False)
            for seed in SEEDS
        ]
        for result in results:
            for row in result.metrics["rows"]:
                ranking = {model: name, "content": f"content, {role}"}.get(row["row"], row["row"])
                found.setdefault(ranking, {}).setdefault(row["metric"], []).append(row["mean"])
        best = [result.metrics["fit"]["best_epoch"] for result in results]
        print(name, f"{time.perf_counter() - began:.0f} s, best epochs {best}", flush=True)
    return found


def _print(title: str, found: Found, kind: str = "") -> None:
    """One row a ranking; those without training are the same for every seed."""
    print(f"\nTikTok, {title}, {len(SEEDS)} seeds")
    rows = [
        [name, *(f"{of[m][0]:.4f}" if name.startswith(FLOORS) else mean(of[m]) for m in (kind + m for m in MEASURES))]
        for name, of in sorted(found.items(), key=lambda pair: not pair[0].startswith(FLOORS))
    ]
    markdown(["", *MEASURES], rows)


def clicks(root: Path, both: dict[str, str]) -> None:
    """The multimodal model with and without each modality, with and without dropping of item ids; and FM."""
    settings = MultimodalSettings(**COMMON, split="given")
    models: dict[str, tuple[str, FieldSettings, dict[str, str]]] = {
        "FM, ids": ("fm", FMSettings(**COMMON, split="given"), {}),
        "FM, both": ("fm", FMSettings(**COMMON, split="given"), both),
        "CTR, no modality": ("multimodal", replace(settings, modalities="none"), {}),
        "CTR, picture": ("multimodal", settings, {"picture": both["picture"]}),
        "CTR, sound": ("multimodal", settings, {"sound": both["sound"]}),
        "CTR, both": ("multimodal", settings, both),
        "CTR, both, concatenated": ("multimodal", replace(settings, modalities="concatenated"), both),
    }
    models |= {
        f"{name}, drop_items ¼": (model, replace(s, drop_items=0.25), stores)
        for name, (model, s, stores) in models.items()
        if stores == both
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for name, (model, chosen, stores) in models.items():
        found[name] = [fit(root, model, replace(chosen, seed=seed), stores) for seed in SEEDS]
        print(name, [round(f["all/model/auc"], 4) for f in found[name]], flush=True)
    print(f"\nTikTok, AUC, {len(SEEDS)} seeds")
    columns = ("all/model/auc", "unseen item/model/auc", "all/model/log_loss", "validation")
    popular = [found["FM, ids"][0][f"{group}/most popular/{metric}"]
               for group, metric in (("all", "auc"), ("unseen item", "auc"), ("all", "log_loss"))]  # fmt: skip
    markdown(
        ["", "AUC", "AUC, unseen items", "log-loss", "validation AUC"],
        [["most popular", *(f"{value:.4f}" for value in popular), ""]]
        + [[name, *(mean([f[c] for f in fits]) for c in columns)] for name, fits in found.items()],
    )


def main() -> None:
    """Print the tables."""
    if not DATA.exists():
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stores = read(Path(folder))
        for name, part in (("rankers", rankers), ("transfer", transfer), ("clicks", clicks)):
            if name in TABLES:
                part(Path(folder), stores)


if __name__ == "__main__":
    main()
