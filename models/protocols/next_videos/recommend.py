"""What advisers of next videos share: a user's watches out of the tables, as a history."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from reelmill.models.core.advice import Question
from reelmill.models.data.arrays import codes
from reelmill.models.protocols.next_videos.data import KINDS
from reelmill.models.protocols.next_videos.history import Past, Stream


def watches(question: Question, videos: list[str]) -> tuple[torch.Tensor, torch.Tensor, dict[str, int]]:
    """Video and time (W,) of the user's first watch of each of these videos, in order of time, then of video; and
    counts of what is left out."""
    events = question.events("video_id", "time", kinds=KINDS)
    dated = events.filter(pc.is_valid(events["time"]))
    row = codes(dated["video_id"], videos)
    ms, foreign = dated["time"].cast(pa.int64()).to_numpy(), row < 0
    left_out = {
        "watches_undated": events.num_rows - dated.num_rows,
        "watches_of_videos_not_trained_on": int(foreign.sum()),
    }
    order = np.lexsort((ms, row))
    order = order[np.diff(row[order], prepend=-2) != 0]
    order = order[row[order] >= 0]
    order = order[np.lexsort((row[order], ms[order]))]
    return torch.from_numpy(row[order]), torch.from_numpy(ms[order]), left_out


def past_of(what: torch.Tensor, ms: torch.Tensor, now: torch.Tensor) -> Past:
    """A history of one row: videos or topics (W,) and their times before a moment ()."""
    one = torch.zeros(1, dtype=torch.long)
    return Stream(torch.zeros_like(what), ms, what, 1).until(one, now[None])
