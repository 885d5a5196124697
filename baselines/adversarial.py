"""What the generative adversarial networks share: sides, differentiable augmentation, freezing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
# Of Zhao et al.: how far an image is moved, and the side of the square that is cut out of it.
MOVED, CUT = 1 / 8, 1 / 2


def sides_of(side: int) -> list[int]:
    """The sides of a generator's grids, ascending: 4 to 7, then doubled up to `side`.

    Raises ValueError for a side that is not reached in this way.
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
    """The channels of each of `levels` grids, the smallest grid first.

    The two smallest grids have `channels`, and each grid after them half of the one before, at
    least 8.
    """
    return [max(8, channels // 2 ** max(0, level - 1)) for level in range(levels)]


def square(shape: tuple[int, ...]) -> int:
    """The side of images (c, h, w). Raises ValueError unless they are square."""
    if shape[-1] != shape[-2]:
        raise ValueError(f"images of {shape[-2]} x {shape[-1]} pixels; allowed: square images")
    return shape[-1]


def augmented(images: Float[Tensor, "b c h w"], stream: torch.Generator) -> Tensor:
    """Differentiable augmentation (Zhao et al. 2020): colour, translation and cutout, each image
    by numbers of its own from `stream`. Gradients flow through to the images.
    """
    count, _, height, width = images.shape
    numbers = torch.rand(7, count, generator=stream).to(images.device)
    brightness, saturation, contrast = (row[:, None, None, None] for row in numbers[:3])
    images = images + brightness - 0.5
    images = _about(images, images.mean(1, keepdim=True), 2 * saturation)
    images = _about(images, images.mean((1, 2, 3), keepdim=True), contrast + 0.5)
    images = _moved(images, numbers[3], numbers[4])
    inside = [
        _cut(size, numbers[5 + axis], images.device) for axis, size in enumerate((height, width))
    ]
    return images * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _about(images: Tensor, middle: Tensor, factor: Tensor) -> Tensor:
    """The same with `factor` times the distance from `middle`."""
    return middle + (images - middle) * factor


def _moved(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by whole pixels, at most MOVED of its side; zeros come in. down, right: in
    [0, 1), (b,).
    """
    count, channels, height, width = images.shape
    most = [round(size * MOVED) for size in (height, width)]
    padded = F.pad(images, (most[1], most[1], most[0], most[0]))
    places = [
        (part * (2 * far + 1)).long()[:, None] + torch.arange(size, device=images.device)
        for part, far, size in zip((down, right), most, (height, width), strict=True)
    ]
    each = torch.arange(count, device=images.device)[:, None, None, None]
    every = torch.arange(channels, device=images.device)[:, None, None]
    return padded[each, every, places[0][:, None, :, None], places[1][:, None, None, :]]


def _cut(size: int, part: Tensor, device: torch.device) -> Tensor:
    """Which places of an axis are within a piece of CUT of its length, (b, size). part: where the
    piece's middle is, in [0, 1).
    """
    length = round(size * CUT)
    start = (part * (size + 1)).long() - length // 2
    places = torch.arange(size, device=device)[None] - start[:, None]
    return (places >= 0) & (places < length)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """What is computed inside has gradients by its inputs and none by the module's weights."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
