"""The metric libraries as their documentation shows them, with the weights that we use."""

from __future__ import annotations

from collections.abc import Mapping
from unittest import mock

import lpips
import numpy as np
import pytorch_fid.inception
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor


def fid_network(tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    """pytorch-fid's network, without the download of its weights."""
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    download = "load_state_dict_from_url"
    with mock.patch.object(pytorch_fid.inception, download, return_value={**tensors, **head}):
        return pytorch_fid.inception.InceptionV3().eval()


def lpips_network(net: str, tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    """lpips.LPIPS with its own heads, without the download of its backbone."""
    network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    for name, parameter in network.net.named_parameters():
        _, index, part = name.split(".")
        parameter.data.copy_(tensors[f"features.{index}.{part}"])
    return network


@torch.no_grad()
def fid_features(network: torch.nn.Module, pictures: np.ndarray, batch: int = 50) -> np.ndarray:
    """As pytorch-fid's get_activations: uint8 (N, 3, H, W) to (N, 2048)."""
    # Contiguous like the output of its loader, whatever layout a resize has left.
    batches = torch.from_numpy(np.ascontiguousarray(pictures)).split(batch)
    return np.concatenate([network(part.float() / 255)[0].flatten(1).numpy() for part in batches])


@torch.no_grad()
def perceptual(network: torch.nn.Module, a: np.ndarray, b: np.ndarray) -> list[float]:
    """LPIPS pair by pair, as the package's example does."""
    tensors = [torch.from_numpy(x).float() / 127.5 - 1 for x in (a, b)]
    return [network(x[None], y[None]).item() for x, y in zip(*tensors, strict=True)]


def pixels(a: np.ndarray, b: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean absolute difference, PSNR and SSIM, pair by pair."""
    values = []
    for x, y in zip(a / np.float32(255), b / np.float32(255), strict=True):
        similarity = structural_similarity(x, y, win_size=11, data_range=1.0, channel_axis=0)
        noise = peak_signal_noise_ratio(x, y, data_range=1.0)
        values.append((np.abs(x - y).mean(), noise, similarity))
    return values
