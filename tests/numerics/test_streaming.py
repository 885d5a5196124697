"""Trainings that read images or latents from files: no number depends on that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.data.limited import linux, python
from tests.generation.conftest import diffusion_spec
from tests.steps.conftest import spec_of
from workflows.config.datasets import read_dataset
from workflows.config.plan import Spec
from workflows.data import cache, memory
from workflows.data.records import ArrayRecord, DatasetRecord
from workflows.evaluation import reconstructions as evaluation
from workflows.evaluation.protocol import load_protocol
from workflows.steps import latents, train, train_generator
from workflows.training import stage1
from workflows.training.spaces import digest, read_latents
from workflows.training.stage1 import batches, on_device
from workflows.training.tensor_files import CheckpointError, open_rows, write_rows

READ = """
import sys
import numpy as np, torch
from workflows.data.cache import load_train
from workflows.data.memory import hold
from workflows.training.stage2 import Points
from workflows.training.stage1 import batches, on_device
limit(200)
loaded = load_train(Path(sys.argv[1]))
images = hold(loaded.train)
assert images.nbytes > 250e9
cpu = torch.device("cpu")
source = on_device(images, cpu)
for _, batch in zip(range(3), batches(source, 64, 0, 0)):
    assert batch.shape == (64, 3, 256, 256)
points = Points(images, None)
assert points.batch(torch.tensor([1276166, 0, 5]), cpu).shape == (3, 3, 256, 256)
"""


@linux
def test_training_reads_as_many_images_as_imagenet_has(tmp_path: Path) -> None:
    """252 GB, of which none is on disk, with 200 MiB to spare."""
    count = read_dataset("imagenet").images.train
    try:
        np.lib.format.open_memmap(tmp_path / "train.npy", "w+", np.uint8, (count, 3, 256, 256))
    except OSError as error:
        pytest.skip(f"no file of that size here: {error}")
    file = tmp_path / "train.npy"
    array = ArrayRecord(file=file.name, images=count, sha256="")
    record = DatasetRecord(
        **{"name": "imagenet", "image_size": 256, "channels": 3, "variance": 0.1},
        **{"train": array, "test": array},
        validation=5000,
    )
    (tmp_path / "dataset.json").write_text(record.model_dump_json())
    done = python(READ, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_gpu_that_is_too_small_reads_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images, device = np.zeros((4, 1, 2, 2), np.uint8), torch.device("meta")
    monkeypatch.setattr(stage1, "free_memory", lambda device: 64)
    assert isinstance(on_device(images, device), torch.Tensor)
    monkeypatch.setattr(stage1, "free_memory", lambda device: 63)
    source = on_device(images, device)
    assert source is images
    assert [len(batch) for batch in batches(source, 3, 0, 0)] == [3, 1]
    assert isinstance(on_device(images, torch.device("cpu")), torch.Tensor)


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv", dtype=str).drop(columns=["images_per_second", "seconds"])


def both_ways(
    monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path], run: Callable[[Path], object]
) -> None:
    """Train held and streamed: the same log and weights to the last bit."""
    for limit, folder in zip(("1", "0"), folders, strict=True):
        monkeypatch.setenv(memory.VARIABLE, limit)
        run(folder)
    held, streamed = folders
    pd.testing.assert_frame_equal(log_of(held), log_of(streamed))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(ours) > 10


def test_no_training_depends_on_where_its_images_or_points_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digits = tmp_path / "mnist_5k"
    cache.prepare(read_dataset("mnist_5k"), digits)
    sources = []
    real = stage1.on_device

    def spied(images: np.ndarray, device: torch.device) -> Any:
        sources.append(real(images, device))
        return sources[-1]

    monkeypatch.setattr("workflows.training.stage1.on_device", spied)
    spec = Spec.model_validate_json(spec_of())
    below = tmp_path / "held", tmp_path / "streamed"
    both_ways(monkeypatch, below, lambda out: train.run(spec, digits, out))
    assert {type(source) for source in sources} == {torch.Tensor, np.memmap}

    file = below[0] / "latents.safetensors"
    latents.run(below[0], digits, file)
    spec = diffusion_spec(epochs=1, conditional=True)
    both_ways(
        monkeypatch,
        (tmp_path / "held model", tmp_path / "streamed model"),
        lambda out: train_generator.run(spec, digits, out, below[0], file),
    )
    # Latents are those of all images at once, and of unit variance.
    encoded = read_latents(file, {"model": digest(below[0] / "model.safetensors")})
    assert isinstance(encoded.points, np.memmap)
    assert np.std(encoded.points, dtype=np.float64, ddof=1) == pytest.approx(1, rel=1e-6)
    with safe_open(file, "np") as opened:
        assert np.array_equal(opened.get_tensor("points"), encoded.points)


def test_a_file_of_rows_is_alone_in_its_folder_and_refused_if_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_rows(file, "points", (5, 2, 3), lambda rows: {})
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"a\.safetensors: damaged"):
        open_rows(file, "points")


def test_blocks_change_no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that end within a block count images and not blocks."""

    def features(stored: np.ndarray, *_: object) -> np.ndarray:
        return stored[:, 0, :2].reshape(len(stored), -1).astype(np.float32)

    def distances(a: np.ndarray, b: np.ndarray, _: object) -> np.ndarray:
        return np.abs(a.astype(float) - b).mean(axis=(1, 2, 3))

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 3, 32, 32), np.uint8)
    reconstructions = np.clip(images / 255 + random.normal(0, 0.1, images.shape), 0, 1)
    protocol = load_protocol("exact")
    names = ("lpips_vgg", "lpips_alex", "inception")
    networks: Any = SimpleNamespace(**dict.fromkeys(names))
    monkeypatch.setattr(evaluation, "inception_features", features)
    monkeypatch.setattr(evaluation, "perceptual_distances", distances)
    rows = []
    for block in (100, 8):
        measured = evaluation.Measurement(protocol, networks, features(images), 20, 11)
        for start in range(0, len(images), block):
            measured.add(images[start : start + block], reconstructions[start : start + block])
        rows.append(pd.DataFrame(measured.rows()))
    pd.testing.assert_frame_equal(*rows)
    assert dict(zip(rows[0]["metric"], rows[0]["images"], strict=True)) == {
        "l1": 30, "PSNR": 30, "SSIM": 30, "LPIPS": 11, "LPIPS-Alex": 11, "rFID": 20, "KID": 20,
    }  # fmt: skip
