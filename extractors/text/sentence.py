"""Vectors of the text of a video: its title, tags, categories and description. Its settings; no torch.

The network, and how it is trained, is in `sentence_network`.
"""

from dataclasses import dataclass
from pathlib import Path

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.text.settings import MOST, EncoderSettings


@dataclass(frozen=True, kw_only=True)
class SentenceSettings(EncoderSettings):
    """What a user can choose of the sentence network."""

    vectors: Path | None = None
    """Word vectors in word2vec's text or binary format, instead of ones trained on the corpus."""
    steps: int = 1000
    """Steps of training its network, each of 64 texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(steps=(1, MOST))


EXTRACTOR = Descriptor(
    name="text",
    input="text",
    layers={"sentence": 300},
    default_layers=("sentence",),
    settings=SentenceSettings,
    implementation="reelmill.extractors.text.sentence_network:Sentence",
    paper="Paper 004, §3.1; Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014",
)
