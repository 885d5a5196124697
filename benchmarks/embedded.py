"""`all_tables` at the default budget in a copy of the repository, on two cores.

First the tables of autoencoders, then what is left: generation, its first stages and the site.
Half an hour to an hour; `python -m benchmarks embedded` runs it and keeps the outcome, which `make
bench` then prints with the commit it was measured at.
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
from workflows.data import describe, names
from workflows.grid import load_grid
from workflows.planning import FIGURES

ROOT = Path(__file__).parents[1]
BUDGET, CORES = "embedded", 2
EVALUATED = re.compile(r"evaluated in ([0-9.]+) s")


def copied(folder: Path) -> Path:
    """The tracked files, and nothing that this checkout has made."""
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


def of_autoencoders(budget: str) -> list[str]:
    """What Snakemake is asked for: all tables but those of generation and of its first stages, and
    their figures.
    """
    grid = load_grid(budget, {name: describe(name) for name in names()})
    tables = [
        name
        for name, experiment in grid.tables.items()
        if experiment.get("stage", 1) == 1 and not experiment.get("first_stages")
    ]
    return [f"results/{budget}/tables/{name}.md" for name in tables] + [
        f"figures/{budget}/{name}.svg" for name, of in FIGURES.items() if of["table"] in tables
    ]


def minutes(folder: Path, targets: list[str]) -> float:
    """That Snakemake takes for them in a copy of the repository."""
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    start = time.perf_counter()
    subprocess.run(
        [snakemake, "--cores", str(CORES), "--config", f"budget={BUDGET}", "--", *targets],
        cwd=folder,
        check=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return (time.perf_counter() - start) / 60


def rows() -> Iterator[Row]:
    """Three rows."""
    with tempfile.TemporaryDirectory() as place:
        folder = copied(Path(place))
        wall = minutes(folder, of_autoencoders(BUDGET))
        spent = useful(folder / f"results/{BUDGET}/cells", folder / f"logs/{BUDGET}") / 60
        work = f"tables of autoencoders at {BUDGET}, {CORES} cores"
        yield Row(work, "-", wall, 25, "min", at_most=True)
        share = 100 * (1 - spent / (CORES * wall))
        yield Row(f"{work}: neither step nor metric", "its time", share, 15, "%", at_most=True)
        rest = minutes(folder, ["all_tables"])
        work = f"the rest of all_tables at {BUDGET}, generation, {CORES} cores"
        yield Row(work, "-", rest, 10, "min", at_most=True)
