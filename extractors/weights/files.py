"""Files of weights: list, download, import and verify them. No torch.

They are kept in `$REELMILL_WEIGHTS` (default `~/.cache/reelmill/weights`). If a user trusts another file than the
published one, its hash is kept in `FILE.sha256`, in the format of `sha256sum --check`.
"""

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reelmill.extractors.weights.checkpoints import Checkpoint, Pixels
from reelmill.extractors.weights.fetch import fetch
from reelmill.extractors.weights.hashes import Hash, Kind, sha256_of
from reelmill.storage.errors import InputError
from reelmill.storage.parts import replacing, write_file

logger = logging.getLogger(__name__)

State = Literal["missing", "verified", "wrong", "unverified"]
"""The file does not exist; has the expected hash; has another one; or its hash is neither published nor given."""


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights, and what is in the weights folder."""

    name: str
    """Of the record, as are the fields below that say nothing else."""
    extractor: str
    file: str
    path: Path
    """Where it is looked for."""
    state: State
    expected: str | None
    """Hash that it must have, `sha256 …`; None if nobody published or gave one."""
    found: str | None
    """Hash that it has; None if it does not exist."""
    url: str | None
    size: int | None
    pixels: Pixels | None
    licence: str
    non_commercial: bool
    citation: str
    note: str


@dataclass(frozen=True)
class WeightFiles:
    """The weights folder and some of its files."""

    folder: Path
    weights: list[WeightFile]


def folder() -> Path:
    """The weights folder: `$REELMILL_WEIGHTS`, default `~/.cache/reelmill/weights`."""
    return Path(os.environ.get("REELMILL_WEIGHTS") or "~/.cache/reelmill/weights").expanduser()


def place(record: Checkpoint) -> Path:
    """Path of a record's file in the weights folder."""
    return folder() / record.file


def describe_files(records: Iterable[Checkpoint]) -> WeightFiles:
    """The weights folder and the file of each record, which is hashed whole."""
    return WeightFiles(folder(), [_described(record) for record in records])


def fetch_file(record: Checkpoint, sha256: str | None = None) -> WeightFiles:
    """Download a record's file unless the right one exists; returns its row. Raises InputError as `download` does."""
    file = place(record)
    expected = expected_hash(record, file, sha256)
    if not file.is_file() or _hash(file, expected.kind) != expected:
        download(record, file, expected)
    _keep_hash(record, expected)
    return describe_files((record,))


def import_file(record: Checkpoint, path: Path, sha256: str | None = None) -> WeightFiles:
    """Copy a file into the weights folder as the file of a record; returns its row.

    `sha256`: hash of the file that the user trusts instead of the published one; it is kept. Raises InputError if the
    file does not exist, has another hash, no hash is known, or it cannot be copied.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    expected = expected_hash(record, path, sha256)
    try:
        with path.open("rb") as source, replacing(place(record)) as temporary, temporary.open("w+b") as out:
            shutil.copyfileobj(source, out)
            if (found := Hash.of(out, expected.kind)) != expected:
                raise InputError(
                    f"{path}: its {found.kind} is {found.digits}, that of {record.name} should be {expected.digits}. "
                    "Give --sha256 with its hash if you trust it"
                )
    except OSError as error:
        raise InputError(f"{path} cannot be copied to {place(record)}: {error}") from error
    _keep_hash(record, expected)
    return describe_files((record,))


def verify_file(record: Checkpoint) -> WeightFiles:
    """The row of a record's file. Raises InputError if the file does not exist."""
    if not place(record).is_file():
        raise InputError(f"{place(record)} does not exist; get it with `reelmill weights fetch {record.name}`")
    return describe_files((record,))


def present(records: Iterable[Checkpoint]) -> list[Checkpoint]:
    """The records whose files exist."""
    return [record for record in records if place(record).is_file()]


def expected_hash(record: Checkpoint, file: Path, given: str | None) -> Hash:
    """The hash that a file must have: the one that is given, the one kept with the file, or the published one.

    Raises InputError if there is none.
    """
    if given:
        return sha256_of(given, "weights_sha256")
    if expected := _kept_hash(record, file) or record.published:
        return expected
    if file.is_file():
        digits = _hash(file, "sha256").digits
        keep = f", or keep it with `reelmill weights import {record.name} {file} --sha256 {digits}`"
        raise InputError(
            f"{file}: no hash of {record.name} is published, so say which file you trust. "
            f"If it is this one, set weights_sha256: {digits}{keep if record.file else ''}"
        )
    if not record.file:
        raise InputError(f"weights {file}: no such file")
    raise InputError(
        f"no hash of {record.name} is published, so it is not downloaded. Get it ({record.url or record.note}), "
        f"put it at {file}, and set weights_sha256 to its SHA-256; or set weights: random to go on without"
    )


def located(record: Checkpoint, path: Path | None, sha256: str | None) -> tuple[Path, Hash]:
    """A record's file, `path` or that in the folder, downloaded if it is missing there, and the hash that it should
    have. Arguments and errors as of `load.load`."""
    file = path or place(record)
    expected = expected_hash(record, file, sha256)
    if not file.is_file():
        if path is not None:
            raise InputError(f"weights {path}: no such file")
        download(record, file, expected)
    return file, expected


def ensure(record: Checkpoint, path: Path | None = None, sha256: str | None = None) -> None:
    """Have a record's file, and compare its hash. Arguments and errors as of `load.load`, which does the same before
    it reads the tensors."""
    file, expected = located(record, path, sha256)
    if (found := _hash(file, expected.kind)) != expected:
        raise InputError(wrong_hash(record, file, found, expected))


def wrong_hash(record: Checkpoint, file: Path, found: Hash, expected: Hash) -> str:
    """What to say of a file that is another one than it should be."""
    return (
        f"{file}: its {found.kind} is {found.digits}, that of {record.name} should be {expected.digits}. "
        "Delete the file to download it again, or give its hash as weights_sha256 if you trust it"
    )


def download(record: Checkpoint, file: Path, expected: Hash) -> None:
    """Download the record's file. Raises InputError that says where to put it if that fails."""
    try:
        if record.url is None:
            raise OSError(f"no program can download it; {record.note}")
        logger.info("downloading %s from %s", record.name, record.url)
        fetch(record.url, file, expected, size=record.size)
    except OSError as error:
        raise InputError(
            f"the weights {record.name} do not exist here and cannot be downloaded: {error}. "
            f"Put the file from {record.url or 'its authors'} at {file} ({expected}), "
            "give its path as weights, name another folder in $REELMILL_WEIGHTS, "
            "or set weights: random to go on without"
        ) from error


def _described(record: Checkpoint) -> WeightFile:
    file, expected, found = place(record), record.published, None
    state: State = "missing"
    if file.is_file():
        expected = _kept_hash(record, file) or expected
        found = _hash(file, expected.kind if expected else "sha256")
        state = "unverified" if expected is None else "verified" if found == expected else "wrong"
    return WeightFile(
        record.name, record.extractor, record.file, file, state, str(expected) if expected else None,
        str(found) if found else None, record.url, record.size, record.pixels, record.licence, record.non_commercial,
        record.citation, record.note,
    )  # fmt: skip


def _hash(file: Path, kind: Kind) -> Hash:
    try:
        with file.open("rb") as handle:
            return Hash.of(handle, kind)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _kept_hash(record: Checkpoint, file: Path) -> Hash | None:
    """The hash that a user gave for this file. It counts in the weights folder only: elsewhere anybody may have written
    it."""
    note = _note(file)
    if file != place(record) or not file.is_file() or not note.is_file():
        return None
    return sha256_of((note.read_text().split() or [""])[0], f"{note}: its first word")


def _keep_hash(record: Checkpoint, expected: Hash) -> None:
    """Write the hash that a user gave; remove it if it is the published one."""
    note = _note(place(record))
    if expected == record.published:
        note.unlink(missing_ok=True)
    else:
        write_file(note, f"{expected.digits}  {record.file}\n".encode())
