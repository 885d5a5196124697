"""Draw what there is, from records alone: `python -m workflows.render --budget lite`.

Cells that are finished give their numbers, also while a run goes on; the rest is printed as not
measured, and records of other settings or versions as outdated. The rules call this command too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from workflows.data import DataError
from workflows.naming import known
from workflows.records import State
from workflows.schema import ConfigError
from workflows.showing import draw_site, draw_table, draw_verdicts, read


def summary(found: Mapping[str, State]) -> str:
    """How many cells there are of each kind, and the first that are outdated, with the reason."""
    finished = sum(state.finished for state in found.values())
    outdated = {name: state.outdated for name, state in found.items() if state.outdated}
    lines = [f"{finished} of {len(found)} cells are finished, {len(outdated)} outdated"]
    lines += [f"  outdated: {name}: {why}" for name, why in list(outdated.items())[:5]]
    return "\n".join(lines)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="embedded")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--table", help="only this table and its figures")
    which.add_argument(
        "--cell", help="only the tables and figures that show this cell, numbers and verdicts"
    )
    which.add_argument("--site", action="store_true", help="only numbers, verdicts and pages")
    arguments = parser.parse_args()
    try:
        budget = read(arguments.budget)
        tables = list(budget.grid.tables)
        if arguments.table:
            tables = [known(arguments.table, tables, "no table")]
        elif arguments.cell:
            tables = budget.grid.tables_of(budget.grid.cell(arguments.cell).id)
        elif arguments.site:
            tables = []
        if not arguments.table:
            print(summary(budget.found))
        for table in tables:
            draw_table(budget, table)
        if not arguments.table:
            gallery = draw_verdicts(budget)
            if not arguments.cell:
                print(f"Open {draw_site(gallery, budget.results, budget.figures)}")
    except (ConfigError, DataError, OSError) as error:
        print(f"render: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
