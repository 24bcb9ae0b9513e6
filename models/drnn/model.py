"""Dynamic RNN for personalised video recommendation ("A Unified Personalized Video Recommendation via Dynamic Recurrent
Neural Networks", ACM Multimedia 2017). Equation numbers are the paper's.

N videos, R rows (each one user at one moment), D_v and D_t numbers of picture and text, D_u topics, D = D_e dimensions,
H state dimensions. Vectors are rows here, so that the paper's matrices are transposed. No parameter belongs to a single
user: any user who has watched or posted can get recommendations.

The authors published no code. What the paper leaves open is decided here, and explained where it is decided.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelmill.models.core.base import Model
from reelmill.models.drnn.parts import Batch, Gru, Videos, mean, unit
from reelmill.models.drnn.settings import DRNNSettings
from reelmill.models.protocols.next_videos.history import Past
from reelmill.storage.errors import InputError


class DRNN(Model):
    """Semantic space (T_v, T_t), interest space (T_u, T_x), GRU and soft-max (T_p); no biases, as printed.

    The paper does not say how the matrices start, see `initialise`.
    """

    final_input: Tensor
    final_mixture: Tensor

    def __init__(
        self, settings: DRNNSettings, videos: int, picture: int, text: int, video_topics: int, post_topics: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.sizes = {"videos": videos, "picture": picture, "text": text}
        self.sizes |= {"video_topics": video_topics, "post_topics": post_topics}
        d, hidden, topics = settings.dim, settings.hidden, self._topics(video_topics, post_topics)
        inputs = text
        if settings.embeds:
            self.t_v, self.t_t = nn.Linear(picture, d, bias=False), nn.Linear(text, d, bias=False)
            inputs = 2 * d
        if settings.models_interest:
            self.t_u, self.t_x = nn.Linear(topics, d, bias=False), nn.Linear(2 * d, d, bias=False)
            inputs = d
        else:
            self.start = nn.Parameter(torch.empty(inputs))
        if settings.variant == "static_dnn":
            self.tower = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        else:
            self.gru = Gru(inputs, hidden)
        self.t_p = nn.Linear(hidden, videos, bias=False)
        self.register_buffer("final_input", torch.zeros(videos, inputs))
        self.register_buffer("final_mixture", torch.zeros(videos, video_topics))

    def _topics(self, video_topics: int, post_topics: int) -> int:
        """D_u. Raises InputError if the network chosen has no topics."""
        network = self.settings.network
        for name, count, other in (("videos", video_topics, "cross"), ("posts", post_topics, "single")):
            if self.settings.models_interest and network != other and count < 1:
                raise InputError(f"network {network!r} needs topics of {name}, there are {count}; try {other!r}")
        return {"single": video_topics, "cross": post_topics, "both": video_topics + post_topics}[network]

    def initialise(self, generator: torch.Generator) -> Self:
        """Draw all weights: T with deviation 1 / √rows, which keeps lengths, so that eq. 4 starts near one and not near
        D; `start` of length about one; the tower with variance 2 / columns (He)."""
        with torch.no_grad():
            for name, layer in self.named_children():
                if isinstance(layer, Gru):
                    layer.initialise(generator)
                elif isinstance(layer, nn.Linear):
                    size = layer.in_features if name == "t_p" else layer.out_features
                    layer.weight.normal_(0, size**-0.5, generator=generator)
            if not self.settings.models_interest:
                self.start.normal_(0, len(self.start) ** -0.5, generator=generator)
            for layer in self.tower if self.settings.variant == "static_dnn" else ():
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0, (2 / layer.in_features) ** 0.5, generator=generator)
                    layer.bias.zero_()
        return self

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """Gradient descent as printed, or Adam."""
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(group, lr=learning_rate)
        return super().optimizer(group, learning_rate)

    @property
    def decay(self) -> float:
        """λ of eq. 2 and 3; static_dnn averages (§4.6)."""
        return 0.0 if self.settings.variant == "static_dnn" else self.settings.decay

    def embed(self, videos: Videos, rows: Tensor) -> Tensor:
        """v_e ⊕ t_e (n, 2D) of videos (n,): v_e = T_v v and t_e = T_t t, each scaled to unit norm; zero stays zero. The
        paper mentions unit norm beside eq. 1; here the same v_e, t_e serve eq. 1, 3 and 7. Variant `rnn`: t as it is
        (n, D_t)."""
        if not self.settings.embeds:
            return videos.text[rows]
        return torch.cat([unit(self.t_v(videos.picture[rows])), unit(self.t_t(videos.text[rows]))], 1)

    def content_input(self, embedded: Tensor) -> Tensor:
        """What the GRU gets of a video: T_x (v_e ⊕ t_e) (n, D), or `embed` itself without an interest space."""
        return self.t_x(embedded) if self.settings.models_interest else embedded

    def topics(self, watched: Past, posted: Past, mixture: Tensor) -> Tensor:
        """Eq. 2: u (R, D_u), m_i being a watched video's mixture or the delta of a post's topic."""
        parts = []
        if self.settings.network != "cross":
            parts.append(watched.mean(mixture, self.decay))
        if self.settings.network != "single":
            deltas = torch.eye(self.sizes["post_topics"], dtype=self.t_p.weight.dtype, device=mixture.device)
            parts.append(posted.mean(deltas, self.decay))
        return torch.cat(parts, 1)

    def first_input(self, watched: Past, posted: Past, mixture: Tensor) -> Tensor:
        """x_1 (R, ·): T_u u. Without an interest space a learned vector, the same for all, so that a user of whom
        nothing is known gets what most watch."""
        if self.settings.models_interest:
            return self.t_u(self.topics(watched, posted, mixture))
        return self.start.expand(len(watched.start) - 1, -1)

    def fed_before(self, watched: Past) -> Tensor:
        """(R, P) videos that go in between x_1 and the first prediction: none if u holds the past (P = 0)."""
        in_u = self.settings.models_interest and not self.settings.feed_history
        return watched.last(0 if in_u else self.settings.memory)

    def states(self, first: Tensor, fed: Tensor, valid: Tensor) -> Tensor:
        """h_1 … (R, 1 + F, H) from x_1 (R, ·), then inputs (R, F, ·) where valid (R, F). static_dnn: the two hidden
        layers above x_1, at every step the same ("three-layer", the third being eq. 8)."""
        if self.settings.variant == "static_dnn":
            return self.tower(first)[:, None].expand(-1, 1 + fed.shape[1], -1)
        valid = F.pad(valid, (1, 0), value=True)
        return self.gru(torch.cat([first[:, None], fed], 1), valid)

    def loss(self, batch: Batch, turn: int = 0) -> dict[str, Tensor]:
        """Eq. 9: L = L_rec + λ1 L_sem + λ2 L_int + λ3 L_rel + λ4 |θ|².

        The paper sums over users, videos and triplets where we take means, which leaves the weights independent of the
        batch size. Only the videos that the batch names are embedded."""
        chosen, watched, after = self.settings, batch.watched, batch.after
        past = watched.first_rows(batch.examples if chosen.models_interest else 0)
        before = self.fed_before(watched)
        fed = torch.cat([before, torch.where(after[:, 1:] >= 0, after[:, :-1], -1)], 1)  # a row's last is not fed
        named = [fed.clamp(min=0).flatten(), past.member, batch.pair.flatten()]
        rows, place = torch.unique(torch.cat(named), return_inverse=True)
        fed_place, past_place, pair_place = place.split([len(part) for part in named])
        embedded = self.embed(batch.videos, rows)
        first = self.first_input(watched, batch.posted, batch.videos.mixture)
        inputs = F.embedding(fed_place.view(fed.shape), self.content_input(embedded))
        h = self.states(first, inputs, fed >= 0)
        terms = {"recommend": self._recommend(h[: batch.examples, before.shape[1] :], after[: batch.examples])}
        loss = terms["recommend"]
        if chosen.embeds:
            terms["semantic"] = self._semantic(embedded, pair_place.view(-1, 3))
            loss = loss + chosen.semantic * terms["semantic"]
        if chosen.models_interest:
            history = Past(past_place, past.age, past.start).mean(embedded, self.decay)
            terms |= self._interest(first[: batch.examples], history, past.known)
            loss = loss + chosen.interest * terms["interest"]
        if chosen.models_relevance:
            terms["relevance"] = self._relevance(h[:, -1], batch.triplet)
            loss = loss + chosen.relevance * terms["relevance"]
        terms["l2"] = torch.stack([p.square().sum() for p in self.parameters()]).sum()
        return {"loss": loss + chosen.l2 * terms["l2"], **terms}

    def _semantic(self, embedded: Tensor, pair: Tensor) -> Tensor:
        """Eq. 1, one negative each way: mean over pairs of [τ1 − v_e·t_e + v_e·t′_e]₊ + [τ1 − v_e·t_e + v′_e·t_e]₊."""
        own, lends_text, lends_picture = F.embedding(pair, embedded).unbind(1)
        v, t = own.chunk(2, 1)
        other_t, other_v = lends_text.chunk(2, 1)[1], lends_picture.chunk(2, 1)[0]
        room = self.settings.semantic_margin - (v * t).sum(1)
        return mean(F.relu(room + (v * other_t).sum(1)) + F.relu(room + (other_v * t).sum(1)))

    def _interest(self, topics: Tensor, history: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Eq. 4: mean of |T_u u − T_x ũ|² over rows with a known ũ and a u (T_u u is zero only where u is), of T_u u
        (n, D) and ũ (n, 2D). With it the mean length of T_u u, to watch."""
        both = known & (topics != 0).any(1)
        topics, videos = topics[both], self.t_x(history[both])
        norm = mean(topics.detach().norm(dim=1))
        if self.settings.unit_interest:
            topics, videos = unit(topics), unit(videos)
        return {"interest": mean((topics - videos).square().sum(1)), "interest_norm": norm}

    def _relevance(self, last: Tensor, triplet: Tensor) -> Tensor:
        """Eq. 6: mean of [τ2 − h_i·h_p + h_i·h_n]₊ over triplets, h being the rows' last states (R, H) at unit norm."""
        i, p, n = F.embedding(triplet, unit(last)).unbind(1)
        return mean(F.relu(self.settings.relevance_margin - (i * p).sum(1) + (i * n).sum(1)))

    def _recommend(self, h: Tensor, after: Tensor) -> Tensor:
        """Eq. 7 and 8: Σ_t −log P(v_t | …) with P = soft-max over all N of T_p h_t; mean over the rows that have a
        video. h (n, T, H): h_t was made from x_1 and v_1 … v_{t−1}; after (n, T)."""
        there = after >= 0
        total = F.cross_entropy(self.t_p(h[there]), after[there], reduction="sum")
        return total / there.any(1).sum().clamp(min=1)

    @torch.no_grad()
    def settle(self, videos: Videos) -> None:
        """Keep what recommending needs of the corpus, so that it needs no features."""
        rows = torch.arange(len(videos.text), device=videos.text.device)
        self.final_input.copy_(self.content_input(self.embed(videos, rows)))
        self.final_mixture.copy_(videos.mixture)

    def _opening(self, watched: Past, posted: Past) -> Tensor:
        """The state (R, H) that the first video is chosen from."""
        before = self.fed_before(watched)
        fed = F.embedding(before.clamp(min=0), self.final_input)
        return self.states(self.first_input(watched, posted, self.final_mixture), fed, before >= 0)[:, -1]

    @torch.no_grad()
    def score(self, watched: Past, posted: Past) -> Tensor:
        """log P(v_1 = i | u) of eq. 8, (R, N), nothing masked. After `settle`."""
        return F.log_softmax(self.t_p(self._opening(watched, posted)), 1)

    @torch.no_grad()
    def recommend(
        self, watched: Past, posted: Past, count: int, allowed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Videos (R, count) one after another, each the most probable and the next step's input (§3.4), and their log
        P(v_t | u, v_1, …). After `settle`; users need not have been trained on.

        Videos watched, already given or not allowed (R or 1, N) are masked, of equals the lowest row is taken; −1 and
        −inf where none is left."""
        h = self._opening(watched, posted)
        closed = torch.zeros(len(h), self.sizes["videos"], dtype=torch.bool, device=h.device)
        closed[watched.row, watched.member] = True
        if allowed is not None:
            closed |= ~allowed
        lists, chances = [], []
        for _ in range(count):
            chance, video = F.log_softmax(self.t_p(h), 1).masked_fill(closed, -torch.inf).max(1)
            found = chance > -torch.inf
            closed.scatter_(1, video[:, None], True)
            lists.append(torch.where(found, video, -1))
            chances.append(chance)
            if self.settings.variant != "static_dnn":
                after = self.gru.step(self.gru.u(self.final_input[video]), h)
                h = torch.where(found[:, None], after, h)
        return torch.stack(lists, 1), torch.stack(chances, 1)
