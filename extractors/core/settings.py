"""Settings that all extractors share, and how they are read from plain values. No torch and no pydantic.

extract:
  extractors:
    c3d: {layers: [fc6, conv5], windows: 2}     # → C3DSettings.of("c3d", {"layers": [...], "windows": 2})
"""

import ast
import inspect
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from math import isfinite
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from reelmill.storage.errors import InputError, nearest

MOST_WINDOWS = 1 << 16
"""Largest number of windows in a batch or a segment."""


@dataclass(frozen=True)
class Compute:
    """Device and precision, the same for every extractor of a run. Extractors without a network ignore them."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:<n>`."""
    precision: str = "auto"
    """`auto`, `float32` or `bfloat16`."""
    compile: bool = False
    """Compile networks with torch.compile: they round differently, so it is part of the spec."""


@dataclass(frozen=True)
class SettingRow:
    """One setting with its default and its meaning."""

    name: str
    default: Any
    meaning: str


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """Settings of every extractor. Each extractor's own settings are a subclass, with a docstring below each field."""

    layers: tuple[str, ...] | None = None
    """Layers to store, each in a store of its own; the extractor's default if not given."""

    def __post_init__(self) -> None:
        """Raises InputError for a value that breaks a rule."""
        if self.layers is not None and not 0 < len(set(self.layers)) == len(self.layers):
            raise InputError(f"layers {list(self.layers)}: name at least one, and each once")

    def above_zero(self, *names: str) -> None:
        """Raise InputError if one of these settings is given and not above 0."""
        for name in names:
            if (value := getattr(self, name)) is not None and value <= 0:
                raise InputError(f"{name} {value}: must be above 0")

    def within(self, **ranges: tuple[int, int]) -> None:
        """Raise InputError if one of these settings is given and not in its range, both ends included."""
        for name, (least, most) in ranges.items():
            if (value := getattr(self, name)) is not None and not least <= value <= most:
                raise InputError(f"{name} {value}: must be from {least} to {most}")

    def files(self) -> dict[str, Path]:
        """{setting: path} of the files that the settings name."""
        given = {
            name: getattr(self, name) for name, hint in get_type_hints(type(self)).items() if Path in _members(hint)
        }
        return {name: path for name, path in given.items() if path is not None}

    @classmethod
    def of(cls, extractor: str, values: Mapping[str, Any]) -> Self:
        """Settings from plain values, each converted to the type of its setting: `"1e-3"` to a number, `[fc6]` to a
        tuple; None means the default. Raises InputError for an unknown key or a value of another type."""
        known = {field.name: field for field in fields(cls)}
        hints = get_type_hints(cls)
        given = {}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{extractor} has no setting {name!r}: {nearest(str(name), tuple(known))}")
            if value is not None:
                given[name] = _typed(f"{name} of {extractor}", hints[name], value)
        try:
            return cls(**given)
        except InputError as error:
            raise InputError(f"{extractor}: {error}") from None

    @classmethod
    def paths(cls, values: Mapping[str, Any]) -> list[str]:
        """The keys of plain values that name files; relative paths start at the folder of the settings file."""
        return [name for name, hint in get_type_hints(cls).items() if name in values and _is_file(hint)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values as in a settings file; inverse of `of`."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def rows(cls) -> list[SettingRow]:
        """Every setting with its default and its docstring, those of all extractors first."""
        return rows_of(cls)


@dataclass(frozen=True, kw_only=True)
class WindowSettings(ExtractorSettings):
    """Settings of extractors of frames and sound, which compute batches of windows."""

    batch_size: int | None = None
    """Windows computed at once; chosen by device if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("batch_size")
        self.within(batch_size=(1, MOST_WINDOWS))


def rows_of(cls: type) -> list[SettingRow]:
    """Every field of a dataclass of settings with its default and its docstring, those of its bases first."""
    meanings = _docstrings(cls)
    return [
        SettingRow(f.name, None if f.default is MISSING else _plain(f.default), meanings[f.name]) for f in fields(cls)
    ]


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; of another hint, itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_file(hint: Any) -> bool:
    return Path in _members(hint)


def _typed(name: str, hint: Any, value: Any) -> Any:
    """The value converted to the type of a setting. Raises InputError."""
    (kind,) = (member for member in _members(hint) if member is not NoneType)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{name} {value!r}: {nearest(str(value), get_args(kind))}")
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise InputError(f"{name} {value!r}: must be a list of names")
    if kind is bool or isinstance(value, bool):
        return _same(name, kind, value)
    if kind is Path:
        return _path(name, value)
    if kind is str:
        return str(value) if isinstance(value, int | float) else _same(name, kind, value)
    try:
        if not isinstance(value, int | float | str) or not isfinite(number := float(value)):
            raise ValueError
        if kind is float:
            return number
        if number != int(number):
            raise ValueError
        return int(value)
    except (ValueError, OverflowError):
        raise InputError(f"{name} {value!r}: must be a {'whole ' if kind is int else ''}number") from None


def _same(name: str, kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise InputError(f"{name} {value!r}: must be {'true or false' if kind is bool else f'of type {kind.__name__}'}")
    return value


def _path(name: str, value: Any) -> Path:
    """A path on this machine, with `~` expanded."""
    text = str(value) if isinstance(value, Path) else _same(name, str, value)
    if "://" in text.removeprefix("file://") or "\0" in text:
        raise InputError(f"{name} {text!r}: only paths on this machine can be given")
    return Path(os.path.expanduser(text.removeprefix("file://")))  # noqa: PTH111 (that of Path raises for no user)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _docstrings(cls: type) -> dict[str, str]:
    """{field: its docstring} of the class and its bases."""
    found: dict[str, str] = {}
    for kind in reversed(cls.__mro__[:-1]):
        body = ast.parse(dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                found[field.target.id] = inspect.cleandoc(ast.literal_eval(below.value))  # type: ignore[union-attr]
    return found
