"""What a budget takes: `python -m workflows.records.cost --budget NAME`. It runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from workflows.config import cli
from workflows.config.cost import GB, RATES, Estimates, Step, read_records
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.planning import make_plan
from workflows.records.state import Today, states


def needed(estimates: Estimates, cells: Sequence[str]) -> list[Step]:
    """Every step that these cells take, those of their datasets among them."""
    planned, found = estimates.plan.cells, []
    first_stages = {planned[name].first_stage for name in cells}
    for name in cells:
        steps = estimates.of_cell(name)
        found += [step for step in steps if step.kind != "latents" or name in first_stages]
    compared = {(planned[n].dataset, one) for n in cells for one in planned[n].evaluation.protocols}
    found += [estimates.step("prepare", dataset) for dataset in {name for name, _ in compared}]
    return found + [estimates.step("reference", dataset) for dataset, _ in compared]


def hours(steps: Sequence[Step], devices: int) -> float:
    """The fewest hours until steps are finished on so many devices.

    No schedule is shorter than an even share of the work, or than the longest step.
    """
    seconds = [step.seconds for step in steps]
    return max(sum(seconds) / devices, *seconds, 0) / 3600


def report(estimates: Estimates, unfinished: Sequence[str]) -> str:
    """All that is printed of a device. unfinished: cells without a record that fits."""
    device = RATES["devices"][estimates.device]
    steps, left = (needed(estimates, cells) for cells in ([*estimates.plan.cells], unfinished))
    rows = []
    for kind in (*dict.fromkeys(step.kind for step in steps), "all"):
        part = [step for step in steps if kind in (step.kind, "all")]
        spent = [step.seconds / 3600 for step in part]
        rows.append((kind, len(part), sum(spent), max(spent), max(s.memory for s in part) / GB))
    bounds = [(count, hours(steps, count), hours(left, count)) for count in (1, 8, 64)]
    columns = ["step", "count", "hours", "longest", "memory, GB"]
    limits = [device["unit"], "hours, at least", "unfinished"]
    tables = [tabulate(r, h, floatfmt=",.2f") for r, h in ((rows, columns), (bounds, limits))]
    return "\n\n".join([f"On {device['title']}", *tables])


def main(budget: str, cache: Path) -> None:
    """Print what a budget takes on GPUs and on cores."""
    datasets = read_datasets()
    plan = make_plan(load_grid(budget, datasets), datasets, {})
    found = states(plan, Today.look(cache))
    unfinished = [name for name in plan.cells if not found[name].finished]
    finished = len(plan.cells) - len(unfinished)
    print(f"{plan.title}\n{len(plan.cells)} cells, {finished} finished")
    records = read_records()
    for device in ("gpu", "cpu"):
        print("\n" + report(Estimates(plan, datasets, device, records), unfinished))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
