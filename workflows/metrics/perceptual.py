"""LPIPS v0.1: a perceptual distance from the channels of AlexNet or VGG16.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018.
Tensors bear torchvision's names (features.N.weight, features.N.bias) and linN.weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10

# Torchvision's `features`: (outputs, kernel, stride, padding) of a convolution, a ReLU after
# which a layer is "tapped", or a pool.
_ALEX: list[tuple[int, ...] | str] = [
    (64, 11, 4, 2), "tap", "pool", (192, 5, 1, 2), "tap", "pool",
    (384, 3, 1, 1), "tap", (256, 3, 1, 1), "tap", (256, 3, 1, 1), "tap",
]  # fmt: skip
_VGG: list[tuple[int, ...] | str] = [
    (64, 3, 1, 1), "relu", (64, 3, 1, 1), "tap", "pool",
    (128, 3, 1, 1), "relu", (128, 3, 1, 1), "tap", "pool",
    (256, 3, 1, 1), "relu", (256, 3, 1, 1), "relu", (256, 3, 1, 1), "tap", "pool",
    (512, 3, 1, 1), "relu", (512, 3, 1, 1), "relu", (512, 3, 1, 1), "tap", "pool",
    (512, 3, 1, 1), "relu", (512, 3, 1, 1), "relu", (512, 3, 1, 1), "tap",
]  # fmt: skip
_LAYERS = {"alex": (_ALEX, 3), "vgg": (_VGG, 2)}  # layers and the pools' kernel; stride 2


class Perceptual(nn.Module):
    """Distance of two batches (N, 3, H, W) in [-1, 1]; returns (N,), 0 for equal images."""

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: str):
        """Take a backbone, "alex" or "vgg"; KeyError for another. Weights are to be assigned."""
        super().__init__()
        layers, pool = _LAYERS[backbone]
        self.features = nn.Sequential()
        self.taps: list[int] = []
        widths, width = [], 3
        for index, layer in enumerate(layers):
            if isinstance(layer, tuple):
                outputs, kernel, stride, padding = layer
                shape = (width, outputs, kernel, stride, padding)
                # Without storage: drawing initial weights takes longer than reading the real ones.
                self.features.append(nn.Conv2d(*shape, device="meta"))
                width = outputs
            else:
                self.features.append(nn.MaxPool2d(pool, 2) if layer == "pool" else nn.ReLU())
            if layer == "tap":
                self.taps.append(index)
                widths.append(width)
        for index, width in enumerate(widths):
            self.register_parameter(f"lin{index}", nn.Parameter(torch.empty(1, width, 1, 1)))
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None], persistent=False)

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Sum over layers of the mean over space of weighted squared differences."""
        x = (torch.cat([images, reconstructions]) - self.shift) / self.scale
        total = x.new_zeros(len(images))
        tap = 0
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON)
                first, second = unit.chunk(2)
                head = getattr(self, f"lin{tap}")
                total = total + F.conv2d((first - second) ** 2, head).mean(dim=(1, 2, 3))
                tap += 1
        return total


def load_perceptual(backbone: str, state: Mapping[str, Tensor]) -> Perceptual:
    """The network with the given tensors, ready for inference.

    Raises RuntimeError if tensors are missing or have other shapes.
    """
    network = Perceptual(backbone)
    named = {
        name.removesuffix(".weight") if name.startswith("lin") else name: value
        for name, value in state.items()
    }
    network.load_state_dict(named, assign=True)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
