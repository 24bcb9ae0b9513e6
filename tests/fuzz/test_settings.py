"""Spoilt settings files: each is a valid settings object, or an InputError of some lines."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from reelmill.flows.settings.document import document
from reelmill.flows.settings.load import load
from reelmill.flows.settings.sections import Settings
from reelmill.storage.errors import InputError
from tests.fuzz.spoil import HOSTILE, spoil_file, spoil_line

GOOD = b"""\
root: data
source: &source
  path: likes.csv
  format: mapped
  mapping: {user_id: uid, video_id: clip, start_s: from, stop_s: to, url: link}
download: {max_height: 360, workers: 4, schemes: [http, https], proxy: null, max_seconds: 60.5}
segments: {segment_ms: 5000, theta: 0.5}
extract:
  extractors:
    c3d: {layers: [fc6], weights: random, seed: 0}
    vgg19: {}
  workers: 1
train:
  models:
    transgrec: {stores: c3d-fc6, options: {epochs: 3}}
retry_failed: false
"""
YAML = (
    b"&a", b"*a", b"*source", b"<<: *source", b"!!python/name:os.system", b"!!int", b"!!binary", b"{", b"[", b"- ",
    b"? ", b"|", b">", b"---", b"...", b"%YAML 9.9", b"2001-99-99", b"0o9", b"1:99:99", b"~", b".inf", b".nan", b"#",
    b": ", b"\t", b"'", b"@", b"`", b"=", b"<<", b"\xfe\xff",
)  # fmt: skip


def spoilt(good: bytes, rng: Random) -> bytes:
    """A file with one to three things wrong: values, keys, lines, signs of YAML, bytes."""
    for _ in range(rng.randint(1, 3)):
        lines = good.split(b"\n")
        at = rng.randrange(len(lines))
        how = rng.randrange(6)
        if how == 0:
            lines[at] = lines[at].partition(b": ")[0] + b": " + rng.choice((*HOSTILE, *YAML)).replace(b"\n", b" ")
        elif how == 1:
            lines[at] = spoil_line(lines[at], b",", rng)
        elif how == 2:
            lines.insert(at, rng.choice(lines))
        elif how == 3:
            del lines[at]
        elif how == 4:
            lines[at] = lines[at].replace(b" ", b" " + rng.choice(YAML) + b" ", 1)
        else:
            lines = spoil_file(good, rng).split(b"\n")
        good = b"\n".join(lines)
    return good


def run(path: Path, good: bytes, seeds: range) -> Counter[str]:
    found: Counter[str] = Counter()
    long = []
    for seed in seeds:
        path.write_bytes(spoilt(good, Random(seed)))
        try:
            settings = load(path)
        except InputError as refused:
            found["refused"] += 1
            long += [seed] if not 0 < len(str(refused)) < 20_000 else []
            continue
        assert isinstance(settings, Settings)
        assert Settings.model_validate(settings.model_dump()) == settings
        found["valid"] += 1
    assert not long
    return found


@pytest.mark.timeout(200)
def test_spoilt_settings_are_valid_or_refused(tmp_path: Path) -> None:
    found = run(tmp_path / "s.yaml", GOOD, range(400))
    assert found["valid"] > 20
    assert found["refused"] > 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_spoilt_settings_are_valid_or_refused(tmp_path: Path) -> None:
    whole = document().replace("root: …  # required", "root: r").replace("path: …  # required", "path: p").encode()
    assert run(tmp_path / "s.yaml", GOOD, range(400, 5000)).total() == 4600
    assert run(tmp_path / "s.yaml", whole, range(300)).total() == 300


@pytest.mark.parametrize("text", [h.decode("utf-8", "replace") for h in (*HOSTILE, *YAML)])
def test_spoilt_values_of_the_command_line_are_valid_or_refused(text: str) -> None:
    """Of `--set`; the environment goes the same way."""
    for key in (
        "root",
        "source",
        "download.proxy",
        "download.max_bytes",
        "extract.extractors",
        "train.models.fm.options.x",
        text,
    ):
        try:
            assert isinstance(load(None, ["root=r", f"{key}={text}"]), Settings)
        except InputError as refused:
            told = str(refused)
            assert 0 < len(told) < 20_000
