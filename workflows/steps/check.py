"""Check prepared datasets and files of weights: `python -m workflows.steps.check --help`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows.config import cli
from workflows.data import cache
from workflows.data.weight_sources import SOURCES, file_of
from workflows.files import write_json


def main(datasets: list[Path], out: Path) -> None:
    """Compare the SHA-256 of all arrays and of all files of weights with the expected one.

    Writes all digests. Raises DataError for an array that has changed, and for weights that are
    missing or have changed.
    """
    digests: dict[str, dict[str, str]] = {}
    for folder in datasets:
        cache.verify(folder)
        record = cache.read_record(folder)
        digests[record.name] = {"train": record.train.sha256, "test": record.test.sha256}
    for network, source in SOURCES.items():
        file_of(network)
        digests[network] = {"weights": source.sha256}
    write_json(out, digests)
    print(f"{len(digests)} datasets and networks are what they should be")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, nargs="*", required=True, help="their folders")
    parser.add_argument("--out", type=Path, required=True)
    cli.run(parser, main)
