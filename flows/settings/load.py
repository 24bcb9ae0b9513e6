"""From a YAML file to settings. Later sources win: defaults, the file, the environment, `--set`.

    REELMILL__EXTRACT__DEVICE=cpu reelmill run settings.yaml --set extract.workers=2

An unknown key is an error that names the nearest known one.
"""

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from reelmill.extractors.registry import EXTRACTORS, find
from reelmill.flows.settings.sections import Settings, keys_of, options_of, section_of
from reelmill.flows.settings.values import home
from reelmill.pipeline.secrets import redact
from reelmill.storage.disk import named
from reelmill.storage.errors import InputError, nearest

PREFIX = "REELMILL__"

MOST_BYTES = 1 << 20
MOST_NODES = 100_000
"""Limits of a settings file: its size, and its number of values with every alias expanded. A few lines of nested
aliases can expand to more than any memory holds."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 160


def load(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    *,
    root: str | None = None,
) -> Settings:
    """Settings from `base`, a YAML file, the environment, `root`, and `key.sub=value` overrides (values are YAML).

    Relative paths in the file start at the file's folder. Raises InputError naming the key and the rule.
    """
    values: dict[str, Any] = dict(base or {})
    if path is not None:
        values = _merge(values, _read(path))
        _anchor(values, path.resolve().parent)
    for name, text in sorted(os.environ.items()):
        if name.startswith(PREFIX):
            _put(values, name.removeprefix(PREFIX).lower().split("__"), value(text), name)
    if root is not None:
        values["root"] = root
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r}: give key=value, such as --set extract.device=cpu")
        _put(values, key.split("."), value(text), f"--set {key}")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise InputError(f"settings file {path} has more than {MOST_BYTES >> 20} MiB; is it another file?")
        with named(path):
            values = _parsed(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise InputError(f"settings file {path} is a folder; give the file in it") from None
    except UnicodeDecodeError:
        raise InputError(f"settings file {path} is not text in UTF-8; give a YAML file") from None
    except FileNotFoundError:
        raise InputError(
            f"settings file {path} does not exist; `reelmill settings > {path}` or `reelmill init TABLE` writes one"
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"settings file {path} is not YAML: {redact(str(error))}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"settings file {path} holds {type(values).__name__}, expected keys and values")
    return values


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Make the file's relative paths independent of where the command is typed."""
    extractors = _inside(values, "extract", "extractors")
    places = [(values, "root"), (_inside(values, "source"), "path"), (_inside(values, "download"), "cookies_file")]
    for name in EXTRACTORS.keys() & extractors.keys():
        chosen = _inside(extractors, name)
        places += [(chosen, key) for key in find(name).settings.paths(chosen)]
    for section, key in places:
        if isinstance(section.get(key), str) and "://" not in section[key]:
            section[key] = str(folder / home(section[key]))


def _inside(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The section under these keys, as written; an empty one if there is none."""
    inner: Any = values
    for key in keys:
        inner = inner.get(key) if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(dict(merged[key]), value) if both else value
    return merged


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, what: str) -> None:
    for key in keys[:-1]:
        inner = values.get(key)
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            raise InputError(f"{what}: {key!r} is a value, not a section")
        values = inner
    values[keys[-1]] = value


def value(text: str) -> Any:
    """Text from the command line or the environment, parsed as YAML; the text itself if it is not YAML."""
    try:
        return _parsed(text)
    except yaml.YAMLError:
        return text


class _Loader(yaml.SafeLoader):
    """Plain YAML in which a number is what people mean by it. YAML 1.1 reads 010 as 8 and 1:30 as 90: these, 1_000 and
    1e-3 stay texts, and the setting that they are for reads them as its number, its name, or refuses them."""


NUMBERS = {
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
"""{type: what is read as one, and how it begins}"""
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in NUMBERS}
_Loader.yaml_implicit_resolvers = {
    first: [known for known in resolvers if known[0] not in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_rule, _begin) in NUMBERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_rule})$"), list(_begin))


def _parsed(text: str) -> Any:
    """YAML as plain values, without code and objects. Raises YAMLError, also where PyYAML raises other errors."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _nodes(node, {}) > MOST_NODES:
            raise yaml.YAMLError(f"with its aliases expanded it has more than {MOST_NODES:,} values")
        return None if node is None else loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:  # a date like 2001-99-99
        raise yaml.YAMLError(f"a value cannot be read ({error})") from None
    finally:
        loader.dispose()


def _nodes(node: yaml.Node, known: dict[int, int | None]) -> int:
    """The number of values in a node, with aliases expanded. `known`: counts of nodes; None while one is counted."""
    if id(node) not in known:
        known[id(node)] = None
        inside: list[Any] = node.value if isinstance(node.value, list) else []
        flat = [part for item in inside for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_nodes(part, known) for part in flat)
    count = known[id(node)]
    if count is None:
        raise yaml.YAMLError("an alias contains itself")
    return count


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = keys_of(_section_at(where[:-1]))
            lines.append(f"setting {'.'.join(where)!r} is not known; {nearest(where[-1], known)}")
        elif problem["type"] == "missing":
            lines.append(f"setting {'.'.join(where)!r} is missing; give it in the file or by --set {'.'.join(where)}=…")
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            secret = where in (["download"], ["download", "proxy"])
            given = "" if secret else f" (given: {_SHORT.repr(problem['input'])})"
            lines.append(f"setting {'.'.join(where)}: {rule}{given}")
    return redact("\n".join(lines))


def _section_at(keys: Sequence[str]) -> type:
    """The section under these keys of the settings."""
    section: type = Settings
    for key in keys:
        if issubclass(section, BaseModel) and key in section.model_fields:
            annotation = section.model_fields[key].annotation
            section = section_of(annotation) or options_of(annotation) or section
    return section
