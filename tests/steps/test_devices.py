"""Which device a process works on; no GPU is needed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workflows import devices
from workflows.schema import ConfigError

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from workflows import devices
print(devices.lease(2, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_processes_spread_over_gpus_and_give_them_back(tmp_path: Path) -> None:
    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def gpu(process: subprocess.Popen) -> int:
        return int(process.stdout.readline())

    processes = [start() for _ in range(4)]
    given = [gpu(process) for process in processes]
    assert sorted(given) == [0, 0, 1, 1]
    gone = processes.pop(given.index(1))
    gone.kill()
    gone.wait()
    processes.append(start())
    assert gpu(processes[-1]) == 1
    for process in processes:
        process.communicate()


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"), [(0, None, "cpu"), (1, None, "cuda:0"), (4, "2,3", "cuda:0")]
)
def test_without_a_choice_nothing_is_leased(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: int, visible: str | None, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert str(devices.choose(tmp_path / "leases")) == expected
    assert not (tmp_path / "leases").exists()


def test_several_gpus_are_leased(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_HELD", [])
    assert [devices.choose(tmp_path).index for _ in range(3)] == [0, 1, 0]


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


def test_want_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert "lower batch_size" in devices.out_of_memory(caught.value)
    assert "out of memory" in devices.out_of_memory(MemoryError())
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        devices.out_of_memory(RuntimeError("shapes do not fit"))
