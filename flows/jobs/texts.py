"""What the extract flow does with texts: plain functions over settings, as in `steps`."""

from typing import TYPE_CHECKING, Any

from reelmill.extractors.text.encoders import ENCODERS, build
from reelmill.flows.jobs.steps import root_of
from reelmill.flows.progress import current
from reelmill.flows.settings.document import plain
from reelmill.flows.settings.sections import ExtractorSettings, ExtractSettings, Settings
from reelmill.pipeline.extract import texts

if TYPE_CHECKING:
    from reelmill.extractors.text.fitted import Encoder


def encoders(chosen: ExtractSettings) -> "list[tuple[Encoder, bool]]":
    """The encoders of text that the settings name, not fitted yet, and whether each is to be fitted again. Raises
    InputError for a setting that an encoder does not have, or a wrong value."""
    built = []
    for name, how in chosen.extractors.items():
        if name in ENCODERS:
            built.append((build(name, **_given(name, how, chosen)), bool(how.refit)))
    return built


def _given(name: str, how: ExtractorSettings, chosen: ExtractSettings) -> dict[str, Any]:
    given = how.model_dump(exclude_none=True, exclude_defaults=True, exclude={"refit"})
    if how.layers:
        given["layers"] = tuple(how.layers)
    return {"device": chosen.device, **given} if name == "text" else given


def encode(settings: Settings, encoder: "Encoder", refit: bool) -> dict[str, Any]:
    """Fit one encoder if need be and write what its stores lack; the figures of it."""
    report, name = current(), encoder.name
    told = {"fit": 0, "encode": 0}

    def fitting(share: float) -> None:
        if not told["fit"]:
            report.start(f"fit {name}", 100, items=100, unit="%")
        step = round(100 * share) - told["fit"]
        told["fit"] += step
        report.advance(f"fit {name}", step, items=step)

    def written(done: int, todo: int) -> None:
        if not told["encode"]:
            report.start(name, todo, items=todo, unit="videos" if encoder.rows == "video" else "users")
        step, told["encode"] = done - told["encode"], done
        report.advance(name, step, items=step)

    summary = texts.extract_texts(
        root_of(settings), encoder, format=settings.extract.format, refit=refit, progress=fitting, on_units=written
    )
    return plain(summary)
