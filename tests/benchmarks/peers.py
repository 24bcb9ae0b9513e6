"""Our floors beside the libraries in use, in one run: `python -m tests.benchmarks peers`.

RecBole (FM), Cornac (BPR, VBPR) and implicit (BPR) each get an environment of their own under `PEERS_HOME`, by default
in the temporary folder; none is a dependency. One that does not install is named and left out. Competitors are
processes with the same data and `THREADS` threads, and take turns: a ratio is that of two turns next to each other.
Needs MovieLens-1M beside the project; prints nothing without it. `RACES=bpr,ranking` takes some of the four.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from reelmill.models.baselines.fm import FM, FMSettings
from reelmill.models.protocols.clicks.data import Clicks, load_clicks
from reelmill.models.protocols.clicks.task import ClickTask
from reelmill.pipeline import sources
from tests.benchmarks import table

DATA = Path(__file__).parents[3] / "shared" / "data" / "ml-1m"
HOME = Path(os.environ.get("PEERS_HOME", Path(tempfile.gettempdir()) / "reelmill-peers"))
THREADS = os.environ.get("THREADS", "2")
ROUNDS = int(os.environ.get("ROUNDS", "7"))
EPOCHS = int(os.environ.get("EPOCHS", "25"))
"""Of FM, whose AUC is that of the best epoch by validation."""
TORCH = f"torch=={torch.__version__.split('+')[0]}"
PEERS = {
    "recbole": ["recbole==1.2.1", "numpy<1.24", "setuptools<81", TORCH],  # it says np.long and pkg_resources
    "cornac": ["cornac==3.0.1", TORCH],
    "implicit": ["implicit==0.7.3"],
}
RACES = os.environ.get("RACES", "fm,bpr,vbpr,ranking").split(",")
FEATURES = (128, 4096)
"""Numbers an item that VBPR reads: TikTok's, and VGG-19's."""
FIELDS = {"ids": "user_id,item_id", "all": ""}


def environment(peer: str) -> Path | None:
    """The interpreter of a peer, installed if need be; None if it cannot be."""
    folder = HOME / peer
    python = folder / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    for command in ([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
                    [uv, "pip", "install", "--quiet", "--python", str(python), *PEERS[peer]]):  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{peer} does not install and is left out: {getattr(error, 'stderr', '') or error}")
            return None
    return python


class Competitor:
    """A process that waits for its turn."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        """Start it, and wait until it is ready. Raises EOFError if it ends first."""
        script = str(Path(__file__).with_name("_rivals.py"))
        limits = {f"{library}_NUM_THREADS": THREADS for library in ("OMP", "MKL", "OPENBLAS")}
        self.name, self.log = name, tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(python), "-P", "-W", "ignore", script, name, str(folder)], env={**os.environ, **limits}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=folder,  # RecBole leaves logs there
        )  # fmt: skip
        self._answer()

    def turn(self) -> dict[str, float]:
        """One turn. Raises EOFError if the process ended."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self._answer())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return line
        self.log.seek(0)
        raise EOFError(f"{self.name} ended: {self.log.read()[-500:]}")


def race(title: str, folder: Path, ours: str, rivals: dict[str, Path | None], rounds: int, per_epoch: int = 1) -> None:
    """Turns of all, in one order and then the other, and a table. Of the `per_epoch` answers of a round the first is
    timed; the others tell figures, of which the last stands in the table. The first round warms up."""
    started: list[Competitor] = []
    try:
        for name, python in {ours: Path(sys.executable), **rivals}.items():
            if python is not None:
                started.append(Competitor(name, python, folder))
        seconds: dict[str, list[float]] = {one.name: [] for one in started}
        last: dict[str, dict[str, float]] = {one.name: {} for one in started}
        for number in range(rounds + 1):
            for one in started if number % 2 else reversed(started):
                answers = [one.turn() for _ in range(per_epoch)]
                last[one.name] = {key: value for answer in answers for key, value in answer.items()}
                if number:
                    seconds[one.name].append(answers[0]["seconds"] / answers[0]["examples"])
    except EOFError as error:
        print(f"{title}: {error}")
        return
    finally:
        for one in started:
            one.close()
    rows = [_row(name, times, seconds[ours], last[name]) for name, times in seconds.items()]
    table(f"{title}; {THREADS} threads, {rounds} rounds", ["", "a second", "seconds", "times ours", "AUC"], rows)


def _row(name: str, times: Sequence[float], ours: Sequence[float], last: dict[str, float]) -> list[Any]:
    """Rate, seconds of a turn, and its time over ours: median, least and most over the rounds."""
    apart = [theirs / own for theirs, own in zip(times, ours, strict=True)]
    median = statistics.median(times)
    ratio = f"{statistics.median(apart):.2f} ({min(apart):.2f} to {max(apart):.2f})"
    return [name, f"{1 / median:,.0f}", median * last["examples"], ratio, f"{last['auc']:.4f}" if "auc" in last else ""]


def write_fm(root: Path, folder: Path, fields: str) -> None:
    """Our split, and the fields named, as RecBole reads them."""
    data = load_clicks(root)
    task = ClickTask("fm", FM, data, FMSettings(fields=fields), torch.device("cpu"))
    folder.mkdir()
    (folder / "fields").write_text(fields)
    for part in ("train", "validation", "test"):
        rows = getattr(task.split, part)
        lines = [f"u{u}\ti{i}\t{y:g}" for u, i, y in zip(rows.user, rows.item, rows.label, strict=True)]
        head = "user_id:token\titem_id:token\tlabel:float"
        (folder / f"{folder.name}.{part}.inter").write_text("\n".join([head, *lines]))
    chosen = [field.name for field in task.fields]
    for side, owners in (("user", data.users), ("item", data.items)):
        _side(folder / f"{folder.name}.{side}", side, data, len(owners), chosen)


def _side(path: Path, side: str, data: Clicks, owners: int, chosen: Sequence[str]) -> None:
    columns = [c for c in data.columns if c.side == side and c.name in chosen and not c.name.endswith("_id")]
    kinds = [f"{c.name}:{'token' if c.table.shape[1] == 1 else 'token_seq'}" for c in columns]
    lines = ["\t".join([f"{side}_id:token", *kinds])]
    for row in range(owners):
        codes = [" ".join(f"c{code}" for code in c.table[row] if code >= 0) for c in columns]
        lines.append("\t".join([f"{side[0]}{row}", *codes]))
    path.write_text("\n".join(lines))


def write_pairs(folder: Path, dim: int) -> None:
    """All 1,000,209 pairs as numbers (2, P), and features drawn at random: they are here to be multiplied."""
    found = pq.read_table(DATA / "pairs.parquet")
    numbers = [np.asarray(pc.dictionary_encode(found[name].combine_chunks()).indices) for name in found.column_names]
    folder.mkdir()
    np.save(folder / "pairs.npy", np.stack(numbers).astype(np.int32))
    drawn = np.random.default_rng(0).standard_normal((int(numbers[1].max()) + 1, dim))
    np.save(folder / "features.npy", drawn.astype(np.float32))


def main() -> None:
    """Print the tables."""
    if not DATA.exists():
        return
    pa.set_cpu_count(1)
    found = {peer: environment(peer) for peer in PEERS}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        sources.write_source(home / "root", sources.read(DATA / "ratings_first487650.dat.gz", "movielens"))
        for title, fields in FIELDS.items() if "fm" in RACES else ():
            write_fm(home / "root", home / title, fields)
            race(f"FM, {title}, examples", home / title, "fm_ours", {"fm_recbole": found["recbole"]}, EPOCHS - 1, 2)
        for dim in FEATURES:
            write_pairs(home / str(dim), dim)
        pairs = home / str(FEATURES[0])
        if "bpr" in RACES:
            rivals = {"bpr_implicit": found["implicit"], "bpr_cornac": found["cornac"]}
            race("BPR, triplets", pairs, "bpr_ours", rivals, ROUNDS)
        for dim in FEATURES if "vbpr" in RACES else ():
            rivals = {"vbpr_cornac": found["cornac"], "vbpr_cornac_large": found["cornac"]}
            race(f"VBPR, {dim} features, triplets", home / str(dim), "vbpr_ours", rivals, ROUNDS)
        if "ranking" in RACES:
            race("Ranking, users", pairs, "ranking_ours", {"ranking_product": Path(sys.executable)}, 3 * ROUNDS)


if __name__ == "__main__":
    main()
