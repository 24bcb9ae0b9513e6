"""The protocol of TransGRec (§4.1): split, batches, validation and test. The equations are in `transgrec`."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.graph import Graph
from reelmill.models.core.sampling import Negatives
from reelmill.models.data.vectors import CHUNK
from reelmill.models.metrics import evaluate
from reelmill.models.metrics.ranking import LONG, METRICS
from reelmill.models.protocols.segments import floors
from reelmill.models.protocols.segments import split as splits
from reelmill.models.protocols.segments.data import Interactions
from reelmill.models.transgrec.model import Batch, TransGRec
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.storage.errors import InputError


class TransGRecTask:
    """The paper's protocol (§4.1) on one device. Items are the segments of videos with a training positive; with
    `split: given` these videos themselves, and the lists are of videos that training never saw."""

    watch = "map"

    def __init__(self, data: Interactions, settings: TransGRecSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        rng = np.random.default_rng(settings.seed)
        self.whole = settings.split == "given"
        self.split = (
            splits.given(data)
            if self.whole
            else splits.last_video(data, rng, settings.least_videos, settings.validation_share)
        )
        user, segment = data.positive_user[self.split.train], data.positive_segment[self.split.train]
        trained = np.unique(data.segment_video[segment])
        self.items = np.flatnonzero(np.isin(data.segment_video, trained))
        self.mean, self.scale = self._spread()
        # Segments that are only validated on stand behind the items, so that both are views of one array.
        self.resident = np.concatenate([self.items, np.setdiff1d(self.split.validation.segment, self.items)])
        self.features = self._on_device(self.resident)
        edge_user, edge_item = self._tensor(user), self._tensor(np.searchsorted(self.items, segment))
        self.graph = Graph.build(self.features[: len(self.items)], edge_user, edge_item, len(data.users))
        self.negatives = Negatives(edge_user, edge_item, len(data.users), len(self.items))
        usable = self.negatives.possible(edge_user)
        self.user, self.item = edge_user[usable], edge_item[usable]
        self.unusable = len(edge_user) - len(self.user)

    @property
    def counts(self) -> dict[str, int]:
        own = {"train_items": len(self.items), "train_positives_without_negative": self.unusable}
        return {**asdict(self.data.counts), **self.split.counts, **own}

    def identities(self) -> dict[str, list[str]]:
        return {"users": self.data.users}

    def model(self, generator: torch.Generator) -> TransGRec:
        model = TransGRec(self.settings, len(self.data.users), len(self.items), self.data.dim).initialise(generator)
        model.feature_mean.copy_(self.mean)
        model.feature_scale.copy_(self.scale)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.user), generator=generator, device=self.device)
        for rows in order.split(self.settings.batch):
            share, user = self.settings.edge_dropout, self.user[rows]
            graph = self.graph.drop(share, generator) if share else self.graph
            yield Batch(graph, user, self.item[rows], self.negatives.draw(user, self.settings.negatives, generator))

    def validate(self, model: TransGRec) -> dict[str, float]:
        model.settle(self.graph)
        cases = self.split.validation
        if not len(cases):
            return {}
        home = np.argsort(self.resident)
        place = home[np.searchsorted(self.resident, cases.segment, sorter=home)]
        return evaluate.validation(cases, self._scores(model, cases.candidate_user, model.embed(self.features), place))

    def evaluate(self, model: TransGRec) -> dict[str, Any]:
        model.settle(self.graph)
        cases = self.split.test
        segments, place = np.unique(cases.segment, return_inverse=True)
        embedded = model.embed(self._on_device(segments))
        rows = (
            floors.video_rows(self.data, self.split)
            if self.whole
            else floors.segment_rows(self.data, self.split, self.settings.seed)
        )
        scores = {
            **rows,
            "transgrec": [self._scores(model, cases.candidate_user, embedded, place)],
        }
        history = np.bincount(self.data.positive_user[self.split.train], minlength=len(self.data.users))
        return evaluate.tables(cases, scores, history[cases.user], self.settings.seed, LONG if self.whole else METRICS)

    def _scores(self, model: TransGRec, user: np.ndarray, embedded: Tensor, place: np.ndarray) -> np.ndarray:
        return (model.final_users[self._tensor(user)] * embedded[self._tensor(place)]).sum(-1).cpu().numpy()

    def _on_device(self, segments: np.ndarray) -> Tensor:
        """Standardised features (n, dim) of segments (n,), filled in chunks."""
        out = torch.empty(len(segments), self.data.dim, device=self.device)
        for i in range(0, len(segments), CHUNK):
            chunk = torch.from_numpy(self.data.vectors(segments[i : i + CHUNK]))
            out[i : i + len(chunk)] = ((chunk - self.mean) / self.scale).to(self.device)
        return out

    def _spread(self) -> tuple[Tensor, Tensor]:
        """What `standardise` subtracts (dim,) and divides by (), of the training items."""
        mean, rms = self.data.spread(self.items)
        if not rms > 0:
            name = self.data.store.spec.name
            raise InputError(f"features of {name} are constant over the training videos; extract them anew")
        if self.settings.standardise != "centre":
            mean, rms = np.zeros_like(mean), float(np.hypot(rms, np.linalg.norm(mean)))
        scale = 1.0 if self.settings.standardise == "none" else rms
        return torch.from_numpy(mean).float(), torch.tensor(scale, dtype=torch.float32)

    def _tensor(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers, np.int64)).to(self.device)
