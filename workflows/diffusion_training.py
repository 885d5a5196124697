"""The training loop of a diffusion model: one function in plain sight.

The loss is that of Ho et al. 2020 (eq. 14): the network predicts the noise that was added, at a
time drawn evenly. Noise, times and hidden classes depend on seed and step alone and are drawn for
the whole batch, wherever its parts are computed, so that a resumed run is the same run, and several
processes give what one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional as F

from models.streams import Purpose, generator
from workflows.data.memory import gather
from workflows.processes import part_of
from workflows.registry import build_noise
from workflows.sampling import sample_points
from workflows.training import Diverged, record_marks, steps_per_epoch

LOG_COLUMNS = ["epoch", "step", "loss", "images_per_second", "seconds"]
# Parts of the training after which samples are kept, to see whether they get better.
SHOWN = (0.05, 0.125, 0.25, 0.5, 1.0)
# How those are sampled, whatever the cell's own samples are: quickly, and without chance.
QUICK = {"sampling_steps": 20, "eta": 0.0, "guidance": 1.0}


@dataclass(frozen=True)
class Points:
    """What is diffused, float32 (n, d, h, w) or uint8 images, and labels (n,) or None."""

    points: np.ndarray
    labels: np.ndarray | None

    def batch(self, rows: Tensor, device: torch.device) -> Tensor:
        """Rows of it on a device as float32; images in [-1, 1]."""
        picked = torch.from_numpy(gather(self.points, rows.numpy())).to(device)
        return picked.float().div_(127.5).sub_(1) if picked.dtype == torch.uint8 else picked


@dataclass
class Learner:
    """Everything that training changes. kept: samples along the way, by epoch."""

    backbone: nn.Module
    optimiser: torch.optim.Optimizer
    ema: EMAModel
    kept: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Observers:
    """after_record: called with every new record, to report. after_epoch: with the whole history
    once an epoch is over, to save.
    """

    after_record: Callable[[dict[str, float]], None]
    after_epoch: Callable[[list[dict[str, float]]], None]


def moments(epochs: int) -> list[int]:
    """Epochs after which samples are kept, ascending; the last one always is."""
    return sorted({max(1, round(part * epochs)) for part in SHOWN})


def draws(
    seed: int, step: int, shape: tuple[int, ...], noise_steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a step: noise of `shape`, times (b,) in [0, noise_steps) and numbers (b,) in [0, 1)."""
    stream = generator(seed, Purpose.DIFFUSION, step)
    noise = torch.randn(shape, generator=stream)
    times = torch.randint(0, noise_steps, shape[:1], generator=stream)
    return noise, times, torch.rand(shape[:1], generator=stream)


def train(
    learner: Learner,
    data: Points,
    knobs: Mapping[str, Any],
    classes: int | None,
    progress_samples: int,
    history: list[dict[str, float]],
    observers: Observers,
    accelerator: Accelerator,
) -> None:
    """Train from where `history` ends, the end of an epoch, to the last epoch.

    history: the records, LOG_COLUMNS each; those of an epoch are appended once it is whole.
    progress_samples: how many samples are kept at each of the `moments`. Raises Diverged.
    """
    steps = steps_per_epoch(len(data.points), knobs["batch_size"])
    before = history[-1]["seconds"] if history else 0.0
    done = int(history[-1]["step"]) // steps if history else 0
    backbone, optimiser = accelerator.prepare(learner.backbone, learner.optimiser)
    learner.ema.to(accelerator.device)
    start = time.perf_counter()
    for epoch in range(done, knobs["epochs"]):
        fresh = []
        for found in _epoch(
            backbone, optimiser, learner.ema, data, knobs, classes, epoch, accelerator
        ):
            step = epoch * steps + int(found["step"])
            record = {
                **found,
                "epoch": round(step / steps, 4),
                "step": step,
                "seconds": before + time.perf_counter() - start,
            }
            fresh.append({column: record[column] for column in LOG_COLUMNS})
            observers.after_record(fresh[-1])
        history += fresh
        if epoch + 1 in moments(knobs["epochs"]) and accelerator.is_main_process:
            learner.kept[epoch + 1] = _looked_at(
                learner, data, knobs, classes, progress_samples, accelerator.device
            )
        observers.after_epoch(history)


def _epoch(
    backbone: nn.Module,
    optimiser: Any,
    ema: EMAModel,
    data: Points,
    knobs: Mapping[str, Any],
    classes: int | None,
    epoch: int,
    accelerator: Accelerator,
) -> Iterator[dict[str, float]]:
    """One epoch; a record {step (of the epoch, from 1), loss, images_per_second} now and then."""
    device, ranks = accelerator.device, accelerator.num_processes
    noise_schedule = build_noise(knobs)
    distance = {"l1": F.l1_loss, "l2": F.mse_loss}[knobs["diffusion_loss"]]
    seed = knobs["seed"]
    order = torch.randperm(len(data.points), generator=generator(seed, Purpose.ORDER, epoch))
    batches = order.split(knobs["batch_size"])
    marks = record_marks(len(batches), knobs["epochs"])
    total, seen, start = torch.zeros((), device=device), 0, time.perf_counter()
    backbone.train()
    for step, rows in enumerate(batches, start=1):
        count = epoch * len(batches) + step
        shape = (len(rows), *data.points.shape[1:])
        noise, times, chance = draws(seed, count, shape, knobs["noise_steps"])
        # This process's part of the batch; a mean over parts of unequal size is weighted.
        part = part_of(len(rows), accelerator.process_index, ranks)
        mine, share = part.rows, part.share
        points = data.batch(rows[mine], device)
        noise, times = noise[mine].to(device), times[mine].to(device)
        labels = _labels(data, rows[mine], chance[mine], knobs, classes, device)
        for group in optimiser.param_groups:
            group["lr"] = knobs["learning_rate"] * min(1.0, count / max(1, knobs["warmup_steps"]))
        with accelerator.autocast():
            noisy = noise_schedule.add_noise(points, noise, times)
            predicted = backbone(noisy, times, labels)
        loss = distance(predicted.float(), noise) * share
        optimiser.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimiser.step()
        ema.step(backbone.parameters())
        total += accelerator.reduce(loss.detach().clone(), "mean") * len(rows)
        seen += len(rows)
        if step in marks:
            mean = (total / seen).item()
            if not math.isfinite(mean):
                raise Diverged(f"the loss became {mean} in epoch {epoch + 1}")
            speed = seen / (time.perf_counter() - start)
            yield {"step": step, "loss": mean, "images_per_second": speed}
            total, seen, start = torch.zeros((), device=device), 0, time.perf_counter()


def _labels(
    data: Points,
    rows: Tensor,
    chance: Tensor,
    knobs: Mapping[str, Any],
    classes: int | None,
    device: torch.device,
) -> Tensor | None:
    """Of the rows, some of them hidden; None for a model that is not asked for a class."""
    if not knobs["conditional"]:
        return None
    assert data.labels is not None
    assert classes is not None
    labels = torch.from_numpy(data.labels[rows.numpy()])
    return labels.masked_fill(chance < knobs["label_dropout"], classes).to(device)


def _looked_at(
    learner: Learner,
    data: Points,
    knobs: Mapping[str, Any],
    classes: int | None,
    count: int,
    device: torch.device,
) -> Tensor:
    """Points sampled with the averaged weights, from the same noise every time."""
    learner.ema.store(learner.backbone.parameters())
    learner.ema.copy_to(learner.backbone.parameters())
    found = sample_points(
        learner.backbone,
        {**knobs, **QUICK, "sampling_steps": min(QUICK["sampling_steps"], knobs["noise_steps"])},
        tuple(data.points.shape[1:]),
        classes,
        range(count),
        device,
    )
    learner.ema.restore(learner.backbone.parameters())
    learner.backbone.train()
    return found
