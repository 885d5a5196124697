"""What the figures are drawn from, and what the figures ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Collected:
    """A plan, its collected CSVs, and the folder of reconstructions."""

    plan: Mapping[str, Any]
    measured: pd.DataFrame
    curves: pd.DataFrame
    codes: pd.DataFrame
    pictures: Path

    def knobs(self, cell: str) -> Mapping[str, Any]:
        """The settings of a cell."""
        return self.plan["cells"][cell]["knobs"]

    def datasets(self, table: str) -> list[str]:
        """The datasets of a table, in the order of its rows."""
        cells = [row["cell"] for row in self.plan["rows"] if row["table"] == table]
        return list(dict.fromkeys(self.knobs(cell)["dataset"] for cell in cells))

    def cells(self, table: str, dataset: str) -> list[tuple[str, str]]:
        """The row and the first seed's cell of every row."""
        found: dict[str, str] = {}
        for row in self.plan["rows"]:
            if row["table"] == table and self.knobs(row["cell"])["dataset"] == dataset:
                found.setdefault(row["row"], row["cell"])
        return list(found.items())

    def failed(self, table: str, dataset: str) -> pd.DataFrame:
        """The lines of a table and a dataset that say why there is no number."""
        here = (self.measured["table"] == table) & (self.measured["dataset"] == dataset)
        return self.measured[here & (self.measured["status"] != "ok")]

    def reason(self, table: str, dataset: str) -> str:
        """Why a table's dataset has nothing to draw."""
        notes = list(self.failed(table, dataset)["note"])
        return f"no measurements: {notes[0]}" if notes else "no measurements"
