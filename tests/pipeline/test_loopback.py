"""The demo's web server: files of a folder and their ranges, and nothing else."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from reelmill.pipeline.demo.loopback import serve_folder


def asked(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def test_files_and_their_ranges(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a b.mp4").write_bytes(bytes(range(200)))
    (tmp_path / "secret").write_text("outside")
    with serve_folder(folder) as url:
        status, body, headers = asked(f"{url}/a%20b.mp4")
        assert (status, body, headers["content-type"]) == (200, bytes(range(200)), "video/mp4")
        part = asked(f"{url}/a%20b.mp4", Range="bytes=150-", If_Range=headers["etag"])
        assert (part[0], part[1], part[2]["content-range"]) == (206, bytes(range(150, 200)), "bytes 150-199/200")
        assert asked(f"{url}/a%20b.mp4", Range="bytes=150-", If_Range='"another"')[:2] == (200, bytes(range(200)))
        for path in ("", "nothing.mp4", "../secret", "%2e%2e/secret"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                asked(f"{url}/{path}")
    with pytest.raises(urllib.error.URLError, match="refused"):
        asked(url)
