"""The steps' command lines, on the embedded digits."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from workflows.schema import load_yaml, validate

ROOT = Path(__file__).parents[2]
LIMITS = ["--fid-images", 8, "--lpips-images", 8]

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def spec_of(**changes: Any) -> str:
    """A cell on 64 digits, two epochs of two batches, as the train step reads it."""
    knobs = {
        **load_yaml(ROOT / "workflows" / "defaults.yaml", "defaults")["knobs"],
        "dataset": "mnist_5k",
        "method": "cvq_vae",
        "seed": 0,
        "codebook_size": 32,
        "code_dim": 8,
        "epochs": 2,
        "batch_size": 32,
        "train_images": 64,
        **changes,
    }
    validate(knobs, "cell", "spec")
    cell = f"mnist_5k/{knobs['method']}/default/seed0"
    return json.dumps({"budget": "smoke", "cell": cell, "knobs": knobs})


def python(
    *arguments: object, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python` on the processor, as a clone without local data or weights would.

    variables: of its environment, beside this process's.
    """
    unset = ("CODEBOOK_DATA", "CODEBOOK_WEIGHTS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**environment, **(variables or {}), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a step with arguments as Snakemake's jobs do; it must succeed in silence."""

    def run(step: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = python("-m", f"workflows.steps.{step}", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done

    return run


@dataclass(frozen=True)
class Chain:
    """What the steps wrote, one after the other."""

    data: Path
    weights: Path
    reference: Path
    cell: Path

    def evaluate(self, *changes: object) -> list[object]:
        """The evaluate step's options; a later option wins over an earlier one."""
        places = ["--data", self.data, "--weights", self.weights, "--reference", self.reference]
        return ["--cell", self.cell, *places, "--protocols", "exact", *LIMITS, *changes]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Chain:
    root = tmp_path_factory.mktemp("steps")
    made = Chain(root / "mnist_5k", root / "weights", root / "exact-8.safetensors", root / "cell")
    command("prepare", "--dataset", "mnist_5k", "--out", made.data)
    command("weights", "--out", made.weights)
    places = ["--data", made.data, "--weights", made.weights, "--out", made.reference]
    command("reference", *places, "--protocol", "exact", "--images", 8, "--threads", 1)
    places = ["--data", made.data, "--out", made.cell]
    command("train", "--spec", spec_of(), *places, "--threads", 1)
    command("evaluate", *made.evaluate("--threads", 1))
    return made


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Refused]:
    """Call a step's main() on a command line that must exit with 1 and say why in one line.

    In this process: another one would spend three seconds on imports. Returns the line.
    """

    def call(step: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [step, *map(str, arguments)])
        capfd.readouterr()
        assert importlib.import_module(f"workflows.steps.{step}").main() == 1
        error = capfd.readouterr().err
        assert error.count("\n") == 1, error
        assert "Traceback" not in error
        return error

    yield call
    # The train step sets it for its own process.
    torch.set_flush_denormal(False)
