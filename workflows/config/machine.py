"""What jobs need to know of the machine: their environment, and how many GPUs there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from workflows.errors import ConfigError

# glibc gives large blocks back to the system at once and takes them again at the next step: half
# a million page faults an epoch, 8 to 15 % of a training step, a quarter at batch 1024. Read when a
# process starts; other systems ignore these.
KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
# The variable that tells the processes of a run its setting `cells_per_gpu`.
CELLS_PER_GPU = "CODEBOOK_CELLS_PER_GPU"


def environment_of_jobs(clone: Path, python: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The variables by which the jobs of a run differ from the given ones.

    Jobs run with the interpreter that runs Snakemake and with the code of the clone, whatever is
    first on PATH and whatever folder Snakemake was started in. Raises ConfigError for a clone or an
    interpreter in a folder whose name has a colon.
    """
    for folder in (clone, python.parent):
        if os.pathsep in str(folder):
            raise ConfigError(
                f"{folder}: the name of a folder has '{os.pathsep}', which separates folders in "
                "PATH and PYTHONPATH; rename or move the folder"
            )

    def first_in(name: str, folder: Path) -> str:
        return os.pathsep.join(filter(None, (str(folder), given.get(name))))

    return {
        **KEEPS_MEMORY,
        "PATH": first_in("PATH", python.parent),
        "PYTHONPATH": first_in("PYTHONPATH", clone),
        # Python would look for modules in the present folder first, which may be another clone.
        "PYTHONSAFEPATH": "1",
        # Libraries name their caches by the user, who may have no entry in the password file.
        "USER": given.get("USER") or str(os.getuid()),
    }


def gpus_here(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many GPUs jobs on this machine may use: those in CUDA_VISIBLE_DEVICES, or else all.

    devices: the folder of device files. This needs no torch, which Snakemake should not wait for.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(devices.glob("nvidia[0-9]*")))
    return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
