"""A step that fails fails its job, whatever it leaves behind, and one that is killed says so."""

from __future__ import annotations

import pytest

from tests.faults.place import Done, make

FAILS = """
import sys
from pathlib import Path
from workflows.weight_sources import NETWORKS
out = Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
for name in NETWORKS:
    (out / f"{name}.safetensors").touch()
    (out / f"{name}.json").touch()
sys.exit("weights: told to fail")
"""
IS_KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run of two steps: one fails although its outputs are there, the other is killed."""
    place = make(tmp_path_factory.mktemp("failing") / "copy")
    steps = place.root / "workflows" / "steps"
    (steps / "weights.py").write_text(FAILS)
    (steps / "prepare.py").write_text(IS_KILLED)
    targets = (".cache/weights/inception.safetensors", ".cache/datasets/mnist_5k/dataset.json")
    return place.run(*targets, options=("--keep-going",))


def test_a_step_that_fails_behind_a_pipe_is_a_failure(done: Done) -> None:
    """Its output is there before it fails, so that nothing but its status can tell."""
    assert "weights: told to fail" in done.said
    assert "Removing output files of failed job weights" in done.said
    assert done.status == 1, done.said


def test_a_step_that_is_killed_says_what_to_do(done: Done) -> None:
    """Also where no process waits for it that could: at the last its own may be the one killed."""
    said = done.says("killed by signal 9", "for want of memory", "run again")
    assert done.said.count(said) == 1
    assert "returned non-zero exit status 137" in done.said
