"""The protocol of PR-Net (§3.4 and 4.1): split by users, windows to train on, whole videos to test. The equations are
in `prnet`.

A video is cut into pieces of `window` steps, the last one shorter; those that hold a highlight of a user are hers to
train on. An epoch takes one piece of each training user, drawn evenly, so no user stands twice in a batch. (Taking
every piece of everybody, 150 epochs in the paper's seven hours would mean some thirty batches a second.)
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.data.arrays import spans
from reelmill.models.data.cases import Cases
from reelmill.models.data.vectors import CHUNK
from reelmill.models.metrics import evaluate, untrained
from reelmill.models.prnet.model import Batch, PRNet, Query, Reasons
from reelmill.models.prnet.settings import PRNetSettings
from reelmill.models.protocols.highlights.cases import GRID_METRICS, Past, Pooled, measured, step_cases
from reelmill.models.protocols.highlights.cases import STEP_METRICS as METRICS
from reelmill.models.protocols.highlights.data import Highlights
from reelmill.storage.errors import InputError

AT_ONCE = 1 << 16
"""Steps, padding included, that are scored at a time."""


class PRNetTask:
    """The paper's protocol on one device."""

    watch = "highlight_ap"

    def __init__(self, data: Highlights, settings: PRNetSettings, device: torch.device) -> None:
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
        self.pieces = _Pieces(data, np.sort(train), settings.window)
        self.validation, self.test = (step_cases(data, users, settings.tested) for users in (validation, test))
        self.pooled = Pooled.of(data, self.test)
        self.features = self._resident()
        self.mean, self.scale = self._spread()

    @property
    def counts(self) -> dict[str, int]:
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
            "test_videos_without_history": int((self.past.of(test.user, test.video) < 0).all(axis=1).sum()),
            "test_videos_trained_on": int(np.isin(test.video, pieces.video).sum()),
            "test_videos_wholly_marked": int((np.add.reduceat(test.relevant, test.start[:-1]) == candidates).sum()),
            "test_videos_without_segments": len(test) - len(self.pooled.cases),
            "test_steps": len(test.segment),
        }

    def identities(self) -> dict[str, list[str]]:
        """None: a user is her history."""
        return {}

    def model(self, generator: torch.Generator) -> PRNet:
        model = PRNet(self.settings, self.data.dim).initialise(generator)
        model.feature_mean.copy_(self.mean)
        model.feature_scale.copy_(self.scale)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        pieces, count = self.pieces, len(self.pieces.start) - 1
        order = torch.randperm(count, generator=generator, device=self.device).cpu().numpy()
        uniform = torch.rand(count, generator=generator, device=self.device, dtype=torch.float64).cpu().numpy()
        drawn = pieces.start[order] + (uniform * np.diff(pieces.start)[order]).astype(np.int64)
        for i in range(0, count, self.settings.batch):
            user, video, first, size = pieces.of(drawn[i : i + self.settings.batch])
            step = first[:, None] + np.arange(size.max())
            marked = np.isin(user[:, None] * len(self.data.steps) + step, self.data.positive)
            marked &= np.arange(size.max()) < size[:, None]
            yield Batch(self._query(user, video, first, size), torch.from_numpy(marked).to(self.device))

    def validate(self, model: PRNet) -> dict[str, float]:
        if not len(self.validation):
            return {}
        watched = (self.watch, "map")
        values = measured(self.scores(model, self.validation), self.validation, self.settings.seed, watched)
        return dict(zip(watched, values.mean(axis=0).tolist(), strict=True))

    def evaluate(self, model: PRNet) -> dict[str, Any]:
        return self.tables({"prnet": [self.scores(model, self.test)]})

    def scores(self, model: PRNet, cases: Cases) -> np.ndarray:
        """Scores (T,) of the candidates of cases, each video encoded as a whole."""
        return self._each(cases, lambda query: model.score(query)[0])

    def reasons(self, model: PRNet, case: int) -> tuple[Query, Reasons]:
        """What a test case asks (B = 1), and why the steps of its video are ranked as they are."""
        user, video = self.test.user[[case]], self.test.video[[case]]
        query = self._query(user, video, self.data.steps.start[video], np.diff(self.data.steps.start)[video])
        return query, model.score(query)[1]

    def tables(self, scores: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
        """The test of these rankings, draws of (T,), and of the floors: by steps, then by segments of five seconds. A
        case is a user, with the mean over her videos."""
        rng, seed = np.random.default_rng(self.settings.seed), self.settings.seed
        every: dict[str, Sequence[np.ndarray]] = {
            "random": [untrained.random(self.test)],
            "smooth random": [untrained.smooth_random(self.test, rng) for _ in range(untrained.DRAWS)],
            "early first": [-self.test.segment.astype(np.float64)],
            "content": [self._each(self.test, self._content)],
            **scores,
        }
        values = {name: np.mean([measured(s, self.test, seed) for s in draws], axis=0) for name, draws in every.items()}
        rows = evaluate.rows(values, METRICS, seed)
        if len(cases := self.pooled.cases):
            values = {
                name: np.mean([measured(self.pooled.scores(s), cases, seed, GRID_METRICS) for s in draws], axis=0)
                for name, draws in every.items()
            }
            rows += evaluate.rows(values, GRID_METRICS, seed)
        return {"rows": rows}

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

    def _each(self, cases: Cases, judge: Callable[[Query], Tensor]) -> np.ndarray:
        """Scores (T,) of the candidates of cases by what judges whole videos; those of one length together."""
        first, size = self.data.steps.start[cases.video], np.diff(self.data.steps.start)[cases.video]
        out, left = np.empty(len(cases.segment)), np.argsort(-size, kind="stable")
        while len(left):
            some, left = np.split(left, [max(1, AT_ONCE // int(size[left[0]]))])
            query = self._query(cases.user[some], cases.video[some], first[some], size[some])
            place = spans(cases.start[some], np.diff(cases.start)[some])
            out[place] = judge(query)[query.valid].double().cpu().numpy()
        return out

    def _query(self, user: np.ndarray, video: np.ndarray, first: np.ndarray, size: np.ndarray) -> Query:
        """Steps first … first + size − 1 of videos (n,), for users (n,), with their histories."""
        data, history = self.data, self.past.of(user, video)
        number, place = np.unique(history[history >= 0], return_inverse=True)
        history[history >= 0] = place
        clips = self._rows(data.first[number], np.minimum(data.size[number], self.settings.window))
        return Query(*self._rows(first, size), *clips, torch.from_numpy(history).to(self.device))

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

    def _spread(self) -> tuple[Tensor, Tensor]:
        """What `standardise` subtracts (dim,) and divides by (), of the usable steps of the training pieces."""
        first, once = np.unique(self.pieces.first, return_index=True)
        steps = spans(first, self.pieces.size[once])
        steps = steps[self.data.usable[steps]]
        chunks = [steps[i : i + CHUNK] for i in range(0, len(steps), CHUNK)]
        zero = torch.zeros(self.data.dim, dtype=torch.float64, device=self.device)
        mean = sum((self._vectors(c).double().sum(0) for c in chunks), zero) / len(steps)
        square = sum(float((self._vectors(c) - mean).square().sum()) for c in chunks)
        rms = (square / len(steps)) ** 0.5
        if not rms > 0:
            name = self.data.store.spec.name
            raise InputError(f"features of {name} are constant over the training windows; extract them anew")
        if self.settings.standardise != "centre":
            mean, rms = torch.zeros_like(mean), float(np.hypot(rms, float(mean.norm())))
        scale = 1.0 if self.settings.standardise == "none" else rms
        return mean.float(), torch.tensor(scale, dtype=torch.float32, device=self.device)


class _Pieces:
    """Pieces of videos that hold a highlight of a user, by user; only users that have one count."""

    def __init__(self, data: Highlights, users: np.ndarray, window: int) -> None:
        user, step = np.divmod(data.positive, len(data.steps))
        user, step = (column[np.isin(user, users)] for column in (user, step))
        begin = data.steps.start[data.steps.video[step]]
        pair = np.unique(user * len(data.steps) + begin + (step - begin) // window * window)
        self.user, self.first = np.divmod(pair, len(data.steps))
        self.video = data.steps.video[self.first]
        self.size = np.minimum(data.steps.start[self.video + 1] - self.first, window)
        self.start = np.flatnonzero(np.diff(self.user, prepend=-1, append=-1))

    def of(self, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """User, video, first step and number of steps of pieces (n,), each (n,)."""
        return self.user[pieces], self.video[pieces], self.first[pieces], self.size[pieces]
