"""The steps' command lines, on the embedded digits."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.knobs import typed
from workflows.config.plan import PlannedEvaluation, Spec
from workflows.config.reading import read_yaml
from workflows.config.settings import Defaults

ROOT = Path(__file__).parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def spec_of(method: str = "cvq_vae", **changes: Any) -> str:
    """A cell on 64 digits, two epochs of two batches, as the train step reads it."""
    filmed = changes.pop("filmed", False)
    defaults = read_yaml(ROOT / "workflows" / "defaults.yaml", Defaults)
    network = changes.get("network", "convnet")
    knobs = typed(
        {
            **defaults.of_autoencoder(method, network, 1),
            "dataset": "mnist_5k",
            "method": method,
            "seed": 0,
            "distance": "cosine",
            "codebook_size": 32,
            "code_dim": 8,
            "epochs": 2,
            "batch_size": 32,
            "train_images": 64,
            **changes,
        }
    )
    cell = f"mnist_5k/{method}/default/seed0"
    versions = {"method": 1, "training": 2}
    spec = Spec(budget="smoke", cell=cell, knobs=knobs, versions=versions, filmed=filmed)
    return spec.model_dump_json()


def evaluation_of(**changes: Any) -> str:
    """What the evaluate step measures of such a cell."""
    wanted = {"protocols": ["exact"], "versions": {"PSNR": 1}, "fid_images": 8, "lpips_images": 8}
    return PlannedEvaluation.model_validate({**wanted, **changes}).model_dump_json()


def python(
    *arguments: object, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python` on the processor, as a clone without local data would.

    variables: of its environment, beside this process's.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CODEBOOK_DATA"}
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
    """What the steps wrote, one after the other. said: what the training printed."""

    data: Path
    weights: Path
    reference: Path
    cell: Path
    said: str

    def evaluate(self, *changes: object) -> list[object]:
        """The evaluate step's options; a later option wins over an earlier one."""
        places = ["--data", self.data, "--weights", self.weights, "--reference", self.reference]
        return ["--cell", self.cell, *places, "--evaluation", evaluation_of(), *changes]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Chain:
    root = tmp_path_factory.mktemp("steps")
    data, weights, reference = root / "mnist_5k", root / "weights", root / "exact-8.safetensors"
    command("prepare", "--dataset", "mnist_5k", "--out", data)
    command("weights", "--out", weights)
    places = ["--data", data, "--weights", weights, "--out", reference]
    command("reference", *places, "--protocol", "exact", "--images", 8, "--threads", 1)
    places = ["--data", data, "--out", root / "cell", "--threads", 1]
    said = command("train", "--spec", spec_of(), *places).stdout
    made = Chain(data, weights, reference, root / "cell", said)
    command("evaluate", *made.evaluate("--threads", 1))
    return made


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refused]:
    """Run a step's command line that must exit with 1 and say why in one line.

    In this process: another one would spend three seconds on imports. Returns the line.
    """

    def call(step: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [step, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"workflows.steps.{step}", run_name="__main__", alter_sys=True)
        error = str(ended.value.code)
        assert not error.isdigit(), "the step ended well"
        assert "\n" not in error, error
        return error

    yield call
    # The train step sets it for its own process.
    torch.set_flush_denormal(False)
