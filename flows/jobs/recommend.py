"""Recommend from a run of a root, and cut the first recommendation out of its video."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelmill.flows.jobs.results import INLINE, OPTIONAL

if TYPE_CHECKING:
    from reelmill.models.recommendations import Recommendations


@dataclass(frozen=True)
class RecommendResult:
    """The list, and what was cut."""

    answer: "Recommendations" = field(metadata=INLINE)
    gif: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    """The file, and which piece of which video it shows; None: nothing was to be cut."""


def recommend(
    root: str | Path,
    user: str | None = None,
    video: str | None = None,
    run: str | None = None,
    top: int = 10,
    why: bool = False,
    gif: str | Path | None = None,
) -> RecommendResult:
    """The answer of `reelmill.models.recommend`. With `gif`, a file name, the first recommendation is cut into it (.gif
    or .mp4). Raises InputError and, where a media file cannot be read, VideoError."""
    from reelmill.models.recommendations import recommend as ask
    from reelmill.pipeline.highlight import check_name, span, write_highlight

    if gif is not None:
        check_name(Path(gif))
    answer = ask(root, user, video, run, top, why)
    return RecommendResult(answer, write_highlight(root, *span(answer.recommended), gif) if gif is not None else None)
