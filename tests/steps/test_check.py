"""Datasets and weights against their digests, before any training starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workflows.config.datasets import read_dataset
from workflows.data import prepare
from workflows.data.records import WeightsRecord
from workflows.errors import DataError
from workflows.files import digest
from workflows.steps.check import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    prepare(read_dataset("mnist_5k"), tmp_path / "mnist_5k")
    return tmp_path / "mnist_5k"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    file = folder / "net.safetensors"
    file.write_bytes(b"numbers")
    record = WeightsRecord(
        network="net", route="", files=[], features="", sha256=digest(file), parameters=7
    )
    (folder / "net.json").write_text(record.model_dump_json())
    return folder


def test_a_flipped_pixel_is_refused_by_name(dataset: Path, weights: Path) -> None:
    file = dataset / "train.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x08")
    with pytest.raises(DataError, match=r"train.npy: sha256 is not .* prepare it again"):
        main([dataset], weights, dataset.with_name("checked.json"))
    assert not dataset.with_name("checked.json").exists()


def test_a_flipped_weight_is_refused_by_name(dataset: Path, weights: Path) -> None:
    (weights / "net.safetensors").write_bytes(b"Numbers")
    with pytest.raises(DataError, match=r"net.safetensors: sha256 is .*, expected .*get it again"):
        main([dataset], weights, dataset.with_name("checked.json"))


def test_the_command_says_so_in_one_line(dataset: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "checked.json"
    command = [sys.executable, "-m", "workflows.steps.check", "--datasets", str(dataset)]
    command += ["--weights", str(weights), "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    sums = json.loads(out.read_text())
    assert {name: set(parts) for name, parts in sums.items()} == {
        "mnist_5k": {"train", "test"},
        "net": {"weights"},
    }
    (dataset / "test.npy").write_bytes(b"")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("check: ")
    assert "test.npy" in done.stderr
    assert len(done.stderr.splitlines()) == 1
