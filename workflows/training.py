"""The training loop: one function in plain sight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.streams import Purpose, generator
from workflows.metrics.usage import perplexity, usage
from workflows.processes import ALONE, Processes
from workflows.resident import Streamed, on_device

# Records of a run at least, so that its curves have a shape even when it has few epochs.
RECORDS = 10
# Validation images that usage and perplexity of a record are counted over: some 30,000 latents.
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
    """The loss is no longer a number; the message says at which epoch."""


@dataclass(frozen=True)
class Images:
    """uint8 arrays of shape (n, c, h, w). variance: of the training images in [0, 1]."""

    train: np.ndarray
    validation: np.ndarray
    variance: float


@dataclass(frozen=True)
class Losses:
    """objective: the reconstruction term. weights: of the quantiser's losses. adversary: a critic
    that the decoder is trained against, which changes when it is told to `adapt`; or none.
    """

    objective: Callable[..., Tensor]
    weights: Mapping[str, float]
    adversary: Any = None


@dataclass(frozen=True)
class Observers:
    """after_record: called with every new record, to report. after_epoch: with the whole history
    once an epoch is over, to save. after_step: with the number of steps done, 0 before the first.
    """

    after_record: Callable[[dict[str, float]], None]
    after_epoch: Callable[[list[dict[str, float]]], None]
    after_step: Callable[[int], None] = lambda _: None


def normalise(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (n, c, h, w) to float32 in [-1, 1] on `device`, channels last."""
    tensor = torch.as_tensor(images).to(device)
    return tensor.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def batches(images: Tensor | Streamed, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """One epoch's batches, uint8; the order depends on seed and epoch alone. None is dropped."""
    stream = generator(seed, Purpose.ORDER, epoch)
    order = torch.randperm(len(images), generator=stream).to(images.device)
    for rows in order.split(batch_size):
        yield images[rows]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches an epoch, the last one short."""
    return math.ceil(images / batch_size)


def record_marks(steps: int, epochs: int) -> frozenset[int]:
    """The steps of an epoch, counted from 1, after which it is looked at; the last one always is.

    Once an epoch in long runs; in short ones so often that a run has about RECORDS records.
    """
    times = min(steps, math.ceil(RECORDS / epochs))
    return frozenset(round(steps * part / times) for part in range(1, times + 1))


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Images,
    losses: Losses,
    knobs: Mapping[str, Any],
    epoch: int,
    device: torch.device,
    after_step: Callable[[int], None] = lambda _: None,
    processes: Processes = ALONE,
) -> Iterator[dict[str, float]]:
    """Train for one epoch, yielding a record after each of its `record_marks`.

    A record: step (of the epoch, from 1), loss and reconstruction (means over the images since the
    last record), images_per_second. after_step: called with the steps since the first epoch; it
    leaves the model as it is. processes: that each batch is divided over, with the model prepared.
    Raises Diverged when a mean loss is not finite.
    """
    # Bytes on the device where they fit, so that nothing is copied to it in the loop.
    resident = on_device(images.train, device)
    steps = steps_per_epoch(len(resident), knobs["batch_size"])
    marks = record_marks(steps, knobs["epochs"])
    # Summed on the device: reading a loss every step would wait for it.
    sums, seen, start = torch.zeros(2, device=device), 0, time.perf_counter()
    model.train()
    for step, batch in enumerate(
        batches(resident, knobs["batch_size"], knobs["seed"], epoch), start=1
    ):
        inputs = normalise(processes.part(batch), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=knobs["precision"] == "bf16"):
            output = processes.compute(model, inputs)
        # Losses are of the whole batch, whatever part of it is here.
        reconstruction = losses.objective(output.images, inputs, processes)
        loss = reconstruction + sum(
            losses.weights[name] * value for name, value in output.quantised.losses.items()
        )
        if losses.adversary is not None:
            last_layer = model.decoder.last_layer  # type: ignore[union-attr]
            loss = loss + losses.adversary(output.images, reconstruction, last_layer, processes)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        model.quantiser.adapt(output.quantised.assignment)  # type: ignore[operator, union-attr]
        if losses.adversary is not None:
            pair = (processes.gather(x) for x in (inputs, output.images.detach()))
            losses.adversary.adapt(*pair)
        processes.agree(model.quantiser, losses.adversary)  # type: ignore[arg-type]
        optimiser.step()
        sums += torch.stack([loss.detach(), reconstruction.detach()]) * len(batch)
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
            # Whoever took the record may have looked at the model in evaluation mode.
            model.train()
            sums, seen, start = torch.zeros(2, device=device), 0, time.perf_counter()


@torch.inference_mode()
def count_codes(
    model: nn.Module, images: np.ndarray, codebook_size: int, device: torch.device
) -> np.ndarray:
    """How often each code is hit over `images`, shape (K,); the model is in evaluation mode.

    Images are not decoded for it, which would cost as much again.
    """
    model.eval()
    counts = torch.zeros(codebook_size, dtype=torch.long, device=device)
    for start in range(0, len(images), WATCHED_BATCH):
        batch = normalise(images[start : start + WATCHED_BATCH], device)
        codes = model.quantise(batch).codes  # type: ignore[operator]
        counts += torch.bincount(codes.flatten(), minlength=codebook_size)
    return counts.cpu().numpy()


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Images,
    losses: Losses,
    knobs: Mapping[str, Any],
    history: list[dict[str, float]],
    observers: Observers,
    device: torch.device,
    processes: Processes = ALONE,
) -> None:
    """Train from where `history` ends, the end of an epoch, to the last epoch.

    history: the records, LOG_COLUMNS each; those of an epoch are appended once it is whole, so
    that a run that diverges ends with its last whole epoch. Raises Diverged.
    """
    steps = steps_per_epoch(len(images.train), knobs["batch_size"])
    before = history[-1]["seconds"] if history else 0.0
    done = epochs_done(history, steps)
    processes.prepare(model)
    start = time.perf_counter()
    if not done:
        observers.after_step(0)
    for epoch in range(done, knobs["epochs"]):
        fresh: list[dict[str, float]] = []
        after_step = observers.after_step
        for found in train_epoch(
            model, optimiser, images, losses, knobs, epoch, device, after_step, processes
        ):
            counts = count_codes(model, images.validation[:WATCHED], knobs["codebook_size"], device)
            step = epoch * steps + int(found["step"])
            record = {
                **found,
                "epoch": round(step / steps, 4),
                "step": step,
                "usage": usage(counts),
                "perplexity": perplexity(counts),
                "seconds": before + time.perf_counter() - start,
            }
            fresh.append({column: record[column] for column in LOG_COLUMNS})
            observers.after_record(fresh[-1])
        history += fresh
        observers.after_epoch(history)


def epochs_done(history: list[dict[str, float]], steps: int) -> int:
    """Whole epochs behind a history. steps: of an epoch."""
    return int(history[-1]["step"]) // steps if history else 0
