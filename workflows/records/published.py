"""Read the numbers that the paper and others published, from results/published/*.csv."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config.lines import Published, read_csv
from workflows.config.plan import Plan
from workflows.errors import ConfigError, known

KEYS = ["table", "row", "dataset", "metric"]


def as_number(value: str) -> float:
    """Return a published value as a number; '100.0%' is 1. Raises ValueError."""
    return float(value[:-1]) / 100 if value.endswith("%") else float(value)


def read_published(folder: Path, plan: Plan) -> pd.DataFrame:
    """Return the numbers of all CSV files but those whose name begins with `reference_`.

    The other files hold results of other papers, which must not pass for this paper's. Raises
    ConfigError for two values at the same place of a table, and for a number without a place in a
    table of the experiments, because no page would show that number.
    """
    # File managers and editors leave files whose names begin with a dot.
    files = [f for f in sorted(folder.glob("[!.]*.csv")) if not f.name.startswith("reference_")]
    if not files:
        raise ConfigError(f"{folder}: no published CSV")
    frames = {file: read_csv(file, Published) for file in files}
    for file, frame in frames.items():
        for line, number in enumerate(frame.to_dict("records"), 2):
            _check_place(number, plan, f"{file}: line {line}")
    published = pd.concat(frames.values(), ignore_index=True)
    repeated = published[published.duplicated(KEYS)]
    if len(repeated):
        raise ConfigError(f"{folder}: two values for {', '.join(repeated[KEYS].iloc[0])}")
    return published


def read_others(folder: Path) -> pd.DataFrame:
    """Return the numbers of the files whose name begins with `reference_`."""
    frames = [read_csv(file, Published) for file in sorted(folder.glob("reference_*.csv"))]
    columns = list(Published.model_fields)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _check_place(number: Mapping[Hashable, Any], plan: Plan, where: str) -> None:
    table = known(number["table"], plan.tables, f"{where}: table")
    row = known(number["row"], plan.tables[table].published_rows, f"{where}: table {table}: row")
    of_row = f"{where}: row '{row}' of table {table}"
    known(number["dataset"], plan.datasets, f"{of_row}: dataset")
    known(number["metric"], plan.tables[table].metrics, f"{of_row}: metric")
