"""Whether a report page still says what a root holds: the page keeps a hash of everything that it was made from.

Parts of tables and stores never change, so that their names stand for their contents.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from reelmill.storage import parts
from reelmill.storage.place import AnyPath, AnyRoot
from reelmill.storage.root import Root
from reelmill.storage.schema import SCHEMAS

_KEPT = re.compile(rb'<meta name="reelmill-state" content="([0-9a-f]{64})">')


def state_of(root: AnyRoot, title: str, runs: Sequence[AnyPath]) -> str:
    """Hash of everything that a page is made from: the parts of all tables and stores, the fits, the program."""
    root = Root(root)
    folders = [root.tables.folder / name for name in SCHEMAS]
    folders += [root.path / "features" / name for name in root.features.list()]
    made_from = {
        "title": title,
        "root": root.address,
        "parts": {str(folder): sorted(path.name for path in parts.list_parts(folder)) for folder in folders},
        "runs": [(str(run), str(parts.written_at(run / "metrics.json"))) for run in runs],
        "version": version("reelmill"),
        "program": sorted((file.name, file.stat().st_mtime_ns) for file in Path(__file__).parent.iterdir()),
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def is_current(page: AnyPath, state: str) -> bool:
    """Whether this page exists and was made from this state."""
    if parts.size(page) is None:
        return False
    found = _KEPT.search(parts.read_file(page))
    return found is not None and found[1].decode() == state
