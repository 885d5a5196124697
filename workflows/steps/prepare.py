"""Decode one dataset: `python -m workflows.steps.prepare --dataset mnist_5k --out FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflows.data import DataError, Unavailable, load_train, note_missing, prepare


def main() -> int:
    """Prepare the dataset and say so in one line; 1 and one line on stderr if it cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument(
        "--note-missing",
        action="store_true",
        help="where no source has the dataset, write that down in the folder and end well",
    )
    arguments = parser.parse_args()
    try:
        prepare(arguments.dataset, arguments.out)
        record = load_train(arguments.out).record
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        if not arguments.note_missing:
            return 1
        note_missing(arguments.dataset, arguments.out, str(error))
        print("The run goes on without this dataset, and its rows say why.")
        return 0
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    train = record["train"]["images"] - record["validation"]["images"]
    print(
        f"{record['name']}: {train} training, {record['validation']['images']} validation and "
        f"{record['test']['images']} test images from {record['source']} -> {arguments.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
