"""Check prepared datasets and weights: `python -m workflows.steps.check --help`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows.config import cli
from workflows.data import cache
from workflows.data.weight_sources import check_sum, read_record
from workflows.files import write_json


def main(datasets: list[Path], weights: Path, out: Path) -> None:
    """Compare the SHA-256 of all arrays and networks with their records, and write all digests.

    Raises DataError for an array or for weights that have changed.
    """
    digests: dict[str, dict[str, str]] = {}
    for folder in datasets:
        cache.verify(folder)
        record = cache.read_record(folder)
        digests[record.name] = {"train": record.train.sha256, "test": record.test.sha256}
    for file in sorted(weights.glob("*.json")):
        expected = read_record(weights, file.stem).sha256
        digests[file.stem] = {"weights": check_sum(file.with_suffix(".safetensors"), expected)}
    write_json(out, digests)
    print(f"{len(digests)} datasets and networks are what they should be")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, nargs="*", required=True, help="their folders")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    cli.run(parser, main)
