"""Whether a claim held at other lengths of training, where a sweep of lengths has its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from workflows.config.lines import Published
from workflows.config.plan import Plan, PlannedClaim
from workflows.records.verdicts import COLUMNS, UNTESTED, verdicts

MARK = ", length = "


def at_lengths(claim: PlannedClaim, plan: Plan, measured: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on a claim by `length`, of the lengths that are measured; else no lines."""
    nothing = pd.DataFrame(columns=list(Published.model_fields))
    parts = []
    for table, length in _swept(claim, plan):
        of, than = ([f"{row}{MARK}{length}" for row in rows] for rows in (claim.of, claim.than))
        there = claim.model_copy(update={"table": table, "of": of, "than": than})
        alone = plan.model_copy(update={"claims": [there]})
        shown = measured[measured["table"] == table]
        found = verdicts(alone, shown, nothing)
        parts.append(found[found["verdict"] != UNTESTED].assign(length=length))
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*COLUMNS, "length"])


def _swept(claim: PlannedClaim, plan: Plan) -> Iterator[tuple[str, Any]]:
    """Table and length of each place where all rows of a claim are."""
    rows = [*claim.of, *claim.than]
    for table, about in plan.tables.items():
        first = f"{rows[0]}{MARK}"
        for length in [row.removeprefix(first) for row in about.order if row.startswith(first)]:
            if all(f"{row}{MARK}{length}" in about.order for row in rows):
                yield table, length
