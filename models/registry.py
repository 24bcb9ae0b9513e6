"""The recommenders by name. A new one is one new file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models import data, transgrec, transgrec_task
from models.base import Data, FitSettings, Model, Task
from storage.errors import InputError, nearest


@dataclass(frozen=True)
class Recommender:
    """The four things that `fit` and `runs` need of a recommender."""

    settings: type[FitSettings]
    load: Callable[[str | Path, str], Data]
    """(root, store) → data, with its fingerprint."""
    task: Callable[[Any, Any, torch.device], Task]
    """(data, settings, device) → task."""
    model: Callable[..., Model]
    """(settings, **sizes) → an empty model, to be filled from a checkpoint."""
    version: int
    """Raised when the code changes the numbers; part of a run's identity."""


RECOMMENDERS: dict[str, Recommender] = {
    "transgrec": Recommender(
        transgrec.TransGRecSettings, data.load, transgrec_task.TransGRecTask, transgrec.TransGRec, version=1
    ),
}


def find(name: str) -> Recommender:
    """The recommender of this name. Raises InputError."""
    if name not in RECOMMENDERS:
        raise InputError(f"model {name!r}: {nearest(name, list(RECOMMENDERS))}")
    return RECOMMENDERS[name]
