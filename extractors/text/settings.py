"""Settings that extractors of text share."""

from dataclasses import dataclass

from reelmill.extractors.core.settings import ExtractorSettings

MOST = (1 << 32) - 1
"""Largest seed or number of passes."""
MOST_TOPICS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(ExtractorSettings):
    """Settings of an extractor that is fitted on the texts of a root."""

    seed: int = 0
    """Seed of everything that is drawn while fitting."""
    refit: bool = False
    """Fit again if texts have changed, into a new store; otherwise the first fit is used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(seed=(0, MOST))
