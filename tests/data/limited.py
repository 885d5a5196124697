"""Processes that may take only so much memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Such a process may take so much beside what it has when its work begins. The mapped files that it
# works on have several times as many bytes.
LIMIT = """
import resource
from pathlib import Path
def limit(megabytes):
    used = next(line for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmData"))
    size = int(used.split()[1]) * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
"""
linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux limits the memory of a process"
)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", LIMIT + code, *map(str, arguments)],
        cwd=ROOT,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
