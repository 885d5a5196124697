"""Decode one dataset: `python -m workflows.steps.prepare --dataset mnist_5k --out FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflows.config import cli
from workflows.config.datasets import read_dataset
from workflows.data import cache
from workflows.data.sources import Unavailable


def main(dataset: str, out: Path) -> None:
    """Prepare a dataset and print its size and source.

    If no source has the dataset, write this down in `out`, because the run goes on without it.
    """
    try:
        cache.prepare(read_dataset(dataset), out)
    except Unavailable as error:
        cache.note_missing(dataset, out, str(error))
        print(f"prepare: {error}", file=sys.stderr)
        print("The run goes on without this dataset, and its rows say why.")
        return
    loaded = cache.load_train(out)
    print(
        f"{dataset}: {len(loaded.train)} training, {len(loaded.validation)} validation and "
        f"{loaded.record.test.images} test images from {loaded.record.source} -> {out}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--out", required=True, type=Path)
    cli.run(parser, main)
