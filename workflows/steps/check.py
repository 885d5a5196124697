"""Check prepared datasets and weights: `python -m workflows.steps.check --help`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from workflows.data import DataError, load_test, verify
from workflows.files import write_json


def digests(datasets: list[Path], weights: Path) -> dict[str, dict[str, str]]:
    """The sha256 of every dataset's arrays and every network, each compared with its record.

    Raises DataError for an array and ValueError for weights that are not what was written.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in datasets:
        verify(folder)
        _, record = load_test(folder)
        found[record["name"]] = {part: record[part]["sha256"] for part in ("train", "test")}
    for about in sorted(weights.glob("*.json")):
        file = about.with_suffix(".safetensors")
        expected = json.loads(about.read_text(encoding="utf-8"))["sha256"]
        with file.open("rb") as handle:
            actual = hashlib.file_digest(handle, "sha256").hexdigest()
        if actual != expected:
            raise ValueError(f"{file}: sha256 is {actual}, must be {expected}; delete it")
        found[about.stem] = {"weights": actual}
    return found


def main() -> int:
    """Parse the command line; 1 and one line on standard error for a file that was altered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, nargs="*", required=True, help="their folders")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        found = digests(arguments.datasets, arguments.weights)
    except (DataError, OSError, ValueError, KeyError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 1
    write_json(arguments.out, found)
    print(f"{len(found)} datasets and networks are what they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
