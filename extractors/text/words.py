"""Split text into words, and train or read word vectors. No torch; gensim is imported when vectors are trained or read.

There is no list of stop words: words that occur in more than half of the documents are left out, in any language.
"""

import gzip
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from reelmill.storage.errors import InputError

READ_WORDS = 200_000
"""Words read from a file of vectors, which lists the most frequent first: 240 MB at 300 dimensions."""
MOST_DIMENSIONS = 4096
"""Largest dimension of word vectors: memory is allocated before they are read. Published ones have up to 1024."""
TRAINED_WORDS = 2_000_000
"""Words that training visits at least, in 5 to 100 epochs: a small corpus needs more epochs."""

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_SIGNS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u0e00-\u0e4e"
"""Accents, and the vowel signs of Hebrew, Arabic, Indic scripts and Thai, which `\\w` does not match."""
_UNSPACED = "\u3041-\u30fa\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han, written without spaces."""
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])(?:[^\W_]|[{_SIGNS}]))+")


class TooLittleText(InputError):
    """There is no text to learn from."""


def tokens(text: str) -> list[str]:
    """The words of a text in order: runs of letters and digits of any script, in lower case and NFKC. An apostrophe
    inside a word is removed (`don't` becomes `dont`), so are links. `#cats` becomes `cats`, so that hashtags equal
    tags. Each character of Han and kana is a word."""
    plain = unicodedata.normalize("NFKC", _LINK.sub(" ", text)).lower()
    return _WORD.findall(re.sub(r"(?<=\w)['’](?=\w)", "", plain))


@dataclass(frozen=True)
class Document:
    """The text of a video, or one post; it becomes a row of a store."""

    fields: tuple[tuple[str, ...], ...]
    """Words of each field: title, tags, categories and description of a video, or the text of a post. May be empty."""
    author: str = ""
    """Id of the user who posted it."""
    time_ms: int = 0
    """Time of the post, milliseconds since 1970."""

    @classmethod
    def of(cls, *texts: str, author: str = "", time_ms: int = 0) -> "Document":
        """A document from the raw text of each field."""
        return cls(tuple(tuple(tokens(text)) for text in texts), author, time_ms)

    @property
    def words(self) -> list[str]:
        """The words of all fields, one field after another."""
        return list(chain.from_iterable(self.fields))


def vocabulary(
    documents: Iterable[Iterable[str]], *, at_least: int = 2, share: float = 0.5, size: int = 50_000
) -> list[str]:
    """The `size` words that occur in the most documents, among those in at least `at_least` documents and at most
    `share` of them. The most frequent come first, equally frequent ones in alphabetical order."""
    found: Counter[str] = Counter()
    count = 0
    for words in documents:
        found.update(set(words))
        count += 1
    most = max(at_least, share * count)
    return sorted((word for word, n in found.items() if at_least <= n <= most), key=lambda w: (-found[w], w))[:size]


def flat(documents: Sequence[Iterable[str]], index: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Known words of all documents: the index of each, (words,), and the number of its document, (words,), int64."""
    numbers = [[index[word] for word in words if word in index] for words in documents]
    owner = np.repeat(np.arange(len(documents)), [len(n) for n in numbers])
    return np.fromiter(chain.from_iterable(numbers), np.int64, len(owner)), owner


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors."""

    words: list[str]
    vectors: np.ndarray
    """(words, dim) float32"""


def train_vectors(sentences: Sequence[Sequence[str]], dim: int, seed: int) -> WordVectors:
    """Skip-gram vectors (Mikolov et al. 2013, reference [33] of paper 004) of the words that occur at least twice.

    Trained with one thread and a fixed hash function, so that the same sentences in the same order give the same bits.
    Raises TooLittleText if no word occurs twice.
    """
    counts = Counter(chain.from_iterable(sentences))
    if not counts or max(counts.values()) < 2:
        raise TooLittleText("no word occurs twice; word vectors cannot be learned from so little text")
    from gensim.models import Word2Vec

    epochs = int(np.clip(TRAINED_WORDS // counts.total(), 5, 100))
    model = Word2Vec(
        [list(s) for s in sentences], vector_size=dim, sg=1, window=5, min_count=2, epochs=epochs, workers=1, seed=seed,
        hashfxn=lambda text: zlib.crc32(text.encode()),
    )  # fmt: skip
    return WordVectors(list(model.wv.index_to_key), np.asarray(model.wv.vectors, np.float32))


def read_vectors(path: Path, limit: int = READ_WORDS) -> WordVectors:
    """The first `limit` vectors of a file in word2vec's text or binary format, also gzipped.

    Raises InputError for a pickle (such as gensim's own `.kv`), which could run code, and for any other format.
    """
    binary = _is_binary(path)
    from gensim.models import KeyedVectors

    try:
        found = KeyedVectors.load_word2vec_format(str(path), binary=binary, limit=limit, unicode_errors="replace")
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"vectors {path}: cannot be read as word2vec's {'binary' if binary else 'text'} format "
                         f"({error}); write it again") from error  # fmt: skip
    vectors = np.asarray(found.vectors, np.float32)
    if not np.isfinite(vectors).all():
        raise InputError(f"vectors {path}: some numbers are NaN or infinite; write it again without those words")
    return WordVectors(list(found.index_to_key), vectors)


def _is_binary(path: Path) -> bool:
    """Whether a file has the binary format, by its first two lines. Raises InputError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first, second = file.readline(1 << 10), file.readline(1 << 20)
    except FileNotFoundError:
        raise InputError(f"vectors {path}: no such file") from None
    except (OSError, EOFError) as error:
        raise InputError(f"vectors {path}: cannot be read ({error})") from error
    if first.startswith(b"\x80") or path.suffix in (".kv", ".model", ".pkl", ".pickle"):
        raise InputError(
            f"vectors {path}: a pickle, which could run code when it is read. Refused; where you trust it, write it as "
            "word2vec: gensim.models.KeyedVectors.load(path).save_word2vec_format('vectors.bin', binary=True)"
        )
    if not re.fullmatch(rb"\d{1,18} \d{1,18}\s*", first):
        raise InputError(f"vectors {path}: the first line of a word2vec file says `words dimensions`, such as 3000 300")
    if (dim := int(first.split()[1])) > MOST_DIMENSIONS:
        raise InputError(f"vectors {path}: says to hold {dim:,} dimensions; at most {MOST_DIMENSIONS:,} are read")
    try:
        numbers = [float(number) for number in second.split()[1:]]
    except ValueError:
        return True
    return len(numbers) != dim
