"""Write down what a budget's tables show: `python -m workflows.steps.plan --help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from workflows.data import DataError, describe, names
from workflows.files import write_json
from workflows.grid import load_grid
from workflows.planning import planned
from workflows.schema import ConfigError


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", required=True)
    parser.add_argument("--missing", default="{}", help="JSON: dataset not here -> what to do")
    parser.add_argument("--out", type=Path, required=True, help="plan.json")
    arguments = parser.parse_args()
    try:
        datasets = {name: describe(name) for name in names()}
        grid = load_grid(arguments.budget, datasets)
        missing = json.loads(arguments.missing)
        write_json(arguments.out, planned(arguments.budget, grid, datasets, missing))
    except (ConfigError, DataError, OSError) as error:
        print(f"plan: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
