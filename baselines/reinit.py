"""Reinitialisation rules of earlier work, compared with the running average in the paper.

"Hard encoded features" (Jukebox) is `Refresh(unique, ReplaceDead, every_step)`; "near codevectors"
(hierarchical quantised autoencoders) moves a code to another codevector, not to a latent, and so
has its own rule here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.quantiser import kernels
from models.quantiser.interface import Assignment, Similarity
from models.quantiser.refresh import Step
from models.streams import Purpose, generator


class NearCodevectors(nn.Module):
    """Every 20 steps, the least used code moves beside the most used one if it lags far behind.

    Counts run over the steps since the last check. If least / most < 0.03, the least used code
    becomes the most used codevector plus 0.01 N(0, 1) a coordinate; at most one code a check.
    Counts then start anew whether or not a code moved.
    """

    count: Tensor

    def __init__(
        self,
        codebook_size: int,
        interval: int = 20,
        threshold: float = 0.03,
        noise: float = 0.01,
        seed: int = 0,
    ) -> None:
        """interval: steps a check. threshold: least / most. noise: standard deviation."""
        super().__init__()
        self.interval = interval
        self.threshold = threshold
        self.noise = noise
        self.seed = seed
        self.register_buffer("count", torch.zeros(codebook_size, dtype=torch.long))
        self.step = Step()

    @torch.no_grad()
    def update(self, codebook: Tensor, assignment: Assignment, _: Similarity) -> None:
        """Observe one batch; at a check, overwrite at most one row of `codebook`, (k, d)."""
        self.count += kernels.count(assignment.codes, len(self.count))
        self.step.passed += 1
        step = self.step.passed
        if step % self.interval:
            return
        least, most = self.count.argmin(), self.count.argmax()
        if self.count[least] < self.threshold * self.count[most]:
            stream = generator(self.seed, Purpose.CODES, step, codebook.device)
            noise = torch.randn(codebook.shape[1], generator=stream, device=codebook.device)
            codebook[least] = codebook[most] + self.noise * noise
        self.count.zero_()
