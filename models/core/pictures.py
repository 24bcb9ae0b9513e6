"""Pictures of a fit, drawn when it is done: its curves, what groups of users get, and what its paper looks at.

A recommender's own pictures are one function and one line in `PICTURES`. Each takes the task and the settled model and
gives {name of the picture: SVG file}; a picture that has nothing to show is left out. They read what the task and the
model offer anyone, train nothing and change nothing; equal fits give equal files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from reelmill.models.core import charts
from reelmill.models.drnn.model import DRNN
from reelmill.models.drnn.task import DRNNTask
from reelmill.models.jifr.model import JIFR
from reelmill.models.jifr.task import JIFRTask
from reelmill.models.multimodal.model import Multimodal
from reelmill.models.prnet.model import PRNet
from reelmill.models.prnet.task import PRNetTask
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.models.protocols.items_and_frames.frames import Frames
from reelmill.models.protocols.next_videos.history import MONTH_MS, Past
from reelmill.models.transgrec.model import TransGRec
from reelmill.models.transgrec.task import TransGRecTask

Plots: TypeAlias = dict[str, bytes]

ITEMS = 1000
"""That t-SNE places, as in TransGRec's fig. 5."""
CASES = 3
"""Test users of PR-Net whose attention is drawn; the paper has four."""
HISTORIES = 8
"""Past highlights of each, those that ever weigh most."""
FRAMED = 6
"""Items of JIFR whose frames are drawn."""
EXAMPLES = 8192
"""Test examples that the multimodal model is asked to explain."""
TRAINED = {"new": (0, 1), "1–7": (1, 8), "8–31": (8, 32), "32 +": (32, 1 << 62)}
"""Groups of users by their training examples."""
MONTHS = 12
"""Ages of deeds that the Dynamic RNN's picture tells apart."""


def draw(
    name: str, task: Any, model: Any, history: Sequence[Mapping[str, Any]], best: int, tables: Mapping[str, Any]
) -> Plots:
    """All pictures of a fit of the recommender `name`, {name: SVG file}. `history`: the figures of each epoch, of which
    number `best` gave the model; `tables`: what `task.evaluate` gave."""
    curves = {key: np.array([row[key] for row in history]) for key in history[0] if key not in ("epoch", "seconds")}
    checked = {k.removeprefix("validation_"): v for k, v in curves.items() if k.startswith("validation_")}
    loss = {key: values for key, values in curves.items() if not key.startswith("validation_")}
    plots = {"loss": charts.curves(loss, "epoch", "mean over the epoch", best)}
    if checked:
        plots["validation"] = charts.curves(checked, "epoch", "validation", best)
    if tables.get("by_sparsity"):
        plots["groups"] = charts.groups(tables["by_sparsity"], name)
    with torch.no_grad():
        return plots | (PICTURES[name](task, model) if name in PICTURES else {})


def transgrec(task: TransGRecTask, model: TransGRec) -> Plots:
    """Fig. 5: t-SNE of v⁰, v and v̂ of up to `ITEMS` training items, placed together, in the paper's colours. At depth
    0, v is v⁰ and left out."""
    from sklearn.manifold import TSNE  # takes a second or two to import, and nothing else needs it

    _, y, _, v = model.propagate(task.graph)
    forms = {"v⁰ before the graph": y, "v̂ transferred": model.embed(task.graph.features)}
    colours = {"v⁰ before the graph": "#dc2626", "v after it": "#2563eb", "v̂ transferred": "#16a34a"}
    if model.settings.depth:
        forms["v after it"] = v
    chosen = np.sort(np.random.default_rng(task.settings.seed).permutation(len(y))[:ITEMS])
    points = np.concatenate([_numbers(form)[chosen] for form in forms.values()])
    if len(points) < 6 or np.ptp(points, axis=0).max() < 1e-6:
        return {}
    start = "pca" if points.shape[1] > 1 else "random"
    near = min(30, (len(points) - 1) // 3)
    place = TSNE(perplexity=near, init=start, max_iter=500, random_state=task.settings.seed).fit_transform(points)
    parts = dict(zip(forms, np.split(place, len(forms)), strict=True))
    return {"t_sne": charts.scatter(parts, [colours[name] for name in parts])}


def prnet(task: PRNetTask, model: PRNet) -> Plots:
    """Fig. 7 over whole videos: the weights of past highlights and of the generic preference at every step, and which
    steps the user marked; of the test users with the longest histories."""
    if model.settings.pooling == "mean" or model.settings.history_size == 0:
        return {}
    cases, data, plots = task.test, task.data, {}
    known = (task.past.of(cases.user, cases.video) >= 0).sum(1)
    for number, case in enumerate(np.argsort(-known, kind="stable")[:CASES].tolist()):
        user, video = cases.user[case], cases.video[case]
        query, reasons = task.reasons(model, case)
        past = task.past.of(np.array([user]), np.array([video]))[0]
        own = _numbers(reasons.attention[0] * (1 - reasons.generic[0])[:, None]).T  # histories, T
        first = np.argsort(-own.max(axis=1), kind="stable")[:HISTORIES]
        steps = np.arange(data.steps.start[video], data.steps.start[video + 1])
        marked = np.isin(user * len(data.steps) + steps, data.positive)
        rows = np.concatenate([marked[None], _numbers(reasons.generic), own[first]])
        rows[:, ~_numbers(query.valid[0])] = np.nan
        told = zip(data.video[past[first]], data.steps.start_ms[data.first[past[first]]], strict=True)
        names = [f"{charts.short(data.videos[v], 14)} {_clock(ms)}" for v, ms in told]
        plots[f"attention_{number + 1}"] = charts.heat(
            rows,
            ["marked by the user", "generic preference", *names],
            (),
            "step of the video",
            f"{data.users[user]} on {data.videos[video]}",
        )
    return plots


def jifr(task: JIFRTask, model: JIFR) -> Plots:
    """α over the frames of the most rated items, each with its raters' mean weight of sight (β₂); and how that weight
    spreads over the items."""
    plots: Plots = {}
    counts = task.data.frame_count[task.split.items]
    rated = np.bincount(task.split.train[1], minlength=task.n)
    user, item = (torch.from_numpy(np.ascontiguousarray(ids)).to(task.device) for ids in task.split.train)
    sight = np.bincount(task.split.train[1], _numbers(model.balance(user, item))[:, 1], task.n) / np.maximum(rated, 1)
    several = np.flatnonzero(counts > 1)
    chosen = several[np.argsort(-rated[several], kind="stable")][:FRAMED]
    if model.visual is not None and len(chosen):
        raw = torch.from_numpy(np.concatenate(list(task.data.vectors(task.split.items[chosen])))).to(task.device)
        start = torch.from_numpy(np.concatenate([[0], np.cumsum(counts[chosen])])).to(task.device)
        alpha = model.attend(torch.from_numpy(chosen).to(task.device), Frames(model.standardise(raw), start))
        names = [task.data.items[task.split.items[i]] for i in chosen]
        titles = [f"{charts.short(name, 12)} · β₂ {sight[i]:.2f}" for name, i in zip(names, chosen, strict=True)]
        panels = zip(titles, np.split(_numbers(alpha), _numbers(start)[1:-1]), strict=True)
        plots["frames"] = charts.small_bars(list(panels), "frame", "α")
    if model.rating is not None:
        percent = np.rint(100 * sight[counts > 0]).astype(int)
        plots["sight"] = charts.histogram(percent, "β₂ of an item, per cent (by sight)", "items")
    return plots


def multimodal(task: ClickTask, model: Multimodal) -> Plots:
    """Mean weights of the modalities for groups of users, and mean weights M_ij of the field pairs (eq. 8), over test
    examples."""
    test, plots = task.test(), {}
    chosen = np.sort(np.random.default_rng(task.settings.seed).permutation(len(test))[:EXAMPLES])
    user, item = test.user[chosen], test.item[chosen]
    seen = model.explain(task.values(*(torch.from_numpy(ids).to(task.device) for ids in (user, item))))
    if model.fusion is not None:
        weights = _numbers(seen.modalities)
        trained = np.bincount(task.split.train.user, minlength=len(task.data.users))[user]
        inside = {name: (low <= trained) & (trained < high) for name, (low, high) in TRAINED.items()}
        inside = {name: rows & (weights.sum(1) > 0) for name, rows in inside.items()}
        inside = {name: rows for name, rows in inside.items() if rows.any()}
        ticks = [f"{name}\n{len(np.unique(user[rows])):,} users" for name, rows in inside.items()]
        means = np.stack([weights[rows].mean(axis=0) for rows in inside.values()])
        shares = dict(zip(model.modality_names, means.T, strict=True))
        plots["modalities"] = charts.stacked(ticks, shares, "training examples of the user", "mean weight")
    if model.crossed is not None and model.pair_names:
        names = model.field_names
        square = np.full((len(names), len(names)), np.nan)
        for (i, j), weight in zip(model.pair_names, _numbers(seen.crossing).mean(axis=0), strict=True):
            square[names.index(j), names.index(i)] = weight
        strongest = " × ".join(model.pair_names[int(seen.crossing.mean(0).argmax())])
        plots["pairs"] = charts.heat(square[1:, :-1], names[1:], names[:-1], "", f"strongest: {strongest}", None)
    return plots


def drnn(task: DRNNTask, model: DRNN) -> Plots:
    """What a deed's age leaves of its weight in u (eq. 2), on average over the test users; and precision, recall and F
    of their lists against each later month alone."""
    chosen, who = task.settings, torch.from_numpy(task.test).to(task.device)
    until = int(task.split.moments[chosen.known_months - 1])
    when = torch.full_like(who, until)
    watched, posted = task.watched.until(who, when), task.posted.until(who, when)
    if chosen.cold_start:
        watched = Past.nothing(len(who), task.device)
    read = {"watched videos": watched if chosen.reads_topics else None, "posts": posted if chosen.reads_posts else None}
    shares = {name: _ages(past, model.decay) for name, past in read.items() if past is not None and past.known.any()}
    plots: Plots = {}
    if shares:
        ticks = [str(month) if month % 2 == 0 else "" for month in range(MONTHS)] + [f"{MONTHS}+"]
        each = {name: share / len(shares) for name, share in shares.items()}
        plots["memory"] = charts.stacked(ticks, each, "age of the deed, months", "share of u")

    lists = _numbers(model.recommend(watched, posted, chosen.list_length)[0])
    given, seen = _ahead(task, until, lists)
    precision = given.sum(axis=0) / lists.size
    recall = (given / np.maximum(seen, 1)).sum(axis=0) / np.maximum((seen > 0).sum(axis=0), 1)
    f = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    lines = {"precision": precision, "recall": recall, "F": f}
    return plots | {"months": charts.curves(lines, "month after what is known", "of the list")}


PICTURES: dict[str, Callable[[Any, Any], Plots]] = {
    "transgrec": transgrec,
    "jifr": jifr,
    "prnet": prnet,
    "multimodal": multimodal,
    "drnn": drnn,
}
"""{recommender: its own pictures}."""


def _ages(past: Past, decay: float) -> np.ndarray:
    """(MONTHS + 1,) mean share of a deed's weight e^{−λ·age} in its row's sum, by whole months of age; over the rows
    that have a deed."""
    age, row = _numbers(past.age), _numbers(past.row)
    weight = np.exp(-decay * age)
    share = weight / np.bincount(row, weight)[row]
    return np.bincount(np.minimum(age.astype(int), MONTHS), share, MONTHS + 1) / int(past.known.sum())


def _ahead(task: DRNNTask, until: int, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many videos each test user watches for the first time after `until`, in each month after it: those that her
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


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _clock(milliseconds: int) -> str:
    minutes, seconds = divmod(int(milliseconds) // 1000, 60)
    return f"{minutes}:{seconds:02d}"
