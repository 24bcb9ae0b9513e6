"""The container formats that are read: one list for folders of videos, for the check of a file's first bytes, and for
the decoder. Reads no media file and loads no decoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 400
"""How many of a file's first bytes are looked at."""


@dataclass(frozen=True)
class Container:
    """A container format."""

    name: str
    demuxers: tuple[str, ...]
    """Names in FFmpeg; the decoder accepts these and no other."""
    suffixes: tuple[str, ...]
    """Of its files, in lower case."""
    begins: Callable[[bytes], bool]
    """Whether a file of this format may begin with these bytes."""


def _packets(head: bytes) -> bool:
    """MPEG-TS: a sync byte every 188 bytes, or every 192 with a time code before each."""
    return (head[:1] == b"G" and head[188:189] == b"G") or (head[4:5] == b"G" and head[196:197] == b"G")


CONTAINERS = (
    Container(
        "MP4 or QuickTime",
        ("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
        (".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v"),
        lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot"),
    ),
    Container("Matroska or WebM", ("matroska", "webm"), (".mkv", ".webm"), lambda h: h.startswith(b"\x1aE\xdf\xa3")),
    Container("AVI", ("avi",), (".avi",), lambda head: head[:4] == b"RIFF" and head[8:11] == b"AVI"),
    Container("MPEG transport stream", ("mpegts",), (".ts", ".m2ts", ".mts"), _packets),
    Container(
        "MPEG program stream",
        ("mpeg",),
        (".mpg", ".mpeg", ".m2p", ".vob"),
        lambda head: head.startswith(b"\0\0\1\xba"),
    ),
    Container("FLV", ("flv",), (".flv",), lambda head: head.startswith(b"FLV\x01")),
    Container("ASF", ("asf",), (".wmv", ".asf"), lambda head: head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
    Container("Ogg", ("ogg",), (".ogv", ".ogm"), lambda head: head.startswith(b"OggS")),
)

DEMUXERS = ",".join(name for one in CONTAINERS for name in one.demuxers)
"""For FFmpeg's `format_whitelist`."""
SUFFIXES = tuple(sorted(suffix for one in CONTAINERS for suffix in one.suffixes))
"""Suffixes by which a file in a folder counts as a video. Whether it is one, the probe finds out."""


def is_known(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` bytes of a file are those of a container on the list."""
    return any(one.begins(head) for one in CONTAINERS)


def not_a_video(path: Path) -> str | None:
    """Why a file or link in a folder is not taken as a video, in words that can be counted; None if it is one. A file
    is judged by its name: `._a.mp4` holds what macOS knows of `a.mp4`, and other hidden files are somebody's copies."""
    if path.name.startswith("._"):
        return "AppleDouble files (._…)"
    if path.name.startswith("."):
        return "hidden files"
    if path.suffix.lower() not in SUFFIXES:
        return f"{path.suffix.lower()} files" if path.suffix else "files without a suffix"
    if not path.is_file():
        return "links to nothing" if path.is_symlink() else "no regular files"
    return None
