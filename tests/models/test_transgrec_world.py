"""The planted world of TransGRec: its own properties, and what the graph brings in it as its knob is turned."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelmill.models.fit import train
from reelmill.models.protocols.segments import data
from reelmill.models.protocols.segments import split as splits
from reelmill.models.registry import world_of
from reelmill.models.transgrec import world as transgrec
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import SHORTEST, World, ceiling, write
from reelmill.storage import open_store
from reelmill.storage.errors import InputError

TINY = World(users=80, old_videos=20, new_videos=10)
HARD = World(users=400, old_videos=30, new_videos=30, likes=1, latent=8, choosy=3.0, hidden=0.3)
"""Few likes, and hardly reliable: what the neighbours like is worth knowing."""
QUICK = TransGRecSettings(dim=16, batch=500, epochs=12, patience=0, learning_rate=0.01, edge_dropout=0.5)
Root = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[World], Root]:
    """Roots of worlds, written once."""
    roots: dict[World, Root] = {}

    def root_of(world: World) -> Root:
        if world not in roots:
            folder = tmp_path_factory.mktemp("world")
            roots[world] = folder, write(folder, world)
        return roots[world]

    return root_of


def likeness(world: World) -> tuple[float, float]:
    """Mean cosine of the tastes of two users of one community, and of two communities."""
    truth = ceiling(world)
    taste = truth.taste / np.linalg.norm(truth.taste, axis=1, keepdims=True)
    cosine = taste @ taste.T
    same = truth.community[:, None] == truth.community
    return float(cosine[same & ~np.eye(len(same), dtype=bool)].mean()), float(cosine[~same].mean())


def vectors(root: Root) -> np.ndarray:
    """(videos, segments, features) of a world's store."""
    store = open_store(root[0], root[1]["features"])
    return np.stack([store.read(video).features for video in sorted(store.keys())])


def test_a_community_shares_so_much_of_its_taste_as_rho_says() -> None:
    many = World(users=1000, communities=20, hidden=0.5)
    for rho in (0.0, 0.4, 1.0):
        within, across = likeness(replace(many, rho=rho))
        assert within == pytest.approx(rho, abs=0.04)
        assert across == pytest.approx(0.0, abs=0.04)


def test_utility_varies_alike_whatever_the_knobs() -> None:
    """So that no knob makes likes more or less reliable."""
    user, video = np.arange(300), np.zeros(300, np.int64)
    for rho, hidden in ((0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.3, 1.0)):
        truths = [ceiling(World(rho=rho, hidden=hidden, seed=seed)) for seed in range(20)]
        assert np.mean([t.utility(user, video).var() for t in truths]) == pytest.approx(1.0, abs=0.1)
        visible = np.mean([t.visible(user, video).var() for t in truths])
        assert visible == pytest.approx(1 - hidden, abs=0.1)


def test_features_do_not_show_what_is_hidden(planted: Callable[[World], Root]) -> None:
    """A least-squares fit on other segments finds what is seen in the features, and nothing of the rest."""
    world = World(users=10, old_videos=80, new_videos=40)
    shown = vectors(planted(world)).reshape(120 * world.segments, -1)
    latent = ceiling(world).latent.reshape(len(shown), -1)
    half = len(shown) // 2
    design = np.column_stack([shown, np.ones(len(shown))])
    told = design[half:] @ np.linalg.lstsq(design[:half], latent[:half], rcond=None)[0]
    explained = 1 - ((told - latent[half:]) ** 2).mean(axis=0) / latent[half:].var(axis=0)
    assert explained[: world.latent].min() > 0.5
    assert explained[world.latent :].max() < 0.05
    np.testing.assert_array_equal(shown, vectors(planted(replace(world, hidden=0.9))).reshape(shown.shape))


def test_likes_follow_the_utility_and_those_of_the_twin_nothing(planted: Callable[[World], Root]) -> None:
    """Mean share of a video's segments that fit less than a liked one: ½ by chance."""
    for twin in (False, True):
        world = replace(TINY, hidden=0.3)
        d = data.load(planted(replace(world, noise_twin=twin))[0], **planted(replace(world, noise_twin=twin))[1])
        number = np.array([int(name[1:]) for name in d.videos])
        video = number[d.segment_video[d.positive_segment]]
        for latent in (slice(0, world.latent), slice(world.latent, None)):  # seen, not seen
            truth = ceiling(world)
            user = np.array([int(name[1:]) for name in d.users])[d.positive_user]
            fit = np.einsum("nd,nsd->ns", truth.taste[user][:, latent], truth.latent[video][..., latent])
            liked = fit[np.arange(len(fit)), d.segment_index[d.positive_segment]]
            above = (fit < liked[:, None]).mean()
            assert (above > 0.6) != twin
            assert not twin or above == pytest.approx((world.segments - 1) / world.segments / 2, abs=0.03)
    assert not ceiling(replace(TINY, noise_twin=True)).taste.any()


def test_the_twin_has_the_same_features_and_histories(planted: Callable[[World], Root]) -> None:
    one, twin = planted(TINY), planted(replace(TINY, noise_twin=True))
    np.testing.assert_array_equal(vectors(one), vectors(twin))
    a, b = (data.load(folder, **stores) for folder, stores in (one, twin))
    assert (a.users, a.videos) == (b.users, b.videos)
    np.testing.assert_array_equal(a.view_video, b.view_video)
    assert not np.array_equal(a.positive_segment, b.positive_segment)


def test_everybody_is_tested_on_a_video_that_nobody_saw_earlier(planted: Callable[[World], Root]) -> None:
    folder, stores = planted(TINY)
    d = data.load(folder, **stores)
    split = splits.last_video(d, np.random.default_rng(0))
    assert len(split.test) == len(d.users) == TINY.users
    assert split.counts["test_candidates_with_edges"] == 0
    assert all(int(d.videos[v][1:]) >= TINY.old_videos for v in split.test.video)
    assert len(np.unique(d.positive_segment)) < len(d.positive_segment)  # old ones have several edges
    assert d.counts.users_ordered_by_row == d.counts.views_without_event == d.counts.labels_without_features == 0


def test_histories_follow_the_power_law(planted: Callable[[World], Root]) -> None:
    world = World(users=4000, old_videos=400, tail=2.0, segments=2, likes=1)
    folder, stores = planted(world)
    views = data.load(folder, **stores).view_user
    count = np.bincount(views) - 1  # without the last one
    assert count.min() == SHORTEST
    for times in (2, 4, 8):
        assert (count >= times * SHORTEST).mean() == pytest.approx(times**-2.0, rel=0.25)


def test_the_world_is_registered_and_refuses_what_is_no_share() -> None:
    planted = world_of("transgrec").planted
    assert (planted.knobs, planted.write) == (World, transgrec.write)
    for knob in ("rho", "hidden"):
        with pytest.raises(InputError, match=f"{knob} 1.5: it is a share"):
            World(**{knob: 1.5})  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_world_and_another_seed_another(tmp_path: Path) -> None:
    one, same, other = (
        data.load(tmp_path / name, **write(tmp_path / name, replace(TINY, seed=seed)))
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    assert one.fingerprint == same.fingerprint
    assert not np.array_equal(one.positive_segment, other.positive_segment)
    truth, another = ceiling(TINY), ceiling(replace(TINY, seed=1))
    assert not np.isin(truth.taste, another.taste).any()
    assert not np.isin(truth.latent, another.latent).any()


# ---- what is planted is found ----


def ndcg(root: Root, settings: TransGRecSettings) -> dict[str, float]:
    """NDCG@5 of the test, and what of it is more than chance with its interval."""
    rows = train(*root, settings, device="cpu", pictures=False, logger="none").metrics["rows"]
    row = next(r for r in rows if (r["row"], r["metric"]) == ("transgrec", "ndcg@5"))
    return {name: row[name] for name in ("mean", "minus_random_low", "minus_random_high")}


def test_the_graph_pays_where_tastes_are_shared(planted: Callable[[World], Root]) -> None:
    """K = 2 less K = 0, and their difference between a world of shared and one of independent tastes."""
    gain = {}
    for rho in (0.0, 1.0):
        root = planted(replace(HARD, rho=rho))
        found = {depth: ndcg(root, replace(QUICK, depth=depth)) for depth in (0, 2)}
        assert found[0]["minus_random_low"] > 0, rho
        gain[rho] = found[2]["mean"] - found[0]["mean"]
    assert gain[1.0] - gain[0.0] > 0.04
    assert gain[1.0] > 0.02
    assert gain[0.0] < 0.02


def test_nothing_is_found_in_the_noise_twin(planted: Callable[[World], Root]) -> None:
    for depth in (0, 2):
        found = ndcg(planted(replace(HARD, rho=1.0, noise_twin=True)), replace(QUICK, depth=depth))
        assert found["minus_random_low"] < 0 < found["minus_random_high"]
