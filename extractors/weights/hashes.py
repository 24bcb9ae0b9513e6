"""Hashes of files: SHA-256, or the SHA-1 of a git blob where nothing else is published."""

import hashlib
import os
from dataclasses import dataclass
from typing import IO, Literal

from reelmill.storage.errors import InputError

Kind = Literal["sha256", "git_sha1"]


@dataclass(frozen=True)
class Hash:
    """Hash of a whole file. `git_sha1` is the SHA-1 of `blob <bytes>`, a zero byte and the content, as in git.

    Two files with the same SHA-1 can be constructed, but not a second file for a given hash.
    """

    kind: Kind
    digits: str
    """Lower case, hexadecimal."""

    def __str__(self) -> str:
        return f"{self.kind} {self.digits}"

    @staticmethod
    def of(handle: IO[bytes], kind: Kind) -> "Hash":
        """Hash of an open file from its start; afterwards the file is at its start again."""
        size = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        found = hashlib.file_digest(handle, lambda: digest)  # type: ignore[arg-type]
        handle.seek(0)
        return Hash(kind, found.hexdigest())


def sha256_of(text: str, said_in: str) -> Hash:
    """A SHA-256 as a person wrote it. Raises InputError that names where if it is not one."""
    digits = text.lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise InputError(f"{said_in} {text!r}: a SHA-256 has 64 hexadecimal digits")
    return Hash("sha256", digits)
