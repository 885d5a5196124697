"""Draw what there is, from records alone: `python -m workflows.render --budget lite`.

Cells that are finished give their numbers, also while a run goes on; the rest is printed as not
measured, and records of other settings or versions as outdated. The rules call this command too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows.config import cli
from workflows.errors import known
from workflows.records.cells import progress, status
from workflows.render.showing import draw_site, draw_table, draw_verdicts, read


def main(budget: str, table: str | None, cell: str | None, site: bool) -> None:
    """Draw a table, what shows a cell, the site, or all. Raises ConfigError and OSError."""
    results = read(budget)
    tables = list(results.grid.tables)
    if table:
        tables = [known(table, tables, "table")]
    elif cell:
        tables = results.grid.tables_of(results.grid.cell(cell).id)
    elif site:
        tables = []
    if not table:
        print(status(progress(results.plan, results.states)))
    for name in tables:
        draw_table(results, name)
    if not table:
        gallery = draw_verdicts(results)
        if not cell:
            print(f"Open {draw_site(gallery, Path('figures', budget))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="render", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--table", help="only this table and its figures")
    which.add_argument(
        "--cell", help="only the tables and figures that show this cell, numbers and verdicts"
    )
    which.add_argument("--site", action="store_true", help="only numbers, verdicts and pages")
    cli.run(parser, main)
