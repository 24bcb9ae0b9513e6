"""What a server answers: pages that end, and what of them goes into the tables."""

from typing import Any

from reelmill.pipeline import errors

PAGE_BYTES = 32 << 20
"""Most bytes of a page, playlist or manifest, unpacked: one of 50 MB takes yt-dlp 12 s to search."""
PIECE = 1 << 18


def bound(response: Any) -> None:
    """Have a body that is read as a whole end at PAGE_BYTES, with an Unsupported. `response`: yt-dlp's. What is read
    piece by piece is a file, whose bytes are counted elsewhere."""
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
    """What the page said, as columns of `videos`. A direct link to a file has no page: yt-dlp makes its title from the
    address and its date from the file's."""
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
