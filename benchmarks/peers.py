"""The metric libraries as their documentation shows them, on the weights that we use too."""

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
    """pytorch-fid's network with our tensors, which it would download."""
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    state = {**tensors, **head}
    download = "load_state_dict_from_url"
    with mock.patch.object(pytorch_fid.inception, download, return_value=state):
        return pytorch_fid.inception.InceptionV3().eval()


def lpips_network(net: str, tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    """lpips.LPIPS with the heads of its own and our backbone, which it would download."""
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    for name, parameter in theirs.net.named_parameters():
        _, index, part = name.split(".")
        parameter.data.copy_(tensors[f"features.{index}.{part}"])
    return theirs


def fid_features(network: torch.nn.Module, pictures: np.ndarray, batch: int = 50) -> np.ndarray:
    """As pytorch-fid's get_activations: uint8 (N, 3, H, W) to (N, 2048)."""
    found = []
    for start in range(0, len(pictures), batch):
        # As its loader's ToTensor gives them, whatever layout a resize has left.
        stored = np.ascontiguousarray(pictures[start : start + batch])
        inputs = torch.from_numpy(stored).float() / 255
        with torch.no_grad():
            found.append(network(inputs)[0].squeeze(3).squeeze(2).numpy())
    return np.concatenate(found)


def perceptual(network: torch.nn.Module, a: np.ndarray, b: np.ndarray) -> list[float]:
    """LPIPS pair by pair, as the package's example does."""
    found = []
    for first, second in zip(a, b, strict=True):
        pair = [torch.from_numpy(x)[None].float() / 127.5 - 1 for x in (first, second)]
        with torch.no_grad():
            found.append(network(*pair).item())
    return found


def pixels(a: np.ndarray, b: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean absolute difference, PSNR and SSIM, pair by pair."""
    found = []
    for first, second in zip(a / np.float32(255), b / np.float32(255), strict=True):
        similarity = structural_similarity(
            first, second, win_size=11, data_range=1.0, channel_axis=0
        )
        noise = peak_signal_noise_ratio(first, second, data_range=1.0)
        found.append((float(np.abs(first - second).mean()), float(noise), float(similarity)))
    return found
