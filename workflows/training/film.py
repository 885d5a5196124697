"""A film of a training: the codevectors among the latents of the same few images, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflows.training.loop import quantise_batches, with_prefix

# A film has about this many frames; a short training has fewer.
FRAMES = 32
# More latents in a frame would hide the codevectors among them.
LATENTS = 1500
# Half of the frames show this first part of the training, in which a codebook changes most.
EARLY = 1 / 8


def moments(steps: int) -> frozenset[int]:
    """Return the steps that a film of a training of `steps` steps shows, with the first and last.

    Half of them are spaced by equal factors over the early part, the others evenly over the rest.
    """
    early_steps = max(1.0, steps * EARLY)
    early = np.geomspace(1, early_steps, FRAMES // 2)
    late = np.linspace(early_steps, steps, FRAMES // 2 + 1)
    return frozenset({0, steps, *np.round([*early, *late]).astype(int).tolist()})


def take_frame(model: nn.Module, images: np.ndarray) -> dict[str, Tensor]:
    """Return codebook (K, D), some latents (M, D) and the counts (K,) of all codes.

    images: uint8 (n, c, h, w). The latents are drawn alike in every frame. Neither the model nor a
    global generator changes.
    """
    assignments = [batch.assignment for batch in quantise_batches(model, images)]
    codes = torch.cat([assignment.codes for assignment in assignments])
    latents = torch.cat([assignment.latents for assignment in assignments])
    quantiser: Any = model.quantiser
    size = quantiser.codebook_size
    with torch.inference_mode():
        all_codes = torch.arange(size, device=codes.device).view(1, size, 1)
        codebook = quantiser.decode(all_codes)[0, :, :, 0].T
    rows = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0))[:LATENTS]
    return {
        "codebook": codebook.float().cpu().contiguous(),
        "latents": latents[rows.to(latents.device)].float().cpu(),
        "counts": torch.bincount(codes, minlength=size).int().cpu(),
    }


@dataclass(frozen=True)
class Film:
    """images: uint8 (n, c, h, w). moments: the steps to record. frames: by step, ascending."""

    images: np.ndarray
    moments: frozenset[int]
    frames: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Record a frame if `step`, counted from the start of the training, is a moment."""
        if step in self.moments:
            self.frames[step] = take_frame(model, self.images)

    def cut(self, last: int) -> None:
        """Drop the frames after step `last`."""
        for step in [step for step in self.frames if step > last]:
            del self.frames[step]

    def pack(self, prefix: str = "") -> dict[str, Tensor]:
        """Return all frames F: step (F,), codebook (F, K, D), latents (F, M, D), counts (F, K).

        prefix: of the names.
        """
        packed = {prefix + "step": torch.tensor(list(self.frames), dtype=torch.int32)}
        for name in ("codebook", "latents", "counts"):
            packed[prefix + name] = torch.stack([frame[name] for frame in self.frames.values()])
        return packed

    def unpack(self, packed: Mapping[str, Tensor], prefix: str) -> None:
        """Add the frames that `pack` returned; tensors without the prefix are ignored."""
        stacked = with_prefix(packed, prefix)
        for index, step in enumerate(stacked.pop("step").tolist()):
            self.frames[step] = {name: value[index] for name, value in stacked.items()}
