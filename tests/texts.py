"""Planted texts: each document has a hidden theme, which chooses most of its words; the rest are of a common stock."""

import numpy as np

from reelmill.extractors.text.words import Document

THEMES = 8


def planted(
    count: int, length: int, *, common: float = 0.3, noise: bool = False, seed: int = 3
) -> tuple[list[Document], np.ndarray]:
    """Documents of two fields, by 20 authors, one an hour, and the theme of each. Words of theme 3 are `t3w…`, common
    ones `c…`. `noise`: the same, but each word has a theme of its own."""
    rng = np.random.default_rng(seed)
    themes = rng.integers(THEMES, size=count)
    documents = []
    for number, theme in enumerate(themes):
        of = rng.integers(THEMES, size=length) if noise else np.full(length, theme)
        words = [f"t{t}w{int(40 * rng.random() ** 2)}" for t in of]
        words = [f"c{rng.integers(60)}" if rng.random() < common else word for word in words]
        half = length // 2
        fields = (tuple(words[:half]), tuple(words[half:]))
        documents.append(Document(fields, author=f"u{number % 20}", time_ms=number * 3_600_000))
    return documents, themes
