"""Cells at the published settings on one GPU, alone and together: `make bench-gpu`.

Images are random, of CIFAR10's number and shape: no time depends on the values. Cells are processes
that share the GPU, as in the workflow.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Row
from benchmarks.step import VARIANCE, knobs, pictures
from workflows.config.plan import Spec
from workflows.files import digest, write_json

IMAGES, EPOCHS, CELLS = 50_000, 500, 16
# Forward and backward pass of a 32 x 32 image, counted by hand; an H100's dense bfloat16 peak.
OPERATIONS, PEAK = 0.264e9, 790e12


def train(folder: Path, cells: int, images: int, epochs: int) -> float:
    """Return the wall seconds until `cells` cells, started together, are trained."""
    # A tenth more images are for validation.
    count, file = images + max(1, images // 10), folder / "train.npy"
    np.save(file, pictures(count).numpy())
    array = {"file": file.name, "images": count, "sha256": digest(file)}
    record = {"name": "made", "image_size": 32, "channels": 3, "variance": VARIANCE}
    record |= {"train": array, "test": array, "validation": count - images}
    write_json(folder / "dataset.json", record)
    settings = knobs("bf16").model_copy(update={"epochs": epochs, "train_images": images})
    command = [sys.executable, "-m", "workflows.steps.train", "--data", str(folder)]
    start = time.perf_counter()
    trainings = []
    for seed in range(cells):
        settings_of_cell = settings.model_copy(update={"seed": seed})
        cell, out = f"cifar10/cvq_vae/closest/seed{seed}", folder / f"seed{seed}"
        spec = Spec(budget="paper", cell=cell, knobs=settings_of_cell, versions={})
        out.mkdir()
        arguments = ["--spec", spec.model_dump_json(), "--out", str(out)]
        trainings.append(subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL))
    statuses = [training.wait() for training in trainings]
    if any(statuses):
        raise RuntimeError("a training failed")
    return time.perf_counter() - start


def rows(cells: int = CELLS, images: int = IMAGES, epochs: int = EPOCHS) -> Iterator[Row]:
    """Yield two rows. The goals, in seconds, are for one H100 at the published settings."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    comparable = "H100" in name and (images, epochs) == (IMAGES, EPOCHS)
    for kind, count, goal in (("alone", 1, 90.0), ("packed", cells, 600.0)):
        with tempfile.TemporaryDirectory() as folder:
            seconds = train(Path(folder), count, images, epochs)
        floor = count * images * epochs * OPERATIONS / PEAK
        work = f"CIFAR10 CVQ-VAE, {epochs} epochs of {images:,} at batch 1024, bf16: {count} {kind}"
        note = f"{name}; {floor / seconds:.1%} of the floor"
        peer = f"an H100's peak, {floor:.3g} s"
        yield Row(work, peer, seconds, goal if comparable else None, "s", at_most=True, note=note)
