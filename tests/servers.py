"""A web server that misbehaves on purpose, one way a path; the client's requests are kept for the tests to look at."""

import contextlib
import hashlib
import mimetypes
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit


class RangeHandler(BaseHTTPRequestHandler):
    """GET and HEAD with Range, ETag and If-Range (RFC 9110, sections 13 and 14), as far as downloading a file asks."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def send_bytes(self, body: bytes, content_type: str, etag: str | None = None) -> None:
        """Answer with all of `body`, or with the range asked for."""
        etag = etag or f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start, stop, status = 0, len(body), HTTPStatus.OK
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", etag) == etag:
            start, status = int(asked[1]), HTTPStatus.PARTIAL_CONTENT
            stop = min(stop, int(asked[2]) + 1) if asked[2] else stop
            if start >= len(body):
                self.send_head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, {"Content-Range": f"bytes */{len(body)}"})
                return
        headers = {"Content-Type": content_type, "ETag": etag, "Accept-Ranges": "bytes"}
        if status == HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        self.send_head(status, stop - start, headers)
        if self.command == "GET":
            self.send_body(body[start:stop])

    def send_head(self, status: HTTPStatus, length: int | None, headers: dict[str, str] | None = None) -> None:
        """Status line and headers; without a length the connection ends the body."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_body(self, body: bytes) -> None:
        """A client that hangs up has what it wanted."""
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


class FolderHandler(RangeHandler):
    """The files of one folder and nothing else: no listing, no way out of it."""

    def __init__(self, *arguments: object, folder: Path) -> None:
        self.folder = folder.resolve()
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send a file, or 404."""
        path = (self.folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if path.is_relative_to(self.folder) and path.is_file():
            self.send_bytes(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        else:
            self.send_head(HTTPStatus.NOT_FOUND, 0)

    do_HEAD = do_GET


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no error of ours."""


@contextlib.contextmanager
def serve(handler: "type[RangeHandler]", address: str = "127.0.0.1") -> Iterator[str]:
    """Serve requests on a free port of the loopback while the context lasts; gives `http://127.0.0.1:port`."""
    with QuietServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="loopback", daemon=True)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


PAGE = b"<!DOCTYPE html><html><head><title>a page</title></head><body>Nothing to see, please sign up.</body></html>"


@dataclass
class World:
    """What the server sends, and what it saw."""

    media: bytes = b""
    other: bytes = b""
    """A second file of the same size."""
    elsewhere: str = ""
    """Where `/redirect-elsewhere` points."""
    drip_s: float = 0.05
    cut: int = 3000
    """Bytes that are sent before a connection breaks off."""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """More paths: content type and content."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer."""
    packed: bool = False
    """The content of `files` is gzip, and the server says so."""
    requests: list[tuple[str, dict[str, str], float]] = field(default_factory=list)
    """Path, headers and time of each."""

    def hits(self, path: str) -> list[dict[str, str]]:
        """Headers of the requests of a path."""
        return [headers for asked, headers, _ in self.requests if asked == path]

    def times(self, path: str) -> list[float]:
        return [moment for asked, _, moment in self.requests if asked == path]


class Misbehaving(RangeHandler):
    """`/good/x.mp4` behaves; the first part of any other path says what goes wrong. Parts after it keep videos apart:
    counts are per whole path."""

    world: ClassVar[World]

    def do_GET(self) -> None:
        self.drip = False
        path = urlsplit(self.path).path
        self.world.requests.append((path, dict(self.headers.items()), time.monotonic()))
        count = len(self.world.hits(path))
        if path in self.world.files:
            kind, body = self.world.files[path]
            self.send_bytes(body, kind)
        elif (way := path.split("/")[1]).isdigit():
            self.send_head(HTTPStatus(int(way)), 0)
        elif (answer := getattr(self, way.replace("-", "_"), None)) is not None:
            answer(count)
        else:
            self.send_head(HTTPStatus.NOT_FOUND, 0)

    do_HEAD = do_GET

    def send_head(self, status: HTTPStatus, length: int | None, headers: dict[str, str] | None = None) -> None:
        packed = (
            {"Content-Encoding": "gzip"} if self.world.packed and urlsplit(self.path).path in self.world.files else {}
        )
        super().send_head(status, length, {**(headers or {}), **packed, **self.world.headers})

    def send_body(self, body: bytes) -> None:
        if not self.drip:
            super().send_body(body)
            return
        with contextlib.suppress(OSError):
            for start in range(0, len(body), 5000):
                self.wfile.write(body[start : start + 5000])
                time.sleep(self.world.drip_s)

    def good(self, count: int) -> None:
        self.send_bytes(self.world.media, "video/mp4")

    def limited_then_good(self, count: int) -> None:
        """429 with Retry-After in the first answer."""
        if count == 1:
            self.send_head(HTTPStatus.TOO_MANY_REQUESTS, 0, {"Retry-After": "1"})
        else:
            self.good(count)

    def limited_for_an_hour(self, count: int) -> None:
        self.send_head(HTTPStatus.TOO_MANY_REQUESTS, 0, {"Retry-After": "3600"})

    def broken_then_good(self, count: int) -> None:
        """500, once while the page is looked at and once when the file is downloaded."""
        if count in (1, 3):
            self.send_head(HTTPStatus.INTERNAL_SERVER_ERROR, 0)
        else:
            self.good(count)

    def forbidden_file(self, count: int) -> None:
        """Found, but not given: each second request, that of the file itself, is refused."""
        if count % 2:
            self.good(count)
        else:
            self.send_head(HTTPStatus.FORBIDDEN, 0)

    def signed(self, count: int) -> None:
        """The address runs out between the page and the file, once."""
        if count == 2:
            self.send_head(HTTPStatus.FORBIDDEN, 0)
        else:
            self.good(count)

    def slow(self, count: int) -> None:
        """Drop by drop."""
        self.drip = True
        self.good(count)

    def stalled(self, count: int) -> None:
        """The head, and then silence."""
        self.send_head(HTTPStatus.OK, len(self.world.media), {"Content-Type": "video/mp4"})
        with contextlib.suppress(OSError):
            self.wfile.write(self.world.media[:1000])
            self.wfile.flush()
            self.rfile.read(1)  # until the client gives up

    def cut_once(self, count: int) -> None:
        """The first download breaks off."""
        if count == 2:
            self._break_off(self.world.media, '"cut"')
        else:
            self.send_bytes(self.world.media, "video/mp4", '"cut"')

    def cut_always(self, count: int) -> None:
        """No answer is ever complete, none can be continued: nothing identifies the content."""
        self._break_off(self.world.media, None)

    def cut_nameless(self, count: int) -> None:
        """Breaks off once; could be continued, but nothing says that it is still the same content."""
        if count == 2:
            self._break_off(self.world.media, None)
        else:
            self.send_bytes(self.world.media, "video/mp4")

    def changed(self, count: int) -> None:
        """Breaks off, and is another file of the same size from then on."""
        if count <= 2:
            self._break_off(self.world.media, '"one"') if count == 2 else self.good(count)
        else:
            self.send_bytes(self.world.other, "video/mp4", '"two"')

    def changed_unnoticed(self, count: int) -> None:
        """The same, by a server that does not know If-Range and continues the wrong file."""
        del self.headers["If-Range"]
        self.changed(count)

    def unmeasured(self, count: int) -> None:
        """Says nothing about its size."""
        self.send_head(HTTPStatus.OK, None, {"Content-Type": "video/mp4"})
        self.send_body(self.world.media)
        self.close_connection = True

    def endless(self, count: int) -> None:
        """Says nothing about its size, and has none."""
        self.send_head(HTTPStatus.OK, None, {"Content-Type": "video/mp4"})
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(self.world.media)
                time.sleep(self.world.drip_s)

    def html(self, count: int) -> None:
        self.send_bytes(PAGE, "text/html; charset=utf-8")

    def html_later(self, count: int) -> None:
        """A video until it is downloaded, then a page."""
        self.good(count) if count % 2 else self.html(count)

    def redirect_file(self, count: int) -> None:
        self.send_head(HTTPStatus.FOUND, 0, {"Location": "file:///etc/hostname"})

    def redirect_elsewhere(self, count: int) -> None:
        self.send_head(HTTPStatus.FOUND, 0, {"Location": self.world.elsewhere})

    def _break_off(self, body: bytes, etag: str | None) -> None:
        """Promise all of it, send some, and reset the connection."""
        headers = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes"}
        self.send_head(HTTPStatus.OK, len(body), headers | ({"ETag": etag} if etag else {}))
        self.send_body(body[: self.world.cut])
        self.wfile.flush()
        time.sleep(0.05)  # let it arrive before the reset overtakes it
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


@contextlib.contextmanager
def misbehaving(world: World, address: str = "127.0.0.1") -> Iterator[str]:
    """Serve a world; gives the base URL."""
    with serve(type("Handler", (Misbehaving,), {"world": world}), address) as base:
        yield base
