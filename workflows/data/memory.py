"""Whether an array is held in memory or read from its file, which changes no number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from workflows.errors import ConfigError

# The share of the available memory that one array may take. The rest is for the model, other jobs
# and the system's cache of the files that are read.
SHARE = 0.25
# Names how many GiB an array may take, in place of the share.
VARIABLE = "CODEBOOK_IN_MEMORY"
MEMINFO = Path("/proc/meminfo")
# Limit and use of this process's control group, by which schedulers limit jobs.
GROUP = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available() -> int:
    """Bytes that this process could still take, of the machine or of its control group."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit, used = (int(file.read_text("utf-8")) for file in GROUP)
    except (OSError, ValueError):
        return free  # no such group, or one without a limit
    return max(0, min(free, limit - used))


def largest_held() -> int:
    """Bytes up to which an array is held in memory. Raises ConfigError for a bad variable."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return int(SHARE * available())
    try:
        size = float(wanted)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise ConfigError(f"{VARIABLE}={wanted}: must be a number of GiB, 0 or more")
    return int(size * 2**30)


def hold(array: np.ndarray) -> np.ndarray:
    """Copy a memory-mapped array into memory if it is small enough; else return it as it is."""
    return np.array(array) if array.nbytes <= largest_held() else array


def gather(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`array[rows]`, read in the order of the file. Rows may come in any order and repeat."""
    order = np.argsort(rows, kind="stable")
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    found[order] = array[rows[order]]
    return found
