"""What a user can choose of every extractor of text."""

from dataclasses import dataclass

from reelmill.extractors.core.settings import ExtractorSettings

MOST = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(ExtractorSettings):
    """Of what learns from the texts of a root."""

    seed: int = 0
    """Of everything that is drawn while fitting."""
    refit: bool = False
    """Fit again if texts have changed, into a new store; else the first fit stays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(seed=(0, MOST))
