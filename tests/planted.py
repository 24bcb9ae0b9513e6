"""A small world with a known answer, written as a real root: tables and a feature store. It uses no model code.

Users belong to communities of taste. A segment has a latent vector; a user likes the segments of a video that fit her
taste best. The observed feature is a fixed random network of the latent, mixed with a style of the video and noise.
Every user's last video is one that nobody else has seen earlier, so that its segments have no edges. The noise twin
has the same features and the same number of likes in each video, on segments drawn at random.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from storage import FeatureWriter, Spec, Tables
from storage.features import VALID, Block

SEGMENT_MS = 5000


@dataclass(frozen=True)
class World:
    """Knobs. `noise_twin` breaks every tie between content and likes, and nothing else."""

    users: int = 90
    old_videos: int = 40
    new_videos: int = 20
    segments: int = 12
    likes: int = 2
    communities: int = 4
    own_taste: float = 0.3
    """Spread of a user's taste around her community's."""
    mean_history: float = 3.0
    """Videos beyond five; geometric, so that some users have long histories and many have short ones."""
    latent: int = 6
    features: int = 48
    style: float = 0.5
    noise: float = 0.1
    noise_twin: bool = False
    seed: int = 0


def write(root: Path, world: World) -> str:
    """Write tables and features; return the store's name."""
    rng = np.random.default_rng(world.seed)
    videos = world.old_videos + world.new_videos
    latent = rng.standard_normal((videos, world.segments, world.latent))
    centre = rng.standard_normal((world.communities, world.latent))
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    taste = centre[rng.integers(world.communities, size=world.users)]
    taste = taste + world.own_taste * rng.standard_normal(taste.shape)
    name = _features(root, world, latent, rng)
    ids = [f"v{v:03d}" for v in range(videos)]
    grid = [
        {"video_id": v, "segment_index": s, "start_ms": s * SEGMENT_MS, "stop_ms": (s + 1) * SEGMENT_MS,
         "duration_source": "measured"}
        for v in ids for s in range(world.segments)
    ]  # fmt: skip
    events, labels = [], []
    for user in range(world.users):
        count = min(4 + rng.geometric(1 / (1 + world.mean_history)), world.old_videos)
        seen = rng.choice(world.old_videos, count, replace=False).tolist()
        seen.append(world.old_videos + int(rng.integers(world.new_videos)))
        for turn, video in enumerate(seen):
            fit = latent[video] @ taste[user]
            if world.noise_twin:
                fit = rng.standard_normal(world.segments)
            for segment in np.argsort(-fit)[: world.likes].tolist():
                who = {"user_id": f"u{user:03d}", "video_id": ids[video]}
                labels.append({**who, "segment_index": segment, "covered_ms": SEGMENT_MS})
                events.append({
                    **who, "kind": "highlight", "time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=turn),
                    "start_ms": segment * SEGMENT_MS, "stop_ms": (segment + 1) * SEGMENT_MS,
                    "source": "planted", "source_row": len(events) + 1,
                })  # fmt: skip
    tables = Tables(root)
    tables.write("segments", grid)
    tables.write("labels", labels)
    tables.write("events", events)
    return name


def _features(root: Path, world: World, latent: np.ndarray, rng: np.random.Generator) -> str:
    videos, segments, _ = latent.shape
    style = np.broadcast_to(rng.standard_normal((videos, 1, world.latent)), latent.shape)
    inner = rng.standard_normal((2 * world.latent, world.features)) / world.latent**0.5
    outer = rng.standard_normal((world.features, world.features)) / world.features**0.5
    seen = np.tanh(np.concatenate([latent, world.style * style], axis=-1) @ inner) @ outer
    seen = seen + world.noise * rng.standard_normal(seen.shape) + 3.0  # what all share, as with real networks
    spec = Spec(extractor="planted", layer="fc", dim=world.features, rows="segment", weights=f"random-{world.seed}")
    index = np.arange(segments, dtype=np.int32)
    with FeatureWriter(root, spec) as writer:
        for v in range(videos):
            start = index.astype(np.int64) * SEGMENT_MS
            mask = np.full(segments, VALID, np.uint8)
            writer.add(Block(f"v{v:03d}", seen[v].astype(np.float32), mask, index, start, start + SEGMENT_MS))
    return spec.name
