"""A training on two processes is the training of one process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.trainings import CASES
from tests.generation.conftest import Made, diffusion_spec, made
from tests.steps.conftest import Command, Refused, command, python, refused, spec_of
from workflows.errors import ConfigError
from workflows.training import processes
from workflows.training.processes import own_rows

pytestmark = pytest.mark.slow

__all__ = ["command", "made", "refused"]

COUNT = 2


def generator_options(made: Made, out: Path) -> list[object]:
    """Options of train_generator: 15 of 31 images are 8 and 7, and the last batch has one image."""
    spec = diffusion_spec(train_images=31, batch_size=15, conditional=True).model_dump_json()
    places = ["--data", made.data, "--stage1", made.stage1, "--latents", made.latents]
    return ["--spec", spec, *places, "--out", out]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, made: Made, command: Command) -> Path:
    """The folder of what each process ended with, and of the generative model that they trained.

    The processes run the command of train_generator with several processes, and before that step
    they train autoencoders.
    """
    out = tmp_path_factory.mktemp("distributed")
    options = [*generator_options(made, out / "generator"), "--processes", COUNT]
    started: list[str] = []

    def execv(_: str, arguments: list[str]) -> NoReturn:
        started.extend(arguments)
        sys.exit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(os, "execv", execv)
        patch.setenv("OMP_NUM_THREADS", "1")
        command("train_generator", *options)
    step = started.index("workflows.steps.train_generator")
    launcher, arguments = started[1:step], started[step + 1 :]
    assert arguments == [str(option) for option in options]
    started_here = [*launcher, "tests.distributed.trainings", out, *arguments]
    done = python(*started_here, variables={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_an_autoencoder_as_one_does(together: Path, name: str) -> None:
    both = [load_file(together / f"{name}.{rank}.safetensors") for rank in range(COUNT)]
    assert all(torch.equal(value, both[1][key]) for key, value in both[0].items())
    expected = CASES[name]()
    assert expected.keys() == both[0].keys()
    for key, value in expected.items():
        torch.testing.assert_close(both[0][key], value, rtol=1e-4, atol=1e-6, msg=key)


def test_two_processes_train_a_generative_model_as_one_does(
    together: Path, made: Made, command: Command, tmp_path: Path
) -> None:
    command("train_generator", *generator_options(made, tmp_path))
    folders = {1: tmp_path, 2: together / "generator"}
    for processes_, folder in folders.items():
        record = json.loads((folder / "train.json").read_text())
        assert (record["processes"], record["steps"]) == (processes_, 9)
    one, two = (load_file(folder / "model.safetensors") for folder in folders.values())
    # Adam makes a step of any gradient, and a few are zero but for rounding: those weights may be
    # half of one of its nine steps apart. All others decide the mean: a learning rate of 1 % more
    # gives 4e-5 here, and other batches 3e-3.
    apart = [(value - two[name]).double().flatten() for name, value in one.items()]
    assert torch.cat(apart).abs().max() < 5e-4
    assert torch.cat(apart).square().mean().sqrt() < 1e-5
    logs = [pd.read_csv(folder / "log.csv")["loss"] for folder in folders.values()]
    assert logs[0].to_numpy() == pytest.approx(logs[1].to_numpy(), rel=1e-4)


def test_the_main_process_decides_what_all_compute_alike(together: Path) -> None:
    for rank in range(COUNT):
        weight = load_file(together / f"agreed.{rank}.safetensors")["weight"]
        assert torch.equal(weight, torch.zeros(2, 2))
        assert json.loads((together / f"main.{rank}.json").read_text()) == (rank == 0)


def test_parts_are_the_batch() -> None:
    for images, count in ((7, 4), (8, 4), (2, 4), (1, 3), (5, 1)):
        parts = [own_rows(images, process, count) for process in range(count)]
        assert len({len(part) for part in parts}) == 1
        assert torch.cat(parts)[:images].tolist() == list(range(images))


def test_numbers_of_processes_that_make_no_sense_are_refused(
    tmp_path: Path, refused: Refused
) -> None:
    diffusion = diffusion_spec(batch_size=7).model_dump_json()
    for step, spec, wanted, most in (
        ("train", spec_of(), 2, 1),
        ("train_generator", diffusion, 0, 7),
        ("train_generator", diffusion, 8, 7),
    ):
        options = ["--spec", spec, "--data", tmp_path, "--out", tmp_path, "--processes", wanted]
        expected = f"{step}: --processes: {wanted}; allowed: 1 to {most} for this model"
        assert refused(step, *options) == expected


def test_no_more_processes_are_started_than_there_are_gpus_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started others"))
    with pytest.raises(ConfigError, match="--processes: 3; this machine has 2 GPUs"):
        processes.start(3, 8, "workflows.steps.train")
    monkeypatch.setenv("LOCAL_RANK", "1")
    processes.start(2, 8, "workflows.steps.train")
