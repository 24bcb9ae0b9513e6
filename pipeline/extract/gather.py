"""Collects the vectors of one video into blocks: windows averaged into segments, or kept one by one."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Tally
from reelmill.pipeline.errors import Changed, NotFound
from reelmill.pipeline.extract.cut import CutSegment, CutWindows
from reelmill.pipeline.extract.missing import MADE_FROM, PICTURES, Video
from reelmill.pipeline.segments import grid
from reelmill.storage import Outcome, Spec
from reelmill.storage.blocks import NO_DATA, PADDED, VALID, Block


class _Layer:
    """Vectors of one spec."""

    def __init__(self, spec: Spec, segments: int) -> None:
        self.spec = spec
        self.sums = None if spec.rows == "window" else np.zeros((segments, spec.dim), np.float32)
        self.windows: list[np.ndarray] = []

    def add(self, segment: int, vectors: np.ndarray) -> None:
        if self.sums is None:
            self.windows.append(vectors.copy())
        else:
            np.add.at(self.sums, np.full(len(vectors), segment), vectors)  # in order: it decides the rounding

    def rows(self, counts: np.ndarray) -> np.ndarray:
        if self.sums is None:
            return np.concatenate([np.zeros((0, self.spec.dim), np.float32), *self.windows]).astype(self.spec.dtype)
        with np.errstate(invalid="ignore"):
            return (self.sums / counts[:, None]).astype(self.spec.dtype)  # 0 / 0 is NaN: no data


class _Lane:
    """One extractor's windows of one video."""

    def __init__(self, extractor: Extractor, specs: Sequence[Spec], segments: int) -> None:
        self.by = specs[0].rows
        self.of_sound = isinstance(extractor.plan, SoundPlan)
        segments = 1 if self.by == "video" else segments
        self.layers = {spec.layer: _Layer(spec, segments) for spec in specs}
        self.expected = np.zeros(segments, np.int64)
        self.padded = np.zeros(segments, bool)
        self.arrived = 0
        self.windows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        """For each segment its number, and padded, start_ms, stop_ms of its windows. No pixels, which would fill
        memory."""


class Gather:
    """One video. Counts the windows that were sent to extractors; complete when decoding has ended and the vectors of
    all windows have arrived."""

    def __init__(
        self,
        video: Video,
        needed: Mapping[int, Sequence[Spec]],
        extractors: Sequence[Extractor],
        segment_ms: int,
    ) -> None:
        self.video, self.video_id = video, video.video_id
        self.cells = grid([video.video_id], np.array([video.duration_ms]), segment_ms)
        self.segments = self.cells.num_rows
        self.names = {number: extractors[number].name for number in sorted(needed)}
        self.lanes = {name: _Lane(extractors[n], needed[n], self.segments) for n, name in self.names.items()}
        self.pictures: list[dict[str, object]] = []
        self.tally: Tally | None = None
        self.error: Exception | None = None
        self.closed = False
        """Its blocks were taken; later messages for it are ignored."""
        self.began = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether all results have arrived, or it has failed."""
        if self.error is not None:
            return True
        return self.tally is not None and all(lane.arrived == lane.expected.sum() for lane in self.lanes.values())

    def expect(self, number: int, segment: int, cut: CutWindows) -> None:
        """Windows of this segment were sent to extractor `number`."""
        lane = self.lanes[self.names[number]]
        lane.expected[segment] += len(cut.padded)
        lane.padded[segment] |= bool(cut.padded.any())
        if lane.by == "window":
            lane.windows.append((segment, cut.padded.copy(), cut.start_ms.copy(), cut.stop_ms.copy()))

    def add(self, extractor: str, segment: int, vectors: Mapping[str, np.ndarray]) -> None:
        """Vectors (n, dim) of each layer for n windows of this segment."""
        lane = self.lanes[extractor]
        for name, layer in lane.layers.items():
            layer.add(segment, vectors[name])
        lane.arrived += len(next(iter(vectors.values())))

    def take_picture(self, segment: CutSegment) -> None:
        """Keep the key frame of a segment."""
        if segment.picture:
            time_ms, width, height, jpeg = segment.picture
            self.pictures.append({"video_id": self.video_id, "segment_index": segment.index, "time_ms": time_ms,
                                  "width": width, "height": height, "jpeg": jpeg})  # fmt: skip

    def finish_decoding(self, tally: Tally) -> None:
        """All segments were sent."""
        self.tally = tally

    def fail(self, error: Exception) -> None:
        """The video has failed; its results are dropped. The first error counts."""
        if isinstance(error, NotFound):  # it is in the table `media`, so it did exist: fetching it again may help
            error = Changed(f"{error}; `reelmill ingest` fetches it again")
        self.error, self.pictures = self.error or error, []

    def blocks(self) -> Iterator[tuple[Block, Spec]]:
        """A block for each missing spec; none after a failure."""
        if self.error is not None or self.tally is None:
            return
        provenance = {
            MADE_FROM: self.video.made_from, "reelmill": version("reelmill"), "host": socket.gethostname(),
            "extracted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        for lane in self.lanes.values():
            mask, segment, start, stop = self._windows(lane) if lane.by == "window" else self._segments(lane)
            for layer in lane.layers.values():
                rows = layer.rows(lane.expected)
                made_by = {**provenance, **_decoded(lane, self.tally), "decoder": layer.spec.decoder}
                yield Block(self.video_id, rows, mask, segment, start, stop, made_by), layer.spec

    def _segments(self, lane: _Lane) -> tuple[np.ndarray, ...]:
        mask = np.where(lane.expected == 0, NO_DATA, np.where(lane.padded, PADDED, VALID)).astype(np.uint8)
        if lane.by == "video":
            return mask, np.array([0], np.int32), np.array([0]), np.array([self.video.duration_ms])
        return (mask, *(self.cells[name].to_numpy() for name in ("segment_index", "start_ms", "stop_ms")))

    def _windows(self, lane: _Lane) -> tuple[np.ndarray, ...]:
        none = np.zeros(0, np.int64)
        padded = np.concatenate([np.zeros(0, bool), *(window[1] for window in lane.windows)])
        counts = [len(window[1]) for window in lane.windows]
        return (
            np.where(padded, PADDED, VALID).astype(np.uint8),
            np.repeat([window[0] for window in lane.windows], counts).astype(np.int32),
            np.concatenate([none, *(window[2] for window in lane.windows)]),
            np.concatenate([none, *(window[3] for window in lane.windows)]),
        )

    def outcomes(self) -> list[Outcome]:
        """One outcome for each missing spec; one of the stage `pictures`, if only key frames are missing."""
        specs = [(layer.spec.name, lane) for lane in self.lanes.values() for layer in lane.layers.values()]
        seconds = time.monotonic() - self.began
        if not specs and self.error is not None:
            return [Outcome.failure(PICTURES, self.video_id, self.error, seconds=seconds)]
        if not specs:
            return [Outcome(PICTURES, self.video_id, "done", message=f"{len(self.pictures)} pictures", seconds=seconds)]
        if self.error is not None:
            return [Outcome.failure("extract", self.video_id, self.error, spec=s, seconds=seconds) for s, _ in specs]
        assert self.tally is not None
        told = {lane: _told(lane, self.tally) for _, lane in specs}
        return [Outcome("extract", self.video_id, "done", spec=s, message=told[lane], seconds=seconds)
                for s, lane in specs]  # fmt: skip


def _decoded(lane: _Lane, tally: Tally) -> dict[str, Any]:
    """What was decoded for an extractor, for the provenance."""
    if lane.of_sound:
        return {"sound_seconds": round(tally.sound_seconds, 3), "decode_errors": tally.sound_errors}
    return {"frames": tally.frames, "decode_errors": tally.errors, "damaged_frames": tally.damaged}


def _told(lane: _Lane, tally: Tally) -> str:
    """The same in words, for the outcome."""
    amount = f"{tally.sound_seconds:.1f} s of sound" if lane.of_sound else f"{tally.frames} frames"
    return f"{amount}, {tally.sound_errors if lane.of_sound else tally.errors} packets could not be decoded"
