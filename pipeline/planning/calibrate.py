"""A short measurement where no rates are known yet: the real work, on a piece of a missing video."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace

from reelmill.extractors.core.base import Extractor
from reelmill.pipeline.extract.missing import ExtractOptions, Todo
from reelmill.pipeline.extract.videos import extract_missing
from reelmill.pipeline.planning.cost import picture_bytes
from reelmill.pipeline.planning.rates import Rates, together

SEGMENTS = 4
"""Length of the piece; one segment is run first, since the first batch is slower."""
TRIES = 3
"""Videos that may fail before the measurement is given up."""


def calibrate(todo: Sequence[Todo], extractors: Sequence[Extractor], options: ExtractOptions) -> Rates:
    """Rates of every set of extractors that will run together, each measured on a missing video of median length,
    and the size of a key frame. The results are thrown away: the root is not changed."""
    rates = Rates()
    for numbers in dict.fromkeys(tuple(sorted(lacking)) for _, lacking in todo):
        among = [extractors[number] for number in numbers]
        some = [(video, list(lacking.values())) for video, lacking in todo if tuple(sorted(lacking)) == numbers]
        some.sort(key=lambda entry: entry[0].duration_ms)
        middle = some[len(some) // 2 :] + some[: len(some) // 2]
        for video, specs in middle[:TRIES]:
            lacking = dict(enumerate(specs))
            with tempfile.TemporaryDirectory(prefix="reelmill-") as folder:
                for segments in (1, SEGMENTS):
                    piece = replace(video, duration_ms=min(video.duration_ms, segments * options.segment_ms))
                    done = extract_missing(f"{folder}/{segments}", [(piece, lacking)], among, options)
                    found = picture_bytes(f"{folder}/{segments}")
            if not done.failed:
                rates.add(together(among), done.parts)
                rates.picture = rates.picture or found
                break
    return rates
