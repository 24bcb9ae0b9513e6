"""CB of the Dynamic RNN's table 2: the cosine between the words of a user's posts and those of a video.

The paper compares TF-IDF vectors of the text of a video (title, tags, description) and of the user's posts as one
document (stated by the paper, without an equation). Our resolution: tf is the number of times that a word occurs,

    idf(w) = ln((1 + n) / (1 + df(w))) + 1,

over n documents, which are the videos, and the training users' posts before `end`, one document a user. Words in more
than half of the documents do not count. Test users' posts of the known months are read, and add no word. Words are
those of `extractors.text.words`. The weights are commonly known; scikit-learn's are the oracle of the tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from reelmill.models.baselines.cb import CBSettings
from reelmill.models.baselines.cb.data import Texts, posts_of, words_of
from reelmill.models.baselines.next_videos import unit_rows
from reelmill.models.baselines.posts import PostsTask
from reelmill.models.core import sparse
from reelmill.models.core.advice import WHY, Question
from reelmill.models.core.base import ClosedForm
from reelmill.models.protocols.next_videos.recommend import VideosAdviser
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Batch:
    """All videos."""

    counts: Tensor
    """(N, V) CSR: how often each word occurs."""
    idf: Tensor
    """(V,)"""


class CB(ClosedForm):
    """N videos by the V words of their texts, E in all."""

    def __init__(self, settings: CBSettings, videos: int, words: int, entries: int) -> None:
        super().__init__()
        self.sizes = {"videos": videos, "words": words, "entries": entries}
        self.idf: Tensor
        self.start: Tensor
        self.word: Tensor
        self.weight: Tensor
        self.register_buffer("idf", torch.zeros(words))
        self.register_buffer("start", torch.zeros(videos + 1, dtype=torch.long))
        self.register_buffer("word", torch.zeros(entries, dtype=torch.long))
        self.register_buffer("weight", torch.zeros(entries))

    def solve(self, batch: Batch) -> dict[str, Tensor]:
        """Keep the videos at unit length, and the weights of words."""
        self.idf.copy_(batch.idf)
        found = self.weighted(batch.counts)
        self.start.copy_(found.crow_indices())
        self.word.copy_(found.col_indices())
        self.weight.copy_(found.values())
        return {"words_of_a_video": self.start.diff().double().mean()}

    @property
    def videos(self) -> Tensor:
        """(N, V) CSR TF-IDF of the videos, of unit rows."""
        return sparse.csr(self.start, self.word, self.weight, self.sizes["words"])

    def weighted(self, counts: Tensor) -> Tensor:
        """(n, V) CSR TF-IDF of n documents with these counts (n, V), CSR, of unit rows."""
        column = counts.col_indices()
        return unit_rows(sparse.csr(counts.crow_indices(), column, counts.values() * self.idf[column], len(self.idf)))

    @torch.no_grad()
    def score(self, counts: Tensor) -> Tensor:
        """(R, N) of all videos for R users who said words so often, (R, V) CSR."""
        return sparse.product(self.weighted(counts), sparse.transposed(self.videos))


def counted(row: np.ndarray, word: np.ndarray, rows: int, words: int) -> Tensor:
    """(rows, words) CSR: how often each pair of row and word is among pairs (E,)."""
    pair, count = np.unique(row * words + word, return_counts=True)
    of_row, of_word = np.divmod(pair, words)
    values = torch.from_numpy(count).float()
    return sparse.of_pairs(torch.from_numpy(of_row), torch.from_numpy(of_word), values, rows, words)


class CBTask(PostsTask):
    """The words that count, the counts of the videos' words, and of the users'."""

    name = "cb"
    data: Texts
    settings: CBSettings

    def __init__(self, data: Texts, settings: CBSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        place = np.full(len(data.users), -1)
        place[self.split.users] = np.arange(len(self.split.users))
        said = data.said[:, place[data.said[0]] >= 0]
        self.said = np.stack([place[said[0]], said[1], said[2]])
        row = np.full(len(data.videos), -1)
        row[self.split.videos] = np.arange(self.n)
        video, word = row[data.video_words[0]], data.video_words[1]
        self.video_words = np.stack([video, word])[:, video >= 0]
        self.chosen, self.idf = self._vocabulary()

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""
        there = len(np.unique(self.video_words[0]))
        return {**super().counts, "videos_without_text": self.n - there, "words": len(self.chosen)}

    def identities(self) -> dict[str, list[str]]:
        """The videos and the words behind the model's rows."""
        return {**super().identities(), "words": [self.data.words[word] for word in self.chosen]}

    def model(self, generator: torch.Generator) -> CB:
        entries = len(self._of_videos().values())
        return CB(self.settings, self.n, len(self.chosen), entries).to(self.device)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        yield Batch(self._of_videos().to(self.device), torch.from_numpy(self.idf).float().to(self.device))

    def scores(self, model: CB, users: np.ndarray) -> Tensor:
        place = np.full(len(self.split.users), -1)
        place[users] = np.arange(len(users))
        user, ms, word = self.said
        kept = (place[user] >= 0) & (ms < self._known_until)
        return model.score(self._counted(place[user[kept]], word[kept], len(users)).to(self.device))

    def _of_videos(self) -> Tensor:
        return self._counted(self.video_words[0], self.video_words[1], self.n)

    def _counted(self, row: np.ndarray, word: np.ndarray, rows: int) -> Tensor:
        """(rows, V) CSR counts of the words that count."""
        number = np.full(len(self.data.words), -1)
        number[self.chosen] = np.arange(len(self.chosen))
        kept = number[word] >= 0
        return counted(row[kept], number[word[kept]], rows, len(self.chosen))

    def _vocabulary(self) -> tuple[np.ndarray, np.ndarray]:
        """The words that count (V,), ascending, and their idf (V,), by the videos and the training users' posts."""
        user, ms, word = self.said
        end = self.settings.end_ms if self.settings.end_ms is not None else int(self.data.watch_ms.max()) + 1
        mine = (user < self.split.train) & (ms < end)
        document = np.concatenate([self.video_words[0], self.n + user[mine]])
        both = np.unique(np.stack([document, np.concatenate([self.video_words[1], word[mine]])]), axis=1)
        n = len(np.unique(both[0]))
        in_documents = np.bincount(both[1], minlength=len(self.data.words))
        usable = np.flatnonzero((in_documents > 0) & (in_documents <= self.settings.most_common * n))
        chosen = np.sort(usable[np.argsort(-in_documents[usable], kind="stable")][: self.settings.words])
        if not len(chosen):
            raise InputError(
                f"every word is in more than {self.settings.most_common:.0%} of {n} texts; ingest more texts, or raise "
                "most_common"
            )
        return chosen, np.log((1 + n) / (1 + in_documents[chosen])) + 1


class CBAdviser(VideosAdviser):
    """Ranks videos by the words that the user has posted, as the tables have them now."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.model = cast(CB, question.fitted.model)
        self.words = question.fitted.identities["words"]
        said = posts_of(question.events("time", "text"))["text"]
        _, word = words_of(pc.fill_null(said, "").to_pylist())
        number = {name: place for place, name in enumerate(self.words)}
        known = np.array([number[name] for name in word if name in number], np.int64)
        if not len(known):
            raise InputError(
                f"{question.who} has posted no word that {question.run} knows, as far as the tables say, and it knows "
                "users by nothing else; ingest posts of this user, or name a run of another recommender"
            )
        self.left_out["words_not_trained_on"] = len(word) - len(known)
        self.counts = counted(np.zeros_like(known), known, 1, len(self.words))
        self.known, self.how = True, f"{len(known)} words of {len(said)} posts"
        self.scores = self.model.score(self.counts)[0]

    def why(self, row: int) -> dict[str, Any]:
        """The words of largest part in the cosine."""
        model, both = self.model, self.model.weighted(self.counts).to_dense()[0]
        here = slice(int(model.start[row]), int(model.start[row + 1]))
        both = torch.zeros_like(both).index_add_(0, model.word[here], model.weight[here]) * both
        best = both.argsort(descending=True, stable=True)[:WHY].tolist()
        return {"words": [{"word": self.words[n], "part": float(both[n])} for n in best if both[n] > 0]}
