"""What a training will take, from one batch tried on this machine before it starts."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workflows.devices import free_memory
from workflows.schema import ConfigError

# Days that a training may take without being asked for; the variable sets another number.
DAYS, VARIABLE = 7.0, "CODEBOOK_DAYS"
GIB = 2**30
# Of weights: themselves, their gradients, Adam's two moments.
COPIES = 4


@dataclass(frozen=True)
class Estimate:
    """parameters: numbers that are trained. state: bytes of them, of their gradients, of the
    optimiser's and of averages. activations: bytes that a batch keeps for the way back. pace:
    images a second. images: in all.
    """

    parameters: int
    state: int
    activations: int
    pace: float
    images: int

    @property
    def memory(self) -> int:
        """Bytes of everything."""
        return self.state + self.activations

    @property
    def days(self) -> float:
        """Of training."""
        return self.images / self.pace / 86400

    def __str__(self) -> str:
        """One line for people."""
        length = f"{self.days:.1f} days" if self.days >= 1 else f"{self.days * 24 * 60:.0f} minutes"
        return (
            f"{self.parameters / 1e6:.1f} million parameters, {self.memory / GIB:.1f} GiB "
            f"({self.activations / GIB:.1f} of them for a batch), {self.pace:,.1f} images/s, "
            f"{length}"
        )


def estimate(
    step: Callable[[int], Tensor],
    modules: Iterable[nn.Module],
    batch_size: int,
    images: int,
    averaged: bool = False,
) -> Estimate:
    """Try `step`, which gives the loss of so many images, with few of them, forward and backward.

    modules: what is trained. images: that the whole training sees, epochs counted. averaged:
    whether an average of the weights is kept. Gradients are gone afterwards; nothing else changes.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)
    few = min(batch_size, 4)
    loss, kept = saved(lambda: step(few), {storage_of(p) for p in parameters})
    loss.backward()
    _wait(loss)
    # The first pass is slower than all others: memory is new and kernels are chosen.
    start = time.perf_counter()
    loss = step(few)
    loss.backward()
    _wait(loss)
    pace = few / (time.perf_counter() - start)
    for parameter in parameters:
        parameter.grad = None
    activations = kept * batch_size // few
    return Estimate(size, state_bytes(size, averaged), activations, pace, images)


def state_bytes(parameters: int, averaged: bool = False) -> int:
    """Of trained numbers, with gradients and moments. averaged: and an average of them."""
    return 4 * (COPIES + averaged) * parameters


def saved(work: Callable[[], Tensor], own: Collection[int]) -> tuple[Tensor, int]:
    """What `work` gives, and the bytes that it keeps for the way back beside storages in `own`."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if storage_of(tensor) not in own:
            kept[storage_of(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = work()
    return loss, sum(kept.values())


def storage_of(tensor: Tensor) -> int:
    """Which memory a tensor is in; on the meta device all addresses are nought."""
    return tensor.untyped_storage()._cdata


def _wait(loss: Tensor) -> None:
    if loss.device.type == "cuda":
        torch.cuda.synchronize(loss.device)


def allowed_days() -> float:
    """Days that a training may take. Raises ConfigError unless that is a positive number."""
    given = os.environ.get(VARIABLE, str(DAYS))
    try:
        days = float(given)
    except ValueError:
        days = math.nan
    if not days > 0:
        raise ConfigError(f"{VARIABLE}: expected a number of days above 0, got '{given}'")
    return days


def refuse_beyond(found: Estimate, device: torch.device, lower: str) -> None:
    """Refuse what does not fit or takes longer than anybody has agreed to. Raises ConfigError.

    lower: the knobs that would make it smaller.
    """
    free = free_memory(device)
    if found.memory > free:
        raise ConfigError(
            f"needs {found.memory / GIB:.1f} GiB, {device.type} has {free / GIB:.1f} free; "
            f"lower {lower}"
        )
    allowed = allowed_days()
    if found.days > allowed:
        raise ConfigError(
            f"would take {found.days:.1f} days here, more than {VARIABLE}={allowed:g}; lower "
            f"epochs or {lower}, or set {VARIABLE}"
        )
