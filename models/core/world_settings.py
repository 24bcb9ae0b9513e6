"""Hyper-parameters that suit worlds of this size, where the papers' are for data a hundred times as large. They were
chosen on other seeds of the worlds than those that the benchmarks report."""

from typing import Any

_CLICKS: dict[str, Any] = {
    "dim": 8, "init_std": 0.1, "l2": 1e-3, "batch": 512, "learning_rate": 1e-2, "epochs": 25, "patience": 4,
    "split": "time", "test_share": 0.3,
}  # fmt: skip

FITS: dict[str, dict[str, Any]] = {
    "audiovisual": {"dim": 16, "width": 64, "epochs": 60, "patience": 10, "learning_rate": 3e-3, "test_share": 0.3},
    "transgrec": {"dim": 32, "batch": 500, "epochs": 40, "patience": 8, "learning_rate": 0.01, "l2": 1e-3},
    "jifr": {"dim": 16, "hidden": 16, "epochs": 50, "patience": 8, "learning_rate": 0.02, "l2": 3e-3, "batch": 512,
             "negatives": 4},
    "prnet": {"dim": 32, "window": 96, "batch": 16, "learning_rate": 3e-3, "epochs": 12, "patience": 0,
              "validation_share": 0.05, "test_share": 0.4, "tested": "every"},
    "multimodal": {**_CLICKS, "hidden": "16"},
    "fm": _CLICKS,
    "deepfm": {**_CLICKS, "hidden": "16"},
    "drnn": {"dim": 32, "hidden": 32, "batch": 256, "epochs": 10, "patience": 0, "learning_rate": 0.02,
             "least_videos": 5, "least_posts": 1, "longest": 8, "memory": 10, "test_share": 0.4,
             "validation_share": 0.15},
}  # fmt: skip
"""{recommender: settings}."""
