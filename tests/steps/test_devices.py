"""Which device a process works on; no GPU is needed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from workflows.config import machine
from workflows.errors import BenchmarkError, ConfigError
from workflows.training import devices

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from workflows.training import devices
print(devices.lease([0, 1], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_processes_spread_over_gpus_and_give_them_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call, pipe = [sys.executable, "-c", HOLD, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(call, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as other:
        assert int(other.stdout.readline()) == 0
        monkeypatch.setattr(devices, "_HELD", ExitStack())
        assert devices.lease([0, 1], tmp_path) == 1
        other.kill()
        other.wait()
        assert devices.lease([0, 1], tmp_path) == 0


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that torch sees two GPUs, and that this process holds none yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_HELD", ExitStack())


@pytest.mark.usefixtures("gpus")
def test_jobs_spread_over_gpus_and_each_of_several_processes_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [devices.choose(tmp_path).index for _ in range(3)] == [0, 1, 0]
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [devices.choose(tmp_path).index for _ in range(2)] == [1, 1]


def test_without_a_gpu_the_processor_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose(tmp_path / "locks") == torch.device("cpu")
    assert not (tmp_path / "locks").exists()


def test_cells_that_share_a_gpu_cannot_count_on_the_same_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four start at once and all find the GPU empty; together they fit."""
    monkeypatch.setenv(machine.CELLS_PER_GPU, "4")
    for free, expected in ((80, 20), (5, 5)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 80))
        assert devices.free_memory(torch.device("cuda")) == expected


@pytest.mark.parametrize(("variable", "count"), [(None, 2), ("", 0), ("-1", 0), ("0,3,5", 3)])
def test_gpus_are_counted_without_torch(tmp_path: Path, variable: str | None, count: int) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert machine.gpus_here(environment, tmp_path) == count


def test_no_more_jobs_run_than_there_are_cores_and_may_share_the_gpus() -> None:
    """With --cores 64 Snakemake still runs at most a job a core, and six on two GPUs of three."""
    cell = "results/smoke/cells/photo_patches/cvq_vae/default/seed0/metrics.csv"
    config = ["--config", "budget=smoke", "cells_per_gpu=3", "retrain=true"]
    # The features may be here already.
    config += ["--forcerun", "reference"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.slurm.planned", "--cores", "64", *config, "--", cell],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "0,1"},
        capture_output=True,
        text=True,
        check=True,
    )
    jobs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert all(job["limits"]["gpu"] == 6 for job in jobs)
    assert all(job["limits"]["cpu"] == os.cpu_count() for job in jobs)
    for resource in ("cpu", "gpu"):
        asking = {job["message"].split()[0] for job in jobs if job["resources"].get(resource) == 1}
        assert asking >= {"Inception", "Train", "Evaluate"}


def test_tf32_is_for_gpus_and_never_for_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="allowed on this machine: fp32, bf16"):
        devices.set_precision("tf32", torch.device("cpu"))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        for precision in ("tf32", "fp32", "bf16"):
            devices.set_precision(precision, torch.device("cuda"))
            assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
            assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), BenchmarkError, r"cell: out of memory .*lower batch_size"),
        (RuntimeError("can't allocate memory: 9 bytes"), BenchmarkError, "cell: out of memory"),
        (RuntimeError("shapes do not fit"), RuntimeError, "^shapes do not fit"),
    ],
)
def test_a_lack_of_memory_is_explained_and_nothing_else(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message), devices.memory_explained(Path("cell")):
        raise error
