"""The loop that trainings of both stages share: epochs, their batches and their records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflows.knobs import Generative, Training

# A run has about as many records, so that its curves have a shape even when it has few epochs.
RECORDS = 10
WATCHED_BATCH = 50  # images that are quantised at a time
Record = dict[str, float]
History = list[Record]


class Diverged(ArithmeticError):
    """The loss is no longer a finite number; the message names the epoch."""


@dataclass(frozen=True)
class Observers:
    """Functions that the loop calls.

    after_record: gets every new record, to report progress. after_epoch: gets the whole history
    once an epoch is over, to save a state.
    """

    after_record: Callable[[Record], None]
    after_epoch: Callable[[History], None]


@dataclass(frozen=True)
class Learner:
    """What every training changes. Each stage adds its own."""

    model: nn.Module
    optimiser: torch.optim.Optimizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def pack(self) -> dict[str, Tensor]:
        """The state of the training as named tensors."""
        return pack_training(self.model, self.optimiser)

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` gave. Raises RuntimeError or KeyError if it is of another model."""
        unpack_training(packed, self.model, self.optimiser)


def pack_training(
    model: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = ""
) -> dict[str, Tensor]:
    """A model and its optimiser as named tensors. prefix: of the names."""
    packed = {f"{prefix}model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        packed |= {f"{prefix}optimiser.{index}.{name}": value for name, value in state.items()}
    return packed


def unpack_training(
    packed: Mapping[str, Tensor],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    prefix: str = "",
) -> None:
    """Load what `pack_training` gave. Raises RuntimeError or KeyError if it is of another model."""
    model.load_state_dict(with_prefix(packed, f"{prefix}model."))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in with_prefix(packed, f"{prefix}optimiser.").items():
        index, key = name.split(".")
        like = parameters[int(index)]
        if value.shape == like.shape and value.ndim:
            # Moments must have their parameter's memory layout: files hold contiguous tensors, and
            # the fused Adam walks both in memory order without looking at strides.
            value = torch.empty_like(like).copy_(value).detach()
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def with_prefix(packed: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, named without it."""
    return {n.removeprefix(prefix): v for n, v in packed.items() if n.startswith(prefix)}


def normalise(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (n, c, h, w) to float32 in [-1, 1] on `device`, channels last."""
    tensor = torch.as_tensor(images).to(device)
    return tensor.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def quantised(model: Any, images: np.ndarray) -> Iterator[Any]:
    """Encode and quantise uint8 images (n, c, h, w) by batches, in evaluation mode.

    Decoding the images would cost as much again.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    for start in range(0, len(images), WATCHED_BATCH):
        yield model.quantise(normalise(images[start : start + WATCHED_BATCH], device))
    model.train(training)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches an epoch, the last one short."""
    return math.ceil(images / batch_size)


def epochs_done(history: History, steps: int) -> int:
    """Whole epochs behind a history. steps: of an epoch."""
    return int(history[-1]["step"]) // steps if history else 0


def record_marks(steps: int, epochs: int) -> frozenset[int]:
    """The steps of an epoch, counted from 1, after which a record is taken; always the last.

    Long runs have one record an epoch. Short runs have more, so that a run has about RECORDS.
    """
    times = min(steps, math.ceil(RECORDS / epochs))
    return frozenset(round(steps * part / times) for part in range(1, times + 1))


def train_batches(
    batches: Iterable[Any],
    train_step: Callable[[int, Any], Tensor],
    names: list[str],
    marks: frozenset[int],
    after_step: Callable[[int], None] = lambda _: None,
) -> Iterator[Record]:
    """Train on the batches of an epoch, yielding a record after each of the `marks`.

    train_step: gets the number of the step, from 1, and a batch; returns its losses, (k,), which
    have the `names`. A record holds step, the losses (means over images since the last record) and
    images_per_second, which leaves out the time that after_step takes.
    """
    # Losses are summed on the device: reading one at every step would wait for the device.
    sums: Any = 0.0
    seen, start = 0, time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        sums = sums + train_step(step, batch) * len(batch)
        seen += len(batch)
        paused = time.perf_counter()
        after_step(step)
        start += time.perf_counter() - paused
        if step in marks:
            means = (sums / seen).tolist()
            speed = seen / (time.perf_counter() - start)
            yield {"step": step, **dict(zip(names, means, strict=True)), "images_per_second": speed}
            sums, seen, start = 0.0, 0, time.perf_counter()


def train_epochs(
    train_epoch: Callable[[int], Iterator[Record]],
    images: int,
    knobs: Training | Generative,
    history: History,
    observers: Observers,
    look: Callable[[], Record] = dict,
) -> None:
    """Train from where `history` ends, the end of an epoch, to the last epoch.

    train_epoch: trains for the epoch of that number, from 0, as `train_batches` does. images: of an
    epoch. look: measures the model, for each record. Records of an epoch are appended once the
    epoch is over, so that the history of a run that diverges ends with a whole epoch. Raises
    Diverged when a mean loss is not finite.
    """
    steps = steps_per_epoch(images, knobs.batch_size)
    before = history[-1]["seconds"] if history else 0.0
    start = time.perf_counter()
    for epoch in range(epochs_done(history, steps), knobs.epochs):
        fresh = []
        for found in train_epoch(epoch):
            if not math.isfinite(found["loss"]):
                raise Diverged(f"the loss became {found['loss']} in epoch {epoch + 1}")
            step = epoch * steps + int(found["step"])
            record = {**found, "epoch": round(step / steps, 4), "step": step, **look()}
            record["seconds"] = before + time.perf_counter() - start
            fresh.append(record)
            observers.after_record(record)
        history += fresh
        observers.after_epoch(history)
