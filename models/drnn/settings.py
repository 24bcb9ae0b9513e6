"""Settings of the Dynamic RNN. Equation and section numbers are the paper's (see `model`)."""

from dataclasses import dataclass
from typing import Literal

from reelmill.models.core.settings import WIDEST
from reelmill.models.protocols.next_videos.settings import HistorySettings
from reelmill.storage.errors import InputError

VARIANTS = ("drnn", "rnn", "rnn_sem", "rnn_no_rel", "static_dnn")
NETWORKS = ("single", "cross", "both")


@dataclass(frozen=True, kw_only=True)
class DRNNSettings(HistorySettings):
    """Defaults are the paper's (§4.3). Sizes come with the data: 70 topics of videos, 100 of posts, D_v = 8192 (mean
    VGG-19 fc6 beside mean C3D fc6), D_t = 300."""

    variant: Literal["drnn", "rnn", "rnn_sem", "rnn_no_rel", "static_dnn"] = "drnn"
    """§4.6. `rnn`: text alone goes in, eq. 7 alone is minimised. `rnn_sem`: v_e ⊕ t_e goes in, with eq. 1.
    `rnn_no_rel`: all but eq. 6. `static_dnn`: a feed-forward network in place of the GRU, means without decay."""
    network: Literal["single", "cross", "both"] = "single"
    """What u is made of (§3.2): topics of watched videos, topics of posts, or the two side by side. `both` is ours: a
    missing part is zero, and T_u has no bias. Posts need a store for the role `posts`, such as `post_topics`."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Plain gradient descent, at rate 1e-3, is the paper's (§4.3). It sums over users where we take means, so that its
    step is ours at `learning_rate` times `batch`: `optimizer="sgd", learning_rate=0.05` at 50 a batch, which still
    wants tens of thousands of steps. On 240 planted users 12 epochs of `sgd` got less far than one of `adam`."""
    dim: int = 300
    """D_e."""
    hidden: int = 300
    """H of the GRU; the paper gives it for static_dnn only (§4.6)."""
    decay: float = 0.1
    """λ of eq. 2 and 3, per month. The paper gives no unit; per day, a week would halve the weight of an event."""
    semantic_margin: float = 0.3
    """τ1 of eq. 1."""
    relevance_margin: float = 0.5
    """τ2 of eq. 6."""
    semantic: float = 0.2
    """λ1 of eq. 9; the paper tried 0.2 to 0.8 for this one and the next two."""
    interest: float = 0.4
    """λ2 of eq. 9."""
    relevance: float = 0.2
    """λ3 of eq. 9."""
    l2: float = 1e-4
    """λ4 of eq. 9, on all parameters."""
    unit_interest: bool = False
    """Scale both sides of eq. 4 to unit norm. As printed the eq. is zero where T_u and T_x are; `interest_norm` among
    the terms of the loss shows whether it goes there."""
    nearest: int = 10
    """Positives of eq. 6 are drawn among so many users of largest overlap; the paper does not say who they are."""
    longest: int = 20
    """At most so many videos after a session are predicted, N_r of eq. 7; the paper does not say."""
    memory: int = 20
    """`rnn` and `rnn_sem` have no u: so many of the last watched videos go in first. The paper does not say."""
    feed_history: bool = False
    """Let the last videos watched go in after u as well. In the paper (§3.2, §3.4) u alone holds the past; at 0.1 per
    month it hardly shows which taste is the newer one."""
    standardise: Literal["centre", "scale", "none"] = "centre"
    """Picture and text f → (f − mean) / rms, f / rms or f, with mean vector and root mean square length over those of
    the training users' videos that have them; what a video does not have is zero. Without centring, what all videos
    share leaves no angle between them for eq. 1."""
    least_posts: int = 101
    """In the cross network users have posted so often, or are left out ("over 100", §4.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_most(dim=WIDEST, hidden=WIDEST, nearest=WIDEST, longest=WIDEST, memory=WIDEST)
        self.at_least(dim=1, hidden=1, decay=0, semantic_margin=0, relevance_margin=0)
        self.at_least(semantic=0, interest=0, relevance=0, l2=0, nearest=1, longest=1, memory=0)
        self.at_least(least_posts=0)
        self.one_of(variant=VARIANTS, network=NETWORKS, optimizer=("sgd", "adam"))
        self.one_of(standardise=("centre", "scale", "none"))
        if self.cold_start and self.models_interest and not self.reads_posts:
            raise InputError("cold_start with network 'single': nothing is known of who is tested; say 'cross'")

    @property
    def embeds(self) -> bool:
        """Is there a semantic space (eq. 1)?"""
        return self.variant != "rnn"

    @property
    def models_interest(self) -> bool:
        """Is there an interest space (eq. 2 to 4)?"""
        return self.variant not in ("rnn", "rnn_sem")

    @property
    def reads_topics(self) -> bool:
        """Has u a part that topics of videos make?"""
        return self.models_interest and self.network != "cross"

    @property
    def reads_posts(self) -> bool:
        """Has u a part that topics of posts make?"""
        return self.models_interest and self.network != "single"

    @property
    def posts_wanted(self) -> int:
        """Required of all users in the cross network, where u is posts only."""
        return self.least_posts if self.reads_posts and not self.reads_topics else 0

    @property
    def models_relevance(self) -> bool:
        """Is there eq. 6?"""
        return self.variant in ("drnn", "static_dnn")
