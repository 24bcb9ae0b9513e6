"""Answers of a server: their size is limited, and some of their content goes into the table `videos`."""

from typing import Any

from reelmill.pipeline import errors

PAGE_BYTES = 32 << 20
"""Largest page, playlist or manifest in bytes, uncompressed: yt-dlp needs 12 s to search one of 50 MB."""
PIECE = 1 << 18


def bound(response: Any) -> None:
    """Limit a body that is read as a whole to PAGE_BYTES; a longer one raises Unsupported. `response`: that of yt-dlp.
    A body that is read in pieces is a file, whose bytes are counted by `ytdlp`."""
    read = response.read

    def bounded(amount: int | None = None) -> bytes:
        if amount is not None and amount >= 0:
            return read(amount)
        pieces, size = [], 0
        while piece := read(PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > PAGE_BYTES:
                raise errors.Unsupported(f"a page or playlist of more than {PAGE_BYTES >> 20} MiB")
        return b"".join(pieces)

    response.read = bounded


def columns(info: dict[str, Any]) -> dict[str, Any]:
    """What the page says, as columns of `videos`. A direct link to a file has no page, and yt-dlp would make up a title
    from the address and a date from that of the file."""
    said: dict[str, Any] = {}
    if not info.get("direct"):
        texts = {name: info.get(name) for name in ("title", "description", "uploader", "upload_date")}
        texts["uploader"] = texts["uploader"] or info.get("channel")
        said.update({name: str(text) for name, text in texts.items() if text})
        for name in ("tags", "categories"):
            if values := [str(value) for value in info.get(name) or () if value]:
                said[name] = values
    if (duration := info.get("duration")) and duration > 0:
        said["claimed_duration_ms"] = round(duration * 1000)
    return said
