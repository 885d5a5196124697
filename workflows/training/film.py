"""A film of a training: the codevectors among the latents of the same few images, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from workflows.training.stage1 import WATCHED_BATCH, normalise

FRAMES = 32  # of a film, or a few less
LATENTS = 1500  # of a frame: more would hide the codevectors that lie among them
# A codebook changes most at the beginning: half of the frames are of this part of the training.
EARLY = 1 / 8


def moments(steps: int) -> frozenset[int]:
    """The steps that a film of `steps` steps shows; 0, before any of them, and the last always.

    Half of them are spaced by equal factors over the first part, half evenly over the rest.
    """
    part = max(1.0, steps * EARLY)
    early = np.geomspace(1, part, FRAMES // 2)
    late = np.linspace(part, steps, FRAMES // 2 + 1)
    return frozenset({0, steps, *np.round([*early, *late]).astype(int).tolist()})


@torch.inference_mode()
def picture(model: nn.Module, images: np.ndarray, device: torch.device) -> dict[str, Tensor]:
    """codebook (K, D); latents (M, D), a fixed draw from those of `images`; counts (K,), over all.

    images: uint8 (n, c, h, w). The model is in evaluation mode meanwhile, and nothing of it or of
    the global generators changes.
    """
    training = model.training
    model.eval()
    quantiser = model.quantiser
    size: int = quantiser.codebook_size  # type: ignore[union-attr, assignment]
    counts = torch.zeros(size, dtype=torch.long, device=device)
    parts = []
    for start in range(0, len(images), WATCHED_BATCH):
        batch = normalise(images[start : start + WATCHED_BATCH], device)
        found = model.quantise(batch).assignment  # type: ignore[operator]
        counts += torch.bincount(found.codes, minlength=size)
        parts.append(found.latents)
    latents = torch.cat(parts)
    drawn = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0))[:LATENTS]
    every = torch.arange(size, device=device).view(1, size, 1)
    codebook = quantiser.decode(every)[0, :, :, 0].T  # type: ignore[operator, union-attr]
    model.train(training)
    return {
        "codebook": codebook.float().cpu().contiguous(),
        "latents": latents[drawn.to(device)].float().cpu(),
        "counts": counts.int().cpu(),
    }


@dataclass(frozen=True)
class Film:
    """images: uint8 (n, c, h, w), what is watched. moments: the steps to record; none, no film."""

    model: nn.Module
    images: np.ndarray
    moments: frozenset[int]
    device: torch.device
    frames: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def after_step(self, step: int) -> None:
        """Record the state after so many steps of the training, if it is one of the moments."""
        if step in self.moments:
            self.frames[step] = picture(self.model, self.images, self.device)

    def pack(self, last: int, prefix: str = "") -> dict[str, Tensor]:
        """Up to step `last`: step (F,), codebook (F, K, D), latents (F, M, D), counts (F, K).

        prefix: of these names. Empty if there is no frame.
        """
        kept = {step: self.frames[step] for step in sorted(self.frames) if step <= last}
        if not kept:
            return {}
        stacked = {
            prefix + name: torch.stack([frame[name] for frame in kept.values()])
            for name in next(iter(kept.values()))
        }
        return {prefix + "step": torch.tensor(list(kept), dtype=torch.int32), **stacked}

    def unpack(self, packed: Mapping[str, Tensor], prefix: str = "") -> None:
        """Take up the frames that `pack` gave, among other tensors."""
        step = prefix + "step"
        names = [name for name in packed if name.startswith(prefix) and name != step]
        for index, at in enumerate(packed[step].tolist() if step in packed else []):
            self.frames[at] = {name.removeprefix(prefix): packed[name][index] for name in names}
