"""Trained models on disk, and the latents or codes of the training images in first stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from workflows.config.records import TrainRecord, read
from workflows.files import digest
from workflows.generators import SPACES, build_space
from workflows.knobs import Generative, Training
from workflows.registry import build_autoencoder, codebook_size, parse_knobs, refuse_edited_plugin
from workflows.training.tensor_files import CheckpointError, open_rows, read_tensors, write_rows

BATCH = 64


@dataclass(frozen=True)
class Trained:
    """model: in evaluation mode. knobs: the settings of its training. record: its train.json."""

    model: nn.Module
    knobs: Training
    record: TrainRecord

    @property
    def codes(self) -> int | None:
        """The codebook size K; None for a model without a codebook."""
        return codebook_size(self.knobs)


def load_trained(folder: Path) -> Trained:
    """The autoencoder in a cell's folder. Raises CheckpointError if it cannot be loaded, and
    ConfigError if its plug-in was edited.
    """
    record = read(folder / "train.json", TrainRecord)
    knobs = parse_knobs(record.knobs)
    assert isinstance(knobs, Training), "the knobs of an autoencoder"
    refuse_edited_plugin(knobs, record.versions)
    model = build_autoencoder(knobs, record.channels, record.planned_steps)
    load_model(folder / "model.safetensors", record, model)
    return Trained(model.eval(), knobs, record)


def load_model(file: Path, record: TrainRecord, model: nn.Module) -> None:
    """Load the weights that a training wrote. record: its train.json.

    Raises CheckpointError for a file that is damaged or of another model. Records of the first
    release have no digest; their models have a checksum of their own.
    """
    try:
        if record.model_sha256 not in (None, digest(file)):
            raise CheckpointError("damaged, its SHA-256 is not the one in train.json")
        model.load_state_dict(read_tensors(file)[0])
    except Exception as error:
        raise CheckpointError(
            f"{file}: not this cell's model ({error}); train this cell again with "
            f"--config retrain={record.cell}"
        ) from error


@dataclass(frozen=True)
class Latents:
    """points: float32 (n, d, h, w): latents of unit variance, or codes. scale: what they were
    multiplied by. model: the digest of the first stage's model.
    """

    points: np.ndarray
    scale: float
    model: str = ""


def first_stage(folder: Path, dataset_sha256: str, versions: Mapping[str, int]) -> Trained:
    """The finished autoencoder of a cell's folder, fit to be a first stage.

    dataset_sha256: of the training images. versions: of what trains such cells now.
    Raises CheckpointError for one that did not finish, or is of another dataset or version.
    """
    trained = load_trained(folder)
    record = trained.record
    about = folder / "train.json"
    if record.status != "finished":
        raise CheckpointError(
            f"{about}: status: this first stage {record.status}; only a finished one will do"
        )
    wanted = {"dataset_sha256": dataset_sha256, "versions": dict(versions)}
    for key, value in wanted.items():
        if getattr(record, key) != value:
            raise CheckpointError(
                f"{about}: {key}: is {getattr(record, key)}, must be {value}; train this cell "
                f"again with --config retrain={record.cell}"
            )
    return trained


def write_latents(
    file: Path,
    kind: str,
    trained: Trained,
    images: np.ndarray,
    about: dict[str, str],
    device: torch.device,
) -> Latents:
    """Write the latents of uint8 images (n, c, h, w), times what gives them unit variance, or their
    codes.

    kind: "latents" or "codes". about: the file's metadata. Memory holds the images and latents of
    a batch.
    """
    space = SPACES[kind](cast(Any, trained.model)).to(device)
    blocks = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    shape = _encoded(space, images[:1], device).shape[1:]

    def fill(points: np.ndarray) -> dict[str, str]:
        for block in blocks:
            points[block] = _encoded(space, images[block], device)
        if kind == "codes":
            return {**about, "scale": "1.0"}
        scale = 1 / deviation(points)
        for block in blocks:
            points[block] *= np.float32(scale)
        return {**about, "scale": repr(scale)}

    write_rows(file, "points", (len(images), *shape), fill)
    return read_latents(file, about)


@torch.inference_mode()
def _encoded(space: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    batch = torch.tensor(images, device=device).float().div_(127.5).sub_(1)
    return space.encode(batch).cpu().numpy()  # type: ignore[operator]


def deviation(points: np.ndarray) -> float:
    """The standard deviation of all numbers, with n - 1, computed by parts in float64."""
    parts = [points[start : start + BATCH] for start in range(0, len(points), BATCH)]
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / points.size
    squares = sum(float(np.square(part.astype(np.float64) - mean).sum()) for part in parts)
    return math.sqrt(squares / (points.size - 1))


def read_latents(file: Path, wanted: dict[str, str]) -> Latents:
    """What `write_latents` wrote, memory-mapped. wanted: metadata that the file must have.

    Raises CheckpointError for a file that is damaged or of another first stage.
    """
    points, metadata = open_rows(file, "points", wanted)
    return Latents(points, float(metadata["scale"]), metadata.get("model", ""))


def space_of(knobs: Generative, stage1: Path | None, latents: Path | None) -> nn.Module:
    """The space of a generative model. stage1, latents: the first stage's; None for pixels.

    Raises CheckpointError if the latents are of another first stage.
    """
    if stage1 is None or latents is None:
        return build_space(knobs, None)
    trained = load_trained(stage1)
    scale = read_latents(latents, {"model": digest(stage1 / "model.safetensors")}).scale
    return build_space(knobs, cast(Any, trained.model), scale)
