"""Made films with drawn timelines: duration, segments, the picture at every time, and sound are what a player shows."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reelmill.pipeline.process.child import Child
from tests.fuzz.judge import LIMITS, judge
from tests.fuzz.timelines import KINDS, film
from tests.fuzz.truth import Truth


@pytest.fixture(scope="module")
def children() -> Iterator[tuple[Child, Child]]:
    with (
        Child("reelmill.pipeline.probe:measure", memory_bytes=LIMITS.memory_bytes) as prober,
        Child("reelmill.pipeline.extract.cut:cut", memory_bytes=LIMITS.memory_bytes) as cutter,
    ):
        yield prober, cutter


def test_a_seed_gives_one_film() -> None:
    assert film(7).truth == film(7).truth
    assert film(7).how == film(7).how != film(17).how


@pytest.mark.timeout(120)
@pytest.mark.parametrize("count", [20, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_films_are_read_as_players_show_them(tmp_path: Path, children: tuple[Child, Child], count: int) -> None:
    """None is wrong, with or without a warning. Refused are those that no player opens."""
    verdicts = []
    for seed in range(count):
        made = film(seed)
        path = tmp_path / f"{seed}.{made.suffix}"
        verdicts.append(judge(made, path, children))
        path.unlink()
    for kind in KINDS:
        print(f"{kind:10}", dict(Counter(verdict.word for verdict in verdicts if verdict.film.kind == kind)))
    wrong = [v for v in verdicts if v.word != ("refused" if v.film.refused else "right")]
    for verdict in wrong:
        print(f"{verdict.film.seed} {verdict.film.kind} {verdict.word}: {verdict.said[0]}\n    {verdict.film.how}")
    assert {verdict.film.kind for verdict in verdicts} == KINDS.keys()
    assert not wrong


HEARD = 14
"""A film whose sound begins after its picture and has a gap."""
SMALL: dict[str, Callable[[Truth], Truth]] = {
    "end": lambda truth: replace(truth, stop=truth.stop + 0.01),
    "picture": lambda truth: replace(truth, shown=tuple((time, index + 1) for time, index in truth.shown)),
    "time": lambda truth: replace(truth, shown=(truth.shown[0], *((t + 0.01, n) for t, n in truth.shown[1:]))),
    "future": lambda truth: replace(truth, shown=(truth.shown[0], *((t + 0.2, n) for t, n in truth.shown[1:]))),
    "number": lambda truth: replace(truth, shown=(*truth.shown, (truth.stop - 0.001, 200))),
    "burst": lambda truth: replace(truth, bursts=tuple(time + 0.002 for time in truth.bursts)),
    "no burst": lambda truth: replace(truth, bursts=truth.bursts[1:]),
    "sound": lambda truth: replace(truth, spans=((0.0, truth.spans[0][0] - 0.5), *truth.spans)),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_faults_are_seen(tmp_path: Path, children: tuple[Child, Child], name: str) -> None:
    """A right film, and another truth."""
    made = film(HEARD)
    assert judge(made, tmp_path / "a", children).word == "right"
    other = replace(made, truth=SMALL[name](made.truth))
    verdict = judge(other, tmp_path / "b", children)
    assert verdict.said
    assert verdict.word in ("wrong", "silent")
