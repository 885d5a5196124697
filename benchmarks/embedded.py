"""The whole default budget in a copy of the repository, on two cores; half an hour or more."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row

ROOT = Path(__file__).parents[1]
BUDGET, CORES = "embedded", 2


def rows() -> Iterator[Row]:
    """One row: the minutes of `all_tables`, with everything that it needs."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
    with tempfile.TemporaryDirectory() as folder:
        # The files that are committed or staged, and no results that this checkout has made.
        copy = ["git", "checkout-index", "--all", f"--prefix={folder}/"]
        subprocess.run(copy, cwd=ROOT, check=True)
        start = time.perf_counter()
        budget = ["--config", f"budget={BUDGET}"]
        subprocess.run([*command, *budget, "--", "all_tables"], cwd=folder, check=True)
        minutes = (time.perf_counter() - start) / 60
    yield Row(f"all_tables at {BUDGET}, {CORES} cores", "-", minutes, 35, "min", at_most=True)
