"""The root: one folder or bucket that holds everything of a corpus. Made once, from a path or URL, and passed on.

ROOT/tables/<table>/part-….parquet      what is known: videos, events, labels, outcomes …
ROOT/features/<store>/part-….h5         vectors, one store a spec
ROOT/media/                             downloaded videos
ROOT/runs/<run>/                        fits: settings, metrics, checkpoint
ROOT/encoders/<encoder>/part-….npz      fitted text encoders

root = Root("data")                     # or Root("s3://bucket/corpus")
root.tables.read("labels")
root.features.open("c3d-fc6").read("v17").features
"""

from collections.abc import Iterable
from typing import Any

from reelmill.storage.features import Features, Snapshot
from reelmill.storage.place import AnyPath, AnyRoot, address, below, is_url, place
from reelmill.storage.tables import Tables


class Root:
    """A root on disk or on an object store. Cheap to make, and nothing is created or looked at before it is needed.

    Two roots are equal when their addresses and sources are; a root can be pickled and then means the same in another
    process.
    """

    def __init__(self, root: AnyRoot) -> None:
        """`root`: a folder, a URL such as `s3://bucket/corpus`, or a root. Raises InputError for a scheme without a
        driver, a URL that holds a secret, or a URL that was turned into a `Path`."""
        self.address: str = root.address if isinstance(root, Root) else address(root)
        """The root as text that means the same in every process: an absolute path, or the URL."""
        self.path: AnyPath = root.path if isinstance(root, Root) else place(self.address)
        """The root as a path to join to: absolute, or of the object store."""
        self.sources: frozenset[str] = root.sources if isinstance(root, Root) else frozenset()
        """The sources whose events and labels `tables` reads (`of_sources`); empty: all of them."""

    def of_sources(self, names: Iterable[str]) -> "Root":
        """The same root, of which only the events and labels of these sources are read."""
        chosen = Root(self)
        chosen.sources = frozenset(names)
        return chosen

    @property
    def name(self) -> str:
        """Last part of the address, for titles: of a whole bucket, the bucket's name."""
        return self.address.rstrip("/").rpartition("/")[2]

    @property
    def remote(self) -> bool:
        """Whether it is on an object store."""
        return is_url(self.address)

    @property
    def tables(self) -> Tables:
        """The tables: read, write, compact."""
        return Tables(self, self.sources)

    @property
    def features(self) -> Features:
        """The feature stores: list, open, verify."""
        return Features(self)

    @property
    def media(self) -> AnyPath:
        """Folder of downloaded videos."""
        return self.path / "media"

    @property
    def runs(self) -> AnyPath:
        """Folder of runs, one folder a run."""
        return self.path / "runs"

    @property
    def encoders(self) -> AnyPath:
        """Folder of fitted text encoders."""
        return self.path / "encoders"

    def file(self, uri: str) -> AnyPath:
        """The file that a `uri` of the tables names: relative to the root, or an absolute path of this machine."""
        return below(self, uri)

    def snapshot(self) -> Snapshot:
        """What the feature stores hold: take one per run and pass it to all that ask."""
        return Snapshot(self.features)

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Root({self.address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Root) and (self.address, self.sources) == (other.address, other.sources)

    def __hash__(self) -> int:
        return hash(self.address)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.address, sorted(self.sources))


def _unpickled(address: str, sources: list[str]) -> Root:
    return Root(address).of_sources(sources)
