"""What holds for every system that is compared with the Dynamic RNN on its planted world: the same cases and floors; no
label of the test is seen; at chance on the noise twin; and the orders that follow from their designs."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import registry
from reelmill.models.core.training import Training, run_epochs
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.drnn.world import World, write
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.models.protocols.next_videos.data import load as load_histories
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.models.protocols.next_videos.task import HistoryTask
from reelmill.storage.errors import InputError

CPU = torch.device("cpu")
PROTOCOL: dict[str, Any] = {"least_videos": 5, "test_share": 0.4, "validation_share": 0.15}
OWN: dict[str, dict[str, Any]] = {
    "knn": {},
    "lfm": {"dim": 16},
    "mknn": {"least_posts": 1},
    "sca": {"least_posts": 1},
    "cb": {"least_posts": 1},
}
"""{system: its options beside the protocol's}"""
BY_WATCHES, BY_POSTS = ("knn", "lfm"), ("mknn", "sca", "cb")


@dataclass(frozen=True)
class Planted:
    """A root and its stores."""

    root: Path
    stores: dict[str, str]

    def task(self, name: str, **options: Any) -> Any:
        """The task of a system on this root."""
        recommender = registry.find(name)
        data = recommender.load(self.root, **{role: self.stores[role] for role in recommender.roles})
        return recommender.task(data, registry.settings_for(name, {**PROTOCOL, **OWN[name], **options}), CPU)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Planted]:
    """The planted world with these knobs, each written once."""
    written: dict[str, Planted] = {}

    def of(**knobs: Any) -> Planted:
        if (key := repr(sorted(knobs.items()))) not in written:
            root = tmp_path_factory.mktemp("world")
            written[key] = Planted(root, write(root, World(**{"users": 240, "order": 0.0, "drift": 0.0, **knobs})))
        return written[key]

    return of


def fitted(task: Any) -> Any:
    """A model that was fitted as `fit.train` does it."""
    training = Training(task, task.settings, CPU)
    run_epochs(training, lambda state: None, Silent(), None, 1e9)  # type: ignore[arg-type]
    return training.use_best()


class Silent:
    """A log that nobody reads."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""


def f_of(task: Any, **more: Any) -> dict[str, dict[str, Any]]:
    """{row: its F} of a fit."""
    rows = task.evaluate(fitted(task))["rows"]
    return {row["row"]: row for row in rows if row["metric"] == f"f@{task.settings.list_length}"}


def moved(data: Histories, task: HistoryTask) -> Histories:
    """The same data with the videos that the test users watch after the known months exchanged among these watches."""
    tested = np.zeros(len(data.users), bool)
    tested[task.split.users[task.split.train + task.split.validation :]] = True
    known = task.split.moments[task.settings.known_months - 1]
    future = np.flatnonzero(tested[data.watch_user] & (data.watch_ms >= known))
    video = data.watch_video.copy()
    video[future] = video[np.random.default_rng(0).permutation(future)]
    assert (video != data.watch_video).sum() > len(future) / 2
    return replace(data, watch_video=video)


@pytest.mark.parametrize("name", OWN)
def test_cases_and_floors_are_those_of_the_dynamic_rnn(name: str, world: Callable[..., Planted]) -> None:
    """Whatever else the system reads and draws. The means to the last bit; resampled ones as far as one product of
    matrices gives the same for two and for three rankings, which depends on the processor."""
    there, options = world(), {**PROTOCOL, "known_months": 6, "seed": 3}
    cross = {"network": "cross", "cold_start": True, "least_posts": 1} if name in BY_POSTS else {}
    roles = {role: there.stores[role] for role in ("frames", "text", "posts" if cross else "topics")}
    theirs = DRNNTask(load_histories(there.root, **roles), DRNNSettings(**options, **cross), CPU)  # type: ignore[arg-type]
    mine = there.task(name, known_months=6, seed=3)
    model = fitted(mine)
    assert mine.split.users.tolist() == theirs.split.users.tolist()
    assert mine.test.tolist() == theirs.test.tolist()
    assert np.array_equal(mine._truth(mine.test), theirs._truth(theirs.test))
    floors = [row for row in mine.evaluate(model)["rows"] if row["row"] != name]
    expected = theirs.tables({})["rows"]
    assert [row["mean"] for row in floors] == [row["mean"] for row in expected]
    assert floors == [
        {key: pytest.approx(value, abs=1e-12) if isinstance(value, float) else value for key, value in row.items()}
        for row in expected
    ]
    assert {row["row"] for row in floors} == {"random", "most popular"}


@pytest.mark.parametrize("name", OWN)
def test_it_sees_no_label_of_the_test(name: str, world: Callable[..., Planted]) -> None:
    """The labels moved: equal weights, and equal scores of every test user."""
    task = world().task(name)
    other = type(task)(moved(task.data, task), task.settings, CPU)
    assert other.test.tolist() == task.test.tolist()
    assert not np.array_equal(other._truth(other.test), task._truth(task.test))
    one, two = fitted(task), fitted(other)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    assert torch.equal(task.scores(one, task.test), other.scores(two, task.test))


@pytest.mark.parametrize("name", OWN)
def test_the_noise_twin_stays_at_chance(name: str, world: Callable[..., Planted]) -> None:
    row = f_of(world(noise_twin=True).task(name))[name]
    assert row["minus_random_low"] <= 0 <= row["minus_random_high"]


@pytest.mark.parametrize("name", BY_WATCHES)
def test_it_is_above_popularity_where_tastes_differ_and_only_there(name: str, world: Callable[..., Planted]) -> None:
    """One taste and one clique have as many videos as six tastes in two cliques."""
    apart, alike = f_of(world().task(name)), f_of(world(tastes=1, cliques=1, series=48).task(name))
    print(name, {key: row["mean"] for key, row in apart.items()}, {key: row["mean"] for key, row in alike.items()})
    assert apart[name]["mean"] > 3 * apart["most popular"]["mean"]
    assert apart[name]["minus_random_low"] > 0
    assert alike[name]["mean"] < alike["most popular"]["mean"] + 0.01
    assert alike[name]["minus_random_low"] <= 0


@pytest.mark.parametrize("name", BY_WATCHES)
def test_users_known_by_their_watches_have_no_cold_start(name: str, world: Callable[..., Planted]) -> None:
    with pytest.raises(InputError, match="cold_start"):
        world().task(name, cold_start=True)


@pytest.mark.parametrize("name", OWN)
def test_settings_are_those_of_the_protocol_and_own_ones(name: str) -> None:
    assert issubclass(registry.find(name).settings, HistorySettings)
    own = {field.name for field in fields(registry.find(name).settings)}
    assert own > {field.name for field in fields(HistorySettings)}


@pytest.mark.parametrize("name", BY_POSTS)
def test_it_is_above_chance_where_posts_tell_the_taste_and_only_there(name: str, world: Callable[..., Planted]) -> None:
    linked, apart = f_of(world(told=0.8).task(name)), f_of(world(told=0.0).task(name))
    print(name, {key: row["mean"] for key, row in linked.items()}, {key: row["mean"] for key, row in apart.items()})
    assert linked[name]["mean"] > 3 * linked["most popular"]["mean"]
    assert linked[name]["minus_random_low"] > 0
    assert apart[name]["minus_random_low"] <= 0 <= apart[name]["minus_random_high"]


def test_sca_is_above_cb_where_topics_are_linked_and_words_are_not_shared(world: Callable[..., Planted]) -> None:
    """By paired differences of the users' precision. Where titles and posts share words, CB finds what SCA finds."""
    found = {}
    for told, spoken in ((0.8, 0.0), (0.0, 0.0), (0.8, 0.3)):
        tasks = [world(told=told, spoken=spoken).task(name) for name in ("sca", "cb")]
        sca, cb = (task._lists(fitted(task), task.test)[:, 0] for task in tasks)
        apart = sca - cb
        found[told, spoken] = apart.mean(), 1.96 * apart.std(ddof=1) / len(apart) ** 0.5, sca.mean(), cb.mean()
    print("(told, spoken): sca − cb, half of its interval, sca, cb", found)
    assert found[0.8, 0.0][0] > found[0.8, 0.0][1]
    assert abs(found[0.0, 0.0][0]) <= found[0.0, 0.0][1]
    assert found[0.8, 0.3][3] > 3 * found[0.8, 0.0][3]


def test_without_a_shared_word_cb_is_chance_itself(world: Callable[..., Planted]) -> None:
    silent = f_of(world(spoken=0.0).task("cb"))
    assert silent["cb"]["mean"] == pytest.approx(silent["random"]["mean"], rel=1e-9)


@pytest.mark.parametrize(("name", "options"), [("knn", {"user_based": True}), ("sca", {"space": "factors", "dim": 8})])
def test_a_variant_finds_what_is_planted_and_sees_no_label(
    name: str, options: dict[str, Any], world: Callable[..., Planted]
) -> None:
    task = world().task(name, **options)
    found = f_of(task)
    print(name, options, {key: row["mean"] for key, row in found.items()})
    assert found[name]["mean"] > 3 * found["most popular"]["mean"]
    other = type(task)(moved(task.data, task), task.settings, CPU)
    one, two = fitted(task), fitted(other)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    noise = f_of(world(noise_twin=True).task(name, **options))[name]
    assert noise["minus_random_low"] <= 0 <= noise["minus_random_high"]
