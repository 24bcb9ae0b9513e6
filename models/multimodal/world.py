"""A world for click-through prediction with a known answer, as a real root: ratings, side tables, a
store of pictures and one of sound.

A user has four attributes, an item a category, an uploader and tags, each one of a few values. Who clicks what follows

    utility = main · (user + item) / √2 + pairs · (A[a0, category] + B[a1, uploader]) / √2
              + third · C[a0, a1, category] + content · taste[a2] · (w_u picture + (1 − w_u) sound) · √2,

with w_u = σ(spread · lean of the user). A, B and C are random tables without main effects, and each term has variance 1
at knob 1 and spread 0. So two pairs of fields mean something, and one triple; all other pairs are noise (a3 and one of
the tags mean nothing at all). How far a user goes by picture or by sound shows in nothing but their clicks.
At spread 0 all go evenly by both: there a fusion guided by the user has nothing to find. At pairs and third 0 there is
nothing to cross.

What is observed of a modality is a fixed random network of what it shows and a style, plus noise; some items lack one.
Half of the ratings after LATE are of items that are new then, so that a split by time tests on items that training
never saw. Five ratings of a hundred are three stars. The noise twin has the same features and side tables, and clicks
that follow from nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import VALID, Block

MODALITIES = ("picture", "sound")
LATE = 0.7
"""Share of the time before the new items come."""
ROWS = 3
"""Segments of a video in the store of sound; the picture has one row a video."""


@dataclass(frozen=True)
class World:
    """Knobs."""

    users: int = 200
    items: int = 200
    examples: int = 80
    """Ratings of a user."""
    values: int = 5
    """Of an attribute, a category, …"""
    main: float = 0.5
    pairs: float = 1.5
    """0 with `third` is the null world of crossing."""
    third: float = 0.5
    content: float = 2.0
    """0 is the null world of modalities."""
    spread: float = 4.0
    """How much users differ in going by sight or by ear; 0 is the null world of fusion."""
    latent: int = 3
    """Dimensions of what a modality shows."""
    features: int = 24
    style: float = 0.5
    noise: float = 0.2
    missing: float = 0.05
    """Share of the items that lack a modality, of each."""
    new: float = 0.15
    """Share of the items that are new."""
    noise_twin: bool = False
    """Break every tie between clicks and anything else."""
    seed: int = 0


@dataclass(frozen=True)
class Truth:
    """What a reader of minds would say: user `u0000` is row 0, item `v0000` is column 0."""

    click: np.ndarray
    """(users, items) probability of a click."""
    sight: np.ndarray
    """(users,) w_u, the weight of the picture."""


@dataclass(frozen=True)
class _Drawn:
    truth: Truth
    attributes: np.ndarray
    """(users, 4)."""
    facts: np.ndarray
    """(items, 3): category, uploader, tag."""
    shown: np.ndarray
    """(modalities, items, latent)."""


def write(root: Path, world: World) -> dict[str, str]:
    """Write tables and features; return {role: name of its store}."""
    drawn, rng = _draw(world), np.random.default_rng([world.seed, 1])
    total = world.users * world.examples
    user = np.tile(np.arange(world.users), world.examples)
    order, old = np.arange(total), round((1 - world.new) * world.items)
    late, fresh = order >= LATE * total, rng.random(total) < 0.5
    low, high = np.where(late & fresh, old, 0), np.where(late & fresh, world.items, old)
    item = rng.integers(low, high)
    click = rng.random(total) < (0.5 if world.noise_twin else drawn.truth.click[user, item])
    stars = np.where(rng.random(total) < 0.05, 3.0, np.where(click, 5.0, 1.0))
    users, items = (np.array([f"{c}{n:04d}" for n in range(m)]) for c, m in (("u", world.users), ("v", world.items)))
    tables = Tables(root)
    tables.write("events", pa.table({
        "user_id": users[user], "video_id": items[item], "kind": np.full(total, "rating"), "value": stars,
        "time": pa.array(order * 1000, pa.timestamp("ms", tz="UTC")),
        "source": np.full(total, "planted"), "source_row": order + 1,
    }))  # fmt: skip
    tables.write("users", [
        {"user_id": u, "attributes": [f"a{n}={value}" for n, value in enumerate(row)]}
        for u, row in zip(users.tolist(), drawn.attributes.tolist(), strict=True)
    ])  # fmt: skip
    tables.write("videos", [
        {"video_id": v, "categories": [f"c{c}"], "uploader": f"p{p}", "tags": sorted({f"t{t}", f"t{p}"})}
        for v, (c, p, t) in zip(items.tolist(), drawn.facts.tolist(), strict=True)
    ])  # fmt: skip
    return {role: _features(root, world, m, drawn.shown[m], items) for m, role in enumerate(MODALITIES)}


def ceiling(world: World) -> Truth:
    """What the true latents would say."""
    return _draw(world).truth


def _draw(world: World) -> _Drawn:
    rng = np.random.default_rng([world.seed, 0])
    attributes = rng.integers(world.values, size=(world.users, 4))
    facts = rng.integers(world.values, size=(world.items, 3))
    (a0, a1, a2, _), (category, uploader, _) = attributes.T, facts.T
    shown = rng.standard_normal((len(MODALITIES), world.items, world.latent))
    taste = rng.standard_normal((world.values, world.latent))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    sight = 1 / (1 + np.exp(-world.spread * rng.standard_normal(world.users)))
    v = world.values
    first, second, triple = _table(rng, v, v), _table(rng, v, v), _table(rng, v, v, v)
    pairs = (first[a0][:, category] + second[a1][:, uploader]) / 2**0.5
    fit = taste[a2] @ shown.swapaxes(1, 2)  # modalities, users, items
    utility = (
        world.main * (rng.standard_normal((world.users, 1)) + rng.standard_normal(world.items)) / 2**0.5
        + world.pairs * pairs
        + world.third * triple[a0, a1][:, category]
        + world.content * 2**0.5 * (sight[:, None] * fit[0] + (1 - sight)[:, None] * fit[1])
    )
    return _Drawn(Truth(1 / (1 + np.exp(-utility)), sight), attributes, facts, shown)


def _table(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random numbers of variance 1 whose mean along each axis is 0."""
    table = rng.standard_normal(shape)
    for axis in range(len(shape)):
        table -= table.mean(axis=axis, keepdims=True)
    return table / table.std()


def _features(root: Path, world: World, modality: int, shown: np.ndarray, items: np.ndarray) -> str:
    rng = np.random.default_rng([world.seed, 2, modality])
    inside = np.concatenate([shown, world.style * rng.standard_normal(shown.shape)], axis=1)
    inner = rng.standard_normal((inside.shape[1], world.features)) / inside.shape[1] ** 0.5
    outer = rng.standard_normal((world.features, world.features)) / world.features**0.5
    rows = 1 if MODALITIES[modality] == "picture" else ROWS
    seen = (np.tanh(inside @ inner) @ outer)[:, None].repeat(rows, axis=1)
    seen += world.noise * rows**0.5 * rng.standard_normal(seen.shape) + 3.0  # what all share, as with real networks
    spec = Spec("planted", MODALITIES[modality], world.features, "video" if rows == 1 else "segment",
                weights=f"random-{world.seed}")  # fmt: skip
    lacking = rng.random(world.items) < world.missing
    index = np.arange(rows)
    with FeatureWriter(root, spec) as writer:
        for i in np.flatnonzero(~lacking).tolist():
            mask = np.full(rows, VALID, np.uint8)
            block = Block(str(items[i]), seen[i].astype(np.float32), mask, index, 5000 * index, 5000 * (index + 1))
            writer.add(block)
    return spec.name
