"""LPIPS v0.1 (Zhang et al., 2018), a perceptual distance from features of AlexNet or VGG16.

The lpips package would download the backbone's weights, so its network is built empty and filled
with ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import lpips
import torch
from torch import Tensor


def empty(backbone: str) -> lpips.LPIPS:
    """Return the package's network, whose weights have no storage. backbone: "alex" or "vgg"."""
    with torch.device("meta"), warnings.catch_warnings():
        # The package uses an old name of a torchvision option, and torchvision warns.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(
            pretrained=False, net=backbone, pnet_rand=True, use_dropout=False, verbose=False
        )
    # Only the weights come from a file, so the two constants of this layer need storage.
    network.scaling_layer = lpips.lpips.ScalingLayer()
    return network


def load_perceptual(backbone: str, tensors: Iterable[Tensor]) -> lpips.LPIPS:
    """Return the network, ready for inference.

    The network maps two batches (n, 3, h, w) in [-1, 1] to distances (n, 1, 1, 1). tensors: in the
    order of the network's parameters, which are weight and bias of each convolution and then the
    weights of the five heads. Raises ValueError for another number of tensors, RuntimeError for
    other shapes.
    """
    network = empty(backbone)
    names = [name for name, _ in network.named_parameters()]
    # Not strict, because the network names its heads twice, and its constants are there already.
    network.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False, assign=True)
    network.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)
