"""What each attention of JIFR brings in its planted world, knob by knob: `python -m tests.benchmarks worlds_jifr`.

Every line is a mean over seeds of world, split, weights and draws alike; a difference is the full model less the
ablation on the same seed, with Student's 95 % interval over the seeds. "closed" is how much of the way from chance to
the true latents the full model goes. All models have the same settings.

World and settings were chosen on seeds 0 to 2. Seeds 10 to 15 did not bear out that rating attention helps the
ranking of frames at telling ¼, but did at telling ½, so the knob `spread` is turned there; these seeds are new again.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from reelmill.models.data.cases import Cases
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.jifr.task import JIFRTask
from reelmill.models.jifr.world import World, ceiling, write
from reelmill.models.protocols.items_and_frames import data as jifr_data
from tests.benchmarks._seeds import train

SETTINGS = JIFRSettings(
    dim=16, hidden=16, epochs=50, patience=8, learning_rate=0.02, l2=3e-3, batch=512, negatives=4
)  # fmt: skip
SEEDS = range(20, 26)
FULL = "both (JIFR)"
MODELS: dict[str, dict[str, object]] = {
    FULL: {},
    "rating only": {"visual_attention": False},
    "visual only": {"rating_attention": False},
    "neither (JIFR_NA)": {"visual_attention": False, "rating_attention": False},
}
WORLDS: dict[str, dict[str, object]] = {
    "telling ¼, spread 5": {},
    "telling ½, spread 5": {"telling": 0.5},
    "telling 1, spread 5 (visual off)": {"telling": 1.0},
    "telling ½, spread 2": {"telling": 0.5, "spread": 2.0},
    "telling ½, spread 0 (rating off)": {"telling": 0.5, "spread": 0.0},
    "noise twin": {"noise_twin": True},
}
METRICS = ("item_ndcg@15", "frame_ndcg@3")


class TrueLatents:
    """The rankings of `worlds.jifr.ceiling`, in the numbers of a task."""

    def __init__(self, task: JIFRTask, world: World) -> None:
        names, self.truth = task.identities(), ceiling(world)
        self.user, self.item = (np.array([int(name[1:]) for name in names[kind]]) for kind in ("users", "items"))

    def items(self, users: np.ndarray) -> np.ndarray:
        """(m, N)."""
        return self.truth.ratings[np.ix_(self.user[users], self.item)]

    def frames(self, cases: Cases) -> np.ndarray:
        """(T,)."""
        size = np.diff(cases.start)
        place = np.arange(cases.start[-1]) - np.repeat(cases.start[:-1], size)
        return self.truth.frames[self.user[np.repeat(cases.user, size)], self.item[np.repeat(cases.video, size)], place]


def figures(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """{ranking: [mean of each of METRICS]}, NaN where it has none."""
    found = {(row["row"], row["metric"]): row["mean"] for row in rows}
    return {name: [found.get((name, metric), np.nan) for metric in METRICS] for name in {row["row"] for row in rows}}


def true_figures(root: Path, stores: Mapping[str, str], world: World, settings: JIFRSettings) -> list[float]:
    """What the true latents score in the test of these settings."""
    task = JIFRTask(jifr_data.load(root, **stores), settings, torch.device("cpu"))
    return figures(task.tables({"ceiling": TrueLatents(task, world)})["rows"])["ceiling"]


def run(job: tuple[str, int]) -> dict[str, list[float]]:
    """All models, floors and the ceiling in one world with one seed."""
    torch.set_num_threads(1)
    world = World(seed=job[1], **WORLDS[job[0]])  # type: ignore[arg-type]
    settings = replace(SETTINGS, seed=job[1])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stores = write(root, world)
        found: dict[str, list[float]] = {}
        for name, changes in MODELS.items():
            rows = train(root, stores, replace(settings, **changes), model="jifr").metrics["rows"]
            mine = figures(rows)
            found |= {**mine, name: mine["jifr"]}
        return {**found, "ceiling": true_figures(root, stores, world, settings)}


def main() -> None:
    """Print the table."""
    jobs = [(name, seed) for name in WORLDS for seed in SEEDS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(run, jobs), strict=True))
    wide = float(stats.t.ppf(0.975, len(SEEDS) - 1)) / len(SEEDS) ** 0.5
    for m, metric in enumerate(METRICS):
        floors = ["most popular"] if metric.startswith("item") else ["smooth random", "early first"]
        print(f"\n{metric}, {len(SEEDS)} seeds\n")
        print(f"| world | random | {' | '.join(floors)} | ceiling | {' | '.join(MODELS)} | closed | "
              f"{' | '.join(f'both − {name}' for name in list(MODELS)[1:])} |")  # fmt: skip
        print("|---" * (4 + len(floors) + 2 * len(MODELS) - 1) + "|")
        for world in WORLDS:
            every = {
                name: np.array([found[world, s][name][m] for s in SEEDS])
                for name in ("random", *floors, "ceiling", *MODELS)
            }
            gap = every["ceiling"].mean() - every["random"].mean()
            closed = "" if world == "noise twin" else f"{(every[FULL].mean() - every['random'].mean()) / gap:.0%}"
            differences = []
            for name in list(MODELS)[1:]:
                difference = every[FULL] - every[name]
                half = wide * difference.std(ddof=1)
                differences.append(f"{difference.mean():+.3f} [{difference.mean() - half:+.3f}, "
                                   f"{difference.mean() + half:+.3f}]")  # fmt: skip
            means = [f"{values.mean():.3f}" for values in every.values()]
            print(f"| {world} | {' | '.join([*means, closed, *differences])} |")


if __name__ == "__main__":
    main()
