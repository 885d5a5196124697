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
    """How many processes train together; 1 unless torchrun started this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that reports and writes files."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Print a line once, however many processes there are."""
    if is_main():
        print(line, flush=True)


def start(wanted: int, most: int, module: str) -> None:
    """Replace this process by `wanted` processes, unless torchrun has started it already.

    most: how many processes this training may have. module: the step, which each process runs with
    the arguments of this one. Raises ConfigError for a number that is not possible here.
    """
    if not 1 <= wanted <= most:
        raise ConfigError(f"--processes: {wanted}; allowed: 1 to {most} for this model")
    if "LOCAL_RANK" in os.environ or wanted == 1:
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else wanted
    if wanted > gpus:
        raise ConfigError(f"--processes: {wanted}; this machine has {gpus} GPUs")
    # Without a number torchrun gives each process one thread and prints a warning.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={wanted}"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *sys.argv[1:]])


def divide(modules: list[nn.Module | None], alike: list[nn.Module | None], root: nn.Module) -> None:
    """Let all processes share the work of `modules`; does nothing where there is one process.

    modules: each maps tensors (b, ...) to one tensor (b, ...), image by image. alike: modules that
    every process computes in full; rounding on a GPU may differ between processes, so all take over
    the main one's weights before each training step. root: the model whose call begins a training
    step. None stands for a module that the training does without.
    """
    if count() == 1:
        return
    if not distributed.is_initialized():
        device = next(root.parameters()).device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    for module in filter(None, modules):
        parts = _Parts()
        module.register_forward_pre_hook(parts.take)
        module.register_forward_hook(parts.join)
        for parameter in module.parameters():
            if parameter.requires_grad:
                # Also called for torch.autograd.grad, so a critic sees the whole gradient.
                parameter.register_hook(_summed)

    def agree(_: nn.Module, __: Any) -> None:
        for module in filter(None, alike if root.training else []):
            for tensor in (*module.parameters(), *module.buffers()):
                distributed.broadcast(tensor.detach(), 0)

    root.register_forward_pre_hook(agree)


class _Parts:
    """The hooks of one module: take this process's part of its inputs, and join all outputs."""

    images = 0  # of the whole batch

    def take(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.images = len(inputs[0])
        return tuple(_Take.apply(x) if isinstance(x, Tensor) else x for x in inputs)

    def join(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return _Join.apply(output, self.images)


def own_rows(images: int, process: int, processes: int) -> Tensor:
    """The rows of a batch that a process computes: equally many for each, in one run.

    Numbers from `images` on stand for rows that another process computes, too. They are there
    because every process must take part in each exchange with as many rows as the others.
    """
    each = -(-images // processes)
    return torch.arange(process * each, (process + 1) * each)


def _own_rows(whole: Tensor) -> Tensor:
    rows = own_rows(len(whole), distributed.get_rank(), distributed.get_world_size())
    return rows.to(whole.device)


def _gathered(part: Tensor) -> Tensor:
    part = part.contiguous()
    parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, part)
    return torch.cat(parts)


def _summed(gradient: Tensor) -> Tensor:
    total = gradient.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class _Take(torch.autograd.Function):
    """A whole batch to this process's part; backward, all parts' gradients to the batch's."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        ctx.images = len(whole)
        return whole[_own_rows(whole) % len(whole)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _gathered(gradient)[: ctx.images]


class _Join(torch.autograd.Function):
    """All processes' parts to the whole batch; backward, the batch's gradient to one's part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, images: int) -> Tensor:
        return _gathered(part)[:images]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        rows = _own_rows(gradient)
        part = gradient[rows % len(gradient)]
        part[rows >= len(gradient)] = 0
        return part, None
