"""A world for the Dynamic RNN with a known answer, as a real root: watches, posts, five stores.

A video belongs to a taste, to a clique and to a series, of which it is an episode. A user belongs to a clique, and has
one taste at a time; with chance `drift` a month it jumps to another one. What they watch next is of their clique and
of their taste at that time: with chance `order` the next episode of the series that they follow, else any video that
they have not seen; cliques never share a video. Each knob at its off value is a null world of some part of the model:

    drift 0         old and new watches are equally informative: weights and order of the past have nothing to find
    corrupt 0       text alone is enough: embedding picture and text together has nothing to add
    cliques 1       users with overlapping watch lists share a taste: relevance has nothing to find beyond topics
    told 0          posts are noise: of a user without watches nothing is known
    order 0         what was recommended before says nothing about what to recommend next

What is observed of a video: two pictures and a text, each a fixed random network of what the video is and of a style
of its own, plus noise; and its mixture of topics, made of the text: of taste, clique and others that mean nothing. Text
and picture are those of another video with chance `corrupt`, independently. A post is of one topic of another network:
a random map gives each taste and each clique a few of those. A title has words of taste and clique, of which a share
`spoken` is what posts about these say; at 0 no word of a title is ever posted. The noise twin has the same features,
titles, times and numbers of watches, but of any videos, and posts about anything.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import NO_DATA, VALID, Block

MONTH = timedelta(days=365.25) / 12
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
MONTHS = 12
SEGMENT_MS, SEGMENTS = 5000, 3


@dataclass(frozen=True)
class World:
    """Knobs."""

    users: int = 300
    tastes: int = 6
    """With one, users differ by their clique alone."""
    cliques: int = 2
    series: int = 4
    """Of each taste and clique."""
    episodes: int = 8
    monthly: float = 2.0
    """Videos that a user watches a month, on average."""
    drift: float = 0.15
    """Chance a month that the taste jumps."""
    corrupt: float = 0.3
    """Chance that a text, and that a picture, is that of another video."""
    told: float = 0.8
    """Share of the posts that tell the taste or the clique; the others are about anything."""
    order: float = 0.5
    """Chance that the next episode follows."""
    posts: float = 4.0
    """Posts of a user a month, on average."""
    post_topics: int = 16
    spoken: float = 0.3
    """Share of the words of a title that are those of posts."""
    other_topics: int = 4
    """Topics of videos beside tastes and cliques, which mean nothing."""
    bare: float = 0.04
    """Share of the videos without text, of those without frames, and of those without clips."""
    silent: float = 0.1
    """Share of the users without posts."""
    strangers: float = 0.03
    """Users without watches, as a share of the others, beside them."""
    latent: int = 5
    """Dimensions of what a taste, a clique, a series, an episode, a style each look like."""
    features: int = 24
    """Numbers of frames, of clips, and of text."""
    style: float = 0.5
    noise: float = 0.1
    noise_twin: bool = False
    """Break every tie between content, posts and watches, and nothing else."""
    seed: int = 0

    @property
    def videos(self) -> int:
        """N."""
        return self.tastes * self.cliques * self.series * self.episodes


@dataclass(frozen=True)
class _Drawn:
    taste: np.ndarray
    """(users, MONTHS)"""
    clique: np.ndarray
    """(users,)"""
    watched: list[tuple[int, int, float]]
    """User, video, months since BEGIN; by user, then by time."""


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    drawn, rng = _draw(world), np.random.default_rng([world.seed, 1])
    stores = _contents(root, world, rng)
    events = [
        {"user_id": f"u{user:04d}", "video_id": f"v{video:04d}", "kind": "watch", "time": BEGIN + month * MONTH}
        for user, video, month in drawn.watched
    ]
    posts = _posts(world, drawn, np.random.default_rng([world.seed, 2]))
    events += [
        {"user_id": user, "video_id": "", "kind": "post", "time": BEGIN + month * MONTH, "text": f"topic{topic}"}
        for user, said in posts.items()
        for month, topic in said
    ]
    Tables(root).write("videos", [{"video_id": f"v{video:04d}", "title": title} for video, title in _titles(world)])
    Tables(root).write("events", [{"source": "planted", "source_row": i + 1, **e} for i, e in enumerate(events)])
    return {**stores, "posts": _post_store(root, world, posts)}


def ceiling(world: World, months: int = 9) -> np.ndarray:
    """(users, N) what the true latents would score after so many months, of user `u0000` … and video `v0000` …: first
    the rest of the series that the user follows, the next episode first, if there is any order; then the other videos
    of their taste and clique, all alike; then the rest, those of their clique before the others'."""
    drawn = _draw(world)
    taste, clique, series, episode = _places(world)
    mine = clique == drawn.clique[:, None]
    scores = mine + 2.0 * (mine & (taste == drawn.taste[:, [months - 1]]))
    if world.order > 0 and not world.noise_twin:
        last = np.full(world.users, -1)
        for user, video, month in drawn.watched:
            if month < months:
                last[user] = video
        ahead = (series == series[last][:, None]) & (episode > episode[last][:, None]) & (last >= 0)[:, None]
        scores += ahead * (scores == 3) * (world.episodes - episode) / world.episodes
    return np.zeros_like(scores) if world.noise_twin else scores


def _places(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Taste, clique, series and episode (N,) of each video; series are numbered through."""
    series, episode = np.divmod(np.arange(world.videos), world.episodes)
    taste, clique = np.divmod(series // world.series, world.cliques)
    return taste, clique, series, episode


def _draw(world: World) -> _Drawn:
    rng = np.random.default_rng([world.seed, 0])
    taste = np.empty((world.users, MONTHS), np.int64)
    taste[:, 0] = rng.integers(world.tastes, size=world.users)
    for month in range(1, MONTHS):
        jump = rng.random(world.users) < world.drift
        step = rng.integers(1, max(world.tastes, 2), size=world.users)
        taste[:, month] = np.where(jump, taste[:, month - 1] + step, taste[:, month - 1]) % world.tastes
    clique = rng.integers(world.cliques, size=world.users)
    count = rng.poisson(world.monthly * MONTHS, world.users).clip(1)
    times = [np.sort(rng.uniform(0, MONTHS, n)).tolist() for n in count]
    of_taste, of_clique, series, _ = _places(world)
    watched = []
    for user in range(world.users):
        seen, last = np.zeros(world.videos, bool), -1
        for month in times[user]:
            fits = (of_taste == taste[user, int(month)]) & (of_clique == clique[user]) & ~seen
            if world.noise_twin:
                fits = ~seen
            if not fits.any():
                continue
            follows = 0 <= last < world.videos - 1 and series[last + 1] == series[last] and fits[last + 1]
            if follows and rng.random() < world.order and not world.noise_twin:
                last += 1
            else:
                first = fits & (np.arange(world.videos) % world.episodes == 0)
                starts = world.order > 0 and rng.random() < world.order and first.any() and not world.noise_twin
                last = int(rng.choice(np.flatnonzero(first if starts else fits)))
            seen[last] = True
            watched.append((user, last, month))
    return _Drawn(taste, clique, watched)


def _speaks(world: World, rng: np.random.Generator) -> np.ndarray:
    """(tastes + cliques, 2) topics of posts that tell each taste and each clique."""
    return np.array([rng.choice(world.post_topics, 2, replace=False) for _ in range(world.tastes + world.cliques)])


def _titles(world: World) -> list[tuple[int, str]]:
    """(video, title) of the videos that are not bare: eight words, six of the taste and two of the clique."""
    rng = np.random.default_rng([world.seed, 3])
    speaks = _speaks(world, np.random.default_rng([world.seed, 2]))  # as `_posts` draws them
    taste, clique, _, _ = _places(world)
    about = np.concatenate([np.repeat(taste[:, None], 6, 1), np.repeat(world.tastes + clique[:, None], 2, 1)], axis=1)
    posted = rng.random(about.shape) < world.spoken
    word = np.where(posted, speaks[about, rng.integers(2, size=about.shape)], about)
    bare = rng.random(world.videos) < world.bare
    return [
        (video, " ".join(f"{'topic' if p else 'word'}{w}" for p, w in zip(posted[video], word[video], strict=True)))
        for video in np.flatnonzero(~bare).tolist()
    ]


def _posts(world: World, drawn: _Drawn, rng: np.random.Generator) -> dict[str, list[tuple[float, int]]]:
    """{user: (months since BEGIN, topic) of each post, by time}."""
    speaks = _speaks(world, rng)
    silent = rng.random(world.users) < world.silent
    said: dict[str, list[tuple[float, int]]] = {}
    for user in range(world.users + round(world.strangers * world.users)):
        when = np.sort(rng.uniform(0, MONTHS, max(1, rng.poisson(world.posts * MONTHS))))
        topic = rng.integers(world.post_topics, size=len(when))
        if user < world.users:
            about = np.where(rng.random(len(when)) < 0.7, drawn.taste[user, when.astype(int)],
                             world.tastes + drawn.clique[user])  # fmt: skip
            telling = (rng.random(len(when)) < world.told) & (not world.noise_twin)
            topic = np.where(telling, speaks[about, rng.integers(2, size=len(when))], topic)
        if user >= world.users or not silent[user]:
            said[f"u{user:04d}"] = list(zip(when.tolist(), topic.tolist(), strict=True))
    return said


def _contents(root: Path, world: World, rng: np.random.Generator) -> dict[str, str]:
    """Stores of frames, clips, text and topics."""
    taste, clique, series, _ = _places(world)
    looks = [rng.standard_normal((count, world.latent)) for count in (world.tastes, world.cliques, series[-1] + 1)]
    own = rng.standard_normal((world.videos, world.latent))
    what = np.concatenate([looks[0][taste], looks[1][clique], looks[2][series], own], axis=1)
    everyone = np.arange(world.videos)
    shown, written = (
        np.where(rng.random(world.videos) < world.corrupt, rng.permutation(everyone), everyone) for _ in range(2)
    )
    parts = {
        "frames": (shown, "window", SEGMENTS), "clips": (shown, "segment", SEGMENTS), "text": (written, "video", 1)
    }  # fmt: skip
    names = {}
    for role, (of, rows, count) in parts.items():
        seen = np.repeat(_network(what[of], world, rng)[:, None], count, axis=1)
        seen = seen + world.noise * rng.standard_normal(seen.shape)
        names[role] = _store(root, world, role, rows, seen, rng.random(world.videos) < world.bare)
    mixture = rng.dirichlet(np.full(world.tastes + world.cliques + world.other_topics, 0.3), world.videos) * 0.3
    mixture[everyone, taste[written]] += 0.45
    mixture[everyone, world.tastes + clique[written]] += 0.25
    names["topics"] = _store(root, world, "topics", "video", mixture[:, None], rng.random(world.videos) < world.bare)
    return names


def _network(what: np.ndarray, world: World, rng: np.random.Generator) -> np.ndarray:
    """(N, features) of what videos are (N, ·): a random network of it and of a style of each, with much that all
    share, as with real networks."""
    inside = np.concatenate([what, world.style * rng.standard_normal((len(what), world.latent))], axis=1)
    inner = rng.standard_normal((inside.shape[1], 2 * world.features)) / inside.shape[1] ** 0.5
    outer = rng.standard_normal((2 * world.features, world.features)) / (2 * world.features) ** 0.5
    return np.tanh(1.5 * inside @ inner) @ outer + 3.0


def _store(root: Path, world: World, role: str, rows: Any, seen: np.ndarray, bare: np.ndarray) -> str:
    """Vectors (N, rows, dim) of the videos that are not bare; those have no block of pictures, and a masked row of
    text or topics."""
    spec = Spec(extractor=f"planted_{role}", layer="fc", dim=seen.shape[-1], rows=rows, weights=f"random-{world.seed}")
    index = np.arange(seen.shape[1], dtype=np.int32)
    start = index.astype(np.int64) * SEGMENT_MS
    with FeatureWriter(root, spec) as writer:
        for video in range(world.videos):
            if bare[video] and rows != "video":
                continue
            vectors = np.where(bare[video], np.nan, seen[video]).astype(np.float32)
            mask = np.full(len(index), NO_DATA if bare[video] else VALID, np.uint8)
            writer.add(Block(f"v{video:04d}", vectors, mask, index, start, start + SEGMENT_MS))
    return spec.name


def _post_store(root: Path, world: World, posts: dict[str, list[tuple[float, int]]]) -> str:
    """One block a user, one row a post: 1 at its topic."""
    spec = Spec("planted_posts", "delta", world.post_topics, "post", weights=f"random-{world.seed}")
    with FeatureWriter(root, spec) as writer:
        for user, said in posts.items():
            vectors = np.eye(world.post_topics, dtype=np.float32)[[topic for _, topic in said]]
            ms = np.array([round((BEGIN + month * MONTH).timestamp() * 1000) for month, _ in said], np.int64)
            index = np.arange(len(said), dtype=np.int32)
            writer.add(Block(user, vectors, np.full(len(said), VALID, np.uint8), index, ms, ms + 1))
    return spec.name
