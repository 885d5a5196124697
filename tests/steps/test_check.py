"""Datasets and weights against their digests, before any training starts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workflows.data import DataError
from workflows.steps.check import digests

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "made_up"
    folder.mkdir()
    record: dict = {"name": "made_up", "image_size": 8, "channels": 1}
    for part in ("train", "test"):
        file = folder / f"{part}.npy"
        np.save(file, np.full((3, 1, 8, 8), 7, np.uint8))
        raw = file.read_bytes()
        about = {"file": file.name, "images": 3, "bytes": len(raw)}
        record[part] = {**about, "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "dataset.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "net.safetensors").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    (folder / "net.json").write_text(json.dumps({"sha256": digest}))
    return folder


def test_whole_files_pass(dataset: Path, weights: Path) -> None:
    found = digests([dataset], weights)
    assert set(found) == {"made_up", "net"}
    assert set(found["made_up"]) == {"train", "test"}


def test_a_flipped_pixel_is_refused_by_name(dataset: Path, weights: Path) -> None:
    file = dataset / "train.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x08")
    with pytest.raises(DataError, match=r"train.npy: sha256 is not .* prepare it again"):
        digests([dataset], weights)


def test_a_flipped_weight_is_refused_by_name(dataset: Path, weights: Path) -> None:
    (weights / "net.safetensors").write_bytes(b"Numbers")
    with pytest.raises(ValueError, match=r"net.safetensors: sha256 is .* must be .* delete it"):
        digests([dataset], weights)


def test_the_command_says_so_in_one_line(dataset: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "checked.json"
    command = [sys.executable, "-m", "workflows.steps.check", "--datasets", str(dataset)]
    command += ["--weights", str(weights), "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert set(json.loads(out.read_text())) == {"made_up", "net"}
    (dataset / "test.npy").write_bytes(b"")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("check: ")
    assert "test.npy" in done.stderr
    assert len(done.stderr.splitlines()) == 1
