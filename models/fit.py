"""Fit a recommender: load, train, stop, evaluate, draw, write. Reads from top to bottom.

    result = train("root", "c3d-fc6", TransGRecSettings(epochs=50))
    print(result.folder, result.metrics["rows"])

A complete run of the same identity is found without importing torch, and nothing is fitted again.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelmill.models import registry
from reelmill.models.core import logs
from reelmill.models.core.recommender import Recommender
from reelmill.models.core.settings import FitSettings
from reelmill.models.data import sources as sources_of_root
from reelmill.models.runs import Run, load, open_run
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyPath, AnyRoot

SAVE_EVERY_S = 20.0
"""A kill costs at most so many seconds of training."""


@dataclass(frozen=True)
class FitResult:
    """What came of a fit."""

    folder: AnyPath
    """Of the run."""
    metrics: dict[str, Any]
    """The content of `metrics.json`: `rows`, `by_sparsity`, `counts`, `sources`, `cases`, `fit`."""
    counts: dict[str, int]
    """What was used and what was left out, and why."""
    skipped: bool
    """True if a complete run of the same identity was found and nothing was fitted."""
    written: dict[str, str] = field(default_factory=dict)
    """{layer: feature store} of a model whose vectors others read: every video of the root is in it now."""


def train(
    root: AnyRoot,
    stores: str | Mapping[str, str] | None = None,
    settings: FitSettings | None = None,
    *,
    model: str = "transgrec",
    sources: Sequence[str] = (),
    device: str = "auto",
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    save_every_s: float = SAVE_EVERY_S,
    logger: str = "tensorboard",
    pictures: bool = True,
) -> FitResult:
    """Fit `model` on a root's tables and feature stores; go on where a killed fit stopped.

    `stores`: the name of the store for a model that reads one, else {role: name} for those roles that are not to take
    their default (`registry`). `sources`: names of the sources to read; without any, all of the root are read, unless
    some of them share ids, which raises InputError. `logger`: `tensorboard` or `none` (`core.logs`). `pictures`: draw
    the run's plots, which takes some seconds (`core.plots`). Neither is part of the run's identity. `on_epoch` is
    called after each epoch with its number, from 1, and its figures."""
    recommender, open_log = registry.find(model), logs.find(logger)
    settings = _own(recommender, settings)
    root = sources_of_root.choose(Root(root), sources)
    data = recommender.load(root, **registry.stores_of(model, stores))
    settings = settings.found_in(data)
    run = open_run(root, recommender, settings, data)
    if run.complete:
        metrics = run.metrics()
        return FitResult(run.folder, metrics, metrics["counts"], skipped=True, written=_written(root, run, recommender))

    from reelmill.extractors.core.device import choose_device
    from reelmill.models.core import plots
    from reelmill.models.core.training import Training, run_epochs
    from reelmill.models.metrics.case_values import digests, to_parquet

    chosen = choose_device(device)
    for name in data.stores.values():
        for wrong in root.features.verify(name):
            raise wrong  # a flipped bit would train on in silence
    task = recommender.task(data, settings, chosen)
    training = Training(task, settings, chosen)
    if (saved := run.progress()) is not None:
        training.restore(saved)
    with open_log(run.logs, training.history) as log:
        run_epochs(training, run.save_progress, log, on_epoch, save_every_s)
        network = training.use_best()
        tables = task.evaluate(network)
        cases = tables.pop("cases", [])
        log.result(settings.to_dict(), {r["metric"]: r["mean"] for r in tables["rows"] if r["row"] == model})

    epoch = training.best["epoch"]
    drawn = plots.draw(model, recommender.plots, task, network, training.history, epoch, tables) if pictures else {}
    read = sources_of_root.counted(root)
    rows = [account.counts() for account in data.accounts]
    counts = {**task.counts, **dict(ChainMap(*rows)), **sources_of_root.counts(root)}
    metrics = {**tables, "counts": counts, "sources": read, "cases": digests(cases), "fit": training.summary()}
    checkpoint = {
        "model": model,
        "settings": settings.to_dict(),
        "sizes": network.sizes,
        "state": {name: value.cpu() for name, value in network.state_dict().items()},
        "identities": task.identities(),
        "stores": data.stores,
        "sources": sorted(root.sources),
        "data": data.fingerprint,
        "code_version": recommender.version,
        "epoch": epoch,
    }
    run.finish(checkpoint, training.history, drawn, metrics, to_parquet(cases))
    return FitResult(run.folder, metrics, counts, skipped=False, written=_written(root, run, recommender))


def _own(recommender: Recommender, settings: FitSettings | None) -> FitSettings:
    """These settings, by default the recommender's. Raises InputError for those of another one."""
    if settings is None:
        return recommender.settings()
    if not isinstance(settings, recommender.settings):
        raise InputError(f"{recommender.name} takes {recommender.settings.__name__}, not {type(settings).__name__}")
    return settings


def _written(root: Root, run: Run, recommender: Recommender) -> dict[str, str]:
    """Write the missing blocks of a complete run's stores: after the run, so that the next call makes up for a killed
    writer, and for videos that have come since."""
    if recommender.write is None:
        return {}
    fitted = load(run.folder)
    return recommender.write(root, run.name, fitted.model, fitted.stores)
