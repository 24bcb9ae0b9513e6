"""Each equation of the Dynamic RNN against a statement with plain loops; gradients, selection, lists, special cases."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.drnn import parts as drnn_parts
from reelmill.models.drnn.model import DRNN
from reelmill.models.drnn.parts import Batch, Gru, Relevance, Videos, draw_pairs
from reelmill.models.drnn.settings import VARIANTS, DRNNSettings
from reelmill.models.protocols.next_videos.history import MONTH_MS, Past, Stream
from reelmill.storage.errors import InputError

DIM, HIDDEN, PICTURE, TEXT, VIDEO_TOPICS, POST_TOPICS = 3, 4, 5, 4, 3, 2
Deeds = list[list[tuple[int, float]]]
"""For each row its past deeds (member, age in months), oldest first."""
Numbers = dict[str, np.ndarray]


@dataclass
class World:
    """A batch as plain lists."""

    videos: Videos
    watched: Deeds
    posted: Deeds
    after: list[list[int]]
    examples: int
    triplet: list[tuple[int, int, int]]
    pair: list[tuple[int, int, int]]

    def batch(self) -> Batch:
        width = max(1, *map(len, self.after))
        after = torch.tensor([row + [-1] * (width - len(row)) for row in self.after])
        triplet, pair = (torch.tensor(rows).long().view(-1, 3) for rows in (self.triplet, self.pair))
        return Batch(self.videos, past(self.watched), past(self.posted), after, self.examples, triplet, pair)


def past(rows: Deeds) -> Past:
    flat = [deed for row in rows for deed in row]
    start = np.cumsum([0, *map(len, rows)])
    member, age = torch.tensor([m for m, _ in flat]).long(), torch.tensor([a for _, a in flat], dtype=torch.float64)
    return Past(member, age, torch.from_numpy(start))


def corpus(videos: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Videos:
    """Video 1 has no text, video 2 no picture, the topics of video 3 are not known."""
    rng = np.random.default_rng(seed)
    picture, text = rng.normal(size=(videos, PICTURE)), rng.normal(size=(videos, TEXT))
    has_picture, has_text = np.arange(videos) != 2, np.arange(videos) != 1
    mixture = rng.dirichlet(np.ones(VIDEO_TOPICS), videos)
    mixture[3:4] = 0
    made = (picture * has_picture[:, None], text * has_text[:, None], mixture)
    return Videos(*(torch.from_numpy(part).to(dtype) for part in made))


def deeds(rng: np.random.Generator, rows: int, members: int) -> Deeds:
    """Row 0 has none."""
    return [
        [(int(rng.integers(members)), float(age)) for age in -np.sort(-rng.uniform(0, 30, rng.integers(1, 6)))]
        if row
        else []
        for row in range(rows)
    ]


def world(videos: int = 6, rows: int = 5, examples: int = 3, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    whole = [0, *range(3, videos)]
    pair = [(int(v), int(rng.choice([w for w in whole if w != v])), int(rng.choice(whole))) for v in whole]
    return World(
        corpus(videos, seed),
        deeds(rng, rows, videos),
        deeds(rng, rows, POST_TOPICS)[::-1],
        [rng.integers(videos, size=length).tolist() for length in rng.permutation(rows)],
        examples,
        [(i, int(rng.integers(rows)), int(rng.integers(rows))) for i in range(examples)],
        pair,
    )


def settings(**changes: object) -> DRNNSettings:
    """Margins, decay and weights such that every term counts."""
    known = {"dim": DIM, "hidden": HIDDEN, "memory": 2, "semantic_margin": 2.5, "relevance_margin": 2.5, "l2": 0.01}
    return DRNNSettings.from_dict({**known, "semantic": 0.7, "interest": 0.3, "relevance": 0.6, **changes})


def network(chosen: DRNNSettings, videos: int = 6, seed: int = 0) -> DRNN:
    model = DRNN(chosen, videos, PICTURE, TEXT, VIDEO_TOPICS, POST_TOPICS).double()
    model.initialise(torch.Generator().manual_seed(seed))
    if chosen.variant == "static_dnn":  # from zero, a row with u = 0 would sit where ReLU has no gradient
        for layer in (model.tower[0], model.tower[2]):
            layer.bias.data.copy_(torch.linspace(-0.3, 0.7, HIDDEN))
    return model


def numbers(model: DRNN) -> Numbers:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


# ---- the paper in plain loops ----


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def at_length_one(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum()) if (x != 0).any() else x


def plain_decayed(row: list[tuple[int, float]], values: np.ndarray, decay: float) -> np.ndarray:
    """Eq. 2 and 3 of one row."""
    total, norm = np.zeros(values.shape[1]), 0.0
    for member, age in row:
        total = total + values[member] * np.exp(-decay * abs(age))
        norm += np.exp(-decay * abs(age))
    return total / norm if row else total


def plain_embedding(p: Numbers, w: World, i: int) -> tuple[np.ndarray, np.ndarray]:
    """v_e and t_e of one video."""
    v, t = p["t_v.weight"] @ array(w.videos.picture)[i], p["t_t.weight"] @ array(w.videos.text)[i]
    return at_length_one(v), at_length_one(t)


def plain_gru(p: Numbers, inputs: list[np.ndarray], hidden: int, name: str = "gru.") -> list[np.ndarray]:
    """Eq. 5."""
    u, w, w_h = p[f"{name}u.weight"], p[f"{name}w_gates.weight"], p[f"{name}w_new.weight"]
    u_z, u_r, u_h = u[:hidden], u[hidden : 2 * hidden], u[2 * hidden :]
    w_z, w_r = w[:hidden], w[hidden:]
    h, states = np.zeros(hidden), []
    for x in inputs:
        z, r = sigmoid(u_z @ x + w_z @ h), sigmoid(u_r @ x + w_r @ h)
        new = np.tanh(u_h @ x + w_h @ (h * r))
        h = (1 - z) * h + z * new
        states.append(h)
    return states


def plain_input(p: Numbers, s: DRNNSettings, w: World, i: int) -> np.ndarray:
    """What the network gets of one video."""
    if s.variant == "rnn":
        return array(w.videos.text)[i]
    joint = np.concatenate(plain_embedding(p, w, i))
    return joint if s.variant == "rnn_sem" else p["t_x.weight"] @ joint


def plain_topics(s: DRNNSettings, w: World, row: int) -> np.ndarray:
    """u of one row."""
    decay = 0.0 if s.variant == "static_dnn" else s.decay
    watched = plain_decayed(w.watched[row], array(w.videos.mixture), decay)
    posted = plain_decayed(w.posted[row], np.eye(POST_TOPICS), decay)
    return {"single": watched, "cross": posted, "both": np.concatenate([watched, posted])}[s.network]


def plain_states(p: Numbers, s: DRNNSettings, w: World, row: int, fed: list[int]) -> list[np.ndarray]:
    """States after x_1 and each of the videos fed; those before the first prediction are left out."""
    first = p["start"] if "start" in p else p["t_u.weight"] @ plain_topics(s, w, row)
    if s.variant == "static_dnn":
        h = np.maximum(p["tower.0.weight"] @ first + p["tower.0.bias"], 0)
        return [np.maximum(p["tower.2.weight"] @ h + p["tower.2.bias"], 0)] * (1 + len(fed))
    before = [i for i, _ in w.watched[row]][-s.memory :] if "start" in p or s.feed_history else []
    return plain_gru(p, [first, *(plain_input(p, s, w, i) for i in [*before, *fed])], s.hidden)[len(before) :]


def plain_chances(p: Numbers, h: np.ndarray) -> list[float]:
    """Eq. 8, all videos."""
    powers = [np.exp(row @ h) for row in p["t_p.weight"]]
    return [power / sum(powers) for power in powers]


def plain_recommend(p: Numbers, s: DRNNSettings, w: World) -> float:
    """Eq. 7."""
    sums = []
    for row in range(w.examples):
        if w.after[row]:
            states = plain_states(p, s, w, row, w.after[row][:-1])
            sums.append(sum(-np.log(plain_chances(p, h)[v]) for h, v in zip(states, w.after[row], strict=True)))
    return float(np.mean(sums)) if sums else 0.0


def plain_semantic(p: Numbers, s: DRNNSettings, w: World) -> float:
    """Eq. 1."""
    terms = []
    for i, lends_text, lends_picture in w.pair:
        (v, t), other_t = plain_embedding(p, w, i), plain_embedding(p, w, lends_text)[1]
        other_v = plain_embedding(p, w, lends_picture)[0]
        terms.append(max(0, s.semantic_margin - v @ t + v @ other_t) + max(0, s.semantic_margin - v @ t + other_v @ t))
    return float(np.mean(terms)) if terms else 0.0


def plain_interest(p: Numbers, s: DRNNSettings, w: World) -> float:
    """Eq. 4 with eq. 3."""
    decay = 0.0 if s.variant == "static_dnn" else s.decay
    joint = np.array([np.concatenate(plain_embedding(p, w, i)) for i in range(len(w.videos.text))])
    terms = []
    for row in range(w.examples):
        if w.watched[row] and (plain_topics(s, w, row) != 0).any():
            a, b = (
                p["t_u.weight"] @ plain_topics(s, w, row),
                p["t_x.weight"] @ plain_decayed(w.watched[row], joint, decay),
            )
            if s.unit_interest:
                a, b = at_length_one(a), at_length_one(b)
            terms.append(((a - b) ** 2).sum())
    return float(np.mean(terms)) if terms else 0.0


def plain_relevance(p: Numbers, s: DRNNSettings, w: World) -> float:
    """Eq. 6."""
    last = [at_length_one(plain_states(p, s, w, row, after[:-1])[-1]) for row, after in enumerate(w.after)]
    terms = [max(0, s.relevance_margin - last[i] @ last[j] + last[i] @ last[n]) for i, j, n in w.triplet]
    return float(np.mean(terms)) if terms else 0.0


PARTS: dict[str, Callable[[Numbers, DRNNSettings, World], float]] = {
    "recommend": plain_recommend,
    "semantic": plain_semantic,
    "interest": plain_interest,
    "relevance": plain_relevance,
}
TERMS = {
    "drnn": ("recommend", "semantic", "interest", "relevance"),
    "rnn": ("recommend",),
    "rnn_sem": ("recommend", "semantic"),
    "rnn_no_rel": ("recommend", "semantic", "interest"),
    "static_dnn": ("recommend", "semantic", "interest", "relevance"),
}


def plain_loss(p: Numbers, s: DRNNSettings, w: World) -> float:
    """Eq. 9."""
    weights = {"recommend": 1.0, "semantic": s.semantic, "interest": s.interest, "relevance": s.relevance}
    total = sum(weights[name] * PARTS[name](p, s, w) for name in TERMS[s.variant])
    return total + s.l2 * sum(float((value**2).sum()) for value in p.values())


# ---- equations ----

SHAPES = ({}, {"videos": 4, "rows": 3, "examples": 3, "seed": 1}, {"videos": 9, "rows": 7, "examples": 2, "seed": 2})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["single", "cross", "both"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_is_equation_9_and_its_terms(variant: str, name: str, shape: dict[str, int]) -> None:
    w, chosen = world(**shape), settings(variant=variant, network=name, feed_history=name == "both")
    model = network(chosen, len(w.videos.text), seed=shape.get("seed", 0))
    terms, p = model.loss(w.batch()), numbers(model)
    assert set(terms) - {"loss", "l2", "interest_norm"} == set(TERMS[variant])
    for term in TERMS[variant]:
        expected = PARTS[term](p, chosen, w)
        assert expected > 0
        assert terms[term].item() == pytest.approx(expected, rel=1e-10), term
    assert terms["loss"].item() == pytest.approx(plain_loss(p, chosen, w), rel=1e-10)


def test_hinges_that_are_met_add_nothing() -> None:
    w, chosen = world(), settings(semantic_margin=0.2, relevance_margin=0.2)
    terms, p = network(chosen).loss(w.batch()), numbers(network(chosen))
    loose, tight = plain_semantic(p, settings(), w), plain_semantic(p, chosen, w)
    assert 0 < tight != pytest.approx(loose - 2 * (2.5 - 0.2))  # some of the hinges are met, some are not
    assert terms["semantic"].item() == pytest.approx(tight, rel=1e-10)
    assert terms["relevance"].item() == pytest.approx(plain_relevance(p, chosen, w), rel=1e-10)


def test_interest_at_unit_norm_and_its_length() -> None:
    w, chosen = world(), settings(unit_interest=True)
    terms, p = network(chosen).loss(w.batch()), numbers(network(chosen))
    assert terms["interest"].item() == pytest.approx(plain_interest(p, chosen, w), rel=1e-10)
    rows = [u for u in (plain_topics(chosen, w, row) for row in range(w.examples)) if (u != 0).any()]
    length = np.mean([np.linalg.norm(p["t_u.weight"] @ u) for u in rows])
    assert terms["interest_norm"].item() == pytest.approx(length, rel=1e-10)
    assert not terms["interest_norm"].requires_grad


CASES = [
    *({"variant": v} for v in VARIANTS),
    {"network": "cross"},
    {"network": "both"},
    {"unit_interest": True},
    {"feed_history": True},
]


@pytest.mark.parametrize("changes", CASES)
def test_gradients_against_finite_differences_of_the_plain_statement(changes: dict[str, object]) -> None:
    """Central differences along random directions of each parameter; for the default, along each of its numbers."""
    w, chosen = world(videos=5), settings(**changes)
    model = network(chosen, 5, seed=3)
    model.loss(w.batch())["loss"].backward()
    rng, p, step = np.random.default_rng(0), numbers(model), 1e-6
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        whole = np.eye(p[name].size).reshape(-1, *p[name].shape)
        for way in whole if changes == {"variant": "drnn"} else rng.normal(size=(2, *p[name].shape)):
            high, low = (plain_loss({**p, name: p[name] + sign * step * way}, chosen, w) for sign in (1, -1))
            slope = (array(parameter.grad) * way).sum()
            assert slope == pytest.approx((high - low) / (2 * step), rel=2e-5, abs=1e-7), name


@pytest.mark.parametrize(("inputs", "hidden", "steps"), [(3, 4, 5), (1, 1, 2), (6, 2, 1)])
def test_gru_is_equation_5_and_keeps_its_state_where_nothing_is_fed(inputs: int, hidden: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    gru = Gru(inputs, hidden).double().initialise(generator)
    p = {name: array(value) for name, value in gru.named_parameters()}
    x = torch.randn(3, steps, inputs, generator=generator, dtype=torch.float64)
    valid = torch.ones(3, steps, dtype=torch.bool)
    valid[1, steps // 2 :] = False
    valid[2, : steps // 2] = False
    states = array(gru(x, valid))
    for row in range(3):
        expected = plain_gru(p, [array(x)[row, t] for t in range(steps) if valid[row, t]], hidden, "")
        count = np.cumsum(valid[row].numpy())
        for t in range(steps):
            np.testing.assert_allclose(states[row, t], expected[count[t] - 1] if count[t] else 0, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1, 3.0])
@pytest.mark.parametrize(("rows", "members", "width"), [(4, 5, 3), (1, 1, 1), (7, 2, 6)])
def test_decayed_mean_is_equation_2(rows: int, members: int, width: int, decay: float) -> None:
    rng = np.random.default_rng(rows)
    rows_of = deeds(rng, rows, members)
    values = rng.normal(size=(members, width))
    got = array(past(rows_of).mean(torch.from_numpy(values), decay))
    for row in range(rows):
        np.testing.assert_allclose(got[row], plain_decayed(rows_of[row], values, decay), atol=1e-12)


def test_decay_is_per_month_and_mixtures_stay_mixtures() -> None:
    year = round(365.25 * 24 * 3600 * 1000)
    stream = Stream(torch.tensor([0, 0]), torch.tensor([0, year // 2]), torch.tensor([0, 1]), 1)
    found = stream.until(torch.tensor([0]), torch.tensor([year]))
    assert found.age.tolist() == [12, 6]
    u = found.mean(torch.eye(2), 0.1)[0]
    assert float(u.sum()) == pytest.approx(1)
    assert float(u[1] / u[0]) == pytest.approx(np.exp(0.6), rel=1e-5)
    ancient = past([[(0, 5e5), (1, 1e5)], [(0, 9e5)]]).mean(torch.eye(2), 50.0)  # all weights as printed are 0
    assert ancient.tolist() == [[0, 1], [1, 0]]


# ---- streams, relevance, pairs ----


@pytest.mark.parametrize(("users", "count", "seed"), [(4, 30, 0), (1, 5, 1), (9, 12, 2), (3, 0, 3)])
def test_pasts_and_futures_of_all_users_and_sessions(users: int, count: int, seed: int) -> None:
    """Against a loop over deeds; times repeat, so that the order of equal times and the half-open range show."""
    rng = np.random.default_rng(seed)
    user, time, member = rng.integers(users, size=count), rng.integers(-3, 8, size=count) * 1000, np.arange(count)
    stream = Stream(*(torch.from_numpy(part) for part in (user, time, member)), users)
    who, when = (part.ravel() for part in np.meshgrid(np.arange(users), np.arange(-5, 10) * 1000, indexing="ij"))
    found = stream.until(torch.from_numpy(who), torch.from_numpy(when))
    after = stream.after(torch.from_numpy(who), torch.from_numpy(when), 3)
    last = found.last(2)
    for row, (a, moment) in enumerate(zip(who, when, strict=True)):
        own = sorted((t, k) for k, (b, t) in enumerate(zip(user, time, strict=True)) if b == a)
        before = [(k, (moment - t) / MONTH_MS) for t, k in own if t < moment]
        here = slice(int(found.start[row]), int(found.start[row + 1]))
        assert found.member[here].tolist() == [k for k, _ in before]
        np.testing.assert_allclose(found.age[here], [age for _, age in before], rtol=1e-6)
        assert bool(found.known[row]) == bool(before)
        assert found.row[here].tolist() == [row] * len(before)
        assert after[row].tolist() == ([k for t, k in own if t >= moment] + [-1] * 3)[:3]
        assert last[row].tolist() == ([-1] * 2 + [k for k, _ in before])[-2:]
    assert found.last(0).shape == (len(who), 0)
    some = found.first_rows(users)
    assert some.member.tolist() == found.member[: int(found.start[users])].tolist()
    assert len(some.start) == users + 1
    assert len(some.age) == len(some.member)


def watch_lists(users: int, videos: int, seed: int) -> tuple[list[set[int]], Relevance]:
    """The last user has watched nothing; watches repeat."""
    rng = np.random.default_rng(seed)
    lists = [set(rng.choice(videos, rng.integers(1, 6), replace=False).tolist()) for _ in range(users - 1)] + [set()]
    pairs = [(a, v) for a, own in enumerate(lists) for v in own for _ in range(1 + v % 2)]
    user, video = torch.tensor(pairs)[torch.from_numpy(rng.permutation(len(pairs)))].T
    return lists, Relevance(user, video, users, nearest=3)


def plain_nearest(lists: list[set[int]], i: int, count: int) -> list[int]:
    """Users by falling Rel, equal ones by row, without those of Rel 0."""
    rel = {j: len(lists[i] & own) / len(lists[i] | own) for j, own in enumerate(lists) if j != i and lists[i] & own}
    return sorted(rel, key=lambda j: (-rel[j], j))[:count]


@pytest.mark.parametrize("chunk", [4, 512])
@pytest.mark.parametrize(("users", "videos"), [(12, 20), (30, 9), (2, 7)])
def test_relevant_users_are_those_of_largest_jaccard_overlap(
    users: int, videos: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drnn_parts, "CHUNK", chunk)
    lists, relevance = watch_lists(users, videos, seed=videos)
    for i in range(users):
        near = plain_nearest(lists, i, 3)
        assert [j for j in relevance.near[i].tolist() if j >= 0] == near
        for j in range(users):
            assert bool(relevance.barred[i, j]) == (i == j or not lists[j] or bool(lists[i] & lists[j]))


def test_triplets_are_drawn_evenly_and_anew() -> None:
    lists, relevance = watch_lists(14, 22, seed=5)
    generator, rounds = torch.Generator().manual_seed(0), 4000
    anchors = torch.arange(14).flip(0)
    drawn = torch.cat([relevance.draw(anchors, generator) for _ in range(rounds)])
    left_out = 0
    for place, i in enumerate(anchors.tolist()):
        mine = drawn[drawn[:, 0] == place]
        near = plain_nearest(lists, i, 3)
        far = [j for j in range(14) if j != i and lists[j] and not lists[i] & lists[j]]
        if not near or not far:
            assert len(mine) == 0
            left_out += 1
            continue
        assert len(mine) == rounds
        for column, allowed in ((1, near), (2, far)):
            counts = torch.bincount(mine[:, column], minlength=14).tolist()
            for j in range(14):
                expected = rounds / len(allowed) if j in allowed else 0
                assert abs(counts[j] - expected) <= 5 * expected**0.5, (i, j)
    assert left_out >= 1  # the user who has watched nothing


def test_users_all_alike_or_all_apart_give_no_triplet() -> None:
    generator = torch.Generator().manual_seed(0)
    alike = Relevance(torch.arange(4), torch.zeros(4, dtype=torch.long), 4)
    apart = Relevance(torch.arange(4), torch.arange(4), 4)
    none = Relevance(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), 2)
    for relevance, users in ((alike, 4), (apart, 4), (none, 2)):
        assert relevance.draw(torch.arange(users), generator).shape == (0, 3)
    assert alike.near.tolist() == [[1, 2, 3, -1], [0, 2, 3, -1], [0, 1, 3, -1], [0, 1, 2, -1]]  # ties, by row


def test_pairs_cover_the_complete_videos_and_lend_from_others_evenly() -> None:
    complete = corpus(6).complete
    assert complete.tolist() == [True, False, False, True, True, True]
    generator, rounds = torch.Generator().manual_seed(0), 3000
    epochs = [draw_pairs(complete, generator) for _ in range(rounds)]
    assert all(sorted(pair[:, 0].tolist()) == [0, 3, 4, 5] for pair in epochs)
    assert len({tuple(pair[:, 0].tolist()) for pair in epochs}) == 24  # in any order
    drawn = torch.cat(epochs)
    for video in (0, 3, 4, 5):
        for column in (1, 2):
            counts = torch.bincount(drawn[drawn[:, 0] == video, column], minlength=6).tolist()
            for other in range(6):
                expected = rounds / 3 if complete[other] and other != video else 0
                assert abs(counts[other] - expected) <= 5 * expected**0.5
    for few in ([False, False], [True, False]):
        assert draw_pairs(torch.tensor(few), generator).shape == (0, 3)


# ---- lists ----


def settled(chosen: DRNNSettings, w: World) -> DRNN:
    model = network(chosen, len(w.videos.text))
    model.settle(w.videos)
    return model


@pytest.mark.parametrize("name", ["single", "cross", "both"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_videos_one_after_another_fed_back_and_masked(variant: str, name: str) -> None:
    w, chosen = world(videos=9, rows=6), settings(variant=variant, network=name, feed_history=name == "both")
    model = settled(chosen, w)
    p, count = numbers(model), 4
    videos, chances = model.recommend(past(w.watched), past(w.posted), count)
    scores = model.score(past(w.watched), past(w.posted))
    for row in range(6):
        seen, given = {i for i, _ in w.watched[row]}, []
        expected = np.log(plain_chances(p, plain_states(p, chosen, w, row, [])[-1]))
        np.testing.assert_allclose(array(scores)[row], expected, atol=1e-10)
        for t in range(count):
            chance = plain_chances(p, plain_states(p, chosen, w, row, given)[-1])
            best = max((i for i in range(9) if i not in seen | set(given)), key=lambda i: chance[i])
            assert int(videos[row, t]) == best, (row, t)
            assert float(chances[row, t]) == pytest.approx(np.log(chance[best]), abs=1e-10)
            given.append(best)


@pytest.mark.parametrize(("variant", "alike"), [("drnn", False), ("static_dnn", True)])
def test_a_list_is_the_first_ranking_only_where_nothing_is_fed_back(variant: str, alike: bool) -> None:
    w = world(videos=40, rows=8)
    model = settled(settings(variant=variant), w)
    scores = model.score(past(w.watched), past(w.posted))
    for row in range(8):
        scores[row, [video for video, _ in w.watched[row]]] = -torch.inf
    videos, _ = model.recommend(past(w.watched), past(w.posted), 5)
    assert torch.equal(videos, scores.topk(5).indices) == alike


def test_a_single_candidate_then_none() -> None:
    w = world()
    model = settled(settings(), w)
    allowed = torch.zeros(5, 6, dtype=torch.bool)
    allowed[:, 4] = True
    watched = past([[(0, 1.0)], [(4, 1.0)], [], [(i, 2.0) for i in range(6)], [(4, 2.0), (4, 1.0)]])
    videos, chances = model.recommend(watched, Past.nothing(5), 3, allowed)
    assert videos.tolist() == [[4, -1, -1], [-1, -1, -1], [4, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert torch.isinf(chances).equal(videos < 0)
    same, _ = model.recommend(watched, Past.nothing(5), 3, allowed[:1])  # one row for all users
    assert torch.equal(same, videos)


def test_ties_take_the_lowest_row() -> None:
    """A user with neither watches nor posts: all videos have one chance."""
    model = settled(settings(), world())
    videos, chances = model.recommend(Past.nothing(2), Past.nothing(2), 2)
    assert videos[:, 0].tolist() == [0, 0]
    assert chances[0, 0].item() == pytest.approx(-np.log(6))
    assert (videos[:, 1] > 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_state_rebuilds_the_model(variant: str) -> None:
    w = world()
    model = settled(settings(variant=variant, network="both"), w)
    again = DRNN(DRNNSettings.from_dict(model.settings.to_dict()), **model.sizes).double()
    again.load_state_dict(model.state_dict())
    for first, second in zip(
        model.recommend(past(w.watched), past(w.posted), 3),
        again.recommend(past(w.watched), past(w.posted), 3),
        strict=True,
    ):
        assert torch.equal(first, second)
    assert model.sizes == {"videos": 6, "picture": 5, "text": 4, "video_topics": 3, "post_topics": 2}
    assert not [name for name, p in model.named_parameters() if len(p) == len(w.watched)]  # nothing per user


# ---- special cases ----


def without(w: World, *, picture: bool = False, text: bool = False) -> World:
    v = w.videos
    if picture:
        v = replace(v, picture=torch.zeros_like(v.picture))
    if text:
        v = replace(v, text=torch.zeros_like(v.text))
    assert not v.complete.any()
    return replace(w, videos=v, pair=[])


NOTHING: Deeds = [[]] * 5
SPECIAL: dict[str, Callable[[World], World]] = {
    "no history": lambda w: replace(w, watched=NOTHING),
    "no posts": lambda w: replace(w, posted=NOTHING),
    "nothing known at all": lambda w: replace(w, watched=NOTHING, posted=NOTHING),
    "nothing watched after": lambda w: replace(w, after=[[]] * 5),
    "one video after": lambda w: replace(w, after=[[3]] * 5),
    "no pictures": lambda w: without(w, picture=True),
    "no text": lambda w: without(w, text=True),
    "no features at all": lambda w: without(w, picture=True, text=True),
    "no triplet": lambda w: replace(w, triplet=[]),
    "no pair": lambda w: replace(w, pair=[]),
    "one row": lambda w: replace(
        w, watched=[[(0, 1.0)]], posted=[[(1, 1.0)]], after=[[2]], examples=1, triplet=[(0, 0, 0)]
    ),
    "deeds of one moment": lambda w: replace(w, watched=[[(3, 0.0), (4, 0.0)]] * 5, posted=[[(0, 0.0)]] * 5),
    "topics not known": lambda w: replace(w, watched=[[(3, 1.0)]] * 5),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SPECIAL)
def test_special_cases_have_a_finite_loss_and_gradient(case: str, dtype: torch.dtype) -> None:
    w = SPECIAL[case](world())
    for variant in VARIANTS:
        for name in ("single", "cross", "both"):
            chosen = settings(variant=variant, network=name, unit_interest=name == "both", feed_history=name == "cross")
            model, batch = network(chosen), w.batch()
            p = numbers(model)
            if dtype == torch.float32:
                model, v = model.float(), w.videos
                small = replace(v, picture=v.picture.float(), text=v.text.float(), mixture=v.mixture.float())
                batch = replace(batch, videos=small)
            loss = model.loss(batch)["loss"]
            loss.backward()
            assert all(bool(q.grad.isfinite().all()) for q in model.parameters() if q.grad is not None)
            tolerance = 1e-10 if dtype == torch.float64 else 1e-4
            assert loss.item() == pytest.approx(plain_loss(p, chosen, w), rel=tolerance), (variant, name)


def test_only_examples_are_learned_from() -> None:
    """Of the other rows of triplets only the last state counts."""
    w = world()
    terms = network(settings()).loss(w.batch())
    others = [[(0, 1.0)]] * 2
    changed = replace(w, watched=w.watched[:3] + others, after=[*w.after[:3], [1, 2], [5]])
    after = network(settings()).loss(changed.batch())
    for name in ("recommend", "semantic", "interest"):
        assert terms[name].item() == pytest.approx(after[name].item(), rel=1e-12)
    assert terms["relevance"].item() != pytest.approx(after["relevance"].item())


def test_equal_batches_give_equal_gradients_on_many_threads() -> None:
    videos, rows = 300, 60
    w = world(videos=videos, rows=rows, examples=50, seed=7)
    rng = np.random.default_rng(0)
    w.watched = [[(int(i), float(k)) for k, i in enumerate(rng.integers(40, size=200))][::-1] for _ in range(rows)]
    model, threads = network(settings(dim=64), videos), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        found = []
        for _ in range(5):
            model.zero_grad()
            model.loss(w.batch())["loss"].backward()
            found.append([p.grad.clone() for p in model.parameters()])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(p, q) for other in found[1:] for p, q in zip(found[0], other, strict=True))


# ---- settings and start ----


def test_the_papers_numbers() -> None:
    s = DRNNSettings()
    assert (s.dim, s.decay, s.semantic_margin, s.relevance_margin) == (300, 0.1, 0.3, 0.5)
    assert (s.semantic, s.interest, s.relevance, s.l2) == (0.2, 0.4, 0.2, 1e-4)
    assert (s.learning_rate, s.list_length, s.test_share, s.known_months, s.sessions) == (1e-3, 5, 0.2, 9, 12)
    assert (s.least_videos, s.least_watchers, s.least_posts) == (11, 3, 101)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variant": "rnn_norel"}, "did you mean 'rnn_no_rel'"),
        ({"network": "singel"}, "did you mean 'single'"),
        ({"optimizer": "adagrad"}, "optimizer 'adagrad'"),
        ({"decay": -0.1}, "decay -0.1: must be at least 0"),
        ({"dim": 0}, "dim 0: must be at least 1"),
        ({"known_months": 12}, "known_months 12: must be at most 11"),
        ({"relevance": float("nan")}, "relevance nan"),
        ({"unit_interest": 1}, "must be of type bool"),
        ({"layers": 2}, "no setting 'layers'"),
        ({"end": "June 2014"}, "end 'June 2014': must be a day"),
        ({"cold_start": True}, "nothing is known of who is tested; say 'cross'"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DRNNSettings.from_dict(wrong)


@pytest.mark.parametrize(("name", "sizes"), [("single", (0, 2)), ("cross", (3, 0)), ("both", (3, 0)), ("both", (0, 2))])
def test_a_network_without_its_topics_is_refused(name: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"network '{name}' needs topics of"):
        DRNN(settings(network=name), 6, PICTURE, TEXT, *sizes)
    DRNN(settings(network=name, variant="rnn"), 6, PICTURE, TEXT, *sizes)  # has no use for topics


@pytest.mark.parametrize("variant", VARIANTS)
def test_initial_weights_keep_lengths_and_repeat(variant: str) -> None:
    chosen = DRNNSettings(variant=variant)
    model = DRNN(chosen, 500, 400, 300, 70, 0).initialise(torch.Generator().manual_seed(0))
    again = DRNN(chosen, 500, 400, 300, 70, 0).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    if chosen.models_interest:
        u, s = torch.eye(70), torch.nn.functional.normalize(torch.randn(50, 600))
        for layer, given in ((model.t_u, u), (model.t_x, s)):
            assert float(layer(given).detach().norm(dim=1).mean()) == pytest.approx(1, rel=0.1)
    else:
        assert float(model.start.detach().norm()) == pytest.approx(1, rel=0.2)
    if variant != "static_dnn":
        assert float(model.gru.u.weight.detach().std()) == pytest.approx(1, rel=0.1)
    assert float(model.t_p.weight.detach().std()) == pytest.approx(300**-0.5, rel=0.1)


# ---- learning ----

GROUPS, SIZE = 3, 5
"""Fifteen videos in three groups; who has watched (or posted) of a group goes on with it, in the order of rows."""


def planted(name: str, seed: int = 0) -> tuple[Batch, Callable[[int], tuple[Past, Past]]]:
    """A batch, and the past of a user who was not in it and likes the group."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), SIZE)
    picture, text = np.eye(GROUPS)[group] @ rng.normal(size=(GROUPS, PICTURE)), rng.normal(size=(15, TEXT)) / 4
    text += np.eye(GROUPS)[group] @ rng.normal(size=(GROUPS, TEXT))
    made = [torch.from_numpy(part).float() for part in (picture, text, np.eye(GROUPS)[group])]
    videos = Videos(*made)

    def pasts(likes: list[int]) -> tuple[Past, Past]:
        watched = past([[(SIZE * g, 3.0)] for g in likes])
        return watched, past([[(g, 2.0), (g, 1.0)] for g in likes]) if name == "cross" else Past.nothing(len(likes))

    likes = rng.integers(GROUPS, size=30).tolist()
    after = torch.tensor([[SIZE * g + 1 + k for k in range(SIZE - 1)] for g in likes])
    other = {
        near: [int(rng.choice([j for j in range(30) if (likes[j] == g) == near])) for g in likes] for near in (1, 0)
    }
    triplet = list(zip(range(30), other[1], other[0], strict=True))
    pair = draw_pairs(videos.complete, torch.Generator().manual_seed(seed))
    return Batch(videos, *pasts(likes), after, 30, torch.tensor(triplet), pair), lambda g: pasts([g])


@pytest.mark.parametrize(("variant", "name"), [*((v, "single") for v in VARIANTS), ("drnn", "cross")])
def test_a_planted_preference_is_learned(variant: str, name: str) -> None:
    batch, past_of = planted(name)
    chosen = DRNNSettings(variant=variant, network=name, dim=12, hidden=12, relevance_margin=1.5)
    model = DRNN(chosen, 15, PICTURE, TEXT, GROUPS, GROUPS).initialise(torch.Generator().manual_seed(0))
    before = {term: value.item() for term, value in model.loss(batch).items()}
    for _ in range(80):
        model.zero_grad()
        model.loss(batch)["loss"].backward()
        for parameter in model.parameters():
            parameter.data -= 0.3 * parameter.grad
    after = {term: value.item() for term, value in model.loss(batch).items()}
    assert after["loss"] < before["loss"] / 1.5
    for term in TERMS[variant]:
        assert after[term] < before[term], term
    model.settle(batch.videos)
    for group in range(GROUPS):
        watched, posted = past_of(group)
        if name == "cross":
            watched = Past.nothing(1)  # cold start: posts only
        videos, _ = model.recommend(watched, posted, 4)
        expected = [SIZE * group + 1 + k for k in range(4)]
        assert sorted(videos[0].tolist()) == expected
        if variant != "static_dnn":
            assert videos[0].tolist() == expected  # in their order
