"""Cells at the published settings on one GPU, alone and packed: `make bench-gpu`.

Images are random, of CIFAR10's number and shape: what is in them changes no time. Packed cells are
processes that share the GPU, as the workflow runs them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Row
from benchmarks.step import VARIANCE, knobs
from workflows.files import digest, write_json

IMAGES, EPOCHS, CELLS = 50_000, 500, 16
# Forward and backward of one 32 x 32 image, counted by hand, and an H100's dense bfloat16 peak.
OPERATIONS, PEAK = 0.264e9, 790e12
GOALS = {"alone": 90.0, "packed": 600.0}


def dataset(folder: Path, pixels: np.ndarray, held: int) -> Path:
    """A prepared dataset of uint8 (n, c, h, w), of which the last `held` are for validation."""
    np.save(folder / "train.npy", pixels)
    images, channels, side, _ = pixels.shape
    about = {
        "file": "train.npy",
        "images": images,
        "bytes": (folder / "train.npy").stat().st_size,
        "sha256": digest(folder / "train.npy"),
    }
    validation = {"indices": [images - held, images], "images": held}
    record = {"name": "made", "image_size": side, "channels": channels, "variance": VARIANCE}
    write_json(folder / "dataset.json", {**record, "train": about, "validation": validation})
    return folder


def train(folder: Path, cells: int, images: int, epochs: int) -> float:
    """Wall seconds until `cells` cells, started together, are trained."""
    settings = {**knobs("bf16"), "epochs": epochs, "train_images": images}
    held = max(1, images // 10)
    pixels = np.random.default_rng(0).integers(0, 256, (images + held, 3, 32, 32), np.uint8)
    data = dataset(folder, pixels, held)
    start = time.perf_counter()
    running = []
    for seed in range(cells):
        cell = f"cifar10/cvq_vae/closest/seed{seed}"
        spec = {"budget": "paper", "cell": cell, "knobs": {**settings, "seed": seed}}
        out = folder / f"seed{seed}"
        out.mkdir()
        command = [sys.executable, "-m", "workflows.steps.train", "--spec", json.dumps(spec)]
        command += ["--data", str(data), "--out", str(out)]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    failed = [seed for seed, process in enumerate(running) if process.wait() != 0]
    if failed:
        raise RuntimeError(f"the trainings of seeds {failed} failed")
    return time.perf_counter() - start


def rows(cells: int = CELLS, images: int = IMAGES, epochs: int = EPOCHS) -> Iterator[Row]:
    """Two rows; goals are for one H100 at the published settings."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    judged = "H100" in name and (images, epochs) == (IMAGES, EPOCHS)
    for what, count in (("alone", 1), ("packed", cells)):
        with tempfile.TemporaryDirectory() as place:
            seconds = train(Path(place), count, images, epochs)
        floor = count * images * epochs * OPERATIONS / PEAK
        yield Row(
            f"CIFAR10 CVQ-VAE, {epochs} epochs of {images:,} at batch 1024, bf16: {count} {what}",
            f"an H100's peak, {floor:.3g} s",
            seconds,
            GOALS[what] if judged else None,
            "s",
            at_most=True,
            note=f"{name}; {floor / seconds:.1%} of the floor",
        )
