"""What the figures are drawn from, and what the figures ask of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config.plan import Plan

MISSING = "no measurements"


@dataclass(frozen=True)
class Runs:
    """A row's cells, one a seed: those that finished, and why the others did not.

    `finished` also holds cells that have not run yet, which have neither a number nor a failure;
    `Collected.rows_measured` tells them apart.
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
    """A plan and its collected numbers, whose lines are Measured, Curve and Codes.

    Pictures and films are read from the folders of their cells.
    """

    plan: Plan
    measured: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame

    def knobs(self, cell: str) -> Any:
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

    def first_files(
        self, table: str, dataset: str, find: Callable[[str], Path | None]
    ) -> dict[str, Path | str]:
        """Row -> the file of its first seed's run, or in words why there is none.

        find: `picture` or `film`.
        """
        bad = self.failed(table, dataset)
        rows = self.plan.rows_of(table, dataset)
        return {
            row: bad.get(cells[0]) or find(cells[0]) or "not measured"
            for row, cells in rows.items()
        }

    @cached_property
    def _trained(self) -> frozenset[str]:
        """Cells whose records are today's, whether the training finished or diverged."""
        fits = self.measured["status"].isin(["ok", "diverged"])
        return frozenset(self.measured.loc[fits, "cell"])

    def picture(self, cell: str, kind: str = "") -> Path | None:
        """The file of a cell's reconstructions, or of its samples; None if there is none.

        kind: "neighbours" for samples above the training images nearest to them.
        """
        name = kind or ("samples" if self.plan.cells[cell].stage == 2 else "reconstructions")
        path = Path(self.plan.cells[cell].folder, f"{name}.png")
        return path if cell in self._trained and path.is_file() else None

    def film(self, cell: str) -> Path | None:
        """The film of a cell's training in the cell's folder, if there is one."""
        path = Path(self.plan.cells[cell].folder, "film.safetensors")
        return path if path.is_file() else None
