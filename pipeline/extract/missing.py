"""Which features of which videos are missing. This is asked of the stores and never remembered elsewhere, so a first
run, a resume and a backfill are the same call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

import pyarrow.compute as pc

from reelmill.extractors.core.base import Extractor
from reelmill.extractors.core.frames import FramePlan
from reelmill.pipeline.decode import BY_RULE, SQUARE, Decoder, Limits, Streams, identity
from reelmill.pipeline.decode.sound import identity as sound_identity
from reelmill.storage import Outcomes, Root, Spec, Tables
from reelmill.storage.features import Snapshot
from reelmill.storage.place import AnyRoot
from reelmill.storage.shards import Format

PICTURES = "pictures"
"""Stage of the outcomes of key frames that are made again by themselves."""
MADE_FROM = "media_sha256"
"""Hash of the video file, in the provenance of its blocks; with the streams that were read, if they were named."""


@dataclass(frozen=True)
class Video:
    """A media file to extract from, with its facts as measured by the probe."""

    video_id: str
    path: str
    sha256: str
    start_ms: int
    duration_ms: int
    bytes: int | None = None
    """Size of the file when it was measured, to detect that it has been replaced; None: not checked."""
    streams: Streams = BY_RULE
    """Which streams are its picture and sound, by the table `media`."""
    named_streams: str | None = None
    """Which of them the settings named when it was measured, such as `video 3`; None: none."""

    aspect: Fraction = SQUARE
    """Width of a pixel of the upright frame divided by its height."""

    @property
    def made_from(self) -> str:
        """What its features are made from: the file, and its streams where they were named."""
        return f"{self.sha256}, {self.named_streams}" if self.named_streams else self.sha256


@dataclass(frozen=True)
class ExtractOptions:
    """How to extract; the first five change what is stored, the others only how fast and how safely."""

    segment_ms: int = 5000
    rows: Literal["segment", "window"] = "segment"
    """One row per segment, the mean of its windows, or one per window. For sound: per segment or video, by the
    extractor."""
    thumbnail_height: int = 180
    """Height of the key frame that is stored for each segment (table `frames`); 0 for none."""
    decoder: Decoder = "pyav"
    pixels: Literal["display", "coded"] = "display"
    """display: frames have the shape in which they are shown; coded: that in which they are stored, where pixels need
    not be square."""
    format: Format = "hdf5"
    workers: int = 1
    """Decoding processes."""
    seal_seconds: float = 60.0
    """Finished videos are committed at least this often."""
    limits: Limits = field(default_factory=Limits)


Todo: TypeAlias = tuple[Video, dict[int, list[Spec]]]
"""A video and {number of an extractor: its specs that are missing}; none, if only its key frames are."""


def specs_of(extractors: Sequence[Extractor], options: ExtractOptions) -> list[list[Spec]]:
    """The specs of the layers of each extractor, with these options."""
    return [
        list(e.specs(segment_ms=options.segment_ms, decoder=_decoder(e, options), rows=options.rows).values())
        for e in extractors
    ]


def _decoder(extractor: Extractor, options: ExtractOptions) -> str:
    if not isinstance(extractor.plan, FramePlan):
        return sound_identity()
    keeps_ratio = extractor.plan.geometry.scale_to is None
    return identity(options.decoder) + ("-coded-pixels" if options.pixels == "coded" and keeps_ratio else "")


def missing(
    root: AnyRoot,
    videos: Sequence[Video],
    extractors: Sequence[Extractor],
    options: ExtractOptions,
    *,
    retry: bool = False,
    snapshot: Snapshot | None = None,
) -> list[Todo]:
    """Videos without a block made from the file as it is now, each with {extractor's number: specs that are missing}.

    Cells whose last outcome was a permanent failure are left out unless `retry`. `snapshot`: that of this run, if it
    has taken one.
    """
    return missing_specs(root, videos, specs_of(extractors, options), retry=retry, snapshot=snapshot)


def missing_specs(
    root: AnyRoot,
    videos: Sequence[Video],
    specs: Sequence[Sequence[Spec]],
    *,
    retry: bool = False,
    snapshot: Snapshot | None = None,
) -> list[Todo]:
    """As `missing`, by the specs of each extractor."""
    snapshot = snapshot or Root(root).snapshot()
    failed = {} if retry else Outcomes(root).permanently_failed("extract")
    media = {video.video_id: video.made_from for video in videos}
    needed: dict[str, dict[int, list[Spec]]] = {video.video_id: {} for video in videos}
    for number, of_one in enumerate(specs):
        snapshot.refresh(of_one)
        for spec in of_one:
            for video in needed.keys() - snapshot.present(spec, media, MADE_FROM) - failed.get(spec.name, set()):
                needed[video].setdefault(number, []).append(spec)
    return [(video, needed[video.video_id]) for video in videos if needed[video.video_id]]


def missing_pictures(
    root: AnyRoot,
    videos: Sequence[Video],
    specs: Sequence[Sequence[Spec]],
    segment_ms: int,
    *,
    retry: bool = False,
    snapshot: Snapshot | None = None,
) -> list[Todo]:
    """Videos with all features and without key frames, since a part of the table `frames` is gone; each with no spec.
    Those whose last attempt at their pictures failed permanently only with `retry`."""
    have = pictured(root, segment_ms)
    lacking = {video.video_id: video.made_from for video in videos if video.video_id not in have}
    if not lacking:
        return []
    snapshot = snapshot or Root(root).snapshot()
    complete = lacking.keys() - (set() if retry else Outcomes(root).permanently_failed(PICTURES).get(None, set()))
    for spec in (spec for of_one in specs for spec in of_one):
        complete &= snapshot.present(spec, lacking, MADE_FROM)
    return [(video, {}) for video in videos if video.video_id in complete]


def still_missing(snapshot: Snapshot, todo: Sequence[Todo]) -> list[Todo]:
    """Those of these videos, with their specs, that no other process has extracted meanwhile. Reads only what was
    committed since the last call."""
    wanted = {spec.name: spec for _, needed in todo for specs in needed.values() for spec in specs}
    snapshot.refresh(wanted.values())
    media = {video.video_id: video.made_from for video, _ in todo}
    done = {name: snapshot.present(spec, media, MADE_FROM) for name, spec in wanted.items()}
    left = []
    for video, needed in todo:
        rest = {n: [s for s in specs if video.video_id not in done[s.name]] for n, specs in needed.items()}
        if (rest := {n: specs for n, specs in rest.items() if specs}) or not needed:
            left.append((video, rest))
    return left


def pictured(root: AnyRoot, segment_ms: int) -> set[str]:
    """Videos with key frames in the table `frames` that fit the grid of this segment length."""
    frames = Tables(root).read("frames", ["video_id", "segment_index", "time_ms"])
    fits = pc.equal(pc.divide(frames["time_ms"], segment_ms), pc.cast(frames["segment_index"], "int64"))
    misfits = set(frames.filter(pc.invert(fits))["video_id"].unique().to_pylist())
    return set(frames["video_id"].unique().to_pylist()) - misfits
