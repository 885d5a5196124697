"""The collected numbers of a budget, and the questions that figures and pages ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from workflows.config.plan import Plan
from workflows.config.records import TrainRecord, find
from workflows.records import PUBLISHED
from workflows.records.published import read_others
from workflows.records.verdicts import verdicts

MISSING = "no measurements"


@dataclass(frozen=True)
class Collected:
    """A plan with its measured and published numbers.

    The lines of `measured`, `curves`, `codes` and `published` are those of Measured, Curve, Codes
    and Published in config/lines.py. in_no_table: lines of first stages that no table shows, as
    those of `measured`, without table and row. Records, pictures and films are read from the
    folders of cells.
    """

    plan: Plan
    measured: pd.DataFrame
    in_no_table: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame
    published: pd.DataFrame

    @cached_property
    def tried(self) -> dict[str, tuple[str, str]]:
        """Cell -> its `status` and `note` in measured lines."""
        columns = ["cell", "status", "note"]
        return {
            cell: (status, note)
            for lines in (self.measured, self.in_no_table)
            for cell, status, note in lines[columns].itertuples(index=False)
        }

    @cached_property
    def finished(self) -> frozenset[str]:
        """The cells that have numbers."""
        return frozenset(cell for cell, (status, _) in self.tried.items() if status == "ok")

    @cached_property
    def failed(self) -> dict[str, str]:
        """Cell -> why the cell has no numbers, for each cell that was tried."""
        return {
            cell: f"{status.replace('_', ' ')}: {note}"
            for cell, (status, note) in self.tried.items()
            if status != "ok"
        }

    @cached_property
    def diverged(self) -> frozenset[str]:
        """The cells that have no numbers because their training or evaluation diverged."""
        return frozenset(cell for cell, (status, _) in self.tried.items() if status == "diverged")

    @cached_property
    def records(self) -> dict[str, TrainRecord]:
        """Cell -> its train.json, for each cell that was tried and has that file."""
        files = {cell: Path(self.plan.cells[cell].folder, "train.json") for cell in self.tried}
        return {cell: record for cell, file in files.items() if (record := find(file, TrainRecord))}

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """The verdicts on all claims, as records.verdicts returns them."""
        return verdicts(self.plan, self.measured, self.published)

    @cached_property
    def reported(self) -> pd.DataFrame:
        """What other publications report, as lines of Published."""
        return read_others(PUBLISHED)

    def numbers(self, table: str | None = None, stage: int = 1) -> pd.DataFrame:
        """Return the measured lines of one table, or of all tables of a stage.

        Each table gives the lines of its main protocol.
        """
        tables = [name for name, planned in self.plan.tables.items() if planned.stage == stage]
        shown = self.measured["table"].isin([table] if table else tables)
        lines = self.measured[shown & (self.measured["status"] == "ok")]
        return lines[lines["protocol"] == lines["table"].map(self.plan.main_protocol)]

    def reason(self, table: str, dataset: str) -> str:
        """Return why a table has nothing to draw for a dataset."""
        reasons = map(self.why, self.plan.cells_of(table, dataset))
        reason = next(filter(None, reasons), "")
        return f"{MISSING}: {reason}" if reason else MISSING

    def why(self, cell: str) -> str:
        """Return in a few words why a cell has no numbers; empty if the cell was not tried."""
        reason = self.failed.get(cell, "")
        return "the runs are outdated" if reason.startswith("outdated") else reason

    def first_files(self, table: str, dataset: str, name: str) -> dict[str, Path | str]:
        """Return row -> the file `name` of the first seed's run, or words on why it is missing."""
        rows = self.plan.rows_of(table, dataset)
        return {
            row: self.why(cells[0]) or self.file(cells[0], name) or "not measured"
            for row, cells in rows.items()
        }

    def file(self, cell: str, name: str) -> Path | None:
        """Return a picture or film in a cell's folder, or None if today's run did not leave it.

        A training that diverged leaves pictures, too.
        """
        path = Path(self.plan.cells[cell].folder, name)
        return path if cell in self.finished | self.diverged and path.is_file() else None
