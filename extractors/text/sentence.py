"""The extractor `text`: a vector of each video's title, tags, categories and description. Its settings; no torch.

`sentence_network` has the network and its training.
"""

from dataclasses import dataclass
from pathlib import Path

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.text.settings import MOST, EncoderSettings


@dataclass(frozen=True, kw_only=True)
class SentenceSettings(EncoderSettings):
    """Settings of `text`."""

    vectors: Path | None = None
    """File of word vectors in word2vec's text or binary format; trained on the corpus if not given."""
    steps: int = 1000
    """Training steps of the network, with 64 texts each."""

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
