"""A disk that is full: nothing half-written is left, and the next run goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.steps.conftest import Command, Refused, spec_of

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that has no room for a second state of a training."""
    folder = tmp_path / "cell"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "small-disk", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_training_on_a_full_disk_goes_on_once_there_is_room(
    digits: Path, small_disk: Path, refused: Refused, command: Command, tmp_path: Path
) -> None:
    options = ["--spec", spec_of(), "--data", digits, "--threads", 1, "--out"]
    error = refused("train", *options, small_disk)
    assert f"train: {small_disk}/state/last.safetensors: could not be written" in error
    assert "No space left on device" in error
    assert "run again once there is room" in error
    assert not (small_disk / "train.json").exists()
    assert not list(small_disk.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    undisturbed = tmp_path / "undisturbed"
    for folder in (small_disk, undisturbed):
        command("train", *options, folder)
    records = [json.loads((at / "train.json").read_text()) for at in (small_disk, undisturbed)]
    assert records[0]["model_sha256"] == records[1]["model_sha256"]
