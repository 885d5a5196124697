"""Measure a diffusion model's samples: `python -m workflows.steps.evaluate_samples --help`."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from workflows import cli
from workflows.config.plan import PlannedEvaluation
from workflows.config.provenance import origin
from workflows.config.records import SamplingRecord, read
from workflows.data import load_train
from workflows.data.metric_networks import read_network
from workflows.evaluation.protocol import Protocol, load_protocol, rgb
from workflows.evaluation.reconstructions import COLUMNS, inception_features
from workflows.evaluation.records import read_reference, write_evaluation
from workflows.files import write_atomically, write_text
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.metrics.inception import Inception, load_inception
from workflows.metrics.manifold import coverage, nearest
from workflows.training import devices

PROTOCOL = "samples"
SHOWN = 8
FILES = ["train.json", "sampling.json", "progress.csv", "metrics.csv"]
# Nearest training images below each sample.
LOOKALIKES = 3


def run(
    cell: Path,
    data: Path,
    weights: Path,
    reference: Path,
    evaluation: PlannedEvaluation,
    threads: int = 1,
) -> None:
    """Write metrics.csv, progress.csv, samples.png, neighbours.png and evaluation.json.

    reference: features of the first training images. progress.csv has the Fréchet distance of
    samples along the training, and at epoch 0 that of noise decoded the same way, both of as many
    samples as were kept. neighbours.png: samples, and below each the training images whose
    features are nearest, to see what is remembered and what is made.
    """
    device = devices.choose()
    devices.set_precision("fp32", device)
    protocol = load_protocol(PROTOCOL)
    maker = {**origin(devices.name(device), threads), "versions": evaluation.versions}
    maker |= {"protocols": [PROTOCOL]}
    # What the sample step says: whether there are samples, and why not.
    about = read(cell / "sampling.json", SamplingRecord)
    if about.status != "finished":
        for name in ("samples.png", "neighbours.png"):
            _picture(cell / name, np.zeros((3, 8, 8), np.uint8))
        _write_rows(cell, [], [])
        reason = {"status": about.status, "message": about.message}
        write_evaluation(cell, {**maker, **reason, "features": {}}, FILES)
        return
    loaded = load_train(data)
    network = read_network(weights, "inception")
    features = {"inception": network.features}
    real = read_reference([reference], PROTOCOL, loaded.record.train.sha256, features)
    inception = load_inception(network.tensors).to(device)
    samples = np.load(cell / "samples.npy", mmap_mode="r")
    found = inception_features(samples, protocol, inception)
    near = coverage(real, found)
    values = {
        "FID": frechet_distance(real, found),
        "KID": kernel_distance(real, found),
        "precision": near.precision,
        "recall": near.recall,
    }
    rows = [
        dict(zip(COLUMNS, (PROTOCOL, name, value, len(samples), network.features), strict=True))
        for name, value in values.items()
    ]
    progress = _progress(cell, about.epochs, real, protocol, inception)
    _picture(cell / "samples.png", _rows(samples[: SHOWN * SHOWN], SHOWN))
    closest = nearest(found[:SHOWN], real, LOOKALIKES)
    lines = [samples[:SHOWN], *(loaded.train[closest[:, k]] for k in range(LOOKALIKES))]
    _picture(cell / "neighbours.png", _rows(np.concatenate(lines), SHOWN))
    _write_rows(cell, rows, progress)
    maker |= {"status": "finished", "message": ""}
    maker |= {"dataset_sha256": loaded.record.train.sha256, "reference_images": len(real)}
    # A sampling that was killed at its end leaves the state, from which nothing is to be read back.
    shutil.rmtree(cell / "state", ignore_errors=True)
    write_evaluation(cell, {**maker, "features": {network.features: network.sha256}}, FILES)


def _progress(
    cell: Path, epochs: list[int], real: np.ndarray, protocol: Protocol, network: Inception
) -> list[dict[str, Any]]:
    """{epoch, images, FID} of what was kept along the training; epoch 0 is noise."""
    kept = [(0, np.load(cell / "noise.npy"))]
    kept += zip(epochs, np.load(cell / "progress.npy", mmap_mode="r"), strict=True)
    return [
        {
            "epoch": epoch,
            "images": len(images),
            "FID": frechet_distance(real, inception_features(images, protocol, network)),
        }
        for epoch, images in kept
    ]


def _rows(images: np.ndarray, across: int) -> np.ndarray:
    """uint8 (n, c, h, w), n a multiple of `across` or cut to one, to one picture (3, H, W)."""
    whole = rgb(images[: len(images) // across * across])
    lines = whole.reshape(-1, across, *whole.shape[1:])
    return np.concatenate([np.concatenate(list(line), axis=2) for line in lines], axis=1)


def _picture(file: Path, pixels: np.ndarray) -> None:
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    write_atomically(file, lambda path: picture.save(path, "PNG"))


def _write_rows(cell: Path, rows: list[dict[str, Any]], progress: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(progress, columns=["epoch", "images", "FID"])
    write_text(cell / "progress.csv", frame.to_csv(index=False))
    write_text(cell / "metrics.csv", pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))


def main(threads: int, cell: Path, **options: Any) -> None:
    """Measure the samples of one diffusion model."""
    torch.set_num_threads(threads)
    with devices.memory_explained(cell):
        run(cell, threads=threads, **options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="evaluate_samples", description=__doc__)
    parser.add_argument("--cell", type=Path, required=True, help="the cell's folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    evaluation = cli.typed(PlannedEvaluation, "--evaluation")
    parser.add_argument("--evaluation", type=evaluation, required=True, help="JSON")
    parser.add_argument("--threads", type=int, default=1)
    cli.run(parser, main)
