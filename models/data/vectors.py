"""Vectors of videos out of a feature store."""

import numpy as np

from reelmill.storage import Block, FeatureStore
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA

CHUNK = 4096
"""Vectors read at once where all of them pass by: 64 MiB of 4096 float32."""


def usable(block: Block) -> np.ndarray:
    """(rows,) bool: decoded and finite."""
    return (block.mask > NO_DATA) & np.isfinite(block.features).all(axis=1)


def mean_vectors(store: FeatureStore, items: list[str]) -> tuple[np.ndarray, dict[str, int]]:
    """(items, dim) float32, the mean over the usable rows of each item, NaN where it has none; and what was lost."""
    if store.spec.rows == "post":
        raise InputError(f"store {store.spec.name} has one row a post of a user; this model needs rows of videos")
    out = np.full((len(items), store.spec.dim), np.nan, np.float32)
    absent = empty = not_finite = 0
    for place, video in enumerate(items):  # a block is a view of the memory map: one read for each item
        if video not in store:
            absent += 1
            continue
        block = store.read(video)
        valid = block.mask > NO_DATA
        usable = valid & np.isfinite(block.features).all(axis=1)
        empty, not_finite = empty + int((~valid).sum()), not_finite + int((valid & ~usable).sum())
        if usable.any():
            out[place] = block.features[usable].mean(axis=0, dtype=np.float64)
    without = int(np.isnan(out[:, 0]).sum())
    if without == len(items):
        raise InputError(f"{store.spec.name} holds no usable row of any item with events; extract them first")
    return out, {
        "items_without": without,
        "items_not_extracted": absent,
        "rows_without_data": empty,
        "rows_not_finite": not_finite,
    }


def means(store: FeatureStore, items: list[str]) -> np.ndarray:
    """(items, dim) float32, the mean over the usable rows of each, NaN where there is none."""
    out = np.full((len(items), store.spec.dim), np.nan, np.float32)
    for place, item in enumerate(items):  # a block is a view of the memory map: one read for each item
        if item in store and (kept := usable(block := store.read(item))).any():
            out[place] = block.features[kept].mean(axis=0, dtype=np.float64)
    return out
