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
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.registry import build_autoencoder, build_objective, loss_weights
from workflows.training.stage1 import Learner, Losses, normalise, train_epoch

VARIANCE = 0.063287
WORK = "training step, CIFAR10 shapes, batch 1024, closest anchors"
PEER = "plain restatement"
CPU = torch.device("cpu")


def knobs(precision: str) -> Any:
    """The published settings of CVQ-VAE with closest anchors, for a single step."""
    cell = load_grid("paper", read_datasets()).cell("cifar10/cvq_vae/closest/seed0")
    return cell.knobs.model_copy(update={"epochs": 1, "precision": precision})


def losses_of(settings: Any) -> Losses:
    """The losses of a step without a critic."""
    return Losses(build_objective(settings, VARIANCE), loss_weights(settings, 3 * 32 * 32))


def pictures() -> np.ndarray:
    """Random, uint8 (1024, 3, 32, 32): no time depends on the values."""
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    return np.random.default_rng(0).integers(0, 256, (1024, 3, 32, 32), np.uint8)


def ours(precision: str) -> Work:
    pixels, settings = pictures(), knobs(precision)
    images = torch.from_numpy(pixels)
    model = build_autoencoder(settings, 3, 1).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), 3e-4, fused=True)
    learner = Learner(model, optimiser, losses_of(settings))
    return lambda: list(train_epoch(learner, images, settings, 0))


def restated() -> Work:
    inputs, settings = normalise(pictures(), CPU).contiguous(), knobs("fp32")
    quantiser = plain.PlainQuantiser(settings.codebook_size, settings.code_dim)
    model = plain.PlainAutoencoder(3, quantiser, settings.code_dim)
    optimiser = torch.optim.Adam(model.parameters(), 3e-4)
    return lambda: plain.step(model, optimiser, inputs, VARIANCE)


def compared(precision: str, goal: float, note: str = "") -> Row:
    # Two threads wait for each other, and the waiting counts: hence not CPU seconds.
    seconds = side_by_side(restated, partial(ours, precision), 3, time.perf_counter)
    return ratio(seconds, f"{WORK}, {precision}", PEER, goal, note)


def rows() -> Iterator[Row]:
    """Two rows: bfloat16, if the processor has instructions for it, and float32."""
    if torch.cpu._is_amx_tile_supported():
        yield compared("bf16", 12, "AMX")
    elif torch.cpu._is_avx512_bf16_supported():
        yield compared("bf16", 12, "AVX512-BF16, no AMX")
    else:
        note = "no bfloat16 instructions: bf16 is slower than fp32 here"
        yield Row(f"{WORK}, bf16", PEER, float("nan"), None, note=note)
    yield compared("fp32", 5)
