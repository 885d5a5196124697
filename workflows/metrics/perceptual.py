"""LPIPS v0.1: a perceptual distance from the channels of AlexNet or VGG16, by the lpips package.

Zhang et al. 2018. Tensors bear torchvision's names (features.N.weight) and linN.weight. The package
would download the backbone's weights, so its network is built empty and given ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import lpips
import torch
from torch import Tensor, nn


def empty(backbone: str) -> lpips.LPIPS:
    """The package's network, whose weights have no storage. backbone: "alex" or "vgg"."""
    with torch.device("meta"), warnings.catch_warnings():
        # The package names torchvision's options as torchvision did before.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(
            pretrained=False, net=backbone, pnet_rand=True, use_dropout=False, verbose=False
        )
    # Its two constants are buffers.
    network.scaling_layer = lpips.lpips.ScalingLayer()
    return network


def shapes(backbone: str) -> dict[str, torch.Size]:
    """Canonical name of each tensor -> its shape, in the order of the layers."""
    return {_canonical(name): one.shape for name, one in empty(backbone).named_parameters()}


def _canonical(name: str) -> str:
    """net.slice2.3.bias is features.3.bias; lin0.model.1.weight and lins.0... are lin0.weight."""
    parts = name.split(".")
    if parts[0] == "net":
        return f"features.{parts[2]}.{parts[3]}"
    if parts[0] == "lins":  # The same layers as lin0 to lin4, by other names.
        return f"lin{parts[1]}.weight"
    return f"{parts[0]}.weight"


class Perceptual(nn.Module):
    """Distance of two batches (N, 3, H, W) in [-1, 1]; returns (N,), 0 for equal images."""

    def __init__(self, network: lpips.LPIPS) -> None:
        """network: the package's, with weights."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Sum over layers of the mean over space of weighted squared differences."""
        return self.network(images, reconstructions).flatten()


def load_perceptual(backbone: str, state: Mapping[str, Tensor]) -> Perceptual:
    """The network with the given tensors, ready for inference.

    Raises RuntimeError if tensors are missing or have other shapes, KeyError for another backbone.
    """
    network = empty(backbone)
    named = {name: _canonical(name) for name, _ in network.named_parameters(remove_duplicate=False)}
    constants = network.scaling_layer.state_dict(prefix="scaling_layer.")
    # The network refuses what is missing.
    tensors = {name: state[of] for name, of in named.items() if of in state}
    network.load_state_dict({**tensors, **constants}, assign=True)
    network.requires_grad_(False)
    return Perceptual(network).eval().to(memory_format=torch.channels_last)
