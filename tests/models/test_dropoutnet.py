"""DropoutNet: towers and loss against a statement with plain loops, gradients, standardised preferences against
scikit-learn, which pairs are drawn and what of them is left out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from reelmill.models.baselines.dropoutnet import DropoutNetSettings
from reelmill.models.baselines.dropoutnet.model import CAP, Batch, DropoutNet, standardised
from reelmill.models.baselines.dropoutnet.task import DropoutNetTask
from reelmill.models.core import als, sparse
from reelmill.models.protocols.segments import data
from reelmill.models.registry import settings_for, world_of
from reelmill.models.transgrec.world import World, write
from reelmill.storage.errors import InputError

USERS, DIM, FEATURES = 6, 3, 5
SETTINGS = DropoutNetSettings(dim=DIM, hidden=4)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network() -> DropoutNet:
    model = DropoutNet(SETTINGS, USERS, FEATURES).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model


@pytest.fixture
def batch() -> Batch:
    return Batch(drawn(7, DIM, seed=2), drawn(7, DIM, seed=3), drawn(7, FEATURES, seed=4), drawn(7, seed=5))


def plain_tower(tower: nn.Sequential, rows: np.ndarray) -> np.ndarray:
    """Row by row; mean and variance are those of the batch."""
    norm, weights = tower[1], {name: value.detach().numpy() for name, value in tower.named_parameters()}
    assert isinstance(norm, nn.BatchNorm1d)
    hidden = np.array([weights["0.weight"] @ row + weights["0.bias"] for row in rows])
    scaled = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-3)
    inner = np.tanh(scaled * weights["1.weight"] + weights["1.bias"])
    return np.array([weights["3.weight"] @ row + weights["3.bias"] for row in inner])


def test_the_loss_is_that_of_each_pair(batch: Batch) -> None:
    model = network().train()
    users = plain_tower(model.user_tower, batch.users.numpy())
    given = [np.concatenate([v, FEATURES**0.5 * f]) for v, f in zip(batch.items.numpy(), batch.features, strict=True)]
    items = plain_tower(model.item_tower, np.array(given))
    losses = [(target - u @ v) ** 2 for target, u, v in zip(batch.target.numpy(), users, items, strict=True)]
    assert float(model.loss(batch)["loss"].detach()) == pytest.approx(np.mean(losses), rel=1e-12)


def test_gradients_against_finite_differences(batch: Batch) -> None:
    model = network().train()
    names = [name for name, _ in model.named_parameters()]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.track_running_stats = False  # or each call would change the next one

    def loss(*values: Tensor) -> Tensor:
        given = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(model, batch), given)

    assert torch.autograd.gradcheck(loss, tuple(p.detach().requires_grad_() for p in model.parameters()))


class Loss(nn.Module):
    def __init__(self, model: DropoutNet, batch: Batch) -> None:
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self) -> Tensor:
        return self.model.loss(self.batch)["loss"]


def test_preferences_are_standardised_as_by_scikit_learn() -> None:
    rows = drawn(200, 4) ** 3 * torch.tensor([1.0, 5.0, 0.1, 1.0]) + 2
    rows[:, 3] = 7.0  # a column without any spread
    rows[::5] = 0
    there = rows.any(1)
    found = standardised(rows)
    expected = StandardScaler().fit_transform(rows[there].numpy()).clip(-CAP, CAP)
    np.testing.assert_allclose(found[there].numpy(), expected, atol=1e-9)
    assert not found[~there].any()
    assert found.abs().max() == CAP
    assert not standardised(torch.zeros(3, 2)).any()


def test_a_new_item_has_content_alone_and_the_first_weights_are_truncated() -> None:
    model = DropoutNet(SETTINGS, USERS, FEATURES).initialise(torch.Generator().manual_seed(0)).eval()
    features = drawn(4, FEATURES).float()
    torch.testing.assert_close(model.embed(features), model.items(torch.zeros(4, DIM), features))
    weights = torch.cat(
        [p.flatten() for name, p in model.named_parameters() if name.endswith(("0.weight", "3.weight"))]
    )
    assert 0.006 < float(weights.detach().std()) < 0.012
    assert float(weights.detach().abs().max()) <= 0.02


# ---- pairs ----


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> DropoutNetTask:
    folder = tmp_path_factory.mktemp("world")
    stores = write(folder, World(users=40, old_videos=12, new_videos=6))
    options = {**world_of("dropoutnet").options, "top": 20}
    settings = DropoutNetSettings.from_dict(options)
    return DropoutNetTask(data.load(Path(folder), **stores), settings, torch.device("cpu"))


def test_the_factorisation_is_of_the_training_likes(task: DropoutNetTask) -> None:
    likes = torch.zeros(len(task.data.users), len(task.items))
    likes[task.edge_user, task.edge_item] = 1
    user, item = likes.nonzero().T
    given = sparse.of_pairs(user, item, None, *likes.shape)
    settings, generator = task.settings, torch.Generator().manual_seed(task.settings.seed)
    fitted = als.factorise(given, settings.dim, settings.alpha, settings.wmf_l2, settings.sweeps, generator)
    assert torch.equal(fitted.users, task.factors.users)
    predicted = task.factors.users @ task.factors.items.T
    assert predicted[likes > 0].mean() > predicted[likes == 0].mean() + 0.5


def test_pairs_are_the_highest_targets_and_as_many_others(task: DropoutNetTask) -> None:
    users = task.trained[[3, 0, 7]]
    user, item, target = (part.view(3, 40) for part in task.pairs(users, torch.Generator().manual_seed(0)))
    assert torch.equal(user, users[:, None].expand(3, 40))
    for row, u in enumerate(users.tolist()):
        scores = task.factors.items @ task.factors.users[u]
        assert set(item[row, :20].tolist()) == set(scores.argsort(descending=True)[:20].tolist())
        np.testing.assert_allclose(target[row].numpy(), scores[item[row]].numpy(), atol=1e-5)
    assert len(item[:, 20:].unique()) > 40  # of 60 drawn from 144


def test_half_of_either_input_is_left_out_on_its_own(task: DropoutNetTask) -> None:
    whole = [b for b in task.batches(torch.Generator().manual_seed(0)) if len(b.users) == task.settings.batch]
    assert whole
    both = 0.0
    for given in whole:
        without = [(~part.any(1)) for part in (given.users, given.items)]
        assert int(without[0].sum()) == task.settings.batch // 2
        assert int(without[1].sum()) >= task.settings.batch // 2  # an item without likes has none to begin with
        both += float((without[0] & without[1]).float().mean()) / float(without[1].float().mean()) / len(whole)
        assert given.features.any(1).all()
    assert both == pytest.approx(0.5, abs=0.06)
    count = sum(len(b.users) for b in task.batches(torch.Generator().manual_seed(0)))
    assert count == len(task.trained) * 40


def test_the_settings_have_the_authors_figures_and_refuse_others() -> None:
    settings = DropoutNetSettings()
    assert (settings.optimiser, settings.learning_rate, settings.batch, settings.epochs) == ("sgd", 5e-3, 100, 10)
    assert (settings.hidden, settings.dropout, settings.top, settings.dim) == (200, 0.5, 2500, 128)
    for wrong in ({"batch": 1}, {"dropout": 1.5}, {"alpha": -1}, {"optimiser": "sdg"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            settings_for("dropoutnet", wrong)
