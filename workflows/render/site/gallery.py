"""What the site is made of, and the questions that its pages ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from workflows.config.names import RUN_METRICS
from workflows.config.records import TrainRecord
from workflows.render.blocks import Block, blocks
from workflows.render.collected import Collected
from workflows.render.figures import OF_ALL
from workflows.render.site import links

Shown = dict[str, Any]
NO_NUMBER: Shown = {"text": "", "half": "", "beside": "", "link": ""}


@dataclass(frozen=True)
class Gallery(Collected):
    """The collected numbers of a budget with what else the site shows.

    verdicts: as workflows.records.verdicts gives them. records: cell -> its train.json, for cells
    that have one. reported: lines of Published that others report.
    """

    verdicts: pd.DataFrame
    records: Mapping[str, TrainRecord]
    reported: pd.DataFrame

    @cached_property
    def sheets(self) -> dict[str, list[Block]]:
        """Table -> its blocks."""
        numbers = self.measured, self.published
        return {name: blocks(self.plan, *numbers, name) for name in self.plan.tables}

    @cached_property
    def figures(self) -> dict[str, Shown]:
        """Every figure's title, caption, table if it is of one, and files beside the usual."""
        of_tables = {name: one.model_dump() for name, one in self.plan.figures.items()}
        return of_tables | {
            name: {**said, "table": None, "more": []} for name, (_, said) in OF_ALL.items()
        }

    def block(self, table: str, dataset: str) -> Block | None:
        """The block of a dataset with the published numbers, which is the first of its protocols.

        A table that the budget leaves out has blocks of the paper's datasets alone.
        """
        wanted = (dataset, self.plan.published_dataset(dataset, table))
        found = [block for block in self.sheets[table] if block.dataset in wanted]
        return found[0] if found else None

    def number(self, block: Block | None, metric: str, row: str) -> Shown:
        """A row's entry in a block with the link to a run behind it; nothing if there is none."""
        entry = block.entries.get(metric, {}).get(row) if block else None
        if block is None or entry is None:
            return NO_NUMBER
        cells = self.runs(block.table, block.dataset, row) if entry["text"] else []
        # The page of a cell has no line for what the run itself takes.
        anchor = "" if metric in RUN_METRICS else links.anchor(block.protocol, metric)
        return entry | {"link": links.cell(cells[0], anchor) if cells else ""}

    def place(self, table: str, dataset: str) -> str:
        """The link to that block, or else to the table."""
        block = self.block(table, dataset)
        return links.table(table, links.anchor(block.dataset, block.protocol) if block else "")

    @cached_property
    def _values(self) -> dict[tuple[Any, ...], dict[Any, Any]]:
        good = self.measured[self.measured["status"] == "ok"]
        once = good.drop_duplicates(["cell", "protocol", "metric"])
        return {
            key: lines.set_index("metric")[["value", "images", "features"]].to_dict("index")
            for key, lines in once.groupby(["cell", "protocol"])
        }

    def values(self, cell: str, protocol: str) -> Mapping[str, Shown]:
        """Metric -> `value`, `images`, `features` of a run; nothing if it was not measured."""
        return self._values.get((cell, protocol), {})

    @cached_property
    def beside(self) -> str:
        """The protocol to speak of first: the published one, if it was measured."""
        protocols = {protocol for _, protocol in self._values}
        return "as_published" if "as_published" in protocols else "exact"

    @cached_property
    def logged(self) -> frozenset[str]:
        """Cells with records of their training."""
        return frozenset(self.curves["cell"])

    @cached_property
    def counted(self) -> frozenset[str]:
        """Cells whose codes were counted over the test split."""
        return frozenset(self.codes["cell"])

    def state(self, cell: str) -> str:
        """`measured`, `diverged`, `dataset missing`, `outdated` or `not measured`, or for a first
        stage that is there for others alone `in no table`.
        """
        if cell in self.finished:
            return "measured"
        state = "not measured" if self.places(cell) else "in no table"
        return self.failed.get(cell, state).partition(":")[0]

    def runs(self, table: str, dataset: str, row: str) -> list[str]:
        """The cells of a table's row, one a seed, that have numbers."""
        cells = self.plan.rows_of(table, dataset).get(row, [])
        return [cell for cell in cells if cell in self.finished]

    def others(self, cell: str) -> list[str]:
        """The cells of the same settings and other seeds."""
        start = cell.rpartition("/")[0] + "/"
        return [name for name in self.plan.cells if name.startswith(start) and name != cell]

    def places(self, cell: str) -> list[tuple[str, str]]:
        """The (table, row) pairs that show a cell."""
        return [(line.table, line.row) for line in self.plan.rows if line.cell == cell]
