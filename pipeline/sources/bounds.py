"""Limits for compressed files of others, so that unpacking a small file does not fill the memory."""

import os
from pathlib import Path

from reelmill.storage.errors import InputError

MOST_UNPACKED = 256 << 20
RATIO = 100
"""A .gz may unpack to `MOST_UNPACKED` bytes, or to `RATIO` times its own size if that is more. Tables compress to a
tenth, zeros to a thousandth."""
ROW_BYTES = 64
"""Least memory that a row needs while it is read. A Parquet file of a few kB can hold a billion rows."""


def check_unpacked(unpacked: int, packed: int, path: Path) -> None:
    """Raise InputError for a packed file of which more bytes were unpacked than a table has."""
    if unpacked > (most := max(MOST_UNPACKED, RATIO * packed)):
        raise InputError(
            f"{path} unpacks to more than {most:,} bytes from {packed:,}, as no table does; unpack it yourself if you "
            "trust it"
        )


def check_rows(rows: int, path: Path) -> None:
    """Raise InputError for a table that claims more rows than fit into memory."""
    if rows > (most := memory() // ROW_BYTES):
        raise InputError(f"{path} claims {rows:,} rows, memory holds {most:,}; split it")


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
