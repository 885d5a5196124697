"""Draw a budget's tables, figures, verdicts and pages from its records, without any training.

The rules and `python -m workflows.render` call these functions. Each of them computes everything
that it is going to write before it writes the first file, so that an error leaves the older files
as they were.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workflows.config import records
from workflows.config.datasets import read_datasets
from workflows.config.grid import Grid, load_grid
from workflows.config.plan import Plan, find_plan
from workflows.config.planning import make_plan
from workflows.config.records import TrainRecord
from workflows.files import write_bytes, write_json, write_text
from workflows.records.collect import collect, of_table
from workflows.records.published import read_published
from workflows.records.state import State, Today, states
from workflows.records.verdicts import verdicts
from workflows.render.blocks import blocks
from workflows.render.collected import Collected
from workflows.render.figures import files as files_of
from workflows.render.site.gallery import Gallery
from workflows.render.site.pages import contents
from workflows.render.tables import latex, markdown, tidy
from workflows.render.verdicts import markdown as verdicts_document

PUBLISHED = Path("results/published")


@dataclass(frozen=True)
class Budget:
    """What a budget's tables show: its grid, its plan and the cells' states."""

    grid: Grid
    plan: Plan
    found: Mapping[str, State]

    @property
    def results(self) -> Path:
        """The folder of its records and tables."""
        return Path(self.plan.results)

    @property
    def figures(self) -> Path:
        """The folder of its figures."""
        return Path("figures") / self.grid.name

    def collected(self, table: str | None = None) -> Collected:
        """The numbers of a table or of the whole budget, which are also written as CSVs.

        Raises ConfigError and OSError.
        """
        folder = self.results / "collected" / table if table else self.results
        plan = of_table(self.plan, table) if table else self.plan
        published = read_published(PUBLISHED, self.plan)
        return Collected(self.plan, **collect(plan, self.found, folder), published=published)


def read(budget: str, cache: Path = Path(".cache")) -> Budget:
    """A budget as its records are now; plan.json is written if it differs.

    Raises ConfigError and OSError.
    """
    datasets = read_datasets()
    grid = load_grid(budget, datasets)
    file = Path("results", budget, "plan.json")
    written = find_plan(file)
    plan = make_plan(grid, datasets, written.missing if written else {})
    if written != plan:
        write_json(file, plan.model_dump(mode="json"))
    return Budget(grid, plan, states(plan, Today.look(cache)))


def texts(data: Collected, published: pd.DataFrame, table: str) -> dict[str, str]:
    """A table as "csv", "md" and "tex"."""
    found = blocks(data.plan, data.measured, published, table)
    return {
        "csv": tidy(found).to_csv(index=False, lineterminator="\n"),
        "md": markdown(found, data.plan),
        "tex": latex(found, data.plan),
    }


def draw_table(budget: Budget, table: str) -> None:
    """Write a table as CSV, Markdown and LaTeX, and the figures that show its runs.

    Raises ConfigError and OSError.
    """
    data = budget.collected(table)
    found = texts(data, data.published, table)
    folder = budget.results / "tables"
    files = {folder / f"{table}.{kind}": text.encode() for kind, text in found.items()}
    for name, figure in data.plan.figures.items():
        if figure.table == table:
            drawn = files_of(data, name, figure)
            files |= {budget.figures / file: content for file, content in drawn.items()}
    for path, content in files.items():
        write_bytes(path, content)


def draw_verdicts(budget: Budget) -> Gallery:
    """Write the whole budget's numbers and its verdicts. Returns what the site is made of.

    Raises ConfigError and OSError.
    """
    data = budget.collected()
    found = verdicts(data.plan, data.measured, data.published)
    document = verdicts_document(found, data.plan)
    verdicts_csv = found.to_csv(index=False, lineterminator="\n")
    write_text(budget.results / "verdicts.csv", verdicts_csv)
    write_text(budget.results / "verdicts.md", document)
    files = {
        cell: Path(data.plan.cells[cell].folder, "train.json")
        for cell in dict.fromkeys(data.measured["cell"])
    }
    kept = {cell: records.find(file, TrainRecord) for cell, file in files.items()}
    frames = data.measured, data.curves, data.codes, data.published, found
    return Gallery(data.plan, *frames, {cell: one for cell, one in kept.items() if one})


def draw_site(gallery: Gallery, results: Path, figures: Path) -> Path:
    """Write the pages below results/site, with copies of the tables and figures that are drawn.

    Returns the first page. The site is built in a folder beside its place, so that nobody opens
    half of a site and an error leaves the old one. Raises OSError.
    """
    site = results / "site"
    fresh = results / f".site.{os.getpid()}"
    try:
        for path, content in contents(gallery, results, figures):
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content.encode() if isinstance(content, str) else content)
        shutil.rmtree(site, ignore_errors=True)
        fresh.replace(site)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return site / "index.html"
