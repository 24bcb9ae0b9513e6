"""Ablations: runs that differ in one setting alone, such as TransGRec's depth, as one chart of their metrics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelmill.models.core import charts
from reelmill.models.report.cards import Card

SHOWN = 4
"""Metrics of a chart."""
NEVER = ("seed",)
"""Settings that are not chosen for their effect."""


@dataclass(frozen=True)
class Ablation:
    """What one setting changes."""

    model: str
    home: str
    """Name of the root of the runs."""
    setting: str
    values: list[str]
    """Of the setting, in order."""
    chart: bytes
    """SVG file: the metrics by value."""


def find_ablations(runs: Sequence[Card]) -> list[Ablation]:
    """One for each setting in which several runs differ, while model, data, stores, code and all other settings are
    equal. Of runs with one identity the last one counts."""
    found = []
    names = dict.fromkeys(name for run in runs for name in run.identity.get("settings", {}) if name not in NEVER)
    for setting in names:
        families: dict[str, dict[str, Card]] = {}
        for run in runs:
            if setting in (settings := run.identity.get("settings", {})):
                rest = {**run.identity, "settings": {k: v for k, v in settings.items() if k != setting}}
                family = json.dumps([run.home, rest], sort_keys=True)
                families.setdefault(family, {})[json.dumps(settings[setting])] = run
        found += [_ablation(setting, family) for family in families.values() if len(family) > 1]
    return found


def _ablation(setting: str, family: Mapping[str, Card]) -> Ablation:
    """`family`: {value of the setting as JSON: run}."""
    runs = sorted(family.items(), key=lambda pair: _order(json.loads(pair[0])))
    model, home = runs[0][1].model, runs[0][1].home
    tables = [run.main for _, run in runs]
    metrics = [m for m in tables[0].metrics if all(m["name"] in t.lines.get(model, {}) for t in tables)][:SHOWN]
    series = {
        metric["name"] + " ↓" * (metric["better"] == "lower"): [t.lines[model][metric["name"]] for t in tables]
        for metric in metrics
    }
    values = [str(json.loads(value)) for value, _ in runs]
    chart = charts.points(values, series, setting, "mean, 95 % interval", joined=True) if series else b""
    return Ablation(model, home, setting, values, chart)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then words by the alphabet."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)
