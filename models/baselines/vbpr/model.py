"""BPR, the pairwise ranking of matrix factorisation (Rendle et al., UAI 2009), and VBPR, which adds what an item looks
or sounds like (He and McAuley, AAAI 2016). Equation numbers are those of the latter.

M users, N items of the training, K and K′ dimensions of the two spaces. Vectors are rows here, so that the paper's E
(K′, features) is transposed.

Eq. 1 and 4 as one inner product, without what is the same for all items of a user:

    r̂_ai = ⟨[γ_a, θ_a, 1], [γ_i, E f_i, β_i + β′·f_i]⟩

BPR is this without features, so without θ, E and β′. (The matrix factorisation of Rendle et al. has no β_i; that of He
and McAuley, and of the libraries in use, has.)
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.baselines.vbpr.settings import BPRSettings, VBPRSettings
from reelmill.models.core.base import Model
from reelmill.models.core.rows import RowAdagrad, inner, squares


@dataclass(frozen=True)
class Batch:
    """B positives (a, i), each with S negatives j. Users and items are named by their place in a list of distinct ones,
    which is all that the batch needs to know of."""

    user: Tensor
    """(m,) distinct users."""
    item: Tensor
    """(n,) distinct items."""
    of: Tensor
    """(B,) places in `user`."""
    positive: Tensor
    """(B,) places in `item`."""
    negative: Tensor
    """(B, S) places in `item`."""
    features: Tensor | None
    """(n, features) of the items, standardised."""

    @classmethod
    def build(
        cls, user: Tensor, positive: Tensor, negative: Tensor, users: int, items: int, features: Tensor | None
    ) -> "Batch":
        """From users (B,), items (B,) and (B, S), out of so many users and items, and the features of all items."""
        named, of = distinct(user, users)
        item, place = distinct(torch.cat([positive[:, None], negative], 1), items)
        if features is not None and len(item) < items:
            features = features[item]
        return cls(named, item, of, place[:, 0], place[:, 1:], features)


def distinct(numbers: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Distinct numbers (n,) that hold all of (…), ascending, and the place of each (…) among them. A batch with half as
    many as `total` or more gets them all: to touch every row is cheaper than to find out which."""
    if 2 * numbers.numel() >= total:
        return torch.arange(total, device=numbers.device), numbers
    return torch.unique(numbers, return_inverse=True)


class BPR(Model):
    """A vector for each user, a vector and a bias for each item."""

    def __init__(self, settings: BPRSettings, users: int, items: int, seen: int = 0) -> None:
        """`seen`: further dimensions of a user, for what a subclass adds to the vector of an item."""
        super().__init__()
        self.settings, self.sizes = settings, {"users": users, "items": items}
        self.user = nn.Parameter(torch.empty(users, settings.dim + seen))
        self.item = nn.Parameter(torch.empty(items, settings.dim))
        self.bias = nn.Parameter(torch.empty(items, 1))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, self.settings.init_std, generator=generator)
            self.bias.zero_()
        return self

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """Tables are updated in the rows of the batch."""
        return RowAdagrad(group, learning_rate)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """BPR-Opt, Rendle's eq. for −ln p(Θ | >): mean over (a, i, j) of −ln σ(r̂_ai − r̂_aj) + λ_Θ (|γ_a|² + |θ_a|² +
        |γ_i|² + β_i² + |γ_j|² + β_j²).

        The papers sum where we take means, which leaves λ independent of the batch size."""
        user, item = _rows(self.user, batch.user), _rows(self.item, batch.item)
        bias = _rows(self.bias, batch.item)
        places = torch.cat([batch.positive[:, None], batch.negative], 1)
        rating = inner(user, batch.of, *self._shown(item, bias, batch.features), places)
        bpr = F.softplus(rating[:, 1:] - rating[:, :1]).mean()
        of_item = _shares(batch.positive, item) + _shares(batch.negative, item)
        l2 = squares(user, _shares(batch.of, user)) + squares(item, of_item) + squares(bias, of_item)
        return {"loss": bpr + self.settings.l2 * l2, "bpr": bpr, "l2": l2}

    @torch.no_grad()
    def users(self) -> Tensor:
        """[γ_a, θ_a, 1] of all users, (M, D)."""
        return _with_one(self.user)

    @torch.no_grad()
    def items(self) -> Tensor:
        """[γ_i, E f_i, β_i + β′·f_i] of all items of the training, (N, D), so that `users() @ items().T` is every r̂."""
        return torch.cat([self.item, self.bias], 1)

    @torch.no_grad()
    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """r̂ of users (…) and items (…), which broadcast."""
        return (self.users()[users] * self.items()[items]).sum(-1)

    def _shown(self, item: Tensor, bias: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """`items` of a batch, from γ (n, K) and β (n, 1): vectors (n, D), and what is added (n,)."""
        return item, bias[:, 0]


class VBPR(BPR):
    """BPR with a second vector and bias for each item, linear in its features.

    Features are centred and scaled, and both numbers stay in the checkpoint. To centre adds a constant to all ratings
    of a user, and changes no order; to scale by one number does what another spread of E would do. An item without
    features has those of the mean item, zero."""

    settings: VBPRSettings
    feature_mean: Tensor
    feature_scale: Tensor
    final: Tensor

    def __init__(self, settings: VBPRSettings, users: int, items: int, features: int) -> None:
        super().__init__(settings, users, items, settings.visual_dim)
        self.sizes["features"] = features
        self.visual = nn.Parameter(torch.empty(features, settings.visual_dim))
        self.visual_bias = nn.Parameter(torch.empty(features, 1))
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(()))
        self.register_buffer("final", torch.zeros(items, settings.visual_dim + 1))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        super().initialise(generator)
        with torch.no_grad():
            self.visual_bias.zero_()
        return self

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """E and β′ learn at a rate √features times smaller: of unit length, f then moves E f about as far as γ moves,
        however many numbers it has."""
        dense = [self.visual, self.visual_bias]
        tables = [parameter for parameter in group if all(parameter is not other for other in dense)]
        slow = learning_rate / len(self.visual) ** 0.5
        return RowAdagrad([{"params": tables}, {"params": dense, "lr": slow}], learning_rate)

    def standardise(self, features: Tensor) -> Tensor:
        """f (n, features) as a store gives it → (f − mean) / scale, zero where there is none."""
        return torch.nan_to_num((features - self.feature_mean) / self.feature_scale)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """As that of BPR, and λ_E (|E|² + |β′|²)."""
        terms = super().loss(batch)
        visual = self.visual.square().sum() + self.visual_bias.square().sum()
        return {**terms, "loss": terms["loss"] + self.settings.l2_visual * visual}

    @torch.no_grad()
    def settle(self, features: Tensor) -> None:
        """Keep E f and β′·f of all items, (N, features) standardised, so that `items` and `score` need none."""
        self.final.copy_(self._look(features))

    @torch.no_grad()
    def items(self) -> Tensor:
        """[γ_i, E f_i, β_i + β′·f_i] of all items of the training, (N, D), with the E f that `settle` kept."""
        return torch.cat([self.item, self.final[:, :-1], self.bias + self.final[:, -1:]], 1)

    @torch.no_grad()
    def embed(self, features: Tensor) -> Tensor:
        """The same of items that training never saw, from features (n, features) as a store gives them: (n, D). Their γ
        and β are zero: the mean of what they start from."""
        look = self._look(self.standardise(features))
        return torch.cat([look.new_zeros(len(look), self.settings.dim), look], 1)

    def _look(self, features: Tensor) -> Tensor:
        """[E f, β′·f] of (n, features) standardised."""
        return features @ torch.cat([self.visual, self.visual_bias], 1)

    def _shown(self, item: Tensor, bias: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        assert features is not None
        look = self._look(features)
        return torch.cat([item, look[:, :-1]], 1), bias[:, 0] + look[:, -1]


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    """Distinct rows (n,) of a table, ascending: (n, columns), with a gradient that names these rows alone, or the table
    itself if they are all."""
    return table if len(rows) == len(table) else F.embedding(rows, table, sparse=True)


def _shares(places: Tensor, table: Tensor) -> Tensor:
    """(n,): the share of places (…) that each row of a table (n, ·) has."""
    return torch.bincount(places.flatten(), minlength=len(table)).to(table.dtype) / places.numel()


def _with_one(user: Tensor) -> Tensor:
    return F.pad(user, (0, 1), value=1.0)
