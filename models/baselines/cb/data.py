"""What CB reads: watches and posts as the Dynamic RNN does, and the words of posts and of videos from the tables."""

import hashlib
from dataclasses import dataclass, fields
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelmill.extractors.text.words import tokens
from reelmill.models.data.arrays import codes
from reelmill.models.protocols.next_videos import data
from reelmill.models.protocols.next_videos.data import Histories
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot


@dataclass(frozen=True)
class Texts(Histories):
    """Histories, with every word of posts and of videos. Words are numbers here."""

    words: list[str]
    """All words, sorted."""
    video_words: np.ndarray
    """(2, E) int64: video, and a word of its title, tags or description, as often as it is there."""
    said: np.ndarray
    """(3, F) int64: user, milliseconds since 1970, and a word of a post."""


def load(root: AnyRoot, posts: str) -> Texts:
    """Read watches, the store of posts, and texts. Raises InputError as `next_videos.data.load` does, or if no watched
    video has a word."""
    root = Root(root)
    histories = data.load(root, posts=posts)
    known = root.tables.read("videos", ["video_id", "title", "tags", "description"])
    known = known.filter(pc.is_in(known["video_id"], value_set=pa.array(histories.videos, pa.string())))
    texts = [
        " ".join(filter(None, [title, *(tags or ()), description]))
        for title, tags, description in zip(*(known[name].to_pylist() for name in known.column_names[1:]), strict=True)
    ]
    place, video_word = words_of(texts)
    if not len(place):
        raise InputError(f"no watched video of {root} has a title, tag or description; ingest a source that has them")
    events = posts_of(root.tables.read("events", ["user_id", "kind", "time", "text"]))
    user = codes(events["user_id"], histories.users)
    events, user = events.filter(pa.array(user >= 0)), user[user >= 0]
    post, said_word = words_of(events["text"].to_pylist())
    words, number = np.unique(np.array([*video_word, *said_word], np.str_), return_inverse=True)
    video = codes(known["video_id"], histories.videos)[place]
    ms = events["time"].cast(pa.int64()).to_numpy()
    video_words = np.stack([video, number[: len(place)]])
    said = np.stack([user[post], ms[post], number[len(place) :]])
    order = np.lexsort(video_words[::-1]), np.lexsort(said[::-1])
    video_words, said = video_words[:, order[0]], said[:, order[1]]
    own = {field.name: getattr(histories, field.name) for field in fields(histories)}
    sha = hashlib.sha256("\0".join([histories.fingerprint, *words]).encode())
    for array in (video_words, said):
        sha.update(np.ascontiguousarray(array).data)
    return Texts(**{**own, "fingerprint": sha.hexdigest()}, words=words.tolist(), video_words=video_words, said=said)


def posts_of(events: pa.Table) -> pa.Table:
    """The posts with a time and a text among events with the columns kind, time and text."""
    kept = pc.and_(pc.equal(events["kind"], "post"), pc.is_valid(events["time"]))
    return events.filter(pc.and_(kept, pc.is_valid(events["text"])))


def words_of(texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """Place of the text (E,) int64, and the word, of every word of some texts."""
    found = [tokens(text) for text in texts]
    place = np.repeat(np.arange(len(found)), [len(words) for words in found])
    return place, list(chain.from_iterable(found))
