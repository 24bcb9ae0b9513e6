"""SCA: W against scikit-learn's ridge regression and by its gradient, scores against plain loops, the choice of λ."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from reelmill.models.baselines.sca import SCASettings
from reelmill.models.baselines.sca.model import SCA, Batch
from reelmill.models.protocols.next_videos.history import Past
from reelmill.storage.errors import InputError

USERS, VIDEOS, POST_TOPICS, DIM = 50, 12, 5, 4


def mixtures(rows: int, topics: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows).dirichlet(np.full(topics, 0.3), rows)).float()


def solved(l2: str) -> tuple[SCA, Batch]:
    settings = SCASettings(l2=l2)
    model = SCA(settings, VIDEOS, POST_TOPICS, DIM)
    model.videos.copy_(mixtures(VIDEOS, DIM))
    batch = Batch(mixtures(USERS, POST_TOPICS), mixtures(USERS + 1, DIM)[:USERS])
    return model, batch


@pytest.mark.parametrize("weight", [0.01, 3.0])
def test_the_map_is_that_of_ridge_regression(weight: float) -> None:
    model, batch = solved(str(weight))
    figures = model.solve(batch)
    oracle = Ridge(alpha=weight, fit_intercept=False).fit(batch.posts.numpy(), batch.watches.numpy())
    np.testing.assert_allclose(model.transfer.numpy(), oracle.coef_.T, atol=1e-5)
    error = np.square(oracle.predict(batch.posts.numpy()) - batch.watches.numpy()).sum(1).mean()
    assert float(figures["loss"]) == pytest.approx(error, rel=1e-4)
    assert float(figures["l2"]) == pytest.approx(weight)
    free = model.transfer.clone().requires_grad_()
    ((batch.posts @ free - batch.watches).square().sum() + weight * free.square().sum()).backward()
    assert free.grad is not None
    assert free.grad.abs().max() < 1e-4


def test_scores_against_plain_loops() -> None:
    model, batch = solved("0.1")
    model.solve(batch)
    said = [[0, 1, 1, 4], [], [2]]
    start = torch.tensor([0, 4, 4, 5])
    found = model.score(Past(torch.tensor([0, 1, 1, 4, 2]), torch.arange(5.0), start)).numpy()
    for user, own in enumerate(said):
        share = np.bincount(np.array(own, np.int64), minlength=POST_TOPICS) / max(len(own), 1)
        wanted = share @ model.transfer.numpy()
        for video, mixture in enumerate(model.videos.numpy()):
            length = np.linalg.norm(wanted) * np.linalg.norm(mixture)
            assert found[user, video] == pytest.approx(wanted @ mixture / length if length else 0, abs=1e-6)


def test_each_epoch_tries_the_next_weight() -> None:
    model, batch = solved("0.1,10,1000")
    assert model.passes == 3
    sizes = []
    for weight in (0.1, 10.0, 1000.0):
        assert float(model.solve(batch)["l2"]) == pytest.approx(weight)
        sizes.append(float(model.transfer.norm()))
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("l2", ["", "0", "1,-1", "1,,2", "nan", "inf", "one"])
def test_weights_that_are_no_weights_are_refused(l2: str) -> None:
    with pytest.raises(InputError, match="l2"):
        SCASettings(l2=l2)
