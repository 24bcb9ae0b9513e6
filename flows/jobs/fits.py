"""What the train flow does: plain functions over settings, as in `steps`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reelmill.flows import interrupt
from reelmill.flows.jobs.steps import root_of
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import ModelSettings, Settings
from reelmill.storage.errors import InputError, nearest


def choose(settings: Settings, names: Sequence[str], options: Sequence[str] = ()) -> Settings:
    """The same settings with these recommenders only (`all`: the five papers'), each as the settings have it, and with
    `options` ("epochs=3") on top. Raises InputError for an unknown name or a word that is no option."""
    from reelmill.flows.settings.load import value
    from reelmill.models.registry import RECOMMENDERS, of_papers

    known = settings.train.models
    wanted = dict.fromkeys(w for name in names for w in (of_papers() if name == "all" else (name,))) or known
    given = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise InputError(f"--option {option!r}: give name=value, such as --option epochs=20")
        given[name] = value(text)
    models = {}
    for name in wanted:
        if name not in RECOMMENDERS:
            raise InputError(f"recommender {name!r}: {nearest(name, [*RECOMMENDERS, 'all'])}")
        own = known.get(name, ModelSettings())
        models[name] = ModelSettings(stores=own.stores, options={**own.options, **given})
    return settings.model_copy(update={"train": settings.train.model_copy(update={"models": models})})


@dataclass(frozen=True)
class FitFigures:
    """Result of one fit."""

    folder: str
    """Of the run."""
    skipped: bool
    """A complete run of the same identity was found."""
    metrics: list[dict[str, Any]]
    """Rows of the evaluation: row, metric, mean, low, high, cases."""
    counts: dict[str, int]
    stores: dict[str, str]
    """{role: feature store} that it read."""
    written: dict[str, str]
    """{layer: feature store} that others can read."""


def fit(settings: Settings, name: str, stores: Sequence[str] = ()) -> FitFigures:
    """Fit one recommender on the root's tables and stores; does nothing if the same run is complete.

    `stores`: names that these settings' networks write; where a prefix fits one of them, it means that one, whatever
    other settings left in the root.
    """
    from reelmill.models.fit import train
    from reelmill.models.registry import settings_for

    chosen, report = settings.train.models[name], current()
    model_settings = settings_for(name, chosen.options)
    shown_epoch, bar = 0, f"train {name}"

    def seen(epoch: int, figures: dict[str, float]) -> None:
        nonlocal shown_epoch
        if not shown_epoch:
            report.start(bar, model_settings.epochs, items=model_settings.epochs, unit="epochs")
        shown = {key: number for key, number in figures.items() if key == "loss" or key.startswith("validation")}
        note = "  ".join(f"{key} {number:.3f}" for key, number in shown.items())
        report.advance(bar, epoch - shown_epoch, items=epoch - shown_epoch, note=note)
        shown_epoch = epoch
        interrupt.check()  # here nothing is lost

    named = whole_names(settings, name, stores)
    with interrupt.deferred():
        result = train(
            root_of(settings),
            named,
            model_settings,
            model=name,
            sources=settings.train.sources,
            device=settings.train.device,
            on_epoch=seen,
            logger=settings.train.logger,
        )
    read = {role: store for role, store in named.items() if store}
    return FitFigures(str(result.folder), result.skipped, result.metrics["rows"], result.counts, read, result.written)


def whole_names(settings: Settings, name: str, stores: Sequence[str] = ()) -> dict[str, str]:
    """{role: store} of a recommender, each by its whole name, empty where the role is left out. Raises InputError if a
    prefix fits no store of the root or several."""
    from reelmill.models.registry import stores_of

    there = root_of(settings).features.list()
    found = {}
    for role, prefix in stores_of(name, settings.train.models[name].stores or None).items():
        mine = [s for s in stores if s == prefix] or [s for s in stores if s.startswith(prefix)]
        fits = [s for s in there if s == prefix] or [s for s in there if s.startswith(prefix)]
        if prefix and len(mine) != 1 and len(fits) != 1:
            wrong = f"is ambiguous: {', '.join(fits)}" if fits else f"is not there; the root has {_listed(there)}"
            raise InputError(
                f"store {prefix!r} of {name} ({role}) {wrong}; extract it, or name another one: "
                f"--set train.models.{name}.stores.{role}=…"
            )
        found[role] = (mine if len(mine) == 1 else fits)[0] if prefix else ""
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
