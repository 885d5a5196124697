"""A film of a training: the codevectors among the latents of the same few images, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from workflows.training.loop import evaluating, normalise

WATCHED_BATCH = 50  # images at a time
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


def picture(model: nn.Module, images: np.ndarray) -> dict[str, Tensor]:
    """codebook (K, D); latents (M, D), a fixed draw from those of `images`; counts (K,), over all.

    images: uint8 (n, c, h, w). Nothing of the model or of the global generators changes.
    """
    device = next(model.parameters()).device
    quantiser = model.quantiser
    size: int = quantiser.codebook_size  # type: ignore[union-attr, assignment]
    counts = torch.zeros(size, dtype=torch.long, device=device)
    parts = []
    with evaluating(model):
        for start in range(0, len(images), WATCHED_BATCH):
            batch = normalise(images[start : start + WATCHED_BATCH], device)
            found = model.quantise(batch).assignment  # type: ignore[operator]
            counts += torch.bincount(found.codes, minlength=size)
            parts.append(found.latents)
        latents = torch.cat(parts)
        every = torch.arange(size, device=device).view(1, size, 1)
        codebook = quantiser.decode(every)[0, :, :, 0].T  # type: ignore[operator, union-attr]
    drawn = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0))[:LATENTS]
    return {
        "codebook": codebook.float().cpu().contiguous(),
        "latents": latents[drawn.to(device)].float().cpu(),
        "counts": counts.int().cpu(),
    }


@dataclass(frozen=True)
class Film:
    """images: uint8 (n, c, h, w), what is watched. moments: the steps to record. frames: by step,
    ascending.
    """

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
        """step (F,), codebook (F, K, D), latents (F, M, D), counts (F, K). prefix: of their names.

        Empty if there is no frame.
        """
        if not self.frames:
            return {}
        frames = self.frames.values()
        packed = {"step": torch.tensor(list(self.frames), dtype=torch.int32)}
        for name in ("codebook", "latents", "counts"):
            packed[name] = torch.stack([frame[name] for frame in frames])
        return {prefix + name: value for name, value in packed.items()}

    def unpack(self, packed: Mapping[str, Tensor], prefix: str = "") -> None:
        """Take up the frames that `pack` gave, among other tensors."""
        kept = {n.removeprefix(prefix): v for n, v in packed.items() if n.startswith(prefix)}
        for index, step in enumerate(kept.pop("step", torch.tensor([])).tolist()):
            self.frames[step] = {name: value[index] for name, value in kept.items()}
