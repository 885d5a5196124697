"""One model's reconstructions of the test split, measured by one protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from workflows.metric_networks import Networks
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.metrics.inception import Inception
from workflows.metrics.perceptual import Perceptual
from workflows.metrics.pixel import l1, psnr, ssim
from workflows.metrics.usage import perplexity, usage
from workflows.protocol import Protocol, rgb

COLUMNS = ["protocol", "metric", "value", "images", "features"]
BATCH = 50  # images a network takes, or whose pixels are floats, at a time
# On a processor Inception takes 4: activations of 50 are a gigabyte, which a new process has first
# to be given; there 4 are up to 1.5 times faster, and slower nowhere.
INCEPTION_BATCH = {"cpu": 4}
ALEX_SMALLEST = 31  # below it AlexNet's second pool has nothing left to pool
Row = dict[str, Any]


def inception_features(stored: np.ndarray, protocol: Protocol, network: Inception) -> np.ndarray:
    """Stored uint8 (N, C, H, W) to features (N, 2048), float32."""
    device = next(network.parameters()).device
    size = INCEPTION_BATCH.get(device.type, BATCH)
    found = []
    with torch.inference_mode():
        for start in range(0, len(stored), size):
            pixels = protocol.for_inception(stored[start : start + size])
            batch = torch.tensor(pixels, device=device).float() / 255
            found.append(network(batch).cpu().numpy())
    return np.concatenate(found)


def perceptual_distances(a: np.ndarray, b: np.ndarray, network: Perceptual) -> np.ndarray:
    """LPIPS of stored pairs, uint8 (N, C, H, W) each; returns (N,)."""
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for start in range(0, len(a), BATCH):
            pair = [
                torch.tensor(rgb(x[start : start + BATCH]), device=device).float() / 127.5 - 1
                for x in (a, b)
            ]
            found.append(network(*pair).cpu().numpy())
    return np.concatenate(found)


def evaluate(
    images: np.ndarray,
    reconstructions: np.ndarray,
    protocol: Protocol,
    networks: Networks,
    reference: np.ndarray,
    fid_images: int | None,
    lpips_images: int | None,
) -> list[Row]:
    """Rows {protocol, metric, value, images, features} of everything measured on pictures.

    images: uint8 (N, C, H, W). reconstructions: floats of that shape in [0, 1]. reference: the
    original images' Inception features, at least as many as are used. fid_images, lpips_images:
    how many of the first test images rFID and KID, and LPIPS, rest on; None for all.
    LPIPS-Alex is left out where images are smaller than that network can take (31 pixels).
    PSNR, a mean over images, is infinite if one of them is restored exactly; CSV files and tables
    say "inf". Raises ValueError for unequal shapes, values that are not finite or too few features.
    """
    _check(images, reconstructions, reference, len(images[:fid_images]))
    blocks = [slice(i, i + BATCH) for i in range(0, len(images), BATCH)]
    stored = np.concatenate([protocol.store(protocol.originals(images[b])) for b in blocks])
    restored = np.concatenate(
        [protocol.store(protocol.quantise(reconstructions[b])) for b in blocks]
    )
    rows: list[Row] = []

    def add(metric: str, value: float, count: int, features: str = "") -> None:
        row = (protocol.name, metric, float(value), count, features)
        rows.append(dict(zip(COLUMNS, row, strict=True)))

    for metric, distance in (("l1", l1), ("PSNR", psnr), ("SSIM", ssim)):
        pairs = ([x[b].astype(np.float32) / 255 for x in (stored, restored)] for b in blocks)
        add(metric, np.concatenate([distance(*pair) for pair in pairs]).mean(), len(stored))

    count = len(stored[:lpips_images])
    for metric, name in (("LPIPS", "lpips_vgg"), ("LPIPS-Alex", "lpips_alex")):
        if name == "lpips_alex" and min(stored.shape[2:]) < ALEX_SMALLEST:
            continue
        distances = perceptual_distances(stored[:count], restored[:count], getattr(networks, name))
        add(metric, distances.mean(), count, networks.features[name])

    count = len(stored[:fid_images])
    features = inception_features(restored[:count], protocol, networks.inception)
    label = networks.features["inception"]
    add("rFID", frechet_distance(reference[:count], features), count, label)
    add("KID", kernel_distance(reference[:count], features), count, label)
    return rows


def _check(images: np.ndarray, made: np.ndarray, reference: np.ndarray, needed: int) -> None:
    """Refuse before the first network runs, not minutes later."""
    if images.ndim != 4 or images.shape != made.shape:
        raise ValueError(f"images are {images.shape}, reconstructions {made.shape}: must be equal")
    if len(reference) < needed:
        raise ValueError(f"reference holds {len(reference)} images' features, {needed} are needed")
    if not np.isfinite(reference).all():
        raise ValueError("reference features hold values that are not finite")


def code_rows(counts: np.ndarray, protocol: Protocol, images: int) -> list[Row]:
    """Usage and perplexity, which no protocol changes, in the form of `evaluate`'s rows."""
    values = (("usage", usage(counts)), ("perplexity", perplexity(counts)))
    return [
        dict(zip(COLUMNS, (protocol.name, metric, value, images, ""), strict=True))
        for metric, value in values
    ]
