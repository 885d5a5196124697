"""What jobs need to know of the machine: how to keep memory, and how many GPUs there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# glibc gives large blocks back to the system at once and takes them again at the next step: half
# a million page faults an epoch, 8 to 15 % of a training step, a quarter at batch 1024. Read when a
# process starts; other systems ignore these.
KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
# The variable that tells the processes of a run its setting `cells_per_gpu`.
CELLS_PER_GPU = "CODEBOOK_CELLS_PER_GPU"


def gpus_here(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many GPUs jobs on this machine may use: those in CUDA_VISIBLE_DEVICES, or else all.

    devices: the folder of device files. This needs no torch, which Snakemake should not wait for.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(devices.glob("nvidia[0-9]*")))
    return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
