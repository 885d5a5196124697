"""Measure a generative model's samples: `python -m workflows.steps.evaluate_samples --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workflows.config import cli
from workflows.config.plan import PlannedEvaluation
from workflows.config.records import SamplingRecord, read
from workflows.data.cache import load_train
from workflows.data.metric_networks import read_inception
from workflows.data.weight_sources import SOURCES, digests_of
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import COLUMNS, inception_features
from workflows.evaluation.records import (
    read_reference,
    write_evaluation,
    write_picture,
    write_table,
)
from workflows.metrics.frechet import frechet_distance, kernel_deviation, kernel_distance
from workflows.metrics.inception import load_inception
from workflows.metrics.manifold import coverage, nearest
from workflows.training import devices

PROTOCOL = "samples"
PROGRESS = ["epoch", "images", "FID"]
SHOWN = 8
FILES = ["train.json", "sampling.json", "progress.csv", "metrics.csv"]
# How many training images neighbours.png shows below each sample.
NEIGHBOURS_SHOWN = 3


def run(cell: Path, data: Path, reference: Path, evaluation: PlannedEvaluation) -> None:
    """Write metrics.csv, progress.csv, samples.png, neighbours.png and evaluation.json.

    reference: the features of the first training images. progress.csv has the Fréchet distance of
    samples along the training, and at epoch 0 that of decoded noise. neighbours.png has samples,
    and below each sample the training images whose features are nearest.
    """
    device = devices.prepare()
    record: dict[str, Any] = {"versions": evaluation.versions, "protocols": [PROTOCOL]}
    sampling = read(cell / "sampling.json", SamplingRecord)
    if sampling.status != "finished":
        write_without_samples(cell)
        record |= {"status": sampling.status, "message": sampling.message, "features": {}}
        write_evaluation(cell, device, record, FILES)
        return
    loaded = load_train(data)
    protocol, inception = load_protocol(PROTOCOL), load_inception(read_inception()).to(device)
    sha256, network = loaded.record.train.sha256, SOURCES["inception"].features
    real = read_reference(reference, PROTOCOL, sha256, network)

    samples = np.load(cell / "samples.npy", mmap_mode="r")
    features = inception_features(samples, protocol, inception)
    precision, recall = coverage(real, features)
    values = {
        "FID": frechet_distance(real, features),
        "KID": kernel_distance(real, features),
        "KID-deviation": kernel_deviation(real, features),
        "precision": precision,
        "recall": recall,
    }
    rows = [(PROTOCOL, name, value, len(samples), network) for name, value in values.items()]
    if sampling.bits is not None:
        rows.append((PROTOCOL, "bits", sampling.bits, sampling.coded_images, ""))
    epochs = [0, *sampling.epochs]
    along_training = [np.load(cell / "noise.npy"), *np.load(cell / "progress.npy", mmap_mode="r")]
    progress = []
    for epoch, images in zip(epochs, along_training, strict=True):
        distance = frechet_distance(real, inception_features(images, protocol, inception))
        progress.append((epoch, len(images), distance))
    write_picture(cell / "samples.png", samples[: SHOWN * SHOWN], SHOWN)
    neighbours = nearest(features[:SHOWN], real, NEIGHBOURS_SHOWN)
    lines = [samples[:SHOWN], *(loaded.train[numbers] for numbers in neighbours.T)]
    write_picture(cell / "neighbours.png", np.concatenate(lines), SHOWN)
    write_table(cell / "progress.csv", progress, PROGRESS)
    write_table(cell / "metrics.csv", rows, COLUMNS)
    record |= {
        "status": "finished",
        "message": "",
        "dataset_sha256": sha256,
        "reference_images": len(real),
        "features": digests_of("inception"),
    }
    write_evaluation(cell, device, record, FILES)


def write_without_samples(cell: Path) -> None:
    """Write empty tables and black pictures for a model without samples."""
    for name in ("samples.png", "neighbours.png"):
        write_picture(cell / name, np.zeros((1, 3, 8, 8), np.uint8), 1)
    write_table(cell / "progress.csv", [], PROGRESS)
    write_table(cell / "metrics.csv", [], COLUMNS)


if __name__ == "__main__":
    parser = cli.measuring_parser("evaluate_samples", __doc__ or "", "--data")
    parser.add_argument("--reference", type=Path, required=True)
    cli.run(parser, devices.command(run))
