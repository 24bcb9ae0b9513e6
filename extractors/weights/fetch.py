"""Fetch one file of weights: to a temporary name, hashed there, renamed when it is the right one."""

import contextlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from reelmill.extractors.weights.hashes import Hash

TIMEOUT_S = 30.0
"""Of a connection, and of a wait for more bytes."""
SIZE_LIMIT = 2 * 1024**3
"""For a file whose size is not known. The largest known has 575 MB."""
CHUNK = 1 << 20


def fetch(url: str, target: Path, expected: Hash, *, size: int | None = None) -> None:
    """Download `url` to `target` over http or https, redirects included; no other scheme is followed.

    Raises OSError when it cannot be had, is larger than `size` (or SIZE_LIMIT), or has another hash. Nothing is then
    left behind, and an existing target is untouched.
    """
    limit = size or SIZE_LIMIT
    with replacing(target) as out:
        try:
            with _opener().open(url, timeout=TIMEOUT_S) as response:
                while chunk := response.read(CHUNK):
                    if out.tell() + len(chunk) > limit:
                        raise OSError(f"{url} sends more than the {limit:,} bytes that it should have")
                    out.write(chunk)
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from error
        found = Hash.of(out, expected.kind)
        if found != expected:
            raise OSError(f"{url} sent a file with the {found}, it should be {expected.digits}")


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A new file to write and read, which becomes `target` if the block ends without an error, else goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _opener() -> urllib.request.OpenerDirector:
    """Without the handlers of file:, ftp: and data: addresses that urllib adds by itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
