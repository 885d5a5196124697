"""The InceptionV3 of the Fréchet Inception distance, which returns 2,048 pooled features.

The weights were trained for TensorFlow (2015-12-05) and ported by pytorch-fid, whose blocks are
used here. That package downloads weights when it builds the network, so this module builds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pytorch_fid import inception as blocks
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d, Inception3

FEATURES = 2048
INPUT_SIZE = 299


def empty() -> Inception3:
    """Return pytorch-fid's network up to the last block, without weights, under its names."""
    network = Inception3(num_classes=1, aux_logits=False, init_weights=False)
    for name, inputs, width in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
        setattr(network, f"Mixed_5{name}", blocks.FIDInceptionA(inputs, width))
    for name, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
        setattr(network, f"Mixed_6{name}", blocks.FIDInceptionC(768, width))
    network.Mixed_7b = blocks.FIDInceptionE_1(1280)
    network.Mixed_7c = blocks.FIDInceptionE_2(2048)
    del network.avgpool, network.dropout, network.fc
    return network


def kernels() -> dict[str, torch.Size]:
    """Return the name of each convolution, such as Mixed_5b.branch1x1 -> its kernel's shape."""
    with torch.device("meta"):
        layers = empty().named_modules()
    return {name: part.conv.weight.shape for name, part in layers if isinstance(part, BasicConv2d)}


class Inception(nn.Module):
    """Maps images (N, 3, H, W) in [0, 1] to features (N, 2048)."""

    def __init__(self, network: Inception3) -> None:
        """network: from `empty`, with weights."""
        super().__init__()
        self.layers = nn.Sequential(*network.children())

    def forward(self, images: Tensor) -> Tensor:
        """Scale to [-1, 1], resize bilinearly to 299 x 299 and average the last block's output."""
        # Scaling and layout come first, because the resize makes images a hundred times as large.
        x = (2 * images - 1).contiguous(memory_format=torch.channels_last)
        size = (INPUT_SIZE, INPUT_SIZE)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.layers(x).mean(dim=(2, 3), dtype=torch.float32)


def load_inception(state: Mapping[str, Tensor]) -> Inception:
    """Return the network with pytorch-fid's tensors, ready for inference.

    Batch normalisation is folded into the convolutions. Tensors `fc.*` are ignored. Raises
    RuntimeError if other tensors are missing or have other shapes.
    """
    network = empty().eval()
    counters = {name: torch.zeros(()) for name in network.state_dict() if "num_batches" in name}
    layers = {name: value for name, value in state.items() if not name.startswith("fc.")}
    network.load_state_dict({**counters, **layers})
    for part in network.modules():
        if isinstance(part, BasicConv2d):
            part.conv = nn.utils.fuse_conv_bn_eval(part.conv, part.bn)
            part.bn = nn.Identity()
    network.requires_grad_(False)
    return Inception(network).eval().to(memory_format=torch.channels_last)
