"""Fit a recommender: load, train, stop, evaluate, draw, write. Reads from top to bottom.

    result = train("root", "c3d-fc6", TransGRecSettings(epochs=50))
    print(result.folder, result.metrics["rows"])

Why a trainer of our own and not Lightning: the loop is `_epochs` and `_epoch`, some fifty lines. Lightning would give
several devices, mixed precision, gradient accumulation and a choice of loggers; no model here is large enough to want
the first three. What a fit here needs it has not, or not without being worked around: several optimisers that take
turns on one batch are its "manual optimisation", in which its loop does little more than fetch batches; a run that is
found by its identity and skipped when it is complete; one checkpoint, at the end of an epoch, that replaces the last
one in a single rename and holds the state of the generators, so that a fit killed at any moment ends with the numbers
of one that never was; and batches that a task draws on the device from a generator, with no loader and no workers.
"""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from reelmill.models import registry
from reelmill.models.core import logs
from reelmill.models.core.base import Model, Task
from reelmill.models.core.logs import Log
from reelmill.models.core.pictures import draw
from reelmill.models.core.runs import Run, load, open_run
from reelmill.models.core.settings import FitSettings
from reelmill.storage.errors import InputError
from reelmill.storage.features import verify
from reelmill.storage.place import AnyPath

SAVE_EVERY_S = 20.0
"""A kill costs at most so many seconds of training."""

OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number, from 1, and its figures."""


@dataclass(frozen=True)
class FitResult:
    """What came of a fit."""

    folder: AnyPath
    metrics: dict[str, Any]
    """The content of `metrics.json`: `rows`, `by_sparsity`, `counts`, `fit`."""
    counts: dict[str, int]
    skipped: bool
    """True if a complete run of the same identity was found and nothing was fitted."""
    written: dict[str, str] = field(default_factory=dict)
    """{layer: feature store} of a model whose vectors others read: every video of the root is in it now."""


def train(
    root: str | Path,
    stores: str | Mapping[str, str] | None = None,
    settings: FitSettings | None = None,
    *,
    model: str = "transgrec",
    device: str = "auto",
    on_epoch: OnEpoch | None = None,
    save_every_s: float = SAVE_EVERY_S,
    logger: str = "tensorboard",
    pictures: bool = True,
) -> FitResult:
    """Fit `model` on a root's tables and feature stores; go on where a killed fit stopped.

    `stores`: the name of the store for a model that reads one, else {role: name} for those roles that are not to take
    their default (`registry`). `logger`: `tensorboard` or `none` (`logs`). `pictures`: draw the run's plots, which
    takes some seconds (`pictures`). Neither is part of the run's identity."""
    recommender, open_log = registry.find(model), logs.find(logger)
    settings = settings if settings is not None else recommender.settings()
    if not isinstance(settings, recommender.settings):
        raise InputError(f"{model} takes {recommender.settings.__name__}, not {type(settings).__name__}")
    data = recommender.load(root, **registry.stores_of(model, stores))
    run = open_run(root, model, settings, data)
    if run.complete:
        metrics = run.metrics()
        return FitResult(run.folder, metrics, metrics["counts"], skipped=True, written=_written(root, run, recommender))
    for name in data.stores.values():
        for wrong in verify(root, name):
            raise wrong  # a flipped bit would train on in silence

    task = recommender.task(data, settings, find_device(device))
    fit = _Fit(task, settings, find_device(device))
    if (saved := run.progress()) is not None:
        fit.restore(saved)
    with open_log(run.logs, fit.history) as log:
        _epochs(fit, run, log, on_epoch, save_every_s)
        fit.network.load_state_dict(fit.best["state"])
        fit.network.eval()
        tables = task.evaluate(fit.network)
        log.result(settings.to_dict(), {r["metric"]: r["mean"] for r in tables["rows"] if r["row"] == model})

    plots = draw(model, task, fit.network, fit.history, fit.best["epoch"], tables) if pictures else {}
    metrics = {**tables, "counts": task.counts, "fit": _summary(fit)}
    checkpoint = {
        "model": model,
        "settings": settings.to_dict(),
        "sizes": fit.network.sizes,
        "state": {name: value.cpu() for name, value in fit.network.state_dict().items()},
        "identities": task.identities(),
        "stores": data.stores,
        "data": data.fingerprint,
        "code_version": recommender.version,
        "epoch": fit.best["epoch"],
    }
    run.finish(checkpoint, fit.history, plots, metrics)
    return FitResult(run.folder, metrics, task.counts, skipped=False, written=_written(root, run, recommender))


def _written(root: str | Path, run: Run, recommender: registry.Recommender) -> dict[str, str]:
    """Write what the stores of a complete run lack: after the run, so that a killed writer is made up for by the next
    call, as are videos that have come since."""
    if recommender.write is None:
        return {}
    fitted = load(run.folder)
    return recommender.write(root, run.folder.name, fitted.model, fitted.stores)


def settings_for(model: str, options: Mapping[str, Any]) -> FitSettings:
    """A recommender's settings from plain options. Raises InputError for an unknown model, setting or value."""
    return registry.find(model).settings.from_dict(options)


def find_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU; any other name must exist. Raises InputError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this machine has no usable GPU; say auto or cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: {error}") from error


class _Fit:
    """Everything that changes while training, so that it can be saved and restored as one."""

    def __init__(self, task: Task, settings: FitSettings, device: torch.device) -> None:
        self.task, self.settings = task, settings
        self.network: Model = task.model(torch.Generator().manual_seed(settings.seed))
        self.optimizers = [self.network.optimizer(group, settings.learning_rate) for group in self.network.turns()]
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "value": float("-inf"), "state": {}}

    @property
    def finished(self) -> bool:
        patience = self.settings.patience
        stale = patience > 0 and self.best["epoch"] > 0 and self.epoch - self.best["epoch"] >= patience
        return self.epoch >= self.settings.epochs or stale

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.generator.set_state(saved["generator"])
        self.epoch, self.history, self.best = saved["epoch"], saved["history"], saved["best"]


def _epochs(fit: _Fit, run: Run, log: Log, on_epoch: OnEpoch | None, save_every_s: float) -> None:
    """Train until the epochs or the patience are used up."""
    saved_at = time.monotonic()
    while not fit.finished:
        started = time.monotonic()
        figures = _epoch(fit)
        fit.epoch += 1
        fit.network.eval()
        checked = fit.task.validate(fit.network)
        # Without validation cases the last epoch is the best one.
        value = checked.get(fit.task.watch, float(fit.epoch))
        if value > fit.best["value"]:
            fit.best = {"epoch": fit.epoch, "value": value, "state": deepcopy(fit.network.state_dict())}
        figures |= {f"validation_{name}": number for name, number in checked.items()}
        figures["seconds"] = time.monotonic() - started
        fit.history.append({"epoch": fit.epoch, **figures})
        log.epoch(fit.history[-1])
        if time.monotonic() - saved_at >= save_every_s:
            run.save_progress(fit.state())
            saved_at = time.monotonic()
        if on_epoch is not None:
            on_epoch(fit.epoch, figures)


def _epoch(fit: _Fit) -> dict[str, float]:
    """One round over the training positives; mean of each term of the loss. Raises InputError if the loss diverges."""
    fit.network.train()
    sums: dict[str, torch.Tensor] = {}
    steps = 0
    for batch in fit.task.batches(fit.generator):
        steps += 1
        for turn, optimizer in enumerate(fit.optimizers):
            terms = fit.network.loss(batch, turn)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            for name, value in terms.items():
                name = name if turn == 0 or name != "loss" else f"loss_{turn}"
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
    figures = {name: float(total) / steps for name, total in sums.items()}
    if not all(abs(value) < float("inf") for value in figures.values()):
        raise InputError(f"the loss diverged ({figures}); lower learning_rate or check the features")
    return figures


def _summary(fit: _Fit) -> dict[str, Any]:
    known = fit.task.watch if f"validation_{fit.task.watch}" in fit.history[-1] else None
    return {
        "epochs": fit.epoch,
        "best_epoch": fit.best["epoch"],
        "watch": known,
        "best_validation": fit.best["value"] if known else None,
        "seconds": sum(row["seconds"] for row in fit.history),
    }
