"""TransGRec: learning to transfer graph embeddings (Wu et al., SIGIR 2020). Equation numbers are the paper's.

M users, N items (the segments of the training videos), E edges (training positives), D dimensions. Vectors are rows
here, so that the paper's matrices are transposed: U (M, D), V (N, D), F (N, dim).

The authors published no code. What the paper leaves open is decided here, and explained where it is decided.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.graph import Graph
from reelmill.models.core.rows import pick
from reelmill.models.core.standardise import FeatureModel
from reelmill.models.transgrec.settings import TransGRecSettings


@dataclass(frozen=True)
class Batch:
    """B positives (a, i), each with S negatives j."""

    graph: Graph
    user: Tensor
    """(B,)."""
    positive: Tensor
    """(B,) items."""
    negative: Tensor
    """(B, S) items."""


class TransGRec(FeatureModel):
    """Graph network, transfer network T and, in variant A, discriminator.

    The paper does not say how the matrices start. Here W⁰ starts as X and Z do, so that with standardised features g
    has the spread of z, and the others with variance 2 / (columns) (He), so that no layer changes the scale.
    """

    final_users: Tensor

    def __init__(self, settings: TransGRecSettings, users: int, items: int, features: int) -> None:
        super().__init__(features)
        self.settings, self.sizes = settings, {"users": users, "items": items, "features": features}
        d, depth = settings.dim, settings.depth
        self.x = nn.Parameter(torch.empty(users, d))
        self.z = nn.Parameter(torch.empty(items, d))
        self.w0 = nn.Linear(features, d, bias=False)
        self.w_user = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(depth))
        self.w_item = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(depth))
        self.transfer = nn.Sequential(nn.Linear(d, d, bias=False), nn.ReLU(), nn.Linear(d, d, bias=False), nn.ReLU())
        adversarial = settings.variant == "adversarial"
        self.judge = nn.Sequential(nn.Linear(2 * d + 1, d), nn.ReLU(), nn.Linear(d, 1)) if adversarial else None
        self.register_buffer("final_users", torch.zeros(users, d))

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights."""
        with torch.no_grad():
            for table in (self.x, self.z):
                table.normal_(0, self.settings.init_std, generator=generator)
            for name, layer in self.named_modules():
                if isinstance(layer, nn.Linear):
                    std = self.settings.init_std if name == "w0" else (2 / layer.in_features) ** 0.5
                    layer.weight.normal_(0, std, generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
        return self

    def turns(self) -> list[list[nn.Parameter]]:
        """E trains everything at once. A takes turns: graph network, T, discriminator (§3.3)."""
        if self.judge is None:
            return [list(self.parameters())]
        graph = [self.x, self.z, *self.w0.parameters(), *self.w_user.parameters(), *self.w_item.parameters()]
        return [graph, list(self.transfer.parameters()), list(self.judge.parameters())]

    def propagate(self, graph: Graph) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Eq. 2 to 9: g (N, D), y (N, D), final users u (M, D), final items v (N, D).

        g = W⁰f; y = g + z; u⁰ = x, v⁰ = y;
        u^{k+1}_a = ReLU(W_u^{k+1} (u^k_a + mean_{j ∈ R_a} v^k_j)),
        v^{k+1}_i = ReLU(W_v^{k+1} (v^k_i + mean_{a ∈ R_i} u^k_a)), at every layer including the last.
        """
        g = self.w0(graph.features)
        y = g + self.z
        u: Tensor = self.x
        v: Tensor = y
        for w_user, w_item in zip(self.w_user, self.w_item, strict=True):
            u, v = F.relu(w_user(u + graph.items_of.mean(v))), F.relu(w_item(v + graph.users_of.mean(u)))
        return g, y, u, v

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Terms of eq. 15 (E), or of eq. 14, 16 and 17 (A, in this order of turns)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and turn == 0):  # T and D see the graph network fixed
            g, y, u, v = self.propagate(batch.graph)
        given = g if self.settings.transfer_input == "content" else y
        if self.judge is None:
            terms = self._preference(batch, u, v)
            terms["transfer"] = self._euclidean(given, v)
            terms["loss"] = terms["loss"] + self._balance(batch) * terms["transfer"]
            return terms
        if turn == 0:
            return self._preference(batch, u, v)
        return self._adversarial(batch, u, v, given, turn)

    def _preference(self, batch: Batch, u: Tensor, v: Tensor) -> dict[str, Tensor]:
        """Eq. 10 and 14: r̂_ai = u_a·v_i; mean over (a, i, j) of −ln s(r̂_ai − r̂_aj) + λ (|x_a|² + |z_i|² + |z_j|²).

        The paper sums where we take means, which leaves λ independent of the batch size."""
        a, i, j = batch.user, batch.positive, batch.negative
        liked = (pick(u, a) * pick(v, i)).sum(-1, keepdim=True)
        other = torch.einsum("bd,bsd->bs", pick(u, a), pick(v, j))
        bpr = F.softplus(other - liked).mean()
        x, z, others = pick(self.x, a), pick(self.z, i), pick(self.z, j)
        l2 = (x.square().sum(-1) + z.square().sum(-1) + others.square().sum(-1).mean(1)).mean()
        return {"loss": bpr + self.settings.l2 * l2, "bpr": bpr, "l2": l2}

    def _balance(self, batch: Batch) -> float:
        """λ of eq. 1, times items over pairs: eq. 15 adds a sum over all pairs to a sum over all items, here are means.
        Its pairs are those of an epoch, E positives with S negatives each."""
        items, pairs = len(batch.graph.features), len(batch.graph.by_item) * batch.negative.shape[1]
        return self.settings.balance * items / pairs

    def _euclidean(self, given: Tensor, v: Tensor) -> Tensor:
        """Eq. 12: mean over all N items of |T(g_i) − v_i|²."""
        target = v.detach() if self.settings.stop_grad_teacher else v
        return (self.transfer(given) - target).square().sum(-1).mean()

    def _adversarial(self, batch: Batch, u: Tensor, v: Tensor, given: Tensor, turn: int) -> dict[str, Tensor]:
        """Eq. 13, its sum over all (a, i) sampled by the batch's (a, i, r = 1) and (a, j, r = 0).

        D reads [item, user, r] for real and fake alike (the brackets of eq. 16 and 17 are misplaced). Turn 1, T: −log
        D(fake), or log(1 − D(fake)) as printed. Turn 2, D: −log D(real) − log(1 − D(fake)), where eq. 17 misses a
        sign."""
        assert self.judge is not None
        item = torch.cat([batch.positive[:, None], batch.negative], 1)
        user = pick(u, batch.user)[:, None].expand(*item.shape, -1)
        r = F.pad(torch.ones_like(batch.user)[:, None], (0, batch.negative.shape[1]))[..., None].to(u.dtype)
        made = self.transfer(pick(given, item))
        fake = self.judge(torch.cat([made if turn == 1 else made.detach(), user, r], -1))
        if turn == 1:
            printed = self.settings.generator_loss == "as_printed"
            transfer = -F.softplus(fake).mean() if printed else F.softplus(-fake).mean()
            return {"loss": transfer, "transfer": transfer}
        real = self.judge(torch.cat([pick(v, item), user, r], -1))
        judge = (F.softplus(-real) + F.softplus(fake)).mean()
        return {"loss": judge, "judge": judge}

    @torch.no_grad()
    def settle(self, graph: Graph) -> None:
        """Keep the final users u^K, so that `score` needs no graph."""
        self.final_users.copy_(self.propagate(graph)[2])

    @torch.no_grad()
    def embed(self, standardised: Tensor) -> Tensor:
        """v̂ = T(W⁰f), (n, D), of standardised features (n, dim). Every candidate goes this way, also one that has
        edges (eq. 18 says "each candidate test segment"): v̂ and v are not on one scale, and one list must be."""
        return self.transfer(self.w0(standardised))

    @torch.no_grad()
    def score(self, users: Tensor, features: Tensor) -> Tensor:
        """Eq. 18: r̂ = u_a·v̂_i, (n,), of user rows (n,) and their candidates' features (n, dim) as in the store."""
        return (self.final_users[users] * self.embed(self.standardise(features))).sum(-1)
