"""The training loop: one function in plain sight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflows.metrics.usage import perplexity, usage
from workflows.registry import build_objective, loss_weights


class Diverged(ArithmeticError):
    """The loss is no longer a number; the message says at which epoch."""


@dataclass(frozen=True)
class Images:
    """uint8 arrays of shape (n, c, h, w). variance: of the training images in [0, 1]."""

    train: np.ndarray
    validation: np.ndarray
    variance: float


def normalise(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (n, c, h, w) to float32 in [-1, 1] on `device`, channels last."""
    tensor = torch.as_tensor(images).to(device)
    return tensor.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def batches(images: Tensor, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """One epoch's batches, uint8; the order depends on seed and epoch alone. None is dropped."""
    order = torch.randperm(
        len(images), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    )
    for rows in order.split(batch_size):
        yield images[rows]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches an epoch, the last one short."""
    return math.ceil(images / batch_size)


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Images,
    knobs: Mapping[str, Any],
    epoch: int,
    device: torch.device,
) -> dict[str, float]:
    """Train for one epoch; means of the total loss and the reconstruction term over its images.

    Raises Diverged when the mean loss of the epoch is not finite.
    """
    objective = build_objective(knobs, images.variance)
    weights = loss_weights(knobs)
    model.train()
    resident = torch.from_numpy(images.train)
    # Summed on the device: reading a loss every step would wait for it.
    sums = torch.zeros(2, device=device)
    for batch in batches(resident, knobs["batch_size"], knobs["seed"], epoch):
        inputs = normalise(batch, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=knobs["precision"] == "bf16"):
            output = model(inputs)
        reconstruction = objective(output.images, inputs)
        loss = reconstruction + sum(
            weights[name] * value for name, value in output.quantised.losses.items()
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        model.quantiser.adapt(output.quantised.assignment)  # type: ignore[operator, union-attr]
        optimiser.step()
        sums += torch.stack([loss.detach(), reconstruction.detach()]) * len(batch)
    loss_mean, reconstruction_mean = (sums / len(resident)).tolist()
    if not math.isfinite(loss_mean):
        raise Diverged(f"the loss became {loss_mean} in epoch {epoch + 1}")
    return {"loss": loss_mean, "reconstruction": reconstruction_mean}


@torch.inference_mode()
def count_codes(
    model: nn.Module, images: np.ndarray, codebook_size: int, device: torch.device
) -> np.ndarray:
    """How often each code is hit over `images`, shape (K,); the model is in evaluation mode."""
    model.eval()
    counts = torch.zeros(codebook_size, dtype=torch.long, device=device)
    for start in range(0, len(images), 256):
        codes = model(normalise(images[start : start + 256], device)).quantised.codes
        counts += torch.bincount(codes.flatten(), minlength=codebook_size)
    return counts.cpu().numpy()


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Images,
    knobs: Mapping[str, Any],
    history: list[dict[str, float]],
    after_epoch: Callable[[list[dict[str, float]]], None],
    device: torch.device,
) -> None:
    """Train from where `history` ends to the last epoch.

    history: one record an epoch, appended to. after_epoch: called with it once an epoch is whole
    (to save and to report). Raises Diverged.
    """
    steps = steps_per_epoch(len(images.train), knobs["batch_size"])
    for epoch in range(len(history), knobs["epochs"]):
        start = time.perf_counter()
        means = train_epoch(model, optimiser, images, knobs, epoch, device)
        seconds = time.perf_counter() - start
        counts = count_codes(model, images.validation, knobs["codebook_size"], device)
        before = history[-1]["seconds"] if history else 0.0
        history.append(
            {
                "epoch": epoch + 1,
                "step": (epoch + 1) * steps,
                **means,
                "usage": usage(counts),
                "perplexity": perplexity(counts),
                "images_per_second": len(images.train) / seconds,
                "seconds": before + time.perf_counter() - start,
            }
        )
        after_epoch(history)
