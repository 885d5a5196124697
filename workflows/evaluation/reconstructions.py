"""Measurements of a model's reconstructions of the test images by one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from workflows.data.metric_networks import Networks
from workflows.data.weight_sources import SOURCES
from workflows.evaluation.protocol import Protocol, rgb
from workflows.metrics import FEWEST_PIXELS, OF_RECONSTRUCTIONS, needs_features, not_measurable
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.metrics.inception import Inception
from workflows.metrics.pixel import l1, psnr, ssim
from workflows.metrics.usage import perplexity, usage

COLUMNS = ["protocol", "metric", "value", "images", "features"]
# Images that a metric network takes at a time.
BATCH = 50
# On a processor, Inception's activations of 50 images take a gigabyte, so it takes fewer images.
# For fewer than 16, torch would not use oneDNN.
INCEPTION_BATCH = {"cpu": 20}
# Images that are reconstructed and measured at a time; a multiple of every batch size.
BLOCK = 100
# Metric -> its network.
PERCEPTUAL = {"LPIPS": "lpips_vgg", "LPIPS-Alex": "lpips_alex"}
Row = dict[str, Any]


def inception_features(stored: np.ndarray, protocol: Protocol, network: Inception) -> np.ndarray:
    """Return the float32 features (N, 2048) of stored uint8 pictures (N, C, H, W)."""
    device = next(network.parameters()).device
    size = INCEPTION_BATCH.get(device.type, BATCH)
    features = []
    with torch.inference_mode():
        # Batches of about equal size leave no small rest, which would be slow.
        for part in np.array_split(stored, max(1, len(stored) // size)):
            batch = torch.tensor(protocol.for_inception(part), device=device).float() / 255
            features.append(network(batch).cpu().numpy())
    return np.concatenate(features)


def perceptual_distances(a: np.ndarray, b: np.ndarray, network: torch.nn.Module) -> np.ndarray:
    """Return LPIPS (N,) of pairs of stored uint8 pictures (N, C, H, W)."""
    device = next(network.parameters()).device
    distances = []
    with torch.inference_mode():
        for start in range(0, len(a), BATCH):
            parts = (rgb(x[start : start + BATCH]) for x in (a, b))
            pair = [torch.tensor(part, device=device).float() / 127.5 - 1 for part in parts]
            distances.append(network(*pair).flatten().cpu().numpy())
    return np.concatenate(distances)


@dataclass
class Measurement:
    """The metrics of one model by one protocol. Blocks of images are added in their order.

    networks, reference: the metric networks and the Inception features of at least as many original
    images as rFID uses; None if no metric needs them. fid_images, lpips_images: rFID and KID, or
    LPIPS, use this many of the first images; None for all. metrics: None for all metrics. seen: the
    number of added images. side: their smaller side in pixels. parts: metric, or "features" -> the
    values of each block.
    """

    protocol: Protocol
    networks: Networks | None
    reference: np.ndarray | None
    fid_images: int | None = None
    lpips_images: int | None = None
    metrics: Collection[str] | None = None
    seen: int = 0
    side: int = 0
    parts: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def add(self, images: np.ndarray, reconstructions: np.ndarray) -> None:
        """Measure uint8 images (n, C, H, W) and reconstructions, floats of that shape in [0, 1].

        n must be BLOCK except for the last block, so that the networks always see the same batches.
        """
        protocol, self.side = self.protocol, min(images.shape[2:])
        stored = protocol.store(protocol.originals(images))
        restored = protocol.store(protocol.quantise(reconstructions))
        pair = [x.astype(np.float32) / 255 for x in (stored, restored)]
        for metric, distance in (("l1", l1), ("PSNR", psnr), ("SSIM", ssim)):
            if self._measures(metric):
                self.parts[metric].append(distance(*pair))
        count = self._remaining(self.lpips_images, len(images))
        for metric, name in PERCEPTUAL.items():
            if count and self._measures(metric):
                network = getattr(self.networks, name)
                distances = perceptual_distances(stored[:count], restored[:count], network)
                self.parts[metric].append(distances)
        count = self._remaining(self.fid_images, len(images))
        if count and self.networks is not None and needs_features(self.metrics):
            features = inception_features(restored[:count], protocol, self.networks.inception)
            self.parts["features"].append(features)
        self.seen += len(images)

    def rows(self) -> list[Row]:
        """Return a row {protocol, metric, value, images, features} for each metric.

        The metrics of `not_measured` have no row. PSNR, a mean over images, is infinite if an image
        is restored exactly; CSV files and tables say "inf".
        """
        protocol, rows = self.protocol.name, []
        for metric in ("l1", "PSNR", "SSIM", *PERCEPTUAL):
            if metric in self.parts:
                values = np.concatenate(self.parts[metric])
                network = SOURCES[PERCEPTUAL[metric]].features if metric in PERCEPTUAL else ""
                rows.append(_row(protocol, metric, values.mean(), len(values), network))
        if self.reference is None or "features" not in self.parts:
            return rows
        features = np.concatenate(self.parts["features"])
        count = len(features)
        for metric, distance in (("rFID", frechet_distance), ("KID", kernel_distance)):
            if self._is_requested(metric):
                value = distance(self.reference[:count], features)
                network = SOURCES["inception"].features
                rows.append(_row(protocol, metric, value, count, network))
        return rows

    def not_measured(self) -> dict[str, str]:
        """Return metric -> the reason why the added images cannot have this metric."""
        return not_measurable(filter(self._is_requested, OF_RECONSTRUCTIONS), self.side)

    def _is_requested(self, metric: str) -> bool:
        return self.metrics is None or metric in self.metrics

    def _measures(self, metric: str) -> bool:
        return self._is_requested(metric) and self.side >= FEWEST_PIXELS.get(metric, 1)

    def _remaining(self, limit: int | None, images: int) -> int:
        """Return how many images of a block are within a limit on all images."""
        return images if limit is None else max(0, min(images, limit - self.seen))


def code_rows(
    counts: np.ndarray, protocol: Protocol, images: int, error: float | None = None
) -> list[Row]:
    """Return rows of usage, perplexity and, if given, the error of latents.

    No protocol changes these values. counts: how often each code was hit, (K,).
    """
    values = {"usage": usage(counts), "perplexity": perplexity(counts)}
    if error is not None:
        values["error"] = error
    return [_row(protocol.name, metric, value, images) for metric, value in values.items()]


def _row(protocol: str, metric: str, value: float, images: int, features: str = "") -> Row:
    return dict(zip(COLUMNS, (protocol, metric, float(value), images, features), strict=True))
