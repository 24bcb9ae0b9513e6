"""What holds for every recommender with a planted world: wrong data are told or counted, never silently left out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelmill.models.core.settings import FitSettings
from reelmill.models.fit import train
from reelmill.models.recommendations import recommend
from reelmill.models.registry import find, settings_for, world_of
from reelmill.storage import Block, FeatureWriter, Tables, open_store
from reelmill.storage.errors import InputError
from reelmill.storage.features import NO_DATA, list_stores

SMALL: dict[str, dict[str, object]] = {
    "audiovisual": {"videos": 160, "users": 10},
    "transgrec": {"users": 60, "old_videos": 20, "new_videos": 6},
    "jifr": {"users": 60, "items": 40},
    "prnet": {"users": 30},
    "multimodal": {"users": 40, "items": 40},
    "drnn": {"users": 60},
}


def settings(name: str) -> FitSettings:
    return settings_for(name, {**world_of(name).options, "epochs": 1})


@pytest.fixture(params=sorted(SMALL), scope="module")
def planted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, str]]:
    """A recommender, its world as a root, and the stores of its roles."""
    planted = world_of(request.param).planted
    root = tmp_path_factory.mktemp(request.param)
    return request.param, root, planted.write(root, planted.knobs(**SMALL[request.param]))


def rewritten(root: Path, place: Path, value: Callable[[int], float] | None) -> None:
    """The same root with one vector in all usable rows of its stores, each of its `dim` numbers `value(dim)`; without
    `value` no row is usable."""
    (place / "tables").symlink_to(root / "tables")
    for name in list_stores(root):
        store = open_store(root, name)
        with FeatureWriter(place, store.spec) as writer:
            for video in store.keys():  # noqa: SIM118
                b = store.read(video)
                mask = b.mask if value else np.full_like(b.mask, NO_DATA)
                vectors = np.full_like(b.features, value(store.spec.dim) if value else np.nan)
                vectors[mask == NO_DATA] = np.nan
                writer.add(Block(video, vectors, mask, b.segment_index, b.start_ms, b.stop_ms))


def test_it_fits_and_beats_nothing_silently(planted: tuple[str, Path, dict[str, str]]) -> None:
    """Every test case stands in a table, and the counts say what was left out."""
    name, root, stores = planted
    result = train(root, stores, settings(name), model=name, logger="none", pictures=False)
    rows = {row["row"] for row in result.metrics["rows"]}
    assert {name, "random"} <= rows
    assert all(isinstance(count, int) for count in result.counts.values())
    assert result.counts


def test_constant_features_are_refused(planted: tuple[str, Path, dict[str, str]], tmp_path: Path) -> None:
    name, root, stores = planted
    rewritten(root, tmp_path, lambda dim: 1 / dim)
    with pytest.raises(InputError, match=r"constant|is the same for all"):
        train(tmp_path, stores, settings(name), model=name, logger="none", pictures=False)


def test_a_store_without_a_usable_row_is_refused(planted: tuple[str, Path, dict[str, str]], tmp_path: Path) -> None:
    name, root, stores = planted
    rewritten(root, tmp_path, None)
    with pytest.raises(InputError):
        train(tmp_path, stores, settings(name), model=name, logger="none", pictures=False)


def test_a_root_without_events_is_refused(planted: tuple[str, Path, dict[str, str]], tmp_path: Path) -> None:
    name, root, stores = planted
    (tmp_path / "features").symlink_to(root / "features")
    for table in ("segments",) if name == "audiovisual" else ("segments", "videos"):  # whose names it learns from
        Tables(tmp_path).write(table, Tables(root).read(table))
    with pytest.raises(InputError, match=r"ingest|no event|nobody"):
        train(tmp_path, stores, settings(name), model=name, logger="none", pictures=False)


def test_a_store_that_is_not_there_is_named(planted: tuple[str, Path, dict[str, str]]) -> None:
    name, root, stores = planted
    role, store = next((role, store) for role, store in stores.items() if store)
    with pytest.raises(InputError, match="no store 'c3d-fc6-0badc0de'"):
        train(root, {**stores, role: "c3d-fc6-0badc0de"}, settings(name), model=name)
    assert store in list_stores(root)


WITHOUT = {
    "audiovisual": {"picture": "videos_without_picture", "sound": "videos_without_sound"},
    "drnn": {role: f"videos_without_{role}" for role in ("frames", "clips", "text", "topics")},
    "jifr": {"frames": "items_without_frames"},
    "multimodal": {"picture": "items_without_picture", "sound": "items_without_sound"},
    "prnet": {"steps": "videos_without_features"},
    "transgrec": {"features": "videos_without_features"},
}
"""Count of the videos that a role has nothing of."""


def damaged(root: Path, place: Path, stores: dict[str, str], roles: dict[str, str]) -> dict[str, int]:
    """The same root without three videos in each role's store, and with a row that is not finite in a fourth; how many
    videos each role has lost."""
    (place / "tables").symlink_to(root / "tables")
    touched, lost = set(Tables(root).read("events")["video_id"].to_pylist()), {}
    for role, name in stores.items():
        store = open_store(root, name)
        usable = [v for v in store.keys() if v in touched and (store.read(v).mask > NO_DATA).any()]  # noqa: SIM118
        without, broken = (usable[:3], usable[3]) if role in roles else ([], None)
        lost[role] = len(without)
        with FeatureWriter(place, store.spec) as writer:
            for block in store.blocks(without):
                if block.video_id != broken:
                    writer.add(block)
                    continue
                features, row = block.features.copy(), int(np.flatnonzero(block.mask > NO_DATA)[0])
                features[row, 0] = np.inf
                lost[role] += int((block.mask > NO_DATA).sum() == 1)
                writer.add(Block(broken, features, block.mask, block.segment_index, block.start_ms, block.stop_ms))
    return lost


def test_what_lacks_or_is_not_finite_is_counted(
    planted: tuple[str, Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Videos without features, and rows that a store calls valid and that are not: our own writer refuses these."""
    name, root, stores = planted
    monkeypatch.setattr(Block, "check", lambda self, spec: None)
    lost = damaged(root, tmp_path, stores, WITHOUT[name])
    before, after = (
        train(place, stores, settings(name), model=name, logger="none", pictures=False) for place in (root, tmp_path)
    )
    for role, count in WITHOUT[name].items():
        assert after.counts[count] - before.counts[count] == lost[role] >= 3, count
    broken = [sum(n for what, n in r.counts.items() if "not_finite" in what) for r in (before, after)]
    assert broken[1] - broken[0] == len(WITHOUT[name])
    assert all(np.isfinite(row["mean"]) for row in after.metrics["rows"])


def test_who_has_no_events_and_a_store_of_another_spec(
    planted: tuple[str, Path, dict[str, str]], tmp_path: Path
) -> None:
    """A user of whom there is nothing is told to be unknown, or refused by name; and a checkpoint reads the store of
    its fit alone, by whatever name another lies there."""
    name, root, stores = planted
    result = train(root, stores, settings(name), model=name, logger="none", pictures=False)
    if find(name).adviser is None:
        return
    try:
        answer = recommend(root, "nobody at all", run=result.folder.name)
        assert not answer["user"]["known"]
        assert answer["user"]["how"]
    except InputError as error:
        assert "nobody at all" in str(error)  # noqa: PT017
    for folder in ("tables", "runs"):
        (tmp_path / folder).symlink_to(root / folder)
    if name == "drnn":  # what it needs of the stores is in its checkpoint
        assert recommend(tmp_path, "u0000", run=result.folder.name)["recommended"]
        return
    with pytest.raises(InputError, match=r"reads the store .* lacks \(there is none\)"):
        recommend(tmp_path, "u0000", run=result.folder.name)
    for store in stores.values():
        spec = replace(open_store(root, store).spec, code_version=9)
        with FeatureWriter(tmp_path, spec) as writer:
            for block in open_store(root, store).blocks():
                writer.add(block)
        (tmp_path / "features" / spec.name).rename(tmp_path / "features" / store)
    with pytest.raises(InputError, match=r"that folder holds .* extract again"):
        recommend(tmp_path, "u0000", run=result.folder.name)
