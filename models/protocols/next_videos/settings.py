"""Settings of the protocol of the next videos (Dynamic RNN, §4.1 and 4.2)."""

from dataclasses import dataclass
from datetime import UTC, datetime

from reelmill.models.core.settings import WIDEST, FitSettings
from reelmill.storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class HistorySettings(FitSettings):
    """What the protocol needs (§4.1, §4.2), whatever is fitted under it. Defaults are the paper's."""

    sessions: int = 12
    """L of §3.2: the last months before `end`. Events before them are history, and not predicted."""
    end: str = ""
    """Day on which the last session ends, YYYY-MM-DD (UTC), itself not in it; empty: right after the last watch. What
    comes later is left out."""
    known_months: int = 9
    """n_f of §4.2: 9 in the long mode and the cold start, 3 in the short mode."""
    least_videos: int = 11
    """Users have watched so many videos, or are left out ("over 10", §4.1)."""
    least_watchers: int = 3
    """Videos were watched by so many of these users, or are left out (§4.1); those of the test count among them."""
    list_length: int = 5
    """k of §4.2."""
    test_share: float = 0.2
    """Of the users (§4.2)."""
    validation_share: float = 0.1
    """Of the other users; the paper tuned by three-fold cross validation."""
    cold_start: bool = False
    """Test users have posts only: their watches before the test are hidden (§4.2). The paper's test of the cross
    network is `network="cross", cold_start=True`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(sessions=1200, list_length=WIDEST)
        self.at_least(sessions=2, known_months=1, list_length=1, test_share=0, validation_share=0)
        self.at_least(least_videos=1, least_watchers=1)
        if self.known_months >= self.sessions:
            raise InputError(f"known_months {self.known_months}: must be at most {self.sessions - 1}, below sessions")
        self.at_most(test_share=0.9, validation_share=0.9)
        if self.end and self.end_ms is None:
            raise InputError(f"end {self.end!r}: must be a day, such as 2014-06-01, or empty")

    @property
    def end_ms(self) -> int | None:
        """`end` in milliseconds since 1970; None if it is empty or no day."""
        try:
            return round(datetime.strptime(self.end, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            return None

    @property
    def posts_wanted(self) -> int:
        """Users who have posted less often are left out."""
        return 0
