"""The protocol of TransGRec (§4.1) on one device: split, training pairs, standardised features and test tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core.rows import integers
from reelmill.models.core.sampling import Negatives
from reelmill.models.core.standardise import scaling
from reelmill.models.data.vectors import CHUNK
from reelmill.models.metrics import evaluate
from reelmill.models.metrics.case_values import CaseValues
from reelmill.models.metrics.table import LONG, SEGMENTS
from reelmill.models.protocols.segments import floors, split
from reelmill.models.protocols.segments.data import Interactions
from reelmill.models.protocols.segments.settings import SegmentSettings


class SegmentTask:
    """Items are the segments of videos with a training positive; with `split: given` these videos themselves, and the
    lists are of videos that training never saw. A recommender's own task adds its model, batches and scores."""

    watch = "map"

    def __init__(self, data: Interactions, settings: SegmentSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        self.whole = settings.split == "given"
        rng = np.random.default_rng(settings.seed)
        shares = settings.least_videos, settings.validation_share
        self.split = split.given(data) if self.whole else split.last_video(data, rng, *shares)
        user, segment = data.positive_user[self.split.train], data.positive_segment[self.split.train]
        trained = np.unique(data.segment_video[segment])
        self.items = np.flatnonzero(np.isin(data.segment_video, trained))
        what = f"features of {data.store.spec.name}"
        self.mean, self.scale = scaling(data.spread(self.items), settings.standardise, what, "the training videos")
        # Segments that are only validated on stand behind the items, so that both are views of one array.
        self.resident = np.concatenate([self.items, np.setdiff1d(self.split.validation.segment, self.items)])
        self.features = self.on_device(self.resident)
        self.edge_user = integers(user, device)
        self.edge_item = integers(np.searchsorted(self.items, segment), device)
        self.negatives = Negatives(self.edge_user, self.edge_item, len(data.users), len(self.items))
        usable = self.negatives.possible(self.edge_user)
        self.user, self.item = self.edge_user[usable], self.edge_item[usable]
        self.unusable = len(self.edge_user) - len(self.user)

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        own = {"train_items": len(self.items), "train_positives_without_negative": self.unusable}
        return {**asdict(self.data.counts), **self.split.counts, **own}

    def identities(self) -> dict[str, list[str]]:
        """The users behind the model's rows."""
        return {"users": self.data.users}

    @property
    def validation_place(self) -> np.ndarray:
        """(T,) row of `features` of each validation candidate."""
        home = np.argsort(self.resident)
        return home[np.searchsorted(self.resident, self.split.validation.segment, sorter=home)]

    def validated(self, scores: np.ndarray) -> dict[str, float]:
        """Validation figures of scores (T,) of the validation candidates."""
        return evaluate.validation(self.split.validation, scores)

    def tables(self, scores: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
        """The test of these rankings {name: draws of (T,)} and of the floors."""
        seed, cases = self.settings.seed, self.split.test
        rows = floors.video_rows if self.whole else floors.segment_rows
        history = np.bincount(self.data.positive_user[self.split.train], minlength=len(self.data.users))
        every = {**rows(self.data, self.split, seed), **scores}
        found = evaluate.tables(cases, every, history[cases.user], seed, LONG if self.whole else SEGMENTS)
        metrics, values = found.pop("values")
        return {**found, "cases": [self._case_values(metrics, values)]}

    def _case_values(self, metrics: Sequence[str], values: Mapping[str, np.ndarray]) -> CaseValues:
        cases, data = self.split.test, self.data
        users, names = [data.users[u] for u in cases.user], np.array(data.videos)[data.segment_video[cases.segment]]
        truth = (cases.start, names, data.segment_index[cases.segment], cases.relevant)
        videos = None if self.whole else [data.videos[v] for v in cases.video]
        return CaseValues("videos" if self.whole else "segments", users, videos, metrics, values, truth)

    def on_device(self, segments: np.ndarray) -> Tensor:
        """Standardised features (n, dim) of segments (n,), filled in chunks."""
        out = torch.empty(len(segments), self.data.dim, device=self.device)
        for i in range(0, len(segments), CHUNK):
            chunk = torch.from_numpy(self.data.vectors(segments[i : i + CHUNK]))
            out[i : i + len(chunk)] = ((chunk - self.mean) / self.scale).to(self.device)
        return out
