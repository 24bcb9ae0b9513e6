"""A world for PR-Net with a known answer, as a real root: highlights and a store of windows.

A video is a row of events, each a lead-in and a shot; a shot is three steps or more that look alike. Everything a user
may like has a direction in a latent space:

- A user has `interests`, orthogonal directions. Each of their videos has `equal` shots of one, which differ only in
  the steps around them; interests take turns, so that the user has marked each of them before.
- The other shots are near misses: halfway between two of the user's interests, or, if there is only one, halfway
  between it and something else. A near miss has the same cosine, √½, to the nearest interest in all worlds. But the
  mean of several interests is closer to what lies between them than to any of them. `others` show anything.
- A lead-in shows anything, and half of them carry the mark of a build-up. Of the shots of the user's interest, those
  after a build-up are liked; of the others a share `build_up` is not. At 0 nothing is marked, nothing around a shot
  matters.
- In a share `generic` of the videos, one of a few directions that all users like takes the place of the interest.
- Of the shots that a user likes in a video, a share `annotated` is marked as a highlight, at least one.

What is observed of a step is a fixed random network of the direction, the build-up and the style of the video, plus
noise. Some users have one video only, so no history; some steps are not decodable. The noise twin has the same features
and as many highlights in each video, on shots drawn evenly.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import NO_DATA, VALID, Block

STEP_MS, SEGMENT_MS = 640, 5000
MARK = 1.5
"""Length of the mark of a build-up; directions are 1 long."""


@dataclass(frozen=True)
class World:
    """Knobs."""

    users: int = 150
    videos: int = 6
    """Of each user."""
    newcomers: float = 0.1
    """Share of the users with one video."""
    interests: int = 3
    """Of a user; 1 is the null world of attention to the history."""
    equal: int = 4
    """Shots of the user's interest in a video."""
    misses: int = 4
    """Near misses in a video."""
    others: int = 0
    """Shots of random directions."""
    build_up: float = 0.0
    """0 is the null world of the encoder."""
    generic: float = 0.0
    """0 is the null world of the generic preference."""
    kinds: int = 3
    """Directions that everybody likes."""
    annotated: float = 0.5
    """1 is the null world of the contrastive loss."""
    latent: int = 8
    """Dimensions of an interest."""
    features: int = 32
    shade: float = 0.2
    """Spread of a shot around its direction."""
    style: float = 0.3
    noise: float = 0.1
    undecodable: float = 0.02
    """Share of the steps."""
    noise_twin: bool = False
    """Break every tie between content and highlights, and nothing else."""
    seed: int = 0


@dataclass(frozen=True)
class Video:
    """What is true of one video of one user; T steps, S shots, lead-ins included."""

    user: str
    video: str
    shot: np.ndarray
    """(T,) the shot of each step."""
    liked: np.ndarray
    """(S,) bool."""
    marked: np.ndarray
    """(S,) bool, those that became highlights."""
    content: np.ndarray
    """(S, dimensions) what a shot shows."""


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    videos = ceiling(world)
    name = _features(root, world, videos)
    events, grid = [], []
    for row, v in enumerate(videos):
        first, last = (np.searchsorted(v.shot, np.arange(len(v.liked)), side) for side in ("left", "right"))
        day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=row)
        events += [
            {"user_id": v.user, "video_id": v.video, "kind": "highlight", "time": day, "source": "planted",
             "start_ms": int(first[s]) * STEP_MS, "stop_ms": int(last[s]) * STEP_MS}
            for s in np.flatnonzero(v.marked)
        ]  # fmt: skip
        stop = len(v.shot) * STEP_MS
        grid += [
            {"video_id": v.video, "segment_index": i, "start_ms": a, "stop_ms": min(a + SEGMENT_MS, stop),
             "duration_source": "measured"}
            for i, a in enumerate(range(0, stop, SEGMENT_MS))
        ]  # fmt: skip
    tables = Tables(root)
    tables.write("events", [{**event, "source_row": number + 1} for number, event in enumerate(events)])
    tables.write("segments", grid)
    return {"steps": name}


def ceiling(world: World) -> list[Video]:
    """What the true latents say: with the score `liked[shot]` no ranking of the steps is better."""
    rng = np.random.default_rng([world.seed, 0])
    kinds = np.linalg.qr(rng.standard_normal((world.latent, world.latent)))[0][: world.kinds]
    videos = []
    for user in range(world.users):
        own = np.linalg.qr(rng.standard_normal((world.latent, world.latent)))[0]
        count = 1 if rng.random() < world.newcomers else world.videos
        turn = rng.permutation(np.arange(count) % world.interests)
        for number, interest in enumerate(turn.tolist()):
            name = f"v{user:03d}x{number}"
            videos.append(_video(f"u{user:03d}", name, world, own, interest, kinds, rng))
    return videos


def chance(videos: list[Video], rng: np.random.Generator) -> list[np.ndarray]:
    """A random score for each shot, (T,) a video: what knows nothing, but that the steps of a shot belong together."""
    return [rng.random(len(v.liked))[v.shot] for v in videos]


def _video(
    user: str, name: str, world: World, own: np.ndarray, interest: int, kinds: np.ndarray, rng: np.random.Generator
) -> Video:
    """`own`: (latent, latent) orthogonal directions, the first of them the user's interests."""
    generic = rng.random() < world.generic
    theme = kinds[rng.integers(world.kinds)] if generic else own[interest]
    nearest = rng.integers(world.interests, size=world.misses)
    nearest[:1] = interest
    other = (nearest + rng.integers(1, max(world.interests, 2), world.misses)) % world.interests
    if world.interests == 1:
        other = rng.integers(1, world.latent, world.misses)
    shows = np.concatenate(
        [
            np.repeat(theme[None], world.equal, 0),
            (own[nearest] + own[other]) / 2**0.5,
            _anything(world, world.others, rng),
        ]
    )
    own = np.arange(len(shows)) < world.equal
    led = np.zeros(len(shows), bool)
    for here in (np.flatnonzero(own), np.flatnonzero(~own)):  # half of each
        led[rng.permutation(here)[: (len(here) + int(rng.integers(2))) // 2]] = world.build_up > 0
    liked = own & (led | (rng.random(len(own)) >= world.build_up))
    liked[0] |= not liked.any()
    order, zero = rng.permutation(len(own)), np.zeros_like(shows)
    everybody = (own & generic)[:, None]
    shot = np.column_stack([np.where(everybody, 0, shows), np.where(everybody, shows, 0), zero[:, 0]])[order]
    lead_in = np.column_stack([_anything(world, len(own), rng), zero, led[order] * MARK])
    content = np.stack([lead_in, shot], axis=1).reshape(2 * len(own), -1)
    likes = np.column_stack([np.zeros(len(own), bool), liked[order]]).ravel()
    marked = np.zeros(len(likes), bool)
    candidates = np.arange(len(likes)) if world.noise_twin else np.flatnonzero(likes)
    marked[rng.permutation(candidates)[: max(1, round(world.annotated * int(likes.sum())))]] = True
    return Video(user, name, np.repeat(np.arange(len(likes)), rng.integers(3, 6, len(likes))), likes, marked, content)


def _anything(world: World, count: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.standard_normal((count, world.latent))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _features(root: Path, world: World, videos: list[Video]) -> str:
    rng = np.random.default_rng([world.seed, 1])
    inside = videos[0].content.shape[1] + world.latent
    inner = rng.standard_normal((inside, 2 * world.features)) / world.latent**0.5
    outer = rng.standard_normal((2 * world.features, world.features)) / (2 * world.features) ** 0.5
    spec = Spec(extractor="planted", layer="conv", dim=world.features, rows="window", weights=f"random-{world.seed}")
    with FeatureWriter(root, spec, shard_blocks=1 << 20) as writer:
        for v in videos:
            shade = world.shade * rng.standard_normal(v.content.shape) / world.latent**0.5
            style = np.tile(world.style * rng.standard_normal(world.latent) / world.latent**0.5, (len(shade), 1))
            seen = (np.tanh(np.concatenate([v.content + shade, style], axis=1) @ inner) @ outer)[v.shot]
            seen += world.noise * rng.standard_normal(seen.shape) / world.latent**0.5 + 3.0
            mask = np.where(rng.random(len(seen)) < world.undecodable, NO_DATA, VALID).astype(np.uint8)
            mask[v.shot == np.flatnonzero(v.marked)[0]] = VALID
            seen[mask == NO_DATA] = np.nan
            start = np.arange(len(seen), dtype=np.int64) * STEP_MS
            index = (start // SEGMENT_MS).astype(np.int32)
            writer.add(Block(v.video, seen.astype(np.float32), mask, index, start, start + STEP_MS))
    return spec.name
