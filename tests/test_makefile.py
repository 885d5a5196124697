"""What `make cell` would run, in a clone with the records of others and no models."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CELL = "mnist_5k/cvq_vae/closest/seed0"
# What a dry run reads.
PARTS = ["Snakefile", "workflows", "models", "baselines", "requirements.lock", "environment.yml"]


def recipe() -> list[list[str]]:
    """The arguments of each call of Snakemake in `make cell`."""
    command = ["make", "-n", "cell", "BUDGET=smoke", f"CELL={CELL}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = done.stdout.replace("\\\n", " ")
    variables = dict(re.findall(r'\b(\w+)="([^"]*)" &&', said))
    calls = re.findall(r"\.venv/bin/snakemake ([^\n]*?)(?: && |\n)", said)
    return [
        shlex.split(re.sub(r"\$(\w+)", lambda m: variables.get(m[1], m[0]), call)) for call in calls
    ]


def planned(clone: Path, arguments: list[str]) -> list[str]:
    """The messages of the jobs that Snakemake would run there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.slurm.planned", *arguments],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line)["message"] for line in done.stdout.splitlines() if line[:1] == "{"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which another cell has been evaluated elsewhere: its records, but no model."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, tmp_path / part)
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    other = tmp_path / "results" / "smoke" / "cells" / CELL.replace("closest", "random")
    other.mkdir(parents=True)
    (other / "metrics.csv").write_text("protocol,metric,value,images,features\n")
    return tmp_path


def test_one_cell_is_trained_and_no_other(clone: Path) -> None:
    training, rendering = recipe()
    jobs = planned(clone, training)
    made = [job for job in jobs if re.match("(Train|Evaluate|Sample) ", job)]
    assert made == [f"Train {CELL}", f"Evaluate {CELL}"]
    # Its tables are rendered from what is there.
    targets = [*rendering[: rendering.index("--") + 1], "results/smoke/tables/anchors.md"]
    jobs = planned(clone, targets)
    assert "Table anchors" in jobs
    assert not [job for job in jobs if re.match("(Train|Evaluate|Prepare) ", job)]
