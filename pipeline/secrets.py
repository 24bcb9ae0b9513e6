"""Keeps passwords, cookies and tokens out of messages, which end up in tables, logs, reports and on screens."""

import contextlib
import re
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SHORTEST = 4
"""Shorter texts are not masked: they are no secrets, and part of many words."""
TELLING = re.compile("(?i)tok|sig|key|auth|pass|secret|cred|sess|cookie|hash|hmac|policy|jwt|code")
"""Parameters of an address with such a name have a secret value, which is masked wherever it appears. The query of an
address is never shown."""


def redact(text: str) -> str:
    """A message without the passwords and queries of addresses, which may hold tokens."""
    text = re.sub(r"(?<=://)[^/\s@]+@", "", text)
    text = re.sub(r"(?<=://)([^\s?'\"<>]*)\?[^\s'\"<>)]*", r"\1?…", text)
    return re.sub(r"(?<=[^\s?])\?[^\s'\"<>)]*=[^\s'\"<>)]*", "?…", text)


def mask(text: str, secrets: Iterable[str]) -> str:
    """A message with each of these texts replaced by `…`."""
    for secret in sorted({*secrets}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "…")
    return text


def secrets_of(url: str, proxy: str | None, cookies_file: str | Path | None) -> Iterator[str]:
    """The secrets of a download: password and secret parameters of its address, password of the proxy (None: of those
    in the environment), and the values of the cookies."""
    proxies = [proxy] if proxy is not None else urllib.request.getproxies().values()
    for address in (url, *proxies):
        with contextlib.suppress(ValueError):
            parts = urlsplit(address if "://" in address else f"//{address}")
            told = (value for name, value in parse_qsl(parts.query) if TELLING.search(name))
            for secret in (parts.password, *told):
                yield from (secret, unquote(secret)) if secret else ()
    if cookies_file:
        with contextlib.suppress(OSError):
            for line in Path(cookies_file).read_text(errors="replace").splitlines():
                if not line.startswith("# ") and (words := re.split(r"[\t ]+", line.strip())):
                    yield words[-1]
