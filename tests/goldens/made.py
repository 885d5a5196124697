"""What goldens are computed from: whole numbers by formula, and numpy's own generator, so that
every machine has the same.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from diffusers.training_utils import EMAModel
from torch import Tensor

from tests.knobs import typed
from workflows.generators import build_generator_optimiser
from workflows.training import stage2
from workflows.training.stage1 import normalise

CPU = torch.device("cpu")
KNOBS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("knobs.yaml").read_text(encoding="utf-8")
)
# What no golden depends on.
ANYTHING = {"dataset": "made_up", "train_images": None, "perceptual_network": "vgg", "samples": 8}


def first_stage(method: str, **changes: Any) -> Any:
    """The knobs of an autoencoder."""
    return typed({**ANYTHING, **KNOBS["first_stage"], "method": method, **changes})


def generative(kind: str, **changes: Any) -> Any:
    """The knobs of a generative model. kind: a section of knobs.yaml."""
    return typed({**ANYTHING, **KNOBS["stage2"], **KNOBS[kind], **changes})


def learned(
    model: Any, knobs: Any, data: stage2.Points, critic: Any = None
) -> tuple[stage2.Learner, list[float]]:
    """Train a generative model. Return the learner and the loss of each step."""
    average = EMAModel(model.parameters(), knobs.ema_decay)
    optimiser = build_generator_optimiser(knobs, model)
    learner = stage2.Learner(model, optimiser, average, critic, samples=3)
    history: list[dict[str, float]] = []
    nobody = stage2.Observers(lambda record: None, lambda records: None)
    stage2.train(learner, data, knobs, history, nobody)
    return learner, [record["loss"] for record in history]


def average_of(learner: stage2.Learner) -> Tensor:
    """The averaged weights in one row."""
    return torch.cat([weight.flatten() for weight in learner.ema.shadow_params])


def kept_by(learner: stage2.Learner) -> Tensor:
    """The samples that were kept along the training."""
    return torch.stack([learner.kept[epoch] for epoch in sorted(learner.kept)])


def pictures(count: int, channels: int, side: int) -> np.ndarray:
    """Slanted stripes of many widths, uint8 (count, channels, side, side)."""
    k, c, y, x = np.ogrid[:count, :channels, :side, :side]
    return ((x * (k % 5 + 3) + y * (k % 3 * 4 + c * 3 + 1) + 29 * k) * 4 % 256).astype(np.uint8)


def inputs(count: int, channels: int, side: int) -> Tensor:
    """The same as a network sees them, in [-1, 1]."""
    return normalise(pictures(count, channels, side), CPU)


def uniform(seed: int, *shape: int) -> np.ndarray:
    """Numbers in [-0.5, 0.5), float32."""
    return np.random.Generator(np.random.PCG64(seed)).random(shape, np.float32) - np.float32(0.5)


def corners() -> np.ndarray:
    """The 24 corners of a regular body in four dimensions, in a fixed order: at distance 1 from
    the middle, and none nearer than that to another.
    """
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    halves = np.array(list(itertools.product((-0.5, 0.5), repeat=4)))
    order = np.random.Generator(np.random.PCG64(0)).permutation(24)
    return np.concatenate([axes, halves])[order].astype(np.float32)


def summary(values: Tensor, name: str) -> dict[str, float]:
    """Mean, deviation and the sum of absolute values."""
    values = values.detach().double()
    numbers = {"mean": values.mean(), "deviation": values.std(), "size": values.abs().sum()}
    return {f"{name} {of}": number.item() for of, number in numbers.items()}


def slope(*leaves: Tensor) -> float:
    """The sum of absolute derivatives by all of them."""
    return sum(float(cast(Tensor, leaf.grad).abs().sum()) for leaf in leaves)
