"""The audio-visual feature network of the multimodal click-through model, over feature stores (Hasama and Li, §3.1 and
3.4; its equations are in `features`): one vector of a video's picture and one of its sound, each a private
and a public half, learnt by classifying videos. `write` puts them into stores, where that model reads them.

N videos, W columns, D dimensions. The paper's towers are I3D, trained along with the rest. Here towers are what wrote
the stores (`i3d` and `i3d_sound` are the paper's) and stay as they are; only the layers above them are trained:

    picture x_v ──► private layer (W) ─ ReLU ─► private full (D) ─► H_v^p ─┐
            └─────► entry of pictures (W) ─ ReLU ─┐                        │
                                                  ├► public full (D) ─► H_v^s, H_a^s ─► classes
            ┌─────► entry of sound (W) ─── ReLU ─┘                         │
    sound x_a ────► private layer (W) ─ ReLU ─► private full (D) ─► H_a^p ─┘

The vectors of two stores have no number in common, so each has an entry of its own to the public weights, where the
paper's single tower takes a spectrogram for a grey picture.
"""

import torch
from torch import Tensor, nn

from reelmill.models.audiovisual.features import PrivatePublic
from reelmill.models.audiovisual.settings import MODALITIES, AudioVisualSettings


class AudioVisual(PrivatePublic):
    """The four features from vectors of stores: pictures (N, picture) and sound (N, sound) as the stores give them,
    means over a video's rows. They are centred and scaled to numbers of variance 1; both stay in the checkpoint."""

    settings: AudioVisualSettings
    picture_mean: Tensor
    picture_scale: Tensor
    sound_mean: Tensor
    sound_scale: Tensor

    def __init__(self, settings: AudioVisualSettings, classes: int, picture: int, sound: int) -> None:
        super().__init__()
        self.settings, self.sizes = settings, {"classes": classes, "picture": picture, "sound": sound}
        width, dim = settings.width, settings.dim
        self.picture = nn.Sequential(_entry(picture, width), nn.Linear(width, dim))
        self.sound = nn.Sequential(_entry(sound, width), nn.Linear(width, dim))
        self.picture_entry, self.sound_entry = _entry(picture, width), _entry(sound, width)
        self.public = nn.Linear(width, dim)
        self.classify = nn.Linear(4 * dim, classes)
        for modality, size in zip(MODALITIES, (picture, sound), strict=True):
            self.register_buffer(f"{modality}_mean", torch.zeros(size))
            self.register_buffer(f"{modality}_scale", torch.ones(()))

    def public_of_picture(self, picture: Tensor) -> Tensor:
        return self.public(self.picture_entry(picture))

    def public_of_sound(self, sound: Tensor) -> Tensor:
        return self.public(self.sound_entry(sound))

    def standardise(self, modality: str, vectors: Tensor) -> Tensor:
        """Vectors (n, ·) of a store → (vector − mean) / scale; NaN stays NaN."""
        return (vectors - getattr(self, f"{modality}_mean")) / getattr(self, f"{modality}_scale")

    @torch.no_grad()
    def describe(self, modality: str, vectors: Tensor) -> Tensor:
        """[Hᵖ; Hˢ] (n, 2 D) of one modality, from vectors (n, ·) of a store: what is written."""
        x = self.standardise(modality, vectors)
        if modality == "picture":
            return torch.cat([self.picture(x), self.public_of_picture(x)], 1)
        return torch.cat([self.sound(x), self.public_of_sound(x)], 1)


def _entry(columns: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, width), nn.ReLU())
