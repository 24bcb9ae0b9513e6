"""Recommend from a run of a root, and cut the first recommendation out of its video."""

from dataclasses import asdict
from pathlib import Path
from typing import Any


def recommend(
    root: str | Path,
    user: str | None = None,
    video: str | None = None,
    run: str | None = None,
    top: int = 10,
    why: bool = False,
    gif: str | Path | None = None,
) -> dict[str, Any]:
    """The figures of `reelmill.models.recommend`; with `gif`, a file name, also those of
    `write_highlight`, which has cut the first recommendation into it (.gif or .mp4). Raises InputError and, where a
    media file cannot be read, VideoError."""
    from reelmill.models.recommendations import recommend as ask
    from reelmill.pipeline.highlight import check_name, span, write_highlight

    if gif is not None:
        check_name(Path(gif))
    figures = asdict(ask(root, user, video, run, top, why))
    if gif is not None:
        figures["gif"] = write_highlight(root, *span(figures["recommended"]), gif)
    return figures
