"""Results of jobs as plain data, which `--json` prints.

A result is a small dataclass; its fields are the keys. The metadata of a field say where that is not so: it is left out
where it is None (OPTIONAL), replaced by its own fields (INLINE), or its key is no name in Python ({"key": …}).
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

OPTIONAL = {"optional": True}
INLINE = {"inline": True}


def plain(value: Any) -> Any:
    """Dataclasses, mappings, sequences and paths as dicts, lists and texts."""
    if is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for one in fields(value):
            part = getattr(value, one.name)
            if one.metadata.get("inline"):
                found |= plain(part) or {}
            elif part is not None or not one.metadata.get("optional"):
                found[one.metadata.get("key", one.name)] = plain(part)
        return found
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
