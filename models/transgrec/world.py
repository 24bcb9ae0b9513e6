"""A world for TransGRec with a known answer, as a real root: highlights, labels, a store of segments.

Users belong to communities of taste, segments have a latent that is partly `hidden` from the features. How well segment
i fits user a is

    utility = √(1 − hidden) · taste_a · seen_i + √hidden · taste'_a · unseen_i,    taste = √ρ · centre + √(1 − ρ) · own,

where both tastes are of unit length before they are mixed, and `centre` is the community's. So at ρ = 0 tastes are
independent, and neighbours in the graph say nothing about what a user likes. At hidden 0 the features explain
everything, and a free vector z of a segment has nothing to find. Of each video in their history users like the segments
of greatest utility, more or less (`choosy`).

Histories follow a power law: many users have four videos, a few have very many. Every user's last video is one that
no user has seen earlier, so that its segments have no edges. What is observed of a segment is a fixed random network of
`seen` and of the style of its video, plus noise. The noise twin has the same features and histories, and likes that are
drawn evenly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.errors import InputError
from reelmill.storage.features import VALID, Block

SEGMENT_MS, DAY_MS = 5000, 86_400_000
BEGIN_MS = 1_767_225_600_000
"""The first of January 2026."""
SHORTEST = 4
"""Videos of the shortest history, without the last one."""


@dataclass(frozen=True)
class World:
    """Knobs."""

    users: int = 300
    old_videos: int = 60
    new_videos: int = 30
    segments: int = 12
    """Of a video."""
    likes: int = 2
    """Segments that a user likes of a video."""
    communities: int = 4
    rho: float = 0.7
    """ρ, the share of a user's taste that is their community's; 0 is the null world of the graph."""
    hidden: float = 0.3
    """Share of the utility that features do not show; 0 is the null world of z."""
    choosy: float = 6.0
    """How much the utility decides over chance."""
    tail: float = 2.0
    """Exponent of the power law of histories: of k times as many videos there are k^−tail times as many users."""
    latent: int = 6
    """Dimensions of what is seen of a segment, and of what is not."""
    features: int = 48
    style: float = 0.5
    noise: float = 0.1
    noise_twin: bool = False
    """Break every tie between content and likes, and nothing else."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rho", "hidden"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)}: it is a share; give a number from 0 to 1")


@dataclass(frozen=True)
class Truth:
    """What a reader of minds knows: user `u0000` is row 0, segment s of video `v0000` is row (0, s); old videos stand
    before new ones. Dimensions are those that are seen, then those that are not."""

    taste: np.ndarray
    """(users, 2 · latent), the knob `hidden` in it; zero in the noise twin."""
    latent: np.ndarray
    """(videos, segments, 2 · latent)."""
    community: np.ndarray
    """(users,)."""

    def utility(self, user: np.ndarray, video: np.ndarray) -> np.ndarray:
        """(n, segments) of users (n,) and videos (n,): no ranking can be better."""
        return np.einsum("nd,nsd->ns", self.taste[user], self.latent[video])

    def visible(self, user: np.ndarray, video: np.ndarray) -> np.ndarray:
        """(n, segments), the part of it that features show: all that can be known of a new segment."""
        seen = self.taste.shape[1] // 2
        return np.einsum("nd,nsd->ns", self.taste[user, :seen], self.latent[video, :, :seen])


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    truth = ceiling(world)
    name = _features(root, world, truth)
    user, video, turn = _histories(world)
    utility = world.choosy * truth.utility(user, video)
    utility += np.random.default_rng([world.seed, 2]).gumbel(size=utility.shape)
    segment = np.sort(np.argsort(-utility, axis=1)[:, : world.likes], axis=1).ravel()
    view = np.repeat(np.arange(len(user)), world.likes)
    users, videos = _names("u", world.users), _names("v", len(truth.latent))
    who = {"user_id": users.take(pa.array(user[view])), "video_id": videos.take(pa.array(video[view]))}
    start, rows = segment * SEGMENT_MS, np.arange(len(view))
    tables = Tables(root)
    tables.write("labels", pa.table({**who, "segment_index": segment, "covered_ms": np.full(len(rows), SEGMENT_MS)}))
    tables.write("events", pa.table({
        **who, "kind": np.full(len(rows), "highlight"), "start_ms": start, "stop_ms": start + SEGMENT_MS,
        "time": pa.array(BEGIN_MS + turn[view] * DAY_MS, pa.timestamp("ms", tz="UTC")),
        "source": np.full(len(rows), "planted"), "source_row": rows + 1,
    }))  # fmt: skip
    cell, segment = np.divmod(np.arange(len(videos) * world.segments), world.segments)
    tables.write("segments", pa.table({
        "video_id": videos.take(pa.array(cell)), "segment_index": segment, "start_ms": segment * SEGMENT_MS,
        "stop_ms": (segment + 1) * SEGMENT_MS, "duration_source": np.full(len(cell), "measured"),
    }))  # fmt: skip
    return {"features": name}


def ceiling(world: World) -> Truth:
    """The true latents."""
    rng = np.random.default_rng([world.seed, 0])
    videos = world.old_videos + world.new_videos
    latent = rng.standard_normal((videos, world.segments, 2 * world.latent))
    community = rng.integers(world.communities, size=world.users)
    centre = _directions(rng, world.communities, world.latent)[community]
    own = _directions(rng, world.users, world.latent)
    shares = np.repeat([1 - world.hidden, world.hidden], world.latent)
    taste = shares**0.5 * (world.rho**0.5 * centre + (1 - world.rho) ** 0.5 * own)
    return Truth(np.zeros_like(taste) if world.noise_twin else taste, latent, community)


def _directions(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """(count, 2 · size): two independent directions of unit length beside each other."""
    drawn = rng.standard_normal((count, 2, size))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).reshape(count, 2 * size)


def _histories(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, video and turn (views,) of all views, by user and then oldest first; the last one is of a new video."""
    rng = np.random.default_rng([world.seed, 1])
    least = min(SHORTEST, world.old_videos)
    drawn = least * (1 - rng.random(world.users)) ** (-1 / world.tail)
    count = np.minimum(drawn, max(least, world.old_videos // 2)).astype(np.int64)
    order = np.argsort(rng.random((world.users, world.old_videos)), axis=1)
    last = world.old_videos + rng.integers(world.new_videos, size=world.users)
    user = np.repeat(np.arange(world.users), count + 1)
    turn = np.arange(len(user)) - np.repeat(np.cumsum(count + 1) - count - 1, count + 1)
    old = order[user, np.minimum(turn, world.old_videos - 1)]
    return user, np.where(turn == count[user], last[user], old), turn


def _names(letter: str, count: int) -> pa.Array:
    return pa.array([f"{letter}{number:04d}" for number in range(count)])


def _features(root: Path, world: World, truth: Truth) -> str:
    rng = np.random.default_rng([world.seed, 3])
    seen = truth.latent[..., : world.latent]
    style = np.broadcast_to(rng.standard_normal((len(seen), 1, world.latent)), seen.shape)
    inner = rng.standard_normal((2 * world.latent, world.features)) / world.latent**0.5
    outer = rng.standard_normal((world.features, world.features)) / world.features**0.5
    shown = np.tanh(np.concatenate([seen, world.style * style], axis=-1) @ inner) @ outer
    shown += world.noise * rng.standard_normal(shown.shape) + 3.0  # what all share, as with real networks
    spec = Spec(extractor="planted", layer="fc", dim=world.features, rows="segment", weights=f"random-{world.seed}")
    index = np.arange(world.segments, dtype=np.int32)
    start, mask = index.astype(np.int64) * SEGMENT_MS, np.full(world.segments, VALID, np.uint8)
    with FeatureWriter(root, spec) as writer:
        for v, vectors in enumerate(shown.astype(np.float32)):
            writer.add(Block(f"v{v:04d}", vectors, mask, index, start, start + SEGMENT_MS))
    return spec.name
