"""LPIPS v0.1 (Zhang et al., 2018), a perceptual distance from features of AlexNet or VGG16.

The lpips package would download the backbone's weights, so its network is built empty and given
ours. Our files name the tensors as torchvision does (features.N.weight), and the heads linN.weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import lpips
import torch
from torch import Tensor, nn


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


def shapes(backbone: str) -> dict[str, torch.Size]:
    """Return the name of each tensor in our files -> its shape, in the order of the layers."""
    parameters = empty(backbone).named_parameters()
    return {_name_in_files(name): parameter.shape for name, parameter in parameters}


def _name_in_files(name: str) -> str:
    """Turn net.slice2.3.bias into features.3.bias, lin0.model.1.weight into lin0.weight.

    The package names the same heads lins.0 to lins.4 as well.
    """
    parts = name.split(".")
    if parts[0] == "net":
        return f"features.{parts[2]}.{parts[3]}"
    return f"lin{parts[1]}.weight" if parts[0] == "lins" else f"{parts[0]}.weight"


class Perceptual(nn.Module):
    """Returns the distances (N,) of two batches (N, 3, H, W) in [-1, 1]; equal images have 0."""

    def __init__(self, network: lpips.LPIPS) -> None:
        """network: the package's, with weights."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Sum over layers the mean over space of weighted squared differences."""
        return self.network(images, reconstructions).flatten()


def load_perceptual(backbone: str, state: Mapping[str, Tensor]) -> Perceptual:
    """Return the network with tensors of our files, ready for inference.

    Raises RuntimeError if tensors are missing or have other shapes, KeyError for another backbone.
    """
    network = empty(backbone)
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    constants = network.scaling_layer.state_dict(prefix="scaling_layer.")
    # load_state_dict names all the tensors that are missing.
    tensors = {n: state[_name_in_files(n)] for n in names if _name_in_files(n) in state}
    network.load_state_dict({**tensors, **constants}, assign=True)
    network.requires_grad_(False)
    return Perceptual(network).eval().to(memory_format=torch.channels_last)
