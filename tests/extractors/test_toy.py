"""The promise of the registry: an extractor is one file and one line, and everything else knows of it."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from reelmill.extractors.registry import EXTRACTORS
from reelmill.flows.cli.main import app
from reelmill.flows.jobs.check import check_extract
from reelmill.flows.settings.document import described, document
from reelmill.flows.settings.load import load
from reelmill.storage import open_store
from reelmill.storage.errors import InputError
from tests.extractors import test_extractors
from tests.extractors.subjects import Subject
from tests.roots import with_videos


@pytest.fixture(autouse=True)
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in the registry."""
    monkeypatch.setitem(EXTRACTORS, "colour", "tests.extractors.toy")


def test_settings_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.yaml").write_text(f"root: {tmp_path}\nextract: {{extractors: {{colour: {{gain: 2}}}}}}\n")
    assert load(tmp_path / "s.yaml").extract.extractors["colour"].gain == 2.0
    monkeypatch.setenv("REELMILL__EXTRACT__EXTRACTORS__COLOUR__GAIN", "3e-1")
    assert load(tmp_path / "s.yaml").extract.extractors["colour"].gain == 0.3
    chosen = load(tmp_path / "s.yaml", ["extract.extractors.colour.gain=4"])
    assert chosen.extract.extractors["colour"].gain == 4.0
    assert check_extract(chosen.extract) == ["colour-mean"]
    for wrong, told in (("gian", "colour has no setting 'gian': did you mean 'gain'"),
                        ("frames", "colour has no setting 'frames': it is a setting of i3d")):  # fmt: skip
        with pytest.raises(InputError, match=told):
            load(tmp_path / "s.yaml", [f"extract.extractors.colour.{wrong}=1"])
    with pytest.raises(InputError, match="c3d has no setting 'gain': it is a setting of colour"):
        load(tmp_path / "s.yaml", ["extract.extractors={c3d: {gain: 1}}"])


def test_the_command_line_lists_it() -> None:
    assert "colour: frames → mean (3); layers, batch_size, gain" in document()
    assert {row["key"]: row["meaning"] for row in described()}["extract.extractors.colour.gain"] == (
        "Times that the colours are taken."
    )
    told = CliRunner().invoke(app, ["settings"])
    assert "colour: frames → mean (3); layers, batch_size, gain" in told.stdout
    known = json.loads(CliRunner().invoke(app, ["extract", "--list", "--json"], catch_exceptions=False).stdout)
    assert known.keys() == EXTRACTORS.keys()
    assert (known["colour"]["layers"], known["colour"]["settings"]) == ({"mean": 3}, ["layers", "batch_size", "gain"])
    told = CliRunner().invoke(app, ["extract", "--list"], env={"COLUMNS": "200"})
    assert "colour" in told.stdout
    assert "mean (3)" in told.stdout


def test_extract_writes_its_store_from_a_real_video(tmp_path: Path) -> None:
    root = with_videos(tmp_path, frames=(60,))
    (tmp_path / "s.yaml").write_text(f"root: {root}\nextract: {{extractors: {{colour: {{gain: 2}}}}}}\n")
    ended = CliRunner().invoke(app, ["extract", str(tmp_path / "s.yaml"), "--json"], catch_exceptions=False)
    assert ended.exit_code == 0
    store = open_store(root, "colour-mean")
    assert json.loads(ended.stdout)["stores"] == [store.spec.name]
    assert (store.spec.dim, store.spec.preprocessing["gain"]) == (3, 2.0)
    features = store.read("v0").features
    assert features.shape == (1, 3)  # one segment
    assert (features > 0).all()
    assert (features < 2 * 255).all()


CONTRACT = [
    check
    for name, check in vars(test_extractors).items()
    if name.startswith("test_") and list(inspect.signature(check).parameters)[:1] == ["subject"]
]


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_it_goes_through_the_contract(check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    assert len(CONTRACT) > 8
    fixtures = {"subject": Subject("colour"), "tmp_path": tmp_path, "monkeypatch": monkeypatch}
    check(**{name: fixtures[name] for name in inspect.signature(check).parameters})


def test_the_contract_catches_what_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor whose vectors depend on what came before."""
    from tests.extractors.toy import Colour

    seen: list[int] = []

    def moody(self: Colour, window: np.ndarray) -> np.ndarray:
        seen.append(1)
        return np.full(3, len(seen), np.float32)

    monkeypatch.setattr(Colour, "_vector", moody)
    with pytest.raises(AssertionError):
        test_extractors.test_a_vector_does_not_depend_on_its_neighbours_or_its_place(Subject("colour"))
