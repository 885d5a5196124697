"""The training of generative models.

All that a step draws depends on seed and step alone, so a training that was interrupted ends as if
it had not been.
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

from models.streams import Purpose, generator
from workflows.data.memory import gather
from workflows.knobs import Generative
from workflows.training import loop
from workflows.training.loop import (
    History,
    Observers,
    Record,
    pack_training,
    record_marks,
    train_batches,
    train_epochs,
    unpack_training,
    with_prefix,
)
from workflows.training.sampling import sample_points

LOG_COLUMNS = ["epoch", "step", "loss", "images_per_second", "seconds"]
# Samples are kept after these parts of the training, to see whether they get better.
SHOWN = (0.05, 0.125, 0.25, 0.5, 1.0)
# Prefixes of names in a state.
EMA, KEPT, CRITIC = "ema.", "kept.", "critic."


@dataclass(frozen=True)
class Points:
    """What is modelled: float32 latents or codes, or uint8 images, (n, d, h, w).

    labels: (n,), or None for a model without classes. classes: how many the dataset has, if any.
    """

    points: np.ndarray
    labels: np.ndarray | None
    classes: int | None = None

    def batch(self, rows: Tensor, device: torch.device) -> Tensor:
        """These rows on a device as float32; images in [-1, 1]."""
        picked = torch.from_numpy(gather(self.points, rows.numpy())).to(device)
        return picked.float().div_(127.5).sub_(1) if picked.dtype == torch.uint8 else picked

    def labels_of(self, rows: Tensor, device: torch.device) -> Tensor | None:
        """The labels of rows (b,) on a device; None for a model without classes."""
        return (
            None if self.labels is None else torch.from_numpy(self.labels[rows.numpy()]).to(device)
        )


@dataclass(frozen=True)
class Learner(loop.Learner):
    """All that training changes. critic: the model's opponent, if it has one. kept: `samples`
    samples of each of the `moments`, by epoch.
    """

    ema: EMAModel
    critic: Any = None
    samples: int = 2
    kept: dict[int, Tensor] = field(default_factory=dict)

    def pack(self) -> dict[str, Tensor]:
        """The state of the training as named tensors."""
        average = self.ema.state_dict()
        packed = super().pack()
        packed |= {f"{EMA}{i}": value for i, value in enumerate(average["shadow_params"])}
        packed[f"{EMA}step"] = torch.tensor(average["optimization_step"])
        if self.critic is not None:
            packed |= pack_training(self.critic, self.critic.optimiser, CRITIC)
        return packed | {f"{KEPT}{epoch}": samples for epoch, samples in self.kept.items()}

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
        super().unpack(packed)
        for index, shadow in enumerate(self.ema.shadow_params):
            shadow.copy_(packed[f"{EMA}{index}"])
        self.ema.optimization_step = int(packed[f"{EMA}step"])
        if self.critic is not None:
            unpack_training(packed, self.critic, self.critic.optimiser, CRITIC)
        self.kept.clear()
        self.kept.update((int(n), value) for n, value in with_prefix(packed, KEPT).items())


def moments(epochs: int) -> list[int]:
    """Epochs after which samples are kept, ascending; the last epoch always is one."""
    return sorted({max(1, round(part * epochs)) for part in SHOWN})


def train(
    learner: Learner, data: Points, knobs: Generative, history: History, observers: Observers
) -> None:
    """Train from where `history` ends to the last epoch, see `train_epochs`."""
    learner.ema.to(learner.device)
    of_epoch = functools.partial(train_epoch, learner, data, knobs)
    train_epochs(of_epoch, len(data.points), knobs, history, observers)


def train_epoch(learner: Learner, data: Points, knobs: Generative, epoch: int) -> Iterator[Record]:
    """Train for one epoch, yielding the records of `train_batches`, and keep samples if it is one
    of the `moments`.
    """
    order = torch.randperm(len(data.points), generator=generator(knobs.seed, Purpose.ORDER, epoch))
    batches = order.split(knobs.batch_size)

    def step(number: int, rows: Tensor) -> Tensor:
        count = epoch * len(batches) + number
        return train_step(learner, data, knobs, rows, count).view(1)

    learner.model.train()
    yield from train_batches(batches, step, ["loss"], record_marks(len(batches), knobs.epochs))
    if epoch + 1 in moments(knobs.epochs):
        learner.kept[epoch + 1] = _samples(learner, data, knobs)


def train_step(
    learner: Learner, data: Points, knobs: Generative, rows: Tensor, count: int
) -> Tensor:
    """Train on some rows of the data; returns the loss. count: of steps, this one included."""
    model, critic, device = learner.model, learner.critic, learner.device
    stream = generator(knobs.seed, Purpose.GENERATION, count)
    points, labels = data.batch(rows, device), data.labels_of(rows, device)
    for group in learner.optimiser.param_groups:
        group["lr"] = knobs.learning_rate * min(1.0, count / max(1, knobs.warmup_steps))
    with torch.autocast(device.type, torch.bfloat16, enabled=knobs.precision == "bf16"):
        if critic is None:
            loss = model.loss(points, labels, stream)  # type: ignore[operator]
        else:
            critic.learn(model, points, stream, count)
            loss = critic.judge(model, len(points), stream)
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    learner.optimiser.step()
    learner.ema.step(model.parameters())
    return loss.detach()


def _samples(learner: Learner, data: Points, knobs: Generative) -> Tensor:
    """Points sampled with the averaged weights, from the same noise every time."""
    learner.ema.store(learner.model.parameters())
    learner.ema.copy_to(learner.model.parameters())
    about = (tuple(data.points.shape[1:]), data.classes, range(learner.samples), learner.device)
    found = sample_points(learner.model, knobs, *about, quick=True)
    learner.ema.restore(learner.model.parameters())
    learner.model.train()
    return found
