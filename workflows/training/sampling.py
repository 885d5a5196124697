"""Samples of a diffusion model, each a function of its seed and number alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.streams import Purpose, generator
from workflows.knobs import Diffusion
from workflows.registry import build_sampler, predict_noise

BATCH = 64


@torch.inference_mode()
def sample_points(
    backbone: nn.Module,
    knobs: Diffusion,
    shape: tuple[int, ...],
    classes: int | None,
    numbers: Sequence[int],
    device: torch.device,
) -> Tensor:
    """Points (n, *shape), float32 on the processor, of the samples with these numbers.

    All noise of a sample is drawn from the cell's seed and the sample's number, and its class is
    number % classes, so that neither batches nor interruptions change any sample.
    """
    backbone.eval()
    found = []
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        generators = [generator(knobs.seed, Purpose.SAMPLE, number) for number in part]
        points = torch.stack([torch.randn(shape, generator=one) for one in generators]).to(device)
        labels = None
        if knobs.conditional:
            assert classes is not None
            labels = torch.tensor([number % classes for number in part], device=device)
        sampler = build_sampler(knobs)
        for time in sampler.timesteps:
            times = time.to(device).expand(len(part))
            noise = predict_noise(backbone, points, times, labels, knobs.guidance)
            points = sampler.step(
                noise, int(time), points, eta=knobs.eta, generator=generators
            ).prev_sample
        found.append(points.cpu())
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
