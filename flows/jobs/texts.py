"""The steps of `extract` that read texts: plain functions over settings, as in `steps`."""

from typing import TYPE_CHECKING

from reelmill.extractors.core.settings import Compute
from reelmill.extractors.registry import encoder, reads_text
from reelmill.flows.jobs import known_specs
from reelmill.flows.jobs.steps import root_of
from reelmill.flows.progress import current
from reelmill.flows.settings.sections import ExtractSettings, Settings
from reelmill.pipeline.extract import texts
from reelmill.pipeline.extract.texts import TextSummary

if TYPE_CHECKING:
    from reelmill.extractors.text.fitted import Encoder


def encoders(chosen: ExtractSettings) -> "list[tuple[Encoder, bool]]":
    """The extractors of text that the settings name, not fitted yet, and whether each is to be fitted again. Raises
    InputError for a wrong value."""
    compute = Compute(chosen.device)
    named = {name: how for name, how in chosen.extractors.items() if reads_text(name)}
    return [(encoder(name, how, compute), how.refit) for name, how in named.items()]


def extract_text(settings: Settings, name: str) -> TextSummary:
    """All texts through one extractor. Where no text is missing, neither it nor torch is loaded."""
    how = settings.extract.extractors[name]
    specs = None if how.refit else known_specs.recall_text(settings, name)
    if specs is not None and (done := texts.complete(root_of(settings), specs)) is not None:
        return done
    chosen = settings.extract.model_copy(update={"extractors": {name: how}})
    ((built, refit),) = encoders(chosen)
    summary = encode(settings, built, refit)
    if summary.reason is None:
        known_specs.remember_text(settings, name, list(built.specs().values()))
    return summary


def encode(settings: Settings, fitted: "Encoder", refit: bool) -> TextSummary:
    """Fit one encoder if needed, and write the missing blocks of its stores."""
    report, name = current(), fitted.name
    shown = {"fit": 0, "encode": 0}

    def fitting(share: float) -> None:
        if not shown["fit"]:
            report.start(f"fit {name}", 100, items=100, unit="%")
        step = round(100 * share) - shown["fit"]
        shown["fit"] += step
        report.advance(f"fit {name}", step, items=step)

    def written(done: int, todo: int) -> None:
        if not shown["encode"]:
            report.start(name, todo, items=todo, unit="videos" if fitted.rows == "video" else "users")
        step, shown["encode"] = done - shown["encode"], done
        report.advance(name, step, items=step)

    return texts.extract_texts(
        root_of(settings), fitted, format=settings.extract.format, refit=refit, progress=fitting, on_units=written
    )
