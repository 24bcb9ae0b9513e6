"""Plots of a PR-Net fit: attention over past highlights, for each step of a video (fig. 7)."""

import numpy as np

from reelmill.models.core import charts
from reelmill.models.core.plots import Plots, numbers
from reelmill.models.prnet.model import PRNet
from reelmill.models.prnet.task import PRNetTask

CASES = 3
"""Test users whose attention is drawn; the paper has four."""
HISTORIES = 8
"""Past highlights shown for each, those with the largest weight at any step."""


def plots(task: PRNetTask, model: PRNet) -> Plots:
    """Fig. 7 over whole videos: the weights of past highlights and of the generic preference at every step, and the
    steps that the user marked, for the test users with the longest histories."""
    if model.settings.pooling == "mean" or model.settings.history_size == 0:
        return {}
    cases, data, drawn = task.test, task.data, {}
    known = (task.past.of(cases.user, cases.video) >= 0).sum(1)
    for number, case in enumerate(np.argsort(-known, kind="stable")[:CASES].tolist()):
        user, video = cases.user[case], cases.video[case]
        query, reasons = task.reasons(model, case)
        past = task.past.of(np.array([user]), np.array([video]))[0]
        own = numbers(reasons.attention[0] * (1 - reasons.generic[0])[:, None]).T  # histories, T
        first = np.argsort(-own.max(axis=1), kind="stable")[:HISTORIES]
        steps = np.arange(data.steps.start[video], data.steps.start[video + 1])
        marked = np.isin(user * len(data.steps) + steps, data.positive)
        rows = np.concatenate([marked[None], numbers(reasons.generic), own[first]])
        rows[:, ~numbers(query.valid[0])] = np.nan
        told = zip(data.video[past[first]], data.steps.start_ms[data.first[past[first]]], strict=True)
        names = [f"{charts.short(data.videos[v], 14)} {_clock(ms)}" for v, ms in told]
        drawn[f"attention_{number + 1}"] = charts.heat(
            rows,
            ["marked by the user", "generic preference", *names],
            (),
            "step of the video",
            f"{data.users[user]} on {data.videos[video]}",
        )
    return drawn


def _clock(milliseconds: int) -> str:
    minutes, seconds = divmod(int(milliseconds) // 1000, 60)
    return f"{minutes}:{seconds:02d}"
