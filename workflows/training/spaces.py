"""First stages on disk: their models, and the latents of the training images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from workflows.files import digest
from workflows.knobs import Diffusion
from workflows.registry import build_space, latent_space
from workflows.training.checkpoint import Trained, load_trained
from workflows.training.tensor_files import CheckpointError, open_rows, write_rows

BATCH = 64


@dataclass(frozen=True)
class Latents:
    """points: float32 (n, d, h, w), of unit variance. scale: what they were multiplied by.

    model: the digest of the first stage's model, where it is known.
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
    file: Path, trained: Trained, images: np.ndarray, about: dict[str, str], device: torch.device
) -> Latents:
    """Write the latents of uint8 images (n, c, h, w), times what gives them unit variance.

    about: what they are of, the file's metadata. Memory holds the images and latents of a batch:
    the factor is known once all are written, and then they are multiplied where they lie.
    """
    space = latent_space(cast(Any, trained.model), 1.0).to(device)
    blocks = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    shape = _encoded(space, images[:1], device).shape[1:]

    def fill(points: np.ndarray) -> dict[str, str]:
        spread = Spread()
        for block in blocks:
            points[block] = _encoded(space, images[block], device)
            spread.add(points[block])
        scale = 1 / spread.deviation
        for block in blocks:
            points[block] *= np.float32(scale)
        return {**about, "scale": repr(scale)}

    write_rows(file, "points", (len(images), *shape), fill)
    return read_latents(file, about)


@torch.inference_mode()
def _encoded(space: torch.nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    batch = torch.tensor(images, device=device).float().div_(127.5).sub_(1)
    return space.encode(batch).cpu().numpy()  # type: ignore[operator]


@dataclass
class Spread:
    """Count, mean and sum of squared deviations of all numbers that were added, in float64; parts
    are joined as by Chan, Golub and LeVeque 1979.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, part: np.ndarray) -> None:
        """Numbers of any shape."""
        values = part.astype(np.float64)
        count, mean = values.size, float(values.mean())
        total = self.count + count
        apart = mean - self.mean
        self.squares += float(np.square(values - mean).sum())
        self.squares += apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Their standard deviation, with n - 1."""
        return math.sqrt(self.squares / (self.count - 1))


def read_latents(file: Path, wanted: dict[str, str]) -> Latents:
    """What `write_latents` wrote, memory-mapped. wanted: metadata that the file must have.

    Raises CheckpointError for a file that is damaged or of another first stage.
    """
    points, metadata = open_rows(file, "points", wanted)
    return Latents(points, float(metadata["scale"]), metadata.get("model", ""))


def space_of(knobs: Diffusion, stage1: Path | None, latents: Path | None) -> torch.nn.Module:
    """The space of a diffusion model. stage1, latents: the first stage's; None for pixels.

    Raises CheckpointError if the latents are of another first stage.
    """
    if stage1 is None or latents is None:
        return build_space(knobs, None, 1.0)
    trained = load_trained(stage1)
    scale = read_latents(latents, {"model": digest(stage1 / "model.safetensors")}).scale
    return build_space(knobs, cast(Any, trained.model), scale)
