"""Frames of a video, each proven by its timestamp: one forward pass in presentation order, never a seek.

Measured over 26 files of odd kinds, PyAV read in order gave the right frame everywhere; seeking, and every decoder that
seeks by itself, did not (open GOP, edit lists, MPEG-TS, packed B-frames). Every segment of a video is wanted anyway, so
nothing is lost. The decoder's *order* is trusted; where its timestamps are out of order (packed B-frames in AVI), they
are sorted over a few frames.

The file's bytes are looked at before a library opens it: a text file named .mp4 can make a demuxer read other files.
"""

import contextlib
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from extractors.frames import Geometry
from pipeline.errors import Corrupt, NotFound, NoVideoStream, TooLong, TooManyPixels, Unsupported

DECODER = f"pyav-{av.__version__}-in-order-swscale"
"""Goes into every spec: decoder and scaler change the pixels."""

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,asf,ogg"
Frame: TypeAlias = av.VideoFrame
"""A decoded frame, not yet scaled."""

REORDER = 4
"""Frames over which timestamps that are out of order are sorted."""


@dataclass(frozen=True)
class Limits:
    """Bounds that are checked before and while decoding."""

    max_seconds: float = 6 * 3600
    max_frames: int = 2_000_000
    max_pixels: int = 4096 * 2304
    wall_seconds: float = 3600
    """Time for one video; then its process is killed."""
    memory_bytes: int = 4 << 30
    """Private memory of a decoding process."""


@dataclass(frozen=True)
class Scan:
    """What the packets of the video stream say, in seconds on the container's clock. Nothing is decoded for it."""

    start: float
    stop: float
    times: np.ndarray
    """(packets,) float64, presentation times in ascending order; hidden ones (edit lists) left out."""


@contextlib.contextmanager
def open_video(path: str | Path, limits: Limits) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file for decoding, and close it again.

    Raises NotFound, Unsupported, Corrupt, NoVideoStream, TooManyPixels.
    """
    check_magic(Path(path))
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise Corrupt(f"{path} cannot be opened as a video ({_reason(error)})") from error
    with container:
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            raise NoVideoStream(f"{path} has no video stream")
        stream = streams[0]
        pixels = stream.codec_context.width * stream.codec_context.height
        if pixels > limits.max_pixels:
            raise TooManyPixels(
                f"{path}: {pixels} pixels a frame, the limit is {limits.max_pixels} (limits.max_pixels)"
            )
        if stream.codec_context.name is None or not pixels:
            raise Corrupt(f"{path}: its video stream has no known codec or size")
        stream.thread_type = "NONE"  # videos are decoded side by side; threads inside one cost more than they give
        yield container, stream


def check_magic(path: Path) -> None:
    """Raise unless the first bytes are those of a container on the list."""
    if not path.is_file():
        raise NotFound(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(400)
    known = (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot")
        or head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"))
        or (head[:4] == b"RIFF" and head[8:11] == b"AVI")
        or (head[:1] == b"G" and head[188:189] == b"G")
        or (head[4:5] == b"G" and head[196:197] == b"G")
    )
    if not head:
        raise Corrupt(f"{path} is empty (0 bytes)")
    if not known:
        shown = head[:16].decode("latin-1").encode("unicode_escape").decode()
        raise Unsupported(f"{path} is not a video file of a known container (it starts with {shown!r})")


def scan(container: av.container.InputContainer, stream: av.VideoStream) -> Scan:
    """Read every packet's times without decoding. Raises Corrupt if there is none. The container is at its end then."""
    times: list[float] = []
    stops: list[float] = []
    base = float(stream.time_base or 0)
    spare = 1 / float(stream.average_rate) if stream.average_rate else 0.0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError:
            break  # cut short: what came is what there is
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or not packet.size or packet.is_discard:
            continue
        times.append(time * base)
        stops.append(time * base + (packet.duration * base if packet.duration else spare))
    if not times:
        raise Corrupt(f"{container.name}: its video stream holds no packet")
    return Scan(min(times), max(stops), np.sort(np.array(times)))


@dataclass
class Tally:
    """What happened while a video was decoded."""

    frames: int = 0
    errors: int = 0
    """Packets that could not be decoded."""
    damaged: int = 0
    """Frames that the decoder itself flags as corrupt; they are used."""


def read_frames(
    container: av.container.InputContainer, stream: av.VideoStream, start: float, limits: Limits, tally: Tally
) -> Iterator[tuple[int, Frame]]:
    """(time in ms since `start`, frame), in presentation order, times never falling; errors are counted in `tally`."""
    waiting: deque[Frame] = deque()
    times: list[float] = []
    latest = 0
    spare = 1 / float(stream.average_rate) if stream.average_rate else 0.04
    for frame in _decode(container, stream, tally):
        tally.frames += 1
        tally.damaged += frame.is_corrupt
        if tally.frames > limits.max_frames:
            raise TooLong(f"{container.name}: more than {limits.max_frames} frames (limits.max_frames)")
        waiting.append(frame)
        heapq.heappush(times, frame.time if frame.time is not None else start + latest / 1000 + spare)
        if len(waiting) > REORDER:
            latest = max(latest, round((heapq.heappop(times) - start) * 1000))
            yield latest, waiting.popleft()
    while waiting:
        latest = max(latest, round((heapq.heappop(times) - start) * 1000))
        yield latest, waiting.popleft()


def _decode(container: av.container.InputContainer, stream: av.VideoStream, tally: Tally) -> Iterator[Frame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            tally.errors += 1
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.errors += 1
            continue
        yield from frames


class Scaler:
    """Scales, turns upright and cuts frames. One for each geometry and video; frames may change size on the way."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._scaler = VideoReformatter()

    def __call__(self, frame: Frame) -> np.ndarray:
        """(crop height, crop width, 3) uint8 RGB. Scaling comes before turning: they commute, and fewer bytes move."""
        turns = quarter_turns(frame)
        height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
        height, width = self.geometry.scaled(height, width)
        coded = (height, width) if turns % 2 else (width, height)
        scaled = self._scaler.reformat(
            frame, width=coded[0], height=coded[1], format="rgb24", interpolation=self.geometry.filter.upper()
        )
        picture = np.rot90(scaled.to_ndarray(), turns)
        crop_height, crop_width = self.geometry.crop
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        return np.ascontiguousarray(picture[top : top + crop_height, left : left + crop_width])


def quarter_turns(frame: Frame) -> int:
    """Quarter turns counter-clockwise that show the frame upright, 0 to 3, from the display matrix."""
    return round(frame.rotation / 90) % 4


def thumbnail(frame: Frame, height: int) -> tuple[int, int, bytes]:
    """(width, height, JPEG) of an upright frame scaled to this height, for people."""
    turned = quarter_turns(frame) % 2
    shown = (frame.height, frame.width) if turned else (frame.width, frame.height)
    width = max(2, round(shown[0] * height / shown[1]))
    scaler = Scaler(Geometry(crop=(height, width), scale_to=(height, width), filter="area"))
    buffer = BytesIO()
    Image.fromarray(scaler(frame)).save(buffer, "JPEG", quality=80)
    return width, height, buffer.getvalue()


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
