"""Measure one cell: `python -m workflows.steps.evaluate --help`."""

from __future__ import annotations

import time
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from workflows.config import cli
from workflows.config.plan import PlannedEvaluation
from workflows.data.cache import load_test
from workflows.data.metric_networks import Networks, load_networks
from workflows.data.weight_sources import SOURCES, digests_of
from workflows.errors import BenchmarkError
from workflows.evaluation.latents import LatentError
from workflows.evaluation.protocol import NotFinite, load_protocol
from workflows.evaluation.reconstructions import (
    BATCH,
    BLOCK,
    COLUMNS,
    PERCEPTUAL,
    Measurement,
    code_rows,
)
from workflows.evaluation.records import (
    read_reference,
    write_evaluation,
    write_picture,
    write_table,
)
from workflows.training import devices
from workflows.training.spaces import Trained, load_trained

SHOWN = 8


@torch.inference_mode()
def reconstruct(
    model: torch.nn.Module,
    images: np.ndarray,
    codebook_size: int,
    device: torch.device,
    error: LatentError | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return reconstructions of uint8 (N, C, H, W), clipped to [0, 1], and the hits of each code.

    codebook_size: 0 for a model without a codebook. error: collects the errors of the latents.
    """
    reconstructions, counts = [], np.zeros(codebook_size, dtype=np.int64)
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(images[start : start + BATCH], device=device).float()
        output = model(batch / 127.5 - 1)
        reconstructions.append((output.images.clamp(-1, 1).float() + 1).div(2).cpu().numpy())
        if error is not None:
            error.add(output.quantised)
        if codebook_size:
            codes = output.quantised.codes.flatten().cpu().numpy()
            counts += np.bincount(codes, minlength=codebook_size)
    return np.concatenate(reconstructions), counts


def measure(
    cell: Path,
    trained: Trained,
    test: np.ndarray,
    measurements: list[Measurement],
    device: torch.device,
    error: LatentError | None,
) -> tuple[np.ndarray, str]:
    """Reconstruct all test images, uint8 (N, C, H, W), and hand them to the measurements.

    Writes reconstructions.png and codes.csv. Returns the hits of each code, (K,), and which values
    are not finite, or "". A model with such values is not measured, but its codes are counted.
    """
    model, codebook_size = trained.model.to(device), trained.codes or 0
    counts, message = np.zeros(codebook_size, dtype=np.int64), ""
    for first in range(0, len(test), BLOCK):
        images = np.asarray(test[first : first + BLOCK])
        reconstructions, hits = reconstruct(model, images, codebook_size, device, error)
        counts += hits
        if first == 0:
            shown = np.rint(np.nan_to_num(reconstructions[:SHOWN]) * 255).astype(np.uint8)
            pairs = np.concatenate([images[:SHOWN], shown])
            write_picture(cell / "reconstructions.png", pairs, len(shown))
        try:
            for measurement in measurements:
                measurement.add(images, reconstructions)
        except NotFinite as problem:
            message, measurements = str(problem), []
    write_table(cell / "codes.csv", [*enumerate(counts)], ["code", "count"])
    return counts, message


def measurements_of(
    references: list[Path],
    evaluation: PlannedEvaluation,
    test: np.ndarray,
    test_sha256: str,
    networks: Networks | None,
) -> list[Measurement]:
    """Return a measurement for each protocol.

    references: for each protocol the file of features; empty if no metric compares features.
    networks: None if no metric needs them.
    """
    fid_images, lpips_images = evaluation.fid_images or None, evaluation.lpips_images or None
    count = len(test[:fid_images])
    measurements = []
    for name, file in zip_longest(evaluation.protocols, references):
        protocol, features = load_protocol(name), None
        if file is not None and networks is not None:
            features = read_reference(file, name, test_sha256, SOURCES["inception"].features)
            if len(features) < count:
                raise BenchmarkError(
                    f"{file}: {len(features)} images' features, {count} are needed"
                )
        limits = (fid_images, lpips_images, evaluation.metrics)
        measurements.append(Measurement(protocol, networks, features, *limits))
    return measurements


def run(cell: Path, data: Path, reference: list[Path], evaluation: PlannedEvaluation) -> None:
    """Write metrics.csv, codes.csv, reconstructions.png and evaluation.json of a cell.

    reference: the files of features.
    """
    device = devices.prepare()
    test, dataset = load_test(data)
    trained = load_trained(cell)
    name, finished = trained.record.cell, trained.record.status == "finished"
    # All files are read before the work starts, so that a bad file is refused at once.
    metrics, of_networks = evaluation.metrics, {*PERCEPTUAL, "rFID", "KID"}
    needs_networks = finished and (metrics is None or not of_networks.isdisjoint(metrics))
    networks = load_networks(device) if needs_networks else None
    measurements = []
    if finished:
        measurements = measurements_of(reference, evaluation, test, dataset.test.sha256, networks)
    error = LatentError() if "error" in (metrics or []) else None
    start = time.perf_counter()
    counts, message = measure(cell, trained, test, measurements, device, error)
    rows = []
    not_measured: dict[str, str] = {}
    for measurement in [] if message else measurements:
        rows += measurement.rows()
        not_measured |= measurement.not_measured()
        if trained.codes is not None:
            over_variance = error.over_variance() if error else None
            rows += code_rows(counts, measurement.protocol, len(test), over_variance)
    print(f"[{name}] evaluated in {time.perf_counter() - start:.1f} s  {message}", flush=True)
    write_table(cell / "metrics.csv", rows, COLUMNS)
    record = {
        "status": "diverged" if message else "finished",
        "message": message,
        "dataset_sha256": dataset.test.sha256,
        "versions": evaluation.versions,
        "protocols": evaluation.protocols,
        "fid_images": evaluation.fid_images,
        "lpips_images": evaluation.lpips_images,
        "features": digests_of("inception", *PERCEPTUAL.values()) if networks else {},
        "not_measured": not_measured,
    }
    write_evaluation(cell, device, record, ["train.json", "codes.csv", "metrics.csv"])


if __name__ == "__main__":
    parser = cli.measuring_parser("evaluate", __doc__ or "", "--data")
    parser.add_argument("--reference", type=Path, nargs="*", default=[])
    cli.run(parser, devices.command(run))
