"""Look at cells: `python -m workflows.records.cells list|status [--budget NAME] [--all]`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from workflows import cli
from workflows.config.datasets import read_datasets
from workflows.config.grid import Grid, load_grid
from workflows.config.plan import Plan, PlannedCell, find_plan
from workflows.config.planning import make_plan
from workflows.config.records import Record, TrainRecord, find
from workflows.records.state import State, Today, states

FINISHED, OUTDATED, MISSING = "finished", "outdated", "without their dataset"
RUNNING, TRAINED, WAITING = "in training or interrupted", "trained, not measured", "not started"
# Lines below a count.
SHOWN = 6


class Progress(Record):
    """state/progress.json of a training that goes on, or was killed. loss: of the last record."""

    epoch: float
    epochs: int
    loss: float
    seconds_left: float


class Line(NamedTuple):
    """How far a cell is. note: why, or how far. seconds: of training that are left, or None where
    nothing is known of it.
    """

    cell: str
    state: str
    note: str
    seconds: float | None


def listing(grid: Grid, plan: Plan) -> pd.DataFrame:
    """cell, and the tables and figures that it feeds; one row a cell."""
    rows = []
    for name in grid.cells:
        tables = grid.tables_of(name)
        figures = [figure for figure, about in plan.figures.items() if about.table in tables]
        rows.append((name, ", ".join(tables), ", ".join(figures)))
    return pd.DataFrame(rows, columns=["cell", "tables", "figures"])


def progress(plan: Plan, found: Mapping[str, State]) -> list[Line]:
    """A line for every cell. found: the states of the plan's cells."""
    paces = _paces(plan)
    return [_line(name, cell, found[name], paces) for name, cell in plan.cells.items()]


def _line(name: str, cell: PlannedCell, found: State, paces: Mapping[Any, float]) -> Line:
    if found.finished:
        return Line(name, FINISHED, "", 0.0)
    pace = paces.get(_kind(cell))
    whole = None if pace is None else pace * cell.knobs.epochs * cell.images
    # Nothing is trained without its dataset.
    seconds = whole if found.untrained and not cell.missing else 0.0
    if found.outdated:
        return Line(name, OUTDATED, found.outdated, seconds)
    if cell.missing:
        return Line(name, MISSING, f"{cell.knobs.dataset}: {' '.join(cell.missing.split())}", 0.0)
    if Path(cell.folder, "train.json").exists():
        return Line(name, TRAINED, "", seconds)
    file = Path(cell.folder, "state", "progress.json")
    now = find(file, Progress)
    if now is None:
        return Line(name, WAITING, "", seconds)
    ago = (time.time() - file.stat().st_mtime) / 60
    note = (
        f"epoch {now.epoch:.3g}/{now.epochs}, loss {now.loss:.4g}, {now.seconds_left / 60:.1f} "
        f"minutes left, as of {ago:.0f} minutes ago"
    )
    return Line(name, RUNNING, note, now.seconds_left)


def _kind(cell: PlannedCell) -> tuple[str, ...]:
    """Cells of one kind take about as long for an image."""
    return cell.knobs.dataset, cell.knobs.method, getattr(cell.knobs, "network", "")


def _paces(plan: Plan) -> dict[Any, float]:
    """Kind of cell -> seconds that a training takes for an image, the mean of the records."""
    taken: dict[Any, list[float]] = {}
    for cell in plan.cells.values():
        record = find(Path(cell.folder, "train.json"), TrainRecord)
        if record and record.epochs and record.images:
            pace = record.seconds / (record.epochs * record.images)
            taken.setdefault(_kind(cell), []).append(pace)
    return {kind: sum(paces) / len(paces) for kind, paces in taken.items()}


def status(lines: list[Line]) -> str:
    """How many cells are in each state, what matters of them, and what time is left."""
    parts = []
    for state in (FINISHED, OUTDATED, MISSING, RUNNING, TRAINED, WAITING):
        there = [line for line in lines if line.state == state]
        if not there:
            continue
        parts.append(f"{len(there):5} {state}")
        notes: Iterator[str] = (f"{line.cell}: {line.note}" for line in there)
        if state in (OUTDATED, MISSING):
            counted = Counter(line.note for line in there).most_common()
            notes = (f"{count:4} {note}" for note, count in counted)
        few = list(notes) if there[0].note else []
        parts += [f"{'':10}{note}" for note in few[:SHOWN]]
        if len(few) > SHOWN:
            parts.append(f"{'':10}and {len(few) - SHOWN} more (make status ALL=1 shows every cell)")
    return "\n".join([*parts, "", _left(lines)])


def _left(lines: list[Line]) -> str:
    """The time that is left, in a sentence."""
    hours = sum(line.seconds or 0.0 for line in lines) / 3600
    unknown = sum(line.seconds is None for line in lines)
    said = f"{hours:,.1f} hours of training are left, one after the other, at the records' pace"
    if not unknown:
        return said
    return f"{said}; how long {unknown} of the cells take, no record says (see make cost)"


def lock(folder: Path = Path(".snakemake/locks")) -> str:
    """What to do about a lock of Snakemake's; empty if there is none."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    return (
        f"{folder} holds a lock. If no run goes on, a run that was killed left the lock; "
        "`snakemake --unlock` removes it."
    )


def main(what: str, budget: str, every: bool) -> None:
    """Print the cells of a budget. Raises ConfigError."""
    datasets = read_datasets()
    grid = load_grid(budget, datasets)
    before = find_plan(Path("results", budget, "plan.json"))
    plan = make_plan(grid, datasets, before.missing if before else {})
    table: dict[str, Any] = {"index": False, "tablefmt": "simple", "disable_numparse": True}
    if what == "list":
        print(listing(grid, plan).to_markdown(**table))
    else:
        lines = progress(plan, states(plan, Today.look(Path(".cache"))))
        print(f"Budget {plan.title}\n")
        if every:
            frame = pd.DataFrame(lines, columns=Line._fields)
            print(frame.drop(columns="seconds").to_markdown(**table), end="\n\n")
        print(status(lines))
        if said := lock():
            print(f"\n{said}")
    print(
        "\nTrain a cell again and renew the tables and figures it feeds:\n"
        f"  make cell BUDGET={budget} CELL={next(iter(grid.cells))}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cells", description=__doc__)
    parser.add_argument("what", choices=["list", "status"])
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--all", dest="every", action="store_true", help="show every cell's state")
    cli.run(parser, main)
