"""Settings of the multimodal click-through model (Hasama and Li). Equation and section numbers are the paper's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.clicks.settings import FieldSettings, widths_of
from reelmill.storage.errors import InputError, nearest

ABLATIONS: Mapping[str, Mapping[str, object]] = {
    "basic": {"modalities": "none", "crossing": False},
    "concatenated": {"modalities": "concatenated", "crossing": False},
    "fused": {"modalities": "fused", "crossing": False},
    "crossing": {"modalities": "fused", "crossing": True},
}
"""The steps of §4.4, each with what the one before it has. The last is the model."""


@dataclass(frozen=True, kw_only=True)
class MultimodalSettings(FieldSettings):
    """The whole model by default; `MultimodalSettings.ablation(name)` is a step of §4.4."""

    modalities: Literal["fused", "concatenated", "none"] = "fused"
    """As one more field: weighted by the user, laid end to end, or not at all (basic fields only)."""
    crossing: bool = True
    """With P, the crossed pairs."""
    deep: bool = True
    """With the linear part and the perceptron (after eq. 1); without them the output is eq. 1."""
    heads: int = 2
    """Of the self-attention. The paper names none; AutoInt's. They share the D dimensions."""
    layers: int = 1
    """Of self-attention (figure 2 shows one)."""
    attention: int = 16
    """A, hidden units of the fusion and of eq. 9. The paper names none."""
    hidden: str = "256-128-64"
    """Widths of the perceptron's hidden layers. The paper names none. On half of MovieLens-1M (two seeds), best
    validation AUC is .8864 from 128-64, .8867 from 128-128-128 and .8874 from this; a DeepFM's is .8870."""
    cross_weights: Literal["softmax", "as_printed"] = "softmax"
    """Eq. 8 with exp, as in AFM, from which it is taken. Without exp, as printed, it divides by a sum that may be 0 or
    nearly so, and weights leave 0 … 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(heads=1, layers=1, attention=1)
        self.at_most(layers=WIDEST, attention=WIDEST)
        widths_of(self.hidden)
        self.one_of(modalities=("fused", "concatenated", "none"), cross_weights=("softmax", "as_printed"))
        if self.dim % self.heads:
            raise InputError(f"heads {self.heads}: must divide dim {self.dim}")

    @classmethod
    def ablation(cls, name: str, **settings: object) -> Self:
        """A step of §4.4: basic, concatenated, fused or crossing."""
        if name not in ABLATIONS:
            raise InputError(f"ablation {name!r}: {nearest(name, list(ABLATIONS))}")
        return cls.from_dict({**ABLATIONS[name], **settings})
