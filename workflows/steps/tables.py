"""Render one table: `python -m workflows.steps.tables --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.files import write_text
from workflows.naming import known
from workflows.reading import read_csv, read_plan
from workflows.render.blocks import blocks
from workflows.render.pages import page
from workflows.render.plan import Plan
from workflows.render.tables import latex, markdown, tidy
from workflows.schema import ConfigError


def read_published(folder: Path, plan: Plan) -> pd.DataFrame:
    """Every number of the folder's CSVs but those of files that begin with `reference_`.

    Those are other papers' results, which must not pass for this paper's. Raises ConfigError,
    also where two values claim the same cell of a table, and for a number that no table of the
    experiments has a place for: it would be missing from all that is shown, without a word.
    """
    files = sorted(f for f in folder.glob("*.csv") if not f.name.startswith("reference_"))
    if not files:
        raise ConfigError(f"{folder}: no published CSV")
    found = {file: read_csv(file, "published") for file in files}
    for file, numbers in found.items():
        for line, number in enumerate(numbers.to_dict("records"), 2):
            _check_place(number, plan, f"{file}: line {line}")
    published = pd.concat(found.values(), ignore_index=True)
    keys = ["table", "row", "dataset", "metric"]
    twice = published[published.duplicated(keys)]
    if len(twice):
        raise ConfigError(f"{folder}: two values for {', '.join(twice[keys].iloc[0])}")
    return published


def _check_place(number: Mapping[Hashable, Any], plan: Plan, where: str) -> None:
    table = known(number["table"], plan.tables, f"{where}: no table")
    rows = plan.tables[table]["published"]["rows"]
    row = known(number["row"], rows, f"{where}: table {table} has no row")
    of_row = f"{where}: row '{row}' of table {table} has no"
    known(number["dataset"], plan.published_datasets(table), f"{of_row} dataset")
    known(number["metric"], plan.tables[table]["metrics"], f"{of_row} metric")


def run(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame, table: str, out: Path) -> None:
    """Write <table>.csv, .md, .html and .tex into `out`."""
    found = blocks(plan, measured, published, table)
    if not found:
        raise ConfigError(f"{table}: no row of it belongs to budget {plan.budget}")
    write_text(out / f"{table}.csv", tidy(found).to_csv(index=False, lineterminator="\n"))
    document = markdown(found, plan)
    write_text(out / f"{table}.md", document)
    write_text(out / f"{table}.html", page(document))
    write_text(out / f"{table}.tex", latex(found, plan))


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--published", type=Path, required=True, help="folder of published CSVs")
    parser.add_argument("--table", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    try:
        plan = Plan.of(read_plan(arguments.plan))
        measured = read_csv(arguments.measured, "measured")
        published = read_published(arguments.published, plan)
        run(plan, measured, published, arguments.table, arguments.out)
    except (ConfigError, OSError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"tables: {arguments.plan}: {error.args[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
