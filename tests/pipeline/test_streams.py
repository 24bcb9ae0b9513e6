"""Which stream of a file is read, which files are read, and what contradicts itself in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import Interpolation
from PIL import Image
from typer.testing import CliRunner

from reelmill.extractors.core.frames import Geometry
from reelmill.flows.cli.main import app
from reelmill.pipeline import containers, sources
from reelmill.pipeline.decode import Limits, Scaler, Streams, Tally, frames
from reelmill.pipeline.decode.shown import is_shown
from reelmill.pipeline.decode.sound import read_sound
from reelmill.pipeline.download.ingest import fetch_media, missing_media
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.pipeline.errors import Corrupt, Unsupported
from reelmill.pipeline.probe import aspect_of, examine, probe
from reelmill.storage import Outcomes, Tables
from tests import optional
from tests.kinds import ffmpeg
from tests.media import indexed_frame, make_video, read_index

CASES = Path(__file__).parents[3] / "shared" / "cases"
NASA = Path(__file__).parents[3] / "shared" / "data" / "clips" / "torchcodec" / "nasa_13013.mp4"
NONE = Disposition(0)


def needs_case(path: Path) -> Path:
    optional.need("data", path.is_file())
    return path


@dataclass(frozen=True)
class Track:
    """A video stream to write."""

    frames: int
    size: tuple[int, int]
    flags: Disposition = NONE
    fps: int = 25
    first: int = 0
    """Index in the pixels of its first frame."""
    codec: str = "mpeg4"


def write_tracks(path: Path, tracks: Sequence[Track], tones: Sequence[tuple[int, Disposition]] = ()) -> Path:
    """A file with these video streams, one behind the other in the list of streams, then streams of sound: a tone of so
    many Hz for 2 s each."""
    with av.open(str(path), "w") as out:
        videos, sounds = [], []
        for track in tracks:
            stream = out.add_stream(track.codec, rate=track.fps)
            stream.width, stream.height = track.size
            stream.pix_fmt = "yuvj420p" if track.codec == "mjpeg" else "yuv420p"
            stream.disposition = track.flags
            videos.append(stream)
        for _, flags in tones:
            sound = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
            sound.disposition = flags
            sounds.append(sound)
        for track, stream in zip(tracks, videos, strict=True):
            for index in range(track.frames):
                picture = indexed_frame(track.first + index, *track.size)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode(None))
        for (pitch, _), sound in zip(tones, sounds, strict=True):
            wave = np.sin(2 * np.pi * pitch * np.arange(32_000) / 16_000) * 20_000
            piece = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
            piece.sample_rate = 16_000
            out.mux(sound.encode(piece))
            out.mux(sound.encode(None))
    return path


def first_index(path: Path, streams: Streams) -> int:
    """The index in the pixels of the first frame that an extraction of these streams sees."""
    limits = Limits()
    facts = probe(path, limits, streams)
    chosen = Streams(facts["video_stream"], facts["audio_stream"])
    scaler = Scaler(Geometry(crop=(112, 144), scale_to=(112, 144)))
    first = next(iter(frames(path, "pyav", facts["start_ms"] / 1000, limits, Tally(), chosen)))
    return read_index(scaler(first[-1]))


def pitch_of(path: Path, number: int | None = None) -> float | None:
    """Hz of the loudest tone of the stream of sound that is read; None if it is silent or there is none."""
    pieces = [samples for _, samples in read_sound(path, 0, 16_000, Limits(), Tally(), Streams(None, number))]
    wave = np.nan_to_num(np.concatenate(pieces or [np.zeros(1)]))
    if np.abs(wave).max() < 0.01:
        return None
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * 16_000 / len(wave))


# ---- pictures --------------------------------------------------------------------------------------------------------

SMALL, LARGE = (160, 112), (288, 224)


@pytest.mark.parametrize(
    ("tracks", "best"),
    [
        ([Track(1, SMALL, codec="mjpeg", fps=1), Track(50, SMALL)], 1),  # a preview first
        ([Track(2, LARGE), Track(50, SMALL)], 1),  # a large picture of some frames is no film
        ([Track(50, SMALL), Track(50, LARGE)], 1),
        ([Track(50, LARGE), Track(50, SMALL)], 0),
        ([Track(60, SMALL, fps=30), Track(50, LARGE)], 1),  # a few frames more do not count against the size
        ([Track(50, SMALL), Track(60, SMALL)], 1),
        ([Track(50, SMALL), Track(50, SMALL)], 0),
        ([Track(50, LARGE), Track(50, SMALL, Disposition.default)], 1),
        ([Track(50, LARGE), Track(2, SMALL, Disposition.default)], 1),  # the flag decides, as in ffmpeg
        ([Track(50, LARGE, Disposition.visual_impaired), Track(50, SMALL)], 1),
    ],
)
def test_the_best_stream_is_the_picture(tmp_path: Path, tracks: list[Track], best: int) -> None:
    numbered = [Track(**{**vars(track), "first": 100 * number}) for number, track in enumerate(tracks)]
    path = write_tracks(tmp_path / "a.mkv", numbered)
    facts = probe(path)
    assert facts["video_stream"] == best
    assert (facts["width"], facts["height"]) == tracks[best].size
    assert facts["frame_count"] == tracks[best].frames
    assert first_index(path, Streams()) == 100 * best


def test_a_picture_without_decoder_is_left_out(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", [Track(50, LARGE), Track(50, SMALL, codec="mjpeg")])
    assert probe(path)["video_stream"] == 0
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/ASP", b"V_MPEG4/ISO/XXX"))
    assert probe(path)["video_stream"] == 1


def test_the_film_is_read_and_not_its_preview() -> None:
    facts = probe(needs_case(CASES / "preview_first.mkv"))
    assert (facts["width"], facts["height"], facts["frame_count"], facts["duration_ms"]) == (320, 240, 300, 12_000)
    facts = probe(needs_case(NASA))
    assert (facts["video_stream"], facts["width"], facts["height"], facts["frame_count"]) == (3, 480, 270, 390)


def test_decord_is_not_asked_to_choose(tmp_path: Path) -> None:
    """It reads the stream that it likes, whichever was measured; a cover is none to choose from."""
    path = write_tracks(tmp_path / "a.mkv", [Track(50, LARGE), Track(50, SMALL)])
    with pytest.raises(Unsupported, match=r"2 video streams.*extract\.decoder: pyav"):
        next(iter(frames(path, "decord", 0.0, Limits(), Tally())))


def test_settings_name_another_stream(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", [Track(50, LARGE), Track(25, SMALL, first=100)], [(440, NONE), (880, NONE)])
    named = examine(path, streams=Streams(1, 3))
    assert named.facts["named_streams"] == "video 1, audio 3"
    assert (named.facts["video_stream"], named.facts["audio_stream"]) == (1, 3)
    assert (named.facts["frame_count"], named.facts["width"]) == (25, 160)
    assert first_index(path, Streams(1, 3)) == 100
    assert not named.contradictions
    other = examine(path, streams=Streams(7, 0))
    assert (other.facts["video_stream"], other.facts["audio_stream"]) == (0, 2)
    assert {one.kind for one in other.contradictions} == {"no_such_stream"}


# ---- sound -----------------------------------------------------------------------------------------------------------


def test_the_default_track_is_the_sound(tmp_path: Path) -> None:
    plain, default, impaired = NONE, Disposition.default, Disposition.visual_impaired
    for number, (flags, pitch) in enumerate(
        [
            ([plain, default, plain], 600),
            ([plain, plain, plain], 400),
            ([impaired, plain, plain], 600),
            ([plain, plain, default | impaired], 400),  # ffmpeg counts one flag for and one against it
        ]
    ):
        tones = list(zip((400, 600, 800), flags, strict=True))
        path = write_tracks(tmp_path / f"{number}.mkv", [Track(50, SMALL)], tones)
        assert pitch_of(path) == pytest.approx(pitch, abs=2), flags
        assert probe(path)["audio_stream"] == {400: 1, 600: 2, 800: 3}[pitch]
    assert pitch_of(path, 3) == pytest.approx(800, abs=2)


def test_a_track_without_decoder_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        first = out.add_stream("libmp3lame", rate=16_000, layout="mono")
        second = out.add_stream("aac", rate=16_000, layout="mono")
        first.disposition = Disposition.default
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for stream, pitch in ((first, 400), (second, 800)):
            wave = np.sin(2 * np.pi * pitch * np.arange(32_000) / 16_000).astype(np.float32)[None] * np.float32(0.5)
            piece = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            piece.sample_rate = 16_000
            out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
    assert pitch_of(path) == pytest.approx(400, abs=2)
    path.write_bytes(path.read_bytes().replace(b"A_MPEG/L3", b"A_MPEG/X9"))
    assert pitch_of(path) == pytest.approx(800, abs=2)
    facts = probe(path)
    assert (facts["audio_stream"], facts["audio_rate"]) == (2, 16_000)


def test_the_second_track_is_the_default_one() -> None:
    path = needs_case(CASES / "two_audio_default2.mkv")
    assert probe(path)["audio_stream"] == 2
    assert pitch_of(path) is not None
    assert pitch_of(path, 1) is None


# ---- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg1video"])
@pytest.mark.parametrize("suffix", [".mpg", ".vob"])
def test_program_streams_are_read(tmp_path: Path, codec: str, suffix: str) -> None:
    path = make_video(tmp_path / f"a{suffix}", codec=codec, frames=50)
    facts = probe(path)
    assert (facts["frame_count"], facts["duration_ms"], facts["container"]) == (50, 2000, "mpeg")
    assert first_index(path, Streams()) == 0
    assert sources.read_folder(tmp_path).videos["video_id"].to_pylist() == [f"a{suffix}"]


def test_a_tape_of_a_camcorder() -> None:
    facts = probe(needs_case(CASES / "camcorder.mpg"))
    assert (facts["frame_count"], facts["duration_ms"]) == (300, 12_000)


def test_there_is_one_list_of_containers(tmp_path: Path) -> None:
    """A file of each suffix passes the look at its first bytes; the muxer is the one that FFmpeg knows by the name."""
    for suffix in containers.SUFFIXES:
        codec = {".webm": "libvpx", ".ogv": "libtheora", ".ogm": "libtheora", ".wmv": "wmv2", ".asf": "wmv2"}
        kind = {".f4v": "f4v", ".m2p": "vob", ".ogm": "ogg", ".mts": "mpegts", ".3g2": "3g2"}.get(suffix)
        path = tmp_path / f"a{suffix}"
        try:
            with av.open(str(path), "w", format=kind) as out:
                stream = out.add_stream(
                    codec.get(suffix, "mpeg2video" if suffix in (".mpg", ".mpeg", ".m2p", ".vob") else "libx264"),
                    rate=25,
                )
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for index in range(10):
                    picture = av.VideoFrame.from_ndarray(indexed_frame(index, 64, 48), format="rgb24")
                    out.mux(stream.encode(picture))
                out.mux(stream.encode(None))
        except (ValueError, av.FFmpegError):  # this build of FFmpeg has no encoder of it
            assert suffix in (".ogv", ".ogm")
            continue
        assert probe(path)["frame_count"] == 10, suffix
        assert containers.not_a_video(path) is None


def test_what_is_no_video_is_counted(tmp_path: Path) -> None:
    good = make_video(tmp_path / "good.MP4", frames=3)
    for name in ("a.gif", "b.gif", "c.rmvb", "._good.MP4", ".hidden.mp4", "notes", ".cache/x.mp4", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(good.read_bytes())
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "link.mp4").symlink_to(good)
    (tmp_path / "linked").symlink_to(tmp_path / ".cache")
    found = sources.read_folder(tmp_path)
    assert found.videos["video_id"].to_pylist() == ["good.MP4", "link.mp4"]
    assert found.skipped == {
        ".gif files": 2, ".rmvb files": 1, ".txt files": 1, "files without a suffix": 1, "hidden files": 1,
        "AppleDouble files (._…)": 1, "links to nothing": 1, "hidden folders": 1, "links to folders": 1,
    }  # fmt: skip
    root = tmp_path / "root"
    assert sources.write_source(root, found).skipped == found.skipped
    asked = ["--root", str(root), "--set", f"source.path={tmp_path}", "--set", "source.format=folder", "--dry-run"]
    told = CliRunner().invoke(app, ["ingest", *asked])
    assert "skipped: 2 .gif files" in told.stdout


def test_nothing_of_a_refused_file_is_told(tmp_path: Path) -> None:
    """Any file of this machine can be named as a video: what stands in it must not reach a table."""
    secret = tmp_path / "id_rsa.mp4"
    secret.write_bytes(b"PRIVATE KEY 4711\n" * 100)
    root = tmp_path / "root"
    Tables(root).write("videos", [{"video_id": "x", "url": str(secret)}])
    (outcome,) = fetch_media(str(root), missing_media(str(root)), DownloadOptions(), Limits())
    assert outcome.error_class == "unsupported"
    told = str(Outcomes(root).newest().to_pylist())
    for part in ("PRIVATE", "KEY", "4711", "5052495641"):
        assert part not in told
    with pytest.raises(Unsupported) as caught:
        probe(secret)
    assert "PRIVATE" not in str(caught.value)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(Corrupt, match="0 bytes"):
        probe(tmp_path / "empty.mp4")


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_packets_that_are_not_shown_do_not_count(tmp_path: Path) -> None:
    """VP8 with alternate references, in packets of their own; VP9 has them too, in one packet with a frame that is
    shown. The encoder makes them in a second pass only."""
    for codec in ("libvpx", "libvpx-vp9"):
        path = tmp_path / f"{codec}.webm"
        for turn in ("1", "2"):
            source = "testsrc2=duration=4:size=160x120:rate=25"
            made = ["-c:v", codec, "-auto-alt-ref", "1", "-lag-in-frames", "16", "-cpu-used", "4", "-b:v", "200k"]
            ffmpeg("-f", "lavfi", "-i", source, *made, "-pass", turn, "-passlogfile", tmp_path / codec, path)
        with av.open(str(path)) as container:
            packets = sum(bool(packet.size) for packet in container.demux(video=0))
        assert (packets > 100) == (codec == "libvpx"), "the encoder hides none"
        facts = probe(path)
        assert (facts["frame_count"], facts["mean_fps"], facts["variable_rate"]) == (100, 25, False), codec


def test_the_header_of_a_frame_says_whether_it_is_shown() -> None:
    def shown(codec: str, *data: int) -> bool:
        return is_shown(av.Packet(bytes(data)), codec)

    assert [shown("vp8", 0x61, 0), shown("vp8", 0xB1, 0)] == [False, True]
    assert [shown("vp9", 0x84, 0), shown("vp9", 0x86, 0), shown("vp9", 0x88)] == [False, True, True]
    assert shown("vp9", 0x84, 0, 0xC1), "a superframe also holds a frame that is shown"
    assert [shown("vp9", 0xB2, 0), shown("vp9", 0xB1, 0)] == [False, True], "profile 3: one bit later"
    assert shown("h264", 0x61, 0)


def test_a_film_with_alternate_references() -> None:
    facts = probe(needs_case(CASES / "altref2.webm"))
    assert (facts["frame_count"], facts["mean_fps"], facts["variable_rate"]) == (200, 25, False)


def test_facts_that_contradict_each_other_are_a_warning(tmp_path: Path) -> None:
    """An AVI that declares 25 frames a second and has every fourth; the video is used, and a later measurement that
    finds nothing takes the warning back."""
    path, root = tmp_path / "a.avi", str(tmp_path / "root")
    Tables(root).write("videos", [{"video_id": "x", "url": str(path)}])
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(indexed_frame(index, 64, 48), format="rgb24")
            frame.pts, frame.time_base = 4 * index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (outcome,) = fetch_media(root, missing_media(root), DownloadOptions(), Limits())
    assert outcome.status == "done"
    warned = Outcomes(root).latest("facts")["x"]
    assert (warned["status"], warned["error_class"]) == ("warned", "frame_rate")
    assert "25.000 are declared" in warned["message"]
    make_video(path, codec="mpeg4", frames=25)
    fetch_media(root, missing_media(root), DownloadOptions(), Limits())
    assert Outcomes(root).latest("facts")["x"]["status"] == "done"


def test_sound_and_picture_of_other_lengths_are_a_warning(tmp_path: Path) -> None:
    for name, frames_, kinds in (("short.mkv", 50, set()), ("long.mkv", 250, set())):
        found = examine(write_tracks(tmp_path / name, [Track(frames_, SMALL)], [(440, NONE)])).contradictions
        assert {one.kind for one in found} == kinds
    path = write_tracks(tmp_path / "a.mov", [Track(250, SMALL)], [(440, NONE)])  # 10 s of picture, 2 s of sound
    assert {one.kind for one in examine(path).contradictions} == {"length"}


# ---- pixels that are not square --------------------------------------------------------------------------------------


def write_squeezed(path: Path, size: tuple[int, int], aspect: Fraction, codec: str = "libx264") -> Path:
    """A white square on black, as it is shown, of half the height: squeezed as pixels of this aspect require."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    half = round(height / 4 / aspect)
    picture[height // 4 : 3 * height // 4, width // 2 - half : width // 2 + half] = 255
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(25):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def white(picture: np.ndarray) -> tuple[int, int]:
    """(rows, columns) that are white in the middle."""
    bright = picture[..., 0] > 127
    return int(bright[:, picture.shape[1] // 2].sum()), int(bright[picture.shape[0] // 2].sum())


@pytest.mark.parametrize(
    ("size", "aspect", "name"),
    [((360, 288), Fraction(64, 45), "pal.mp4"), ((720, 480), Fraction(8, 9), "ntsc.mkv"),
     ((352, 576), Fraction(24, 11), "half.mpg"), ((320, 240), Fraction(1), "square.mp4")],
)  # fmt: skip
def test_frames_are_seen_as_they_are_shown(tmp_path: Path, size: tuple[int, int], aspect: Fraction, name: str) -> None:
    codec = "mpeg2video" if name.endswith(".mpg") else "libx264"
    path = write_squeezed(tmp_path / name, size, aspect, codec)
    facts = probe(path)
    stored = aspect_of(facts)
    assert float(stored) == pytest.approx(float(aspect), rel=0.04)  # MPEG-2 says the shape of the whole picture
    first = next(iter(frames(path, "pyav", facts["start_ms"] / 1000, Limits(), Tally())))[-1]
    shown = Scaler(Geometry(crop=(224, 224), short_side=224), stored)(first)
    rows, columns = white(shown)
    assert rows == pytest.approx(columns, abs=6)
    coded = white(Scaler(Geometry(crop=(112, 112), scale_to=(112, 112)), stored)(first))
    assert coded == white(Scaler(Geometry(crop=(112, 112), scale_to=(112, 112)))(first)), "it never keeps the ratio"


def test_the_shape_of_pixels_turns_with_the_frame() -> None:
    row = {"sample_aspect": "64:45", "rotation": 0}
    assert aspect_of(row) == Fraction(64, 45)
    assert aspect_of({**row, "rotation": 90}) == aspect_of({**row, "rotation": 270}) == Fraction(45, 64)
    assert aspect_of({**row, "rotation": 180}) == Fraction(64, 45)
    assert aspect_of({"sample_aspect": None, "rotation": 90}) == 1, "written by an older version"


def test_a_shape_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    """It would also make one row of a picture as long as memory."""
    found = examine(write_squeezed(tmp_path / "a.mp4", (64, 48), Fraction(20, 1)))
    assert found.facts["sample_aspect"] == "1:1"
    assert [one.kind for one in found.contradictions] == ["pixel_shape"]


@pytest.mark.parametrize(("size", "scaled"), [((360, 640), (256, 455)), ((640, 360), (456, 256))])
def test_colour_is_worked_out_for_every_column(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    """Patches of colour as a film stores them, scaled to an even width. Where the colour is worked out for every
    second column only, the mean is 3 levels from Pillow's scaling of the whole frame, and one in a hundred is 33."""
    patches = np.random.default_rng(0).integers(0, 256, (size[1] // 30 + 1, size[0] // 30 + 1, 3), dtype=np.uint8)
    picture = np.kron(patches, np.ones((30, 30, 1), np.uint8))[: size[1], : size[0]]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuv420p")
    whole = frame.reformat(format="rgb24", interpolation=Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT)
    exact = np.asarray(whole.to_image().resize(scaled, Image.Resampling.BILINEAR)).astype(int)
    apart = np.abs(Scaler(Geometry(crop=scaled[::-1], scale_to=scaled[::-1]))(frame) - exact)
    assert apart.mean() < 1.6
    assert np.percentile(apart, 99) < 16
