"""Gather every cell's numbers: `python -m workflows.steps.collect --plan FILE --out FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflows.collecting import collect, of_table
from workflows.reading import read_plan
from workflows.records import Today, states
from workflows.schema import ConfigError


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--table", help="only this table's rows and cells")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, required=True, help="folder, such as results/embedded")
    arguments = parser.parse_args()
    try:
        plan = read_plan(arguments.plan)
        # Of all cells: a diffusion model is outdated with its first stage, which no row may show.
        found = states(plan["cells"], Today.look(arguments.cache))
        plan = of_table(plan, arguments.table) if arguments.table else plan
        collect(plan, found, arguments.out)
    except (ConfigError, OSError) as error:
        print(f"collect: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
