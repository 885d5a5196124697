"""The device that a process works on, and how much of its memory the process may take."""

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
from workflows.files import claim

# Lock files of this process, which are held until it ends.
_HELD = ExitStack()


def choose(folder: Path | None = None) -> torch.device:
    """The least busy of the GPUs that this process may use, or the processor if there is none.

    folder: of the lock files; by default all processes of this user on this machine share one. Each
    process that torchrun started gets the GPU of its own number.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    numbers = range(torch.cuda.device_count())
    if "LOCAL_RANK" in os.environ:
        numbers = range(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_RANK"]) + 1)
    shared = Path(tempfile.gettempdir()) / f"codebook-gpus-{os.getuid()}"
    return torch.device("cuda", lease(numbers, folder or shared))


def prepare(precision: str = "fp32") -> torch.device:
    """Choose the device of this process, and set how torch computes there."""
    device = choose()
    set_precision(precision, device)
    return device


def command(run: Callable[..., None]) -> Callable[..., None]:
    """A step on one cell as a command: with so many threads, and a lack of memory explained."""

    def called(cell: Path, threads: int, **options: Any) -> None:
        torch.set_num_threads(threads)
        with memory_explained(cell):
            run(cell, **options)

    return called


def lease(numbers: Sequence[int], folder: Path) -> int:
    """One of the GPUs that no more processes hold than any other, held until this process ends.

    There is one lock file for each GPU and place: the first places of all GPUs are taken before the
    second place of any.
    """
    for place in itertools.count():
        for number in numbers:
            with suppress(BlockingIOError):
                _HELD.enter_context(claim(folder / f"{number}.{place}"))
                return number
    raise AssertionError("there is always another place")


def free_memory(device: torch.device) -> int:
    """Bytes that this process may take of the machine's memory, or of a GPU that it has just begun
    to use.

    Cells that share a GPU and start at the same time all see the same free memory, so each is
    limited to its part of the whole.
    """
    if device.type != "cuda":
        return available()
    free, total = torch.cuda.mem_get_info(device)
    return min(free, total // int(os.environ.get(CELLS_PER_GPU, "1")))


@contextmanager
def memory_explained(folder: Path) -> Iterator[None]:
    """Turn a lack of memory into a BenchmarkError, which names the cell's folder and says what to
    do; other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = " ".join(str(error).split())
        lacking = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not lacking and "can't allocate memory" not in said:
            raise
        raise BenchmarkError(
            f"{folder}: out of memory ({said}); run again where more is free, or lower batch_size; "
            "a training goes on from its last whole epoch"
        ) from error


def set_precision(precision: str, device: torch.device) -> None:
    """Let convolutions on a GPU use TF32 if `precision` is "tf32", and only then.

    Matrix products, which the quantiser's distances are made of, never use TF32: it would give some
    latents another code. Raises ConfigError for "tf32" on a processor, which has no TF32.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision: tf32 needs a GPU; allowed on this machine: fp32, bf16")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False


def name(device: torch.device) -> str:
    """The name of a device in results."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
