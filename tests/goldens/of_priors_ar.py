"""Goldens of autoregressive priors: a short training, the bits of codes, and samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from tests.goldens.golden import TRAINED, Golden, Numbers, Wrong
from tests.goldens.made import CPU, first_stage, generative, learned, summary
from workflows.generators import build_generator, build_space
from workflows.registry import build_autoencoder
from workflows.training.sampling import sample_points
from workflows.training.stage2 import Points

# Three codes a place, so that sums of two codevectors differ from the last of them.
CLASSES, SHAPE = 3, (3, 2, 2)


def codes(count: int) -> np.ndarray:
    """Codes below 16 by a formula, float32 (count, 3, 2, 2)."""
    n, q, y, x = np.ogrid[:count, :3, :2, :2]
    return ((n * (q + 2) + 5 * q * x + 3 * y + n * n * (x + y)) % 16).astype(np.float32)


def trained(method: str) -> Numbers:
    """Losses along a training of six steps, the bits of its codes, and samples."""
    knobs = generative("prior", method=method)
    autoencoder = build_autoencoder(first_stage("rq_vae", residual_depth=3), 3, 1)
    model = build_generator(knobs, SHAPE, CLASSES, build_space("codes", autoencoder))
    labels = np.arange(10) % CLASSES
    data = Points(codes(10), labels, CLASSES)
    _, losses = learned(model, knobs, data)
    with torch.inference_mode():
        bits = model.bits(torch.from_numpy(data.points), torch.from_numpy(labels))
    samples: Any = sample_points(model, knobs, SHAPE, CLASSES, range(3), CPU)
    return {"loss": losses, "bits": bits.tolist(), **summary(samples, "samples")}


MASK_OFF = Wrong(
    "codes see those that follow",
    "torch.nn.functional.scaled_dot_product_attention",
    lambda old: lambda *given, **named: old(*given, **{**named, "is_causal": False}),
)
NO_SUMS = Wrong(
    "inputs are not sums of codevectors",
    "baselines.rq_transformer.cumulative",
    lambda old: lambda vectors: vectors,
)
GOLDENS = [
    Golden(
        "generator", "autoregressive", partial(trained, "autoregressive"), MASK_OFF, "", TRAINED
    ),
    Golden("generator", "rq_transformer", partial(trained, "rq_transformer"), NO_SUMS, "", TRAINED),
]
