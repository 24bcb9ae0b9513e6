"""Each equation of TransGRec against a statement with plain loops; gradients, options, sampling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.core.graph import Graph
from reelmill.models.core.rows import pick
from reelmill.models.core.sampling import Negatives
from reelmill.models.transgrec.model import Batch, TransGRec
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.storage.errors import InputError

USERS, ITEMS, FEATURES, DIM = 5, 7, 6, 4
EDGES = ((0, 1), (0, 3), (1, 1), (2, 0), (2, 1), (2, 5), (3, 3))
"""User 4 and items 2, 4 and 6 have no neighbour."""


def settings(**changes: object) -> TransGRecSettings:
    return TransGRecSettings.from_dict({"dim": DIM, "negatives": 2, "init_std": 0.5, **changes})


def network(chosen: TransGRecSettings, seed: int = 0) -> TransGRec:
    generator = torch.Generator().manual_seed(seed)
    return TransGRec(chosen, USERS, ITEMS, FEATURES).double().initialise(generator)


@pytest.fixture
def graph() -> Graph:
    features = torch.randn(ITEMS, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    user, item = torch.tensor(EDGES).T
    return Graph.build(features, user, item, USERS)


@pytest.fixture
def batch(graph: Graph) -> Batch:
    return Batch(graph, torch.tensor([0, 2, 3]), torch.tensor([1, 5, 3]), torch.tensor([[0, 2], [3, 6], [6, 6]]))


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def softplus(x: float) -> float:
    return float(np.log1p(np.exp(x)))


def plain_propagation(model: TransGRec, graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Eq. 2 to 9, one node at a time."""
    features, w0 = array(graph.features), array(model.w0.weight)
    g = np.array([w0 @ f for f in features])
    y = np.array([g[i] + array(model.z)[i] for i in range(ITEMS)])
    u, v = array(model.x), y
    for k in range(model.settings.depth):
        w_u, w_v = array(model.w_user[k].weight), array(model.w_item[k].weight)
        new_u, new_v = np.zeros_like(u), np.zeros_like(v)
        for a in range(USERS):
            near = [v[i] for b, i in EDGES if b == a]
            new_u[a] = relu(w_u @ (u[a] + (np.mean(near, axis=0) if near else 0)))
        for i in range(ITEMS):
            near = [u[a] for a, j in EDGES if j == i]
            new_v[i] = relu(w_v @ (v[i] + (np.mean(near, axis=0) if near else 0)))
        u, v = new_u, new_v
    return g, y, u, v


def plain_transfer(model: TransGRec, x: np.ndarray) -> np.ndarray:
    """Eq. 11."""
    return relu(array(model.transfer[2].weight) @ relu(array(model.transfer[0].weight) @ x))


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_propagation(graph: Graph, depth: int) -> None:
    model = network(settings(depth=depth))
    for got, expected in zip(model.propagate(graph), plain_propagation(model, graph), strict=True):
        np.testing.assert_allclose(array(got), expected, atol=1e-12)


def test_depth_zero_is_the_matrix_form(graph: Graph) -> None:
    model = network(settings(depth=0))
    _, _, u, v = model.propagate(graph)
    scores = array(u) @ array(v).T
    expected = array(model.x) @ (array(graph.features) @ array(model.w0.weight).T + array(model.z)).T
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_a_node_without_neighbours_keeps_to_itself(graph: Graph) -> None:
    model = network(settings(depth=1))
    _, y, u, v = model.propagate(graph)
    np.testing.assert_allclose(array(u)[4], relu(array(model.w_user[0].weight) @ array(model.x)[4]), atol=1e-12)
    np.testing.assert_allclose(array(v)[6], relu(array(model.w_item[0].weight) @ array(y)[6]), atol=1e-12)


def plain_preference(model: TransGRec, batch: Batch) -> float:
    """Eq. 10 and 14, one triple at a time."""
    _, _, u, v = plain_propagation(model, batch.graph)
    x, z = array(model.x), array(model.z)
    terms = []
    for a, i, negatives in zip(batch.user.tolist(), batch.positive.tolist(), batch.negative.tolist(), strict=True):
        for j in negatives:
            bpr = softplus(-(u[a] @ v[i] - u[a] @ v[j]))
            terms.append(bpr + model.settings.l2 * ((x[a] ** 2).sum() + (z[i] ** 2).sum() + (z[j] ** 2).sum()))
    return float(np.mean(terms))


@pytest.mark.parametrize("transfer_input", ["content", "fused"])
def test_euclidean_loss(batch: Batch, transfer_input: str) -> None:
    """Eq. 15: sums over pairs and over items, divided by the pairs of an epoch."""
    model = network(settings(transfer_input=transfer_input, balance=3.0, l2=0.01))
    g, y, _, v = plain_propagation(model, batch.graph)
    given = g if transfer_input == "content" else y
    distance = sum(float(((plain_transfer(model, given[i]) - v[i]) ** 2).sum()) for i in range(ITEMS))
    expected = plain_preference(model, batch) + 3.0 * distance / (len(EDGES) * 2)
    assert model.loss(batch)["loss"].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("generator_loss", ["non_saturating", "as_printed"])
def test_adversarial_losses(batch: Batch, generator_loss: str) -> None:
    """Eq. 13, 14, 16, 17, one pair at a time."""
    model = network(settings(variant="adversarial", depth=1, generator_loss=generator_loss))
    assert model.judge is not None
    first, second = model.judge[0], model.judge[2]
    g, _, u, v = plain_propagation(model, batch.graph)

    def judge(item: np.ndarray, user: np.ndarray, r: int) -> float:
        hidden = relu(array(first.weight) @ np.concatenate([item, user, [r]]) + array(first.bias))
        return 1 / (1 + np.exp(-(array(second.weight) @ hidden + array(second.bias))[0]))

    made, judged = [], []
    for a, i, negatives in zip(batch.user.tolist(), batch.positive.tolist(), batch.negative.tolist(), strict=True):
        for item, r in [(i, 1), *((j, 0) for j in negatives)]:
            fake, real = judge(plain_transfer(model, g[item]), u[a], r), judge(v[item], u[a], r)
            made.append(-np.log(fake) if generator_loss == "non_saturating" else np.log(1 - fake))
            judged.append(-np.log(real) - np.log(1 - fake))
    assert model.loss(batch, 0)["loss"].item() == pytest.approx(plain_preference(model, batch), rel=1e-10)
    assert model.loss(batch, 1)["loss"].item() == pytest.approx(np.mean(made), rel=1e-10)
    assert model.loss(batch, 2)["loss"].item() == pytest.approx(np.mean(judged), rel=1e-10)


def test_each_turn_moves_its_own_parameters_only(batch: Batch) -> None:
    model = network(TransGRecSettings.adversarial(dim=DIM))
    groups = model.turns()
    assert sum(len(group) for group in groups) == len(list(model.parameters()))
    for turn, group in enumerate(groups):
        model.zero_grad()
        model.loss(batch, turn)["loss"].backward()
        assert all(p.grad is not None for p in group)
        if turn:  # T and D see the graph network fixed
            assert all(p.grad is None for p in groups[0])


def test_gradients_against_finite_differences(batch: Batch) -> None:
    for chosen in (settings(), settings(variant="adversarial", depth=1)):
        model = network(chosen)
        for turn, group in enumerate(model.turns()):
            names = [name for name, p in model.named_parameters() if any(p is q for q in group)]

            def loss(*values: Tensor, turn: int = turn, names: list[str] = names, model: TransGRec = model) -> Tensor:
                given = dict(zip(names, values, strict=True))
                return torch.func.functional_call(
                    _Loss(model, batch, turn), {f"model.{k}": p for k, p in given.items()}
                )

            assert torch.autograd.gradcheck(loss, tuple(p.detach().requires_grad_() for p in group))


class _Loss(torch.nn.Module):
    def __init__(self, model: TransGRec, batch: Batch, turn: int) -> None:
        super().__init__()
        self.model, self.batch, self.turn = model, batch, turn

    def forward(self) -> Tensor:
        return self.model.loss(self.batch, self.turn)["loss"]


def test_the_teacher_can_be_left_alone(batch: Batch) -> None:
    joint, alone = network(settings(balance=50.0)), network(settings(balance=50.0, stop_grad_teacher=True))
    without = network(settings(balance=0.0))
    gradients = []
    for model in (joint, alone, without):
        model.loss(batch)["loss"].backward()
        gradients.append(array(model.x.grad))
    assert np.abs(gradients[0] - gradients[2]).max() > 1e-3
    np.testing.assert_allclose(gradients[1], gradients[2], atol=1e-12)


def test_score_is_equation_18_on_raw_features(graph: Graph) -> None:
    model = network(settings())
    model.feature_mean.fill_(2.0)
    model.feature_scale.fill_(3.0)
    model.settle(graph)
    users = torch.tensor([0, 4])
    raw = torch.randn(2, FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, _, u, _ = plain_propagation(model, graph)
    for row, (a, f) in enumerate(zip(users.tolist(), array(raw), strict=True)):
        expected = u[a] @ plain_transfer(model, array(model.w0.weight) @ ((f - 2.0) / 3.0))
        assert float(model.score(users, raw)[row]) == pytest.approx(expected, rel=1e-10)


def test_edge_dropout_keeps_both_directions_alike(graph: Graph) -> None:
    dropped = graph.drop(0.5, torch.Generator().manual_seed(3))

    def edges(g: Graph) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        users = torch.repeat_interleave(torch.arange(USERS), g.items_of.start.diff())
        items = torch.repeat_interleave(torch.arange(ITEMS), g.users_of.start.diff())
        return (
            set(zip(users.tolist(), g.items_of.member.tolist(), strict=True)),
            set(zip(g.users_of.member.tolist(), items.tolist(), strict=True)),
        )

    assert edges(graph) == (set(EDGES), set(EDGES))
    by_user, by_item = edges(dropped)
    assert by_user == by_item < set(EDGES)
    assert len(by_user) > 0
    network(settings()).propagate(graph.drop(1.0, torch.Generator()))  # no edge at all


def test_negatives_are_even_and_never_own() -> None:
    user, item = torch.tensor([*EDGES, (4, 0), (4, 2), (4, 6)]).T
    order = torch.tensor([5, 2, 8, 0, 9, 3, 1, 7, 4, 6])
    negatives = Negatives(user[order], item[order], USERS + 1, ITEMS)
    drawn = negatives.draw(torch.arange(USERS + 1), 7000, torch.Generator().manual_seed(0))
    for a in range(USERS + 1):
        own = set(item[user == a].tolist())
        counts = torch.bincount(drawn[a], minlength=ITEMS)
        for i in range(ITEMS):
            expected = 0 if i in own else 7000 / (ITEMS - len(own))
            assert abs(int(counts[i]) - expected) <= 5 * expected**0.5, (a, i)


def test_a_user_who_likes_everything_has_no_negative() -> None:
    everything = Negatives(torch.zeros(3, dtype=torch.long), torch.arange(3), 2, 3)
    assert everything.possible(torch.tensor([0, 1])).tolist() == [False, True]


def test_initial_weights_have_their_spread() -> None:
    chosen = replace(TransGRecSettings(), init_std=0.1)
    model = TransGRec(chosen, 400, 300, 512).initialise(torch.Generator().manual_seed(0))
    assert float(model.x.detach().std()) == pytest.approx(0.1, rel=0.05)
    features = torch.randn(200, 512, generator=torch.Generator().manual_seed(1)) / 512**0.5  # of unit length
    g = model.w0(features)
    assert float(g.detach().std()) == pytest.approx(0.1, rel=0.1)
    again = TransGRec(chosen, 400, 300, 512).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


def test_the_papers_variants() -> None:
    assert (TransGRecSettings().variant, TransGRecSettings().depth, TransGRecSettings().dim) == ("euclidean", 2, 128)
    adversarial = TransGRecSettings.adversarial(epochs=3)
    assert (adversarial.variant, adversarial.depth, adversarial.epochs) == ("adversarial", 1, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variant": "euclidian"}, "did you mean 'euclidean'"),
        ({"layers": 2}, "no setting 'layers'"),
        ({"depth": -1}, "depth -1: must be at least 0"),
        ({"epochs": "50"}, "epochs '50': must be of type int"),
        ({"learning_rate": 0}, "learning_rate 0.0"),
        ({"edge_dropout": 1.0}, "at most 0.99"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TransGRecSettings.from_dict(wrong)


def test_equal_batches_give_equal_gradients_on_many_threads() -> None:
    """Rows that a batch names many times have their gradients added up in one order, whatever the threads do."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(40, 64, generator=generator, requires_grad=True)
    rows = torch.randint(0, 40, (40_000,), generator=generator)
    weights = torch.randn(40_000, 64, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        gradients = []
        for _ in range(12):
            (gradient,) = torch.autograd.grad((pick(table, rows) * weights).sum(), table)
            gradients.append(gradient)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
