"""Samples of a generative model, each a function of its seed and number alone."""

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
    """Points (n, *shape), on the processor, of the samples with these numbers.

    All noise of a sample is drawn from the cell's seed and the sample's number, and its class is
    number % classes, so that neither batches nor interruptions change any sample. quick: see
    GenerativeModel.
    """
    model.eval()
    found = []
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        streams = [generator(knobs.seed, Purpose.SAMPLE, number) for number in part]
        labels = None
        if knobs.conditional:
            assert classes is not None
            labels = torch.tensor([number % classes for number in part], device=device)
        found.append(model.sample(shape, labels, streams, quick).cpu())
    return torch.cat(found)


@torch.inference_mode()
def to_images(space: nn.Module, points: Tensor, device: torch.device) -> Tensor:
    """Points (n, d, h, w) to images (n, c, H, W) in [0, 1], on the processor."""
    space = space.to(device).eval()
    made = [
        space.decode(part.to(device)).clamp(-1, 1).add(1).div(2).cpu()  # type: ignore[operator]
        for part in points.split(BATCH)
    ]
    return torch.cat(made)
