"""Draw tables, figures and pages from records: `python -m workflows.render --budget lite`.

Finished cells give their numbers, also while a run goes on. Other cells are printed as not
measured, and cells whose records have other settings or versions as outdated. The rules call this
command, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows.config import cli
from workflows.config.plan import find_plan
from workflows.errors import known
from workflows.files import write_json
from workflows.records.cells import progress, status
from workflows.records.state import read_results
from workflows.render.showing import draw_site, draw_table, draw_verdicts


def main(budget: str, table: str | None, cell: str | None, site: bool) -> None:
    """Draw one table, everything that shows a cell, the site, or all.

    Raises ConfigError and OSError.
    """
    results = read_results(budget)
    file = Path(results.plan.results, "plan.json")
    # An equal file keeps its time, so that Snakemake does not run the rules that read the file.
    if find_plan(file) != results.plan:
        write_json(file, results.plan.model_dump(mode="json"))
    tables = list(results.plan.tables)
    if table:
        draw_table(results, known(table, tables, "table"))
        return
    if cell:
        tables = results.plan.tables_of(results.plan.cell(cell).id)
    print(status(progress(results.plan, results.states)))
    for name in [] if site else tables:
        draw_table(results, name)
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
