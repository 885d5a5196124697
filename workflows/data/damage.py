"""Damage to a prepared dataset since it was checked."""

from __future__ import annotations

from pathlib import Path

from workflows.data.cache import verify

# Read and hashed in a second or two. What is larger was checked when the run began, and hashing
# hundreds of GB for every cell would cost more than it finds.
WHOLE = 1 << 31


def verify_small(folder: Path, part: str) -> None:
    """Read `train`, `test` or `labels` whole, if it is not large; DataError if it is not what was
    prepared.
    """
    file = folder / f"{part}.npy"
    if not file.exists() or file.stat().st_size <= WHOLE:
        verify(folder, (part,))
