"""Which frame comes back from which decoder, for every kind of file; and how a decoder is chosen."""

from pathlib import Path

import numpy as np
import pytest

from reelmill.pipeline.decode import Decoder, Limits, Tally, frames, identity
from reelmill.pipeline.errors import Corrupt, TooManyPixels, Unsupported
from reelmill.pipeline.extract.missing import ExtractOptions
from reelmill.pipeline.extract.videos import extract
from reelmill.pipeline.probe import probe
from reelmill.storage import Outcomes, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, VALID
from tests.kinds import FRAMES, STEP_MS, Case, make_cases
from tests.matrix import DECODERS, Read, read_all, table, verdict
from tests.media import make_video
from tests.optional import need
from tests.pipeline.test_extract import IndexExtractor, video

README = Path(__file__).parents[2] / "pipeline" / "README.md"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return make_cases(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def reads(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> dict[Decoder, tuple[str, list[Read]] | None]:
    return {decoder: read_all(cases, decoder, tmp_path_factory.mktemp(decoder)) for decoder in DECODERS}


def test_the_default_is_right_throughout(cases: list[Case], reads: dict) -> None:
    _, found = reads["pyav"]
    assert {case.name: verdict(case, read) for case, read in zip(cases, found, strict=True)} == {
        case.name: "right" for case in cases
    }
    for case, read in zip(cases, found, strict=True):
        if not case.harmed:
            assert (case.name, read.came, read.errors) == (case.name, case.good, 0)  # to the millisecond
    assert len(cases) > 30


def test_the_probe_measures_what_is_there(cases: list[Case]) -> None:
    for case in cases:
        facts, times = probe(case.path), sorted([*(time for time, _ in case.good), *case.harmed])
        shown = (facts["rotation"], facts["width"], facts["height"], facts["start_ms"] == 2000)
        assert (case.name, *shown) == (case.name, case.turn, *case.size, case.name.startswith("starts at 2 s"))
        if case.name == "cut short":  # the index at its front says how long it was
            assert facts["duration_ms"] == FRAMES * STEP_MS
            continue
        assert (case.name, facts["frame_count"]) == (case.name, len(times))
        assert (case.name, facts["variable_rate"]) == (case.name, case.name.startswith("variable rate"))
        if not facts["variable_rate"]:
            assert (case.name, facts["duration_ms"]) == (case.name, times[-1] + STEP_MS)


@pytest.mark.optional
def test_the_readme_says_which_case_each_decoder_gets_wrong(cases: list[Case], reads: dict) -> None:
    need("torchcodec", reads["torchcodec"] is not None)
    verdicts = {c.name: [verdict(c, reads[d][1][number]) for d in DECODERS] for number, c in enumerate(cases)}
    printed = README.read_text().split("<!-- decoders -->\n")[1].split("\n<!-- /decoders -->")[0]
    assert printed == table(verdicts), "`python -m tests.benchmarks frames` prints the table"


def test_a_verdict_tells_what_is_wrong() -> None:
    case = Case("", "", [(0, 0), (40, 1), (80, 2), (120, 3)])
    harmed = Case("", "", [(0, 0), (40, 1), (120, 3)], harmed=(80,))
    assert verdict(case, Read([(0, 0), (41, 1), (80, 2), (120, 3)])) == "right"
    assert verdict(case, Read([(0, 0), (40, 1)])) == "stops after 2 of 4"
    assert verdict(case, Read([(0, 0), (80, 2), (120, 3)])) == "1 of 4 missing"
    assert verdict(case, Read([])) == "no frame comes"
    assert verdict(case, Read([(0, 0), (60, 1), (80, 2), (120, 3)])) == "times off by up to 0.02 s"
    assert verdict(case, Read([(0, 1), (40, 1), (80, 2), (120, 3)])) == "1 of 4 wrong"
    assert verdict(case, Read([(0, 0), (40, 1), (80, 2), (120, 3), (160, 4)])) == "1 too many"
    assert verdict(case, Read([], refused="corrupt")) == "does not open"
    assert verdict(harmed, Read([(0, 0), (40, 1), (80, 99), (120, 3)])) == "right"
    assert verdict(harmed, Read([(0, 0), (40, 1), (120, 3)])) == "right"
    assert verdict(harmed, Read([(0, 0), (40, 1), (80, 99)])) == "stops early"
    assert verdict(harmed, Read([])) == "stops early"


def test_identities_tell_decoders_apart(reads: dict) -> None:
    names = {decoder: found[0] for decoder, found in reads.items() if found}
    assert len(set(names.values())) == len(names)
    assert all(name.startswith(f"{decoder}-") for decoder, name in names.items())
    assert identity("pyav") == names["pyav"]
    if "decord" in names:
        assert identity("decord") == names["decord"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_our_checks_come_before_every_decoder(tmp_path: Path, decoder: Decoder) -> None:
    """None of these gets as far as the library: it is not even loaded."""
    good = make_video(tmp_path / "v.mp4", frames=3)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {good.name}\n")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(Unsupported, match=r"list\.mp4"):
        next(frames(tmp_path / "list.mp4", decoder, 0, Limits(), Tally()))
    with pytest.raises(Corrupt, match="empty"):
        next(frames(tmp_path / "empty.mp4", decoder, 0, Limits(), Tally()))
    with pytest.raises(TooManyPixels, match="76800"):
        next(frames(good, decoder, 0, Limits(max_pixels=1000), Tally()))


@pytest.mark.parametrize(("decoder", "code", "hint"), [
    ("decord", "raise OSError('libdecord.so: no such file')", "libdecord.so"),
    ("torchcodec", "ffmpeg_major_version = None", "install FFmpeg"),
    ("torchcodec", "raise ImportError('no torchcodec')", r"reelmill\[torchcodec\]"),
])  # fmt: skip
def test_a_library_that_is_not_there_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: Decoder, code: str, hint: str
) -> None:
    """Before the first video, not once for each."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / f"{decoder}.py").write_text(code)
    monkeypatch.syspath_prepend(fake)
    identity.cache_clear()
    videos = [video(make_video(tmp_path / "v.mp4", frames=3))]
    with pytest.raises(InputError, match=rf"(?s)extract\.decoder: {decoder}.*{hint}.*decoder: pyav"):
        extract(str(tmp_path), videos, [IndexExtractor()], ExtractOptions(decoder=decoder))
    identity.cache_clear()
    assert not Outcomes(tmp_path).latest("extract")


def test_a_damaged_file_gives_every_good_frame_and_masks_the_rest(tmp_path: Path, cases: list[Case]) -> None:
    """Segments of ten frames, two windows each: the mean of the windows' first frames tells which frames it saw."""
    files = {case.name: case.path for case in cases if case.harmed}
    videos = [video(Path(path), name) for name, path in files.items()]
    summary = extract(str(tmp_path), videos, [IndexExtractor()], ExtractOptions(segment_ms=10 * STEP_MS))
    assert summary.failed == {}
    store = open_store(tmp_path, "index-first")
    short = store.read("cut short")  # in its 37th frame: of the fourth segment one window is left
    assert short.mask.tolist() == [VALID] * 4 + [NO_DATA] * 2
    assert short.features[:4, 0].tolist() == [2.5, 12.5, 22.5, 30]
    assert np.isnan(short.features[4:]).all()
    harmed = store.read("wrong bytes in the middle")  # frames 33 to 39
    assert np.delete(harmed.features[:, 0], 3).tolist() == [2.5, 12.5, 22.5, 42.5, 52.5]
    assert np.delete(harmed.mask, 3).tolist() == [VALID] * 5
    assert harmed.provenance["decode_errors"] > 0


def test_another_decoder_fills_another_store(tmp_path: Path, reads: dict) -> None:
    if reads["decord"] is None:
        pytest.skip("decord is not installed here")
    videos = [video(make_video(tmp_path / "v.mp4", frames=60))]
    for decoder in ("pyav", "decord"):
        options = ExtractOptions(segment_ms=1000, decoder=decoder)
        assert extract(str(tmp_path), videos, [IndexExtractor()], options).failed == {}
    names = [IndexExtractor().specs(segment_ms=1000, decoder=identity(d))["first"].name for d in ("pyav", "decord")]
    blocks = [open_store(tmp_path, name).read("v.mp4") for name in names]
    assert len(set(names)) == 2
    assert blocks[0].features.tolist() == blocks[1].features.tolist()
    assert blocks[1].provenance["decoder"] == identity("decord") == reads["decord"][0]


def test_what_another_decoder_refuses_is_one_videos_failure(tmp_path: Path, cases: list[Case], reads: dict) -> None:
    if reads["decord"] is None:
        pytest.skip("decord is not installed here")
    av1 = next(case for case in cases if case.name == "AV1 in mp4")
    good = make_video(tmp_path / "v.mp4", frames=25)
    options = ExtractOptions(segment_ms=1000, decoder="decord")
    summary = extract(str(tmp_path), [video(Path(av1.path), "av1"), video(good, "good")], [IndexExtractor()], options)
    assert (summary.videos, summary.failed) == (2, {"corrupt": 1})
    few = ExtractOptions(segment_ms=1000, decoder="decord", limits=Limits(max_frames=24))
    assert extract(str(tmp_path / "few"), [video(good)], [IndexExtractor()], few).failed == {"too_long": 1}
