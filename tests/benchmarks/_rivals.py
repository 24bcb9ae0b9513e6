"""One competitor of `peers`, in a process and an environment of its own: `python -P _rivals.py NAME FOLDER`.

It gets ready, says so with a line, and then takes one turn for each line that it reads. A turn is an epoch, or what
else is timed, and is answered by a line of JSON with `examples` and `seconds`. The click-through models take turns in
pairs, of which the second tells their test AUC in the epoch that validated best.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

THREADS = int(os.environ["OMP_NUM_THREADS"])
DIM = 64
"""Of BPR; VBPR has half of them from the features."""
USERS, ITEMS, TOP = 6000, 7000, 20
"""Of the ranking."""

Turns = Iterator[dict[str, float]]


def timed(examples: int, call: Callable[[], Any]) -> dict[str, float]:
    """One turn."""
    began = time.perf_counter()
    call()
    return {"examples": examples, "seconds": time.perf_counter() - began}


def fm_recbole(folder: Path) -> Turns:
    """RecBole's FM with its defaults, on the split and the fields of `folder`."""
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.context_aware_recommender import FM
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    torch.set_num_threads(THREADS)
    columns = {
        side: [name.split(":")[0] for name in (folder / f"{folder.name}.{side}").read_text().split("\n")[0].split("\t")]
        for side in ("user", "item")
    }
    chosen = {
        "data_path": str(folder.parent), "benchmark_filename": ["train", "validation", "test"],
        "load_col": {"inter": ["user_id", "item_id", "label"], **columns}, "train_neg_sample_args": None,
        "eval_args": {"mode": "labeled", "split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None, "order": "RO"},
        "metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "use_gpu": False, "gpu_id": "", "show_progress": False,
        "checkpoint_dir": str(folder), "metric_decimal_place": 6,
    }  # fmt: skip
    del sys.argv[1:]  # RecBole reads them
    config = Config(model="FM", dataset=folder.name, config_dict=chosen)
    init_seed(config["seed"], config["reproducibility"])
    train, validation, test = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, FM(config, train.dataset))
    best = (0.0, 0.0)
    for epoch in range(1 << 30):
        yield timed(len(train.dataset), lambda number=epoch: trainer._train_epoch(train, number))
        figures = [trainer.evaluate(part, load_best_model=False)["auc"] for part in (validation, test)]
        best = max(best, (figures[0], figures[1]))
        yield {"auc": best[1]}


def fm_ours(folder: Path) -> Turns:
    """Ours, with the spread that `FMSettings` starts from."""
    import torch

    from reelmill.models.baselines.fm import FM, FMSettings
    from reelmill.models.metrics import clicks as metrics_ctr
    from reelmill.models.protocols.clicks.data import load_clicks
    from reelmill.models.protocols.clicks.task import ClickTask

    settings = FMSettings(fields=(folder / "fields").read_text())
    task = ClickTask("fm", FM, load_clicks(folder.parent / "root"), settings, torch.device("cpu"))
    test, best = task.test(), (0.0, 0.0)
    for fit, turn in _ours(task, settings, len(task.split.train)):
        yield turn
        fit.network.eval()
        now = metrics_ctr.auc(task.predict(fit.network, test), test.label)
        best = max(best, (task.validate(fit.network)["auc"], float(now)))
        yield {"auc": best[1]}


def bpr_implicit(folder: Path) -> Turns:
    """implicit's native code, with its settings."""
    from implicit.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    user, item = np.load(folder / "pairs.npy")
    matrix = csr_matrix((np.ones(len(user), np.float32), (user, item)))
    model = BayesianPersonalizedRanking(factors=DIM, iterations=1, num_threads=THREADS, random_state=0, use_gpu=False)
    while True:
        yield timed(len(user), lambda: model.fit(matrix, show_progress=False))


def bpr_cornac(folder: Path) -> Turns:
    """Cornac's native code, with its settings."""
    from cornac.models import BPR

    data = _cornac(folder)
    while True:
        model = BPR(k=DIM, max_iter=1, num_threads=THREADS, seed=0)
        yield timed(data.num_ratings, lambda chosen=model: chosen.fit(data))


def vbpr_cornac(folder: Path, batch: int = 100) -> Turns:
    """Cornac, with its settings; of an epoch only so many positives, as a whole one takes minutes."""
    import torch
    from cornac.data import ImageModality
    from cornac.models import VBPR

    torch.set_num_threads(THREADS)
    data = _cornac(folder, 20_000)
    features = np.load(folder / "features.npy")[list(map(int, data.item_ids))]
    data.add_modalities(item_image=ImageModality(features=features, ids=list(data.item_ids), normalized=False))
    data.item_image.build(id_map=data.iid_map)
    while True:
        model = VBPR(k=DIM // 2, k2=DIM // 2, n_epochs=1, batch_size=batch, verbose=False, seed=0)
        yield timed(data.num_ratings, lambda chosen=model: chosen.fit(data))


def vbpr_cornac_large(folder: Path) -> Turns:
    """The same in batches as large as ours."""
    return vbpr_cornac(folder, 16384)


def als_ours(folder: Path) -> Turns:
    """A sweep of alternating least squares."""
    import torch

    from reelmill.models.core import als, sparse

    torch.set_num_threads(THREADS)
    watches = _watches(folder)
    backwards = sparse.transposed(watches)
    items = als.start(watches.shape[1], DIM, torch.Generator().manual_seed(0))
    found = [als.Factors(torch.zeros(len(watches), DIM), items)]
    while True:
        turn = timed(
            len(watches.values()), lambda: found.append(als.sweep(watches, backwards, found.pop(), 40.0, 10.0))
        )
        yield turn | _resident() | {"loss": als.loss(watches, found[0], 40.0, 10.0) / len(watches.values())}


def als_implicit(folder: Path) -> Turns:
    """The same of implicit: conjugate gradients, three steps, native code."""
    import torch
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    from reelmill.models.core import als

    watches = _watches(folder)
    matrix = _scipy(watches) * 41
    model = AlternatingLeastSquares(DIM, 10.0, iterations=1, num_threads=THREADS)
    items = als.start(watches.shape[1], DIM, torch.Generator().manual_seed(0)).numpy()
    model.user_factors, model.item_factors = np.zeros((len(watches), DIM), np.float32), items
    while True:
        with threadpool_limits(1, "blas"):
            turn = timed(matrix.nnz, lambda: model.fit(matrix, show_progress=False))
        found = als.Factors(torch.from_numpy(model.user_factors), torch.from_numpy(model.item_factors))
        yield turn | _resident() | {"loss": als.loss(watches, found, 40.0, 10.0) / matrix.nnz}


def knn_ours(folder: Path) -> Turns:
    """The 50 nearest neighbours of every item."""
    import torch

    from reelmill.models.baselines.knn.model import VideoNeighbours, batches

    torch.set_num_threads(THREADS)
    watches = _watches(folder)

    def fit() -> None:
        model = VideoNeighbours(watches.shape[1], 50)
        for batch in batches(watches, 256):
            model.solve(batch)

    while True:
        yield timed(len(watches.values()), fit) | _resident()


def knn_implicit(folder: Path) -> Turns:
    """The same of implicit: native code."""
    from implicit.nearest_neighbours import CosineRecommender

    matrix = _scipy(_watches(folder))
    while True:
        model = CosineRecommender(K=51, num_threads=THREADS)  # it counts an item itself
        yield timed(matrix.nnz, lambda chosen=model: chosen.fit(matrix, show_progress=False)) | _resident()


def _watches(folder: Path) -> Any:
    """(users, items) CSR of ones."""
    import torch

    from reelmill.models.core import sparse

    user, item = torch.from_numpy(np.load(folder / "pairs.npy").astype(np.int64))
    return sparse.of_pairs(user, item, None, int(user.max()) + 1, int(item.max()) + 1)


def _scipy(watches: Any) -> Any:
    """The same for implicit."""
    from scipy.sparse import csr_matrix

    parts = (watches.values(), watches.col_indices().int(), watches.crow_indices().int())
    return csr_matrix(tuple(part.numpy() for part in parts), tuple(watches.shape))


def _resident() -> dict[str, float]:
    """Most memory that the process has held, GiB."""
    return {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def bpr_ours(folder: Path) -> Turns:
    """Ours."""
    from reelmill.models.baselines.vbpr.settings import BPRSettings
    from reelmill.models.baselines.vbpr.task import BPRTask

    settings = BPRSettings(validation_share=0, test_share=1e-4, dim=DIM)
    task = BPRTask(_positives(folder), settings, _cpu())
    return (turn for _, turn in _ours(task, settings, len(task.user)))


def vbpr_ours(folder: Path) -> Turns:
    """Ours."""
    from reelmill.models.baselines.vbpr.settings import VBPRSettings
    from reelmill.models.baselines.vbpr.task import VBPRTask

    settings = VBPRSettings(validation_share=0, test_share=0.9, dim=DIM // 2, visual_dim=DIM // 2)
    task = VBPRTask(_positives(folder, np.load(folder / "features.npy")), settings, _cpu())
    return (turn for _, turn in _ours(task, settings, len(task.user)))


def ranking_product(folder: Path) -> Turns:
    """One product of matrices and the top of each row."""
    user, item = _vectors()
    while True:
        yield timed(USERS, lambda: (user @ item.T).topk(TOP))


def ranking_ours(folder: Path) -> Turns:
    """All places and all metrics of five relevant items a user, a hundred masked."""
    from reelmill.models.data.pairs import Lists
    from reelmill.models.metrics import full_ranking as ranking

    user, item = _vectors()
    drawn = np.argsort(np.random.default_rng(0).random((USERS, ITEMS)), axis=1)[:, :105].copy()
    owner = np.repeat(np.arange(USERS), 100)
    known = Lists(owner, np.sort(drawn[:, 5:], axis=1).ravel(), USERS)
    queries = ranking.Queries.of((np.repeat(np.arange(USERS), 5), drawn[:, :5].ravel()), known, ITEMS)

    def turn() -> None:
        ranking.measured(ranking.places(queries, lambda some: user[some] @ item.T, _cpu()), (10, TOP))

    while True:
        yield timed(USERS, turn)


def _ours(task: Any, settings: Any, examples: int) -> Iterator[tuple[Any, dict[str, float]]]:
    """Epochs of the trainer."""
    from reelmill.models.core.training import Training, run_epoch

    one = Training(task, settings, _cpu())
    while True:
        yield one, timed(examples, lambda: run_epoch(one))


def _cpu() -> Any:
    import torch

    torch.set_num_threads(THREADS)
    return torch.device("cpu")


def _vectors() -> list[Any]:
    import torch

    _cpu()
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, DIM + 1, generator=generator) for rows in (USERS, ITEMS)]


def _cornac(folder: Path, most: int | None = None) -> Any:
    from cornac.data import Dataset

    user, item = np.load(folder / "pairs.npy")
    rows = np.random.default_rng(0).permutation(len(user))[:most]
    triples = zip(user[rows].astype(str), item[rows].astype(str), np.ones(len(rows)), strict=True)
    return Dataset.from_uir(list(triples), seed=0)


def _positives(folder: Path, features: np.ndarray | None = None) -> Any:
    from reelmill.models.baselines.vbpr.data import Positives

    user, item = np.load(folder / "pairs.npy").astype(np.int64)
    order = np.lexsort((item, user))
    names = [[str(name) for name in range(numbers.max() + 1)] for numbers in (user, item)]
    none = np.full(len(user), -1)
    return Positives(
        *names, user[order], item[order], none * np.nan, none, none, False, len(user), (), features, {}, {}, ""
    )


if __name__ == "__main__":
    answers = sys.stdout
    sys.stdout = sys.stderr  # competitors print what they like
    turns = globals()[sys.argv[1]](Path(sys.argv[2]))
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(next(turns)), file=answers, flush=True)
