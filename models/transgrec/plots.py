"""Plots of a TransGRec fit: its items before and after the graph, and as transferred (fig. 5)."""

import numpy as np

from reelmill.models.core import charts
from reelmill.models.core.plots import Plots, numbers
from reelmill.models.transgrec.model import TransGRec
from reelmill.models.transgrec.task import TransGRecTask

ITEMS = 1000
"""At most so many items are embedded by t-SNE, as in fig. 5 of the paper."""


def plots(task: TransGRecTask, model: TransGRec) -> Plots:
    """Fig. 5: t-SNE of v⁰, v and v̂ of up to `ITEMS` training items, embedded together, in the paper's colours. At
    depth 0, v equals v⁰ and is left out."""
    from sklearn.manifold import TSNE  # takes a second or two to import, and nothing else needs it

    _, y, _, v = model.propagate(task.graph)
    forms = {"v⁰ before the graph": y, "v̂ transferred": model.embed(task.graph.features)}
    colours = {"v⁰ before the graph": "#dc2626", "v after it": "#2563eb", "v̂ transferred": "#16a34a"}
    if model.settings.depth:
        forms["v after it"] = v
    chosen = np.sort(np.random.default_rng(task.settings.seed).permutation(len(y))[:ITEMS])
    points = np.concatenate([numbers(form)[chosen] for form in forms.values()])
    if len(points) < 6 or np.ptp(points, axis=0).max() < 1e-6:
        return {}
    start = "pca" if points.shape[1] > 1 else "random"
    near = min(30, (len(points) - 1) // 3)
    place = TSNE(perplexity=near, init=start, max_iter=500, random_state=task.settings.seed).fit_transform(points)
    parts = dict(zip(forms, np.split(place, len(forms)), strict=True))
    return {"t_sne": charts.scatter(parts, [colours[name] for name in parts])}
