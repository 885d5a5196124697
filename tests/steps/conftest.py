"""The steps' command lines, on the embedded digits."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from tests.knobs import small
from workflows.config.datasets import read_dataset
from workflows.config.plan import PlannedEvaluation, Spec
from workflows.data.cache import prepare

ROOT = Path(__file__).parents[2]

Command = Callable[..., str]
Refused = Callable[..., str]


def spec_of(method: str = "cvq_vae", filmed: bool = False, **changes: Any) -> str:
    """A cell on 64 digits, two epochs of two batches, as the train step reads it."""
    codebook = {"distance": "cosine", "codebook_size": 32, "code_dim": 8}
    short = {"dataset": "mnist_5k", "seed": 0, "train_images": 64, "batch_size": 32}
    spec = Spec(
        budget="smoke",
        cell=f"mnist_5k/{method}/default/seed0",
        knobs=small(method, **{**codebook, **short, **changes}),
        versions={"method": 1, "training": 2},
        filmed=filmed,
    )
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


def step(name: str, *arguments: object) -> tuple[str | int | None, str, str]:
    """Run a step's command line: why it ended, and what it said on standard output and error.

    In this process: another one would spend three seconds on imports.
    """
    said, complained = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [name, *map(str, arguments)]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_module(f"workflows.steps.{name}", run_name="__main__", alter_sys=True)
    # The train step sets it for its own process.
    torch.set_flush_denormal(False)
    return ended.value.code, said.getvalue(), complained.getvalue()


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a step that must succeed in silence; what it printed."""

    def run(name: str, *arguments: object) -> str:
        code, said, complained = step(name, *arguments)
        assert code in (None, 0), code
        assert complained == ""
        return said

    return run


@pytest.fixture(scope="session")
def refused() -> Refused:
    """Run a step that must exit with 1 and say why in one line, which this returns."""

    def run(name: str, *arguments: object) -> str:
        error = str(step(name, *arguments)[0])
        assert error not in ("None", "0"), "the step ended well"
        assert "\n" not in error, error
        return error

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded digits, prepared."""
    folder = tmp_path_factory.mktemp("data") / "mnist_5k"
    prepare(read_dataset("mnist_5k"), folder)
    return folder


@dataclass(frozen=True)
class Chain:
    """What the steps wrote, one after the other. said: what the training printed."""

    data: Path
    reference: Path
    cell: Path
    said: str

    def evaluate(self, *changes: object) -> list[object]:
        """The evaluate step's options; a later option wins over an earlier one."""
        places = ["--data", self.data, "--reference", self.reference]
        return ["--cell", self.cell, *places, "--evaluation", evaluation_of(), *changes]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Chain:
    root = tmp_path_factory.mktemp("steps")
    data, reference = root / "mnist_5k", root / "exact-8.safetensors"
    command("prepare", "--dataset", "mnist_5k", "--out", data)
    places = ["--data", data, "--out", reference]
    command("reference", *places, "--protocol", "exact", "--images", 8, "--threads", 1)
    places = ["--data", data, "--out", root / "cell", "--threads", 1]
    said = command("train", "--spec", spec_of(), *places)
    made = Chain(data, reference, root / "cell", said)
    command("evaluate", *made.evaluate("--threads", 1))
    return made
