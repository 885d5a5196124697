"""Which device a process works on."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from pathlib import Path
from typing import IO

import torch

from workflows.schema import ConfigError

# Leases of this process, held open until it ends; the system then gives them back, come what may.
_HELD: list[IO[str]] = []


def choose(folder: Path | None = None) -> torch.device:
    """A GPU if there is one, the least busy if there are several, else the processor.

    Where CUDA_VISIBLE_DEVICES is set, a scheduler or the user has chosen already.
    folder: of the leases; by default one that all processes of this user on this machine share.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if gpus == 1 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return torch.device("cuda", 0)
    shared = Path(tempfile.gettempdir()) / f"codebook-gpus-{os.getuid()}"
    return torch.device("cuda", lease(gpus, folder or shared))


def lease(gpus: int, folder: Path) -> int:
    """A GPU in [0, gpus) that no more processes hold than any other; held until this one ends."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in itertools.count():
        for gpu in range(gpus):
            file = (folder / f"gpu{gpu}-{place}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _HELD.append(file)
            return gpu
    raise AssertionError("there is always another place")


def first_process() -> bool:
    """Whether this is the only process of a training, or the one of several that writes."""
    return os.environ.get("RANK", "0") == "0"


def out_of_memory(error: Exception) -> str:
    """What to tell whose training ran out of the machine's memory or a GPU's.

    Raises the error itself if it is of anything else.
    """
    said = " ".join(str(error).split())
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and (
        "can't allocate memory" not in said
    ):
        raise error
    return (
        f"out of memory ({said}); run again where more is free, or lower batch_size; a training "
        "goes on from its last whole epoch"
    )


def set_precision(precision: str, device: torch.device) -> None:
    """Let convolutions on a GPU use TF32 if `precision` is "tf32", and only then.

    Matrix products, the quantiser's distances, are never shortened: that gives latents other codes.
    Raises ConfigError for "tf32" on a processor, which has none.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision: tf32 needs a GPU; allowed on this machine: fp32, bf16")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False


def name(device: torch.device) -> str:
    """What results call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
