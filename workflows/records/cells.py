"""Print cells: `python -m workflows.records.cells list|status [--budget NAME] [--all]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from workflows.config import cli
from workflows.config.plan import Plan, PlannedCell
from workflows.config.records import find
from workflows.records.state import State, read_results

FINISHED, OUTDATED, MISSING = "finished", "outdated", "without their dataset"
RUNNING, TRAINED, WAITING = "in training or interrupted", "trained, not measured", "not started"
# How many notes are printed below each count of cells.
SHOWN = 6
LOCKS = Path(".snakemake/locks")


class Progress(BaseModel):
    """state/progress.json of a training that is running or was killed. loss: the last one."""

    model_config = ConfigDict(extra="ignore")

    epoch: float
    epochs: int
    loss: float
    seconds_left: float


def listing(plan: Plan) -> pd.DataFrame:
    """Return a row for each cell: `cell`, and the `tables` and `figures` that the cell feeds."""
    rows = []
    for name in plan.cells:
        tables = plan.tables_of(name)
        figures = [figure for figure, drawn in plan.figures.items() if drawn.table in tables]
        rows.append((name, ", ".join(tables), ", ".join(figures)))
    return pd.DataFrame(rows, columns=["cell", "tables", "figures"])


def progress(plan: Plan, states: Mapping[str, State]) -> pd.DataFrame:
    """Return a row for each cell: `cell`, `state` and `note`, the reason for the state or how far
    the training is.
    """
    rows = [(name, *_state_and_note(cell, states[name])) for name, cell in plan.cells.items()]
    return pd.DataFrame(rows, columns=["cell", "state", "note"])


def _state_and_note(cell: PlannedCell, state: State) -> tuple[str, str]:
    if state.finished:
        return FINISHED, ""
    if state.outdated:
        return OUTDATED, state.outdated
    if cell.missing:
        return MISSING, f"{cell.dataset}: {' '.join(cell.missing.split())}"
    if Path(cell.folder, "train.json").exists():
        return TRAINED, ""
    file = Path(cell.folder, "state", "progress.json")
    training = find(file, Progress)
    if training is None:
        return WAITING, ""
    minutes_ago = (time.time() - file.stat().st_mtime) / 60
    return RUNNING, (
        f"epoch {training.epoch:.3g}/{training.epochs}, loss {training.loss:.4g}, "
        f"{training.seconds_left / 60:.1f} minutes left, as of {minutes_ago:.0f} minutes ago"
    )


def status(cells: pd.DataFrame) -> str:
    """Return how many cells are in each state, with the most frequent notes.

    cells: what `progress` returns.
    """
    lines = []
    for state in (FINISHED, OUTDATED, MISSING, RUNNING, TRAINED, WAITING):
        in_state = cells[cells["state"] == state]
        if in_state.empty:
            continue
        noted = in_state[in_state["note"] != ""]
        notes = [f"{count:4} {note}" for note, count in noted["note"].value_counts().items()]
        if state == RUNNING:
            notes = list(noted["cell"] + ": " + noted["note"])
        if len(notes) > SHOWN:
            more = f"and {len(notes) - SHOWN} more (make status ALL=1 shows every cell)"
            notes = [*notes[:SHOWN], more]
        lines += [f"{len(in_state):5} {state}", *(f"{'':10}{note}" for note in notes)]
    return "\n".join([*lines, "", "make cost says how long the unfinished cells take."])


def lock(folder: Path = LOCKS) -> str:
    """Return what to do about a lock that Snakemake left; empty if there is no lock."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    return (
        f"{folder} holds a lock. If no run goes on, a run that was killed left the lock; "
        "`snakemake --unlock` removes it."
    )


def main(what: str, budget: str, every: bool) -> None:
    """Print the cells of a budget, or their states. Raises ConfigError."""
    results = read_results(budget)
    table: dict[str, Any] = {"index": False, "tablefmt": "simple", "disable_numparse": True}
    if what == "list":
        print(listing(results.plan).to_markdown(**table))
    else:
        cells = progress(results.plan, results.states)
        print(f"Budget {results.plan.title}\n")
        if every:
            print(cells.to_markdown(**table), end="\n\n")
        print(status(cells))
        if advice := lock():
            print(f"\n{advice}")
    print(
        "\nTrain a cell again and renew the tables and figures it feeds:\n"
        f"  make cell BUDGET={budget} CELL={next(iter(results.plan.cells))}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cells", description=__doc__)
    parser.add_argument("what", choices=["list", "status"])
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--all", dest="every", action="store_true", help="show every cell's state")
    cli.run(parser, main)
