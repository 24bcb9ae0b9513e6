"""Online latent Dirichlet allocation for `topics` (Hoffman, Blei and Bach, NIPS 2010; "H" below).

Paper 004, §3.2: a watched video is a distribution over topics of its text and tags; §4.3: 70 of them.

scikit-learn fits and infers. (gensim's inference starts at random, so the topics of a document would depend on what was
inferred before it.) In `transform` every document starts from γ = 1 and has the same number of rounds, so its topics do
not depend on other documents. λ, the vocabulary and two counts are kept; `update` adds new words, which scikit-learn
alone does not support.

Measured against our own implementation, which this one replaced: perplexity of one half of a held-out text given the
other half, mean of three seeds, and seconds of a fit on one core:

    texts                                  before           now
    400 planted, 8 topics                  116.0   0.5 s    115.9   0.6 s
    500 planted, 24 topics                  88.1   1.1 s     85.7   0.7 s
    5000 planted, 70 topics                 74.5   3.6 s     74.8   1.6 s
    tags of MovieLens, 20 topics           234.0   0.6 s    233.7   0.5 s
    tags of MovieLens, 70 topics           223.6   1.4 s    221.3   0.7 s

Encoders that the old implementation fitted are still read and give the same bits (measured on the texts of the demo and
on MovieLens' tags).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import digamma
from sklearn.decomposition import LatentDirichletAllocation

from reelmill.extractors.core.settings import Compute
from reelmill.extractors.text.fitted import Encoder, Progress
from reelmill.extractors.text.topics import EXTRACTOR, TopicSettings
from reelmill.extractors.text.words import Document, TooLittleText, flat, vocabulary

BATCH = 256
"""Documents in one update, H's minibatch; fewer if there would be less than four batches."""
DELAY, DECAY = 10.0, 0.7
"""τ0 and κ of H's learning rate (τ0 + t)^−κ; κ from H's Table 1, τ0 for small corpora."""
VISITS = 20_000
"""Documents that a fit visits at least, over all passes."""
PASSES = (2, 60)
"""Fewest and most passes over the documents."""
ROUNDS = 50
"""Rounds of the E step in `transform`."""


class LDA(Encoder):
    """K topics over V words: λ (V, K), the variational parameters of H's eq. 1–8. Priors α = η = 1 / K, as in H."""

    about, rows = EXTRACTOR, "video"

    def __init__(self, settings: TopicSettings | None = None, compute: Compute | None = None) -> None:
        super().__init__(settings, compute)
        self.dim: int = self.settings.topics
        self._start()

    def _start(self) -> None:
        self.index: dict[str, int] = {}
        """{word: row of λ}"""
        self.weights = np.zeros((0, self.dim))
        """λ"""
        self.updates = 0
        self.seen = 0
        """Documents so far, H's D."""

    def fit(self, documents: Sequence[Document], progress: Progress = lambda share: None) -> None:
        self._start()
        self._learn(documents, progress, PASSES)

    def update(self, documents: Sequence[Document]) -> None:
        """Continue the fit with more documents, in one pass. Words that are frequent among them are added."""
        self._learn(documents, lambda share: None, (1, 1))

    def _learn(self, documents: Sequence[Document], progress: Progress, passes: tuple[int, int]) -> None:
        rng = np.random.default_rng([self.settings.seed, self.updates, len(self.index)])
        words = [document.words for document in documents]
        joining = [word for word in vocabulary(words) if word not in self.index]
        self.index |= {word: len(self.index) + place for place, word in enumerate(joining)}
        self.weights = np.concatenate([self.weights, rng.gamma(100.0, 0.01, (len(joining), self.dim))])
        known = [words[i] for i in np.unique(flat(words, self.index)[1])]
        if not known:
            if not self.seen:
                raise TooLittleText("no word occurs in two texts without occurring in most; topics cannot be learned")
            return
        self.seen += len(known)
        size = min(BATCH, -(-len(known) // 4))
        count = int(np.clip(-(-VISITS // len(known)), *passes))
        counts = self._counts(known)
        model = self._model(batch_size=size, total_samples=self.seen)
        model.random_state_ = np.random.RandomState(rng.integers(1 << 32))
        for number in range(count):
            model.partial_fit(counts[rng.permutation(len(known))])
            progress((number + 1) / count)
        self.weights, self.updates = model.components_.T.copy(), model.n_batch_iter_ - 1

    def _counts(self, words: Sequence[Sequence[str]]) -> csr_matrix:
        """(documents, V) counts of known words."""
        numbers, owner = flat(words, self.index)
        return csr_matrix((np.ones(len(numbers)), (owner, numbers)), shape=(len(words), len(self.index)))

    def _model(self, **settings: Any) -> LatentDirichletAllocation:
        """scikit-learn's model in the state of this one, set through its documented attributes."""
        model = LatentDirichletAllocation(
            self.dim, learning_method="online", learning_offset=DELAY, learning_decay=DECAY, **settings
        )
        model.components_ = self.weights.T.copy()
        model.exp_dirichlet_component_ = np.ascontiguousarray(self._expected().T)
        model.doc_topic_prior_ = model.topic_word_prior_ = 1 / self.dim
        model.n_batch_iter_, model.n_features_in_ = self.updates + 1, len(self.index)
        return model

    def _expected(self) -> np.ndarray:
        """exp E[log β] (V, K), H's eq. 6."""
        return np.exp(digamma(self.weights) - digamma(self.weights.sum(0)))

    def transform(self, documents: Sequence[Document]) -> np.ndarray:
        """(documents, topics) float32, rows sum to 1: the mean of q(θ), H's eq. 5 from γ = 1. NaN for a document
        without a known word."""
        found = np.full((len(documents), self.dim), np.nan, np.float32)
        counts = self._counts([document.words for document in documents])
        (known,) = np.nonzero(np.diff(counts.indptr))
        if len(known):
            found[known] = self._model(max_doc_update_iter=ROUNDS, mean_change_tol=0.0).transform(counts[known])
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"words": list(self.index), "updates": self.updates, "seen": self.seen}, {"weights": self.weights}

    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.index = {word: place for place, word in enumerate(facts["words"])}
        self.updates, self.seen = int(facts["updates"]), int(facts["seen"])
        self.weights = np.asarray(arrays["weights"], np.float64)
        if self.weights.shape != (len(self.index), self.dim):
            raise ValueError(f"weights of shape {self.weights.shape}")
