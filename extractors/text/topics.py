"""The extractor `topics`: the distribution over topics of each video's text. Its settings; `lda` computes it."""

from dataclasses import dataclass

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.text.settings import MOST_TOPICS, EncoderSettings


@dataclass(frozen=True, kw_only=True)
class TopicSettings(EncoderSettings):
    """Settings of `topics`."""

    topics: int = 70
    """Number of topics; 70 in paper 004, §4.3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(topics=(1, MOST_TOPICS))


EXTRACTOR = Descriptor(
    name="topics",
    input="text",
    layers={"lda": TopicSettings().topics},
    default_layers=("lda",),
    settings=TopicSettings,
    implementation="reelmill.extractors.text.lda:LDA",
    paper="Paper 004, §3.2; Hoffman, Blei and Bach, Online Learning for Latent Dirichlet Allocation, NIPS 2010",
)
