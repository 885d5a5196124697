"""A whole evaluation, against the libraries as their documentation shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measure import Row, Work, ratio, side_by_side
from workflows.data.metric_networks import load_networks, read_network
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import evaluate, inception_features

WEIGHTS = Path(".cache/weights")
COUNT, ROUNDS = 50, 3
PROTOCOLS = ("exact", "as_published")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Smooth random images, uint8 (COUNT, 3, 32, 32), and noisy copies in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    noise = 0.05 * torch.randn(images.shape, generator=generator)
    return (images * 255).byte().numpy(), (images + noise).clamp(0, 1).numpy()


def tensors(name: str) -> Mapping[str, Tensor]:
    return read_network(WEIGHTS, name).tensors


def theirs() -> Work:
    """Both protocols, with features of the originals too, because the libraries keep none."""
    fid = peers.fid_network(tensors("inception"))
    lpips = [peers.lpips_network(name, tensors(f"lpips_{name}")) for name in ("vgg", "alex")]
    images, made = pictures()

    def work() -> None:
        for protocol in map(load_protocol, PROTOCOLS):
            stored = protocol.store(protocol.originals(images))
            restored = protocol.store(protocol.quantise(made))
            for pair in (stored, restored):
                peers.fid_features(fid, protocol.for_inception(pair))
            for network in lpips:
                peers.perceptual(network, stored, restored)
            peers.pixels(stored, restored)

    return work


def ours() -> Work:
    """Both protocols, with features of the originals from an earlier evaluation."""
    images, made = pictures()
    networks = load_networks(WEIGHTS)
    references = {
        p: inception_features(p.store(p.originals(images)), p, networks.inception)
        for p in map(load_protocol, PROTOCOLS)
    }
    return lambda: [
        evaluate(images, made, protocol, networks, reference, None, None)
        for protocol, reference in references.items()
    ]


def rows() -> Iterator[Row]:
    """One row."""
    seconds = side_by_side(theirs, ours, ROUNDS)
    work = "evaluation of CIFAR10 reconstructions, two protocols"
    note = "CPU seconds; only ours computes distances"
    yield ratio(seconds, work, "pytorch-fid + lpips + scikit-image", 4, note)
