"""The training loop of autoencoders."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.streams import Purpose, generator
from workflows.knobs import Training
from workflows.metrics.usage import perplexity, usage
from workflows.registry import codebook_size
from workflows.training.resident import Streamed, on_device

# A run has about as many records, so that its curves have a shape even when it has few epochs.
RECORDS = 10
# Usage and perplexity of a record are counted over so many validation images: some 30,000 latents.
WATCHED = 500
WATCHED_BATCH = 50
LOG_COLUMNS = [
    "epoch",
    "step",
    "loss",
    "reconstruction",
    "usage",
    "perplexity",
    "images_per_second",
    "seconds",
]


class Diverged(ArithmeticError):
    """The loss is no longer a finite number; the message names the epoch."""


@dataclass(frozen=True)
class Images:
    """uint8 arrays of shape (n, c, h, w). variance: of the training images in [0, 1]."""

    train: np.ndarray
    validation: np.ndarray
    variance: float


@dataclass(frozen=True)
class Losses:
    """What a model is trained to minimise.

    objective: the reconstruction term. weights: of each of the quantiser's losses. adversary: the
    critic that the decoder is trained against, which learns when its `adapt` is called; or None.
    perceptual: the network that the objective measures distances with, or None.
    """

    objective: Callable[[Tensor, Tensor], Tensor]
    weights: Mapping[str, float]
    adversary: Any = None
    perceptual: nn.Module | None = None


@dataclass(frozen=True)
class Learner:
    """A model, what it minimises and the optimiser that changes it."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    losses: Losses

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


@dataclass(frozen=True)
class Observers:
    """Functions that the loop calls.

    after_record: gets every new record, to report progress. after_epoch: gets the whole history
    once an epoch is over, to save a state. after_step: gets the number of steps done, beginning
    with 0 before the first step.
    """

    after_record: Callable[[dict[str, float]], None]
    after_epoch: Callable[[list[dict[str, float]]], None]
    after_step: Callable[[int], None] = lambda _: None


def normalise(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (n, c, h, w) to float32 in [-1, 1] on `device`, channels last."""
    tensor = torch.as_tensor(images).to(device)
    return tensor.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def batches(images: Tensor | Streamed, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """One epoch's batches, uint8; the order depends on seed and epoch alone. The last is short."""
    stream = generator(seed, Purpose.ORDER, epoch)
    order = torch.randperm(len(images), generator=stream).to(images.device)
    for rows in order.split(batch_size):
        yield images[rows]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches an epoch, the last one short."""
    return math.ceil(images / batch_size)


def record_marks(steps: int, epochs: int) -> frozenset[int]:
    """The steps of an epoch, counted from 1, after which a record is taken; always the last.

    Long runs have one record an epoch. Short runs have more, so that a run has about RECORDS.
    """
    times = min(steps, math.ceil(RECORDS / epochs))
    return frozenset(round(steps * part / times) for part in range(1, times + 1))


def train_epoch(
    learner: Learner,
    images: Tensor | Streamed,
    knobs: Training,
    epoch: int,
    after_step: Callable[[int], None] = lambda _: None,
) -> Iterator[dict[str, float]]:
    """Train for one epoch, yielding a record after each of its `record_marks`.

    images: uint8 (n, c, h, w), as `on_device` gives them. A record holds step (of the epoch, from
    1), loss and reconstruction (means over the images since the last record) and
    images_per_second. after_step: gets the steps since the first epoch and must not change the
    model. Raises Diverged when a mean loss is not finite.
    """
    steps = steps_per_epoch(len(images), knobs.batch_size)
    marks = record_marks(steps, knobs.epochs)
    # Losses are summed on the device: reading one at every step would wait for the device.
    sums, seen, start = torch.zeros(2, device=learner.device), 0, time.perf_counter()
    learner.model.train()
    ordered = batches(images, knobs.batch_size, knobs.seed, epoch)
    for step, batch in enumerate(ordered, start=1):
        inputs = normalise(batch, learner.device)
        sums += train_step(learner, inputs, knobs.precision == "bf16") * len(batch)
        seen += len(batch)
        paused = time.perf_counter()
        after_step(epoch * steps + step)
        start += time.perf_counter() - paused
        if step in marks:
            loss_mean, reconstruction_mean = (sums / seen).tolist()
            if not math.isfinite(loss_mean):
                raise Diverged(f"the loss became {loss_mean} in epoch {epoch + 1}")
            yield {
                "step": step,
                "loss": loss_mean,
                "reconstruction": reconstruction_mean,
                "images_per_second": seen / (time.perf_counter() - start),
            }
            # The caller may have put the model into evaluation mode to measure it.
            learner.model.train()
            sums, seen, start = torch.zeros(2, device=learner.device), 0, time.perf_counter()


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


@torch.inference_mode()
def count_codes(model: nn.Module, images: np.ndarray, size: int) -> np.ndarray:
    """How often each code is hit over `images`, shape (K,).

    Puts the model into evaluation mode. Decoding the images would cost as much again, so only the
    encoder and the quantiser run.
    """
    model.eval()
    device = next(model.parameters()).device
    counts = torch.zeros(size, dtype=torch.long, device=device)
    for start in range(0, len(images), WATCHED_BATCH):
        batch = normalise(images[start : start + WATCHED_BATCH], device)
        codes = model.quantise(batch).codes  # type: ignore[operator]
        counts += torch.bincount(codes.flatten(), minlength=size)
    return counts.cpu().numpy()


def train(
    learner: Learner,
    images: Images,
    knobs: Training,
    history: list[dict[str, float]],
    observers: Observers,
) -> None:
    """Train from where `history` ends, the end of an epoch, to the last epoch.

    history: the records, LOG_COLUMNS each. Records of an epoch are appended once the epoch is
    over, so that the history of a run that diverges ends with a whole epoch. Raises Diverged.
    """
    steps = steps_per_epoch(len(images.train), knobs.batch_size)
    codes = codebook_size(knobs)
    before = history[-1]["seconds"] if history else 0.0
    done = epochs_done(history, steps)
    # Once for all epochs: an upload takes time, and memory that torch keeps for itself would make
    # a later one look too large for the device.
    resident = on_device(images.train, learner.device)
    start = time.perf_counter()
    if not done:
        observers.after_step(0)
    for epoch in range(done, knobs.epochs):
        fresh: list[dict[str, Any]] = []
        for found in train_epoch(learner, resident, knobs, epoch, observers.after_step):
            step = epoch * steps + int(found["step"])
            record: dict[str, Any] = {
                **found,
                "epoch": round(step / steps, 4),
                "step": step,
                **_codes(learner.model, images.validation[:WATCHED], codes),
                "seconds": before + time.perf_counter() - start,
            }
            fresh.append({column: record.get(column) for column in LOG_COLUMNS})
            observers.after_record(fresh[-1])
        history += fresh
        observers.after_epoch(history)


def _codes(model: nn.Module, images: np.ndarray, codes: int | None) -> dict[str, float]:
    """Usage and perplexity over images; nothing of a model without a codebook."""
    if codes is None:
        return {}
    counts = count_codes(model, images, codes)
    return {"usage": usage(counts), "perplexity": perplexity(counts)}


def epochs_done(history: list[dict[str, float]], steps: int) -> int:
    """Whole epochs behind a history. steps: of an epoch."""
    return int(history[-1]["step"]) // steps if history else 0


def log_text(history: list[dict[str, float]], columns: list[str]) -> str:
    """The records of a history as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
