"""Look at cells: `python -m workflows.records.cells list|status [--budget NAME] [--all]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config import cli
from workflows.config.grid import Grid
from workflows.config.plan import Plan, PlannedCell
from workflows.config.records import Record, find
from workflows.records.state import State, read_results

FINISHED, OUTDATED, MISSING = "finished", "outdated", "without their dataset"
RUNNING, TRAINED, WAITING = "in training or interrupted", "trained, not measured", "not started"
# Lines below a count.
SHOWN = 6
LOCKS = Path(".snakemake/locks")


class Progress(Record):
    """state/progress.json of a training that goes on, or was killed. loss: of the last record."""

    epoch: float
    epochs: int
    loss: float
    seconds_left: float


def listing(grid: Grid, plan: Plan) -> pd.DataFrame:
    """cell, and the tables and figures that it feeds; one row a cell."""
    tables = {name: grid.tables_of(name) for name in grid.cells}
    figures = {
        name: [figure for figure, about in plan.figures.items() if about.table in of]
        for name, of in tables.items()
    }
    rows = [(name, ", ".join(of), ", ".join(figures[name])) for name, of in tables.items()]
    return pd.DataFrame(rows, columns=["cell", "tables", "figures"])


def progress(plan: Plan, found: Mapping[str, State]) -> pd.DataFrame:
    """cell, its state and a note: why it is in that state, or how far it is. found: the states."""
    rows = [(name, *_progress(cell, found[name])) for name, cell in plan.cells.items()]
    return pd.DataFrame(rows, columns=["cell", "state", "note"])


def _progress(cell: PlannedCell, found: State) -> tuple[str, str]:
    if found.finished:
        return FINISHED, ""
    if found.outdated:
        return OUTDATED, found.outdated
    if cell.missing:
        return MISSING, f"{cell.knobs.dataset}: {' '.join(cell.missing.split())}"
    if Path(cell.folder, "train.json").exists():
        return TRAINED, ""
    file = Path(cell.folder, "state", "progress.json")
    now = find(file, Progress)
    if now is None:
        return WAITING, ""
    minutes = (time.time() - file.stat().st_mtime) / 60
    return RUNNING, (
        f"epoch {now.epoch:.3g}/{now.epochs}, loss {now.loss:.4g}, {now.seconds_left / 60:.1f} "
        f"minutes left, as of {minutes:.0f} minutes ago"
    )


def status(lines: pd.DataFrame) -> str:
    """How many cells are in each state, and what matters of them. lines: of `progress`."""
    parts = []
    for state in (FINISHED, OUTDATED, MISSING, RUNNING, TRAINED, WAITING):
        part = lines[lines["state"] == state]
        if part.empty:
            continue
        noted = part[part["note"] != ""]
        notes = [f"{count:4} {note}" for note, count in noted["note"].value_counts().items()]
        if state == RUNNING:
            notes = list(noted["cell"] + ": " + noted["note"])
        if len(notes) > SHOWN:
            more = f"and {len(notes) - SHOWN} more (make status ALL=1 shows every cell)"
            notes = [*notes[:SHOWN], more]
        parts += [f"{len(part):5} {state}", *(f"{'':10}{note}" for note in notes)]
    return "\n".join([*parts, "", "make cost says how long the unfinished cells take."])


def lock(folder: Path = LOCKS) -> str:
    """What to do about a lock of Snakemake's; empty if there is none."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    return (
        f"{folder} holds a lock. If no run goes on, a run that was killed left the lock; "
        "`snakemake --unlock` removes it."
    )


def main(what: str, budget: str, every: bool) -> None:
    """Print the cells of a budget. Raises ConfigError."""
    results = read_results(budget)
    table: dict[str, Any] = {"index": False, "tablefmt": "simple", "disable_numparse": True}
    if what == "list":
        print(listing(results.grid, results.plan).to_markdown(**table))
    else:
        lines = progress(results.plan, results.states)
        print(f"Budget {results.plan.title}\n")
        if every:
            print(lines.to_markdown(**table), end="\n\n")
        print(status(lines))
        if said := lock():
            print(f"\n{said}")
    print(
        "\nTrain a cell again and renew the tables and figures it feeds:\n"
        f"  make cell BUDGET={budget} CELL={next(iter(results.grid.cells))}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cells", description=__doc__)
    parser.add_argument("what", choices=["list", "status"])
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--all", dest="every", action="store_true", help="show every cell's state")
    cli.run(parser, main)
