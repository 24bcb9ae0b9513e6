"""Settings of the audio-visual feature network (Hasama and Li). Equation and section numbers are the paper's."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import WIDEST, FitSettings

MODALITIES = ("picture", "sound")
LAYERS = tuple(f"audiovisual-{modality}" for modality in MODALITIES)
"""Names, without their fingerprints, of the stores that a fit writes."""


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(FitSettings):
    """The paper names no figure but the 32 frames and their 224 × 224 pixels."""

    batch: int = 16
    """Videos a step; three I3D over 32 frames are what a large GPU holds."""
    learning_rate: float = 1e-4
    """Of Adam, for towers that start from weights trained elsewhere."""
    dim: int = 256
    """D, of each of the four features ("fine-tuned the output channels")."""
    similarity: float = 1.0
    """α, weight of L_S (eq. 10)."""
    difference: float = 1.0
    """β, weight of what keeps private and public apart."""
    apart: Literal["hinge", "orthogonal", "as_printed"] = "hinge"
    """How β keeps them apart: mean(relu(margin − KL)), or ‖HᵖᵀHˢ‖². As printed the divergence of eq. 11 itself is
    minimised, which makes private equal public, against its purpose."""
    margin: float = 1.0
    """Bits of divergence that are enough for the hinge."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST)
        self.at_least(dim=1, similarity=0, difference=0, margin=0)
        self.one_of(apart=("hinge", "orthogonal", "as_printed"))


@dataclass(frozen=True, kw_only=True)
class AudioVisualSettings(FeatureSettings):
    """Those of the network, with smaller steps' worth of data: stores are in memory, and nothing is fine-tuned."""

    epochs: int = 100
    patience: int = 10
    batch: int = 64
    """Videos a step."""
    learning_rate: float = 1e-3
    """Of Adam. The paper names none."""
    dim: int = 64
    """D, of each of the four features."""
    width: int = 256
    """W, of the layer between a store's vectors and a feature."""
    classes: Literal["categories", "tags", "uploader"] = "categories"
    """Column of the table `videos` that names a video's classes. The paper has one class a video; of several, each
    counts for its share."""
    least: int = 5
    """Training videos that a name needs to be a class."""
    validation_share: float = 0.1
    """Of the videos with a class."""
    test_share: float = 0.1
    """The same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(width=WIDEST)
        self.at_least(width=1, least=1, validation_share=0)
        self.one_of(classes=("categories", "tags", "uploader"))
        self.leaves_training(self.validation_share, self.test_share)
