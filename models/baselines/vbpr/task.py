"""The protocol of BPR and VBPR: split, batches, validation and full-ranking tests. The equations are in `model`.

Each user is one case: the list holds every item of the training without the user's own training positives, and their
test positives are relevant. Validation positives stay in the list, and are not relevant. Test positives of items that
training never saw (cold items) are left out; for a model with features they make a second test, whose lists hold every
such item.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.baselines.vbpr.data import Positives, Split, divide
from reelmill.models.baselines.vbpr.model import BPR, VBPR, Batch
from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.core.graph import Neighbours
from reelmill.models.core.rows import ascending
from reelmill.models.core.sampling import Negatives
from reelmill.models.data.pairs import Lists, Pairs
from reelmill.models.data.spread import Spread
from reelmill.models.metrics import evaluate
from reelmill.models.metrics import full_ranking as ranking
from reelmill.models.metrics.case_values import CaseValues
from reelmill.models.metrics.full_ranking import Places, Queries, Scorer
from reelmill.storage.errors import InputError

TOP = (10, 20)
"""Lengths N of the lists that are measured."""
COLD = "cold_"
"""Before the names of the metrics of the second test."""


class BPRTask:
    """The protocol on one device."""

    watch = "ndcg@20"
    name = "bpr"

    def __init__(self, data: Positives, settings: BPRSettings, device: torch.device) -> None:
        settings = settings.found_in(data)
        self.data, self.settings, self.device = data, settings, device
        shares = settings.validation_share, settings.test_share
        rng = np.random.default_rng([settings.seed, 0])
        self.split: Split = divide(data, settings.split, float(settings.liked), shares, rng)
        self.m, self.n = len(self.split.users), self.split.warm
        user, item = (torch.from_numpy(numbers).to(device) for numbers in self.split.train)
        self.negatives = Negatives(user, item, self.m, self.n)
        usable = self.negatives.possible(user)
        self.user, self.item = user[usable], item[usable]
        self.unusable = len(user) - len(self.user)
        if not len(self.user):
            raise InputError(f"every user has all {self.n} items: there are no negatives; ingest more items")
        self.known = Lists(*self.split.train, self.m)
        self.features: Tensor | None = None

    @property
    def counts(self) -> dict[str, int]:
        own = {"train_positives_without_negative": self.unusable}
        return {**self.data.counts, **self.split.counts, **own}

    def identities(self) -> dict[str, list[str]]:
        data, split = self.data, self.split
        items = [data.items[i] for i in split.items[: self.n]]
        return {"users": [data.users[u] for u in split.users], "items": items}

    def model(self, generator: torch.Generator) -> BPR:
        return BPR(self.settings, self.m, self.n).initialise(generator).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            rows = ascending(rows)  # a batch has no order; by user, its rows lie close together
            user, positive = self.user.index_select(0, rows), self.item.index_select(0, rows)
            negative = self.negatives.draw(user, self.settings.negatives, generator)
            yield Batch.build(user, positive, negative, self.m, self.n, self.features)

    def validate(self, model: BPR) -> dict[str, float]:
        self._settle(model)
        if not len(self.split.validation[0]):
            return {}
        found = ranking.places(self._queries(self.split.validation), _inner(model.users(), model.items()), self.device)
        return dict(zip(ranking.names(TOP), ranking.measured(found, TOP).mean(0).tolist(), strict=True))

    def evaluate(self, model: BPR) -> dict[str, Any]:
        self._settle(model)
        rows, cases = self._warm({self.name: _inner(model.users(), model.items())})
        return {"rows": rows, "cases": [cases]}

    def _warm(self, scorers: dict[str, Scorer]) -> tuple[list[dict[str, Any]], CaseValues]:
        """The first test."""
        popular = torch.bincount(self.item, minlength=self.n).float()
        floors: dict[str, Scorer] = {"most popular": lambda users: popular.expand(len(users), -1)}
        return self._table(self._queries(self.split.test), {**floors, **scorers})

    def _table(
        self, queries: Queries, scorers: dict[str, Scorer], kind: str = ""
    ) -> tuple[list[dict[str, Any]], CaseValues]:
        """Rows and values of the cases."""
        found: dict[str, Places] = {"random": ranking.chance(queries)}
        found |= {name: ranking.places(queries, score, self.device) for name, score in scorers.items()}
        values = {name: ranking.measured(places, TOP) for name, places in found.items()}
        names, first = ranking.names(TOP, kind), self.n if kind else 0
        users = [self.data.users[u] for u in self.split.users[queries.users]]
        items = np.array([self.data.items[i] for i in self.split.items[first : first + queries.items]])
        truth = (items, queries.case, queries.item, *queries.known.of(queries.users))
        cases = CaseValues(f"{kind.replace('_', ' ')}items", users, None, names, values, truth)
        return evaluate.rows(values, names, self.settings.seed), cases

    def _queries(self, relevant: Pairs) -> Queries:
        return Queries.of(relevant, self.known, self.n)

    def _settle(self, model: BPR) -> None:
        """Whatever a model needs before it ranks."""


class VBPRTask(BPRTask):
    """The same with features, and with the second test."""

    settings: VBPRSettings
    name = "vbpr"

    def __init__(self, data: Positives, settings: VBPRSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        assert data.features is not None
        table = data.features[self.split.items]
        lost = np.isnan(table[:, 0])
        self.without = {
            "train_items_without_features": int(lost[: self.n].sum()),
            "cold_items_without_features": int(lost[self.n :].sum()),
        }
        seen = table[: self.n][~lost[: self.n]]
        spread = Spread.of(lambda: [seen], table.shape[1])
        if not spread.rms > 0:
            name = data.stores["features"]
            raise InputError(f"features of {name} are the same for all items of the training, or missing; extract anew")
        self.mean, self.scale = torch.from_numpy(spread.mean).float(), torch.tensor(spread.rms)
        self.cold = torch.from_numpy(table[self.n :]).to(device)
        whole = torch.nan_to_num((torch.from_numpy(table[: self.n]) - self.mean) / self.scale)
        self.features = whole.to(device)

    @property
    def counts(self) -> dict[str, int]:
        return {**super().counts, **self.without}

    def model(self, generator: torch.Generator) -> VBPR:
        assert self.features is not None
        model = VBPR(self.settings, self.m, self.n, self.features.shape[1]).initialise(generator)
        model.feature_mean.copy_(self.mean)
        model.feature_scale.copy_(self.scale)
        return model.to(self.device)

    def evaluate(self, model: VBPR) -> dict[str, Any]:  # type: ignore[override]
        self._settle(model)
        assert self.features is not None
        profile = self._profiles(self.features)
        content = _inner(profile, F.normalize(self.features, dim=1))
        rows, warm = self._warm({"content": content, self.name: _inner(model.users(), model.items())})
        cases = [warm]
        user, item = self.split.cold
        if len(user):
            none = np.zeros(0, np.int64)
            queries = Queries.of((user, item - self.n), Lists(none, none, self.m), len(self.cold))
            unseen = _inner(profile, F.normalize(model.standardise(self.cold), dim=1))
            fitted = _inner(model.users(), model.embed(self.cold))
            cold, values = self._table(queries, {"content": unseen, self.name: fitted}, COLD)
            rows, cases = rows + cold, [warm, values]
        return {"rows": rows, "cases": cases}

    def _profiles(self, features: Tensor) -> Tensor:
        """(M, features): the mean of what a user has. Its cosine with an item is the ranking by content, which needs no
        training."""
        start = torch.from_numpy(np.append(self.known.first, len(self.known.item)))
        return Neighbours(torch.from_numpy(self.known.item).to(self.device), start.to(self.device)).mean(features)

    def _settle(self, model: BPR) -> None:
        assert isinstance(model, VBPR)
        assert self.features is not None
        model.settle(self.features)


def _inner(users: Tensor, items: Tensor) -> Callable[[Tensor], Tensor]:
    """Scores by inner product, one product of matrices for many users."""
    return lambda some: users[some] @ items.T
