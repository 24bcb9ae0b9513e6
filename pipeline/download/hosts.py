"""Which hosts a download may connect to, and how often.

`HostPacer` keeps the pause between two requests to a host, and the pause that a host asked for, over all threads and
processes that download into a root; its state is one small locked file per host. `guard` blocks private networks for
the process that calls it, which is one reason why downloads have a process of their own.
"""

import contextlib
import fcntl
import functools
import hashlib
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reelmill.pipeline.errors import RateLimited, UnsafeUrl, Unsupported, VideoError

LONGEST_HOLD_S = 24 * 3600.0
"""Longest pause for a host, whatever it asks for and whatever happens to the clock."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is routed on the open internet."""

INSIDE = ("localhost", "local", "internal", "home.arpa")
"""Domains that mean this machine or this network wherever they are looked up, also by a proxy."""

PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

Gate = tuple[str, int]
"""Address and port of a proxy."""


@dataclass(frozen=True)
class HostPacer:
    """Pauses between requests to the same host. Plain data, which any number of threads and
    processes may use."""

    folder: str
    interval_s: float = 0.0

    def wait(self, host: str, limit_s: float) -> None:
        """Take the next slot of the host and sleep until then. Raises RateLimited if the host asked for a pause that
        lasts longer than `limit_s` from now."""
        with self._slots(host) as slots:
            now = time.time()
            shut = slots["shut_until"] - now
            if limit_s < shut <= LONGEST_HOLD_S:
                error = RateLimited(f"{host} asked for a pause, {shut:.0f} s are left of it; try again later")
                error.retry_after_s = shut
                raise error
            start = max(now, *(moment if moment - now <= LONGEST_HOLD_S else now for moment in slots.values()))
            slots["next"] = start + self.interval_s
        time.sleep(start - now)

    def hold(self, host: str, seconds: float) -> None:
        """Send no request to this host for that long."""
        with self._slots(host) as slots:
            slots["shut_until"] = max(slots["shut_until"], time.time() + min(seconds, LONGEST_HOLD_S))

    @contextlib.contextmanager
    def _slots(self, host: str) -> Iterator[dict[str, float]]:
        """The state of a host, in seconds since 1970; locked, and written back on leaving."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / hashlib.sha256(host.lower().encode()).hexdigest()[:16]).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read()
            slots = {"next": 0.0, "shut_until": 0.0}
            with contextlib.suppress(ValueError):  # damaged by a power cut while it was written: start anew
                slots.update({key: moment for key, moment in json.loads(before or "{}").items() if key in slots})
            yield slots
            if slots["next"] > time.time() or slots["shut_until"] > time.time():
                file.truncate(0)
                file.write(json.dumps({"host": host.lower(), **slots}))


def is_public(address: str) -> bool:
    """Whether an IP address is public: not loopback, private, link-local, multicast or reserved, also not as an IPv6
    address that stands for such an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        return ip in UNICAST and ip.is_global  # Python counts unassigned addresses elsewhere as global
    return ip.is_global and not ip.is_multicast


def address_of(host: str) -> str | None:
    """The IP address that a host is written as, in any form that resolvers accept: `::1`, `127.1`, `0x7f000001`,
    `2130706433`. None for a name."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host.partition("%")[0]))
    with contextlib.suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    return None


class Refused(BaseException):
    """An address or program that must not be used; carries the error to report. It is no Exception, so that yt-dlp does
    not treat it as a failed request and try another way."""

    def __init__(self, error: VideoError) -> None:
        super().__init__(str(error))
        self.error = error


def guard(proxies: Mapping[str, str] | None) -> None:
    """From now on this process connects only to public addresses, and to its proxies ({kind: URL}); None lifts that.

    The interpreter's audit hook sees every connection after the name was looked up, so neither a redirect, nor a
    playlist, nor a name that resolves to this machine reaches a private network. It does not see other programs, so
    none is started with an address to fetch, with or without the guard. A proxy looks names up itself; `check_host`
    refuses those that are private by their name.
    """
    global _exempt
    _install()
    _exempt = None if proxies is None else frozenset(_gates(proxies))


def check_host(host: str, port: int) -> None:
    """Raise Refused for a host whose name or address is not public, while the process is guarded."""
    if _exempt is None or (host, port) in _exempt:
        return
    address = address_of(host)
    inside = host.lower().rstrip(".").endswith(tuple(f".{end}" for end in INSIDE)) or host.lower().rstrip(".") in INSIDE
    if inside if address is None else not is_public(address) and (address, port) not in _exempt:
        raise Refused(UnsafeUrl(f"it leads to {host}, which is not an address of the open internet"))


_exempt: frozenset[Gate] | None = None
"""Addresses that are allowed although they are not public; None allows all."""

CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")
PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")


@functools.cache
def _install() -> None:
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in CONNECTIONS and _exempt is not None:
        address = arguments[1]
        if address is None:  # a message on a connection that was allowed
            return
        host, port = address[:2] if isinstance(address, tuple) and len(address) > 1 else (str(address), 0)
        with contextlib.suppress(ValueError):  # not an IP address
            if (host, port) in _exempt or is_public(host):
                return
        raise Refused(UnsafeUrl(f"it leads to {host}, which is not an address of the open internet"))
    if event in PROGRAMS and "://" in str(arguments[:2]):
        raise Refused(Unsupported("only an outside program could download this format"))


def _gates(proxies: Mapping[str, str]) -> Iterator[Gate]:
    for kind, url in proxies.items():
        with contextlib.suppress(ValueError):
            parts = urlsplit(url if "://" in url else f"http://{url}")
            if kind != "no" and parts.hostname:
                port = parts.port or PORTS.get(parts.scheme, 0)
                yield parts.hostname, port
                with contextlib.suppress(OSError):  # an unknown name: the request itself will fail
                    yield from ((str(found[4][0]), port) for found in socket.getaddrinfo(parts.hostname, None))
