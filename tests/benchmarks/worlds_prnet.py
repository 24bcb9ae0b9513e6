"""PR-Net in its planted world: each ablation against the full model, as the knob that it answers to is turned on.

`python -m tests.benchmarks.worlds_prnet` prints a markdown table. A case is a test user; seeds draw worlds, splits and
weights anew, and the interval is over the cases of all of them, paired. *Closed* is the share of the gap from chance
to the ceiling: chance ranks shots at random, the ceiling knows what is liked.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reelmill.models import runs
from reelmill.models.data.cases import Cases
from reelmill.models.metrics.ranking import interval
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.prnet.task import PRNetTask
from reelmill.models.prnet.world import World, ceiling, chance, write
from reelmill.models.protocols.highlights import data as prnet_data
from reelmill.models.protocols.highlights.cases import measured
from tests.benchmarks._seeds import train

QUICK: dict[str, Any] = {
    "dim": 32, "window": 96, "batch": 16, "learning_rate": 3e-3, "epochs": 12, "patience": 0,
    "validation_share": 0.05, "test_share": 0.4, "tested": "every",
}  # fmt: skip
PLAIN = World(users=200, interests=2, equal=3, misses=3, annotated=1.0)
"""Every knob but that of the interests is off."""
EASY = replace(PLAIN, misses=0, others=4, equal=4)
KNOBS: dict[str, tuple[tuple[str, ...], tuple[World, ...]]] = {
    "interests": (("meanU+G", "G"), tuple(replace(PLAIN, interests=m) for m in (1, 2, 3))),
    "build_up": (("residual",), tuple(replace(PLAIN, equal=4, build_up=b) for b in (0.0, 0.5, 1.0))),
    "generic": (("U",), tuple(replace(PLAIN, newcomers=0.4, generic=g) for g in (0.0, 0.5, 1.0))),
    "annotated": (("CE", "ranking", "triplet"), tuple(replace(EASY, annotated=a) for a in (1.0, 0.5, 0.25))),
}
"""{knob: (rows of table 2 that lack what it asks for, the world with the knob off, half and fully turned)}."""
SEEDS = 5


def fit(
    root: Path,
    roles: dict[str, str],
    world: World,
    rows: tuple[str, ...],
    metric: str = "highlight_ap",
    **options: Any,
) -> dict[str, np.ndarray]:
    """Values (test users,) of rows of table 2, fitted to a world that stands in a root, and of `chance` and `ceiling`.

    Steps that a model cannot tell apart (no history, no generic preference) stand in the order of chance: shot by shot,
    as the rankings of all others do."""
    videos, data = ceiling(world), prnet_data.load(root, **roles)
    rng, cpu = np.random.default_rng([world.seed, 2]), torch.device("cpu")
    scores: dict[str, np.ndarray] = {}
    for row in rows:
        chosen = PRNetSettings.table_2(row, **{**QUICK, "seed": world.seed, **options})
        task = PRNetTask(data, chosen, cpu)
        model = runs.load(train(root, roles, chosen, model="prnet").folder).model
        scores[row] = task.scores(model, task.test)
    draws = [of_cases(data, task.test, videos, chance(videos, rng)) for _ in range(10)]
    scores["ceiling"] = of_cases(data, task.test, videos, [v.liked[v.shot] for v in videos])
    values = {row: measured(s + 1e-7 * draws[0], task.test, 0, (metric,))[:, 0] for row, s in scores.items()}
    values["chance"] = np.mean([measured(s, task.test, 0, (metric,))[:, 0] for s in draws], axis=0)
    return values


def of_cases(data: prnet_data.Highlights, cases: Cases, videos: list[Any], values: list[np.ndarray]) -> np.ndarray:
    """Values (T,) of the candidates of cases, out of those of all steps, a video at a time."""
    home = {(v.user, v.video): value for v, value in zip(videos, values, strict=True)}
    found = []
    for c, (user, video) in enumerate(zip(cases.user.tolist(), cases.video.tolist(), strict=True)):
        step = cases.segment[cases.start[c] : cases.start[c + 1]] - data.steps.start[video]
        found.append(home[data.users[user], data.videos[video]][step])
    return np.concatenate(found).astype(np.float64)


def _written(world: World, rows: tuple[str, ...]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as root:
        return fit(Path(root), write(Path(root), world), world, rows)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings
    print(
        f"\nPR-Net, {SEEDS} seeds; highlight AP, mean over test users; full − ablation with its paired 95 % interval\n"
    )
    print("| knob | value | chance | ceiling | full | closed | without | AP | closed | full − without |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for knob, (rows, worlds) in KNOBS.items():
        for world in worlds:
            drawn = [_written(replace(world, seed=seed), ("full", *rows)) for seed in range(SEEDS)]
            values = {row: np.concatenate([v[row] for v in drawn]) for row in drawn[0]}
            floor, top = values["chance"].mean(), values["ceiling"].mean()
            mean = {row: v.mean() for row, v in values.items()}
            closed = {row: f"{(m - floor) / (top - floor):.0%}" for row, m in mean.items()}
            for row in rows:
                gain = values["full"] - values[row]
                low, high = interval(gain, np.random.default_rng(0))
                print(
                    f"| {knob} | {getattr(world, knob)} | {floor:.3f} | {top:.3f} | {mean['full']:.3f} "
                    f"| {closed['full']} | {row} | {mean[row]:.3f} | {closed[row]} "
                    f"| {gain.mean():+.3f} ({float(low):+.3f} … {float(high):+.3f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
