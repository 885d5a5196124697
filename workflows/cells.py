"""Look at cells: `python -m workflows.cells list|status|targets [--budget NAME] [--cell ID]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.data import DataError, describe, names
from workflows.grid import Grid, load_grid
from workflows.planning import ANIMATIONS, FIGURES
from workflows.schema import ConfigError


def listing(grid: Grid) -> pd.DataFrame:
    """cell, and the tables that show it; one row a cell."""
    return pd.DataFrame(
        {
            "cell": list(grid.cells),
            "tables": [", ".join(grid.tables_of(name)) for name in grid.cells],
        }
    )


def targets(grid: Grid, cell: str) -> list[str]:
    """The files to render after a cell has run again: its tables and figures, and all numbers.

    To be asked for with `so_far`, which takes other cells as they are and trains none.

    Raises ConfigError for an unknown cell, naming the nearest ones.
    """
    tables = grid.tables_of(grid.cell(cell).id)
    files = [f"results/{grid.name}/tables/{table}.md" for table in tables]
    drawn = [name for name, figure in FIGURES.items() if figure["table"] in tables]
    files += [f"figures/{grid.name}/{name}.svg" for name in drawn]
    files += [f"figures/{grid.name}/{name}.gif" for name in ANIMATIONS if name in drawn]
    return [*files, f"results/{grid.name}/measured.csv"]


def status(grid: Grid, results: Path) -> pd.DataFrame:
    """cell, state, epoch, loss, usage, images/s and minutes left; one row a cell."""
    rows = []
    for name, cell in grid.cells.items():
        folder = results / grid.name / "cells" / name
        last: dict[str, Any] = {}
        # A cell that is being trained again still has the metrics of the time before.
        if (folder / "train.json").exists():
            status = json.loads((folder / "train.json").read_text())["status"]
            measured = (folder / "metrics.csv").exists()
            state = "evaluated" if measured else status.replace("finished", "trained")
        elif (folder / "state" / "progress.json").exists():
            state = "in training or interrupted"
            last = json.loads((folder / "state" / "progress.json").read_text())
        else:
            state = "not started"
        if (folder / "log.csv").exists():
            log = pd.read_csv(folder / "log.csv")
            last = (
                {str(k): v for k, v in log.iloc[-1].items()} | {"seconds_left": 0}
                if len(log)
                else {}
            )
        rows.append({"cell": name, "state": state, **_shown(last, cell.knobs["epochs"])})
    return pd.DataFrame(rows)


def _shown(last: Mapping[str, Any], epochs: int) -> dict[str, str]:
    if not last:
        return {"epoch": f"0/{epochs}", "loss": "", "usage": "", "images/s": "", "minutes left": ""}
    return {
        "epoch": f"{last['epoch']:.3g}/{epochs}",
        "loss": f"{last['loss']:.4g}",
        # A diffusion model has no codes.
        "usage": f"{last['usage']:.1%}" if "usage" in last else "",
        "images/s": f"{last['images_per_second']:,.0f}",
        "minutes left": f"{last['seconds_left'] / 60:.1f}",
    }


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["list", "status", "targets"])
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--cell", help="with targets: the cell whose files are meant")
    arguments = parser.parse_args()
    if (arguments.what == "targets") != (arguments.cell is not None):
        parser.error("--cell goes with targets, and targets needs it")
    try:
        grid = load_grid(arguments.budget, {name: describe(name) for name in names()})
        if arguments.what == "targets":
            print(*targets(grid, arguments.cell), sep="\n")
            return 0
    except (ConfigError, DataError) as error:
        print(f"cells: {error}", file=sys.stderr)
        return 1
    frame = listing(grid) if arguments.what == "list" else status(grid, Path("results"))
    print(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True))
    if arguments.what == "status":
        done = (frame["state"] == "evaluated").sum()
        print(f"\n{done} of {len(frame)} cells evaluated")
    print(
        f"\nTrain one again and renew the tables and figures it feeds:\n"
        f"  make cell BUDGET={grid.name} CELL={frame['cell'].iloc[0]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
