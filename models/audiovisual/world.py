"""A world for the audio-visual feature network with a known answer, as a real root: videos with classes, a store of
pictures and one of sound, and ratings that follow from the classes.

A video has three hidden factors of `values` values each: one that can be seen and heard, one only seen, one only heard.
Its class is all three. What is observed of a modality is a fixed random network of the vectors of its two factors and a
style, plus noise; some videos have no sound. So all classes need both modalities; the public features of picture and
sound have one factor to agree on, and the private ones have the rest. At `common` 0 nothing is seen and heard.

Users like videos by the factors: each likes some values of each. Half of the ratings after LATE are of videos that are
new then. The noise twin has the same features, and classes and ratings that follow from nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import NO_DATA, VALID, Block

MODALITIES = ("picture", "sound")
LATE = 0.7
"""Share of the time before the new videos come."""
ROWS = 3
"""Segments of a video."""


@dataclass(frozen=True)
class World:
    """Knobs."""

    videos: int = 600
    values: int = 2
    """Of each factor, so that there are values³ classes."""
    common: float = 1.0
    """How strongly the factor that is seen and heard shows; 0 is the null world of the public features."""
    users: int = 100
    examples: int = 40
    """Ratings of a user."""
    latent: int = 4
    """Numbers of a factor's vector."""
    picture: int = 32
    """Features of pictures."""
    sound: int = 24
    style: float = 1.0
    noise: float = 0.3
    silent: float = 0.1
    """Share of the videos without sound."""
    new: float = 0.2
    """Share of the videos that are new."""
    noise_twin: bool = False
    """Break every tie between classes or ratings and anything else."""
    seed: int = 0


def factors(world: World) -> np.ndarray:
    """(videos, 3) int64: what is seen and heard, only seen, only heard. Video `v0000` is row 0."""
    return np.random.default_rng([world.seed, 0]).integers(world.values, size=(world.videos, 3))


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    true, rng = factors(world), np.random.default_rng([world.seed, 1])
    told = rng.permutation(true) if world.noise_twin else true
    videos = np.array([f"v{n:04d}" for n in range(world.videos)])
    tables = Tables(root)
    tables.write("videos", [
        {"video_id": video, "categories": ["class " + "".join(map(str, row))]}
        for video, row in zip(videos.tolist(), told.tolist(), strict=True)
    ])  # fmt: skip
    _rate(tables, world, told, videos, rng)
    return {role: _features(root, world, place, true, videos) for place, role in enumerate(MODALITIES)}


def _rate(tables: Tables, world: World, told: np.ndarray, videos: np.ndarray, rng: np.random.Generator) -> None:
    """Each user likes a random half of the values of each factor; 5 stars where they like two of the three or more."""
    likes = rng.random((world.users, 3, world.values)).argsort(axis=2) < world.values / 2
    total = world.users * world.examples
    user, order = np.tile(np.arange(world.users), world.examples), np.arange(total)
    old = round((1 - world.new) * world.videos)
    late, fresh = order >= LATE * total, rng.random(total) < 0.5
    item = rng.integers(np.where(late & fresh, old, 0), np.where(late & fresh, world.videos, old))
    liked = likes[user[:, None], np.arange(3), told[item]].sum(1) >= 2
    tables.write("events", pa.table({
        "user_id": np.array([f"u{n:04d}" for n in range(world.users)])[user], "video_id": videos[item],
        "kind": np.full(total, "rating"), "value": np.where(liked, 5.0, 1.0),
        "time": pa.array(order * 1000, pa.timestamp("ms", tz="UTC")),
        "source": np.full(total, "planted"), "source_row": order + 1,
    }))  # fmt: skip


def _features(root: Path, world: World, modality: int, true: np.ndarray, videos: np.ndarray) -> str:
    rng = np.random.default_rng([world.seed, 2, modality])
    size = (world.picture, world.sound)[modality]
    own = rng.standard_normal((2, world.values, world.latent))
    shown = [world.common * own[0][true[:, 0]], own[1][true[:, 1 + modality]]]
    inside = np.concatenate([*shown, world.style * rng.standard_normal((world.videos, world.latent))], axis=1)
    inner = rng.standard_normal((inside.shape[1], size)) / inside.shape[1] ** 0.5
    outer = rng.standard_normal((size, size)) / size**0.5
    seen = (np.tanh(inside @ inner) @ outer)[:, None].repeat(ROWS, axis=1)
    seen += world.noise * ROWS**0.5 * rng.standard_normal(seen.shape) + 3.0  # what all share, as with real networks
    silent = rng.random(world.videos) < (world.silent if MODALITIES[modality] == "sound" else 0)
    spec = Spec("planted", MODALITIES[modality], size, "segment", weights=f"random-{world.seed}")
    index = np.arange(ROWS)
    with FeatureWriter(root, spec) as writer:
        for i, video in enumerate(videos.tolist()):
            mask = np.full(ROWS, NO_DATA if silent[i] else VALID, np.uint8)
            rows = np.where(silent[i], np.nan, seen[i]).astype(np.float32)
            writer.add(Block(video, rows, mask, index, 5000 * index, 5000 * (index + 1)))
    return spec.name
