"""The training of autoencoders."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.streams import Purpose, generator
from workflows.data.memory import SHARE, gather
from workflows.knobs import Training
from workflows.metrics.usage import perplexity, usage
from workflows.registry import codebook_size
from workflows.training import loop
from workflows.training.devices import free_memory
from workflows.training.film import Film
from workflows.training.loop import (
    History,
    Observers,
    Record,
    normalise,
    pack_training,
    quantised,
    record_marks,
    steps_per_epoch,
    train_batches,
    train_epochs,
    unpack_training,
)

# Usage and perplexity of a record are counted over so many validation images: some 30,000 latents.
WATCHED = 500
LOG_COLUMNS = ["epoch", "step", "loss", "reconstruction", "usage", "perplexity"]
LOG_COLUMNS += ["images_per_second", "seconds"]
# Prefixes of names in a state.
CRITIC, FILM = "critic.", "film."


@dataclass(frozen=True)
class Images:
    """uint8 arrays of shape (n, c, h, w). variance: of the training images in [0, 1]."""

    train: np.ndarray
    validation: np.ndarray
    variance: float


@dataclass(frozen=True)
class Losses:
    """What a model is trained to minimise.

    objective: the reconstruction term. weights: of the quantiser's losses. adversary: the critic
    that the decoder is trained against, if any. perceptual: the network that the objective measures
    distances with, if any.
    """

    objective: Callable[[Tensor, Tensor], Tensor]
    weights: Mapping[str, float]
    adversary: Any = None
    perceptual: nn.Module | None = None


@dataclass(frozen=True)
class Learner(loop.Learner):
    """All that training changes. film: None for a cell that is not filmed."""

    losses: Losses
    film: Film | None = None

    def pack(self) -> dict[str, Tensor]:
        """The state of the training as named tensors."""
        packed, critic = super().pack(), self.losses.adversary
        if critic is not None:
            packed |= pack_training(critic, critic.optimiser, CRITIC)
        return packed | (self.film.pack(FILM) if self.film else {})

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
        super().unpack(packed)
        critic = self.losses.adversary
        if critic is not None:
            unpack_training(packed, critic, critic.optimiser, CRITIC)
        if self.film:
            self.film.unpack(packed, FILM)


def on_device(images: np.ndarray, device: torch.device) -> Tensor | np.ndarray:
    """uint8 images (n, c, h, w) as a tensor on `device`, unless they are mapped to a file or would
    take more than a SHARE of a GPU's memory.
    """
    too_large = device.type != "cpu" and images.nbytes > SHARE * free_memory(device)
    if isinstance(images, np.memmap) or too_large:
        return images
    return torch.from_numpy(images).to(device)


def batches(
    images: Tensor | np.ndarray, batch_size: int, seed: int, epoch: int
) -> Iterator[Tensor]:
    """One epoch's batches, uint8; the order depends on seed and epoch alone. The last is short."""
    order = torch.randperm(len(images), generator=generator(seed, Purpose.ORDER, epoch))
    if isinstance(images, Tensor):
        yield from (images[rows] for rows in order.to(images.device).split(batch_size))
        return
    yield from (torch.from_numpy(gather(images, rows.numpy())) for rows in order.split(batch_size))


def train_epoch(
    learner: Learner, images: Tensor | np.ndarray, knobs: Training, epoch: int
) -> Iterator[Record]:
    """Train for one epoch, yielding the records of `train_batches`: loss and reconstruction.

    images: uint8 (n, c, h, w), as `on_device` gives them.
    """
    steps = steps_per_epoch(len(images), knobs.batch_size)

    def step(number: int, batch: Tensor) -> Tensor:
        return train_step(learner, normalise(batch, learner.device), knobs.precision == "bf16")

    def after_step(number: int) -> None:
        if learner.film:
            learner.film.after_step(learner.model, epoch * steps + number)

    learner.model.train()
    ordered = batches(images, knobs.batch_size, knobs.seed, epoch)
    marks = record_marks(steps, knobs.epochs)
    yield from train_batches(ordered, step, ["loss", "reconstruction"], marks, after_step)


def train_step(learner: Learner, inputs: Tensor, mixed: bool) -> Tensor:
    """Train on one batch (b, c, h, w) in [-1, 1]; returns its loss and reconstruction term, (2,).

    mixed: whether the networks compute in bfloat16.
    """
    model, losses = learner.model, learner.losses
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed):
        output = model(inputs)
    reconstruction = losses.objective(output.images, inputs)
    loss = reconstruction + sum(
        losses.weights[name] * value for name, value in output.quantised.losses.items()
    )
    if losses.adversary is not None:
        last_layer = model.decoder.last_layer  # type: ignore[union-attr]
        loss = loss + losses.adversary(output.images, reconstruction, last_layer)
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    model.quantiser.adapt(output.quantised.assignment)  # type: ignore[operator, union-attr]
    if losses.adversary is not None:
        losses.adversary.adapt(inputs, output.images.detach())
    learner.optimiser.step()
    return torch.stack([loss.detach(), reconstruction.detach()])


def count_codes(model: nn.Module, images: np.ndarray, size: int) -> np.ndarray:
    """How often each code is hit over uint8 `images`, shape (K,)."""
    codes = torch.cat([found.codes.flatten() for found in quantised(model, images)])
    return torch.bincount(codes, minlength=size).cpu().numpy()


def train(
    learner: Learner, images: Images, knobs: Training, history: History, observers: Observers
) -> None:
    """Train from where `history` ends to the last epoch, see `train_epochs`."""
    codes = codebook_size(knobs)
    resident = on_device(images.train, learner.device)
    if learner.film and not history:
        learner.film.after_step(learner.model, 0)

    def look() -> Record:
        """Usage and perplexity; nothing of a model without a codebook."""
        if codes is None:
            return {}
        counts = count_codes(learner.model, images.validation[:WATCHED], codes)
        return {"usage": usage(counts), "perplexity": perplexity(counts)}

    of_epoch = functools.partial(train_epoch, learner, resident, knobs)
    train_epochs(of_epoch, len(images.train), knobs, history, observers, look)
