"""A small world of users who choose whole videos, with a known answer, as a real root. It uses no model code."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from reelmill.storage import FeatureWriter, Spec, Tables
from reelmill.storage.features import NO_DATA, VALID, Block

USERS, WARM, COLD, LATENT, FEATURES = 150, 100, 30, 3, 24


def event(user: str, item: str, source: str, row: int, value: float | None = None, day: int | None = None) -> Any:
    time = None if day is None else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    kind = "watch" if value is None else "rating"
    return {"user_id": user, "video_id": item, "kind": kind, "source": source, "source_row": row, "value": value,
            "time": time}  # fmt: skip


def write_store(root: Path, vectors: dict[str, np.ndarray], rows: str = "segment") -> str:
    """A store with the rows (n, dim) of each video; rows that are NaN are marked as without data."""
    dim = len(next(iter(vectors.values()))[0])
    spec = Spec(extractor="planted", layer="fc", dim=dim, rows=rows)  # type: ignore[arg-type]
    with FeatureWriter(root, spec) as writer:
        for video, features in vectors.items():
            index = np.arange(len(features), dtype=np.int32)
            start = index.astype(np.int64) * 5000
            mask = np.where(np.isnan(features[:, 0]), NO_DATA, VALID).astype(np.uint8)
            writer.add(Block(video, features.astype(np.float32), mask, index, start, start + 5000))
    return spec.name


def write_world(root: Path, noise_twin: bool = False, seed: int = 0, rows: str = "segment") -> str:
    """Users choose the items that fit their taste best, under noise. The features are a linear map of what tastes see,
    in two rows an item (or one, their mean), and noise. Cold items stand in validation and test alone. In the noise
    twin everybody chooses at random."""
    rng = np.random.default_rng(seed)
    items, taste = rng.standard_normal((WARM + COLD, LATENT)), 1.5 * rng.standard_normal((USERS, LATENT))
    fit = (0.0 if noise_twin else 1.0) * taste @ items.T + rng.gumbel(size=(USERS, WARM + COLD))
    said = []
    for user in range(USERS):
        warm, cold = np.argsort(-fit[user, :WARM])[:18], WARM + np.argsort(-fit[user, WARM:])[:3]
        parts = np.split(rng.permutation(warm), [12, 15])
        named = zip(("train", "validation", "test", "validation", "test"), [*parts, cold[:1], cold[1:]], strict=True)
        said += [(user, item, part) for part, chosen in named for item in chosen.tolist()]
    Tables(root).write("events", [event(f"u{u:03d}", f"i{i:03d}", part, n) for n, (u, i, part) in enumerate(said)])
    seen = items @ rng.standard_normal((LATENT, FEATURES)) + 0.5 * rng.standard_normal((WARM + COLD, FEATURES)) + 5
    apart = rng.standard_normal((WARM + COLD, 1, FEATURES)) * np.array([1.0, -1.0])[:, None]
    if rows == "video":
        apart = np.zeros((WARM + COLD, 1, FEATURES))
    return write_store(root, {f"i{i:03d}": seen[i] + apart[i] for i in range(WARM + COLD)}, rows)
