"""A folder as a web server on this machine's loopback, from which the demo downloads.

Starlette's static files answer range requests and `If-Range` (RFC 9110, sections 13 and 14), which a resumed download
needs, and serve nothing outside of the folder.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_S = 30.0
"""A server that has not started by then will not."""


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on a free port while the context lasts; gives `http://127.0.0.1:port`. Raises
    RuntimeError if the server does not start."""
    import uvicorn  # here: only the demo needs a web server
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    quiet: dict[str, Any] = {"log_config": None, "log_level": "critical", "access_log": False}
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", timeout_graceful_shutdown=1, **quiet))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],), name="loopback", daemon=True)
        thread.start()
        try:
            began = time.monotonic()
            while not server.started:
                if not thread.is_alive() or time.monotonic() - began > START_S:
                    raise RuntimeError(f"the web server of {folder} did not start")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
