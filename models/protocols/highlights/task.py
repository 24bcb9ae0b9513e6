"""The protocol of PR-Net (§3.4 and 4.1) on one device: split by users, windows to train on, whole videos to test.

A video is cut into pieces of `window` steps, the last one shorter; a user trains on those that hold a highlight of
theirs. An epoch takes one piece of each training user, drawn evenly, so that no user is twice in a batch. (Taking every
piece of everybody, 150 epochs in the paper's seven hours would mean some thirty batches a second.)
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.core.standardise import scaling
from reelmill.models.data.arrays import spans
from reelmill.models.data.cases import Cases
from reelmill.models.data.spread import Spread
from reelmill.models.data.vectors import CHUNK
from reelmill.models.metrics import evaluate, untrained
from reelmill.models.metrics.case_values import CaseValues
from reelmill.models.metrics.evaluate import against_null, null_nmsd
from reelmill.models.metrics.untrained import DRAWS
from reelmill.models.protocols.highlights.cases import (
    GRID_METRICS,
    STEP_METRICS,
    Past,
    Pieces,
    Pooled,
    by_user,
    measured,
    step_cases,
)
from reelmill.models.protocols.highlights.data import Highlights
from reelmill.models.protocols.highlights.published import PUBLISHED_METRICS, Blocks
from reelmill.models.protocols.highlights.query import Batch, Query
from reelmill.models.protocols.highlights.settings import HighlightSettings
from reelmill.storage.errors import InputError

AT_ONCE = 1 << 16
"""Steps, padding included, that are scored at a time."""


class HighlightTask:
    """The protocol. A recommender's own task adds its model and scores."""

    watch = "highlight_ap"

    def __init__(self, data: Highlights, settings: HighlightSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        validating, testing = (round(s * len(data.users)) for s in (settings.validation_share, settings.test_share))
        order = np.random.default_rng(settings.seed).permutation(len(data.users))
        if not 0 < testing < len(data.users) - validating:
            raise InputError(
                f"{len(data.users)} users with highlights do not split into some to train, {validating} to validate "
                f"and {testing} to test: ingest more, or change validation_share and test_share"
            )
        test, validation, train = np.split(order, [testing, testing + validating])
        self.past = Past(data, settings.past, settings.history_size)
        self.pieces = Pieces(data, np.sort(train), settings.window)
        self.validation, self.test = (step_cases(data, users, settings.tested) for users in (validation, test))
        self.pooled = Pooled.of(data, self.test)
        self.published = Blocks.of(data, self.test, self._with_history(self.test))
        self.features = self._resident()
        self.mean, self.scale = self._scaling()

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        data, test, pieces = self.data, self.test, self.pieces
        candidates = np.diff(test.start)
        return {
            **asdict(data.counts),
            "clips_cut_to_window": int((data.size > self.settings.window).sum()),
            "train_users": len(pieces.start) - 1,
            "train_pieces": len(pieces.user),
            "validation_users": len(np.unique(self.validation.user)),
            "validation_videos": len(self.validation),
            "test_users": len(np.unique(test.user)),
            "test_videos": len(test),
            "test_videos_of_history_only": len(step_cases(data, np.unique(test.user))) - len(test),
            "test_videos_without_history": int((~self._with_history(test)).sum()),
            "test_videos_trained_on": int(np.isin(test.video, pieces.video).sum()),
            "test_videos_wholly_marked": int((np.add.reduceat(test.relevant, test.start[:-1]) == candidates).sum()),
            "test_videos_without_segments": len(test) - len(self.pooled.cases),
            "test_steps": len(test.segment),
        }

    def identities(self) -> dict[str, list[str]]:
        """None: a user is their history."""
        return {}

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One piece of each training user, in random order."""
        pieces, count = self.pieces, len(self.pieces.start) - 1
        order = torch.randperm(count, generator=generator, device=self.device).cpu().numpy()
        uniform = torch.rand(count, generator=generator, device=self.device, dtype=torch.float64).cpu().numpy()
        drawn = pieces.start[order] + (uniform * np.diff(pieces.start)[order]).astype(np.int64)
        for i in range(0, count, self.settings.batch):
            user, video, first, size = pieces.of(drawn[i : i + self.settings.batch])
            step = first[:, None] + np.arange(size.max())
            marked = np.isin(user[:, None] * len(self.data.steps) + step, self.data.positive)
            marked &= np.arange(size.max()) < size[:, None]
            yield Batch(self.query(user, video, first, size), torch.from_numpy(marked).to(self.device))

    def validated(self, scores: np.ndarray) -> dict[str, float]:
        """Validation figures of scores (T,) of the validation candidates."""
        watched = (self.watch, "map")
        values = measured(scores, self.validation, self.settings.seed, watched)
        return dict(zip(watched, values.mean(axis=0).tolist(), strict=True))

    def tables(self, scores: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
        """The test of these rankings, draws of (T,), and of the floors: by steps, by segments of five seconds, and by
        blocks as published. A case is a user, with the mean over their videos."""
        seed = self.settings.seed
        every: dict[str, Sequence[np.ndarray]] = {
            **untrained.rows(self.test, self.test.segment, np.random.default_rng(seed)),
            "content": [self.judged(self.test, self._content)],
            **scores,
        }
        values = {name: np.mean([measured(s, self.test, seed) for s in draws], axis=0) for name, draws in every.items()}
        rng = np.random.default_rng(seed)
        null = {name: by_user(null_nmsd(self.test, s[0], rng), self.test) for name, s in every.items() if len(s) == 1}
        place = STEP_METRICS.index("nmsd")
        rows = evaluate.rows(values, STEP_METRICS, seed)
        rows = against_null(rows, {name: v[:, place] for name, v in values.items()}, null, seed)
        kept = [self._case_values("steps", self.test, STEP_METRICS, values)]
        if len(cases := self.pooled.cases):
            values = {
                name: np.mean([measured(self.pooled.scores(s), cases, seed, GRID_METRICS) for s in draws], axis=0)
                for name, draws in every.items()
            }
            rows += evaluate.rows(values, GRID_METRICS, seed)
            kept.append(self._case_values("segments", cases, GRID_METRICS, values))
        if len(cases := self.published.cases):
            noise = [rng.standard_normal(len(self.test.segment)) for _ in range(DRAWS)]  # equal scores are no chance
            blocks = {name: np.mean([self.published.ap(s) for s in draws], axis=0) for name, draws in every.items()}
            values = {**blocks, "random": np.mean([self.published.ap(s) for s in noise], axis=0)}
            rows += evaluate.rows(values, PUBLISHED_METRICS, seed)
            kept.append(self._case_values("blocks", cases, PUBLISHED_METRICS, values))
        return {"rows": rows, "cases": kept}

    def _case_values(
        self, test: str, cases: Cases, metrics: Sequence[str], values: Mapping[str, np.ndarray]
    ) -> CaseValues:
        """A case is a user, with the mean over their videos."""
        users = [self.data.users[u] for u in dict.fromkeys(cases.user.tolist())]
        videos = np.array([self.data.videos[v] for v in cases.video])
        return CaseValues(test, users, None, metrics, values, (videos, cases.start, cases.segment, cases.relevant))

    def judged(self, cases: Cases, judge: Callable[[Query], Tensor]) -> np.ndarray:
        """Scores (T,) of the candidates of cases by what judges whole videos; those of one length together."""
        first, size = self.data.steps.start[cases.video], np.diff(self.data.steps.start)[cases.video]
        out, left = np.empty(len(cases.segment)), np.argsort(-size, kind="stable")
        while len(left):
            some, left = np.split(left, [max(1, AT_ONCE // int(size[left[0]]))])
            query = self.query(cases.user[some], cases.video[some], first[some], size[some])
            place = spans(cases.start[some], np.diff(cases.start)[some])
            out[place] = judge(query)[query.valid].double().cpu().numpy()
        return out

    def query(self, user: np.ndarray, video: np.ndarray, first: np.ndarray, size: np.ndarray) -> Query:
        """Steps first … first + size − 1 of videos (n,), for users (n,), with their histories."""
        data, history = self.data, self.past.of(user, video)
        number, place = np.unique(history[history >= 0], return_inverse=True)
        history[history >= 0] = place
        clips = self._rows(data.first[number], np.minimum(data.size[number], self.settings.window))
        return Query(*self._rows(first, size), *clips, torch.from_numpy(history).to(self.device))

    def _with_history(self, cases: Cases) -> np.ndarray:
        """(C,) bool: has the user a past highlight for the case's video?"""
        return np.asarray((self.past.of(cases.user, cases.video) >= 0).any(axis=1))

    def _content(self, query: Query) -> Tensor:
        """Cosine (n, T) of a step and the mean of the history's clips, standardised, but else as the store has them.
        Without a history all steps are equal."""
        steps, clips = (
            torch.where(there[..., None], (x - self.mean) / self.scale, 0)
            for x, there in ((query.steps, query.valid), (query.clips, query.clip_valid))
        )
        clip = clips.sum(1) / query.clip_valid.sum(1, keepdim=True).clamp_min(1)
        profile = F.pad(clip, (0, 0, 1, 0))[query.history + 1].sum(1)
        return F.cosine_similarity(steps, profile[:, None], dim=-1)

    def _rows(self, first: np.ndarray, size: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows (n, longest, dim) of ranges of steps, as in the store, and which of them are valid (n, longest)."""
        place = np.arange(size.max(initial=0))
        there = place < size[:, None]
        step = np.where(there, first[:, None] + place, 0)
        valid = there & self.data.usable[step]
        return self._vectors(step.ravel()).view(*step.shape, self.data.dim), torch.from_numpy(valid).to(self.device)

    def _vectors(self, steps: np.ndarray) -> Tensor:
        """Features (n, dim) of steps (n,)."""
        if self.features is not None:
            return self.features[torch.from_numpy(steps).to(self.device)]
        return torch.from_numpy(self.data.vectors(steps)).to(self.device)

    def _resident(self) -> Tensor | None:
        """All steps on the device, if they take less than half of its free memory; else batches read the store."""
        if self.device.type == "cuda":
            room = torch.cuda.mem_get_info(self.device)[0]
        else:
            room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if len(self.data.steps) * self.data.dim * 4 > room // 2:
            return None
        return torch.from_numpy(self.data.vectors(np.arange(len(self.data.steps)))).to(self.device)

    def _scaling(self) -> tuple[Tensor, Tensor]:
        """What standardising subtracts (dim,) and divides by (), of the usable steps of the training pieces."""
        first, once = np.unique(self.pieces.first, return_index=True)
        steps = spans(first, self.pieces.size[once])
        steps = steps[self.data.usable[steps]]
        chunks = [steps[i : i + CHUNK] for i in range(0, len(steps), CHUNK)]
        spread = Spread.of(lambda: (self._vectors(chunk).cpu().numpy() for chunk in chunks), self.data.dim)
        what = f"features of {self.data.store.spec.name}"
        mean, scale = scaling(spread, self.settings.standardise, what, "the training windows")
        return mean.to(self.device), scale.to(self.device)
