"""Settings of the systems of the Dynamic RNN's table 2, which know users by their posts alone. No torch."""

from dataclasses import dataclass
from typing import Any

from reelmill.models.protocols.next_videos.settings import HistorySettings

WORLD: dict[str, Any] = {"least_videos": 5, "least_posts": 1, "test_share": 0.4, "validation_share": 0.15}
"""Settings that suit the planted world."""


@dataclass(frozen=True, kw_only=True)
class ColdStartSettings(HistorySettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN, with its `network="cross"`. One epoch is the
    whole fit; there is no optimiser: `batch`, `learning_rate` and `patience` have no effect."""

    epochs: int = 1
    """More change nothing."""
    cold_start: bool = True
    """Watches of test users before the test are hidden, and may be recommended (§4.2). These systems read none anyway;
    if it is false, known watches are left out of the lists."""
    least_posts: int = 101
    """Users have posted so often, or are left out ("over 100", §4.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(least_posts=0)

    @property
    def posts_wanted(self) -> int:
        """Users who have posted less often are left out."""
        return self.least_posts
