"""The two recipes of CONTRIBUTING.md are run as they are printed there: a new extractor, a new recommender."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reelmill.extractors.video
import reelmill.models
from reelmill.extractors import registry as extractors
from reelmill.flows.cli.app import app
from reelmill.flows.jobs.extract import extract
from reelmill.flows.settings.document import document
from reelmill.flows.settings.load import load
from reelmill.models import registry as recommenders
from reelmill.models import write_report
from reelmill.storage import Tables, open_store
from reelmill.storage.errors import InputError
from tests.roots import with_videos

HOUSE = Path(__file__).parents[1]
PAGE = (HOUSE / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="([\w/.]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
"""{path in the house: what the page says of it}"""


def line(path: str) -> dict[str, object]:
    """The entries of the lines that a diff of the page adds to a dictionary of this file; its first line is there."""
    dictionary, *added = FILES[path].splitlines()
    assert dictionary.strip() in (HOUSE / path).read_text(encoding="utf-8"), dictionary
    entries = ast.parse("{" + "".join(text.removeprefix("+") for text in added) + "}", mode="eval").body
    assert isinstance(entries, ast.Dict)
    return {ast.literal_eval(key): value for key, value in zip(entries.keys, entries.values, strict=True) if key}


def written(tmp_path: Path, room: str) -> Path:
    """The files that the page shows for a room, below `tmp_path`."""
    for path, text in FILES.items():
        if path.startswith(f"{room}/") and not (HOUSE / path).exists():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    return tmp_path / room


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path) -> Iterator[None]:
    """Nobody else imports what a recipe has written."""
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_recipes_pass_our_own_checks(tmp_path: Path) -> None:
    for room in ("extractors", "models"):
        written(tmp_path, room)
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--config", HOUSE / "pyproject.toml", tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "house", "extractors") / "video"
    monkeypatch.setattr(reelmill.extractors.video, "__path__", [*reelmill.extractors.video.__path__, str(folder)])
    for name, module in line("extractors/registry.py").items():
        monkeypatch.setitem(extractors.EXTRACTORS, name, ast.literal_eval(module))  # type: ignore[arg-type]
    assert "colour" in document()
    with pytest.raises(InputError, match="colour has no setting 'batch'"):
        load(None, ["root=x", "extract.extractors={colour: {batch: 8}}"])

    root = with_videos(tmp_path, (50, 75))
    settings = load(None, [f"root={root}", "extract.extractors={colour: {batch_size: 2}}", "extract.device=cpu"])
    result = extract(settings)
    assert (result.done, result.failed) == (2, {})
    assert result.stores[0].startswith("colour-stats-")
    store = open_store(root, "colour-stats")
    assert sorted(store.keys()) == sorted(Tables(root).units("media"))
    for video in store.keys():  # noqa: SIM118
        block = store.read(video)
        assert block.features.shape == (len(block.mask), 6)
        assert (block.mask > 0).all()
        # The pictures are grey, half a ramp and half bars.
        assert np.ptp(block.features[:, :3], axis=1).max() < 0.02
        assert ((block.features[:, 3:] > 0.2) & (block.features[:, 3:] < 0.5)).all()
    again = extract(settings)
    assert (again.done, again.skipped) == (0, 2)


def test_the_recommender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "house", "models")
    monkeypatch.setattr(reelmill.models, "__path__", [*reelmill.models.__path__, str(folder)])
    for name, entry in line("models/registry.py").items():
        descriptor, title = ast.literal_eval(ast.Tuple(entry.args, ast.Load()))  # type: ignore[attr-defined]
        monkeypatch.setitem(recommenders.RECOMMENDERS, name, recommenders.Entry(descriptor, title))

    def reelmill_(*arguments: str) -> dict[str, Any]:
        app([*arguments, "--json"], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    worlds = str(tmp_path / "worlds")
    world = ("train", "linear", "--root", worlds, "--world")
    (fit,) = reelmill_(*world, "users=200,old_videos=40,new_videos=15")["fits"].values()
    (found,) = [row for row in fit["metrics"] if (row["row"], row["metric"]) == ("linear", "ndcg@5")]
    assert found["minus_random_low"] > 0.05
    (twin,) = reelmill_(*world, "users=200,old_videos=40,new_videos=15,noise_twin=true")["fits"].values()
    (found,) = [row for row in twin["metrics"] if (row["row"], row["metric"]) == ("linear", "ndcg@5")]
    assert found["minus_random_low"] < 0 < found["minus_random_high"]

    first, _ = sorted(Path(worlds).glob("*/runs/*/metrics.json"), key=lambda path: path.stat().st_mtime_ns)
    root = first.parents[2]
    known = reelmill_("recommend", "--root", str(root), "--user", "u0000", "--top", "3")
    assert [row["rank"] for row in known["recommended"]] == [1, 2, 3]
    assert known["user"]["known"]
    assert not reelmill_("recommend", "--root", str(root), "--user", "nobody", "--run", "linear")["user"]["known"]
    page = write_report(root, tmp_path / "report.html", title="worlds", runs=[first.parent]).read_text()
    assert "linear" in page
    assert "beats the best floor" in page
