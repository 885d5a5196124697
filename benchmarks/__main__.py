"""Measure our speed: `python -m benchmarks [quantiser] [step] [evaluation] [embedded] [gpu]`.

Prints one line a row and writes benchmarks/results/<group>.csv. Without names, `embedded` and `gpu`
are not measured; their last results are printed. The exit code is 1 if a goal is missed.
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

SHORT, LONG = ("quantiser", "step", "evaluation"), ("embedded", "gpu")
RESULTS = Path(__file__).parent / "results"
SHOWN = ["work", "peer", "value", "unit", "goal", "verdict", "note", "commit"]


def measured(group: str) -> pd.DataFrame:
    """Measure a group of rows and write them to its CSV file."""
    head, dirty = commit()
    machine = f"{torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    origin = {"commit": head + ("+" if dirty else ""), "torch": torch.__version__, "cpu": machine}
    rows = []
    for row in importlib.import_module(f"benchmarks.{group}").rows():
        print(f"{row.work}, against {row.peer}: {row.value:.3g} {row.unit}, {row.verdict}")
        rounded = {"value": round(row.value, 2), "verdict": row.verdict}
        rows.append({**asdict(row), **rounded, **origin})
    frame = pd.DataFrame(rows)[[*SHOWN, "torch", "cpu"]]
    frame.to_csv(RESULTS / f"{group}.csv", index=False)
    return frame


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    allowed = ", ".join(SHORT + LONG)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {allowed}")
    named = parser.parse_args().groups
    if unknown := set(named) - {*SHORT, *LONG}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; allowed: {allowed}")
    frames = [measured(group) for group in named or SHORT]
    files = [RESULTS / f"{group}.csv" for group in LONG if not named]
    frames += [pd.read_csv(file) for file in files if file.exists()]
    table = pd.concat(frames, ignore_index=True)
    print(table[SHOWN].astype(object).fillna("").to_markdown(index=False))
    return int((table["verdict"] == "short").any())


if __name__ == "__main__":
    sys.exit(main())
