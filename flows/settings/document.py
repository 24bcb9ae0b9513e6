"""The settings as text and as rows: every key with its meaning and its default, read off the models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reelmill.extractors.core.settings import ExtractorSettings, SettingRow, rows_of
from reelmill.extractors.registry import descriptors
from reelmill.flows.settings.sections import Settings, options_of, section_of

EXTRACTORS = "extractors"
"""The one field whose keys are those of the extractors' own classes."""


def document(model: type[BaseModel] = Settings, indent: int = 0) -> str:
    """The whole settings file as commented YAML: every key, its meaning, its default."""
    lines = []
    for name, field in model.model_fields.items():
        pad = "  " * indent
        lines.append(f"{pad}# {field.description}")
        if name == EXTRACTORS:
            lines += [f"{pad}{name}:", *(f"{pad}  {line}" for line in _extractors(_default(field)))]
            continue
        if (options := options_of(field.annotation)) is not None:
            lines += [f"{pad}{name}:", *(f"{pad}  {line}" for line in _commented(rows_of(options)))]
            continue
        section = section_of(field.annotation)
        if section is not None and (example := _example(field)):
            lines += [f"{pad}{name}:", f"{pad}  {example}:", document(section, indent + 2).rstrip("\n")]
        elif section is not None:
            lines += [f"{pad}{name}:", document(section, indent + 1).rstrip("\n")]
        elif field.is_required():
            lines.append(f"{pad}{name}: …  # required")
        else:
            lines.append(f"{pad}{name}: {one_line(_default(field))}")
    return "\n".join(lines) + "\n"


def described(model: type[BaseModel] = Settings, prefix: str = "") -> list[dict[str, Any]]:
    """The same as rows {key, required, default, meaning}, keys as `--set` takes them, with those of every extractor;
    transgrec stands for any recommender."""
    rows: list[dict[str, Any]] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if name == EXTRACTORS:
            for known in descriptors():
                rows += _optional(f"{key}.{known.name}", known.settings.rows())
            continue
        if (options := options_of(field.annotation)) is not None:
            rows += _optional(key, rows_of(options))
            continue
        section = section_of(field.annotation)
        if section is not None:
            rows += described(section, ".".join(filter(None, (key, _example(field)))) + ".")
            continue
        required = field.is_required()
        default = None if required else _default(field)
        rows.append({"key": key, "required": required, "default": default, "meaning": field.description})
    return rows


def _commented(rows: Sequence[SettingRow]) -> list[str]:
    """Two lines for each setting: its meaning as a comment, and its default."""
    return [
        line for row in rows for line in (f"# {' '.join(row.meaning.split())}", f"{row.name}: {one_line(row.default)}")
    ]


def _optional(prefix: str, rows: Sequence[SettingRow]) -> list[dict[str, Any]]:
    """Rows of `described` for settings that all have a default."""
    return [
        {"key": f"{prefix}.{row.name}", "required": False, "default": row.default, "meaning": row.meaning}
        for row in rows
    ]


def _extractors(chosen: Mapping[str, ExtractorSettings]) -> list[str]:
    """Those chosen, with every setting; then what other extractors there are, a commented line each."""
    lines = []
    for name, settings in chosen.items():
        lines += [f"{name}:", *(f"  {line}" for line in _commented(settings.rows()))]
    lines.append("# Others, what they read, their layers and their settings:")
    for known in descriptors():
        if known.name not in chosen:
            layers = ", ".join(f"{layer} ({dim:,})" for layer, dim in known.layers.items())
            keys = ", ".join(row.name for row in known.settings.rows())
            lines.append(f"# {known.name}: {known.input} → {layers}; {keys}")
    return lines


def _example(field: FieldInfo) -> str:
    """The default key of a dict of sections; empty for a single section."""
    default = field.get_default(call_default_factory=True)
    return next(iter(default)) if isinstance(default, dict) else ""


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return str(value) if isinstance(value, Path) else value


def one_line(value: Any) -> str:
    """A value as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").rstrip("\n")
