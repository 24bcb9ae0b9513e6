"""The files of weights: which are here, are they the published ones, fetched or taken in. No torch.

They are kept in `$REELMILL_WEIGHTS` (default `~/.cache/reelmill/weights`). Where a user has said which file to trust
in place of the published one, `FILE.sha256` beside it says so, in the form that `sha256sum --check` reads.
"""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from reelmill.extractors.weights.checkpoints import Checkpoint
from reelmill.extractors.weights.fetch import fetch
from reelmill.extractors.weights.hashes import Hash, Kind, sha256_of
from reelmill.storage.errors import InputError
from reelmill.storage.parts import replacing, write_file

logger = logging.getLogger(__name__)

State = Literal["missing", "verified", "wrong", "unverified"]
"""Not here; here with the hash it must have; here with another; here, and nobody has said which hash it must have."""


def folder() -> Path:
    """Where weights are kept: `$REELMILL_WEIGHTS`, default `~/.cache/reelmill/weights`."""
    return Path(os.environ.get("REELMILL_WEIGHTS") or "~/.cache/reelmill/weights").expanduser()


def place(record: Checkpoint) -> Path:
    """Where a record's file is looked for when a user names no path."""
    return folder() / record.file


def listing(records: Iterable[Checkpoint]) -> dict[str, Any]:
    """The folder, and what is known and found of the file of each record, which is hashed whole."""
    return {"folder": str(folder()), "weights": [_described(record) for record in records]}


def fetched(record: Checkpoint, sha256: str | None = None) -> dict[str, Any]:
    """Download a record's file, unless it is here and right; its listing. Raises InputError as `download` does."""
    file = place(record)
    expected = trusted(record, file, sha256)
    if not file.is_file() or _hash(file, expected.kind) != expected:
        download(record, file, expected)
    _keep_word(record, expected)
    return listing((record,))


def taken(record: Checkpoint, path: Path, sha256: str | None = None) -> dict[str, Any]:
    """Copy a file into the folder as that of a record; its listing.

    `sha256`: that of the file that the user trusts, and goes on trusting, in place of the published one. Raises
    InputError when there is no such file, it has another hash, nobody has said which, or it cannot be copied.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    expected = trusted(record, path, sha256)
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
    _keep_word(record, expected)
    return listing((record,))


def verified(record: Checkpoint) -> dict[str, Any]:
    """The listing of a record's file. Raises InputError if it does not exist."""
    if not place(record).is_file():
        raise InputError(f"{place(record)} does not exist; get it with `reelmill weights fetch {record.name}`")
    return listing((record,))


def present(records: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Those records whose files exist."""
    return [record for record in records if place(record).is_file()]


def trusted(record: Checkpoint, file: Path, given: str | None) -> Hash:
    """The hash that the file must have: that given, that kept beside it, or the published one.

    Raises InputError when nobody has said one.
    """
    if given:
        return sha256_of(given, "weights_sha256")
    if expected := _word(record, file) or record.published:
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
        f"no hash of {record.name} is published, so it is not fetched unseen. Get it ({record.url or record.note}), "
        f"put it at {file}, and set weights_sha256 to its SHA-256; or set weights: random to go on without"
    )


def download(record: Checkpoint, file: Path, expected: Hash) -> None:
    """Fetch the record's file, or raise InputError that says where to put it."""
    try:
        if record.url is None:
            raise OSError(f"there is no address to fetch it from; {record.note}")
        logger.info("fetching %s from %s", record.name, record.url)
        fetch(record.url, file, expected, size=record.size)
    except OSError as error:
        raise InputError(
            f"the weights {record.name} are not here and cannot be fetched: {error}. "
            f"Put the file from {record.url or 'its authors'} at {file} ({expected}), "
            "give its path as weights, name another folder in $REELMILL_WEIGHTS, "
            "or set weights: random to go on without"
        ) from error


def _described(record: Checkpoint) -> dict[str, Any]:
    file, expected, found = place(record), record.published, None
    state: State = "missing"
    if file.is_file():
        expected = _word(record, file) or expected
        found = _hash(file, expected.kind if expected else "sha256")
        state = "unverified" if expected is None else "verified" if found == expected else "wrong"
    return {
        "name": record.name,
        "extractor": record.extractor,
        "file": record.file,
        "path": str(file),
        "state": state,
        "expected": str(expected) if expected else None,
        "found": str(found) if found else None,
        "url": record.url,
        "size": record.size,
        "pixels": record.pixels.describe() if record.pixels else None,
        "licence": record.licence,
        "non_commercial": record.non_commercial,
        "citation": record.citation,
        "note": record.note,
    }


def _hash(file: Path, kind: Kind) -> Hash:
    try:
        with file.open("rb") as handle:
            return Hash.of(handle, kind)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _word(record: Checkpoint, file: Path) -> Hash | None:
    """What the user said of the file in the folder when it was taken in. Elsewhere such a file is anybody's word."""
    note = _note(file)
    if file != place(record) or not file.is_file() or not note.is_file():
        return None
    return sha256_of((note.read_text().split() or [""])[0], f"{note}: its first word")


def _keep_word(record: Checkpoint, expected: Hash) -> None:
    """Remember a hash that is not the published one; forget one that is."""
    note = _note(place(record))
    if expected == record.published:
        note.unlink(missing_ok=True)
    else:
        write_file(note, f"{expected.digits}  {record.file}\n".encode())
