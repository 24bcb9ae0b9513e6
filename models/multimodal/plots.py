"""Plots of a fit of the multimodal click-through model: weights of modalities and of pairs of fields."""

import numpy as np
import torch

from reelmill.models.core import charts
from reelmill.models.core.plots import Plots, numbers
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.protocols.clicks.task import ClickTask

EXAMPLES = 8192
"""Test examples that the model is asked to explain."""
TRAINED = {"new": (0, 1), "1–7": (1, 8), "8–31": (8, 32), "32 +": (32, 1 << 62)}
"""Groups of users by their training examples."""


def plots(task: ClickTask, model: Multimodal) -> Plots:
    """Mean weights of the modalities for groups of users, and mean weights M_ij of the field pairs (eq. 8), over test
    examples."""
    test, drawn = task.test(), {}
    chosen = np.sort(np.random.default_rng(task.settings.seed).permutation(len(test))[:EXAMPLES])
    user, item = test.user[chosen], test.item[chosen]
    seen = model.explain(task.values(*(torch.from_numpy(ids).to(task.device) for ids in (user, item))))
    if model.fusion is not None:
        weights = numbers(seen.modalities)
        trained = np.bincount(task.split.train.user, minlength=len(task.data.users))[user]
        inside = {name: (low <= trained) & (trained < high) for name, (low, high) in TRAINED.items()}
        inside = {name: rows & (weights.sum(1) > 0) for name, rows in inside.items()}
        inside = {name: rows for name, rows in inside.items() if rows.any()}
        ticks = [f"{name}\n{len(np.unique(user[rows])):,} users" for name, rows in inside.items()]
        means = np.stack([weights[rows].mean(axis=0) for rows in inside.values()])
        shares = dict(zip(model.modality_names, means.T, strict=True))
        drawn["modalities"] = charts.stacked(ticks, shares, "training examples of the user", "mean weight")
    if model.crossed is not None and model.pair_names:
        names = model.field_names
        square = np.full((len(names), len(names)), np.nan)
        for (i, j), weight in zip(model.pair_names, numbers(seen.crossing).mean(axis=0), strict=True):
            square[names.index(j), names.index(i)] = weight
        strongest = " × ".join(model.pair_names[int(seen.crossing.mean(0).argmax())])
        drawn["pairs"] = charts.heat(square[1:, :-1], names[1:], names[:-1], "", f"strongest: {strongest}", None)
    return drawn
