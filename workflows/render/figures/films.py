"""A training's film as its cell's folder has it: codevectors among latents of two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from workflows.errors import ConfigError


@dataclass(frozen=True)
class Film:
    """step (F,), codebook (F, K, 2), latents (F, M, 2); counts (F, K): hits, of all latents."""

    step: np.ndarray
    codebook: np.ndarray
    latents: np.ndarray
    counts: np.ndarray

    @property
    def codes(self) -> int:
        """K."""
        return self.counts.shape[1]

    @property
    def counted(self) -> int:
        """The number of latents behind the counts of a frame."""
        return int(self.counts[0].sum())

    def frame(self, step: int) -> int:
        """The index of the last frame that is not later than a step."""
        return max(int(np.searchsorted(self.step, step, side="right")) - 1, 0)


def read(path: Path) -> Film:
    """Raises ConfigError naming a file that is damaged or lacks a tensor."""
    try:
        tensors = load_file(path)
        # In 32 bits, logarithms differ between processors by more than the digits that an SVG has.
        return Film(
            tensors["step"],
            tensors["codebook"].astype(np.float64),
            tensors["latents"].astype(np.float64),
            tensors["counts"],
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(f"{path}: damaged ({error})") from error
