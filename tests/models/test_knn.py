"""KNN: against `implicit`, against plain loops, and what it answers."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from reelmill.models.baselines.knn import KNNSettings
from reelmill.models.baselines.knn.model import UserNeighbours, VideoNeighbours, batches, empty
from reelmill.models.core import sparse
from reelmill.models.protocols.next_videos.history import Past
from reelmill.storage.errors import InputError

USERS, VIDEOS = 80, 50


def watches(seed: int = 0, share: float = 0.2) -> torch.Tensor:
    """(USERS, VIDEOS) CSR; video 0 has no watcher, and user 0 no watch."""
    dense = torch.from_numpy(np.random.default_rng(seed).random((USERS, VIDEOS)) < share)
    dense[0] = dense[:, 0] = False
    row, column = dense.nonzero().T
    return sparse.of_pairs(row, column, None, USERS, VIDEOS)


def by_videos(given: torch.Tensor, neighbours: int, batch: int = 13) -> VideoNeighbours:
    model = VideoNeighbours(VIDEOS, neighbours)
    for some in batches(given, batch):
        model.solve(some)
    return model


def plain_cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of two sets, 0 if either is empty."""
    size = float(np.sqrt(one.sum() * other.sum()))
    return float((one & other).sum()) / size if size else 0.0


def plain_scores(past: np.ndarray, watched: np.ndarray, neighbours: int) -> np.ndarray:
    """Item-based scores (N,) of one user with watches (N,), with plain loops."""
    score = np.zeros(VIDEOS)
    for video in np.flatnonzero(past):
        cosine = [-1.0 if i == video else plain_cosine(watched[:, video], watched[:, i]) for i in range(VIDEOS)]
        for other in np.argsort(cosine, kind="stable")[::-1][:neighbours]:
            score[other] += cosine[other]
    return score


def test_scores_against_plain_loops() -> None:
    """With all videos as neighbours, so that no tie is broken."""
    given = watches()
    dense = given.to_dense().numpy() > 0
    found = by_videos(given, VIDEOS - 1).of_watches(given).numpy()
    np.testing.assert_allclose(found, [plain_scores(row, dense, VIDEOS - 1) for row in dense], atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # OpenBLAS threads, of which `implicit` warns
@pytest.mark.parametrize("neighbours", [7, VIDEOS - 1])
def test_neighbours_and_scores_against_implicit(neighbours: int) -> None:
    """Neighbours that tie for the last place may be others; with all videos as neighbours there are none."""
    from implicit.nearest_neighbours import CosineRecommender

    given = watches(1)
    place = (sparse.row_of(given).numpy(), given.col_indices().numpy())
    theirs = csr_matrix((np.ones(len(place[0])), place), (USERS, VIDEOS))
    rival = CosineRecommender(K=neighbours + 1, num_threads=1)  # it counts a video itself
    rival.fit(theirs, show_progress=False)
    similar = rival.similarity.toarray()
    np.fill_diagonal(similar, 0)
    model = by_videos(given, neighbours)
    assert (model.neighbour.diff(dim=1) > 0).all()
    np.testing.assert_allclose(np.sort(model.similarity), np.sort(similar)[:, -neighbours:], atol=1e-6)
    mine = torch.zeros(VIDEOS, VIDEOS).scatter_(1, model.neighbour, model.similarity).numpy()
    above = np.sort(similar)[:, [-neighbours]] + 1e-6
    assert (similar > above).sum() > 5 * VIDEOS
    np.testing.assert_allclose(np.where(mine > above, mine, 0), np.where(similar > above, similar, 0), atol=1e-6)
    if neighbours == VIDEOS - 1:
        np.testing.assert_allclose(model.of_watches(given).numpy(), theirs @ similar, atol=1e-5)


def test_users_against_plain_loops() -> None:
    """A user in the training is their own nearest neighbour; a tested one is not in it."""
    given, other = watches(2), watches(3)
    model = UserNeighbours(VIDEOS, 5, USERS, given.values().numel())
    model.solve(given)
    trained, asked = given.to_dense().numpy() > 0, other.to_dense().numpy() > 0
    cosine = np.array([[plain_cosine(one, two) for two in trained] for one in asked])
    expected = np.zeros((USERS, VIDEOS))
    for row, values in enumerate(cosine):
        for user in np.argsort(-values, kind="stable")[:5]:
            expected[row] += values[user] * trained[user]
    edge = np.sort(cosine)[:, ::-1]
    clear = edge[:, 4] - edge[:, 5] > 1e-6
    assert clear.sum() > USERS / 2
    np.testing.assert_allclose(model.of_watches(other).numpy()[clear], expected[clear], atol=1e-5)


def test_a_past_scores_as_its_watches() -> None:
    given = watches()
    model, own = by_videos(given, 6), given.to_dense()[5].nonzero()[:, 0]
    past = Past(own.flip(0), torch.arange(len(own)).float(), torch.tensor([0, len(own)]))
    assert torch.equal(model.score(past)[0], model.of_watches(given)[5])
    video = int(model.of_watches(given)[5].argmax())
    assert sum(value for _, value in model.parts(own, video)) == pytest.approx(float(model.score(past)[0, video]))


def test_settings_choose_the_kind() -> None:
    assert isinstance(empty(KNNSettings(), videos=3, neighbours=2), VideoNeighbours)
    users = empty(KNNSettings(user_based=True), videos=3, neighbours=2, users=4, watches=5)
    assert isinstance(users, UserNeighbours)
    with pytest.raises(InputError, match="neighbours 0"):
        KNNSettings(neighbours=0)
