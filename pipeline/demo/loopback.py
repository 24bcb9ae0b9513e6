"""A folder as a web server on this machine's loopback: the demo downloads from it, the tests build on it."""

import contextlib
import hashlib
import mimetypes
import re
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no error of ours."""


@contextlib.contextmanager
def serve(handler: "partial[FolderHandler] | type[RangeHandler]", address: str = "127.0.0.1") -> Iterator[str]:
    """Serve requests on a free port of the loopback while the context lasts; gives `http://127.0.0.1:port`."""
    with _Server((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="loopback", daemon=True)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def serve_folder(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Serve the files of a folder; gives the base URL, without a slash at its end."""
    return serve(partial(FolderHandler, folder=folder))
