"""The numbers that the paper and others printed, as results/published/*.csv have them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config.lines import Published, read_csv
from workflows.config.plan import TITLES, Plan
from workflows.errors import ConfigError, known

KEYS = ["table", "row", "dataset", "metric"]


def as_number(value: str) -> float:
    """A published value as a number; '100.0%' is 1. Raises ValueError."""
    return float(value[:-1]) / 100 if value.endswith("%") else float(value)


def read_published(folder: Path, plan: Plan) -> pd.DataFrame:
    """Every number of the folder's CSVs, except those of files that begin with `reference_`.

    Those files hold other papers' results, which must not pass for this paper's. Raises
    ConfigError, also where two values claim the same place in a table, and for a number that no
    table of the experiments has a place for, because no page would show that number.
    """
    # Names that begin with a dot are of file managers and editors.
    files = sorted(f for f in folder.glob("[!.]*.csv") if not f.name.startswith("reference_"))
    if not files:
        raise ConfigError(f"{folder}: no published CSV")
    found = {file: read_csv(file, Published) for file in files}
    for file, numbers in found.items():
        for line, number in enumerate(numbers.to_dict("records"), 2):
            _check_place(number, plan, f"{file}: line {line}")
    published = pd.concat(found.values(), ignore_index=True)
    twice = published[published.duplicated(KEYS)]
    if len(twice):
        raise ConfigError(f"{folder}: two values for {', '.join(twice[KEYS].iloc[0])}")
    return published


def read_others(folder: Path) -> pd.DataFrame:
    """The numbers of files that begin with `reference_`, as lines of Published."""
    found = [read_csv(file, Published) for file in sorted(folder.glob("reference_*.csv"))]
    columns = list(Published.model_fields)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _check_place(number: Mapping[Hashable, Any], plan: Plan, where: str) -> None:
    table = known(number["table"], plan.tables, f"{where}: table")
    row = known(number["row"], plan.tables[table].published_rows, f"{where}: table {table}: row")
    of_row = f"{where}: row '{row}' of table {table}"
    known(number["dataset"], sorted({*TITLES, *plan.datasets}), f"{of_row}: dataset")
    known(number["metric"], plan.tables[table].metrics, f"{of_row}: metric")
