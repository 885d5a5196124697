"""Refresh: anchors, a blend and a schedule, which together reinitialise a codebook."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from models.quantiser.anchors import Anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment

Schedule = Callable[[int], bool]

# Below this weight, (1 - weight) * old + weight * anchor is `old` to float32 rounding (6e-8).
NEGLIGIBLE = 1e-8


def every_step(step: int) -> bool:
    """Online: refresh at every training step."""
    return step >= 0


def first_batch(step: int) -> bool:
    """Offline: refresh on the first training batch and never again."""
    return step == 0


def step_generator(seed: int, step: int, device: torch.device) -> Generator:
    """A generator that depends on seed and step alone, so that a resumed run draws the same."""
    return Generator(device).manual_seed(seed * 1_000_003 + step)


class Refresh(nn.Module):
    """Moves codevectors to their anchors: e = (1 - w) e + w z (paper, Equation 3)."""

    step: Tensor

    def __init__(
        self, anchors: Anchors, blend: UsageDecay | ReplaceDead, schedule: Schedule, seed: int = 0
    ) -> None:
        """anchors: a sampler. blend: gives w. schedule: step -> whether to move. seed: of draws."""
        super().__init__()
        self.anchors = anchors
        self.blend = blend
        self.schedule = schedule
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, codebook: Tensor, assignment: Assignment, similarity: Similarity) -> None:
        """Observe one batch and overwrite rows of `codebook`, shape (k, d), in place."""
        step = int(self.step)
        self.blend.observe(assignment.codes)
        if self.schedule(step):
            weights = self.blend.weights()
            needed = torch.nonzero(weights > NEGLIGIBLE)[:, 0]
            if len(needed):
                generator = step_generator(self.seed, step, codebook.device)
                anchors = self.anchors(assignment.latents, codebook, needed, similarity, generator)
                codebook[needed] = torch.lerp(codebook[needed], anchors, weights[needed, None])
        self.step += 1
