"""The Dynamic RNN from a real root to a fitted model: batches, tests, what it learns of the planted world."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.drnn import world as drnn
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.drnn.world import World
from reelmill.models.fit import FitResult, train
from reelmill.models.protocols.next_videos import data as drnn_data
from reelmill.models.protocols.next_videos.cases import f_score
from reelmill.models.protocols.next_videos.history import MONTH_MS
from reelmill.models.registry import world_of
from reelmill.storage import FeatureWriter, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import VALID
from tests.optional import needs

QUICK = DRNNSettings(
    dim=32, hidden=32, batch=256, epochs=7, patience=0, learning_rate=0.02, least_videos=5, longest=6, memory=8,
    test_share=0.4,
)  # fmt: skip
FEED = replace(QUICK, feed_history=True)
COLD = replace(QUICK, network="cross", cold_start=True, least_posts=1)
SMALL = replace(FEED, dim=8, hidden=8, batch=64, epochs=4, longest=3)

Root = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Root]:
    """Roots of planted worlds by their knobs, written once."""
    there: dict[World, Root] = {}

    def root(**knobs: Any) -> Root:
        world = World(**knobs)
        if world not in there:
            folder = tmp_path_factory.mktemp("drnn")
            there[world] = folder, drnn.write(folder, world)
        return there[world]

    return root


def fit(root: Root, settings: DRNNSettings, **rest: Any) -> FitResult:
    return train(*root, settings, model="drnn", pictures=False, **rest)


def row(result: FitResult, name: str, metric: str = "f@5") -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == name and r["metric"] == metric)


def f(root: Root, settings: DRNNSettings, name: str = "drnn") -> float:
    return row(fit(root, settings), name)["mean"]


def task_of(root: Root, settings: DRNNSettings) -> DRNNTask:
    return DRNNTask(drnn_data.load(root[0], **{"posts": ""} | root[1]), settings, torch.device("cpu"))


def share_of_gap(world: World, task: DRNNTask, found: float, floor: float) -> float:
    """How much of the way from a floor to what the true latents would score."""
    user, video = ([int(name[1:]) for name in names] for names in (task.data.users, task.data.videos))
    scores = drnn.ceiling(world)[np.ix_(np.array(user)[task.split.users], np.array(video)[task.split.videos])]
    top = float(f_score(task.ranked(lambda some: scores[some], task.test).mean(axis=0)))
    return (found - floor) / (top - floor)


# ---- examples, batches, truth: against plain loops ----


Deed = tuple[int, int, int]


def deeds_of(task: DRNNTask, kind: str = "watched") -> list[list[Deed]]:
    """Of each user (time, place, video or topic), oldest first."""
    found: list[list[Deed]] = [[] for _ in task.split.users]
    for place, (user, what, ms) in enumerate(zip(*(c.tolist() for c in getattr(task.split, kind)), strict=True)):
        found[user].append((ms, place, what))
    return [sorted(mine) for mine in found]


def test_an_example_is_a_training_user_and_a_session_end_with_something_after(planted: Callable[..., Root]) -> None:
    task = task_of(planted(), replace(QUICK, sessions=5, known_months=3))
    watched = deeds_of(task)
    expected = [
        (user, moment)
        for user in range(task.split.train)
        for moment in task.split.moments.tolist()
        if any(ms >= moment for ms, _, _ in watched[user])
    ]
    assert list(zip(task.user.tolist(), task.moment.tolist(), strict=True)) == expected
    assert task.counts["train_examples"] == len(expected)
    assert task.counts["train_sessions_without_future"] == 4 * task.split.train - len(expected)


def test_an_epoch_holds_each_example_and_each_pair_once(planted: Callable[..., Root]) -> None:
    task = task_of(planted(), replace(QUICK, batch=100))
    one, two = (list(task.batches(torch.Generator().manual_seed(seed))) for seed in (0, 1))
    assert [b.examples for b in one[:-1]] == [100] * (len(one) - 1)
    assert sum(b.examples for b in one) == len(task.user)
    assert not torch.equal(one[0].watched.member, two[0].watched.member)
    pairs = torch.cat([b.pair for b in one])
    assert sorted(pairs[:, 0].tolist()) == torch.nonzero(task.videos.complete)[:, 0].tolist()
    assert {len(b.pair) - len(pairs) // len(one) for b in one} <= {0, 1}
    text_only = task_of(planted(), replace(QUICK, variant="rnn"))
    batch = next(text_only.batches(torch.Generator().manual_seed(0)))
    assert (len(batch.pair), len(batch.triplet), len(batch.after)) == (0, 0, batch.examples)


@pytest.mark.parametrize("network", ["single", "both"])
def test_a_batch_holds_examples_then_the_others_of_their_triplets(planted: Callable[..., Root], network: str) -> None:
    task = task_of(planted(), replace(QUICK, network=network, longest=4))
    watched, posted = deeds_of(task), deeds_of(task, "posted")
    lists = [{video for _, _, video in mine} for mine in watched]
    chosen = torch.randperm(len(task.user), generator=torch.Generator().manual_seed(1))[:60]
    user, moment = task.user[chosen], task.moment[chosen]
    batch = task._batch(user, moment, torch.zeros(0, 3).long(), torch.Generator().manual_seed(2))
    assert task.relevance is not None
    place, near, far = task.relevance.draw(user, torch.Generator().manual_seed(2)).unbind(1)
    i, p, n = batch.triplet.unbind(1)
    assert torch.equal(i, place)
    assert sorted([*i.tolist(), *p.tolist(), *n.tolist()])[-1] == len(batch.after) - 1 == 60 + 2 * len(place) - 1
    who, when = torch.full((len(batch.after),), -1), torch.zeros(len(batch.after), dtype=torch.long)
    who[:60], when[:60], who[p], who[n] = user, moment, near, far
    when[p], when[n] = moment[i], moment[i]
    assert (who >= 0).all()
    for row, (u, t) in enumerate(zip(who.tolist(), when.tolist(), strict=True)):
        a, b = batch.watched.start[row : row + 2].tolist()
        past = [(ms, video) for ms, _, video in watched[u] if ms < t]
        assert batch.watched.member[a:b].tolist() == [video for _, video in past]
        assert batch.watched.age[a:b].tolist() == pytest.approx([(t - ms) / MONTH_MS for ms, _ in past], rel=1e-5)
        a, b = batch.posted.start[row : row + 2].tolist()
        assert batch.posted.member[a:b].tolist() == [topic for ms, _, topic in posted[u] if ms < t]
        after = [video for ms, _, video in watched[u] if ms >= t][:4]
        assert [video for video in batch.after[row].tolist() if video >= 0] == after
    assert batch.after.shape[1] <= 4
    for a, b, c in zip(user[place].tolist(), near.tolist(), far.tolist(), strict=True):
        assert lists[a] & lists[b]
        assert not lists[a] & lists[c]


def test_lists_are_made_at_the_end_of_the_known_months_and_judged_by_what_comes_after(
    planted: Callable[..., Root],
) -> None:
    """Every user's watches are plain sets; a test user who does nothing later is no case."""
    for changes in ({}, {"known_months": 3}, {"network": "cross", "cold_start": True, "least_posts": 1}):
        task = task_of(planted(), replace(QUICK, **changes))
        model = task.model(torch.Generator().manual_seed(0))
        model.settle(task.videos)
        watched, moment = deeds_of(task), int(task.split.moments[task.settings.known_months - 1])
        assert int(task.data.watch_ms.max()) + 1 - moment == (12 - task.settings.known_months) * MONTH_MS
        tested = range(task.split.train + task.split.validation, len(task.split.users))
        truth = {u: {v for ms, _, v in watched[u] if ms >= moment} for u in tested}
        assert task.test.tolist() == [u for u in tested if truth[u]]
        past, posted = task._pasts(task.test)
        lists, _ = model.recommend(past, posted, 5)
        for place, (user, given) in enumerate(zip(task.test.tolist(), lists.tolist(), strict=True)):
            known = {v for ms, _, v in watched[user] if ms < moment}
            mine = past.member[past.start[place] : past.start[place + 1]].tolist()
            assert set(mine) == (set() if task.settings.cold_start else known)
            if not task.settings.cold_start:
                assert not known & set(given)
            hits = len(truth[user] & set(given))
            expected = [hits / 5, hits / len(truth[user])]
            assert task.measured(model, task.test)[place].tolist() == pytest.approx(expected)
            if place == 5:
                break


def test_contents_are_standardised_over_the_training_users_videos(planted: Callable[..., Root]) -> None:
    root = planted()
    for name in ("centre", "scale", "none"):
        task = task_of(root, replace(QUICK, standardise=name))
        trained = np.unique(task.split.watched[1][task.split.watched[0] < task.split.train])
        frames, clips = (task.data.pictures[role][task.split.videos] for role in ("frames", "clips"))
        for part, whole in ((np.concatenate([frames, clips], 1), task.videos.picture),
                            (task.data.text[task.split.videos], task.videos.text)):  # fmt: skip
            seen = part[trained]
            mean = np.nanmean(seen, axis=0) if name == "centre" else np.zeros(part.shape[1])
            there = np.isfinite(seen).any(axis=1)
            rms = np.sqrt((np.nan_to_num(seen[there] - mean) ** 2).sum(axis=1).mean()) if name != "none" else 1.0
            np.testing.assert_allclose(whole.numpy(), np.nan_to_num(part - mean) / rms, atol=2e-5)
    bare = ~np.isfinite(frames).any(axis=1)
    assert (bare & np.isfinite(clips).all(axis=1)).any()  # half a picture
    assert task.counts["videos_with_picture_and_text"] < task.counts["videos"]


# ---- does it learn, and only what is there ----


@pytest.fixture(scope="module")
def fitted(planted: Callable[..., Root]) -> FitResult:
    return fit(planted(), FEED)


def test_it_beats_the_floors_clearly_on_the_planted_world(planted: Callable[..., Root], fitted: FitResult) -> None:
    assert [r["metric"] for r in fitted.metrics["rows"][:1]] == ["f@5"]
    for metric in ("f@5", "precision@5", "recall@5"):
        assert row(fitted, "drnn", metric)["minus_random_low"] > 0.08
        assert row(fitted, "drnn", metric)["low"] > row(fitted, "most popular", metric)["high"]
    task = task_of(planted(), FEED)
    assert share_of_gap(World(), task, row(fitted, "drnn")["mean"], row(fitted, "random")["mean"]) > 0.5
    counts = fitted.counts
    assert counts["users"] == counts["train_users"] + counts["validation_users"] + counts["test_users"] == 300
    assert counts["users_without_watches"] == 9
    assert min(counts[f"videos_without_{what}"] for what in ("frames", "clips", "text", "topics")) > 5


def test_chance_is_exact(fitted: FitResult) -> None:
    assert row(fitted, "random")["mean"] == pytest.approx(0.0155, abs=0.003)  # 6 of 384 − 18 videos, 5 of them
    assert row(fitted, "random")["minus_random"] == 0


def test_it_stays_at_chance_on_the_noise_twin(planted: Callable[..., Root]) -> None:
    for settings in (FEED, COLD):
        result = fit(planted(noise_twin=True), settings)
        for metric in ("f@5", "precision@5", "recall@5"):
            assert abs(row(result, "drnn", metric)["minus_random"]) < 0.02
            assert row(result, "drnn", metric)["minus_random_low"] < 0.005


@pytest.mark.gpu
@needs("cuda", torch.cuda.is_available())
def test_it_learns_on_a_gpu_and_its_checkpoint_opens_on_the_cpu(planted: Callable[..., Root]) -> None:
    result = fit(planted(), replace(FEED, network="both", seed=1), device="cuda")
    assert row(result, "drnn")["minus_random_low"] > 0.05
    assert next(runs.load(result.folder).model.parameters()).device.type == "cpu"


# ---- each component where its knob is on, and where it is off ----


def gain(planted: Callable[..., Root], one: DRNNSettings, other: DRNNSettings, **knobs: Any) -> float:
    """Mean difference of F over two seeds of world and fit."""
    roots = {seed: planted(users=250, seed=seed, **knobs) for seed in (1, 2)}
    return float(np.mean([f(r, replace(one, seed=s)) - f(r, replace(other, seed=s)) for s, r in roots.items()]))


def test_the_order_of_the_past_pays_under_drift_alone(planted: Callable[..., Root]) -> None:
    """As printed (λ = 0.1 a month, u alone) the model hardly sees that a taste has changed."""
    static = replace(QUICK, variant="static_dnn")
    assert gain(planted, FEED, QUICK, drift=0.3) > 0.03
    assert gain(planted, FEED, static, drift=0.3) > 0.03
    assert abs(gain(planted, FEED, QUICK, drift=0.0)) < 0.05
    assert abs(gain(planted, FEED, static, drift=0.0)) < 0.05


def test_pictures_beside_text_pay_where_texts_are_wrong(planted: Callable[..., Root]) -> None:
    both, text = replace(QUICK, variant="rnn_sem"), replace(QUICK, variant="rnn")
    assert gain(planted, both, text, corrupt=0.6, drift=0.0) > 0.08
    assert gain(planted, both, text, corrupt=0.0, drift=0.0) < 0.05


def test_posts_tell_of_strangers_what_they_watch(planted: Callable[..., Root]) -> None:
    """A model that knows neither watches nor posts of them gives all the same list."""
    unknown = replace(COLD, variant="rnn_sem")
    assert gain(planted, COLD, unknown, told=0.8, drift=0.0, order=0.0) > 0.06
    assert gain(planted, COLD, unknown, told=0.0, drift=0.0, order=0.0) < 0.03


# ---- the world itself ----


def test_the_world_is_what_its_knobs_say(tmp_path: Path) -> None:
    world = World(users=80, drift=0.0, order=1.0, cliques=3, corrupt=0.0)
    stores = drnn.write(tmp_path, world)
    data = drnn_data.load(tmp_path, **stores)
    taste, clique, _, episode = drnn._places(world)
    number = np.array([int(name[1:]) for name in data.videos])[data.watch_video]
    for user in range(len(data.users)):
        mine = number[data.watch_user == user]
        assert len({(taste[v], clique[v]) for v in mine}) == 1
        begun = [v for v in mine if episode[v] == 0]
        assert mine.tolist() == [v + k for v in begun for k in range(world.episodes) if v + k in mine]
    scores = drnn.ceiling(world)
    known = data.watch_ms < (drnn.BEGIN + 9 * drnn.MONTH).timestamp() * 1000
    for user in range(10):
        here = data.watch_user == user
        ahead, seen = number[here & ~known], number[here & known]
        if len(ahead) and episode[ahead[0]]:
            row = scores[int(data.users[user][1:])].copy()
            row[seen] = -1
            assert row.argmax() == ahead[0]
    drifting = drnn._draw(replace(world, drift=0.3)).taste
    assert (drifting[:, 1:] != drifting[:, :-1]).mean() == pytest.approx(0.3, abs=0.05)


def test_the_noise_twin_has_the_same_features_and_times(tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in "ab")
    world = World(users=60, tastes=2)
    stores = drnn.write(one, world), drnn.write(two, replace(world, noise_twin=True))
    assert stores[0] == stores[1]
    data = [drnn_data.load(root, **stores[0]) for root in (one, two)]
    both = [dict(zip(d.videos, d.text.tolist(), strict=True)) for d in data]
    shared = both[0].keys() & both[1].keys()
    assert len(shared) > 50
    assert repr([both[0][video] for video in shared]) == repr([both[1][video] for video in shared])
    assert not np.ptp(drnn.ceiling(replace(world, noise_twin=True)))
    assert len(data[1].watch_ms) >= len(data[0].watch_ms)
    assert np.isin(data[0].watch_ms, data[1].watch_ms).all()


# ---- runs ----


def test_a_killed_fit_goes_on_as_if_nothing_had_happened(planted: Callable[..., Root], tmp_path: Path) -> None:
    for settings in (SMALL, replace(SMALL, optimizer="sgd", learning_rate=0.05)):
        unbroken = fit(planted(users=60), settings)
        root = tmp_path / settings.optimizer, drnn.write(tmp_path / settings.optimizer, World(users=60))

        def kill(epoch: int, _: dict[str, float]) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(root, settings, on_epoch=kill, save_every_s=0)
        resumed = fit(root, settings)
        assert resumed.metrics["rows"] == unbroken.metrics["rows"]
        first, second = (runs.load(result.folder).model.state_dict() for result in (unbroken, resumed))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert resumed.folder.name == unbroken.folder.name


def test_the_settings_name_the_optimiser(planted: Callable[..., Root]) -> None:
    for name, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        model = task_of(planted(users=60), replace(SMALL, optimizer=name)).model(torch.Generator().manual_seed(0))
        optimizer = model.optimizer(model.turns()[0], 0.03)
        assert type(optimizer) is kind
        assert optimizer.defaults["lr"] == 0.03
        assert not optimizer.defaults["weight_decay"]
        assert not optimizer.defaults.get("momentum")


def test_the_checkpoint_rebuilds_its_model(planted: Callable[..., Root], fitted: FitResult) -> None:
    root = planted()
    rebuilt, task = runs.load(fitted.folder), task_of(root, FEED)
    past = task._pasts(task.test[:4])
    scores, lists = rebuilt.model.score(*past), rebuilt.model.recommend(*past, 5)[0]
    assert float(scores.std()) > 0
    assert task.evaluate(rebuilt.model)["rows"] == fitted.metrics["rows"]
    assert torch.equal(scores, rebuilt.model.score(*past))  # settling again changed nothing
    assert torch.equal(lists, rebuilt.model.recommend(*past, 5)[0])
    assert rebuilt.identities["videos"] == [task.data.videos[v] for v in task.split.videos]
    assert rebuilt.stores == root[1]


# ---- bad input ----


def test_what_a_setting_needs_must_be_there(planted: Callable[..., Root]) -> None:
    folder, stores = planted()
    with pytest.raises(InputError, match="'cross' needs topics of posts; name a store for the role 'posts'"):
        fit((folder, stores | {"posts": ""}), COLD)
    with pytest.raises(InputError, match="'single' needs topics of videos; name a store for the role 'topics'"):
        fit((folder, stores | {"topics": ""}), QUICK)
    with pytest.raises(InputError, match="'rnn' reads nothing but text; name a store for the role 'text'"):
        fit((folder, stores | {"text": ""}), replace(QUICK, variant="rnn"))
    with pytest.raises(InputError, match="no users with 500 videos"):
        fit((folder, stores), replace(QUICK, least_videos=500))
    with pytest.raises(InputError, match="no training user watched anything after the first session"):
        fit((folder, stores), replace(QUICK, end="2090-01-01"))
    with pytest.raises(InputError, match=r"none of \d+ test users watched anything after month 9 of 12"):
        fit((folder, stores), replace(QUICK, end="2026-06-01"))
    with pytest.raises(InputError, match="no store 'vgg19-fc6'"):
        fit((folder, {role: name for role, name in stores.items() if role != "frames"}), QUICK)


def test_a_root_without_pictures_or_posts_can_be_fitted(planted: Callable[..., Root]) -> None:
    """MovieLens: ratings, genres as text."""
    folder, stores = planted(users=60)
    result = fit((folder, dict.fromkeys(stores, "") | {k: stores[k] for k in ("text", "topics")}), SMALL)
    assert result.counts["videos_without_picture"] == result.counts["videos_without_clips"] > 300
    assert result.counts["videos_with_picture_and_text"] == 0
    assert runs.load(result.folder).stores == {k: stores[k] for k in ("text", "topics")}


def test_features_that_say_nothing_are_refused(tmp_path: Path) -> None:
    stores = drnn.write(tmp_path, World(users=60))
    opened = open_store(tmp_path, stores["text"])
    with FeatureWriter(tmp_path, opened.spec) as writer:
        for video in opened.keys():  # noqa: SIM118
            block = opened.read(video)
            writer.add(replace(block, features=np.ones_like(block.features), mask=np.full(1, VALID, np.uint8)))
    with pytest.raises(InputError, match="text is the same for all videos that are trained on"):
        fit((tmp_path, stores), SMALL)


def test_the_world_is_on_the_list() -> None:
    planted = world_of("drnn").planted
    assert (planted.knobs, planted.write) == (World, drnn.write)
