"""FPMC: each equation against plain NumPy, the cases of the Dynamic RNN's protocol, what it learns of a chain."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelmill.models import runs
from reelmill.models.baselines.fpmc.model import FPMC, Batch, FPMCTask
from reelmill.models.baselines.fpmc.settings import FPMCSettings
from reelmill.models.fit import FitResult, train
from reelmill.models.protocols.next_videos import data as drnn_data
from reelmill.models.protocols.next_videos.history import Past
from reelmill.models.protocols.next_videos.task import HistoryTask
from reelmill.storage import Tables
from reelmill.storage.errors import InputError

VIDEOS, DIM = 7, 3
PASTS = ([2, 4, 4, 1], [], [6], [0, 5, 3])
"""Of four users, oldest first."""
YEAR = datetime(2025, 1, 1, tzinfo=UTC)
CHAIN, STEPS, CHAINS = 30, 16, 240
QUICK = FPMCSettings(
    dim=8, epochs=12, patience=0, batch=256, learning_rate=0.03, l2=1e-4, test_share=0.3, list_length=1
)


def past(lists: tuple[list[int], ...]) -> Past:
    member = torch.tensor([video for own in lists for video in own])
    start = torch.tensor(np.cumsum([0, *map(len, lists)]))
    return Past(member, torch.linspace(9, 0, len(member)), start)


def network(**changes: Any) -> FPMC:
    model = FPMC(FPMCSettings(dim=DIM, init_std=0.7, **changes), VIDEOS).double()
    generator = torch.Generator().manual_seed(1)
    model.initialise(generator).bias.data.normal_(generator=generator)
    return model


def plain_score(model: FPMC, own: list[int], video: int) -> float:
    """x̂ with plain loops."""
    liked, last, item, bias = (p.detach().numpy() for p in (model.liked, model.last, model.item, model.bias))
    score = bias[video]
    for other in own:
        score += item[video, :DIM] @ liked[other] / len(own)
    basket = own[-model.settings.basket :]
    for other in basket:
        score += item[video, DIM:] @ last[other] / len(basket)
    return float(score)


@pytest.mark.parametrize("basket", [1, 2, 9])
def test_score(basket: int) -> None:
    model = network(basket=basket)
    expected = [[plain_score(model, own, video) for video in range(VIDEOS)] for own in PASTS]
    np.testing.assert_allclose(model.score(past(PASTS)).numpy(), expected, atol=1e-12)


def test_of_whom_nothing_is_known_the_numbers_of_the_videos_are_left() -> None:
    model = network()
    np.testing.assert_array_equal(model.score(past(PASTS)).numpy()[1], model.bias.detach().numpy())


def test_loss() -> None:
    model = network(basket=2, l2=0.3)
    positive, negative = [1, 0, 5, 6], [[2, 3], [6, 4], [0, 0], [1, 2]]
    batch = Batch(past(PASTS), torch.tensor(positive), torch.tensor(negative))
    preference, squares = [], []
    item, bias = model.item.detach().numpy(), model.bias.detach().numpy()
    user = model.user(batch.past).detach().numpy()
    for row, (i, others) in enumerate(zip(positive, negative, strict=True)):
        for j in others:
            apart = plain_score(model, list(PASTS[row]), i) - plain_score(model, list(PASTS[row]), j)
            preference.append(np.log1p(np.exp(-apart)))
        named = [i, *others]
        squares.append((user[row] ** 2).sum() + np.mean((item[named] ** 2).sum(1)) + np.mean(bias[named] ** 2))
    terms = model.loss(batch)
    assert terms["preference"].item() == pytest.approx(np.mean(preference), rel=1e-10)
    assert terms["loss"].item() == pytest.approx(np.mean(preference) + 0.3 * np.mean(squares), rel=1e-10)


def test_gradients() -> None:
    model, batch = network(), Batch(past(PASTS), torch.tensor([1, 0, 5, 6]), torch.tensor([[2], [6], [0], [1]]))
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            _Loss(model), {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (batch,)
        )

    assert torch.autograd.gradcheck(loss, tuple(p.detach().clone().requires_grad_() for p in model.parameters()))


class _Loss(torch.nn.Module):
    def __init__(self, model: FPMC) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.model.loss(batch)["loss"]


# ---- from a root ----


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """A root in which video v is followed by v + 1 in a ring, from a start of the user's own; of the twin, by any."""
    there: dict[bool, Path] = {}

    def root(noise: bool) -> Path:
        if noise not in there:
            there[noise] = tmp_path_factory.mktemp("fpmc")
            rng = np.random.default_rng(3)
            events = []
            for user in range(CHAINS):
                ring = (rng.integers(CHAIN) + np.arange(STEPS)) % CHAIN
                order = rng.permutation(CHAIN)[:STEPS] if noise else ring
                days = np.sort(rng.uniform(0, 364, STEPS))
                events += [
                    {"user_id": f"u{user:03d}", "video_id": f"v{video:02d}", "kind": "watch",
                     "time": YEAR + timedelta(days=float(day))}
                    for video, day in zip(order, days, strict=True)
                ]  # fmt: skip
            rows = [{"source": "planted", "source_row": i + 1, **event} for i, event in enumerate(events)]
            Tables(there[noise]).write("events", rows)
        return there[noise]

    return root


def fit(root: Path, settings: FPMCSettings) -> FitResult:
    return train(root, {}, settings, model="fpmc", device="cpu", pictures=False, logger="none")


def row(result: FitResult, name: str, metric: str = "precision@1") -> dict[str, Any]:
    return next(r for r in result.metrics["rows"] if r["row"] == name and r["metric"] == metric)


def task_of(root: Path, settings: FPMCSettings) -> FPMCTask:
    return FPMCTask(drnn_data.load(root), settings, torch.device("cpu"))


def test_it_learns_a_chain(chains: Callable[[bool], Path]) -> None:
    """What comes after the known months begins with the video after the last known one, which is then always right."""
    result = fit(chains(False), QUICK)
    assert row(result, "fpmc")["mean"] > 0.9
    assert row(result, "most popular")["mean"] < 0.5


def test_without_what_was_watched_last_the_chain_is_lost(chains: Callable[[bool], Path]) -> None:
    """With the whole past as the basket the order is gone."""
    ordered, blurred = (fit(chains(False), replace(QUICK, basket=basket)) for basket in (1, 99))
    assert row(ordered, "fpmc")["mean"] > row(blurred, "fpmc")["mean"]


def test_the_noise_twin_stays_at_chance(chains: Callable[[bool], Path]) -> None:
    found = row(fit(chains(True), QUICK), "fpmc")
    assert found["minus_random_low"] <= 0 <= found["minus_random_high"]


def test_a_run_repeats_and_its_checkpoint_scores_alike(chains: Callable[[bool], Path], tmp_path: Path) -> None:
    root, short = chains(False), replace(QUICK, epochs=2)
    one = fit(root, short)
    assert fit(root, short).skipped
    saved = runs.load(one.folder)
    assert saved.identities["videos"] == [f"v{video:02d}" for video in range(CHAIN)]
    task = task_of(root, short)
    assert task.evaluate(saved.model)["rows"] == one.metrics["rows"]  # type: ignore[arg-type]


def test_examples_are_watches_after_the_first_session_with_what_came_before(chains: Callable[[bool], Path]) -> None:
    task = task_of(chains(False), replace(QUICK, batch=64, negatives=3))
    user, video, ms = task.split.watched
    own = [{int(v) for v in video[user == u]} for u in range(task.split.train)]
    expected = [(u, v, m) for u, v, m in zip(user.tolist(), video.tolist(), ms.tolist(), strict=True)
                if u < task.split.train and m >= task.split.moments[0]]  # fmt: skip
    assert list(zip(task.user.tolist(), task.video.tolist(), task.moment.tolist(), strict=True)) == expected
    assert task.counts["train_watches"] == len(expected)
    before = {(u, v): [int(w) for w in video[(user == u) & (ms < m)]] for u, v, m in expected}
    order = torch.randperm(len(expected), generator=torch.Generator().manual_seed(5)).tolist()
    seen = 0
    for batch in task.batches(torch.Generator().manual_seed(5)):
        for place in range(len(batch.positive)):
            u, v, _ = expected[order[seen]]
            a, b = batch.past.start[place : place + 2].tolist()
            assert int(batch.positive[place]) == v
            assert batch.past.member[a:b].tolist() == before[u, v]
            assert not own[u] & set(batch.negative[place].tolist())
            seen += 1
    assert seen == len(expected)


def test_the_cases_are_those_of_the_dynamic_rnn(chains: Callable[[bool], Path]) -> None:
    """One and the same split, truth and floors, whatever the model."""
    data = drnn_data.load(chains(False))
    mine, theirs = task_of(chains(False), QUICK), HistoryTask(data, QUICK, torch.device("cpu"))
    np.testing.assert_array_equal(mine.test, theirs.test)
    np.testing.assert_array_equal(mine.split.users, theirs.split.users)
    assert mine.tables({})["rows"] == theirs.tables({})["rows"]


def test_nobody_to_learn_from_is_an_error(tmp_path: Path) -> None:
    rows = [{"source": "s", "source_row": 1 + 2 * n + k, "user_id": f"u{n}", "video_id": f"v{k}", "kind": "watch",
             "time": YEAR + timedelta(days=300 * k)} for n in range(10) for k in range(2)]  # fmt: skip
    Tables(tmp_path).write("events", rows)
    settings = replace(QUICK, least_videos=1, known_months=2)
    with pytest.raises(InputError, match="has watched all videos"):
        task_of(tmp_path, settings)
    with pytest.raises(InputError, match="basket 0"):
        FPMCSettings(basket=0)
