"""What the site is made of, and the questions that its pages ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from workflows.config.plan import Plan
from workflows.config.records import TrainRecord
from workflows.render.blocks import Block, blocks
from workflows.render.collected import Collected


@dataclass(frozen=True)
class Gallery:
    """data: the collected CSVs and pictures. published, verdicts: lines
    that are Published and VerdictLine.

    records: cell -> its train.json, for cells that have one.
    """

    data: Collected
    published: pd.DataFrame
    verdicts: pd.DataFrame
    records: Mapping[str, TrainRecord]

    @property
    def plan(self) -> Plan:
        """What the budget's tables show."""
        return self.data.plan

    @cached_property
    def sheets(self) -> dict[str, list[Block]]:
        """Table -> its blocks."""
        measured = self.data.measured
        return {
            name: blocks(self.plan, measured, self.published, name) for name in self.plan.tables
        }

    def block(self, table: str, dataset: str) -> Block:
        """The block beside which published numbers stand: in their protocol, if it was measured.

        Of a table that the budget leaves out it is that of the paper's dataset.
        """
        wanted = (dataset, self.plan.published_dataset(dataset, table))
        return [block for block in self.sheets[table] if block.dataset in wanted][-1]

    @cached_property
    def _values(self) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
        measured = self.data.measured
        found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        for line in measured[measured["status"] == "ok"].to_dict("records"):
            number = {key: line[key] for key in ("value", "images", "features")}
            found.setdefault((line["cell"], line["protocol"]), {})[line["metric"]] = number
        return found

    def numbers(self, cell: str, protocol: str) -> Mapping[str, Mapping[str, Any]]:
        """Metric -> `value`, `images`, `features` of a run; nothing if it was not measured."""
        return self._values.get((cell, protocol), {})

    @cached_property
    def beside(self) -> str:
        """The protocol to speak of first: the published one, if it was measured."""
        protocols = {protocol for _, protocol in self._values}
        return "as_published" if "as_published" in protocols else "exact"

    @cached_property
    def finished(self) -> frozenset[str]:
        """Cells that have numbers."""
        return frozenset(cell for cell, _ in self._values)

    @cached_property
    def logged(self) -> frozenset[str]:
        """Cells with records of their training."""
        return frozenset(self.data.curves["cell"])

    @cached_property
    def counted(self) -> frozenset[str]:
        """Cells whose codes were counted over the test split."""
        return frozenset(self.data.codes["cell"])

    def state(self, cell: str) -> str:
        """`measured`, `diverged`, `dataset missing` or `not measured`."""
        if cell in self.finished:
            return "measured"
        return self.troubles.get(cell, "not measured").partition(":")[0]

    @cached_property
    def troubles(self) -> dict[str, str]:
        """Cell -> why it has no numbers, of those that were tried."""
        bad = self.data.measured[self.data.measured["status"] != "ok"]
        states = zip(bad["cell"], bad["status"], bad["note"], strict=True)
        return {cell: f"{status.replace('_', ' ')}: {note}" for cell, status, note in states}

    def runs(self, table: str, dataset: str, row: str) -> list[str]:
        """The cells of a table's row, one a seed, that have numbers."""
        cells = self.plan.rows_of(table, dataset).get(row, [])
        return [cell for cell in cells if cell in self.finished]

    @cached_property
    def _groups(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for cell in self.plan.cells:
            found.setdefault(cell.rpartition("/")[0], []).append(cell)
        return found

    def others(self, cell: str) -> list[str]:
        """The cells of the same settings and other seeds."""
        return [name for name in self.siblings(cell) if name != cell]

    def siblings(self, cell: str) -> list[str]:
        """The cells of the same settings, this one among them: one a seed."""
        return self._groups[cell.rpartition("/")[0]]

    @cached_property
    def _places(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for line in self.plan.rows:
            found.setdefault(line.cell, []).append((line.table, line.row))
        return found

    def places(self, cell: str) -> list[tuple[str, str]]:
        """The (table, row) pairs that show a cell."""
        return self._places.get(cell, [])
