"""Plots of a fit, drawn when it is done: those that every fit has, and the recommender's own (`plots` of its
descriptor). They read what the task and the model offer, train nothing and change nothing; equal fits give equal files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core import charts

Plots: TypeAlias = dict[str, bytes]
"""{name of the plot: SVG file}. A plot that has nothing to show is left out."""


def draw(
    name: str,
    own: Callable[[Any, Any], Plots] | None,
    task: Any,
    model: Any,
    history: Sequence[Mapping[str, Any]],
    best: int,
    tables: Mapping[str, Any],
) -> Plots:
    """All plots of a fit of the recommender `name`, `own` being its own ones. `history`: the figures of each epoch, of
    which number `best` gave the model; `tables`: what `task.evaluate` gave."""
    curves = {key: np.array([row[key] for row in history]) for key in history[0] if key not in ("epoch", "seconds")}
    checked = {k.removeprefix("validation_"): v for k, v in curves.items() if k.startswith("validation_")}
    loss = {key: values for key, values in curves.items() if not key.startswith("validation_")}
    plots = {"loss": charts.curves(loss, "epoch", "mean over the epoch", best)}
    if checked:
        plots["validation"] = charts.curves(checked, "epoch", "validation", best)
    if tables.get("by_sparsity"):
        plots["groups"] = charts.groups(tables["by_sparsity"], name)
    with torch.no_grad():
        return plots | (own(task, model) if own is not None else {})


def numbers(values: Tensor) -> np.ndarray:
    """A tensor of any device as an array."""
    return values.detach().cpu().numpy()
