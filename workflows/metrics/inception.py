"""The InceptionV3 of the Fréchet Inception distance: its 2,048 pooled features.

Szegedy et al., 2015, as trained for TensorFlow on 2015-12-05 and ported by pytorch-fid, whose
tensor names are kept. Unlike torchvision's network, average pools leave padding out of their
mean and the last block pools by maximum. Batch normalisation (eps 1e-3) is folded at load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 2048
BATCH_NORM_EPSILON = 1e-3
INPUT_SIZE = 299

# A branch is a chain of (outputs, kernel, stride = 1). Inside blocks, kernels of stride 1 keep the
# size and those of stride 2 have no padding. A fork is a ROW and a COLUMN kernel side by side.
ROW, COLUMN, FORK = (1, 3), (3, 1), "fork"
LONG_ROW, LONG_COLUMN = (1, 7), (7, 1)
Branches = dict[str, list[tuple[Any, ...]]]

A: Branches = {
    "branch1x1": [(64, 1)],
    "branch5x5": [(48, 1), (64, 5)],
    "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
}
B: Branches = {"branch3x3": [(384, 3, 2)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)]}
D: Branches = {
    "branch3x3": [(192, 1), (320, 3, 2)],
    "branch7x7x3": [(192, 1), (192, LONG_ROW), (192, LONG_COLUMN), (192, 3, 2)],
}
E: Branches = {
    "branch1x1": [(320, 1)],
    "branch3x3": [(384, 1), (384, FORK)],
    "branch3x3dbl": [(448, 1), (384, 3), (384, FORK)],
}


def _c(width: int) -> Branches:
    double = [(width, LONG_COLUMN), (width, LONG_ROW), (width, LONG_COLUMN), (192, LONG_ROW)]
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(width, 1), (width, LONG_ROW), (192, LONG_COLUMN)],
        "branch7x7dbl": [(width, 1), *double],
    }


class Convolution(nn.Module):
    """Convolution and ReLU; (N, inputs, H, W) to (N, outputs, H', W')."""

    def __init__(self, inputs: int, outputs: int, kernel: Any, stride: int = 1, pad: Any = 0):
        """Take what torch.nn.Conv2d takes."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        return F.relu(self.conv(x), inplace=True)


class Block(nn.Module):
    """Branches side by side, joined along channels; (N, inputs, H, W) to (N, outputs, H', W').

    The last branch is a pool: "average" or "max" keeps the size and goes through `branch_pool`,
    "halve" is a bare maximum of stride 2.
    """

    def __init__(self, inputs: int, branches: Branches, pool: str, pool_outputs: int = 192):
        """branches: names to chains. pool_outputs: channels of `branch_pool`."""
        super().__init__()
        self.pool = pool
        self.chains: list[list[list[str]]] = []
        for branch, chain in branches.items():
            width, names = inputs, []
            for index, (outputs, kernel, *stride) in enumerate(chain, start=1):
                name = branch if len(chain) == 1 else f"{branch}_{index}"
                fork = kernel == FORK
                names.append([f"{name}a", f"{name}b"] if fork else [name])
                for leaf, size in zip(names[-1], (ROW, COLUMN) if fork else (kernel,), strict=True):
                    pad = 0 if stride else _same(size)
                    step = stride[0] if stride else 1
                    self.add_module(leaf, Convolution(width, outputs, size, step, pad))
                width = outputs
            self.chains.append(names)
        if pool != "halve":
            self.branch_pool = Convolution(inputs, pool_outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run every branch."""
        return torch.cat([*self._branches(x), self._pooled(x)], dim=1)

    def _branches(self, x: Tensor) -> Iterator[Tensor]:
        for chain in self.chains:
            y = x
            for names in chain[:-1]:
                y = self.get_submodule(names[0])(y)
            yield from (self.get_submodule(name)(y) for name in chain[-1])

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, 2)
        if self.pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, 1, 1))
        return self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def _same(kernel: int | tuple[int, int]) -> int | tuple[int, int]:
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


class Inception(nn.Sequential):
    """Images (N, 3, H, W) in [0, 1] to features (N, 2048)."""

    def __init__(self) -> None:
        """Build the network; batch normalisation is in the convolutions already."""
        super().__init__()
        stem: list[tuple[Any, ...]] = [
            ("1a_3x3", 3, 32, 3, 2),
            ("2a_3x3", 32, 32, 3),
            ("2b_3x3", 32, 64, 3, 1, 1),
        ]
        for name, *sizes in [*stem, ("3b_1x1", 64, 80, 1), ("4a_3x3", 80, 192, 3)]:
            self.add_module(f"Conv2d_{name}", Convolution(*sizes))
        for name, inputs, width in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
            self.add_module(f"Mixed_5{name}", Block(inputs, A, "average", width))
        self.Mixed_6a = Block(288, B, "halve")
        for name, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            self.add_module(f"Mixed_6{name}", Block(768, _c(width), "average"))
        self.Mixed_7a = Block(768, D, "halve")
        self.Mixed_7b, self.Mixed_7c = Block(1280, E, "average"), Block(2048, E, "max")

    def forward(self, images: Tensor) -> Tensor:
        """Scale to [-1, 1], resize bilinearly to 299 x 299 and average the last block's output.

        Scaled and laid out before they are resized, when they are a hundredth of the size.
        """
        x = (2 * images - 1).contiguous(memory_format=torch.channels_last)
        size = (INPUT_SIZE, INPUT_SIZE)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        for name, layer in self.named_children():
            x = layer(F.max_pool2d(x, 3, 2) if name in ("Conv2d_3b_1x1", "Mixed_5b") else x)
        return x.mean(dim=(2, 3), dtype=torch.float32)


def load_inception(state: Mapping[str, Tensor]) -> Inception:
    """The network with pytorch-fid's tensors, ready for inference; `fc.*` may be left out.

    Raises KeyError or RuntimeError if tensors are missing or have other shapes.
    """
    folded = {}
    for name in (key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight")):
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (state[f"{name}.bn.{part}"].double() for part in parts)
        scale = gamma / torch.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = state[f"{name}.conv.weight"].double() * scale[:, None, None, None]
        folded[f"{name}.conv.weight"] = kernel.float()
        folded[f"{name}.conv.bias"] = (beta - mean * scale).float()
    with torch.device("meta"):
        network = Inception()
    network.load_state_dict(folded, assign=True)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
