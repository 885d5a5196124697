"""The whole training step at the published batch, on two threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import plain
from benchmarks.measure import Row, Work, ratio, side_by_side
from models import convnet
from models.autoencoder import Autoencoder
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.registry import build_autoencoder, build_objective, build_optimiser, loss_weights
from workflows.training.stage1 import Learner, Losses, normalise, train_epoch

VARIANCE = 0.063287


def knobs(precision: str) -> Any:
    """Return the published settings of CVQ-VAE with closest anchors, for a single epoch."""
    settings = load_grid("paper", read_datasets()).cells["cifar10/cvq_vae/closest/seed0"]
    return settings.model_copy(update={"epochs": 1, "precision": precision})


def pictures(count: int) -> torch.Tensor:
    """Return random images, uint8 (count, 3, 32, 32): no time depends on the values."""
    torch.set_flush_denormal(True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), np.uint8)
    return torch.from_numpy(pixels)


def ours(settings: Any) -> Work:
    """Return a training step, which is an epoch of one batch."""
    images = pictures(settings.batch_size)
    model = build_autoencoder(settings, 3, 1).to(memory_format=torch.channels_last)
    losses = Losses(build_objective(settings, VARIANCE), loss_weights(settings, 3 * 32 * 32))
    learner = Learner(model, build_optimiser(settings, model), losses)
    return lambda: list(train_epoch(learner, images, settings, 0))


def restated(settings: Any) -> Work:
    """Return a plain training step, in torch's default memory layout."""
    size, width = settings.codebook_size, settings.code_dim
    quantiser = plain.PlainQuantiser(size, width)
    model = Autoencoder(convnet.encoder(3, width), quantiser, convnet.decoder(3, width))
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
    inputs = normalise(pictures(settings.batch_size), torch.device("cpu")).contiguous()
    return lambda: plain.step(model, optimiser, inputs, VARIANCE)


def compare(precision: str, goal: float) -> Row:
    sides = partial(restated, knobs("fp32")), partial(ours, knobs(precision))
    # Two threads wait for each other. CPU seconds would leave that waiting out.
    seconds = side_by_side(*sides, rounds=3, threads=2, clock=time.perf_counter)
    work = f"training step, CIFAR10 shapes, batch 1024, closest anchors, {precision}"
    return ratio(seconds, work, "plain restatement", goal)


def rows() -> Iterator[Row]:
    yield compare("fp32", 5)
    if torch.cpu._is_avx512_bf16_supported():
        # The goal is for a processor that also has AMX.
        yield compare("bf16", 12)
