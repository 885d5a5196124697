"""Measure our speed: `python -m benchmarks [quantiser] [step] [evaluation] [embedded] [gpu]`.

Prints a line a row and writes benchmarks/results/<group>.csv. Exits with 1 if a goal is missed.
Without names it measures all but `embedded` and `gpu`, whose last outcomes it prints.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

import pandas as pd
import torch

from workflows.provenance import commit

GROUPS = ("quantiser", "step", "evaluation", "embedded", "gpu")
LONG = ("embedded", "gpu")
RESULTS = Path(__file__).parent / "results"


def measured(group: str) -> pd.DataFrame:
    """Run a group and keep its rows."""
    head, dirty = commit()
    machine = f"{torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    origin = {"commit": head + ("+" if dirty else ""), "torch": torch.__version__, "cpu": machine}
    rows = []
    for row in importlib.import_module(f"benchmarks.{group}").rows():
        kept = {
            "work": row.work,
            "peer": row.peer,
            "value": round(row.value, 2),
            "unit": row.unit,
            "goal": row.goal,
            "verdict": row.verdict,
            "note": row.note,
        }
        print(f"{row.work}, against {row.peer}: {row.value:.3g} {row.unit}, {row.verdict}")
        rows.append(kept | origin)
    frame = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    frame.to_csv(RESULTS / f"{group}.csv", index=False)
    return frame


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}")
    wanted = parser.parse_args().groups
    if unknown := set(wanted) - set(GROUPS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(GROUPS)}")
    frames = [measured(group) for group in wanted or GROUPS if wanted or group not in LONG]
    if not wanted:
        frames += [
            pd.read_csv(file) for group in LONG if (file := RESULTS / f"{group}.csv").exists()
        ]
    table = pd.concat(frames, ignore_index=True)
    absent = [group for group in LONG if not wanted and not (RESULTS / f"{group}.csv").exists()]
    shown = table[["work", "peer", "value", "unit", "goal", "verdict", "commit", "note"]]
    print(shown.astype(object).where(shown.notna(), "").to_markdown(index=False))
    for group in absent:
        print(f"{group}: not measured yet (make bench-{group})")
    return int((table["verdict"] == "short").any())


if __name__ == "__main__":
    sys.exit(main())
