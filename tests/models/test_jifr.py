"""Each equation of JIFR against a statement with plain loops; gradients, options, special cases, a planted taste."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.core.sampling import Negatives
from reelmill.models.jifr import model as jifr
from reelmill.models.jifr.model import JIFR, Batch
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.storage.errors import InputError

FEATURES = 5
WORLDS = {"mixed": (4, (3, 1, 0, 2, 4, 1)), "all framed": (2, (2, 2, 5)), "gaps at the ends": (3, (0, 0, 7, 1, 0))}
"""Users, and frames of each item."""
TABLE_2 = [(False, False), (False, True), (True, False), (True, True)]
"""Visual and rating attention in the paper's order."""

Parameters = dict[str, np.ndarray]


def settings(**changes: object) -> JIFRSettings:
    return JIFRSettings.from_dict({"dim": 3, "hidden": 4, "init_std": 0.7, "l2": 0.01, **changes})


def table_2(row: tuple[bool, bool], **changes: object) -> JIFRSettings:
    return settings(visual_attention=row[0], rating_attention=row[1], **changes)


def frames_of(counts: tuple[int, ...], seed: int = 1) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    start = torch.tensor([0, *np.cumsum(counts)])
    return Frames(torch.randn(sum(counts), FEATURES, generator=generator, dtype=torch.float64), start)


def network(chosen: JIFRSettings, users: int, items: int, seed: int = 0) -> JIFR:
    generator = torch.Generator().manual_seed(seed)
    model = JIFR(chosen, users, items, FEATURES).double().initialise(generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.5, generator=generator)
    return model


def settled(chosen: JIFRSettings, users: int, frames: Frames) -> JIFR:
    model = network(chosen, users, len(frames.count))
    model.settle(torch.arange(len(frames.count)), frames)
    return model


def draw(users: int, items: int, rows: int = 5, negatives: int = 3, seed: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Users, positives and negatives at random: with so few items many stand in several roles."""
    generator = torch.Generator().manual_seed(seed)

    def some(high: int, *size: int) -> Tensor:
        return torch.randint(high, size, generator=generator)

    return some(users, rows), some(items, rows), some(items, rows, negatives)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def parameters(model: JIFR) -> Parameters:
    return {name: array(p).copy() for name, p in model.named_parameters()}


# ---- the paper with plain loops ----


def plain_sets(frames: Frames) -> list[list[np.ndarray]]:
    features, start = array(frames.features), frames.start.tolist()
    return [[features[k] for k in range(low, high)] for low, high in pairwise(start)]


def hidden(weight: np.ndarray, bias: np.ndarray | None, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.maximum(weight @ np.concatenate([first, second]) + (0 if bias is None else bias), 0)


def plain_alpha(p: Parameters, chosen: JIFRSettings, i: int, own: list[np.ndarray]) -> list[float]:
    """Eq. 6 and 7, or the average of eq. 1."""
    if not chosen.visual_attention:
        return [1 / len(own) for _ in own]
    raw = []
    for c in own:
        layer = hidden(p["visual.w1.weight"], p.get("visual.w1.bias"), p["v"][i], p["visual.w0.weight"] @ c)
        raw.append(float(p["visual.out.weight"][0] @ layer))
    return [np.exp(a) / sum(np.exp(b) for b in raw) for a in raw]


def plain_x(p: Parameters, chosen: JIFRSettings, i: int, own: list[np.ndarray]) -> np.ndarray:
    """Eq. 5, or 1."""
    x = np.zeros(chosen.dim)
    for alpha, c in zip(plain_alpha(p, chosen, i, own), own, strict=True):
        x = x + alpha * (p["p.weight"] @ c)
    return x


def plain_beta(p: Parameters, chosen: JIFRSettings, a: int, i: int, x: np.ndarray, framed: bool) -> tuple[float, float]:
    """Eq. 9 and 10 with W² in one piece."""
    if not chosen.rating_attention:
        return 0.5, 0.5
    if not framed:
        return 1.0, 0.0
    w2, bias = np.hstack([p["rating.a.weight"], p["rating.b.weight"]]), p.get("rating.b.bias")
    habit = float(p["rating.out.weight"][0] @ hidden(w2, bias, p["u"][a], p["v"][i]))
    sight = float(p["rating.out.weight"][0] @ hidden(w2, bias, p["w"][a], x))
    return np.exp(habit) / (np.exp(habit) + np.exp(sight)), np.exp(sight) / (np.exp(habit) + np.exp(sight))


def plain_rating(p: Parameters, chosen: JIFRSettings, a: int, i: int, sets: list[list[np.ndarray]]) -> float:
    """Eq. 8."""
    x = plain_x(p, chosen, i, sets[i])
    beta = plain_beta(p, chosen, a, i, x, bool(sets[i]))
    return float(beta[0] * (p["u"][a] @ p["v"][i]) + beta[1] * (p["w"][a] @ x))


def plain_loss(
    p: Parameters, chosen: JIFRSettings, drawn: tuple[Tensor, Tensor, Tensor], sets: list[list[np.ndarray]]
) -> float:
    """Eq. 3, one triple at a time."""
    terms = []
    for a, i, negatives in zip(*(t.tolist() for t in drawn), strict=True):
        for j in negatives:
            sigma = 1 / (1 + np.exp(plain_rating(p, chosen, a, j, sets) - plain_rating(p, chosen, a, i, sets)))
            squares = sum(float((row**2).sum()) for row in (p["u"][a], p["w"][a], p["v"][i], p["v"][j]))
            terms.append((-np.log(sigma) if chosen.objective == "log_sigmoid" else sigma) + chosen.l2 * squares)
    return float(np.mean(terms))


# ---- frame sets ----


@pytest.mark.parametrize("world", WORLDS)
def test_frame_sets_are_picked_summed_and_normalised_one_by_one(world: str) -> None:
    frames = frames_of(WORLDS[world][1])
    sets = plain_sets(frames)
    chosen = torch.tensor([2, 0, 1, 2])
    for got, i in zip(plain_sets(frames.of(chosen)), chosen.tolist(), strict=True):
        np.testing.assert_array_equal(got, sets[i])
    total = array(frames.sum(frames.features))
    np.testing.assert_allclose(total, [np.sum(own, axis=0) if own else np.zeros(FEATURES) for own in sets], atol=1e-12)
    weights = array(frames.softmax(frames.features[:, :1]))[:, 0]
    expected = [np.exp(c[0]) / sum(np.exp(k[0]) for k in own) for own in sets for c in own]
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_the_softmax_bears_any_score() -> None:
    frames = Frames(torch.zeros(5, 1), torch.tensor([0, 2, 2, 5]))
    scores = torch.tensor([[1e4], [1e4], [-1e4], [-1e4 - 1], [-3e38]], requires_grad=True)
    weights = frames.softmax(scores)
    np.testing.assert_allclose(
        array(weights)[:, 0], [0.5, 0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0], rtol=1e-5
    )
    (weights * torch.arange(5)[:, None]).sum().backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


# ---- equations ----


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("row", TABLE_2)
def test_each_row_of_table_2_has_its_parameters_and_no_others(row: tuple[bool, bool], bias: bool) -> None:
    expected = {"u": (7, 3), "v": (6, 3), "w": (7, 3), "p.weight": (3, 5)}
    if row[0]:
        expected |= {"visual.w0.weight": (4, 5), "visual.w1.weight": (4, 7), "visual.out.weight": (1, 4)}
        expected |= {"visual.w1.bias": (4,)} if bias else {}
    if row[1]:
        expected |= {"rating.a.weight": (4, 3), "rating.b.weight": (4, 3), "rating.out.weight": (1, 4)}
        expected |= {"rating.b.bias": (4,)} if bias else {}
    model = JIFR(table_2(row, attention_bias=bias), 7, 6, FEATURES)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == expected
    (group,) = model.turns()
    assert len(group) == len(expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("world", WORLDS)
def test_visual_attention(world: str, bias: bool) -> None:
    """Eq. 5 to 7; without attention eq. 1."""
    users, counts = WORLDS[world]
    frames = frames_of(counts)
    sets, items = plain_sets(frames), torch.arange(len(counts))
    for attention in (True, False):
        chosen = settings(visual_attention=attention, attention_bias=bias)
        model = network(chosen, users, len(counts))
        p = parameters(model)
        alpha = [weight for i, own in enumerate(sets) for weight in plain_alpha(p, chosen, i, own)]
        np.testing.assert_allclose(array(model.attend(items, frames)), alpha, atol=1e-12)
        x = [plain_x(p, chosen, i, own) for i, own in enumerate(sets)]
        np.testing.assert_allclose(array(model.embed(items, frames)), x, atol=1e-12)


def test_an_item_sees_its_own_frames_only_and_in_any_order() -> None:
    users, counts = WORLDS["mixed"]
    frames = frames_of(counts)
    model = network(settings(), users, len(counts))
    x = array(model.embed(torch.arange(len(counts)), frames))
    for i in (4, 0, 2):
        np.testing.assert_allclose(array(model.embed(torch.tensor([i]), frames.of(torch.tensor([i]))))[0], x[i])
    turned = Frames(frames.features[[2, 0, 1, *range(3, 11)]], frames.start)
    np.testing.assert_allclose(array(model.embed(torch.arange(len(counts)), turned)), x, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("row", TABLE_2)
@pytest.mark.parametrize("world", WORLDS)
def test_ratings_of_all_pairs(world: str, row: tuple[bool, bool], bias: bool) -> None:
    """Eq. 8 to 10."""
    users, counts = WORLDS[world]
    frames = frames_of(counts)
    chosen = table_2(row, attention_bias=bias)
    model = settled(chosen, users, frames)
    p, sets = parameters(model), plain_sets(frames)
    every_user, every_item = torch.arange(users)[:, None], torch.arange(len(counts))
    score, beta = array(model.score(every_user, every_item)), array(model.balance(every_user, every_item))
    for a in range(users):
        for i, own in enumerate(sets):
            assert score[a, i] == pytest.approx(plain_rating(p, chosen, a, i, sets), abs=1e-12)
            expected = plain_beta(p, chosen, a, i, plain_x(p, chosen, i, own), bool(own))
            assert beta[a, i] == pytest.approx(expected, abs=1e-12)


def test_an_item_without_frames_is_judged_by_habit_alone() -> None:
    users, counts = WORLDS["mixed"]
    model = settled(settings(), users, frames_of(counts))
    every, bare = torch.arange(users), torch.tensor(2)
    np.testing.assert_array_equal(array(model.final_items)[2], 0)
    np.testing.assert_array_equal(array(model.balance(every, bare)), [[1, 0]] * users)
    np.testing.assert_allclose(array(model.score(every, bare)), array(model.u @ model.v[2]), atol=1e-12)


@pytest.mark.parametrize("world", WORLDS)
def test_without_attention_it_is_vbpr_on_averaged_frames(world: str) -> None:
    """VBPR (He and McAuley, 2016), eq. 2 here: γ_u·γ_i + θ_u·(E f_i), f_i one picture's features. JIFR_NA's ratings are
    half of it, for every item, so that the ranking is the same."""
    users, counts = WORLDS[world]
    frames = frames_of(counts)
    model = settled(JIFRSettings.averaging(dim=3, init_std=0.7), users, frames)
    pictures = np.array([np.mean(own, axis=0) if own else np.zeros(FEATURES) for own in plain_sets(frames)])
    gamma_user, gamma_item, theta, e = (array(t) for t in (model.u, model.v, model.w, model.p.weight))
    vbpr = gamma_user @ gamma_item.T + theta @ (pictures @ e.T).T
    scores = array(torch.cat(list(model.rank(torch.arange(users)))))
    np.testing.assert_allclose(2 * scores, vbpr, atol=1e-12)
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(vbpr))


@pytest.mark.parametrize("row", TABLE_2)
@pytest.mark.parametrize("pairs", [1, 12, 13, 1 << 18])
def test_full_ranking_is_the_pairwise_form(row: tuple[bool, bool], pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    users, counts = WORLDS["mixed"]
    monkeypatch.setattr(jifr, "PAIRS_AT_ONCE", pairs)
    model = settled(table_2(row), users, frames_of(counts))
    asked = torch.tensor([3, 0, 0, 2, 1])
    chunks = list(model.rank(asked))
    assert [len(chunk) for chunk in chunks] == {1: [1] * 5, 12: [2, 2, 1], 13: [2, 2, 1], 1 << 18: [5]}[pairs]
    full = torch.cat(chunks)
    for r, a in enumerate(asked):
        for i in range(len(counts)):
            assert float(full[r, i]) == pytest.approx(float(model.score(a, torch.tensor(i))), abs=1e-12)


def test_items_settle_in_any_parts() -> None:
    users, counts = WORLDS["mixed"]
    frames = frames_of(counts)
    whole, parts = settled(settings(), users, frames), network(settings(), users, len(counts))
    for part in torch.randperm(len(counts), generator=torch.Generator().manual_seed(4)).split(4):
        parts.settle(part, frames.of(part))
    np.testing.assert_allclose(array(parts.final_items), array(whole.final_items), atol=1e-12)
    assert parts.framed.tolist() == [bool(count) for count in counts]


@pytest.mark.parametrize("row", TABLE_2)
def test_key_frames_are_scored_without_attention(row: tuple[bool, bool]) -> None:
    """Eq. 4, on features as they stand in the store."""
    users, counts = WORLDS["mixed"]
    model = network(table_2(row), users, len(counts))
    model.feature_mean.copy_(torch.arange(FEATURES))
    model.feature_scale.fill_(3.0)
    raw = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = array(model.score_frames(torch.arange(users)[:, None], raw))
    p = parameters(model)
    for a in range(users):
        for k, c in enumerate(array(raw)):
            assert got[a, k] == pytest.approx(p["w"][a] @ (p["p.weight"] @ ((c - np.arange(FEATURES)) / 3)), abs=1e-12)
    np.testing.assert_allclose(array(model.score_frames(torch.tensor([1, 3]), raw[:2])), got[[1, 3], [0, 1]])


# ---- loss ----


@pytest.mark.parametrize("objective", ["log_sigmoid", "as_printed"])
@pytest.mark.parametrize("row", TABLE_2)
@pytest.mark.parametrize("world", WORLDS)
def test_loss(world: str, row: tuple[bool, bool], objective: str) -> None:
    users, counts = WORLDS[world]
    frames, drawn = frames_of(counts), draw(users, len(counts))
    chosen = table_2(row, objective=objective)
    model = network(chosen, users, len(counts))
    terms = model.loss(Batch.build(*drawn, frames))
    expected = plain_loss(parameters(model), chosen, drawn, plain_sets(frames))
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-10)
    assert terms["loss"].item() == pytest.approx((terms["bpr"] + chosen.l2 * terms["l2"]).item())


def test_a_batch_may_name_more_items_than_it_needs() -> None:
    """Which items and frames travel with a batch changes nothing."""
    users, counts = WORLDS["mixed"]
    frames, (user, positive, negative) = frames_of(counts), draw(users, len(counts), rows=2, negatives=1)
    model = network(settings(), users, len(counts))
    lean = Batch.build(user, positive, negative, frames)
    assert len(lean.item) < len(counts)
    turned = torch.arange(len(counts)).flip(0)
    full = Batch(user, turned, turned[positive], turned[negative], frames.of(turned))
    assert model.loss(full)["loss"].item() == pytest.approx(model.loss(lean)["loss"].item(), rel=1e-12)


@pytest.mark.parametrize(
    "chosen",
    [*(table_2(row) for row in TABLE_2), settings(attention_bias=False), settings(objective="as_printed")],
    ids=["avg avg", "avg att", "att avg", "att att", "no bias", "as printed"],
)
def test_gradients_against_finite_differences(chosen: JIFRSettings) -> None:
    """Of the plain statement, of every number of every parameter."""
    counts, step = (2, 0, 3, 1), 1e-5
    frames, drawn = frames_of(counts), draw(2, len(counts), rows=3, negatives=2)
    model = network(chosen, 2, len(counts))
    p, sets = parameters(model), plain_sets(frames)
    model.loss(Batch.build(*drawn, frames))["loss"].backward()
    for name, parameter in model.named_parameters():
        expected = np.zeros_like(p[name])
        for place in np.ndindex(p[name].shape):
            sides = []
            for moved in (step, -step):
                shifted = p[name].copy()
                shifted[place] += moved
                sides.append(plain_loss({**p, name: shifted}, chosen, drawn, sets))
            expected[place] = (sides[0] - sides[1]) / (2 * step)
        assert parameter.grad is not None, name
        np.testing.assert_allclose(array(parameter.grad), expected, atol=1e-8, err_msg=name)


def special(name: str) -> tuple[Frames, tuple[Tensor, Tensor, Tensor], Callable[[JIFR], None]]:
    """Frames, a draw, and what happens to the model before its loss is taken."""
    nothing: Callable[[JIFR], None] = lambda model: None  # noqa: E731
    counts = (3, 1, 0, 2)
    frames, drawn = frames_of(counts), draw(2, 4)
    match name:
        case "no item has a frame":
            return frames_of((0, 0, 0, 0)), drawn, nothing
        case "no item of the batch has a frame":
            return frames, (torch.tensor([0]), torch.tensor([2]), torch.tensor([[2, 2]])), nothing
        case "each item has one frame":
            return frames_of((1, 1, 1, 1)), drawn, nothing
        case "one positive, one negative":
            return frames, draw(2, 4, rows=1, negatives=1), nothing
        case "a negative that is the positive":
            return frames, (torch.tensor([0]), torch.tensor([3]), torch.tensor([[3]])), nothing
        case "all frames are equal":
            return Frames(torch.ones_like(frames.features), frames.start), drawn, nothing
        case "all frames are zero":
            return Frames(torch.zeros_like(frames.features), frames.start), drawn, nothing
        case "all weights are zero":
            return frames, drawn, lambda model: [p.data.zero_() for p in model.parameters()] and None
        case "huge weights":
            return frames, drawn, lambda model: [p.data.mul_(50) for p in model.parameters()] and None
    raise AssertionError(name)


@pytest.mark.parametrize("row", TABLE_2)
@pytest.mark.parametrize(
    "name",
    ["no item has a frame", "no item of the batch has a frame", "each item has one frame", "one positive, one negative",
     "a negative that is the positive", "all frames are equal", "all frames are zero", "all weights are zero",
     "huge weights"],
)  # fmt: skip
def test_special_cases_have_a_finite_loss_and_gradient(name: str, row: tuple[bool, bool]) -> None:
    frames, drawn, prepare = special(name)
    model = network(table_2(row), 2, 4).float()
    prepare(model)
    terms = model.loss(Batch.build(*drawn, Frames(frames.features.float(), frames.start)))
    assert all(bool(term.isfinite()) for term in terms.values())
    terms["loss"].backward()
    for name_of, parameter in model.named_parameters():
        assert parameter.grad is not None, name_of
        assert bool(parameter.grad.isfinite().all()), name_of
    if name in ("a negative that is the positive", "all weights are zero"):
        assert terms["bpr"].item() == pytest.approx(np.log(2))
    if not name.startswith("no item"):
        return
    assert float(model.p.weight.grad.abs().max()) == 0
    np.testing.assert_allclose(array(model.w.grad), 2 * 0.01 * array(model.w) * owned(drawn[0], 2), rtol=1e-4)


def owned(user: Tensor, users: int) -> np.ndarray:
    """Share of a batch's rows that each user has, (users, 1)."""
    return array(torch.bincount(user, minlength=users)[:, None] / len(user))


def test_ties_and_single_frames_have_even_weights() -> None:
    counts = (4, 1)
    frames = frames_of(counts)
    same = Frames(frames.features[[1, 1, 1, 1, 4]], frames.start)
    model = network(settings(), 2, 2)
    np.testing.assert_allclose(array(model.attend(torch.arange(2), same)), [0.25] * 4 + [1], atol=1e-12)
    x = array(model.embed(torch.arange(2), frames))
    np.testing.assert_allclose(x[1], array(model.p.weight) @ array(frames.features)[4], atol=1e-12)


# ---- does it learn ----


LEARNT = {(False, False): (0.7, 0.9), (False, True): (0.65, 0.8), (True, False): (0.9, 0.97), (True, True): (0.7, 0.9)}
"""How often, at least, a liked item or frame stands before another, after so short a fit; chance is 0.5."""


@pytest.mark.parametrize("row", TABLE_2)
def test_it_learns_a_planted_taste(row: tuple[bool, bool]) -> None:
    """Each item has one telling frame (its topic, and a mark) among four that show any topic. A user likes the items of
    one topic; few of them are given to the fit. The loss falls, the liked ones that were kept from it come first, the
    telling frames get the weight, and those of the user's topic come first although no frame was ever liked."""
    users, items, topics, dull = 30, 120, 3, 4
    generator = torch.Generator().manual_seed(5)
    topic, taste = torch.arange(items) % topics, torch.arange(users) % topics
    shows = torch.eye(topics)[torch.randint(topics, (items, dull), generator=generator)]
    features = 0.5 * torch.randn(items, 1 + dull, 8, generator=generator)
    features[:, 0, :topics] += 3 * torch.eye(topics)[topic]
    features[:, 0, topics] += 3
    features[:, 1:, :topics] += 2 * shows
    features = (features - features.mean((0, 1))) / features.std((0, 1)).norm()
    frames = Frames(features.flatten(0, 1), torch.arange(items + 1) * (1 + dull))
    liked = taste[:, None] == topic
    kept = liked & (torch.rand(users, items, generator=generator) < 0.85)
    user, item = (liked & ~kept).nonzero().T
    negatives = Negatives(user, item, users, items)  # what is kept back is drawn against its user like any other
    chosen = JIFRSettings(dim=8, hidden=8, visual_attention=row[0], rating_attention=row[1])
    model = JIFR(chosen, users, items, 8).initialise(generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    losses = []
    for _ in range(150):
        loss = model.loss(Batch.build(user, item, negatives.draw(user, 4, generator), frames))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    every, all_users = torch.arange(items), torch.arange(users)[:, None]
    model.settle(every, frames)
    scores = torch.cat(list(model.rank(all_users[:, 0])))
    seen_first = model.score_frames(all_users, features[:, 0])

    def first(scores: Tensor, wanted: Tensor) -> float:
        """How often a user's wanted item stands before one that she does not like."""
        won = [(s[w][:, None] > s[~m]).float().mean() for s, w, m in zip(scores, wanted, liked, strict=True)]
        return float(torch.stack(won).mean())

    least_item, least_frame = LEARNT[row]
    assert first(scores, kept) > least_item
    assert first(seen_first, liked) > least_frame
    if row[0]:
        assert float(model.attend(every, frames).detach().view(items, -1)[:, 0].mean()) > 0.6


# ---- around the equations ----


@pytest.mark.parametrize("row", TABLE_2)
def test_settings_sizes_and_state_rebuild_the_model(row: tuple[bool, bool]) -> None:
    users, counts = WORLDS["mixed"]
    model = settled(table_2(row), users, frames_of(counts))
    model.feature_mean.fill_(0.3)
    again = JIFR(JIFRSettings.from_dict(model.settings.to_dict()), **model.sizes).double()
    again.load_state_dict(model.state_dict())
    every = torch.arange(users)
    assert torch.equal(torch.cat(list(model.rank(every))), torch.cat(list(again.rank(every))))
    raw = torch.ones(1, FEATURES, dtype=torch.float64)
    assert torch.equal(model.score_frames(every, raw), again.score_frames(every, raw))


def test_initial_weights_have_their_spread() -> None:
    chosen = replace(JIFRSettings(), init_std=0.1, dim=64, hidden=48)
    model = JIFR(chosen, 300, 200, 512).initialise(torch.Generator().manual_seed(0))
    features = torch.randn(400, 512, generator=torch.Generator().manual_seed(1)) / 512**0.5  # of unit length
    assert model.visual is not None
    assert model.rating is not None
    for tensor in (model.u, model.v, model.w, model.p(features), model.visual.w0(features)):
        assert float(tensor.detach().std()) == pytest.approx(0.1, rel=0.05)
    for layer, columns in (
        (model.visual.w1, 112), (model.visual.out, 48), (model.rating.a, 128), (model.rating.b, 128)
    ):  # fmt: skip
        assert float(layer.weight.detach().std()) == pytest.approx((2 / columns) ** 0.5, rel=0.25)
    again = JIFR(chosen, 300, 200, 512).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


def test_the_papers_settings() -> None:
    chosen = JIFRSettings()
    assert (chosen.dim, chosen.l2, chosen.negatives, chosen.test_negatives, chosen.test_repeats) == (
        32, 1e-3, 10, 1000, 10
    )  # fmt: skip
    assert (chosen.least_ratings, chosen.validation_share, chosen.test_share) == (5, 0.1, 0.2)
    assert (chosen.visual_attention, chosen.rating_attention) == (True, True)
    averaging = JIFRSettings.averaging(epochs=3)
    assert (averaging.visual_attention, averaging.rating_attention, averaging.epochs) == (False, False, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": "log_sigmoids"}, "did you mean 'log_sigmoid'"),
        ({"standardise": "center"}, "did you mean 'centre'"),
        ({"d1": 32}, "no setting 'd1'"),
        ({"dim": 0}, "dim 0: must be at least 1"),
        ({"hidden": 0}, "hidden 0: must be at least 1"),
        ({"negatives": 0}, "negatives 0: must be at least 1"),
        ({"l2": -1.0}, "l2 -1.0: must be at least 0"),
        ({"init_std": float("nan")}, "init_std nan"),
        ({"rating_attention": "off"}, "rating_attention 'off': must be of type bool"),
        ({"test_negatives": 0}, "test_negatives 0: must be at least 1"),
        ({"test_repeats": 0}, "test_repeats 0: must be at least 1"),
        ({"least_ratings": 0}, "least_ratings 0: must be at least 1"),
        ({"test_share": -0.1}, "test_share -0.1: must be at least 0"),
        ({"validation_share": 0.5, "test_share": 0.5}, "together at most 0.9"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        JIFRSettings.from_dict(wrong)


def test_equal_batches_give_equal_gradients_on_many_threads() -> None:
    """Gradients are added up in one order, whatever the threads do."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 20, (200,), generator=generator)
    frames = Frames(torch.randn(int(counts.sum()), 64, generator=generator), torch.tensor([0, *counts.cumsum(0)]))
    user, positive = (torch.randint(n, (3000,), generator=generator) for n in (50, 200))
    batch = Batch.build(user, positive, torch.randint(200, (3000, 10), generator=generator), frames)
    model = JIFR(JIFRSettings(), 50, 200, 64).initialise(generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        first, *others = [torch.autograd.grad(model.loss(batch)["loss"], list(model.parameters())) for _ in range(6)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(g, h) for other in others for g, h in zip(first, other, strict=True))
