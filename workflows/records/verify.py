"""Hold results against their records: `python -m workflows.records.verify --budget NAME`.

Every published number stands at the end of a chain: measured.csv is gathered from a cell's
metrics.csv, whose digest is in its evaluation.json beside that of train.json, which has the digests
of log.csv and of the model. Each link is checked, and whether the record's settings, versions,
images and metric networks are still those of today.
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

# From the worst to the best; a cell is in the worst state that applies.
STATES = {
    "foreign": "not of this grid: nothing here would make it",
    "altered": "not what its record says",
    "outdated": "of other settings, versions, images or metric networks than today's",
    "unproven": "its code was not committed",
    "ok": "all of it is what its records say, and what would be made today, but for rounding",
}


class Finding(NamedTuple):
    """state: one of STATES. why: in words, empty for "ok"."""

    cell: str
    state: str
    why: str = ""


def verify(plan: Plan, found: Mapping[str, State]) -> list[Finding]:
    """A finding for every cell that was measured, and for every folder that is none's.

    found: the cells' states. Raises ConfigError if measured.csv is not one.
    """
    cells, file = Path(plan.results, "cells"), Path(plan.results, "measured.csv")
    measured = read_csv(file, Measured) if file.exists() else None
    folders = [record.parent for record in cells.glob("*/*/*/*/train.json")]
    recorded = {folder.relative_to(cells).as_posix() for folder in folders}
    findings = [
        min(
            _of_cell(name, found[name], measured, plan),
            key=lambda one: list(STATES).index(one.state),
            default=Finding(name, "ok"),
        )
        for name in plan.cells
        if name in recorded
    ]
    lines = pd.DataFrame(columns=["cell", "status"]) if measured is None else measured
    unknown = {*recorded, *lines["cell"]} - plan.cells.keys()
    unproven = {*lines.loc[lines["status"] == "ok", "cell"]} - recorded - unknown
    for names, why in (
        (unknown, f"budget {plan.budget} has no such cell"),
        (unproven, "measured.csv has its numbers, but there is no record"),
    ):
        findings += [Finding(name, "foreign", why) for name in sorted(names)]
    return findings


def _of_cell(
    name: str, found: State, measured: pd.DataFrame | None, plan: Plan
) -> Iterator[Finding]:
    """Everything about a cell that is not "ok"."""
    folder = Path(plan.cells[name].folder)
    try:
        record = read(folder / "train.json", TrainRecord)
        evaluation = find(folder / "evaluation.json", EvaluationRecord)
        sampled = find(folder / "sampling.json", SamplingRecord)
        for why in _altered(record, evaluation, folder):
            yield Finding(name, "altered", why)
        for source in (record, sampled, evaluation):
            if source is not None and source.dirty:
                why = f"commit {source.commit} had uncommitted changes"
                yield Finding(name, "unproven", why)
        if not found.finished:
            yield Finding(name, "outdated", found.outdated or "; ".join(found.unmeasured))
        elif measured is not None:
            lines = measurements(name, plan.cells[name], plan.budget, found)
            said = measured[measured["cell"] == name].to_dict("records")
            if [*map(_comparable, said)] != [*map(_comparable, in_tables(plan, {name: lines}))]:
                why = "measured.csv: its rows are not those of its records"
                yield Finding(name, "altered", why)
    except (BenchmarkError, OSError) as error:
        yield Finding(name, "altered", f"its records cannot be read ({error})")


def _altered(
    record: TrainRecord, evaluation: EvaluationRecord | None, folder: Path
) -> Iterator[str]:
    known = {"model.safetensors": record.model_sha256, "log.csv": record.log_sha256}
    known |= evaluation.files if evaluation is not None else {}
    for name, expected in known.items():
        file = folder / name
        # Records from before there were versions may have no digests; they are outdated anyhow.
        if expected is not None and file.exists() and digest(file) != expected:
            yield f"{name} is not the file that was recorded"
        # Models are not published with the records.
        elif expected is not None and not file.exists() and name != "model.safetensors":
            yield f"{name} is missing"


def _comparable(row: Mapping[Any, Any]) -> dict[str, str]:
    """Without what is empty, and numbers as text that does not depend on their type."""
    return {
        str(key): value if isinstance(value, str) else repr(float(value))
        for key, value in row.items()
        if value not in ("", None) and value == value
    }


def report(findings: list[Finding]) -> str:
    """A table of what is not "ok", and how many cells are in each state."""
    bad = [finding for finding in findings if finding.state != "ok"]
    table = [tabulate(bad, headers=Finding._fields)] if bad else []
    count = Counter(finding.state for finding in findings)
    return "\n".join([*table, *(f"{count[s]:6} {s}: {text}" for s, text in STATES.items())])


def main(budget: str, results: Path, cache: Path) -> int:
    """Print the findings; 1 if a cell is in a state other than ok."""
    now = read_results(budget, results, cache)
    findings = verify(now.plan, now.states)
    if not findings:
        raise BenchmarkError(f"{now.plan.results}: nothing has been measured")
    print(report(findings))
    return int(any(found.state != "ok" for found in findings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="verify", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
