"""Reinitialisation rules of earlier work, compared with the running average in the paper.

"Hard encoded features" (Jukebox) is `Refresh(unique, ReplaceDead, every_step)`. "Near codevectors"
(hierarchical quantised autoencoders) moves a code to another codevector and not to a latent, so
this file has a rule for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.quantiser.interface import Assignment, Similarity
from models.quantiser.refresh import Step
from models.quantiser.search import count
from models.streams import Purpose, generator


class NearCodevectors(nn.Module):
    """Every 20 steps, a code that is hardly used moves next to the most used one.

    Codes are counted since the last check. If least / most < 0.03, the least used codevector
    becomes the most used one plus 0.01 N(0, 1) for each coordinate. A check moves one code at most,
    and counts then start again.
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
        """interval: steps between checks. threshold: of least / most. noise: standard deviation."""
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
        self.count += count(assignment.codes, len(self.count))
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
