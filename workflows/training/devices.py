"""The device that a process works on, and how much of its memory the process may take."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from workflows.config.machine import CELLS_PER_GPU
from workflows.data.memory import available
from workflows.errors import BenchmarkError, ConfigError

# Lock files of this process. The system releases the locks when the process ends, however it ends.
_HELD: list[IO[str]] = []


def choose(folder: Path | None = None) -> torch.device:
    """The least busy of the GPUs that this process may use, or the processor if there is none.

    folder: where the lock files are; by default all processes of this user on this machine share a
    folder. Each process that torchrun started gets the GPU of its own number.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    names = visible(torch.cuda.device_count(), os.environ)
    if "LOCAL_RANK" in os.environ:
        number = int(os.environ["LOCAL_RANK"])
        names = {number: names[number]}
    shared = Path(tempfile.gettempdir()) / f"codebook-gpus-{os.getuid()}"
    return torch.device("cuda", lease(names, folder or shared))


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


def visible(count: int, environment: Mapping[str, str]) -> dict[int, str]:
    """torch's number of each GPU -> its name on this machine.

    torch numbers only the GPUs in CUDA_VISIBLE_DEVICES, from 0 on. Two processes that see different
    GPUs must not take them for the same ones.
    """
    listed = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    names = listed if any(listed) else [str(number) for number in range(count)]
    return dict(zip(range(count), names, strict=False))


def lease(names: Mapping[int, str], folder: Path) -> int:
    """The number of a GPU that no more processes hold than any other, held until this one ends.

    names: of the GPUs to choose from, by number. There is one lock file for each GPU and place: the
    first places of all GPUs are taken before the second place of any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in itertools.count():
        for number, name in names.items():
            file = (folder / f"{name}.{place}").open("w", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _HELD.append(file)
            return number
    raise AssertionError("there is always another place")


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take, on a GPU or of the machine's memory."""
    if device.type != "cuda":
        return available()
    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_allocated(device)
    # torch keeps memory that it no longer needs, and the driver counts this memory as used. A
    # process that no run started may take a whole GPU.
    unused = torch.cuda.memory_reserved(device) - own
    return share_of_memory(free + unused, total, own, int(os.environ.get(CELLS_PER_GPU, "1")))


def share_of_memory(free: int, total: int, own: int, cells: int) -> int:
    """Bytes that one of `cells` processes may still take of a GPU.

    free: bytes that nobody holds now. own: bytes that this process holds. Cells that start at the
    same time all see the same free memory, so each is limited to its part of the total.
    """
    return max(0, min(free, total // cells - own))


@contextmanager
def memory_explained(folder: Path) -> Iterator[None]:
    """Turn a lack of memory, of the machine or of a GPU, into a message for users.

    folder: of the cell, which the message names. Raises BenchmarkError; other errors pass.
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
