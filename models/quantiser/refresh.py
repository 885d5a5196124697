"""The refresh of CVQ-VAE (paper, section 3.2): anchors, a blend and a schedule move codevectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.quantiser.anchors import Anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment
from models.streams import Purpose, generator

# Takes the number of a training step, from 0. Returns whether to refresh in this step.
Schedule = Callable[[int], bool]
# In float32 a weight below this changes a codevector by rounding errors alone, if at all.
NEGLIGIBLE = 1e-8


def every_step(step: int) -> bool:
    """Online: refresh at every training step."""
    return True


def first_batch(step: int) -> bool:
    """Offline: refresh on the first training batch and never again."""
    return step == 0


class Step(nn.Module):
    """The number of training steps that have passed.

    The number is part of the state dict but never on a GPU. It seeds draws and decides what
    happens, and reading a number from a GPU waits until the GPU has finished all its work.
    """

    def __init__(self) -> None:
        """Start at 0."""
        super().__init__()
        self.passed = 0

    def get_extra_state(self) -> Tensor:
        """Return the number for the state dict."""
        return torch.tensor(self.passed)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number from a state dict."""
        self.passed = int(state)


class Refresh(nn.Module):
    """Equation 3 of the paper: e_k <- (1 - alpha_k) e_k + alpha_k z_k.

    A sampler gives the anchor z_k, a blend gives the weight alpha_k, and a schedule says in which
    steps the codebook is refreshed.
    """

    def __init__(
        self, anchors: Anchors, blend: UsageDecay | ReplaceDead, schedule: Schedule, seed: int = 0
    ) -> None:
        """seed: of the random draws of anchors."""
        super().__init__()
        self.anchors = anchors
        self.blend = blend
        self.schedule = schedule
        self.seed = seed
        self.step = Step()

    @torch.no_grad()
    def update(
        self, codebook: Float[Tensor, "k d"], assignment: Assignment, similarity: Similarity
    ) -> None:
        """Observe one batch and overwrite rows of the codebook in place."""
        step = self.step.passed
        self.blend.observe(assignment.codes)
        if self.schedule(step):
            weights = self.blend.weights()
            moving = _moving(weights)
            if len(moving):
                stream = generator(self.seed, Purpose.CODES, step, codebook.device)
                anchors = self.anchors(assignment.latents, codebook, moving, similarity, stream)
                codebook[moving] = torch.lerp(codebook[moving], anchors, weights[moving, None])
        self.step.passed += 1


def _moving(weights: Float[Tensor, " k"]) -> Int[Tensor, " m"]:
    """Return the codes that the blend moves, as indices; only these codes need an anchor.

    On a GPU, return all codes, because counting the moving codes would wait for the GPU.
    """
    if weights.device.type == "cpu":
        return torch.nonzero(weights > NEGLIGIBLE)[:, 0]
    return torch.arange(len(weights), device=weights.device)
