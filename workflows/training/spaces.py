"""Trained models on disk, and the files of latents or codes that first stages make of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflows.config.records import TrainRecord, read
from workflows.files import digest
from workflows.generators import GENERATORS, build_space
from workflows.knobs import Generative, Training
from workflows.registry import build_autoencoder, codebook_size, parse_knobs, refuse_edited_plugin
from workflows.training.tensor_files import CheckpointError, open_rows, read_tensors, write_rows

BATCH = 64


@dataclass(frozen=True)
class Trained:
    """A trained autoencoder in evaluation mode, the settings of its training, its train.json."""

    model: nn.Module
    knobs: Training
    record: TrainRecord

    @property
    def codes(self) -> int | None:
        """The codebook size K; None for a model without a codebook."""
        return codebook_size(self.knobs)


def load_trained(folder: Path) -> Trained:
    """Return the autoencoder in a cell's folder.

    Raises CheckpointError if the model cannot be loaded, ConfigError if its plug-in was edited.
    """
    record = read(folder / "train.json", TrainRecord)
    knobs = parse_knobs(record.knobs)
    assert isinstance(knobs, Training), "the knobs of an autoencoder"
    refuse_edited_plugin(knobs, record.versions)
    model = build_autoencoder(knobs, record.channels, record.planned_steps)
    load_model(folder / "model.safetensors", record, model)
    return Trained(model.eval(), knobs, record)


def load_model(file: Path, record: TrainRecord, model: nn.Module) -> None:
    """Load the weights of a trained model into `model`. record: its train.json.

    Raises CheckpointError for a file that is damaged or of another model.
    """
    try:
        if record.model_sha256 != digest(file):
            raise CheckpointError("damaged, its SHA-256 is not the one in train.json")
        model.load_state_dict(read_tensors(file)[0])
    except Exception as error:
        raise CheckpointError(
            f"{file}: not this cell's model ({error}); train this cell again with "
            f"--config retrain={record.cell}"
        ) from error


def first_stage(folder: Path, dataset_sha256: str) -> Trained:
    """Return the autoencoder in a cell's folder if a model can be trained on its latents.

    dataset_sha256: of the training images. Raises CheckpointError for an unfinished model, or for
    one of another dataset.
    """
    trained = load_trained(folder)
    file, record = folder / "train.json", trained.record
    if record.status != "finished":
        raise CheckpointError(
            f"{file}: status: this first stage {record.status}; only a finished one will do"
        )
    if record.dataset_sha256 != dataset_sha256:
        raise CheckpointError(
            f"{file}: dataset_sha256: is {record.dataset_sha256}, must be {dataset_sha256}; train "
            f"this cell again with --config retrain={record.cell}"
        )
    return trained


@dataclass(frozen=True)
class Latents:
    """What a first stage makes of images: latents of unit variance, or codes.

    points: float32 (n, d, h, w). scale: the factor that gave the latents unit variance, 1 for
    codes. model: the digest of the first stage's model.
    """

    points: np.ndarray
    scale: float
    model: str = ""


def write_latents(
    file: Path,
    kind: str,
    trained: Trained,
    images: np.ndarray,
    metadata: dict[str, str],
    device: torch.device,
) -> Latents:
    """Write and return the scaled latents, or the codes, of uint8 images (n, c, h, w).

    kind: "latents" or "codes". metadata: of the file. Only one batch at a time is in memory.
    """
    space = build_space(kind, trained.model).to(device)
    blocks = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    shape = _encode(space, images[:1], device).shape[1:]

    def fill(points: np.ndarray) -> dict[str, str]:
        for block in blocks:
            points[block] = _encode(space, images[block], device)
        if kind == "codes":
            return {**metadata, "scale": "1.0"}
        scale = 1 / deviation(points)
        for block in blocks:
            points[block] *= np.float32(scale)
        return {**metadata, "scale": repr(scale)}

    write_rows(file, "points", (len(images), *shape), fill)
    return read_latents(file, metadata)


@torch.inference_mode()
def _encode(space: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    batch = torch.tensor(images, device=device).float().div_(127.5).sub_(1)
    return space.encode(batch).cpu().numpy()  # type: ignore[operator]


def deviation(points: np.ndarray) -> float:
    """Return the standard deviation of all numbers, with n - 1, computed by parts in float64."""
    parts = [points[start : start + BATCH] for start in range(0, len(points), BATCH)]
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / points.size
    squares = sum(float(np.square(part.astype(np.float64) - mean).sum()) for part in parts)
    return math.sqrt(squares / (points.size - 1))


def read_latents(file: Path, expected: dict[str, str]) -> Latents:
    """Return the latents or codes that `write_latents` wrote, memory-mapped.

    expected: metadata that the file must have. Raises CheckpointError for a file that is damaged or
    of another first stage.
    """
    points, metadata = open_rows(file, "points", expected)
    return Latents(points, float(metadata["scale"]), metadata.get("model", ""))


def space_of(knobs: Generative, stage1: Path | None, latents: Path | None) -> nn.Module:
    """Return the space of a generative model, which maps its points to images and back.

    stage1, latents: folder of the first stage and file of its latents or codes; None for pixels.
    Raises CheckpointError if the latents are of another first stage.
    """
    points = GENERATORS[knobs.method].points
    if stage1 is None or latents is None:
        return build_space(points, None)
    trained = load_trained(stage1)
    scale = read_latents(latents, {"model": digest(stage1 / "model.safetensors")}).scale
    return build_space(points, trained.model, scale)
