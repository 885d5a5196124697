"""What the figures are drawn from, and what the figures ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.render.plan import Plan

MISSING = "no measurements"


@dataclass(frozen=True)
class Runs:
    """A row's cells, one a seed: those that finished, and why the others did not.

    Of a grid that is rendered before all of it has run, `finished` also holds cells that have
    neither a number nor a failure yet; `Collected.rows_measured` tells them apart.
    """

    row: str
    finished: list[str]
    failed: dict[str, str]

    @property
    def cells(self) -> list[str]:
        """All that finished, or else all."""
        return self.finished or list(self.failed)

    @property
    def label(self) -> str:
        """The row, marked if nothing came of it."""
        return self.row if self.finished else f"× {self.row}"


@dataclass(frozen=True)
class Collected:
    """A plan, its collected CSVs, and the folder of reconstructions."""

    plan: Plan
    measured: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame
    pictures: Path

    def knobs(self, cell: str) -> Mapping[str, Any]:
        """The settings of a cell."""
        return self.plan.knobs(cell)

    def datasets(self, table: str) -> list[str]:
        """The datasets of a table, in the order of its rows."""
        return self.plan.datasets_of(table)

    def runs(self, table: str, dataset: str) -> list[Runs]:
        """A table's rows, with their cells."""
        bad = self.failed(table, dataset)
        return [
            Runs(
                row,
                [cell for cell in cells if cell not in bad],
                {cell: bad[cell] for cell in cells if cell in bad},
            )
            for row, cells in self.plan.rows_of(table, dataset).items()
        ]

    def rows_measured(self, table: str, dataset: str) -> list[str]:
        """A table's rows of which there is a number on a dataset."""
        lines = self.measured
        here = (lines["table"] == table) & (lines["dataset"] == dataset)
        return list(dict.fromkeys(lines.loc[here & (lines["status"] == "ok"), "row"]))

    def failed(self, table: str, dataset: str) -> dict[str, str]:
        """Cell -> why it has no number, of those that have none."""
        here = (self.measured["table"] == table) & (self.measured["dataset"] == dataset)
        bad = self.measured[here & (self.measured["status"] != "ok")]
        states = zip(bad["cell"], bad["status"], bad["note"], strict=True)
        return {cell: f"{status.replace('_', ' ')}: {note}" for cell, status, note in states}

    def reason(self, table: str, dataset: str) -> str:
        """Why a table's dataset has nothing to draw."""
        reasons = list(self.failed(table, dataset).values())
        return f"{MISSING}: {reasons[0]}" if reasons else MISSING

    def picture(self, cell: str, kind: str = "") -> Path | None:
        """The file of a cell's reconstructions, or of its samples; None if there is none.

        kind: "neighbours" for samples above the training images nearest to them.
        """
        ending = f"__{kind}" if kind else ""
        path = self.pictures / f"{cell.replace('/', '__')}{ending}.png"
        return path if path.is_file() else None

    def film(self, cell: str) -> Path | None:
        """The film of a cell's training in the cell's folder, if there is one."""
        path = Path(self.plan.cells[cell]["folder"]) / "film.safetensors"
        return path if path.is_file() else None
