"""First stages on disk: their models, and the latents of the training images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from workflows.checkpoint import (
    CheckpointError,
    Trained,
    load_trained,
    read_tensors,
    save_tensors,
)
from workflows.files import digest
from workflows.registry import build_space

BATCH = 64


@dataclass(frozen=True)
class Latents:
    """points: float32 (n, d, h, w), of unit variance. scale: what they were multiplied by.

    model: the digest of the first stage's model, where it is known.
    """

    points: np.ndarray
    scale: float
    model: str = ""


def first_stage(folder: Path, dataset_sha256: str, code: str) -> Trained:
    """The finished autoencoder of a cell's folder, fit to be a first stage.

    dataset_sha256: of the training images. code: the digest of the code that trains such cells now.
    Raises CheckpointError for one that did not finish, or is of another dataset or code.
    """
    trained = load_trained(folder)
    record = trained.record
    about = folder / "train.json"
    if record["status"] != "finished":
        raise CheckpointError(
            f"{about}: status: this first stage {record['status']}; only a finished one will do"
        )
    wanted = {"dataset_sha256": dataset_sha256, "code": code}
    for key, value in wanted.items():
        if record.get(key) != value:
            raise CheckpointError(
                f"{about}: {key}: is {record.get(key)}, must be {value}; train this cell again"
            )
    return trained


@torch.inference_mode()
def encode(trained: Trained, images: np.ndarray, device: torch.device) -> Latents:
    """The latents of uint8 images (n, c, h, w), and the factor that gives them unit variance."""
    space = build_space({"method": "ldm"}, cast(Any, trained.model), 1.0).to(device)
    parts = [
        space.encode(
            torch.tensor(images[start : start + BATCH], device=device).float().div_(127.5).sub_(1)
        ).cpu()
        for start in range(0, len(images), BATCH)
    ]
    points = torch.cat(parts)
    scale = 1 / float(points.double().std())
    return Latents((points * scale).numpy(), scale)


def write_latents(file: Path, latents: Latents, about: dict[str, str]) -> None:
    """Write latents with what they are of, atomically."""
    save_tensors(
        file, {"points": torch.from_numpy(latents.points)}, {**about, "scale": repr(latents.scale)}
    )


def read_latents(file: Path, wanted: dict[str, str]) -> Latents:
    """What `write_latents` wrote. Raises CheckpointError for a damaged file or another first stage.

    wanted: metadata that it must have.
    """
    tensors, metadata = read_tensors(file)
    try:
        points, scale = tensors["points"].numpy(), float(metadata["scale"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{file}: no latents ({error}); make it again") from error
    for key, value in wanted.items():
        if metadata.get(key) != value:
            raise CheckpointError(f"{file}: {key}: is {metadata.get(key)}, must be {value}")
    return Latents(points, scale, metadata.get("model", ""))


def space_of(knobs: dict[str, Any], stage1: Path | None, latents: Path | None) -> torch.nn.Module:
    """The space of a diffusion model. stage1, latents: the first stage's; None for pixels.

    Raises CheckpointError if the latents are of another first stage.
    """
    if stage1 is None or latents is None:
        return build_space(knobs, None, 1.0)
    trained = load_trained(stage1)
    scale = read_latents(latents, {"model": digest(stage1 / "model.safetensors")}).scale
    return build_space(knobs, cast(Any, trained.model), scale)
