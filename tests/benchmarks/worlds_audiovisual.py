"""The audio-visual feature network on its planted world: `python -m tests.benchmarks worlds_audiovisual`.

Does it tell classes, do the losses put into each half what they are for, and does the click-through model gain by what
is written? `SEEDS` so many seeds, from 10 on: 0 to 4 are those of the tests and of the choice of settings.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reelmill.models.audiovisual.settings import AudioVisualSettings
from reelmill.models.audiovisual.world import World, factors, write
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.registry import world_of
from reelmill.storage import open_store
from tests.benchmarks._seeds import difference, markdown, mean, train

SEEDS = range(10, 10 + int(os.environ.get("SEEDS", "5")))
SETTINGS = {
    "as it is": {},
    "α 0": {"similarity": 0.0},
    "β 0": {"difference": 0.0},
    "as printed": {"apart": "as_printed"},
    "orthogonal": {"apart": "orthogonal"},
}
WORLDS = {"on": {}, "nothing seen and heard": {"common": 0.0}, "noise twin": {"noise_twin": True}}


def told(root: Path, written: dict[str, str], true: np.ndarray, half: int, learnt: str, tested: str) -> float:
    """How many videos with sound have the value of a factor whose mean is nearest, means of one half of one modality's
    features, videos by the same half of a modality's."""
    rows = {}
    for modality, store in written.items():
        both = open_store(root, store).rows([(f"v{n:04d}", 0) for n in range(len(true))])
        rows[modality] = np.split(both, 2, axis=1)[half]
    heard = ~np.isnan(rows["sound"][:, 0])
    x, y, true = rows[learnt][heard], rows[tested][heard], true[heard]
    apart = np.stack([((y - x[true == value].mean(0)) ** 2).sum(1) for value in np.unique(true)])
    return float((apart.argmin(0) == true).mean())


def figures(root: Path, world: World, changes: dict[str, Any], clicks: bool) -> dict[str, float]:
    """Of one fit, and of click-through models on what it read and what it wrote."""
    stores = write(root, world)
    settings = replace(AudioVisualSettings.from_dict(world_of("audiovisual").options), seed=world.seed, **changes)
    done = train(root, stores, settings, model="audiovisual")
    rows = {(row["row"], row["metric"]): row["mean"] for row in done.metrics["rows"]}
    true = factors(world)
    found = {"hit@1": rows["audiovisual", "hit@1"], "most popular": rows["most popular", "hit@1"]}
    found["only seen, private"] = told(root, done.written, true[:, 1], 0, "picture", "picture")
    found["only seen, public"] = told(root, done.written, true[:, 1], 1, "picture", "picture")
    found["both, public, picture to sound"] = told(root, done.written, true[:, 0], 1, "picture", "sound")
    if clicks:
        chosen = {**world_of("multimodal").options, "epochs": 15, "seed": world.seed}
        for name, given in (("none", {}), ("as read", stores), ("as written", done.written)):
            modalities = "fused" if given else "none"
            click = MultimodalSettings.from_dict({**chosen, "modalities": modalities})
            fields = "user_id,item_id" + (",picture,sound" if given else "")
            result = train(root, given, replace(click, fields=fields), model="multimodal")
            found[f"AUC, {name}"] = next(
                row["mean"]
                for row in result.metrics["by_sparsity"]
                if (row["group"], row["row"], row["metric"]) == ("unseen item", "multimodal", "auc")
            )
    return found


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    kept: dict[str, list[dict[str, float]]] = {}
    for world, knobs in WORLDS.items():
        for name, changes in SETTINGS.items() if world == "on" else [("as it is", {})]:
            for seed in SEEDS:
                with tempfile.TemporaryDirectory() as folder:
                    one = figures(Path(folder), World(seed=seed, **knobs), changes, name == "as it is")
                kept.setdefault(f"{world}, {name}", []).append(one)
    names = list(kept["on, as it is"][0])
    lines = [
        [row, *(mean([one[n] for one in fits]) if n in fits[0] else "" for n in names)] for row, fits in kept.items()
    ]
    markdown(["", *names], lines)
    for row, fits in kept.items():
        if "AUC, none" in fits[0]:
            written = [one["AUC, as written"] for one in fits]
            for other in ("AUC, none", "AUC, as read"):
                print(f"{row}: as written − {other}: {difference(written, [one[other] for one in fits])}")


if __name__ == "__main__":
    main()
