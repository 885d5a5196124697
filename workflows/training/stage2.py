"""The training of generative models.

Everything that a step draws depends on seed and step alone, so an interrupted training ends with
the same numbers as an uninterrupted one.
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
from workflows.training.loop import History, Observers, Record
from workflows.training.sampling import sample_points

LOG_COLUMNS = ["epoch", "step", "loss", "images_per_second", "seconds"]
# Samples are kept after these parts of the training, to show whether they improve.
SHOWN = (0.05, 0.125, 0.25, 0.5, 1.0)
# Prefixes of names in a state.
EMA, KEPT = "ema.", "kept."


@dataclass(frozen=True)
class Points:
    """What is modelled: float32 latents or codes, or uint8 images, (n, d, h, w).

    labels: (n,), or None for a model without classes. classes: of the dataset, or None.
    """

    points: np.ndarray
    labels: np.ndarray | None
    classes: int | None = None

    def batch(self, rows: Tensor, device: torch.device) -> Tensor:
        """Return the points of these rows as float32 on a device; images are in [-1, 1]."""
        points = torch.from_numpy(gather(self.points, rows.numpy())).to(device)
        return points.float().div_(127.5).sub_(1) if points.dtype == torch.uint8 else points


@dataclass(frozen=True)
class Learner(loop.Learner):
    """Everything that a training of stage 2 changes.

    ema: the average of the model's weights. critic: the network that is trained against the model,
    or None. samples: the number of samples that are kept at each of the `moments`. kept: these
    samples, by epoch.
    """

    ema: EMAModel
    critic: Any = None
    samples: int = 2
    kept: dict[int, Tensor] = field(default_factory=dict)

    def pack(self) -> dict[str, Tensor]:
        """Return the state of the training as named tensors."""
        average = self.ema.state_dict()
        packed = super().pack()
        packed |= {f"{EMA}{i}": value for i, value in enumerate(average["shadow_params"])}
        packed[f"{EMA}step"] = torch.tensor(average["optimization_step"])
        return packed | {f"{KEPT}{epoch}": samples for epoch, samples in self.kept.items()}

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` returned. Raises RuntimeError or KeyError for another model's state."""
        super().unpack(packed)
        for index, shadow in enumerate(self.ema.shadow_params):
            shadow.copy_(packed[f"{EMA}{index}"])
        self.ema.optimization_step = int(packed[f"{EMA}step"])
        self.kept.clear()
        self.kept.update((int(n), value) for n, value in loop.with_prefix(packed, KEPT).items())


def moments(epochs: int) -> list[int]:
    """Return the epochs after which samples are kept, ascending, with the last epoch."""
    return sorted({max(1, round(part * epochs)) for part in SHOWN})


def train(
    learner: Learner, data: Points, knobs: Generative, history: History, observers: Observers
) -> None:
    """Train from the end of `history` to the last epoch, see `train_epochs`."""
    learner.ema.to(learner.device)
    run_epoch = functools.partial(train_epoch, learner, data, knobs)
    loop.train_epochs(run_epoch, len(data.points), knobs, history, observers)


def train_epoch(learner: Learner, data: Points, knobs: Generative, epoch: int) -> Iterator[Record]:
    """Train for one epoch, and yield the records of `train_batches`.

    At the end, samples are kept if the epoch is one of the `moments`.
    """
    order = torch.randperm(len(data.points), generator=generator(knobs.seed, Purpose.ORDER, epoch))
    batches = order.split(knobs.batch_size)

    def step(number: int, rows: Tensor) -> Tensor:
        return train_step(learner, data, knobs, rows, epoch * len(batches) + number).view(1)

    learner.model.train()
    marks = loop.record_marks(len(batches), knobs.epochs)
    yield from loop.train_batches(batches, step, ["loss"], marks)
    if epoch + 1 in moments(knobs.epochs):
        learner.kept[epoch + 1] = _sample_average(learner, data, knobs)


def train_step(
    learner: Learner, data: Points, knobs: Generative, rows: Tensor, count: int
) -> Tensor:
    """Train on some rows of the data. Returns the loss.

    count: the number of the step in the whole training, from 1.
    """
    model, critic, device = learner.model, learner.critic, learner.device
    stream = generator(knobs.seed, Purpose.GENERATION, count)
    points, labels = data.batch(rows, device), None
    if data.labels is not None:
        labels = torch.from_numpy(data.labels[rows.numpy()]).to(device)
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


def _sample_average(learner: Learner, data: Points, knobs: Generative) -> Tensor:
    """Return samples of the averaged weights, from the same noise at every call."""
    model, ema = learner.model, learner.ema
    ema.store(model.parameters())
    ema.copy_to(model.parameters())
    shape, numbers = tuple(data.points.shape[1:]), range(learner.samples)
    samples = sample_points(model, knobs, shape, data.classes, numbers, learner.device, quick=True)
    ema.restore(model.parameters())
    model.train()
    return samples
