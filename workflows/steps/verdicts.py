"""Judge the paper's claims: `python -m workflows.steps.verdicts --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from workflows.files import write_text
from workflows.reading import read_csv, read_plan
from workflows.render.pages import page
from workflows.render.plan import Plan
from workflows.render.verdicts import markdown
from workflows.schema import ConfigError
from workflows.steps.tables import read_published
from workflows.verdicts import verdicts


def run(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame, out: Path) -> None:
    """Write verdicts.csv, .md and .html into `out`."""
    found = verdicts(plan.claims, plan.roles, measured, published, plan.published_dataset)
    write_text(out / "verdicts.csv", found.to_csv(index=False, lineterminator="\n"))
    document = markdown(found, plan)
    write_text(out / "verdicts.md", document)
    write_text(out / "verdicts.html", page(document))


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--published", type=Path, required=True, help="folder of published CSVs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    try:
        plan = Plan.of(read_plan(arguments.plan))
        measured = read_csv(arguments.measured, "measured")
        run(plan, measured, read_published(arguments.published, plan), arguments.out)
    except (ConfigError, OSError) as error:
        print(f"verdicts: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"verdicts: {arguments.plan}: {error.args[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
