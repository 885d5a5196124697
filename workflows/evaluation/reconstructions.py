"""One model's reconstructions of the test split, measured by one protocol."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from workflows.data.metric_networks import Networks
from workflows.evaluation.protocol import Protocol, rgb
from workflows.metrics import (
    FEWEST_IMAGES,
    FEWEST_PIXELS,
    OF_RECONSTRUCTIONS,
    needs_features,
    not_measurable,
)
from workflows.metrics.frechet import frechet_distance, kernel_distance
from workflows.metrics.inception import Inception
from workflows.metrics.perceptual import Perceptual
from workflows.metrics.pixel import l1, psnr, ssim
from workflows.metrics.usage import perplexity, usage

COLUMNS = ["protocol", "metric", "value", "images", "features"]
BATCH = 50  # images that a network takes at a time
# On a processor fewer, because activations of 50 are a gigabyte, but not fewer than 16, which torch
# computes without oneDNN.
INCEPTION_BATCH = {"cpu": 20}
# Images that are reconstructed and measured at a time; a multiple of all batches.
BLOCK = 100
# Metric -> its network.
PERCEPTUAL = {"LPIPS": "lpips_vgg", "LPIPS-Alex": "lpips_alex"}
Row = dict[str, Any]


def inception_features(stored: np.ndarray, protocol: Protocol, network: Inception) -> np.ndarray:
    """Stored uint8 (N, C, H, W) to features (N, 2048), float32."""
    device = next(network.parameters()).device
    size = INCEPTION_BATCH.get(device.type, BATCH)
    found = []
    with torch.inference_mode():
        # Of about one size, so that no small rest is left, which would be slow.
        for part in np.array_split(stored, max(1, len(stored) // size)):
            pixels = protocol.for_inception(part)
            batch = torch.tensor(pixels, device=device).float() / 255
            found.append(network(batch).cpu().numpy())
    return np.concatenate(found)


def perceptual_distances(a: np.ndarray, b: np.ndarray, network: Perceptual) -> np.ndarray:
    """LPIPS of stored pairs, uint8 (N, C, H, W) each; returns (N,)."""
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for start in range(0, len(a), BATCH):
            parts = (rgb(x[start : start + BATCH]) for x in (a, b))
            pair = [torch.tensor(part, device=device).float() / 127.5 - 1 for part in parts]
            found.append(network(*pair).cpu().numpy())
    return np.concatenate(found)


@dataclass
class Measurement:
    """One protocol's view of a model, fed with blocks of images in their order.

    reference: the original images' Inception features, at least as many as are used. fid_images,
    lpips_images: how many of the first images rFID and KID, and LPIPS, rest on; None for all.
    metrics: None for all of them. Networks and reference are None where no metric needs them.
    """

    protocol: Protocol
    networks: Networks | None
    reference: np.ndarray | None
    fid_images: int | None = None
    lpips_images: int | None = None
    metrics: Collection[str] | None = None
    seen: int = 0
    side: int = 0
    found: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, images: np.ndarray, reconstructions: np.ndarray) -> None:
        """uint8 (n, C, H, W) and floats of that shape in [0, 1].

        n is BLOCK but for the last block, so that batches are the same however images are read.
        """
        protocol, self.side = self.protocol, min(images.shape[2:])
        stored = protocol.store(protocol.originals(images))
        restored = protocol.store(protocol.quantise(reconstructions))
        pair = [x.astype(np.float32) / 255 for x in (stored, restored)]
        for metric, distance in (("l1", l1), ("PSNR", psnr), ("SSIM", ssim)):
            if self._wanted(metric) and self.side >= FEWEST_PIXELS.get(metric, 1):
                self._keep(metric, distance(*pair))
        count = self._left(self.lpips_images, len(images))
        for metric, name in PERCEPTUAL.items():
            if count and self._wanted(metric) and self.side >= FEWEST_PIXELS[metric]:
                network = getattr(self.networks, name)
                distances = perceptual_distances(stored[:count], restored[:count], network)
                self._keep(metric, distances)
        count = self._left(self.fid_images, len(images))
        if count and self.networks is not None and needs_features(self.metrics):
            inception = self.networks.inception
            self._keep("features", inception_features(restored[:count], protocol, inception))
        self.seen += len(images)

    def rows(self) -> list[Row]:
        """Rows {protocol, metric, value, images, features} of everything measured on pictures.

        Left out is what `not_measurable` names. PSNR, a mean over images, is infinite if one of
        them is restored exactly; CSV files and tables say "inf".
        """
        labels = self.networks.features if self.networks else {}
        name, rows = self.protocol.name, []
        for metric in ("l1", "PSNR", "SSIM", *PERCEPTUAL):
            if metric in self.found:
                values = np.concatenate(self.found[metric])
                label = labels[PERCEPTUAL[metric]] if metric in PERCEPTUAL else ""
                rows.append(_row(name, metric, values.mean(), len(values), label))
        if self.reference is None or "features" not in self.found:
            return rows
        features = np.concatenate(self.found["features"])
        count = len(features)
        for metric, apart in (("rFID", frechet_distance), ("KID", kernel_distance)):
            if self._wanted(metric) and count >= FEWEST_IMAGES[metric]:
                value = apart(self.reference[:count], features)
                rows.append(_row(name, metric, value, count, labels["inception"]))
        return rows

    def not_measured(self) -> dict[str, str]:
        """Metric -> why it is left out, for the images that were added."""
        count = self.seen if self.fid_images is None else min(self.seen, self.fid_images)
        wanted = [metric for metric in OF_RECONSTRUCTIONS if self._wanted(metric)]
        return not_measurable(wanted, self.side, count)

    def _wanted(self, metric: str) -> bool:
        return self.metrics is None or metric in self.metrics

    def _keep(self, name: str, values: np.ndarray) -> None:
        self.found.setdefault(name, []).append(values)

    def _left(self, limit: int | None, images: int) -> int:
        return images if limit is None else max(0, min(images, limit - self.seen))


def code_rows(
    counts: np.ndarray, protocol: Protocol, images: int, error: float | None = None
) -> list[Row]:
    """Usage, perplexity and, if it is measured, the error of latents, in the form of a
    measurement's rows; no protocol changes these.
    """
    values = {"usage": usage(counts), "perplexity": perplexity(counts)}
    if error is not None:
        values["error"] = error
    return [_row(protocol.name, metric, value, images) for metric, value in values.items()]


def _row(protocol: str, metric: str, value: float, images: int, features: str = "") -> Row:
    return dict(zip(COLUMNS, (protocol, metric, float(value), images, features), strict=True))
