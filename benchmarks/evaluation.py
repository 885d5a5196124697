"""Features and a whole evaluation, against the libraries as their documentation shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance

from benchmarks import peers
from benchmarks.measure import Row, ratio
from workflows.evaluation import evaluate, inception_features
from workflows.metric_networks import load_networks, read_network
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.protocol import load_protocol
from workflows.weights import NETWORKS

WEIGHTS = Path(".cache/weights")
WHOLE = 10_000
PROTOCOLS = ("exact", "as_published")


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random images, uint8 (count, 3, 32, 32), and noisy copies in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    noise = 0.05 * torch.randn(images.shape, generator=generator)
    return (images * 255).byte().numpy(), (images + noise).clamp(0, 1).numpy()


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def rows(count: int = 50, rounds: int = 3) -> Iterator[Row]:
    """Two rows. count: images a run; the whole evaluation is scaled from them."""
    torch.set_num_threads(1)
    tensors = {name: read_network(WEIGHTS, name).tensors for name in NETWORKS}
    networks = load_networks(WEIGHTS)
    fid = peers.fid_network(tensors["inception"])
    lpips = {name: peers.lpips_network(name, tensors[f"lpips_{name}"]) for name in ("vgg", "alex")}
    images, made = pictures(count)
    exact = load_protocol("exact")
    value = ratio(
        lambda: peers.fid_features(fid, images),
        lambda: inception_features(images, exact, networks.inception),
        rounds,
    )
    yield Row("FID Inception features, fp32, one thread", "pytorch-fid", value, 1.6)

    protocols = [load_protocol(name) for name in PROTOCOLS]
    references = [
        inception_features(p.store(p.originals(images)), p, networks.inception) for p in protocols
    ]

    def theirs() -> None:
        for protocol in protocols:
            stored = protocol.store(protocol.originals(images))
            restored = protocol.store(protocol.quantise(made))
            for pair in (stored, restored):
                peers.fid_features(fid, protocol.for_inception(pair))
            for network in lpips.values():
                peers.perceptual(network, stored, restored)
            peers.pixels(stored, restored)

    def ours() -> None:
        for protocol, reference in zip(protocols, references, strict=True):
            evaluate(images, made, protocol, networks, reference, None, None)

    spent: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(rounds):
        spent["theirs"].append(seconds(theirs))
        spent["ours"].append(seconds(ours))
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, WHOLE, 2048)).astype(np.float32)
    once = {
        "theirs": seconds(
            lambda: calculate_frechet_distance(
                a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)
            )
        ),
        "ours": seconds(lambda: (frechet_distance(a, b), kernel_distance(a, b))),
    }
    total = {
        who: float(np.median(times)) / count * WHOLE + len(PROTOCOLS) * once[who]
        for who, times in spent.items()
    }
    yield Row(
        "evaluation of 10,000 CIFAR10 reconstructions, two protocols",
        "pytorch-fid + lpips + scikit-image",
        total["theirs"] / total["ours"],
        4,
        note=f"CPU seconds, scaled from {count} images; distances at {WHOLE:,}; ours has KID too",
    )
