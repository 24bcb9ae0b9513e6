"""The feature stores of a root: list, open, check, and ask which videos they hold.

    ROOT/features/c3d-fc6-1f0c22ab/part-….h5      (or .parquet; a folder may hold both)

`store` reads one of them, `writer` writes one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reelmill.storage import parts
from reelmill.storage.blocks import NO_DATA, PADDED, VALID, Block
from reelmill.storage.errors import CorruptPart, InputError, nearest
from reelmill.storage.place import AnyPath, AnyRoot
from reelmill.storage.shards import SUFFIX, SUFFIXES, Format, Shard
from reelmill.storage.spec import Spec
from reelmill.storage.store import FeatureStore, View, verify_folder
from reelmill.storage.writer import FeatureWriter, features_folder

__all__ = [
    "NO_DATA", "PADDED", "SUFFIX", "VALID", "Block", "FeatureStore", "FeatureWriter", "Features", "Format", "Shard",
    "Snapshot", "View", "features_folder", "list_stores", "open_store", "present", "sweep", "verify",
]  # fmt: skip


class Features:
    """The stores under `ROOT/features`. Nothing is cached: each call looks at the folder as it is now."""

    def __init__(self, root: AnyRoot) -> None:
        self.folder = features_folder(root)

    def list(self) -> list[str]:
        """Names of the stores that hold at least one shard, sorted."""
        return [name for name in parts.folders(self.folder) if parts.list_parts(self.folder / name, SUFFIXES)]

    def find(self, name: str) -> AnyPath:
        """Folder of a store, by its name (`c3d-fc6-1f0c22ab`) or by a prefix that only one store has (`c3d-fc6`).
        Raises InputError."""
        known = self.list()
        fits = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
        if len(fits) > 1:
            raise InputError(f"store {name!r} is ambiguous: {', '.join(fits)}; give the whole name")
        if not fits:
            raise InputError(f"no store {name!r} under {self.folder}; {nearest(name, known) if known else 'none yet'}")
        return self.folder / fits[0]

    def open(self, name: str) -> FeatureStore:
        """Open a store by its name or by a prefix that only one store has. Raises InputError."""
        return FeatureStore(self.find(name))

    def of(self, spec: Spec) -> FeatureStore:
        """The store of this spec; empty if nothing was written to it yet."""
        return FeatureStore(self.folder / spec.name, spec)

    def verify(self, name: str) -> Sequence[CorruptPart]:
        """Check a store against its checksums, also one that cannot be opened; one error for each damaged shard."""
        return verify_folder(self.find(name))

    def sweep(self) -> Sequence[Path]:
        """Remove the temporary files of dead writers in every store, also in those without a shard."""
        return [path for name in parts.folders(self.folder) for path in parts.sweep(self.folder / name)]


class Snapshot:
    """Which blocks the stores of a root hold: read once per run and passed to all that ask, since reading the indexes
    of all stores again for each block of videos would make a run quadratic. `refresh` lists the folders again and
    reads the indexes of new shards only. For one thread."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self._stores: dict[str, FeatureStore] = {}

    def store(self, spec: Spec) -> FeatureStore:
        """The store of this spec, as it was when first asked for or last refreshed; empty if there is none yet."""
        if spec.name not in self._stores:
            self._stores[spec.name] = self.features.of(spec)
        return self._stores[spec.name]

    def present(self, spec: Spec, inputs: Mapping[str, str], key: str) -> set[str]:
        """Those of the ids in `inputs`, {id: hash of what a block is made from}, whose block was made from that very
        input. `key` is the hash's name in the provenance; a block without it counts."""
        known = self.store(spec).provenance(inputs)
        return {name for name, made in known.items() if made.get(key, inputs[name]) == inputs[name]}

    def refresh(self, specs: Iterable[Spec]) -> None:
        """See what was committed to these stores since."""
        for spec in specs:
            if spec.name in self._stores:
                self._stores[spec.name].refresh()


def list_stores(root: AnyRoot) -> list[str]:
    """Names of the stores of a root that hold at least one shard, sorted."""
    return Features(root).list()


def open_store(root: AnyRoot, name: str) -> FeatureStore:
    """Open a store by its name (`c3d-fc6-1f0c22ab`) or by a prefix that only one store has (`c3d-fc6`)."""
    return Features(root).open(name)


def present(root: AnyRoot, spec: Spec) -> set[str]:
    """Ids of the videos that have a block under this spec; empty if there is no store yet. Reads no rows, and no shard
    twice in a process."""
    return set(Features(root).of(spec).keys())


def verify(root: AnyRoot, name: str) -> list[CorruptPart]:
    """Check a store, also one that cannot be opened; one error for each damaged shard."""
    return list(Features(root).verify(name))


def sweep(root: AnyRoot) -> list[Path]:
    """Remove the temporary files of dead writers in every store, also in those without a shard."""
    return list(Features(root).sweep())
