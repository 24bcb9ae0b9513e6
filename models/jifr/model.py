"""JIFR: personalised multimedia item and key frame recommendation (Wu et al., IJCAI 2019). Equation numbers are the
paper's.

M users, N items, L frames, d dimensions of either space, h hidden units of an attention network. Vectors are rows here,
so that the paper's matrices are transposed: U and W (M, d), V and X (N, d), frame features c (L, dim).

No frame likes take part in training: W is learnt from item ratings alone, and scores frames as it stands (eq. 4). The
authors published no code. What the paper leaves open is decided here, and explained where it is decided.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.rows import pick
from reelmill.models.core.standardise import FeatureModel
from reelmill.models.jifr.parts import RatingAttention, VisualAttention
from reelmill.models.jifr.settings import JIFRSettings
from reelmill.models.protocols.items_and_frames.frames import Frames

PAIRS_AT_ONCE = 1 << 18
"""Full ranking holds the hidden layer of so many pairs at a time, 67 MB at h = 32."""


@dataclass(frozen=True)
class Batch:
    """B positives (a, i), each with S negatives j."""

    user: Tensor
    """(B,)."""
    item: Tensor
    """(n,) distinct items: all that the batch needs to know of."""
    positive: Tensor
    """(B,) places in `item`."""
    negative: Tensor
    """(B, S) places in `item`."""
    frames: Frames
    """Of the n items."""

    @classmethod
    def build(cls, user: Tensor, positive: Tensor, negative: Tensor, frames: Frames) -> "Batch":
        """From items (B,) and (B, S), and the frames of all N items."""
        item, place = torch.unique(torch.cat([positive[:, None], negative], 1), return_inverse=True)
        return cls(user, item, place[:, 0], place[:, 1:], frames.of(item))


class JIFR(FeatureModel):
    """Two spaces, each with a row for a user and one for an item, and up to two attention networks.

    The paper does not say how the matrices start. Here P and W⁰ start as U, V and W do, so that with standardised
    features Pc has the spread of v, and the others with variance 2 / (columns) (He), so that no layer changes the
    scale. A and B are halves of W², which has the columns of both.
    """

    final_items: Tensor
    framed: Tensor

    def __init__(self, settings: JIFRSettings, users: int, items: int, features: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"users": users, "items": items, "features": features}
        d = settings.dim
        self.u = nn.Parameter(torch.empty(users, d))
        self.v = nn.Parameter(torch.empty(items, d))
        self.w = nn.Parameter(torch.empty(users, d))
        self.p = nn.Linear(features, d, bias=False)
        h, bias = settings.hidden, settings.attention_bias
        self.visual = VisualAttention(features, d, h, bias) if settings.visual_attention else None
        self.rating = RatingAttention(d, h, bias) if settings.rating_attention else None
        self.register_buffer("final_items", torch.zeros(items, d))
        self.register_buffer("framed", torch.zeros(items, dtype=torch.bool))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        with torch.no_grad():
            for table in (self.u, self.v, self.w):
                table.normal_(0, self.settings.init_std, generator=generator)
            for name, layer in self.named_modules():
                if isinstance(layer, nn.Linear):
                    columns = 2 * layer.in_features if name in ("rating.a", "rating.b") else layer.in_features
                    std = self.settings.init_std if name in ("p", "visual.w0") else (2 / columns) ** 0.5
                    layer.weight.normal_(0, std, generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
        return self

    def attend(self, items: Tensor, frames: Frames) -> Tensor:
        """α (L,) of the frames of items (n,): eq. 6 and 7, or 1 / |S_i| without visual attention."""
        if self.visual is None:
            return 1 / frames.count[frames.owner].to(self.v.dtype)
        return self.visual(pick(self.v, items), frames).squeeze(-1)

    def embed(self, items: Tensor, frames: Frames) -> Tensor:
        """Eq. 5, or 1: x_i = Σ_{j ∈ S_i} α_ij P c_j, (n, d), of items (n,); zero for an item without frames."""
        return frames.sum(self.attend(items, frames)[:, None] * self.p(frames.features))

    def _users(self, users: Tensor) -> Tensor:
        """[u_a, w_a] of users (…), each followed by its half of eq. 9: (…, 2, d + h), or (…, 2, d) without."""
        both = torch.stack([pick(self.u, users), pick(self.w, users)], -2)
        return both if self.rating is None else torch.cat([both, self.rating.a(both)], -1)

    def _items(self, items: Tensor, x: Tensor) -> Tensor:
        """[v_i, x_i] of items (…) and x (…, d), each followed by its half of eq. 9: (…, 2, d + h), or (…, 2, d)."""
        both = torch.stack([pick(self.v, items), x], -2)
        return both if self.rating is None else torch.cat([both, self.rating.b(both)], -1)

    def _blend(self, user: Tensor, item: Tensor, framed: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 8: r̂_ai = β_ai1 u_a·v_i + β_ai2 w_a·x_i, (…), and β (…, 2), of `_users` and `_items`, which broadcast.

        Without rating attention β = (½, ½) for every item, also one without frames: r̂ is then half of eq. 2, one
        factor for all items, and ranks as VBPR."""
        d = self.settings.dim
        ratings = torch.einsum("...kd,...kd->...k", user[..., :d], item[..., :d])
        if self.rating is None:
            return ratings.mean(-1), torch.full_like(ratings, 0.5)
        beta = self.rating(user[..., d:], item[..., d:], framed)
        return (beta * ratings).sum(-1), beta

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Eq. 3: mean over (a, i, j) of −ln σ(r̂_ai − r̂_aj) + λ₁ (|u_a|² + |w_a|² + |v_i|² + |v_j|²).

        The paper sums where we take means, which leaves λ₁ independent of the batch size; σ in place of −ln σ is
        `objective: as_printed`."""
        places = torch.cat([batch.positive[:, None], batch.negative], 1)
        items = self._items(batch.item, self.embed(batch.item, batch.frames))
        user, item = self._users(batch.user)[:, None], pick(items.flatten(1), places).unflatten(-1, items.shape[1:])
        rated, _ = self._blend(user, item, batch.frames.count[places] > 0)
        behind = rated[:, 1:] - rated[:, :1]
        log = self.settings.objective == "log_sigmoid"
        bpr = (F.softplus(behind) if log else torch.sigmoid(-behind)).mean()
        d = self.settings.dim
        of_user, of_item = user[..., :d].square().sum((-2, -1)), item[..., 0, :d].square().sum(-1)
        l2 = (of_user + of_item[:, :1] + of_item[:, 1:]).mean()
        return {"loss": bpr + self.settings.l2 * l2, "bpr": bpr, "l2": l2}

    @torch.no_grad()
    def settle(self, items: Tensor, frames: Frames) -> None:
        """Keep x of items (n,), so that `score` needs no frames. All N at once, or a part at a time."""
        self.final_items[items] = self.embed(items, frames)
        self.framed[items] = frames.count > 0

    @torch.no_grad()
    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """Eq. 8: r̂ of users (…) and items (…), which broadcast, with the x that `settle` kept."""
        return self._pairs(users, items)[0]

    @torch.no_grad()
    def balance(self, users: Tensor, items: Tensor) -> Tensor:
        """Eq. 10: β (…, 2), habit and sight, of users (…) and items (…), which broadcast."""
        return self._pairs(users, items)[1]

    def _pairs(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        return self._blend(self._users(users), self._items(items, self.final_items[items]), self.framed[items])

    @torch.no_grad()
    def rank(self, users: Tensor) -> Iterator[Tensor]:
        """Eq. 8 for full ranking: r̂ of users (m,) with all N items, a few users at a time, (·, N) each.

        A·u, A·w and B·v, B·x are computed once; only β depends on the pair."""
        every = torch.arange(len(self.v), device=self.v.device)
        user, item = self._users(users), self._items(every, self.final_items)
        for some in user.split(max(1, PAIRS_AT_ONCE // len(every))):
            yield self._blend(some[:, None], item, self.framed)[0]

    @torch.no_grad()
    def score_frames(self, users: Tensor, features: Tensor) -> Tensor:
        """Eq. 4: l̂_ak = w_a·P c_k of users (…) and features (…, dim) as in the store, whose (…) broadcast.

        Neither α nor β takes part."""
        return (pick(self.w, users) * self.p(self.standardise(features))).sum(-1)
