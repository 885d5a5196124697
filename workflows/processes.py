"""The processes that a training is divided over: how they start, and what each does for the others.

torchrun or `accelerate launch` starts them, or `--processes` does. Each computes its part of every
batch. What depends on the whole of a batch, a codebook's choices and statistics, losses that are no
means over images, a critic's normalisation, every process computes alike from what all of them
have gathered, in the order of the images, so that nothing depends on how many there are but the
order of sums. See docs/decisions/0019-processes-gather-what-depends-on-the-batch.md.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflows import devices
from workflows.schema import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator

# prctl's number for "send me this signal when my parent has gone".
PARENT_GONE = 1


def started() -> int:
    """How many processes torchrun has started this one among; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def ensure(wanted: int, batch_size: int, module: str, threads: int) -> None:
    """Be one of `wanted` processes: unless they have been started, become what starts them.

    module: the step, which is run with this process's arguments. threads: of each process. Raises
    ConfigError for more processes than images of a batch or GPUs, or other than were started.
    """
    launched = "LOCAL_RANK" in os.environ
    count = started() if launched and wanted == 1 else wanted
    if launched and count != started():
        raise ConfigError(f"--processes: {wanted}, but {started()} were started; leave it out")
    if not 1 <= count <= batch_size:
        raise ConfigError(f"--processes: {count}; allowed: 1 to batch_size, which is {batch_size}")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if here > 1 and torch.cuda.is_available() and here > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise ConfigError(f"--processes: {here}; allowed: 1 to {gpus}, the GPUs of this machine")
    if launched and sys.platform == "linux":
        # A launcher that is killed cannot end them, and two runs would write to one folder.
        ctypes.CDLL(None).prctl(PARENT_GONE, signal.SIGKILL)
    if launched or count == 1:
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *sys.argv[1:]])


def device() -> torch.device:
    """This process's: of several on GPUs each has the one of its own number."""
    if started() > 1 and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return devices.choose()


@dataclass(frozen=True)
class Part:
    """rows: of a batch, those of one process. share: its images over an even part's.

    The average over processes of their own means, each times its share, is the mean over the batch.
    """

    rows: slice
    share: float


def part_of(images: int, process: int, processes: int) -> Part:
    """What a process has of a batch: the images from its own number on, in steps of `processes`.

    One that is left without any has the first one, for nothing: all processes must take part.
    """
    rows = slice(process, None, processes)
    own = len(range(images)[rows])
    return Part(rows, own * processes / images) if own else Part(slice(1), 0.0)


class Alone:
    """One process, which has every batch whole and nobody to wait for."""

    count = 1
    main = True

    def prepare(self, model: nn.Module) -> None:
        """Nothing to do."""

    def part(self, batch: Tensor) -> Tensor:
        """All of it."""
        return batch

    def compute(self, model: nn.Module, images: Tensor) -> Any:
        """The model's output."""
        return model(images)

    def whole(self, mean: Tensor) -> Tensor:
        """As it is."""
        return mean

    def average(self, gradient: Tensor) -> Tensor:
        """As it is."""
        return gradient

    def gather(self, part: Tensor) -> Tensor:
        """As it is."""
        return part

    def agree(self, *modules: nn.Module | None) -> None:
        """Nobody to agree with."""


class Several:
    """One of several processes; `models.division.Division` for what it has of a batch.

    Every process has the loss of the whole batch, hence the gradients that come back to what was
    gathered are summed over processes; DistributedDataParallel averages them, once, at the weights.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        """accelerator: of all processes, already connected."""
        self.accelerator = accelerator
        self.count = accelerator.num_processes
        self.main = accelerator.is_main_process
        self._images = 0
        self._network: nn.Module | None = None

    @property
    def _part(self) -> Part:
        return part_of(self._images, self.accelerator.process_index, self.count)

    def prepare(self, model: nn.Module) -> None:
        """Let `compute` average gradients, and show the quantiser all latents while it trains."""
        self._network = self.accelerator.prepare(model)
        quantiser: nn.Module = model.quantiser  # type: ignore[assignment]
        quantiser.register_forward_pre_hook(self._all_latents)
        quantiser.register_forward_hook(self._own_vectors)

    def part(self, batch: Tensor) -> Tensor:
        """This process's images of a batch, (b, c, h, w); what follows is of this batch."""
        self._images = len(batch)
        return batch[self._part.rows]

    def compute(self, model: nn.Module, images: Tensor) -> Any:
        """The output of the model that was prepared, for a part's images."""
        assert self._network is not None, "prepare comes first"
        return self._network(images)

    def whole(self, mean: Tensor) -> Tensor:
        """The mean over the images of the batch, from that over the part; with a graph."""
        return _Average.apply(mean * self._part.share, self.accelerator)

    def average(self, gradient: Tensor) -> Tensor:
        """Over processes, without a graph."""
        return self.accelerator.reduce(gradient.contiguous(), "mean")

    def gather(self, part: Tensor) -> Tensor:
        """Values of all images of the batch, in its order, from those of the part; with a graph."""
        return _Gather.apply(part, self._images, self.accelerator)

    def agree(self, *modules: nn.Module | None) -> None:
        """Give all processes the main one's numbers: a GPU does not sum twice in the same order."""
        for module in modules:
            if module is not None:
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor.detach(), 0)

    def _all_latents(self, quantiser: nn.Module, latents: tuple[Tensor]) -> tuple[Tensor] | None:
        return (self.gather(latents[0]),) if quantiser.training else None

    def _own_vectors(self, quantiser: nn.Module, _: Any, found: Any) -> Any:
        """The vectors and codes of the part; losses and assignment stay those of the batch."""
        if not quantiser.training:
            return None
        rows = self._part.rows
        return replace(found, vectors=found.vectors[rows], codes=found.codes[rows])


Processes = Alone | Several
ALONE = Alone()


def join(own: torch.device) -> Processes:
    """Connect the processes that were started, this one on its device; alone there is no other."""
    if started() == 1:
        return ALONE
    # Half a second of imports, which most trainings do without.
    from accelerate import Accelerator

    # accelerate would take the first GPU of each process, not the one that it has.
    os.environ.setdefault("ACCELERATE_TORCH_DEVICE", str(own))
    return Several(Accelerator(cpu=own.type == "cpu", mixed_precision="no"))


class _Average(torch.autograd.Function):
    """The average over processes of a tensor of one shape, to each of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, accelerator: Accelerator) -> Tensor:
        ctx.accelerator = accelerator
        return accelerator.reduce(own, "mean")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.accelerator.reduce(gradient, "mean"), None


class _Gather(torch.autograd.Function):
    """Parts of a batch to the batch, in the order of `part_of`, to each process."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, images: int, accelerator: Accelerator) -> Tensor:
        ctx.accelerator, ctx.own = accelerator, len(part)
        processes = accelerator.num_processes
        longest = -(-images // processes)
        padded = F.pad(part, (0, 0) * (part.ndim - 1) + (0, longest - len(part)))
        found = accelerator.gather(padded).unflatten(0, (processes, longest))
        # Image i is number i // processes of process i % processes; padding comes last.
        return found.transpose(0, 1).flatten(0, 1)[:images]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        accelerator = ctx.accelerator
        total = accelerator.reduce(gradient.contiguous(), "sum")
        own = total[accelerator.process_index :: accelerator.num_processes]
        # A process without images of its own has one that leads nowhere.
        return F.pad(own, (0, 0) * (own.ndim - 1) + (0, ctx.own - len(own))), None, None
