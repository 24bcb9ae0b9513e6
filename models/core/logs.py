"""Figures of a fit while it runs: TensorBoard's event files in the run's folder, so that runs can be watched and
compared (`tensorboard --logdir ROOT/runs`).

    loss/…            terms of the loss, mean over each epoch
    validation/…      validation figures of each epoch
    time/epoch_s      seconds of each epoch
    test/…            the test figures, once, beside the settings (the tab HParams compares runs by them)

Why TensorBoard and not MLflow: a run is a folder here, and an event file is one more file in it, which moves and is
deleted with it; torch has the writer; there is no server, no database and no second name for a run. MLflow's strength,
a registry of runs with an artefact store and a server for a team, would be a second record beside `settings.json` and
`metrics.json` that can fall out of step with them; its client also brings a database layer and a web framework along.

The event file is a convenience: `history.csv` and `metrics.json` hold the same figures, and nothing reads it back.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reelmill.storage.errors import InputError, nearest

FLUSH_S = 10
"""An epoch is visible in TensorBoard after so many seconds at the latest."""


class Log:
    """Where the figures of a fit go. This one keeps none; it is the logger `none`."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        """Of the run in `folder`, whose epochs so far are `history`."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """Take one epoch: its number as `epoch`, and its figures."""

    def result(self, settings: Mapping[str, Any], tested: Mapping[str, float]) -> None:
        """Take the test figures, with the settings that led to them."""

    def close(self) -> None:
        """Write what is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TensorBoard(Log):
    """Event files. A fit that goes on after a kill writes them anew from its history, so that each epoch is there once:
    those after the last checkpoint are trained again, and appending would log them twice."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and `none` does without

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer = SummaryWriter(str(folder), flush_secs=FLUSH_S)
        # Counted back from now, the clock shows seconds of training, without the gap between kill and resume.
        self.clock = time.time() - sum(row["seconds"] for row in history)
        for row in history:
            self.epoch(row)

    def epoch(self, figures: Mapping[str, Any]) -> None:
        self.clock += figures["seconds"]
        for name, value in figures.items():
            if name != "epoch":
                self.writer.add_scalar(_tag(name), value, figures["epoch"], walltime=self.clock)

    def result(self, settings: Mapping[str, Any], tested: Mapping[str, float]) -> None:
        figures = {f"test/{name}": value for name, value in tested.items()}
        self.writer.add_hparams(dict(settings), figures, run_name=".")  # a second file in the same folder

    def close(self) -> None:
        self.writer.close()


LOGGERS: dict[str, type[Log]] = {"tensorboard": TensorBoard, "none": Log}


def find(name: str) -> type[Log]:
    """The logger of this name. Raises InputError."""
    if name not in LOGGERS:
        raise InputError(f"logger {name!r}: {nearest(name, list(LOGGERS))}")
    return LOGGERS[name]


def _tag(name: str) -> str:
    if name == "seconds":
        return "time/epoch_s"
    part, rest = ("validation", name.removeprefix("validation_")) if name.startswith("validation_") else ("loss", name)
    return f"{part}/{rest}"
