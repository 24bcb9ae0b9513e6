"""Each equation of PR-Net against a statement with plain loops; masks, gradients, ablations, special cases."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.prnet.model import PRNet, Reasons
from reelmill.models.prnet.parts import LOSSES, Degrees, Residual, UNet, hardest
from reelmill.models.prnet.settings import TABLE_2, PRNetSettings
from reelmill.models.protocols.highlights.query import Batch, Query
from reelmill.storage.errors import InputError

DIM, FEATURES = 4, 6
SHAPES = [(2, 9, 3, 5, 2), (1, 1, 1, 1, 1), (3, 6, 4, 7, 3), (2, 13, 5, 2, 4), (1, 8, 0, 0, 0)]
"""B windows, T steps, C clips, L steps of a clip, n highlights of a user."""
LOSS_NAMES = ("contrastive", "as_printed", "cross_entropy", "ranking", "triplet")


def settings(**changes: object) -> PRNetSettings:
    return PRNetSettings.from_dict({"dim": DIM, "projection": True, "negatives": 2, "temperature": 3.0, **changes})


def network(chosen: PRNetSettings, features: int = FEATURES, seed: int = 0) -> PRNet:
    """With no weight at zero, and features to be standardised."""
    generator = torch.Generator().manual_seed(seed)
    model = PRNet(chosen, features).double().initialise(generator)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.4 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        model.feature_mean.normal_(generator=generator)
        model.feature_scale.fill_(1.7)
    return model


def make_batch(shape: tuple[int, int, int, int, int], seed: int = 0, features: int = FEATURES) -> Batch:
    """Rows, gaps, padding and histories at random; what is masked holds NaN."""
    b, t, c, n_steps, n = shape
    rng = np.random.default_rng(seed)

    def rows(*size: int) -> tuple[Tensor, Tensor]:
        valid = rng.random(size) < 0.8
        if valid.size:
            valid[:, 0] = True
        x = rng.standard_normal((*size, features))
        x[~valid] = np.nan
        return torch.from_numpy(x), torch.from_numpy(valid)

    history = np.full((b, n), -1)
    for window in range(b):
        count = min(n, c, n - window) if window < n else 0  # one user has all, the next one less …
        history[window, :count] = rng.permutation(c)[:count]
    query = Query(*rows(b, t), *rows(c, n_steps), torch.from_numpy(history))
    highlight = rng.random((b, t)) < 0.3
    highlight[:, 0] = True
    return Batch(query, torch.from_numpy(highlight))


@pytest.fixture
def batch() -> Batch:
    return make_batch((3, 9, 4, 5, 2))


def array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().numpy()


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / lengths) if lengths else 0.0


# ---- the statements: one step at a time; a step that is not valid does not exist ----

Steps = dict[int, np.ndarray]


def plain_convolution(conv: torch.nn.Module, x: Steps) -> Steps:
    weight, bias = array(conv.weight), array(conv.bias)
    half = weight.shape[2] // 2
    out = {}
    for t in x:
        near = [(k, t + k - half) for k in range(weight.shape[2]) if t + k - half in x]
        out[t] = relu(bias + sum(weight[:, :, k] @ x[place] for k, place in near))
    return out


def plain_unet(net: UNet, x: Steps) -> Steps:
    e = [plain_convolution(net.down[0], x)]
    for conv in list(net.down)[1:]:
        pooled: Steps = {}
        for t, vector in e[-1].items():
            pooled[t // 2] = np.maximum(pooled[t // 2], vector) if t // 2 in pooled else vector
        e.append(plain_convolution(conv, pooled))
    y = e[-1]
    for level, conv in zip(range(len(e) - 2, -1, -1), net.up, strict=True):
        y = plain_convolution(conv, {t: y[t // 2] + e[level][t] for t in e[level]})
    return {t: x[t] + array(net.last.weight) @ y[t] + array(net.last.bias) for t in x}


def plain_encoder(model: PRNet, rows: np.ndarray, valid: np.ndarray) -> Steps:
    """Eq. 1 of one sequence (T, dim)."""
    x = {t: (rows[t] - array(model.feature_mean)) / float(model.feature_scale) for t in range(len(rows)) if valid[t]}
    if model.settings.projection:
        x = {t: array(model.projection.weight) @ vector for t, vector in x.items()}
    net = model.encoder
    if isinstance(net, UNet):
        return plain_unet(net, x)
    first, last = net.first, net.last
    hidden = {t: relu(array(first.weight) @ vector + array(first.bias)) for t, vector in x.items()}
    return {t: x[t] + array(last.weight) @ hidden[t] + array(last.bias) for t in x}


def plain_reason(model: PRNet, query: Query) -> list[dict[int, dict[str, Any]]]:
    """Eq. 2 to 7: for each window, for each valid step, l, b, the weights of its history {place: a}, and that of g."""
    chosen, found = model.settings, []
    scale = 1 / np.sqrt(chosen.dim) if chosen.root_dim else 1.0
    for window in range(len(query.steps)):
        s = plain_encoder(model, array(query.steps[window]), array(query.valid[window]))
        h: Steps = {}
        for place, row in enumerate(query.history[window].tolist()):
            if row < 0 or (chosen.history_size >= 0 and place >= chosen.history_size):
                continue
            encoded = plain_encoder(model, array(query.clips[row]), array(query.clip_valid[row]))
            if encoded:
                h[place] = np.mean(list(encoded.values()), axis=0)
        answers: dict[int, dict[str, Any]] = {}
        for t, vector in s.items():
            if chosen.pooling == "mean":
                a = {j: 1 / len(h) for j in h}
            else:
                e = {j: np.exp(chosen.temperature * cosine(vector, h[j])) for j in h}
                a = {j: e[j] / sum(e.values()) for j in h}
            p = sum((a[j] * h[j] for j in h), np.zeros(chosen.dim))
            share = 0.0
            if chosen.generic:
                g = array(model.g)
                q1 = np.exp(chosen.temperature * cosine(vector, p)) if h else 0.0
                q2 = np.exp(chosen.temperature * cosine(vector, g))
                p, share = p * q1 / (q1 + q2) + g * q2 / (q1 + q2), q2 / (q1 + q2)
            b = 0.0 if model.u is None else float(vector @ array(model.u))
            answers[t] = {"l": float(vector @ p) * scale, "b": b * scale, "a": a, "generic": share}
        found.append(answers)
    return found


def plain_chosen(b: dict[int, float], positive: set[int], negatives: int) -> list[int]:
    """℧: of the steps outside Ω those of highest b."""
    rest = [t for t in b if t not in positive]
    return sorted(rest, key=lambda t: (-b[t], t))[: negatives * len(positive)]


def plain_window(name: str, l: dict[int, float], b: dict[int, float], omega: set[int], mho: list[int]) -> float:  # noqa: E741
    """Eq. 8 and 9, or another loss, of one window, whose valid steps are the keys of l and b; margin 1."""
    rest = [t for t in l if t not in omega]
    if name == "ranking":
        return float(np.mean([max(0.0, 1 - l[y] + l[x]) for y in omega for x in rest])) if rest else 0.0
    if name == "triplet":
        pairs = [(y, x) for y in omega for x in mho]
        terms = [max(0.0, 1 - l[y] + l[x]) + max(0.0, 1 - b[x] + b[y]) for y, x in pairs]
        return float(np.mean(terms)) if terms else 0.0
    if name == "cross_entropy":
        liked = sum(-np.log(1 / (1 + np.exp(b[y] - l[y]))) for y in omega)
        return float(liked + sum(-np.log(1 / (1 + np.exp(l[x] - b[x]))) for x in rest)) / len(l)
    exp_l, exp_b = sum(np.exp(v) for v in l.values()), sum(np.exp(v) for v in b.values())
    l = {t: np.exp(l[t]) / exp_l for t in l}  # noqa: E741
    b = {t: np.exp(b[t]) / exp_b for t in b}
    if name == "as_printed":
        logs = sum(np.log(l[t] + b[t]) for t in [*omega, *mho])
        return float(logs - (sum(l[y] for y in omega) + sum(b[x] for x in mho)))
    return float(-sum(np.log(l[y] / (l[y] + b[y])) for y in omega) - sum(np.log(b[x] / (l[x] + b[x])) for x in mho))


def plain_loss(model: PRNet, batch: Batch) -> float:
    """Mean over the windows that hold a highlight."""
    values = []
    for window, answers in enumerate(plain_reason(model, batch.query)):
        l, b = ({t: answer[name] for t, answer in answers.items()} for name in ("l", "b"))  # noqa: E741
        omega = {t for t in l if batch.highlight[window, t]}
        if omega:
            mho = plain_chosen(b, omega, model.settings.negatives)
            values.append(plain_window(model.settings.loss, l, b, omega, mho))
    return float(np.mean(values)) if values else 0.0


def assert_same(reasons: Reasons, expected: list[dict[int, dict[str, Any]]]) -> None:
    for window, answers in enumerate(expected):
        for t, answer in answers.items():
            assert float(reasons.highlight[window, t].detach()) == pytest.approx(answer["l"], rel=1e-10, abs=1e-12)
            assert float(reasons.non_highlight[window, t].detach()) == pytest.approx(answer["b"], rel=1e-10, abs=1e-12)
            assert float(reasons.generic[window, t].detach()) == pytest.approx(answer["generic"], rel=1e-10)
            weights = np.zeros(reasons.attention.shape[2])
            for place, weight in answer["a"].items():
                weights[place] = weight
            np.testing.assert_allclose(array(reasons.attention[window, t]), weights, atol=1e-12)


# ---- eq. 1 ----


@pytest.mark.parametrize("encoder", ["unet", "residual"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 11])
@pytest.mark.parametrize(("levels", "kernel"), [(3, 3), (1, 3), (2, 5), (4, 1)])
def test_encoder(encoder: str, length: int, levels: int, kernel: int) -> None:
    """Also of lengths that no power of two divides, and with gaps."""
    model = network(settings(encoder=encoder, levels=levels, kernel=kernel), seed=length)
    query = make_batch((3, length, 0, 0, 0), seed=length).query
    got = array(model.encode(query.steps, query.valid))
    for window in range(3):
        expected = plain_encoder(model, array(query.steps[window]), array(query.valid[window]))
        for t in range(length):
            np.testing.assert_allclose(got[window, t], expected.get(t, np.zeros(DIM)), atol=1e-12)


@pytest.mark.parametrize("encoder", ["unet", "residual"])
def test_padding_changes_nothing(encoder: str) -> None:
    """A sequence gives the same S alone, padded, padded with NaN, and among longer ones."""
    model = network(settings(encoder=encoder))
    generator = torch.Generator().manual_seed(3)
    for length in range(1, 10):
        rows = torch.randn(1, length, FEATURES, generator=generator, dtype=torch.float64)
        alone = model.encode(rows, torch.ones(1, length, dtype=torch.bool))
        padded = torch.full((2, 12, FEATURES), torch.nan, dtype=torch.float64)
        padded[0, :length], padded[1] = rows[0], torch.randn(12, FEATURES, generator=generator, dtype=torch.float64)
        valid = ~padded.isnan().any(-1)
        among = model.encode(padded, valid)
        np.testing.assert_allclose(array(among[0, :length]), array(alone[0]), atol=1e-12)
        assert not among[0, length:].any()
        again = model.encode(torch.where(valid[..., None], padded, 1e6), valid)
        assert torch.equal(again, among)


def test_the_encoder_sees_what_is_around_a_step_and_the_residual_block_does_not() -> None:
    for encoder, reach in (("unet", True), ("residual", False)):
        model = network(settings(encoder=encoder))
        rows = torch.randn(1, 16, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        valid = torch.ones(1, 16, dtype=torch.bool)
        other = rows.clone()
        other[0, 2] += 1
        moved = (model.encode(rows, valid) - model.encode(other, valid)).abs().amax(-1)[0] > 1e-9
        assert bool(moved[2])
        assert bool(moved[[1, 5]].all()) is reach  # 5 lies two groups of pairs away: only the lowest levels get there


@pytest.mark.parametrize(("dim", "levels", "kernel"), [(4, 3, 3), (16, 3, 3), (8, 1, 1), (512, 3, 3)])
def test_the_residual_block_is_larger_than_m_but_not_by_much(dim: int, levels: int, kernel: int) -> None:
    with torch.device("meta"):
        m, block = (sum(p.numel() for p in net(dim, levels, kernel).parameters()) for net in (UNet, Residual))
    assert m < block <= m + 2 * dim + 1


# ---- eq. 2 to 7 ----

VARIANTS: list[dict[str, Any]] = [
    *TABLE_2.values(),
    {"root_dim": True},
    {"temperature": 0.0},
    {"temperature": 9.0},
    {"history_size": 1},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_reasons(shape: tuple[int, int, int, int, int], changes: dict[str, Any]) -> None:
    model, batch = network(settings(**changes)), make_batch(shape)
    assert_same(model.reason(batch.query), plain_reason(model, batch.query))


def test_rows_of_d_numbers_need_no_projection() -> None:
    model, batch = network(settings(projection=False), features=DIM), make_batch((2, 9, 3, 5, 2), features=DIM)
    assert_same(model.reason(batch.query), plain_reason(model, batch.query))
    assert not any(name.startswith("projection") for name in model.state_dict())


def test_weights_sum_to_one(batch: Batch) -> None:
    reasons = network(settings()).reason(batch.query)
    known = (batch.query.history >= 0).any(1)
    assert known.tolist() == [True, True, False]
    np.testing.assert_allclose(array(reasons.attention.sum(-1)[known]), 1, atol=1e-12)
    assert ((reasons.generic[known] > 0) & (reasons.generic[known] < 1)).all()
    assert not reasons.attention[1, :, 1].any()  # padding of the second user's history


def test_no_history_is_the_generic_preference_alone(batch: Batch) -> None:
    model = network(settings())
    reasons = model.reason(batch.query)
    s = array(model.encode(batch.query.steps, batch.query.valid))[2]
    np.testing.assert_allclose(array(reasons.highlight)[2], s @ array(model.g), atol=1e-12)
    assert (reasons.generic[2] == 1).all()
    assert not reasons.attention[2].any()
    alone = model.reason(replace(batch.query, history=batch.query.history[:, :0]))
    np.testing.assert_allclose(array(alone.highlight[2]), array(reasons.highlight[2]), atol=1e-12)
    assert alone.attention.shape == (3, 9, 0)


def test_no_history_and_no_generic_preference_likes_every_step_equally(batch: Batch) -> None:
    scores, _ = network(settings(generic=False)).score(batch.query)
    assert not scores[2][batch.query.valid[2]].any()


def test_a_clip_without_a_step_is_no_history(batch: Batch) -> None:
    model = network(settings())
    valid = batch.query.clip_valid.clone()
    valid[batch.query.history[0, 1]] = False
    shorter = batch.query.history.clone()
    shorter[0, 1] = -1
    got = model.reason(replace(batch.query, clip_valid=valid))
    expected = model.reason(replace(batch.query, history=shorter))
    assert_same(got, plain_reason(model, replace(batch.query, clip_valid=valid)))
    np.testing.assert_allclose(array(got.highlight[0]), array(expected.highlight[0]), atol=1e-12)


def test_history_size_keeps_the_newest(batch: Batch) -> None:
    limited = network(settings(history_size=1)).reason(batch.query)
    cut = network(settings()).reason(replace(batch.query, history=batch.query.history[:, :1]))
    assert torch.equal(limited.highlight, cut.highlight)
    assert limited.attention.shape[2] == 1


def test_a_history_like_the_step_gets_the_attention() -> None:
    """An untrained model, as `initialise` leaves it: S is the features, and eq. 3 compares them."""
    model = PRNet(PRNetSettings(dim=8), 8).initialise(torch.Generator().manual_seed(0))
    rows = torch.eye(8)[:3]
    query = Query(
        rows[None], torch.ones(1, 3).bool(), rows[:, None], torch.ones(3, 1).bool(), torch.tensor([[2, 0, 1]])
    )
    attention = model.score(query)[1].attention[0]
    assert attention.argmax(-1).tolist() == [1, 2, 0]
    assert float(attention[0, 1]) == pytest.approx(np.exp(9) / (np.exp(9) + 2), rel=1e-5)  # λ = 9 (§3.2)


# ---- ℧, eq. 8 and 9 ----


def test_hardest_takes_the_highest_b_among_the_unlabelled() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        b = rng.integers(0, 4, (3, 11)).astype(float)  # with ties
        unlabelled, count = rng.random((3, 11)) < 0.7, rng.integers(0, 13, 3)
        got = hardest(*(torch.from_numpy(x) for x in (b, unlabelled, count)))
        for row in range(3):
            rest = sorted(np.flatnonzero(unlabelled[row]).tolist(), key=lambda t: (-b[row, t], t))
            assert np.flatnonzero(array(got[row])).tolist() == sorted(rest[: count[row]])


def test_the_choice_has_no_gradient_but_the_chosen_have(batch: Batch) -> None:
    b = torch.tensor([[3.0, 1.0, 2.0, 0.0]], requires_grad=True)
    assert not hardest(b, torch.ones(1, 4).bool(), torch.tensor([2])).requires_grad
    l = torch.zeros(1, 4)  # noqa: E741
    positive, chosen = torch.tensor([[False, True, False, False]]), torch.tensor([[True, False, False, False]])
    degrees = Degrees(l, b, torch.ones(1, 4).bool(), positive, chosen, margin=1.0)
    LOSSES["triplet"](degrees)["non_highlight"].sum().backward()
    assert array(b.grad).tolist() == [[0, 0, 0, 0]]  # 3 is above 1 by more than the margin
    b.grad = None
    LOSSES["cross_entropy"](degrees)["non_highlight"].sum().backward()
    assert (array(b.grad)[0, [0, 2, 3]] < 0).all()
    assert array(b.grad)[0, 1] == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_losses(shape: tuple[int, int, int, int, int], name: str) -> None:
    for seed in range(3):
        model, batch = network(settings(loss=name), seed=seed), make_batch(shape, seed)
        terms = model.loss(batch)
        assert terms["loss"].item() == pytest.approx(plain_loss(model, batch), rel=1e-9)
        parts = sum(value.item() for part, value in terms.items() if part != "loss")
        assert parts == pytest.approx(terms["loss"].item(), rel=1e-12)


@pytest.mark.parametrize(
    "changes", [{"negatives": 1}, {"negatives": 5}, {"negatives": 50}, {"root_dim": True}], ids=str
)
def test_losses_of_other_settings(batch: Batch, changes: dict[str, Any]) -> None:
    model = network(settings(**changes))
    assert model.loss(batch)["loss"].item() == pytest.approx(plain_loss(model, batch), rel=1e-9)


def degrees_at_random(seed: int, positives: float = 0.3) -> Degrees:
    rng = np.random.default_rng(seed)
    valid = rng.random((4, 7)) < 0.8
    valid[:, :2] = True
    positive = valid & (rng.random((4, 7)) < positives)
    chosen = valid & ~positive & (rng.random((4, 7)) < 0.7)
    l, b = 2 * rng.standard_normal((2, 4, 7))  # noqa: E741
    return Degrees(*(torch.from_numpy(x) for x in (l, b, valid, positive, chosen)), margin=1.0)


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("positives", [0.0, 0.3, 1.0])
def test_each_window_has_its_own_loss(name: str, positives: float) -> None:
    """Of the four windows some have no highlight, or nothing else."""
    degrees = degrees_at_random(1, positives)
    got = sum(LOSSES[name](degrees).values())
    assert isinstance(got, Tensor)
    for window in range(4):
        steps = np.flatnonzero(array(degrees.valid[window])).tolist()
        l, b = ({t: float(x[window, t]) for t in steps} for x in (degrees.highlight, degrees.non_highlight))  # noqa: E741
        omega, mho = (np.flatnonzero(array(x[window])).tolist() for x in (degrees.positive, degrees.chosen))
        if omega or name != "ranking":
            assert float(got[window]) == pytest.approx(plain_window(name, l, b, set(omega), mho), rel=1e-10), window


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_gradients_of_the_losses_against_finite_differences(name: str) -> None:
    degrees = degrees_at_random(2)

    def loss(l: Tensor, b: Tensor) -> Tensor:  # noqa: E741
        return torch.stack(list(LOSSES[name](replace(degrees, highlight=l, non_highlight=b)).values())).sum()

    inputs = tuple(x.clone().requires_grad_() for x in (degrees.highlight, degrees.non_highlight))
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_gradients_against_differences_of_the_statement(batch: Batch, changes: dict[str, Any]) -> None:
    """Autograd against central differences of the plain loops: a few numbers of each parameter."""
    model = network(settings(**changes), seed=5)
    model.loss(batch)["loss"].backward()
    rng, step = np.random.default_rng(0), 1e-6
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        flat = p.detach().view(-1)
        for place in rng.choice(len(flat), min(2, len(flat)), replace=False).tolist():
            losses = []
            for change in (step, -2 * step):
                flat[place] += change
                losses.append(plain_loss(model, batch))
            flat[place] += step
            expected = (losses[0] - losses[1]) / (2 * step)
            assert float(p.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("name", ["contrastive", "as_printed", "cross_entropy"])
def test_every_gradient_of_the_loss(name: str) -> None:
    model, batch = network(settings(loss=name, dim=2)), make_batch((2, 5, 2, 3, 2))
    names = [n for n, _ in model.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        return torch.func.functional_call(
            _Loss(model, batch), {f"model.{n}": v for n, v in zip(names, values, strict=True)}
        )

    assert torch.autograd.gradcheck(loss, tuple(p.detach().requires_grad_() for p in model.parameters()))


class _Loss(torch.nn.Module):
    def __init__(self, model: PRNet, batch: Batch) -> None:
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self) -> Tensor:
        return self.model.loss(self.batch)["loss"]


# ---- special cases ----


def nothing_valid(batch: Batch) -> Batch:
    return replace(batch, query=replace(batch.query, valid=torch.zeros_like(batch.query.valid)))


def same_rows(batch: Batch) -> Batch:
    """All steps and clips alike: every score ties, and rows equal to the mean encode to a constant."""
    steps, clips = torch.zeros_like(batch.query.steps), torch.zeros_like(batch.query.clips)
    return replace(batch, query=replace(batch.query, steps=steps, clips=clips))


def clips_at_the_mean(batch: Batch) -> Batch:
    """One of two highlights, and the only one of another user, encode to nothing: their cosine has no direction."""
    clips = batch.query.clips.clone()
    clips[batch.query.history[:2, 0]] = 0
    return replace(batch, query=replace(batch.query, clips=clips))


SPECIAL = {
    "no history": lambda b: replace(b, query=replace(b.query, history=torch.full_like(b.query.history, -1))),
    "no clips": lambda b: replace(
        b,
        query=replace(
            b.query, clips=b.query.clips[:0, :0], clip_valid=b.query.clip_valid[:0, :0], history=b.query.history[:, :0]
        ),
    ),
    "one step": lambda b: Batch(
        replace(b.query, steps=b.query.steps[:, :1], valid=b.query.valid[:, :1]), b.highlight[:, :1]
    ),
    "no highlight": lambda b: replace(b, highlight=torch.zeros_like(b.highlight)),
    "nothing but highlights": lambda b: replace(b, highlight=torch.ones_like(b.highlight)),
    "nothing valid": nothing_valid,
    "clips without a step": lambda b: replace(
        b, query=replace(b.query, clip_valid=torch.zeros_like(b.query.clip_valid))
    ),
    "ties": same_rows,
    "clips at the mean": clips_at_the_mean,
}


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("start", ["drawn", "initialised"])
@pytest.mark.parametrize("case", SPECIAL)
def test_special_cases_are_finite(batch: Batch, case: str, start: str, loss: str) -> None:
    special = SPECIAL[case](batch)
    model = network(settings(loss=loss))
    if start == "initialised":  # S is x: rows at the mean give vectors of length zero
        model.initialise(torch.Generator().manual_seed(0))
        model.feature_mean.zero_()
    terms = model.loss(special)
    assert all(value.isfinite() for value in terms.values())
    if case in ("no highlight", "nothing valid"):
        assert terms["loss"].item() == 0
    elif start == "drawn":
        assert terms["loss"].item() == pytest.approx(plain_loss(model, special), rel=1e-9)
    terms["loss"].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() < 1e6, name
    scores, reasons = model.score(special.query)
    valid = special.query.valid
    assert scores[valid].isfinite().all()
    assert (scores[~valid] == -torch.inf).all()
    assert all(x.isfinite().all() for x in vars(reasons).values())


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_huge_degrees_stay_finite(batch: Batch, loss: str) -> None:
    model = network(settings(loss=loss)).float()
    for vector in (model.g, model.u):
        if vector is not None:
            vector.data.mul_(1e4)
    query = replace(batch.query, steps=batch.query.steps.float(), clips=batch.query.clips.float())
    terms = model.loss(replace(batch, query=query))
    terms["loss"].backward()
    assert terms["loss"].isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_window_without_a_highlight_counts_for_nothing(batch: Batch) -> None:
    for loss in LOSS_NAMES:
        model = network(settings(loss=loss))
        highlight = batch.highlight.clone()
        highlight[1] = False
        rest = torch.tensor([0, 2])
        q = batch.query
        fewer = Batch(
            Query(q.steps[rest], q.valid[rest], q.clips, q.clip_valid, q.history[rest]), batch.highlight[rest]
        )
        got, expected = model.loss(Batch(q, highlight)), model.loss(fewer)
        assert got["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-12)


def test_a_highlight_on_a_step_that_is_not_there_is_none(batch: Batch) -> None:
    model = network(settings())
    got = model.loss(replace(batch, highlight=batch.highlight | ~batch.query.valid))
    assert got["loss"].item() == pytest.approx(model.loss(batch)["loss"].item(), rel=1e-12)


# ---- scores, checkpoint, settings ----


def test_scores_are_l_or_l_minus_b(batch: Batch) -> None:
    for rank_by in ("highlight", "difference"):
        model = network(settings(rank_by=rank_by))
        scores, reasons = model.score(batch.query)
        for window, answers in enumerate(plain_reason(model, batch.query)):
            for t, answer in answers.items():
                expected = answer["l"] - (answer["b"] if rank_by == "difference" else 0)
                assert float(scores[window, t]) == pytest.approx(expected, rel=1e-10)
        assert not scores.requires_grad
        assert not reasons.attention.requires_grad


@pytest.mark.parametrize("row", TABLE_2)
def test_state_and_sizes_rebuild_the_model(row: str, batch: Batch) -> None:
    chosen = PRNetSettings.table_2(row, dim=DIM, projection=True)
    model = network(chosen).float()
    again = PRNet(PRNetSettings.from_dict(chosen.to_dict()), **model.sizes)
    again.load_state_dict(model.state_dict())
    query = replace(batch.query, steps=batch.query.steps.float(), clips=batch.query.clips.float())
    assert torch.equal(model.score(query)[0], again.score(query)[0])


def test_equal_generators_draw_equal_weights() -> None:
    chosen = PRNetSettings(dim=64, projection=True)
    first, second = (PRNet(chosen, 100).initialise(torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    rows = torch.nn.functional.normalize(torch.randn(50, 100, generator=torch.Generator().manual_seed(1)), dim=-1)
    s = first.encode(rows[None], torch.ones(1, 50).bool())
    assert torch.equal(s[0], first.projection(rows))  # M starts as the identity …
    assert float(s.detach().square().sum(-1).mean()) == pytest.approx(1, rel=0.1)  # … at unit length
    assert all(float(array(v) @ array(v)) == pytest.approx(1, rel=0.5) for v in (first.g, first.u))


def test_nothing_is_made_on_another_device(batch: Batch) -> None:
    """What the model makes lies where its inputs do: here nothing else can be used beside them."""
    for row in TABLE_2:
        model = network(PRNetSettings.table_2(row, dim=DIM, projection=True))
        with torch.device("meta"):
            assert torch.zeros(2).is_meta
            assert model.loss(batch)["loss"].device.type == "cpu"
            assert not any(x.is_meta for x in vars(model.score(batch.query)[1]).values())


def test_the_defaults_are_the_papers() -> None:
    s = PRNetSettings()
    assert (s.dim, s.temperature, s.negatives, s.window, s.batch, s.epochs) == (512, 9.0, 5, 256, 32, 150)
    assert (s.encoder, s.levels, s.kernel, s.loss, s.pooling, s.generic) == (
        "unet",
        3,
        3,
        "contrastive",
        "attention",
        True,
    )
    assert PRNetSettings.table_2("h5", epochs=3) == PRNetSettings(history_size=5, epochs=3)
    assert PRNetSettings.table_2("G") == PRNetSettings.table_2("h0")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder": "u-net"}, "did you mean 'unet'"),
        ({"loss": "printed"}, "as_printed"),
        ({"pooling": "max"}, "pooling 'max'"),
        ({"rank_by": "l"}, "rank_by 'l'"),
        ({"standardise": "center"}, "did you mean 'centre'"),
        ({"kernel": 4}, "kernel 4: must be odd"),
        ({"levels": 0}, "levels 0: must be at least 1"),
        ({"dim": 0}, "dim 0"),
        ({"negatives": 0}, "negatives 0"),
        ({"window": 0}, "window 0"),
        ({"history_size": -2}, "history_size -2"),
        ({"temperature": -1}, "temperature -1.0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"margin": -0.1}, "margin -0.1"),
        ({"generic": False, "history_size": 0}, "no preference is left"),
        ({"loss": "ranking", "rank_by": "difference"}, "no non-highlight degree"),
        ({"lambda": 9.0}, "no setting 'lambda'"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PRNetSettings.from_dict(wrong)


def test_other_wrong_choices_say_what_is_right() -> None:
    with pytest.raises(InputError, match="8192 numbers a row, dim is 512: set dim to 8192, or projection"):
        PRNet(PRNetSettings(), 8192)
    with pytest.raises(InputError, match="no row 'H5': full, residual"):
        PRNetSettings.table_2("H5")


# ---- it learns ----


def planted(rng: np.random.Generator, windows: int) -> tuple[Batch, Tensor]:
    """Each user has three of eight interests; a window has steps of all eight, and those of the user's are
    highlights, of which one in two is labelled. Returns the truth (B, T) too."""
    topics = np.random.default_rng(0).standard_normal((8, 12))
    steps, truth, clips, history = [], [], [], []
    for window in range(windows):
        own = rng.choice(8, 3, replace=False)
        topic = np.repeat(rng.permutation(8), 3)
        steps.append(topics[topic] + 0.5 * rng.standard_normal((24, 12)))
        truth.append(np.isin(topic, own))
        clips += [topics[k] + 0.5 * rng.standard_normal((3, 12)) for k in own]
        history.append(np.arange(3) + 3 * window)
    x, h = (torch.from_numpy(np.stack(v)).float() for v in (steps, clips))
    query = Query(
        x, torch.ones(x.shape[:2]).bool(), h, torch.ones(h.shape[:2]).bool(), torch.from_numpy(np.stack(history))
    )
    true = torch.from_numpy(np.stack(truth))
    return Batch(query, true & (torch.from_numpy(rng.random(true.shape)) < 0.5)), true


def right_pairs(scores: Tensor, truth: Tensor) -> float:
    """Mean share over windows of pairs (highlight, other) in the right order."""
    shares = []
    for s, t in zip(array(scores), array(truth), strict=True):
        shares.append(np.mean(s[t][:, None] > s[~t][None, :]))
    return float(np.mean(shares))


@pytest.mark.parametrize("row", ["full", "ranking", "CE"])
def test_it_learns_a_planted_preference(row: str) -> None:
    """The loss falls, and the steps of new users are ranked by their interests; without their histories by nothing."""
    rng = np.random.default_rng(1)
    model = PRNet(PRNetSettings.table_2(row, dim=48, projection=True, negatives=2), 12)
    model.initialise(torch.Generator().manual_seed(0)).feature_scale.fill_(12**0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    test, truth = planted(np.random.default_rng(2), 40)
    before, losses = right_pairs(model.score(test.query)[0], truth), []
    for _ in range(70):
        terms = model.loss(planted(rng, 16)[0])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])
    assert right_pairs(model.score(test.query)[0], truth) > max(0.85, before + 0.05)
    nobody = replace(test.query, history=torch.full_like(test.query.history, -1))
    assert abs(right_pairs(model.score(nobody)[0], truth) - 0.5) < 0.1
