"""Look at cells: `python -m workflows.cells list|status [--budget NAME]`."""

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
from workflows.planning import planned
from workflows.records import Today, states
from workflows.schema import ConfigError


def listing(grid: Grid) -> pd.DataFrame:
    """cell, and the tables that show it; one row a cell."""
    return pd.DataFrame(
        {
            "cell": list(grid.cells),
            "tables": [", ".join(grid.tables_of(name)) for name in grid.cells],
        }
    )


def status(grid: Grid, plan: Mapping[str, Any], cache: Path) -> pd.DataFrame:
    """cell, state, epoch, loss, usage, images/s and minutes left; one row a cell.

    plan: the content of plan.json.
    """
    rows = []
    found = states(plan["cells"], Today.look(cache))
    for name, cell in grid.cells.items():
        folder = Path(plan["cells"][name]["folder"])
        last: dict[str, Any] = {}
        # A cell that is being trained again still has the metrics of the time before.
        if found[name].finished:
            state = "finished"
        elif found[name].outdated:
            state = f"outdated: {found[name].outdated}"
        elif (folder / "train.json").exists():
            state = "trained"
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
    parser.add_argument("what", choices=["list", "status"])
    parser.add_argument("--budget", default="embedded")
    arguments = parser.parse_args()
    try:
        datasets = {name: describe(name) for name in names()}
        grid = load_grid(arguments.budget, datasets)
        plan = planned(arguments.budget, grid, datasets, {})
    except (ConfigError, DataError) as error:
        print(f"cells: {error}", file=sys.stderr)
        return 1
    frame = listing(grid) if arguments.what == "list" else status(grid, plan, Path(".cache"))
    print(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True))
    if arguments.what == "status":
        done = (frame["state"] == "finished").sum()
        print(f"\n{done} of {len(frame)} cells finished")
    print(
        f"\nTrain one again and renew the tables and figures it feeds:\n"
        f"  make cell BUDGET={grid.name} CELL={frame['cell'].iloc[0]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
