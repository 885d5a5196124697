"""Reinitialisation rules of earlier work, which the paper compares with its running average.

"Near codevectors" (hierarchical quantised autoencoders, Williams et al. 2020) moves a code to
another codevector instead of to a latent, so the rule has a class here. "Hard encoded features"
(Jukebox, Dhariwal et al. 2020) is `Refresh(unique, ReplaceDead, every_step)` of models/quantiser.
How the authors of the paper built these two baselines is not published.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.quantiser.distances import Similarity
from models.quantiser.interface import Assignment
from models.quantiser.refresh import Step
from models.quantiser.search import count
from models.streams import Purpose, generator

# Training steps between two checks.
INTERVAL = 20
# The least used code moves if its share of the largest count is below this.
THRESHOLD = 0.03
# Standard deviation of each coordinate around the most used codevector.
NOISE = 0.01


class NearCodevectors(nn.Module):
    """Every INTERVAL steps, move the least used code next to the most used code.

    A check looks at the counts since the last check. If least / most < THRESHOLD, then
    e_least <- e_most + NOISE n, where n is drawn from N(0, 1) for each coordinate. A check moves at
    most one code and sets all counts to 0.
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
        """Observe one batch; at a check, overwrite at most one row of the codebook (k, d)."""
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
