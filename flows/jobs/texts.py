"""What the extract flow does with texts: plain functions over settings, as in `steps`."""

from typing import TYPE_CHECKING, Any

from reelmill.extractors.core.settings import Compute
from reelmill.extractors.registry import encoder, reads_text
from reelmill.flows.jobs.steps import root_of
from reelmill.flows.progress import current
from reelmill.flows.settings.document import plain
from reelmill.flows.settings.sections import ExtractSettings, Settings
from reelmill.pipeline.extract import texts

if TYPE_CHECKING:
    from reelmill.extractors.text.fitted import Encoder


def encoders(chosen: ExtractSettings) -> "list[tuple[Encoder, bool]]":
    """The extractors of text that the settings name, not fitted yet, and whether each is to be fitted again. Raises
    InputError for a wrong value."""
    compute = Compute(chosen.device)
    named = {name: how for name, how in chosen.extractors.items() if reads_text(name)}
    return [(encoder(name, how, compute), how.refit) for name, how in named.items()]


def encode(settings: Settings, fitted: "Encoder", refit: bool) -> dict[str, Any]:
    """Fit one encoder if need be and write what its stores lack; the figures of it."""
    report, name = current(), fitted.name
    told = {"fit": 0, "encode": 0}

    def fitting(share: float) -> None:
        if not told["fit"]:
            report.start(f"fit {name}", 100, items=100, unit="%")
        step = round(100 * share) - told["fit"]
        told["fit"] += step
        report.advance(f"fit {name}", step, items=step)

    def written(done: int, todo: int) -> None:
        if not told["encode"]:
            report.start(name, todo, items=todo, unit="videos" if fitted.rows == "video" else "users")
        step, told["encode"] = done - told["encode"], done
        report.advance(name, step, items=step)

    summary = texts.extract_texts(
        root_of(settings), fitted, format=settings.extract.format, refit=refit, progress=fitting, on_units=written
    )
    return plain(summary)
