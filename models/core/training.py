"""The training loop: epochs, early stopping, and one state that is saved and restored as a whole. Reads top to bottom.

Why a loop of our own and not Lightning: it is `run_epochs` and `run_epoch`, some fifty lines. Lightning would give
several devices, mixed precision, gradient accumulation and a choice of loggers; no model here is large enough to want
the first three. What a fit here needs Lightning does not have, or only by work-arounds: several optimisers that take
turns on one batch are its "manual optimisation", in which its loop does little more than fetch batches; a run that is
found by its identity and skipped when it is complete; one checkpoint, at the end of an epoch, that replaces the last
one in a single rename and holds the state of the generators, so that a fit killed at any moment ends with the same
numbers; and batches that a task draws on the device from a generator, with no loader and no workers.
"""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch

from reelmill.models.core.base import ClosedForm, Model, Task
from reelmill.models.core.logs import Log
from reelmill.models.core.settings import FitSettings
from reelmill.models.metrics.table import find
from reelmill.storage.errors import InputError

LONG_EPOCH_S = 4.0
"""The state is saved after each epoch that takes longer: who interrupts a fit does not wait for the next one's end."""
OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number, from 1, and its figures."""


class Training:
    """Everything that changes while training, so that it can be saved and restored as one."""

    def __init__(self, task: Task, settings: FitSettings, device: torch.device) -> None:
        self.task, self.settings = task, settings
        self.network: Model = task.model(torch.Generator().manual_seed(settings.seed))
        self.optimizers = [self.network.optimizer(group, settings.learning_rate) for group in self.network.turns()]
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.sign = -1 if find(task.watch).better == "lower" else 1
        self.best: dict[str, Any] = {"epoch": 0, "value": self.sign * float("-inf"), "state": {}}

    @property
    def finished(self) -> bool:
        """The epochs or the patience are used up, or a further epoch would change nothing."""
        patience = self.settings.patience
        stale = patience > 0 and self.best["epoch"] > 0 and self.epoch - self.best["epoch"] >= patience
        passes = self.network.passes if isinstance(self.network, ClosedForm) else None
        return self.epoch >= min(self.settings.epochs, passes or self.settings.epochs) or stale

    def state(self) -> dict[str, Any]:
        """For `restore`."""
        return {
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(saved["network"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.generator.set_state(saved["generator"])
        self.epoch, self.history, self.best = saved["epoch"], saved["history"], saved["best"]

    def use_best(self) -> Model:
        """The network with the weights of the best epoch, in evaluation mode."""
        self.network.load_state_dict(self.best["state"])
        return self.network.eval()

    def summary(self) -> dict[str, Any]:
        """Epochs, best epoch and its validation figure, seconds: `fit` of `metrics.json`."""
        watched = self.task.watch if f"validation_{self.task.watch}" in self.history[-1] else None
        return {
            "epochs": self.epoch,
            "best_epoch": self.best["epoch"],
            "watch": watched,
            "best_validation": self.best["value"] if watched else None,
            "seconds": sum(row["seconds"] for row in self.history),
        }


def run_epochs(
    training: Training,
    save: Callable[[dict[str, Any]], None],
    log: Log,
    on_epoch: OnEpoch | None,
    save_every_s: float,
) -> None:
    """Train until the epochs or the patience are used up; `save` takes the state every so many seconds, after a
    long epoch, and when `on_epoch` raises."""
    saved_at = time.monotonic()
    while not training.finished:
        started = time.monotonic()
        figures = run_epoch(training)
        training.epoch += 1
        training.network.eval()
        checked = training.task.validate(training.network)
        # Without validation cases the last epoch is the best one.
        value = checked.get(training.task.watch, training.sign * float(training.epoch))
        if training.sign * value > training.sign * training.best["value"]:
            best = deepcopy(training.network.state_dict())
            training.best = {"epoch": training.epoch, "value": value, "state": best}
        figures |= {f"validation_{name}": number for name, number in checked.items()}
        figures["seconds"] = time.monotonic() - started
        training.history.append({"epoch": training.epoch, **figures})
        log.epoch(training.history[-1])
        if figures["seconds"] >= LONG_EPOCH_S or time.monotonic() - saved_at >= save_every_s:
            save(training.state())
            saved_at = time.monotonic()
        if on_epoch is not None:
            try:
                on_epoch(training.epoch, figures)
            except BaseException:  # Ctrl-C, say: the next call goes on after this epoch
                save(training.state())
                raise


def run_epoch(training: Training) -> dict[str, float]:
    """One round over the training examples; mean of each term of the loss. Raises InputError if the loss diverges."""
    training.network.train()
    sums: dict[str, torch.Tensor] = {}
    steps = 0
    for batch in training.task.batches(training.generator):
        steps += 1
        for name, value in run_batch(training, batch):
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()
    figures = {name: float(total) / steps for name, total in sums.items()}
    if not all(abs(value) < float("inf") for value in figures.values()):
        raise InputError(f"the loss diverged ({figures}); lower learning_rate or check the features")
    return figures


def run_batch(training: Training, batch: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Each group of parameters is updated once, or a closed form takes the batch in; names and values of the terms."""
    if isinstance(training.network, ClosedForm):
        with torch.no_grad():
            yield from training.network.solve(batch).items()
    for turn, optimizer in enumerate(training.optimizers):
        terms = training.network.loss(batch, turn)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        for name, value in terms.items():
            yield name if turn == 0 or name != "loss" else f"loss_{turn}", value
