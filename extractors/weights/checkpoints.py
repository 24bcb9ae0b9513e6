"""Records of published weights: file, address, hash, licence, and the preprocessing of pixels that the network needs.
Each extractor's module lists its own records. No torch.

No weights are shipped with reelmill. The hashes are those found in public records by others; no file could be
downloaded to confirm them here. A wrong hash makes loading fail, never pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from reelmill.extractors.weights.hashes import Hash
from reelmill.storage.errors import InputError, nearest

Layout = Mapping[str, str | None]
"""{name of a module in the file: its name in our network, or None if our network does not have it}."""


@dataclass(frozen=True)
class Pixels:
    """Preprocessing of uint8 RGB pixels: (x / divisor − mean) / std, then the channel order."""

    order: Literal["RGB", "BGR"]
    """Channel order that the first convolution expects."""
    mean: tuple[float, float, float]
    """Of red, green and blue, in this order."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue, in this order."""
    divisor: float = 1.0

    def describe(self) -> dict[str, Any]:
        """Its fields, for the spec."""
        return asdict(self)


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights."""

    name: str
    extractor: str
    file: str
    """Name of the file in the weights folder; empty if nothing was published."""
    url: str | None
    """Address for downloading; None if a program cannot download it."""
    sha256: str | None
    """Of the whole file; None if nobody published it."""
    pixels: Pixels | None
    """None if the network does not read frames."""
    licence: str
    citation: str
    note: str = ""
    git_sha1: str | None = None
    """Git's hash of a file that is published in a repository. With neither hash the user says which file to trust."""
    size: int | None = None
    """Bytes, if published."""
    non_commercial: bool = False
    layout: Layout | None = field(default=None, compare=False, repr=False)
    """None if the names of tensors in the file are those of our network."""

    @property
    def published(self) -> Hash | None:
        """The published hash: SHA-256, else git's, else None."""
        if self.sha256 is not None:
            return Hash("sha256", self.sha256)
        return Hash("git_sha1", self.git_sha1) if self.git_sha1 is not None else None


def find(records: Sequence[Checkpoint], weights: str, extractor: str) -> tuple[Checkpoint, Path | None]:
    """The record of an extractor that the setting `weights` means, and the file if `weights` is a path.

    `default` and `random` mean the first record; a name means the record of that name; a path (with a slash, or of a
    file that exists) means the record with that file name, else the first one: wrong names of tensors are refused when
    weights are installed. Raises InputError, with the nearest name, for anything else, and for `default` if nothing was
    published.
    """
    path = Path(weights).expanduser()
    published = [record for record in records if record.file]
    if weights == "random" or (weights == "default" and published):
        return records[0], None
    if "/" in weights or path.is_file():
        return next((record for record in records if record.file == path.name), records[0]), path
    if not published:
        raise InputError(
            f"weights {weights!r} for {extractor}: nobody has published any; set weights: random to try it out, or "
            "give the path of a file of your own (a path has a slash)"
        )
    for record in published:
        if record.name == weights:
            return record, None
    known = ("default", "random", *(record.name for record in published))
    raise InputError(f"weights {weights!r} for {extractor}: {nearest(weights, known)}; a path has a slash")
