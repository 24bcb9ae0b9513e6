"""Which frame comes back from which decoder: the table of `pipeline/README.md`. `python -m tests.benchmarks frames`"""

import tempfile
from pathlib import Path

from tests.kinds import make_cases
from tests.matrix import DECODERS, read_all, table, verdict


def main() -> None:
    """Print the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        verdicts: dict[str, list[str]] = {case.name: [] for case in cases}
        for decoder in DECODERS:
            links = Path(folder, decoder)
            links.mkdir()
            found = read_all(cases, decoder, links)
            for number, case in enumerate(cases):
                verdicts[case.name].append(verdict(case, found[1][number]) if found else "not installed")
        print(table(verdicts))


if __name__ == "__main__":
    main()
