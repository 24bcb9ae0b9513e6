"""Mistakes in any section of the settings, found before the first download instead of hours later."""

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from reelmill.flows.jobs import known_specs, steps
from reelmill.flows.jobs.report import report_path
from reelmill.flows.settings.sections import EngineSettings, ExtractSettings, Settings, TrainSettings
from reelmill.storage import Root
from reelmill.storage.errors import InputError
from reelmill.storage.place import AnyRoot

Stage = Literal["ingest", "extract", "train", "report"]
STAGES: tuple[Stage, ...] = ("ingest", "extract", "train", "report")


def check(settings: Settings, stages: Sequence[Stage] = STAGES, weights: bool = True) -> None:
    """Everything about these stages that can be known before any of them starts. Raises InputError.

    Weights that are missing are downloaded here, and those that are present are compared with their hash: without them
    nothing needs to begin. Not without `weights`."""
    root = Root(settings.root)
    if isinstance(root.path, Path) and root.path.exists() and not root.path.is_dir():
        raise InputError(f"root {root} is not a folder; give another --root")
    if "ingest" in stages:
        check_source(settings)
    if "train" in stages:
        check_train(settings.train)
    if "extract" in stages:
        check_engine(settings.engine)
        layers = check_extract(settings.extract)
        if "train" in stages:
            check_stores(settings, layers)
    if "report" in stages:
        check_report(settings)
    if "extract" in stages and weights:
        check_weights(settings)


def check_source(settings: Settings) -> None:
    """Files that ingest reads: they exist, and the columns of the source are those that the settings name. Raises
    InputError."""
    if settings.source is not None and not settings.source.path.exists():
        raise InputError(f"source {settings.source.path} does not exist; check source.path")
    steps.open_source(settings)
    settings.download.check_files()


def check_sources(settings: Settings) -> None:
    """Raise InputError if a source to fit on has no events, or if sources that share ids are not named. Known once they
    are ingested, hours before the fit."""
    from reelmill.models.data.sources import choose

    choose(Root(settings.root), settings.train.sources)


def check_stores(settings: Settings, layers: Sequence[str]) -> None:
    """Raise InputError for a recommender whose feature stores do not exist and will not be written. `layers`: `c3d-fc6`
    and so on, which extract will write."""
    from reelmill.models.registry import find, stores_of

    known = [*Root(settings.root).features.list(), *(f"{layer}-" for layer in layers)]
    for name, model in settings.train.models.items():
        for role, wanted in stores_of(name, model.stores or None).items():
            where = f"train.models.{name}.stores.{role} {wanted!r}"
            several = [layer for layer in layers if wanted and f"{layer}-".startswith(wanted)]
            if len(several) > 1:
                raise InputError(f"{where} is ambiguous: extract will write {', '.join(several)}; name one")
            if not any(store.startswith(wanted) or (store[-1] == "-" and wanted.startswith(store)) for store in known):
                raise InputError(f"{where} is not among what extract will write: {', '.join(layers)}")
        known += [f"{layer}-" for layer in find(name).writes]


def check_report(settings: Settings) -> None:
    """Raise InputError if no page can be written where the settings want it."""
    path = report_path(settings)
    if isinstance(path, Path) and path.is_dir():
        raise InputError(f"report {path} is a folder; give the name of a file in it")
    if isinstance(path, Path) and (file := next((p for p in path.parents if p.exists()), path)) and file.is_file():
        raise InputError(f"report {path}: {file} is a file, not a folder; check report")


def check_weights(settings: Settings) -> None:
    """Have the files of weights that the settings name, and compare each with its hash; neither again for the files of
    a run that had nothing to complain of. Raises InputError that says where to put a file that is missing."""
    from reelmill.extractors.core.network_settings import NetworkSettings
    from reelmill.extractors.registry import find
    from reelmill.extractors.weights.files import ensure

    if known_specs.recall(settings) is not None:
        return
    for name, how in settings.extract.extractors.items():
        if isinstance(how, NetworkSettings) and how.weights != "random":
            ensure(*find(name).find_weights(how.weights), how.weights_sha256)


def check_space(root: AnyRoot, needed: int, what: str) -> None:
    """Raise InputError if a disk has less free space than a stage is going to need, in bytes."""
    folder = Root(root).path
    if not isinstance(folder, Path):
        return
    disk = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise InputError(
            f"{what} needs about {needed / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free at {disk}; make room, or do "
            "a part of it: `reelmill backfill --limit …`"
        )


def check_engine(engine: EngineSettings) -> None:
    """Raise InputError for what can be known before Ray is started."""
    if engine.runner != "ray":
        used = [key for key in ("address", "workers", "gpus_per_task") if getattr(engine, key)]
        if used:
            raise InputError(f"engine.{used[0]} is of Ray's: set engine.runner to ray, or remove it")
        return
    if find_spec("ray") is None or find_spec("prefect_ray") is None:
        raise InputError("engine.runner ray needs packages that are not installed: `pip install 'reelmill[ray]'`")
    if engine.address and engine.workers:
        raise InputError(
            "engine.workers is for a cluster on this machine; that at engine.address has its own: remove one"
        )
    if engine.address and not os.environ.get("PREFECT_API_URL"):
        raise InputError(
            "engine.address: workers on other machines report to a server that they can reach; "
            "start one with `prefect server start --host 0.0.0.0` and set PREFECT_API_URL"
        )


def check_train(chosen: TrainSettings) -> None:
    """Models, their roles and hyper-parameters, device."""
    from reelmill.models.registry import settings_for, stores_of

    if not chosen.models:
        raise InputError("train.models is empty; name at least one, such as {transgrec: {}}")
    for name, model in chosen.models.items():
        settings_for(name, model.options)
        stores_of(name, model.stores or None)
    check_device(chosen.device)


def check_extract(chosen: ExtractSettings) -> list[str]:
    """Device, precision, files of weights and vectors; returns `c3d-fc6` and so on, the stores' names without hashes.
    Layers and values are checked as the settings are read."""
    from reelmill.extractors.registry import find

    check_device(chosen.device, chosen.precision)
    if not chosen.extractors:
        raise InputError("extract.extractors is empty; name at least one, such as {c3d: {}}")
    stores = []
    for name, how in chosen.extractors.items():
        extractor = find(name)
        extractor.check_files(how)
        stores += [f"{name}-{layer}" for layer in extractor.chosen(how.layers)]
    return stores


def check_device(device: str, precision: str = "auto") -> None:
    """Raise InputError for a device that this machine does not have, or an unknown precision. What every
    machine has is known without asking torch, which takes seconds to import."""
    if device in ("auto", "cpu") and precision in ("auto", "float32", "bfloat16"):
        return
    from reelmill.extractors.core.device import choose_device, choose_precision

    choose_precision(precision, choose_device(device))
