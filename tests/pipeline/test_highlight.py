"""A highlight cut out of a media file: the right frames, the size, bounds, both formats; seeks are proven."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from reelmill.flows.cli import recommend as recommend_verb
from reelmill.flows.cli.main import app
from reelmill.flows.jobs.recommend import recommend
from reelmill.flows.jobs.results import plain
from reelmill.models.fit import train
from reelmill.models.transgrec.settings import TransGRecSettings
from reelmill.models.transgrec.world import World, write
from reelmill.pipeline.decode import Limits, Tally, excerpt, frames
from reelmill.pipeline.errors import Changed
from reelmill.pipeline.highlight import LONGEST_MS, SIDE, HighlightJob, bounded, read, span, write_highlight
from reelmill.pipeline.probe import probe
from reelmill.storage import Tables
from reelmill.storage.errors import InputError
from tests.media import make_video, read_index

SECONDS, FPS = 16, 10


def ingest(root: Path, video: str, path: Path) -> None:
    """What `reelmill ingest` writes of a local file."""
    facts = probe(path)
    Tables(root).write("media", [{"video_id": video, "uri": str(path.relative_to(root)), **facts}])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("highlight")
    make_video(folder / "long.mp4", frames=SECONDS * FPS, fps=FPS, size=(640, 360))
    make_video(folder / "small.mp4", frames=20, fps=FPS, size=(162, 122))
    for name in ("long", "small"):
        ingest(folder, name, folder / f"{name}.mp4")
    return folder


def indices_gif(path: Path) -> list[int]:
    with Image.open(path) as image:
        found = []
        for n in range(image.n_frames):
            image.seek(n)
            found.append(read_index(np.array(image.convert("RGB"))))
        return found


def indices_mp4(path: Path) -> list[int]:
    return [read_index(f.to_ndarray(format="rgb24")) for _, _, f in frames(path, "pyav", 0.0, Limits(), Tally())]


def test_a_gif_holds_the_frames_of_the_range(root: Path, tmp_path: Path) -> None:
    figures = write_highlight(root, "long", 3000, 6000, tmp_path / "cut.gif")
    assert figures == {"file": str(tmp_path / "cut.gif"), "video_id": "long", "start_ms": 3000, "stop_ms": 6000,
                       "pictures": 30, "width": 320, "height": 180}  # fmt: skip
    assert indices_gif(tmp_path / "cut.gif") == list(range(30, 60))
    with Image.open(tmp_path / "cut.gif") as image:
        assert (image.size, image.info["duration"], image.info["loop"]) == ((320, 180), 100, 0)
    assert list(tmp_path.iterdir()) == [tmp_path / "cut.gif"]


def test_an_mp4_holds_them_at_its_own_rate(root: Path, tmp_path: Path) -> None:
    figures = write_highlight(root, "long", 12_000, 14_000, tmp_path / "cut.mp4")
    assert figures["pictures"] == 50
    assert indices_mp4(tmp_path / "cut.mp4") == [int((12_000 + 40 * n) // 100) for n in range(50)]


def test_a_small_video_keeps_its_size_and_a_short_range_grows(root: Path, tmp_path: Path) -> None:
    figures = write_highlight(root, "small", 1900, 2000, tmp_path / "cut.gif")
    assert (figures["start_ms"], figures["stop_ms"], figures["width"], figures["height"]) == (0, 2000, 162, 122)
    assert indices_gif(tmp_path / "cut.gif") == list(range(20))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((5000, 10_000, 60_000), (5000, 10_000)),
        ((5000, 5640, 60_000), (4320, 6320)),
        ((0, 40, 60_000), (0, 2000)),
        ((59_900, 60_000, 60_000), (58_000, 60_000)),
        ((100, 200, 1000), (0, 1000)),
        ((5000, 50_000, 60_000), (5000, 5000 + LONGEST_MS)),
        ((58_000, 63_000, 60_000), (58_000, 60_000)),
    ],
)
def test_ranges_are_bounded(given: tuple[int, int, int], expected: tuple[int, int]) -> None:
    assert bounded(*given) == expected


def test_ranges_outside_the_video_are_refused() -> None:
    for given in ((60_000, 61_000, 60_000), (-1, 5, 60_000), (5000, 5000, 60_000)):
        with pytest.raises(InputError, match="not within a video"):
            bounded(*given)


def test_steps_that_touch_are_one_highlight() -> None:
    def row(video: str, start: int) -> dict[str, Any]:
        return {"video_id": video, "start_ms": start, "stop_ms": start + 640}

    rows = [row("a", 6400), row("b", 7040), row("a", 7680), row("a", 7040), row("a", 9600), row("a", 5760)]
    assert span(rows) == ("a", 5760, 8320)
    assert span(rows[1:]) == ("b", 7040, 7680)
    many = [row("a", 640 * n) for n in range(100)]
    assert span(many[50:] + many[:50])[2] - span(many[50:] + many[:50])[1] < 2 * LONGEST_MS
    for none in ([], [{"video_id": "a", "score": 1.0}], [{"video_id": "a", "start_ms": None}]):
        with pytest.raises(InputError, match="no highlight to cut"):
            span(none)


def test_what_cannot_be_cut_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in .gif or .mp4"):
        write_highlight(root, "long", 0, 1000, tmp_path / "cut.avi")
    with pytest.raises(InputError, match=r"'lon' has no media file to cut .did you mean 'long'"):
        write_highlight(root, "lon", 0, 1000, tmp_path / "cut.gif")
    job = HighlightJob(str(root / "long.mp4"), 0, 0, 1000, 10, bytes=7)
    with pytest.raises(Changed, match="7 were measured"):
        next(read(job))
    assert not list(tmp_path.iterdir())


def test_a_turned_video_stands_upright(tmp_path: Path) -> None:
    tall = make_video(tmp_path / "tall.mp4", frames=4, fps=FPS, size=(240, 960))
    pictures = list(read(HighlightJob(str(tall), 0, 0, 400, 10)))
    assert [p.shape for p in pictures] == [(SIDE, 80, 3)] * 4


KINDS: dict[str, dict[str, Any]] = {
    "mp4": {"options": {"g": "25", "bf": "2"}},
    "mkv": {"options": {"g": "25", "bf": "2"}},
    "ts": {"options": {"g": "25", "bf": "2"}},
    "avi": {"codec": "mpeg4", "options": {"g": "25", "bf": "2"}},
    "flv": {"codec": "flv1", "options": {"g": "25"}},
    "open.mp4": {"options": {"g": "25", "bf": "3", "x264-params": "open-gop=1:keyint=25"}},
    "one-key.mp4": {"options": {"g": "9999", "sc_threshold": "0"}},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_excerpt_has_the_frames_of_a_full_pass(kind: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / f"video.{kind}", frames=SECONDS * FPS, fps=FPS, size=(96, 64), **KINDS[kind])
    start = probe(path)["start_ms"] / 1000

    def seen(given: Iterator[tuple[float, Any]], begin: int) -> list[tuple[float, int]]:
        every = [(ms, read_index(frame.to_ndarray(format="rgb24"))) for ms, frame in given]
        first = max((n for n, (ms, _) in enumerate(every) if ms <= begin), default=0)
        return every[first:]

    tally = Tally()
    for begin in (500, 12_340, 15_900):
        part = seen(excerpt.excerpt(path, start, begin, Limits(), tally), begin)
        whole = frames(path, "pyav", start, Limits(), Tally())
        assert part == seen(((time_ms, frame) for time_ms, _, frame in whole), begin)
    if kind in ("mp4", "mkv", "open.mp4"):
        assert tally.frames < 2 * SECONDS * FPS  # one full pass, and two parts


def test_the_first_recommendation_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path, World(users=20, old_videos=12, new_videos=4, segments=4))["features"]
    train(tmp_path, name, TransGRecSettings(dim=4, epochs=1, batch=200), device="cpu")
    path = make_video(tmp_path / "video.mp4", frames=20 * FPS, fps=FPS, size=(96, 64))
    for video in range(16):
        facts = {**probe(path), "fetched_at": datetime(2026, 1, 1, tzinfo=UTC)}
        Tables(tmp_path).write("media", [{"video_id": f"v{video:04d}", "uri": "video.mp4", **facts}])
    result = recommend(tmp_path, "u0001", why=True, top=2, gif=tmp_path / "cut.gif")
    figures = plain(result)
    first = figures["recommended"][0]
    assert figures["gif"]["video_id"] == first["video_id"]
    assert figures["gif"]["start_ms"] <= first["start_ms"] < first["stop_ms"] <= figures["gif"]["stop_ms"]
    begin = figures["gif"]["start_ms"] // 100
    assert indices_gif(tmp_path / "cut.gif")[:50] == list(range(begin, begin + 50))
    with pytest.raises(InputError, match="must end in"):
        recommend(tmp_path, "u0001", gif=tmp_path / "cut.png")
    out = Console(width=200, record=True, file=io.StringIO())
    recommend_verb.render(out, result)
    told = out.export_text()
    for text in ("2 of ", "segments for u0001, by transgrec-", first["clock"], f"{first['score']:.3f}", "user: known",
                 "nearest liked: ", "left out: videos marked", "cut: "):  # fmt: skip
        assert text in told, told
    named = ["recommend", "--root", str(tmp_path), "--user", "u0001", "--top", "2", "--why", "--json"]
    app(named, standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {name: value for name, value in figures.items() if name != "gif"}
