"""What a budget costs: `python -m workflows.cost [--budget NAME] [--jobs]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from workflows.cost.devices import seconds, settings
from workflows.cost.jobs import KINDS, Job, jobs
from workflows.cost.schedule import bounds, longest_chain
from workflows.data import DataError, describe, names
from workflows.grid import load_grid
from workflows.probe import VARIABLE, allowed_days
from workflows.schema import ConfigError

DEVICES = (1, 8, 64)
GB = 1e9
TRAINED = ("train", "train_diffusion")


def by_kind(found: Sequence[Job], device: str) -> pd.DataFrame:
    """Of each kind of job and of all: jobs, hours in all and of the longest, memory and disk."""
    frame = pd.DataFrame(
        [
            (job.kind, seconds(job.work, device), job.memory, job.main, job.kept, job.meanwhile)
            for job in found
        ],
        columns=["kind", "seconds", "memory", "main", "kept", "meanwhile"],
    )
    rows = []
    for kind in (*[k for k in KINDS if (frame["kind"] == k).any()], "all"):
        some = frame if kind == "all" else frame[frame["kind"] == kind]
        rows.append(
            {
                "kind": kind,
                "jobs": f"{len(some)}",
                "seconds": f"{some['seconds'].sum():,.0f}",
                "hours": f"{some['seconds'].sum() / 3600:,.2f}",
                "longest, hours": f"{some['seconds'].max() / 3600:,.2f}",
                "device memory, GB": f"{some['memory'].max() / GB:,.1f}",
                "main memory, GB": f"{some['main'].max() / GB:,.1f}",
                "disk kept, GB": f"{some['kept'].sum() / GB:,.2f}",
                "disk meanwhile, GB": f"{some['meanwhile'].max() / GB:,.2f}",
            }
        )
    return pd.DataFrame(rows)


def makespans(found: Sequence[Job], device: str) -> pd.DataFrame:
    """Hours until all is done on 1, 8 and 64 devices."""
    spent = {job.name: seconds(job.work, device) for job in found}
    unit = settings()["devices"][device]["unit"]
    rows = []
    for count in DEVICES:
        limits = bounds(found, spent, count, gpus=device == "gpu")
        rows.append(
            {
                f"{unit}s": f"{count}",
                "at least, hours": f"{limits.at_least / 3600:,.2f}",
                "list schedule, hours": f"{limits.listed / 3600:,.2f}",
                "days": f"{limits.listed / 86400:,.2f}",
            }
        )
    return pd.DataFrame(rows)


def refused(found: Sequence[Job], device: str) -> list[str]:
    """What would be refused before it starts: too long, or more memory than the device has."""
    days, memory = allowed_days(), settings()["devices"][device].get("memory", float("inf"))
    lines = []
    for job in found:
        if job.kind in TRAINED:
            took = seconds(job.work, device) / 86400
            if took > days:
                lines.append(f"{job.name}: {took:.1f} days, more than {VARIABLE}={days:g}")
            if job.memory > memory:
                lines.append(
                    f"{job.name}: {job.memory / GB:,.0f} GB, the device has {memory / GB:,.0f}"
                )
    return lines


def text(found: Sequence[Job], device: str) -> str:
    """All that is said of a device."""
    about = settings()["devices"][device]
    spent = {job.name: seconds(job.work, device) for job in found}
    chain = longest_chain(found, spent)
    known = "timed cells" if about["measured"] else "assumed rates, none timed yet"
    lines = [
        f"On {about['title']} each ({known}; docs/cost.md)",
        "",
        _table(by_kind(found, device)),
        "",
        _table(makespans(found, device)),
        "",
        f"Longest chain, {chain.seconds / 3600:,.2f} hours, below which no number of "
        f"{about['unit']}s gets:",
        *(f"  {name}  {spent[name] / 3600:,.2f}" for name in chain.names),
    ]
    against = refused(found, device)
    if against:
        lines += ["", f"Refused as they are, {len(against)}:", *(f"  {one}" for one in against)]
    return "\n".join(lines)


def for_processors(found: Sequence[Job]) -> bool:
    """Whether a budget is meant for them: no training would be refused there."""
    return not refused(found, "cpu")


def _table(frame: pd.DataFrame) -> str:
    return frame.to_markdown(
        index=False, tablefmt="simple", disable_numparse=True,
        colalign=("left", *["right"] * (len(frame.columns) - 1)),
    )  # fmt: skip


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--jobs", action="store_true", help="also every job's seconds")
    arguments = parser.parse_args()
    try:
        datasets = {name: describe(name) for name in names()}
        grid = load_grid(arguments.budget, datasets)
        found = jobs(grid, datasets)
        parts = [text(found, "gpu")]
        if for_processors(found):
            parts.append(text(found, "cpu"))
    except (ConfigError, DataError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 1
    print(f"{grid.budget['title']}\n{len(grid.cells)} cells, {len(found)} jobs\n")
    print("\n\n".join(parts))
    if arguments.jobs:
        print()
        for job in found:
            print(
                f"{seconds(job.work, 'gpu'):14,.1f}  {seconds(job.work, 'cpu'):16,.1f}  {job.name}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
