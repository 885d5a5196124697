"""Samples of a generative model. Each sample depends on its seed and number alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.streams import Purpose, generator
from workflows.knobs import Generative

BATCH = 64


@torch.inference_mode()
def sample_points(
    model: Any,
    knobs: Generative,
    shape: tuple[int, ...],
    classes: int | None,
    numbers: Sequence[int],
    device: torch.device,
    quick: bool = False,
) -> Tensor:
    """Return the points (n, *shape) of the samples with these numbers, on the processor.

    All noise of a sample is drawn from the cell's seed and the sample's number, and its class is
    number % classes, so neither batches nor interruptions change a sample. quick: see
    GenerativeModel.
    """
    model.eval()
    points = []
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        streams = [generator(knobs.seed, Purpose.SAMPLE, number) for number in part]
        labels = None
        if knobs.conditional:
            assert classes is not None
            labels = torch.tensor([number % classes for number in part], device=device)
        points.append(model.sample(shape, labels, streams, quick).cpu())
    return torch.cat(points)


@torch.inference_mode()
def to_images(space: nn.Module, points: Tensor, device: torch.device) -> Tensor:
    """Return points (n, d, h, w) as images (n, c, H, W) in [0, 1], on the processor."""
    space = space.to(device).eval()
    images = [
        space.decode(part.to(device)).clamp(-1, 1).add(1).div(2).cpu()  # type: ignore[operator]
        for part in points.split(BATCH)
    ]
    return torch.cat(images)
