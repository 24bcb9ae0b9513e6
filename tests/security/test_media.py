"""Media files: nothing but the file itself is read, and nothing is decoded that is larger than the limits."""

import struct
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from reelmill.extractors.core.sound import SoundPlan
from reelmill.pipeline.decode import Limits, Tally, frames, open_video
from reelmill.pipeline.decode.sound import read_sound
from reelmill.pipeline.errors import Corrupt, NoVideoStream, TooLong, TooManyPixels, Unsupported
from reelmill.pipeline.extract.cut import CutJob, CutSegment, cut
from reelmill.pipeline.probe import probe
from reelmill.pipeline.process.child import Child
from tests.media import make_video


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{secret}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="v" bandwidth="9"><BaseURL>file://{secret}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "asx": '<asx version="3.0"><entry><ref href="file://{secret}"/></entry></asx>',
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n<font face='file://{secret}'>x</font>\n",
    "vobsub": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\nid: en, index: 0\n",
    "script": 'AviSource("{secret}")\n',
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".mkv"])
def test_a_list_under_the_name_of_a_video_is_not_followed(tmp_path: Path, name: str, suffix: str) -> None:
    secret = make_video(tmp_path / "secret.mp4", frames=3)
    path = tmp_path / f"video{suffix}"
    path.write_text(LISTS[name].format(secret=secret))
    with pytest.raises(Unsupported, match="known container"):
        probe(path)


def test_behind_the_first_bytes_stands_a_list_of_demuxers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the look at the first bytes to fail, the demuxer of lists is not let in."""
    monkeypatch.setattr("reelmill.pipeline.decode.container.check_magic", lambda path: None)
    make_video(tmp_path / "secret.mp4", frames=3)
    (tmp_path / "video.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(Corrupt):
        probe(tmp_path / "video.mp4")


# Sizes


def test_a_stream_that_grows_behind_its_header_is_not_decoded(tmp_path: Path) -> None:
    small = make_video(tmp_path / "small.ts", frames=10, size=(320, 240), options={"g": "1"})
    large = make_video(tmp_path / "large.ts", frames=2, size=(4000, 3000), options={"g": "1"})
    (tmp_path / "both.ts").write_bytes(small.read_bytes() + large.read_bytes())
    tally = Tally()
    sizes = {
        (frame.width, frame.height)
        for _, _, frame in frames(tmp_path / "both.ts", "pyav", 1.4, Limits(max_pixels=100_000), tally)
    }
    assert sizes == {(320, 240)}
    assert tally.errors >= 2
    with pytest.raises(TooManyPixels):
        probe(large, Limits(max_pixels=100_000))


def test_a_large_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", frames=2, size=(8000, 6000), options={"preset": "ultrafast"})
    with Child("reelmill.pipeline.probe:measure", memory_bytes=400 << 20) as child, pytest.raises(TooManyPixels):
        list(child.run({"path": str(path), "limits": Limits()}, 60))


def test_frames_are_counted_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.mp4", frames=400, size=(64, 64))
    monkeypatch.setattr("reelmill.pipeline.probe._rotation", lambda *a: pytest.fail("decoded"))
    with pytest.raises(TooLong, match="more than 50 frames"):
        probe(path, Limits(max_frames=50))
    with pytest.raises(TooLong, match=r"extract\.max_seconds"):
        probe(path, Limits(max_seconds=3))


def test_a_length_that_only_the_index_claims_is_bounded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", frames=10)
    data = bytearray(path.read_bytes())
    stts = data.index(b"stts")  # entries of (count, ticks): each frame as long as can be
    struct.pack_into(">I", data, stts + 16, 0x7FFFFFFF)
    path.write_bytes(data)
    with pytest.raises((TooLong, Corrupt)):
        probe(path)


def sound(path: Path, channels: int, rate: int) -> Path:
    """A second of 25 pictures, and so much sound beside it, as PCM in a Matroska file."""
    make_video(path.with_name("picture.mkv"), frames=25, size=(64, 64))
    samples = np.zeros((rate, channels), "<i2")
    path.with_name("s.pcm").write_bytes(samples.tobytes())
    ffmpeg("-i", path.with_name("picture.mkv"), "-f", "s16le", "-ar", rate, "-ch_layout", f"{channels}C",
           "-i", path.with_name("s.pcm"), "-c:v", "copy", "-c:a", "pcm_s16le", path)  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("channels", "rate", "heard"), [(2, 8_000, True), (64, 1_000, True), (65, 8_000, False), (255, 8_000, False),
                                    (1, 999, False), (1, 1, False), (1, 768_001, False)]
)  # fmt: skip
def test_sound_of_a_form_that_nobody_has_is_none(tmp_path: Path, channels: int, rate: int, heard: bool) -> None:
    """The picture is used; of one sample a second, resampling would make sixteen thousand."""
    path = sound(tmp_path / "x.mkv", channels, rate)
    tally = Tally()
    samples = sum(len(s) for _, s in read_sound(path, 0, 16_000, Limits(), tally))
    assert (samples > 0) == heard
    assert (tally.sound_errors > 0) == (not heard)
    assert probe(path)["frame_count"] == 25


def test_hours_of_sound_end_with_the_picture(tmp_path: Path) -> None:
    make_video(tmp_path / "picture.mkv", frames=25, size=(64, 64))
    ffmpeg("-i", tmp_path / "picture.mkv", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=7200", "-c:v", "copy",
           "-c:a", "flac", tmp_path / "x.mkv")  # fmt: skip
    facts = probe(tmp_path / "x.mkv")
    assert facts["duration_ms"] == 1000
    plan = SoundPlan(16_000, least=1024)
    *segments, tally = cut(CutJob(str(tmp_path / "x.mkv"), 0, facts["duration_ms"], 5000, {0: plan}))
    assert len(segments) == 1
    assert isinstance(segments[0], CutSegment)
    assert isinstance(tally, Tally)
    assert tally.sound_seconds < 60


def test_many_streams_are_no_burden(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mkv"), "w") as out:
        streams = [out.add_stream("rawvideo", rate=5) for _ in range(100)]
        for stream in streams:
            stream.width = stream.height = 16
            stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for _ in range(3):
            for stream in streams:
                out.mux(stream.encode(frame))
    with Child("reelmill.pipeline.probe:measure", memory_bytes=300 << 20) as child:
        (measured,) = child.run({"path": str(tmp_path / "x.mkv"), "limits": Limits()}, 30)
    assert measured.facts["frame_count"] == 3


def test_no_decoder_opens_what_was_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("ffconcat version 1.0\nfile y.mp4\n")
    for decoder in ("pyav", "decord", "torchcodec"):
        with pytest.raises(Unsupported, match="known container"):
            list(frames(tmp_path / "x.mp4", decoder, 0.0, Limits(), Tally()))  # type: ignore[arg-type]
    with pytest.raises(NoVideoStream), open_video(only_sound(tmp_path), Limits()):
        pass


def only_sound(folder: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=1", folder / "sound.mp4")
    return folder / "sound.mp4"
