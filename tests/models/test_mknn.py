"""MKNN: against plain loops and scikit-learn's neighbours."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from reelmill.models.baselines.mknn import MKNNSettings
from reelmill.models.baselines.mknn.model import MKNN, Batch
from reelmill.models.core import sparse
from reelmill.models.protocols.next_videos.history import Past

USERS, VIDEOS, TOPICS, NEIGHBOURS = 40, 30, 6, 7


def posts(seed: int) -> list[list[int]]:
    """Topics of what each of some users posted; the first one nothing."""
    rng = np.random.default_rng(seed)
    return [rng.integers(TOPICS, size=0 if user == 0 else rng.integers(5, 60)).tolist() for user in range(USERS)]


def past(said: list[list[int]]) -> Past:
    """Their ages do not count."""
    member = torch.tensor([topic for own in said for topic in own], dtype=torch.long)
    return Past(member, torch.linspace(9, 0, len(member)), torch.tensor(np.cumsum([0, *map(len, said)])))


def shares(said: list[list[int]]) -> np.ndarray:
    return np.array([np.bincount(np.array(own, np.int64), minlength=TOPICS) / max(len(own), 1) for own in said])


def test_scores_against_plain_loops() -> None:
    watched = np.random.default_rng(5).random((USERS, VIDEOS)) < 0.3
    trained, asked = shares(posts(0)), shares(posts(1))
    place = torch.from_numpy(watched).nonzero().T
    model = MKNN(MKNNSettings(neighbours=NEIGHBOURS), VIDEOS, USERS, place.shape[1], TOPICS)
    model.solve(Batch(torch.from_numpy(trained).float(), sparse.of_pairs(*place, None, USERS, VIDEOS)))
    scores = model.score(past(posts(1))).numpy()
    assert not scores[0].any()
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(trained[1:])
    for user in range(1, USERS):
        expected = np.zeros(VIDEOS)
        distances, others = (found[0] for found in nearest.kneighbors(asked[[user]]))
        for distance, other in zip(distances, others, strict=True):
            for video in range(VIDEOS):
                expected[video] += (1 - distance) * watched[other + 1, video]
        np.testing.assert_allclose(scores[user], expected, atol=1e-5)
