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
from workflows.training.loop import History, Observers, Record, normalise, steps_per_epoch

# Validation images that the statistics of codes in a record are taken over: about 30,000 latents.
WATCHED = 500
LOG_COLUMNS = ["epoch", "step", "loss", "reconstruction", "usage", "perplexity"]
LOG_COLUMNS += ["codevector_length", "images_per_second", "seconds"]
# Prefix of the film's names in a state.
FILM = "film."


@dataclass(frozen=True)
class Splits:
    """train: uint8 images, or float32 latents, (n, c, h, w). validation: uint8 images."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Losses:
    """What a model is trained to minimise.

    objective: the reconstruction term of (output, input). weights: by the names of the quantiser's
    losses. adversary: the critic that the decoder is trained against, or None. perceptual: the
    network that the objective measures distances with, or None.
    """

    objective: Callable[[Tensor, Tensor], Tensor]
    weights: Mapping[str, float]
    adversary: Any = None
    perceptual: nn.Module | None = None


@dataclass(frozen=True)
class Learner(loop.Learner):
    """Everything that a training of stage 1 changes. film: None for a cell that is not filmed."""

    losses: Losses
    film: Film | None = None

    @property
    def critic(self) -> Any:
        """The adversary, or None."""
        return self.losses.adversary

    def pack(self) -> dict[str, Tensor]:
        """Return the state of the training as named tensors."""
        return super().pack() | (self.film.pack(FILM) if self.film else {})

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` returned. Raises RuntimeError or KeyError for another model's state."""
        super().unpack(packed)
        if self.film:
            self.film.unpack(packed, FILM)


def train_step(learner: Learner, images: Tensor, knobs: Training) -> Tensor:
    """Train on uint8 images (b, c, h, w). Returns the loss and the reconstruction term, (2,)."""
    model, losses, inputs = learner.model, learner.losses, normalise(images, learner.device)
    mixed = knobs.precision == "bf16"
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


# Trains on a batch, and returns its loss and reconstruction term, (2,).
Step = Callable[[Learner, Tensor, Training], Tensor]


def train(
    learner: Learner,
    splits: Splits,
    knobs: Training,
    history: History,
    observers: Observers,
    step: Step = train_step,
) -> None:
    """Train from the end of `history` to the last epoch, see `train_epochs`."""
    resident = on_device(splits.train, learner.device)
    if learner.film and not history:
        learner.film.after_step(learner.model, 0)
    run_epoch = functools.partial(train_epoch, learner, resident, knobs, step=step)
    measure = functools.partial(code_statistics, learner.model, splits.validation, knobs)
    loop.train_epochs(run_epoch, len(resident), knobs, history, observers, measure)


def train_epoch(
    learner: Learner,
    inputs: Tensor | np.ndarray,
    knobs: Training,
    epoch: int,
    step: Step = train_step,
) -> Iterator[Record]:
    """Train for one epoch, and yield the records of `train_batches`: loss and reconstruction.

    inputs: the training split, as `on_device` returns it.
    """
    steps = steps_per_epoch(len(inputs), knobs.batch_size)

    def after_step(number: int) -> None:
        if learner.film:
            learner.film.after_step(learner.model, epoch * steps + number)

    learner.model.train()
    yield from loop.train_batches(
        batches(inputs, knobs.batch_size, knobs.seed, epoch),
        lambda number, batch: step(learner, batch, knobs),
        ["loss", "reconstruction"],
        loop.record_marks(steps, knobs.epochs),
        after_step,
    )


def on_device(array: np.ndarray, device: torch.device) -> Tensor | np.ndarray:
    """Return images or latents (n, c, h, w) as a tensor on `device`.

    An array that is mapped to a file, or that would take more than SHARE of a GPU's memory, is
    returned as it is.
    """
    too_large = device.type != "cpu" and array.nbytes > SHARE * free_memory(device)
    if isinstance(array, np.memmap) or too_large:
        return array
    return torch.from_numpy(array).to(device)


def batches(
    inputs: Tensor | np.ndarray, batch_size: int, seed: int, epoch: int
) -> Iterator[Tensor]:
    """Yield the batches of one epoch. Their order depends on seed and epoch alone."""
    order = torch.randperm(len(inputs), generator=generator(seed, Purpose.ORDER, epoch))
    if isinstance(inputs, Tensor):
        yield from (inputs[rows] for rows in order.to(inputs.device).split(batch_size))
    else:
        for rows in order.split(batch_size):
            yield torch.from_numpy(gather(inputs, rows.numpy()))


def code_statistics(model: nn.Module, images: np.ndarray, knobs: Training) -> Record:
    """Return usage, perplexity and mean length of codevectors over uint8 images (n, c, h, w).

    Returns nothing for a model without a codebook. The length is Euclidean, and each latent counts.
    """
    size = codebook_size(knobs)
    if size is None:
        return {}
    counts, length = watch(model, images, size)
    values = {"usage": usage(counts), "perplexity": perplexity(counts)}
    return {**values, "codevector_length": length}


def watch(model: nn.Module, images: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """Return how often each code is hit, (K,), and the mean length of the codevectors. size: K."""
    codes, lengths = [], []
    for batch in loop.quantise_batches(model, images):
        codes.append(batch.codes.flatten())
        lengths.append(batch.vectors.float().norm(dim=1).flatten())
    counts = torch.bincount(torch.cat(codes), minlength=size).cpu().numpy()
    return counts, float(torch.cat(lengths).mean())
