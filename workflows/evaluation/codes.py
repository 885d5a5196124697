"""The number of bits that a code takes under a prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from workflows.evaluation.protocol import check_finite
from workflows.training.loop import normalise

BATCH = 50


@torch.inference_mode()
def bits_of_a_code(
    model: Any, space: Any, images: np.ndarray, labels: np.ndarray | None, device: torch.device
) -> float:
    """Return the mean of -log2 p over the codes of images.

    model: a `Likelihood` of models.generation.interface. space: encodes images as codes. images:
    uint8 (n, c, h, w), which the model was not trained on, because it may know those by heart.
    labels: (n,), or None for a model without classes. Raises NotFinite.
    """
    model.eval()
    bits, codes = 0.0, 0
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        points = space.encode(normalise(images[rows], device))
        batch_labels = None if labels is None else torch.from_numpy(labels[rows]).to(device)
        bits += float(model.bits(points, batch_labels).double().sum())
        codes += points.numel()
    check_finite(np.array(bits), "the model's likelihoods")
    return bits / codes
