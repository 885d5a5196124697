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

# Steps between checks, the least use relative to the most, and a standard deviation.
INTERVAL, THRESHOLD, NOISE = 20, 0.03, 0.01


class NearCodevectors(nn.Module):
    """Every INTERVAL steps, a code that is hardly used moves next to the most used one.

    Codes are counted since the last check. If least / most < THRESHOLD, the least used codevector
    becomes the most used one plus NOISE N(0, 1) for each coordinate. A check moves one code at
    most, and counts then start again.
    """

    count: Tensor

    def __init__(self, codebook_size: int, seed: int) -> None:
        """codebook_size: K. seed: of the noise."""
        super().__init__()
        self.seed = seed
        self.register_buffer("count", torch.zeros(codebook_size, dtype=torch.long))
        self.step = Step()

    @torch.no_grad()
    def update(self, codebook: Tensor, assignment: Assignment, _: Similarity) -> None:
        """Observe one batch; at a check, overwrite at most one row of `codebook`, (k, d)."""
        self.count += count(assignment.codes, len(self.count))
        self.step.passed += 1
        step = self.step.passed
        if step % INTERVAL:
            return
        least, most = self.count.argmin(), self.count.argmax()
        if self.count[least] < THRESHOLD * self.count[most]:
            stream = generator(self.seed, Purpose.CODES, step, codebook.device)
            noise = torch.randn(codebook.shape[1], generator=stream, device=codebook.device)
            codebook[least] = codebook[most] + NOISE * noise
        self.count.zero_()
