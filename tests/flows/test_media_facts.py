"""From the choice of streams and the shape of pixels in the settings to what stands in tables and stores."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reelmill.flows.jobs import steps
from reelmill.flows.jobs.extract import extract
from reelmill.flows.jobs.ingest import ingest
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage import Tables, open_store
from tests import optional
from tests.pipeline.test_streams import CASES, NONE, SMALL, Track, write_squeezed, write_tracks


def chosen(folder: Path, *more: str) -> Settings:
    """Settings for a folder of videos, with statistics of sound, which need no weights."""
    return load(None, [f"root={folder / 'root'}", f"source.path={folder / 'clips'}", "source.format=folder",
                       "extract.extractors={logmel: {}}", *more])  # fmt: skip


def media(folder: Path) -> dict[str, Any]:
    (row,) = Tables(folder / "root").read("media").to_pylist()
    return row


def test_another_stream_is_measured_and_extracted_again(tmp_path: Path) -> None:
    """Naming it, and taking it back: `media`, features and their provenance follow, in the same store."""
    (tmp_path / "clips").mkdir()
    write_tracks(tmp_path / "clips" / "a.mkv", [Track(50, SMALL)], [(400, NONE), (3000, NONE)])
    seen, made_from = [], []
    for more in ((), ("extract.audio_stream=2",), ()):
        settings = chosen(tmp_path, *more)
        assert ingest(settings).download.done == 1  # type: ignore[union-attr]
        assert ingest(settings).download.done == 0, "nothing to do"  # type: ignore[union-attr]
        result = extract(settings)
        assert (result.done, result.failed) == (1, {})
        assert extract(settings).done == 0
        block = open_store(tmp_path / "root", result.stores[0]).read("a.mkv")
        seen.append(block.features[0])
        made_from.append(block.provenance["media_sha256"])
        assert media(tmp_path)["audio_stream"] == (2 if more else 1)
    np.testing.assert_array_equal(seen[0], seen[2])
    assert np.abs(seen[0] - seen[1]).max() > 1
    sha256 = media(tmp_path)["sha256"]
    assert made_from == [sha256, f"{sha256}, audio 2", sha256]


def test_what_an_older_version_measured_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is not fetched again, and what is known of the download stays."""
    (tmp_path / "clips").mkdir()
    write_tracks(tmp_path / "clips" / "a.mkv", [Track(2, SMALL), Track(50, SMALL)])
    settings = chosen(tmp_path)
    ingest(settings)
    right = media(tmp_path)
    columns = {"sample_aspect": None, "video_stream": None, "audio_stream": None, "named_streams": None}
    old = {**right, **columns, "frame_count": 2, "duration_ms": 80, "downloader": "yt-dlp 2023.01.01"}
    Tables(tmp_path / "root").write("media", [old])
    (video,) = steps.media_videos(settings)
    assert (video.streams.video, video.aspect, video.made_from) == (None, 1, right["sha256"])
    monkeypatch.setattr("reelmill.pipeline.download.fetch.Downloader.fetch", None)
    assert ingest(settings).download.done == 1  # type: ignore[union-attr]
    assert media(tmp_path) == {**right, "downloader": "yt-dlp 2023.01.01"}
    assert right["frame_count"] == 50


@pytest.mark.parametrize("case", [True, False])
def test_key_frames_have_the_shape_that_is_shown(tmp_path: Path, case: bool) -> None:
    (tmp_path / "clips").mkdir()
    path = tmp_path / "clips" / "a.mp4"
    if case:
        optional.need("data", (CASES / "anamorphic.mp4").is_file())
        path.write_bytes((CASES / "anamorphic.mp4").read_bytes())
    else:
        write_squeezed(path, (360, 288), Fraction(64, 45))
    for more, size in (((), (320, 180)), (("extract.pixels=coded",), (225, 180))):
        settings = chosen(tmp_path, *more)
        ingest(settings)
        assert media(tmp_path)["sample_aspect"] == "64:45"
        for part in (tmp_path / "root" / "tables" / "frames").glob("*.parquet"):
            part.unlink()
        extract(settings)
        (*_, row) = Tables(tmp_path / "root").read("frames").to_pylist()
        assert (row["width"], row["height"]) == size
        assert Image.open(io.BytesIO(row["jpeg"])).size == size


def test_coded_pixels_are_a_spec_of_their_own_where_they_matter(tmp_path: Path) -> None:
    """C3D scales every picture to 128 × 171, whatever its shape, and sound has none."""
    names = {}
    for name in ("c3d", "vgg19", "logmel"):
        for pixels in ("display", "coded"):
            weights = "" if name == "logmel" else "weights: random"
            settings = load(None, [f"root={tmp_path}", f"extract.extractors={{{name}: {{{weights}}}}}",
                                   f"extract.pixels={pixels}"])  # fmt: skip
            names[name, pixels] = steps.spec_names(settings, steps.extractors(settings))
    assert names["c3d", "display"] == names["c3d", "coded"]
    assert names["logmel", "display"] == names["logmel", "coded"]
    assert not set(names["vgg19", "display"]) & set(names["vgg19", "coded"])
