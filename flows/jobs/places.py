"""Where a fit takes its data from, if not from the root as it is: a published data set, or a planted world."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from reelmill.extractors.registry import settings_for
from reelmill.flows.jobs.results import INLINE
from reelmill.flows.jobs.steps import root_of
from reelmill.flows.settings.load import value
from reelmill.flows.settings.sections import ModelSettings, Settings
from reelmill.models.core.settings import typed
from reelmill.pipeline import dataset
from reelmill.storage import parts
from reelmill.storage.errors import InputError, nearest
from reelmill.storage.place import AnyPath

Knob = int | float | bool | str
"""Value of a knob of a planted world."""


@dataclass(frozen=True)
class DataResult:
    """What was read of a data set."""

    found: dataset.Dataset = field(metadata=INLINE)
    without: dict[str, str] = field(default_factory=dict)
    """What is not there, and why."""


def of_data(settings: Settings, path: Path) -> tuple[Settings, DataResult]:
    """Read a data set into the root; the settings with each recommender's stores as the data set has them, where the
    settings do not say, and what was read. Nothing is downloaded: recommenders that need pictures get the
    vectors next to the table.

    Texts and topics of recommenders that read them (`drnn`) are encoded from titles and tags, and `multimodal` goes
    without modalities if there are none; `without` says what is not there, and why."""
    from reelmill.models.registry import find

    found = dataset.read(root_of(settings), path)
    models, chosen = {}, settings.train.models
    own_sources = [source.source for source in found.sources]
    sources = settings.train.sources or own_sources
    without: dict[str, str] = {}
    for name, model in chosen.items():
        roles, optional = find(name).roles, find(name).optional
        stores = dataset.stores_for(found, roles, optional)
        if "topics" in roles:
            read, absent = _texts(settings, {*roles} & {"text", "topics"} - {*found.stores})
            stores |= read
            without |= absent
        own = model.stores if isinstance(model.stores, dict) else dict.fromkeys(roles, model.stores)
        stores |= own
        if not settings.train.sources:
            _check_alone(settings, name, own_sources, {*stores.values()} - {*found.stores.values(), ""})
        options = {"split": "given"} if len(found.sources) > 1 and "split" in _options(name) else {}
        if "modalities" in _options(name) and not any(stores.values()) and "modalities" not in model.options:
            options["modalities"] = "none"
            without["modalities"] = f"there are no vectors beside the table; {name} reads the other fields"
        models[name] = ModelSettings(stores=stores, options={**options, **model.options})
    train = settings.train.model_copy(update={"models": models, "sources": sources})
    return settings.model_copy(update={"train": train}), DataResult(found, without)


def _check_alone(settings: Settings, name: str, own: Sequence[str], stores: set[str]) -> None:
    """Raise InputError if a recommender would read what the root keeps once for each id, attributes or `stores`, and
    another source than a data set's own ones names the same ids."""
    from reelmill.models.data.sources import beside
    from reelmill.models.registry import find

    read = ["attributes"] * find(name).reads_attributes + sorted(stores)
    shared = {what: ids for what, ids in beside(root_of(settings), own).items() if len(ids)} if read else {}
    if shared:
        what, ids = next(iter(shared.items()))
        raise InputError(
            f"{name} reads {', '.join(read)}, which {settings.root} keeps once for each id, and other sources than "
            f"{', '.join(own)} name {len(ids):,} of the same {what} (such as {ids[0].as_py()!r}): give --root another "
            f"folder, or, where an id means the same in each, --set 'train.sources=[{', '.join(own)}]'"
        )


def check_world(name: str, knobs: str) -> None:
    """Raise InputError if no world is planted for a recommender, or it does not have these knobs."""
    from reelmill.models.registry import world_of

    world = world_of(name)
    _knobs(world.planted.knobs, world.name, knobs)


def of_world(settings: Settings, name: str, knobs: str) -> Settings:
    """Write a recommender's planted world, unless it is there; the settings for a fit on it, with hyper-parameters that
    suit its size. `knobs`: "default", or "telling=0.5,seed=1"; each world has its own folder in the root."""
    from reelmill.models.registry import world_of

    world = world_of(name)
    turned = _knobs(world.planted.knobs, world.name, knobs)
    tag = hashlib.sha256(json.dumps(turned, sort_keys=True).encode()).hexdigest()[:8]
    root = root_of(settings).path / f"{world.name}-{tag}"
    if parts.size(root / "world.json") is None:
        stores = _written(root, world.planted.write, world.planted.knobs(**turned), turned)
    else:
        stores = json.loads(parts.read_file(root / "world.json"))["stores"]
    own = settings.train.models[name]
    model = ModelSettings(stores=world.stores(stores), options={**world.options, **own.options})
    train = settings.train.model_copy(update={"models": {name: model}})
    return settings.model_copy(update={"root": str(root), "train": train})


def _written(root: AnyPath, write: Any, world: Any, turned: dict[str, Knob]) -> dict[str, str]:
    """Write a world beside its place and move it there as a whole, so that half of one is never fitted. On an object
    store nothing moves: `world.json` comes last, and what a killed writer left is replaced video by video."""
    if not isinstance(root, Path):
        stores = write(str(root), world)
        parts.write_file(root / "world.json", json.dumps({"knobs": turned, "stores": stores}, indent=1).encode())
        return stores
    beside = root.with_name(f".{root.name}-{uuid4().hex[:8]}")
    stores = write(beside, world)
    (beside / "world.json").write_text(json.dumps({"knobs": turned, "stores": stores}, indent=1))
    try:
        beside.rename(root)
    except OSError:  # another process has just written the same
        shutil.rmtree(beside)
    return stores


def _knobs(world: type[Any], name: str, text: str) -> dict[str, Knob]:
    """The knobs that are turned, by name. Raises InputError for one that the world does not have, or a wrong value."""
    turned: dict[str, Knob] = {}
    known: dict[str, type[Any]] = {knob.name: type(knob.default) for knob in fields(world)}
    for pair in () if text == "default" else text.split(","):
        key, equals, said = pair.partition("=")
        if not equals:
            raise InputError(f"--world {pair!r}: give default, or knob=value,…, such as {next(iter(known))}=…")
        if key not in known:
            raise InputError(f"--world {key!r}: the world of {name} has no such knob; {nearest(key, list(known))}")
        turned[key] = typed(f"--world: {key}", known[key], value(said))
    return turned


def _texts(settings: Settings, wanted: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """{role: store} of what the encoders of text give, and {role: why not} of the others."""
    from reelmill.flows.jobs import texts

    own = settings.extract.extractors
    extract = settings.extract.model_copy(
        update={"extractors": {n: own[n] if n in own else settings_for(n, {}) for n in sorted(wanted)}}
    )
    stores, without = {}, {}
    for encoder, refit in texts.encoders(extract):
        summary = texts.encode(settings, encoder, refit)
        if summary.reason is None:
            stores[encoder.name] = summary.stores[0]
        else:
            without[encoder.name] = summary.reason
    return stores, without


def _options(name: str) -> set[str]:
    from reelmill.models.registry import find

    return {field.name for field in fields(find(name).settings)}
