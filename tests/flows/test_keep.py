"""Looking after a root: damage is found, set aside and made again; failures are tried again; parts are merged."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from reelmill.extractors.text.fitted import find, keep
from reelmill.extractors.text.lda import LDA
from reelmill.extractors.text.topics import TopicSettings
from reelmill.flows.cli import retry as retry_verb
from reelmill.flows.cli.main import app
from reelmill.flows.jobs import retry, steps
from reelmill.flows.jobs.keep import check
from reelmill.flows.jobs.results import plain
from reelmill.pipeline.download.ingest import missing_media
from reelmill.pipeline.extract.missing import missing
from reelmill.pipeline.extract.videos import extract_missing
from reelmill.pipeline.planning.select import Selection
from reelmill.storage import Block, FeatureWriter, Outcome, Outcomes, Spec, Tables, open_store, verify
from reelmill.storage.errors import CorruptPart, InputError
from reelmill.storage.formats import write_shard
from reelmill.storage.parts import list_parts
from tests.roots import settings, with_videos
from tests.stores import SPEC, block, fill, formats
from tests.texts import planted


def told(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """What a verb prints with --json, in this process."""
    ended = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert ended.exit_code == status, ended.output
    return json.loads(ended.stdout)


def flip(path: Path, where: int) -> None:
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with four videos in one store, two a shard."""
    root = with_videos(tmp_path_factory.mktemp("keep"), (50,) * 4)
    chosen = settings(root)
    networks, options = steps.extractors(chosen), steps.extract_options(chosen)
    for _ in range(2):
        todo, _ = steps.selected(chosen, steps.extract_plan(chosen, networks), Selection(limit=2, order="shortest"))
        extract_missing(str(root), todo, networks, options)
    return root


def test_a_flipped_byte_is_quarantined_and_exactly_its_videos_are_made_again(extracted: Path) -> None:
    root, chosen = extracted, settings(extracted)
    networks, options = steps.extractors(chosen), steps.extract_options(chosen)
    (name,) = steps.spec_names(chosen, networks)
    assert check(str(root), media=True).damaged == 0
    store = open_store(root, name)
    before = {video: store.read(video).features for video in store.keys()}  # noqa: SIM118
    shard = store.shards[0]
    flip(shard.path, shard.places["features"][0] + 5)  # type: ignore[attr-defined]
    found = told("verify", "--root", root, "--quarantine", "--dry-run", status=1)
    assert (found["lost"], found["quarantined"]) == ({name: shard.video_ids}, [str(shard.path)])
    assert found["repair"] == ["reelmill backfill SETTINGS --extractor logmel"]
    assert shard.path.exists()
    assert steps.extract_plan(chosen, networks) == []
    moved = told("verify", "--root", root, "--quarantine", status=1)
    assert moved["quarantined"] == [str(root / "quarantine" / "features" / name / shard.path.name)]
    assert Path(moved["quarantined"][0]).exists()
    assert not shard.path.exists()
    assert told("verify", "--root", root)["damaged"] == 0
    todo = steps.extract_plan(chosen, networks)
    assert [video.video_id for video, _ in todo] == shard.video_ids
    extract_missing(str(root), todo, networks, options)
    again = open_store(root, name)
    assert all(np.array_equal(again.read(video).features, features) for video, features in before.items())


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_of_a_part_that_says_nothing_the_log_knows_the_videos(tmp_path: Path, damage: str) -> None:
    folder = fill(tmp_path, [block("a"), block("b"), block("c")], per_shard=2)
    Outcomes(tmp_path).write([Outcome("extract", video, "done", spec=SPEC.name) for video in "abc"])
    part = list_parts(folder)[0]
    content = {"cut": part.read_bytes()[:700], "empty": b"", "text": b"hello"}[damage]
    part.write_bytes(content)
    found = plain(check(str(tmp_path), quarantine=True))
    assert found["lost"] == {SPEC.name: ["a", "b"]}
    assert (tmp_path / "quarantine" / "features" / SPEC.name / part.name).read_bytes() == content
    assert open_store(tmp_path, SPEC.name).keys() == ["c"]


@formats
@pytest.mark.parametrize(
    ("wrong", "message"),
    [("nan", "'b' is NaN or infinite where its mask says that it is valid"), ("masked", "'b' holds numbers where its"),
     ("order", "segments of a video are not in order"), ("twice", "names a video twice"),
     ("times", "stops before it starts"), ("spec", "it holds c3d-fc6-")],
)  # fmt: skip
def test_what_a_checksum_does_not_see(tmp_path: Path, format: Any, wrong: str, message: str) -> None:
    """Shards whose checksum is right, written by somebody who did not check."""
    spec = Spec("c3d", "fc6", 5, "segment") if wrong == "spec" else SPEC
    blocks = [one.packed(spec) for one in (block("a", spec=spec), block("b", spec=spec))]
    bad = blocks[1]
    if wrong == "nan":
        bad.features[2, 1] = np.nan
    elif wrong == "masked":
        bad.features[1, 0] = 1
    elif wrong == "order":
        bad.segment_index[3] = 0
    elif wrong == "times":
        bad.stop_ms[0] = -1
    elif wrong == "twice":
        blocks[1] = Block("a", bad.features, bad.mask, bad.segment_index, bad.start_ms, bad.stop_ms)
    fill(tmp_path, [block("c")], format)
    folder = tmp_path / "features" / SPEC.name
    write_shard(folder / f"part-{1:016d}-00000000{list_parts(folder)[0].suffix}", format, spec, blocks)
    (found,) = verify.stores(tmp_path)
    assert [message in said for _, said in found.wrong] == [True]
    assert found.lost == ({"a"} if wrong == "twice" else {"a", "b"})


def test_constant_rows_are_counted_and_named_and_are_no_damage(tmp_path: Path) -> None:
    blocks = [block(f"v{number}") for number in range(6)]
    for one in blocks[1:]:
        one.features[3:] = 0.25
    fill(tmp_path, blocks, per_shard=4)
    found = plain(check(str(tmp_path)))
    assert found["constant"] == {SPEC.name: {"rows": 10, "videos": ["v1", "v2", "v3"]}}
    assert found["damaged"] == 0


def test_damaged_tables_and_changed_media_are_found(tmp_path: Path) -> None:
    root = with_videos(tmp_path, (5, 5, 5))
    (part,) = list_parts(root / "tables" / "labels") or list_parts(root / "tables" / "segments")
    kept = part.read_bytes()
    part.write_bytes(kept[: len(kept) // 2])
    flip(tmp_path / "v1.mp4", 200)
    (tmp_path / "v2.mp4").unlink()
    found = told("verify", "--root", root, "--media", "--quarantine", status=1)
    assert [name for name, wrong in found["tables"].items() if wrong] == [part.parent.name]
    assert {video: said.split(" ", 1)[1] for video, said in found["media"].items()} == {
        "v1": "does not have the SHA-256 that was measured", "v2": "is gone",
    }  # fmt: skip
    assert found["repair"] == ["reelmill ingest SETTINGS"]
    assert found["quarantined"] == [str(root / "quarantine" / part.relative_to(root))]
    with pytest.raises(CorruptPart):
        Tables(root).read_part(part.parent.name, Path(found["quarantined"][0]))
    assert Tables(root).read(part.parent.name).num_rows == 0


def test_a_retry_forgets_the_failures_of_a_class_and_no_other(tmp_path: Path) -> None:
    root = with_videos(tmp_path, (5, 5))
    chosen = settings(root)
    Tables(root).write("videos", [{"video_id": v, "url": str(tmp_path / f"{v}.mp4")} for v in ("gone", "secret")])
    (name,) = steps.spec_names(chosen, networks := steps.extractors(chosen))
    Outcomes(root).write([
        Outcome("download", "gone", "failed", error_class="not_found", permanent=True, message="no file"),
        Outcome("download", "secret", "failed", error_class="private", permanent=True),
        Outcome("extract", "v0", "failed", spec=name, error_class="corrupt", permanent=True),
        Outcome("extract", "v1", "failed", spec=name, error_class="decoder_crash", permanent=True),
    ])  # fmt: skip
    assert [len(retry.failures(chosen, ["corrupt", "not_found"], stages)) for stages in ((), ["extract"])] == [2, 1]
    for classes, stages, message in (
        (["corupt"], [], "did you mean 'corrupt'"),
        ([], [], "what has failed: corrupt, decoder_crash, not_found, private"),
        (["corrupt"], ["extrct"], "did you mean 'extract'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            retry.failures(chosen, classes, stages)
    found = told("retry", "--root", root, "--class", "corrupt", "--class", "not_found", "--dry-run")
    assert found["retried"] == {"download": 1, f"extract {name}": 1}
    assert missing_media(str(root)) == []
    nothing = told("retry", "--root", root, "--class", "network")
    assert (nothing["retried"], nothing["else"]) == ({}, "failed: 1 corrupt, 1 decoder_crash, 1 not_found, 1 private")
    out = Console(file=io.StringIO(), width=80)
    retry_verb.render(out, retry.RetryResult([], found["retried"], {"download": 1}, False, ""))
    rows = [line.split() for line in out.file.getvalue().splitlines()]
    assert [row[-3:] for row in rows if row[:1] in (["download"], ["extract"])] == [["1", "0", "1"], ["1", "1", "0"]]
    retry.forget(str(root), retry.failures(chosen, ["corrupt", "not_found"]))
    assert [wanted.video_id for wanted in missing_media(str(root))] == ["gone"]
    todo = missing(str(root), steps.media_videos(chosen), networks, steps.extract_options(chosen))
    assert [video.video_id for video, _ in todo] == ["v0"]


def test_compact_and_export_do_what_their_dry_runs_say(tmp_path: Path) -> None:
    root, there = tmp_path / "here", tmp_path / "there"
    fill(root, [block(f"v{number}") for number in range(6)], per_shard=2)
    fill(root, [block("v3", seed=1)])
    for number in range(3):
        Outcomes(root).write([Outcome("extract", f"v{number}", "done")])
    planned = told("compact", "--root", root, "--dry-run")
    assert len(list_parts(root / "features" / SPEC.name)) == 4
    done = told("compact", "--root", root)
    assert {**done, "dry": True} == planned
    assert done["stores"] == {SPEC.name: {"before": 4, "after": 1, "dropped": 1}}
    assert done["tables"] == {"outcomes": {"before": 3, "after": 1, "dropped": 0}}
    arguments = ("export", "c3d", "--root", root, "--to", there, "--format", "parquet")
    assert told(*arguments, "--dry-run")["copied"] == 6
    assert not there.exists()
    assert told(*arguments)["copied"] == 6
    again = told(*arguments)
    assert (again["copied"], again["there"]) == (0, 6)
    assert {path.suffix for path in list_parts(there / "features" / SPEC.name)} == {".parquet"}
    assert np.array_equal(open_store(there, "c3d").read("v3").features, block("v3", seed=1).features, equal_nan=True)


def test_writers_and_readers_stay_safe_beside_a_check(tmp_path: Path) -> None:
    """A part that was compacted away while the others are read is no damage."""
    folder = fill(tmp_path, [block("a"), block("b")], per_shard=1)
    paths = list_parts(folder)
    checked = verify.stores(tmp_path)
    paths[0].unlink()
    with FeatureWriter(tmp_path, SPEC) as writer:
        writer.add(block("a"))
    (found,) = checked
    assert (found.wrong, found.parts) == ([], 2)


def test_a_damaged_encoder_is_found_and_set_aside(tmp_path: Path) -> None:
    """A flipped bit anywhere in what was learned; without the file the same command learns it again."""
    encoder = LDA(TopicSettings(topics=2))
    encoder.fit(planted(40, 20)[0])
    path = Path(str(keep(tmp_path, encoder)))
    assert check(str(tmp_path)).encoders == {encoder.label: []}
    flip(path, path.stat().st_size // 2)
    found = plain(check(str(tmp_path), quarantine=True))
    (message,) = found["encoders"][encoder.label]
    assert str(path) in message
    assert (found["damaged"], found["repair"]) == (1, ["reelmill extract SETTINGS"])
    assert found["quarantined"] == [str(tmp_path / "quarantine" / "encoders" / encoder.label / path.name)]
    assert not find(tmp_path, LDA(TopicSettings(topics=2)))
    assert check(str(tmp_path)).encoders == {}


def test_key_frames_of_a_lost_part_are_made_again(tmp_path: Path) -> None:
    """Their features are present, so that nothing else would ask for them."""
    root = with_videos(tmp_path, (50, 25))
    chosen = settings(root)
    networks, options = steps.extractors(chosen), steps.extract_options(chosen)
    extract_missing(str(root), steps.extract_plan(chosen, networks), networks, options)
    tables = Tables(root)
    before = tables.read("frames").sort_by([("video_id", "ascending"), ("segment_index", "ascending")])
    assert before.num_rows
    for part in list_parts(tables.folder / "frames"):
        part.unlink()
    todo = steps.extract_plan(chosen, networks)
    assert [(video.video_id, needed) for video, needed in todo] == [
        (video, {}) for video in sorted(tables.units("media"))
    ]
    summary = extract_missing(str(root), todo, networks, options)
    assert (summary.pictures, summary.videos, summary.failed) == (2, 0, {})
    assert tables.read("frames").sort_by([("video_id", "ascending"), ("segment_index", "ascending")]).equals(before)
    assert steps.extract_plan(chosen, networks) == []
    without = settings(root, "extract.thumbnail_height=0")
    for part in list_parts(tables.folder / "frames"):
        part.unlink()
    assert steps.extract_plan(without, networks) == [], "no key frames are wanted"
