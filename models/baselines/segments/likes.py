"""What users like in training, outside the video at hand: a history that the label to be predicted is no part of."""

import torch
import torch.nn.functional as F
from torch import Tensor

from reelmill.models.core.rows import integers
from reelmill.models.protocols.segments.task import SegmentTask


class Likes:
    """The training positives of each user, as numbers of items."""

    def __init__(self, task: SegmentTask) -> None:
        self.item, device = task.edge_item, task.device  # by user, then by item, so that a video's are in one run
        self.features = task.features[: len(task.items)]
        count = torch.bincount(task.edge_user, minlength=len(task.data.users))
        self.start = F.pad(count.cumsum(0), (1, 0))
        self.videos = len(task.data.videos)
        self.video = integers(task.data.segment_video[task.items], device)[self.item]
        key = task.edge_user * self.videos + self.video
        self.keys, count = torch.unique_consecutive(key, return_counts=True)
        self.key_start = F.pad(count.cumsum(0), (1, 0))
        self.total = F.embedding_bag(self.item, self.features, self.start, mode="sum", include_last_offset=True)

    def mean(self, user: Tensor, video: Tensor) -> Tensor:
        """(n, dim) mean feature of what users (n,) like outside videos (n,) of the data; zero without any."""
        key = user * self.videos + video
        place = torch.searchsorted(self.keys, key).clamp_max(len(self.keys) - 1)
        begin = self.key_start[place]
        count = torch.where(self.keys[place] == key, self.key_start[place + 1] - begin, 0)
        left = (self.start[user + 1] - self.start[user] - count)[:, None]
        row = torch.repeat_interleave(count)
        offsets = F.pad(count.cumsum(0), (1, 0))
        member = torch.arange(len(row), device=row.device) - offsets[row] + begin[row]
        own = F.embedding_bag(self.item[member], self.features, offsets, mode="sum", include_last_offset=True)
        return torch.where(left > 0, (self.total[user] - own) / left.clamp_min(1), 0)

    def lists(self, user: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """Items (n, L) that users (n,) like, L as many as the one with the most has, and which of them are there and
        outside videos (n,)."""
        start, count = self.start[user], self.start[user + 1] - self.start[user]
        place = torch.arange(int(count.max()) if len(count) else 0, device=user.device)
        there = place < count[:, None]
        edge = torch.where(there, start[:, None] + place, 0)
        return self.item[edge], there & (self.video[edge] != video[:, None])
