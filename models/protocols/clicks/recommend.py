"""Recommendations of the models over fields (multimodal, FM, DeepFM): items by the probability of a click.

The fields are read from the tables and stores as they are now. A user, item or tag that training never saw has no code,
so that only the known fields count: attributes of the user, tags and modalities of the item.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.advice import WHY, Adviser, Answer, Question, meant
from reelmill.models.data.columns import Column, user_columns, video_columns
from reelmill.models.data.vectors import means
from reelmill.models.protocols.clicks.fields import Field, FieldModel
from reelmill.models.protocols.clicks.task import AT_ONCE
from reelmill.storage.errors import InputError

PROBABILITY = "a score is the probability of a click"


class FieldsAdviser(Adviser):
    """Ranks items by ŷ."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model, self.tables = cast(FieldModel, question.fitted.model), question.root.tables
        self.words = question.fitted.identities
        self.stores = {
            f.name: question.store(f.name, f.size) for f in self.model.fields if f.name in question.fitted.stores
        }
        user = question.user or ""
        own = Column("user_id", "category", "user", np.zeros((1, 1), np.int64), (user,))
        self.user = self._values([own, *user_columns(self.tables, [user])], "user", 1)
        self.known = user in self.words.get("user_id", [])
        self.how = self._how()

    def of_video(self, video: str) -> Answer:
        """The probability that the user clicks this item."""
        items = self._items()
        if video not in items:
            raise InputError(
                f"video {video!r} is in no table or store that run {self.question.run} reads{meant(video, items)}; "
                "ingest or extract it first"
            )
        return self._answer([video], {})

    def of_all(self) -> Answer:
        """The likeliest of all items new to the user."""
        met = set(self.question.events("video_id")["video_id"].to_pylist())
        items = self._items()
        left = [item for item in items if item not in met]
        if not left:
            raise InputError(f"{self.question.who} has met all {len(items)} items: ingest more")
        return self._answer(left, {"items_met": len(items) - len(left)})

    def _items(self) -> list[str]:
        """Every item of which anything is known."""
        known = set(self.words.get("item_id", [])) | self.tables.units("videos")
        return sorted(known.union(*(store.keys() for store in self.stores.values())))

    def _how(self) -> str:
        """What the answer is computed from for this user, in words."""
        said = sorted(n for n, value in self.user.items() if n != "user_id" and bool((value >= 0).any()))
        attributes = f"their attributes ({', '.join(said)})" if said else ""
        if self.known:
            return " and ".join(filter(None, ["their own vector", attributes]))
        if "user_id" in self.words:
            why = self.question.unknown_user(self.words["user_id"])
        else:
            why = "the run does not read user_id"
        return f"{why}; {attributes or 'nothing is known of them, so the items alone'} decide"

    def _answer(self, items: list[str], left_out: dict[str, int]) -> Answer:
        values = self._of_items(items)
        probability = np.concatenate(
            [self.model.score(self._both(values, some)).double().numpy() for some in _parts(len(items))]
        )
        best = np.argsort(-probability, kind="stable")[: self.question.top]
        old = set(self.words.get("item_id", []))
        rows: list[dict[str, Any]] = [
            {"rank": rank + 1, "video_id": items[i], "score": float(probability[i]), "new": items[i] not in old}
            for rank, i in enumerate(best.tolist())
        ]
        if self.question.why:
            for row, why in zip(rows, self._reasons(self._both(values, torch.from_numpy(best))), strict=True):
                row["why"] = why
        return Answer("item", self.known, self.how, rows, len(items), left_out, [PROBABILITY])

    def _of_items(self, items: list[str]) -> dict[str, Tensor]:
        """What the fields of items (n,) hold."""
        own = Column("item_id", "category", "item", np.arange(len(items))[:, None], tuple(items))
        modalities = [Column(role, "modality", "item", means(store, items)) for role, store in self.stores.items()]
        return self._values([own, *video_columns(self.tables, items), *modalities], "item", len(items))

    def _values(self, columns: Iterable[Column], side: str, count: int) -> dict[str, Tensor]:
        """The fields of one side, (count, ·) each, of columns by their names; one that has no column is absent."""
        given = {column.name: column for column in columns}
        fields = [field for field in self.model.fields if field.side == side]
        return {field.name: self._value(field, given.get(field.name), count) for field in fields}

    def _value(self, field: Field, column: Column | None, count: int) -> Tensor:
        if field.kind != "category":
            return torch.full((count, field.size), torch.nan) if column is None else torch.from_numpy(column.table)
        if column is None:
            return torch.full((count, 1), -1)
        code = {word: number for number, word in enumerate(self.words[field.name])}
        codes = np.array([*(code.get(name, -1) for name in column.names), -1])  # the last one is for −1
        return torch.from_numpy(codes[column.table])

    def _both(self, items: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """The user's values beside those of the items in these rows (n,)."""
        own = {name: value.expand(len(rows), -1) for name, value in self.user.items()}
        return own | {name: value[rows] for name, value in items.items()}

    def _reasons(self, values: dict[str, Tensor]) -> list[dict[str, Any]]:
        """For each example its reasons: here the pairs of fields whose product v_i·v_j is largest, as a factorisation
        machine adds them up."""
        with torch.no_grad():
            vectors = self.model.read(values).vectors
        names = list(combinations([field.name for field in self.model.fields], 2))
        row, column = torch.triu_indices(vectors.shape[1], vectors.shape[1], 1)
        return strongest_pairs(names, (vectors @ vectors.mT)[:, row, column], "product")


def strongest_pairs(names: list[tuple[str, str]], values: Tensor, what: str) -> list[dict[str, Any]]:
    """For each of B rows of values (B, pairs) the pairs that are largest, whatever their sign."""
    best = values.abs().argsort(dim=1, descending=True, stable=True)[:, :WHY].tolist()
    return [
        {"pairs": [{"fields": list(names[n]), what: float(row[n])} for n in some]}
        for row, some in zip(values, best, strict=True)
    ]


def _parts(count: int) -> tuple[Tensor, ...]:
    return torch.arange(count).split(AT_ONCE)
