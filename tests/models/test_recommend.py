"""Recommendations of fitted runs: the scores of the evaluation, whoever asks; strangers, new videos, reasons; and what
is refused. Worlds are planted, fits are short: what is right about a list is tested where its model is."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.baselines.fm import DeepFMSettings, FMSettings
from reelmill.models.baselines.fpmc.model import FPMC, FPMCTask
from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.baselines.vbpr import data as vbpr_data
from reelmill.models.baselines.vbpr.model import BPR, VBPR
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.baselines.vbpr.task import BPRTask, VBPRTask
from reelmill.models.core.advice import clock
from reelmill.models.core.base import Fitted
from reelmill.models.data.sources import counted
from reelmill.models.drnn import world as drnn
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.fit import train
from reelmill.models.jifr import world as jifr
from reelmill.models.jifr.recommend import widened
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.jifr.task import JIFRScores, JIFRTask
from reelmill.models.multimodal import world as multimodal
from reelmill.models.multimodal.settings import MultimodalSettings
from reelmill.models.prnet import world as prnet
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.prnet.task import PRNetTask
from reelmill.models.protocols.clicks.cases import Examples
from reelmill.models.protocols.clicks.data import load_clicks
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.models.protocols.highlights import data as prnet_data
from reelmill.models.protocols.items_and_frames import data as jifr_data
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.models.protocols.next_videos import data as drnn_data
from reelmill.models.protocols.segments import data
from reelmill.models.recommendations import AskedUser, Recommendations, recommend
from reelmill.models.registry import RECOMMENDERS, find
from reelmill.models.runs import find_run
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.task import TransGRecTask
from reelmill.models.transgrec.world import World, write
from reelmill.storage import FeatureStore, FeatureWriter, Root, Spec, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, VALID, Block

CPU = torch.device("cpu")
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
"""Sums over other batches differ in the last digits."""
COMMON: dict[str, Any] = {"dim": 8, "batch": 512, "epochs": 2, "patience": 0, "learning_rate": 1e-2, "split": "time"}


@dataclass(frozen=True)
class Place:
    """A root with a fitted run."""

    root: Path
    stores: dict[str, str]
    folder: Path
    fitted: Fitted

    def ask(self, **question: Any) -> Recommendations:
        """The answer of this run."""
        return recommend(self.root, run=self.folder.name, **question)


def fit(root: Path, stores: dict[str, str], settings: Any, model: str) -> Place:
    sources = counted(Root(root))  # all of them: in each of these roots an id means the same, whoever says it
    folder = train(root, stores, settings, model=model, sources=[*sources], device="cpu", pictures=False).folder
    return Place(root, stores, folder, runs.load(folder))


def add(store: FeatureStore, root: Path, like: str, name: str, masked: int = 0) -> None:
    """Put a new video into a store: the block of another one, a little changed; the first rows without data."""
    block = store.read(like)
    features = block.features * np.float32(1.01)
    mask = block.mask.copy()
    mask[:masked] = NO_DATA
    features[mask == NO_DATA] = np.nan
    columns = (block.segment_index, block.start_ms, block.stop_ms)
    with FeatureWriter(root, store.spec) as writer:
        writer.add(Block(name, features, mask, *columns))


@pytest.fixture(scope="module")
def transgrec(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("transgrec")
    name = write(root, World(users=40, old_videos=20, new_videos=8, segments=6))["features"]
    place = fit(root, {"features": name}, TransGRecSettings(dim=16, epochs=6, batch=200), "transgrec")
    add(open_store(root, name), root, "v0001", "brand-new", masked=1)
    return place


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("prnet")
    return root, prnet.write(root, prnet.World(users=40, equal=2, misses=2, annotated=1.0, newcomers=0.2))


PRNET = PRNetSettings(dim=32, window=96, batch=16, epochs=2, validation_share=0.05, test_share=0.4, tested="every")


@pytest.fixture(scope="module", params=["others", "earlier"])
def pr(request: pytest.FixtureRequest, steps: tuple[Path, dict[str, str]]) -> Place:
    chosen: dict[str, Any] = {"past": "earlier", "rank_by": "difference", "history_size": 2}
    place = fit(*steps, replace(PRNET, **(chosen if request.param == "earlier" else {})), "prnet")
    store = open_store(place.root, "planted")
    if "brand-new" not in store:
        add(store, place.root, "v001x0", "brand-new", masked=2)
    return place


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("jifr")
    stores = jifr.write(root, jifr.World(users=60, items=40, features=12, unframed=0.2))
    settings = JIFRSettings(dim=4, hidden=4, epochs=4, batch=200, test_negatives=20, test_repeats=1)
    place = fit(root, stores, settings, "jifr")
    add(open_store(root, stores["frames"]), root, place.fitted.identities["items"][0], "brand-new")
    add(open_store(root, stores["frames"]), root, place.fitted.identities["items"][0], "dark", masked=99)
    return place


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("clicks")
    stores = multimodal.write(root, multimodal.World(users=60, items=60, examples=40))
    add(open_store(root, stores["sound"]), root, open_store(root, stores["sound"]).keys()[0], "brand-new")
    return root, stores


OVER_FIELDS = {
    "multimodal": MultimodalSettings(**COMMON, hidden="16"),
    "concatenated": MultimodalSettings(**COMMON, hidden="16", modalities="concatenated", crossing=False),
    "fm": FMSettings(**COMMON),
    "deepfm": DeepFMSettings(**COMMON, hidden="16"),
}


@pytest.fixture(scope="module", params=list(OVER_FIELDS))
def ctr(request: pytest.FixtureRequest, clicks: tuple[Path, dict[str, str]]) -> Place:
    name = request.param if request.param in RECOMMENDERS else "multimodal"
    return fit(*clicks, OVER_FIELDS[request.param], name)


DRNN = DRNNSettings(
    dim=16, hidden=16, batch=128, epochs=2, patience=0, learning_rate=0.02, least_videos=5, longest=4, memory=6,
    test_share=0.4, least_posts=1,
)  # fmt: skip
NETWORKS = {
    "single": DRNN,
    "feeding": replace(DRNN, feed_history=True),
    "both": replace(DRNN, network="both", end="2026-01-02"),  # behind the last post
    "rnn": replace(DRNN, variant="rnn"),
}


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("drnn")
    stores = drnn.write(root, drnn.World(users=60, episodes=4, series=2))
    watches = [e for e in Tables(root).read("events").to_pylist() if e["kind"] == "watch"]
    newest = {e["user_id"]: e["time"] for e in watches}  # they stand by time
    first = {e["user_id"]: e for e in reversed(watches)}
    again = [{**e, "time": newest[user], "source": "again"} for user, e in first.items()]
    Tables(root).write("events", again)  # who watches a video again has watched it once
    return root, stores


@pytest.fixture(scope="module", params=list(NETWORKS))
def next_videos(request: pytest.FixtureRequest, histories: tuple[Path, dict[str, str]]) -> Place:
    return fit(*histories, NETWORKS[request.param], "drnn")


def scores(answer: Recommendations, key: str) -> dict[Any, float]:
    return {row[key]: row["score"] for row in answer.recommended}


def ranked(rows: Iterable[dict[str, Any]]) -> bool:
    rows = list(rows)
    falling = [row["score"] for row in rows]
    return falling == sorted(falling, reverse=True) and [row["rank"] for row in rows] == [*range(1, len(rows) + 1)]


# ---- TransGRec ----


def test_segments_have_the_scores_of_the_evaluation(transgrec: Place) -> None:
    task = TransGRecTask(data.load(transgrec.root, **transgrec.stores), transgrec.fitted.settings, CPU)
    cases, model = task.split.test, transgrec.fitted.model
    segments, place = np.unique(cases.segment, return_inverse=True)
    expected = task.scores(model, cases.candidate_user, model.embed(task.on_device(segments)), place)
    for case in range(0, len(cases), 7):
        here = slice(cases.start[case], cases.start[case + 1])
        user, video = task.data.users[cases.user[case]], task.data.videos[cases.video[case]]
        answer = transgrec.ask(user=user, video=video, top=99)
        assert answer.user == AskedUser(user, True, answer.user.how)
        assert ranked(answer.recommended)
        found = scores(answer, "segment_index")
        assert sorted(found) == task.data.segment_index[cases.segment[here]].tolist()
        mine = [found[i] for i in task.data.segment_index[cases.segment[here]].tolist()]
        np.testing.assert_allclose(mine, expected[here], **CLOSE)


def test_segments_of_all_videos_are_those_not_marked(transgrec: Place) -> None:
    marked = {r["video_id"] for r in Tables(transgrec.root).read("labels").to_pylist() if r["user_id"] == "u0003"}
    answer = transgrec.ask(user="u0003", top=10_000)
    rows = answer.recommended
    assert ranked(rows)
    assert not marked & {row["video_id"] for row in rows}
    assert "brand-new" in {row["video_id"] for row in rows}
    assert len(rows) == answer.candidates == (28 - len(marked)) * 6 + 5
    assert answer.left_out == {"videos_marked": len(marked), "videos_without_data": 0}
    one = transgrec.ask(user="u0003", video=rows[0]["video_id"], top=1).recommended[0]
    assert (one["segment_index"], one["clock"]) == (rows[0]["segment_index"], rows[0]["clock"])
    assert one["score"] == pytest.approx(rows[0]["score"], rel=1e-5)
    assert transgrec.ask(user="u0003", top=3).recommended == rows[:3]


def test_a_stranger_gets_what_all_like_on_average(transgrec: Place) -> None:
    everyone = [scores(transgrec.ask(user=u, video="v0001", top=9), "segment_index")
                for u in transgrec.fitted.identities["users"]]  # fmt: skip
    answer = transgrec.ask(user="u003", video="v0001", top=9)
    assert not answer.user.known
    assert "did you mean 'u00" in answer.user.how
    for segment, score in scores(answer, "segment_index").items():
        assert score == pytest.approx(np.mean([each[segment] for each in everyone]), rel=1e-4)
    anybody = transgrec.ask(video="v0001", top=9)
    assert anybody.recommended == answer.recommended
    assert "no user is named" in anybody.user.how


def test_segments_explain_themselves_by_the_nearest_liked_ones(transgrec: Place) -> None:
    labels = [(r["video_id"], r["segment_index"]) for r in Tables(transgrec.root).read("labels").to_pylist()
              if r["user_id"] == "u0003"]  # fmt: skip
    store, model = open_store(transgrec.root, "planted"), transgrec.fitted.model
    for row in transgrec.ask(user="u0003", top=2, why=True).recommended:
        v, *theirs = (
            model.embed(model.standardise(torch.from_numpy(store.rows([pair])))).numpy()[0]
            for pair in [(row["video_id"], row["segment_index"]), *labels]
        )
        cosine = [float(v @ t / max(np.linalg.norm(v) * np.linalg.norm(t), 1e-12)) for t in theirs]
        near = row["why"]["nearest_liked"]
        assert [n["cosine"] for n in near] == pytest.approx(sorted(cosine, reverse=True)[:3], abs=1e-5)
        assert all((n["video_id"], n["segment_index"]) in labels for n in near)
    own = transgrec.ask(user="u0003", video=labels[0][0], top=99, why=True).recommended
    assert all((n["video_id"], n["segment_index"]) != (row["video_id"], row["segment_index"])
               for row in own for n in row["why"]["nearest_liked"])  # fmt: skip


# ---- PR-Net ----


def test_steps_have_the_scores_of_the_evaluation(pr: Place) -> None:
    task = PRNetTask(prnet_data.load(pr.root, **pr.stores), pr.fitted.settings, CPU)
    cases, expected = task.test, task.scores(pr.fitted.model, task.test)
    alone = (task.past.of(cases.user, cases.video) < 0).all(axis=1)
    assert 0 < alone.sum() < len(cases)
    for case in [*range(0, len(cases), 5), int(np.flatnonzero(alone)[0])]:
        here = slice(cases.start[case], cases.start[case + 1])
        user, video = task.data.users[cases.user[case]], task.data.videos[cases.video[case]]
        answer = pr.ask(user=user, video=video, top=999)
        assert answer.user.known == (not alone[case])
        found = scores(answer, "start_ms")
        times = task.data.steps.start_ms[cases.segment[here]].tolist()
        assert sorted(found) == times
        np.testing.assert_allclose([found[ms] for ms in times], expected[here], **CLOSE)


def test_steps_of_all_videos_are_those_not_marked(pr: Place) -> None:
    answer = pr.ask(user="u001", top=100_000)
    names = {row["video_id"] for row in answer.recommended}
    assert ranked(answer.recommended)
    assert not any(name.startswith("v001x") for name in names)
    assert "brand-new" in names
    assert len(answer.recommended) == answer.candidates
    video = answer.recommended[0]["video_id"]
    one = scores(pr.ask(user="u001", video=video, top=999), "start_ms")
    for row in answer.recommended:
        if row["video_id"] == video:
            assert row["score"] == pytest.approx(one[row["start_ms"]], rel=1e-4, abs=1e-5)


def test_steps_for_somebody_without_a_history_follow_the_generic_preference(pr: Place) -> None:
    answer = pr.ask(user="u01", video="v001x0", top=3, why=True)
    assert not answer.user.known
    assert "generic preference g alone" in answer.user.how
    assert "did you mean 'u0" in answer.user.how
    assert all(row["why"] == {"generic": 1.0, "history": []} for row in answer.recommended)
    assert answer.recommended == pr.ask(video="v001x0", top=3, why=True).recommended


def test_steps_explain_themselves_by_past_highlights(pr: Place) -> None:
    task = PRNetTask(prnet_data.load(pr.root, **pr.stores), pr.fitted.settings, CPU)
    case = int(np.flatnonzero((task.past.of(task.test.user, task.test.video) >= 0).sum(1) > 1)[0])
    user, video = int(task.test.user[case]), int(task.test.video[case])
    first, size = task.data.steps.start[[video]], np.diff(task.data.steps.start)[[video]]
    reasons = pr.fitted.model.score(task.query(np.array([user]), np.array([video]), first, size))[1]
    history = task.past.of(np.array([user]), np.array([video]))[0]
    row = pr.ask(user=task.data.users[user], video=task.data.videos[video], top=1, why=True).recommended[0]
    step = int(np.flatnonzero(task.data.steps.start_ms[first[0] : first[0] + size[0]] == row["start_ms"])[0])
    weights = reasons.attention[0, step].numpy()
    best = np.argsort(-weights, kind="stable")[:3]
    assert row["why"]["generic"] == pytest.approx(float(reasons.generic[0, step]), rel=1e-4)
    assert [h["weight"] for h in row["why"]["history"]] == pytest.approx(weights[best].tolist(), rel=1e-4)
    videos = [task.data.videos[task.data.video[n]] for n in history[best]]
    assert [h["video_id"] for h in row["why"]["history"]] == videos


def test_without_a_generic_preference_a_stranger_is_refused(steps: tuple[Path, dict[str, str]]) -> None:
    place = fit(*steps, replace(PRNET, generic=False, epochs=1), "prnet")
    with pytest.raises(InputError, match="no generic preference"):
        place.ask(user="nobody", video="v001x0")
    assert place.ask(user="u001", video="v001x0").user.known


# ---- JIFR ----


def test_items_and_frames_have_the_scores_of_the_evaluation(items: Place) -> None:
    task = JIFRTask(jifr_data.load(items.root, **items.stores), items.fitted.settings, CPU)
    ranking, names = JIFRScores(task, items.fitted.model), items.fitted.identities
    every = ranking.items(np.arange(3))
    for user in range(3):
        answer = items.ask(user=names["users"][user], top=999)
        assert ranked(answer.recommended)
        found = scores(answer, "video_id")
        met = {r["video_id"] for r in Tables(items.root).read("events").to_pylist()
               if r["user_id"] == names["users"][user]}  # fmt: skip
        assert set(found) == (set(names["items"]) | {"brand-new"}) - met
        for row, name in enumerate(names["items"]):
            if name in found:
                assert found[name] == pytest.approx(float(every[user, row]), rel=1e-4, abs=1e-6)
        assert answer.left_out["new_items_without_frames"] == 1
    cases = task.frame_test
    expected = ranking.frames(cases)
    for case in range(0, len(cases), 20):
        here = slice(cases.start[case], cases.start[case + 1])
        user, item = names["users"][cases.user[case]], names["items"][cases.video[case]]
        answer = items.ask(user=user, video=item, top=99, why=True)
        by_time = [row["score"] for row in sorted(answer.recommended, key=lambda row: row["start_ms"])]
        np.testing.assert_allclose(by_time, expected[here], **CLOSE)
        rating = float(ranking.items(cases.user[[case]])[0, cases.video[case]])
        assert answer.about["rating"] == pytest.approx(rating, rel=1e-4, abs=1e-6)
        assert sum(row["attention"] for row in answer.recommended) == pytest.approx(1, abs=1e-5)
        habit = float((items.fitted.model.u[cases.user[case]] @ items.fitted.model.v[cases.video[case]]).detach())
        sight = sum(row["why"]["of_rating"] for row in answer.recommended)
        assert sight + answer.about["habit"] * habit == pytest.approx(rating, rel=1e-3, abs=1e-5)


def test_an_item_comes_with_the_frame_that_she_likes_best(items: Place) -> None:
    user = items.fitted.identities["users"][4]
    for row in items.ask(user=user, top=5, why=True).recommended:
        assert row["why"]["habit"] + row["why"]["sight"] == pytest.approx(1, abs=1e-5)
        if row["clock"] is None:
            assert row["why"] == {"habit": 1.0, "sight": 0.0, "frames": []}
            continue
        best = items.ask(user=user, video=row["video_id"], top=1).recommended[0]
        assert (row["start_ms"], row["clock"]) == (best["start_ms"], best["clock"])
        assert row["frame_score"] == pytest.approx(best["score"], rel=1e-5)
        assert row["attention"] == pytest.approx(row["why"]["sight"] * best["attention"], rel=1e-4)
        weights = [frame["attention"] for frame in row["why"]["frames"]]
        assert weights == sorted(weights, reverse=True)


def test_a_new_item_is_rated_by_sight_and_a_stranger_is_the_mean_user(items: Place) -> None:
    model, names = items.fitted.model, items.fitted.identities
    answer = items.ask(user=names["users"][0], video="brand-new", top=99)
    assert answer.about["new"]
    seen = items.ask(user=names["users"][0], top=999)
    row = next(r for r in seen.recommended if r["video_id"] == "brand-new")
    assert row["new"]
    assert row["score"] == pytest.approx(answer.about["rating"], rel=1e-5)
    features = open_store(items.root, "planted").read("brand-new").features
    shown = Frames(model.standardise(torch.from_numpy(features)), torch.tensor([0, len(features)]))
    wider = widened(model, 1)
    w, v = model.w[0], torch.zeros(1, model.settings.dim)
    with torch.no_grad():
        alpha = model.visual(v, shown)
        x = (alpha * model.p(shown.features)).sum(0)
        both = model.rating.a(torch.stack([model.u[0], w])) + model.rating.b(torch.stack([v[0], x]))
        beta = torch.relu(both) @ model.rating.out.weight[0]
        expected = float(beta.softmax(0)[1] * (w @ x))
    assert answer.about["rating"] == pytest.approx(expected, rel=1e-4)
    assert torch.equal(wider.u[-1], model.u.mean(0))
    stranger = items.ask(user="nobody", video=names["items"][0], top=99)
    assert not stranger.user.known
    mean = [scores(items.ask(user=u, video=names["items"][0], top=99), "start_ms") for u in names["users"]]
    for ms, score in scores(stranger, "start_ms").items():
        assert score == pytest.approx(float(np.mean([each[ms] for each in mean])), rel=1e-3, abs=1e-6)


# ---- over fields ----


def test_items_have_the_click_probabilities_of_the_evaluation(ctr: Place) -> None:
    clicks = load_clicks(ctr.root, **ctr.stores)
    task = ClickTask(ctr.fitted.name, find(ctr.fitted.name).model, clicks, ctr.fitted.settings, CPU)
    for user in (0, 7):
        answer = ctr.ask(user=clicks.users[user], top=999)
        assert answer.user.known
        assert ranked(answer.recommended)
        found = scores(answer, "video_id")
        number = np.array([clicks.items.index(name) for name in found if name in clicks.items])
        asked = Examples(np.full(len(number), user), number, np.zeros(len(number), np.float32))
        expected = task.predict(ctr.fitted.model, asked)
        np.testing.assert_allclose([found[clicks.items[n]] for n in number], expected, **CLOSE)
        met = {clicks.items[i] for i in clicks.item[clicks.user == user]}
        assert not met & set(found)
        assert "brand-new" in found
        seen = next(iter(met))
        asked = Examples(np.array([user]), np.array([clicks.items.index(seen)]), np.zeros(1, np.float32))
        one = ctr.ask(user=clicks.users[user], video=seen).recommended[0]
        assert one["score"] == pytest.approx(float(task.predict(ctr.fitted.model, asked)[0]), rel=1e-5)


def test_a_new_user_is_judged_by_her_attributes(ctr: Place) -> None:
    tables, fields = Tables(ctr.root), {f.name: f for f in ctr.fitted.model.fields}
    known = next(r for r in tables.read("users").to_pylist() if r["user_id"] == "u0003")
    tables.write("users", [{"user_id": "newcomer", "attributes": known["attributes"]}])
    answer = ctr.ask(user="newcomer", top=999)
    assert not answer.user.known
    assert "their attributes (a0, a1, a2, a3)" in answer.user.how
    clicks = load_clicks(ctr.root, **ctr.stores)
    task = ClickTask(ctr.fitted.name, find(ctr.fitted.name).model, clicks, ctr.fitted.settings, CPU)
    everything = torch.arange(len(clicks.items))
    values = task.values(torch.full_like(everything, clicks.users.index("u0003")), everything)
    values["user_id"] = torch.full_like(values["user_id"], -1)
    expected = ctr.fitted.model.score(values).tolist()
    found = scores(answer, "video_id")
    np.testing.assert_allclose([found[item] for item in clicks.items], expected, **CLOSE)
    nobody = ctr.ask(user="nobody", top=999)
    assert "nothing is known of them" in nobody.user.how
    assert scores(nobody, "video_id") != found
    assert fields["user_id"].side == "user"


def test_a_click_explains_itself(ctr: Place) -> None:
    row = ctr.ask(user="u0003", video="v0003", why=True).recommended[0]
    pairs = row["why"]["pairs"]
    values = [abs(next(v for k, v in pair.items() if k != "fields")) for pair in pairs]
    assert len(pairs) == 3
    assert values == sorted(values, reverse=True)
    if ctr.fitted.name == "multimodal":
        fused = ctr.fitted.settings.modalities == "fused"
        assert (set(row["why"]["modalities"]) == {"picture", "sound"}) == fused
        assert sum(row["why"]["modalities"].values()) == pytest.approx(1.0 if fused else 0.0, abs=1e-5)
        mute = ctr.ask(user="u0003", video="brand-new", why=True).recommended[0]
        assert mute["new"]
        assert mute["why"]["modalities"].get("picture", 0) == 0
    else:
        model = ctr.fitted.model
        assert pairs[0].keys() == {"fields", "product"}
        assert all(set(pair["fields"]) <= {f.name for f in model.fields} for pair in pairs)


# ---- the Dynamic RNN ----


def test_next_videos_are_those_of_the_evaluation(next_videos: Place) -> None:
    settings, model = next_videos.fitted.settings, next_videos.fitted.model
    histories = drnn_data.load(next_videos.root, **{"posts": ""} | next_videos.stores)
    task = DRNNTask(histories, settings, CPU)
    late = torch.tensor([int(max(histories.watch_ms.max(), histories.post_ms.max(initial=0))) + 1])
    for number in range(0, len(task.split.users), 9):
        user = histories.users[task.split.users[number]]
        past = [stream.until(torch.tensor([number]), late) for stream in (task.watched, task.posted)]
        rows, chances = model.recommend(*past, 5)
        answer = next_videos.ask(user=user, top=5)
        assert [row["video_id"] for row in answer.recommended] == [
            histories.videos[task.split.videos[row]] for row in rows[0].tolist()
        ]
        np.testing.assert_allclose([row["score"] for row in answer.recommended], chances[0], **CLOSE)
        at_once = model.score(*past)[0]
        video = histories.videos[task.split.videos[int(rows[0, 0])]]
        one = next_videos.ask(user=user, video=video)
        assert one.recommended[0]["score"] == pytest.approx(float(at_once[rows[0, 0]]), rel=1e-5)
        assert one.about == {"rank_among_unwatched": 1, "watched": False}


def test_next_videos_at_the_moment_of_the_test_are_those_of_the_test(
    histories: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """A root that holds what was known then: only ages between deeds count, not those until now."""
    place = fit(*histories, NETWORKS["single"], "drnn")
    task = DRNNTask(drnn_data.load(place.root, **{"posts": ""} | place.stores), place.fitted.settings, CPU)
    events = Tables(place.root).read("events").to_pylist()
    known = [e for e in events if e["time"].timestamp() * 1000 < task._known_until]
    Tables(tmp_path).write("events", known)
    for name in ("features", "runs"):
        (tmp_path / name).symlink_to(place.root / name)
    rows, chances = place.fitted.model.recommend(*task._pasts(task.test[:6]), 5)
    for number, case in enumerate(task.test[:6]):
        answer = recommend(tmp_path, task.data.users[task.split.users[case]], run=place.folder.name, top=5)
        expected = [task.data.videos[task.split.videos[row]] for row in rows[number].tolist()]
        assert [row["video_id"] for row in answer.recommended] == expected
        np.testing.assert_allclose([row["score"] for row in answer.recommended], chances[number], **CLOSE)


def test_next_videos_for_somebody_of_whom_nothing_is_known(next_videos: Place) -> None:
    if next_videos.fitted.settings.variant == "rnn":
        answer = next_videos.ask(user="nobody", top=2)
        assert not answer.user.known
        assert "the learned start" in answer.user.how
    else:
        with pytest.raises(InputError, match=r"user 'u000' has not .*did you mean 'u00"):
            next_videos.ask(user="u000")
    if next_videos.fitted.settings.network == "both":
        posting = next_videos.ask(user="u0060", top=2)  # a stranger who posts
        assert posting.user.known
        assert "posts" in posting.user.how


def test_next_videos_explain_themselves_by_what_was_watched(next_videos: Place) -> None:
    user = drnn_data.load(next_videos.root, **{"posts": ""} | next_videos.stores).users[3]
    seen = {r["video_id"] for r in Tables(next_videos.root).read("events").to_pylist()
            if r["user_id"] == user and r["kind"] == "watch"}  # fmt: skip
    for row in next_videos.ask(user=user, top=3, why=True).recommended:
        near = row["why"]["nearest_watched"]
        assert {n["video_id"] for n in near} <= seen
        assert [n["cosine"] for n in near] == sorted((n["cosine"] for n in near), reverse=True)
        assert all(0 < n["weight"] <= 1 and n["months_ago"] >= 0 for n in near)
    with pytest.raises(InputError, match="one output for each"):
        next_videos.ask(user=user, video="v9999")


# ---- the floors: BPR, VBPR, FPMC ----


@pytest.fixture(scope="module", params=["bpr", "vbpr"])
def pairs(request: pytest.FixtureRequest, sparse: tuple[Path, dict[str, str]]) -> Place:
    root, stores = sparse
    chosen: dict[str, Any] = {"dim": 4, "epochs": 2, "batch": 256, "liked": 4.0}
    if request.param == "bpr":
        return fit(root, {}, BPRSettings(**chosen), "bpr")
    return fit(root, {"features": stores["sound"]}, VBPRSettings(**chosen, visual_dim=3), "vbpr")


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """So few ratings that some items are in the test alone; and a video in the store that nobody has rated."""
    root = tmp_path_factory.mktemp("sparse")
    stores = multimodal.write(root, multimodal.World(users=30, items=120, examples=10))
    add(open_store(root, stores["sound"]), root, open_store(root, stores["sound"]).keys()[0], "brand-new")
    return root, stores


def pairs_task(place: Place) -> BPRTask:
    task = VBPRTask if place.fitted.name == "vbpr" else BPRTask
    return task(vbpr_data.load(place.root, **place.stores), place.fitted.settings, CPU)  # type: ignore[arg-type]


def test_items_have_the_ratings_of_the_evaluation(pairs: Place) -> None:
    """Those of the training; and by VBPR, those of the second test."""
    task, model = pairs_task(pairs), pairs.fitted.model
    assert isinstance(model, BPR)
    names, rating = pairs.fitted.identities, (model.users() @ model.items().T).numpy()
    everything = list(names["items"])
    if isinstance(task, VBPRTask):
        assert isinstance(model, VBPR)
        cold = [task.data.items[i] for i in task.split.items[task.n :]]
        assert cold
        everything += cold
        rating = np.concatenate([rating, (model.users() @ model.embed(task.cold).T).numpy()], axis=1)
    for row in (0, 5):
        user = names["users"][row]
        met = {r["video_id"] for r in Tables(pairs.root).read("events").to_pylist() if r["user_id"] == user}
        answer = pairs.ask(user=user, top=999)
        assert answer.user.known
        assert ranked(answer.recommended)
        found = scores(answer, "video_id")
        assert not met & set(found)
        assert ("brand-new" in found) == (pairs.fitted.name == "vbpr")
        judged = [n for n, item in enumerate(everything) if item in found]
        assert len(judged) > 3
        np.testing.assert_allclose([found[everything[n]] for n in judged], rating[row, judged], **CLOSE)
        seen = next(n for n, item in enumerate(names["items"]) if item in met)
        one = pairs.ask(user=user, video=names["items"][seen])
        assert one.recommended[0]["score"] == pytest.approx(float(rating[row, seen]), rel=1e-4, abs=1e-6)
        assert (one.about["met"], one.about["new"]) == (True, False)
        best = answer.recommended[0]["video_id"]
        assert pairs.ask(user=user, video=best).about["rank_among_unmet"] == 1


def test_a_stranger_gets_the_mean_of_the_users_and_a_rating_its_terms(pairs: Place) -> None:
    names = pairs.fitted.identities
    item = names["items"][3]
    stranger = pairs.ask(user="u00010", video=item)
    assert not stranger.user.known
    assert "did you mean 'u0010'" in stranger.user.how
    each = [pairs.ask(user=user, video=item).recommended[0]["score"] for user in names["users"]]
    assert stranger.recommended[0]["score"] == pytest.approx(float(np.mean(each)), rel=1e-3, abs=1e-6)
    user = names["users"][2]
    met = {r["video_id"] for r in Tables(pairs.root).read("events").to_pylist() if r["user_id"] == user}
    for row in pairs.ask(user=user, top=4, why=True).recommended:
        why = row["why"]
        near = why.pop("nearest_liked")
        assert why.keys() == {"habit", "popularity"} | ({"sight"} if pairs.fitted.name == "vbpr" else set())
        assert sum(why.values()) == pytest.approx(row["score"], rel=1e-4, abs=1e-6)
        assert {n["video_id"] for n in near} <= met
        assert [n["cosine"] for n in near] == sorted((n["cosine"] for n in near), reverse=True)


def test_what_bpr_and_vbpr_cannot_rate_is_told(pairs: Place) -> None:
    lacks = "name a run of vbpr" if pairs.fitted.name == "bpr" else "no usable features of it either"
    with pytest.raises(InputError, match=f"'v999' is not among the .* items that run {pairs.folder.name}.*{lacks}"):
        pairs.ask(user="u0001", video="v999")
    if pairs.fitted.name == "vbpr":
        answer = pairs.ask(user="u0001", video="brand-new", why=True)
        assert answer.about["new"]
        assert answer.recommended[0]["why"]["habit"] == 0


@pytest.fixture(scope="module")
def chain(histories: tuple[Path, dict[str, str]]) -> Place:
    shared = {name: getattr(DRNN, name) for name in ("epochs", "patience", "least_videos", "test_share")}
    return fit(histories[0], {}, FPMCSettings(dim=8, batch=128, basket=2, **shared), "fpmc")


def test_fpmc_ranks_as_in_its_test(chain: Place, tmp_path: Path) -> None:
    """A root that holds what was known then."""
    task = FPMCTask(drnn_data.load(chain.root), chain.fitted.settings, CPU)  # type: ignore[arg-type]
    model = chain.fitted.model
    assert isinstance(model, FPMC)
    known = [e for e in Tables(chain.root).read("events").to_pylist()
             if e["time"].timestamp() * 1000 < task._known_until]  # fmt: skip
    Tables(tmp_path).write("events", known)
    (tmp_path / "runs").symlink_to(chain.root / "runs")
    cases = task.test[:6]
    past = task._pasts(cases)[0]
    expected = model.score(past)
    expected[past.row, past.member] = -torch.inf
    videos = [task.data.videos[v] for v in task.split.videos]
    for case, row in zip(cases.tolist(), expected, strict=True):
        user = task.data.users[task.split.users[case]]
        answer = recommend(tmp_path, user, run=chain.folder.name, top=5, why=True)
        best = row.argsort(descending=True, stable=True)[:5]
        assert [r["video_id"] for r in answer.recommended] == [videos[n] for n in best.tolist()]
        np.testing.assert_allclose([r["score"] for r in answer.recommended], row[best], **CLOSE)
        for r in answer.recommended:
            assert sum(r["why"].values()) == pytest.approx(r["score"], rel=1e-4, abs=1e-6)
        one = recommend(tmp_path, user, video=videos[int(best[2])], run=chain.folder.name)
        assert one.about == {"rank_among_unwatched": 3, "watched": False}
        watched = recommend(tmp_path, user, video=videos[int(past.member[past.row == cases.tolist().index(case)][0])],
                            run=chain.folder.name)  # fmt: skip
        assert watched.about["watched"]


def test_fpmc_gives_a_stranger_what_most_watch(chain: Place) -> None:
    answer = chain.ask(user="nobody", top=3, why=True)
    assert not answer.user.known
    assert "what most users watch" in answer.user.how
    assert all(row["why"]["taste"] == row["why"]["follows"] == 0 for row in answer.recommended)
    bias = chain.fitted.model.bias.detach()
    assert answer.recommended[0]["score"] == pytest.approx(float(bias.max()))
    with pytest.raises(InputError, match=r"'v9999' is not among the .* videos .* fit again to add more"):
        chain.ask(user="nobody", video="v9999")


# ---- runs and roots ----


def test_the_newest_run_counts_unless_one_is_named(tmp_path: Path) -> None:
    name = write(tmp_path, World(users=20, old_videos=12, new_videos=4, segments=4))["features"]
    with pytest.raises(InputError, match="no complete run: fit"):
        recommend(tmp_path, "u0001")
    settings = [TransGRecSettings(dim=4, epochs=1, batch=200, seed=seed) for seed in (0, 1)]
    old, new = (train(tmp_path, name, s, device="cpu", pictures=False).folder for s in settings)
    (tmp_path / "runs" / "transgrec-00000000").mkdir()
    assert find_run(tmp_path).folder == new
    assert find_run(tmp_path, old.name).folder == old
    assert find_run(tmp_path, "transgrec").folder == new
    assert recommend(tmp_path, "u0001", run=old.name).run == old.name
    with pytest.raises(InputError, match=f"did you mean '{old.name}'"):
        find_run(tmp_path, old.name[:-1] + "x")
    with pytest.raises(InputError, match="not complete"):
        find_run(tmp_path, "transgrec-00000000")
    with pytest.raises(InputError, match="top 0"):
        recommend(tmp_path, "u0001", top=0)
    folder = tmp_path / "runs" / "audiovisual-00000000"  # what tells classes, and does not recommend
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    assert find_run(tmp_path).folder == new
    for run in (old, new):
        (run / "metrics.json").unlink()
    with pytest.raises(InputError, match="recommender that recommends; known: transgrec"):
        recommend(tmp_path, "u0001")
    (folder / "metrics.json").unlink()
    with pytest.raises(InputError, match="is not complete; the same command goes on"):
        recommend(tmp_path, "u0001")


def test_a_store_that_is_missing_or_another_one_is_refused(transgrec: Place, tmp_path: Path) -> None:
    for name in ("tables", "runs"):
        (tmp_path / name).symlink_to(transgrec.root / name)
    store = transgrec.stores["features"]
    with pytest.raises(InputError, match=f"reads the store {store}, which is missing in .* .there is none"):
        recommend(tmp_path, "u0001")
    spec = replace(open_store(transgrec.root, store).spec, dim=5)
    with FeatureWriter(tmp_path, spec) as writer:
        ones, index = np.ones((1, 5), np.float32), np.zeros(1, np.int32)
        writer.add(Block("v0001", ones, np.full(1, VALID, np.uint8), index, index.astype(np.int64), index + 5000))
    with pytest.raises(InputError, match=f"is missing in .* .there are {spec.name}"):
        recommend(tmp_path, "u0001")
    (tmp_path / "features" / spec.name).rename(tmp_path / "features" / store)
    with pytest.raises(InputError, match=f"that folder holds {spec.name} of dimension 5"):
        recommend(tmp_path, "u0001")


def test_a_video_without_features_is_refused(transgrec: Place, items: Place, ctr: Place) -> None:
    with pytest.raises(InputError, match=r"'v001' has no features .*did you mean 'v0.*extract"):
        transgrec.ask(user="u0001", video="v001")
    with pytest.raises(InputError, match="none of the 12 rows of video 'dark'"):
        items.ask(user=items.fitted.identities["users"][0], video="dark")
    with pytest.raises(InputError, match="'v999' is in no table or store"):
        ctr.ask(user="u0001", video="v999")


def test_an_answer_is_plain_data_with_titles(transgrec: Place) -> None:
    Tables(transgrec.root).write("videos", [{"video_id": "v0001", "title": "Cats & dogs"}, {"video_id": "v0002"}])
    answer = transgrec.ask(user="u0001", video="v0001", why=True)
    assert json.loads(json.dumps(asdict(answer), allow_nan=False)) == asdict(answer)
    assert answer.recommended[0]["title"] == "Cats & dogs"
    assert "title" not in transgrec.ask(user="u0001", video="v0002").recommended[0]
    first = answer.recommended[0]
    assert first["clock"] == f"0:{first['start_ms'] // 1000:02}–0:{first['stop_ms'] // 1000:02}"


def test_a_store_of_whole_videos_makes_whole_videos_the_items(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spec = Spec(extractor="test", layer="fc", dim=6, rows="video")
    with FeatureWriter(tmp_path, spec) as writer:
        for video in range(20):
            zero = np.zeros(1, np.int64)
            vector = rng.standard_normal((1, 6)).astype(np.float32)
            writer.add(Block(f"v{video:02}", vector, np.ones(1, np.uint8), zero.astype(np.int32), zero, zero + 9000))
    drawn = {(u, s): (rng.permutation(14)[:6] if s == "train" else 14 + rng.permutation(5)[:2])
             for u in range(8) for s in ("train", "test")}  # fmt: skip
    events = [
        {"user_id": f"u{user}", "video_id": f"v{video:02}", "kind": "watch", "source": source, "source_row": video + 1}
        for (user, source), some in drawn.items()
        for video in some.tolist()
    ]
    Tables(tmp_path).write("events", events)
    settings = TransGRecSettings(dim=4, epochs=1, batch=50, negatives=2, split="given")
    place = fit(tmp_path, {"features": spec.name}, settings, "transgrec")
    seen = {event["video_id"] for event in events if event["user_id"] == "u1"}
    answer = place.ask(user="u1", top=99, why=True)
    assert (answer.unit, answer.candidates) == ("video", 20 - len(seen))
    model, store = place.fitted.model, open_store(tmp_path, spec.name)
    row = place.fitted.row("users", "u1")
    for one in answer.recommended:
        assert one["video_id"] not in seen
        assert one.keys() == {"rank", "video_id", "score", "why"}
        vector = torch.from_numpy(store.read(one["video_id"]).features.copy())
        assert one["score"] == pytest.approx(float(model.score(torch.tensor([row]), vector)[0]), rel=1e-4, abs=1e-7)
        assert {near["video_id"] for near in one["why"]["nearest_liked"]} <= seen


@pytest.mark.parametrize(
    ("start", "stop", "text"),
    [(5000, 10_000, "0:05–0:10"), (23_000, 23_680, "0:23.0–0:23.7"), (3_595_000, 3_600_000, "59:55–1:00:00")],
)
def test_clocks(start: int, stop: int, text: str) -> None:
    assert clock(start, stop) == text
