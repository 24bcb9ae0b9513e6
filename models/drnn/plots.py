"""Plots of a Dynamic RNN fit: weight of the past by its age, and how many months ahead its lists are right."""

import numpy as np
import torch

from reelmill.models.core import charts
from reelmill.models.core.plots import Plots, numbers
from reelmill.models.drnn.model import DRNN
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.protocols.next_videos.history import MONTH_MS, Past

MONTHS = 12
"""Ages of watches and posts that the plot tells apart."""


def plots(task: DRNNTask, model: DRNN) -> Plots:
    """Weight in u (eq. 2) of watches and posts by their age, mean over the test users; and precision, recall and F of
    the users' lists against each later month alone."""
    chosen, who = task.settings, torch.from_numpy(task.test).to(task.device)
    until = int(task.split.moments[chosen.known_months - 1])
    when = torch.full_like(who, until)
    watched, posted = task.watched.until(who, when), task.posted.until(who, when)
    if chosen.cold_start:
        watched = Past.nothing(len(who), task.device)
    read = {"watched videos": watched if chosen.reads_topics else None, "posts": posted if chosen.reads_posts else None}
    shares = {name: _ages(past, model.decay) for name, past in read.items() if past is not None and past.known.any()}
    drawn: Plots = {}
    if shares:
        ticks = [str(month) if month % 2 == 0 else "" for month in range(MONTHS)] + [f"{MONTHS}+"]
        each = {name: share / len(shares) for name, share in shares.items()}
        drawn["memory"] = charts.stacked(ticks, each, "age of the watch or post, months", "share of u")

    lists = numbers(model.recommend(watched, posted, chosen.list_length)[0])
    given, seen = _ahead(task, until, lists)
    precision = given.sum(axis=0) / lists.size
    recall = (given / np.maximum(seen, 1)).sum(axis=0) / np.maximum((seen > 0).sum(axis=0), 1)
    f = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    lines = {"precision": precision, "recall": recall, "F": f}
    return drawn | {"months": charts.curves(lines, "month after the known history", "metric of the list")}


def _ages(past: Past, decay: float) -> np.ndarray:
    """(MONTHS + 1,) mean share of the weights e^{−λ·age} in the sum of their row, by whole months of age; over the rows
    that have any watch or post."""
    age, row = numbers(past.age), numbers(past.row)
    weight = np.exp(-decay * age)
    share = weight / np.bincount(row, weight)[row]
    return np.bincount(np.minimum(age.astype(int), MONTHS), share, MONTHS + 1) / int(past.known.sum())


def _ahead(task: DRNNTask, until: int, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many videos each test user watches for the first time after `until`, in each month after it: those that their
    list (C, k) holds (C, m), and all (C, m)."""
    user, video, ms = task.split.watched
    place = np.full(len(task.split.users), -1)
    place[task.test] = np.arange(len(task.test))
    here = np.flatnonzero((place[user] >= 0) & (ms >= until))
    here = here[np.argsort(ms[here], kind="stable")]
    here = here[np.unique(place[user[here]] * task.n + video[here], return_index=True)[1]]
    case, month = place[user[here]], (ms[here] - until) // MONTH_MS
    hit = (lists[case] == video[here][:, None]).any(axis=1)
    given, seen = np.zeros((2, len(task.test), int(month.max()) + 1))
    np.add.at(seen, (case, month), 1)
    np.add.at(given, (case[hit], month[hit]), 1)
    return given, seen
