"""The results that the site shows, and the questions that its pages ask about them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from workflows.config.names import RUN_METRICS
from workflows.render.blocks import Block, blocks
from workflows.render.collected import Collected
from workflows.render.site import links

# The values of a template.
Values = dict[str, Any]
NO_ENTRY: Values = {"text": "", "half": "", "comparable": "", "link": ""}


class Gallery(Collected):
    """The collected numbers of a budget, and what only the site asks about them."""

    @cached_property
    def blocks(self) -> dict[str, list[Block]]:
        """Table -> its blocks."""
        numbers = self.measured, self.published
        return {table: blocks(self.plan, *numbers, table) for table in self.plan.tables}

    def block(self, table: str, dataset: str) -> Block | None:
        """Return a dataset's first block in a table (the block with published numbers), or None.

        A table that the budget leaves out has blocks of the paper's datasets alone.
        """
        names = (dataset, self.plan.published_dataset(dataset, table))
        return next((block for block in self.blocks[table] if block.dataset in names), None)

    def block_link(self, table: str, dataset: str) -> str:
        """Return the link to a dataset's first block, or to the table if there is no block."""
        block = self.block(table, dataset)
        return links.table(table, block.place if block else "")

    def entry(self, block: Block | None, metric: str, row: str) -> Values:
        """Return a row's entry in a block with a link to a run behind the number, or NO_ENTRY."""
        entry = block.entries.get(metric, {}).get(row) if block else None
        if block is None or entry is None:
            return NO_ENTRY
        cells = self.runs(block.table, block.dataset, row) if entry["text"] else []
        # The page of a cell has no line for the metrics of the training itself.
        place = "" if metric in RUN_METRICS else f"{block.protocol}-{metric}"
        return entry | {"link": links.cell(cells[0], place) if cells else ""}

    @cached_property
    def _values(self) -> dict[tuple[Any, ...], dict[Any, Any]]:
        values = {}
        for lines in (self.measured, self.in_no_table):
            # A cell has the same numbers in every table that shows the cell.
            once = lines[lines["status"] == "ok"].drop_duplicates(["cell", "protocol", "metric"])
            for key, numbers in once.set_index("metric").groupby(["cell", "protocol"]):
                values[key] = numbers[["value", "images", "features"]].to_dict("index")
        return values

    def values(self, cell: str, protocol: str) -> Mapping[str, Values]:
        """Return metric -> `value`, `images`, `features` of a run; empty if not measured."""
        return self._values.get((cell, protocol), {})

    @cached_property
    def with_curves(self) -> frozenset[str]:
        """The cells that have records of their training."""
        return frozenset(self.curves["cell"])

    @cached_property
    def with_codes(self) -> frozenset[str]:
        """The cells whose codes were counted over the test split."""
        return frozenset(self.codes["cell"])

    def state(self, cell: str) -> str:
        """Return `measured`, `diverged`, `dataset missing`, `outdated` or `not measured`."""
        if cell in self.finished:
            return "measured"
        return self.failed.get(cell, "not measured").partition(":")[0]

    def runs(self, table: str, dataset: str, row: str) -> list[str]:
        """Return the cells of a table's row that have numbers, one for each seed."""
        cells = self.plan.rows_of(table, dataset).get(row, [])
        return [cell for cell in cells if cell in self.finished]

    def other_seeds(self, cell: str) -> list[str]:
        """Return the cells with the same settings and other seeds."""
        folder = cell.rpartition("/")[0] + "/"
        return [name for name in self.plan.cells if name.startswith(folder) and name != cell]

    def shown_in(self, cell: str) -> list[tuple[str, str]]:
        """Return the (table, row) pairs that show a cell."""
        return [(line.table, line.row) for line in self.plan.rows if line.cell == cell]
