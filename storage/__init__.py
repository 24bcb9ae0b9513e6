"""The bottom room: schemas, part files, tables and feature stores. Imports nothing else of reelmill.

Read in this order: `schema` (what each table holds), `place` (a root on disk or on an object store), `parts` (the
promise: complete parts only; with `objects` and `cache` what it takes on an object store), `tables`
(append and read), `spec` (what a feature is), `blocks` and `features` (the store of blocks; `writer` fills it, `shards`
with its formats `hdf5` and `parquet` are its files), `outcomes` (failures are data), `export`, `compact` and `verify`.

A training job needs two names:

    from reelmill.storage import Tables, open_store
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelmill.storage.blocks import Block
    from reelmill.storage.features import open_store
    from reelmill.storage.outcomes import Outcome, Outcomes
    from reelmill.storage.root import Root
    from reelmill.storage.spec import Spec
    from reelmill.storage.store import FeatureStore
    from reelmill.storage.tables import Tables
    from reelmill.storage.writer import FeatureWriter

__all__ = ["Block", "FeatureStore", "FeatureWriter", "Outcome", "Outcomes", "Root", "Spec", "Tables", "open_store"]

_HOME = {
    "Block": "blocks",
    "FeatureStore": "store",
    "FeatureWriter": "writer",
    "Outcome": "outcomes",
    "Outcomes": "outcomes",
    "Root": "root",
    "Spec": "spec",
    "Tables": "tables",
    "open_store": "features",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: download and decode processes need `reelmill.storage.errors` only, and
    start twice as fast without pyarrow and h5py."""
    if name in _HOME:
        return getattr(import_module(f"reelmill.storage.{_HOME[name]}"), name)
    raise AttributeError(f"module 'reelmill.storage' has no attribute {name!r}")
