"""The environment of jobs, and the GPUs of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from workflows.errors import ConfigError

# By default glibc returns large blocks to the system at once and requests them again at the next
# step. The page faults take 8 to 15 % of a training step, and a quarter at batch size 1024. These
# variables make glibc keep the blocks; other systems ignore them.
KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
# The variable that hands the setting `cells_per_gpu` to the processes of a run.
CELLS_PER_GPU = "CODEBOOK_CELLS_PER_GPU"


def environment_of_jobs(clone: Path, python: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of jobs that differ from the given ones.

    Jobs use the interpreter of Snakemake and the code of the clone, whatever PATH and the current
    folder are. Raises ConfigError if the path of the clone or of the interpreter has a colon.
    """
    for folder in (clone, python.parent):
        if os.pathsep in str(folder):
            raise ConfigError(
                f"{folder}: the name of a folder has '{os.pathsep}', which separates folders in "
                "PATH and PYTHONPATH; rename or move the folder"
            )

    def prepended(folder: Path, name: str) -> str:
        return os.pathsep.join(filter(None, (str(folder), given.get(name))))

    return {
        **KEEPS_MEMORY,
        "PATH": prepended(python.parent, "PATH"),
        "PYTHONPATH": prepended(clone, "PYTHONPATH"),
        # Keep Python from importing modules of the current folder, which may be another clone.
        "PYTHONSAFEPATH": "1",
        # Libraries name their caches by the user, who may have no entry in the password file.
        "USER": given.get("USER") or str(os.getuid()),
    }


def gpus_here(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """Return how many GPUs jobs on this machine may use, without loading torch.

    These are the GPUs in CUDA_VISIBLE_DEVICES, or all if the variable is not set. devices: the
    folder of device files.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(devices.glob("nvidia[0-9]*")))
    return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
