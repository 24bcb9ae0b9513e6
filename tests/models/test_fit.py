"""From a real root to a fitted model: loading, splitting, training, evaluating, stopping, resuming, rebuilding."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import fit, runs
from reelmill.models.fit import FitResult
from reelmill.models.protocols.segments import data
from reelmill.models.registry import find, settings_for, stores_of
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.task import TransGRecTask
from reelmill.models.transgrec.world import World, write
from reelmill.storage.errors import CorruptPart, InputError
from tests.optional import needs

train = partial(fit.train, pictures=False)
"""Drawing takes longer than fitting here; `test_pictures` has its own fits."""
WORLD = World(users=90, old_videos=40, new_videos=20, hidden=0.0)
QUICK = TransGRecSettings(batch=250, epochs=40, patience=15)
SMALL = TransGRecSettings(batch=250, epochs=4, dim=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("planted")
    return root, write(root, WORLD)["features"]


@pytest.fixture(scope="module")
def fitted(world: tuple[Path, str]) -> FitResult:
    return train(*world, QUICK)


def figures(result: FitResult, row: str, metric: str) -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


def files(folder: Path) -> list[str]:
    """Names of a run's files, but for the log."""
    return sorted(path.name for path in folder.iterdir() if "tfevents" not in path.name)


# ---- does it learn, and only what is there ----


def test_it_beats_chance_clearly_on_the_planted_world(fitted: FitResult) -> None:
    for metric in ("map", "ndcg@5", "hr@1", "highlight_ap", "recall@3"):
        assert figures(fitted, "transgrec", metric)["minus_random_low"] > 0.2, metric
    assert figures(fitted, "transgrec", "nmsd")["minus_random_high"] < -0.2
    assert figures(fitted, "transgrec", "map")["cases"] == 90


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    store = write(tmp_path, replace(WORLD, noise_twin=True))["features"]
    result = train(tmp_path, store, QUICK)
    for metric in ("map", "ndcg@5", "recall@3"):
        row = figures(result, "transgrec", metric)
        assert row["minus_random_low"] < 0 < row["minus_random_high"], row
    assert abs(figures(result, "transgrec", "nmsd")["minus_random"]) < 0.1


def test_the_adversarial_variant_learns_too(world: tuple[Path, str]) -> None:
    result = train(*world, TransGRecSettings.adversarial(batch=250, epochs=25, dim=64))
    assert figures(result, "transgrec", "ndcg@5")["minus_random_low"] > 0.1


def test_the_random_row_is_chance_and_the_floors_are_there(fitted: FitResult) -> None:
    """Two of twelve segments are relevant."""
    assert figures(fitted, "random", "hr@1")["mean"] == pytest.approx(1 / 6)
    assert figures(fitted, "random", "recall@3")["mean"] == pytest.approx(3 / 12)
    for row in ("smooth random", "early first"):
        assert abs(figures(fitted, row, "ndcg@5")["minus_random"]) < 0.1
    assert figures(fitted, "content", "ndcg@5")["minus_random_low"] > 0.2
    groups = {row["group"]: row["cases"] for row in fitted.metrics["by_sparsity"]}
    assert sum(groups.values()) == 90
    assert len(groups) >= 2


@pytest.mark.gpu
@needs("cuda", torch.cuda.is_available())
def test_it_learns_on_a_gpu_and_its_checkpoint_opens_on_the_cpu(world: tuple[Path, str]) -> None:
    result = train(*world, TransGRecSettings(batch=250, epochs=40, patience=15, seed=1), device="cuda")
    assert figures(result, "transgrec", "map")["minus_random_low"] > 0.2
    assert next(runs.load(result.folder).model.parameters()).device.type == "cpu"


# ---- runs ----


def test_a_run_is_complete_and_says_what_was_asked(fitted: FitResult) -> None:
    assert files(fitted.folder) == ["cases.parquet", "checkpoint.pt", "history.csv", "metrics.json", "settings.json"]
    asked = json.loads((fitted.folder / "settings.json").read_text())
    assert asked["model"] == "transgrec"
    assert asked["settings"] == QUICK.to_dict()
    assert json.loads((fitted.folder / "metrics.json").read_text()) == fitted.metrics
    with (fitted.folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in history] == list(range(1, fitted.metrics["fit"]["epochs"] + 1))
    assert float(history[-1]["bpr"]) < 0.5 * float(history[0]["bpr"])
    best = max(history, key=lambda row: float(row["validation_map"]))
    assert int(best["epoch"]) == fitted.metrics["fit"]["best_epoch"]


def test_fitting_again_does_nothing(world: tuple[Path, str], fitted: FitResult) -> None:
    stamp = (fitted.folder / "checkpoint.pt").stat().st_mtime_ns
    again = train(*world, QUICK)
    assert again.skipped
    assert not fitted.skipped
    assert (again.folder, again.metrics, again.counts) == (fitted.folder, fitted.metrics, fitted.counts)
    assert (fitted.folder / "checkpoint.pt").stat().st_mtime_ns == stamp
    assert runs.Run(fitted.folder) in runs.list_runs(world[0])


def test_the_checkpoint_rebuilds_its_model(world: tuple[Path, str], fitted: FitResult) -> None:
    """The rebuilt model gives the very tables of metrics.json, and equal scores to the last bit."""
    rebuilt, again = runs.load(fitted.folder), runs.load(fitted.folder)
    interactions = data.load(*world)
    task = TransGRecTask(interactions, QUICK, torch.device("cpu"))
    users = torch.arange(12) % 3
    features = torch.from_numpy(interactions.vectors(np.arange(12)))
    scores = rebuilt.model.score(users, features)
    assert torch.equal(scores, again.model.score(users, features))
    assert float(scores.std()) > 0
    tables = task.evaluate(rebuilt.model)
    assert tables["rows"] == fitted.metrics["rows"]
    assert torch.equal(scores, rebuilt.model.score(users, features))  # settling again changed nothing
    assert rebuilt.identities["users"] == interactions.users
    assert rebuilt.row("users", interactions.users[5]) == 5
    assert rebuilt.stores == interactions.stores
    with pytest.raises(InputError, match="'nobody' is not among the users"):
        rebuilt.row("users", "nobody")


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(
    world: tuple[Path, str], tmp_path: Path, killed_after: int
) -> None:
    """The kill is an exception out of the callback, right after a save; nothing more is saved."""
    settings = TransGRecSettings(batch=250, epochs=4, dim=16, edge_dropout=0.2, variant="adversarial", depth=1)
    root, store = tmp_path, write(tmp_path, WORLD)["features"]
    unbroken = train(world[0], store, settings)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(root, store, settings, on_epoch=kill, save_every_s=0)
    folder = root / "runs" / unbroken.folder.name
    assert files(folder) == ["last.pt", "settings.json"]
    assert runs.list_runs(root) == []
    with pytest.raises(InputError, match="not finished"):
        runs.load(folder)
    seen: list[int] = []
    resumed = train(root, store, settings, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == list(range(killed_after + 1, 5))
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = runs.load(unbroken.folder).model.state_dict(), runs.load(resumed.folder).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


TRAINER = """
import sys, time, torch
from reelmill.models.fit import train
from reelmill.models.transgrec.model import TransGRecSettings

def told(epoch, figures):
    print(epoch, flush=True)
    time.sleep(0.2)  # so that the kill finds it alive, whatever the machine

torch.set_num_threads(1)
train(sys.argv[1], sys.argv[2], TransGRecSettings(batch=250, epochs=4, dim=16), on_epoch=told, save_every_s=0)
"""


def test_a_fit_that_the_system_kills_ends_with_the_same_numbers(world: tuple[Path, str], tmp_path: Path) -> None:
    """SIGKILL, somewhere in the third epoch of another process; resumed in this one."""
    store = write(tmp_path, WORLD)["features"]
    house = Path(__file__).parents[2]
    command = [sys.executable, "-c", TRAINER, str(tmp_path), store]
    with subprocess.Popen(command, cwd=house, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        assert [int(trainer.stdout.readline()) for _ in range(2)] == [1, 2]
        trainer.kill()
        assert trainer.wait() == -signal.SIGKILL
    (folder,) = (tmp_path / "runs").iterdir()
    assert files(folder) == ["last.pt", "settings.json"]
    seen: list[int] = []
    resumed = train(tmp_path, store, SMALL, on_epoch=lambda epoch, _: seen.append(epoch))
    assert resumed.folder == folder
    assert seen == [3, 4]  # an epoch is saved before it is told
    unbroken = train(*world, SMALL)
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = (runs.load(result.folder).model.state_dict() for result in (unbroken, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_dead_writer_left_is_swept(world: tuple[Path, str], fitted: FitResult) -> None:
    dead = fitted.folder / f".part-0.tmp-{os.uname().nodename}-999999999"
    drawing = fitted.folder / "plots" / dead.name
    drawing.parent.mkdir(exist_ok=True)
    for path in (dead, drawing):
        path.write_bytes(b"half a file")
    train(*world, QUICK)
    assert not dead.exists()
    assert not drawing.exists()


def test_a_damaged_checkpoint_is_named(world: tuple[Path, str], fitted: FitResult, tmp_path: Path) -> None:
    whole = (fitted.folder / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptPart, match="fit again"):
        runs.load(tmp_path)


def test_other_settings_or_data_are_another_run(world: tuple[Path, str], tmp_path: Path) -> None:
    root, store = world
    interactions = data.load(root, store)
    names = {runs.open_run(tmp_path, find("transgrec"), s, interactions).folder.name for s in (QUICK, SMALL, QUICK)}
    assert len(names) == 2
    other = write(tmp_path / "other", replace(WORLD, noise=0.2))["features"]
    assert other == store  # one spec, other vectors
    assert data.load(tmp_path / "other", other).fingerprint != interactions.fingerprint


def test_bad_requests_are_refused(world: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match="did you mean 'transgrec'"):
        train(*world, model="transgrek")
    with pytest.raises(InputError, match="no setting 'epoch': did you mean 'epochs'"):
        settings_for("transgrec", {"epoch": 3})
    assert settings_for("transgrec", {"epochs": 3}) == TransGRecSettings(epochs=3)
    with pytest.raises(InputError, match="device 'gpu'"):
        train(*world, replace(SMALL, seed=99), device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds 0 CUDA devices here"):
            train(*world, replace(SMALL, seed=99), device="cuda:0")


# ---- stores by role ----


def test_a_role_that_is_not_given_takes_its_default() -> None:
    assert stores_of("transgrec", None) == {"features": "c3d-fc6"}
    assert stores_of("transgrec", "vgg19-fc7") == stores_of("transgrec", {"features": "vgg19-fc7"})
    with pytest.raises(InputError, match=r"no store 'feature': did you mean 'features'\?"):
        stores_of("transgrec", {"feature": "c3d-fc6"})
