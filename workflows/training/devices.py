"""The device that a process computes on, and how much of its memory the process may take."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from workflows.config.machine import CELLS_PER_GPU
from workflows.data.memory import available
from workflows.errors import BenchmarkError, ConfigError
from workflows.files import hold_lock

# This process's locks on GPUs, held until the process ends.
_HELD = ExitStack()


def prepare(precision: str = "fp32") -> torch.device:
    """Choose the device of this process, and set how torch computes on this device."""
    device = choose()
    set_precision(precision, device)
    return device


def choose(folder: Path | None = None) -> torch.device:
    """Return the least busy GPU that this process may use, or the processor if there is no GPU.

    folder: of the lock files; by default one that all processes of this user on this machine share.
    A process that torchrun started gets the GPU of its own number.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank = os.environ.get("LOCAL_RANK")
    numbers = range(torch.cuda.device_count()) if rank is None else [int(rank)]
    shared_folder = Path(tempfile.gettempdir()) / f"codebook-gpus-{os.getuid()}"
    return torch.device("cuda", lease(numbers, folder or shared_folder))


def lease(numbers: Sequence[int], folder: Path) -> int:
    """Return the number of a GPU that the fewest processes hold.

    This process holds the GPU until it ends. Each GPU has numbered places, each with a lock file.
    The first places of all GPUs are taken before the second place of any.
    """
    for place in itertools.count():
        for number in numbers:
            with suppress(BlockingIOError):
                _HELD.enter_context(hold_lock(folder / f"{number}.{place}"))
                return number
    raise AssertionError("there is always another place")


def set_precision(precision: str, device: torch.device) -> None:
    """Let convolutions on a GPU use TF32 if `precision` is "tf32", and only then.

    Matrix products never use TF32: they give the quantiser's distances, so some latents would get
    another code. Raises ConfigError for "tf32" on a processor, which has no TF32.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision: tf32 needs a GPU; allowed on this machine: fp32, bf16")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process may take of the machine's memory or of a new GPU's.

    Cells that start on one GPU at the same time all see the same free memory, so each is limited to
    its share of the whole.
    """
    if device.type != "cuda":
        return available()
    free, total = torch.cuda.mem_get_info(device)
    return min(free, total // int(os.environ.get(CELLS_PER_GPU, "1")))


def name(device: torch.device) -> str:
    """Return the name of a device for records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"


def command(run: Callable[..., None]) -> Callable[..., None]:
    """Wrap `run`, a step on a cell: set torch's threads first, and explain a lack of memory."""

    def run_with_threads(cell: Path, threads: int, **options: Any) -> None:
        torch.set_num_threads(threads)
        with memory_explained(cell):
            run(cell, **options)

    return run_with_threads


@contextmanager
def memory_explained(folder: Path) -> Iterator[None]:
    """Turn a lack of memory into a BenchmarkError, which names the cell's folder and the remedy.

    Other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = " ".join(str(error).split())
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not out_of_memory and "can't allocate memory" not in message:
            raise
        raise BenchmarkError(
            f"{folder}: out of memory ({message}); run again where more is free, or lower "
            "batch_size; a training goes on from its last whole epoch"
        ) from error
