"""The bottom room: schemas, part files, tables and feature stores. Imports nothing else of reelmill.

Read in this order: `schema` (what each table holds), `parts` (the promise: complete parts only), `tables`
(append and read), `spec` (what a feature is), `features` (the store of blocks, with its HDF5 and Parquet formats in
`hdf5` and `parquet`), `outcomes` (failures are data).

A training job needs two names:

    from storage import Tables, open_store
"""

from storage.features import FeatureStore, FeatureWriter, open_store
from storage.outcomes import Outcome, Outcomes
from storage.spec import Spec
from storage.tables import Tables

__all__ = ["FeatureStore", "FeatureWriter", "Outcome", "Outcomes", "Spec", "Tables", "open_store"]
