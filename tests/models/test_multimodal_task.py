"""Click-through prediction from a planted root to a fitted model: it learns what was planted, each part helps where
there is something for it, a killed fit goes on, a checkpoint scores the same."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import registry, runs
from reelmill.models.baselines.fm import DeepFMSettings, FMSettings
from reelmill.models.fit import FitResult, train
from reelmill.models.metrics.clicks import auc
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.multimodal.world import World, ceiling, write
from reelmill.models.protocols.clicks.data import load_clicks
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.storage.errors import InputError
from tests.optional import needs

CPU = torch.device("cpu")
COMMON: dict[str, Any] = {
    "dim": 8, "init_std": 0.1, "l2": 1e-3, "batch": 512, "learning_rate": 1e-2, "epochs": 16, "patience": 4,
    "split": "time", "test_share": 0.3,
}  # fmt: skip
SETTINGS = MultimodalSettings(**COMMON, hidden="16")
TINY = replace(SETTINGS, epochs=4, drop_items=0.2)
SMALL_WORLD = World(users=60, items=60, examples=40)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: a second thread costs more than it brings, and other tests want the core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Planted = Callable[..., tuple[Path, dict[str, str]]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Roots and stores of planted worlds by their knobs, written once; a fit that is there is not made again."""
    there: dict[World, tuple[Path, dict[str, str]]] = {}

    def root(**knobs: Any) -> tuple[Path, dict[str, str]]:
        world = World(**knobs)
        if world not in there:
            folder = tmp_path_factory.mktemp("planted")
            there[world] = folder, write(folder, world)
        return there[world]

    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("planted")
    return root, write(root, World())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("small")
    return root, write(root, SMALL_WORLD)


@pytest.fixture(scope="module")
def fitted(world: tuple[Path, dict[str, str]]) -> FitResult:
    return train(*world, SETTINGS, model="multimodal", pictures=False)


def figures(result: FitResult, row: str, metric: str, group: str | None = None) -> dict[str, Any]:
    rows = result.metrics["rows"] if group is None else result.metrics["by_sparsity"]
    return next(r for r in rows if (r["row"], r["metric"], r.get("group")) == (row, metric, group))


def true_clicks(task: ClickTask, planted: World) -> np.ndarray:
    """What the true latents say of the test examples."""
    test, truth = task.test(), ceiling(planted)
    user, item = (np.array([int(name[1:]) for name in names]) for names in (task.data.users, task.data.items))
    return truth.click[user[test.user], item[test.item]]


# ---- does it learn, and only what is there ----


def test_it_beats_the_floors_on_the_planted_world(world: tuple[Path, dict[str, str]], fitted: FitResult) -> None:
    chance, popular, rates, mine = (
        figures(fitted, row, "auc") for row in ("random", "most popular", "rates", "multimodal")
    )
    assert (chance["mean"], chance["low"], chance["high"]) == (0.5, 0.5, 0.5)
    assert mine["minus_random_low"] > 0.15
    assert mine["low"] > max(popular["high"], rates["high"]) + 0.05
    task = ClickTask("multimodal", Multimodal, load_clicks(world[0], **world[1]), SETTINGS, CPU)
    best = auc(true_clicks(task, World()), task.test().label)
    assert mine["mean"] < best
    assert mine["mean"] - 0.5 > 0.5 * (best - 0.5)


def test_it_carries_over_to_items_that_training_never_saw(fitted: FitResult) -> None:
    unseen = figures(fitted, "multimodal", "auc", "unseen item")
    assert unseen["minus_random_low"] > 0.1
    assert figures(fitted, "most popular", "auc", "unseen item")["mean"] == 0.5
    assert fitted.counts["test_of_unseen_items"] == unseen["cases"]


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    stores = write(tmp_path, World(noise_twin=True))
    result = train(tmp_path, stores, replace(SETTINGS, epochs=8), model="multimodal", pictures=False)
    row = figures(result, "multimodal", "auc")
    assert abs(row["minus_random"]) < 0.03
    assert row["minus_random_low"] < 0 < row["minus_random_high"]


@pytest.mark.parametrize(("model", "settings"), [("fm", FMSettings), ("deepfm", DeepFMSettings)])
def test_the_floors_learn_too(world: tuple[Path, dict[str, str]], model: str, settings: type[FieldSettings]) -> None:
    result = train(*world, settings(**{**COMMON, "epochs": 8}), model=model, pictures=False)
    assert figures(result, model, "auc")["minus_random_low"] > 0.1
    names = [row["row"] for row in result.metrics["rows"] if row["metric"] == "auc"]
    assert names == ["random", "most popular", "rates", model]


# ---- each part where there is something for it, and where there is nothing ----


def gains(
    better: str, worse: str, planted: Planted, fields: str, modalities: str | None = None, **knobs: Any
) -> list[float]:
    """AUC of one ablation less that of another, in two worlds."""
    found = []
    for seed in range(2):
        root, stores = planted(seed=seed, **knobs)
        scores = []
        for name in (better, worse):
            settings = MultimodalSettings.ablation(name, **COMMON, hidden="16", seed=seed, fields=fields)
            if modalities:
                settings = replace(settings, modalities=modalities)
            result = train(root, stores, settings, model="multimodal", pictures=False)
            scores.append(figures(result, "multimodal", "auc")["mean"])
        found.append(scores[0] - scores[1])
    return found


CONTENT = {"main": 0.0, "pairs": 0.0, "third": 0.0, "content": 2.5, "users": 150}
WATCHED = "user_id,a2,picture,sound"
CROSSED = {"main": 0.0, "pairs": 2.0, "third": 0.0, "content": 0.0, "users": 120}
BASIC = "a0,a1,a2,a3,tags,categories,uploader"


def test_modalities_help_where_content_decides(planted: Planted) -> None:
    assert min(gains("concatenated", "basic", planted, WATCHED + ",item_id", **CONTENT, spread=0.0)) > 0.05


def test_fusion_guided_by_the_user_helps_where_users_differ(planted: Planted) -> None:
    assert np.mean(gains("fused", "concatenated", planted, WATCHED, **CONTENT, spread=4.0)) > 0.005


def test_fusion_guided_by_the_user_does_not_help_where_they_do_not(planted: Planted) -> None:
    assert np.mean(gains("fused", "concatenated", planted, WATCHED, **CONTENT, spread=0.0)) < 0.005


def test_crossing_looks_at_the_pairs_that_decide(tmp_path: Path) -> None:
    """Of 21 pairs of fields the two that mean something get the largest weights. (Beside self-attention, which finds
    them as well, that brings no AUC here: `tests.benchmarks worlds_multimodal`.)"""
    for seed in range(2):
        stores = write(tmp_path / str(seed), World(seed=seed, **CROSSED))
        settings = MultimodalSettings.ablation(
            "crossing", **{**COMMON, "init_std": 0.3}, modalities="none", deep=False, seed=seed, fields=BASIC
        )
        result = train(tmp_path / str(seed), stores, settings, model="multimodal", pictures=False)
        task = ClickTask("multimodal", Multimodal, load_clicks(tmp_path / str(seed), **stores), settings, CPU)
        test, model = task.test(), runs.load(result.folder).model
        seen = model.explain(task.values(torch.from_numpy(test.user), torch.from_numpy(test.item)))  # type: ignore[operator]
        first = seen.crossing.mean(0).argsort(descending=True)[:2].tolist()
        assert {model.pair_names[pair] for pair in first} == {("a0", "categories"), ("a1", "uploader")}  # type: ignore[index]


def test_the_learnt_weights_are_in_the_order_of_the_true_ones(planted: Planted) -> None:
    """By order, not by level: a level can be made up for by the length of the vectors."""
    root, stores = planted(**CONTENT, spread=4.0)
    settings = MultimodalSettings.ablation("fused", **COMMON, hidden="16", fields=WATCHED)
    result = train(root, stores, settings, model="multimodal", pictures=False)
    task = ClickTask("multimodal", Multimodal, load_clicks(root, **stores), settings, CPU)
    users, items = len(task.data.users), len(task.data.items)
    values = task.values(torch.arange(users).repeat_interleave(items), torch.arange(items).repeat(users))
    weights = runs.load(result.folder).model.explain(values).modalities  # type: ignore[operator]
    both = ~(values["picture"].isnan().any(1) | values["sound"].isnan().any(1))
    picture = torch.where(both, weights[:, 0], torch.nan).reshape(users, items).nanmean(1).numpy()
    sight = ceiling(World(**CONTENT, spread=4.0)).sight
    assert auc(picture, sight > np.median(sight)) > 0.75
    alone = ~values["sound"].isnan().any(1) & values["picture"].isnan().any(1)
    assert float(weights[alone, 0].abs().max()) == 0
    np.testing.assert_allclose(weights[alone, 1], 1, rtol=1e-6)


# ---- runs ----


def test_the_checkpoint_rebuilds_its_model(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    result = train(root, stores, TINY, model="multimodal", pictures=False)
    rebuilt = runs.load(result.folder)
    task = ClickTask("multimodal", Multimodal, load_clicks(root, **stores), TINY, CPU)
    assert task.evaluate(rebuilt.model)["rows"] == result.metrics["rows"]  # type: ignore[arg-type]
    assert rebuilt.identities == task.vocabulary
    assert rebuilt.stores == stores
    assert rebuilt.row("user_id", "u0005") == 5
    assert train(root, stores, TINY, model="multimodal", pictures=False).skipped


@pytest.mark.parametrize("killed_after", [1, 4])
@pytest.mark.parametrize("negatives", ["rated", "sampled"])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(
    small: tuple[Path, dict[str, str]], tmp_path: Path, killed_after: int, negatives: str
) -> None:
    settings = replace(TINY, negatives=negatives)
    unbroken = train(*small, settings, model="multimodal", pictures=False)
    stores = write(tmp_path, SMALL_WORLD)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stores, settings, model="multimodal", pictures=False, on_epoch=kill, save_every_s=0)
    seen: list[int] = []
    resumed = train(
        tmp_path, stores, settings, model="multimodal", pictures=False, on_epoch=lambda epoch, _: seen.append(epoch)
    )
    assert seen == list(range(killed_after + 1, 5))
    assert resumed.folder.name == unbroken.folder.name
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = runs.load(unbroken.folder).model.state_dict(), runs.load(resumed.folder).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_stores_are_optional(small: tuple[Path, dict[str, str]]) -> None:
    root, stores = small
    assert registry.stores_of("multimodal", {"sound": "x"}) == {"picture": "", "sound": "x", "text": ""}
    with pytest.raises(InputError, match="no store for picture, sound or text"):
        train(root, None, TINY, model="multimodal", pictures=False)
    one = train(root, {"sound": stores["sound"]}, TINY, model="multimodal", pictures=False)
    assert runs.load(one.folder).stores == {"sound": stores["sound"]}
    bare = train(root, None, replace(TINY, modalities="none"), model="multimodal", pictures=False)
    assert runs.load(bare.folder).stores == {}


def test_counts_add_up(small: tuple[Path, dict[str, str]]) -> None:
    counts = train(*small, TINY, model="multimodal", pictures=False).counts
    assert counts["events"] == 60 * 40
    assert counts["events"] == (
        counts["events_repeated"] + counts["clicks"] + counts["low_ratings"] + counts["ratings_between"]
    )
    used = sum(counts[f"{part}_examples"] for part in ("train", "validation", "test"))
    assert used == counts["clicks"] + counts["low_ratings"]
    assert counts["ratings_between"] > 0
    assert counts["test_of_unseen_items"] > 0
    assert counts["items_without_picture"] >= counts["train_items_without_picture"] > 0


@pytest.mark.gpu
@needs("cuda", torch.cuda.is_available())
def test_it_learns_on_a_gpu(world: tuple[Path, dict[str, str]]) -> None:
    result = train(*world, replace(SETTINGS, seed=1), model="multimodal", pictures=False, device="cuda")
    assert figures(result, "multimodal", "auc")["minus_random_low"] > 0.15


# ---- the world ----


def test_the_world_is_registered_and_says_the_truth(tmp_path: Path) -> None:
    """Clicks follow the probabilities of the ceiling, and those of the twin do not."""
    planted = registry.world_of("multimodal").planted
    assert (planted.knobs, planted.write) == (World, write)
    for twin in (False, True):
        planted = World(noise_twin=twin)
        data = load_clicks(tmp_path / str(twin), **write(tmp_path / str(twin), planted))
        click, kept = data.value >= 4, data.value != 3
        user, item = (np.array([int(name[1:]) for name in names]) for names in (data.users, data.items))
        p = ceiling(planted).click[user[data.user], item[data.item]]
        assert abs(auc(p[kept], click[kept]) - 0.5) < 0.02 if twin else auc(p[kept], click[kept]) > 0.8
        if not twin:
            assert np.mean(click[kept] - p[kept]) == pytest.approx(0, abs=0.01)
    even = ceiling(World(spread=0.0)).sight
    assert even.std() == 0
    assert ceiling(World()).sight.std() > 0.3


def test_each_term_has_the_share_that_its_knob_says() -> None:
    names = ("main", "pairs", "third", "content")
    for name in names:
        knobs = {**dict.fromkeys(names, 0.0), name: 1.0, "spread": 0.0, "users": 2000, "items": 1000, "values": 12}
        p = ceiling(World(**knobs)).click
        assert np.log(p / (1 - p)).std() == pytest.approx(1, abs=0.25), name
    p = ceiling(World(**dict.fromkeys(names, 0.0))).click
    assert (p == 0.5).all()


def test_a_figure_that_is_better_when_lower_decides_by_its_minimum(
    small: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClickTask, "watch", "log_loss")
    result = train(*small, replace(TINY, seed=5, epochs=6), model="multimodal", pictures=False)
    with (result.folder / "history.csv").open() as file:
        losses = [float(row["validation_log_loss"]) for row in csv.DictReader(file)]
    assert len(set(losses)) > 1
    assert result.metrics["fit"]["best_validation"] == min(losses)
    assert result.metrics["fit"]["best_epoch"] == 1 + losses.index(min(losses))
