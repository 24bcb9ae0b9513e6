"""A run is one fit: a folder `ROOT/runs/<model>-<8 hex digits of its identity>/`.

    settings.json    identity: model, settings, stores, fingerprint of the data, code version
    last.pt          state of the training, to go on after a kill; removed when the run is complete
    checkpoint.pt    the best model: `load` rebuilds it from this file alone
    history.csv      one line an epoch
    plots/*.svg      plots of the fit (`core.plots`)
    events.out.…     TensorBoard's event files (`core.logs`), written while it trains
    cases.parquet    value of each case, ranking and metric (`metrics.case_values`), to compare runs in pairs
    metrics.json     tables and counts; written last, so a run is complete exactly when this exists

Each file but TensorBoard's is written under a temporary name, synced and renamed; on an object store each is one PUT,
and TensorBoard's are written on this machine and stored whenever `last.pt` is, so that another one can go on. Equal
identity means equal numbers (on one kind of device): fitting again finds the complete run and does nothing.

Importing this, opening a run and reading its metrics need no torch.
"""

import csv
import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelmill.models import registry
from reelmill.models.core.recommender import Recommender
from reelmill.models.core.settings import FitSettings
from reelmill.storage import Root, cache, parts
from reelmill.storage.errors import CorruptPart, InputError, nearest
from reelmill.storage.place import AnyPath, AnyRoot, place
from reelmill.storage.shield import shielded

if TYPE_CHECKING:
    import torch

    from reelmill.models.core.base import Data, Fitted

EVENTS = "events.out.tfevents.*"
"""Names of TensorBoard's files."""


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    folder: AnyPath

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def model(self) -> str:
        """Name of the recommender."""
        return self.folder.name.rpartition("-")[0]

    @property
    def complete(self) -> bool:
        """The metrics are written, and with them everything else."""
        return parts.size(self.folder / "metrics.json") is not None

    def metrics(self) -> dict[str, Any]:
        """The tables and counts of a complete run."""
        return json.loads(parts.read_file(self.folder / "metrics.json"))

    def save_progress(self, state: dict[str, Any]) -> None:
        """Save the state of the training."""
        from reelmill.models.core import checkpoint

        parts.write_file(self.folder / "last.pt", checkpoint.to_bytes(state))
        self.keep_logs()

    def progress(self) -> dict[str, Any] | None:
        """The saved state of the training, on the CPU; None at the start."""
        from reelmill.models.core import checkpoint

        path = self.folder / "last.pt"
        return checkpoint.read(path) if parts.size(path) is not None else None

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
        state: dict[str, Any],
        history: list[dict[str, Any]],
        plots: dict[str, bytes],
        metrics: dict[str, Any],
        cases: bytes,
    ) -> None:
        """Write the results: the checkpoint's `state`, the history, the plots and the values of each case; the metrics
        come last."""
        from reelmill.models.core import checkpoint

        text = io.StringIO()
        table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(history)
        with shielded():
            parts.write_file(self.folder / "checkpoint.pt", checkpoint.to_bytes(state))
            parts.write_file(self.folder / "history.csv", text.getvalue().encode())
            for name, svg in plots.items():
                parts.write_file(self.folder / "plots" / f"{name}.svg", svg)
            self.keep_logs()
            parts.write_file(self.folder / "cases.parquet", cases)
            parts.write_file(self.folder / "metrics.json", _json(metrics))
            parts.remove(self.folder / "last.pt")
        if not isinstance(self.folder, Path):
            shutil.rmtree(self.logs, ignore_errors=True)


def open_run(root: AnyRoot, recommender: Recommender, settings: FitSettings, data: "Data") -> Run:
    """The run of this identity, its folder made if it is new, and cleared of temporary files of killed writers.

    Sources are part of the identity where only some of the root's are read."""
    root = Root(root)
    identity = {
        "model": recommender.name,
        "settings": settings.to_dict(),
        "stores": data.stores,
        "data": data.fingerprint,
        "code_version": recommender.version,
        **({"sources": sorted(root.sources)} if root.sources else {}),
    }
    digits = hashlib.sha256(_json(identity)).hexdigest()[:8]
    run = Run(root.runs / f"{recommender.name}-{digits}")
    if isinstance(run.folder, Path):
        run.folder.mkdir(parents=True, exist_ok=True)
    for folder in (run.folder, run.folder / "plots"):
        parts.sweep(folder)
    if parts.size(run.folder / "settings.json") is None:
        parts.write_file(run.folder / "settings.json", _json(identity))
    return run


def list_runs(root: AnyRoot) -> list[Run]:
    """The complete runs of a root, oldest first."""
    runs = Root(root).runs
    done = {name: parts.written_at(runs / name / "metrics.json") for name in parts.folders(runs)}
    return [Run(runs / name) for _, name in sorted((at, name) for name, at in done.items() if at is not None)]


def find_run(root: AnyRoot, name: str | None = None) -> Run:
    """The complete run of this name, or the newest one of the recommender of this name, or the newest one of any
    recommender that recommends. Raises InputError."""
    root = Root(root)
    done = list_runs(root)
    if not done:
        begun = parts.folders(root.runs)
        more = f" ({', '.join(sorted(begun))} is not complete; the same command goes on with it)" if begun else ""
        raise InputError(f"{root} has no complete run{more}: fit a recommender first (reelmill train)")
    if name is None:
        fits = [run for run in done if run.model in registry.RECOMMENDERS and registry.find(run.model).adviser]
        if not fits:
            raise InputError(
                f"no run of {root} is of a recommender that recommends; {recommending()}: fit one (reelmill train)"
            )
    else:
        fits = [run for run in done if name in (run.name, run.model)]
    if fits:
        return fits[-1]
    if name in parts.folders(root.runs):
        raise InputError(f"run {name!r} is not complete: fit it to the end first (reelmill train)")
    names = [run.name for run in reversed(done)]
    raise InputError(f"run {name!r}: {nearest(str(name), [*names, *sorted({run.model for run in done})])}")


def recommending() -> str:
    """The recommenders that recommend, for messages."""
    return f"known: {', '.join(name for name in registry.RECOMMENDERS if registry.find(name).adviser)}"


def load(folder: str | AnyPath, device: "torch.device | str" = "cpu") -> "Fitted":
    """The model of a run, rebuilt from its `checkpoint.pt` alone. Runs no code of the file. Raises InputError if there
    is no checkpoint, or one of another code version; CorruptPart if it is damaged."""
    from reelmill.models.core import checkpoint
    from reelmill.models.core.base import Fitted

    path = place(folder) / "checkpoint.pt"
    if parts.size(path) is None:
        raise InputError(f"{folder} holds no checkpoint.pt; the fit is not finished (reelmill train)")
    saved = checkpoint.read(path)
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
    sources = tuple(saved.get("sources", ()))
    return Fitted(model.to(device).eval(), saved["model"], settings, saved["stores"], saved["identities"], sources)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
