"""Measure a generative model's samples: `python -m workflows.steps.evaluate_samples --help`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from workflows.config import cli
from workflows.config.plan import PlannedEvaluation
from workflows.config.records import SamplingRecord, TrainRecord, read
from workflows.data.cache import load_train
from workflows.data.metric_networks import read_network
from workflows.errors import BenchmarkError
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import COLUMNS, inception_features
from workflows.evaluation.records import (
    read_reference,
    say_not_measured,
    write_evaluation,
    write_picture,
    write_table,
)
from workflows.metrics import OF_SAMPLES, not_measurable
from workflows.metrics.frechet import frechet_distance, kernel_deviation, kernel_distance
from workflows.metrics.inception import load_inception
from workflows.metrics.manifold import coverage, nearest
from workflows.training import devices

PROTOCOL = "samples"
PROGRESS = ["epoch", "images", "FID"]
SHOWN = 8
FILES = ["train.json", "sampling.json", "progress.csv", "metrics.csv"]
# Nearest training images below each sample.
LOOKALIKES = 3


def run(
    cell: Path, data: Path, weights: Path, reference: Path, evaluation: PlannedEvaluation
) -> None:
    """Write metrics.csv, progress.csv, samples.png, neighbours.png and evaluation.json.

    reference: features of the first training images. progress.csv has the Fréchet distance of
    samples along the training, and at epoch 0 that of decoded noise. neighbours.png has samples,
    and below each the training images whose features are nearest.
    """
    device = devices.prepare()
    about: dict[str, Any] = {"versions": evaluation.versions, "protocols": [PROTOCOL]}
    # What the sample step says: whether there are samples, and why not.
    sampling = read(cell / "sampling.json", SamplingRecord)
    if sampling.status != "finished":
        for name in ("samples.png", "neighbours.png"):
            write_picture(cell / name, np.zeros((1, 3, 8, 8), np.uint8), 1)
        write_table(cell / "progress.csv", [], PROGRESS)
        write_table(cell / "metrics.csv", [], COLUMNS)
        about |= {"status": sampling.status, "message": sampling.message, "features": {}}
        write_evaluation(cell, device, about, FILES)
        return
    loaded = load_train(data)
    tensors, network = read_network(weights, "inception")
    protocol, inception = load_protocol(PROTOCOL), load_inception(tensors).to(device)
    sha256 = loaded.record.train.sha256
    real = read_reference(reference, PROTOCOL, sha256, network.features)

    samples = np.load(cell / "samples.npy", mmap_mode="r")
    smaller = min(len(real), len(samples))
    not_measured = not_measurable(OF_SAMPLES, samples.shape[-1], smaller)
    if len(not_measured) == len(OF_SAMPLES):
        reason = not_measured["FID"]
        raise BenchmarkError(f"{loaded.record.name}: no samples can be measured: FID {reason}")
    say_not_measured(read(cell / "train.json", TrainRecord).cell, loaded.record.name, not_measured)
    found = inception_features(samples, protocol, inception)
    values = {"FID": frechet_distance(real, found), "KID": kernel_distance(real, found)}
    if "KID-deviation" not in not_measured:
        values["KID-deviation"] = kernel_deviation(real, found)
    if "precision" not in not_measured:
        values["precision"], values["recall"] = coverage(real, found)
    rows = [
        (PROTOCOL, name, value, len(samples), network.features) for name, value in values.items()
    ]
    if sampling.bits is not None:
        rows.append((PROTOCOL, "bits", sampling.bits, sampling.coded_images, ""))
    kept = zip(sampling.epochs, np.load(cell / "progress.npy", mmap_mode="r"), strict=True)
    progress = []
    for epoch, images in [(0, np.load(cell / "noise.npy")), *kept]:
        distance = frechet_distance(real, inception_features(images, protocol, inception))
        progress.append((epoch, len(images), distance))
    write_picture(cell / "samples.png", samples[: SHOWN * SHOWN], SHOWN)
    closest = nearest(found[:SHOWN], real, min(LOOKALIKES, len(real)))
    lines = [samples[:SHOWN], *(loaded.train[rows] for rows in closest.T)]
    write_picture(cell / "neighbours.png", np.concatenate(lines), SHOWN)
    write_table(cell / "progress.csv", progress, PROGRESS)
    write_table(cell / "metrics.csv", rows, COLUMNS)
    about |= {
        "status": "finished",
        "message": "",
        "dataset_sha256": sha256,
        "reference_images": len(real),
        "features": {network.features: network.sha256},
        "not_measured": not_measured,
    }
    # A sampling that was killed at its end leaves the state, from which nothing is to be read back.
    shutil.rmtree(cell / "state", ignore_errors=True)
    write_evaluation(cell, device, about, FILES)


if __name__ == "__main__":
    parser = cli.measuring_parser("evaluate_samples", __doc__ or "", "--data", "--weights")
    parser.add_argument("--reference", type=Path, required=True)
    cli.run(parser, devices.command(run))
