"""The protocol of click-through prediction (paper 003, §4): split, batches, validation and test, for every model over
fields.

Vocabularies come from the training examples: a user, item or tag that training never saw has no code. What the fields
hold of users and items is on the device once, one row each; an example is a pair of row numbers until scored.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.sampling import Negatives
from reelmill.models.data.columns import Column
from reelmill.models.data.events import PARTS
from reelmill.models.data.spread import Spread
from reelmill.models.data.vectors import CHUNK
from reelmill.models.metrics import clicks
from reelmill.models.metrics.case_values import CaseValues
from reelmill.models.protocols.clicks.cases import Examples, split, with_negatives
from reelmill.models.protocols.clicks.data import Clicks
from reelmill.models.protocols.clicks.fields import Batch, Field, FieldModel, sizes
from reelmill.storage.errors import InputError, nearest

AT_ONCE = 1 << 14
"""Examples that are scored at a time."""
FAMILIARITY = {"unseen item": (0, 1), "[1, 16)": (1, 16), "[16, 128)": (16, 128), "[128, ∞)": (128, 1 << 62)}
"""Groups of test examples by the item's training examples."""


class ClickTask:
    """The protocol on one device, for the model that `build(settings, **sizes)` makes."""

    watch = "auc"

    def __init__(
        self, name: str, build: Callable[..., FieldModel], data: Clicks, settings: Any, device: torch.device
    ) -> None:
        settings = settings.found_in(data)
        self.name, self.build, self.data, self.settings, self.device = name, build, data, settings, device
        self.split = split(data, settings, self._rng(0))
        train = self.split.train
        self.users, self.items = np.unique(train.user), np.unique(train.item)
        self.vocabulary: dict[str, list[str]] = {}
        self.fields: list[Field] = []
        self.tables: dict[str, Tensor] = {}
        for column in self._chosen():
            self._resident(column)
        modalities = getattr(settings, "modalities", "none")
        if modalities != "none" and not any(field.kind == "modality" for field in self.fields):
            raise InputError(
                f"modalities {modalities!r}: {name} was given no store for picture, sound or text; name one, or say "
                "modalities: none"
            )
        self.train = tuple(torch.from_numpy(a).to(device) for a in (train.user, train.item, train.label))
        self.negatives = self._train_negatives() if self.split.sampled else None
        self.validation = self._with_negatives("validation", 1)

    @property
    def counts(self) -> dict[str, int]:
        without = {
            f"train_items_without_{field.name}": int(self._absent(field).sum())
            for field in self.fields
            if field.kind != "category"
        }
        sampled = {"train_clicks_without_negative": len(self.split.train) - len(self.train[0])}
        return {**self.data.counts, **self.split.counts, **without, **(sampled if self.split.sampled else {})}

    def identities(self) -> dict[str, list[str]]:
        """Names of the codes of each field of categories."""
        return self.vocabulary

    def model(self, generator: torch.Generator) -> FieldModel:
        model = self.build(self.settings, **sizes(self.fields)).initialise(generator)
        for field in self.fields:
            if field.kind != "category":
                spread = self._spread(field)
                model.standard.measured(field.name, torch.from_numpy(spread.mean).float(), spread.rms)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        share, batch, k = self.settings.drop_items, self.settings.batch, self.settings.per_click
        size = batch if self.negatives is None else max(1, batch // (1 + k))
        for rows in torch.randperm(len(self.train[0]), generator=generator, device=self.device).split(size):
            u, i, y = (column.index_select(0, rows) for column in self.train)
            if self.negatives is not None:
                place = self.negatives.draw(u, k, generator).flatten()
                u, i = torch.cat([u, u.repeat_interleave(k)]), torch.cat([i, self.pool[place]])
                y = torch.cat([y, y.new_zeros(len(place))])
            values = self.values(u, i)
            if share and "item_id" in values:
                lost = torch.rand(len(u), generator=generator, device=self.device) < share
                values["item_id"] = values["item_id"].masked_fill(lost[:, None], -1)
            yield Batch(values, y)

    def values(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """What the fields hold for users and items (B,), the data's numbers."""
        row = {"user": user, "item": item}
        return {field.name: self.tables[field.name].index_select(0, row[field.side]) for field in self.fields}

    def predict(self, model: FieldModel, examples: Examples) -> np.ndarray:
        """ŷ (n,) float64."""
        user, item = (torch.from_numpy(a).to(self.device) for a in (examples.user, examples.item))
        parts = zip(user.split(AT_ONCE), item.split(AT_ONCE), strict=True)
        return torch.cat([model.score(self.values(u, i)) for u, i in parts]).double().cpu().numpy()

    def validate(self, model: FieldModel) -> dict[str, float]:
        label = self.validation.label
        if not 0 < label.sum() < len(label):
            return {}
        p = self.predict(model, self.validation)
        return {"auc": clicks.auc(p, label), "log_loss": clicks.log_loss(p, label)}

    def evaluate(self, model: FieldModel) -> dict[str, Any]:
        test = self.test()
        return self.compare({self.name: self.predict(model, test)}, test)

    def test(self) -> Examples:
        """The test, with its negatives; the same at each call."""
        return self._with_negatives("test", 2)

    def compare(self, predicted: Mapping[str, np.ndarray], test: Examples) -> dict[str, Any]:
        """Tables of predictors {name: ŷ (n,)} and of the floors."""
        every = {**self.floors(test), **predicted}
        seed, label = self.settings.seed, test.label
        seen = np.bincount(self.split.train.item, minlength=len(self.data.items))[test.item]
        groups = []
        for group, (low, high) in FAMILIARITY.items():
            here = (seen >= low) & (seen < high)
            if 0 < label[here].sum() < here.sum():
                some = {name: p[here] for name, p in every.items()}
                table = clicks.table(some, label[here], test.user[here], seed)
                groups += [{"group": group, **row} for row in table]
        users, items = [self.data.users[u] for u in test.user], [self.data.items[i] for i in test.item]
        values = clicks.example_values(every, label)
        cases = CaseValues("clicks", users, items, clicks.EXAMPLE, values, (label,))
        return {"rows": clicks.table(every, label, test.user, seed), "by_sparsity": groups, "cases": [cases]}

    def floors(self, test: Examples) -> dict[str, np.ndarray]:
        """Predictors without training. `random`: the share of clicks, whatever the example. `most popular`: the item's
        share of clicks. `rates`: the item's and the user's, their log-odds added."""
        train = self._with_negatives("train", 3)
        base = _odds(train.label.mean())
        of_item = _odds(clicks.rates(train.label, train.item, len(self.data.items)))[test.item]
        of_user = _odds(clicks.rates(train.label, train.user, len(self.data.users)))[test.user]
        logits = {"random": np.full(len(test), base), "most popular": of_item, "rates": of_item + of_user - base}
        return {name: 1 / (1 + np.exp(-logit)) for name, logit in logits.items()}

    def _chosen(self) -> list[Column]:
        """The columns that the settings name. Raises InputError."""
        known = [column.name for column in self.data.columns]
        wanted = [name.strip() for name in self.settings.fields.split(",")] if self.settings.fields else known
        for name in wanted:
            if name not in known:
                raise InputError(f"fields: there is no {name!r}; {nearest(name, known)}")
        return [column for column in self.data.columns if column.name in wanted]

    def _resident(self, column: Column) -> None:
        """Put a column on the device; codes become those of the training examples' vocabulary."""
        table, size = torch.from_numpy(column.table), column.table.shape[1]
        if column.kind == "category":
            seen = np.unique(column.table[self.users if column.side == "user" else self.items])
            seen = seen[seen >= 0]
            if not len(seen):
                raise InputError(
                    f"field {column.name!r}: no {column.side} of the training has any; leave it out of fields"
                )
            code = np.full(len(column.names) + 1, -1)  # the last one is for −1
            code[seen] = np.arange(len(seen))
            table, size = torch.from_numpy(code[column.table]), len(seen)
            self.vocabulary[column.name] = [column.names[s] for s in seen.tolist()]
        self.fields.append(Field(column.name, column.kind, size, column.side))
        self.tables[column.name] = table.to(self.device)

    def _absent(self, field: Field) -> np.ndarray:
        """(training items,) bool: has no numbers in this field?"""
        table = next(c.table for c in self.data.columns if c.name == field.name)
        return np.isnan(table[self.items]).any(1)

    def _spread(self, field: Field) -> Spread:
        """Of the vectors of the training items that have one. Raises InputError if there is none."""
        table = next(c.table for c in self.data.columns if c.name == field.name)
        items = self.items[~self._absent(field)]
        if not len(items):
            raise InputError(f"field {field.name!r}: no item of the training has any; extract them, or leave it out")
        chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
        return Spread.of(lambda: (table[chunk] for chunk in chunks), field.size)

    def _train_negatives(self) -> Negatives:
        """Negatives of the training are items of the training."""
        user, item, label = self.train
        self.pool = torch.from_numpy(self.items).to(self.device)
        place = torch.searchsorted(self.pool, item)
        negatives = Negatives(user, place, len(self.data.users), len(self.pool))
        usable = negatives.possible(user)
        self.train = user[usable], item[usable], label[usable]
        if not len(self.train[0]):
            raise InputError(f"every user clicked all {len(self.pool)} items: there are no negatives; ingest more")
        return negatives

    def _with_negatives(self, part: str, stream: int) -> Examples:
        """Examples of a part; if negatives are sampled, with some that are always the same: of the training items for
        the training, of all items for the rest. What a user clicks in a later part counts as not clicked: an earlier
        part must not know."""
        examples: Examples = getattr(self.split, part)
        if not self.split.sampled or not len(examples):
            return examples
        number = PARTS.index(part)
        known = (self.split.train, self.split.validation, self.split.test)[: number + 1]
        pool = np.arange(len(self.data.items)) if number else self.items
        user = torch.from_numpy(np.concatenate([e.user for e in known]))
        item = torch.from_numpy(np.searchsorted(pool, np.concatenate([e.item for e in known])))
        negatives = Negatives(user, item, len(self.data.users), len(pool))
        generator = torch.Generator().manual_seed(int(self._rng(stream).integers(1 << 62)))
        return with_negatives(examples, negatives, pool, self.settings.per_click, generator)

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream])


def _odds(p: Any) -> Any:
    return np.log(p / (1 - p))
