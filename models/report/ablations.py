"""Runs that differ in one setting alone, such as TransGRec's depth: what the setting does, as one chart."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reelmill.models.core import charts

SHOWN = 4
"""Metrics of a chart."""
NEVER = ("seed",)
"""Settings that are no choice."""


def charts_of(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One dict for each setting in which several runs differ, while model, data, stores, code and all other settings
    are equal: `model`, `home`, `setting`, `values` and `chart`. A run has what `report` gives it: `asked`, its
    `settings.json`; `home`; `model`; and `tables`. Of runs that were asked the same, the last one counts."""
    found = []
    names = dict.fromkeys(name for run in runs for name in run["asked"].get("settings", {}) if name not in NEVER)
    for setting in names:
        families: dict[str, dict[str, Mapping[str, Any]]] = {}
        for run in runs:
            if setting in (settings := run["asked"].get("settings", {})):
                rest = {**run["asked"], "settings": {k: v for k, v in settings.items() if k != setting}}
                family = json.dumps([run["home"], rest], sort_keys=True)
                families.setdefault(family, {})[json.dumps(settings[setting])] = run
        found += [_chart(setting, family) for family in families.values() if len(family) > 1]
    return found


def _chart(setting: str, family: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`family`: {value of the setting as JSON: run}."""
    runs = sorted(family.items(), key=lambda pair: _place(json.loads(pair[0])))
    model, home = runs[0][1]["model"], runs[0][1]["home"]
    tables = [run["tables"]["main"] for _, run in runs]
    metrics = [m for m in tables[0]["metrics"] if all(m["name"] in t["lines"].get(model, {}) for t in tables)][:SHOWN]
    series = {
        metric["name"] + " ↓" * (metric["better"] == "lower"): [t["lines"][model][metric["name"]] for t in tables]
        for metric in metrics
    }
    values = [str(json.loads(value)) for value, _ in runs]
    chart = charts.points(values, series, setting, "mean, 95 % interval", joined=True) if series else b""
    return {"model": model, "home": home, "setting": setting, "values": values, "chart": chart}


def _place(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then words by the alphabet."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)
