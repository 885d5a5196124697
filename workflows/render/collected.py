"""The collected numbers of a budget, and the questions that figures and pages ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pandas as pd

from workflows.config.plan import Plan

MISSING = "no measurements"


@dataclass(frozen=True)
class Collected:
    """A plan, its collected numbers, whose lines are Measured, Curve and Codes, and the published
    ones, whose lines are Published.

    Pictures and films are read from the folders of their cells.
    """

    plan: Plan
    measured: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame
    published: pd.DataFrame

    @cached_property
    def finished(self) -> frozenset[str]:
        """Cells that have numbers."""
        return frozenset(self.measured.loc[self.measured["status"] == "ok", "cell"])

    @cached_property
    def failed(self) -> dict[str, str]:
        """Cell -> why it has no numbers, of those that were tried."""
        bad = self.measured[self.measured["status"] != "ok"]
        states = zip(bad["cell"], bad["status"], bad["note"], strict=True)
        return {cell: f"{status.replace('_', ' ')}: {note}" for cell, status, note in states}

    @cached_property
    def diverged(self) -> frozenset[str]:
        """Cells that have no numbers because their training or evaluation diverged."""
        return frozenset(self.measured.loc[self.measured["status"] == "diverged", "cell"])

    def numbers(self, table: str | None = None, stage: int = 1) -> pd.DataFrame:
        """The measured lines of a table of autoencoders, or of all tables of a stage.

        Those of a table are by the protocol of the published numbers, if it was measured by that.
        """
        of_stage = [name for name, about in self.plan.tables.items() if about.stage == stage]
        shown = self.measured["table"].isin([table] if table else of_stage)
        ours = self.measured[shown & (self.measured["status"] == "ok")]
        if stage == 2:
            return ours
        beside = set(ours.loc[ours["protocol"] == "as_published", "table"])
        wanted = ours["table"].isin(beside).map({True: "as_published", False: "exact"})
        return ours[ours["protocol"] == wanted]

    def reason(self, table: str, dataset: str) -> str:
        """Why a table's dataset has nothing to draw."""
        reasons = filter(None, map(self.why, self.plan.cells_of(table, dataset)))
        return ": ".join([MISSING, *islice(reasons, 1)])

    def why(self, cell: str) -> str:
        """Why a cell that was tried has no numbers, as short as a figure needs; else empty."""
        said = self.failed.get(cell, "")
        return "the runs are outdated" if said.startswith("outdated") else said

    def first_files(self, table: str, dataset: str, name: str) -> dict[str, Path | str]:
        """Row -> the file of that name of its first seed's run, or in words why there is none."""
        rows = self.plan.rows_of(table, dataset)
        return {
            row: self.why(cells[0]) or self.file(cells[0], name) or "not measured"
            for row, cells in rows.items()
        }

    def file(self, cell: str, name: str) -> Path | None:
        """A picture or film in a cell's folder; None if there is none that today's records name.

        A training that diverged leaves pictures, too.
        """
        path = Path(self.plan.cells[cell].folder, name)
        return path if cell in self.finished | self.diverged and path.is_file() else None
