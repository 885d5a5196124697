"""The whole default budget in a copy of the repository, on two cores; about 25 minutes."""

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
    """Yield the minutes that `all_tables` takes with everything that it needs."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
    command += ["--config", f"budget={BUDGET}", "--", "all_tables"]
    with tempfile.TemporaryDirectory() as folder:
        # Copy the files that are committed or staged, but no results that this checkout has made.
        copy = ["git", "checkout-index", "--all", f"--prefix={folder}/"]
        subprocess.run(copy, cwd=ROOT, check=True)
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True)
        minutes = (time.perf_counter() - start) / 60
    yield Row(f"all_tables at {BUDGET}, {CORES} cores", "-", minutes, 25, "min", at_most=True)
