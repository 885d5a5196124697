"""Functions that both generative adversarial networks share, and differentiable augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
# The momenta of Adam for both critics, as published.
BETAS = (0.0, 0.99)
# Zhao et al.: an image moves by at most MOVED of its side and loses a square of CUT of its side.
MOVED, CUT = 1 / 8, 1 / 2


def sides_of(side: int) -> list[int]:
    """Return the sides of a generator's grids, ascending: 4 to 7, then doubled up to `side`.

    Raises ValueError for a side that doubling does not reach.
    """
    sides = [side]
    while sides[0] % 2 == 0 and sides[0] >= 8:
        sides.insert(0, sides[0] // 2)
    if not 4 <= sides[0] <= 7 or len(sides) == 1:
        raise ValueError(
            f"images of {side} x {side} pixels; allowed: sides of 4, 5, 6 or 7 times a power of "
            "two, at least 8, such as 28, 32 or 64"
        )
    return sides


def widths_of(levels: int, channels: int) -> list[int]:
    """Return the channels of each of `levels` grids, the smallest grid first.

    The two smallest grids have `channels`. Each further grid has half as many as the grid before,
    but at least 8.
    """
    return [max(8, channels // 2 ** max(0, level - 1)) for level in range(levels)]


def unit(numbers: Float[Tensor, "b z"]) -> Float[Tensor, "b z"]:
    """Scale each row to a mean square of one."""
    return numbers * (numbers.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def augmented(images: Float[Tensor, "b c h w"], stream: torch.Generator) -> Tensor:
    """Change the colours of images, move them and cut squares out, at random for each image.

    This is the differentiable augmentation of Zhao et al. 2020: gradients reach the images.
    """
    count, _, height, width = images.shape
    numbers = torch.rand(7, count, generator=stream).to(images.device)
    brightness, saturation, contrast = (row[:, None, None, None] for row in numbers[:3])
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (contrast + 0.5)
    images = _moved(images, numbers[3], numbers[4])
    cut_rows = _cut(height, numbers[5], images.device)
    cut_columns = _cut(width, numbers[6], images.device)
    return images * ~(cut_rows[:, None, :, None] & cut_columns[:, None, None, :])


def _moved(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by whole pixels; zeros come in. down, right: random, in [0, 1), (b,)."""
    count, channels, height, width = images.shape
    farthest = [round(size * MOVED) for size in (height, width)]
    padded = F.pad(images, (farthest[1], farthest[1], farthest[0], farthest[0]))
    rows, columns = (
        (part * (2 * far + 1)).long()[:, None] + torch.arange(size, device=images.device)
        for part, far, size in zip((down, right), farthest, (height, width), strict=True)
    )
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _cut(size: int, middle: Tensor, device: torch.device) -> Tensor:
    """Return which places of an axis are cut out, (b, size). middle: random, in [0, 1)."""
    length = round(size * CUT)
    start = (middle * (size + 1)).long() - length // 2
    places = torch.arange(size, device=device)[None] - start[:, None]
    return (places >= 0) & (places < length)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module to its inputs, while its weights get none."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
