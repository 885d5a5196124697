"""Measure one cell: `python -m workflows.steps.evaluate --help`."""

from __future__ import annotations

import argparse
import functools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from workflows import cli
from workflows.config.plan import PlannedEvaluation
from workflows.config.provenance import origin
from workflows.data import SMALL, load_test, verify
from workflows.data.metric_networks import Networks, load_networks
from workflows.evaluation.protocol import NotFinite, load_protocol, rgb
from workflows.evaluation.reconstructions import (
    BATCH,
    BLOCK,
    COLUMNS,
    Measurement,
    Row,
    check_reference,
    code_rows,
)
from workflows.evaluation.records import read_reference, write_evaluation
from workflows.files import write_atomically, write_text
from workflows.training import devices
from workflows.training.checkpoint import Trained, load_trained

SHOWN = 8


@torch.inference_mode()
def reconstruct(
    model: torch.nn.Module, images: np.ndarray, codes: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Reconstructions of uint8 (N, C, H, W), clipped to [0, 1], and how often each code was hit.

    codes: the codebook size, 0 for a model without a codebook.
    """
    made, counts = [], np.zeros(codes, dtype=np.int64)
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(images[start : start + BATCH], device=device).float()
        output = model(batch / 127.5 - 1)
        made.append((output.images.clamp(-1, 1).float() + 1).div(2).cpu().numpy())
        if codes:
            hit = output.quantised.codes.flatten().cpu().numpy()
            counts += np.bincount(hit, minlength=codes)
    return np.concatenate(made), counts


def grid(images: np.ndarray, reconstructions: np.ndarray) -> Image.Image:
    """The first eight images, uint8, above their reconstructions in [0, 1]."""
    restored = np.rint(reconstructions[:SHOWN] * 255).astype(np.uint8)
    rows = [np.concatenate(list(rgb(x)), axis=2) for x in (images[:SHOWN], restored)]
    return Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0).copy())


@dataclass
class Looked:
    """What a model did with the test images.

    counts: how often each code was hit, (K,). picture: some reconstructions. message: which values
    were not finite, or empty.
    """

    counts: np.ndarray
    picture: Image.Image | None = None
    message: str = ""


def look(
    trained: Trained, test: np.ndarray, measurements: list[Measurement], device: torch.device
) -> Looked:
    """Reconstruct all test images, uint8 (N, C, H, W), and hand them to the measurements.

    A model whose values are not finite is not measured, but its codes are counted all the same.
    """
    model = trained.model.to(device)
    codes = trained.codes or 0
    found = Looked(np.zeros(codes, dtype=np.int64))
    for first in range(0, len(test), BLOCK):
        images = np.asarray(test[first : first + BLOCK])
        made, hit = reconstruct(model, images, codes, device)
        found.counts += hit
        found.picture = found.picture or grid(images, np.nan_to_num(made))
        if found.message:
            continue
        try:
            for measurement in measurements:
                measurement.add(images, made)
        except NotFinite as error:
            found.message = str(error)
    return found


@dataclass(frozen=True)
class Job:
    """What one evaluation reads. cell, data, weights: folders. reference: files of features."""

    cell: Path
    data: Path
    weights: Path
    reference: list[Path]
    evaluation: PlannedEvaluation


def prepare(job: Job, test: np.ndarray, sha256: str, networks: Networks) -> list[Measurement]:
    """A measurement for each protocol, whose reference features have been read and checked.

    sha256: of the test images.
    """
    wanted = job.evaluation
    limits = (wanted.fid_images or None, wanted.lpips_images or None)
    found = []
    for protocol in map(load_protocol, wanted.protocols):
        reference = read_reference(job.reference, protocol.name, sha256, networks.features)
        check_reference(reference, len(test[: limits[0]]))
        found.append(Measurement(protocol, networks, reference, *limits))
    return found


def run(job: Job, threads: int = 1) -> None:
    """Write metrics.csv, codes.csv, reconstructions.png and evaluation.json of a cell."""
    device = devices.choose()
    devices.set_precision("fp32", device)
    verify(job.data, ("test",), SMALL)
    test, record = load_test(job.data)
    trained = load_trained(job.cell)
    # Everything is read before the work starts, so that a bad file is refused at once.
    networks, measurements = None, []
    if trained.record.status == "finished":
        networks = load_networks(job.weights, device)
        measurements = prepare(job, test, record.test.sha256, networks)
    start = time.perf_counter()
    found = look(trained, test, measurements, device)
    rows = []
    for measurement in measurements if not found.message else []:
        rows += measurement.rows()
        if trained.codes is not None:
            rows += code_rows(found.counts, measurement.protocol, len(test))
    seconds = time.perf_counter() - start
    print(f"[{trained.record.cell}] evaluated in {seconds:.1f} s  {found.message}", flush=True)
    write_results(job.cell, found, rows)
    wanted = job.evaluation
    about = {
        **origin(devices.name(device), threads),
        "status": "diverged" if found.message else "finished",
        "message": found.message,
        "dataset_sha256": record.test.sha256,
        "versions": wanted.versions,
        "protocols": wanted.protocols,
        "fid_images": wanted.fid_images,
        "lpips_images": wanted.lpips_images,
        "features": networks.digests if networks else {},
    }
    if trained.record.status == "finished":
        # Whoever runs a finished cell again wants it trained again, not read back. The record that
        # makes a cell a finished one comes after this.
        shutil.rmtree(job.cell / "state", ignore_errors=True)
    write_evaluation(job.cell, about, ["train.json", "codes.csv", "metrics.csv"])


def write_results(cell: Path, found: Looked, rows: list[Row]) -> None:
    """Write reconstructions.png, codes.csv and metrics.csv."""
    assert found.picture is not None, "a test split has images"
    codes = pd.DataFrame({"code": np.arange(len(found.counts)), "count": found.counts})
    save = functools.partial(found.picture.save, format="PNG")
    write_atomically(cell / "reconstructions.png", save)
    write_text(cell / "codes.csv", codes.to_csv(index=False))
    write_text(cell / "metrics.csv", pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))


def main(threads: int, **job: Any) -> None:
    """Measure one cell."""
    torch.set_num_threads(threads)
    with devices.memory_explained(job["cell"]):
        run(Job(**job), threads)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--cell", type=Path, required=True, help="the cell's folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--reference", type=Path, nargs="+", required=True)
    evaluation = cli.typed(PlannedEvaluation, "--evaluation")
    parser.add_argument("--evaluation", type=evaluation, required=True, help="JSON")
    parser.add_argument("--threads", type=int, default=1)
    cli.run(parser, main)
