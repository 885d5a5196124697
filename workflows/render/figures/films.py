"""A training's film as its cell's folder has it: codevectors among latents of two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from workflows.errors import ConfigError

# Tensor -> its axes: F frames, K codes, M latents.
AXES = {
    "step": ("F",),
    "codebook": ("F", "K", "2"),
    "latents": ("F", "M", "2"),
    "counts": ("F", "K"),
}


@dataclass(frozen=True)
class Frame:
    """codebook (K, 2) and latents (M, 2) after `step` steps; used (K,): whether a code is hit."""

    step: int
    codebook: np.ndarray
    latents: np.ndarray
    used: np.ndarray


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

    @property
    def used(self) -> np.ndarray:
        """Codes that are hit, a number for each frame."""
        return (self.counts > 0).sum(1)

    def at(self, step: int) -> Frame:
        """The last frame that is not later than a step."""
        index = max(int(np.searchsorted(self.step, step, side="right")) - 1, 0)
        return Frame(
            int(self.step[index]),
            self.codebook[index],
            self.latents[index],
            self.counts[index] > 0,
        )


def read(path: Path) -> Film:
    """Raises ConfigError naming the file, and the tensor that is missing or of another shape."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: damaged ({error})") from error
    sizes = {"2": 2}
    for name, axes in AXES.items():
        if name not in tensors:
            raise ConfigError(f"{path}: {name} is missing")
        shape = tensors[name].shape
        known = tuple(sizes.get(axis, size) for axis, size in zip(axes, shape, strict=False))
        if len(shape) != len(axes) or shape != known or 0 in shape:
            raise ConfigError(f"{path}: {name}: shape {shape} is not ({', '.join(axes)})")
        sizes |= dict(zip(axes, shape, strict=True))
    return Film(**{name: tensors[name] for name in AXES})
