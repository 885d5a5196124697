"""The loop over epochs and batches that all trainings share, and what they record on the way."""

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

# A short training takes about this many records, so that it has a curve, too.
RECORDS = 10
# Validation images that are quantised together.
WATCHED_BATCH = 50
Record = dict[str, float]
History = list[Record]


class Diverged(ArithmeticError):
    """The loss is no longer a finite number; the message names the epoch."""


@dataclass(frozen=True)
class Observers:
    """Functions that the loop calls; by default they do nothing.

    after_record: reports progress; gets each new record. after_epoch: saves a state; gets the whole
    history at the end of each epoch.
    """

    after_record: Callable[[Record], None] = lambda _: None
    after_epoch: Callable[[History], None] = lambda _: None


@dataclass(frozen=True)
class Learner:
    """Everything that a training changes. Each stage adds fields to these two."""

    model: nn.Module
    optimiser: torch.optim.Optimizer

    @property
    def critic(self) -> Any:
        """The network that is trained against the model, or None. It has an `optimiser`."""
        return None

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return next(self.model.parameters()).device

    def pack(self) -> dict[str, Tensor]:
        """Return the state of the training as named tensors."""
        packed = {}
        for prefix, module, optimiser in self._trained():
            for name, value in module.state_dict().items():
                packed[f"{prefix}model.{name}"] = value
            for index, state in optimiser.state_dict()["state"].items():
                for name, value in state.items():
                    packed[f"{prefix}optimiser.{index}.{name}"] = value
        return packed

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Load what `pack` returned. Raises RuntimeError or KeyError for another model's state."""
        for prefix, module, optimiser in self._trained():
            module.load_state_dict(with_prefix(packed, f"{prefix}model."))
            _load_optimiser(optimiser, with_prefix(packed, f"{prefix}optimiser."))

    def _trained(self) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer]]:
        """Yield each trained network with its optimiser and the prefix of its names in a state."""
        yield "", self.model, self.optimiser
        if self.critic is not None:
            yield "critic.", self.critic, self.critic.optimiser


def _load_optimiser(optimiser: torch.optim.Optimizer, packed: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in packed.items():
        index, key = name.split(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape and value.ndim:
            # Moments must have the memory layout of their parameter: files hold contiguous tensors,
            # and the fused Adam walks through both in memory order without looking at strides.
            value = torch.empty_like(parameter).copy_(value).detach()
        states.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})


def with_prefix(packed: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by their names without the prefix."""
    return {n.removeprefix(prefix): v for n, v in packed.items() if n.startswith(prefix)}


def normalise(images: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Return uint8 images (n, c, h, w) as float32 in [-1, 1] on `device`, channels last."""
    tensor = torch.as_tensor(images).to(device)
    return tensor.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def quantise_batches(model: Any, images: np.ndarray) -> Iterator[Any]:
    """Yield the `Quantised` of each batch of uint8 images (n, c, h, w), in evaluation mode.

    The images are not decoded, which would double the time.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    for start in range(0, len(images), WATCHED_BATCH):
        yield model.quantise(normalise(images[start : start + WATCHED_BATCH], device))
    model.train(training)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches of an epoch; the last batch may be short."""
    return math.ceil(images / batch_size)


def epochs_done(history: History, steps: int) -> int:
    """Return the number of whole epochs in a history. steps: in one epoch."""
    return int(history[-1]["step"]) // steps if history else 0


def record_marks(steps: int, epochs: int) -> frozenset[int]:
    """Return the steps of an epoch, from 1 to `steps`, after which a record is taken.

    The last step is always among them. A training of fewer than RECORDS epochs takes several
    records in each epoch.
    """
    count = min(steps, math.ceil(RECORDS / epochs))
    return frozenset(round(steps * part / count) for part in range(1, count + 1))


def train_batches(
    batches: Iterable[Any],
    train_step: Callable[[int, Any], Tensor],
    names: list[str],
    marks: frozenset[int],
    after_step: Callable[[int], None] = lambda _: None,
) -> Iterator[Record]:
    """Train on the batches of one epoch, and yield a record after each step in `marks`.

    train_step: gets the number of the step, from 1, and a batch; returns its losses (k,), which are
    called `names`. after_step: gets the number of the step; its time does not count. A record holds
    step, the mean of each loss over the images since the last record, and images_per_second.
    """
    # Losses are summed on the device, because reading one at every step would wait for the device.
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
    run_epoch: Callable[[int], Iterator[Record]],
    images: int,
    knobs: Training | Generative,
    history: History,
    observers: Observers,
    measure: Callable[[], Record] = dict,
) -> None:
    """Train from the end of `history`, which holds whole epochs, to the last epoch.

    run_epoch: trains for the epoch with the given number, from 0, and yields the records of
    `train_batches`. images: in one epoch. measure: returns more values for each record. The records
    of an epoch join the history once the epoch is complete, so a training that diverges keeps whole
    epochs. Raises Diverged if a mean loss is not finite.
    """
    steps = steps_per_epoch(images, knobs.batch_size)
    earlier_seconds = history[-1]["seconds"] if history else 0.0
    start = time.perf_counter()
    for epoch in range(epochs_done(history, steps), knobs.epochs):
        new_records = []
        for means in run_epoch(epoch):
            if not math.isfinite(means["loss"]):
                raise Diverged(f"the loss became {means['loss']} in epoch {epoch + 1}")
            step = epoch * steps + int(means["step"])
            record = {**means, "epoch": round(step / steps, 4), "step": step, **measure()}
            record["seconds"] = earlier_seconds + time.perf_counter() - start
            new_records.append(record)
            observers.after_record(record)
        history += new_records
        observers.after_epoch(history)
