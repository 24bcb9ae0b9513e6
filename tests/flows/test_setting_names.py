"""Settings that messages name exist: whoever reads one can write it into the file."""

import ast
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from reelmill.flows.settings.sections import Settings

HERE = Path(__file__).parents[2]
ROOMS = ("flows", "pipeline", "extractors", "models", "storage")
DOTTED = re.compile(r"(?<![\w./:@{}*<>-])([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+)(?![\w/(-])")
SET = re.compile(r"--set '?([a-z][a-z0-9_.]*)=")
FILES = {"bin", "csv", "dat", "data", "html", "json", "jsonl", "mp4", "npy", "npz", "parquet", "pickle", "pt", "pth",
         "sql", "tsv", "tfevents", "txt", "yaml", "yml"}  # fmt: skip
FOREIGN = {"gensim", "newest", "os", "prefect", "reelmill", "side", "stored", "torch", "user", "yt_dlp"}
"""Packages, tables of a query, and columns of a table of fields."""


def exists(name: str) -> bool:
    """Whether the settings have this key. Below a mapping, such as `train.models`, names are free."""
    kind: Any = Settings
    for part in name.split("."):
        while get_origin(kind) is not None and get_origin(kind) is not dict and get_args(kind):
            kind = next((a for a in get_args(kind) if get_origin(a) is dict or isinstance(a, type)), None)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields: dict[str, Any] = {key: field.annotation for key, field in kind.model_fields.items()}
        elif is_dataclass(kind):
            fields = get_type_hints(kind)
        else:
            return get_origin(kind) is dict or kind is dict
        if part not in fields:
            return False
        kind = fields[part]
    return True


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of what looks like the name of a setting, in the messages of a module: its strings of several words,
    without the docstrings."""
    tree = ast.parse(source)
    docs = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if (
            not (isinstance(node, ast.Constant) and isinstance(node.value, str))
            or node in docs
            or " " not in node.value
        ):
            continue
        if "\\" in node.value:  # a pattern
            continue
        told = {*SET.findall(node.value)} - {"key"}
        told |= {name for name in DOTTED.findall(node.value) if name.split(".")[0] not in FOREIGN}
        yield from ((node.lineno, name) for name in sorted(told) if not re.search(rf"[.](\w|{'|'.join(FILES)})$", name))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("extract.max_seconds", True),
        ("train.models.jifr.stores.item", True),
        ("serve.schedules.run", True),
        ("source.mapping", True),
        ("retry_failed", True),
        ("download.cookies_file", True),
        ("limits.max_frames", False),
        ("extract.max_frames", False),
        ("extract.device.name", False),
    ],
)
def test_a_name_is_looked_up(name: str, there: bool) -> None:
    assert exists(name) is there


def test_names_are_found_in_messages() -> None:
    source = '"""Of a.b c."""\nraise Error(f"{n} frames (limits.max_frames); give --set \'train.names=[1]\' in a.yaml")'
    assert [name for _, name in names_in(source)] == ["limits.max_frames", "train.names"]


def test_every_setting_that_a_message_names_exists() -> None:
    found = [
        (f"{path.relative_to(HERE)}:{line}", name)
        for room in ROOMS
        for path in sorted((HERE / room).rglob("*.py"))
        for line, name in names_in(path.read_text())
    ]
    assert len({name for _, name in found}) > 20, "the messages name settings"
    assert [one for one in found if not exists(one[1])] == []
