"""Examples of click-through prediction: which events are clicks, and what trains, validates and tests."""

from dataclasses import dataclass

import numpy as np
import torch

from reelmill.models.core.sampling import Negatives
from reelmill.models.data.events import NO_TIME, PARTS
from reelmill.models.protocols.clicks.data import Clicks
from reelmill.models.protocols.clicks.settings import FieldSettings
from reelmill.storage.errors import InputError


@dataclass(frozen=True)
class Examples:
    """Examples of one part."""

    user: np.ndarray
    """(n,) int64, the data's number."""
    item: np.ndarray
    """(n,) int64."""
    label: np.ndarray
    """(n,) float32: 1 a click, 0 none."""

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Split:
    """Three parts. Where negatives are sampled, each holds the clicks alone."""

    train: Examples
    validation: Examples
    test: Examples
    sampled: bool
    counts: dict[str, int]


def split(data: Clicks, settings: FieldSettings, rng: np.random.Generator) -> Split:
    """Label the events and divide them. Raises InputError if a part or a kind of label is missing, or the scale of the
    ratings is not known."""
    settings = settings.found_in(data)
    liked, disliked = float(settings.liked), float(settings.disliked)
    sampled = settings.negatives == "sampled" or (settings.negatives == "auto" and not data.rated)
    if not data.rated and not sampled:
        raise InputError("the root has no ratings, so there are no low ones; say negatives: sampled")
    click = data.value >= liked if data.rated else np.ones(len(data.user), bool)
    low = data.value < disliked if data.rated else ~click
    kept = click if sampled else click | low
    rows = np.flatnonzero(kept)
    if not click.any() or not (sampled or low.any()):
        raise InputError(
            f"of {len(kept)} events {click.sum()} are clicks and {low.sum()} are none: both are needed (liked is "
            f"{liked:g}, disliked {disliked:g}); change liked and disliked, or say negatives: sampled"
        )
    parts = _given(data, rows) if settings.split == "given" else _divided(data, rows, settings, rng)
    found = [Examples(data.user[p], data.item[p], click[p].astype(np.float32)) for p in parts]
    train, validation, test = found
    for name, part in zip(PARTS, found, strict=True):
        if name != "validation" and (not part.label.any() or not (sampled or not part.label.all())):
            raise InputError(f"the {name} part holds {len(part)} examples, not of both kinds; ingest more")
    used = sum(map(len, parts))
    counts = {
        **_by_scale(data, liked, disliked),
        "clicks": int(click.sum()),
        "low_ratings": int(low.sum()),
        "ratings_between": int((~(click | low | np.isnan(data.value))).sum()),
        "ratings_without_value": int(np.isnan(data.value).sum()) if data.rated else 0,
        "low_ratings_unused": int(low.sum()) if sampled else 0,
        "events_of_no_part": len(rows) - used,
        **{f"{name}_examples": len(part) for name, part in zip(PARTS, found, strict=True)},
        **{f"{name}_clicks": int(part.label.sum()) for name, part in zip(PARTS, found, strict=True)},
        "train_users": len(np.unique(train.user)),
        "train_items": len(np.unique(train.item)),
        "test_of_unseen_users": int((~np.isin(test.user, train.user)).sum()),
        "test_of_unseen_items": int((~np.isin(test.item, train.item)).sum()),
    }
    return Split(train, validation, test, sampled, counts)


def _by_scale(data: Clicks, liked: float, disliked: float) -> dict[str, int]:
    """How many ratings are on each side of the thresholds, which the names say."""
    if not data.rated:
        return {}
    return {
        f"ratings_of_{liked:g}_or_more": int((data.value >= liked).sum()),
        f"ratings_below_{disliked:g}": int((data.value < disliked).sum()),
    }


def _divided(data: Clicks, rows: np.ndarray, settings: FieldSettings, rng: np.random.Generator) -> list[np.ndarray]:
    """Random, or by time with the newest last; equal times at random."""
    order = rng.permutation(rows)
    if settings.split == "time":
        if undated := int((data.time[rows] == NO_TIME).sum()):
            raise InputError(f"{undated} of {len(rows)} events have no time; say split: random")
        order = order[np.argsort(data.time[order], kind="stable")]
    test, validation = (round(share * len(order)) for share in (settings.test_share, settings.validation_share))
    train = len(order) - test - validation
    return np.split(order, [train, train + validation])


def _given(data: Clicks, rows: np.ndarray) -> list[np.ndarray]:
    parts = [rows[data.part[rows] == number] for number in range(len(PARTS))]
    if not len(parts[0]) or not len(parts[2]):
        raise InputError(f"split given: the events need sources called {', '.join(PARTS)}; ingest each under its name")
    return parts


def with_negatives(
    clicks: Examples, negatives: Negatives, pool: np.ndarray, per_click: int, generator: torch.Generator
) -> Examples:
    """The clicks, and for each of them `per_click` items of the pool (N,) that the user did not click; `negatives` have
    the places in it. A user who clicked every item gets none."""
    user = torch.from_numpy(clicks.user)
    user = user[negatives.possible(user)]
    item = pool[negatives.draw(user, per_click, generator).flatten().numpy()]
    return Examples(
        np.concatenate([clicks.user, user.repeat_interleave(per_click).numpy()]),
        np.concatenate([clicks.item, item]),
        np.concatenate([clicks.label, np.zeros(len(item), np.float32)]),
    )
