"""Which file is meant, by its bytes: SHA-256, or the SHA-1 under which git keeps it, where no other is published."""

import hashlib
import os
from dataclasses import dataclass
from typing import IO, Literal

from reelmill.storage.errors import InputError

Kind = Literal["sha256", "git_sha1"]


@dataclass(frozen=True)
class Hash:
    """A hash of a whole file. `git_sha1` is that of a git blob: SHA-1 of `blob <bytes>`, a zero byte, the content.

    SHA-1 is no longer safe from somebody who makes both of two files; nobody can make a second file for a given hash.
    """

    kind: Kind
    digits: str
    """Lower case, hexadecimal."""

    def __str__(self) -> str:
        return f"{self.kind} {self.digits}"

    @staticmethod
    def of(handle: IO[bytes], kind: Kind) -> "Hash":
        """Of an open file, whole; the handle then stands at its start."""
        size = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        found = hashlib.file_digest(handle, lambda: digest)  # type: ignore[arg-type]
        handle.seek(0)
        return Hash(kind, found.hexdigest())


def sha256_of(text: str, said_in: str) -> Hash:
    """The SHA-256 that a person wrote. Raises InputError that names the place when it is none."""
    digits = text.lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise InputError(f"{said_in} {text!r}: a SHA-256 has 64 hexadecimal digits")
    return Hash("sha256", digits)
