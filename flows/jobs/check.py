"""Mistakes in any section of the settings, found before the first download instead of hours later."""

import os
from importlib.util import find_spec

from reelmill.flows.settings.sections import EngineSettings, ExtractSettings, Settings, TrainSettings
from reelmill.storage.errors import InputError
from reelmill.storage.features import list_stores


def check(settings: Settings) -> None:
    """Everything that can be known without loading weights or reading a table. Raises InputError."""
    if settings.source is not None and not settings.source.path.exists():
        raise InputError(f"source {settings.source.path} does not exist; check source.path")
    from reelmill.models.registry import find, stores_of

    check_engine(settings.engine)
    check_train(settings.train)
    layers = check_extract(settings.extract)
    known = [*list_stores(settings.root), *(f"{layer}-" for layer in layers)]
    for name, model in settings.train.models.items():
        for role, wanted in stores_of(name, model.stores or None).items():
            where = f"train.models.{name}.stores.{role} {wanted!r}"
            several = [layer for layer in layers if wanted and f"{layer}-".startswith(wanted)]
            if len(several) > 1:
                raise InputError(f"{where} is ambiguous: extract will write {', '.join(several)}; name one")
            if not any(store.startswith(wanted) or (store[-1] == "-" and wanted.startswith(store)) for store in known):
                raise InputError(f"{where} is not among what extract will write: {', '.join(layers)}")
        known += [f"{layer}-" for layer in find(name).writes]


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
    """Raise InputError for a device that this machine does not have, or a precision that there is not. What every
    machine has is known without asking torch, which takes seconds to import."""
    if device in ("auto", "cpu") and precision in ("auto", "float32", "bfloat16"):
        return
    from reelmill.extractors.core.device import choose_device, choose_precision

    choose_precision(precision, choose_device(device))
