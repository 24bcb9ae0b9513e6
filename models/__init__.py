"""Recommenders: they read the tables and feature stores of a root, and never see a video.

    from reelmill.models import recommend, train

    result = train("root", model="transgrec")
    result.metrics["rows"]  # the tables of metrics.json
    recommend("root", user="ann", video="dQw4w9WgXcQ")

The guide to the room. Verbs, each a file at the top:

    registry            the recommenders by name: one line each
    fit                 `train`: load, train, evaluate, draw, write
    runs                a run's folder: find, open, load the fitted model
    recommendations     `recommend`: from a run to segments, items or videos for one user, with reasons
    report/             `write_report`: the page about a root; overview (its tables), ablations (runs that differ in one
                        setting)

A recommender is one folder: transgrec/, jifr/, prnet/, multimodal/, audiovisual/, drnn/; the systems that they are
compared with are files or folders of baselines/. Its `__init__.py` has the descriptor (`core.recommender`), beside it

    settings    what can be chosen            model     the paper's equations
    task        split, batches, evaluation    plots     its own plots
    recommend   recommendations of a fit      world     its planted world, where the answer is known

No recommender imports another. What they share:

    core/       recommender (the descriptor), settings, base (model, task), training (the loop), checkpoint, advice
                (recommendations), logs (TensorBoard), plots and charts, and parts of models: graph, rows, sampling
    data/       tables and stores as arrays, with counts of all that is left out; splits
    metrics/    one formula each, ties by expectation, bootstrap intervals; rankings that need no training
    protocols/  data, split and tests that a paper's recommender shares with those it is compared with
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelmill.models.fit import FitResult, train
    from reelmill.models.recommendations import recommend
    from reelmill.models.registry import settings_for
    from reelmill.models.report.page import write_report
    from reelmill.models.runs import list_runs
    from reelmill.models.runs import load as load_run

_PUBLIC = {
    "FitResult": "fit:FitResult",
    "train": "fit:train",
    "recommend": "recommendations:recommend",
    "settings_for": "registry:settings_for",
    "list_runs": "runs:list_runs",
    "load_run": "runs:load",
    "write_report": "report.page:write_report",
}
"""{name: module and name of its home}, imported on first use: the room is large, and most of it needs torch."""

__all__ = ["FitResult", "list_runs", "load_run", "recommend", "settings_for", "train", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
