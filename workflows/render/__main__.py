"""Draw what there is, from records alone: `python -m workflows.render --budget lite`.

Tables, figures, verdicts and pages of the cells that are finished, also while a run goes on; the
rest is printed as not measured, and records of other settings or versions as outdated. Nothing is
trained and no image is read. The workflow's rules call the same steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflows.collecting import collect, of_table
from workflows.data import DataError, describe, names
from workflows.files import write_json
from workflows.grid import Grid, load_grid
from workflows.naming import known
from workflows.planning import planned
from workflows.reading import read_csv, read_plan
from workflows.records import State, Today, states
from workflows.render.plan import Plan
from workflows.schema import ConfigError
from workflows.steps import animation, figures, site, tables, verdicts

PUBLISHED = Path("results/published")


@dataclass(frozen=True)
class Budget:
    """What a budget's tables show: its grid, the content of plan.json and the cells' states."""

    grid: Grid
    plan: dict[str, Any]
    found: Mapping[str, State]

    @property
    def results(self) -> Path:
        """The folder of its records and tables."""
        return Path("results") / self.grid.name

    @property
    def figures(self) -> Path:
        """The folder of its figures."""
        return Path("figures") / self.grid.name


def read(budget: str, cache: Path = Path(".cache")) -> Budget:
    """A budget as its records are now. Raises ConfigError and DataError."""
    datasets = {name: describe(name) for name in names()}
    grid = load_grid(budget, datasets)
    plan = planned(budget, grid, datasets, _missing(Path("results", budget, "plan.json")))
    return Budget(grid, plan, states(plan["cells"], Today.look(cache)))


def _missing(plan: Path) -> dict[str, str]:
    """Dataset -> what to do about it, of those that the last run could not have."""
    if not plan.exists():
        return {}
    cells = read_plan(plan)["cells"].values()
    return {cell["knobs"]["dataset"]: cell["missing"] for cell in cells if cell["missing"]}


def draw(budget: Budget, only: Collection[str] | None = None) -> None:
    """Write tables, their figures, and of the whole budget numbers, verdicts and pages.

    only: these tables, without pages. Raises ConfigError and OSError.
    """
    wanted = [name for name in budget.grid.tables if only is None or name in only]
    write_json(budget.results / "plan.json", budget.plan)
    plan = Plan.of(budget.plan)
    published = tables.read_published(PUBLISHED, plan)
    collect(budget.plan, budget.found, budget.results)
    for table in wanted:
        folder = budget.results / "collected" / table
        collect(of_table(budget.plan, table), budget.found, folder)
        measured = read_csv(folder / "measured.csv", "measured")
        tables.run(plan, measured, published, table, budget.results / "tables")
        _draw_figures(budget, table, folder)
    measured = read_csv(budget.results / "measured.csv", "measured")
    verdicts.run(plan, measured, published, budget.results)
    if only is None:
        pages = budget.results / "site"
        site.run(budget.results, PUBLISHED, budget.figures, pages)
        print(f"Open {pages / 'index.html'}")


def _draw_figures(budget: Budget, table: str, collected: Path) -> None:
    of = {name: about for name, about in budget.plan["figures"].items() if about["table"] == table}
    if not of:
        return
    data = figures.read(budget.results / "plan.json", collected)
    for name, about in of.items():
        figures.run(data, name, budget.figures)
        if about["more"]:
            animation.run(data, budget.figures / f"{name}.gif")


def summary(found: Mapping[str, State]) -> str:
    """How many cells there are of each kind, and the first that are outdated, with the reason."""
    finished = sum(one.finished for one in found.values())
    outdated = {name: one.outdated for name, one in found.items() if one.outdated}
    lines = [f"{finished} of {len(found)} cells are finished, {len(outdated)} outdated"]
    lines += [f"  outdated: {name}: {why}" for name, why in list(outdated.items())[:5]]
    return "\n".join(lines)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="embedded")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--table", help="only this table and its figures")
    which.add_argument("--cell", help="only the tables and figures that show this cell")
    arguments = parser.parse_args()
    try:
        budget = read(arguments.budget)
        only = None
        if arguments.table:
            only = [known(arguments.table, budget.grid.tables, "no table")]
        if arguments.cell:
            only = budget.grid.tables_of(budget.grid.cell(arguments.cell).id)
        print(summary(budget.found))
        draw(budget, only)
    except (ConfigError, DataError, OSError) as error:
        print(f"render: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
