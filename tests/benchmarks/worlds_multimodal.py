"""What each part of the multimodal click-through model brings in its planted world, knob by knob: `python -m
tests.benchmarks worlds_multimodal`.

Every figure is a mean over seeds of world, split and weights alike; a difference is taken on the same seed, with
Student's 95 % interval over the seeds. "closed" is how much of the way from chance to the true probabilities goes the
first model of a pair. World and settings were chosen by looking at other seeds than these.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reelmill.models import runs
from reelmill.models.baselines.fm import DeepFMSettings, FMSettings
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.multimodal.world import World, ceiling, write
from reelmill.models.protocols.clicks.data import load_clicks
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.models.protocols.clicks.task import ClickTask
from tests.benchmarks._seeds import difference, markdown, mean, train

COMMON: dict[str, Any] = {
    "dim": 8, "init_std": 0.1, "l2": 1e-3, "batch": 512, "learning_rate": 1e-2, "epochs": 25, "patience": 4,
    "split": "time", "test_share": 0.3,
}  # fmt: skip
SEEDS = range(10, 15)
SMALL = {**COMMON, "hidden": "16"}
MODELS: dict[str, tuple[str, FieldSettings]] = {
    "FM": ("fm", FMSettings(**COMMON)),
    "DeepFM": ("deepfm", DeepFMSettings(**SMALL)),
    **{name: ("multimodal", MultimodalSettings.ablation(name, **SMALL))
       for name in ("basic", "concatenated", "fused", "crossing")},
    "crossing, drop_items ¼": ("multimodal", MultimodalSettings.ablation("crossing", **SMALL, drop_items=0.25)),
}  # fmt: skip
WORLDS: dict[str, dict[str, object]] = {
    "all on": {},
    "spread 2 (fusion in the middle)": {"spread": 2.0},
    "spread 0 (fusion off)": {"spread": 0.0},
    "content 0 (modalities off)": {"content": 0.0},
    "pairs and third at half": {"pairs": 0.75, "third": 0.25},
    "pairs and third 0 (crossing off)": {"pairs": 0.0, "third": 0.0},
    "noise twin": {"noise_twin": True},
}
PAIRS = (("concatenated", "basic"), ("fused", "concatenated"), ("crossing", "fused"), ("crossing", "FM"),
         ("crossing, drop_items ¼", "crossing"))  # fmt: skip
METRICS = ("auc", "log_loss", "auc of unseen items")
Figures = dict[str, dict[str, float]]


def run(job: tuple[str, int]) -> Figures:
    """{row: {metric: mean}} of all models, floors and the ceiling in one world with one seed; and for the models that
    fuse, how their weights of the picture go with the true ones over users."""
    torch.set_num_threads(1)
    world = World(seed=job[1], **WORLDS[job[0]])  # type: ignore[arg-type]
    found: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = write(Path(folder), world)
        data = load_clicks(folder, **stores)
        for name, (model, settings) in MODELS.items():
            settings = replace(settings, seed=job[1])
            result = train(folder, stores, settings, model=model)
            found |= figures(result.metrics, model, name)
            if name in ("fused", "crossing") and world.spread:
                task = ClickTask(model, Multimodal, data, settings, torch.device("cpu"))
                found[name]["weights"] = agreement(task, runs.load(result.folder).model, world)
    truth, test = ceiling(world), task_test(data, job[1])
    user, item = (np.array([int(name[1:]) for name in names]) for names in (data.users, data.items))
    told = test[0].compare({"ceiling": truth.click[user[test[1].user], item[test[1].item]]}, test[1])
    return {**found, **figures(told, "ceiling", "ceiling")}


def task_test(data: Any, seed: int) -> tuple[ClickTask, Any]:
    """A task and its test; the same for every model of a seed."""
    model, settings = MODELS["crossing"]
    task = ClickTask(model, Multimodal, data, replace(settings, seed=seed), torch.device("cpu"))
    return task, task.test()


def figures(metrics: dict[str, Any], row: str, name: str) -> Figures:
    """Floors, and one row under a name of its own."""
    rows = metrics["rows"] + [{**r, "metric": f"{r['metric']} of unseen items"}
                              for r in metrics["by_sparsity"] if r["group"] == "unseen item"]  # fmt: skip
    found: Figures = {}
    for r in rows:
        found.setdefault(name if r["row"] == row else r["row"], {})[r["metric"]] = r["mean"]
    return found


def agreement(task: ClickTask, model: Any, world: World) -> float:
    """Correlation over users of the picture's weight, mean over the items that have both, with the true one."""
    users = [int(name[1:]) for name in task.data.users]
    rows = task.values(torch.zeros(len(task.data.items), dtype=torch.int64), torch.arange(len(task.data.items)))
    both = torch.nonzero(~(rows["picture"].isnan().any(1) | rows["sound"].isnan().any(1)))[:, 0]
    user = torch.arange(len(users)).repeat_interleave(len(both))
    weight = model.explain(task.values(user, both.repeat(len(users)))).modalities[:, 0]
    return float(np.corrcoef(weight.reshape(len(users), -1).mean(1), ceiling(world).sight[users])[0, 1])


def main() -> None:
    """Print the tables."""
    jobs = [(name, seed) for name in WORLDS for seed in SEEDS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(run, jobs), strict=True))

    def of(world: str, row: str, metric: str) -> list[float]:
        return [found[world, seed][row].get(metric, np.nan) for seed in SEEDS]

    rows = ["most popular", "rates", *MODELS, "ceiling"]
    for metric in METRICS:
        print(f"\n{metric}, {len(SEEDS)} seeds")
        markdown(["world", *rows], [[w, *(f"{np.mean(of(w, r, metric)):.3f}" for r in rows)] for w in WORLDS])
        markdown(
            ["world", *(f"{one} − {other}" for one, other in PAIRS)],
            [[w, *(difference(of(w, one, metric), of(w, other, metric)) for one, other in PAIRS)] for w in WORLDS],
        )
    print("\nshare of the AUC from chance to the ceiling; correlation of the learnt weights with the true ones")
    markdown(
        ["world", *(f"closed: {name}" for name in MODELS), "weights: fused", "weights: crossing"],
        [
            [world, *(closed(of(world, name, "auc"), of(world, "ceiling", "auc")) for name in MODELS),
             *(mean(of(world, name, "weights")) for name in ("fused", "crossing"))]
            for world in WORLDS if world != "noise twin"
        ],
    )  # fmt: skip


def closed(auc: list[float], best: list[float]) -> str:
    """How far from .5 to the ceiling."""
    return f"{(np.mean(auc) - 0.5) / (np.mean(best) - 0.5):.0%}"


if __name__ == "__main__":
    main()
