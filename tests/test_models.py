"""What holds for every recommender with a planted world: wrong data are told or counted, never silently left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.base import FitSettings
from models.fit import train
from models.registry import RECOMMENDERS
from models.worlds import WORLDS
from models.worlds.fits import FITS
from storage import Block, FeatureWriter, Tables, open_store
from storage.errors import InputError
from storage.features import NO_DATA, list_stores

SMALL: dict[str, dict[str, object]] = {
    "audiovisual": {"videos": 160, "users": 10},
    "transgrec": {"users": 60, "old_videos": 20, "new_videos": 6},
    "jifr": {"users": 60, "items": 40},
    "prnet": {"users": 30},
    "multimodal": {"users": 40, "items": 40},
    "drnn": {"users": 60},
}


def settings(name: str) -> FitSettings:
    return RECOMMENDERS[name].settings.from_dict({**FITS[name], "epochs": 1})


@pytest.fixture(params=sorted(WORLDS), scope="module")
def planted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, str]]:
    """A recommender, its world as a root, and the stores of its roles."""
    world, write = WORLDS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    return request.param, root, write(root, world(**SMALL[request.param]))


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
