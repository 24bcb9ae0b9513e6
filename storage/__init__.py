"""The bottom room: schemas, part files, tables and feature stores. Imports nothing else of reelmill.

Read in this order: `root` (a folder or bucket with everything of a corpus), `schema` (what each table holds), `parts`
(the promise: complete parts only; `objects` and `cache` keep it on an object store, `place` and `disk` are below),
`tables` (append and read), `spec` (what a feature is), `blocks`, `store` (read), `writer`, `features` (the stores of a
root), `shards` (the files of a store; `formats`, `hdf5`, `parquet`), `outcomes` (failures are data), `export`,
`compact`, `verify` and `views` (what plain SQL readers see).

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
    """Import a name on first use: download and decode processes need `reelmill.storage.errors` only, and start twice as
    fast without pyarrow and h5py."""
    if name in _HOME:
        return getattr(import_module(f"reelmill.storage.{_HOME[name]}"), name)
    raise AttributeError(f"module 'reelmill.storage' has no attribute {name!r}")
