"""Compare results with their records: `python -m workflows.records.verify --budget NAME`.

The numbers of measured.csv are collected from the metrics.csv of cells. The digests of metrics.csv
and train.json are in evaluation.json, and the digests of log.csv and the model are in train.json.
Each link of this chain is checked. It is also checked whether the settings, versions and images of
the records are still those of today.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from workflows.config import cli
from workflows.config.lines import Measured, read_csv
from workflows.config.plan import Plan
from workflows.config.records import EvaluationRecord, SamplingRecord, TrainRecord, find, read
from workflows.errors import BenchmarkError
from workflows.files import digest
from workflows.records.collect import in_tables, measurements
from workflows.records.state import State, read_results

# From the worst to the best state; a cell is in the worst state that applies.
STATES = {
    "foreign": "this budget has no such cell, or the cell has no record",
    "altered": "a file is not what its record says",
    "outdated": "made with other settings, versions or images than today's",
    "unproven": "made with code that was not committed",
    "ok": "all files are what the records say, and the records match today's settings",
}


class Finding(NamedTuple):
    """state: a key of STATES. why: the reason, empty for "ok"."""

    cell: str
    state: str
    why: str = ""


def verify(plan: Plan, states: Mapping[str, State]) -> list[Finding]:
    """Return a finding for each cell with a record, and for each cell that the plan does not have.

    states: of the plan's cells. Raises ConfigError if measured.csv is not valid.
    """
    cells, file = Path(plan.results, "cells"), Path(plan.results, "measured.csv")
    measured = read_csv(file, Measured) if file.exists() else None
    records = cells.glob("*/*/*/*/train.json")
    recorded = {record.parent.relative_to(cells).as_posix() for record in records}
    findings = [
        min(
            _problems(name, states[name], measured, plan),
            key=lambda finding: list(STATES).index(finding.state),
            default=Finding(name, "ok"),
        )
        for name in plan.cells
        if name in recorded
    ]
    unknown, unrecorded = recorded - plan.cells.keys(), set()
    if measured is not None:
        unknown |= set(measured["cell"]) - plan.cells.keys()
        unrecorded = {*measured.loc[measured["status"] == "ok", "cell"]} - recorded - unknown
    why = f"budget {plan.budget} has no such cell"
    findings += [Finding(name, "foreign", why) for name in sorted(unknown)]
    why = "measured.csv has its numbers, but there is no record"
    return findings + [Finding(name, "foreign", why) for name in sorted(unrecorded)]


def _problems(
    name: str, state: State, measured: pd.DataFrame | None, plan: Plan
) -> Iterator[Finding]:
    """Yield a finding for each reason why a cell is not "ok"."""
    folder = Path(plan.cells[name].folder)
    try:
        train = read(folder / "train.json", TrainRecord)
        evaluation = find(folder / "evaluation.json", EvaluationRecord)
        sampling = find(folder / "sampling.json", SamplingRecord)
        for why in _altered_files(folder, train, evaluation):
            yield Finding(name, "altered", why)
        for record in (train, sampling, evaluation):
            if record is not None and record.dirty:
                why = f"commit {record.commit} had uncommitted changes"
                yield Finding(name, "unproven", why)
        if not state.finished:
            yield Finding(name, "outdated", state.outdated or "; ".join(state.unmeasured))
        elif measured is not None:
            lines = measured[measured["cell"] == name].to_dict("records")
            expected = measurements(name, plan.cells[name], plan.budget, state)
            expected = in_tables(plan, {name: expected})
            if [*map(_as_text, lines)] != [*map(_as_text, expected)]:
                why = "measured.csv: its rows are not those of its records"
                yield Finding(name, "altered", why)
    except (BenchmarkError, OSError) as error:
        yield Finding(name, "altered", f"its records cannot be read ({error})")


def _altered_files(
    folder: Path, train: TrainRecord, evaluation: EvaluationRecord | None
) -> Iterator[str]:
    digests = {"model.safetensors": train.model_sha256, "log.csv": train.log_sha256}
    digests |= evaluation.files if evaluation is not None else {}
    for name, expected in digests.items():
        # The oldest records have no digests; they are outdated because they have no versions.
        if expected is None:
            continue
        file = folder / name
        if file.exists():
            if digest(file) != expected:
                yield f"{name} is not the file that was recorded"
        # Models are not published with the records.
        elif name != "model.safetensors":
            yield f"{name} is missing"


def _as_text(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return the filled cells of a line as text that does not depend on the types of numbers."""
    return {
        str(column): value if isinstance(value, str) else repr(float(value))
        for column, value in row.items()
        if value != "" and not pd.isna(value)
    }


def report(findings: list[Finding]) -> str:
    """Return a table of the findings that are not "ok", and how many cells are in each state."""
    problems = [finding for finding in findings if finding.state != "ok"]
    table = [tabulate(problems, headers=Finding._fields)] if problems else []
    count = Counter(finding.state for finding in findings)
    return "\n".join([*table, *(f"{count[s]:6} {s}: {text}" for s, text in STATES.items())])


def main(budget: str, results: Path, cache: Path) -> int:
    """Print the findings, and return 1 if a cell is not "ok". Raises BenchmarkError for none."""
    budget_results = read_results(budget, results, cache)
    findings = verify(budget_results.plan, budget_results.states)
    if not findings:
        raise BenchmarkError(f"{budget_results.plan.results}: nothing has been measured")
    print(report(findings))
    return int(any(finding.state != "ok" for finding in findings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="verify", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
