"""BPR and VBPR from a written root to their tables: what is read and left out, splits, masks, cold items, a planted
low-rank taste and its noise twin, resuming, rebuilding."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.baselines.vbpr import data as vbpr_data
from reelmill.models.baselines.vbpr.data import Positives, divide
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.baselines.vbpr.task import BPRTask, VBPRTask
from reelmill.models.fit import FitResult, train
from reelmill.models.metrics import full_ranking as ranking
from reelmill.models.registry import find
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.choices import COLD, USERS, WARM, event, write_store, write_world

CPU = torch.device("cpu")
GIVEN: dict[str, Any] = {"split": "given", "batch": 300, "epochs": 40, "patience": 8, "l2": 0.01}
BPR_QUICK, VBPR_QUICK = BPRSettings(dim=8, **GIVEN), VBPRSettings(dim=4, visual_dim=4, l2_visual=1e-3, **GIVEN)
SHORT: dict[str, Any] = {"epochs": 4, "patience": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("planted")
    return root, write_world(root)


def figure(result: FitResult, row: str, metric: str) -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == row and r["metric"] == metric)


def fit(root: Path, model: str, settings: BPRSettings, store: str | None = None, **more: Any) -> FitResult:
    return train(root, store, settings, model=model, logger="none", pictures=False, **more)


# ---- reading ----


def small(root: Path) -> str:
    """Ratings; `a` has two usable rows of three, `b` none, `c` is in no store."""
    rows = [event("ann", "a", "s", 1, 5.0), event("ann", "a", "s", 2, 1.0), event("ann", "b", "s", 3, 3.0),
            event("bob", "c", "s", 4, 4.0), {**event("bob", "a", "s", 5, 0.0), "value": None},
            event("bob", "d", "s", 6)]  # fmt: skip
    Tables(root).write("events", rows)
    nothing = [np.nan, np.nan]
    return write_store(root, {"a": np.array([[1, 2], nothing, [3, 6]]), "b": np.array([nothing])})


def test_what_is_read_and_what_is_left_out(tmp_path: Path) -> None:
    data = vbpr_data.load(tmp_path, small(tmp_path))
    assert (data.users, data.items) == (["ann", "bob"], ["a", "b", "c"])  # a root with ratings has no use for views
    assert list(zip(data.user.tolist(), data.item.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 2)]
    np.testing.assert_array_equal(data.value, [1, 3, np.nan, 4])  # of two the newest
    assert data.features is not None
    np.testing.assert_array_equal(data.features, [[2, 4], [np.nan] * 2, [np.nan] * 2])
    assert data.counts == {
        "events": 5, "events_repeated": 1, "items_without": 2, "items_not_extracted": 1, "rows_without_data": 2,
        "rows_not_finite": 0,
    }  # fmt: skip
    bare = vbpr_data.load(tmp_path)
    assert bare.features is None
    assert (bare.stores, data.stores) == ({}, {"features": find("vbpr").roles and data.stores["features"]})
    assert bare.fingerprint != data.fingerprint == vbpr_data.load(tmp_path, data.stores["features"]).fingerprint


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no event of kind rating, highlight or watch"):
        vbpr_data.load(tmp_path)
    data = vbpr_data.load(tmp_path, small(tmp_path))
    with pytest.raises(InputError, match=r"none of 4 positives is left to train on; .* sources called train"):
        BPRTask(data, BPRSettings(split="given"), CPU)
    with pytest.raises(InputError, match="4 of 4 events have no time"):
        BPRTask(data, BPRSettings(split="last"), CPU)
    with pytest.raises(InputError, match="none has a user and an item of the training"):
        BPRTask(data, BPRSettings(test_share=0.85, validation_share=0.0), CPU)


def test_features_that_say_nothing_are_named(world: tuple[Path, str]) -> None:
    data = vbpr_data.load(*world)
    assert data.features is not None
    with pytest.raises(InputError, match="are the same for all items"):
        VBPRTask(replace(data, features=np.ones_like(data.features)), VBPR_QUICK, CPU)


def test_nobody_has_a_negative(tmp_path: Path) -> None:
    rows = [(user, item) for user in "abcdefgh" for item in "xyz"]
    data = of([event(*row, "s", n) for n, row in enumerate(rows)], tmp_path)
    task = replace(
        data, part=np.where(np.arange(len(rows)) < len(rows) - 3, 0, 2), user=np.append(data.user[:-3], [0, 1, 2])
    )
    with pytest.raises(InputError, match="every user has all 3 items"):
        BPRTask(task, BPRSettings(split="given"), CPU)


# ---- splits ----


def of(rows: list[Any], root: Path) -> Positives:
    Tables(root).write("events", rows)
    return vbpr_data.load(root)


def test_the_random_split_is_disjoint_complete_and_repeatable(world: tuple[Path, str]) -> None:
    data = vbpr_data.load(world[0])
    split = divide(data, "random", 0.0, (0.1, 0.3), np.random.default_rng(0))
    parts = [split.train, split.validation, split.test, split.cold]
    pairs = [(split.users[u], split.items[i]) for user, item in parts for u, i in zip(user, item, strict=True)]
    lost = sum(
        split.counts[name] for name in split.counts if "unseen" in name or name.startswith("validation_positives_of")
    )
    assert len(set(pairs)) == len(pairs) == len(data.user) - lost
    assert set(pairs) <= set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    assert len(split.test[0]) + len(split.cold[0]) + split.counts["test_positives_of_unseen_users"] == round(
        0.3 * len(data.user)
    )
    again, other = (divide(data, "random", 0.0, (0.1, 0.3), np.random.default_rng(s)) for s in (0, 1))
    assert np.array_equal(again.train[1], split.train[1])
    assert not np.array_equal(other.train[1], split.train[1])


def test_the_last_item_tests_and_the_one_before_validates(tmp_path: Path) -> None:
    """Who has fewer than three gives none; ratings below `liked` are no positives."""
    days = {"ann": {"a": 4, "b": 2, "c": 9, "d": 7}, "bob": {"a": 1, "c": 2}, "cid": {"d": 1, "b": 3, "c": 5}}
    rows = [(u, i, 5.0, day) for u, items in days.items() for i, day in items.items()] + [("ann", "e", 2.0, 99)]
    data = of([event(u, i, "s", n, value, day) for n, (u, i, value, day) in enumerate(rows)], tmp_path)
    split = divide(data, "last", 3.0, (0.1, 0.2), np.random.default_rng(0))

    def named(pairs: Any) -> set[str]:
        user, item = pairs
        return {data.users[split.users[u]] + data.items[split.items[i]] for u, i in zip(user, item, strict=True)}

    assert named(split.train) == {"anna", "annb", "boba", "bobc", "cidd"}
    assert named(split.validation) == {"annd", "cidb"}
    assert named(split.test) == {"annc", "cidc"}
    assert split.counts["rated_below_liked"] == 1
    assert [data.items[i] for i in split.items] == list("abcd")


def test_a_given_split_is_that_of_the_sources(tmp_path: Path) -> None:
    rows = [("ann", "a", "train"), ("ann", "b", "train"), ("bob", "c", "train"), ("ann", "c", "validation"),
            ("ann", "z", "validation"), ("bob", "a", "test"), ("bob", "y", "test"), ("zoe", "a", "test"),
            ("bob", "b", "extra")]  # fmt: skip
    data = of([event(*row, n) for n, row in enumerate(rows)], tmp_path)
    split = divide(data, "given", 0.0, (0.1, 0.2), np.random.default_rng(0))
    assert [data.items[i] for i in split.items] == ["a", "b", "c", "y", "z"]
    assert (split.warm, split.test[1].tolist(), split.cold[1].tolist()) == (3, [0], [3])
    assert split.counts == {
        "users": 2, "items": 3, "cold_items": 2, "rated_below_liked": 0, "positives_of_no_part": 1,
        "train_positives": 3, "validation_positives": 1, "test_positives": 1, "test_positives_of_cold_items": 1,
        "validation_positives_of_unseen_users": 0, "test_positives_of_unseen_users": 1,
        "validation_positives_of_cold_items": 1,
    }  # fmt: skip


# ---- protocol ----


def test_batches_hold_each_positive_once_and_no_own_item(world: tuple[Path, str]) -> None:
    task = VBPRTask(vbpr_data.load(*world), replace(VBPR_QUICK, batch=37, negatives=2), CPU)
    own = set(zip(*(part.tolist() for part in task.split.train), strict=True))
    seen = []
    for batch in task.batches(torch.Generator().manual_seed(0)):
        user, item = batch.user[batch.of].tolist(), batch.item.numpy()
        seen += list(zip(user, item[batch.positive].tolist(), strict=True))
        drawn = {(u, j) for u, some in zip(user, item[batch.negative].tolist(), strict=True) for j in some}
        assert not drawn & own
        assert batch.negative.shape[1] == 2
    assert len(seen) == len(own)
    assert set(seen) == own


def test_lists_hold_every_item_but_those_of_the_training(world: tuple[Path, str]) -> None:
    """What validates is a candidate in the test; a cold item is one in the cold test alone."""
    task = VBPRTask(vbpr_data.load(*world), VBPR_QUICK, CPU)
    found = ranking.chance(task._queries(task.split.test))
    assert set(found.size.tolist()) == {task.n - 12}
    assert len(found.relevant) == USERS
    tables = task.evaluate(task.model(torch.Generator().manual_seed(0)))["rows"]
    expected = {"recall@10": 10 / (task.n - 12), "cold_recall@10": 10 / COLD}
    got = {r["metric"]: r["mean"] for r in tables if r["row"] == "random" and r["metric"] in expected}
    assert got == pytest.approx(expected)
    rows = {(r["row"], r["metric"].startswith("cold_")) for r in tables}
    assert rows == {
        (name, cold) for cold in (False, True) for name in ("random", "most popular", "content", "vbpr")
    } - {("most popular", True)}


def test_features_are_centred_on_the_training_and_missing_ones_are_zero(world: tuple[Path, str]) -> None:
    data = vbpr_data.load(*world)
    assert data.features is not None
    table = data.features.copy()
    table[[5, WARM + 2]] = np.nan
    task = VBPRTask(replace(data, features=table), VBPR_QUICK, CPU)
    assert task.features is not None
    known = task.features[task.features.abs().sum(1) > 0]
    assert (task.n - len(known), task.counts["train_items_without_features"]) == (1, 1)
    assert task.counts["cold_items_without_features"] == 1
    np.testing.assert_allclose(known.mean(0), 0, atol=1e-5)
    assert float(known.square().sum(1).mean()) == pytest.approx(1, rel=1e-5)
    model = task.model(torch.Generator().manual_seed(0))
    np.testing.assert_allclose(model.standardise(torch.from_numpy(table[:5])), task.features[:5], atol=1e-6)
    assert all(np.isfinite(row["mean"]) for row in task.evaluate(model)["rows"])


# ---- does it learn, and only what is there ----


def test_it_finds_the_planted_taste(world: tuple[Path, str]) -> None:
    """Both beat popularity clearly; with features also for items that nobody has in training."""
    bpr, vbpr = fit(world[0], "bpr", BPR_QUICK), fit(world[0], "vbpr", VBPR_QUICK, world[1])
    for result, name in ((bpr, "bpr"), (vbpr, "vbpr")):
        for metric in ("recall@20", "ndcg@20", "map"):
            assert figure(result, name, metric)["low"] > figure(result, "most popular", metric)["high"]
            assert figure(result, name, metric)["minus_random_low"] > 0
    assert figure(bpr, "bpr", "recall@20")["mean"] > 0.4
    assert figure(vbpr, "vbpr", "cold_recall@10")["minus_random_low"] > 0.1
    assert not [row for row in bpr.metrics["rows"] if row["metric"].startswith("cold_")]


def test_it_stays_at_chance_on_the_noise_twin(tmp_path: Path) -> None:
    store = write_world(tmp_path, noise_twin=True)
    bpr, vbpr = fit(tmp_path, "bpr", BPR_QUICK), fit(tmp_path, "vbpr", VBPR_QUICK, store)
    for result, name in ((bpr, "bpr"), (vbpr, "vbpr")):
        for metric in ("recall@20", "map", *(["cold_recall@10"] if name == "vbpr" else [])):
            row = figure(result, name, metric)
            error = (row["minus_random_high"] - row["minus_random_low"]) / (2 * 1.96)
            assert abs(row["minus_random"]) < 3 * error, row  # five figures: one in 20 would leave its interval


# ---- runs ----


@pytest.mark.parametrize(("model", "settings"), [("bpr", BPR_QUICK), ("vbpr", VBPR_QUICK)])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(
    world: tuple[Path, str], tmp_path: Path, model: str, settings: BPRSettings
) -> None:
    short, store = replace(settings, **SHORT), world[1] if model == "vbpr" else None
    unbroken = fit(world[0], model, short, store)
    write_world(tmp_path)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, model, short, store, on_epoch=kill, save_every_s=0)
    seen: list[int] = []
    resumed = fit(tmp_path, model, short, store, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == [3, 4]
    assert resumed.folder.name == unbroken.folder.name
    assert resumed.metrics["rows"] == unbroken.metrics["rows"]
    first, second = (runs.load(result.folder).model.state_dict() for result in (unbroken, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_rebuilds_its_model(world: tuple[Path, str]) -> None:
    result = fit(world[0], "vbpr", replace(VBPR_QUICK, **SHORT), world[1])
    fitted = runs.load(result.folder)
    task = VBPRTask(vbpr_data.load(*world), replace(VBPR_QUICK, **SHORT), CPU)
    scores = fitted.model.score(torch.arange(3)[:, None], torch.arange(task.n))
    assert float(scores.std()) > 0
    assert task.evaluate(fitted.model)["rows"] == result.metrics["rows"]
    assert torch.equal(scores, fitted.model.score(torch.arange(3)[:, None], torch.arange(task.n)))
    assert fitted.identities == task.identities()
    assert fitted.identities["items"] == [f"i{i:03d}" for i in range(WARM)]
    assert fitted.stores == {"features": world[1]}
    assert result.counts == task.counts | {"events_read": 3150, "events_used": 3150}
    assert fit(world[0], "vbpr", replace(VBPR_QUICK, **SHORT), world[1]).skipped


def test_without_validation_it_fits_all_the_same(world: tuple[Path, str]) -> None:
    settings = replace(BPR_QUICK, **SHORT, split="random", validation_share=0.0)
    result = fit(world[0], "bpr", settings)
    assert result.metrics["fit"]["watch"] is None
    assert result.metrics["fit"]["best_epoch"] == 4
