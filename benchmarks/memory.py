"""Peak extra memory, in MiB, of one step of a quantiser of 16,384 codes; Linux alone.

A process of its own, because a peak belongs to a process's whole life.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from benchmarks.quantiser import batch, ours, run_ours

STATUS = Path("/proc/self/status")


def _mebibytes(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None, field
    return int(found.group(1)) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    quantiser, latents = ours(16_384), batch(0)
    upstream = torch.ones_like(latents)
    # A small step first, so that libraries are loaded and not counted.
    run_ours(ours(16), latents[:2], upstream[:2])
    before = _mebibytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run_ours(quantiser, latents, upstream)
    print(round(_mebibytes("VmHWM") - before, 1))
