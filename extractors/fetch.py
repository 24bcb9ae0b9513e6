"""Fetch one file of weights: to a temporary name, hashed on the way, renamed when it is the right one."""

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.request
from pathlib import Path

TIMEOUT_S = 30.0
"""Of a connection, and of a wait for more bytes."""
SIZE_LIMIT = 2 * 1024**3
"""For a file whose size is not known. The largest known has 575 MB."""
CHUNK = 1 << 20


def fetch(url: str, target: Path, *, sha256: str, size: int | None = None) -> None:
    """Download `url` to `target` over http or https, redirects included; no other scheme is followed.

    Raises OSError when it cannot be had, is larger than `size` (or SIZE_LIMIT), or has another hash. Nothing is then
    left behind, and an existing target is untouched.
    """
    limit = size or SIZE_LIMIT
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            try:
                with _opener().open(url, timeout=TIMEOUT_S) as response:
                    while chunk := response.read(CHUNK):
                        digest.update(chunk)
                        if out.tell() + len(chunk) > limit:
                            raise OSError(f"{url} sends more than the {limit:,} bytes that it should have")
                        out.write(chunk)
            except http.client.HTTPException as error:
                raise OSError(f"{url}: {error!r}") from error
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise OSError(f"{url} sent a file with the sha256 {digest.hexdigest()}, it should be {sha256}")
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
