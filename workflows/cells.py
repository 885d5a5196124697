"""Look at cells: `python -m workflows.cells list|status [--budget NAME]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from workflows.data import DataError, describe, names
from workflows.grid import Grid, load_grid
from workflows.schema import ConfigError


def listing(grid: Grid) -> pd.DataFrame:
    """cell, the tables that show it, and the command that reruns it; one row a cell."""
    return pd.DataFrame(
        {
            "cell": list(grid.cells),
            "tables": [", ".join(grid.tables_of(name)) for name in grid.cells],
        }
    )


def status(grid: Grid, results: Path) -> pd.DataFrame:
    """cell, epochs done of epochs wanted, and what comes next; one row a cell."""
    rows = []
    for name, cell in grid.cells.items():
        folder = results / grid.name / "cells" / name
        if (folder / "metrics.csv").exists():
            state = "evaluated"
        elif (folder / "train.json").exists():
            state = "trained"
        elif (folder / "state" / "last.safetensors").exists():
            state = "interrupted or in training"
        else:
            state = "not started"
        log = folder / "log.csv"
        done = len(log.read_text().splitlines()) - 1 if log.exists() else 0
        rows.append({"cell": name, "epochs": f"{done}/{cell.knobs['epochs']}", "state": state})
    return pd.DataFrame(rows)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["list", "status"])
    parser.add_argument("--budget", default="embedded")
    arguments = parser.parse_args()
    try:
        grid = load_grid(arguments.budget, {name: describe(name).channels for name in names()})
    except (ConfigError, DataError) as error:
        print(f"cells: {error}", file=sys.stderr)
        return 1
    frame = listing(grid) if arguments.what == "list" else status(grid, Path("results"))
    print(frame.to_markdown(index=False, tablefmt="simple"))
    print(
        f"\nRerun one cell and the tables it feeds:\n"
        f"  snakemake --cores 8 --config budget={grid.name} "
        f"-R results/{grid.name}/cells/<cell>/model.safetensors -- all_tables"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
