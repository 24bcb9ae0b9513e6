"""What each part of the Dynamic RNN brings in its planted world, knob by knob.

`python -m tests.benchmarks worlds_drnn`

Every figure is F of lists of five, a mean over seeds of world, split, weights and draws alike; a difference is of the
same seeds, with Student's 95 % interval over them. "closed" is how much of the way from chance to the true latents the
model goes. All models have the same settings, which were chosen by looking at other seeds than these.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.drnn.world import World, ceiling, write
from reelmill.models.protocols.next_videos import data as drnn_data
from tests.benchmarks._seeds import difference, markdown, train

SEEDS = range(5)
SETTINGS = DRNNSettings(
    dim=32, hidden=32, batch=256, epochs=10, patience=0, learning_rate=0.02, least_videos=5, least_posts=1, longest=8,
    memory=10, test_share=0.4, validation_share=0.15,
)  # fmt: skip
FEED, COLD = {"feed_history": True}, {"network": "cross", "cold_start": True}
MODELS: dict[str, dict[str, object]] = {
    "drnn": {},
    "λ 0": {"decay": 0.0},
    "λ 1": {"decay": 1.0},
    "fed": FEED,
    "rnn": {"variant": "rnn"},
    "rnn_sem": {"variant": "rnn_sem"},
    "rnn_no_rel": {"variant": "rnn_no_rel"},
    "static_dnn": {"variant": "static_dnn"},
    "fed, no eq. 1": FEED | {"semantic": 0.0},
    "fed, no eq. 4": FEED | {"interest": 0.0},
    "fed, no eq. 6": FEED | {"variant": "rnn_no_rel"},
    "cross": COLD,
    "cross, λ 1": COLD | {"decay": 1.0},
    "nothing known": COLD | {"variant": "rnn_sem"},
}
"""`fed` is the model with `feed_history`; those of the cross network are tested in cold start."""
AT_ONCE = " at once"
"""Lists of the same model that are its first ranking alone."""
COLD_WORLD = {"drift": 0.0, "order": 0.0}
TABLES: dict[str, tuple[dict[str, dict[str, object]], tuple[str, ...]]] = {
    "Drift: the weighing and the order of the past": (
        {"drift 0 (off)": {"drift": 0.0}, "drift 0.15": {}, "drift 0.3 (on)": {"drift": 0.3}},
        ("drnn", "λ 0", "λ 1", "fed", "rnn_sem", "static_dnn"),
    ),
    "Corruption: picture beside text": (
        {"corrupt 0 (off)": {"corrupt": 0.0}, "corrupt 0.3": {}, "corrupt 0.6 (on)": {"corrupt": 0.6}},
        ("rnn_sem", "rnn", "fed", "fed, no eq. 1", "fed, no eq. 4"),
    ),
    "Cliques: user relevance": (
        {
            "1 clique (off)": {"cliques": 1, "tastes": 12},
            "2 cliques": {},
            "4 cliques (on)": {"cliques": 4, "tastes": 3},
        },
        ("drnn", "rnn_no_rel", "fed", "fed, no eq. 6"),
    ),
    "Posts: the second network, cold start": (
        {f"told {told}": COLD_WORLD | {"told": told} for told in (0.0, 0.4, 0.8)},
        ("cross", "cross, λ 1", "nothing known"),
    ),
    "Posts under drift": ({"told 0.8, drift 0.15": {"told": 0.8}}, ("cross", "cross, λ 1", "nothing known")),
    "Order: feeding back what was recommended": (
        {"order 0 (off)": {"order": 0.0}, "order 0.5": {}, "order 1 (on)": {"order": 1.0}},
        ("fed", "fed" + AT_ONCE, "drnn", "drnn" + AT_ONCE),
    ),
    "Noise twin": ({"noise twin": {"noise_twin": True}}, ("drnn", "fed")),
}
"""{title: (worlds, models)}; differences are the first model less each of the others."""


def worlds() -> dict[World, list[str]]:
    """Every world of the tables with the models that are fitted in it."""
    asked: dict[World, dict[str, None]] = {}
    for knobs, names in TABLES.values():
        for chosen in knobs.values():
            here = asked.setdefault(World(**chosen), {})  # type: ignore[arg-type]
            here |= dict.fromkeys(name.removesuffix(AT_ONCE) for name in names)
    return {world: list(names) for world, names in asked.items()}


def run(job: tuple[World, int, list[str]]) -> dict[str, float]:
    """F of all models asked for, of floors and ceiling, in one world with one seed."""
    torch.set_num_threads(1)
    world, seed, names = replace(job[0], seed=job[1]), job[1], job[2]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stores = write(root, world)
        for name in names:
            settings = replace(SETTINGS, seed=seed, **MODELS[name])  # type: ignore[arg-type]
            rows = train(root, stores, settings, model="drnn").metrics["rows"]
            figures = {row["row"]: row["mean"] for row in rows if row["metric"] == "f@5"}
            found |= {name: figures.pop("drnn"), name + AT_ONCE: figures.pop("drnn at once"), **figures}
        task = DRNNTask(drnn_data.load(root, **stores), settings, torch.device("cpu"))
        user, video = (np.array([int(name[1:]) for name in of]) for of in (task.data.users, task.data.videos))
        scores = ceiling(world)[np.ix_(user[task.split.users], video[task.split.videos])]
        tables = task.tables({"ceiling": task.ranked(lambda some: scores[some], task.test)})
        top = next(row["mean"] for row in tables["rows"] if (row["row"], row["metric"]) == ("ceiling", "f@5"))
        return {**found, "ceiling": top}


def main() -> None:
    """Print the tables."""
    jobs = [(world, seed, names) for world, names in worlds().items() for seed in SEEDS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip([job[:2] for job in jobs], pool.map(run, jobs), strict=True))
    for title, (knobs, names) in TABLES.items():
        print(f"\n### {title}, F@5, {len(SEEDS)} seeds")
        head = ["world", "random", "most popular", "ceiling", *names, "closed"]
        rows = []
        for label, chosen in knobs.items():
            every = [found[World(**chosen), seed] for seed in SEEDS]  # type: ignore[arg-type]
            of = {name: [figures[name] for figures in every] for name in (*head[1:4], *names)}
            chance, top = np.mean(of["random"]), np.mean(of["ceiling"])
            gaps = [np.mean(of[name]) - chance for name in names] if top > chance else []
            means = [f"{np.mean(values):.3f}" for values in of.values()]
            differences = [difference(of[names[0]], of[name]) for name in names[1:]]
            rows.append([label, *means, " / ".join(f"{gap / (top - chance):.0%}" for gap in gaps), *differences])
        markdown([*head, *(f"{names[0]} − {name}" for name in names[1:])], rows)


if __name__ == "__main__":
    main()
