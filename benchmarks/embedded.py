"""`all_tables` at the default budget in a copy of the repository, on two cores.

Half an hour; `python -m benchmarks embedded` runs it and keeps the outcome, which `make bench`
then prints with the commit it was measured at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row

ROOT = Path(__file__).parents[1]
CORES = 2
EVALUATED = re.compile(r"evaluated in ([0-9.]+) s")


def copied(folder: Path) -> Path:
    """The tracked files, with this checkout's data and weights, prepared already."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def useful(cells: Path, logs: Path) -> float:
    """Seconds that all trainings and evaluations spent on steps and metrics."""
    trained = [json.loads(file.read_text())["seconds"] for file in cells.rglob("train.json")]
    measured = [
        float(seconds)
        for file in logs.rglob("evaluate.log")
        for seconds in EVALUATED.findall(file.read_text())
    ]
    assert len(trained) == len(measured) > 0
    return sum(trained) + sum(measured)


def rows() -> Iterator[Row]:
    """Two rows."""
    with tempfile.TemporaryDirectory() as place:
        folder = copied(Path(place))
        snakemake = str(Path(sys.executable).with_name("snakemake"))
        start = time.perf_counter()
        subprocess.run(
            [snakemake, "--cores", str(CORES), "--config", "budget=embedded", "--", "all_tables"],
            cwd=folder,
            check=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        wall = time.perf_counter() - start
        spent = useful(folder / "results/embedded/cells", folder / "logs/embedded")
    work = f"all_tables at embedded, {CORES} cores"
    yield Row(work, "-", wall / 60, 25, "min", at_most=True)
    share = 100 * (1 - spent / (CORES * wall))
    yield Row(f"{work}: neither step nor metric", "its time", share, 15, "%", at_most=True)
