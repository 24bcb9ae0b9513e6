"""A run is a folder: `ROOT/runs/<model>-<8 hex digits of its identity>/`.

    settings.json    what was asked: model, settings, stores, fingerprint of the data, code version
    last.pt          where training stands, to go on after a kill; gone when the run is complete
    checkpoint.pt    the best model: rebuilds itself with `load`
    history.csv      one line an epoch
    plots/*.svg      pictures of the fit (`pictures`)
    events.out.…     TensorBoard's event files (`logs`), written while it trains
    metrics.json     tables and counts; written last, so a run is complete exactly when this exists

Each file but TensorBoard's is written under a temporary name, synced and renamed; on an object store each is one PUT,
and TensorBoard's are written on this machine and stored whenever `last.pt` is, so that another one can go on. Equal
identity means equal numbers (on one kind of device): fitting again finds the complete run and does nothing.
"""

import csv
import hashlib
import io
import json
import pickle
import shutil
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from reelmill.models import registry
from reelmill.models.core.base import Data, Model
from reelmill.models.core.settings import FitSettings
from reelmill.storage import cache, parts
from reelmill.storage.arrays import check_zip
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.place import AnyPath, place

EVENTS = "events.out.tfevents.*"
"""Names of TensorBoard's files."""


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: AnyPath

    @property
    def complete(self) -> bool:
        """The metrics are written, and with them everything else."""
        return parts.size(self.folder / "metrics.json") is not None

    def metrics(self) -> dict[str, Any]:
        """The tables and counts of a complete run."""
        return json.loads(parts.read_file(self.folder / "metrics.json"))

    def save_progress(self, state: dict[str, Any]) -> None:
        """Keep where training stands."""
        parts.write_file(self.folder / "last.pt", _pickle(state))
        self.keep_logs()

    def progress(self) -> dict[str, Any] | None:
        """Where training stood, or None at the start. Always on the CPU."""
        path = self.folder / "last.pt"
        return _read(path) if parts.size(path) is not None else None

    @property
    def logs(self) -> Path:
        """Folder of this machine for TensorBoard's event files: the run's own, or one beside the cache's copies."""
        if isinstance(self.folder, Path):
            return self.folder
        return cache.folder() / "logs" / hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]

    def keep_logs(self) -> None:
        """Store the event files of this machine in the run, in place of those of an earlier attempt."""
        if isinstance(self.folder, Path):
            return
        mine = {path.name: path for path in self.logs.glob(EVENTS)}
        for path in mine.values():
            parts.write_file(self.folder / path.name, path.read_bytes())
        for name in parts.files(self.folder):
            if fnmatch(name, EVENTS) and mine and name not in mine:
                parts.remove(self.folder / name)

    def finish(
        self,
        checkpoint: dict[str, Any],
        history: list[dict[str, Any]],
        plots: dict[str, bytes],
        metrics: dict[str, Any],
    ) -> None:
        """Write the results; the metrics come last."""
        parts.write_file(self.folder / "checkpoint.pt", _pickle(checkpoint))
        text = io.StringIO()
        table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(history)
        parts.write_file(self.folder / "history.csv", text.getvalue().encode())
        for name, svg in plots.items():
            parts.write_file(self.folder / "plots" / f"{name}.svg", svg)
        self.keep_logs()
        parts.write_file(self.folder / "metrics.json", _json(metrics))
        parts.remove(self.folder / "last.pt")
        if not isinstance(self.folder, Path):
            shutil.rmtree(self.logs, ignore_errors=True)


def open_run(root: str | Path, model: str, settings: FitSettings, data: Data) -> Run:
    """The run of this identity, its folder made if it is new, and cleared of what dead writers left."""
    asked = {
        "model": model,
        "settings": settings.to_dict(),
        "stores": data.stores,
        "data": data.fingerprint,
        "code_version": registry.find(model).version,
    }
    identity = hashlib.sha256(_json(asked)).hexdigest()[:8]
    run = Run(place(root) / "runs" / f"{model}-{identity}")
    if isinstance(run.folder, Path):
        run.folder.mkdir(parents=True, exist_ok=True)
    for folder in (run.folder, run.folder / "plots"):
        parts.sweep(folder)
    if parts.size(run.folder / "settings.json") is None:
        parts.write_file(run.folder / "settings.json", _json(asked))
    return run


def list_runs(root: str | Path) -> list[Run]:
    """The complete runs of a root, oldest first."""
    runs = place(root) / "runs"
    done = {name: parts.written_at(runs / name / "metrics.json") for name in parts.folders(runs)}
    return [Run(runs / name) for _, name in sorted((at, name) for name, at in done.items() if at is not None)]


@dataclass(frozen=True)
class Fitted:
    """A model out of its checkpoint, in evaluation mode."""

    model: Model
    name: str
    settings: FitSettings
    stores: dict[str, str]
    """{role: name of the feature store} whose vectors it reads."""
    identities: dict[str, list[str]]
    """Names behind the model's rows, for example `users`."""

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        return {kind: {name: row for row, name in enumerate(names)} for kind, names in self.identities.items()}

    def row(self, kind: str, name: str) -> int:
        """Row of a user (or other kind) by its name. Raises InputError if the model has never seen it."""
        try:
            return self._rows[kind][name]
        except KeyError:
            raise InputError(f"{name!r} is not among the {kind} that {self.name} was trained on") from None


def load(folder: str | AnyPath, device: torch.device | str = "cpu") -> Fitted:
    """Rebuild the model of a run from its `checkpoint.pt` alone. Runs no code of the file."""
    path = place(folder) / "checkpoint.pt"
    if parts.size(path) is None:
        raise InputError(f"{folder} holds no checkpoint.pt; the fit is not finished (reelmill train)")
    saved = _read(path)
    try:
        recommender = registry.find(saved["model"])
        if saved["code_version"] != recommender.version:
            raise InputError(
                f"{path} is of code version {saved['code_version']}, this program has {recommender.version}; fit again"
            )
        settings = recommender.settings.from_dict(saved["settings"])
        model = recommender.model(settings, **saved["sizes"])
        model.load_state_dict(saved["state"])
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, MemoryError) as error:
        raise CorruptPart(f"{path} does not hold a fitted model ({error}); remove it and fit again") from error
    return Fitted(model.to(device).eval(), saved["model"], settings, saved["stores"], saved["identities"])


def _read(path: AnyPath) -> dict[str, Any]:
    """What `_pickle` wrote. Raises CorruptPart for anything else; no code of the file is run."""
    try:
        saved = cache.reading(path, _unpickled)
        if not isinstance(saved, dict):
            raise ValueError(f"it holds {type(saved).__name__}")
        return saved
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors and plain values, reading it could run code"
        raise CorruptPart(f"{path} is refused: {reason}; remove it and fit again") from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise CorruptPart(f"{path} cannot be read ({error}); remove it and fit again") from error


def _unpickled(file: Path) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            check_zip(archive)
    return torch.load(file, map_location="cpu", weights_only=True)


def _pickle(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
