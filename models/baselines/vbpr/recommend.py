"""Recommendations of BPR and VBPR: items by r̂, those of the training and, for VBPR, any other of which the store has
features."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.baselines.vbpr.model import BPR, VBPR
from reelmill.models.core.advice import WHY, Adviser, Answer, Question, meant
from reelmill.models.data.vectors import means
from reelmill.storage.errors import InputError


class BPRAdviser(Adviser):
    """Ranks items by ⟨[γ_a, θ_a, 1], [γ_i, E f_i, β_i + β′·f_i]⟩. An unknown user gets the mean of the training's
    users, which ranks by what they like on average."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model, names = cast(BPR, question.fitted.model), question.fitted.identities
        self.items, self.old = list(names["items"]), len(names["items"])
        self.known = question.user in names["users"]
        users = self.model.users()
        if self.known:
            self.user, self.how = users[question.fitted.row("users", str(question.user))], "their own vector"
        else:
            self.user = users.mean(0)
            self.how = f"{question.unknown_user(names['users'])}; the mean of their vectors stands in"
        self.vectors = self.model.items()
        self.left_out: dict[str, int] = {}
        if isinstance(self.model, VBPR):
            self._add_new(self.model)

    def of_video(self, video: str) -> Answer:
        """r̂ of this item, and its rank among those new to the user."""
        if video not in self.items:
            more = (
                f"the store {self.question.fitted.stores['features']} has no usable features of it either; extract "
                "them first (reelmill extract)"
                if isinstance(self.model, VBPR)
                else "bpr knows items by nothing else: name a run of vbpr, or fit again to add more"
            )
            raise InputError(
                f"{video!r} is not among the {self.old:,} items that run {self.question.run} was trained on"
                f"{meant(video, self.items)}; {more}"
            )
        met, place = self._met(), self.items.index(video)
        rating = self.vectors @ self.user
        fresh = torch.tensor([item not in met for item in self.items])
        about = {
            "rank_among_unmet": 1 + int((rating[fresh] > rating[place]).sum()),
            "met": video in met,
            "new": place >= self.old,
        }
        return self._answer([place], int(fresh.sum()), about)

    def of_all(self) -> Answer:
        """The best of all items new to the user."""
        met = self._met()
        left = [place for place, item in enumerate(self.items) if item not in met]
        if not left:
            raise InputError(f"{self.question.who} has met all {len(self.items)} items: ingest more, and fit again")
        self.left_out["items_met"] = len(self.items) - len(left)
        rating = self.vectors[left] @ self.user
        best = rating.argsort(descending=True, stable=True)[: self.question.top]
        return self._answer([left[place] for place in best.tolist()], len(left), {})

    def _add_new(self, model: VBPR) -> None:
        """Items of the store that are not in the training."""
        store, known = self.question.store("features", model.sizes["features"]), set(self.items)
        new = [video for video in store.keys() if video not in known]  # noqa: SIM118
        features = torch.from_numpy(means(store, new))
        usable = ~features.isnan().any(1)
        self.items += [video for video, kept in zip(new, usable.tolist(), strict=True) if kept]
        self.vectors = torch.cat([self.vectors, model.embed(features[usable])])
        self.left_out["videos_without_data"] = int((~usable).sum())

    def _met(self) -> set[str]:
        return set(self.question.events("video_id")["video_id"].to_pylist())

    def _answer(self, places: list[int], candidates: int, about: dict[str, Any]) -> Answer:
        rating = (self.vectors[places] @ self.user).tolist()
        rows: list[dict[str, Any]] = [
            {"rank": rank + 1, "video_id": self.items[place], "score": score, "new": place >= self.old}
            for rank, (place, score) in enumerate(zip(places, rating, strict=True))
        ]
        if self.question.why:
            for row, place, near in zip(rows, places, self._near(places), strict=True):
                row["why"] = {**self._parts(self.vectors[place]), "nearest_liked": near}
        return Answer("item", self.known, self.how, rows, candidates, self.left_out, [], about)

    def _parts(self, item: Tensor) -> dict[str, float]:
        """The terms of r̂: by habit ⟨γ_a, γ_i⟩, by sight ⟨θ_a, E f_i⟩, and what all users share."""
        dim = self.model.settings.dim
        terms = self.user * item
        sight = {"sight": float(terms[dim:-1].sum())} if isinstance(self.model, VBPR) else {}
        return {"habit": float(terms[:dim].sum()), **sight, "popularity": float(terms[-1])}

    def _near(self, places: list[int]) -> list[list[dict[str, Any]]]:
        """For each item the nearest ones that the user has met, by the cosine of the vectors without their last
        number."""
        met = self._met()
        mine = [place for place, item in enumerate(self.items) if item in met]
        directions = F.normalize(self.vectors[:, :-1], dim=1)
        cosine = directions[places] @ directions[mine].T
        found = []
        for place, row in zip(places, cosine, strict=True):
            best = [n for n in row.argsort(descending=True, stable=True).tolist() if mine[n] != place][:WHY]
            found.append([{"video_id": self.items[mine[n]], "cosine": float(row[n])} for n in best])
        return found
