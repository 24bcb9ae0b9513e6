"""What a recommender consists of, and what training asks of it.

settings    options of a fit, a frozen dataclass (`settings`)
data        what it loads from a root
model       the paper's equations, an nn.Module with `loss(batch)` and `score(...)`
task        data ready for training: batches, validation, evaluation by the paper's protocol
fitted      a model rebuilt from the checkpoint of a run
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from reelmill.models.core.settings import FitSettings
from reelmill.storage.errors import InputError

if TYPE_CHECKING:
    from reelmill.models.data.accounts import Account


class Model(nn.Module):
    """A recommender's network. `sizes` and the settings rebuild it; its state then comes from a checkpoint."""

    sizes: dict[str, int]

    def turns(self) -> list[list[nn.Parameter]]:
        """Groups of parameters that are updated one after another on each batch, each by its own optimiser."""
        return [list(self.parameters())]

    def optimizer(self, group: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """What updates one group of parameters. Weight decay, where there is any, is part of `loss`."""
        return torch.optim.Adam(group, lr=learning_rate, fused=True)

    def loss(self, batch: Any, turn: int = 0) -> dict[str, Tensor]:
        """Terms of the loss of one batch, scalars, for one group of parameters. `loss` is the one to minimise."""
        raise NotImplementedError


class ClosedForm(Model):
    """A model that is computed without gradients: in place of `loss`, training calls `solve` with each batch. Its state
    is in buffers. A fit of one epoch is done or not: one that was killed starts again."""

    passes: int | None = 1
    """After so many epochs another one would change nothing; None if each goes on where the last one ended. The setting
    `epochs` may be lower."""

    def turns(self) -> list[list[nn.Parameter]]:
        return []

    def solve(self, batch: Any) -> dict[str, Tensor]:
        """Take in one batch; figures of it for the history, scalars."""
        raise NotImplementedError


class Data(Protocol):
    """What a recommender loads from a root: enough to name a run before anything is computed."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that training and evaluation see."""

    @property
    def stores(self) -> dict[str, str]:
        """{role: name of the feature store}, as the recommender's `roles` name them."""

    @property
    def accounts(self) -> "tuple[Account, ...]":
        """Where each row of the tables went: used, or left out by which rule."""


class Task(Protocol):
    """Data, split and protocol of one fit, ready on the device."""

    @property
    def watch(self) -> str:
        """Name of the validation figure that decides when to stop; `metrics.table` knows which direction is better."""

    @property
    def counts(self) -> dict[str, int]:
        """What was used and what was left out, and why."""

    def model(self, generator: torch.Generator) -> Model:
        """A fresh model on the device; `generator` (on the CPU) draws its weights, so devices start alike."""

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """One epoch; `generator` (on the device) draws order and negatives."""

    def validate(self, model: Any) -> dict[str, float]:
        """Validation figures; leaves the model ready for `score`. Empty if there is nothing to validate on."""

    def evaluate(self, model: Any) -> dict[str, Any]:
        """The protocol's tables as plain data, `{"rows": […], …}`; leaves the model ready for `score`."""

    def identities(self) -> dict[str, list[str]]:
        """Names behind the model's rows, such as its users, for the checkpoint."""


@dataclass(frozen=True)
class Fitted:
    """A model rebuilt from its checkpoint, in evaluation mode."""

    model: Model
    name: str
    """Of the recommender."""
    settings: FitSettings
    stores: dict[str, str]
    """{role: name of the feature store} that it was fitted on."""
    identities: dict[str, list[str]]
    """{kind: names of the model's rows}, such as `users`."""
    sources: tuple[str, ...] = ()
    """The sources that were read; empty: all that the root had."""

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        return {kind: {name: row for row, name in enumerate(names)} for kind, names in self.identities.items()}

    def row(self, kind: str, name: str) -> int:
        """Row of a user (or other kind) by its name. Raises InputError if the model has never seen it."""
        try:
            return self._rows[kind][name]
        except KeyError:
            raise InputError(f"{name!r} is not among the {kind} that {self.name} was trained on") from None
