"""A film of a training: the codevectors among the latents of the same few images, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflows.training.loop import quantised, with_prefix

FRAMES = 32  # of a film, or a few less
LATENTS = 1500  # of a frame: more would hide the codevectors that lie among them
# A codebook changes most at the beginning: half of the frames are of this part of the training.
EARLY = 1 / 8


def moments(steps: int) -> frozenset[int]:
    """The steps that a film of `steps` steps shows, with 0 and the last.

    Half of them are spaced by equal factors over the first part, half evenly over the rest.
    """
    part = max(1.0, steps * EARLY)
    early = np.geomspace(1, part, FRAMES // 2)
    late = np.linspace(part, steps, FRAMES // 2 + 1)
    return frozenset({0, steps, *np.round([*early, *late]).astype(int).tolist()})


def picture(model: nn.Module, images: np.ndarray) -> dict[str, Tensor]:
    """codebook (K, D); latents (M, D), a fixed draw from those of `images`; counts (K,), over all.

    images: uint8 (n, c, h, w). Nothing of the model or of the global generators changes.
    """
    found = [one.assignment for one in quantised(model, images)]
    codes = torch.cat([one.codes for one in found])
    latents = torch.cat([one.latents for one in found])
    quantiser: Any = model.quantiser
    size = quantiser.codebook_size
    with torch.inference_mode():
        every = torch.arange(size, device=codes.device).view(1, size, 1)
        codebook = quantiser.decode(every)[0, :, :, 0].T
    drawn = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0))[:LATENTS]
    return {
        "codebook": codebook.float().cpu().contiguous(),
        "latents": latents[drawn.to(latents.device)].float().cpu(),
        "counts": torch.bincount(codes, minlength=size).int().cpu(),
    }


@dataclass(frozen=True)
class Film:
    """images: uint8 (n, c, h, w). moments: the steps to record. frames: by step, ascending."""

    images: np.ndarray
    moments: frozenset[int]
    frames: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Record the state after so many steps of the training, if it is one of the moments."""
        if step in self.moments:
            self.frames[step] = picture(model, self.images)

    def cut(self, last: int) -> None:
        """Drop the frames after step `last`."""
        for step in [step for step in self.frames if step > last]:
            del self.frames[step]

    def pack(self, prefix: str = "") -> dict[str, Tensor]:
        """step (F,), codebook (F, K, D), latents (F, M, D), counts (F, K); empty without frames."""
        if not self.frames:
            return {}
        frames = self.frames.values()
        packed = {"step": torch.tensor(list(self.frames), dtype=torch.int32)}
        for name in ("codebook", "latents", "counts"):
            packed[name] = torch.stack([frame[name] for frame in frames])
        return {prefix + name: value for name, value in packed.items()}

    def unpack(self, packed: Mapping[str, Tensor], prefix: str = "") -> None:
        """Take up the frames that `pack` gave, among other tensors."""
        kept = with_prefix(packed, prefix)
        for index, step in enumerate(kept.pop("step", torch.tensor([])).tolist()):
            self.frames[step] = {name: value[index] for name, value in kept.items()}
