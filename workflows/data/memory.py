"""What is held in memory and what is read from its file: a matter of size, never of numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from workflows.data.registry import DataError

# Of the memory that is available, what one array may take: beside it are a model, other jobs and
# the system's cache of the very files that are read.
SHARE = 0.25
# GiB that an array may take instead, where the share is not what is wanted.
VARIABLE = "CODEBOOK_IN_MEMORY"
GIB = 2**30
MEMINFO = Path("/proc/meminfo")
# Limit and use of this process's control group, in versions 2 and 1: what a scheduler allows a job.
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available() -> int:
    """Bytes that this process could still take without others losing any, by the machine and by
    its control group.
    """
    free = [_of_machine()]
    for limit, used in GROUPS:
        try:
            free.append(int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):
            continue  # no such group, or one without a limit
    return max(0, min(free))


def _of_machine() -> int:
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def largest_held() -> int:
    """Bytes up to which an array is held in memory. Raises DataError for a bad variable."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return int(SHARE * available())
    try:
        size = float(wanted)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise DataError(f"{VARIABLE}={wanted}: must be a number of GiB, 0 or more")
    return int(size * GIB)


def hold(array: np.ndarray) -> np.ndarray:
    """A memory-mapped array, copied into memory if it is small enough, else as it is."""
    return np.array(array) if array.nbytes <= largest_held() else array


def gather(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`array[rows]`, read in the order of the file: rows in any order, each as often as wanted."""
    order = np.argsort(rows, kind="stable")
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    found[order] = array[rows[order]]
    return found
