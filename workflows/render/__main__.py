"""Draw what there is, from records alone: `python -m workflows.render --budget lite`.

Cells that are finished give their numbers, also while a run goes on; the rest is printed as not
measured, and records of other settings or versions as outdated. The rules call this command too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from workflows import cli
from workflows.errors import known
from workflows.records.state import State
from workflows.render.showing import draw_site, draw_table, draw_verdicts, read


def summary(found: Mapping[str, State]) -> str:
    """How many cells there are of each kind, and the first that are outdated, with the reason."""
    finished = sum(state.finished for state in found.values())
    outdated = {name: state.outdated for name, state in found.items() if state.outdated}
    lines = [f"{finished} of {len(found)} cells are finished, {len(outdated)} outdated"]
    lines += [f"  outdated: {name}: {why}" for name, why in list(outdated.items())[:5]]
    return "\n".join(lines)


def main(budget: str, table: str | None, cell: str | None, site: bool) -> None:
    """Draw a table, what shows a cell, the site, or all. Raises ConfigError and OSError."""
    what = read(budget)
    tables = list(what.grid.tables)
    if table:
        tables = [known(table, tables, "table")]
    elif cell:
        tables = what.grid.tables_of(what.grid.cell(cell).id)
    elif site:
        tables = []
    if not table:
        print(summary(what.found))
    for name in tables:
        draw_table(what, name)
    if not table:
        gallery = draw_verdicts(what)
        if not cell:
            print(f"Open {draw_site(gallery, what.results, what.figures)}")


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
