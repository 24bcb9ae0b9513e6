"""What every recommender has in common, and what the trainer (`fit`) asks of it.

A recommender is one file with a settings class, a model and a task, and one line in `registry`:

    settings    what the caller chooses, a frozen dataclass
    model       the paper's equations, a plain nn.Module with `loss(batch)` and `score(...)`
    task        data ready for training: batches, validation, evaluation by the paper's protocol
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from reelmill.storage.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What every fit needs to know. A recommender adds its own."""

    seed: int = 0
    """Of the split, the initial weights, the batches and the bootstrap. Equal seeds, equal results."""
    epochs: int = 200
    """At most so many rounds over the training positives."""
    patience: int = 20
    """Stop after so many epochs without a better validation figure; 0 never stops early."""
    batch: int = 50
    """Training examples a step."""
    learning_rate: float = 1e-3
    """Of the optimiser: Adam's, or that of the one that the recommender's settings name."""

    def __post_init__(self) -> None:
        self.at_least(seed=0, epochs=1, patience=0, batch=1)
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate {self.learning_rate}: must be above 0, try 1e-3")

    def at_least(self, **least: float) -> None:
        """Raise InputError if a setting is smaller than the number given here."""
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise InputError(f"{name} {getattr(self, name)}: must be at least {bound}")

    def at_most(self, **most: float) -> None:
        """Raise InputError if a setting is larger than the number given here."""
        for name, bound in most.items():
            if not getattr(self, name) <= bound:
                raise InputError(f"{name} {getattr(self, name)}: must be at most {bound}")

    def one_of(self, **choices: Sequence[str]) -> None:
        """Raise InputError if a setting is none of the words given here."""
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} {value!r}: {nearest(str(value), list(known))}")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as they stand in `settings.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`. A missing setting takes its default; an unknown one, or one of another type than its
        default, raises InputError."""
        kinds = {f.name: type(f.default) for f in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in kinds:
                raise InputError(f"{cls.__name__} has no setting {name!r}: {nearest(name, list(kinds))}")
            given[name] = float(value) if kinds[name] is float and type(value) is int else value
            if type(given[name]) is not kinds[name]:
                raise InputError(f"{name} {value!r}: must be of type {kinds[name].__name__}")
        return cls(**given)


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


class Data(Protocol):
    """What a recommender loads from a root: enough to name a run before anything is computed."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that training and evaluation see."""

    @property
    def stores(self) -> dict[str, str]:
        """{role: name of the feature store}, as the recommender's `roles` name them."""


class Task(Protocol):
    """Data, split and protocol of one fit, ready on the device."""

    @property
    def watch(self) -> str:
        """Name of the validation figure that decides; higher is better."""

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
