"""Measure one cell: `python -m workflows.steps.evaluate --help`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import torch

from workflows.config import cli
from workflows.config.plan import PlannedEvaluation
from workflows.data.cache import SMALL, load_test, verify
from workflows.data.metric_networks import Networks, load_networks
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
    say_not_measured,
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
    codes: int,
    device: torch.device,
    error: LatentError | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reconstructions of uint8 (N, C, H, W), clipped to [0, 1], and how often each code was hit.

    codes: the codebook size, 0 for a model without a codebook. error: takes in the latents.
    """
    made, counts = [], np.zeros(codes, dtype=np.int64)
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(images[start : start + BATCH], device=device).float()
        output = model(batch / 127.5 - 1)
        made.append((output.images.clamp(-1, 1).float() + 1).div(2).cpu().numpy())
        if error is not None:
            error.add(output.quantised)
        if codes:
            hit = output.quantised.codes.flatten().cpu().numpy()
            counts += np.bincount(hit, minlength=codes)
    return np.concatenate(made), counts


def look(
    cell: Path,
    trained: Trained,
    test: np.ndarray,
    measurements: list[Measurement],
    device: torch.device,
    error: LatentError | None = None,
) -> tuple[np.ndarray, str]:
    """Reconstruct all test images, uint8 (N, C, H, W), and hand them to the measurements.

    Writes reconstructions.png and codes.csv. Returns how often each code was hit, (K,), also of a
    model whose values are not finite and which is not measured; and which values were not, or "".
    """
    model, codes = trained.model.to(device), trained.codes or 0
    counts, message = np.zeros(codes, dtype=np.int64), ""
    for first in range(0, len(test), BLOCK):
        images = np.asarray(test[first : first + BLOCK])
        made, hit = reconstruct(model, images, codes, device, error)
        counts += hit
        if first == 0:
            restored = np.rint(np.nan_to_num(made[:SHOWN]) * 255).astype(np.uint8)
            pairs = np.concatenate([images[:SHOWN], restored])
            write_picture(cell / "reconstructions.png", pairs, len(restored))
        try:
            for measurement in measurements if not message else []:
                measurement.add(images, made)
        except NotFinite as problem:
            message = str(problem)
    write_table(cell / "codes.csv", [*enumerate(counts)], ["code", "count"])
    return counts, message


def prepare(
    reference: list[Path],
    evaluation: PlannedEvaluation,
    test: np.ndarray,
    sha256: str,
    networks: Networks | None,
) -> list[Measurement]:
    """A measurement for each protocol.

    reference: the file of each protocol's features. sha256: of the test images. networks: None
    where no metric needs them.
    """
    limits = (evaluation.fid_images or None, evaluation.lpips_images or None)
    protocols = map(load_protocol, evaluation.protocols)
    if networks is None:
        return [Measurement(one, None, None, *limits, evaluation.metrics) for one in protocols]
    found = []
    needed = len(test[: limits[0]])
    for protocol, file in zip(protocols, reference, strict=True):
        features = read_reference(file, protocol.name, sha256, networks.features["inception"])
        if len(features) < needed:
            raise BenchmarkError(f"{file}: {len(features)} images' features, {needed} are needed")
        found.append(Measurement(protocol, networks, features, *limits, evaluation.metrics))
    return found


def run(
    cell: Path, data: Path, weights: Path, reference: list[Path], evaluation: PlannedEvaluation
) -> None:
    """Write metrics.csv, codes.csv, reconstructions.png and evaluation.json of a cell.

    reference: files of features. The state of a finished training is removed: whoever runs a
    finished cell again wants it trained again.
    """
    device = devices.prepare()
    verify(data, ("test",), SMALL)
    test, dataset = load_test(data)
    trained = load_trained(cell)
    name, finished = trained.record.cell, trained.record.status == "finished"
    # Everything is read before the work starts, so that a bad file is refused at once.
    shown = evaluation.metrics
    pictures_alone = shown is not None and not {*shown}.intersection({*PERCEPTUAL, "rFID", "KID"})
    networks = None if pictures_alone or not finished else load_networks(weights, device)
    error = LatentError() if shown is not None and "error" in shown else None
    measurements: list[Measurement] = []
    if finished:
        measurements = prepare(reference, evaluation, test, dataset.test.sha256, networks)
    start = time.perf_counter()
    counts, message = look(cell, trained, test, measurements, device, error)
    rows = []
    not_measured: dict[str, str] = {}
    for measurement in measurements if not message else []:
        rows += measurement.rows()
        not_measured |= measurement.not_measured()
        if trained.codes is not None:
            of_latents = error.over_variance() if error else None
            rows += code_rows(counts, measurement.protocol, len(test), of_latents)
    say_not_measured(name, dataset.name, not_measured)
    print(f"[{name}] evaluated in {time.perf_counter() - start:.1f} s  {message}", flush=True)
    write_table(cell / "metrics.csv", rows, COLUMNS)
    about = {
        "status": "diverged" if message else "finished",
        "message": message,
        "dataset_sha256": dataset.test.sha256,
        "versions": evaluation.versions,
        "protocols": evaluation.protocols,
        "fid_images": evaluation.fid_images,
        "lpips_images": evaluation.lpips_images,
        "features": networks.digests if networks else {},
        "not_measured": not_measured,
    }
    if finished:
        # The record that makes a cell a finished one comes after this.
        shutil.rmtree(cell / "state", ignore_errors=True)
    write_evaluation(cell, device, about, ["train.json", "codes.csv", "metrics.csv"])


if __name__ == "__main__":
    parser = cli.measuring_parser("evaluate", __doc__ or "", "--data", "--weights")
    parser.add_argument("--reference", type=Path, nargs="*", default=[])
    cli.run(parser, devices.command(run))
