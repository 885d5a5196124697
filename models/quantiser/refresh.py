"""Refresh: anchors, a blend and a schedule, which together reinitialise a codebook."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.quantiser.anchors import Anchors
from models.quantiser.blends import ReplaceDead, UsageDecay
from models.quantiser.interface import Assignment, Similarity
from models.streams import Purpose, generator

Schedule = Callable[[int], bool]
# With a smaller weight, (1 - weight) * old + weight * anchor equals `old` in float32.
NEGLIGIBLE = 1e-8


def every_step(step: int) -> bool:
    """Online: refresh at every training step."""
    return step >= 0


def first_batch(step: int) -> bool:
    """Offline: refresh on the first training batch and never again."""
    return step == 0


class Step(nn.Module):
    """How many training steps have passed.

    The number is part of the state dict, but stays off the GPU: it seeds draws and decides what
    happens, and reading it from a GPU would wait for all work of the GPU.
    """

    def __init__(self) -> None:
        """No step has passed."""
        super().__init__()
        self.passed = 0

    def get_extra_state(self) -> Tensor:
        """What the state dict holds."""
        return torch.tensor(self.passed)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number from a state dict."""
        self.passed = int(state)


class Refresh(nn.Module):
    """Equation 3: e_k <- (1 - alpha_k) e_k + alpha_k z_k.

    The anchor z_k comes from a sampler, the weight alpha_k from a blend, and a schedule says in
    which steps the codebook is refreshed.
    """

    def __init__(
        self, anchors: Anchors, blend: UsageDecay | ReplaceDead, schedule: Schedule, seed: int = 0
    ) -> None:
        """schedule: step, from 0 -> whether to refresh. seed: of the draws of anchors."""
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
            needed = _moving(weights)
            if len(needed):
                stream = generator(self.seed, Purpose.CODES, step, codebook.device)
                anchors = self.anchors(assignment.latents, codebook, needed, similarity, stream)
                codebook[needed] = torch.lerp(codebook[needed], anchors, weights[needed, None])
        self.step.passed += 1


def _moving(weights: Float[Tensor, " k"]) -> Int[Tensor, " m"]:
    """The codes that a blend moves, as indices; only they need an anchor.

    On a GPU all codes, because counting those that move would wait for the GPU.
    """
    if weights.device.type == "cpu":
        return torch.nonzero(weights > NEGLIGIBLE)[:, 0]
    return torch.arange(len(weights), device=weights.device)
