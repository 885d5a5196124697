"""Measure our speed: `python -m benchmarks [quantiser] [step] [evaluation] [embedded] [gpu]`.

Prints each row and writes benchmarks/results/<group>.csv. Without names, `embedded` and `gpu` are
not measured, because they take long. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from workflows.config.provenance import commit

SHORT, LONG = ["quantiser", "step", "evaluation"], ["embedded", "gpu"]
RESULTS = Path(__file__).parent / "results"
COLUMNS = ["work", "peer", "value", "unit", "goal", "verdict", "note", "commit", "torch", "cpu"]


def measure(group: str) -> bool:
    """Measure a group of rows and write its CSV file. Returns whether all goals are reached."""
    head, dirty = commit()
    machine = f"{torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    origin = {"commit": head + ("+" if dirty else ""), "torch": torch.__version__, "cpu": machine}
    rows = importlib.import_module(f"benchmarks.{group}").rows()
    cells = [{**asdict(row), "verdict": row.verdict, **origin} for row in rows]
    frame = pd.DataFrame(cells)[COLUMNS].round({"value": 2})
    frame.to_csv(RESULTS / f"{group}.csv", index=False)
    print(frame.astype(object).fillna("").to_markdown(index=False))
    return "short" not in set(frame["verdict"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=", ".join(SHORT + LONG))
    groups = parser.parse_args().groups or SHORT
    if unknown := set(groups) - {*SHORT, *LONG}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    # Measure every group, also after one that misses a goal.
    reached = [measure(group) for group in groups]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
