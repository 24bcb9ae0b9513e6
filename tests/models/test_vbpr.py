"""BPR and VBPR: equations and gradients against plain NumPy, and against JIFR without attention; the optimiser of rows;
negatives and batches."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.baselines.vbpr.model import BPR, VBPR, Batch, distinct
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.core.base import Model
from reelmill.models.core.rows import RowAdagrad, inner, squares
from reelmill.models.jifr.model import JIFR
from reelmill.models.jifr.model import Batch as FrameBatch
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.storage.errors import InputError

M, N, FEATURES = 5, 9, 4
CHOSEN = VBPRSettings(dim=3, visual_dim=2, init_std=0.7, l2=0.02, l2_visual=0.05)
Drawn = tuple[Tensor, Tensor, Tensor]
Parameters = dict[str, np.ndarray]


def network(kind: type[BPR], seed: int = 0) -> BPR:
    """A model of doubles in which no parameter is zero."""
    model: BPR
    if kind is VBPR:
        model = VBPR(CHOSEN, M, N, FEATURES)
    else:
        model = BPR(BPRSettings(dim=3, init_std=0.7, l2=0.02), M, N)
    generator = torch.Generator().manual_seed(seed)
    model.double().initialise(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.7, generator=generator)
    return model


def features(seed: int = 1) -> Tensor:
    return torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(rows: int = 6, negatives: int = 3, users: int = M, items: int = N, seed: int = 2) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    some = [torch.randint(n, s, generator=generator) for n, s in ((users, (rows,)), (items, (rows,)))]
    return some[0], some[1], torch.randint(items, (rows, negatives), generator=generator)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def parameters(model: Model) -> Parameters:
    return {name: array(p).copy() for name, p in model.named_parameters()}


def plain_rating(p: Parameters, a: int, i: int, f: np.ndarray) -> float:
    """Eq. 1 and 4, term by term, without α and β_a."""
    k = p["item"].shape[1]
    rating = p["bias"][i, 0] + p["user"][a, :k] @ p["item"][i]
    if "visual" in p:
        rating += p["user"][a, k:] @ (p["visual"].T @ f[i]) + p["visual_bias"][:, 0] @ f[i]
    return float(rating)


def plain_loss(p: Parameters, drawn: Drawn, f: np.ndarray, l2: float, l2_visual: float) -> float:
    terms = []
    for a, i, negatives in zip(*(t.tolist() for t in drawn), strict=True):
        for j in negatives:
            sigma = 1 / (1 + np.exp(plain_rating(p, a, j, f) - plain_rating(p, a, i, f)))
            rows = (p["user"][a], p["item"][i], p["bias"][i], p["item"][j], p["bias"][j])
            terms.append(-np.log(sigma) + l2 * sum(float((row**2).sum()) for row in rows))
    visual = sum(float((p[name] ** 2).sum()) for name in ("visual", "visual_bias") if name in p)
    return float(np.mean(terms)) + l2_visual * visual


def batch_of(model: BPR, drawn: Drawn) -> Batch:
    return Batch.build(*drawn, M, N, features() if isinstance(model, VBPR) else None)


# ---- equations ----


@pytest.mark.parametrize("kind", [BPR, VBPR])
def test_ratings_are_equation_1_and_4(kind: type[BPR]) -> None:
    model, f = network(kind), array(features())
    if isinstance(model, VBPR):
        model.settle(features())
    p = parameters(model)
    full, pairs = array(model.users() @ model.items().T), array(model.score(torch.arange(M)[:, None], torch.arange(N)))
    for a, i in product(range(M), range(N)):
        assert full[a, i] == pytest.approx(plain_rating(p, a, i, f), abs=1e-12)
        assert pairs[a, i] == pytest.approx(full[a, i], abs=1e-12)


@pytest.mark.parametrize("rows", [2, 6], ids=["some rows", "every row"])
@pytest.mark.parametrize("kind", [BPR, VBPR])
def test_loss_and_its_gradients(kind: type[BPR], rows: int) -> None:
    """Against central differences of the plain statement, in every number of every parameter; once with a batch that
    names few of the rows, once with one that could name all."""
    model, drawn, f, step = network(kind), draw(rows, 1 if rows == 2 else 3), array(features()), 1e-5
    batch = batch_of(model, drawn)
    assert (len(batch.item) < N) == (rows == 2)
    assert (len(batch.user) < M) == (rows == 2)
    weights = model.settings.l2, getattr(model.settings, "l2_visual", 0.0)
    terms, p = model.loss(batch), parameters(model)
    assert terms["loss"].item() == pytest.approx(plain_loss(p, drawn, f, *weights), rel=1e-10)
    assert terms["bpr"].item() == pytest.approx(plain_loss(p, drawn, f, 0.0, 0.0), rel=1e-10)
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.is_sparse == (rows == 2 and name in ("user", "item", "bias"))
        expected = np.zeros_like(p[name])
        for place in np.ndindex(p[name].shape):
            sides = []
            for moved in (step, -step):
                shifted = p[name].copy()
                shifted[place] += moved
                sides.append(plain_loss({**p, name: shifted}, drawn, f, *weights))
            expected[place] = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(array(parameter.grad.to_dense()), expected, atol=1e-8, err_msg=name)


def test_without_biases_it_is_jifr_without_attention() -> None:
    """JIFR_NA's ratings are half of VBPR's, on frames averaged; so are those of one frame an item. With ratings doubled
    the losses are equal too."""
    chosen = VBPRSettings(dim=3, visual_dim=3, init_std=0.7, l2=0.0)
    model = VBPR(chosen, M, N, FEATURES).double().initialise(torch.Generator().manual_seed(0))
    jifr = JIFR(JIFRSettings.averaging(dim=3, l2=0.0), M, N, FEATURES).double()
    with torch.no_grad():
        for theirs, ours in ((jifr.u, model.user[:, :3]), (jifr.w, model.user[:, 3:]), (jifr.v, model.item)):
            theirs.copy_(ours)
        jifr.p.weight.copy_(model.visual.T)
    frames = Frames(torch.randn(2 * N, FEATURES, generator=torch.Generator().manual_seed(3)).double(),
                    torch.arange(0, 2 * N + 1, 2))  # fmt: skip
    mean = frames.features.view(N, 2, FEATURES).mean(1)
    model.settle(mean)
    jifr.settle(torch.arange(N), frames)
    ours, theirs = model.users() @ model.items().T, torch.cat(list(jifr.rank(torch.arange(M))))
    np.testing.assert_allclose(array(ours), 2 * array(theirs), atol=1e-12)
    drawn = draw()
    with torch.no_grad():
        for table in (jifr.v, jifr.p.weight):
            table.mul_(2)
    doubled = jifr.loss(FrameBatch.build(*drawn, frames))["loss"]
    assert model.loss(Batch.build(*drawn, M, N, mean))["loss"].item() == pytest.approx(doubled.item(), rel=1e-12)


def test_new_items_have_a_look_and_nothing_else() -> None:
    model = network(VBPR)
    assert isinstance(model, VBPR)
    model.feature_mean.fill_(2.0)
    model.feature_scale.fill_(4.0)
    raw = 4 * features() + 2
    raw[3] = torch.nan
    p, f = parameters(model), array(features())
    p["item"][:], p["bias"][:], f[3] = 0, 0, 0
    scores = array(model.users() @ model.embed(raw).T)
    for a, i in product(range(M), range(N)):
        assert scores[a, i] == pytest.approx(plain_rating(p, a, i, f), abs=1e-12)
    assert scores[:, 3].tolist() == [0.0] * M


def test_ratings_far_apart_have_a_finite_loss() -> None:
    model = network(VBPR)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e4)
    terms = model.loss(batch_of(model, draw()))
    terms["loss"].backward()
    assert all(bool(term.isfinite()) for term in terms.values())
    assert all(bool(p.grad.to_dense().isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_first_weights() -> None:
    model = VBPR(VBPRSettings(init_std=0.2), 300, 200, 64).initialise(torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(torch.randn(100, 64, generator=torch.Generator().manual_seed(1)))
    for table in (model.user, model.item, model.visual, unit @ model.visual):
        assert float(table.detach().std()) == pytest.approx(0.2, rel=0.05)
    assert float(model.bias.detach().abs().max()) == float(model.visual_bias.detach().abs().max()) == 0
    again = VBPR(VBPRSettings(init_std=0.2), 300, 200, 64).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))


# ---- batches ----


@pytest.mark.parametrize("total", [6, 9, 24, 25, 1000])
def test_distinct_rows_and_places(total: int) -> None:
    numbers = torch.tensor([[4, 0, 4], [5, 2, 2], [0, 0, 5], [1, 5, 4]])
    rows, place = distinct(numbers, total)
    assert torch.equal(rows[place], numbers)
    assert rows.tolist() == (list(range(total)) if total <= 24 else [0, 1, 2, 4, 5])


def test_which_rows_travel_with_a_batch_changes_nothing() -> None:
    model, drawn = network(VBPR), draw(2, 1)
    lean = batch_of(model, drawn)
    assert lean.features is not None
    np.testing.assert_array_equal(array(lean.features), array(features())[lean.item])
    full = Batch(torch.arange(M), torch.arange(N), *drawn, features())
    assert model.loss(full)["loss"].item() == pytest.approx(model.loss(lean)["loss"].item(), rel=1e-12)


# ---- inner products of rows, and their optimiser ----


@pytest.mark.parametrize(("rows", "columns", "dim"), [(6, 3, 4), (1, 1, 1), (9, 2, 3)])
def test_inner_products_and_their_gradients(rows: int, columns: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(n, dim, generator=generator, dtype=torch.float64, requires_grad=True) for n in (M, N))
    bias = torch.randn(N, generator=generator, dtype=torch.float64, requires_grad=True)
    drawn, _, _ = draw(rows)
    places = torch.randint(N, (rows, columns), generator=generator)
    for of in (drawn, drawn.sort().values):  # what is in order is not sorted again
        expected = [
            [float(array(one)[a] @ array(other)[i] + array(bias)[i]) for i in some]
            for a, some in zip(of, places, strict=True)
        ]
        np.testing.assert_allclose(array(inner(one, of, other, bias, places)), expected, atol=1e-12)
        assert torch.autograd.gradcheck(
            lambda *tables, of=of: inner(tables[0], of, *tables[1:], places), (one, other, bias)
        )


def test_weighted_squares_and_their_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    share = torch.rand(5, generator=generator, dtype=torch.float64)
    expected = sum(float(s) * float(np.square(row).sum()) for s, row in zip(share, array(table), strict=True))
    assert squares(table, share).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: squares(x, share), (table,))


def test_rows_are_moved_by_adagrad_with_one_rate_each() -> None:
    """Sparse and dense gradients against a loop, over steps that name other rows each time."""
    generator = torch.Generator().manual_seed(0)
    table = torch.nn.Parameter(torch.randn(6, 3, generator=generator, dtype=torch.float64))
    dense = torch.nn.Parameter(torch.randn(2, 1, generator=generator, dtype=torch.float64))
    optimizer = RowAdagrad([{"params": [table]}, {"params": [dense], "lr": 0.5}], 0.1)
    expected, sums = {0: array(table).copy(), 1: array(dense).copy()}, {0: np.zeros(6), 1: np.zeros(2)}
    for rows in ([0, 3], [3, 5, 1], [], [0, 1, 2, 3, 4, 5]):
        chosen = torch.tensor(rows, dtype=torch.long)
        weights = torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
        (torch.nn.functional.embedding(chosen, table, sparse=True) * weights).sum().add(dense.sum() * 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        for which, rate, moved in (
            (0, 0.1, zip(rows, array(weights), strict=True)),
            (1, 0.5, ((r, 2.0) for r in (0, 1))),
        ):
            for row, gradient in moved:
                sums[which][row] += np.mean(np.square(gradient))
                expected[which][row] -= rate * gradient / np.sqrt(sums[which][row])
    np.testing.assert_allclose(array(table), expected[0], atol=1e-9)
    np.testing.assert_allclose(array(dense), expected[1], atol=1e-9)


def test_a_row_that_no_batch_names_is_not_touched() -> None:
    model = network(BPR)
    optimizer, before = model.optimizer(list(model.parameters()), 0.1), parameters(model)
    drawn = torch.tensor([1]), torch.tensor([2]), torch.tensor([[6]])
    model.loss(batch_of(model, drawn))["loss"].backward()
    optimizer.step()
    for name, rows in (("user", [1]), ("item", [2, 6]), ("bias", [2, 6])):
        changed = (array(dict(model.named_parameters())[name]) != before[name]).any(1)
        assert np.flatnonzero(changed).tolist() == rows


def test_the_look_learns_as_fast_as_the_rest() -> None:
    """One step from anywhere moves E f about as far as γ, however many features there are."""
    moved = []
    for columns in (4, 1024):
        chosen = replace(CHOSEN, l2=0.0, l2_visual=0.0)
        model = VBPR(chosen, M, N, columns).initialise(torch.Generator().manual_seed(0))
        f = torch.nn.functional.normalize(torch.randn(N, columns, generator=torch.Generator().manual_seed(1)))
        optimizer, before = model.optimizer(list(model.parameters()), 0.1), f @ model.visual.detach()
        model.loss(Batch.build(*draw(), M, N, f))["loss"].backward()
        optimizer.step()
        moved.append(float((f @ model.visual.detach() - before).square().mean().sqrt()))
    assert all(0.01 < step < 0.2 for step in moved), moved


# ---- settings ----


@pytest.mark.parametrize(
    ("settings", "wrong", "message"),
    [
        (BPRSettings, {"split": "lost"}, "did you mean 'last'"),
        (BPRSettings, {"negatives": 0}, "negatives 0: must be at least 1"),
        (BPRSettings, {"test_share": 0.95}, "leave something to train on"),
        (BPRSettings, {"visual_dim": 3}, "no setting 'visual_dim'"),
        (VBPRSettings, {"visual_dim": 0}, "visual_dim 0"),
        (VBPRSettings, {"l2_visual": -0.1}, "l2_visual -0.1"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: type[BPRSettings], wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings.from_dict(wrong)
