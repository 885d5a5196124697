"""Several processes for one training of a VQGAN or a diffusion model, each on its own device.

Every process runs the same loop on the same whole batches. Only the modules that are handed to
`divide` share the work: each process computes its part of the batch, and all exchange the results.
The numbers are those of one process, up to the order of sums (docs/decisions/0019).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch import Tensor, distributed, nn

from workflows.errors import ConfigError


def count() -> int:
    """Return how many processes train together: 1 unless torchrun started this process."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this process is the one that reports and writes files."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Print a line in the main process alone."""
    if is_main():
        print(line, flush=True)


def start(requested: int, most: int, module: str) -> None:
    """Replace this process by the requested number of processes; one process just goes on.

    most: the largest number that this training allows. module: the step, which each process runs
    with the arguments of this process. Raises ConfigError for a number that is not possible here.
    """
    if not 1 <= requested <= most:
        raise ConfigError(f"--processes: {requested}; allowed: 1 to {most} for this model")
    # torchrun sets the variable in the processes that it starts.
    if "LOCAL_RANK" in os.environ or requested == 1:
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else requested
    if requested > gpus:
        raise ConfigError(f"--processes: {requested}; this machine has {gpus} GPUs")
    # Without this variable torchrun gives each process one thread and prints a warning.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={requested}"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *sys.argv[1:]])


def divide(shared: list[nn.Module | None], copied: list[nn.Module | None], root: nn.Module) -> None:
    """Let all processes share the work of some modules; do nothing for a single process.

    shared: each maps tensors (b, ...) to one tensor (b, ...), image by image. copied: every process
    computes these in full; their weights are copied from the main process before each training
    step, because rounding on a GPU may differ between processes. root: the model, whose call begins
    a training step. None stands for a module that the training does not have.
    """
    if count() == 1:
        return
    if not distributed.is_initialized():
        device = next(root.parameters()).device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    for module in filter(None, shared):
        _share(module)

    def copy_weights(*_: Any) -> None:
        for module in filter(None, copied if root.training else []):
            for tensor in (*module.parameters(), *module.buffers()):
                distributed.broadcast(tensor.detach(), 0)

    root.register_forward_pre_hook(copy_weights)


def _share(module: nn.Module) -> None:
    """Give each process its part of the module's inputs, and all processes the whole output."""
    images = 0

    def split_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal images
        images = len(inputs[0])
        return tuple(_Split.apply(x) if isinstance(x, Tensor) else x for x in inputs)

    def join_outputs(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return _Join.apply(output, images)

    module.register_forward_pre_hook(split_inputs)
    module.register_forward_hook(join_outputs)
    for parameter in module.parameters():
        if parameter.requires_grad:
            # torch.autograd.grad calls this hook too, so a critic sees the whole gradient.
            parameter.register_hook(_sum_over_processes)


def own_rows(batch: Tensor) -> Tensor:
    """Return the rows of a batch that this process computes; every process gets equally many.

    Every process must take part in each exchange with the same number of rows. Row numbers beyond
    the batch fill up the last parts; they stand for rows that another process computes, too.
    """
    each = -(-len(batch) // distributed.get_world_size())
    first = each * distributed.get_rank()
    return torch.arange(first, first + each, device=batch.device)


def _gather(part: Tensor) -> Tensor:
    part = part.contiguous()
    parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, part)
    return torch.cat(parts)


def _sum_over_processes(gradient: Tensor) -> Tensor:
    total = gradient.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class _Split(torch.autograd.Function):
    """Forward: this process's part of a batch. Backward: the gradient of the whole batch."""

    @staticmethod
    def forward(ctx: Any, batch: Tensor) -> Tensor:
        ctx.images = len(batch)
        return batch[own_rows(batch) % len(batch)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _gather(gradient)[: ctx.images]


class _Join(torch.autograd.Function):
    """Forward: the whole batch of all parts. Backward: the gradient of this process's part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, images: int) -> Tensor:
        return _gather(part)[:images]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        rows = own_rows(gradient)
        part = gradient[rows % len(gradient)]
        part[rows >= len(gradient)] = 0
        return part, None
