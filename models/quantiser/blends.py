"""Blends: how far each codevector moves to its anchor, from the history of its usage.

A blend has two methods. `observe(codes)` takes in one batch. `weights()` returns for each code the
share of the anchor in its new value, in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.quantiser.search import count

# Of running averages: gamma in the paper.
DECAY = 0.99
# Latents a batch, below which Jukebox's rule takes a code for dead.
THRESHOLD = 1.0


class UsageDecay(nn.Module):
    """The running average of the paper: little-used codes move, others stay.

    Equation 1: N_k <- gamma N_k + (1 - gamma) n_k / N, where n_k of the batch's N latents received
    code k, and N_k starts at 0.
    Equation 2: alpha_k = exp(-N_k K 10 / (1 - gamma) - 1e-3).

    alpha is almost a switch: 0.999 for a code that was never used, 5e-5 at a hundredth of even use.
    """

    usage: Tensor

    def __init__(self, codebook_size: int) -> None:
        """codebook_size: K."""
        super().__init__()
        self.register_buffer("usage", torch.zeros(codebook_size))

    def observe(self, codes: Int[Tensor, " n"]) -> None:
        """Equation 1 for one batch."""
        counts = count(codes, len(self.usage))
        self.usage.mul_(DECAY).add_(counts / len(codes), alpha=1 - DECAY)

    def weights(self) -> Float[Tensor, " k"]:
        """Equation 2: alpha_k, in [0, 0.999]."""
        return torch.exp(-self.usage * len(self.usage) * 10 / (1 - DECAY) - 1e-3)


class ReplaceDead(nn.Module):
    """Jukebox's rule: a code is replaced while its running count per batch is below a threshold.

    A replaced code keeps its count, hence it is replaced in every step until it is used again.
    """

    count: Tensor

    def __init__(self, codebook_size: int) -> None:
        """codebook_size: K."""
        super().__init__()
        self.register_buffer("count", torch.ones(codebook_size))

    def observe(self, codes: Int[Tensor, " n"]) -> None:
        """Take the counts of one batch into the running counts."""
        counts = count(codes, len(self.count))
        self.count.mul_(DECAY).add_(counts, alpha=1 - DECAY)

    def weights(self) -> Float[Tensor, " k"]:
        """1 for dead codes, 0 for the others."""
        return (self.count < THRESHOLD).to(self.count.dtype)
