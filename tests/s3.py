"""An object store for tests: moto's S3 on the loopback, spoken to as any other."""

import contextlib
import itertools
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from moto.server import ThreadedMotoServer

from reelmill.storage.objects import filesystem
from reelmill.storage.place import place

BUCKET = "reelmill-test"
_numbers = itertools.count(1)


class Gate:
    """Stands between a client and the server: lets everything through, or answers 503 for a while, or stops passing on
    what the client sends after so many bytes."""

    def __init__(self, endpoint: str) -> None:
        self.upstream = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self.refusals = 0
        self.most: int | None = None
        self.stalled, self.closing = threading.Event(), threading.Event()
        self.seen: list[str] = []
        """First lines of the requests."""

    def __enter__(self) -> Self:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self.upstream) as server:
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            passed = 0
            while data := client.recv(1 << 16):
                if data.split(b" ", 1)[0] in (b"GET", b"PUT", b"HEAD", b"DELETE", b"POST"):
                    self.seen.append(data.split(b"\r\n", 1)[0].decode())
                    if self.refusals:
                        self.refusals -= 1
                        client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        return
                passed += len(data)
                if self.most is not None and passed > self.most:
                    self.stalled.set()
                    self.closing.wait()
                    return
                server.sendall(data)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)


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
