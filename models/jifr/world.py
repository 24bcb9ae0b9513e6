"""A world for JIFR with a known answer, as a real root: ratings, frame likes, a store of frames.

An item has a topic, which pictures can show, and a habit, which they cannot. A user has a taste for either, and what
they rate follows a blend of both,

    utility = 2 · (β · habit + (1 − β) · sight),    β = σ(spread · (user's lean + 2 · item's lean) / √5),

so that at spread 0 everyone blends evenly: there rating attention has nothing to find. Pictures show how far an item
leans to habit; a user's lean is visible nowhere.

A share `telling` of an item's frames shows its topic, each with a shade of its own, and carries a mark, which has
nothing to do with taste. The other frames show topics of no item. At share 1 all frames do, all carry the mark,
and visual attention has nothing to find. A user likes those frames of an item whose own topic fits their taste best,
whether they show the item's topic or not; no model is trained on these likes.

What is observed of a frame is a fixed random network of the topic shown, the mark, the item's lean and its style, plus
noise. The noise twin has the same features and as many ratings and likes, all drawn evenly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import VALID, Block

FRAME_MS, SHOWN_MS = 1000, 40


@dataclass(frozen=True)
class World:
    """Knobs."""

    users: int = 400
    items: int = 300
    frames: int = 12
    telling: float = 0.25
    """Share of an item's frames that show its topic; 1 is the null world of visual attention."""
    spread: float = 5.0
    """How much users and items differ in going by sight or by habit; 0 is the null world of rating attention."""
    latent: int = 6
    """Dimensions of a topic, and of a habit."""
    shade: float = 0.7
    """Spread of the topics that a telling item's frames show, around the item's own."""
    mean_ratings: float = 16.0
    """Ratings of a user; at least eight, geometric beyond."""
    choosy: float = 3.0
    """How much the utility decides over chance."""
    likes: int = 2
    """Frames that a user likes of an item that they rated."""
    unframed: float = 0.05
    """Share of the items without frames."""
    features: int = 48
    style: float = 0.5
    noise: float = 0.2
    noise_twin: bool = False
    """Break every tie between content, likes and ratings, and nothing else."""
    seed: int = 0


@dataclass(frozen=True)
class Truth:
    """What the true latents would score: user `u0000` is row 0, item `v0000` is column 0."""

    ratings: np.ndarray
    """(users, items) utility."""
    frames: np.ndarray
    """(users, items, frames) how well what a frame shows fits the user's taste."""


@dataclass(frozen=True)
class _Drawn:
    truth: Truth
    shown: np.ndarray
    mark: np.ndarray
    lean: np.ndarray


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    drawn, rng = _draw(world), np.random.default_rng([world.seed, 1])
    name = _features(root, world, drawn)
    utility, fit = drawn.truth.ratings, drawn.truth.frames
    if world.noise_twin:
        utility, fit = np.zeros_like(utility), np.zeros_like(fit)
    chosen = world.choosy * utility + rng.gumbel(size=utility.shape)
    count = np.minimum(7 + rng.geometric(1 / (world.mean_ratings - 7), world.users), world.items // 2)
    user = np.repeat(np.arange(world.users), count)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    item = np.argsort(-chosen, axis=1)[user, place]
    noise = 1e-6 * rng.random((len(user), world.frames))
    rated = [_event(u, i, kind="rating", value=1.0) for u, i in zip(user.tolist(), item.tolist(), strict=True)]
    best = np.argsort(-(fit[user, item] + noise), axis=1)[:, : world.likes]
    liked = [
        _event(u, i, kind="frame_like", start_ms=k * FRAME_MS + FRAME_MS // 2)
        for u, i, frames in zip(user.tolist(), item.tolist(), best.tolist(), strict=True)
        for k in frames
    ]
    events = [{"source": "planted", "source_row": row + 1, **event} for row, event in enumerate([*rated, *liked])]
    Tables(root).write("events", events)
    return {"frames": name}


def _event(user: int, item: int, **rest: Any) -> dict[str, Any]:
    return {"user_id": f"u{user:04d}", "video_id": f"v{item:04d}", **rest}


def ceiling(world: World) -> Truth:
    """What the true latents would score."""
    return _draw(world).truth


def _draw(world: World) -> _Drawn:
    rng = np.random.default_rng([world.seed, 0])
    topic, habit = rng.standard_normal((2, world.items, world.latent))
    sight_taste, habit_taste = rng.standard_normal((2, world.users, world.latent)) / world.latent**0.5
    lean_user, lean = rng.standard_normal(world.users), rng.standard_normal(world.items)
    beta = 1 / (1 + np.exp(-world.spread * (lean_user[:, None] + 2 * lean) / 5**0.5))
    utility = 2 * (beta * (habit_taste @ habit.T) + (1 - beta) * (sight_taste @ topic.T))
    telling = round(world.telling * world.frames)
    mark = np.argsort(rng.random((world.items, world.frames)), axis=1) < telling
    own = rng.standard_normal((world.items, world.frames, world.latent))
    shaded = (topic[:, None] + world.shade * own) / (1 + world.shade**2) ** 0.5
    shown = np.where(mark[..., None], shaded, rng.standard_normal(own.shape))
    fit = np.einsum("ud,ikd->uik", sight_taste, shown)
    return _Drawn(Truth(utility, fit), shown, mark, lean)


def _features(root: Path, world: World, drawn: _Drawn) -> str:
    rng = np.random.default_rng([world.seed, 2])
    shape = world.items, world.frames
    style = np.broadcast_to(rng.standard_normal((world.items, 1, world.latent)), (*shape, world.latent))
    lean = np.broadcast_to(drawn.lean[:, None], shape)
    inside = np.concatenate([drawn.shown, 2 * drawn.mark[..., None] - 1, lean[..., None], world.style * style], axis=-1)
    inner = rng.standard_normal((inside.shape[-1], world.features)) / inside.shape[-1] ** 0.5
    outer = rng.standard_normal((world.features, world.features)) / world.features**0.5
    seen = np.tanh(inside @ inner) @ outer
    seen += world.noise * rng.standard_normal(seen.shape) + 3.0  # what all share, as with real networks
    spec = Spec(extractor="planted", layer="fc", dim=world.features, rows="window", weights=f"random-{world.seed}")
    bare = rng.random(world.items) < world.unframed
    start = np.arange(world.frames, dtype=np.int64) * FRAME_MS
    mask, segment = np.full(world.frames, VALID, np.uint8), (start // 5000).astype(np.int32)
    with FeatureWriter(root, spec) as writer:
        for i in np.flatnonzero(~bare).tolist():
            writer.add(Block(f"v{i:04d}", seen[i].astype(np.float32), mask, segment, start, start + SHOWN_MS))
    return spec.name
