"""Plots of a JIFR fit: attention over frames, and the weight of the visual part."""

import numpy as np
import torch

from reelmill.models.core import charts
from reelmill.models.core.plots import Plots, numbers
from reelmill.models.jifr.model import JIFR
from reelmill.models.jifr.task import JIFRTask
from reelmill.models.protocols.items_and_frames.frames import Frames

FRAMED = 6
"""Items whose frames are drawn."""


def plots(task: JIFRTask, model: JIFR) -> Plots:
    """α over the frames of the most rated items, each with the mean weight of the visual part (β₂) for the users who
    rated it; and a histogram of that weight over the items."""
    drawn: Plots = {}
    counts = task.data.frame_count[task.split.items]
    rated = np.bincount(task.split.train[1], minlength=task.n)
    user, item = (torch.from_numpy(np.ascontiguousarray(ids)).to(task.device) for ids in task.split.train)
    sight = np.bincount(task.split.train[1], numbers(model.balance(user, item))[:, 1], task.n) / np.maximum(rated, 1)
    several = np.flatnonzero(counts > 1)
    chosen = several[np.argsort(-rated[several], kind="stable")][:FRAMED]
    if model.visual is not None and len(chosen):
        raw = torch.from_numpy(np.concatenate(list(task.data.vectors(task.split.items[chosen])))).to(task.device)
        start = torch.from_numpy(np.concatenate([[0], np.cumsum(counts[chosen])])).to(task.device)
        alpha = model.attend(torch.from_numpy(chosen).to(task.device), Frames(model.standardise(raw), start))
        names = [task.data.items[task.split.items[i]] for i in chosen]
        titles = [f"{charts.short(name, 12)} · β₂ {sight[i]:.2f}" for name, i in zip(names, chosen, strict=True)]
        panels = zip(titles, np.split(numbers(alpha), numbers(start)[1:-1]), strict=True)
        drawn["frames"] = charts.small_bars(list(panels), "frame", "α")
    if model.rating is not None:
        percent = np.rint(100 * sight[counts > 0]).astype(int)
        drawn["sight"] = charts.histogram(percent, "β₂ of an item, per cent (visual part)", "items")
    return drawn
