"""A training on two processes is the training of one process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.trainings import CASES
from tests.generation.conftest import diffusion_spec
from tests.steps.conftest import Refused, python, spec_of
from tests.steps.conftest import refused as refused
from workflows.errors import ConfigError
from workflows.training import processes
from workflows.training.processes import own_rows

pytestmark = pytest.mark.slow

COUNT = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what each process ended with."""
    out = tmp_path_factory.mktemp("distributed")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={COUNT}"]
    variables = {"OMP_NUM_THREADS": "1"}
    done = python(*launcher, "-m", "tests.distributed.trainings", out, variables=variables)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one_does(made: Path, name: str) -> None:
    both = [load_file(made / f"{name}.{rank}.safetensors") for rank in range(COUNT)]
    assert all(torch.equal(value, both[1][key]) for key, value in both[0].items())
    expected = CASES[name]()
    assert expected.keys() == both[0].keys()
    for key, value in expected.items():
        torch.testing.assert_close(both[0][key], value, rtol=1e-4, atol=1e-6, msg=key)


def test_the_main_process_decides_what_all_compute_alike(made: Path) -> None:
    for rank in range(COUNT):
        weight = load_file(made / f"agreed.{rank}.safetensors")["weight"]
        assert torch.equal(weight, torch.zeros(2, 2))
        assert json.loads((made / f"main.{rank}.json").read_text()) == (rank == 0)


@pytest.mark.parametrize(("images", "count"), [(7, 4), (8, 4), (2, 4), (1, 3), (5, 1)])
def test_parts_are_the_batch(images: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = iter(range(count))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: next(ranks))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: count)
    parts = [own_rows(torch.empty(images)) for _ in range(count)]
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
