"""Decide whether an array is copied into memory or read from its file. No number depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from workflows.errors import ConfigError

# The share of the available memory that one array may take. The rest is left for the model, for
# other jobs and for the system's cache of files.
SHARE = 0.25
# The environment variable that says how many GiB an array may take, in place of the share.
VARIABLE = "CODEBOOK_IN_MEMORY"
MEMINFO = Path("/proc/meminfo")
# The memory limit and memory use of this process's control group, with which schedulers limit jobs.
GROUP = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available() -> int:
    """Return how many bytes the machine, and this process's control group, still have free."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit, used = (int(file.read_text("utf-8")) for file in GROUP)
    except (OSError, ValueError):
        return free  # There is no such group, or the group has no limit.
    return max(0, min(free, limit - used))


def largest_held() -> int:
    """Return the size in bytes up to which an array is copied into memory.

    Raises ConfigError if CODEBOOK_IN_MEMORY is not a number of GiB.
    """
    gibibytes = os.environ.get(VARIABLE)
    if gibibytes is None:
        return int(SHARE * available())
    try:
        size = float(gibibytes)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise ConfigError(f"{VARIABLE}={gibibytes}: must be a number of GiB, 0 or more")
    return int(size * 2**30)


def hold(array: np.ndarray) -> np.ndarray:
    """Copy a memory-mapped array into memory if it is small enough; else return it unchanged."""
    return np.array(array) if array.nbytes <= largest_held() else array


def gather(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `array[rows]`, read in the order of the file. Rows may be unordered and repeat."""
    order = np.argsort(rows, kind="stable")
    gathered = np.empty((len(rows), *array.shape[1:]), array.dtype)
    gathered[order] = array[rows[order]]
    return gathered
