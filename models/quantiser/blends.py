"""Blends: how far each codevector moves to its anchor, given the history of its usage.

A blend has two methods. `observe(codes)` records the codes of one batch. `weights()` returns, for
each code, the share of the anchor in the new codevector, in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.quantiser.search import count

# Decay of the running averages; gamma in the paper.
DECAY = 0.99
# Jukebox's rule calls a code dead if it has fewer latents per batch than this.
THRESHOLD = 1.0


class UsageDecay(nn.Module):
    """The paper's running average of usage: codes of little use move, the others stay.

    Equation 1: N_k <- gamma N_k + (1 - gamma) n_k / N, where n_k of the batch's N latents received
    code k, and N_k starts at 0.
    Equation 2: alpha_k = exp(-N_k K 10 / (1 - gamma) - 1e-3).

    The weight alpha_k is almost a switch. It is 0.999 for a code that was never used, and already
    5e-5 for a code with a hundredth of the average use.
    """

    usage: Tensor

    def __init__(self, codebook_size: int) -> None:
        """codebook_size: K."""
        super().__init__()
        self.register_buffer("usage", torch.zeros(codebook_size))

    def observe(self, codes: Int[Tensor, " n"]) -> None:
        """Apply equation 1 to one batch."""
        counts = count(codes, len(self.usage))
        self.usage.mul_(DECAY).add_(counts / len(codes), alpha=1 - DECAY)

    def weights(self) -> Float[Tensor, " k"]:
        """Return alpha_k of equation 2, in [0, 0.999]."""
        return torch.exp(-self.usage * len(self.usage) * 10 / (1 - DECAY) - 1e-3)


class ReplaceDead(nn.Module):
    """Jukebox's rule (Dhariwal et al. 2020): replace a code while its running count is too low.

    The count is the running average of the number of latents per batch, and the limit is THRESHOLD.
    A replaced code keeps its count, so the rule replaces the code in every step until latents use
    the code again.
    """

    count: Tensor

    def __init__(self, codebook_size: int) -> None:
        """codebook_size: K."""
        super().__init__()
        self.register_buffer("count", torch.ones(codebook_size))

    def observe(self, codes: Int[Tensor, " n"]) -> None:
        """Add the counts of one batch to the running counts."""
        counts = count(codes, len(self.count))
        self.count.mul_(DECAY).add_(counts, alpha=1 - DECAY)

    def weights(self) -> Float[Tensor, " k"]:
        """Return 1 for dead codes and 0 for the others."""
        return (self.count < THRESHOLD).to(self.count.dtype)
