"""Print what a budget takes: `python -m workflows.records.cost --budget NAME`. It runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from workflows.config import cli
from workflows.config.cost import GB, RATES, Estimates, Step, read_records
from workflows.config.datasets import read_datasets
from workflows.records.state import read_results


def needed(estimates: Estimates, cells: Sequence[str]) -> list[Step]:
    """Return all steps that these cells take, and the steps that prepare their datasets."""
    planned, steps = estimates.plan.cells, []
    first_stages = {planned[name].first_stage for name in cells}
    for name in cells:
        encoded = name in first_stages
        steps += [step for step in estimates.of_cell(name) if step.kind != "latents" or encoded]
    references = {
        (planned[name].dataset, protocol)
        for name in cells
        for protocol in planned[name].evaluation.protocols
    }
    datasets = {dataset for dataset, _ in references}
    steps += [estimates.step("prepare", dataset) for dataset in datasets]
    return steps + [estimates.step("reference", dataset) for dataset, _ in references]


def hours(steps: Sequence[Step], devices: int) -> float:
    """Return the least hours until the steps are finished on `devices` devices.

    No schedule is shorter than an even share of the work, or than the longest step.
    """
    seconds = [step.seconds for step in steps]
    return max(sum(seconds) / devices, *seconds, 0) / 3600


def report(estimates: Estimates, unfinished: Sequence[str]) -> str:
    """Return the tables for one kind of device. unfinished: cells whose record does not match."""
    device = RATES["devices"][estimates.device]
    steps = needed(estimates, list(estimates.plan.cells))
    unfinished_steps = needed(estimates, unfinished)
    rows = []
    for kind in (*dict.fromkeys(step.kind for step in steps), "all"):
        of_kind = [step for step in steps if kind in (step.kind, "all")]
        spent = [step.seconds / 3600 for step in of_kind]
        memory = max(step.memory for step in of_kind) / GB
        rows.append((kind, len(of_kind), sum(spent), max(spent), memory))
    bounds = [(n, hours(steps, n), hours(unfinished_steps, n)) for n in (1, 8, 64)]
    columns = ["step", "count", "hours", "longest", "memory, GB"]
    limits = [device["unit"], "hours, at least", "unfinished"]
    of_steps = tabulate(rows, columns, floatfmt=",.2f")
    of_devices = tabulate(bounds, limits, floatfmt=",.2f")
    return f"On {device['title']}\n\n{of_steps}\n\n{of_devices}"


def main(budget: str, cache: Path) -> None:
    """Print what a budget takes on GPUs and on cores."""
    results = read_results(budget, cache=cache)
    plan, records, datasets = results.plan, read_records(), read_datasets()
    unfinished = [name for name in plan.cells if not results.states[name].finished]
    finished = len(plan.cells) - len(unfinished)
    print(f"{plan.title}\n{len(plan.cells)} cells, {finished} finished")
    for device in ("gpu", "cpu"):
        print("\n" + report(Estimates(plan, datasets, device, records), unfinished))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cli.run(parser, main)
