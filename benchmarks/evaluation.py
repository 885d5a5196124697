"""Features and a whole evaluation, against the libraries as their documentation shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor

from benchmarks import peers
from benchmarks.measure import Row, Work, ratio, side_by_side
from workflows.data.metric_networks import load_networks, read_network
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import evaluate, inception_features
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.metrics.inception import load_inception

WEIGHTS = Path(".cache/weights")
WHOLE = 10_000
PROTOCOLS = ("exact", "as_published")


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random images, uint8 (count, 3, 32, 32), and noisy copies in [0, 1]."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    noise = 0.05 * torch.randn(images.shape, generator=generator)
    return (images * 255).byte().numpy(), (images + noise).clamp(0, 1).numpy()


def tensors(name: str) -> Mapping[str, Tensor]:
    return read_network(WEIGHTS, name).tensors


def features_of_theirs(count: int) -> Work:
    network, (images, _) = peers.fid_network(tensors("inception")), pictures(count)
    return lambda: peers.fid_features(network, images)


def features_of_ours(count: int) -> Work:
    network, (images, _) = load_inception(tensors("inception")), pictures(count)
    return lambda: inception_features(images, load_protocol("exact"), network)


def whole_of_theirs(count: int) -> Work:
    """Both protocols, with features of the originals as well, because the libraries keep none."""
    fid = peers.fid_network(tensors("inception"))
    lpips = [peers.lpips_network(name, tensors(f"lpips_{name}")) for name in ("vgg", "alex")]
    images, made = pictures(count)

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


def whole_of_ours(count: int) -> Work:
    """Both protocols, with features of the originals from an earlier evaluation."""
    images, made = pictures(count)
    networks = load_networks(WEIGHTS)
    references = {
        p: inception_features(p.store(p.originals(images)), p, networks.inception)
        for p in map(load_protocol, PROTOCOLS)
    }
    return lambda: [
        evaluate(images, made, protocol, networks, reference, None, None)
        for protocol, reference in references.items()
    ]


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def distances() -> dict[str, float]:
    """CPU seconds, of all threads, for the distances between two sets of 10,000 features."""
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, WHOLE, 2048)).astype(np.float32)

    def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return features.mean(0), np.cov(features, rowvar=False)

    theirs = cpu_seconds(lambda: calculate_frechet_distance(*moments(a), *moments(b)))
    mine = cpu_seconds(lambda: (frechet_distance(a, b), kernel_distance(a, b)))
    return {"peer": theirs, "keeping": theirs, "ours": mine}


def rows(count: int = 50, rounds: int = 3) -> Iterator[Row]:
    """Two rows. count: images a run; the whole evaluation is scaled from them."""
    sides = partial(features_of_theirs, count), partial(features_of_ours, count)
    work = "FID Inception features, fp32, one thread"
    yield ratio(side_by_side(*sides, rounds), work, "pytorch-fid", 1.6)
    sides = partial(whole_of_theirs, count), partial(whole_of_ours, count)
    seconds, once = side_by_side(*sides, rounds), distances()
    total = {name: seconds[name] / count * WHOLE + len(PROTOCOLS) * once[name] for name in once}
    work = "evaluation of 10,000 CIFAR10 reconstructions, two protocols"
    note = f"CPU seconds, scaled from {count} images; distances at {WHOLE:,}; ours has KID too"
    yield ratio(total, work, "pytorch-fid + lpips + scikit-image", 4, note)
