"""Audio-visual features of micro-videos, private and public (Hasama and Li, §3.1 and 3.4): what the multimodal
click-through model reads as modalities, learnt by classifying the videos.

N videos, C classes, D dimensions; v is picture, a is sound, p private, s public (shared).

    picture (N, 3, 32, 224, 224) ──► private tower ──► H_v^p ─┐
                              └────► public tower ───► H_v^s ─┼─► classes (C)
    sound   (N, 1, 32, 224, 224) ──► the same tower ─► H_a^s ─┤
                              └────► private tower ──► H_a^p ─┘

`PrivatePublic` holds the paper's losses, whatever the branches are. The paper's are three I3D that read pixels and
spectrograms; those of `model` read vectors of feature stores, which I3D may have written.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.audiovisual.settings import FeatureSettings
from reelmill.models.core.base import Model


@dataclass(frozen=True)
class FeatureBatch:
    """N videos."""

    picture: Tensor
    """(N, ·) what the branches of pictures read."""
    sound: Tensor
    """(N, ·) what the branches of sound read."""
    has_sound: Tensor
    """(N,) bool."""
    label: Tensor
    """(N,) classes; or (N, C), the share of each class in what the video is."""


@dataclass(frozen=True)
class Features:
    """(N, D) each; of a video without sound `sound_*` are zero."""

    picture_private: Tensor
    picture_public: Tensor
    sound_private: Tensor
    sound_public: Tensor

    @property
    def joint(self) -> Tensor:
        """The global feature (N, 4 D)."""
        return torch.cat([self.picture_private, self.picture_public, self.sound_private, self.sound_public], 1)


class PrivatePublic(Model):
    """The four features of videos, their classes, and the losses of §3.4. A subclass says what the branches are."""

    settings: FeatureSettings
    picture: nn.Module
    """Private to pictures."""
    sound: nn.Module
    """Private to sound."""
    classify: nn.Linear
    """(N, 4 D) → (N, C)."""

    def public_of_picture(self, picture: Tensor) -> Tensor:
        """H_v^s (n, D)."""
        raise NotImplementedError

    def public_of_sound(self, sound: Tensor) -> Tensor:
        """H_a^s (n, D) of videos with sound, by the weights of `public_of_picture`."""
        raise NotImplementedError

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights with variance 2 / (inputs) (He). What was trained elsewhere is loaded after this."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Conv3d):
                    module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
        return self

    def embed(self, picture: Tensor, sound: Tensor, has_sound: Tensor) -> Features:
        """The four features. Towers see the sound of videos that have one only, as their batch-norm counts along."""
        heard = sound[has_sound]
        private, public = (picture.new_zeros(len(picture), self.settings.dim) for _ in range(2))
        if len(heard):
            private = private.index_put((has_sound,), self.sound(heard))
            public = public.index_put((has_sound,), self.public_of_sound(heard))
        return Features(self.picture(picture), self.public_of_picture(picture), private, public)

    def loss(self, batch: FeatureBatch, turn: int = 0) -> dict[str, Tensor]:
        """Cross entropy of the classes + α L_S + β times what keeps private and public apart."""
        found = self.embed(batch.picture, batch.sound, batch.has_sound)
        classes = F.cross_entropy(self.classify(found.joint), batch.label)
        both = batch.has_sound
        similarity = similarity_loss(found.sound_public[both], found.picture_public[both])
        difference = self._apart(found, both)
        total = classes + self.settings.similarity * similarity + self.settings.difference * difference
        return {"loss": total, "classes": classes, "similarity": similarity, "difference": difference}

    def _apart(self, found: Features, both: Tensor) -> Tensor:
        """Over the pairs of one video's private and public feature of one modality, 2 N if all have sound."""
        private = torch.cat([found.picture_private, found.sound_private[both]])
        public = torch.cat([found.picture_public, found.sound_public[both]])
        if self.settings.apart == "hinge":
            return F.relu(self.settings.margin - divergence(private, public)).mean()
        if self.settings.apart == "as_printed":
            return divergence(private, public).sum() / len(found.picture_private)
        return sum(
            (overlap(found.picture_private, found.picture_public), overlap(private[len(both) :], public[len(both) :])),
            start=private.new_zeros(()),
        )

    @torch.no_grad()
    def score(self, picture: Tensor, sound: Tensor, has_sound: Tensor) -> Tensor:
        """Probabilities of the classes (N, C)."""
        return self.classify(self.embed(picture, sound, has_sound).joint).softmax(1)


def similarity_loss(sound: Tensor, picture: Tensor) -> Tensor:
    """Eq. 10: 1/(2N) Σ_n |(H_a^s)_n − (H_v^s)_n|², of (N, D) each; 0 of none."""
    return (sound - picture).square().sum() / (2 * max(len(sound), 1))


def divergence(private: Tensor, public: Tensor) -> Tensor:
    """One term of eq. 11 for each row: Σ_d P log₂(P / Q) in bits, of (N, D) each: (N,).

    The paper does not say what distributions: P = softmax of the private feature's D numbers, Q of the public one's
    (under the line of eq. 11 stands Q(H_a^s), and Q(H_v^s) in its second term)."""
    p, q = private.log_softmax(1), public.log_softmax(1)
    return (p.exp() * (p - q)).sum(1) / math.log(2)


def overlap(private: Tensor, public: Tensor) -> Tensor:
    """‖HᵖᵀHˢ‖² / N², of (N, D) each, rows at unit length so that shrinking does not serve; 0 of none.

    0 if over the N videos no number of one goes with any number of the other; of a single video it is always 1."""
    shared = F.normalize(private, dim=1).T @ F.normalize(public, dim=1)
    return shared.square().sum() / max(len(private), 1) ** 2
