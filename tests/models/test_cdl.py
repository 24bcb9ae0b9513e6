"""CDL and LapReg: distances, losses and the Laplacian term against a statement with plain loops; gradients; options."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reelmill.models.baselines.cdl import CDLSettings, ComparativeSettings, LapRegSettings
from reelmill.models.baselines.cdl.model import Batch, Comparative
from reelmill.models.registry import settings_for
from reelmill.storage.errors import InputError

USERS, DIM = 4, 5
SMALL = {"dim": 3, "hidden": 6, "init_std": 0.5, "l2": 0.02}


def network(settings: ComparativeSettings) -> Comparative:
    model = Comparative(settings, USERS, DIM).double().initialise(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (model.first.bias, model.second.bias, model.weights):
            if parameter is not None:
                parameter.normal_(0, 0.3, generator=generator)
    return model


@pytest.fixture
def batch() -> Batch:
    features = torch.randn(3, 3, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Batch(torch.tensor([0, 2, 2]), features, torch.tensor([[1, 3], [2, 4], [2, 1]]))


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def plain_item(model: Comparative, features: np.ndarray) -> np.ndarray:
    hidden = np.maximum(array(model.first.weight) @ (DIM**0.5 * features) + array(model.first.bias), 0)
    return array(model.second.weight) @ hidden + array(model.second.bias)


def plain_distance(model: Comparative, user: np.ndarray, item: np.ndarray) -> float:
    m = np.ones(len(user)) if model.weights is None else np.log1p(np.exp(array(model.weights)))
    return float(sum(m[k] * (user[k] - item[k]) ** 2 for k in range(len(user))))


def plain_loss(model: Comparative, batch: Batch) -> float:
    """One triple, and one edge, at a time."""
    settings, triples, edges = model.settings, [], []
    assert batch.degrees is not None
    for b, a in enumerate(batch.user.tolist()):
        w, items = array(model.users)[a], [plain_item(model, array(f)) for f in batch.features[b]]
        for other in items[1:]:
            behind = plain_distance(model, w, other) - plain_distance(model, w, items[0])
            triples.append(-np.log(1 / (1 + np.exp(-behind))) + settings.l2 * (w @ w))
        roots = np.ones(2)
        if isinstance(settings, LapRegSettings) and settings.laplacian == "normalised":
            roots = np.sqrt(array(batch.degrees[b]))
        edges.append(((w / roots[0] - items[0] / roots[1]) ** 2).sum())
    gamma = settings.gamma if isinstance(settings, LapRegSettings) else 0
    return float(np.mean(triples) + gamma * np.mean(edges))


EVERY = [
    CDLSettings.from_dict(SMALL),
    CDLSettings.from_dict({**SMALL, "metric": "euclidean"}),
    LapRegSettings.from_dict({**SMALL, "gamma": 0.7}),
    LapRegSettings.from_dict({**SMALL, "gamma": 0.7, "laplacian": "unnormalised", "metric": "euclidean"}),
]


@pytest.mark.parametrize("settings", EVERY)
def test_the_loss_is_that_of_each_triple_and_edge(batch: Batch, settings: ComparativeSettings) -> None:
    model = network(settings)
    assert float(model.loss(batch)["loss"].detach()) == pytest.approx(plain_loss(model, batch), rel=1e-12)


@pytest.mark.parametrize("settings", EVERY)
def test_gradients_against_finite_differences(batch: Batch, settings: ComparativeSettings) -> None:
    model = network(settings)
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        given = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(model, batch), given)

    assert torch.autograd.gradcheck(loss, tuple(p.detach().requires_grad_() for p in model.parameters()))


class Loss(torch.nn.Module):
    def __init__(self, model: Comparative, batch: Batch) -> None:
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self) -> Tensor:
        return self.model.loss(self.batch)["loss"]


def test_without_gamma_lapreg_is_cdl(batch: Batch) -> None:
    with_graph = LapRegSettings.from_dict({**SMALL, "gamma": 0})
    one, other = network(CDLSettings.from_dict(SMALL)), network(with_graph)
    assert float(one.loss(batch)["loss"].detach()) == float(other.loss(batch)["loss"].detach())
    more = network(replace(with_graph, gamma=1.0)).loss(batch)
    assert float((more["loss"] - more["laplacian"]).detach()) == pytest.approx(float(one.loss(batch)["loss"].detach()))


def test_users_and_items_start_with_one_spread_and_the_distance_as_euclidean() -> None:
    model = Comparative(CDLSettings(dim=256), 400, 512).initialise(torch.Generator().manual_seed(0))
    features = torch.randn(200, 512, generator=torch.Generator().manual_seed(1)) / 512**0.5
    items = model.embed(features).detach()
    assert float(model.users.detach().std()) == pytest.approx(0.1, rel=0.05)
    assert float(items.std()) == pytest.approx(0.1, rel=0.15)
    distance = model.distance(model.users[:200], items).detach()
    np.testing.assert_allclose(array(distance), array((model.users[:200] - items).square().sum(1)), rtol=1e-5)


def test_the_settings_have_the_papers_figures_and_refuse_others() -> None:
    settings = settings_for("lapreg", {})
    assert isinstance(settings, LapRegSettings)
    assert (settings.dim, settings.negatives, settings.batch, settings.learning_rate) == (128, 10, 50, 1e-3)
    for wrong in ({"metric": "learnt"}, {"laplacian": "normalized"}, {"gamma": -1}, {"least_videos": 1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            settings_for("lapreg", wrong)
