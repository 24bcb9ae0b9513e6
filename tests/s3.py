"""An object store for tests: moto's S3 on the loopback, spoken to as any other."""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from moto.server import ThreadedMotoServer

from storage.objects import filesystem
from storage.place import place

BUCKET = "reelmill-test"
_numbers = itertools.count(1)


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a running S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells of every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def environment(endpoint: str, cache: Path) -> dict[str, str]:
    """What a process needs to use it, with a cache of its own."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "REELMILL_CACHE": str(cache),
    }


def new_root() -> str:
    """A root that nobody used yet; its bucket is made."""
    fs = filesystem(place(f"s3://{BUCKET}/x"))  # type: ignore[arg-type]
    if not fs.exists(BUCKET):
        fs.mkdir(BUCKET)
    return f"s3://{BUCKET}/{os.getpid()}-{next(_numbers)}"
