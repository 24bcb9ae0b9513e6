"""CB: the words of a user's posts compared with those of videos (the Dynamic RNN's table 2)."""

from dataclasses import dataclass

from reelmill.models.baselines.cb.data import load
from reelmill.models.baselines.cold_start import WORLD, ColdStartSettings
from reelmill.models.core.recommender import Recommender, SharedWorld, lazy
from reelmill.models.core.settings import WIDEST


@dataclass(frozen=True, kw_only=True)
class CBSettings(ColdStartSettings):
    """Beside these, the protocol's: they must be those of the Dynamic RNN, with its `network="cross"`. One epoch is the
    whole fit; there is no optimiser: `batch`, `learning_rate` and `patience` have no effect."""

    words: int = 50_000
    """At most so many words count: those in the most documents."""
    most_common: float = 0.5
    """Words in a larger share of the documents do not count, in place of a list of stop words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(words=1, most_common=0)
        self.at_most(words=WIDEST, most_common=1)


RECOMMENDER = Recommender(
    name="cb",
    paper="Gao et al., A Unified Personalized Video Recommendation via Dynamic Recurrent Neural Networks, ACM MM 2017",
    settings=CBSettings,
    roles={"posts": "post_topics"},
    reads_attributes=True,
    load=load,
    task=lazy("reelmill.models.baselines.cb.model:CBTask"),
    model=lazy("reelmill.models.baselines.cb.model:CB"),
    adviser=lazy("reelmill.models.baselines.cb.model:CBAdviser"),
    world=SharedWorld(of="drnn", options=WORLD, roles={"posts": "posts"}),
    version=1,
)
