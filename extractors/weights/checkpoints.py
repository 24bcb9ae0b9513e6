"""Published weights: one record a file, with the pixels that it was trained on. Each extractor has its own records.

No torch here, so that a command can list them at once. No weights are shipped. Hashes are those found in public
records by others (no file could be fetched to confirm them here): a wrong one makes loading fail, never pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from reelmill.extractors.weights.hashes import Hash
from reelmill.storage.errors import InputError, nearest

Layout = Mapping[str, str | None]
"""Module name in the file → module name in our network, or None for one that we do not have."""


@dataclass(frozen=True)
class Pixels:
    """From uint8 RGB to what the network was trained on: (x / divisor − mean) / std, then the channel order."""

    order: Literal["RGB", "BGR"]
    """Order of the channels that the first convolution sees."""
    mean: tuple[float, float, float]
    """Of red, green and blue, whatever the order."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue."""
    divisor: float = 1.0

    def describe(self) -> dict[str, Any]:
        """For the spec."""
        return asdict(self)


@dataclass(frozen=True)
class Checkpoint:
    """One published file of weights."""

    name: str
    extractor: str
    file: str
    """Name of the file in the weights folder."""
    url: str | None
    """None: no address from which a program can fetch it."""
    sha256: str | None
    """Of the whole file. None: no source of it is known."""
    pixels: Pixels | None
    """None: its network sees no frames."""
    licence: str
    citation: str
    note: str = ""
    git_sha1: str | None = None
    """Of the blob, for a file that is published in a git repository. Neither: the user says which file to trust."""
    size: int | None = None
    """Bytes, where published."""
    non_commercial: bool = False
    layout: Layout | None = field(default=None, compare=False, repr=False)
    """None: the file's names are the network's."""

    @property
    def published(self) -> Hash | None:
        """What the file must have: its SHA-256, or git's hash where that alone is known."""
        if self.sha256 is not None:
            return Hash("sha256", self.sha256)
        return Hash("git_sha1", self.git_sha1) if self.git_sha1 is not None else None


def find(records: Sequence[Checkpoint], weights: str, extractor: str) -> tuple[Checkpoint, Path | None]:
    """The record that a user's `weights` means, of those of an extractor, and the file if `weights` is a path.

    `default` and `random` mean the first record, a name the one so called, and a path (with a slash, or of a file that
    exists) the one whose file has that name, else the first: names of tensors that are not that record's are refused
    when they are installed. Raises InputError, with the nearest name, for anything else, and for `default` where
    nothing was published.
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
