"""The extractor `post_topics`: TwitterLDA.

Zhao et al., Comparing Twitter and Traditional Media Using Topic Models, ECIR 2011. A post has one topic, drawn from its
author's distribution over topics; each of its words comes from that topic or from a background that all posts share.
Paper 004, §3.2: each post becomes a delta distribution over the topics; §4.3: 100 of them; the model is updated with
the posts of each day in turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from reelmill.extractors.core.descriptor import Descriptor
from reelmill.extractors.core.settings import Compute
from reelmill.extractors.text.fitted import Encoder, Progress
from reelmill.extractors.text.settings import MOST, MOST_TOPICS, EncoderSettings
from reelmill.extractors.text.words import Document, TooLittleText, flat, vocabulary

DAY_MS = 24 * 3600 * 1000
BETA, GAMMA = 0.01, 20.0
"""Priors of words, and of background against topic, as in the authors' program; the prior of topics is 50 / K."""
BATCH_SHARE, BATCH = 100, 512
"""Posts drawn at once: a hundredth of those known, so that the counts of the others change little, and at most 512."""


@dataclass(frozen=True, kw_only=True)
class PostTopicSettings(EncoderSettings):
    """Settings of `post_topics`."""

    topics: int = 100
    """Number of topics; 100 in paper 004, §4.3."""
    sweeps: int = 40
    """Times that the topic of each post is drawn again in a fit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within(topics=(1, MOST_TOPICS), sweeps=(1, MOST))


EXTRACTOR = Descriptor(
    name="post_topics",
    input="text",
    layers=dict.fromkeys(("delta", "probability"), PostTopicSettings().topics),
    default_layers=("delta",),
    settings=PostTopicSettings,
    implementation="reelmill.extractors.text.twitter_lda:TwitterLDA",
    paper="Paper 004, §3.2; Zhao et al., Comparing Twitter and Traditional Media Using Topic Models, ECIR 2011",
)


class _Posts:
    """Posts that have known words, in order of time: their words, authors, and the topics drawn for them."""

    def __init__(self, documents: Sequence[Document], index: dict[str, int], authors: dict[str, int]) -> None:
        self.word, owner = flat([d.words for d in documents], index)
        self.where, counts = np.unique(owner, return_counts=True)
        self.edges = np.concatenate([[0], np.cumsum(counts)])
        self.author = np.array([authors[documents[i].author] for i in self.where], np.int64)
        self.topic = np.full(len(self.where), -1)
        self.topical = np.zeros(len(self.word), bool)

    def words_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For some posts: the positions of their words, the index of each word's post among them, and where each post
        starts."""
        lengths = self.edges[chosen + 1] - self.edges[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        place = np.repeat(self.edges[chosen] - starts, lengths) + np.arange(lengths.sum())
        return place, np.repeat(np.arange(len(chosen)), lengths), starts


class TwitterLDA(Encoder):
    """Collapsed Gibbs sampling in batches: the counts of a batch of posts are removed, each post is drawn given the
    others, and the counts are added again. A post's topic is drawn with the origin of its words summed out, then the
    origin of each word:

        p(z = k) ∝ (n_ak + α) Π_w p_k(w),    p_k(w) = π φ_kw + (1 − π) φ_Bw,    p(topical) = π φ_zw / p_z(w)

    with a the author, φ and π the means of their posteriors given the counts. Unlike in Zhao's sampler the counts do
    not change within a post and a batch.
    """

    about, rows = EXTRACTOR, "post"

    def __init__(self, settings: PostTopicSettings | None = None, compute: Compute | None = None) -> None:
        super().__init__(settings, compute)
        self.dim: int = self.settings.topics
        self._start()

    def _start(self) -> None:
        self.index: dict[str, int] = {}
        """{word: row of the counts}"""
        self.authors: dict[str, int] = {}
        self.in_topic = np.zeros((0, self.dim))
        """(words, topics): how often a word was drawn for a topic"""
        self.in_background = np.zeros(0)
        self.by_author = np.zeros((0, self.dim))
        """(authors, topics): posts"""
        self._sum()
        self.updates = 0
        self.posts = 0

    def fit(self, documents: Sequence[Document], progress: Progress = lambda share: None) -> None:
        self._start()
        rng = self._rng()
        ordered = sorted(documents, key=lambda d: (d.time_ms, d.author, d.fields))
        self._join(ordered)
        if not self.index:
            raise TooLittleText("no word occurs in two posts; topics cannot be learned")
        posts = _Posts(ordered, self.index, self.authors)
        self.posts = len(posts.where)
        for number in range(self.settings.sweeps + 1):  # the first in order of time: each batch given earlier ones
            self._sweep(posts, rng, shuffled=number > 0)
            progress((number + 1) / (self.settings.sweeps + 1))
        self.updates += 1

    def update(self, documents: Sequence[Document]) -> None:
        """Continue with posts of one or more days, day by day: posts of a day are drawn given all earlier ones, which
        keep their topics. Words in two posts of the day are added."""
        ordered = sorted(documents, key=lambda d: (d.time_ms, d.author, d.fields))
        for _, day in groupby(ordered, key=lambda d: d.time_ms // DAY_MS):
            today, rng = list(day), self._rng()
            self._join(today)
            posts = _Posts(today, self.index, self.authors)
            self.posts += len(posts.where)
            for number in range(self.settings.sweeps + 1):
                self._sweep(posts, rng, shuffled=number > 0)
            self.updates += 1

    def _rng(self) -> np.random.Generator:
        """Generator of the next update, the same after `load`."""
        return np.random.default_rng([self.settings.seed, self.updates])

    def _join(self, documents: Sequence[Document]) -> None:
        """Add new words and authors. Frequent words are not left out: the background models them."""
        for word in vocabulary((d.words for d in documents), share=1.0):
            self.index.setdefault(word, len(self.index))
        for document in documents:
            self.authors.setdefault(document.author, len(self.authors))
        words, authors = len(self.index) - len(self.in_topic), len(self.authors) - len(self.by_author)
        self.in_topic = np.pad(self.in_topic, ((0, words), (0, 0)))
        self.in_background = np.pad(self.in_background, (0, words))
        self.by_author = np.pad(self.by_author, ((0, authors), (0, 0)))

    def _sum(self) -> None:
        self.of_topics, self.of_background = self.in_topic.sum(0), float(self.in_background.sum())

    def _sweep(self, posts: _Posts, rng: np.random.Generator, *, shuffled: bool) -> None:
        count = len(posts.where)
        size = int(np.clip(self.posts // BATCH_SHARE, 1, BATCH))
        order = rng.permutation(count) if shuffled else np.arange(count)
        for start in range(0, count, size):
            self._draw(posts, order[start : start + size], rng)

    def _draw(self, posts: _Posts, chosen: np.ndarray, rng: np.random.Generator) -> None:
        """Draw the topics of a batch of posts again."""
        place, owner, starts = posts.words_of(chosen)
        if posts.topic[chosen[0]] >= 0:
            self._count(-1, posts, chosen)
        of_topic, of_background = self._chances(posts.word[place])
        either = of_topic + of_background[:, None]
        score = np.add.reduceat(np.log(either), starts) + np.log(self.by_author[posts.author[chosen]] + 50 / self.dim)
        posts.topic[chosen] = np.argmax(score + rng.gumbel(size=score.shape), 1)
        mine = np.arange(len(place)), posts.topic[chosen][owner]
        posts.topical[place] = rng.random(len(place)) * either[mine] < of_topic[mine]
        self._count(1, posts, chosen)

    def _count(self, sign: int, posts: _Posts, chosen: np.ndarray) -> None:
        """Add posts to the counts (1) or remove them (−1)."""
        place, owner, _ = posts.words_of(chosen)
        word, topic, topical = posts.word[place], posts.topic[chosen], posts.topical[place]
        mine = topic[owner][topical]
        np.add.at(self.in_topic, (word[topical], mine), sign)
        np.add.at(self.in_background, word[~topical], sign)
        np.add.at(self.by_author, (posts.author[chosen], topic), sign)
        self.of_topics += sign * np.bincount(mine, minlength=self.dim)
        self.of_background += sign * float((~topical).sum())

    def _chances(self, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """π φ_kw, (words, K), and (1 − π) φ_Bw, (words,), of these words."""
        size, topical = BETA * len(self.index), self.of_topics.sum()
        pi = (topical + GAMMA) / (topical + self.of_background + 2 * GAMMA)
        of_topic = pi * (self.in_topic[word] + BETA) / (self.of_topics + size)
        return of_topic, (1 - pi) * (self.in_background[word] + BETA) / (self.of_background + size)

    def transform(self, documents: Sequence[Document]) -> np.ndarray:
        """(posts, topics) float32: the probability of each topic; NaN for a post without a known word. `delta`
        turns it into the delta distribution of paper 004.

        Posts of an author are encoded in order of time, each given the author's earlier posts; later posts change
        nothing. All authors advance together, one post at a time.
        """
        found = np.full((len(documents), self.dim), np.nan, np.float32)
        names = {name: n for n, name in enumerate(dict.fromkeys(d.author for d in documents))}
        posts = _Posts(documents, self.index, names)
        if not len(posts.where):
            return found
        times = np.array([documents[i].time_ms for i in posts.where])
        order = np.lexsort((posts.where, times, posts.author))
        turn = np.arange(len(order)) - np.searchsorted(posts.author[order], posts.author[order])
        known = np.zeros((len(names), self.dim))
        for now in range(int(turn.max()) + 1):
            chosen = order[turn == now]
            for some in (chosen[i : i + BATCH] for i in range(0, len(chosen), BATCH)):
                score = self._evidence(posts, some) + np.log(known[posts.author[some]] + 50 / self.dim)
                score = np.exp(score - score.max(1, keepdims=True))
                chance = score / score.sum(1, keepdims=True)
                known[posts.author[some]] += chance
                found[posts.where[some]] = chance
        return found

    def _evidence(self, posts: _Posts, chosen: np.ndarray) -> np.ndarray:
        """Σ_w log p_k(w) (posts, K)."""
        place, _, starts = posts.words_of(chosen)
        of_topic, of_background = self._chances(posts.word[place])
        return np.add.reduceat(np.log(of_topic + of_background[:, None]), starts)

    def encode(self, documents: Sequence[Document]) -> dict[str, np.ndarray]:
        chances = self.transform(documents)
        return {"delta": delta(chances), "probability": chances}

    def background(self) -> dict[str, float]:
        """{word: share of its occurrences that were drawn for the background}"""
        share = self.in_background / np.maximum(self.in_background + self.in_topic.sum(1), 1)
        return dict(zip(self.index, share.tolist(), strict=True))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts = {"words": list(self.index), "authors": list(self.authors), "updates": self.updates, "posts": self.posts}
        counts = {"in_topic": self.in_topic, "in_background": self.in_background, "by_author": self.by_author}
        return facts, {name: array.astype(np.int32) for name, array in counts.items()}

    def restore(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.index = {word: place for place, word in enumerate(facts["words"])}
        self.authors = {name: place for place, name in enumerate(facts["authors"])}
        self.updates, self.posts = int(facts["updates"]), int(facts["posts"])
        self.in_topic, self.in_background, self.by_author = (
            arrays[name].astype(np.float64) for name in ("in_topic", "in_background", "by_author")
        )
        shapes = (self.in_topic.shape, self.in_background.shape, self.by_author.shape)
        if shapes != ((len(self.index), self.dim), (len(self.index),), (len(self.authors), self.dim)):
            raise ValueError(f"counts of shapes {shapes}")
        self._sum()


def delta(chances: np.ndarray) -> np.ndarray:
    """(posts, topics): 1 at the most probable topic, 0 elsewhere; rows of NaN stay NaN."""
    found = np.zeros_like(chances)
    found[np.arange(len(chances)), np.argmax(np.nan_to_num(chances), 1)] = 1
    found[np.isnan(chances).any(1)] = np.nan
    return found
