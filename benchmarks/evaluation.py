"""A whole evaluation, against the libraries as their documentation shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from unittest import mock

import lpips
import numpy as np
import pytorch_fid.inception
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from benchmarks.measure import Row, Work, ratio, side_by_side
from workflows.data.metric_networks import load_networks, read_inception, read_lpips
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import Measurement, inception_features

COUNT = 50
PROTOCOLS = ("exact", "as_published")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return smooth random images, uint8 (COUNT, 3, 32, 32), and noisy copies in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    noise = 0.05 * torch.randn(images.shape, generator=generator)
    return (images * 255).byte().numpy(), (images + noise).clamp(0, 1).numpy()


def fid_network(tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    """Return pytorch-fid's network without downloading its weights."""
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    download = "load_state_dict_from_url"
    with mock.patch.object(pytorch_fid.inception, download, return_value={**tensors, **head}):
        return pytorch_fid.inception.InceptionV3().eval()


def lpips_network(net: str, tensors: Iterable[Tensor]) -> torch.nn.Module:
    """Return lpips.LPIPS with its own heads, without downloading its backbone."""
    network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    # The name of a layer holds its place in torchvision's network. The tensors of heads come last.
    named = sorted(network.net.named_parameters(), key=lambda item: _place(item[0]))
    for (_, parameter), tensor in zip(named, tensors, strict=False):
        parameter.data.copy_(tensor)
    return network


def _place(name: str) -> tuple[int, bool]:
    """Return a key that sorts names such as "slice2.3.weight" by layer, weight before bias."""
    _, layer, kind = name.split(".")
    return int(layer), kind == "bias"


@torch.no_grad()
def fid_features(network: torch.nn.Module, pictures: np.ndarray) -> np.ndarray:
    """Map uint8 (N, 3, H, W) to (N, 2048), as pytorch-fid's get_activations does."""
    # pytorch-fid's loader returns contiguous batches, which a resize here may not be.
    batches = torch.from_numpy(np.ascontiguousarray(pictures)).split(50)
    return np.concatenate([network(part.float() / 255)[0].flatten(1).numpy() for part in batches])


@torch.no_grad()
def perceptual(network: torch.nn.Module, a: np.ndarray, b: np.ndarray) -> list[float]:
    """Compute LPIPS pair by pair, as the package's example does."""
    tensors = [torch.from_numpy(x).float() / 127.5 - 1 for x in (a, b)]
    return [network(x[None], y[None]).item() for x, y in zip(*tensors, strict=True)]


def pixels(a: np.ndarray, b: np.ndarray) -> list[tuple[float, float, float]]:
    """Compute mean absolute difference, PSNR and SSIM, pair by pair."""
    values = []
    for x, y in zip(a / np.float32(255), b / np.float32(255), strict=True):
        similarity = structural_similarity(x, y, win_size=11, data_range=1.0, channel_axis=0)
        noise = peak_signal_noise_ratio(x, y, data_range=1.0)
        values.append((np.abs(x - y).mean(), noise, similarity))
    return values


def theirs() -> Work:
    """Both protocols, with features of the originals too, because the libraries keep none."""
    inception = fid_network(read_inception())
    networks = [lpips_network(name, read_lpips(name)) for name in ("vgg", "alex")]
    images, reconstructions = pictures()

    def work() -> None:
        for protocol in map(load_protocol, PROTOCOLS):
            stored = protocol.store(protocol.originals(images))
            restored = protocol.store(protocol.quantise(reconstructions))
            for array in (stored, restored):
                fid_features(inception, protocol.for_inception(array))
            for network in networks:
                perceptual(network, stored, restored)
            pixels(stored, restored)

    return work


def ours() -> Work:
    """Both protocols, with features of the originals from an earlier evaluation."""
    images, reconstructions = pictures()
    networks = load_networks()
    references = {
        p: inception_features(p.store(p.originals(images)), p, networks.inception)
        for p in map(load_protocol, PROTOCOLS)
    }

    def work() -> None:
        for protocol, reference in references.items():
            measurement = Measurement(protocol, networks, reference)
            measurement.add(images, reconstructions)
            measurement.rows()

    return work


def rows() -> Iterator[Row]:
    seconds = side_by_side(theirs, ours, rounds=3)
    work = "evaluation of CIFAR10 reconstructions, two protocols"
    note = "CPU seconds; only ours computes distances"
    yield ratio(seconds, work, "pytorch-fid + lpips + scikit-image", 4, note)
