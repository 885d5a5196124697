"""The training of diffusion models, with the loss of Ho et al. 2020 (eq. 14).

Noise, times and hidden classes depend on seed and step alone, so a training that was interrupted
ends as if it had not been.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F

from models.streams import Purpose, generator
from workflows.data.memory import gather
from workflows.knobs import Diffusion
from workflows.registry import build_noise
from workflows.training import loop
from workflows.training.loop import (
    History,
    Observers,
    Record,
    record_marks,
    train_batches,
    train_epochs,
    with_prefix,
)
from workflows.training.sampling import sample_points

LOG_COLUMNS = ["epoch", "step", "loss", "images_per_second", "seconds"]
# Samples are kept after these parts of the training, to see whether they get better.
SHOWN = (0.05, 0.125, 0.25, 0.5, 1.0)
# How these samples are made, whatever the cell's own are: quickly, and without drawing noise.
QUICK = {"sampling_steps": 20, "eta": 0.0, "guidance": 1.0}
# Prefixes of names in a state.
EMA, KEPT = "ema.", "kept."


@dataclass(frozen=True)
class Points:
    """What is diffused: float32 latents or uint8 images, (n, d, h, w).

    labels: (n,), or None for a model without classes. classes: how many the dataset has, if any.
    """

    points: np.ndarray
    labels: np.ndarray | None
    classes: int | None = None

    def batch(self, rows: Tensor, device: torch.device) -> Tensor:
        """These rows on a device as float32; images in [-1, 1]."""
        picked = torch.from_numpy(gather(self.points, rows.numpy())).to(device)
        return picked.float().div_(127.5).sub_(1) if picked.dtype == torch.uint8 else picked

    def labels_of(self, rows: Tensor, hidden: Tensor) -> Tensor | None:
        """The labels of rows (b,), on the processor; None without labels.

        hidden: (b,), where the model is not told the class, which label `classes` stands for.
        """
        if self.labels is None:
            return None
        assert self.classes is not None
        return torch.from_numpy(self.labels[rows.numpy()]).masked_fill(hidden, self.classes)


@dataclass(frozen=True)
class Learner(loop.Learner):
    """All that training changes. kept: `samples` samples of each of the `moments`, by epoch."""

    ema: EMAModel
    samples: int = 2
    kept: dict[int, Tensor] = field(default_factory=dict)

    def pack(self) -> dict[str, Tensor]:
        """The state of the training as named tensors."""
        average = self.ema.state_dict()
        packed = super().pack()
        packed |= {f"{EMA}{i}": value for i, value in enumerate(average["shadow_params"])}
        packed[f"{EMA}step"] = torch.tensor(average["optimization_step"])
        return packed | {f"{KEPT}{epoch}": samples for epoch, samples in self.kept.items()}

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
        super().unpack(packed)
        for index, shadow in enumerate(self.ema.shadow_params):
            shadow.copy_(packed[f"{EMA}{index}"])
        self.ema.optimization_step = int(packed[f"{EMA}step"])
        self.kept.clear()
        self.kept.update((int(n), value) for n, value in with_prefix(packed, KEPT).items())


def moments(epochs: int) -> list[int]:
    """Epochs after which samples are kept, ascending; the last epoch always is one."""
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
    learner: Learner, data: Points, knobs: Diffusion, history: History, observers: Observers
) -> None:
    """Train from where `history` ends to the last epoch, see `train_epochs`."""
    learner.ema.to(learner.device)
    of_epoch = functools.partial(train_epoch, learner, data, knobs)
    train_epochs(of_epoch, len(data.points), knobs, history, observers)


def train_epoch(learner: Learner, data: Points, knobs: Diffusion, epoch: int) -> Iterator[Record]:
    """Train for one epoch, yielding the records of `train_batches`, and keep samples if it is one
    of the `moments`.
    """
    order = torch.randperm(len(data.points), generator=generator(knobs.seed, Purpose.ORDER, epoch))
    batches = order.split(knobs.batch_size)
    noise_schedule = build_noise(knobs)

    def step(number: int, rows: Tensor) -> Tensor:
        count = epoch * len(batches) + number
        return train_step(learner, data, knobs, noise_schedule, rows, count).view(1)

    learner.model.train()
    yield from train_batches(batches, step, ["loss"], record_marks(len(batches), knobs.epochs))
    if epoch + 1 in moments(knobs.epochs):
        learner.kept[epoch + 1] = _samples(learner, data, knobs)


def train_step(
    learner: Learner,
    data: Points,
    knobs: Diffusion,
    noise_schedule: Any,
    rows: Tensor,
    count: int,
) -> Tensor:
    """Train on some rows of the data; returns the loss. count: of steps, this one included."""
    device = learner.device
    shape = (len(rows), *data.points.shape[1:])
    noise, times, chance = draws(knobs.seed, count, shape, knobs.noise_steps)
    points, noise, times = data.batch(rows, device), noise.to(device), times.to(device)
    labels = data.labels_of(rows, chance < knobs.label_dropout)
    for group in learner.optimiser.param_groups:
        group["lr"] = knobs.learning_rate * min(1.0, count / max(1, knobs.warmup_steps))
    with torch.autocast(device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
        noisy = noise_schedule.add_noise(points, noise, times)
        predicted = learner.model(noisy, times, None if labels is None else labels.to(device))
    distance = {"l1": F.l1_loss, "l2": F.mse_loss}[knobs.diffusion_loss]
    loss = distance(predicted.float(), noise)
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    learner.optimiser.step()
    learner.ema.step(learner.model.parameters())
    return loss.detach()


def _samples(learner: Learner, data: Points, knobs: Diffusion) -> Tensor:
    """Points sampled with the averaged weights, from the same noise every time."""
    steps = min(QUICK["sampling_steps"], knobs.noise_steps)
    learner.ema.store(learner.model.parameters())
    learner.ema.copy_to(learner.model.parameters())
    found = sample_points(
        learner.model,
        knobs.model_copy(update={**QUICK, "sampling_steps": steps}),
        tuple(data.points.shape[1:]),
        data.classes,
        range(learner.samples),
        learner.device,
    )
    learner.ema.restore(learner.model.parameters())
    learner.model.train()
    return found
