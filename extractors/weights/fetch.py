"""Download a file of weights with pooch: to a temporary name, which is renamed if the hash is right."""

from pathlib import Path
from typing import IO

from reelmill.extractors.weights.hashes import Hash
from reelmill.storage.parts import replacing

TIMEOUT_S = 30.0
"""Timeout of connecting, and of waiting for more bytes."""
SIZE_LIMIT = 2 * 1024**3
"""Limit for a file of unknown size. The largest known file has 575 MB."""
CHUNK = 1 << 20


def fetch(url: str, target: Path, expected: Hash, *, size: int | None = None) -> None:
    """Download `url` to `target` over http or https. Follows redirects and uses the proxy of the environment.

    Raises OSError if the file cannot be downloaded, is larger than `size` (or SIZE_LIMIT), or has another hash. Nothing
    is left behind then, and an existing target is not changed.
    """
    # pooch's downloader without `pooch.retrieve`, which knows neither git's hashes nor a limit of size
    import pooch

    download = pooch.HTTPDownloader(chunk_size=CHUNK, timeout=TIMEOUT_S)
    with replacing(target) as temporary, temporary.open("w+b") as out:
        download(url, _Bounded(out, size or SIZE_LIMIT, url), None)
        found = Hash.of(out, expected.kind)
        if found != expected:
            raise OSError(f"{url} sent a file with the {found}, it should be {expected.digits}")


class _Bounded:
    """A file for a download that refuses to grow beyond a limit."""

    def __init__(self, out: IO[bytes], limit: int, url: str) -> None:
        self.out, self.limit, self.url = out, limit, url

    def write(self, chunk: bytes) -> None:
        if self.out.tell() + len(chunk) > self.limit:
            raise OSError(f"{self.url} sends more than the {self.limit:,} bytes that it should have")
        self.out.write(chunk)

    def flush(self) -> None:
        self.out.flush()
