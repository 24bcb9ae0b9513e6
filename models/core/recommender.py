"""The descriptor of a recommender: everything that training, recommending, the report and the command line ask of it.

    RECOMMENDER = Recommender(
        name="mine",
        paper="Author and Author, Title, Venue Year",
        settings=MineSettings,
        roles={"features": "c3d-fc6"},
        load=videos.load,
        task=lazy("reelmill.models.mine.task:MineTask"),
        model=lazy("reelmill.models.mine.model:Mine"),
        adviser=lazy("reelmill.models.mine.recommend:MineAdviser"),
        version=1,
    )

It is in the `__init__.py` of the recommender's folder (or in its file under `baselines/`) and is listed by one line
of `registry`. Nothing here imports torch; a descriptor names what does with `lazy`, so that listing recommenders,
checking settings and finding a complete run are quick.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reelmill.models.core.settings import FitSettings

if TYPE_CHECKING:
    import torch

    from reelmill.models.core.advice import Adviser, Question
    from reelmill.models.core.base import Data, Model, Task


@dataclass(frozen=True)
class Preset:
    """Options of one row of a paper's table or figure."""

    options: Mapping[str, Any]
    """What differs from the defaults of the settings."""
    source: str
    """Where the paper has it, such as `table 4`."""


@dataclass(frozen=True)
class Caption:
    """What the report says about a plot."""

    title: str
    note: str = ""
    wide: bool = False
    """The plot takes the whole width of the page."""


@dataclass(frozen=True, kw_only=True)
class PlantedWorld:
    """A root with a known answer, for what real data cannot show. A recommender must find what was planted, stay at
    chance on the noise twin, and its components must win where their knob is on and not where it is off. No world uses
    code of a model."""

    knobs: type[Any]
    """A frozen dataclass; every knob has a default, one of them is `seed`."""
    write: Callable[..., dict[str, str]]
    """(root, knobs) → {role: name of its store}; writes real tables and feature stores."""
    ceiling: Callable[..., Any] | None = None
    """knobs → what the true latents would score; its form is the world's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings that suit a world of this size, where the papers' are for data a hundred times as large. They were
    chosen on other seeds of the world than those that the benchmarks report."""
    small: Mapping[str, Any] = field(default_factory=dict)
    """Knobs of a world that is written and fitted in a second or two, for tests."""


@dataclass(frozen=True, kw_only=True)
class SharedWorld:
    """Another recommender's planted world, for one that is compared with it."""

    of: str
    """Name of the other recommender."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """As in `PlantedWorld`."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """{role: role of the world whose store it reads}; a role that is not named keeps its default."""


@dataclass(frozen=True, kw_only=True)
class Recommender:
    """One recommender."""

    name: str
    paper: str
    """Authors, title, venue and year; of a baseline those of its first publication."""
    settings: type[FitSettings]
    roles: Mapping[str, str]
    """{role: feature store by default}, such as {"features": "c3d-fc6"}: the vectors that it reads, and what for. An
    empty name leaves the role out."""
    load: "Callable[..., Data]"
    """(root, **{role: name of its store, empty if it is left out}) → data, with its fingerprint."""
    task: "Callable[[Any, Any, torch.device], Task]"
    """(data, settings, device) → task."""
    model: "Callable[..., Model]"
    """(settings, **sizes) → an empty model, to be filled from a checkpoint."""
    version: int
    """Raised when the code changes the numbers; part of a run's identity."""
    of_paper: bool = False
    """One of the five recommenders that the papers propose: `all` on the command line. The others are compared with
    them, or feed them."""
    optional: frozenset[str] = frozenset()
    """Roles that can be left out. The loader and the task check which settings then still work."""
    reads_attributes: bool = False
    """It learns from the attributes of users and videos in the tables, of which there is one row for each id, whichever
    source it comes from."""
    adviser: "Callable[[Question], Adviser] | None" = None
    """Recommends by a fitted model; None if there is nothing to recommend."""
    plots: Callable[[Any, Any], dict[str, bytes]] | None = None
    """(task, fitted model) → {name of a plot: SVG file}, beside those that every fit has. Trains nothing, changes
    nothing; equal fits give equal files."""
    captions: Mapping[str, Caption] = field(default_factory=dict)
    """{plot without its number: caption}, in the order of the report."""
    world: PlantedWorld | SharedWorld | None = None
    """What `reelmill train --world` writes, and what the contract tests fit it on."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """{row: options}: the rows of the paper's tables and figures that are fits of this recommender."""
    writes: tuple[str, ...] = ()
    """Names, without their fingerprints, of the feature stores that a fit writes."""
    write: Callable[..., dict[str, str]] | None = None
    """(root, name of the run, its model, the stores that it reads) → {layer: store}; writes the missing blocks."""


def lazy(path: str) -> Callable[..., Any]:
    """The function or class at `module:name`, imported when it is first called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return resolve(path)(*args, **kwargs)

    return call


def resolve(path: str) -> Any:
    """What `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
