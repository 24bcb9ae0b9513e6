"""LFM: a fit against `implicit`, and users folded in. Its least squares are tested in `test_als`."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from reelmill.models.baselines.lfm import LFMSettings
from reelmill.models.baselines.lfm.model import LFM, Batch
from reelmill.models.core import als, sparse
from reelmill.models.protocols.next_videos.history import Past
from reelmill.storage.errors import InputError

USERS, VIDEOS = 90, 40
SETTINGS = LFMSettings(dim=6, l2=3.0)


def watches() -> torch.Tensor:
    """(USERS, VIDEOS) CSR: users of even number watch videos of even number, with few others."""
    rng = np.random.default_rng(0)
    like = (np.arange(USERS)[:, None] + np.arange(VIDEOS)) % 2 == 0
    row, column = torch.from_numpy(rng.random((USERS, VIDEOS)) < np.where(like, 0.5, 0.05)).nonzero().T
    return sparse.of_pairs(row, column, None, USERS, VIDEOS)


def swept(given: torch.Tensor, sweeps: int) -> tuple[LFM, list[float]]:
    model = LFM(SETTINGS, USERS, VIDEOS)
    model.items.copy_(als.start(VIDEOS, SETTINGS.dim, torch.Generator().manual_seed(0)))
    batch = Batch(given, sparse.transposed(given))
    return model, [float(model.solve(batch)["loss"]) for _ in range(sweeps)]


@pytest.mark.filterwarnings("ignore")  # OpenBLAS threads, of which `implicit` warns
def test_a_fit_against_implicit() -> None:
    """From the same start: equal scores of all pairs."""
    from implicit.cpu.als import AlternatingLeastSquares

    given = watches()
    place = (sparse.row_of(given).numpy(), given.col_indices().numpy())
    confidence = csr_matrix((np.full(len(place[0]), 1 + SETTINGS.alpha), place), (USERS, VIDEOS), dtype=np.float32)
    rival = AlternatingLeastSquares(SETTINGS.dim, SETTINGS.l2, iterations=8, num_threads=1)
    begin = als.start(VIDEOS, SETTINGS.dim, torch.Generator().manual_seed(0)).numpy()
    rival.user_factors, rival.item_factors = np.zeros((USERS, SETTINGS.dim), np.float32), begin.copy()
    rival.fit(confidence, show_progress=False)
    model, losses = swept(given, 8)
    assert losses == sorted(losses, reverse=True)
    theirs = rival.user_factors @ rival.item_factors.T
    np.testing.assert_allclose((model.users @ model.items.T).numpy(), theirs, atol=2e-3)


def test_a_past_is_folded_in_by_ridge_regression() -> None:
    model, _ = swept(watches(), 3)
    own = torch.tensor([4, 0, 7])
    past = Past(own, torch.zeros(3), torch.tensor([0, 3, 3]))
    weight = torch.ones(VIDEOS)
    weight[own] += SETTINGS.alpha
    items = model.items
    left = (items * weight[:, None]).T @ items + SETTINGS.l2 * torch.eye(SETTINGS.dim)
    expected = items @ torch.linalg.solve(left, (1 + SETTINGS.alpha) * items[own].sum(0))
    found = model.score(past)
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-3)
    assert not found[1].any()


def test_settings() -> None:
    for wrong in ({"l2": 0.0}, {"dim": 0}, {"alpha": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            LFMSettings(**wrong)  # type: ignore[arg-type]
