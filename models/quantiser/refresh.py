"""Refresh: anchors, a blend and a schedule, which together reinitialise a codebook."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.quantiser.anchors import Anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment
from models.streams import Purpose, generator

Schedule = Callable[[int], bool]

# Below this weight, (1 - weight) * old + weight * anchor is `old` to float32 rounding (6e-8).
NEGLIGIBLE = 1e-8


def every_step(step: int) -> bool:
    """Online: refresh at every training step."""
    return step >= 0


def first_batch(step: int) -> bool:
    """Offline: refresh on the first training batch and never again."""
    return step == 0


class Step(nn.Module):
    """How many training steps have passed; state like any, but never on a GPU.

    It seeds draws and decides what happens, and to read it from a GPU would wait for all its work.
    """

    def __init__(self) -> None:
        """No step has passed."""
        super().__init__()
        self.passed = 0

    def get_extra_state(self) -> Tensor:
        """For the state dict."""
        return torch.tensor(self.passed)

    def set_extra_state(self, state: Tensor) -> None:
        """From the state dict."""
        self.passed = int(state)


class Refresh(nn.Module):
    """Moves codevectors to their anchors: e = (1 - w) e + w z (paper, Equation 3)."""

    def __init__(
        self, anchors: Anchors, blend: UsageDecay | ReplaceDead, schedule: Schedule, seed: int = 0
    ) -> None:
        """anchors: a sampler. blend: gives w. schedule: step -> whether to move. seed: of draws."""
        super().__init__()
        self.anchors = anchors
        self.blend = blend
        self.schedule = schedule
        self.seed = seed
        self.step = Step()

    @torch.no_grad()
    def update(self, codebook: Tensor, assignment: Assignment, similarity: Similarity) -> None:
        """Observe one batch and overwrite rows of `codebook`, shape (k, d), in place."""
        step = self.step.passed
        self.blend.observe(assignment.codes)
        if self.schedule(step):
            weights = self.blend.weights()
            needed = _needed(weights)
            if len(needed):
                stream = generator(self.seed, Purpose.CODES, step, codebook.device)
                anchors = self.anchors(assignment.latents, codebook, needed, similarity, stream)
                codebook[needed] = torch.lerp(codebook[needed], anchors, weights[needed, None])
        self.step.passed += 1


def _needed(weights: Tensor) -> Tensor:
    """The codes that move. On a GPU all of them: counting them would wait for it, and an anchor of
    negligible weight changes nothing.
    """
    if weights.device.type == "cpu":
        return torch.nonzero(weights > NEGLIGIBLE)[:, 0]
    return torch.arange(len(weights), device=weights.device)
