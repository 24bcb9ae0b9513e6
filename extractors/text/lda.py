"""Topics of videos: latent Dirichlet allocation, learned online (Hoffman, Blei and Bach, NIPS 2010; "H" below).

Paper 004, §3.2: a watched video is a distribution over topics of its text and tags; §4.3: 70 of them.

Written here and not taken from gensim, whose inference starts at random, so that the topics of a document depend on
what was inferred before; here each document starts alike, many are inferred at once, and words can join later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma

from reelmill.extractors.core.settings import Compute
from reelmill.extractors.text.fitted import Encoder, Progress
from reelmill.extractors.text.topics import EXTRACTOR, TopicSettings
from reelmill.extractors.text.words import Document, TooLittleText, flat, vocabulary

BATCH = 256
"""Documents an update, H's minibatch; fewer where that would make less than four batches."""
DELAY, DECAY = 10.0, 0.7
"""τ0 and κ of H's learning rate (τ0 + t)^−κ; κ from H's Table 1, τ0 for small corpora."""
VISITS = 20_000
"""Documents that a fit visits at least, if that is at most `PASSES` passes."""
PASSES = (2, 60)
ROUNDS = 50
"""Rounds of the E step for a document, always all of them, so that it does not depend on the others of its batch."""


@dataclass(frozen=True)
class _Bags:
    """Documents as counted words, those without any left out."""

    word: np.ndarray
    """(entries,) int64, ascending within a document"""
    count: np.ndarray
    """(entries,) float64"""
    starts: np.ndarray
    """(documents,) int64: where each begins"""
    owner: np.ndarray
    """(entries,) int64: place of its document among those that have words"""
    where: np.ndarray
    """(documents,) int64: their numbers among all that were given"""


class LDA(Encoder):
    """K topics over V words: λ (V, K), the variational parameters of H's eq. 1–8. Priors α = η = 1 / K, as in H."""

    about, rows = EXTRACTOR, "video"

    def __init__(self, settings: TopicSettings | None = None, compute: Compute | None = None) -> None:
        super().__init__(settings, compute)
        self.dim: int = self.settings.topics
        self._start()

    def _start(self) -> None:
        self.index: dict[str, int] = {}
        """Word → row of λ."""
        self.weights = np.zeros((0, self.dim))
        """λ"""
        self.updates = 0
        self.seen = 0
        """Documents so far, D in H."""

    def fit(self, documents: Sequence[Document], progress: Progress = lambda share: None) -> None:
        self._start()
        self._learn(documents, progress, PASSES)

    def update(self, documents: Sequence[Document]) -> None:
        """Go on learning from more documents, in one pass; words that are frequent among them join."""
        self._learn(documents, lambda share: None, (1, 1))

    def _learn(self, documents: Sequence[Document], progress: Progress, passes: tuple[int, int]) -> None:
        rng = np.random.default_rng([self.settings.seed, self.updates, len(self.index)])
        words = [document.words for document in documents]
        fresh = [word for word in vocabulary(words) if word not in self.index]
        self.index |= {word: len(self.index) + place for place, word in enumerate(fresh)}
        self.weights = np.concatenate([self.weights, rng.gamma(100.0, 0.01, (len(fresh), self.dim))])
        known = [words[i] for i in np.unique(flat(words, self.index)[1])]
        if not known:
            if not self.seen:
                raise TooLittleText("no word stands in two texts and not in most; topics cannot be learned")
            return
        self.seen += len(known)
        size = min(BATCH, -(-len(known) // 4))
        count = int(np.clip(-(-VISITS // len(known)), *passes))
        for number in range(count):
            order = rng.permutation(len(known))
            for start in range(0, len(known), size):
                self._step([known[i] for i in order[start : start + size]])
            progress((number + 1) / count)

    def _step(self, words: Sequence[Sequence[str]]) -> None:
        """One update of λ from a batch: H's algorithm 2."""
        bags = _bags(words, self.index)
        topics = self._expected()
        entries = topics[bags.word]
        theta = _mixing(_posterior(bags, entries, 1 / self.dim))[bags.owner]
        share = theta * (bags.count / (np.einsum("ek,ek->e", theta, entries) + 1e-100))[:, None]
        order = np.argsort(bags.word, kind="stable")
        touched, first = np.unique(bags.word[order], return_index=True)
        rate = (DELAY + self.updates) ** -DECAY
        self.weights *= 1 - rate
        self.weights += rate / self.dim  # η
        self.weights[touched] += rate * self.seen / len(words) * np.add.reduceat(share[order], first) * topics[touched]
        self.updates += 1

    def _expected(self) -> np.ndarray:
        """exp E[log β] (V, K), H's eq. 6."""
        return np.exp(digamma(self.weights) - digamma(self.weights.sum(0)))

    def transform(self, documents: Sequence[Document]) -> np.ndarray:
        """(documents, topics) float32, rows sum to 1: the mean of q(θ). NaN where a document has no known word."""
        found = np.full((len(documents), self.dim), np.nan, np.float32)
        topics = self._expected()
        for start in range(0, len(documents), BATCH):
            bags = _bags([d.words for d in documents[start : start + BATCH]], self.index)
            if len(bags.where):
                gamma = _posterior(bags, topics[bags.word], 1 / self.dim)
                found[start + bags.where] = gamma / gamma.sum(1, keepdims=True)
        return found

    def likelihood(self, documents: Sequence[Document]) -> float:
        """Mean log probability of a word under each document's own mixture; `exp` of its negative is the perplexity by
        which paper 004 (§4.3) chose its number of topics."""
        words = [document.words for document in documents]
        numbers, owner = flat(words, self.index)
        topics = self.weights / self.weights.sum(0)
        return float(np.log(np.einsum("wk,wk->w", self.transform(documents)[owner], topics[numbers])).mean())

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"words": list(self.index), "updates": self.updates, "seen": self.seen}, {"weights": self.weights}

    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.index = {word: place for place, word in enumerate(facts["words"])}
        self.updates, self.seen = int(facts["updates"]), int(facts["seen"])
        self.weights = np.asarray(arrays["weights"], np.float64)
        if self.weights.shape != (len(self.index), self.dim):
            raise ValueError(f"weights of shape {self.weights.shape}")


def _bags(words: Sequence[Sequence[str]], index: dict[str, int]) -> _Bags:
    numbers, owner = flat(words, index)
    size = max(len(index), 1)
    both, count = np.unique(owner * size + numbers, return_counts=True)
    where, starts, owner = np.unique(both // size, return_index=True, return_inverse=True)
    return _Bags(both % size, count.astype(np.float64), starts, owner, where)


def _posterior(bags: _Bags, entries: np.ndarray, alpha: float) -> np.ndarray:
    """γ (documents, K) of q(θ): the E step, H's eq. 5, from γ = 1. `entries`: exp E[log β] of each entry's word."""
    gamma = np.ones((len(bags.where), entries.shape[1]))
    for _ in range(ROUNDS):
        theta = _mixing(gamma)
        norm = np.einsum("ek,ek->e", theta[bags.owner], entries) + 1e-100
        gamma = alpha + theta * np.add.reduceat(entries * (bags.count / norm)[:, None], bags.starts)
    return gamma


def _mixing(gamma: np.ndarray) -> np.ndarray:
    """exp E[log θ] (documents, K)."""
    return np.exp(digamma(gamma) - digamma(gamma.sum(1, keepdims=True)))
