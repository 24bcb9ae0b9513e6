"""The protocol of the audio-visual feature network: split, batches, and how well it classifies videos.

Videos are divided at random. A name is a class if enough training videos have it; a video without a class is left out.
The case is a video: `hit@1` is whether the likeliest class is among its own, `log_likelihood` the mean of log ŷ over
them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelmill.models.audiovisual.data import Clips
from reelmill.models.audiovisual.features import FeatureBatch
from reelmill.models.audiovisual.model import AudioVisual
from reelmill.models.audiovisual.settings import MODALITIES, AudioVisualSettings
from reelmill.models.data.events import PARTS
from reelmill.models.data.spread import Spread
from reelmill.models.metrics import evaluate
from reelmill.models.metrics.case_values import CaseValues
from reelmill.storage.errors import InputError, nearest

METRICS = ("hit@1", "log_likelihood")


class AudioVisualTask:
    """The protocol on one device."""

    watch = "log_likelihood"

    def __init__(self, data: Clips, settings: AudioVisualSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, settings, device
        if settings.classes not in data.named:
            raise InputError(
                f"classes {settings.classes!r}: no video with a picture has any; {nearest('', list(data.named))}"
            )
        column = data.named[settings.classes]
        owner, place = np.nonzero(column.table >= 0)
        has = np.zeros((len(data.videos), len(column.names)), bool)
        has[owner, column.table[owner, place]] = True
        rng = np.random.default_rng([settings.seed, 0])
        self.parts = _divided(np.flatnonzero(has.any(1)), settings, rng)
        common = has[self.parts["train"]].sum(0) >= settings.least
        if common.sum() < 2:
            raise InputError(
                f"classes {settings.classes!r}: {common.sum()} of {len(column.names)} names have {settings.least} "
                "or more training videos, and two are needed; lower least, or choose another column"
            )
        self.classes = [column.names[n] for n in np.flatnonzero(common)]
        shares = has[:, common].astype(np.float32)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        self.rare = {name: int((shares[part].sum(1) == 0).sum()) for name, part in self.parts.items()}
        self.parts = {name: part[shares[part].sum(1) > 0] for name, part in self.parts.items()}
        if not len(self.parts["test"]):
            raise InputError(f"none of the test videos is of the {len(self.classes)} classes; ingest more videos")
        self.label = torch.from_numpy(shares).to(device)
        self.has_sound = torch.from_numpy(~np.isnan(data.sound[:, 0])).to(device)
        self.spread = {role: self._spread(role) for role in MODALITIES}
        self.inputs = {
            role: ((torch.from_numpy(getattr(data, role)) - mean) / scale).to(device)
            for role, (mean, scale) in self.spread.items()
        }

    @property
    def counts(self) -> dict[str, int]:
        train = self.parts["train"]
        silent = int((~self.has_sound.cpu().numpy()[train]).sum())
        return {
            **self.data.counts,
            "classes": len(self.classes),
            **{f"{name}_videos": len(part) for name, part in self.parts.items()},
            **{f"{name}_videos_of_rare_names": number for name, number in self.rare.items()},
            "train_videos_without_sound": silent,
        }

    def identities(self) -> dict[str, list[str]]:
        return {"classes": self.classes}

    def model(self, generator: torch.Generator) -> AudioVisual:
        picture, sound = (table.shape[1] for table in self.inputs.values())
        model = AudioVisual(self.settings, len(self.classes), picture, sound).initialise(generator)
        for role, (mean, scale) in self.spread.items():
            getattr(model, f"{role}_mean").copy_(mean)
            getattr(model, f"{role}_scale").copy_(scale)
        return model.to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[FeatureBatch]:
        train = torch.from_numpy(self.parts["train"]).to(self.device)
        order = torch.randperm(len(train), generator=generator, device=self.device)
        for rows in train[order].split(self.settings.batch):
            yield FeatureBatch(*self._given(rows), self.label[rows])

    def validate(self, model: AudioVisual) -> dict[str, float]:
        part = self.parts["validation"]
        if not len(part):
            return {}
        return dict(zip(METRICS, self._measured(self._chances(model, part), part).mean(0).tolist(), strict=True))

    def evaluate(self, model: AudioVisual) -> dict[str, Any]:
        """Beside the floors `random`, all classes alike, and `most popular`, their shares in training."""
        part, c = self.parts["test"], len(self.classes)
        popular = self.label[torch.from_numpy(self.parts["train"]).to(self.device)].mean(0).expand(len(part), -1)
        chances = {
            "random": torch.full((len(part), c), 1 / c, device=self.device),
            "most popular": popular,
            "audiovisual": self._chances(model, part),
        }
        values = {name: self._measured(ŷ, part) for name, ŷ in chances.items()}
        truth = (np.array(self.classes), self.label.cpu().numpy()[part])
        cases = CaseValues("classes", None, [self.data.videos[v] for v in part], METRICS, values, truth)
        return {"rows": evaluate.rows(values, METRICS, self.settings.seed), "cases": [cases]}

    def _given(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.inputs["picture"][rows], self.inputs["sound"][rows], self.has_sound[rows]

    def _chances(self, model: AudioVisual, part: np.ndarray) -> Tensor:
        """ŷ (n, C) of videos (n,)."""
        return model.score(*self._given(torch.from_numpy(part).to(self.device)))

    def _measured(self, chances: Tensor, part: np.ndarray) -> np.ndarray:
        """(n, metrics) of ŷ (n, C) for videos (n,). Of classes that are equally likely each is the first in turn."""
        share, ŷ = self.label.cpu().numpy()[part].astype(np.float64), chances.double().cpu().numpy()
        first = ŷ == ŷ.max(1, keepdims=True)
        hit = (first & (share > 0)).sum(1) / first.sum(1)
        return np.stack([hit, (share * np.log(np.maximum(ŷ, 1e-12))).sum(1)], axis=1)

    def _spread(self, role: str) -> tuple[Tensor, Tensor]:
        """Mean vector over the training videos, and root mean square of the numbers around it. Raises InputError."""
        table = getattr(self.data, role)[self.parts["train"]]
        table = table[~np.isnan(table[:, 0])]
        if not len(table):
            raise InputError(f"no training video has a usable row in {self.data.stores[role]}; extract them first")
        spread = Spread.of(lambda: [table], table.shape[1])
        scale = float(np.sqrt(spread.square / table.size))
        if not scale > 0:
            raise InputError(
                f"features of {self.data.stores[role]} are constant: every training video has one vector; extract anew"
            )
        return torch.from_numpy(spread.mean).float(), torch.tensor(scale)


def _divided(rows: np.ndarray, settings: AudioVisualSettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
    order = rng.permutation(rows)
    validation, test = (round(share * len(order)) for share in (settings.validation_share, settings.test_share))
    train = len(order) - validation - test
    return dict(zip(PARTS, np.split(order, [train, train + validation]), strict=True))
